//! The broker's clock: the time that it stamps on a record of a topic with `message.timestamp.type=LogAppendTime`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};

use super::config::ConnectionConfig;
use super::error::ClientError;

#[derive(Clone, Default)]
struct Stamp(Arc<Mutex<Option<Result<Timestamp, String>>>>);

impl ClientContext for Stamp {}

impl ProducerContext for Stamp {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let stamp = match result {
            Ok(message) => Ok(message.timestamp()),
            Err((error, _)) => Err(error.to_string()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
    }
}

/// Milliseconds since 1970-01-01 UTC by the clock of the leader of partition 0, when it appends a record there.
pub(super) fn append_time_ms(config: &ConnectionConfig, topic: &str) -> Result<i64, ClientError> {
    const CALL: &str = "asking for the broker's time";
    let stamp = Stamp::default();
    let producer: BaseProducer<Stamp> = BaseProducer::from_config_and_context(&config.idempotent(), stamp.clone())
        .map_err(|e| ClientError::fatal(CALL, e))?;
    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0).payload(b"time");
    producer.send(record).map_err(|(e, _)| ClientError::retry(CALL, e))?;
    let deadline = Instant::now() + config.admin_timeout();
    loop {
        producer.poll(Duration::from_millis(1));
        match stamp.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Ok(Timestamp::LogAppendTime(ms))) => return Ok(ms),
            Some(Ok(other)) => {
                return Err(ClientError::fatal(CALL, format!("{topic} keeps the writer's time: {other:?}")));
            }
            Some(Err(text)) => return Err(ClientError::retry(CALL, text)),
            None if Instant::now() >= deadline => {
                return Err(ClientError::retry(CALL, format!("no answer in {:?}", config.admin_timeout())));
            }
            None => {}
        }
    }
}
