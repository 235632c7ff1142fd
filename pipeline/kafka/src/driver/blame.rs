//! Which record makes a stage panic, or write what is too large to be written.
//!
//! A batch does not say. So its task is restored and given one record at a time; the record that fails alone becomes a dead
//! letter: at once for a large output, which will not shrink, after three attempts for a panic, which may have come from
//! elsewhere. A timer that panics has no dead letter to go to without its payload being lost: the worker stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::record::{Envelope, Payload};
use tracing::{error, warn};

use super::error::DriverError;
use super::state::TaskState;
use super::worker::Worker;
use crate::client::{GroupConsumer, KafkaClient, OffsetEntry};

const ATTEMPTS: u32 = 3;

type Coordinates = (Arc<str>, i64);

/// What is known of a task that fails.
#[derive(Default)]
pub(super) struct Blame {
    /// The record offered alone.
    alone: Option<Coordinates>,
    failures: BTreeMap<Coordinates, u32>,
    /// Records that are handed to the task as unreadable.
    guilty: BTreeMap<Coordinates, (&'static str, String)>,
    /// A record came through since.
    progressed: bool,
}

impl Blame {
    /// The envelope as the task may have it.
    pub(super) fn judged(&self, mut envelope: Envelope) -> Envelope {
        let at = (Arc::clone(&envelope.topic), envelope.offset.unwrap_or(-1));
        if let Some((code, text)) = self.guilty.get(&at) {
            let raw = envelope.payload.raw().into();
            envelope.payload = Payload::Unreadable { code: (*code).into(), text: text.clone(), raw };
        }
        envelope
    }

    /// Notes the record that the task gets alone.
    pub(super) fn offered(&mut self, envelope: &Envelope) {
        self.alone = Some((Arc::clone(&envelope.topic), envelope.offset.unwrap_or(-1)));
    }

    /// Whether nothing speaks against whole batches any more.
    pub(super) fn is_over(&self) -> bool {
        self.progressed && self.failures.is_empty() && self.guilty.is_empty()
    }

    /// The record came through.
    pub(super) fn passed(&mut self) {
        self.progressed = true;
        if let Some(at) = self.alone.take() {
            self.failures.remove(&at);
            self.guilty.remove(&at);
        }
    }

    /// Counts a failure; `None` when no record was alone.
    fn failed(&mut self, code: &'static str, text: &str, at_once: bool) -> Option<()> {
        let at = self.alone.take()?;
        let failures = self.failures.entry(at.clone()).or_default();
        *failures += 1;
        if at_once || *failures >= ATTEMPTS {
            error!(topic = %at.0, offset = at.1, code, text, "the record becomes a dead letter");
            self.guilty.insert(at, (code, text.to_owned()));
        }
        Some(())
    }
}

impl<C: KafkaClient> Worker<C> {
    /// Handles the failure of one task's batch; any other error, and a failure without a record to blame, comes back.
    pub(super) fn blame(&mut self, error: DriverError) -> Result<(), DriverError> {
        let (partition, code, at_once) = if let DriverError::Panic { partition, .. } = &error {
            (*partition, "PANIC", false)
        } else if let DriverError::TooLarge { partition, .. } = &error {
            (*partition, "OUTPUT_TOO_LARGE", true)
        } else {
            return Err(error);
        };
        if self.shared.config.paced {
            // There the order of an instant's records is fixed before the first of them runs.
            return Err(error);
        }
        let text = error.to_string();
        match self.blames.get_mut(&partition) {
            None => {
                warn!(group = self.group.name(), partition, text, "the batch's records run one by one");
                self.blames.insert(partition, Blame::default());
            }
            Some(blame) => blame.failed(code, &text, at_once).ok_or(error)?,
        }
        self.meters.aborts.add(1);
        // Batches of other tasks of the same cycle were not written either.
        self.tasks.remove(&partition);
        self.tasks.values_mut().for_each(|t| t.task.rollback());
        self.restore_one(partition)?;
        let positions: Vec<OffsetEntry> = self.tasks.values().flat_map(TaskState::positions).collect();
        self.consumer.assign_at(&positions)?;
        self.tasks.values_mut().flat_map(|t| t.inputs.values_mut()).for_each(|i| i.paused = false);
        Ok(())
    }
}
