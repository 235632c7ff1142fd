//! Acknowledgements of controls, one for each session of this process.
//!
//! They are written by a thread of their own, so that a registry or topic that does not answer holds up no heartbeat. An
//! acknowledgement that is lost is only missed by whoever waits for it: the control is in force all the same.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use fillstream_kafka::client::{KafkaClient, Outgoing, PartitionReader, RdKafka, TopicPartition};
use fillstream_kafka::registry::{Framing, SchemaRegistry, framed, value_subject};
use fillstream_reference::phase;
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::execution::{Control, ControlAck};
use tracing::warn;

use super::clock::os_now;
use super::tail::Stop;
use crate::error::GatewayError;

/// Topic of the acknowledgements; it has one partition.
const ACKS: &str = "execution.controls-acks.v1";
/// How often the thread looks whether it is asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Acknowledges what arrives, once all sessions act on it, until asked to stop.
pub(crate) fn write(
    kafka: &RdKafka,
    registry: &Arc<SchemaRegistry>,
    sessions: &[String],
    arrived: &Receiver<Control>,
    stop: &Stop,
) {
    while !stop.is_set() {
        match arrived.recv_timeout(LOOK) {
            Ok(control) => {
                if let Err(error) = acknowledge(kafka, registry, sessions, &control) {
                    let (scope, id) = (control.scope.as_str(), &control.scope_id);
                    warn!(scope, id, version = control.version, %error, "a control is in force but not acknowledged");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

// A publisher of its own each time: controls are rare, and one that has failed takes nothing any more.
fn acknowledge(
    kafka: &RdKafka,
    registry: &Arc<SchemaRegistry>,
    sessions: &[String],
    control: &Control,
) -> Result<(), GatewayError> {
    // It exists, or nobody waits.
    kafka.reader()?.bounds(&TopicPartition::new(ACKS, 0))?;
    let publisher = kafka.publisher()?;
    let id = Framing::new(Arc::clone(registry)).id(&value_subject(ACKS), ControlAck::FULL_NAME)?;
    for session in sessions {
        let ack = ack(session, control);
        publisher.send(&Outgoing {
            topic: ACKS,
            partition: 0,
            key: Some(ack.control.as_bytes()),
            value: Some(&framed(id, &ack.to_bytes())),
            headers: &[],
            timestamp_ms: ack.acknowledged_at.micros() / 1_000,
        })?;
    }
    publisher.flush(Duration::from_secs(5))?;
    Ok(())
}

fn ack(session: &str, control: &Control) -> ControlAck {
    let name = format!("{}/{}", control.scope, control.scope_id);
    ControlAck {
        event_id: format!("{session}/{name}@{}", control.version),
        control: name,
        scope: control.scope,
        scope_id: control.scope_id.clone(),
        version: control.version,
        phase: phase(control),
        set_at: control.set_at,
        stage: "broker-gateway".to_owned(),
        partition: None,
        session: Some(session.to_owned()),
        open_children: None,
        acknowledged_at: os_now(),
    }
}
