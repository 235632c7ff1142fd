//! A group consumer on librdkafka.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, warn};

use super::config::ConnectionConfig;
use super::error::{ClientError, is_fenced};
use super::{ConsumerEvent, GroupConsumer, OffsetEntry, Received, TopicPartition};

/// Membership of a group at a moment.
pub struct GroupMetadata(pub(super) ConsumerGroupMetadata);

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Inbox {
    rebalances: VecDeque<ConsumerEvent>,
    fatal: Option<(RDKafkaErrorCode, String)>,
}

struct Context(Arc<Mutex<Inbox>>);

impl Context {
    fn inbox(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(code) if code == RDKafkaErrorCode::Fatal || is_fenced(code) => {
                self.inbox().fatal.get_or_insert((code, reason.to_owned()));
            }
            Some(_) | None => debug!(target: "librdkafka", %error, reason, "consumer"),
        }
    }
}

impl ConsumerContext for Context {
    /// Runs inside a poll, and so never while a transaction is open. An assignment is only noted: nothing may be
    /// fetched before the tasks' state is restored and the offsets are known.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, tpl: &mut TopicPartitionList) {
        let partitions: Vec<TopicPartition> =
            tpl.elements().iter().map(|e| TopicPartition::new(e.topic(), e.partition())).collect();
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.inbox().rebalances.push_back(ConsumerEvent::Assigned(partitions));
            return;
        }
        let lost = consumer.assignment_lost();
        if let Err(error) = consumer.unassign() {
            warn!(%error, "unassign");
        }
        self.inbox().rebalances.push_back(if lost {
            ConsumerEvent::Lost(partitions)
        } else {
            ConsumerEvent::Revoked(partitions)
        });
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(200))
    }
}

/// A static member of a group, on librdkafka.
pub struct RdKafkaConsumer {
    inner: BaseConsumer<Context>,
    inbox: Arc<Mutex<Inbox>>,
    names: Names,
}

impl RdKafkaConsumer {
    pub(super) fn new(
        config: &ConnectionConfig,
        group: &str,
        instance: &str,
        topics: &[&str],
    ) -> Result<Self, ClientError> {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let inner = BaseConsumer::from_config_and_context(&config.member(group, instance), Context(Arc::clone(&inbox)))
            .map_err(|e| ClientError::fatal("new consumer", e))?;
        inner.subscribe(topics).map_err(|e| ClientError::fatal("subscribe", e))?;
        Ok(Self { inner, inbox, names: Names::default() })
    }

    fn take_event(&self) -> Result<Option<ConsumerEvent>, ClientError> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((code, text)) = inbox.fatal.clone() {
            return Err(fatal(code, text));
        }
        Ok(inbox.rebalances.pop_front())
    }
}

fn fatal(code: RDKafkaErrorCode, text: String) -> ClientError {
    // The generic fatal code hides what happened; librdkafka's words hold the name.
    if is_fenced(code) || text.contains("fenced") || text.contains("Fenced") {
        ClientError::Fenced { call: "poll", text }
    } else {
        ClientError::Fatal { call: "poll", text }
    }
}

impl GroupConsumer for RdKafkaConsumer {
    type GroupMetadata = GroupMetadata;

    fn poll(&mut self, timeout: Duration) -> Result<Option<ConsumerEvent>, ClientError> {
        if let Some(event) = self.take_event()? {
            return Ok(Some(event));
        }
        match self.inner.poll(timeout) {
            None => self.take_event(),
            Some(Ok(message)) => Ok(Some(ConsumerEvent::Record(self.names.received(&message)))),
            Some(Err(error)) => {
                if let Some(event) = self.take_event()? {
                    return Ok(Some(event));
                }
                classify(error)
            }
        }
    }

    fn group_metadata(&self) -> Result<GroupMetadata, ClientError> {
        self.inner
            .group_metadata()
            .map(GroupMetadata)
            .ok_or_else(|| ClientError::fatal("group_metadata", "the consumer has no group"))
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
fn classify(error: KafkaError) -> Result<Option<ConsumerEvent>, ClientError> {
    if let KafkaError::MessageConsumptionFatal(code) = error {
        return Err(fatal(code, error.to_string()));
    }
    match error.rdkafka_error_code() {
        Some(code) if is_fenced(code) => Err(ClientError::Fenced { call: "poll", text: error.to_string() }),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset) => {
            Ok(Some(ConsumerEvent::NoOffset(error.to_string())))
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::TopicAuthorizationFailed) => {
            Err(ClientError::Retry { call: "poll", text: error.to_string() })
        }
        // The rest passes by itself: a broker down, a coordinator moving.
        Some(_) | None => Err(ClientError::Retry { call: "poll", text: error.to_string() }),
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
    fn of(&mut self, topic: &str) -> Arc<str> {
        if let Some(name) = self.0.get(topic) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(topic);
        self.0.insert(topic.to_owned(), Arc::clone(&name));
        name
    }

    pub(super) fn received(&mut self, m: &BorrowedMessage<'_>) -> Received {
        Received {
            topic: self.of(m.topic()),
            partition: m.partition(),
            offset: m.offset(),
            timestamp_ms: m.timestamp().to_millis().unwrap_or(0),
            key: m.key().map(<[u8]>::to_vec),
            value: m.payload().map(<[u8]>::to_vec),
            headers: m.headers().map_or_else(Vec::new, |hs| {
                hs.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
            }),
        }
    }
}
