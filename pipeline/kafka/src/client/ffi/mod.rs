//! The calls of librdkafka that rdkafka does not wrap, or wraps so that they cost 100 ms or lose what we need.
//!
//! - `commit_transaction`: rdkafka flushes first, by polling in steps of 100 ms. librdkafka flushes by itself, and with
//!   `delivery.report.only.error` nothing needs polling meanwhile.
//! - `DescribeTopics`: the only way to a topic's UUID.
//! - `IncrementalAlterConfigs`: rdkafka has only the old call, which resets every setting that it is not given.
//! - the parts of a group's metadata: rdkafka keeps them to itself.
//! - `producev`: rdkafka copies names for every record.
//! - length of the main queue: rdkafka's `poll(0)` handles one event and does not say whether more wait.
//! - events of a consumer: rdkafka drops topic and offset of "end of partition", the only sign that a reader of committed
//!   records has passed the transaction markers at a partition's end.
#![allow(unsafe_code, reason = "librdkafka calls that rdkafka does not wrap; every pointer is checked here")]

mod admin;
mod events;
mod produce;

use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::error::TxnError;

pub(super) use admin::{alter_topic, describe_topics};
pub(super) use events::{EventQueue, RawEvent};
pub(super) use produce::{TopicNames, produce};

/// A native object, destroyed when it goes out of scope.
struct Owned<T> {
    ptr: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(ptr: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(ptr).map(|ptr| Self { ptr, destroy })
    }

    fn ptr(&self) -> *mut T {
        self.ptr.as_ptr()
    }

    /// Leaves it to somebody else to destroy it.
    fn release(self) {
        std::mem::forget(self);
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the constructor that `destroy` belongs to, and is destroyed once.
        unsafe { (self.destroy)(self.ptr.as_ptr()) }
    }
}

fn milliseconds(d: Duration) -> i32 {
    i32::try_from(d.as_millis()).unwrap_or(i32::MAX)
}

/// Text of a native string; empty for null.
fn text(s: *const c_char) -> String {
    // SAFETY: librdkafka hands out NUL-terminated strings that live at least as long as the object they belong to,
    // and the caller holds that object.
    unsafe { borrowed(s) }.into_owned()
}

/// The same without a copy.
///
/// # Safety
/// The string must be null, or NUL-terminated and alive for `'a`.
unsafe fn borrowed<'a>(s: *const c_char) -> Cow<'a, str> {
    if s.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: per the contract.
    unsafe { CStr::from_ptr(s) }.to_string_lossy()
}

/// Flushes and commits the open transaction, waiting at most `timeout`. After a retriable error the same call resumes.
///
/// # Errors
/// What librdkafka says.
pub(super) fn commit_transaction<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Result<(), TxnError> {
    // SAFETY: the client is alive for the borrow.
    let error = unsafe { sys::rd_kafka_commit_transaction(client.native_ptr(), milliseconds(timeout)) };
    match Owned::new(error, sys::rd_kafka_error_destroy) {
        None => Ok(()),
        Some(e) => Err(txn_error(&e)),
    }
}

fn txn_error(e: &Owned<sys::rd_kafka_error_t>) -> TxnError {
    // SAFETY: `e` is a live error object for all five calls.
    unsafe {
        TxnError {
            code: RDKafkaErrorCode::from(sys::rd_kafka_error_code(e.ptr())),
            text: text(sys::rd_kafka_error_string(e.ptr())),
            fatal: sys::rd_kafka_error_is_fatal(e.ptr()) != 0,
            retriable: sys::rd_kafka_error_is_retriable(e.ptr()) != 0,
            requires_abort: sys::rd_kafka_error_txn_requires_abort(e.ptr()) != 0,
        }
    }
}

/// A member of a group.
pub(super) struct Membership {
    pub(super) group: String,
    /// Empty before it has joined.
    pub(super) id: String,
    /// -1 before it has joined.
    pub(super) generation: i32,
    pub(super) instance: Option<String>,
}

/// What a consumer is to its group now; `None` without a group.
pub(super) fn membership<C: ClientContext>(client: &Client<C>) -> Option<Membership> {
    // SAFETY: the client is alive for the borrow; the metadata is destroyed by `Owned`, and its strings are copied before.
    unsafe {
        let metadata = Owned::new(
            sys::rd_kafka_consumer_group_metadata(client.native_ptr()),
            sys::rd_kafka_consumer_group_metadata_destroy,
        )?;
        let instance = text(sys::rd_kafka_consumer_group_metadata_group_instance_id(metadata.ptr()));
        Some(Membership {
            group: text(sys::rd_kafka_consumer_group_metadata_group_id(metadata.ptr())),
            id: text(sys::rd_kafka_consumer_group_metadata_member_id(metadata.ptr())),
            generation: sys::rd_kafka_consumer_group_metadata_generation_id(metadata.ptr()),
            instance: (!instance.is_empty()).then_some(instance),
        })
    }
}

/// Events that wait for a poll of the client's main queue.
pub(super) fn waiting_events<C: ClientContext>(client: &Client<C>) -> usize {
    // SAFETY: the client is alive for the borrow; the reference to its queue is released by `Owned`.
    unsafe {
        Owned::new(sys::rd_kafka_queue_get_main(client.native_ptr()), sys::rd_kafka_queue_destroy)
            .map_or(0, |q| sys::rd_kafka_queue_length(q.ptr()))
    }
}
