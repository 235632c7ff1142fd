//! A log in memory with what the engine relies on in Kafka: offsets that transaction markers occupy too, a last stable
//! offset for each partition, offsets that are committed with the transaction, and decisions that reach each partition on
//! their own. The transaction coordinator is a module of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::lineage::Lineage;
use fillstream_core::record::{Envelope, Payload, header};
use fillstream_core::trace::TraceContext;

use crate::coordinator::{Client, Coordinator, Outcome, Pending, Target, Transaction};
use crate::error::LogError;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Key.
    pub key: Arc<str>,
    /// Value; `None` is a tombstone.
    pub value: Option<Payload>,
    /// Headers: the engine's start with `fs-`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The record's own time; the broker's time stamp.
    pub timestamp: TimestampMicros,
}

impl LogRecord {
    /// The header `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())
    }

    /// `fs-lineage`.
    #[must_use]
    pub fn lineage(&self) -> Option<Lineage> {
        self.header(header::LINEAGE).and_then(Lineage::from_slice)
    }

    /// `traceparent` and `tracestate`.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::from_headers(self.header(header::TRACEPARENT), self.header(header::TRACESTATE))
    }

    /// A header of 8 bytes as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.header(name).and_then(|v| v.try_into().ok()).map(i64::from_be_bytes)
    }

    /// `fs-time`, otherwise the record's own time.
    #[must_use]
    pub fn event_time(&self) -> TimestampMicros {
        self.number(header::TIME).map_or(self.timestamp, TimestampMicros::from_micros)
    }

    /// The value's bytes, none for a tombstone.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.value.as_ref().map_or(&[], Payload::raw)
    }

    /// As a task gets it; `None` for a tombstone.
    #[must_use]
    pub fn envelope(&self, topic: &str, partition: i32, offset: i64) -> Option<Envelope> {
        let payload = self.value.clone()?;
        Some(Envelope {
            lineage: self.lineage(),
            event_time: self.number(header::TIME).map(TimestampMicros::from_micros),
            order: self.header(header::ORDER).map(Into::into),
            position: self.header(header::POSITION).map(Into::into),
            origin_us: self.number(header::ORIGIN),
            trace: self.trace(),
            ..Envelope::foreign(topic, partition, offset, &self.key, payload)
        })
    }
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Next offset.
    pub offset: i64,
    /// Metadata of the commit.
    pub metadata: String,
}

#[derive(Debug)]
enum Entry {
    Record { record: LogRecord, transaction: Option<usize> },
    Marker,
}

#[derive(Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    /// Transactions whose marker has not landed here, with their first offset.
    open: BTreeMap<usize, i64>,
}

impl Partition {
    fn push(&mut self, entry: Entry) -> i64 {
        let offset = count(self.entries.len());
        if let Entry::Record { transaction: Some(t), .. } = &entry {
            self.open.entry(*t).or_insert(offset);
        }
        self.entries.push(entry);
        offset
    }

    /// Last stable offset: everything below is decided, and the decision has come here.
    fn stable(&self) -> i64 {
        self.open.values().min().copied().unwrap_or(count(self.entries.len()))
    }

    fn from(&self, offset: i64) -> impl Iterator<Item = (i64, &Entry)> {
        let start = usize::try_from(offset).unwrap_or(0);
        (offset.max(0)..).zip(self.entries.get(start..).unwrap_or_default())
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// (group, topic, partition).
pub(crate) type OffsetKey = (String, String, i32);

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinates {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Topics, transactions and committed offsets.
#[derive(Debug, Default)]
pub struct Log {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Partition>>,
    /// With the place of their record in the log of offsets: of two the later one holds, whichever marker comes first.
    offsets: BTreeMap<OffsetKey, (u64, Committed)>,
    offset_records: u64,
    generations: BTreeMap<String, u32>,
    /// Offsets of (transaction, group) that no marker has made stable yet.
    pub(crate) unstable: BTreeSet<(usize, String)>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) coordinators: BTreeMap<String, Coordinator>,
    pub(crate) clients: BTreeMap<(String, u32), Client>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) held: bool,
    pub(crate) waits: u64,
    history: Vec<Coordinates>,
}

impl Log {
    /// Appends a record outside any transaction, as a foreign producer does.
    pub fn append_plain(&mut self, topic: &str, partition: i32, record: LogRecord) -> i64 {
        let at = self.push(topic, partition, Entry::Record { record, transaction: None });
        let offset = at.offset;
        self.history.push(at);
        offset
    }

    /// Commits offsets outside any transaction, as a new group does once.
    pub fn commit_offset(&mut self, group: &str, topic: &str, partition: i32, committed: Committed) {
        let place = self.next_offset_record();
        self.offsets.insert((group.to_owned(), topic.to_owned(), partition), (place, committed));
    }

    /// Takes the committed offset away, as a broker does when a group was empty for too long.
    pub fn forget_offset(&mut self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        self.offsets.remove(&(group.to_owned(), topic.to_owned(), partition)).map(|(_, committed)| committed)
    }

    /// The committed offset, once no transaction is about to change it: open, or decided without its marker.
    ///
    /// # Errors
    /// [`LogError::Unstable`].
    pub fn stable_offset(&self, group: &str, topic: &str, partition: i32) -> Result<Option<&Committed>, LogError> {
        let key = (group.to_owned(), topic.to_owned(), partition);
        let of_group = self.unstable.iter().filter(|(_, g)| g == group);
        let mut transactions = of_group.filter_map(|(t, _)| self.transactions.get(*t));
        match transactions.find(|t| t.offsets.iter().any(|(k, ..)| *k == key)) {
            Some(t) => {
                Err(LogError::Unstable { what: format!("offset of {group} on {topic}-{partition}"), by: t.id.clone() })
            }
            None => Ok(self.offsets.get(&key).map(|(_, committed)| committed)),
        }
    }

    /// The committed offset, whatever transactions are about to change it.
    #[must_use]
    pub fn unstable_offset(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.offsets.get(&(group.to_owned(), topic.to_owned(), partition)).map(|(_, committed)| committed)
    }

    /// Place of the next record of the log of offsets.
    pub(crate) fn next_offset_record(&mut self) -> u64 {
        self.offset_records += 1;
        self.offset_records
    }

    /// Generation of a consumer group.
    #[must_use]
    pub fn generation(&self, group: &str) -> u32 {
        self.generations.get(group).copied().unwrap_or(0)
    }

    /// A rebalance: offsets of the generation before are refused from here on.
    pub fn rebalance(&mut self, group: &str) {
        *self.generations.entry(group.to_owned()).or_default() += 1;
    }

    /// Committed records from offset `from` up to the last stable offset (read_committed), with the offset at which to go
    /// on.
    #[must_use]
    pub fn read(&self, topic: &str, partition: i32, from: i64) -> (Vec<(i64, &LogRecord)>, i64) {
        let Some(p) = self.partition(topic, partition) else { return (Vec::new(), from.max(0)) };
        let end = p.stable().max(from);
        (self.records(p, from, end, |outcome| outcome == Outcome::Committed), end)
    }

    /// All records from offset `from` on (read_uncommitted), with the offset at which to go on.
    #[must_use]
    pub fn read_uncommitted(&self, topic: &str, partition: i32, from: i64) -> (Vec<(i64, &LogRecord)>, i64) {
        let Some(p) = self.partition(topic, partition) else { return (Vec::new(), from.max(0)) };
        (self.records(p, from, i64::MAX, |_| true), count(p.entries.len()).max(from))
    }

    /// Records from offset `from` on whose transaction is decided to be committed, whether or not its marker has come
    /// here. No consumer sees this: it is what consumers will see.
    #[must_use]
    pub fn decided(&self, topic: &str, partition: i32, from: i64) -> Vec<(i64, &LogRecord)> {
        let p = self.partition(topic, partition);
        p.map_or_else(Vec::new, |p| self.records(p, from, i64::MAX, |outcome| outcome == Outcome::Committed))
    }

    fn records<'l>(
        &'l self,
        partition: &'l Partition,
        from: i64,
        end: i64,
        wanted: impl Fn(Outcome) -> bool,
    ) -> Vec<(i64, &'l LogRecord)> {
        let below = partition.from(from).take_while(|(offset, _)| *offset < end);
        let records = below.filter_map(|(offset, entry)| match entry {
            Entry::Record { record, transaction } => {
                let outcome = transaction.map_or(Outcome::Committed, |t| self.outcome(t));
                wanted(outcome).then_some((offset, record))
            }
            Entry::Marker => None,
        });
        records.collect()
    }

    /// Every committed record in the order in which its transaction was decided: any prefix is a consistent cut.
    #[must_use]
    pub fn history(&self) -> &[Coordinates] {
        &self.history
    }

    /// The record at these coordinates.
    #[must_use]
    pub fn record_at(&self, at: &Coordinates) -> Option<&LogRecord> {
        let offset = usize::try_from(at.offset).ok()?;
        match self.partition(&at.topic, at.partition)?.entries.get(offset)? {
            Entry::Record { record, .. } => Some(record),
            Entry::Marker => None,
        }
    }

    /// End of a partition, open and aborted transactions included (read_uncommitted).
    #[must_use]
    pub fn end_offset(&self, topic: &str, partition: i32) -> i64 {
        self.partition(topic, partition).map_or(0, |p| count(p.entries.len()))
    }

    /// Last stable offset of a partition: where readers of committed records stop.
    #[must_use]
    pub fn last_stable_offset(&self, topic: &str, partition: i32) -> i64 {
        self.partition(topic, partition).map_or(0, Partition::stable)
    }

    /// Transactional id of the first transaction that holds back the readers of a partition.
    #[must_use]
    pub fn held_by(&self, topic: &str, partition: i32) -> Option<&str> {
        let open = &self.partition(topic, partition)?.open;
        let (transaction, _) = open.iter().min_by_key(|(_, first)| **first)?;
        self.transactions.get(*transaction).map(|t| t.id.as_str())
    }

    /// Topics that hold anything, with their partitions.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.topics.iter().flat_map(|(topic, partitions)| partitions.keys().map(move |p| (&**topic, *p)))
    }

    /// Identity of a topic; here a topic is never made anew.
    #[must_use]
    pub fn topic_uuid(&self, topic: &str) -> String {
        format!("uuid-of-{topic}")
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.get(&partition)
    }

    fn push(&mut self, topic: &str, partition: i32, entry: Entry) -> Coordinates {
        let name: Arc<str> =
            self.topics.get_key_value(topic).map_or_else(|| topic.into(), |(name, _)| Arc::clone(name));
        let partitions = self.topics.entry(Arc::clone(&name)).or_default();
        let offset = partitions.entry(partition).or_default().push(entry);
        Coordinates { topic: name, partition, offset }
    }

    pub(crate) fn push_record(&mut self, topic: &str, partition: i32, record: LogRecord, transaction: usize) -> i64 {
        let at = self.push(topic, partition, Entry::Record { record, transaction: Some(transaction) });
        let offset = at.offset;
        if let Some(t) = self.transactions.get_mut(transaction) {
            t.records.push(at);
        }
        offset
    }

    /// Whether the partition still waits for the marker of a transaction that has written to it.
    pub(crate) fn is_open_in(&self, transaction: usize, topic: &str, partition: i32) -> bool {
        self.partition(topic, partition).is_some_and(|p| p.open.contains_key(&transaction))
    }

    /// The records of a transaction that is decided to be committed become part of the history.
    pub(crate) fn remember(&mut self, transaction: usize) {
        if let Some(t) = self.transactions.get(transaction) {
            self.history.extend(t.records.iter().cloned());
        }
    }

    pub(crate) fn outcome(&self, transaction: usize) -> Outcome {
        self.transactions.get(transaction).map_or(Outcome::Aborted, |t| t.outcome)
    }

    /// A marker reaches its partition.
    pub(crate) fn write_marker(&mut self, marker: &Pending) {
        match &marker.target {
            Target::Partition(topic, partition) => {
                self.push(topic, *partition, Entry::Marker);
                if let Some(p) = self.topics.get_mut(&**topic).and_then(|t| t.get_mut(partition)) {
                    p.open.remove(&marker.transaction);
                }
            }
            Target::Offsets(group) => {
                self.unstable.remove(&(marker.transaction, group.clone()));
                if let Some(t) = self.transactions.get(marker.transaction).filter(|t| t.outcome == Outcome::Committed) {
                    for (key, place, committed) in t.offsets.iter().filter(|((g, ..), ..)| g == group) {
                        if self.offsets.get(key).is_none_or(|(held, _)| held < place) {
                            self.offsets.insert(key.clone(), (*place, committed.clone()));
                        }
                    }
                }
            }
        }
    }
}
