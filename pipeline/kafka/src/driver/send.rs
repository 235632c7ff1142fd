//! From what a task wrote to the records that a transaction sends.

use std::borrow::Cow;
use std::sync::Arc;

use fillstream_core::record::ChangelogEntry;
use fillstream_core::snapshot::SnapshotPart;
use fillstream_schemas::engine::{DeadLetter, JournalRecord, Snapshot};
use fillstream_schemas::{AvroRecord, wire};

use super::error::DriverError;
use super::state::Work;
use super::worker::{SEQUENCE_HEADER, Worker};
use crate::client::{ClientError, KafkaClient, Outgoing, TransactionalProducer};
use crate::registry::framed;
use crate::topics::{changelog_topic, dead_letter_topic, journal_topic, partition_for, snapshots_topic};

/// What a batch of one record may add to it on the wire; generous.
const FRAME_BYTES: usize = 512;
/// What the engine's headers may add to an output: the vendors' part of a trace context is the largest.
const HEADER_BYTES: usize = 1_536;

/// A batch whose records can be sent: what could fail of that has been done, before a transaction is open. The many are not
/// copied; they are put together from what the task wrote, one by one, when they are sent.
pub(super) struct Ready<'w> {
    work: &'w Work,
    /// Partition and schema id of each output.
    outputs: Vec<(i32, u32)>,
    /// Schema id of each changelog entry.
    changelog: Vec<u32>,
    /// Dead letters, snapshot and journal.
    engine: Vec<Prepared<'w>>,
}

/// A record of the engine.
struct Prepared<'w> {
    topic: Arc<str>,
    partition: i32,
    key: Cow<'w, [u8]>,
    value: Option<Vec<u8>>,
    headers: Vec<(&'static str, Vec<u8>)>,
}

/// Where the next record is put together.
#[derive(Default)]
pub(super) struct Scratch {
    key: Vec<u8>,
    value: Vec<u8>,
}

fn frame<'s>(scratch: &'s mut Vec<u8>, id: u32, payload: &[u8]) -> &'s [u8] {
    scratch.clear();
    wire::frame(id, scratch);
    scratch.extend_from_slice(payload);
    scratch
}

impl Ready<'_> {
    /// Hands all records to the producer, whose transaction is open.
    pub(super) fn send(
        &self,
        producer: &mut impl TransactionalProducer,
        changelog: &str,
        timestamp_ms: i64,
        scratch: &mut Scratch,
    ) -> Result<(), ClientError> {
        let out = &self.work.out;
        for (record, (partition, id)) in out.outputs.iter().zip(&self.outputs) {
            let value = frame(&mut scratch.value, *id, &record.payload);
            record.with_headers(|headers| {
                producer.send(&Outgoing {
                    topic: record.topic,
                    partition: *partition,
                    key: Some(record.key.as_bytes()),
                    value: Some(value),
                    headers,
                    timestamp_ms,
                })
            })?;
        }
        let sequence = out.record.sequence.to_be_bytes();
        let headers = [(SEQUENCE_HEADER, sequence.as_slice())];
        for (entry, id) in out.changelog.iter().zip(&self.changelog) {
            let (key, value) = (&mut scratch.key, &mut scratch.value);
            entry_key(key, entry);
            producer.send(&Outgoing {
                topic: changelog,
                partition: self.work.partition,
                key: Some(key),
                value: entry.value.as_ref().map(|payload| frame(value, *id, payload)),
                headers: &headers,
                timestamp_ms,
            })?;
        }
        for r in &self.engine {
            let headers: Vec<(&str, &[u8])> = r.headers.iter().map(|(k, v)| (*k, v.as_slice())).collect();
            producer.send(&Outgoing {
                topic: &r.topic,
                partition: r.partition,
                key: Some(&r.key),
                value: r.value.as_deref(),
                headers: &headers,
                timestamp_ms,
            })?;
        }
        Ok(())
    }
}

/// Key of a changelog entry: `stage/store/key`.
fn entry_key(out: &mut Vec<u8>, entry: &ChangelogEntry) {
    out.clear();
    out.extend_from_slice(entry.store.as_bytes());
    out.push(b'/');
    out.extend_from_slice(entry.key.as_bytes());
}

impl<C: KafkaClient> Worker<C> {
    /// Finds out where the batch's records go, and that all of them can be written.
    pub(super) fn ready_to_send<'w>(&mut self, work: &'w Work) -> Result<Ready<'w>, DriverError> {
        let (out, partition, limit) = (&work.out, work.partition, self.shared.max_record_bytes);
        let fits = |topic: &str, size: usize| {
            let size = size.saturating_add(FRAME_BYTES);
            let topic = || topic.to_owned();
            if size > limit { Err(DriverError::TooLarge { partition, topic: topic(), size, limit }) } else { Ok(()) }
        };
        let mut outputs = Vec::with_capacity(out.outputs.len());
        for record in &out.outputs {
            fits(record.topic, record.size().saturating_add(HEADER_BYTES))?;
            let partition = self.shared.router.partition(record.topic, &record.key)?;
            outputs.push((partition, self.framing.value_id(record.topic, record.schema)?));
        }
        let (topic, mut changelog) = (changelog_topic(self.group.name()), Vec::with_capacity(out.changelog.len()));
        for entry in &out.changelog {
            fits(&topic, entry.size())?;
            changelog.push(self.framing.state_id(entry.schema)?);
        }
        let mut engine = Vec::new();
        self.prepare(work, &mut engine)?;
        for r in &engine {
            let headers: usize = r.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
            fits(&r.topic, r.key.len() + r.value.as_ref().map_or(0, Vec::len) + headers)?;
        }
        Ok(Ready { work, outputs, changelog, engine })
    }

    /// Dead letters, snapshot and journal.
    fn prepare<'w>(&mut self, w: &'w Work, all: &mut Vec<Prepared<'w>>) -> Result<(), DriverError> {
        for letter in &w.out.dead_letters {
            let topic = dead_letter_topic(letter.stage);
            let id = self.framing.state_id(DeadLetter::FULL_NAME)?;
            let partition = partition_for(letter.key.as_bytes(), self.shared.partitions_of(&topic));
            let (headers, key) = (letter.wire_headers(), Cow::Borrowed(letter.key.as_bytes()));
            let value = Some(framed(id, &letter.payload));
            all.push(Prepared { topic: topic.into(), partition, key, value, headers });
        }
        if let Some(part) = &w.out.snapshot {
            self.prepare_snapshot(w.partition, part, all)?;
        }
        all.push(Prepared {
            topic: journal_topic(self.group.name()).into(),
            partition: w.partition,
            key: Cow::Owned(w.partition.to_string().into_bytes()),
            value: Some(framed(self.framing.state_id(JournalRecord::FULL_NAME)?, &w.out.record.to_bytes())),
            headers: vec![(SEQUENCE_HEADER, w.out.record.sequence.to_be_bytes().to_vec())],
        });
        Ok(())
    }

    /// A snapshot is written as the changelog is, and ended by a record that says how much it is.
    fn prepare_snapshot(
        &mut self,
        partition: i32,
        part: &SnapshotPart,
        all: &mut Vec<Prepared<'_>>,
    ) -> Result<(), DriverError> {
        let topic: Arc<str> = snapshots_topic(self.group.name()).into();
        let headers = || vec![(SEQUENCE_HEADER, part.sequence.to_be_bytes().to_vec())];
        for entry in &part.entries {
            let id = self.framing.state_id(entry.schema)?;
            let mut key = Vec::with_capacity(entry.store.len() + entry.key.len() + 1);
            entry_key(&mut key, entry);
            let value = entry.value.as_ref().map(|v| framed(id, v));
            let (topic, key) = (Arc::clone(&topic), Cow::Owned(key));
            all.push(Prepared { topic, partition, key, value, headers: headers() });
        }
        if let Some(total) = part.total {
            let entries = i64::try_from(total).unwrap_or(i64::MAX);
            let end = Snapshot { sequence: part.sequence, now: part.now, entries };
            let key = Cow::Owned(partition.to_string().into_bytes());
            let value = Some(framed(self.framing.state_id(Snapshot::FULL_NAME)?, &end.to_bytes()));
            all.push(Prepared { topic, partition, key, value, headers: headers() });
        }
        Ok(())
    }
}
