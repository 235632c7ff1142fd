//! What a session knows and decides: a state machine without I/O.
//!
//! ```text
//! child order --take_child--> intent (PENDING) --commit--> send --answer--> RECEIVED --take_report--> ... closed
//!      |                          |                          |
//!      +-> refused: report        +-> crash: asked again     +-> NOT_SENT: report, closed;  UNKNOWN: report, open
//! ```
//!
//! Everything that a transaction must hold is gathered between [`Session::begin`] and [`Session::finish`]. A transaction
//! that does not commit leaves this object useless: it is dropped and restored from the changelog, which is what a crash
//! needs anyway. So there is no way back to test but one.
//!
//! Invariants, held at every commit: outbound numbers are gapless; an intent is committed before anything of it is sent;
//! the inbound number rises by one; an ExecID of a kept order is reported once; an order without the broker's answer is
//! never reported rejected unless it is known not to have been sent.

mod report;
mod store;

pub use store::Restore;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fillstream_core::lineage::Lineage;
use fillstream_core::mutant;
use fillstream_core::position::WriterOrder;
use fillstream_core::record::{ChangelogEntry, OutRecord};
use fillstream_core::trace::{Sampler, Span, SpanWork, TraceContext};
use fillstream_domain::{AvgPrice, DurationMicros, OrdStatus, Quantity, TimestampMicros};
use fillstream_schemas::codec::{AvroRecord, Event};
use fillstream_schemas::execution::{ChildAction, ChildOrder, ExecutionReport, Intent};
use fillstream_schemas::state::{GatewayOrder, GatewaySendState, GatewaySession};

use crate::adapter::BrokerReport;
use crate::error::GatewayError;
use crate::reason::{Reason, Refusal};

/// Topic of the child orders.
pub(crate) const CHILD_ORDERS: &str = "execution.child-orders.v1";
/// Topic of the intents.
pub const INTENTS: &str = "execution.intents.v1";
/// Topic of the reports.
pub const REPORTS: &str = "execution.reports.v1";

/// What never changes of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Session.
    pub session: String,
    /// Its partition in every topic that is keyed by session.
    pub partition: u16,
    /// Send deadline of an intent, microseconds after its time stamp.
    pub send_within_us: i64,
    /// How long an ended order is kept.
    pub closed_grace: DurationMicros,
    /// Traces whose spans are told.
    pub sampler: Sampler,
}

/// A child order as read.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildInput {
    /// Offset in the session's partition.
    pub offset: i64,
    /// The instruction.
    pub child: ChildOrder,
    /// OS time at which the root record entered the pipeline, microseconds; for latency only.
    pub origin_us: Option<i64>,
    /// The span that wrote it.
    pub trace: Option<TraceContext>,
}

/// What became of an attempt to send an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The broker has it.
    Received,
    /// Certainly not sent, or refused without a trace.
    NotSent(Refusal),
    /// Nobody can say, and it is not sent again.
    Unknown(String),
}

/// Something that needs a person: it has no order to be booked on.
#[derive(Clone, Debug, PartialEq)]
pub enum Stray {
    /// A report of an order that is not kept.
    Report(Box<BrokerReport>),
    /// A second instruction under a used ClOrdID, with other fields.
    Duplicate(Box<ChildInput>),
}

/// What one transaction writes.
#[derive(Debug)]
pub struct Commit {
    /// Intents and reports.
    pub outputs: Vec<OutRecord>,
    /// For the dead letters.
    pub strays: Vec<Stray>,
    /// Why instructions were not sent, or are unknown; one each.
    pub refusals: Vec<Reason>,
    /// Last state of each key touched.
    pub changelog: Vec<ChangelogEntry>,
    /// The session after it.
    pub head: GatewaySession,
    /// What was done in the traces that are recorded.
    pub spans: Vec<Span>,
}

#[derive(Clone, Debug)]
struct Kept {
    order: GatewayOrder,
    exec_ids: BTreeSet<String>,
}

/// Figures of an order for a report that the gateway makes.
#[derive(Clone, Copy, Debug)]
struct Figures {
    status: OrdStatus,
    ord_qty: Quantity,
    cum: Quantity,
    leaves: Quantity,
    avg: Option<AvgPrice>,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    id: Identity,
    head: GatewaySession,
    orders: BTreeMap<String, Kept>,
    // By outbound number: exactly the orders that are PENDING.
    unanswered: BTreeMap<i64, String>,
    // (closed at, ClOrdID): what is dropped next.
    closed: BTreeSet<(TimestampMicros, String)>,
    dirty: BTreeSet<String>,
    new_execs: Vec<(String, String, i64)>,
    outputs: Vec<OutRecord>,
    strays: Vec<Stray>,
    refusals: Vec<Reason>,
    spans: Vec<Span>,
    now: TimestampMicros,
}

/// Name of the gateway in traces.
const NAME: &str = "broker-gateway";
/// Name of the span in which an intent is sent.
const SEND: &str = "broker-gateway/send";

impl Session {
    /// Where it stands by the last [`Session::finish`], with what came since.
    #[must_use]
    pub fn head(&self) -> &GatewaySession {
        &self.head
    }

    /// Session id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.id.session
    }

    /// A kept order or cancel request.
    #[must_use]
    pub fn order(&self, cl_ord_id: &str) -> Option<&GatewayOrder> {
        self.orders.get(cl_ord_id).map(|kept| &kept.order)
    }

    /// Orders that the broker has and that have not ended, in order of their ClOrdIDs. Cancel requests are not among them.
    pub fn working(&self) -> impl Iterator<Item = &GatewayOrder> {
        self.orders.values().map(|kept| &kept.order).filter(|order| {
            order.send_state == GatewaySendState::Received
                && order.closed_at.is_none()
                && order.intent.child.action == ChildAction::New
        })
    }

    /// Intents without an answer, in order of their outbound numbers.
    #[must_use]
    pub fn pending(&self) -> Vec<Intent> {
        self.unanswered.values().filter_map(|id| self.order(id)).map(|order| order.intent.clone()).collect()
    }

    /// How many intents have no answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Whether something waits that others must see soon.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty() || !self.strays.is_empty()
    }

    /// Whether the answers of brokers wait for the next transaction.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.has_outputs() || !self.dirty.is_empty()
    }

    /// Starts what one transaction will hold; everything in it happens at `now`, which never goes back.
    pub fn begin(&mut self, now: TimestampMicros) {
        self.now = now.max(self.head.now);
    }

    /// now of what is being gathered.
    #[must_use]
    pub fn now(&self) -> TimestampMicros {
        self.now
    }

    /// Paced mode: the tick that is worked on, the offset after it, and whether all of it is done.
    pub fn set_tick(&mut self, sequence: i64, next_offset: i64, complete: bool) {
        self.head.instant = sequence;
        self.head.clock_offset = next_offset;
        self.head.complete = complete;
    }

    /// An input record that is not readable was passed over.
    pub fn skip_input(&mut self, offset: i64) {
        self.head.input_offset = self.head.input_offset.max(offset.saturating_add(1));
    }

    /// Takes a report of the broker in.
    ///
    /// # Errors
    /// [`GatewayError::Gap`] when one is missing before it.
    pub fn take_report(&mut self, report: BrokerReport) -> Result<(), GatewayError> {
        if report.seq <= self.head.in_seq {
            return Ok(());
        }
        let expected = self.head.in_seq.saturating_add(1);
        if report.seq != expected {
            return Err(GatewayError::Gap { session: self.id.session.clone(), expected, got: report.seq });
        }
        self.head.in_seq = report.seq;
        let Some(kept) = self.orders.get_mut(&report.cl_ord_id) else {
            self.strays.push(Stray::Report(Box::new(report)));
            return Ok(());
        };
        if !kept.exec_ids.insert(report.exec_id.clone()) {
            return Ok(());
        }
        self.new_execs.push((report.cl_ord_id.clone(), report.exec_id.clone(), report.seq));
        if kept.order.send_state == GatewaySendState::NotSent {
            let (session, cl_ord_id) = (&self.id.session, &report.cl_ord_id);
            tracing::error!(
                session,
                cl_ord_id,
                exec_id = report.exec_id,
                "the broker reports on an order that was refused"
            );
        }
        // Whatever the broker says of it, it has it.
        kept.order.send_state = GatewaySendState::Received;
        self.unanswered.remove(&kept.order.intent.out_seq);
        self.dirty.insert(report.cl_ord_id.clone());
        let child = kept.order.intent.child.clone();
        let sent = sent_in(&self.id.session, &kept.order);
        match child.action {
            ChildAction::New => self.apply(&report.cl_ord_id, &report),
            ChildAction::Cancel | ChildAction::Replace => {
                self.close(&report.cl_ord_id);
                if let Some(order) = &child.orig_cl_ord_id {
                    self.apply(order, &report);
                }
            }
        }
        let made = report::of_broker(&self.id, &child, &report, self.now);
        let order = WriterOrder { sequence: unsigned(report.seq), ..self.writer() };
        let lineage = Lineage::root(REPORTS, &format!("{}/{}", self.id.session, report.seq));
        self.emit_report(made, lineage, order, sent.as_ref());
        Ok(())
    }

    /// Takes a child order in: an intent, or a report that refuses it. `gate` is what the gate said of it.
    pub fn take_child(&mut self, input: ChildInput, gate: Result<(), Refusal>) {
        self.skip_input(input.offset);
        let child = &input.child;
        if let Some(known) = self.orders.get(&child.cl_ord_id) {
            // The same record twice changes nothing; another order under the same name must not touch the first.
            if known.order.intent.child != *child {
                self.strays.push(Stray::Duplicate(Box::new(input)));
            }
            return;
        }
        if let Err(refusal) = gate.and_then(|()| self.admissible(child)) {
            let ChildInput { child, trace, .. } = input;
            return self.refuse(&child, &refusal, trace.as_ref());
        }
        self.head.out_seq = self.head.out_seq.saturating_add(1);
        let lineage = intent_lineage(&self.id.session, &child.cl_ord_id);
        let trace = TraceContext::enter(input.trace.as_ref(), lineage, NAME);
        let (offset, cl_ord_id) = (Some(input.offset), child.cl_ord_id.clone());
        self.span(&trace, input.trace.as_ref(), &cl_ord_id, |s| SpanWork::Record {
            topic: CHILD_ORDERS.into(),
            partition: i32::from(s.id.partition),
            offset,
        });
        let intent = Intent {
            event_id: lineage.to_string(),
            timestamp: self.now,
            session: self.id.session.clone(),
            out_seq: self.head.out_seq,
            child: input.child,
            send_within_us: self.id.send_within_us,
        };
        let order = WriterOrder { sequence: unsigned(self.head.out_seq), ..self.writer() };
        let kept = Some(trace.to_bytes());
        self.emit(INTENTS, &intent, (lineage, order), input.origin_us, Some(trace));
        let id = intent.child.cl_ord_id.clone();
        let order = GatewayOrder {
            send_state: GatewaySendState::Pending,
            ord_status: OrdStatus::PendingNew,
            cum_qty: Quantity::ZERO,
            leaves_qty: intent.child.quantity,
            avg_px: None,
            closed_at: None,
            intent,
            trace: kept,
        };
        self.dirty.insert(id.clone());
        self.unanswered.insert(order.intent.out_seq, id.clone());
        self.orders.insert(id, Kept { order, exec_ids: BTreeSet::new() });
    }

    /// Takes in what became of an intent that was [`pending`](Self::pending); for any other it changes nothing.
    pub fn answer(&mut self, cl_ord_id: &str, answer: &Answer) {
        let Some(kept) = self.orders.get_mut(cl_ord_id) else { return };
        if kept.order.send_state != GatewaySendState::Pending {
            return;
        }
        self.dirty.insert(cl_ord_id.to_owned());
        self.unanswered.remove(&kept.order.intent.out_seq);
        let child = kept.order.intent.child.clone();
        let sent = sent_in(&self.id.session, &kept.order);
        let refused = |text: &str| Answer::NotSent(Refusal::new(Reason::SendDeadline, text));
        let mutated = match answer {
            Answer::Unknown(text) if mutant::is("unknown turned into rejected") => Some(refused(text)),
            Answer::Unknown(_) | Answer::NotSent(_) | Answer::Received => None,
        };
        match mutated.as_ref().unwrap_or(answer) {
            Answer::Received => kept.order.send_state = GatewaySendState::Received,
            Answer::NotSent(refusal) => {
                kept.order.send_state = GatewaySendState::NotSent;
                kept.order.ord_status = OrdStatus::Rejected;
                kept.order.leaves_qty = Quantity::ZERO;
                self.close(cl_ord_id);
                self.refuse(&child, refusal, sent.as_ref());
            }
            Answer::Unknown(text) => {
                kept.order.send_state = GatewaySendState::Unknown;
                kept.order.ord_status = OrdStatus::Unknown;
                let refusal = Refusal::new(Reason::SendOutcomeUnknown, text);
                let figures = Figures::of(&kept.order);
                self.synthesize(&child, &refusal, figures, sent.as_ref());
            }
        }
    }

    /// The broker does not know an order that it had: nobody can say what became of it.
    pub fn lost(&mut self, cl_ord_id: &str, text: &str) {
        if let Some(kept) = self.orders.get_mut(cl_ord_id) {
            kept.order.send_state = GatewaySendState::Pending;
            self.answer(cl_ord_id, &Answer::Unknown(text.to_owned()));
        }
    }

    /// Ends what was begun: the records of one transaction.
    pub fn finish(&mut self) -> Commit {
        self.head.sequence = self.head.sequence.saturating_add(1);
        self.head.now = self.now;
        let mut changelog = Vec::new();
        self.drop_closed(&mut changelog);
        for id in std::mem::take(&mut self.dirty) {
            if let Some(kept) = self.orders.get(&id) {
                changelog.push(store::order(&self.id.session, &id, Some(&kept.order)));
            }
        }
        for (id, exec_id, in_seq) in std::mem::take(&mut self.new_execs) {
            changelog.push(store::execution(&self.id.session, &id, &exec_id, Some(in_seq)));
        }
        changelog.push(store::head(&self.head));
        Commit {
            outputs: std::mem::take(&mut self.outputs),
            strays: std::mem::take(&mut self.strays),
            refusals: std::mem::take(&mut self.refusals),
            changelog,
            head: self.head.clone(),
            spans: std::mem::take(&mut self.spans),
        }
    }

    // What only the session can know of an instruction.
    fn admissible(&self, child: &ChildOrder) -> Result<(), Refusal> {
        match child.action {
            ChildAction::New => Ok(()),
            ChildAction::Replace => Err(Refusal::new(Reason::ReplaceNotSupported, "cancel the order and send another")),
            ChildAction::Cancel => match child.orig_cl_ord_id.as_deref().and_then(|id| self.order(id)) {
                Some(order) if order.intent.child.action != ChildAction::New => {
                    Err(Refusal::new(Reason::UnknownOrder, "that is no order but a request"))
                }
                Some(order) if order.closed_at.is_some() => {
                    Err(Refusal::new(Reason::OrderClosed, format!("the order is {}", order.ord_status.as_str())))
                }
                Some(_) => Ok(()),
                None => Err(Refusal::new(Reason::UnknownOrder, "no such order was sent, or it ended long ago")),
            },
        }
    }

    fn apply(&mut self, cl_ord_id: &str, report: &BrokerReport) {
        let Some(kept) = self.orders.get_mut(cl_ord_id) else { return };
        let order = &mut kept.order;
        order.send_state = GatewaySendState::Received;
        self.unanswered.remove(&order.intent.out_seq);
        order.ord_status = report.ord_status;
        order.cum_qty = report.cum_qty;
        order.leaves_qty = report.leaves_qty;
        order.avg_px = report.avg_px;
        self.dirty.insert(cl_ord_id.to_owned());
        if report.ord_status.is_terminal() {
            self.close(cl_ord_id);
        }
    }

    fn close(&mut self, cl_ord_id: &str) {
        if let Some(kept) = self.orders.get_mut(cl_ord_id)
            && kept.order.closed_at.is_none()
        {
            kept.order.closed_at = Some(self.now);
            self.closed.insert((self.now, cl_ord_id.to_owned()));
            self.dirty.insert(cl_ord_id.to_owned());
        }
    }

    fn drop_closed(&mut self, changelog: &mut Vec<ChangelogEntry>) {
        while let Some((at, _)) = self.closed.first()
            && at.checked_add(self.id.closed_grace).is_ok_and(|end| end <= self.now)
            && let Some((_, id)) = self.closed.pop_first()
        {
            self.dirty.remove(&id);
            changelog.push(store::order(&self.id.session, &id, None));
            for exec_id in self.orders.remove(&id).map(|kept| kept.exec_ids).unwrap_or_default() {
                changelog.push(store::execution(&self.id.session, &id, &exec_id, None));
            }
            self.new_execs.retain(|(of, _, _)| *of != id);
        }
    }

    // A new order is rejected; a refused cancel says how its order stands.
    fn refuse(&mut self, child: &ChildOrder, refusal: &Refusal, parent: Option<&TraceContext>) {
        let known = match child.action {
            ChildAction::New => None,
            ChildAction::Cancel | ChildAction::Replace => child.orig_cl_ord_id.as_deref().and_then(|id| self.order(id)),
        };
        let figures = known.map_or_else(|| Figures::rejected(child), Figures::of);
        self.synthesize(child, refusal, figures, parent);
    }

    fn synthesize(&mut self, child: &ChildOrder, refusal: &Refusal, figures: Figures, parent: Option<&TraceContext>) {
        self.head.synthetic_seq = self.head.synthetic_seq.saturating_add(1);
        self.refusals.push(refusal.reason);
        let code = refusal.reason.code();
        let lineage = Lineage::root(REPORTS, &format!("{}/synthetic/{}/{code}", self.id.session, child.cl_ord_id));
        let made = report::synthetic(&self.id, child, refusal, figures, self.now);
        // After the broker's reports so far, and in the order of the decisions.
        let order = WriterOrder {
            sequence: unsigned(self.head.in_seq),
            n: u32::try_from(self.head.synthetic_seq).unwrap_or(u32::MAX),
            ..self.writer()
        };
        self.emit_report(made, lineage, order, parent);
    }

    fn writer(&self) -> WriterOrder {
        WriterOrder { writer: self.id.partition, sequence: 0, n: 0 }
    }

    /// The span in which the intent of an order is sent, and the one that made the intent.
    #[must_use]
    pub fn send_span(&self, cl_ord_id: &str) -> Option<(TraceContext, TraceContext)> {
        let order = self.order(cl_ord_id)?;
        Some((sent_in(&self.id.session, order)?, order.trace.as_deref().and_then(TraceContext::from_bytes)?))
    }

    fn span(
        &mut self,
        context: &TraceContext,
        parent: Option<&TraceContext>,
        cl_ord_id: &str,
        work: impl FnOnce(&Self) -> SpanWork,
    ) {
        if self.id.sampler.records(context) {
            let work = work(self);
            self.spans.push(Span {
                context: context.clone(),
                parent: parent.map(|p| *p.span_id()),
                link: None,
                stage: NAME,
                key: cl_ord_id.into(),
                work,
                outputs: 1,
                poison: None,
            });
        }
    }

    fn emit_report(
        &mut self,
        mut made: ExecutionReport,
        lineage: Lineage,
        order: WriterOrder,
        parent: Option<&TraceContext>,
    ) {
        made.event_id = lineage.to_string();
        let trace = TraceContext::enter(parent, lineage, NAME);
        self.span(&trace, parent, &made.cl_ord_id, |_| SpanWork::Report { topic: REPORTS });
        self.emit(REPORTS, &made, (lineage, order), None, Some(trace));
    }

    fn emit<T: Event>(
        &mut self,
        topic: &'static str,
        value: &T,
        (lineage, order): (Lineage, WriterOrder),
        origin_us: Option<i64>,
        trace: Option<TraceContext>,
    ) {
        self.outputs.push(OutRecord {
            topic,
            key: Arc::from(value.key()),
            payload: Arc::from(value.to_bytes()),
            schema: <T as AvroRecord>::FULL_NAME,
            lineage,
            event_time: self.now,
            order: order.to_bytes(),
            position: None,
            origin_us,
            trace,
            headers: Vec::new(),
        });
    }
}

fn intent_lineage(session: &str, cl_ord_id: &str) -> Lineage {
    Lineage::root(INTENTS, &format!("{session}/{cl_ord_id}"))
}

// The span in which the intent is sent: what the broker says of it comes of that.
fn sent_in(session: &str, order: &GatewayOrder) -> Option<TraceContext> {
    let made_in = order.trace.as_deref().and_then(TraceContext::from_bytes)?;
    Some(TraceContext::enter(Some(&made_in), intent_lineage(session, &order.intent.child.cl_ord_id), SEND))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
