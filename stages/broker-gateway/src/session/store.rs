//! The session's state as keyed records, and back.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_core::record::ChangelogEntry;
use fillstream_domain::TimestampMicros;
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::state::{GatewayExecution, GatewayOrder, GatewaySendState, GatewaySession};

use super::{Identity, Kept, Session};
use crate::error::GatewayError;

const SESSIONS: &str = "broker-gateway/sessions";
const ORDERS: &str = "broker-gateway/orders";
const EXECUTIONS: &str = "broker-gateway/executions";

fn entry<T: AvroRecord>(store: &str, key: String, value: Option<&T>) -> ChangelogEntry {
    ChangelogEntry { store: store.to_owned(), key, value: value.map(AvroRecord::to_bytes), schema: T::FULL_NAME }
}

pub(super) fn head(head: &GatewaySession) -> ChangelogEntry {
    entry(SESSIONS, head.session.clone(), Some(head))
}

pub(super) fn order(session: &str, cl_ord_id: &str, order: Option<&GatewayOrder>) -> ChangelogEntry {
    entry(ORDERS, format!("{session}/{cl_ord_id}"), order)
}

pub(super) fn execution(session: &str, cl_ord_id: &str, exec_id: &str, in_seq: Option<i64>) -> ChangelogEntry {
    let record =
        in_seq.map(|in_seq| GatewayExecution { cl_ord_id: cl_ord_id.to_owned(), exec_id: exec_id.to_owned(), in_seq });
    entry(EXECUTIONS, format!("{session}/{cl_ord_id}/{exec_id}"), record.as_ref())
}

/// The state of a session while it is read from its changelog: the last record of each key.
#[derive(Debug, Default)]
pub struct Restore {
    head: Option<GatewaySession>,
    orders: BTreeMap<String, GatewayOrder>,
    executions: BTreeMap<String, GatewayExecution>,
}

impl Restore {
    /// Full name of the schema of a key's values; `None` for a key that is none of a session's.
    #[must_use]
    pub fn schema_of(key: &str) -> Option<&'static str> {
        match store_of(key)?.0 {
            SESSIONS => Some(GatewaySession::FULL_NAME),
            ORDERS => Some(GatewayOrder::FULL_NAME),
            EXECUTIONS => Some(GatewayExecution::FULL_NAME),
            _ => None,
        }
    }

    /// Takes an entry in; `key` with its store before it, `value` in our schema, `None` to delete.
    ///
    /// # Errors
    /// [`GatewayError::Unreadable`], or [`GatewayError::State`] for a key that is none of a session's.
    pub fn take(&mut self, session: &str, key: &str, value: Option<&[u8]>) -> Result<(), GatewayError> {
        let unreadable = |source| GatewayError::Unreadable { session: session.to_owned(), key: key.to_owned(), source };
        let foreign = || GatewayError::State {
            session: session.to_owned(),
            text: format!("its partition holds the key {key:?}, which is none of this session's"),
        };
        let (store, rest) = store_of(key).ok_or_else(foreign)?;
        if rest != session && !rest.strip_prefix(session).is_some_and(|rest| rest.starts_with('/')) {
            return Err(foreign());
        }
        match store {
            SESSIONS => self.head = value.map(GatewaySession::decode).transpose().map_err(unreadable)?,
            ORDERS => put(&mut self.orders, rest, value.map(GatewayOrder::decode).transpose().map_err(unreadable)?),
            EXECUTIONS => {
                let record = value.map(GatewayExecution::decode).transpose().map_err(unreadable)?;
                put(&mut self.executions, rest, record);
            }
            _ => return Err(foreign()),
        }
        Ok(())
    }

    /// The session. A session that was never there starts at `input_offset` of the topic with `input_topic_id`.
    ///
    /// # Errors
    /// [`GatewayError::State`]: orders without a session, or the input topic is another one than before.
    pub fn into_session(self, id: Identity, input_topic_id: &str, input_offset: i64) -> Result<Session, GatewayError> {
        let fault = |text: String| GatewayError::State { session: id.session.clone(), text };
        let head = match self.head {
            Some(head) if head.input_topic_id == input_topic_id => head,
            Some(head) => {
                let text =
                    format!("child orders were read from topic {}, now it is {input_topic_id}", head.input_topic_id);
                return Err(fault(text));
            }
            None if self.orders.is_empty() && self.executions.is_empty() => GatewaySession {
                session: id.session.clone(),
                input_topic_id: input_topic_id.to_owned(),
                input_offset,
                complete: true,
                ..GatewaySession::default()
            },
            None => return Err(fault("there are orders, but no record of the session itself".to_owned())),
        };
        let mut orders: BTreeMap<String, Kept> = self
            .orders
            .into_values()
            .map(|order| (order.intent.child.cl_ord_id.clone(), Kept { order, exec_ids: BTreeSet::new() }))
            .collect();
        for execution in self.executions.into_values() {
            let kept = orders.get_mut(&execution.cl_ord_id);
            let kept = kept.ok_or_else(|| fault(format!("execution {} has no order", execution.exec_id)))?;
            kept.exec_ids.insert(execution.exec_id);
        }
        let unanswered = orders
            .iter()
            .filter(|(_, kept)| kept.order.send_state == GatewaySendState::Pending)
            .map(|(id, kept)| (kept.order.intent.out_seq, id.clone()))
            .collect();
        let closed: BTreeSet<(TimestampMicros, String)> =
            orders.iter().filter_map(|(id, kept)| kept.order.closed_at.map(|at| (at, id.clone()))).collect();
        let now = head.now;
        Ok(Session {
            id,
            head,
            orders,
            unanswered,
            closed,
            dirty: BTreeSet::new(),
            new_execs: Vec::new(),
            outputs: Vec::new(),
            strays: Vec::new(),
            refusals: Vec::new(),
            spans: Vec::new(),
            now,
        })
    }
}

fn store_of(key: &str) -> Option<(&'static str, &str)> {
    [SESSIONS, ORDERS, EXECUTIONS]
        .into_iter()
        .find_map(|store| Some((store, key.strip_prefix(store)?.strip_prefix('/')?)))
}

fn put<T>(records: &mut BTreeMap<String, T>, key: &str, record: Option<T>) {
    match record {
        Some(record) => records.insert(key.to_owned(), record),
        None => records.remove(key),
    };
}
