//! A reader of whole partitions on librdkafka.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use super::config::ConnectionConfig;
use super::error::ClientError;
use super::rdkafka_consumer::{Names, partition_list};
use super::{OffsetEntry, PartitionReader, ReaderEvent, TopicPartition};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A reader of whole partitions of one topic, on librdkafka.
pub struct RdKafkaReader {
    committed: BaseConsumer,
    // The end that counts open transactions is only told to a client that reads them.
    uncommitted: BaseConsumer,
    names: Names,
}

impl RdKafkaReader {
    pub(super) fn new(config: &ConnectionConfig) -> Result<Self, ClientError> {
        let mut reading = config.reading();
        // librdkafka assigns only with a group id; nothing is ever committed under it.
        reading.set("group.id", "fillstream.reader").set("enable.partition.eof", "true").set("fetch.wait.max.ms", "10");
        let committed = reading.create().map_err(|e| ClientError::fatal("new reader", e))?;
        let mut dirty = config.administrative();
        dirty.set("isolation.level", "read_uncommitted");
        let uncommitted = dirty.create().map_err(|e| ClientError::fatal("new reader", e))?;
        Ok(Self { committed, uncommitted, names: Names::default() })
    }
}

impl PartitionReader for RdKafkaReader {
    fn bounds(&self, tp: &TopicPartition) -> Result<(i64, i64), ClientError> {
        self.uncommitted
            .fetch_watermarks(&tp.topic, tp.partition, ANSWER_TIMEOUT)
            .map_err(|e| ClientError::outside("bounds", &e))
    }

    fn stable_bounds(&self, tp: &TopicPartition) -> Result<(i64, i64), ClientError> {
        self.committed
            .fetch_watermarks(&tp.topic, tp.partition, ANSWER_TIMEOUT)
            .map_err(|e| ClientError::outside("stable bounds", &e))
    }

    fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), ClientError> {
        let positions: Vec<OffsetEntry> = from
            .iter()
            .map(|(tp, offset)| OffsetEntry { tp: tp.clone(), offset: *offset, metadata: String::new() })
            .collect();
        let list = partition_list(&positions).map_err(|e| ClientError::fatal("start", e))?;
        self.committed.assign(&list).map_err(|e| ClientError::fatal("start", e))
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<ReaderEvent>, ClientError> {
        match self.committed.poll(timeout) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(ReaderEvent::Record(self.names.received(&message)))),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Some(ReaderEvent::End(partition))),
            Some(Err(error)) => Err(ClientError::outside("read", &error)),
        }
    }
}
