//! The broker's side: the real venue engine with its journal, and the network between it and the gateway.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fillstream_broker_gateway::adapter::{BrokerReport, SendOutcome};
use fillstream_domain::{TimeInForce, TimestampMicros};
use fillstream_schemas::execution::{ChildAction, Intent};
use fillstream_testkit::TestkitError;
use fillstream_venue::{CancelRequest, Entry, Event, Line, OrderRequest, RefusalCode, Report, Venue};

use crate::error::SimError;
use crate::world::World;

/// Lines of the venue's journal, which the audit reads.
pub(crate) type Witness = Rc<RefCell<Vec<String>>>;

/// A message that the network holds back.
struct Held {
    arrives_at: TimestampMicros,
    session: String,
    intent: Intent,
}

/// Venue, journal and network.
pub(crate) struct Outside {
    venue: Venue,
    witness: Witness,
    lines: u64,
    reports: BTreeMap<String, Vec<BrokerReport>>,
    held: Vec<Held>,
}

fn broken(error: impl std::fmt::Display) -> TestkitError {
    TestkitError::Broken { invariant: "venue_runs".to_owned(), text: error.to_string() }
}

impl Outside {
    pub(crate) fn new(world: &World, witness: Witness) -> Result<Self, SimError> {
        let venue = Venue::new(world.engine.clone(), Box::new(world.open_market()?))?;
        Ok(Self { venue, witness, lines: 0, reports: BTreeMap::new(), held: Vec::new() })
    }

    fn line(&mut self, entry: Entry) -> Result<(), TestkitError> {
        let line = Line { n: self.lines, entry };
        self.lines += 1;
        self.witness.borrow_mut().push(serde_json::to_string(&line).map_err(broken)?);
        Ok(())
    }

    /// Time passes: held messages arrive, the venue says what it has to say.
    pub(crate) fn advance(&mut self, now: TimestampMicros) -> Result<(), TestkitError> {
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|held: &Held| held.arrives_at <= now);
        self.held = held;
        let due: Vec<Held> = due;
        for held in due {
            // Whoever sent it does not listen any more.
            let _ = self.take(&held.session, &held.intent, Some(held.arrives_at))?;
        }
        let reports = self.venue.apply(Event::Advance(now)).map_err(broken)?;
        if !reports.is_empty() {
            self.line(Entry::Clock { instant: now, sequence: 0 })?;
        }
        for report in reports {
            self.line(Entry::Report { report: Box::new(report.clone()) })?;
            self.reports.entry(report.session.clone()).or_default().push(of_venue(report));
        }
        Ok(())
    }

    /// Reports of a session from a number on.
    pub(crate) fn reports_from(&self, session: &str, next: i64) -> &[BrokerReport] {
        let from = usize::try_from(next.saturating_sub(1)).unwrap_or(0);
        self.reports.get(session).and_then(|reports| reports.get(from..)).unwrap_or_default()
    }

    /// Whether the broker has a ClOrdID.
    pub(crate) fn knows(&self, session: &str, cl_ord_id: &str) -> Result<bool, TestkitError> {
        Ok(self.venue.status(session, cl_ord_id).map_err(broken)?.is_some())
    }

    /// When the venue has something to say, or a held message arrives.
    pub(crate) fn next_event_at(&mut self) -> Option<TimestampMicros> {
        let held = self.held.iter().map(|held| held.arrives_at).min();
        let venue = self.venue.next_event_at().ok().flatten();
        held.into_iter().chain(venue).min()
    }

    /// The network keeps a message for a while.
    pub(crate) fn hold(&mut self, session: &str, intent: &Intent, arrives_at: TimestampMicros) {
        self.held.push(Held { arrives_at, session: session.to_owned(), intent: intent.clone() });
    }

    /// A message arrives; `received_at`: the venue's own time where it follows a clock of its own.
    pub(crate) fn take(
        &mut self,
        session: &str,
        intent: &Intent,
        received_at: Option<TimestampMicros>,
    ) -> Result<SendOutcome, TestkitError> {
        let (child, at) = (&intent.child, self.venue.clock());
        let refusal = match child.action {
            ChildAction::New => {
                let request = order_request(intent);
                match self.venue.accept_order(session, request, received_at).map_err(broken)? {
                    Ok(order) => {
                        self.line(Entry::Order { at, order: order.clone() })?;
                        self.venue.apply(Event::Order(order)).map_err(broken)?;
                        return Ok(SendOutcome::Received);
                    }
                    Err(refusal) => refusal,
                }
            }
            ChildAction::Cancel | ChildAction::Replace => {
                let order = child.orig_cl_ord_id.as_deref().unwrap_or_default();
                let request = CancelRequest { client_order_id: child.cl_ord_id.clone(), sent_at: intent.timestamp };
                match self.venue.accept_cancel(session, order, request, received_at).map_err(broken)? {
                    Ok(cancel) => {
                        self.line(Entry::Cancel { at, cancel: cancel.clone() })?;
                        self.venue.apply(Event::Cancel(cancel)).map_err(broken)?;
                        return Ok(SendOutcome::Received);
                    }
                    Err(refusal) => refusal,
                }
            }
        };
        if refusal.code == RefusalCode::DuplicateClordid {
            return Ok(SendOutcome::Received);
        }
        Ok(SendOutcome::Refused { code: refusal.code.as_str().to_owned(), text: refusal.message })
    }
}

// The fields on the wire are the intent's, as the REST adapter writes them.
fn order_request(intent: &Intent) -> OrderRequest {
    let child = &intent.child;
    OrderRequest {
        client_order_id: child.cl_ord_id.clone(),
        account_id: child.account_id.clone(),
        instrument_id: child.instrument_id.clone(),
        venue: child.venue.clone(),
        side: child.side,
        ord_type: child.ord_type,
        quantity: child.quantity,
        limit_price: child.limit_price,
        time_in_force: child.time_in_force,
        expire_at: match child.time_in_force {
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd => Some(child.expire_at),
            TimeInForce::Ioc | TimeInForce::Fok => None,
        },
        sent_at: intent.timestamp,
    }
}

fn of_venue(report: Report) -> BrokerReport {
    BrokerReport {
        seq: i64::try_from(report.seq).unwrap_or(i64::MAX),
        exec_id: report.exec_id,
        ref_exec_id: report.ref_exec_id,
        cl_ord_id: report.cl_ord_id,
        orig_cl_ord_id: report.orig_cl_ord_id,
        exec_type: report.exec_type,
        ord_status: report.ord_status,
        ord_qty: report.ord_qty,
        last_qty: report.last_qty,
        last_px: report.last_px,
        cum_qty: report.cum_qty,
        leaves_qty: report.leaves_qty,
        avg_px: report.avg_px,
        fee: report.fee,
        fee_currency: report.fee_currency,
        liquidity: report.liquidity,
        transact_at: report.transact_at,
        reject_code: report.reject_code.map(|code| code.as_str().to_owned()),
        text: report.text,
    }
}
