//! The reader of all tables in a process.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::group::Group;
use fillstream_core::mutant;
use fillstream_core::record::Payload;
use fillstream_core::table::{AnyTable, TableDecl, TableRow, Tables};

use crate::fault::FaultPlan;
use crate::log::{Log, LogRecord};

/// Positions of a version: next offset of each (topic, partition).
pub(crate) type Positions = BTreeMap<(String, i32), i64>;

/// Keeps the tables of some groups up to a moment.
pub(crate) struct TableReader {
    tables: Vec<Box<dyn AnyTable>>,
    positions: Positions,
    published: Tables,
    /// Rows that a table refused.
    pub(crate) refused: usize,
}

impl TableReader {
    pub(crate) fn new<'a>(groups: impl IntoIterator<Item = &'a Arc<Group>>) -> Self {
        let mut declared: BTreeMap<TypeId, TableDecl> = BTreeMap::new();
        for stage in groups.into_iter().flat_map(|g| g.stages()) {
            declared.extend(stage.spec().tables.iter().map(|decl| ((decl.type_id)(), *decl)));
        }
        let tables = declared.values().map(|decl| (decl.new)()).collect();
        let mut reader = Self { tables, positions: Positions::new(), published: Tables::default(), refused: 0 };
        reader.publish();
        reader
    }

    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.tables.iter().any(|table| table.topics().iter().any(|(t, _)| *t == topic))
    }

    pub(crate) fn published(&self) -> &Tables {
        &self.published
    }

    /// Whether it has read as far as these positions.
    pub(crate) fn has_reached(&self, wanted: &Positions) -> bool {
        wanted.iter().all(|(at, next)| self.positions.get(at).is_some_and(|reached| reached >= next))
    }

    /// Takes in what is committed and not later than `until`: of each partition the rows before the first later one.
    pub(crate) fn advance(&mut self, log: &Log, until: TimestampMicros) {
        self.take_in(log, |record| record.event_time() <= until);
    }

    fn take_in(&mut self, log: &Log, within: impl Fn(&LogRecord) -> bool) {
        let mut changed = false;
        for (topic, partition) in log.partitions().filter(|(topic, _)| self.reads(topic)).collect::<Vec<_>>() {
            let at = (topic.to_owned(), partition);
            let from = self.positions.get(&at).copied().unwrap_or(0);
            let (records, end) = log.read(topic, partition, from);
            let mut next = end;
            for (offset, record) in records {
                if !within(record) {
                    next = offset;
                    break;
                }
                self.row(topic, partition, offset, record);
            }
            changed |= next != from;
            self.positions.insert(at, next);
        }
        if changed {
            self.publish();
        }
    }

    fn row(&mut self, topic: &str, partition: i32, offset: i64, record: &LogRecord) {
        let value = match &record.value {
            None => None,
            Some(Payload::Avro(bytes)) => Some(&**bytes),
            Some(Payload::Unreadable { .. }) => {
                self.refused += 1;
                return;
            }
        };
        let event_time = Some(record.event_time());
        let row = TableRow { topic, partition, offset, key: &record.key, value, event_time };
        for table in &mut self.tables {
            if table.topics().iter().any(|(t, _)| *t == topic) && table.apply(&row).is_err() {
                self.refused += 1;
            }
        }
    }

    fn publish(&mut self) {
        let mut published = Tables::default();
        for table in &self.tables {
            table.publish(&mut published);
        }
        published.set_positions(self.positions.iter().map(|(at, next)| (at.clone(), (0, *next))).collect());
        mutant::replaced_tables(&self.published);
        self.published = published;
    }
}

/// Longest time for which a process does not come to read its tables, microseconds.
pub const LONGEST_TABLE_LAG_US: i64 = 4_000_000;

/// One reader a process. Workers of the same number are one process.
pub(crate) struct TableReaders {
    /// Each with the moment until which it does not come to read.
    readers: Vec<(TableReader, Option<TimestampMicros>)>,
    /// Of 1,000 turns, how many begin such a time.
    lag_per_mille: u64,
}

impl TableReaders {
    pub(crate) fn new(groups: &[Arc<Group>], processes: usize, lag_per_mille: u64) -> Self {
        let readers = (0..processes.max(1)).map(|_| (TableReader::new(groups), None)).collect();
        Self { readers, lag_per_mille }
    }

    /// The reader of a process; `None` when it has none.
    pub(crate) fn of(&self, process: usize) -> Option<&TableReader> {
        self.readers.get(process % self.readers.len().max(1)).map(|(reader, _)| reader)
    }

    /// Rows that a table refused.
    pub(crate) fn refused(&self) -> usize {
        self.readers.first().map_or(0, |(reader, _)| reader.refused)
    }

    /// Every reader takes in what is committed and not later than `until`.
    pub(crate) fn advance(&mut self, log: &Log, until: TimestampMicros) {
        for (reader, away) in &mut self.readers {
            *away = None;
            reader.advance(log, until);
        }
    }

    /// Likewise, but for those that do not come to it.
    pub(crate) fn advance_some(&mut self, log: &Log, until: TimestampMicros, plan: &mut FaultPlan) {
        for (reader, away) in &mut self.readers {
            if away.is_some_and(|away| away > until) {
                continue;
            }
            // Once it is back it reads.
            if away.take().is_none() && plan.strikes("tables behind", self.lag_per_mille) {
                let lag = i64::try_from(plan.random().next() >> 1).unwrap_or(0) % LONGEST_TABLE_LAG_US;
                *away = Some(TimestampMicros::from_micros(until.micros().saturating_add(lag)));
            } else {
                reader.advance(log, until);
            }
        }
    }

    /// Whether a process does not come to read.
    pub(crate) fn is_away(&self, process: usize) -> bool {
        self.readers.get(process % self.readers.len().max(1)).is_some_and(|(_, away)| away.is_some())
    }

    /// Whether one may be behind at `now`.
    pub(crate) fn are_behind(&self, now: TimestampMicros) -> bool {
        self.readers.iter().any(|(_, away)| away.is_some_and(|away| away > now))
    }
}
