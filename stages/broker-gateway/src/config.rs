//! Configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use fillstream_domain::DurationMicros;
use serde::{Deserialize, Serialize};

use crate::error::GatewayError;

/// Whose clock the gateway follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The clock of the operating system.
    #[default]
    Live,
    /// Market time, released by `execution.clock.v1`.
    Paced,
}

/// The gateway of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Name of this process among those of the deployment: the writer of its heartbeats.
    pub instance: String,
    /// Whose clock.
    pub mode: Mode,
    /// Sessions that this process holds.
    pub sessions: Vec<SessionConfig>,
    /// L: longest time from the start of the transaction that commits an intent to the write on the wire, milliseconds.
    /// A successor waits as long before it decides about intents without an answer.
    pub send_within_ms: u64,
    /// Live: the gateway writes a heartbeat into `execution.controls.v1` this often, milliseconds.
    pub heartbeat_ms: u64,
    /// Live: nothing new is sent when the last heartbeat read back is older than this, milliseconds. With what lies
    /// between check and write it bounds the time from a kill's append to the last new send.
    pub controls_stale_ms: u64,
    /// Live: a new order that risk approved longer ago than this is refused, milliseconds: a backlog after an outage is
    /// never fired at the market.
    pub max_child_age_ms: u64,
    /// How long an order is kept after its end, so that late reports find it, milliseconds (of market time when paced).
    pub closed_grace_ms: u64,
    /// Longest wait for one answer of a broker, milliseconds.
    pub request_timeout_ms: u64,
    /// Most child orders, and most reports, of one transaction.
    pub max_batch: usize,
    /// Most requests to a broker at the same time.
    pub max_in_flight: usize,
    /// Live: longest wait for child orders before reports are looked at again, milliseconds.
    pub poll_ms: u64,
    /// Wait before a session that failed is started again, milliseconds.
    pub restart_backoff_ms: u64,
}

/// A session with a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    /// Id, as in `topics.yaml`, reference data and child orders.
    pub session: String,
    /// Base address of the broker's API, such as `http://127.0.0.1:9600`.
    pub url: String,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            instance: "1".to_owned(),
            mode: Mode::Live,
            sessions: Vec::new(),
            send_within_ms: 2_000,
            heartbeat_ms: 50,
            controls_stale_ms: 200,
            max_child_age_ms: 30_000,
            closed_grace_ms: 900_000,
            request_timeout_ms: 1_000,
            max_batch: 256,
            max_in_flight: 16,
            poll_ms: 5,
            restart_backoff_ms: 200,
        }
    }
}

impl GatewayConfig {
    /// Checks it whole.
    ///
    /// # Errors
    /// [`GatewayError::Config`] with every fault.
    pub fn validate(&self) -> Result<(), GatewayError> {
        let mut faults = Vec::new();
        if self.instance.is_empty() {
            faults.push("instance: is empty".to_owned());
        }
        if self.sessions.is_empty() {
            faults.push("sessions: none is given".to_owned());
        }
        let mut seen = BTreeSet::new();
        for session in &self.sessions {
            if !seen.insert(&session.session) {
                faults.push(format!("sessions: {} is listed twice", session.session));
            }
            if reqwest::Url::parse(&session.url).map_or(true, |url| url.cannot_be_a_base()) {
                faults.push(format!("sessions.{}.url: {:?} is no address", session.session, session.url));
            }
        }
        let positive = [
            ("send_within_ms", self.send_within_ms),
            ("heartbeat_ms", self.heartbeat_ms),
            ("max_child_age_ms", self.max_child_age_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("max_batch", u64::try_from(self.max_batch).unwrap_or(u64::MAX)),
            ("max_in_flight", u64::try_from(self.max_in_flight).unwrap_or(u64::MAX)),
            ("poll_ms", self.poll_ms),
        ];
        faults.extend(positive.iter().filter(|(_, v)| *v == 0).map(|(name, _)| format!("{name}: must be above 0")));
        if self.controls_stale_ms < self.heartbeat_ms.saturating_mul(2) {
            faults.push("controls_stale_ms: must be at least two heartbeats".to_owned());
        }
        if self.closed_grace().is_none() {
            faults.push("closed_grace_ms: is out of range".to_owned());
        }
        if faults.is_empty() { Ok(()) } else { Err(GatewayError::Config(faults)) }
    }

    /// L.
    #[must_use]
    pub const fn send_within(&self) -> Duration {
        Duration::from_millis(self.send_within_ms)
    }

    /// How long ended orders are kept; `None` when out of range, which [`Self::validate`] excludes.
    #[must_use]
    pub fn closed_grace(&self) -> Option<DurationMicros> {
        let micros = i64::try_from(self.closed_grace_ms).ok()?.checked_mul(1_000)?;
        DurationMicros::from_micros(micros).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let session = |session: &str, url: &str| SessionConfig { session: session.into(), url: url.into() };
        let config = GatewayConfig {
            sessions: vec![session("a", "http://h:1"), session("a", "nowhere")],
            send_within_ms: 0,
            controls_stale_ms: 60,
            ..GatewayConfig::default()
        };
        let Err(GatewayError::Config(faults)) = config.validate() else { panic!("accepted") };
        let text = faults.join("\n");
        for part in ["a is listed twice", "\"nowhere\" is no address", "send_within_ms", "controls_stale_ms"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!(faults.len(), 4);
    }
}
