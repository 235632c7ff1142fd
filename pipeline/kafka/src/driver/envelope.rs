//! From a record read to what a task takes.

use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::lineage::Lineage;
use fillstream_core::record::{Envelope, Payload, header};
use fillstream_core::trace::TraceContext;

use crate::client::Received;
use crate::registry::{Frame, Framing, RegistryError};

/// The envelope of a record whose contract is `schema`.
///
/// # Errors
/// [`RegistryError`] when the schema cannot be asked for now.
pub(crate) fn envelope(framing: &mut Framing, schema: &'static str, r: &Received) -> Result<Envelope, RegistryError> {
    let raw = r.value.as_deref().unwrap_or_default();
    let unreadable =
        |code: &'static str, text: String| Payload::Unreadable { code: code.into(), text, raw: raw.into() };
    let mut payload = if r.value.is_none() {
        unreadable("TOMBSTONE", "the record has no value".to_owned())
    } else {
        match framing.read(schema, raw)? {
            Frame::Ours(bytes) => Payload::Avro(bytes.into()),
            Frame::Resolved(bytes) => Payload::Avro(bytes.into()),
            Frame::Unreadable(u) => unreadable(u.code, u.text),
        }
    };
    let key = match std::str::from_utf8(r.key.as_deref().unwrap_or_default()) {
        Ok(key) => Arc::from(key),
        Err(e) => {
            payload = unreadable("BAD_KEY", format!("the key is not UTF-8: {e}"));
            Arc::from("")
        }
    };
    let own = |name| r.header(name).map(Arc::<[u8]>::from);
    let origin = r.header(header::ORIGIN).and_then(big_endian);
    Ok(Envelope {
        topic: Arc::clone(&r.topic),
        partition: r.partition,
        offset: Some(r.offset),
        key,
        payload,
        lineage: r.header(header::LINEAGE).and_then(Lineage::from_slice),
        event_time: r.header(header::TIME).and_then(big_endian).map(TimestampMicros::from_micros),
        order: own(header::ORDER),
        position: own(header::POSITION),
        // A record from outside enters when it was written.
        origin_us: origin.or_else(|| r.timestamp_ms.checked_mul(1_000)),
        trace: TraceContext::from_headers(r.header(header::TRACEPARENT), r.header(header::TRACESTATE)),
    })
}

/// An 8-byte big-endian number.
pub(crate) fn big_endian(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}
