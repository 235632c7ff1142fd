//! A group consumer on librdkafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, error, info, warn};

use super::config::ConnectionConfig;
use super::error::{ClientError, is_fenced, is_offset_gone};
use super::ffi::{self, EventQueue, Membership, RawEvent};
use super::{ConsumerEvent, GroupConsumer, OffsetEntry, TopicPartition};

/// Membership of a group at a moment.
pub struct GroupMetadata {
    pub(super) native: ConsumerGroupMetadata,
    pub(super) member: Membership,
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        forward_log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", %error, reason, "consumer");
    }
}

impl ConsumerContext for Context {
    /// Only when the consumer is closed: everything else is polled here, not by rdkafka.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, _: RDKafkaRespErr, _: &mut TopicPartitionList) {
        if let Err(error) = consumer.unassign() {
            warn!(%error, "unassign");
        }
    }
}

pub(super) fn forward_log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        // Said before an assertion of its own ends the process.
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            error!(target: "librdkafka", facility, "{text}");
        }
        RDKafkaLogLevel::Error => {
            // librdkafka reports here what it goes on to retry; what cannot be retried comes back as an error of a call.
            warn!(target: "librdkafka", facility, "{text}");
        }
        RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, "{text}"),
    }
}

/// A static member of a group, on librdkafka.
pub struct RdKafkaConsumer {
    // Before the client: it must not outlive it.
    queue: EventQueue,
    inner: BaseConsumer<Context>,
    names: Names,
}

impl RdKafkaConsumer {
    pub(super) fn new(
        config: &ConnectionConfig,
        group: &str,
        instance: &str,
        topics: &[&str],
    ) -> Result<Self, ClientError> {
        let inner = BaseConsumer::from_config_and_context(&config.member(group, instance), Context)
            .map_err(|e| ClientError::fatal("new consumer", e))?;
        let queue =
            EventQueue::of(inner.client()).ok_or_else(|| ClientError::fatal("new consumer", "it has no queue"))?;
        if !topics.is_empty() {
            inner.subscribe(topics).map_err(|e| ClientError::fatal("subscribe", e))?;
        }
        Ok(Self { queue, inner, names: Names::default() })
    }
}

impl GroupConsumer for RdKafkaConsumer {
    type GroupMetadata = GroupMetadata;

    fn poll(&mut self, timeout: Duration) -> Result<Option<ConsumerEvent>, ClientError> {
        let Some(event) = self.queue.poll(self.inner.client(), &mut self.names, timeout) else { return Ok(None) };
        match event {
            RawEvent::Record(record) => Ok(Some(ConsumerEvent::Record(record))),
            RawEvent::End(tp, offset) => Ok(Some(ConsumerEvent::End { tp, offset })),
            // Only noted: nothing may be fetched before the tasks' state is restored and the offsets are known.
            RawEvent::Assigned(partitions) => Ok(Some(ConsumerEvent::Assigned(partitions))),
            RawEvent::Revoked(partitions) => {
                let lost = self.inner.assignment_lost();
                self.inner.unassign().map_err(|e| ClientError::fatal("unassign", e))?;
                let event = if lost { ConsumerEvent::Lost(partitions) } else { ConsumerEvent::Revoked(partitions) };
                Ok(Some(event))
            }
            RawEvent::Error { code, text, fatal, at } => {
                let text = at.map_or_else(|| text.clone(), |(tp, offset)| format!("{tp} at {offset}: {text}"));
                classify(code, text, fatal)
            }
        }
    }

    fn group_metadata(&self) -> Result<GroupMetadata, ClientError> {
        // One producer takes the one, another the other: they may be of two moments.
        let (native, member) = (self.inner.group_metadata(), ffi::membership(self.inner.client()));
        let both = native.zip(member).map(|(native, member)| GroupMetadata { native, member });
        both.ok_or_else(|| ClientError::fatal("group_metadata", "the consumer has no group"))
    }

    fn assign_at(&mut self, positions: &[OffsetEntry]) -> Result<(), ClientError> {
        let list = partition_list(positions).map_err(|e| ClientError::fatal("assign", e))?;
        self.inner.assign(&list).map_err(|e| ClientError::fatal("assign", e))
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.inner.pause(&names_only(partitions)).map_err(|e| ClientError::retry("pause", e))
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.inner.resume(&names_only(partitions)).map_err(|e| ClientError::retry("resume", e))
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetEntry>, ClientError> {
        let list = self
            .inner
            .committed_offsets(names_only(partitions), ANSWER_TIMEOUT)
            .map_err(|e| ClientError::outside("committed", &e))?;
        let mut out = Vec::with_capacity(partitions.len());
        for e in list.elements() {
            e.error().map_err(|error| ClientError::outside("committed", &error))?;
            let offset = if let Offset::Offset(offset) = e.offset() { offset } else { -1 };
            out.push(OffsetEntry {
                tp: TopicPartition::new(e.topic(), e.partition()),
                offset,
                metadata: e.metadata().to_owned(),
            });
        }
        Ok(out)
    }

    fn stable_bounds(&self, tp: &TopicPartition) -> Result<(i64, i64), ClientError> {
        self.inner
            .fetch_watermarks(&tp.topic, tp.partition, ANSWER_TIMEOUT)
            .map_err(|e| ClientError::outside("watermarks", &e))
    }
}

/// What an error event of a consumer means.
fn classify(code: RDKafkaErrorCode, text: String, fatal: bool) -> Result<Option<ConsumerEvent>, ClientError> {
    if is_fenced(code) {
        Err(ClientError::Fenced { call: "poll", text })
    } else if fatal {
        Err(ClientError::Fatal { call: "poll", text })
    } else if is_offset_gone(code) {
        Ok(Some(ConsumerEvent::NoOffset(text)))
    } else {
        // The rest passes by itself: a broker down, a coordinator moving.
        Err(ClientError::Retry { call: "poll", text })
    }
}

pub(super) fn partition_list(positions: &[OffsetEntry]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for p in positions {
        let mut element = list.add_partition(&p.tp.topic, p.tp.partition);
        element.set_offset(Offset::Offset(p.offset))?;
        if !p.metadata.is_empty() {
            element.set_metadata(&p.metadata);
        }
    }
    Ok(list)
}

fn names_only(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for p in partitions {
        list.add_partition(&p.topic, p.partition);
    }
    list
}

/// Topic names, each allocated once.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, Arc<str>>);

impl Names {
    pub(super) fn of(&mut self, topic: &str) -> Arc<str> {
        if let Some(name) = self.0.get(topic) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(topic);
        self.0.insert(topic.to_owned(), Arc::clone(&name));
        name
    }
}
