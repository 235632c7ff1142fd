//! A reader of whole partitions on librdkafka.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::config::ConnectionConfig;
use super::error::{ClientError, is_offset_gone};
use super::ffi::{EventQueue, RawEvent};
use super::rdkafka_consumer::{Names, partition_list};
use super::retiring::Retiring;
use super::{OffsetEntry, PartitionReader, ReaderEvent, TopicPartition};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A reader of whole partitions, on librdkafka.
pub struct RdKafkaReader {
    // Before the client: it must not outlive it.
    queue: EventQueue,
    committed: Retiring<BaseConsumer>,
    // The end that counts open transactions is only told to a client that reads them.
    uncommitted: Retiring<BaseConsumer>,
    names: Names,
}

impl RdKafkaReader {
    pub(super) fn new(config: &ConnectionConfig, fetch_wait_max_ms: u32) -> Result<Self, ClientError> {
        let mut reading = config.reading();
        // librdkafka assigns only with a group id; nothing is ever committed under it.
        reading
            .set("group.id", "fillstream.reader")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", fetch_wait_max_ms.to_string());
        let committed: BaseConsumer = reading.create().map_err(|e| ClientError::fatal("new reader", e))?;
        let queue =
            EventQueue::of(committed.client()).ok_or_else(|| ClientError::fatal("new reader", "it has no queue"))?;
        let mut dirty = config.administrative();
        dirty.set("isolation.level", "read_uncommitted");
        let uncommitted: BaseConsumer = dirty.create().map_err(|e| ClientError::fatal("new reader", e))?;
        let (committed, uncommitted) = (Retiring::new(committed), Retiring::new(uncommitted));
        Ok(Self { queue, committed, uncommitted, names: Names::default() })
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

    fn ends(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, ClientError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for tp in partitions {
            let mut element = list.add_partition(&tp.topic, tp.partition);
            // A "time" that means the end: one request a broker, where watermarks are two a partition.
            element.set_offset(Offset::End).map_err(|e| ClientError::fatal("ends", e))?;
        }
        let list =
            self.uncommitted.offsets_for_times(list, ANSWER_TIMEOUT).map_err(|e| ClientError::outside("ends", &e))?;
        let mut out = Vec::with_capacity(partitions.len());
        for e in list.elements() {
            e.error().map_err(|error| ClientError::outside("ends", &error))?;
            let Offset::Offset(end) = e.offset() else {
                return Err(ClientError::retry("ends", format!("{}-{} has none", e.topic(), e.partition())));
            };
            out.push((TopicPartition::new(e.topic(), e.partition()), end));
        }
        Ok(out)
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<ReaderEvent>, ClientError> {
        match self.queue.poll(self.committed.client(), &mut self.names, timeout) {
            None | Some(RawEvent::Assigned(_) | RawEvent::Revoked(_)) => Ok(None),
            Some(RawEvent::Record(record)) => Ok(Some(ReaderEvent::Record(record))),
            Some(RawEvent::End(tp, offset)) => Ok(Some(ReaderEvent::End { tp, offset })),
            Some(RawEvent::Error { text, fatal: true, .. }) => Err(ClientError::fatal("read", text)),
            Some(RawEvent::Error { code, text, at: Some((tp, offset)), .. }) if is_offset_gone(code) => {
                Err(ClientError::OffsetGone { topic: tp.topic.to_string(), partition: tp.partition, offset, text })
            }
            Some(RawEvent::Error { text, .. }) => Err(ClientError::retry("read", text)),
        }
    }
}
