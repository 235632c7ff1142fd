//! The journal fed again: a fresh task must write the same bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use fillstream_core::batch::BatchOutput;
use fillstream_core::group::Group;
use fillstream_core::record::{Envelope, Payload, header};
use fillstream_core::replay::{LogRow, Replay, ReplayError, Source, Wanted};
use fillstream_core::table::ReadRange;

use crate::driver::Driver;
use crate::error::TestkitError;
use crate::log::{Log, LogRecord};
use crate::restore::{self, SEQUENCE};
use crate::writes::{change, dead_letter, output};

type Written = BTreeMap<(String, i32), Vec<LogRecord>>;

impl Driver {
    /// Feeds every task's journal to a fresh task, batch by batch: inputs and timers in the recorded order, compacted tables
    /// from the journal alone. What it writes must equal what was committed, the journal itself included. Returns the number of batches.
    ///
    /// # Errors
    /// [`TestkitError::Replay`] names the first difference.
    pub fn replay(&self) -> Result<usize, TestkitError> {
        let mut batches = 0;
        for run in &self.groups {
            for partition in 0..self.world.cluster.partitions() {
                batches += self.replay_task(&run.group, partition)?;
            }
        }
        Ok(batches)
    }

    fn replay_task(&self, group: &Arc<Group>, partition: i32) -> Result<usize, TestkitError> {
        let (log, name) = (&self.world.log, group.name());
        let journal = restore::journal(log, name, partition)?;
        let mut replay = Replay::new(group, partition, self.world.context.clone());
        let mut letters = Written::new();
        for record in &journal {
            let differs = |text: String| TestkitError::Replay {
                group: name.to_owned(),
                partition,
                sequence: record.sequence,
                text,
            };
            let out = replay.run(record, &mut InLog(log)).map_err(|e| match e {
                ReplayError::Engine(e) => TestkitError::Engine(e),
                e @ (ReplayError::Source(_) | ReplayError::Journal { .. }) => differs(e.to_string()),
            })?;
            if out.record != *record {
                return Err(differs(format!("journal {:?} instead of {record:?}", out.record)));
            }
            compare(&self.written(group, partition, &out), &committed(log, group, partition, record.sequence))
                .map_err(differs)?;
            for letter in &out.dead_letters {
                letters.entry((format!("{}.dlq", letter.stage), partition)).or_default().push(dead_letter(letter));
            }
            replay.commit(&out);
        }
        let sequence = replay.task_mut().sequence();
        let differs = |text| TestkitError::Replay { group: name.to_owned(), partition, sequence, text };
        let mut dead = Written::new();
        for stage in group.stages() {
            let topic = format!("{}.dlq", stage.spec().name);
            let records: Vec<_> = log.read(&topic, partition, 0).0.into_iter().map(|(_, r)| r.clone()).collect();
            if !records.is_empty() {
                dead.insert((topic, partition), records);
            }
        }
        compare(&letters, &dead).map_err(differs)?;
        Ok(journal.len())
    }

    fn written(&self, group: &Group, partition: i32, out: &BatchOutput) -> Written {
        let mut written = Written::new();
        for record in &out.outputs {
            let at = (record.topic.to_owned(), self.world.cluster.partition_of(record.topic, &record.key));
            written.entry(at).or_default().push(output(record));
        }
        let changelog = restore::changelog_topic(group.name());
        for entry in &out.changelog {
            let at = (changelog.clone(), partition);
            written.entry(at).or_default().push(change(entry, out.record.sequence, out.record.now));
        }
        written
    }
}

/// Inputs and logs as the in-memory log has them; it never forgets.
struct InLog<'l>(&'l Log);

impl Source for InLog<'_> {
    type Error = Infallible;

    fn inputs(&mut self, wanted: &Wanted<'_>) -> Result<Vec<Envelope>, Infallible> {
        let (records, _) = self.0.read(wanted.topic, wanted.partition, wanted.first);
        let records = records.into_iter().take_while(|(offset, _)| *offset <= wanted.last);
        Ok(records.filter_map(|(offset, r)| r.envelope(wanted.topic, wanted.partition, offset)).collect())
    }

    fn rows(&mut self, topic: &str, partition: i32, (from, next): ReadRange) -> Result<Vec<LogRow>, Infallible> {
        let (records, _) = self.0.read(topic, partition, from);
        let records = records.into_iter().take_while(|(offset, _)| *offset < next);
        let row = |(offset, r): (i64, &LogRecord)| {
            let value = match &r.value {
                None => None,
                Some(Payload::Avro(bytes)) => Some(bytes.to_vec()),
                Some(Payload::Unreadable { .. }) => return None,
            };
            Some(LogRow { offset, key: r.key.to_string(), value, event_time: Some(r.event_time()) })
        };
        Ok(records.filter_map(row).collect())
    }
}

// What a task committed with one batch: its outputs carry (partition, sequence, n), its changes the sequence.
fn committed(log: &Log, group: &Group, partition: i32, sequence: i64) -> Written {
    let writer = u16::try_from(partition).unwrap_or(u16::MAX).to_be_bytes();
    let changelog = restore::changelog_topic(group.name());
    let specs = || group.stages().iter().map(|s| s.spec());
    let mut topics: Vec<&str> = specs().flat_map(|s| s.outputs).map(|o| o.topic).collect();
    topics.extend(specs().flat_map(|s| s.inputs).filter_map(|i| i.forward_to));
    let mut written = Written::new();
    for (topic, at) in log.partitions() {
        let is_change = topic == changelog && at == partition;
        if !is_change && !topics.contains(&topic) {
            continue;
        }
        let of_batch = |r: &LogRecord| {
            if is_change {
                return r.number(SEQUENCE) == Some(sequence);
            }
            let order = r.header(header::ORDER).unwrap_or_default();
            let by = order.get(2..10).and_then(|s| s.try_into().ok()).map(u64::from_be_bytes);
            order.starts_with(&writer) && by == u64::try_from(sequence).ok()
        };
        let records = log.read(topic, at, 0).0.into_iter().map(|(_, r)| r);
        let records: Vec<_> = records.filter(|r| of_batch(r)).cloned().collect();
        if !records.is_empty() {
            written.insert((topic.to_owned(), at), records);
        }
    }
    written
}

fn compare(replayed: &Written, committed: &Written) -> Result<(), String> {
    if replayed == committed {
        return Ok(());
    }
    for (at, records) in committed {
        if replayed.get(at) != Some(records) {
            return Err(format!("{at:?} holds {records:?}, the replay gave {:?}", replayed.get(at)));
        }
    }
    Err(format!("the replay wrote to {:?}, the run to {:?}", replayed.keys(), committed.keys()))
}
