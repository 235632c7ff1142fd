//! What a batch writes, as records of the log.

use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::batch::{BatchOutput, OutDeadLetter};
use fillstream_core::codec::AvroRecord;
use fillstream_core::record::{ChangelogEntry, OutRecord, Payload};

use crate::cluster::Cluster;
use crate::log::LogRecord;
use crate::restore::{self, SEQUENCE};

/// Topic, partition, record.
pub(crate) type Write = (String, i32, LogRecord);

/// Everything that a batch writes for a task.
pub(crate) fn writes_of(group: &str, partition: i32, out: &BatchOutput, cluster: &Cluster) -> Vec<Write> {
    let sequence = out.record.sequence;
    let mut writes: Vec<Write> = Vec::new();
    for record in &out.outputs {
        writes.push((record.topic.to_owned(), cluster.partition_of(record.topic, &record.key), output(record)));
    }
    for letter in &out.dead_letters {
        writes.push((format!("{}.dlq", letter.stage), partition, dead_letter(letter)));
    }
    for entry in &out.changelog {
        writes.push((restore::changelog_topic(group), partition, change(entry, sequence, out.record.now)));
    }
    let journal = LogRecord {
        key: partition.to_string().into(),
        value: Some(Payload::Avro(out.record.to_bytes().into())),
        headers: Vec::new(),
        timestamp: out.record.now,
    };
    writes.push((restore::journal_topic(group), partition, journal));
    writes
}

/// The record of the log that an output becomes.
pub(crate) fn output(record: &OutRecord) -> LogRecord {
    let headers = record.wire_headers().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let value = Some(Payload::Avro(Arc::clone(&record.payload)));
    LogRecord { key: Arc::clone(&record.key), value, headers, timestamp: record.event_time }
}

/// The record of the log that a dead letter becomes.
pub(crate) fn dead_letter(letter: &OutDeadLetter) -> LogRecord {
    let headers = letter.wire_headers().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let value = Some(Payload::Avro(Arc::clone(&letter.payload)));
    LogRecord { key: Arc::clone(&letter.key), value, headers, timestamp: letter.event_time }
}

/// The record of the log that a changelog entry becomes.
pub(crate) fn change(entry: &ChangelogEntry, sequence: i64, now: TimestampMicros) -> LogRecord {
    LogRecord {
        key: format!("{}/{}", entry.store, entry.key).into(),
        value: entry.value.as_deref().map(|v| Payload::Avro(v.into())),
        headers: vec![(SEQUENCE.to_owned(), sequence.to_be_bytes().to_vec())],
        timestamp: now,
    }
}
