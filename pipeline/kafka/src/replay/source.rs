//! Inputs and logs as a replay asks for them.

use std::collections::BTreeMap;

use fillstream_core::TimestampMicros;
use fillstream_core::group::Group;
use fillstream_core::record::{Envelope, Payload, header};
use fillstream_core::replay::{LogRow, Source, Wanted};
use fillstream_core::table::ReadRange;
use fillstream_schemas::engine::Refusal;

use super::error::ReplayError;
use super::tape::Tapes;
use crate::client::{KafkaClient, Received, TopicPartition};
use crate::driver::{big_endian, envelope};
use crate::registry::{Frame, Framing};

/// Reads what a journal names.
pub(super) struct FromKafka<'a, C: KafkaClient> {
    pub(super) tapes: &'a mut Tapes<C>,
    pub(super) framing: &'a mut Framing,
    /// Contract of each input and table topic.
    pub(super) schemas: &'a BTreeMap<&'static str, &'static str>,
}

/// Contract of each topic that the group's stages read, as inputs or in tables.
pub(super) fn schemas(group: &Group) -> BTreeMap<&'static str, &'static str> {
    let mut schemas: BTreeMap<_, _> = group.subscriptions().iter().map(|s| (s.input.topic, s.input.schema)).collect();
    schemas.extend(group.stages().iter().flat_map(|s| &s.spec().tables).flat_map(|t| t.topics.iter().copied()));
    schemas
}

impl<C: KafkaClient> FromKafka<'_, C> {
    fn schema(&self, topic: &str) -> Result<&'static str, ReplayError> {
        self.schemas.get(topic).copied().ok_or_else(|| ReplayError::NoTopic(topic.to_owned()))
    }
}

impl<C: KafkaClient> Source for FromKafka<'_, C> {
    type Error = ReplayError;

    fn inputs(&mut self, wanted: &Wanted<'_>) -> Result<Vec<Envelope>, ReplayError> {
        let schema = self.schema(wanted.topic)?;
        let tp = TopicPartition::new(wanted.topic, wanted.partition);
        let mut envelopes = Vec::new();
        for record in self.tapes.range(&tp, wanted.first, wanted.last)? {
            let mut made = envelope(self.framing, schema, &record)?;
            if let Some(refusal) = wanted.refused.get(&record.offset) {
                made.payload = refused(refusal, &made.payload, &record);
            }
            envelopes.push(made);
        }
        Ok(envelopes)
    }

    fn rows(&mut self, topic: &str, partition: i32, (first, next): ReadRange) -> Result<Vec<LogRow>, ReplayError> {
        let schema = self.schema(topic)?;
        let mut rows = Vec::new();
        for r in self.tapes.range(&TopicPartition::new(topic, partition), first, next - 1)? {
            let value = match r.value.as_deref().map(|bytes| self.framing.read(schema, bytes)).transpose()? {
                None => None,
                Some(Frame::Ours(bytes)) => Some(bytes.to_vec()),
                Some(Frame::Resolved(bytes)) => Some(bytes),
                Some(Frame::Unreadable(_)) => continue,
            };
            let key = String::from_utf8_lossy(r.key.as_deref().unwrap_or_default()).into_owned();
            let event_time = r.header(header::TIME).and_then(big_endian).map(TimestampMicros::from_micros);
            rows.push(LogRow { offset: r.offset, key, value, event_time });
        }
        Ok(rows)
    }
}

// What a driver judged by running it had been read before; anything else was refused as it came.
fn refused(refusal: &Refusal, read: &Payload, record: &Received) -> Payload {
    let raw = match refusal.code.as_str() {
        "PANIC" | "OUTPUT_TOO_LARGE" => read.raw().into(),
        _ => record.value.as_deref().unwrap_or_default().into(),
    };
    Payload::Unreadable { code: refusal.code.clone().into(), text: refusal.text.clone(), raw }
}
