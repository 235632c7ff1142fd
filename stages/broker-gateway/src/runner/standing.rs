//! How a session stands, for metrics and readiness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fillstream_kafka::observe::{Counter, Gauge, Health, Histogram, Metric, Metrics, Readiness};

use crate::adapter::SendOutcome;
use crate::reason::Reason;
use crate::session::{Commit, INTENTS, REPORTS};

/// Name of the parts in `/health/ready`, followed by the session.
const PART: &str = "broker-gateway";

/// The series and the readiness of one session.
pub(crate) struct Standing {
    part: String,
    health: Arc<Health>,
    up: Gauge,
    intents: Counter,
    reports: Counter,
    unknowns: Counter,
    restarts: Counter,
    open_intents: Gauge,
    send_seconds: Histogram,
    received: Counter,
    refused: Counter,
    not_sent: Counter,
    uncertain: Counter,
    refusals: BTreeMap<Reason, Counter>,
    /// A call that must come back, and since when.
    awaited: Mutex<Option<(&'static str, Instant)>>,
}

/// A call that must come back; it has when this is dropped.
pub(crate) struct Awaited<'a>(&'a Standing);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Standing {
    pub(crate) fn new(metrics: &Metrics, health: &Arc<Health>, session: &str) -> Arc<Self> {
        let counter = |metric| metrics.counter(metric, &[("session", session)]);
        let gauge = |metric| metrics.gauge(metric, &[("session", session)]);
        let sends = |outcome| metrics.counter(Metric::GatewaySends, &[("session", session), ("outcome", outcome)]);
        let refusals = |reason: &Reason| {
            let labels = [("session", session), ("code", reason.code())];
            (*reason, metrics.counter(Metric::GatewayRefusals, &labels))
        };
        let standing = Self {
            part: format!("{PART}/{session}"),
            health: Arc::clone(health),
            up: gauge(Metric::GatewaySessionUp),
            intents: counter(Metric::GatewayIntents),
            reports: counter(Metric::GatewayReports),
            unknowns: counter(Metric::GatewayUnknowns),
            restarts: counter(Metric::GatewayRestarts),
            open_intents: gauge(Metric::GatewayOpenIntents),
            send_seconds: metrics.histogram(Metric::GatewaySendSeconds, &[("session", session)]),
            received: sends("received"),
            refused: sends("refused"),
            not_sent: sends("not_sent"),
            uncertain: sends("uncertain"),
            refusals: Reason::ALL.iter().map(refusals).collect(),
            awaited: Mutex::default(),
        };
        standing.waits("is not started yet");
        Arc::new(standing)
    }

    /// It is restored, and the broker's stream of reports stands.
    fn ready(&self) {
        self.up.set(1);
        self.health.set(&self.part, Readiness::Ready);
    }

    /// It cannot work just now.
    pub(crate) fn waits(&self, why: impl Into<String>) {
        self.up.set(0);
        self.health.set(&self.part, Readiness::Waiting(why.into()));
    }

    /// It is started again from its journal.
    pub(crate) fn restarts(&self, why: impl Into<String>) {
        self.restarts.add(1);
        self.waits(why);
    }

    /// It has ended for good.
    pub(crate) fn stopped(&self, why: impl Into<String>) {
        self.up.set(0);
        self.health.set(&self.part, Readiness::Stopped(why.into()));
    }

    /// A transaction is committed; `open` intents have no answer after it.
    pub(crate) fn committed(&self, commit: &Commit, open: usize) {
        let written = |topic: &str| commit.outputs.iter().filter(|out| out.topic == topic).count();
        self.intents.add(written(INTENTS));
        self.reports.add(written(REPORTS));
        for reason in &commit.refusals {
            if *reason == Reason::SendOutcomeUnknown {
                self.unknowns.add(1);
            } else if let Some(counter) = self.refusals.get(reason) {
                counter.add(1);
            }
        }
        self.open_intents.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// What the session begins now has limits of its own, and must come back.
    pub(crate) fn awaits(&self, call: &'static str) -> Awaited<'_> {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = Some((call, Instant::now()));
        Awaited(self)
    }

    /// A call that has not come back for so long.
    pub(crate) fn hangs(&self, limit: Duration) -> Option<&'static str> {
        let awaited = *self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.filter(|(_, since)| since.elapsed() >= limit).map(|(call, _)| call)
    }

    /// An attempt to send took so long and came to this.
    pub(crate) fn sent(&self, outcome: &SendOutcome, took: Duration) {
        self.send_seconds.observe(took);
        let counter = match outcome {
            SendOutcome::Received => &self.received,
            SendOutcome::Refused { .. } => &self.refused,
            SendOutcome::NotSent { .. } => &self.not_sent,
            SendOutcome::Uncertain { .. } => &self.uncertain,
        };
        counter.add(1);
    }
}

/// The stream's word on its session, which ends with the stream: a task that is aborted says nothing any more.
#[derive(Clone)]
pub(crate) struct Voice(Arc<Mutex<Option<Arc<Standing>>>>);

impl Voice {
    pub(crate) fn new(standing: Arc<Standing>) -> Self {
        Self(Arc::new(Mutex::new(Some(standing))))
    }

    fn say(&self, word: impl FnOnce(&Standing)) {
        if let Some(standing) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            word(standing);
        }
    }

    /// The stream stands.
    pub(crate) fn opened(&self) {
        self.say(Standing::ready);
    }

    /// The stream is closed.
    pub(crate) fn closed(&self, why: String) {
        self.say(|standing| standing.waits(why));
    }

    /// Nothing is said from here on.
    pub(crate) fn silence(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silenced_stream_changes_nothing() {
        let (metrics, health) = (Metrics::new(), Health::new());
        let standing = Standing::new(&metrics, &health, "B1");
        let voice = Voice::new(Arc::clone(&standing));
        assert!(!health.is_ready());
        voice.opened();
        assert!(health.is_ready());
        assert!(metrics.print().contains("fillstream_gateway_session_up{session=\"B1\"} 1"));
        voice.closed("gone".into());
        assert_eq!(health.print(), "broker-gateway/B1: waiting: gone\n");
        voice.silence();
        standing.stopped("fenced");
        voice.opened();
        assert!(!health.is_live());
        assert!(metrics.print().contains("fillstream_gateway_session_up{session=\"B1\"} 0"));
    }

    #[test]
    fn a_call_hangs_while_it_has_not_come_back() {
        let standing = Standing::new(&Metrics::new(), &Health::new(), "B1");
        let call = standing.awaits("commit");
        assert_eq!((standing.hangs(Duration::ZERO), standing.hangs(Duration::from_secs(60))), (Some("commit"), None));
        drop(call);
        assert_eq!(standing.hangs(Duration::ZERO), None);
    }

    #[test]
    fn every_reason_has_its_series_from_the_start() {
        let metrics = Metrics::new();
        Standing::new(&metrics, &Health::new(), "B1");
        for reason in Reason::ALL {
            let series = format!("fillstream_gateway_refusals_total{{session=\"B1\",code=\"{reason}\"}} 0");
            assert!(metrics.print().contains(&series), "{series}");
        }
    }
}
