//! The world outside the pipeline: what stands behind the topics that a gateway serves.

use fillstream_core::TimestampMicros;
use fillstream_core::codec::Event;
use fillstream_core::lineage::Lineage;
use fillstream_core::position::WriterOrder;
use fillstream_core::record::Payload;

/// A committed record that the outside reads.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Key.
    pub key: String,
    /// Avro value.
    pub value: Vec<u8>,
    /// When it was written.
    pub event_time: TimestampMicros,
    /// Its identity.
    pub lineage: Option<Lineage>,
}

/// A record that the outside writes.
#[derive(Clone, Debug)]
pub struct Said {
    /// Topic.
    pub topic: String,
    /// Key.
    pub key: String,
    /// Value.
    pub payload: Payload,
    /// (number of the session, its inbound sequence, 0).
    pub order: WriterOrder,
}

impl Said {
    /// A record of `session`, the `sequence`-th it sends.
    #[must_use]
    pub fn new<R: Event>(topic: &str, value: &R, session: u16, sequence: u64) -> Self {
        Self {
            topic: topic.to_owned(),
            key: value.key().to_owned(),
            payload: Payload::Avro(value.to_bytes().into()),
            order: WriterOrder { writer: session, sequence, n: 0 },
        }
    }
}

/// A deterministic gateway and venue behind some topics.
pub trait Outside {
    /// Topics it reads.
    fn topics(&self) -> Vec<String>;

    /// Called once in each instant, after the pipeline has drained it, with the records committed since the last call:
    /// by (topic, partition, writer's order), which is the same in every run. What it gives is written with the
    /// instant's time, and so processed at a later one.
    fn advance(&mut self, instant: TimestampMicros, records: &[Seen]) -> Vec<Said>;

    /// When it has something to say of its own accord.
    fn next_event_at(&self) -> Option<TimestampMicros>;
}
