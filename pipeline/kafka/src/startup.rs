//! What a process does before its parts start: waits for the services, and compares its clock with the cluster's.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fillstream_core::error::Reaction;
use thiserror::Error;
use tracing::{info, warn};

use crate::client::{ClientError, KafkaClient as _, RdKafka};
use crate::topics::TIME_TOPIC;

/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Between two lines of the log about the same wait.
const TELL: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Why a process must not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Kafka.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no topic to ask for the time.
    #[error("topics are not as wanted, run `fillstream topics apply`: {TIME_TOPIC} does not exist")]
    NoTopic,
    /// The clocks differ.
    #[error(
        "the OS clock is {by_ms} ms {} of the kafka broker's, {tolerance_ms} ms are allowed (run.clock_tolerance_ms): mend the clock of this machine, or of the broker",
        if *is_ahead { "ahead" } else { "behind" }
    )]
    Clock {
        /// How far at least, milliseconds.
        by_ms: i64,
        /// Whether ours is later.
        is_ahead: bool,
        /// Allowed, milliseconds.
        tolerance_ms: i64,
    },
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Client(e) => e.reaction(),
            Self::NoTopic | Self::Clock { .. } => Reaction::Stop,
        }
    }
}

/// How long a process waits for services that do not answer.
pub struct Patience<'a> {
    /// Ends the wait.
    pub stop: &'a AtomicBool,
    /// Longest wait; `None`: until `stop`.
    pub limit: Option<Duration>,
    /// Told what is waited for.
    pub on_wait: &'a dyn Fn(&str),
}

impl Patience<'_> {
    /// Calls until it succeeds, fails in a way that does not pass, or patience ends. `None`: stopped.
    ///
    /// # Errors
    /// The last error of `call`.
    pub fn until<T, E: Display>(
        &self,
        what: &str,
        passes: impl Fn(&E) -> bool,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let (begun, mut told) = (Instant::now(), None::<Instant>);
        let mut pause = PAUSES.0;
        while !self.stop.load(Ordering::Relaxed) {
            match call() {
                Ok(done) => {
                    if told.is_some() {
                        info!(waited = ?begun.elapsed(), "{what}: done");
                    }
                    return Ok(Some(done));
                }
                Err(e) if passes(&e) && self.limit.is_none_or(|limit| begun.elapsed() + pause < limit) => {
                    (self.on_wait)(&format!("{what}: {e}"));
                    if told.is_none_or(|t| t.elapsed() >= TELL) {
                        told = Some(Instant::now());
                        warn!(error = %e, waited = ?begun.elapsed(), "{what}: waits");
                    }
                }
                Err(e) => return Err(e),
            }
            let next = Instant::now() + pause;
            while Instant::now() < next && !self.stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(LOOK.min(next.saturating_duration_since(Instant::now())));
            }
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
        Ok(None)
    }
}

/// Writes a record that the broker stamps, and compares that time with `now_us` (microseconds since 1970-01-01 UTC) before
/// and after. The way to the broker and back counts for the clock, never against it.
///
/// # Errors
/// [`StartError::Clock`] when the two are further apart than `tolerance_ms`; [`StartError::Client`] when the broker does not
/// answer.
pub fn check_clock(kafka: &RdKafka, tolerance_ms: i64, now_us: impl Fn() -> i64) -> Result<(), StartError> {
    if !kafka.describe(&[TIME_TOPIC])?.contains_key(TIME_TOPIC) {
        return Err(StartError::NoTopic);
    }
    let before_ms = now_us().div_euclid(1_000);
    let broker_ms = kafka.append_time_ms(TIME_TOPIC)?;
    let after_ms = now_us().div_euclid(1_000);
    compared(before_ms, broker_ms, after_ms, tolerance_ms)
}

fn compared(before_ms: i64, broker_ms: i64, after_ms: i64, tolerance_ms: i64) -> Result<(), StartError> {
    let (ahead, behind) = (before_ms.saturating_sub(broker_ms), broker_ms.saturating_sub(after_ms));
    if ahead.max(behind) <= tolerance_ms {
        return Ok(());
    }
    Err(StartError::Clock { by_ms: ahead.max(behind), is_ahead: ahead > behind, tolerance_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_way_to_the_broker_cannot_explain_is_refused() {
        compared(10_000, 12_000, 15_000, 2_000).unwrap();
        compared(12_000, 10_000, 12_500, 2_000).unwrap();
        compared(1_000, 6_000, 4_000, 2_000).unwrap();
        let ahead = compared(12_001, 10_000, 12_500, 2_000).unwrap_err().to_string();
        assert!(ahead.starts_with("the OS clock is 2001 ms ahead of the kafka broker's, 2000 ms"), "{ahead}");
        let behind = compared(1_000, 6_001, 4_000, 2_000).unwrap_err().to_string();
        assert!(behind.starts_with("the OS clock is 2001 ms behind"), "{behind}");
    }

    #[test]
    fn patience_ends_with_success_with_the_limit_with_a_fault_or_with_a_stop() {
        let stop = AtomicBool::new(false);
        let waits = std::cell::RefCell::new(Vec::new());
        let on_wait = |text: &str| waits.borrow_mut().push(text.to_owned());
        let patience = |limit_ms| Patience { stop: &stop, limit: limit_ms, on_wait: &on_wait };
        let mut left = 2;
        let done = patience(None).until(
            "kafka",
            |_: &String| true,
            || {
                left -= 1;
                if left == 0 { Ok(7) } else { Err("away".to_owned()) }
            },
        );
        assert_eq!(done, Ok(Some(7)));
        assert_eq!(*waits.borrow(), ["kafka: away"]);
        let refused: Result<Option<()>, String> = patience(None).until("x", |_| false, || Err("wrong".into()));
        assert_eq!(refused, Err("wrong".into()));
        let limit = Some(Duration::from_millis(250));
        let late: Result<Option<()>, String> = patience(limit).until("x", |_| true, || Err("away".into()));
        assert_eq!(late, Err("away".into()));
        let stopped: Result<Option<()>, String> = patience(None).until(
            "x",
            |_| true,
            || {
                stop.store(true, Ordering::Relaxed);
                Err("away".into())
            },
        );
        assert_eq!(stopped, Ok(None));
    }
}
