//! How a task comes back: committed offsets, changelog and journal, which must agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::codec::AvroRecord;
use fillstream_core::group::Group;
use fillstream_core::mutant;
use fillstream_core::record::Payload;
use fillstream_core::replay::tables_read;
use fillstream_core::task::{Task, TaskContext};
use fillstream_schemas::engine::JournalRecord;

use crate::error::{LogError, TestkitError};
use crate::log::{Committed, Log, LogRecord};
use crate::tables::Positions;

/// Header of changelog entries and dead letters: 8 bytes, big-endian, the batch's sequence.
pub(crate) const SEQUENCE: &str = "fs-seq";

/// A task with the position of its consumer.
pub(crate) struct Running {
    pub task: Task,
    /// Next offset to poll of each input.
    pub next: BTreeMap<&'static str, i64>,
    /// Next offset to commit of each input.
    pub done: BTreeMap<&'static str, i64>,
    /// Last tick whose instant is drained.
    pub complete: i64,
    /// Ends of the inputs when a tick was met: everything of its instant is below.
    pub targets: (i64, BTreeMap<&'static str, i64>),
    /// How far the tables had been read for the last batch: they never go back for a task.
    pub tables: Positions,
}

impl Running {
    /// Offers what is committed and not offered yet.
    pub(crate) fn poll(&mut self, log: &Log) {
        let partition = self.task.partition();
        for (topic, next) in &mut self.next {
            let read = if mutant::is("read uncommitted") { Log::read_uncommitted } else { Log::read };
            let (records, end) = read(log, topic, partition, *next);
            for (offset, record) in records {
                if let Some(envelope) = record.envelope(topic, partition, offset) {
                    self.task.offer(envelope);
                }
            }
            *next = end;
        }
    }

    /// Whether the inputs are read to the ends that they had when the tick was met, open transactions counted.
    pub(crate) fn has_read(&mut self, log: &Log, tick: i64) -> bool {
        let partition = self.task.partition();
        if self.targets.0 != tick {
            let ends = self.next.keys().map(|topic| (*topic, log.end_offset(topic, partition)));
            self.targets = (tick, ends.collect());
        }
        self.targets.1.iter().all(|(topic, end)| self.next.get(topic).is_some_and(|next| next >= end))
    }

    /// The batch of a journal record is committed.
    pub(crate) fn saw(&mut self, record: &JournalRecord) {
        for (topic, partition, next) in tables_read(record) {
            let at = self.tables.entry((topic.to_owned(), partition)).or_insert(0);
            *at = (*at).max(next);
        }
    }

    /// What is committed with a batch: every input, so that all of them carry its sequence.
    pub(crate) fn offsets(
        &self,
        log: &Log,
        taken: &BTreeMap<&'static str, i64>,
        sequence: i64,
    ) -> Vec<(String, i32, Committed)> {
        let at = |topic: &'static str| taken.get(topic).or_else(|| self.done.get(topic)).copied().unwrap_or(0);
        let commit = |topic: &'static str| Committed { offset: at(topic), metadata: metadata(log, topic, sequence) };
        self.done.keys().map(|topic| ((*topic).to_owned(), self.task.partition(), commit(topic))).collect()
    }
}

pub(crate) fn changelog_topic(group: &str) -> String {
    format!("fillstream.{group}.changelog")
}

pub(crate) fn journal_topic(group: &str) -> String {
    format!("fillstream.{group}.journal")
}

fn metadata(log: &Log, topic: &str, sequence: i64) -> String {
    format!("v1;{sequence};{}", log.topic_uuid(topic))
}

/// Commits offset 0 of every input of a group that has never run.
pub(crate) fn found(log: &mut Log, group: &Group, partition: i32) -> Result<(), TestkitError> {
    let empty = log.end_offset(&changelog_topic(group.name()), partition) == 0
        && log.end_offset(&journal_topic(group.name()), partition) == 0;
    for s in group.subscriptions() {
        if log.stable_offset(group.name(), s.input.topic, partition)?.is_none() {
            if !empty {
                return Err(disagree(group, partition, format!("no offset of {}, but it has run", s.input.topic)));
            }
            let metadata = metadata(log, s.input.topic, 0);
            log.commit_offset(group.name(), s.input.topic, partition, Committed { offset: 0, metadata });
        }
    }
    Ok(())
}

/// A task as its last committed batch left it.
///
/// # Errors
/// [`LogError::Unstable`] while a transaction that belongs to the task is open; [`TestkitError::Restore`] when the
/// sequences of offsets, journal and changelog do not agree.
pub(crate) fn restore(
    log: &Log,
    group: &Arc<Group>,
    partition: i32,
    context: &TaskContext,
) -> Result<Running, TestkitError> {
    let (sequence, done) = committed(log, group, partition)?;
    let journal = journal(log, group.name(), partition)?;
    let last = journal.last().cloned().unwrap_or_default();
    if last.sequence != sequence {
        let text = format!("the journal ends at {}, the offsets at {sequence}", last.sequence);
        return Err(disagree(group, partition, text));
    }
    let mut task = Task::new(group, partition, context.clone());
    let topic = changelog_topic(group.name());
    let changes = if mutant::is("restore only to the last stable offset") {
        log.read(&topic, partition, 0).0
    } else {
        to_end(log, &topic, partition)?
    };
    for (offset, record) in changes {
        let entry = record.number(SEQUENCE).unwrap_or(i64::MAX);
        if entry > sequence {
            return Err(disagree(group, partition, format!("{topic}@{offset} is of batch {entry}, after {sequence}")));
        }
        let mut parts = record.key.splitn(3, '/');
        let (stage, store, key) = (parts.next(), parts.next(), parts.next());
        let store = format!("{}/{}", stage.unwrap_or_default(), store.unwrap_or_default());
        task.restore(&store, key.unwrap_or_default(), record.value.as_ref().map(Payload::raw))?;
    }
    let now = if sequence == 0 { TimestampMicros::from_micros(i64::MIN) } else { last.now };
    task.restored(sequence, now);
    let complete = if last.complete { last.instant } else { 0 };
    let (next, targets, tables) = (done.clone(), (-1, BTreeMap::new()), Positions::new());
    let mut running = Running { task, next, done, complete, targets, tables };
    journal.iter().for_each(|record| running.saw(record));
    Ok(running)
}

/// Sequence of the task's last committed batch.
pub(crate) fn committed_sequence(log: &Log, group: &Group, partition: i32) -> Result<i64, TestkitError> {
    committed(log, group, partition).map(|(sequence, _)| sequence)
}

type Offsets = BTreeMap<&'static str, i64>;

// The offsets and the one sequence that all of them carry.
fn committed(log: &Log, group: &Group, partition: i32) -> Result<(i64, Offsets), TestkitError> {
    let (mut sequences, mut offsets) = (Vec::new(), Offsets::new());
    for s in group.subscriptions() {
        let topic = s.input.topic;
        let found = if mutant::is("unstable offsets taken as they are") {
            log.unstable_offset(group.name(), topic, partition)
        } else {
            log.stable_offset(group.name(), topic, partition)?
        };
        if found.is_none() && mutant::is("a missing offset read as earliest") {
            sequences.push(journal(log, group.name(), partition)?.pop().unwrap_or_default().sequence);
            offsets.insert(topic, 0);
            continue;
        }
        let Some(committed) = found else {
            return Err(disagree(group, partition, format!("no committed offset of {topic}")));
        };
        let mut parts = committed.metadata.splitn(3, ';').skip(1);
        let sequence = parts.next().and_then(|s| s.parse().ok()).unwrap_or(-1_i64);
        if parts.next() != Some(&log.topic_uuid(topic)) {
            return Err(disagree(group, partition, format!("{topic} is another topic")));
        }
        sequences.push(sequence);
        offsets.insert(topic, committed.offset);
    }
    match sequences.split_first() {
        Some((first, rest)) if rest.iter().all(|s| s == first) => Ok((*first, offsets)),
        Some(_) | None => Err(disagree(group, partition, format!("offsets of batches {sequences:?}"))),
    }
}

// All committed records up to the end that open transactions have reached: a marker that is still to come is waited for.
fn to_end<'l>(log: &'l Log, topic: &str, partition: i32) -> Result<Vec<(i64, &'l LogRecord)>, TestkitError> {
    let end = log.end_offset(topic, partition);
    let (records, next) = log.read(topic, partition, 0);
    if next < end {
        let what = format!("{topic}-{partition}");
        let by = log.held_by(topic, partition).unwrap_or_default().to_owned();
        return Err(LogError::Unstable { what, by }.into());
    }
    Ok(records)
}

/// The journal of a task, oldest first.
pub(crate) fn journal(log: &Log, group: &str, partition: i32) -> Result<Vec<JournalRecord>, TestkitError> {
    let topic = journal_topic(group);
    to_end(log, &topic, partition)?
        .into_iter()
        .map(|(offset, record)| {
            JournalRecord::decode(record.bytes()).map_err(|source| TestkitError::Record {
                topic: topic.clone(),
                partition,
                offset,
                source,
            })
        })
        .collect()
}

fn disagree(group: &Group, partition: i32, text: String) -> TestkitError {
    TestkitError::Restore { group: group.name().to_owned(), partition, text }
}
