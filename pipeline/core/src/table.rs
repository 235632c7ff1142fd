//! Tables: data that a stage looks things up in, as immutable versions.
//!
//! One reader a process keeps each table up to date outside the consumer groups and publishes versions; a task pins one
//! version a batch, so that a batch sees one state of the world.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;

use crate::reads::{RowSource, note_log, note_missing, note_row};

/// A row of a table's topic.
#[derive(Clone, Debug)]
pub struct TableRow<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: &'a str,
    /// Avro in our schema; `None` is a deletion.
    pub value: Option<&'a [u8]>,
    /// `fs-time` or the record's own time where the driver knows it.
    pub event_time: Option<TimestampMicros>,
}

/// A table. `Clone` must be cheap (shared structure): it is how a version is published.
pub trait Table: Clone + Default + Send + Sync + 'static {
    /// Topics it is made of, with the schema of their values.
    const TOPICS: &'static [(&'static str, &'static str)];

    /// Takes a row in.
    ///
    /// # Errors
    /// When the row cannot be read; it is then skipped, counted, and the reader goes on.
    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), fillstream_schemas::codec::CodecError>;
}

/// A table without its type: what a reader works with.
pub trait AnyTable: Send {
    /// Topics with the schema of their values.
    fn topics(&self) -> &'static [(&'static str, &'static str)];
    /// See [`Table::apply`].
    ///
    /// # Errors
    /// See [`Table::apply`].
    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), fillstream_schemas::codec::CodecError>;
    /// Publishes the present state as a version.
    fn publish(&self, into: &mut Tables);
}

impl<T: Table> AnyTable for T {
    fn topics(&self) -> &'static [(&'static str, &'static str)] {
        T::TOPICS
    }
    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), fillstream_schemas::codec::CodecError> {
        Table::apply(self, row)
    }
    fn publish(&self, into: &mut Tables) {
        into.set(self.clone());
    }
}

/// How a stage names a table it reads.
#[derive(Clone, Copy)]
pub struct TableDecl {
    /// Topics with the schema of their values.
    pub topics: &'static [(&'static str, &'static str)],
    /// Makes an empty one.
    pub new: fn() -> Box<dyn AnyTable>,
    /// Type, so that two stages share one reader.
    pub type_id: fn() -> TypeId,
}

impl TableDecl {
    /// The declaration of `T`.
    #[must_use]
    pub const fn of<T: Table>() -> Self {
        Self { topics: T::TOPICS, new: || Box::new(T::default()), type_id: TypeId::of::<T> }
    }
}

impl std::fmt::Debug for TableDecl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.topics.iter().map(|t| t.0)).finish()
    }
}

/// Rows of a compacted topic by key. A read is noted for the journal; there is no way past that.
#[derive(Clone, Debug)]
pub struct Rows<V> {
    topic: &'static str,
    rows: Arc<BTreeMap<Arc<str>, History<V>>>,
}

/// The last rows of a key, oldest first.
type History<V> = Arc<Vec<Row<V>>>;

#[derive(Clone, Debug)]
struct Row<V> {
    source: Arc<RowSource>,
    value: Arc<V>,
}

impl<V> Rows<V> {
    /// No rows of `topic`.
    #[must_use]
    pub fn new(topic: &'static str) -> Self {
        Self { topic, rows: Arc::default() }
    }

    /// The last row of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.last_where(key, |_| true)
    }

    /// The last of the rows held of `key` of which `wanted` holds.
    #[must_use]
    pub fn last_where(&self, key: &str, wanted: impl Fn(&V) -> bool) -> Option<&V> {
        let Some(held) = self.rows.get(key) else {
            note_missing(self.topic, key);
            return None;
        };
        let row = held.iter().rfind(|row| wanted(&row.value));
        // Where none is wanted, the last one was seen not to be.
        if let Some(seen) = row.or(held.last()) {
            note_row(&seen.source);
        }
        row.map(|row| &*row.value)
    }

    /// Of every key, the last of the rows held of which `wanted` holds.
    pub fn each_last_where(&self, wanted: impl Fn(&V) -> bool) -> impl Iterator<Item = &V> {
        self.rows.keys().filter_map(move |key| self.last_where(key, &wanted))
    }

    /// Files `value` of `row` under `key`, with the last `history` rows of that key, at least this one.
    pub fn push(&mut self, key: &str, row: &TableRow<'_>, value: V, history: usize) {
        let source = Arc::new(RowSource {
            topic: self.topic,
            partition: row.partition,
            key: key.into(),
            offset: row.offset,
            value: row.value.unwrap_or_default().into(),
        });
        let held = Arc::make_mut(&mut self.rows).entry(Arc::clone(&source.key)).or_default();
        let over = (held.len() + 1).saturating_sub(history.max(1));
        let kept =
            held.iter().skip(over).map(|row| Row { source: Arc::clone(&row.source), value: Arc::clone(&row.value) });
        *held = Arc::new(kept.chain([Row { source, value: Arc::new(value) }]).collect());
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) {
        Arc::make_mut(&mut self.rows).remove(key);
    }
}

/// What is made of the rows of a log, by key. A row stays in its log as long as its retention says, so the journal only
/// takes down how far the log had been read; that too cannot be passed by.
#[derive(Clone, Debug)]
pub struct LogRows<V> {
    topic: &'static str,
    values: Arc<BTreeMap<Arc<str>, Arc<Kept<V>>>>,
}

#[derive(Clone, Debug)]
struct Kept<V> {
    /// One, unless a producer has its own idea of a partitioner.
    partitions: Vec<i32>,
    value: V,
}

impl<V: Clone + Default> LogRows<V> {
    /// Nothing of `topic`.
    #[must_use]
    pub fn new(topic: &'static str) -> Self {
        Self { topic, values: Arc::default() }
    }

    /// What is known of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        let Some(kept) = self.values.get(key) else {
            note_log(self.topic, None);
            return None;
        };
        kept.partitions.iter().for_each(|partition| note_log(self.topic, Some(*partition)));
        Some(&kept.value)
    }

    /// What is known of `key`, to take a row of `partition` in; it begins empty.
    pub fn entry(&mut self, key: &str, partition: i32) -> &mut V {
        let values = Arc::make_mut(&mut self.values);
        let new = || Arc::new(Kept { partitions: Vec::new(), value: V::default() });
        let kept = Arc::make_mut(values.entry(key.into()).or_insert_with(new));
        if !kept.partitions.contains(&partition) {
            kept.partitions.push(partition);
        }
        &mut kept.value
    }
}

/// How far a topic partition was read: its first offset and the next one.
pub type ReadRange = (i64, i64);

/// One pinned version of every table, with how far each topic partition was read.
#[derive(Clone, Default)]
pub struct Tables {
    versions: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    positions: Arc<BTreeMap<(String, i32), ReadRange>>,
}

impl Tables {
    /// Sets the version of a table.
    pub fn set<T: Table>(&mut self, table: T) {
        self.versions.insert(TypeId::of::<T>(), Arc::new(table));
    }

    /// Sets how far each (topic, partition) was read.
    pub fn set_positions(&mut self, positions: BTreeMap<(String, i32), ReadRange>) {
        self.positions = Arc::new(positions);
    }

    /// How far a partition of `topic` was read, or each where none is given.
    pub(crate) fn read_of(&self, topic: &str, partition: Option<i32>) -> impl Iterator<Item = (i32, ReadRange)> {
        let of_topic = move |at: &&(String, i32)| at.0 == topic && partition.is_none_or(|p| p == at.1);
        self.positions.keys().filter(of_topic).filter_map(|at| Some((at.1, *self.positions.get(at)?)))
    }

    /// The version of table `T`; `None` when nothing was published: callers fail closed.
    #[must_use]
    pub fn get<T: Table>(&self) -> Option<&T> {
        self.versions.get(&TypeId::of::<T>()).and_then(|t| t.downcast_ref())
    }
}
