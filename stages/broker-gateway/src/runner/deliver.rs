//! From committed intents to answers.
//!
//! An intent is *fresh* while no one has tried to send it since its commit: it may be sent, or refused, freely. It is *in
//! doubt* once an attempt has left without a clear answer, or when a predecessor committed it: then the broker is asked
//! first. Known there: done. Not known: sent again with the same fields, under a new fence, where the broker refuses
//! ClOrdIDs that it has seen; elsewhere it stays unknown.

use std::time::{Duration, Instant};

use fillstream_core::trace::{Span, SpanWork};
use fillstream_domain::{DurationMicros, TimestampMicros};
use fillstream_schemas::execution::{ChildAction, ChildOrder, Intent};
use futures_util::stream::{self, StreamExt};
use tracing::{error, info, warn};

use super::actor::{Actor, KEY_IS, Watch};
use super::clock::os_now;
use super::writer::GROUP;
use crate::adapter::{BrokerAdapter, SendOutcome, StatusOutcome};
use crate::boot_clock::BootInstant;
use crate::config::Mode;
use crate::error::GatewayError;
use crate::gate::{Gate, Verdict};
use crate::probe::{FailPoint, Phase};
use crate::reason::{Reason, Refusal};
use crate::session::Answer;

const BACKOFF: Duration = Duration::from_millis(10);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nobody has tried to send it.
    Fresh,
    /// It may have been sent.
    Tried,
    /// It may have been sent, but the broker says that it has not got it.
    Missing,
}

#[derive(Clone, Debug)]
struct Open {
    intent: Intent,
    doubt: Doubt,
}

/// What one attempt came to.
enum Attempt {
    Outcome(SendOutcome),
    Held,
    Refused(Refusal),
    Late,
}

impl<A: BrokerAdapter> Actor<A> {
    /// Delivers every pending intent; all of them in doubt when a predecessor may have tried.
    ///
    /// Ends early when asked to stop: what is left is a successor's matter.
    pub(crate) fn deliver(&mut self, predecessors: bool) -> Result<(), GatewayError> {
        let doubt = if predecessors { Doubt::Tried } else { Doubt::Fresh };
        let mut open: Vec<Open> = self.session.pending().into_iter().map(|intent| Open { intent, doubt }).collect();
        if open.is_empty() {
            return Ok(());
        }
        self.delivers_since_us = os_now().micros();
        self.probe.entered(self.session.name(), Phase::BetweenIntentAndAnswer);
        let mut backoff = BACKOFF;
        loop {
            self.ask(&mut open);
            self.send(&mut open)?;
            if open.is_empty() || !self.stop.pause(backoff) {
                break;
            }
            backoff = backoff.saturating_mul(2).min(MAX_BACKOFF);
        }
        self.probe.entered(self.session.name(), Phase::Idle);
        Ok(())
    }

    fn answer(&mut self, cl_ord_id: &str, answer: &Answer) {
        let session = self.session.name();
        match answer {
            Answer::Received => {}
            Answer::NotSent(refusal) => {
                warn!(session, cl_ord_id, code = refusal.reason.code(), text = refusal.text, "not sent");
            }
            Answer::Unknown(text) => error!(session, cl_ord_id, text, "state of an order is unknown"),
        }
        self.tell_sent(cl_ord_id, answer);
        self.session.answer(cl_ord_id, answer);
    }

    /// The span of the send: its intent is committed, and now it has its outcome.
    fn tell_sent(&self, cl_ord_id: &str, answer: &Answer) {
        let Some((context, made_in)) = self.session.send_span(cl_ord_id) else { return };
        if !self.tracer.sampler().records(&context) {
            return;
        }
        let (outcome, poison) = match answer {
            Answer::Received => ("received", None),
            Answer::NotSent(refusal) => ("not_sent", Some(refusal.reason.code())),
            Answer::Unknown(_) => ("unknown", Some(Reason::SendOutcomeUnknown.code())),
        };
        let span = Span {
            context,
            parent: Some(*made_in.span_id()),
            link: None,
            stage: GROUP,
            key: cl_ord_id.into(),
            work: SpanWork::Send { outcome },
            outputs: 0,
            poison: poison.map(str::to_owned),
        };
        let times = (self.delivers_since_us, os_now().micros());
        self.tracer.tell_keyed(KEY_IS, &self.service, times, vec![span]);
    }

    /// Asks the broker for everything in doubt.
    fn ask(&mut self, open: &mut Vec<Open>) {
        let doubtful: Vec<String> =
            open.iter().filter(|o| o.doubt == Doubt::Tried).map(|o| o.intent.child.cl_ord_id.clone()).collect();
        if doubtful.is_empty() {
            return;
        }
        let (adapter, limit) = (&self.adapter, self.config.max_in_flight);
        let questions = doubtful.iter().map(|id| async move { (id.clone(), adapter.status(id).await) });
        let answers: Vec<(String, StatusOutcome)> =
            self.runtime.block_on(stream::iter(questions).buffered(limit).collect());
        for (id, status) in answers {
            match status {
                StatusOutcome::Known(_) => {
                    self.answer(&id, &Answer::Received);
                    open.retain(|o| o.intent.child.cl_ord_id != id);
                }
                StatusOutcome::NotFound if self.may_repeat(open, &id) => {
                    if let Some(o) = open.iter_mut().find(|o| o.intent.child.cl_ord_id == id) {
                        o.doubt = Doubt::Missing;
                    }
                }
                StatusOutcome::NotFound => {
                    let text = "the broker does not know it, and does not refuse a second one: it is not sent again";
                    self.answer(&id, &Answer::Unknown(text.to_owned()));
                    open.retain(|o| o.intent.child.cl_ord_id != id);
                }
                StatusOutcome::NoAnswer { text } => {
                    warn!(session = self.session.name(), cl_ord_id = id, text, "the broker does not say what it has");
                }
            }
        }
    }

    // A second cancel of the same order does no harm anywhere.
    fn may_repeat(&self, open: &[Open], cl_ord_id: &str) -> bool {
        let is_cancel = |o: &Open| o.intent.child.action == ChildAction::Cancel;
        self.cl_ord_id_unique || open.iter().any(|o| o.intent.child.cl_ord_id == cl_ord_id && is_cancel(o))
    }

    /// Sends what may be sent: new orders at once, a cancel when its order has its answer.
    fn send(&mut self, open: &mut Vec<Open>) -> Result<(), GatewayError> {
        for action in [ChildAction::New, ChildAction::Cancel] {
            let waiting: Vec<String> = open.iter().map(|o| o.intent.child.cl_ord_id.clone()).collect();
            let ready: Vec<Intent> = open
                .iter()
                .filter(|o| o.doubt != Doubt::Tried && o.intent.child.action == action)
                .filter(|o| o.intent.child.orig_cl_ord_id.as_ref().is_none_or(|order| !waiting.contains(order)))
                .map(|o| o.intent.clone())
                .collect();
            if ready.is_empty() {
                continue;
            }
            self.renew_fence(open)?;
            if self.dies_at(FailPoint::AfterIntentCommit) {
                return Err(GatewayError::Probe(FailPoint::AfterIntentCommit));
            }
            let attempts = self.attempt(&ready)?;
            if self.dies_at(FailPoint::BeforeAnswerCommit) {
                return Err(GatewayError::Probe(FailPoint::BeforeAnswerCommit));
            }
            for (intent, attempt) in ready.iter().zip(attempts) {
                self.settle(open, intent, attempt);
            }
        }
        Ok(())
    }

    fn dies_at(&self, point: FailPoint) -> bool {
        self.probe.dies_at(self.session.name(), point)
    }

    /// Live: a deadline that has passed is only set anew by a transaction, which proves that nobody has taken over. A
    /// fresh new order is not worth it: it is refused. A cancel is, and so is an order that may have been sent before,
    /// because only sending it again makes certain what became of it.
    fn renew_fence(&mut self, open: &[Open]) -> Result<(), GatewayError> {
        let worth = |o: &Open| o.doubt == Doubt::Missing || o.intent.child.action == ChildAction::Cancel;
        if self.config.mode == Mode::Paced || !self.deadline().left().is_zero() || !open.iter().any(worth) {
            return Ok(());
        }
        // Fresh new orders must not profit from it.
        let fresh: Vec<String> = open
            .iter()
            .filter(|o| o.doubt == Doubt::Fresh && o.intent.child.action == ChildAction::New)
            .map(|o| o.intent.child.cl_ord_id.clone())
            .collect();
        for id in &fresh {
            self.answer(id, &Answer::NotSent(late()));
        }
        self.session.begin(self.live_now());
        self.commit()
    }

    fn deadline(&self) -> BootInstant {
        self.fence.plus(self.config.send_within())
    }

    /// One attempt each, in order, some at the same time.
    fn attempt(&self, ready: &[Intent]) -> Result<Vec<Attempt>, GatewayError> {
        let attempts = ready.iter().map(|intent| self.attempt_one(intent));
        self.runtime
            .block_on(stream::iter(attempts).buffered(self.config.max_in_flight).collect::<Vec<_>>())
            .into_iter()
            .collect()
    }

    async fn attempt_one(&self, intent: &Intent) -> Result<Attempt, GatewayError> {
        if self.dies_at(FailPoint::BeforeSend) {
            return Err(GatewayError::Probe(FailPoint::BeforeSend));
        }
        // Committed answers of an earlier round: it is settled already.
        if self.session.order(&intent.child.cl_ord_id).is_some_and(|o| o.closed_at.is_some()) {
            return Ok(Attempt::Late);
        }
        match self.gate(&intent.child, intent.timestamp) {
            Verdict::Pass => {}
            Verdict::Wait if self.deadline().left().is_zero() => {
                let text = "the controls could not be proven up to date";
                return Ok(Attempt::Refused(Refusal::new(Reason::ControlsStale, text)));
            }
            Verdict::Wait => return Ok(Attempt::Held),
            Verdict::Refuse(refusal) => return Ok(Attempt::Refused(refusal)),
        }
        // The last look before the write, and the write's own limit.
        let within = match self.config.mode {
            Mode::Live => self.deadline().left(),
            Mode::Paced => Duration::from_millis(self.config.request_timeout_ms),
        };
        if within.is_zero() {
            return Ok(Attempt::Late);
        }
        if self.dies_at(FailPoint::BetweenCheckAndWrite) {
            return Err(GatewayError::Probe(FailPoint::BetweenCheckAndWrite));
        }
        let began = Instant::now();
        let sent = tokio::time::timeout(within, self.adapter.send(intent, within)).await;
        if self.dies_at(FailPoint::AfterSend) {
            return Err(GatewayError::Probe(FailPoint::AfterSend));
        }
        let in_time = |_| SendOutcome::Uncertain { text: "no answer before the deadline".to_owned() };
        let outcome = sent.unwrap_or_else(in_time);
        self.standing.sent(&outcome, began.elapsed());
        Ok(Attempt::Outcome(outcome))
    }

    fn settle(&mut self, open: &mut Vec<Open>, intent: &Intent, attempt: Attempt) {
        let id = &intent.child.cl_ord_id;
        let is_new = intent.child.action == ChildAction::New;
        let Some(at) = open.iter().position(|o| o.intent.child.cl_ord_id == *id) else { return };
        let Some(doubt) = open.get(at).map(|o| o.doubt) else { return };
        let set = |open: &mut Vec<Open>, doubt: Doubt| {
            if let Some(o) = open.get_mut(at) {
                o.doubt = doubt;
            }
        };
        let answer = match attempt {
            Attempt::Outcome(SendOutcome::Received) => Answer::Received,
            Attempt::Outcome(SendOutcome::Refused { code, text }) => {
                Answer::NotSent(Refusal::new(Reason::BrokerRefused, format!("{code}: {text}")))
            }
            Attempt::Outcome(SendOutcome::NotSent { text }) => {
                info!(session = self.session.name(), cl_ord_id = id, text, "the broker cannot be reached");
                return;
            }
            Attempt::Outcome(SendOutcome::Uncertain { text }) => {
                warn!(session = self.session.name(), cl_ord_id = id, text, "sent without a clear answer");
                return set(open, Doubt::Tried);
            }
            Attempt::Held => return,
            Attempt::Refused(refusal) => Answer::NotSent(refusal),
            Attempt::Late if is_new && doubt == Doubt::Fresh => Answer::NotSent(late()),
            // Asked and fenced again in the next round.
            Attempt::Late if doubt == Doubt::Missing => return set(open, Doubt::Tried),
            Attempt::Late => return,
        };
        open.remove(at);
        self.answer(id, &answer);
    }

    /// The last check: controls as they are, or as of the intent's instant.
    pub(crate) fn gate(&self, child: &ChildOrder, instant: TimestampMicros) -> Verdict {
        let stale_after = Duration::from_millis(self.config.controls_stale_ms);
        let (controls, fresh) = match &self.watch {
            Watch::Live(view) => view.get(stale_after),
            Watch::Paced(follower) => {
                let follower = follower.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                (follower.controls().clone(), true)
            }
        };
        let live = self.config.mode == Mode::Live;
        let gate = Gate {
            session: self.session.name(),
            controls: &controls,
            fresh,
            as_of: if live { os_now() } else { instant },
            future_kills: live,
            not_approved_before: max_age(self.config.max_child_age_ms)
                .filter(|_| live)
                .and_then(|age| os_now().checked_sub(age).ok()),
        };
        gate.check(child)
    }
}

fn max_age(ms: u64) -> Option<DurationMicros> {
    DurationMicros::from_micros(i64::try_from(ms).ok()?.checked_mul(1_000)?).ok()
}

fn late() -> Refusal {
    Refusal::new(Reason::SendDeadline, "its send deadline passed before it could be sent")
}
