//! What the venue has to do, in the order in which it does it.

use crate::order::OrderKey;
use crate::report::{RejectCode, Report};
use fillstream_domain::{LiquidityFlag, Money, Price, Quantity, TimestampMicros};
use std::collections::BTreeMap;

/// Place of a task: by time, then orders before cancels before ends before reports, then by session and id.
///
/// Nothing in it depends on the order in which requests came in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) at: TimestampMicros,
    class: Class,
    session: String,
    id: String,
    ordinal: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Order,
    Cancel,
    End,
    Refresh,
    Report,
    Repeat,
}

#[derive(Debug)]
pub(crate) enum Task {
    /// An order reaches its book.
    Arrive(OrderKey),
    /// A cancel request reaches the book.
    Cancel(OrderKey),
    /// An order's time is over.
    Expire(OrderKey),
    /// Size taken from a book comes back.
    Refresh { venue: String, instrument_id: String },
    /// A report is said.
    Say(Box<Saying>),
    /// A report is said again.
    Repeat(Box<Report>),
}

/// A report before it has a number: what it says of the order so far is known when it is said.
#[derive(Debug)]
pub(crate) struct Saying {
    pub(crate) order: OrderKey,
    /// Count of the order's reports, from 1.
    pub(crate) ordinal: u32,
    pub(crate) exec_id: String,
    pub(crate) transact_at: TimestampMicros,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Accepted,
    Filled { qty: Quantity, px: Price, fee: Money, liquidity: LiquidityFlag },
    Cancelled { request: Option<String>, code: Option<RejectCode> },
    Expired,
    Rejected(RejectCode),
    CancelRejected { request: String, code: RejectCode },
}

#[derive(Debug, Default)]
pub(crate) struct Agenda {
    tasks: BTreeMap<Slot, Task>,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: TimestampMicros, ordinal: u32, task: Task) {
        let (class, session, id) = match &task {
            Task::Arrive((session, id)) => (Class::Order, session.clone(), id.clone()),
            Task::Cancel((session, id)) => (Class::Cancel, session.clone(), id.clone()),
            Task::Expire((session, id)) => (Class::End, session.clone(), id.clone()),
            Task::Refresh { venue, instrument_id } => (Class::Refresh, venue.clone(), instrument_id.clone()),
            Task::Say(saying) => (Class::Report, saying.order.0.clone(), saying.order.1.clone()),
            Task::Repeat(report) => {
                let order = report.orig_cl_ord_id.as_ref().unwrap_or(&report.cl_ord_id);
                (Class::Repeat, report.session.clone(), order.clone())
            }
        };
        self.tasks.insert(Slot { at, class, session, id, ordinal }, task);
    }

    pub(crate) fn next_time(&self) -> Option<TimestampMicros> {
        self.tasks.first_key_value().map(|(slot, _)| slot.at)
    }

    pub(crate) fn take_next(&mut self) -> Option<(TimestampMicros, Task)> {
        self.tasks.pop_first().map(|(slot, task)| (slot.at, task))
    }

    /// No report before this time comes from the tasks; all but reports take `latency_us` to be heard of.
    pub(crate) fn next_report(&self, latency_us: i64) -> Option<TimestampMicros> {
        let heard = |slot: &Slot| match slot.class {
            Class::Report | Class::Repeat => slot.at,
            Class::Order | Class::Cancel | Class::End | Class::Refresh => crate::micros::later(slot.at, latency_us),
        };
        self.tasks.keys().map(heard).min()
    }
}
