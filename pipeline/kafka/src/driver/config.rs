//! Configuration of the driver.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::DriverError;
use super::producers::MOST_IDS;

/// How groups are run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriverConfig {
    /// Name of this instance, the same after a restart and unlike that of any other running one: transactional ids and
    /// group members are made from it.
    pub instance: String,
    /// Whether batches run only on the ticks of the pacer's clock.
    pub paced: bool,
    /// Topic of those ticks, with as many partitions as the inputs.
    pub clock_topic: String,
    /// Most records and timers of a batch of one task. The first take at most 500.
    pub max_batch_records: usize,
    /// With lag, batches grow until those of one transaction are computed in half of this and shrink when it takes longer,
    /// milliseconds; the broker's part is not counted. Not in paced mode.
    pub target_batch_ms: u64,
    /// Most bytes gathered for one transaction.
    pub max_batch_bytes: usize,
    /// A batch that takes longer aborts itself, milliseconds; below the transaction timeout.
    pub max_batch_ms: u64,
    /// With lag, how long to gather before a transaction, milliseconds.
    pub min_batch_ms: u64,
    /// Records gathered at once from which there is lag.
    pub lag_records: usize,
    /// Longest wait for records when nothing is due, milliseconds.
    pub idle_wait_ms: u64,
    /// Longest restore of one assignment, tables included, milliseconds.
    pub restore_timeout_ms: u64,
    /// How long changelog, journal and offsets may disagree during restore, milliseconds.
    pub agree_timeout_ms: u64,
    /// Transactional ids of a worker: 1, or 2 used in turn, so that a transaction does not wait until the markers of the
    /// one before are written.
    pub transactional_ids: usize,
    /// Failures in a row, without a commit between, after which a worker stops.
    pub max_failures: u32,
    /// How far the OS clock may be behind the last batch, or jump against the monotonic clock, milliseconds.
    pub clock_tolerance_ms: i64,
    /// How often each task's state is written down for a replay to begin at, milliseconds; 0: never.
    pub snapshot_interval_ms: u64,
    /// Bytes of a snapshot that one batch carries along.
    pub snapshot_part_bytes: usize,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            instance: "local".into(),
            paced: false,
            clock_topic: "execution.clock.v1".into(),
            max_batch_records: 10_000,
            target_batch_ms: 200,
            max_batch_bytes: 8_000_000,
            max_batch_ms: 1_000,
            min_batch_ms: 5,
            lag_records: 64,
            idle_wait_ms: 50,
            restore_timeout_ms: 120_000,
            agree_timeout_ms: 15_000,
            transactional_ids: 1,
            max_failures: 10,
            clock_tolerance_ms: 2_000,
            snapshot_interval_ms: 1_800_000,
            snapshot_part_bytes: 262_144,
        }
    }
}

impl DriverConfig {
    /// Checks it whole.
    ///
    /// # Errors
    /// [`DriverError::Config`] with every fault.
    pub fn validate(&self) -> Result<(), DriverError> {
        let mut faults = Vec::new();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.instance.is_empty() || !self.instance.chars().all(word) {
            faults.push("instance: must be letters, digits, - or _");
        }
        if self.max_batch_records == 0 || self.max_batch_bytes == 0 {
            faults.push("max_batch_records, max_batch_bytes: must be at least 1");
        }
        if self.target_batch_ms >= self.max_batch_ms {
            faults.push("target_batch_ms: must be below max_batch_ms");
        }
        if self.min_batch_ms >= self.max_batch_ms {
            faults.push("min_batch_ms: must be below max_batch_ms");
        }
        if !(1..=MOST_IDS).contains(&self.transactional_ids) {
            faults.push("transactional_ids: must be 1 or 2");
        }
        if self.snapshot_part_bytes == 0 {
            faults.push("snapshot_part_bytes: must be at least 1");
        }
        if self.max_failures == 0 {
            faults.push("max_failures: must be at least 1");
        }
        if faults.is_empty() { Ok(()) } else { Err(DriverError::Config(faults.join("; "))) }
    }

    pub(super) fn restore_timeout(&self) -> Duration {
        Duration::from_millis(self.restore_timeout_ms)
    }
}
