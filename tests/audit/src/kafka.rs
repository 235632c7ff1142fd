//! Topics, read as any consumer outside would: committed records only, to the end that stood when the audit began.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::AuditError;
use crate::facts::{Extent, TopicExtent};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time without any record or end of partition.
const STALLED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// A committed record.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// Header `fs-lineage`.
    pub(crate) lineage: Option<&'a [u8]>,
    /// Header `traceparent`.
    pub(crate) traceparent: Option<&'a [u8]>,
}

/// A reader of its own.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    bootstrap: String,
}

fn failed(action: impl Into<String>) -> impl FnOnce(KafkaError) -> AuditError {
    let action = action.into();
    move |source| AuditError::Kafka { action, source }
}

impl Reader {
    pub(crate) fn new(bootstrap: &str) -> Result<Self, AuditError> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            // Named because assignment asks for one; it joins no group and commits nothing.
            .set("group.id", "fillstream-audit")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            // An end is asked for, not waited for: a waiting fetch would hold back every other request.
            .set("fetch.wait.max.ms", "5")
            .set("allow.auto.create.topics", "false")
            .create()
            .map_err(failed("a consumer"))?;
        Ok(Self { consumer, bootstrap: bootstrap.to_owned() })
    }

    /// Every topic of the cluster with its number of partitions.
    pub(crate) fn topics(&self) -> Result<BTreeMap<String, i32>, AuditError> {
        let metadata = self.consumer.fetch_metadata(None, TIMEOUT).map_err(failed("list the topics"))?;
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Ok(metadata.topics().iter().map(|t| (t.name().to_owned(), count(t.partitions().len()))).collect())
    }

    /// Which of the topics drop superseded records.
    pub(crate) async fn compacted(&self, topics: &[&str]) -> Result<Vec<String>, AuditError> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .create()
            .map_err(failed("an admin client"))?;
        let names: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let answers = admin.describe_configs(&names, &options).await.map_err(failed("describe the topics"))?;
        let mut compacted = Vec::new();
        for (topic, answer) in topics.iter().zip(answers) {
            let config = answer.map_err(KafkaError::AdminOp).map_err(failed(format!("describe {topic}")))?;
            let policy = config.entries.iter().find(|e| e.name == "cleanup.policy").and_then(|e| e.value.as_deref());
            if policy.is_some_and(|policy| policy.contains("compact")) {
                compacted.push((*topic).to_owned());
            }
        }
        Ok(compacted)
    }

    /// Hands every committed record of a topic to `visit`, each partition in order. Gives what the topic holds.
    pub(crate) fn read(
        &self,
        topic: &str,
        partitions: i32,
        mut visit: impl FnMut(&Seen<'_>),
    ) -> Result<TopicExtent, AuditError> {
        let mut extent = self.bounds(topic, partitions)?;
        let mut open = self.assign(topic, &extent)?;
        let mut last = Instant::now();
        while let Some(first) = open.keys().next() {
            let Some(polled) = self.consumer.poll(POLL) else {
                if last.elapsed() > STALLED {
                    let example = format!("{topic}/{first}");
                    return Err(AuditError::Stalled { waited: STALLED, open: open.len(), example });
                }
                continue;
            };
            last = Instant::now();
            match polled {
                Ok(message) if message.topic() == topic => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = open.get(&partition).copied() else { continue };
                    if offset < end {
                        take(&message, &mut extent, &mut visit);
                    }
                    if offset + 1 >= end {
                        open.remove(&partition);
                    }
                }
                Ok(_) => {}
                // A read_committed reader meets it at the last stable offset, behind markers and aborted records that no
                // message shows.
                Err(KafkaError::PartitionEOF(partition)) => {
                    open.remove(&partition);
                }
                Err(source) => return Err(AuditError::Kafka { action: format!("read {topic}"), source }),
            }
        }
        self.consumer.unassign().map_err(failed("end the assignment"))?;
        Ok(extent)
    }

    // First offset and stable end of each partition: the client asks with the isolation level of its configuration.
    fn bounds(&self, topic: &str, partitions: i32) -> Result<TopicExtent, AuditError> {
        let mut extent = TopicExtent::default();
        for partition in 0..partitions {
            let bounds = self.consumer.fetch_watermarks(topic, partition, TIMEOUT);
            let (low, end) = bounds.map_err(failed(format!("bounds of {topic}/{partition}")))?;
            extent.partitions.insert(partition, Extent { low, end, ..Extent::default() });
        }
        Ok(extent)
    }

    // Assigns every partition that has records; gives the ends to be reached.
    fn assign(&self, topic: &str, extent: &TopicExtent) -> Result<BTreeMap<i32, i64>, AuditError> {
        let mut list = TopicPartitionList::new();
        let mut open = BTreeMap::new();
        for (partition, bounds) in &extent.partitions {
            if bounds.low < bounds.end {
                let added = list.add_partition_offset(topic, *partition, Offset::Offset(bounds.low));
                added.map_err(failed(format!("assign {topic}")))?;
                open.insert(*partition, bounds.end);
            }
        }
        self.consumer.assign(&list).map_err(failed(format!("assign {topic}")))?;
        Ok(open)
    }
}

fn take(message: &BorrowedMessage<'_>, extent: &mut TopicExtent, visit: &mut impl FnMut(&Seen<'_>)) {
    let (partition, offset) = (message.partition(), message.offset());
    let held = extent.partitions.entry(partition).or_default();
    held.offsets.push(offset);
    if message.payload().is_none() {
        held.tombstones.insert(offset);
    }
    let header = |name: &str| message.headers().and_then(|h| h.iter().find(|h| h.key == name).and_then(|h| h.value));
    let (lineage, traceparent) = (header("fs-lineage"), header("traceparent"));
    visit(&Seen { partition, offset, key: message.key(), value: message.payload(), lineage, traceparent });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::admin::{NewTopic, TopicReplication};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    fn bootstrap() -> String {
        std::env::var("FILLSTREAM_KAFKA").expect("FILLSTREAM_KAFKA names a running Kafka")
    }

    fn unique(what: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        format!("test.audit-{what}-{:x}-{}.v1", now.as_micros(), std::process::id())
    }

    async fn make(topic: &str, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", bootstrap()).create().unwrap();
        let new = NewTopic::new(topic, 2, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let answers = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
        answers[0].as_ref().unwrap();
    }

    fn producer(id: &str) -> BaseProducer {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", bootstrap()).set("transactional.id", id).create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        producer
    }

    fn write(producer: &BaseProducer, topic: &str, values: &[&str]) {
        for value in values {
            producer.send(BaseRecord::to(topic).partition(0).key("k").payload(*value)).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
    }

    #[tokio::test]
    #[ignore = "needs a real Kafka, named by FILLSTREAM_KAFKA"]
    async fn only_committed_records_are_seen_up_to_the_stable_end() {
        let (topic, compacted) = (unique("read"), unique("compacted"));
        make(&topic, &[]).await;
        make(&compacted, &[("cleanup.policy", "compact,delete")]).await;
        let producer = producer(&topic);
        producer.begin_transaction().unwrap();
        write(&producer, &topic, &["a", "b", "c"]);
        producer.commit_transaction(TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        write(&producer, &topic, &["aborted", "aborted too"]);
        producer.abort_transaction(TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        write(&producer, &topic, &["d"]);
        producer.commit_transaction(TIMEOUT).unwrap();
        // The topic ends with an aborted transaction, and then with an open one.
        for last in ["aborted at the end", "open"] {
            producer.begin_transaction().unwrap();
            write(&producer, &topic, &[last]);
            let reader = Reader::new(&bootstrap()).unwrap();
            assert_eq!(reader.topics().unwrap().get(&topic), Some(&2));
            let mut values = Vec::new();
            let extent = reader
                .read(&topic, 2, |seen| {
                    assert_eq!((seen.partition, seen.key), (0, Some(b"k".as_slice())));
                    values.push(String::from_utf8(seen.value.unwrap().to_vec()).unwrap());
                })
                .unwrap();
            assert_eq!(values, ["a", "b", "c", "d"], "while {last}");
            // Records 0 to 2, marker 3, aborted 4 and 5, marker 6, record 7, marker 8.
            assert_eq!(extent.partitions[&0].offsets, [0, 1, 2, 7]);
            assert!(extent.partitions[&0].end >= 9 && extent.partitions[&1].offsets.is_empty());
            if last != "open" {
                producer.abort_transaction(TIMEOUT).unwrap();
            }
            let names = [topic.as_str(), compacted.as_str()];
            assert_eq!(reader.compacted(&names).await.unwrap(), [compacted.as_str()]);
        }
        producer.abort_transaction(TIMEOUT).unwrap();
    }
}
