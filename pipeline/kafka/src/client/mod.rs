//! What the engine needs from a Kafka client, and nothing else: another client can take its place behind these traits.
//!
//! The contract, stricter than a client's usual one:
//! - an error says which reaction it needs ([`ClientError`]);
//! - a producer never begins a transaction on an id whose last commit may still be travelling (the guard against
//!   KAFKA-17754): [`TransactionalProducer::is_suspect`] is true and the caller builds a new one first;
//! - a consumer never fetches before it is told where from ([`GroupConsumer::assign_at`]): an assignment is an event,
//!   not a start;
//! - no callback runs outside [`GroupConsumer::poll`], so no transaction is ever open while partitions move.

mod config;
mod error;
mod ffi;
mod producer;
mod publisher;
mod rdkafka_admin;
mod rdkafka_consumer;
mod rdkafka_producer;
mod rdkafka_reader;
mod rdkafka_spread;
mod rdkafka_time;
mod retiring;
mod v2;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use config::{ConnectionConfig, ConsumerTuning, ProducerTuning};
pub use error::{ClientError, ConfigFault};
pub use producer::KafkaProducer;
pub use publisher::Publisher;
pub use rdkafka_admin::{Admin, ConfigOrigin, ConfigValue, TopicInfo};
pub use rdkafka_consumer::{GroupMetadata, RdKafkaConsumer};
pub use rdkafka_reader::RdKafkaReader;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of `topic`.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record to send. Borrowed: the client copies what it keeps.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition, always chosen by the engine.
    pub partition: i32,
    /// Key; `None` for a record without one.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Create time, milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
}

/// A record read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp of the record, milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Received {
    /// First header called `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())
    }

    /// Bytes of key, value and headers, for bounds of a batch.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + headers
    }
}

/// Next offset of a partition, with the metadata that is committed beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Partition.
    pub tp: TopicPartition,
    /// Offset of the next record to read.
    pub offset: i64,
    /// Metadata string; empty for none.
    pub metadata: String,
}

/// What a poll of a group consumer brought.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// A record.
    Record(Received),
    /// Everything below `offset` has been read: records, and what is never delivered (transaction markers, aborted
    /// records).
    End {
        /// Partition.
        tp: TopicPartition,
        /// Next offset.
        offset: i64,
    },
    /// These are ours now, all of them; nothing is fetched until [`GroupConsumer::assign_at`].
    Assigned(Vec<TopicPartition>),
    /// These were taken from us in order: what is uncommitted must be dropped.
    Revoked(Vec<TopicPartition>),
    /// These were lost: somebody else may already own them.
    Lost(Vec<TopicPartition>),
    /// A partition cannot be read on from where it stands (no committed offset, or the offset is gone).
    NoOffset(String),
}

/// A producer of transactions on one transactional id. All calls may block.
pub trait TransactionalProducer: Send {
    /// Group metadata of the consumer whose offsets it commits.
    type GroupMetadata: Send + Sync;

    /// Fences every earlier producer of the id and ends its open transaction.
    ///
    /// # Errors
    /// [`ClientError::Retry`] when the coordinator did not answer in time; [`ClientError::Fatal`] otherwise.
    fn init(&mut self) -> Result<(), ClientError>;
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`ClientError::Fatal`], or [`ClientError::Abort`] when one is already open.
    fn begin(&mut self) -> Result<(), ClientError>;
    /// Enqueues a record; waits while the local queue is full.
    ///
    /// # Errors
    /// [`ClientError::Abort`] when the record cannot be sent in this transaction, [`ClientError::TooLarge`] when it
    /// can in none.
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ClientError>;
    /// Puts next offsets into the transaction, under the group metadata taken when the batch began.
    ///
    /// # Errors
    /// [`ClientError::Abort`], among others when the group has moved on; [`ClientError::Fatal`].
    fn send_offsets(&mut self, offsets: &[OffsetEntry], group: &Self::GroupMetadata) -> Result<(), ClientError>;
    /// Commits. Every delivery error is seen before.
    ///
    /// # Errors
    /// [`ClientError::Abort`]; [`ClientError::Fatal`]; [`ClientError::Ambiguous`] when nobody can say whether it
    /// committed: restore.
    fn commit(&mut self) -> Result<(), ClientError>;
    /// Aborts. The consumer is not rewound.
    ///
    /// # Errors
    /// [`ClientError::Fatal`], or [`ClientError::Ambiguous`] on a timeout: in both build a new producer.
    fn abort(&mut self) -> Result<(), ClientError>;
    /// Whether a new producer must be built before the next begin: the last commit took as long as a request may, or
    /// a transport error arrived since the last begin, so that a retried EndTxn may still be on its way and would end
    /// the *next* transaction of the same epoch; or a delivery failed, and its sequence number is lost.
    fn is_suspect(&mut self) -> bool;
}

/// A consumer of a group. Callbacks run inside [`GroupConsumer::poll`] only.
pub trait GroupConsumer: Send {
    /// Membership at a moment, for [`TransactionalProducer::send_offsets`].
    type GroupMetadata: Send + Sync;

    /// Waits for an event.
    ///
    /// # Errors
    /// [`ClientError::Retry`] for what passes, [`ClientError::Fatal`] when the member was fenced or cannot go on.
    fn poll(&mut self, timeout: Duration) -> Result<Option<ConsumerEvent>, ClientError>;
    /// Membership now. Taken when a batch begins, never at commit: a later one would let offsets of partitions commit
    /// that were revoked in between.
    ///
    /// # Errors
    /// [`ClientError::Fatal`] without a group.
    fn group_metadata(&self) -> Result<Self::GroupMetadata, ClientError>;
    /// Reads exactly these partitions from these offsets, dropping whatever is buffered. It answers an assignment, and
    /// rewinds after an abort.
    ///
    /// # Errors
    /// [`ClientError::Fatal`].
    fn assign_at(&mut self, positions: &[OffsetEntry]) -> Result<(), ClientError>;
    /// Stops fetching these partitions.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError>;
    /// Fetches them again.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError>;
    /// Committed offsets that no open transaction can change any more; an offset of -1 where there is none.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetEntry>, ClientError>;
    /// First and next offset of a partition as a reader of committed records sees them.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn stable_bounds(&self, tp: &TopicPartition) -> Result<(i64, i64), ClientError>;
}

/// A reader of whole partitions, outside any group: restore and tables.
pub trait PartitionReader: Send {
    /// First offset, and the end that counts records of open transactions too.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn bounds(&self, tp: &TopicPartition) -> Result<(i64, i64), ClientError>;
    /// First offset, and the end below which everything is decided.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn stable_bounds(&self, tp: &TopicPartition) -> Result<(i64, i64), ClientError>;
    /// The ends of partitions, records of open transactions counted, in one request a broker.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn ends(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, ClientError>;
    /// Reads these partitions from these offsets on.
    ///
    /// # Errors
    /// [`ClientError::Fatal`].
    fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), ClientError>;
    /// The next committed record, or the news that a partition has been read to its end.
    ///
    /// # Errors
    /// [`ClientError::Retry`]; [`ClientError::Fatal`]; [`ClientError::OffsetGone`] when there is nothing at an offset that
    /// was asked for, and never will be.
    fn next(&mut self, timeout: Duration) -> Result<Option<ReaderEvent>, ClientError>;
}

/// What a reader met.
#[derive(Debug)]
pub enum ReaderEvent {
    /// A committed record.
    Record(Received),
    /// Everything decided of a partition has been read, up to `offset`.
    End {
        /// Partition.
        tp: TopicPartition,
        /// Next offset.
        offset: i64,
    },
}

/// Makes clients.
pub trait KafkaClient: Clone + Send + Sync + 'static {
    /// Membership of a group.
    type GroupMetadata: Send + Sync;
    /// Producers.
    type Producer: TransactionalProducer<GroupMetadata = Self::GroupMetadata>;
    /// Consumers.
    type Consumer: GroupConsumer<GroupMetadata = Self::GroupMetadata>;
    /// Readers.
    type Reader: PartitionReader;

    /// A producer on `transactional_id`, not yet initialised.
    ///
    /// # Errors
    /// [`ClientError::Fatal`] for a wrong configuration.
    fn producer(&self, transactional_id: &str) -> Result<Self::Producer, ClientError>;
    /// A static member `instance` of `group`, subscribed to `topics`; without topics it never joins.
    ///
    /// # Errors
    /// [`ClientError::Fatal`] for a wrong configuration.
    fn consumer(&self, group: &str, instance: &str, topics: &[&str]) -> Result<Self::Consumer, ClientError>;
    /// A reader outside any group that soon tells where a partition ends: it asks the broker again every 10 ms while it
    /// is assigned, so it is for catching up, not for staying.
    ///
    /// # Errors
    /// [`ClientError::Fatal`] for a wrong configuration.
    fn reader(&self) -> Result<Self::Reader, ClientError>;
    /// A reader outside any group for staying at the end: its requests wait at the broker for the next record, so an end
    /// behind transaction markers is told later, within half a second.
    ///
    /// # Errors
    /// [`ClientError::Fatal`] for a wrong configuration.
    fn follower(&self) -> Result<Self::Reader, ClientError>;
    /// UUID and partition count of each topic that exists.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    fn describe(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicInfo>, ClientError>;
}

/// Waits of a fetch without data: of readers that catch up, and of those that stay.
const CATCH_UP_WAIT_MS: u32 = 10;
const FOLLOW_WAIT_MS: u32 = 500;

/// The client on librdkafka; its transactions may be our own protocol's ([`ProducerTuning::transaction_version`]).
#[derive(Clone)]
pub struct RdKafka {
    config: ConnectionConfig,
    admin: Arc<Admin>,
}

impl RdKafka {
    /// Clients of the cluster in `config`.
    ///
    /// # Errors
    /// [`ClientError::Config`] naming every fault, [`ClientError::Fatal`] when librdkafka refuses.
    pub fn new(config: ConnectionConfig) -> Result<Self, ClientError> {
        config.validate()?;
        let admin = Arc::new(Admin::new(&config)?);
        Ok(Self { config, admin })
    }

    /// The same, with consumers whose fetches wait at most `ms` for data.
    #[must_use]
    pub fn with_fetch_wait_max_ms(&self, ms: u32) -> Self {
        let mut client = self.clone();
        client.config.consumer.fetch_wait_max_ms = ms;
        client
    }

    /// Administration of topics.
    #[must_use]
    pub fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    /// The broker's clock, milliseconds since 1970-01-01 UTC: what it stamps on a record of `topic`, whose timestamps must
    /// be those of appending.
    ///
    /// # Errors
    /// [`ClientError::Retry`]; [`ClientError::Fatal`] when the topic keeps the writers' timestamps.
    pub fn append_time_ms(&self, topic: &str) -> Result<i64, ClientError> {
        rdkafka_time::append_time_ms(&self.config, topic)
    }

    /// A plain producer, for what stands outside the engine's transactions.
    ///
    /// # Errors
    /// [`ClientError::Fatal`] for a wrong configuration.
    pub fn publisher(&self) -> Result<Publisher, ClientError> {
        Publisher::new(&self.config)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ConnectionConfig {
        &self.config
    }
}

impl KafkaClient for RdKafka {
    type GroupMetadata = GroupMetadata;
    type Producer = KafkaProducer;
    type Consumer = RdKafkaConsumer;
    type Reader = RdKafkaReader;

    fn producer(&self, transactional_id: &str) -> Result<KafkaProducer, ClientError> {
        KafkaProducer::new(&self.config, transactional_id)
    }

    fn consumer(&self, group: &str, instance: &str, topics: &[&str]) -> Result<RdKafkaConsumer, ClientError> {
        RdKafkaConsumer::new(&self.config, group, instance, topics)
    }

    fn reader(&self) -> Result<RdKafkaReader, ClientError> {
        RdKafkaReader::new(&self.config, CATCH_UP_WAIT_MS)
    }

    fn follower(&self) -> Result<RdKafkaReader, ClientError> {
        RdKafkaReader::new(&self.config, FOLLOW_WAIT_MS)
    }

    fn describe(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicInfo>, ClientError> {
        self.admin.describe(topics)
    }
}
