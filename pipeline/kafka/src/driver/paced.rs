//! Paced mode: tasks run only on the ticks of the pacer's clock.
//!
//! A batch of an instant must see everything that belongs to it, because its order is by position, not by arrival. What
//! belongs to it was written before its tick. So a tick takes the ends of the task's inputs when it is met, open
//! transactions counted (a committed record may not be readable yet), and waits until all of that is read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use fillstream_core::record::{Envelope, Payload};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::ClockTick;

use super::clock::os_now_us;
use super::error::DriverError;
use super::state::{TaskState, Tick, Work};
use super::worker::Worker;
use crate::client::{KafkaClient, PartitionReader, TopicPartition};

/// Takes a tick in; one that is done already is skipped.
pub(super) fn receive(ticks: &mut VecDeque<Tick>, last_tick: i64, envelope: &Envelope) -> Result<(), DriverError> {
    let offset = envelope.offset.unwrap_or(-1);
    let unreadable = |text: String| DriverError::Unreadable {
        topic: envelope.topic.to_string(),
        partition: envelope.partition,
        offset,
        text,
    };
    let bytes = match &envelope.payload {
        Payload::Avro(bytes) => bytes,
        Payload::Unreadable { code, text, .. } => return Err(unreadable(format!("{code}: {text}"))),
    };
    let value = ClockTick::decode(bytes).map_err(|e| unreadable(e.to_string()))?;
    if value.sequence > last_tick {
        ticks.push_back(Tick { offset, value, targets: None });
    }
    Ok(())
}

/// A committed batch may have ended its tick.
pub(super) fn committed(state: &mut TaskState, work: &Work) {
    if work.clock.is_some() {
        state.last_tick = work.out.record.instant;
        state.ticks.pop_front();
    }
}

impl<C: KafkaClient> Worker<C> {
    /// Runs a batch of every task whose tick can run.
    pub(super) fn run_ticks(&mut self) -> Result<Vec<Work>, DriverError> {
        let level = self.group.level();
        for state in self.tasks.values_mut() {
            while state.ticks.front().is_some_and(|t| t.value.level != level) {
                state.ticks.pop_front();
            }
        }
        self.meet_ticks()?;
        let start = Instant::now();
        let ready: Vec<i32> = self.tasks.iter().filter(|(_, t)| self.can_run(t)).map(|(p, _)| *p).collect();
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        // After the check: a version is published before its positions are.
        let tables = self.shared.hub.pin();
        let started_us = os_now_us();
        let mut work = Vec::with_capacity(ready.len());
        for partition in ready {
            let clock_topic: Arc<str> = self.shared.config.clock_topic.as_str().into();
            let tick = self.tasks.get(&partition).and_then(|t| t.ticks.front());
            let Some((now, sequence, offset)) = tick.map(|t| (t.value.instant, t.value.sequence, t.offset)) else {
                continue;
            };
            if let Some(out) = self.run_task(partition, now, Some(sequence), &tables)? {
                let clock = out.complete.then(|| (clock_topic, offset.saturating_add(1)));
                work.push(Work { partition, out, started_us, clock });
            }
        }
        self.meters.process_seconds.observe(start.elapsed());
        Ok(work)
    }

    /// Asks for the ends of the inputs of all tasks that have met a tick, in one request.
    fn meet_ticks(&mut self) -> Result<(), DriverError> {
        let met = |t: &&mut TaskState| t.ticks.front().is_some_and(|tick| tick.targets.is_none());
        let mut tps: Vec<TopicPartition> = Vec::new();
        for state in self.tasks.values_mut().filter(met) {
            tps.extend(state.inputs.values().filter(|i| !i.is_clock).map(|i| i.tp.clone()));
        }
        if tps.is_empty() {
            return Ok(());
        }
        let ends = self.retrying("ends of inputs", |w| Ok(w.reader.ends(&tps)?))?;
        for (partition, state) in &mut self.tasks {
            if let Some(tick) = state.ticks.front_mut().filter(|t| t.targets.is_none()) {
                tick.targets = Some(ends.iter().filter(|(tp, _)| tp.partition == *partition).cloned().collect());
            }
        }
        Ok(())
    }

    fn can_run(&self, state: &TaskState) -> bool {
        let Some(tick) = state.ticks.front() else { return false };
        let Some(targets) = &tick.targets else { return false };
        let read = targets
            .iter()
            .all(|(tp, end)| state.inputs.get(&tp.topic).is_some_and(|i| i.position >= *end && i.raw.is_empty()));
        let tables: Vec<(TopicPartition, i64)> = tick
            .value
            .tables
            .iter()
            .map(|t| (TopicPartition::new(t.topic.as_str(), t.partition), t.offset))
            .filter(|(tp, _)| self.shared.hub.partitions().contains(tp))
            .collect();
        read && self.shared.hub.has_reached(&tables)
    }
}
