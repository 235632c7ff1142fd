//! The one reader of all tables.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::group::Group;
use fillstream_core::record::Payload;
use fillstream_core::table::{AnyTable, TableDecl, TableRow, Tables};

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
        self.published = published;
    }
}
