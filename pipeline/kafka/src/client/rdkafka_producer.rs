//! A transactional producer on librdkafka.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use tracing::{debug, warn};

use super::config::ConnectionConfig;
use super::error::{ClientError, TxnError};
use super::ffi::TopicNames;
use super::rdkafka_consumer::{GroupMetadata, forward_log, partition_list};
use super::retiring::Retiring;
use super::{OffsetEntry, Outgoing, TransactionalProducer, ffi};

/// Longest time that one call of librdkafka waits before delivery errors are looked at.
const SLICE: Duration = Duration::from_millis(50);
const INIT_TIMEOUT: Duration = Duration::from_secs(20);

/// What callbacks saw. They run inside polls, by the thread that has the producer.
#[derive(Default)]
struct Watch {
    transport_errors: AtomicU64,
    delivery_error: Mutex<Option<String>>,
    // Deliveries that failed for another reason than an abort's purge. Their sequence numbers are lost: librdkafka 2.12
    // then fails the next transaction with OUT_OF_ORDER_SEQUENCE_NUMBER.
    sequence_lost: AtomicBool,
}

impl Watch {
    fn take_delivery_error(&self) -> Option<String> {
        self.delivery_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Context(Arc<Watch>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        forward_log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let transport = [
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::OperationTimedOut,
            RDKafkaErrorCode::RequestTimedOut,
        ];
        if error.rdkafka_error_code().is_some_and(|code| transport.contains(&code)) {
            self.0.transport_errors.fetch_add(1, Ordering::Relaxed);
        }
        debug!(target: "librdkafka", %error, reason, "producer");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let purged = [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight];
            if !error.rdkafka_error_code().is_some_and(|code| purged.contains(&code)) {
                self.0.sequence_lost.store(true, Ordering::Relaxed);
            }
            let mut first = self.0.delivery_error.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| format!("{}-{}: {error}", message.topic(), message.partition()));
        }
    }
}

/// A transactional producer on librdkafka.
pub(super) struct RdKafkaProducer {
    inner: Retiring<BaseProducer<Context>>,
    topics: TopicNames,
    watch: Arc<Watch>,
    transactional_id: String,
    socket_timeout: Duration,
    transaction_timeout: Duration,
    transport_errors_at_begin: Option<u64>,
    began: Option<Instant>,
    commit_was_slow: bool,
}

impl RdKafkaProducer {
    pub(super) fn new(config: &ConnectionConfig, transactional_id: &str) -> Result<Self, ClientError> {
        let watch = Arc::new(Watch::default());
        let inner =
            BaseProducer::from_config_and_context(&config.transactional(transactional_id), Context(Arc::clone(&watch)))
                .map_err(|e| ClientError::fatal("new producer", e))?;
        Ok(Self {
            inner: Retiring::new(inner),
            topics: TopicNames::default(),
            watch,
            transactional_id: transactional_id.into(),
            socket_timeout: Duration::from_millis(config.producer.socket_timeout_ms.into()),
            transaction_timeout: Duration::from_millis(config.producer.transaction_timeout_ms.into()),
            transport_errors_at_begin: None,
            began: None,
            commit_was_slow: false,
        })
    }

    /// Handles every waiting event without waiting for more.
    fn drain(&self) {
        // A bound, so that a flood of events cannot hold up the caller for ever.
        for _ in 0..10_000 {
            if ffi::waiting_events(self.inner.client()) == 0 {
                return;
            }
            self.inner.poll(Duration::ZERO);
        }
    }

    /// Repeats `call` in short slices while librdkafka says that the same call resumes. Between them events are looked at:
    /// a failed record stays in the flush's count until its report is taken, and makes the transaction abortable. Once
    /// begun the call must be carried to its end: no other one is accepted meanwhile.
    fn resume(
        &self,
        name: &'static str,
        limit: Duration,
        mut call: impl FnMut(Duration) -> Result<(), TxnError>,
    ) -> Result<(), ClientError> {
        let deadline = Instant::now() + limit;
        loop {
            self.drain();
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match call(left.min(SLICE)) {
                Ok(()) => return Ok(()),
                Err(e) => ClientError::transactional(name, &e),
            };
            if !matches!(error, ClientError::Retry { .. }) {
                return Err(self.told_apart(error));
            }
            if Instant::now() >= deadline {
                return Err(ClientError::Ambiguous { call: name, text: format!("no answer in {limit:?}; {error}") });
            }
        }
    }

    /// The broker's own abort of a transaction that was open too long looks like fencing to a client without KIP-588:
    /// a transaction older than its timeout is rebuilt, a younger one was truly fenced.
    fn told_apart(&self, error: ClientError) -> ClientError {
        match (&error, self.began) {
            (ClientError::Fenced { call, text }, Some(began)) if began.elapsed() >= self.transaction_timeout => {
                ClientError::Fatal { call, text: format!("{text}; the transaction had outlived its timeout") }
            }
            _ => error,
        }
    }
}

impl TransactionalProducer for RdKafkaProducer {
    type GroupMetadata = GroupMetadata;

    fn init(&mut self) -> Result<(), ClientError> {
        let deadline = Instant::now() + INIT_TIMEOUT;
        loop {
            self.drain();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inner.init_transactions(left) {
                Ok(()) => return Ok(()),
                Err(e) => {
                    let error = ClientError::transactional("init_transactions", &TxnError::of(&e));
                    if !matches!(error, ClientError::Retry { .. }) || Instant::now() >= deadline {
                        return Err(error);
                    }
                    warn!(transactional_id = %self.transactional_id, %error, "not yet");
                }
            }
        }
    }

    fn begin(&mut self) -> Result<(), ClientError> {
        self.drain();
        self.watch.take_delivery_error();
        self.transport_errors_at_begin = Some(self.watch.transport_errors.load(Ordering::Relaxed));
        self.began = Some(Instant::now());
        self.inner.begin_transaction().map_err(|e| ClientError::transactional("begin_transaction", &TxnError::of(&e)))
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ClientError> {
        // The clock is asked only when the queue is full.
        let mut since: Option<Instant> = None;
        loop {
            let Err(code) = ffi::produce(self.inner.client(), &mut self.topics, record) else { return Ok(()) };
            let waited = |since: &mut Option<Instant>| since.get_or_insert_with(Instant::now).elapsed();
            if code == RDKafkaErrorCode::QueueFull && waited(&mut since) < self.socket_timeout {
                // The queue drains in the background, and failed records leave it here.
                self.inner.poll(Duration::from_millis(1));
            } else if code == RDKafkaErrorCode::MessageSizeTooLarge {
                let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                return Err(ClientError::TooLarge { topic: record.topic.into(), size });
            } else {
                // Fatal errors and fencing are told by the abort that follows.
                return Err(ClientError::Abort { call: "send", text: code.to_string() });
            }
        }
    }

    fn send_offsets(&mut self, offsets: &[OffsetEntry], group: &GroupMetadata) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let list = partition_list(offsets).map_err(|e| ClientError::fatal("send_offsets", e))?;
        let deadline = Instant::now() + self.socket_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.inner.send_offsets_to_transaction(&list, &group.native, left) {
                Ok(()) => return Ok(()),
                Err(e) => self.told_apart(ClientError::transactional("send_offsets", &TxnError::of(&e))),
            };
            if !matches!(error, ClientError::Retry { .. }) {
                return Err(error);
            }
            if Instant::now() >= deadline {
                return Err(ClientError::Abort { call: "send_offsets", text: error.to_string() });
            }
            self.drain();
        }
    }

    fn commit(&mut self) -> Result<(), ClientError> {
        self.drain();
        if let Some(text) = self.watch.take_delivery_error() {
            return Err(ClientError::Abort { call: "commit_transaction", text });
        }
        let start = Instant::now();
        let client = self.inner.client();
        let limit = self.transaction_timeout;
        let mut done = self.resume("commit_transaction", limit, |slice| ffi::commit_transaction(client, slice));
        self.commit_was_slow = start.elapsed() >= self.socket_timeout;
        if let Some(text) = self.watch.take_delivery_error() {
            done = Err(match done {
                // librdkafka refuses to commit after a failed delivery; if it ever does not, nobody may go on.
                Ok(()) => ClientError::Ambiguous { call: "commit_transaction", text },
                Err(ClientError::Abort { call, .. }) => ClientError::Abort { call, text },
                Err(other) => other,
            });
        }
        if done.is_ok() {
            self.began = None;
        }
        done
    }

    fn abort(&mut self) -> Result<(), ClientError> {
        let inner = &self.inner;
        // An abort purges what is queued, and every purged record is a failed delivery that must be polled away.
        let done = self.resume("abort_transaction", self.transaction_timeout, |slice| {
            inner.abort_transaction(slice).map_err(|e| TxnError::of(&e))
        });
        if self.watch.take_delivery_error().is_some() {
            // What was purged had its sequence numbers; a new producer starts without the gap.
            self.watch.sequence_lost.store(true, Ordering::Relaxed);
        }
        self.began = None;
        done
    }

    fn is_suspect(&mut self) -> bool {
        self.drain();
        let now = self.watch.transport_errors.load(Ordering::Relaxed);
        let lost = self.watch.sequence_lost.load(Ordering::Relaxed);
        lost || self.commit_was_slow || self.transport_errors_at_begin.is_some_and(|then| then != now)
    }
}
