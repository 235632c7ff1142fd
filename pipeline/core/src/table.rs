//! Tables: data that a stage looks things up in, as immutable versions.
//!
//! One reader a process keeps each table up to date outside the consumer groups and publishes versions; a task pins one
//! version a batch, so that a batch sees one state of the world.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;

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

/// One pinned version of every table, with the position each topic partition had.
#[derive(Clone, Default)]
pub struct Tables {
    versions: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    positions: Arc<BTreeMap<(String, i32), i64>>,
}

impl Tables {
    /// Sets the version of a table.
    pub fn set<T: Table>(&mut self, table: T) {
        self.versions.insert(TypeId::of::<T>(), Arc::new(table));
    }

    /// Sets the next offset of each (topic, partition) read.
    pub fn set_positions(&mut self, positions: BTreeMap<(String, i32), i64>) {
        self.positions = Arc::new(positions);
    }

    /// Next offset of each (topic, partition) read.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<(String, i32), i64> {
        &self.positions
    }

    /// The version of table `T`; `None` when nothing was published: callers fail closed.
    #[must_use]
    pub fn get<T: Table>(&self) -> Option<&T> {
        self.versions.get(&TypeId::of::<T>()).and_then(|t| t.downcast_ref())
    }
}
