//! The metrics of a worker.

use std::collections::BTreeMap;

use crate::observe::{Counter, Gauge, Histogram, Metric, Metrics};

pub(super) struct Meters {
    group: String,
    pub(super) records: Counter,
    pub(super) outputs: Counter,
    pub(super) dead_letters: Counter,
    pub(super) forwards: Counter,
    pub(super) commits: Counter,
    pub(super) aborts: Counter,
    pub(super) restores: Counter,
    pub(super) rebuilds: Counter,
    pub(super) batch_size: Histogram,
    pub(super) poll_seconds: Histogram,
    pub(super) process_seconds: Histogram,
    pub(super) produce_seconds: Histogram,
    pub(super) offsets_seconds: Histogram,
    pub(super) commit_seconds: Histogram,
    pub(super) end_to_end_seconds: Histogram,
    pub(super) restore_seconds: Histogram,
    pub(super) tasks: Gauge,
    pub(super) timers_set: Gauge,
}

impl Meters {
    pub(super) fn new(m: &Metrics, group: &str, worker: usize) -> Self {
        let labels: &[(&'static str, &str)] = &[("group", group)];
        let phase = |phase: &str| m.histogram(Metric::TransactionSeconds, &[("group", group), ("phase", phase)]);
        let worker = worker.to_string();
        let own: &[(&'static str, &str)] = &[("group", group), ("worker", &worker)];
        Self {
            group: group.to_owned(),
            records: m.counter(Metric::Records, labels),
            outputs: m.counter(Metric::Outputs, labels),
            dead_letters: m.counter(Metric::DeadLetters, labels),
            forwards: m.counter(Metric::Forwards, labels),
            commits: m.counter(Metric::Commits, labels),
            aborts: m.counter(Metric::Aborts, labels),
            restores: m.counter(Metric::Restores, labels),
            rebuilds: m.counter(Metric::Rebuilds, labels),
            batch_size: m.histogram(Metric::BatchSize, labels),
            poll_seconds: phase("poll"),
            process_seconds: phase("process"),
            produce_seconds: phase("produce"),
            offsets_seconds: phase("offsets"),
            commit_seconds: phase("commit"),
            end_to_end_seconds: m.histogram(Metric::EndToEndSeconds, labels),
            restore_seconds: m.histogram(Metric::RestoreSeconds, labels),
            tasks: m.gauge(Metric::Tasks, own),
            timers_set: m.gauge(Metric::TimersSet, own),
        }
    }

    pub(super) fn lag(&self, m: &Metrics, by_partition: &BTreeMap<i32, i64>) {
        for (partition, lag) in by_partition {
            m.gauge(Metric::Lag, &[("group", &self.group), ("partition", &partition.to_string())]).set(*lag);
        }
    }

    pub(super) fn forget_lag<'a>(&self, m: &Metrics, partitions: impl Iterator<Item = &'a i32>) {
        for partition in partitions {
            m.remove(Metric::Lag, &[("group", &self.group), ("partition", &partition.to_string())]);
        }
    }
}
