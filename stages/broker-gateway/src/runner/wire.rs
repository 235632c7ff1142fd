//! Values of records, read and written.

use fillstream_core::record::header;
use fillstream_core::trace::TraceContext;
use fillstream_kafka::client::Received;
use fillstream_kafka::registry::{Frame, Framing, RegistryError, Unreadable};
use fillstream_schemas::codec::AvroRecord;

/// The bytes of a value in our schema `name`.
pub(crate) fn payload(
    framing: &mut Framing,
    name: &'static str,
    value: &[u8],
) -> Result<Result<Vec<u8>, Unreadable>, RegistryError> {
    Ok(match framing.read(name, value)? {
        Frame::Ours(bytes) => Ok(bytes.to_vec()),
        Frame::Resolved(bytes) => Ok(bytes),
        Frame::Unreadable(unreadable) => Err(unreadable),
    })
}

/// A record's value.
pub(crate) fn decode<T: AvroRecord>(
    framing: &mut Framing,
    record: &Received,
) -> Result<Result<T, Unreadable>, RegistryError> {
    let Some(value) = &record.value else {
        return Ok(Err(Unreadable { code: "TOMBSTONE", text: "the record has no value".to_owned() }));
    };
    Ok(payload(framing, T::FULL_NAME, value)?
        .and_then(|bytes| T::decode(&bytes).map_err(|error| Unreadable { code: "DECODE", text: error.to_string() })))
}

/// A header of 8 bytes, big-endian.
pub(crate) fn number(record: &Received, name: &str) -> Option<i64> {
    record.header(name).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes)
}

/// The span that wrote the record.
pub(crate) fn trace(record: &Received) -> Option<TraceContext> {
    TraceContext::from_headers(record.header(header::TRACEPARENT), record.header(header::TRACESTATE))
}

/// OS time at which the record's root entered, microseconds; where no one said, the record's own time.
pub(crate) fn origin(record: &Received) -> Option<i64> {
    number(record, header::ORIGIN).or_else(|| record.timestamp_ms.checked_mul(1_000))
}
