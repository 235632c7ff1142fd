//! Writes and reads records of the contracts from outside the engine: upstream tools, the pacer, commands.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fillstream_kafka::client::{
    ConnectionConfig, KafkaClient as _, Outgoing, PartitionReader as _, Publisher, RdKafka, TopicPartition,
};
use fillstream_kafka::registry::{Framing, RegistryConfig, SchemaRegistry, framed, value_subject};
use fillstream_kafka::topics::{Catalog, Profile, Router};
use fillstream_schemas::codec::{AvroRecord, Event};

use crate::config::Config;

/// topics.yaml as it was when this binary was built.
pub const TOPICS: &str = include_str!("../../../topics.yaml");

/// The catalog of topics.
///
/// # Errors
/// Every fault of topics.yaml.
pub fn catalog() -> anyhow::Result<Catalog> {
    Catalog::parse(TOPICS, |name| fillstream_schemas::contract(name).is_some()).context("topics.yaml")
}

/// Clients of the configured cluster and registry.
#[derive(Clone)]
pub struct Cluster {
    /// Kafka.
    pub kafka: RdKafka,
    /// Schema registry.
    pub registry: Arc<SchemaRegistry>,
    /// Topics.
    pub catalog: Arc<Catalog>,
    /// Sizes in force.
    pub profile: Profile,
    /// Partition of every key.
    pub router: Arc<Router>,
}

impl Cluster {
    /// Connects; nothing is sent yet.
    ///
    /// # Errors
    /// A wrong configuration.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let mut connection = ConnectionConfig::new(&*config.kafka.bootstrap_servers);
        connection.librdkafka.clone_from(&config.kafka.librdkafka);
        connection.producer.transaction_version = config.kafka.transaction_version;
        let catalog = catalog()?;
        let profile = catalog.profile(&config.kafka.profile)?;
        let router = Arc::new(catalog.router(profile));
        Ok(Self {
            kafka: RdKafka::new(connection)?,
            registry: SchemaRegistry::new(&RegistryConfig::new(&*config.registry.url))?,
            catalog: Arc::new(catalog),
            profile,
            router,
        })
    }

    /// Frames and unframes values for one thread.
    #[must_use]
    pub fn framing(&self) -> Framing {
        Framing::new(Arc::clone(&self.registry))
    }

    /// A writer of contract records.
    ///
    /// # Errors
    /// A wrong configuration.
    pub fn writer(&self) -> anyhow::Result<Writer> {
        Ok(Writer { publisher: self.kafka.publisher()?, framing: self.framing(), router: Arc::clone(&self.router) })
    }

    /// Partitions of a topic that exists.
    ///
    /// # Errors
    /// The topic is missing or the cluster does not answer.
    pub fn partitions(&self, topic: &str) -> anyhow::Result<i32> {
        let topics = self.kafka.describe(&[topic])?;
        topics
            .get(topic)
            .map(|t| t.partitions)
            .with_context(|| format!("topic {topic} does not exist; run `fillstream topics apply`"))
    }

    /// Next offset of every partition of a topic.
    ///
    /// # Errors
    /// The topic is missing or the cluster does not answer.
    pub fn ends(&self, topic: &str) -> anyhow::Result<Vec<i64>> {
        let reader = self.kafka.reader()?;
        (0..self.partitions(topic)?).map(|p| Ok(reader.bounds(&TopicPartition::new(topic, p))?.1)).collect()
    }
}

/// Writes contract records without a transaction.
pub struct Writer {
    publisher: Publisher,
    framing: Framing,
    router: Arc<Router>,
}

impl Writer {
    /// Enqueues a record on the partition of its key, and gives that partition.
    ///
    /// # Errors
    /// The registry refuses the schema, or the key has no partition.
    pub fn send<R: Event>(&mut self, topic: &str, record: &R) -> anyhow::Result<i32> {
        let partition = self.router.partition(topic, record.key())?;
        self.send_to(topic, partition, record.key(), record)?;
        Ok(partition)
    }

    /// Enqueues a record under `key` on `partition`.
    ///
    /// # Errors
    /// The registry refuses the schema.
    pub fn send_to<R: AvroRecord>(&mut self, topic: &str, partition: i32, key: &str, record: &R) -> anyhow::Result<()> {
        let id = self.framing.id(&value_subject(topic), R::FULL_NAME)?;
        self.send_bytes(topic, partition, key, &framed(id, &record.to_bytes()))
    }

    /// Enqueues bytes that are framed already.
    ///
    /// # Errors
    /// The client takes nothing any more.
    pub fn send_bytes(&mut self, topic: &str, partition: i32, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let key = Some(key.as_bytes());
        let out = Outgoing { topic, partition, key, value: Some(value), headers: &[], timestamp_ms: now_us() / 1_000 };
        Ok(self.publisher.send(&out)?)
    }

    /// Enqueues a keyed record of a table.
    ///
    /// # Errors
    /// As [`Writer::send_to`].
    pub fn put<R: AvroRecord>(&mut self, topic: &str, key: &str, record: &R) -> anyhow::Result<()> {
        let partition = self.router.partition(topic, key)?;
        self.send_to(topic, partition, key, record)
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// A record was not.
    pub fn flush(&self) -> anyhow::Result<()> {
        Ok(self.publisher.flush(Duration::from_secs(30))?)
    }
}

/// OS clock, microseconds since 1970-01-01 UTC.
#[must_use]
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
