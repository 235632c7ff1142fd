//! The transactions of a session.

use std::sync::Arc;

use fillstream_core::lineage::Lineage;
use fillstream_core::record::{OutRecord, header};
use fillstream_domain::TimestampMicros;
use fillstream_kafka::client::{
    ClientError, ConnectionConfig, GroupConsumer, GroupMetadata, KafkaClient, KafkaProducer, OffsetEntry, Outgoing,
    RdKafka, TopicPartition, TransactionalProducer,
};
use fillstream_kafka::registry::{Framing, SchemaRegistry, framed, value_subject};
use fillstream_kafka::topics::{Router, changelog_topic, consumer_group, dead_letter_topic, journal_topic};
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::engine::{DeadLetter, JournalRecord};

use super::clock::os_now;
use crate::error::GatewayError;
use crate::hash::sha256_hex;
use crate::probe::{FailPoint, Phase, Probe};
pub(crate) use crate::session::CHILD_ORDERS;
use crate::session::{Commit, Stray};

/// Name of the gateway among groups and stages.
pub(crate) const GROUP: &str = "broker-gateway";
/// Bytes of a value that a dead letter keeps.
const DEAD_LETTER_BYTES: usize = 65_536;
const SEQUENCE_HEADER: &str = "fs-seq";

/// A record for the dead letters that never became a child order or a report.
pub(crate) struct Letter {
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

/// Transactions on the session's own transactional id.
pub(crate) struct Writer {
    producer: KafkaProducer,
    membership: GroupMetadata,
    framing: Framing,
    router: Router,
    session: String,
    partition: i32,
    probe: Arc<dyn Probe>,
}

/// Membership of nobody: a session's partition is assigned by hand, so its offsets are committed without a member of the
/// group, and the session's transactional id is the fence. A client gives it away before it has joined, and one that
/// reaches no broker never joins.
fn no_member(session: &str) -> Result<GroupMetadata, ClientError> {
    let nowhere = RdKafka::new(ConnectionConfig::new("127.0.0.1:1"))?;
    let consumer = nowhere.consumer(&consumer_group(GROUP), session, &[CHILD_ORDERS])?;
    let metadata = consumer.group_metadata();
    // Nobody waits for its end: it has nobody to take leave of.
    let _ = std::thread::Builder::new().name("nobody".to_owned()).spawn(move || drop(consumer));
    metadata
}

impl Writer {
    /// Fences every predecessor of the session and ends its open transaction.
    pub(crate) fn new(
        kafka: &RdKafka,
        registry: &Arc<SchemaRegistry>,
        router: Router,
        session: &str,
        partition: i32,
        probe: Arc<dyn Probe>,
    ) -> Result<Self, GatewayError> {
        let mut producer = kafka.producer(&format!("fillstream.{GROUP}.{session}"))?;
        producer.init()?;
        Ok(Self {
            producer,
            membership: no_member(session)?,
            framing: Framing::new(Arc::clone(registry)),
            router,
            session: session.to_owned(),
            partition,
            probe,
        })
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    pub(crate) fn framing(&mut self) -> &mut Framing {
        &mut self.framing
    }

    /// Writes and commits. After any error the session must be restored: nothing is taken back in place.
    pub(crate) fn commit(
        &mut self,
        commit: &Commit,
        letters: &[Letter],
        journal: Option<&JournalRecord>,
    ) -> Result<(), GatewayError> {
        if self.producer.is_suspect() {
            return Err(GatewayError::Suspect { session: self.session.clone() });
        }
        self.probe.entered(&self.session, Phase::OpenTransaction);
        self.producer.begin()?;
        let written = self.write(commit, letters, journal);
        if let Err(error) = written {
            // Best effort: the next init_transactions ends it anyway, but its readers need not wait for that.
            let _ = self.producer.abort();
            return Err(error);
        }
        if self.probe.dies_at(&self.session, FailPoint::BeforeCommit) {
            return Err(GatewayError::Probe(FailPoint::BeforeCommit));
        }
        Ok(self.producer.commit()?)
    }

    fn write(
        &mut self,
        commit: &Commit,
        letters: &[Letter],
        journal: Option<&JournalRecord>,
    ) -> Result<(), GatewayError> {
        for out in &commit.outputs {
            self.output(out)?;
        }
        for letter in letters {
            self.letter(letter, CHILD_ORDERS, commit.head.now)?;
        }
        for stray in &commit.strays {
            self.stray(stray, commit.head.now)?;
        }
        let sequence = commit.head.sequence.to_be_bytes();
        let headers: [(&str, &[u8]); 1] = [(SEQUENCE_HEADER, &sequence)];
        let changelog = changelog_topic(GROUP);
        for entry in &commit.changelog {
            let value = match &entry.value {
                Some(value) => Some(framed(self.framing.state_id(entry.schema)?, value)),
                None => None,
            };
            let key = format!("{}/{}", entry.store, entry.key);
            self.send(&changelog, self.partition, &key, value.as_deref(), &headers)?;
        }
        if let Some(record) = journal {
            let name = JournalRecord::FULL_NAME;
            let value = framed(self.framing.state_id(name)?, &record.to_bytes());
            self.send(&journal_topic(GROUP), self.partition, &self.session.clone(), Some(&value), &headers)?;
        }
        let head = &commit.head;
        let offset = OffsetEntry {
            tp: TopicPartition::new(CHILD_ORDERS, self.partition),
            offset: head.input_offset,
            metadata: format!("v1;{};{}", head.sequence, head.input_topic_id),
        };
        Ok(self.producer.send_offsets(&[offset], &self.membership)?)
    }

    fn output(&mut self, out: &OutRecord) -> Result<(), GatewayError> {
        let partition = self.router.partition(out.topic, &out.key)?;
        let value = framed(self.framing.id(&value_subject(out.topic), out.schema)?, &out.payload);
        let headers = out.wire_headers();
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        self.send(out.topic, partition, &out.key, Some(&value), &headers)
    }

    fn stray(&mut self, stray: &Stray, now: TimestampMicros) -> Result<(), GatewayError> {
        let (topic, letter) = match stray {
            Stray::Report(report) => {
                let letter = Letter {
                    offset: report.seq,
                    key: Some(report.cl_ord_id.clone().into_bytes()),
                    value: format!("{report:?}").into_bytes(),
                    code: "UNKNOWN_CL_ORD_ID",
                    text: format!("report {} is about an order that is not kept", report.exec_id),
                };
                (self.session.clone(), letter)
            }
            Stray::Duplicate(input) => {
                let letter = Letter {
                    offset: input.offset,
                    key: Some(input.child.session.clone().into_bytes()),
                    value: input.child.to_bytes(),
                    code: "DUPLICATE_CL_ORD_ID",
                    text: format!("another instruction has the ClOrdID {}", input.child.cl_ord_id),
                };
                (CHILD_ORDERS.to_owned(), letter)
            }
        };
        self.letter(&letter, &topic, now)
    }

    fn letter(&mut self, letter: &Letter, topic: &str, now: TimestampMicros) -> Result<(), GatewayError> {
        tracing::error!(
            session = self.session,
            topic,
            offset = letter.offset,
            code = letter.code,
            text = letter.text,
            "dead letter"
        );
        let lineage = Lineage::root(topic, &format!("{}/{}/{}", self.session, letter.code, letter.offset));
        let kept = letter.value.get(..DEAD_LETTER_BYTES).unwrap_or(&letter.value);
        let record = DeadLetter {
            topic: topic.to_owned(),
            partition: self.partition,
            offset: letter.offset,
            stage: GROUP.to_owned(),
            reason_code: letter.code.to_owned(),
            reason_text: letter.text.clone(),
            lineage: lineage.to_string(),
            sha256: sha256_hex(&letter.value),
            key: letter.key.clone(),
            value: kept.to_vec(),
            value_size: i64::try_from(letter.value.len()).unwrap_or(i64::MAX),
            failed_at: now,
        };
        let name = DeadLetter::FULL_NAME;
        let value = framed(self.framing.state_id(name)?, &record.to_bytes());
        let topic = dead_letter_topic(GROUP);
        let time = record.failed_at.micros().to_be_bytes();
        let headers: [(&str, &[u8]); 2] = [(header::LINEAGE, lineage.as_bytes()), (header::TIME, &time)];
        self.send(&topic, 0, &self.session.clone(), Some(&value), &headers)
    }

    fn send(
        &mut self,
        topic: &str,
        partition: i32,
        key: &str,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) -> Result<(), GatewayError> {
        let record = Outgoing {
            topic,
            partition,
            key: Some(key.as_bytes()),
            value,
            headers,
            timestamp_ms: os_now().micros() / 1_000,
        };
        Ok(self.producer.send(&record)?)
    }
}
