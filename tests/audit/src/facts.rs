//! Everything the checks look at: collected once, judged by pure functions.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::engine::{DeadLetter, OutputRun};
use fillstream_schemas::execution::{
    AccountAllocation, AuditEntry, ChildOrder, ExecutionQuality, ExecutionReport, ExecutionStrategySelected, Intent,
    LimitGrant, LimitRequest, OrderEvent, OrderEventType, RiskAlert, RoutingPlan, Slice, ValidatedOrder,
};
use fillstream_schemas::reference::{Account, Instrument, RiskLimit, WideLimit};

use crate::market::Market;
use crate::venue::VenueJournal;

/// A record with its coordinates.
#[derive(Clone, Debug)]
pub(crate) struct Rec<T> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Id of the trace that its header `traceparent` names.
    pub(crate) trace: Option<TraceId>,
    pub(crate) value: T,
}

/// Id of a trace.
pub(crate) type TraceId = [u8; 16];

impl<T> Rec<T> {
    /// Coordinates in words.
    pub(crate) fn at(&self) -> String {
        format!("{}/{}", self.partition, self.offset)
    }
}

/// A decision, from upstream or forwarded.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) topic: String,
    /// Lower-case hex, where the pipeline wrote the record.
    pub(crate) lineage: Option<String>,
    pub(crate) content: CoordinatedTradingDecision,
}

/// A portfolio's word to the owner of a limit.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Lineage of the record: its answer is named after it.
    pub(crate) lineage: Option<Vec<u8>>,
    pub(crate) content: LimitRequest,
}

/// A dead letter with the topic it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) topic: String,
    pub(crate) letter: DeadLetter,
}

/// One batch of a journal.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) topic: String,
    /// Task or session.
    pub(crate) key: String,
    pub(crate) sequence: i64,
    /// No stage ran: what a regroup writes, from which a new task goes on with the number it finds.
    pub(crate) is_regroup: bool,
    /// Where its records went.
    pub(crate) written: Vec<OutputRun>,
}

/// A record that is none of its contract.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) problem: String,
}

/// What a topic's partition holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extent {
    /// First offset that may exist.
    pub(crate) low: i64,
    /// One past the last that was committed when the audit looked.
    pub(crate) end: i64,
    /// Offsets of the committed records, ascending.
    pub(crate) offsets: Vec<i64>,
    /// Of these, the ones without value.
    pub(crate) tombstones: BTreeSet<i64>,
}

/// What the audit read of a topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicExtent {
    pub(crate) partitions: BTreeMap<i32, Extent>,
    /// Whether the broker may drop superseded records.
    pub(crate) compacted: bool,
}

/// A landing table's rows.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    pub(crate) topic: String,
    pub(crate) table: String,
    /// Offsets by partition, ascending, repeated where a row is.
    pub(crate) rows: BTreeMap<i32, Vec<i64>>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) decisions: Vec<Rec<Decision>>,
    pub(crate) orders: Vec<Rec<OrderEvent>>,
    pub(crate) verdicts: Vec<Rec<ValidatedOrder>>,
    pub(crate) allocations: Vec<Rec<AccountAllocation>>,
    pub(crate) strategies: Vec<Rec<ExecutionStrategySelected>>,
    pub(crate) slices: Vec<Rec<Slice>>,
    pub(crate) plans: Vec<Rec<RoutingPlan>>,
    pub(crate) children: Vec<Rec<ChildOrder>>,
    pub(crate) alerts: Vec<Rec<RiskAlert>>,
    pub(crate) intents: Vec<Rec<Intent>>,
    pub(crate) reports: Vec<Rec<ExecutionReport>>,
    pub(crate) quality: Vec<Rec<ExecutionQuality>>,
    pub(crate) audit: Vec<Rec<AuditEntry>>,
    pub(crate) accounts: Vec<Rec<Account>>,
    pub(crate) limits: Vec<Rec<RiskLimit>>,
    pub(crate) wide_limits: Vec<Rec<WideLimit>>,
    pub(crate) requests: Vec<Rec<Asked>>,
    pub(crate) grants: Vec<Rec<LimitGrant>>,
    pub(crate) instruments: Vec<Rec<Instrument>>,
    pub(crate) market: Market,
    pub(crate) letters: Vec<Rec<Letter>>,
    /// Topics that take dead letters.
    pub(crate) letter_topics: BTreeSet<String>,
    pub(crate) batches: Vec<Rec<Batch>>,
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) topics: BTreeMap<String, TopicExtent>,
    /// Last instant of the pacer, microseconds; `None`: a live run.
    pub(crate) last_tick: Option<i64>,
    /// Late market rows of a live run, microseconds; `None`: [`LATENESS_US`].
    pub(crate) lateness_us: Option<i64>,
    /// The run goes on: what has not happened yet is no violation, what has happened must be right.
    pub(crate) under_way: bool,
    /// Longest outage of the run, microseconds: what is in time without one may come as much later.
    pub(crate) outage_us: i64,
    pub(crate) venue: Option<VenueJournal>,
    pub(crate) landings: Option<Vec<Landing>>,
}

/// Late market rows of a live run: a stage may have decided without what came up to so many microseconds late.
const LATENESS_US: i64 = 1_000_000;

impl Facts {
    /// Events of each order, in the order written. A refused command on an order that nobody holds has revision 0 and is no
    /// part of an order's life.
    pub(crate) fn events(&self) -> BTreeMap<&str, Vec<&Rec<OrderEvent>>> {
        let mut events: BTreeMap<&str, Vec<&Rec<OrderEvent>>> = BTreeMap::new();
        let of_nobody = |event: &OrderEvent| event.revision == 0 && event.event_type == OrderEventType::CommandRefused;
        for event in self.orders.iter().filter(|event| !of_nobody(&event.value)) {
            events.entry(&event.value.order_id).or_default().push(event);
        }
        for of_order in events.values_mut() {
            of_order.sort_by_key(|event| (event.partition, event.offset));
        }
        events
    }

    /// The instrument's last record.
    pub(crate) fn instrument(&self, id: &str) -> Option<&Instrument> {
        self.instruments.iter().rev().map(|rec| &rec.value).find(|instrument| instrument.instrument_id == id)
    }

    /// The accounts of a portfolio by their last records.
    pub(crate) fn accounts_of(&self, portfolio: &str) -> Vec<&Account> {
        let mut found: BTreeMap<&str, &Account> = BTreeMap::new();
        for rec in &self.accounts {
            found.insert(&rec.value.account_id, &rec.value);
        }
        found.into_values().filter(|account| account.portfolio_id == portfolio).collect()
    }

    /// What a portfolio began with: cash and positions of all its accounts by their first records, at the smallest of
    /// their margins. `None` where it has no account.
    pub(crate) fn opening(&self, portfolio: &str) -> Option<Account> {
        let mut all = self.accounts_of(portfolio).into_iter().map(|account| {
            let mut records = self.accounts.iter().map(|rec| &rec.value);
            records.find(|first| first.account_id == account.account_id).unwrap_or(account)
        });
        let mut opening = all.next()?.clone();
        for account in all {
            opening.cash = opening.cash.checked_add(account.cash).ok()?;
            opening.initial_margin = opening.initial_margin.min(account.initial_margin);
            for (instrument, quantity) in &account.positions {
                let held = opening.positions.entry(instrument.clone()).or_default();
                *held = held.checked_add(*quantity).ok()?;
            }
        }
        Some(opening)
    }

    /// The limits of a portfolio in a version, else the last.
    pub(crate) fn limit(&self, portfolio: &str, version: i32) -> Option<&RiskLimit> {
        let of = || self.limits.iter().map(|rec| &rec.value).filter(|limit| limit.portfolio_id == portfolio);
        of().rfind(|limit| limit.version == version).or_else(|| of().next_back())
    }

    /// Whether a record was dead-lettered: by its coordinates, or by its lineage where the pipeline wrote it.
    pub(crate) fn is_dead(&self, topic: &str, partition: i32, offset: i64, lineage: Option<&str>) -> bool {
        self.letters.iter().map(|rec| &rec.value.letter).any(|letter| {
            letter.topic == topic
                && ((letter.partition == partition && letter.offset == offset)
                    || lineage.is_some_and(|lineage| letter.offset < 0 && letter.lineage == lineage))
        })
    }

    /// The last moment that the run is known to have reached, microseconds.
    pub(crate) fn end_at(&self) -> i64 {
        let orders = self.orders.iter().map(|rec| rec.value.timestamp.micros());
        let quality = self.quality.iter().map(|rec| rec.value.timestamp.micros());
        self.last_tick.or_else(|| orders.chain(quality).max()).unwrap_or(i64::MIN)
    }

    /// By how much market rows may have been late for a stage: in paced mode not at all.
    pub(crate) fn lateness_us(&self) -> i64 {
        let late = self.lateness_us.unwrap_or(LATENESS_US).saturating_add(self.outage_us);
        if self.last_tick.is_some() { 0 } else { late }
    }

    /// The mids (times two, eight digits) that a stage may have seen at a time, at the instrument's reference venue.
    pub(crate) fn twice_mids(&self, instrument: &str, at: i64) -> Vec<i128> {
        let Some(venue) = self.instrument(instrument).map(|found| found.reference_venue.as_str()) else {
            return Vec::new();
        };
        let quotes = self.market.prevailing(instrument, venue, at, self.lateness_us());
        quotes.iter().filter_map(|quote| quote.bid?.checked_add(quote.ask?)).collect()
    }

    /// Units of `to` for one unit of `from` (eight digits), the smallest that a stage may have seen: the mid of
    /// `<from><to>`, or one over that of `<to><from>`.
    pub(crate) fn rate(&self, from: &str, to: &str, at: i64) -> Option<i128> {
        use crate::num::{ONE, Round, divide, mul_div};
        if from == to {
            return Some(ONE);
        }
        let direct = self.twice_mids(&format!("{from}{to}"), at).into_iter().min();
        if let Some(twice) = direct.filter(|twice| *twice > 0) {
            return divide(twice, 2, Round::HalfEven);
        }
        let inverse = self.twice_mids(&format!("{to}{from}"), at).into_iter().max();
        mul_div(ONE, 2 * ONE, inverse.filter(|twice| *twice > 0)?, Round::HalfEven)
    }
}
