//! Spans in the wire format of OTLP: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, in protobuf.
//!
//! The few messages needed are written by hand, as the contracts' codec is: the generated types would bring a second
//! HTTP stack. Field numbers are those of the published .proto files; a test holds the bytes against their own encoder's.

use fillstream_core::trace::{Span, SpanWork};

use super::Told;

/// A protobuf message as it grows.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(u8::try_from(n & 0x7f).unwrap_or_default() | 0x80);
            n >>= 7;
        }
        self.0.push(u8::try_from(n).unwrap_or_default());
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.raw(u64::from(field << 3 | wire));
    }

    fn number(&mut self, field: u32, n: u64) {
        self.tag(field, 0);
        self.raw(n);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.raw(u64::try_from(bytes.len()).unwrap_or_default());
        self.0.extend_from_slice(bytes);
    }

    fn fixed64(&mut self, field: u32, n: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn fixed32(&mut self, field: u32, n: u32) {
        self.tag(field, 5);
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn text(&mut self, field: u32, key: &str, value: &str) {
        self.message(field, |m| {
            m.bytes(1, key.as_bytes());
            m.message(2, |any| any.bytes(1, value.as_bytes()));
        });
    }

    fn int(&mut self, field: u32, key: &str, value: i64) {
        self.message(field, |m| {
            m.bytes(1, key.as_bytes());
            m.message(2, |any| any.number(3, value.cast_unsigned()));
        });
    }
}

/// Kind of a span.
#[derive(Clone, Copy)]
enum Kind {
    Internal = 1,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// The request that tells all of it; `instance` and `version` are those of this process.
pub(super) fn request(told: &[Told], instance: &str, version: &str) -> Vec<u8> {
    let mut request = Message::default();
    for t in told {
        request.message(1, |of_resource| {
            of_resource.message(1, |resource| {
                resource.text(1, "service.name", &t.service);
                resource.text(1, "service.instance.id", instance);
                resource.text(1, "service.version", version);
            });
            of_resource.message(2, |of_scope| {
                of_scope.message(1, |scope| {
                    scope.bytes(1, b"fillstream");
                    scope.bytes(2, version.as_bytes());
                });
                for span in &t.spans {
                    of_scope.message(2, |m| write(m, span, t));
                }
            });
        });
    }
    request.0
}

fn write(m: &mut Message, span: &Span, told: &Told) {
    let (context, nanos) = (&span.context, |us: i64| u64::try_from(us).unwrap_or_default().saturating_mul(1_000));
    m.bytes(1, context.trace_id());
    m.bytes(2, context.span_id());
    if let Some(state) = context.state() {
        m.bytes(3, state.as_bytes());
    }
    if let Some(parent) = &span.parent {
        m.bytes(4, parent);
    }
    let (name, kind) = named(span);
    m.bytes(5, name.as_bytes());
    m.number(6, u64::from(kind as u8));
    m.fixed64(7, nanos(told.start_us));
    m.fixed64(8, nanos(told.end_us));
    attributes(m, span, told);
    if let Some(link) = &span.link {
        m.message(13, |l| {
            l.bytes(1, link.trace_id());
            l.bytes(2, link.span_id());
            if let Some(state) = link.state() {
                l.bytes(3, state.as_bytes());
            }
            l.fixed32(6, u32::from(link.flags()));
        });
    }
    if let Some(code) = &span.poison {
        m.message(15, |status| {
            status.bytes(2, code.as_bytes());
            status.number(3, 2);
        });
    }
    m.fixed32(16, u32::from(context.flags()));
}

fn named(span: &Span) -> (String, Kind) {
    let stage = span.stage;
    match &span.work {
        SpanWork::Record { topic, .. } => (format!("{stage} {topic}"), Kind::Consumer),
        SpanWork::Timer => (format!("{stage} timer"), Kind::Internal),
        SpanWork::Report { .. } => (format!("{stage} report"), Kind::Producer),
        SpanWork::Send { .. } => (format!("{stage} send"), Kind::Client),
        SpanWork::Forward { topic, .. } => (format!("{stage} {topic}"), Kind::Producer),
    }
}

// Names of OpenTelemetry's semantic conventions where there are some.
fn attributes(m: &mut Message, span: &Span, told: &Told) {
    const FIELD: u32 = 9;
    let kafka = |m: &mut Message, operation: &str, topic: &str| {
        m.text(FIELD, "messaging.system", "kafka");
        m.text(FIELD, "messaging.operation.type", operation);
        m.text(FIELD, "messaging.destination.name", topic);
    };
    m.text(FIELD, "fillstream.stage", span.stage);
    match &span.work {
        SpanWork::Record { topic, partition, offset } => {
            kafka(m, "process", topic);
            m.text(FIELD, "messaging.consumer.group.name", &told.service);
            m.text(FIELD, "messaging.destination.partition.id", &partition.to_string());
            if let Some(offset) = offset {
                m.int(FIELD, "messaging.kafka.offset", *offset);
            }
            m.text(FIELD, told.key_is, &span.key);
        }
        SpanWork::Timer => m.text(FIELD, "fillstream.timer", &span.key),
        SpanWork::Report { topic } => {
            kafka(m, "send", topic);
            m.text(FIELD, told.key_is, &span.key);
        }
        SpanWork::Send { outcome } => {
            m.text(FIELD, "fillstream.send.outcome", outcome);
            m.text(FIELD, told.key_is, &span.key);
        }
        SpanWork::Forward { topic, to } => {
            kafka(m, "send", to);
            m.text(FIELD, "fillstream.forwarded.from", topic);
            m.text(FIELD, told.key_is, &span.key);
        }
    }
    m.int(FIELD, "fillstream.outputs", i64::try_from(span.outputs).unwrap_or(i64::MAX));
}

/// Spans that a collector says it has refused, by its answer to a request that it has taken.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let partial = field(answer, 1).and_then(|(_, bytes)| bytes).unwrap_or_default();
    field(partial, 1).map_or(0, |(n, _)| n)
}

// The first field with this number: as a number or as bytes. Stops at what these messages do not hold.
fn field(mut bytes: &[u8], wanted: u64) -> Option<(u64, Option<&[u8]>)> {
    while !bytes.is_empty() {
        let (tag, rest) = varint(bytes)?;
        let (number, rest) = varint(rest)?;
        let (value, rest) = match tag & 7 {
            0 => ((number, None), rest),
            2 => {
                let (inner, rest) = rest.split_at_checked(usize::try_from(number).ok()?)?;
                ((number, Some(inner)), rest)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(value);
        }
        bytes = rest;
    }
    None
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0;
    for (i, b) in bytes.iter().enumerate().take(10) {
        n |= u64::from(b & 0x7f) << (7 * i);
        if b & 0x80 == 0 {
            return Some((n, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests;
