//! Records of the benches, and who reads when they went out.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use fillstream_kafka::client::{Outgoing, Publisher, RdKafka};
use fillstream_kafka::registry::{framed, value_subject};
use fillstream_kafka::topics::partition_for;
use fillstream_schemas::codec::Reader;
use fillstream_schemas::execution::Command;
use fillstream_schemas::{AvroRecord as _, TimestampMicros, wire};

use super::bed::Bed;
use super::stages::{IN, actor};
use crate::bus::now_us;

const ACKNOWLEDGED: Duration = Duration::from_secs(60);
/// Spreads consecutive numbers over the keys: Knuth's multiplicative hash, a prime near 2^32 / golden ratio.
const SPREAD: u64 = 2_654_435_761;

/// A writer of the load.
pub(super) struct Feed {
    publisher: Publisher,
    schema_id: u32,
    /// Keys with the partition each belongs to.
    keys: Vec<(String, i32)>,
    padding: String,
    actor: &'static str,
}

impl Feed {
    /// For single records, each sent at once.
    pub(super) fn prompt(bed: &Bed, partitions: i32, keys: u32, bytes: u32) -> anyhow::Result<Self> {
        Self::new(bed, bed.fresh_client()?, (partitions, keys, bytes))
    }

    /// For many records.
    pub(super) fn bulk(bed: &Bed, partitions: i32, keys: u32, bytes: u32) -> anyhow::Result<Self> {
        let mut connection = bed.cluster.kafka.config().clone();
        connection.producer.linger_ms = 20;
        connection.librdkafka.extend(BTreeMap::from([
            ("batch.size".to_owned(), "900000".to_owned()),
            ("queue.buffering.max.messages".to_owned(), "500000".to_owned()),
        ]));
        Self::new(bed, RdKafka::new(connection)?, (partitions, keys, bytes))
    }

    fn new(bed: &Bed, kafka: RdKafka, (partitions, keys, bytes): (i32, u32, u32)) -> anyhow::Result<Self> {
        let schema_id = bed.cluster.registry.register(&value_subject(IN), Command::SCHEMA)?;
        let keys = (0..keys)
            .map(|n| {
                let key = format!("k{n:07}");
                let partition = partition_for(key.as_bytes(), partitions);
                (key, partition)
            })
            .collect();
        let publisher = kafka.publisher()?;
        let mut feed = Self { publisher, schema_id, keys, padding: String::new(), actor: actor::LOAD };
        let bare = feed.value(0, "k0000000", now_us()).len();
        // The number grows by some digits during a run; its bytes are what they are.
        feed.padding = "x".repeat(usize::try_from(bytes)?.saturating_sub(bare));
        Ok(feed)
    }

    /// The same under another name.
    pub(super) fn acting(self, actor: &'static str) -> Self {
        Self { actor, ..self }
    }

    fn value(&self, n: u32, key: &str, stamp_us: i64) -> Vec<u8> {
        let command = Command {
            command_id: n.to_string(),
            timestamp: TimestampMicros::from_micros(stamp_us),
            portfolio_id: key.to_owned(),
            actor: self.actor.to_owned(),
            reason: self.padding.clone(),
            ..Command::default()
        };
        framed(self.schema_id, &command.to_bytes())
    }

    /// Sends the `n`-th record, stamped with the time at which it should go.
    pub(super) fn send(&self, n: u32, stamp_us: i64) -> anyhow::Result<()> {
        let at = u64::from(n) * SPREAD % u64::try_from(self.keys.len().max(1))?;
        self.send_key(usize::try_from(at)?, n, stamp_us)
    }

    /// Sends the `n`-th record under a key of its own choice.
    pub(super) fn send_key(&self, key: usize, n: u32, stamp_us: i64) -> anyhow::Result<()> {
        let (key, partition) = self.keys.get(key).context("a bench needs a key")?;
        let value = self.value(n, key, stamp_us);
        let (key, timestamp_ms) = (Some(key.as_bytes()), stamp_us / 1_000);
        let partition = *partition;
        let out = Outgoing { topic: IN, partition, key, value: Some(&value), headers: &[], timestamp_ms };
        Ok(self.publisher.send(&out)?)
    }

    /// Waits until everything is acknowledged.
    pub(super) fn flush(&self) -> anyhow::Result<()> {
        Ok(self.publisher.flush(ACKNOWLEDGED)?)
    }
}

/// When a record should have gone out, OS clock, microseconds; also of a record that somebody has appended to.
pub(super) fn stamp(value: &[u8]) -> anyhow::Result<i64> {
    let mut reader = Reader::new(wire::split(value)?.1);
    reader.text()?;
    Ok(reader.long()?)
}
