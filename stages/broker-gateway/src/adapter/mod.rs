//! The port to a broker, and its adapters.
//!
//! An adapter is stateless: it turns one intent into one message, says honestly what it knows of the outcome, answers
//! status questions, and reads the stream of reports from a sequence number on. Everything that must survive a crash is
//! the session's. To write one for another broker, map its answers onto [`SendOutcome`] by one rule: whatever could have
//! left the machine without a clear answer is [`SendOutcome::Uncertain`].

mod rest_ws;

use fillstream_domain::{AvgPrice, ExecType, LiquidityFlag, Money, OrdStatus, Price, Quantity, TimestampMicros};
use fillstream_schemas::execution::Intent;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

pub use rest_ws::{AdapterError, RestWsAdapter};

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The broker has it, now or since an earlier attempt.
    Received,
    /// The broker refused it, and it left no trace there.
    Refused {
        /// The broker's code.
        code: String,
        /// The broker's words.
        text: String,
    },
    /// Certainly nothing reached the broker.
    NotSent {
        /// Why.
        text: String,
    },
    /// It may have reached the broker.
    Uncertain {
        /// Why.
        text: String,
    },
}

/// What the broker says of a ClOrdID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusOutcome {
    /// It knows it.
    Known(OrderStatus),
    /// It never took it.
    NotFound,
    /// No answer that says anything.
    NoAnswer {
        /// Why.
        text: String,
    },
}

/// An order as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderStatus {
    /// Status; `None` for the id of a cancel request.
    pub ord_status: Option<OrdStatus>,
    /// Filled, units.
    pub cum_qty: Quantity,
    /// Sequence number of the last report of the order, 0: none yet. Reports up to here may still be on their way.
    pub last_seq: i64,
}

/// A report as the broker sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerReport {
    /// Sequence number in the session, from 1 without gaps.
    pub seq: i64,
    /// ExecID, unique with the broker.
    pub exec_id: String,
    /// Execution that a bust or correction is about.
    pub ref_exec_id: Option<String>,
    /// ClOrdID.
    pub cl_ord_id: String,
    /// Order that a cancel was about.
    pub orig_cl_ord_id: Option<String>,
    /// What happened.
    pub exec_type: ExecType,
    /// State of the order.
    pub ord_status: OrdStatus,
    /// Quantity of the order, units.
    pub ord_qty: Quantity,
    /// Quantity of this execution, units.
    pub last_qty: Option<Quantity>,
    /// Price of this execution.
    pub last_px: Option<Price>,
    /// Filled so far, units.
    pub cum_qty: Quantity,
    /// Still open, units.
    pub leaves_qty: Quantity,
    /// Average price so far.
    pub avg_px: Option<AvgPrice>,
    /// Fee of this execution; positive is a cost.
    pub fee: Option<Money>,
    /// Its currency.
    pub fee_currency: Option<String>,
    /// Maker or taker.
    pub liquidity: LiquidityFlag,
    /// When it happened.
    pub transact_at: TimestampMicros,
    /// Reason code of a reject.
    pub reject_code: Option<String>,
    /// The broker's words.
    pub text: Option<String>,
}

/// How a stream of reports ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The connection is gone; it may be made again.
    Closed {
        /// Why.
        text: String,
    },
    /// Another connection took the session over.
    Replaced,
    /// The broker does not know as many reports as were taken in.
    TooFar {
        /// Its last sequence number.
        last_seq: i64,
    },
    /// A report cannot be read.
    Malformed {
        /// Why.
        text: String,
    },
    /// Nobody wants the reports any more.
    Unwanted,
}

/// Where the reports of a session go.
pub struct Inbox {
    reports: Sender<BrokerReport>,
    opened: Box<dyn Fn() + Send + Sync>,
}

impl Inbox {
    /// Into `reports`; `opened` is called each time the stream stands.
    pub fn new(reports: Sender<BrokerReport>, opened: impl Fn() + Send + Sync + 'static) -> Self {
        Self { reports, opened: Box::new(opened) }
    }

    /// The broker has accepted the stream.
    pub fn opened(&self) {
        (self.opened)();
    }

    /// Hands a report on, once there is room; false when nobody wants reports any more.
    pub async fn put(&self, report: BrokerReport) -> bool {
        self.reports.send(report).await.is_ok()
    }
}

/// A broker's API, for one session.
pub trait BrokerAdapter: Send + Sync + 'static {
    /// Sends a new order or a cancel. Nothing may be written after `within`: the future is dropped then, and so must be
    /// the request. The fields on the wire, the time stamp included, are the intent's, so that a second attempt is
    /// identical.
    fn send(&self, intent: &Intent, within: Duration) -> impl Future<Output = SendOutcome> + Send;

    /// Asks for a ClOrdID of this session.
    fn status(&self, cl_ord_id: &str) -> impl Future<Output = StatusOutcome> + Send;

    /// Hands on the reports from `next` on, in order, and counts `next` up with each, until the stream ends. Says first
    /// that the stream is [open](Inbox::opened).
    fn reports(&self, next: &mut i64, into: &Inbox) -> impl Future<Output = StreamEnd> + Send;
}
