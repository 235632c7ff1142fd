//! Handing over a record. rdkafka does it with a copy of the topic's name and of every header's, made anew for each.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::Owned;
use crate::client::Outgoing;

/// Names of topics as librdkafka wants them, each allocated once.
#[derive(Default)]
pub(in crate::client) struct TopicNames(BTreeMap<String, CString>);

impl TopicNames {
    fn of(&mut self, topic: &str) -> Option<&CStr> {
        if !self.0.contains_key(topic) {
            self.0.insert(topic.to_owned(), CString::new(topic).ok()?);
        }
        self.0.get(topic).map(CString::as_c_str)
    }
}

/// Enqueues a record, which is copied.
///
/// # Errors
/// librdkafka's code; [`RDKafkaErrorCode::QueueFull`] passes.
pub(in crate::client) fn produce<C: ClientContext>(
    client: &Client<C>,
    names: &mut TopicNames,
    record: &Outgoing<'_>,
) -> Result<(), RDKafkaErrorCode> {
    let topic = names.of(record.topic).ok_or(RDKafkaErrorCode::InvalidTopic)?;
    let headers = headers(record.headers)?;
    let ((key, key_len), (value, value_len)) = (raw(record.key), raw(record.value));
    // SAFETY: each tag is followed by the arguments that librdkafka documents for it, and the list ends with its end; all
    // pointers are good for the call, which copies key and value.
    let code = unsafe {
        sys::rd_kafka_producev(
            client.native_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
            record.partition,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            value,
            value_len,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
            key,
            key_len,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
            record.timestamp_ms,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            headers.ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        )
    };
    if code.is_error() {
        return Err(code.into());
    }
    // The record owns them now.
    headers.release();
    Ok(())
}

fn raw(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |b| (b.as_ptr().cast(), b.len()))
}

fn headers(all: &[(&str, &[u8])]) -> Result<Owned<sys::rd_kafka_headers_t>, RDKafkaErrorCode> {
    let size = |bytes: &[u8]| isize::try_from(bytes.len()).map_err(|_| RDKafkaErrorCode::MessageSizeTooLarge);
    // SAFETY: the list is new and owned; names and values are copied by their sizes.
    unsafe {
        let list = Owned::new(sys::rd_kafka_headers_new(all.len()), sys::rd_kafka_headers_destroy);
        let list = list.ok_or(RDKafkaErrorCode::Fail)?;
        for (name, value) in all {
            let (name, name_size) = (name.as_ptr().cast(), size(name.as_bytes())?);
            let (value, value_size) = (value.as_ptr().cast(), size(value)?);
            let code = sys::rd_kafka_header_add(list.ptr(), name, name_size, value, value_size);
            if code.is_error() {
                return Err(code.into());
            }
        }
        Ok(list)
    }
}
