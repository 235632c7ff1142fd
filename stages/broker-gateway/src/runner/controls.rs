//! Controls, read directly, and the proof that they are up to date.
//!
//! Live, a thread writes a heartbeat into the controls' one partition and reads it back: whatever was appended before the
//! heartbeat has then been read too. So the controls are complete up to the moment right before the write of the last
//! heartbeat that came back. In paced mode each tick names the position that belongs to it.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_kafka::client::{KafkaClient, Outgoing, Publisher, RdKafka, RdKafkaReader, TopicPartition};
use fillstream_kafka::registry::{Framing, SchemaRegistry, framed, value_subject};
use fillstream_reference::Controls;
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::execution::Control;
use tracing::{error, warn};

use super::clock::os_now;
use super::tail::{Stop, Tail};
use super::wire;
use crate::boot_clock::BootInstant;
use crate::error::GatewayError;

/// Topic of the controls.
pub(crate) const CONTROLS: &str = "execution.controls.v1";
/// Longest wait for the acknowledgement of a heartbeat.
const ACK_WITHIN: Duration = Duration::from_secs(2);
/// Heartbeats on their way that are remembered.
const IN_FLIGHT: usize = 64;

/// What the sessions of a process share of the controls.
#[derive(Debug, Default)]
pub(crate) struct ControlsView {
    published: RwLock<Published>,
}

#[derive(Clone, Debug, Default)]
struct Published {
    controls: Controls,
    complete_at: Option<BootInstant>,
}

impl ControlsView {
    /// The controls, and whether they were complete at most `stale_after` ago.
    pub(crate) fn get(&self, stale_after: Duration) -> (Controls, bool) {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = published.complete_at.is_some_and(|at| at.elapsed() <= stale_after);
        (published.controls, fresh)
    }

    fn publish(&self, controls: Controls, complete_at: Option<BootInstant>) {
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Published { controls, complete_at };
    }
}

/// Reads the controls.
pub(crate) struct Follower {
    tail: Tail<RdKafkaReader>,
    framing: Framing,
    controls: Controls,
}

impl Follower {
    pub(crate) fn new(kafka: &RdKafka, registry: &Arc<SchemaRegistry>) -> Result<Self, GatewayError> {
        let tail = Tail::new(kafka.follower()?, TopicPartition::new(CONTROLS, 0), 0)?;
        let framing = Framing::new(Arc::clone(registry));
        Ok(Self { tail, framing, controls: Controls::default() })
    }

    /// Where the controls end now.
    pub(crate) fn end(&self) -> Result<i64, GatewayError> {
        Ok(self.tail.end()?)
    }

    /// Reads on to a position; gives the controls on the way that were taken.
    pub(crate) fn reach(&mut self, position: i64, stop: &Stop) -> Result<Vec<Control>, GatewayError> {
        let mut taken = Vec::new();
        for record in self.tail.read_to(position, stop)? {
            taken.extend(self.take(&record)?);
        }
        Ok(taken)
    }

    /// The controls as far as they are read.
    pub(crate) fn controls(&self) -> &Controls {
        &self.controls
    }

    // Takes a record in; gives it if it is a control that counts.
    fn take(&mut self, record: &fillstream_kafka::client::Received) -> Result<Option<Control>, GatewayError> {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let value = record.value.as_deref().map(|value| wire::payload(&mut self.framing, Control::FULL_NAME, value));
        let value = match value.transpose()?.transpose() {
            Ok(value) => value,
            Err(unreadable) => {
                error!(
                    key,
                    offset = record.offset,
                    code = unreadable.code,
                    text = unreadable.text,
                    "unreadable control"
                );
                return Ok(None);
            }
        };
        let row = TableRow {
            topic: CONTROLS,
            partition: record.partition,
            offset: record.offset,
            key: &key,
            value: value.as_deref(),
            event_time: None,
        };
        if let Err(error) = Table::apply(&mut self.controls, &row) {
            error!(key, offset = record.offset, %error, "a control was refused; the last one stays");
            return Ok(None);
        }
        let control = value.as_deref().and_then(|value| Control::decode(value).ok());
        Ok(control.filter(|control| !control.heartbeat))
    }
}

/// The heartbeats of this process.
struct Heart {
    publisher: Publisher,
    framing: Framing,
    writer: String,
    sent: VecDeque<(TimestampMicros, BootInstant)>,
}

impl Heart {
    fn beat(&mut self) -> Result<(), GatewayError> {
        let beat = Control {
            scope: ControlScope::Firm,
            scope_id: self.writer.clone(),
            actor: self.writer.clone(),
            reason: "heartbeat".to_owned(),
            set_at: os_now(),
            heartbeat: true,
            ..Control::default()
        };
        let id = self.framing.id(&value_subject(CONTROLS), Control::FULL_NAME)?;
        let (key, value) = (format!("heartbeat/{}", self.writer), framed(id, &beat.to_bytes()));
        // Taken before the write: the controls are complete up to here once the beat comes back.
        let before = BootInstant::now();
        self.publisher.send(&Outgoing {
            topic: CONTROLS,
            partition: 0,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &[],
            timestamp_ms: beat.set_at.micros() / 1_000,
        })?;
        if self.sent.len() == IN_FLIGHT {
            self.sent.pop_front();
        }
        self.sent.push_back((beat.set_at, before));
        Ok(())
    }

    /// The moment before the write of the last beat that was read back.
    fn returned(&mut self, last_read: Option<TimestampMicros>) -> Option<BootInstant> {
        let last_read = last_read?;
        let at = self.sent.iter().rposition(|(set_at, _)| *set_at == last_read)?;
        let (_, before) = *self.sent.get(at)?;
        self.sent.drain(..=at);
        Some(before)
    }
}

/// Keeps `view` up to date until asked to stop, and tells each control that it has come to hold. A failure makes the view stale, which stops new orders; it is tried again.
pub(crate) fn keep(
    kafka: &RdKafka,
    registry: &Arc<SchemaRegistry>,
    instance: &str,
    every: Duration,
    view: &ControlsView,
    told: &Sender<Control>,
    stop: &Stop,
) {
    while !stop.is_set() {
        if let Err(error) = keep_once(kafka, registry, instance, every, view, told, stop) {
            error!(%error, "controls cannot be followed: no new order is sent until they can");
            stop.pause(Duration::from_millis(100));
        }
    }
}

fn keep_once(
    kafka: &RdKafka,
    registry: &Arc<SchemaRegistry>,
    instance: &str,
    every: Duration,
    view: &ControlsView,
    told: &Sender<Control>,
    stop: &Stop,
) -> Result<(), GatewayError> {
    let mut follower = Follower::new(kafka, registry)?;
    let end = follower.tail.end()?;
    let mut taken = follower.reach(end, stop)?;
    let mut heart = Heart {
        publisher: kafka.publisher()?,
        framing: Framing::new(Arc::clone(registry)),
        writer: format!("broker-gateway.{instance}"),
        sent: VecDeque::new(),
    };
    let mut complete_at = None;
    let mut next_beat = BootInstant::now();
    while !stop.is_set() {
        if next_beat.left().is_zero() {
            heart.beat()?;
            next_beat = BootInstant::now().plus(every);
        }
        let Some(record) = follower.tail.poll(next_beat.left())? else { continue };
        taken.extend(follower.take(&record)?);
        let last_read = follower.controls.last_heartbeat(&heart.writer);
        complete_at = heart.returned(last_read).or(complete_at);
        view.publish(follower.controls.clone(), complete_at);
        // Every session acts on them from here on. Where nobody acknowledges, nobody listens.
        taken.drain(..).for_each(|control| drop(told.send(control)));
    }
    if let Err(error) = heart.publisher.flush(ACK_WITHIN) {
        warn!(%error, "the last heartbeat may be missing");
    }
    Ok(())
}

/// The controls of a process in paced mode: read only as far as the ticks say.
pub(crate) type PacedControls = Arc<Mutex<Follower>>;
