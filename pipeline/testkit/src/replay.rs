//! The journal fed again: a fresh task must write the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::batch::{Batch, BatchOutput};
use fillstream_core::group::Group;
use fillstream_core::record::header;
use fillstream_core::task::Task;
use fillstream_schemas::engine::{JournalRecord, UnitKind};

use crate::driver::Driver;
use crate::error::TestkitError;
use crate::group_run::{change, dead_letter, output};
use crate::log::{Log, LogRecord};
use crate::restore::{self, SEQUENCE};
use crate::tables::TableReader;

type Written = BTreeMap<(String, i32), Vec<LogRecord>>;

impl Driver {
    /// Feeds every task's journal to a fresh task, batch by batch: inputs and timers in the recorded order. What it
    /// writes must equal what was committed, the journal itself included. Returns the number of batches.
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
        let mut task = Task::new(group, partition, self.world.context.clone());
        let mut tables = TableReader::new([group]);
        let mut next = BTreeMap::new();
        let mut letters = Written::new();
        for record in &journal {
            let differs = |text: String| TestkitError::Replay {
                group: name.to_owned(),
                partition,
                sequence: record.sequence,
                text,
            };
            if let Some(positions) = self.world.evidence.get(&(name.to_owned(), partition, record.sequence)) {
                tables.advance_to(log, positions);
            }
            let units = offer(log, &mut task, record, &mut next);
            let batch = Batch {
                now: record.now,
                instant: (record.instant > 0).then_some(record.instant),
                tables: tables.published(),
                max_units: units,
            };
            let out = if units == 0 { task.run(&Batch { max_units: usize::MAX, ..batch })? } else { task.run(&batch)? };
            // Whether more was due depends on what had arrived, not on what was done.
            let journalled = JournalRecord { complete: record.complete, ..out.record.clone() };
            if journalled != *record {
                return Err(differs(format!("journal {journalled:?} instead of {record:?}")));
            }
            compare(&self.written(group, partition, &out), &committed(log, group, partition, record.sequence))
                .map_err(differs)?;
            for letter in &out.dead_letters {
                letters.entry((format!("{}.dlq", letter.stage), partition)).or_default().push(dead_letter(letter));
            }
            task.commit(&out);
        }
        let differs =
            |text| TestkitError::Replay { group: name.to_owned(), partition, sequence: task.sequence(), text };
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

// Offers the inputs of a batch in the order applied. A run names the records of its range that no earlier one named.
fn offer(log: &Log, task: &mut Task, record: &JournalRecord, next: &mut BTreeMap<String, i64>) -> usize {
    let (mut units, mut ends) = (0, BTreeMap::new());
    for unit in &record.units {
        match (unit.kind, &unit.run) {
            (UnitKind::Records, Some(run)) => {
                let end = ends.entry(run.topic.clone()).or_insert(0);
                *end = run.last_offset.max(*end);
                units += usize::try_from(run.count).unwrap_or(0);
            }
            (UnitKind::Records, None) | (UnitKind::Timer, _) => units += 1,
        }
    }
    // Of each topic a batch takes a prefix; within it the task finds the order again by position. Where several topics
    // meet live, the order is the runs' own.
    let mut offered: BTreeMap<String, i64> = next.clone();
    for run in record.units.iter().filter_map(|u| u.run.as_ref()) {
        let (partition, from) = (task.partition(), offered.get(&run.topic).copied().unwrap_or(0));
        let last = if record.instant > 0 { ends.get(&run.topic).copied().unwrap_or(0) } else { run.last_offset };
        for (offset, found) in log.read(&run.topic, partition, from).0 {
            if offset > last {
                break;
            }
            if let Some(envelope) = found.envelope(&run.topic, partition, offset) {
                task.offer(envelope);
            }
        }
        offered.insert(run.topic.clone(), from.max(last + 1));
    }
    *next = offered;
    units
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
