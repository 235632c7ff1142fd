//! What a run has written, in a form in which two runs can be compared.

use std::collections::BTreeMap;

use fillstream_core::TimestampMicros;
use fillstream_core::lineage::Lineage;
use fillstream_core::record::header;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::DeadLetter;

use crate::error::TestkitError;
use crate::log::{Log, LogRecord};

/// What stages and the outside have written to a log, changelogs and journals excepted.
pub struct Outputs<'l> {
    log: &'l Log,
}

/// A record without what two equal runs may differ in: its offset and the engine's headers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Event time.
    pub event_time: TimestampMicros,
    /// Identity, where an engine gave one.
    pub lineage: Option<Lineage>,
    /// Key.
    pub key: String,
    /// Value.
    pub value: Vec<u8>,
    /// Headers for subscribers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What must be equal between two paced runs of the same input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// By (topic, partition): sorted by (event time, lineage).
    pub sorted: BTreeMap<(String, i32), Vec<Row>>,
    /// By (topic, partition) in the log's order, where one task or session alone writes.
    pub exact: BTreeMap<(String, i32), Vec<Row>>,
}

impl Canonical {
    /// The first difference in words; `None` when both are equal.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let sorted = first_difference("sorted", &self.sorted, &other.sorted);
        sorted.or_else(|| first_difference("in order", &self.exact, &other.exact))
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

type Rows = BTreeMap<(String, i32), Vec<Row>>;

fn first_difference(how: &str, a: &Rows, b: &Rows) -> Option<String> {
    let none = Vec::new();
    for at in a.keys().chain(b.keys()) {
        let (x, y) = (a.get(at).unwrap_or(&none), b.get(at).unwrap_or(&none));
        if x != y {
            let i = x.iter().zip(y).take_while(|(x, y)| x == y).count();
            let (topic, partition) = at;
            let (one, other) = (x.get(i), y.get(i));
            let counts = format!("{} against {} records", x.len(), y.len());
            return Some(format!("{topic}-{partition} {how}, {counts}, record {i}:\n  {one:?}\n  {other:?}"));
        }
    }
    None
}

impl<'l> Outputs<'l> {
    pub(crate) fn new(log: &'l Log) -> Self {
        Self { log }
    }

    /// Values of a topic: partition by partition in the log's order.
    ///
    /// # Errors
    /// [`TestkitError::Record`] for a value that is no `R`.
    pub fn records<R: AvroRecord>(&self, topic: &str) -> Result<Vec<R>, TestkitError> {
        let mut values = Vec::new();
        for (_, partition) in self.log.partitions().filter(|(t, _)| *t == topic) {
            for (offset, record) in self.log.read(topic, partition, 0).0 {
                let topic = topic.to_owned();
                let value = R::decode(record.bytes());
                values.push(value.map_err(|source| TestkitError::Record { topic, partition, offset, source })?);
            }
        }
        Ok(values)
    }

    /// Dead letters of a stage.
    ///
    /// # Errors
    /// [`TestkitError::Record`].
    pub fn dead_letters(&self, stage: &str) -> Result<Vec<DeadLetter>, TestkitError> {
        self.records(&format!("{stage}.dlq"))
    }

    /// What another run must equal.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        let (mut sorted, mut exact) = (Rows::new(), Rows::new());
        for (topic, partition) in self.log.partitions().filter(|(topic, _)| !is_internal(topic)) {
            // Inputs of foreign producers are given, not made.
            let made = |r: &&LogRecord| r.header(header::TIME).is_some();
            let records: Vec<_> =
                self.log.read(topic, partition, 0).0.into_iter().map(|(_, r)| r).filter(made).collect();
            let at = (topic.to_owned(), partition);
            let mut rows: Vec<Row> = records.iter().map(|r| row(r)).collect();
            if rows.is_empty() {
                continue;
            }
            if one_writer(records.iter().copied()) {
                exact.insert(at.clone(), rows.clone());
            }
            rows.sort();
            sorted.insert(at, rows);
        }
        Canonical { sorted, exact }
    }
}

fn is_internal(topic: &str) -> bool {
    topic.starts_with("fillstream.") && (topic.ends_with(".changelog") || topic.ends_with(".journal"))
}

fn row(record: &LogRecord) -> Row {
    Row {
        event_time: record.event_time(),
        lineage: record.lineage(),
        key: record.key.to_string(),
        value: record.bytes().to_vec(),
        headers: record.headers.iter().filter(|(name, _)| !name.starts_with("fs-")).cloned().collect(),
    }
}

// The writer is the first part of fs-order; dead letters carry none, and one task writes each partition of theirs.
fn one_writer<'r>(records: impl Iterator<Item = &'r LogRecord>) -> bool {
    let mut writers = records.map(|r| r.header(header::ORDER).and_then(|order| order.first_chunk::<2>().copied()));
    let first = writers.next();
    writers.all(|writer| Some(writer) == first)
}
