//! What the sink tells about itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fillstream_kafka::client::TopicPartition;
use fillstream_kafka::observe::{Counter, Histogram, Metric, Metrics};

use crate::plan::Attempt;

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

/// Counts since the start, over all topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Rows inserted for the first time.
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
    /// Inserts of a predecessor that still ran, and were told to end.
    pub killed: u64,
}

/// The series of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    pub(crate) rows: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) bytes: Counter,
    pub(crate) insert_seconds: Histogram,
    pub(crate) retries: Counter,
    pub(crate) found_complete: Counter,
    pub(crate) killed: Counter,
    pub(crate) failures: Counter,
    first: Counter,
    repeat: Counter,
    repair: Counter,
}

impl Meters {
    fn new(metrics: &Metrics, topic: &str) -> Self {
        let counter = |metric| metrics.counter(metric, &[("topic", topic)]);
        let batches = |attempt| metrics.counter(Metric::SinkBatches, &[("topic", topic), ("attempt", attempt)]);
        Self {
            rows: counter(Metric::SinkRows),
            unreadable: counter(Metric::SinkUnreadable),
            bytes: counter(Metric::SinkBytes),
            insert_seconds: metrics.histogram(Metric::SinkInsertSeconds, &[("topic", topic)]),
            retries: counter(Metric::SinkRetries),
            found_complete: counter(Metric::SinkFoundComplete),
            killed: counter(Metric::SinkKilled),
            failures: counter(Metric::SinkFailures),
            first: batches("first"),
            repeat: batches("repeat"),
            repair: batches("repair"),
        }
    }

    /// Inserts answered, of a kind of attempt.
    pub(crate) fn batches(&self, attempt: Attempt) -> &Counter {
        match attempt {
            Attempt::First => &self.first,
            Attempt::Repeat => &self.repeat,
            Attempt::Repair(_) => &self.repair,
        }
    }
}

/// Shared by the workers of a process.
#[derive(Debug)]
pub struct SinkStatus {
    partitions: Mutex<BTreeMap<TopicPartition, PartitionStatus>>,
    meters: BTreeMap<String, Meters>,
    pub(crate) transactions: Counter,
}

impl SinkStatus {
    pub(crate) fn new<'a>(metrics: &Metrics, topics: impl Iterator<Item = &'a str>) -> Self {
        Self {
            partitions: Mutex::default(),
            meters: topics.map(|t| (t.to_owned(), Meters::new(metrics, t))).collect(),
            transactions: metrics.counter(Metric::SinkTransactions, &[]),
        }
    }

    fn inner(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, PartitionStatus>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions that this process owns.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<TopicPartition, PartitionStatus> {
        self.inner().clone()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> SinkCounts {
        let sum = |counter: fn(&Meters) -> u64| self.meters.values().map(counter).sum::<u64>();
        SinkCounts {
            rows: sum(|m| m.rows.get()),
            inserts: sum(|m| m.first.get() + m.repeat.get() + m.repair.get()),
            transactions: self.transactions.get(),
            unreadable: sum(|m| m.unreadable.get()),
            failures: sum(|m| m.failures.get()),
            found_complete: sum(|m| m.found_complete.get()),
            repeated: sum(|m| m.repeat.get() + m.repair.get()),
            killed: sum(|m| m.killed.get()),
        }
    }

    /// The first trouble of a partition, with its name.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.inner().iter().find_map(|(tp, s)| s.trouble.as_ref().map(|t| format!("{tp}: {t}")))
    }

    pub(crate) fn set(&self, tp: &TopicPartition, status: PartitionStatus) {
        self.inner().insert(tp.clone(), status);
    }

    pub(crate) fn forget(&self, tp: &TopicPartition) {
        self.inner().remove(tp);
    }

    /// The series of a landed topic; there are none of any other.
    pub(crate) fn of(&self, topic: &str) -> Option<&Meters> {
        self.meters.get(topic)
    }
}
