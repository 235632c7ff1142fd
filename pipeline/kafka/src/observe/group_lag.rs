//! How far a consumer group is, under the names of kafka_exporter, which the dashboards of Strimzi show.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Labels, Metric, Metrics};
use crate::client::TopicPartition;

/// Position of a group in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Partition.
    pub tp: TopicPartition,
    /// Everything below is done.
    pub committed: i64,
    /// End of the partition.
    pub end: i64,
}

impl Progress {
    /// Records not done.
    #[must_use]
    pub fn lag(&self) -> i64 {
        self.end.saturating_sub(self.committed).max(0)
    }
}

/// The series of one member of a group: of the partitions that it owns.
#[derive(Debug)]
pub struct GroupLag {
    metrics: Arc<Metrics>,
    group: String,
    shown: BTreeSet<TopicPartition>,
}

impl GroupLag {
    /// Of `group`; nothing is shown yet.
    #[must_use]
    pub fn new(metrics: &Arc<Metrics>, group: &str) -> Self {
        Self { metrics: Arc::clone(metrics), group: group.to_owned(), shown: BTreeSet::new() }
    }

    /// Shows these partitions, and forgets those that have moved to another member.
    pub fn show(&mut self, owned: &[Progress]) {
        let now: BTreeSet<TopicPartition> = owned.iter().map(|p| p.tp.clone()).collect();
        for gone in self.shown.difference(&now) {
            self.each(gone, |metric, labels, _| self.metrics.remove(metric, labels));
        }
        for progress in owned {
            self.each(&progress.tp, |metric, labels, value| self.metrics.gauge(metric, labels).set(value(progress)));
        }
        self.shown = now;
    }

    fn each(&self, tp: &TopicPartition, call: impl Fn(Metric, Labels<'_>, fn(&Progress) -> i64)) {
        let partition = tp.partition.to_string();
        let (group, topic, partition) =
            (("consumergroup", self.group.as_str()), ("topic", &*tp.topic), ("partition", partition.as_str()));
        call(Metric::ConsumerGroupOffset, &[group, topic, partition], |p| p.committed);
        call(Metric::ConsumerGroupLag, &[group, topic, partition], Progress::lag);
        call(Metric::PartitionOffset, &[topic, partition], |p| p.end);
    }
}

impl Drop for GroupLag {
    fn drop(&mut self) {
        self.show(&[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(partition: i32, committed: i64, end: i64) -> Progress {
        Progress { tp: TopicPartition::new("t", partition), committed, end }
    }

    #[test]
    fn partitions_come_and_go_under_the_names_of_kafka_exporter() {
        let metrics = Metrics::new();
        let mut lag = GroupLag::new(&metrics, "g");
        lag.show(&[progress(0, 5, 7), progress(1, 9, 3)]);
        let text = metrics.print();
        for line in [
            r#"kafka_consumergroup_lag{consumergroup="g",topic="t",partition="0"} 2"#,
            r#"kafka_consumergroup_lag{consumergroup="g",topic="t",partition="1"} 0"#,
            r#"kafka_consumergroup_current_offset{consumergroup="g",topic="t",partition="0"} 5"#,
            r#"kafka_topic_partition_current_offset{topic="t",partition="0"} 7"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        lag.show(&[progress(1, 9, 9)]);
        assert!(!metrics.print().contains(r#"partition="0""#));
        drop(lag);
        assert!(!metrics.print().contains("partition="));
    }
}
