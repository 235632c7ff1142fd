//! A plain, idempotent producer: for what stands outside the engine's transactions (clock ticks, controls, upstream tools).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::Outgoing;
use super::config::ConnectionConfig;
use super::error::ClientError;

#[derive(Clone, Default)]
struct Failures(Arc<Mutex<Option<String>>>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| format!("{}-{}: {error}", message.topic(), message.partition()));
        }
    }
}

/// Writes records in order, each once per call even when a request is repeated; acknowledged by all in-sync replicas.
pub struct Publisher {
    inner: BaseProducer<Failures>,
    failures: Failures,
}

impl Publisher {
    pub(super) fn new(config: &ConnectionConfig) -> Result<Self, ClientError> {
        let failures = Failures::default();
        let inner = BaseProducer::from_config_and_context(&config.idempotent(), failures.clone())
            .map_err(|e| ClientError::fatal("new publisher", e))?;
        Ok(Self { inner, failures })
    }

    /// Enqueues a record; waits while the local queue is full.
    ///
    /// # Errors
    /// [`ClientError::TooLarge`]; [`ClientError::Fatal`] when the client takes no more records.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<(), ClientError> {
        loop {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |all, (key, value)| {
                    all.insert(Header { key, value: Some(*value) })
                });
            let mut base: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(record.topic)
                .partition(record.partition)
                .timestamp(record.timestamp_ms)
                .headers(headers);
            base.key = record.key;
            base.payload = record.value;
            match self.inner.send(base) {
                Ok(()) => {
                    self.inner.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((e, _)) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.inner.poll(Duration::from_millis(5));
                }
                Err((e, _)) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                    return Err(ClientError::TooLarge { topic: record.topic.into(), size });
                }
                Err((e, _)) => return Err(ClientError::fatal("publish", e)),
            }
        }
    }

    /// Waits until every record sent so far is acknowledged.
    ///
    /// # Errors
    /// [`ClientError::Fatal`] naming the first record that was not, [`ClientError::Retry`] when `timeout` passes.
    pub fn flush(&self, timeout: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + timeout;
        while self.inner.in_flight_count() > 0 {
            if Instant::now() >= deadline {
                let text = format!("{} records are not acknowledged after {timeout:?}", self.inner.in_flight_count());
                return Err(ClientError::Retry { call: "flush", text });
            }
            self.inner.poll(Duration::from_millis(1));
        }
        let failure = self.failures.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), |text| Err(ClientError::Fatal { call: "publish", text }))
    }
}
