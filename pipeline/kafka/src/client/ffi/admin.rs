//! Administrative requests.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::{Owned, milliseconds, text, txn_error};

/// A topic as the cluster describes it.
pub(in crate::client) struct Described {
    pub(in crate::client) uuid: String,
    pub(in crate::client) partitions: i32,
    pub(in crate::client) replication: i32,
}

/// Describes topics; those that do not exist are left out.
///
/// # Errors
/// The error in words.
pub(in crate::client) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, Described>, String> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<CString> =
        topics.iter().map(|t| CString::new(*t)).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|n| n.as_ptr()).collect();
    // SAFETY: `names` outlives the call, which copies them.
    let collection = unsafe {
        Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )
    }
    .ok_or("out of memory")?;
    let event = request(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout, |rk, opts, q| {
        // SAFETY: all four objects are alive; the call copies what it needs.
        unsafe { sys::rd_kafka_DescribeTopics(rk, collection.ptr(), opts, q) }
    })?;
    // SAFETY: `event` is alive; a null result is checked before use, and the array has `count` valid entries that live
    // as long as the event.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.ptr());
        if result.is_null() {
            return Err("answer of another kind".into());
        }
        let mut count = 0;
        let list = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut out = BTreeMap::new();
        for i in 0..count {
            let topic = *list.add(i);
            let name = text(sys::rd_kafka_TopicDescription_name(topic));
            match described(topic)? {
                Some(d) => out.insert(name, d),
                None => None,
            };
        }
        Ok(out)
    }
}

/// # Safety
/// `topic` must be a live topic description.
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Option<Described>, String> {
    // SAFETY: per the contract; every object read here is owned by the description.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        let code = RDKafkaErrorCode::from(sys::rd_kafka_error_code(error));
        if code == RDKafkaErrorCode::UnknownTopicOrPartition {
            return Ok(None);
        }
        if code != RDKafkaErrorCode::NoError {
            return Err(text(sys::rd_kafka_error_string(error)));
        }
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let mut replicas = 0;
        if count > 0 {
            sys::rd_kafka_TopicPartitionInfo_replicas(*partitions, &mut replicas);
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        Ok(Some(Described {
            uuid: text(sys::rd_kafka_Uuid_base64str(id)),
            partitions: i32::try_from(count).unwrap_or(i32::MAX),
            replication: i32::try_from(replicas).unwrap_or(i32::MAX),
        }))
    }
}

/// Sets (`Some`) or takes away (`None`) settings of a topic, leaving the others as they are.
///
/// # Errors
/// The error in words.
pub(in crate::client) fn alter_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    settings: &[(String, Option<String>)],
    timeout: Duration,
) -> Result<(), String> {
    let name = CString::new(topic).map_err(|e| e.to_string())?;
    // SAFETY: `name` outlives the call, which copies it.
    let resource = unsafe {
        Owned::new(
            sys::rd_kafka_ConfigResource_new(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr()),
            sys::rd_kafka_ConfigResource_destroy,
        )
    }
    .ok_or("out of memory")?;
    for (setting, value) in settings {
        let setting = CString::new(setting.as_str()).map_err(|e| e.to_string())?;
        let (op, value) = match value {
            Some(v) => (
                sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                Some(CString::new(v.as_str()).map_err(|e| e.to_string())?),
            ),
            None => (sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, None),
        };
        let value = value.as_ref().map_or(ptr::null(), |v| v.as_ptr());
        // SAFETY: the strings outlive the call, which copies them.
        let error =
            unsafe { sys::rd_kafka_ConfigResource_add_incremental_config(resource.ptr(), setting.as_ptr(), op, value) };
        if let Some(e) = Owned::new(error, sys::rd_kafka_error_destroy) {
            return Err(txn_error(&e).text);
        }
    }
    let mut resources = [resource.ptr()];
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
    let event = request(client, op, timeout, |rk, opts, q| {
        // SAFETY: the array holds one live resource; the call copies it.
        unsafe { sys::rd_kafka_IncrementalAlterConfigs(rk, resources.as_mut_ptr(), 1, opts, q) }
    })?;
    // SAFETY: as in describe_topics.
    unsafe {
        let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event.ptr());
        if result.is_null() {
            return Err("answer of another kind".into());
        }
        let mut count = 0;
        let list = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
        for i in 0..count {
            let r = *list.add(i);
            if sys::rd_kafka_ConfigResource_error(r).is_error() {
                return Err(text(sys::rd_kafka_ConfigResource_error_string(r)));
            }
        }
    }
    Ok(())
}

/// Runs one administrative request and waits for its answer on a queue of its own.
fn request<C: ClientContext>(
    client: &Client<C>,
    op: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    call: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Owned<sys::rd_kafka_event_t>, String> {
    let rk = client.native_ptr();
    // SAFETY: the client is alive for the borrow; null results are checked; the error buffer has the stated size.
    unsafe {
        let options = Owned::new(sys::rd_kafka_AdminOptions_new(rk, op), sys::rd_kafka_AdminOptions_destroy)
            .ok_or("out of memory")?;
        let queue = Owned::new(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy).ok_or("out of memory")?;
        let mut message = [0 as c_char; 256];
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(
            options.ptr(),
            milliseconds(timeout),
            message.as_mut_ptr(),
            message.len(),
        );
        if set.is_error() {
            return Err(text(message.as_ptr()));
        }
        call(rk, options.ptr(), queue.ptr());
        let event = sys::rd_kafka_queue_poll(queue.ptr(), milliseconds(timeout.saturating_add(Duration::from_secs(1))));
        let event = Owned::new(event, sys::rd_kafka_event_destroy).ok_or("no answer in time")?;
        if sys::rd_kafka_event_error(event.ptr()).is_error() {
            return Err(text(sys::rd_kafka_event_error_string(event.ptr())));
        }
        Ok(event)
    }
}
