//! A task with what the driver knows of its inputs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_core::batch::BatchOutput;
use fillstream_core::task::Task;
use fillstream_schemas::execution::ClockTick;

use super::metadata::OffsetMetadata;
use crate::client::{OffsetEntry, Received, TopicPartition};

/// One input partition of a task.
pub(super) struct Input {
    pub(super) tp: TopicPartition,
    /// Contract of its values.
    pub(super) schema: &'static str,
    /// Whether it is the pacer's clock, which no stage reads.
    pub(super) is_clock: bool,
    /// UUID of the topic.
    pub(super) uuid: String,
    /// Next offset as committed.
    pub(super) committed: i64,
    /// Next offset to be read: what is below was received, and is committed, offered to the task or in `raw`.
    pub(super) next: i64,
    /// Everything below is received or is never delivered; at least `next`.
    pub(super) position: i64,
    /// Received and not yet offered.
    pub(super) raw: VecDeque<Received>,
    /// Fetching is stopped: its records cannot be read now.
    pub(super) paused: bool,
}

impl Input {
    pub(super) fn new(tp: TopicPartition, schema: &'static str, is_clock: bool, uuid: String, offset: i64) -> Self {
        let raw = VecDeque::new();
        Self { tp, schema, is_clock, uuid, committed: offset, next: offset, position: offset, raw, paused: false }
    }

    /// Notes that `record` is here; `None` where it is not one to come.
    pub(super) fn expect(&mut self, record: &Received) -> Option<&mut Self> {
        if record.offset < self.next {
            return None;
        }
        self.next = record.offset.saturating_add(1);
        self.position = self.position.max(self.next);
        Some(self)
    }
}

/// A tick of the pacer's clock.
pub(super) struct Tick {
    pub(super) offset: i64,
    pub(super) value: ClockTick,
    /// Ends of the task's inputs when the tick was met; everything of the instant is below.
    pub(super) targets: Option<Vec<(TopicPartition, i64)>>,
}

/// A task with its inputs.
pub(super) struct TaskState {
    pub(super) task: Task,
    /// By topic; in paced mode the clock is among them.
    pub(super) inputs: BTreeMap<Arc<str>, Input>,
    /// Ticks not yet done, in order.
    pub(super) ticks: VecDeque<Tick>,
    /// Sequence of the last tick that is done.
    pub(super) last_tick: i64,
    /// When its last snapshot was begun; `None`: not since it was restored.
    pub(super) snapshot_at: Option<Instant>,
}

/// What a transaction writes for a task.
pub(super) struct Work {
    pub(super) partition: i32,
    pub(super) out: BatchOutput,
    /// OS time at which the batch began, microseconds.
    pub(super) started_us: i64,
    /// The clock's next offset, when the batch ends its tick.
    pub(super) clock: Option<(Arc<str>, i64)>,
}

impl TaskState {
    /// Offsets that the batch commits. At least one, so that the offsets carry the sequence of every batch.
    pub(super) fn offsets(&self, work: &Work) -> Vec<OffsetEntry> {
        let mut wanted: BTreeMap<&str, i64> = work.out.offsets.iter().map(|(topic, next)| (*topic, *next)).collect();
        if let Some((topic, next)) = &work.clock {
            wanted.insert(topic, *next);
        }
        if wanted.is_empty()
            && let Some((topic, input)) = self.inputs.first_key_value()
        {
            wanted.insert(topic, input.committed);
        }
        wanted
            .into_iter()
            .filter_map(|(topic, offset)| self.inputs.get(topic).map(|input| (input, offset)))
            .map(|(input, offset)| OffsetEntry {
                tp: input.tp.clone(),
                offset,
                metadata: OffsetMetadata { sequence: work.out.record.sequence, topic_uuid: input.uuid.clone() }
                    .to_string(),
            })
            .collect()
    }

    /// The batch is committed.
    pub(super) fn committed(&mut self, work: &Work) {
        for entry in self.offsets(work) {
            if let Some(input) = self.inputs.get_mut(&entry.tp.topic) {
                input.committed = entry.offset;
            }
        }
        self.task.commit(&work.out);
    }

    /// Begins a snapshot where it is time for one. A task that was just restored begins with one: the last may be long ago.
    pub(super) fn snapshot(&mut self, every: Duration, part_bytes: usize) {
        if !every.is_zero() && self.snapshot_at.is_none_or(|at| at.elapsed() >= every) {
            self.task.begin_snapshot(part_bytes);
            self.snapshot_at = Some(Instant::now());
        }
    }

    /// Where reading goes on.
    pub(super) fn positions(&self) -> impl Iterator<Item = OffsetEntry> {
        self.inputs.values().map(|i| OffsetEntry { tp: i.tp.clone(), offset: i.next, metadata: String::new() })
    }
}
