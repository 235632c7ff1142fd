//! Events of a consumer, with everything they say.

use std::ffi::c_char;
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::{Owned, borrowed, milliseconds, text};
use crate::client::rdkafka_consumer::Names;
use crate::client::{Received, TopicPartition};

/// What a consumer's queue held.
pub(in crate::client) enum RawEvent {
    Record(Received),
    /// A partition is read to its end; the offset counts what is never delivered: markers, aborted records.
    End(TopicPartition, i64),
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Error {
        code: RDKafkaErrorCode,
        text: String,
        fatal: bool,
        /// The partition that it is about, and the offset there.
        at: Option<(TopicPartition, i64)>,
    },
}

/// The queue of a consumer, polled here instead of by rdkafka.
pub(in crate::client) struct EventQueue(Owned<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread, and this reference to one is owned.
unsafe impl Send for EventQueue {}

impl EventQueue {
    /// The queue of `client`, which must be a consumer with a group id and must outlive it; `None` where there is none.
    pub(in crate::client) fn of<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive for the borrow; null is checked.
        unsafe {
            Owned::new(sys::rd_kafka_queue_get_consumer(client.native_ptr()), sys::rd_kafka_queue_destroy).map(Self)
        }
    }

    /// Waits for an event. Logs go to the client's context.
    pub(in crate::client) fn poll<C: ClientContext>(
        &self,
        client: &Client<C>,
        names: &mut Names,
        timeout: Duration,
    ) -> Option<RawEvent> {
        // SAFETY: the queue is alive; the event is destroyed once, by `Owned`.
        let event = unsafe {
            Owned::new(sys::rd_kafka_queue_poll(self.0.ptr(), milliseconds(timeout)), sys::rd_kafka_event_destroy)?
        };
        // SAFETY: the event is alive for all calls below.
        match unsafe { sys::rd_kafka_event_type(event.ptr()) } {
            sys::RD_KAFKA_EVENT_FETCH => unsafe { record(&event, names) },
            sys::RD_KAFKA_EVENT_REBALANCE => unsafe { rebalance(&event, names) },
            sys::RD_KAFKA_EVENT_ERROR => unsafe { error(&event, client, names) },
            sys::RD_KAFKA_EVENT_LOG => {
                unsafe { log(&event, client) };
                None
            }
            _ => None,
        }
    }
}

type Event = Owned<sys::rd_kafka_event_t>;

/// # Safety
/// `event` must be a fetch event; those of a consumer hold one message.
unsafe fn record(event: &Event, names: &mut Names) -> Option<RawEvent> {
    // SAFETY: the message and all it points to live as long as the event; lengths are librdkafka's own.
    unsafe {
        let message = sys::rd_kafka_event_message_next(event.ptr()).as_ref()?;
        let topic = names.of(&borrowed(sys::rd_kafka_topic_name(message.rkt)));
        if message.err.is_error() {
            let code = RDKafkaErrorCode::from(message.err);
            let at = (TopicPartition::new(topic, message.partition), message.offset);
            return Some(RawEvent::Error { code, text: code.to_string(), fatal: false, at: Some(at) });
        }
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        Some(RawEvent::Record(Received {
            topic,
            partition: message.partition,
            offset: message.offset,
            timestamp_ms: sys::rd_kafka_message_timestamp(message, &mut kind),
            key: bytes(message.key.cast(), message.key_len),
            value: bytes(message.payload.cast(), message.len),
            headers: headers(message),
        }))
    }
}

/// # Safety
/// `message` must be alive.
unsafe fn headers(message: &sys::rd_kafka_message_t) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    // SAFETY: the list belongs to the message; name and value are only read while it lives.
    unsafe {
        let mut list = ptr::null_mut();
        if sys::rd_kafka_message_headers(message, &mut list).is_error() {
            return out;
        }
        let (mut name, mut value, mut size): (*const c_char, _, _) = (ptr::null(), ptr::null(), 0);
        while !sys::rd_kafka_header_get_all(list, out.len(), &mut name, &mut value, &mut size).is_error() {
            out.push((text(name), bytes(value.cast(), size).unwrap_or_default()));
        }
    }
    out
}

/// # Safety
/// `data` must be null or point to `len` readable bytes.
unsafe fn bytes(data: *const u8, len: usize) -> Option<Vec<u8>> {
    // SAFETY: per the contract.
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data, len) }.to_vec())
}

/// # Safety
/// `event` must be a rebalance event.
unsafe fn rebalance(event: &Event, names: &mut Names) -> Option<RawEvent> {
    // SAFETY: the list belongs to the event and holds `cnt` elements.
    unsafe {
        let list = sys::rd_kafka_event_topic_partition_list(event.ptr()).as_ref()?;
        let count = usize::try_from(list.cnt).unwrap_or(0);
        let elements = if count == 0 { &[] } else { slice::from_raw_parts(list.elems, count) };
        let partitions = elements.iter().map(|e| TopicPartition::new(names.of(&text(e.topic)), e.partition)).collect();
        let assign = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        Some(if sys::rd_kafka_event_error(event.ptr()) == assign {
            RawEvent::Assigned(partitions)
        } else {
            RawEvent::Revoked(partitions)
        })
    }
}

/// # Safety
/// `event` must be an error event of `client`.
unsafe fn error<C: ClientContext>(event: &Event, client: &Client<C>, names: &mut Names) -> Option<RawEvent> {
    // SAFETY: the event is alive; the partition is a copy that is destroyed here; the buffer has the stated size.
    unsafe {
        let raw = sys::rd_kafka_event_error(event.ptr());
        let copy = Owned::new(sys::rd_kafka_event_topic_partition(event.ptr()), sys::rd_kafka_topic_partition_destroy);
        let at = copy.as_ref().and_then(|copy| copy.ptr().as_ref());
        let at = at.map(|at| (TopicPartition::new(names.of(&text(at.topic)), at.partition), at.offset));
        if raw == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
            return at.map(|(tp, offset)| RawEvent::End(tp, offset));
        }
        let mut words = text(sys::rd_kafka_event_error_string(event.ptr()));
        let mut code = RDKafkaErrorCode::from(raw);
        let fatal = sys::rd_kafka_event_error_is_fatal(event.ptr()) != 0 || code == RDKafkaErrorCode::Fatal;
        if fatal {
            // The event says only "fatal"; what happened stands beside.
            let mut buffer = [0 as c_char; 512];
            let cause = sys::rd_kafka_fatal_error(client.native_ptr(), buffer.as_mut_ptr(), buffer.len());
            if cause.is_error() {
                code = RDKafkaErrorCode::from(cause);
                words = text(buffer.as_ptr());
            }
        }
        Some(RawEvent::Error { code, text: words, fatal, at })
    }
}

/// # Safety
/// `event` must be a log event.
unsafe fn log<C: ClientContext>(event: &Event, client: &Client<C>) {
    let (mut facility, mut words, mut level): (*const c_char, *const c_char, i32) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the strings live as long as the event.
    unsafe {
        if sys::rd_kafka_event_log(event.ptr(), &mut facility, &mut words, &mut level) == 0 {
            let level = match level {
                ..=3 => RDKafkaLogLevel::Error,
                4 => RDKafkaLogLevel::Warning,
                5 => RDKafkaLogLevel::Notice,
                6 => RDKafkaLogLevel::Info,
                _ => RDKafkaLogLevel::Debug,
            };
            client.context().log(level, &text(facility), &text(words));
        }
    }
}
