//! The one transaction of a round.

use std::time::Instant;

use fillstream_kafka::client::{
    ClientError, KafkaClient, OffsetEntry, Outgoing, TopicPartition, TransactionalProducer,
};
use fillstream_kafka::registry::framed;
use fillstream_kafka::topics::partition_for;
use fillstream_schemas::execution::SinkBatch;
use fillstream_schemas::{AvroRecord, TimestampMicros};
use tracing::debug;

use super::partition::{Partition, Phase};
use super::{Session, table, table_path, token_of};
use crate::error::SinkError;
use crate::ledger::Ledger;
use crate::plan::{Attempt, Bounds};
use crate::sink::{BATCHES_TOPIC, Moment};

/// A batch whose bounds go into the transaction.
pub(super) struct Begin {
    pub(super) tp: TopicPartition,
    pub(super) bounds: Bounds,
    /// Only these offsets of the range, in order; `None`: all.
    pub(super) only: Option<Vec<i64>>,
}

struct Message {
    key: String,
    value: Vec<u8>,
}

impl<C: KafkaClient> Session<'_, C> {
    /// Commits bounds, and the offsets of what has landed: with the bounds, or alone once they are old enough or it is the
    /// `last` time.
    pub(super) fn commit(&mut self, begins: Vec<Begin>, last: bool) -> Result<(), SinkError> {
        let linger = self.sink.config.linger();
        let due = |p: &Partition| p.unacknowledged_since.is_some_and(|t| last || t.elapsed() >= linger);
        if begins.is_empty() && !self.partitions.values().any(due) {
            return Ok(());
        }
        let mut offsets = Vec::new();
        for begin in &begins {
            let Some(p) = self.partitions.get(&begin.tp) else { continue };
            offsets.push(entry(p, Some(begin.bounds)));
            (self.sink.observer)(Moment::Bounded, &begin.tp);
        }
        let messages: Vec<Message> = begins.iter().map(|b| self.message(b)).collect();
        let acknowledged: Vec<TopicPartition> = self
            .partitions
            .values()
            // A batch that is not settled keeps its bounds in the metadata.
            .filter(|p| matches!(p.phase, Phase::Open) && p.landed > p.committed)
            .map(|p| p.tp.clone())
            .collect();
        for tp in acknowledged.iter().filter(|tp| !begins.iter().any(|b| b.tp == **tp)) {
            if let Some(p) = self.partitions.get(tp) {
                offsets.push(entry(p, None));
            }
        }
        if offsets.is_empty() {
            return Ok(());
        }
        match self.transaction(&offsets, &messages) {
            Ok(()) => {}
            Err(e @ ClientError::Abort { .. }) => {
                debug!(error = %e, "a transaction is aborted");
                self.producer.abort()?;
                // Everything stands as before; the next round tries again, unless the partitions have gone.
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        }
        self.sink.status.transactions.add(1);
        for offset in &offsets {
            if let Some(p) = self.partitions.get_mut(&offset.tp) {
                p.committed = offset.offset;
                p.settle();
            }
        }
        acknowledged.iter().for_each(|tp| (self.sink.observer)(Moment::Acknowledged, tp));
        begins.iter().for_each(|b| (self.sink.observer)(Moment::Committed, &b.tp));
        for begin in begins {
            self.send(begin);
        }
        Ok(())
    }

    fn message(&self, begin: &Begin) -> Message {
        let (tp, b) = (&begin.tp, &begin.bounds);
        let time = |us: i64| TimestampMicros::from_micros(us);
        let uuid = self.partitions.get(tp).map(|p| p.uuid.clone()).unwrap_or_default();
        let (token, path) = table(self.sink, tp, b.destination).map_or_else(Default::default, |t| {
            (token_of(self.sink, tp.partition, &uuid, t, b), table_path(self.sink, t))
        });
        let record = SinkBatch {
            topic_partition: format!("{}/{}", tp.topic, tp.partition),
            topic: tp.topic.to_string(),
            topic_uuid: uuid,
            partition: tp.partition,
            first_offset: b.first,
            last_offset: b.last,
            row_count: i64::try_from(b.count).unwrap_or(i64::MAX),
            row_hash: format!("{:016x}", b.hash),
            token,
            table: path,
            attempt: match b.attempt {
                Attempt::First => "FIRST",
                Attempt::Repeat => "REPEAT",
                Attempt::Repair(_) => "REPAIR",
            }
            .to_owned(),
            instance: self.transactional_id.clone(),
            bounded_at: time(self.clock.now_us()),
            deadline_at: time(b.deadline_us),
        };
        Message { key: record.topic_partition.clone(), value: framed(self.batch_schema, &record.to_bytes()) }
    }

    fn transaction(&mut self, offsets: &[OffsetEntry], messages: &[Message]) -> Result<(), ClientError> {
        let Some(membership) = &self.membership else {
            return Err(ClientError::Fatal { call: "commit", text: "the worker is no member".into() });
        };
        if self.producer.is_suspect() {
            self.producer = self.sink.kafka.producer(&self.transactional_id)?;
            self.producer.init()?;
        }
        let began = Instant::now();
        let now_ms = self.clock.now_us() / 1_000;
        self.producer.begin()?;
        for m in messages {
            self.producer.send(&Outgoing {
                topic: BATCHES_TOPIC,
                partition: partition_for(m.key.as_bytes(), self.batches_partitions),
                key: Some(m.key.as_bytes()),
                value: Some(&m.value),
                headers: &[],
                timestamp_ms: now_ms,
            })?;
        }
        self.producer.send_offsets(offsets, membership)?;
        self.producer.commit()?;
        debug!(bounds = messages.len(), offsets = offsets.len(), took = ?began.elapsed(), "committed");
        Ok(())
    }
}

fn entry(p: &Partition, outstanding: Option<Bounds>) -> OffsetEntry {
    let ledger = Ledger { topic_uuid: p.uuid.clone(), outstanding };
    OffsetEntry { tp: p.tp.clone(), offset: p.landed, metadata: ledger.to_text() }
}
