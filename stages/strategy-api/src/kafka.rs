//! The topics' side of the desk: one thread writes, one reads what is committed from now on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use fillstream_kafka::client::{
    ClientError, KafkaClient as _, Outgoing, PartitionReader as _, Publisher, RdKafka, RdKafkaReader, ReaderEvent,
    Received, TopicPartition,
};
use fillstream_kafka::observe::{Health, Readiness};
use fillstream_kafka::registry::{Frame, Framing, RegistryError, SchemaRegistry, framed};
use fillstream_kafka::topics::{RouteError, Router};
use fillstream_schemas::codec::{AvroRecord, Event};
use fillstream_schemas::execution::{Command, ExecutionStrategySelected, StrategyRequest};

use crate::desk::{Desk, Outbound, Said};

/// Name of the part in health.
const PART: &str = "strategy-api";
const REQUESTS: &str = "execution.strategy-requests.v1";
const COMMANDS: &str = "execution.commands.v1";
const ANSWERS: &str = "execution.strategy-recommendations.v1";
const ORDERS: &str = "execution.orders.v1";
const STRATEGIES: &str = "execution.strategies.v1";
/// How often a thread looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Wait before something is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for acknowledgements.
const ACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Most records that one acknowledgement is waited for.
const BATCH: usize = 256;

/// What the threads work with.
pub struct Connection {
    /// Kafka.
    pub kafka: RdKafka,
    /// Schema registry.
    pub registry: Arc<SchemaRegistry>,
    /// Partition of every key.
    pub router: Arc<Router>,
    /// Where the part shows how it stands.
    pub health: Arc<Health>,
}

/// Why the part ended.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A topic that topics.yaml does not have.
    #[error("{0} has no partitions: it is not in topics.yaml")]
    NoTopic(&'static str),
    /// A thread cannot be started.
    #[error("thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread panicked.
    #[error("a thread of the strategy API panicked")]
    Panicked,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Route(#[from] RouteError),
}

/// Serves the desk until `stop`.
///
/// # Errors
/// What ended it before.
pub fn run(
    connection: Connection,
    desk: &Arc<Desk>,
    queue: Receiver<Outbound>,
    stop: &Arc<AtomicBool>,
) -> Result<(), KafkaError> {
    let connection = Arc::new(connection);
    let (of_writer, halted) = (Arc::clone(&connection), Arc::clone(stop));
    let writer = std::thread::Builder::new()
        .name("strategy-api-writer".to_owned())
        .spawn(move || write(&of_writer, &queue, &halted))?;
    let read = read(&connection, desk, stop, || writer.is_finished());
    let read = read.inspect_err(|_| stop.store(true, Ordering::Relaxed));
    let written = writer.join().map_err(|_| KafkaError::Panicked)?;
    read.and(written)
}

fn write(connection: &Connection, queue: &Receiver<Outbound>, stop: &AtomicBool) -> Result<(), KafkaError> {
    let publisher = connection.kafka.publisher()?;
    let mut framing = Framing::new(Arc::clone(&connection.registry));
    while !stop.load(Ordering::Relaxed) {
        let first = match queue.recv_timeout(LOOK) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let mut sent = Vec::new();
        for outbound in std::iter::once(first).chain(queue.try_iter().take(BATCH)) {
            let result = match &outbound.said {
                Said::Question(q) => send::<StrategyRequest>(connection, &publisher, &mut framing, REQUESTS, q),
                Said::Command(c) => send::<Command>(connection, &publisher, &mut framing, COMMANDS, c),
            };
            match result {
                Ok(()) => sent.push(outbound.written),
                // Nobody waits for it any more, if this fails.
                Err(e) => drop(outbound.written.send(Err(e.to_string()))),
            }
        }
        let flushed = publisher.flush(ACKNOWLEDGED).map_err(|e| e.to_string());
        for written in sent {
            let _ = written.send(flushed.clone());
        }
    }
    Ok(())
}

fn send<R: Event>(
    connection: &Connection,
    publisher: &Publisher,
    framing: &mut Framing,
    topic: &'static str,
    record: &R,
) -> Result<(), WriteError> {
    let partition = connection.router.partition(topic, record.key())?;
    let value = framed(framing.value_id(topic, R::FULL_NAME)?, &record.to_bytes());
    let (key, value) = (Some(record.key().as_bytes()), Some(value.as_slice()));
    let timestamp_ms = record.event_time().micros() / 1_000;
    Ok(publisher.send(&Outgoing { topic, partition, key, value, headers: &[], timestamp_ms })?)
}

fn read(connection: &Connection, desk: &Desk, stop: &AtomicBool, is_over: impl Fn() -> bool) -> Result<(), KafkaError> {
    let mut framing = Framing::new(Arc::clone(&connection.registry));
    let mut reader = None;
    while !stop.load(Ordering::Relaxed) && !is_over() {
        let event = match &mut reader {
            Some(open) => RdKafkaReader::next(open, LOOK),
            None => match from_the_ends(connection) {
                Ok(open) => {
                    reader = Some(open);
                    connection.health.set(PART, Readiness::Ready);
                    continue;
                }
                Err(KafkaError::Client(e)) => Err(e),
                Err(e) => return Err(e),
            },
        };
        match event {
            Ok(Some(ReaderEvent::Record(record))) => {
                while !take(desk, &mut framing, &record) && !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(PAUSE);
                }
            }
            Ok(Some(ReaderEvent::End { .. }) | None) => {}
            Err(ClientError::Retry { text, .. }) => {
                tracing::warn!(%text, "the strategy API cannot read; it tries again");
                if reader.is_none() {
                    connection.health.set(PART, Readiness::Waiting(text));
                    std::thread::park_timeout(PAUSE);
                }
            }
            // What was there is gone: what is still waited for is asked again.
            Err(ClientError::OffsetGone { .. }) => reader = None,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// A reader of what is committed from now on.
fn from_the_ends(connection: &Connection) -> Result<RdKafkaReader, KafkaError> {
    let mut reader = connection.kafka.reader()?;
    let mut from = Vec::new();
    for topic in [ANSWERS, ORDERS, STRATEGIES] {
        for partition in 0..connection.router.partitions(topic).ok_or(KafkaError::NoTopic(topic))? {
            let tp = TopicPartition::new(topic, partition);
            let (_, end) = reader.stable_bounds(&tp)?;
            from.push((tp, end));
        }
    }
    reader.start(&from)?;
    Ok(reader)
}

/// Hands a record on; false: the registry does not answer, and it must come again.
fn take(desk: &Desk, framing: &mut Framing, record: &Received) -> bool {
    match &*record.topic {
        ANSWERS => decoded(framing, record).map(|read| read.map(|answer| desk.take_answer(answer))),
        ORDERS => decoded(framing, record).map(|read| read.map(|event| desk.take_event(&event))),
        _ => decoded(framing, record).map(|read| read.map(|s: ExecutionStrategySelected| desk.take_strategy(&s))),
    }
    .is_some()
}

// Outer none: not known now. Inner none: it is no such record, which whoever wrote it must know.
fn decoded<R: AvroRecord>(framing: &mut Framing, record: &Received) -> Option<Option<R>> {
    let Some(value) = record.value.as_deref() else { return Some(None) };
    let bytes = match framing.read(R::FULL_NAME, value).ok()? {
        Frame::Ours(bytes) => R::decode(bytes).ok(),
        Frame::Resolved(bytes) => R::decode(&bytes).ok(),
        Frame::Unreadable(_) => None,
    };
    if bytes.is_none() {
        tracing::warn!(topic = &*record.topic, partition = record.partition, offset = record.offset, "unreadable");
    }
    Some(bytes)
}
