//! The journal fed again: a task that gets the batches of a journal, with the rows that they read.
//!
//! A driver says where inputs and logs are ([`Source`]) and compares what comes out; this module is what both drivers'
//! replays have in common. A segment's records hold every row of compacted tables that its batches read, so those tables
//! are made from the journal alone. Logs are read again, as far as the batch had them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fillstream_domain::TimestampMicros;
use fillstream_schemas::engine::{JournalRecord, Refusal, RowRead, UnitKind};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::batch::{Batch, BatchOutput};
use crate::error::EngineError;
use crate::group::Group;
use crate::mutant;
use crate::reads::ABSENT;
use crate::record::Envelope;
use crate::table::{AnyTable, ReadRange, TableDecl, TableRow, Tables};
use crate::task::{Task, TaskContext};

/// Records of an input that a batch took, from `first` to `last` offset, markers in between not counted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub first: i64,
    /// Last offset, wanted too.
    pub last: i64,
    /// Records among them that the driver gave to no stage, by offset: their payload must be unreadable again.
    pub refused: &'a BTreeMap<i64, Refusal>,
}

/// A row of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: String,
    /// Avro in our schema; `None` is a deletion.
    pub value: Option<Vec<u8>>,
    /// As [`TableRow::event_time`].
    pub event_time: Option<TimestampMicros>,
}

/// Where a replay reads what the journal only names.
pub trait Source {
    /// Why it cannot.
    type Error;

    /// Committed input records in the order of their offsets.
    ///
    /// # Errors
    /// What the source says, records that are not there any more among it.
    fn inputs(&mut self, wanted: &Wanted<'_>) -> Result<Vec<Envelope>, Self::Error>;

    /// Committed rows of a table's log in `[range.0, range.1)`; unreadable ones are left out, as the table's reader does.
    ///
    /// # Errors
    /// What the source says, rows that are not there any more among it.
    fn rows(&mut self, topic: &str, partition: i32, range: ReadRange) -> Result<Vec<LogRow>, Self::Error>;
}

/// Why a journal cannot be fed again.
#[derive(Debug, Error)]
pub enum ReplayError<E> {
    /// The source.
    #[error("{0}")]
    Source(E),
    /// The task.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The journal contradicts itself.
    #[error("journal record {sequence}: {text}")]
    Journal {
        /// Batch.
        sequence: i64,
        /// What is wrong.
        text: String,
    },
}

/// A task that is fed from its journal.
pub struct Replay {
    task: Task,
    tables: JournalTables,
}

impl Replay {
    /// An empty task; where the journal does not begin with it, its state comes by [`Replay::task_mut`].
    #[must_use]
    pub fn new(group: &Arc<Group>, partition: i32, context: TaskContext) -> Self {
        Self { task: Task::new(group, partition, context), tables: JournalTables::new(group) }
    }

    /// The task.
    pub fn task_mut(&mut self) -> &mut Task {
        &mut self.task
    }

    /// Runs the batch of a record. Its writes are kept apart until [`Replay::commit`].
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn run<S: Source>(
        &mut self,
        record: &JournalRecord,
        source: &mut S,
    ) -> Result<BatchOutput, ReplayError<S::Error>> {
        if record.segment {
            self.task.begin_segment();
        }
        self.tables.advance(record, source)?;
        let units = self.offer(record, source)?;
        let batch = Batch {
            now: record.now,
            instant: (record.instant > 0).then_some(record.instant),
            tables: &self.tables.published,
            max_units: if units == 0 { usize::MAX } else { units },
        };
        let mut out = self.task.run(&batch)?;
        // Whether more was due depends on what had arrived, not on what was done.
        out.record.complete = record.complete;
        Ok(out)
    }

    /// Goes on to the next batch.
    pub fn commit(&mut self, out: &BatchOutput) {
        self.task.commit(out);
    }

    // Offers the inputs of a batch in the order applied.
    fn offer<S: Source>(&mut self, record: &JournalRecord, source: &mut S) -> Result<usize, ReplayError<S::Error>> {
        let partition = self.task.partition();
        let (mut units, mut refused) = (0, BTreeMap::<&str, BTreeMap<i64, Refusal>>::new());
        let mut bounds: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for unit in &record.units {
            let Some(run) = unit.run.as_ref().filter(|_| unit.kind == UnitKind::Records) else {
                units += 1;
                continue;
            };
            units += usize::try_from(run.count).unwrap_or(0);
            let bounds = bounds.entry(&run.topic).or_insert((run.first_offset, run.last_offset));
            *bounds = (bounds.0.min(run.first_offset), bounds.1.max(run.last_offset));
            if let Some(refusal) = &unit.refusal {
                refused.entry(&run.topic).or_default().insert(run.first_offset, refusal.clone());
            }
        }
        // Of each topic a batch takes a prefix of what had arrived. Paced, the task finds the order within the instant again
        // by position. Live, where several topics meet, the order is the runs' own.
        let runs = record.units.iter().filter_map(|u| u.run.as_ref());
        let live = || runs.map(|r| (r.topic.as_str(), (r.first_offset, r.last_offset))).collect();
        let ranges: Vec<(&str, (i64, i64))> = if record.instant > 0 { bounds.into_iter().collect() } else { live() };
        let none = BTreeMap::new();
        for (topic, (first, last)) in ranges {
            let refused = refused.get(topic).unwrap_or(&none);
            let wanted = Wanted { topic, partition, first, last, refused };
            for envelope in source.inputs(&wanted).map_err(ReplayError::Source)? {
                self.task.offer(envelope);
            }
        }
        Ok(units)
    }
}

/// How far a batch had read the partitions of its tables, as far as its journal record tells: topic, partition, next offset.
/// Whoever continues the task must have read as far before it runs another batch.
pub fn tables_read(record: &JournalRecord) -> impl Iterator<Item = (&str, i32, i64)> {
    let logs = record.logs.iter().map(|l| (l.topic.as_str(), l.partition, l.next_offset));
    // A row that was absent has no place.
    let rows = record.rows.iter().filter(|r| r.offset > ABSENT);
    let rows = rows.map(|r| (r.topic.as_str(), r.partition, r.offset.saturating_add(1)));
    logs.chain(rows).filter(|_| !mutant::is("table going back after a move"))
}

/// The tables as a batch had them.
struct JournalTables {
    tables: Vec<(TableDecl, Box<dyn AnyTable>)>,
    rows: BTreeMap<String, BTreeMap<String, Vec<RowRead>>>,
    logs: BTreeMap<(String, i32), ReadRange>,
    published: Tables,
}

impl JournalTables {
    fn new(group: &Group) -> Self {
        let mut declared = BTreeMap::new();
        for stage in group.stages() {
            declared.extend(stage.spec().tables.iter().map(|decl| ((decl.type_id)(), *decl)));
        }
        let tables = declared.into_values().map(|decl| (decl, (decl.new)())).collect();
        let mut new = Self { tables, rows: BTreeMap::new(), logs: BTreeMap::new(), published: Tables::default() };
        new.publish();
        new
    }

    fn advance<S: Source>(&mut self, record: &JournalRecord, source: &mut S) -> Result<(), ReplayError<S::Error>> {
        let mut changed: BTreeSet<String> = BTreeSet::new();
        if record.segment {
            changed.extend(std::mem::take(&mut self.rows).into_keys());
        }
        for row in &record.rows {
            self.take(row).map_err(|text| ReplayError::Journal { sequence: record.sequence, text })?;
            changed.insert(row.topic.clone());
        }
        for read in &record.logs {
            let at = (read.topic.clone(), read.partition);
            let range = (read.first_offset, read.next_offset);
            match self.logs.insert(at, range) {
                Some((_, next)) if next > range.1 => {
                    let text = format!("{}-{} went back from {next} to {}", read.topic, read.partition, range.1);
                    return Err(ReplayError::Journal { sequence: record.sequence, text });
                }
                Some((first, next)) if first == range.0 => {
                    self.read(&read.topic, read.partition, (next, range.1), source)?;
                }
                // Another instance: its reader began elsewhere.
                Some(_) => {
                    changed.insert(read.topic.clone());
                }
                None => self.read(&read.topic, read.partition, range, source)?,
            }
        }
        self.rebuild(&changed, source)?;
        if record.segment || !record.rows.is_empty() || !record.logs.is_empty() {
            self.publish();
        }
        Ok(())
    }

    fn take(&mut self, row: &RowRead) -> Result<(), String> {
        let held = self.rows.entry(row.topic.clone()).or_default().entry(row.key.clone()).or_default();
        if row.offset == ABSENT {
            held.clear();
            return Ok(());
        }
        let value =
            row.value.clone().or_else(|| held.iter().find(|h| h.hash == row.hash).and_then(|h| h.value.clone()));
        let at = || format!("row {} of {}", row.key, row.topic);
        let value = value.ok_or_else(|| format!("{}: no value in the segment", at()))?;
        if Sha256::digest(&value).as_slice() != row.hash {
            return Err(format!("{}: value and hash disagree", at()));
        }
        held.push(RowRead { value: Some(value), ..row.clone() });
        Ok(())
    }

    // Made anew from everything that the journal has told, so that no order of telling matters.
    fn rebuild<S: Source>(&mut self, topics: &BTreeSet<String>, source: &mut S) -> Result<(), ReplayError<S::Error>> {
        for topic in topics {
            for (decl, table) in self.tables.iter_mut().filter(|(d, _)| d.topics.iter().any(|(t, _)| t == topic)) {
                *table = (decl.new)();
                let of_table = |topic: &str| decl.topics.iter().any(|(t, _)| *t == topic);
                let keys = self.rows.iter().filter(|(topic, _)| of_table(topic)).flat_map(|(_, keys)| keys.values());
                let mut rows: Vec<&RowRead> = keys.flatten().collect();
                rows.sort_by_key(|row| (row.offset, row.partition));
                for row in rows {
                    let (topic, key) = (row.topic.as_str(), row.key.as_str());
                    let (partition, offset, value) = (row.partition, row.offset, row.value.as_deref());
                    // One that the table refused would not have been read.
                    let _ = table.apply(&TableRow { topic, partition, offset, key, value, event_time: None });
                }
                for ((topic, partition), range) in self.logs.iter().filter(|((topic, _), _)| of_table(topic)) {
                    let rows = source.rows(topic, *partition, *range).map_err(ReplayError::Source)?;
                    apply_log(table.as_mut(), topic, *partition, &rows);
                }
            }
        }
        Ok(())
    }

    fn read<S: Source>(
        &mut self,
        topic: &str,
        partition: i32,
        range: ReadRange,
        source: &mut S,
    ) -> Result<(), ReplayError<S::Error>> {
        let rows = source.rows(topic, partition, range).map_err(ReplayError::Source)?;
        for (_, table) in self.tables.iter_mut().filter(|(d, _)| d.topics.iter().any(|(t, _)| *t == topic)) {
            apply_log(table.as_mut(), topic, partition, &rows);
        }
        Ok(())
    }

    fn publish(&mut self) {
        let mut published = Tables::default();
        for (_, table) in &self.tables {
            table.publish(&mut published);
        }
        published.set_positions(self.logs.clone());
        self.published = published;
    }
}

fn apply_log(table: &mut dyn AnyTable, topic: &str, partition: i32, rows: &[LogRow]) {
    for row in rows {
        let (offset, key, value, event_time) = (row.offset, row.key.as_str(), row.value.as_deref(), row.event_time);
        // What a table refuses it refused then.
        let _ = table.apply(&TableRow { topic, partition, offset, key, value, event_time });
    }
}
