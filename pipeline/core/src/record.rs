//! Records as stages and drivers see them.

use std::borrow::Cow;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;

use crate::lineage::Lineage;
use crate::trace::TraceContext;

/// A decoded input record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<T> {
    /// The value.
    pub value: T,
    /// The record's key.
    pub key: Arc<str>,
    /// Its identity.
    pub lineage: Lineage,
    /// When it happened: the value's own time for a foreign record, the writer's `now` otherwise.
    pub event_time: TimestampMicros,
}

/// Engine headers of a record. They are not part of its content: two runs are equal without them.
pub mod header {
    /// 16 bytes: the record's lineage.
    pub const LINEAGE: &str = "fs-lineage";
    /// 8 bytes, big-endian: event time, microseconds UTC.
    pub const TIME: &str = "fs-time";
    /// 14 bytes: [`crate::position::WriterOrder`].
    pub const ORDER: &str = "fs-order";
    /// Paced mode: [`crate::position::Position`] of the record in the instant that made it.
    pub const POSITION: &str = "fs-position";
    /// 8 bytes, big-endian: OS time at which the root record entered, microseconds UTC. For latency only.
    pub const ORIGIN: &str = "fs-origin";
    /// W3C Trace Context, as the Kafka instrumentations of OpenTelemetry write it: the span that wrote the record.
    pub const TRACEPARENT: &str = "traceparent";
    /// The same standard's vendor data, passed on unchanged.
    pub const TRACESTATE: &str = "tracestate";
}

/// The bytes of an input record's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Avro in our own schema, without the wire header.
    Avro(Arc<[u8]>),
    /// Not readable; the record becomes a dead letter.
    Unreadable {
        /// Closed reason code.
        code: Cow<'static, str>,
        /// The error in words.
        text: String,
        /// The value as received.
        raw: Arc<[u8]>,
    },
}

impl Payload {
    /// The value's bytes: without the wire header where it is readable, as received otherwise.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        match self {
            Self::Avro(bytes) => bytes,
            Self::Unreadable { raw, .. } => raw,
        }
    }
}

/// An input record as a driver hands it to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset; `None` for a record handed on in memory.
    pub offset: Option<i64>,
    /// Key.
    pub key: Arc<str>,
    /// Value.
    pub payload: Payload,
    /// `fs-lineage`, where an engine or gateway wrote the record.
    pub lineage: Option<Lineage>,
    /// `fs-time`, likewise.
    pub event_time: Option<TimestampMicros>,
    /// `fs-order`, likewise.
    pub order: Option<Arc<[u8]>>,
    /// `fs-position`, in paced mode.
    pub position: Option<Arc<[u8]>>,
    /// `fs-origin`.
    pub origin_us: Option<i64>,
    /// `traceparent` and `tracestate`: the span that wrote it.
    pub trace: Option<TraceContext>,
}

impl Envelope {
    /// A foreign record: no engine headers.
    #[must_use]
    pub fn foreign(topic: &str, partition: i32, offset: i64, key: &str, payload: Payload) -> Self {
        Self {
            topic: topic.into(),
            partition,
            offset: Some(offset),
            key: key.into(),
            payload,
            lineage: None,
            event_time: None,
            order: None,
            position: None,
            origin_us: None,
            trace: None,
        }
    }
}

/// A record to be written. `payload` is Avro in the schema named `schema`, without the wire header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutRecord {
    /// Topic.
    pub topic: &'static str,
    /// Key.
    pub key: Arc<str>,
    /// Avro value.
    pub payload: Arc<[u8]>,
    /// Full name of the value's schema.
    pub schema: &'static str,
    /// Identity.
    pub lineage: Lineage,
    /// `now` of the batch that made it.
    pub event_time: TimestampMicros,
    /// Order among the records of this task.
    pub order: [u8; 14],
    /// Position in its instant, in paced mode.
    pub position: Option<Arc<[u8]>>,
    /// OS time at which the root entered.
    pub origin_us: Option<i64>,
    /// The span that wrote it.
    pub trace: Option<TraceContext>,
    /// Headers for subscribers (priority, severity, venue ...).
    pub headers: Vec<(&'static str, String)>,
}

impl OutRecord {
    /// Bytes of key and value and of the headers that a stage gave.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        headers.fold(self.key.len().saturating_add(self.payload.len()), usize::saturating_add)
    }

    /// Its headers on the wire, in order.
    #[must_use]
    pub fn wire_headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        self.with_headers(|headers| headers.iter().map(|(name, value)| (*name, value.to_vec())).collect())
    }

    /// Gives `with` its headers on the wire, in order, without copying them: this is done for every record.
    pub fn with_headers<T>(&self, with: impl FnOnce(&[(&'static str, &[u8])]) -> T) -> T {
        let time = self.event_time.micros().to_be_bytes();
        let origin = self.origin_us.map(i64::to_be_bytes);
        let parent = self.trace.as_ref().map(TraceContext::traceparent);
        let mut headers: Vec<(&'static str, &[u8])> = Vec::with_capacity(7_usize.saturating_add(self.headers.len()));
        headers.push((header::LINEAGE, self.lineage.as_bytes()));
        headers.push((header::TIME, &time));
        headers.push((header::ORDER, &self.order));
        headers.extend(self.position.as_deref().map(|p| (header::POSITION, p)));
        headers.extend(origin.as_ref().map(|o| (header::ORIGIN, o.as_slice())));
        headers.extend(parent.as_ref().map(|p| (header::TRACEPARENT, p.as_slice())));
        headers.extend(trace_state(self.trace.as_ref()));
        headers.extend(self.headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        with(&headers)
    }
}

fn trace_state(trace: Option<&TraceContext>) -> Option<(&'static str, &[u8])> {
    trace.and_then(TraceContext::state).map(|s| (header::TRACESTATE, s.as_bytes()))
}

/// The headers of a trace context on the wire.
pub fn trace_headers(trace: Option<&TraceContext>) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let parent = trace.map(|t| (header::TRACEPARENT, t.traceparent().to_vec()));
    let state = trace_state(trace).map(|(name, value)| (name, value.to_vec()));
    parent.into_iter().chain(state)
}

/// One changelog entry: the last state of a key that the batch touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangelogEntry {
    /// `stage/store`.
    pub store: String,
    /// Key in the store.
    pub key: String,
    /// Avro value; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// Full name of the value's schema.
    pub schema: &'static str,
}

impl ChangelogEntry {
    /// Bytes of key and value.
    #[must_use]
    pub fn size(&self) -> usize {
        let key = self.store.len().saturating_add(self.key.len()).saturating_add(1);
        key.saturating_add(self.value.as_ref().map_or(0, Vec::len))
    }
}
