//! What the sink tells about itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fillstream_kafka::client::TopicPartition;

/// How far a partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Everything below this offset is in ClickHouse, or is never delivered.
    pub landed: i64,
    /// Everything below this offset has been read.
    pub read: i64,
    /// Why it does not advance just now.
    pub trouble: Option<String>,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Rows inserted.
    pub rows: u64,
    /// Inserts answered.
    pub inserts: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Rows that can never be read, among the rows.
    pub unreadable: u64,
    /// Calls of ClickHouse that failed.
    pub failures: u64,
    /// Batches of a predecessor, or whose outcome was unknown, that were found complete.
    pub found_complete: u64,
    /// Batches inserted again, whole or in part.
    pub repeated: u64,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: BTreeMap<TopicPartition, PartitionStatus>,
    counts: SinkCounts,
}

/// Shared by the workers of a process.
#[derive(Debug, Default)]
pub struct SinkStatus(Mutex<Inner>);

impl SinkStatus {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions that this process owns.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<TopicPartition, PartitionStatus> {
        self.inner().partitions.clone()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> SinkCounts {
        self.inner().counts
    }

    /// The first trouble of a partition, with its name.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let inner = self.inner();
        inner.partitions.iter().find_map(|(tp, s)| s.trouble.as_ref().map(|t| format!("{tp}: {t}")))
    }

    pub(crate) fn set(&self, tp: &TopicPartition, status: PartitionStatus) {
        self.inner().partitions.insert(tp.clone(), status);
    }

    pub(crate) fn forget(&self, tp: &TopicPartition) {
        self.inner().partitions.remove(tp);
    }

    pub(crate) fn count(&self, add: impl FnOnce(&mut SinkCounts)) {
        add(&mut self.inner().counts);
    }
}
