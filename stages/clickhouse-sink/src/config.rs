//! Configuration of the sink.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::SinkError;

/// How to reach ClickHouse.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouseConfig {
    /// Base address of the HTTP interface.
    pub url: String,
    /// Database of the landing tables and views; made when missing.
    pub database: String,
    /// User; `None` for the server's default.
    pub user: Option<String>,
    /// Password. Never printed.
    #[serde(skip_serializing)]
    pub password: Option<String>,
    /// Longest wait for an answer, milliseconds.
    pub timeout_ms: u64,
    /// The server refuses an insert while its disk has less room than this, bytes; 0: it inserts as long as it can.
    pub min_free_disk_bytes: u64,
}

/// How the sink batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkConfig {
    /// ClickHouse.
    pub clickhouse: ClickHouseConfig,
    /// Instance: the stem of the group instance ids and the transactional ids. Two living instances never share one.
    pub instance: String,
    /// Consumer group, and the stem of the transactional ids.
    pub group: String,
    /// Worker threads, each a member of the group.
    pub workers: u16,
    /// Most rows of an insert.
    pub batch_rows: usize,
    /// Most bytes of an insert.
    pub batch_bytes: usize,
    /// Longest time a record waits for others, milliseconds. When the oldest record of a worker has waited that long,
    /// every partition whose oldest has waited half as long is cut too, under one transaction. So the number of small
    /// inserts depends on this time and the number of partitions, not on the load; each makes a part that ClickHouse
    /// must merge away again.
    pub linger_ms: u64,
    /// Shortest time between two transactions, and so between two inserts of one partition, milliseconds: what full
    /// batches are held to.
    pub round_ms: u64,
    /// Most inserts of a process at a time.
    pub parallel_inserts: usize,
    /// An insert must have reached the server this long after its bounds were made, milliseconds. A successor waits
    /// as long for an insert that may still be on its way.
    pub deadline_ms: u64,
    /// Records held in memory by a worker, bytes; fetching pauses above.
    pub buffer_bytes: usize,
    /// Pause before a failed call is tried again, milliseconds; doubled up to 5 s.
    pub retry_ms: u64,
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        Self {
            url: "http://localhost:8123".into(),
            database: "fillstream".into(),
            user: None,
            password: None,
            timeout_ms: 30_000,
            min_free_disk_bytes: 256 << 20,
        }
    }
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            clickhouse: ClickHouseConfig::default(),
            instance: "sink-0".into(),
            group: "fillstream.clickhouse-sink".into(),
            workers: 1,
            batch_rows: 50_000,
            batch_bytes: 16 << 20,
            linger_ms: 2_000,
            round_ms: 100,
            parallel_inserts: 2,
            deadline_ms: 10_000,
            buffer_bytes: 256 << 20,
            retry_ms: 100,
        }
    }
}

impl fmt::Debug for ClickHouseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseConfig")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("timeout_ms", &self.timeout_ms)
            .field("min_free_disk_bytes", &self.min_free_disk_bytes)
            .finish()
    }
}

impl SinkConfig {
    /// Checks it whole.
    ///
    /// # Errors
    /// [`SinkError::Config`] with every fault.
    pub fn validate(&self) -> Result<(), SinkError> {
        let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let identifier = |s: &str| {
            s.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let rules = [
            (word(&self.instance), "instance: must be letters, digits, '.', '_' or '-'"),
            (word(&self.group), "group: must be letters, digits, '.', '_' or '-'"),
            (identifier(&self.clickhouse.database), "clickhouse.database: must be a plain identifier"),
            (self.clickhouse.url.starts_with("http"), "clickhouse.url: must be an http address"),
            (self.clickhouse.timeout_ms >= 100, "clickhouse.timeout_ms: must be at least 100"),
            (self.workers >= 1, "workers: must be at least 1"),
            (self.batch_rows >= 1, "batch_rows: must be at least 1"),
            (self.batch_bytes >= 1, "batch_bytes: must be at least 1"),
            (self.round_ms >= 10, "round_ms: must be at least 10"),
            (self.retry_ms >= 1, "retry_ms: must be at least 1"),
            (self.parallel_inserts >= 1, "parallel_inserts: must be at least 1"),
            (self.deadline_ms >= 1_000, "deadline_ms: must be at least 1000"),
            (self.buffer_bytes >= 1 << 20, "buffer_bytes: must be at least 1048576"),
        ];
        let faults: Vec<String> = rules.iter().filter(|(ok, _)| !ok).map(|(_, text)| (*text).to_owned()).collect();
        if faults.is_empty() { Ok(()) } else { Err(SinkError::Config(faults)) }
    }

    /// Blocks whose tokens a table must remember, at least: twice what `partitions` can insert while a deadline runs.
    #[must_use]
    pub fn needed_window(&self, partitions: i32) -> u64 {
        let partitions = u64::try_from(partitions).unwrap_or(0);
        let inserts = self.deadline_ms.div_ceil(self.round_ms.max(1)).saturating_add(1);
        partitions.saturating_mul(inserts).saturating_mul(2)
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    pub(crate) fn round(&self) -> Duration {
        Duration::from_millis(self.round_ms)
    }

    /// Pause before try `attempt`, from 0.
    pub(crate) fn backoff(&self, attempt: u32) -> Duration {
        Duration::from_millis(self.retry_ms.saturating_mul(1 << attempt.min(10)).min(5_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let mut c = SinkConfig { instance: String::new(), round_ms: 0, ..SinkConfig::default() };
        c.clickhouse.database = "a-b".into();
        let Err(SinkError::Config(faults)) = c.validate() else { panic!("accepted") };
        assert_eq!(faults.len(), 3, "{faults:?}");
        SinkConfig::default().validate().unwrap();
    }

    #[test]
    fn the_password_is_not_printed() {
        let c = ClickHouseConfig { password: Some("hunter2".into()), ..ClickHouseConfig::default() };
        assert!(!format!("{c:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&c).unwrap().contains("hunter2"));
    }

    #[test]
    fn the_window_is_twice_the_inserts_of_a_deadline() {
        let c = SinkConfig { deadline_ms: 10_000, round_ms: 100, ..SinkConfig::default() };
        assert_eq!(c.needed_window(24), 24 * 101 * 2);
    }
}
