//! A log in memory with what the engine relies on in Kafka: offsets that transaction markers occupy too, read_committed,
//! producers fenced by their successor, and offsets that are committed with the transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::lineage::Lineage;
use fillstream_core::record::{Envelope, Payload, header};

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

/// A transactional producer: an id with the epoch that its initialisation gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producer {
    id: String,
    epoch: u32,
}

impl Producer {
    /// Transactional id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug)]
struct Transaction {
    id: String,
    outcome: Outcome,
    touched: BTreeSet<(String, i32)>,
    offsets: Vec<(OffsetKey, Committed)>,
}

#[derive(Debug)]
enum Entry {
    Record { record: LogRecord, transaction: Option<usize> },
    Marker,
}

type OffsetKey = (String, String, i32);

#[derive(Debug, Default)]
struct ProducerState {
    epoch: u32,
    open: Option<usize>,
}

/// Topics, transactions and committed offsets.
#[derive(Debug, Default)]
pub struct Log {
    topics: BTreeMap<String, BTreeMap<i32, Vec<Entry>>>,
    transactions: Vec<Transaction>,
    producers: BTreeMap<String, ProducerState>,
    offsets: BTreeMap<OffsetKey, Committed>,
    generations: BTreeMap<String, u32>,
}

impl Log {
    /// `initTransactions`: aborts what a predecessor with the id left open, and fences it.
    pub fn init_transactions(&mut self, id: &str) -> Producer {
        self.expire(id);
        let epoch = self.producers.entry(id.to_owned()).or_default().epoch;
        Producer { id: id.to_owned(), epoch }
    }

    /// What the coordinator does on a transaction that is open for too long: aborts it and fences its producer.
    pub fn expire(&mut self, id: &str) {
        let state = self.producers.entry(id.to_owned()).or_default();
        state.epoch = state.epoch.saturating_add(1);
        if let Some(open) = state.open.take() {
            self.end(open, Outcome::Aborted);
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`LogError::Fenced`].
    pub fn begin(&mut self, producer: &Producer) -> Result<(), LogError> {
        let next = self.transactions.len();
        self.state(producer)?.open = Some(next);
        self.transactions.push(Transaction {
            id: producer.id.clone(),
            outcome: Outcome::Open,
            touched: BTreeSet::new(),
            offsets: Vec::new(),
        });
        Ok(())
    }

    /// Appends a record in the open transaction.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::NoTransaction`].
    pub fn append(
        &mut self,
        producer: &Producer,
        topic: &str,
        partition: i32,
        record: LogRecord,
    ) -> Result<i64, LogError> {
        let open = self.open(producer)?;
        if let Some(transaction) = self.transactions.get_mut(open) {
            transaction.touched.insert((topic.to_owned(), partition));
        }
        Ok(self.push(topic, partition, Entry::Record { record, transaction: Some(open) }))
    }

    /// Appends a record outside any transaction, as a foreign producer does.
    pub fn append_plain(&mut self, topic: &str, partition: i32, record: LogRecord) -> i64 {
        self.push(topic, partition, Entry::Record { record, transaction: None })
    }

    /// `sendOffsetsToTransaction` with the group's generation at the batch's start.
    ///
    /// # Errors
    /// [`LogError::StaleGeneration`], [`LogError::Fenced`], [`LogError::NoTransaction`].
    pub fn send_offsets(
        &mut self,
        producer: &Producer,
        group: &str,
        generation: u32,
        offsets: impl IntoIterator<Item = (String, i32, Committed)>,
    ) -> Result<(), LogError> {
        let open = self.open(producer)?;
        let current = self.generation(group);
        if generation != current {
            return Err(LogError::StaleGeneration { group: group.to_owned(), current, given: generation });
        }
        if let Some(transaction) = self.transactions.get_mut(open) {
            let keyed = offsets.into_iter().map(|(t, p, committed)| ((group.to_owned(), t, p), committed));
            transaction.offsets.extend(keyed);
        }
        Ok(())
    }

    /// Commits the open transaction.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::NoTransaction`].
    pub fn commit(&mut self, producer: &Producer) -> Result<(), LogError> {
        self.finish(producer, Outcome::Committed)
    }

    /// Aborts the open transaction.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::NoTransaction`].
    pub fn abort(&mut self, producer: &Producer) -> Result<(), LogError> {
        self.finish(producer, Outcome::Aborted)
    }

    /// Commits offsets outside any transaction, as a new group does once.
    pub fn commit_offset(&mut self, group: &str, topic: &str, partition: i32, committed: Committed) {
        self.offsets.insert((group.to_owned(), topic.to_owned(), partition), committed);
    }

    /// The committed offset, once no open transaction is about to change it.
    ///
    /// # Errors
    /// [`LogError::Unstable`].
    pub fn stable_offset(&self, group: &str, topic: &str, partition: i32) -> Result<Option<&Committed>, LogError> {
        let key = (group.to_owned(), topic.to_owned(), partition);
        let holds = |t: &&Transaction| t.outcome == Outcome::Open && t.offsets.iter().any(|(k, _)| *k == key);
        match self.transactions.iter().find(holds) {
            Some(t) => {
                Err(LogError::Unstable { what: format!("offset of {group} on {topic}-{partition}"), by: t.id.clone() })
            }
            None => Ok(self.offsets.get(&key)),
        }
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

    /// Committed records from offset `from` on (read_committed), with the offset at which to go on.
    #[must_use]
    pub fn read(&self, topic: &str, partition: i32, from: i64) -> (Vec<(i64, &LogRecord)>, i64) {
        let mut records = Vec::new();
        let start = usize::try_from(from).unwrap_or(0);
        let mut next = from.max(0);
        for entry in self.entries(topic, partition).iter().skip(start) {
            if let Entry::Record { record, transaction } = entry {
                match transaction.map_or(Outcome::Committed, |t| self.outcome(t)) {
                    Outcome::Open => break,
                    Outcome::Committed => records.push((next, record)),
                    Outcome::Aborted => {}
                }
            }
            next += 1;
        }
        (records, next)
    }

    /// End of a partition, open and aborted transactions included (read_uncommitted).
    #[must_use]
    pub fn end_offset(&self, topic: &str, partition: i32) -> i64 {
        i64::try_from(self.entries(topic, partition).len()).unwrap_or(i64::MAX)
    }

    /// Transactional id of the first open transaction of a partition.
    #[must_use]
    pub fn held_by(&self, topic: &str, partition: i32) -> Option<&str> {
        let transaction = self.entries(topic, partition).iter().find_map(|entry| match entry {
            Entry::Record { transaction: Some(t), .. } if self.outcome(*t) == Outcome::Open => Some(*t),
            Entry::Record { .. } | Entry::Marker => None,
        })?;
        self.transactions.get(transaction).map(|t| t.id.as_str())
    }

    /// Topics that hold anything, with their partitions.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.topics.iter().flat_map(|(topic, partitions)| partitions.keys().map(move |p| (topic.as_str(), *p)))
    }

    /// Identity of a topic; here a topic is never made anew.
    #[must_use]
    pub fn topic_uuid(&self, topic: &str) -> String {
        format!("uuid-of-{topic}")
    }

    fn entries(&self, topic: &str, partition: i32) -> &[Entry] {
        self.topics.get(topic).and_then(|t| t.get(&partition)).map_or(&[], Vec::as_slice)
    }

    fn push(&mut self, topic: &str, partition: i32, entry: Entry) -> i64 {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), BTreeMap::new());
        }
        let entries = self.topics.get_mut(topic).map(|t| t.entry(partition).or_default());
        entries.map_or(-1, |entries| {
            entries.push(entry);
            i64::try_from(entries.len()).unwrap_or(i64::MAX) - 1
        })
    }

    fn outcome(&self, transaction: usize) -> Outcome {
        self.transactions.get(transaction).map_or(Outcome::Aborted, |t| t.outcome)
    }

    fn state(&mut self, producer: &Producer) -> Result<&mut ProducerState, LogError> {
        match self.producers.get_mut(&producer.id) {
            Some(state) if state.epoch == producer.epoch => Ok(state),
            Some(_) | None => Err(LogError::Fenced { id: producer.id.clone() }),
        }
    }

    fn open(&mut self, producer: &Producer) -> Result<usize, LogError> {
        self.state(producer)?.open.ok_or_else(|| LogError::NoTransaction { id: producer.id.clone() })
    }

    fn finish(&mut self, producer: &Producer, outcome: Outcome) -> Result<(), LogError> {
        let open = self.open(producer)?;
        self.state(producer)?.open = None;
        self.end(open, outcome);
        Ok(())
    }

    fn end(&mut self, transaction: usize, outcome: Outcome) {
        let Some(t) = self.transactions.get_mut(transaction) else { return };
        t.outcome = outcome;
        let (touched, offsets) = (std::mem::take(&mut t.touched), std::mem::take(&mut t.offsets));
        if outcome == Outcome::Committed {
            self.offsets.extend(offsets);
        }
        for (topic, partition) in touched {
            self.push(&topic, partition, Entry::Marker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str) -> LogRecord {
        LogRecord {
            key: key.into(),
            value: Some(Payload::Avro(key.as_bytes().into())),
            headers: Vec::new(),
            timestamp: TimestampMicros::from_micros(0),
        }
    }

    fn keys(log: &Log) -> Vec<(i64, String)> {
        log.read("t", 0, 0).0.into_iter().map(|(o, r)| (o, r.key.to_string())).collect()
    }

    #[test]
    fn readers_see_committed_records_only_and_markers_take_offsets() -> Result<(), LogError> {
        let mut log = Log::default();
        let p = log.init_transactions("p");
        log.begin(&p)?;
        log.append(&p, "t", 0, record("aborted"))?;
        log.abort(&p)?;
        log.begin(&p)?;
        log.append(&p, "t", 0, record("a"))?;
        log.append_plain("t", 0, record("plain"));
        assert_eq!((keys(&log), log.read("t", 0, 0).1), (vec![], 2), "an open transaction holds back what is behind");
        log.commit(&p)?;
        assert_eq!(keys(&log), [(2, "a".to_owned()), (3, "plain".to_owned())]);
        assert_eq!((log.read("t", 0, 0).1, log.end_offset("t", 0)), (5, 5));
        Ok(())
    }

    #[test]
    fn a_successor_aborts_and_fences() -> Result<(), LogError> {
        let mut log = Log::default();
        let old = log.init_transactions("p");
        log.begin(&old)?;
        log.append(&old, "t", 0, record("a"))?;
        log.init_transactions("p");
        assert_eq!(log.commit(&old), Err(LogError::Fenced { id: "p".to_owned() }));
        assert_eq!(keys(&log), []);
        Ok(())
    }

    #[test]
    fn offsets_belong_to_the_transaction_and_to_a_generation() -> Result<(), LogError> {
        let mut log = Log::default();
        let p = log.init_transactions("p");
        let committed = Committed { offset: 7, metadata: String::new() };
        log.begin(&p)?;
        log.send_offsets(&p, "g", 0, [("t".to_owned(), 0, committed.clone())])?;
        assert!(matches!(log.stable_offset("g", "t", 0), Err(LogError::Unstable { .. })));
        log.commit(&p)?;
        assert_eq!(log.stable_offset("g", "t", 0)?, Some(&committed));
        log.rebalance("g");
        log.begin(&p)?;
        let stale = log.send_offsets(&p, "g", 0, [("t".to_owned(), 0, committed)]);
        assert!(matches!(stale, Err(LogError::StaleGeneration { .. })));
        Ok(())
    }
}
