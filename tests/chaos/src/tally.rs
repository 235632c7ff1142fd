//! What happened: faults, recoveries, invariants, exits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::ChaosError;
use crate::kind::Kind;

/// Violations quoted, at most, an invariant.
const EXAMPLES: usize = 10;

/// An invariant over a whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invariant {
    /// Things looked at, at the last look where each sees everything.
    pub examined: u64,
    /// How often it was judged.
    pub judged: u64,
    /// Violations found.
    pub violations: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// A process that ended without being told to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Whose.
    pub process: String,
    /// Milliseconds since the start.
    pub at_ms: u64,
    /// Its status and last words.
    pub said: String,
}

/// Everything counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) fired: BTreeMap<Kind, u64>,
    pub(crate) missed: BTreeMap<Kind, (u64, String)>,
    pub(crate) recovered: BTreeMap<Kind, Vec<Duration>>,
    pub(crate) never: Vec<String>,
    pub(crate) invariants: BTreeMap<String, Invariant>,
    pub(crate) exits: Vec<Exit>,
    pub(crate) drains: Vec<Duration>,
    /// The longest outage that the audit was told of.
    pub(crate) outage: Duration,
}

impl Tally {
    pub(crate) fn fired_total(&self) -> u64 {
        self.fired.values().sum()
    }

    /// Adds a judgement that sees only what is new.
    pub(crate) fn judge(&mut self, name: &str, examined: u64, violations: Vec<String>) {
        let found = u64::try_from(violations.len()).unwrap_or(u64::MAX);
        let invariant = self.invariants.entry(name.to_owned()).or_default();
        invariant.examined += examined;
        invariant.judged += 1;
        invariant.violations += found;
        let room = EXAMPLES.saturating_sub(invariant.examples.len());
        invariant.examples.extend(violations.into_iter().take(room));
    }

    /// Takes a judgement that sees everything since the start.
    pub(crate) fn judge_all(&mut self, name: &str, examined: u64, violations: u64, examples: Vec<String>) {
        let invariant = self.invariants.entry(name.to_owned()).or_default();
        invariant.examined = examined;
        invariant.judged += 1;
        invariant.violations = invariant.violations.max(violations);
        if invariant.examples.is_empty() {
            invariant.examples = examples;
        }
    }

    pub(crate) fn violations(&self) -> u64 {
        self.invariants.values().map(|i| i.violations).sum()
    }
}

/// The order of events, in a file that survives the rig.
#[derive(Debug)]
pub(crate) struct History {
    file: File,
    began: Instant,
}

impl History {
    pub(crate) fn create(path: &Path) -> Result<Self, ChaosError> {
        let file = File::create(path).map_err(ChaosError::io(format!("creating {}", path.display())))?;
        Ok(Self { file, began: Instant::now() })
    }

    pub(crate) fn at_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn note(&mut self, what: &str, event: &str, detail: &str) {
        let line = serde_json::json!({ "at_ms": self.at_ms(), "what": what, "event": event, "detail": detail });
        // Evidence only.
        let _ = writeln!(self.file, "{line}");
    }
}

/// Nearest-rank quantile; `None` of nothing.
pub(crate) fn quantile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_nearest_rank() {
        let all: Vec<Duration> = (1..=20).map(Duration::from_secs).collect();
        assert_eq!(quantile(&all, 50), Some(Duration::from_secs(10)));
        assert_eq!(quantile(&all, 95), Some(Duration::from_secs(19)));
        assert_eq!(quantile(&all, 100), Some(Duration::from_secs(20)));
        assert_eq!(quantile(&all[..1], 50), Some(Duration::from_secs(1)));
        assert_eq!(quantile::<u64>(&[], 50), None);
    }

    #[test]
    fn new_things_add_up_and_whole_looks_replace() {
        let mut tally = Tally::default();
        tally.judge("a", 2, vec![]);
        tally.judge("a", 3, vec!["x".into()]);
        tally.judge_all("b", 10, 0, vec![]);
        tally.judge_all("b", 30, 0, vec![]);
        assert_eq!((tally.invariants["a"].examined, tally.invariants["b"].examined), (5, 30));
        assert_eq!((tally.violations(), tally.invariants["b"].judged), (1, 2));
    }
}
