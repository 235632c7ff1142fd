//! Which event means something in which state: the child's table, without its arithmetic.

use crate::OrdStatus;
use crate::avro_enum;

avro_enum! {
    /// The kinds of [`ChildEvent`](super::ChildEvent).
    pub enum ChildEventKind {
        /// The gateway has committed the intent to send.
        SendIntent = "SEND_INTENT",
        /// Report: received.
        PendingNew = "PENDING_NEW",
        /// Report: accepted.
        New = "NEW",
        /// Report: a fill.
        Trade = "TRADE",
        /// Report: cancelled.
        Canceled = "CANCELED",
        /// Report: refused.
        Rejected = "REJECTED",
        /// Report: expired.
        Expired = "EXPIRED",
        /// Report: done for this session.
        DoneForDay = "DONE_FOR_DAY",
        /// Report: a trade is guaranteed.
        Stopped = "STOPPED",
        /// Report: not eligible for trading for now.
        Suspended = "SUSPENDED",
        /// Report: settlement figures worked out.
        Calculated = "CALCULATED",
        /// Report: changed by the counterparty.
        Restated = "RESTATED",
        /// We ask to cancel.
        CancelRequested = "CANCEL_REQUESTED",
        /// Report: our cancel was received, or somebody at the counterparty asked for one.
        PendingCancel = "PENDING_CANCEL",
        /// Report: a cancel was refused.
        CancelRejected = "CANCEL_REJECTED",
        /// We ask to replace.
        ReplaceRequested = "REPLACE_REQUESTED",
        /// Report: our replace was received.
        PendingReplace = "PENDING_REPLACE",
        /// Report: a replace took effect.
        Replaced = "REPLACED",
        /// Report: a replace was refused.
        ReplaceRejected = "REPLACE_REJECTED",
        /// Report: a fill was taken back (bust).
        TradeCancel = "TRADE_CANCEL",
        /// Report: a fill was corrected.
        TradeCorrect = "TRADE_CORRECT",
        /// Nobody can say what became of the order.
        Unknown = "UNKNOWN",
        /// Reconciliation or a person has found out what became of it.
        UnknownResolved = "UNKNOWN_RESOLVED",
    }
}

/// What an event means in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It changes the order.
    Apply,
    /// It is late or said twice, and harmless: accepted without a change.
    Ignore,
    /// It contradicts what is known.
    Refuse,
}

/// Accepted and working.
macro_rules! working {
    () => {
        OrdStatus::New | OrdStatus::PartiallyFilled | OrdStatus::Stopped | OrdStatus::Suspended
    };
}
/// A request of ours is not yet decided.
macro_rules! pending {
    () => {
        OrdStatus::PendingCancel | OrdStatus::PendingReplace
    };
}
/// Ended for this session only.
macro_rules! resting {
    () => {
        OrdStatus::DoneForDay | OrdStatus::Calculated
    };
}

/// The table: what an event of a kind means for an order in a status.
#[must_use]
pub fn rule(status: OrdStatus, event: ChildEventKind) -> Rule {
    use ChildEventKind as Event;
    use OrdStatus::{Calculated, DoneForDay, Rejected, Stopped, Suspended, Unknown};
    use OrdStatus::{Canceled, Expired, Filled, New, PartiallyFilled, PendingCancel, PendingNew, PendingReplace};
    match event {
        // A cancel may be asked for before the order has left.
        Event::SendIntent => match status {
            PendingNew | PendingCancel => Rule::Apply,
            working!() | PendingReplace | Unknown | Filled | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::PendingNew => match status {
            PendingNew | PendingCancel | Unknown => Rule::Apply,
            working!() | PendingReplace | Filled | resting!() | Canceled | Expired => Rule::Ignore,
            Rejected => Rule::Refuse,
        },
        // For a suspended order it means: eligible again.
        Event::New => match status {
            PendingNew | PendingCancel | Suspended | Unknown => Rule::Apply,
            New | PartiallyFilled | Stopped | PendingReplace | Filled | resting!() | Canceled | Expired => Rule::Ignore,
            Rejected => Rule::Refuse,
        },
        // Fills and their amendments are money: booked whatever the state.
        Event::Trade | Event::TradeCancel | Event::TradeCorrect => match status {
            PendingNew | working!() | pending!() | Unknown | Filled | resting!() | Canceled | Expired | Rejected => {
                Rule::Apply
            }
        },
        Event::Canceled => match status {
            PendingNew | working!() | pending!() | Unknown | resting!() => Rule::Apply,
            Canceled => Rule::Ignore,
            Filled | Expired | Rejected => Rule::Refuse,
        },
        Event::Expired => match status {
            PendingNew | working!() | pending!() | Unknown | resting!() => Rule::Apply,
            Expired => Rule::Ignore,
            Filled | Canceled | Rejected => Rule::Refuse,
        },
        Event::Rejected => match status {
            PendingNew | New | Stopped | Suspended | pending!() | Unknown => Rule::Apply,
            Rejected => Rule::Ignore,
            PartiallyFilled | Filled | resting!() | Canceled | Expired => Rule::Refuse,
        },
        Event::DoneForDay => match status {
            PendingNew | working!() | pending!() | Unknown | Filled | Calculated => Rule::Apply,
            DoneForDay => Rule::Ignore,
            Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::Calculated => match status {
            working!() | pending!() | Unknown | Filled | DoneForDay | Canceled | Expired => Rule::Apply,
            Calculated => Rule::Ignore,
            PendingNew | Rejected => Rule::Refuse,
        },
        Event::Stopped => match status {
            PendingNew | New | PartiallyFilled | Suspended | pending!() | Unknown => Rule::Apply,
            Stopped => Rule::Ignore,
            Filled | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::Suspended => match status {
            PendingNew | New | PartiallyFilled | Stopped | pending!() | Unknown => Rule::Apply,
            Suspended => Rule::Ignore,
            Filled | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
        // After a session it brings a good-till-cancel order back.
        Event::Restated => match status {
            PendingNew | working!() | pending!() | Unknown | Filled | resting!() => Rule::Apply,
            Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::CancelRequested => match status {
            PendingNew | working!() | pending!() | Unknown => Rule::Apply,
            Filled | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::PendingCancel => match status {
            PendingNew | working!() | pending!() | Unknown => Rule::Apply,
            Filled | resting!() | Canceled | Expired | Rejected => Rule::Ignore,
        },
        Event::CancelRejected => match status {
            PendingCancel | Unknown => Rule::Apply,
            // The order ended before the answer came.
            Filled | resting!() | Canceled | Expired | Rejected => Rule::Ignore,
            PendingNew | working!() | PendingReplace => Rule::Refuse,
        },
        // One at a time, and only what a counterparty has accepted and is still working, or has filled and may fill more of.
        Event::ReplaceRequested => match status {
            working!() | Filled => Rule::Apply,
            PendingNew | pending!() | Unknown | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::PendingReplace | Event::ReplaceRejected => match status {
            pending!() | Unknown => Rule::Apply,
            Filled | resting!() | Canceled | Expired | Rejected => Rule::Ignore,
            PendingNew | working!() => Rule::Refuse,
        },
        Event::Replaced => match status {
            pending!() | Unknown => Rule::Apply,
            PendingNew | working!() | Filled | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::Unknown => match status {
            PendingNew | working!() | pending!() => Rule::Apply,
            Unknown => Rule::Ignore,
            Filled | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
        Event::UnknownResolved => match status {
            Unknown => Rule::Apply,
            PendingNew | working!() | pending!() | Filled | resting!() | Canceled | Expired | Rejected => Rule::Refuse,
        },
    }
}
