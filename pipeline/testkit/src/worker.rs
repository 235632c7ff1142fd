//! A worker: its transactional ids, its tasks, and the batches it has in hand.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_core::batch::BatchOutput;
use fillstream_core::mutant;

use crate::coordinator::Producer;
use crate::log::Log;
use crate::restore::Running;

pub(crate) struct Worker {
    /// Its transactional ids take turns; the turn is the first one's.
    producers: Vec<Producer>,
    pub tasks: BTreeMap<i32, Running>,
    /// States of tasks that went elsewhere.
    pub left: BTreeMap<i32, Running>,
    /// Partitions that a restart could not restore.
    pub owed: BTreeSet<i32>,
    /// A producer whose EndTxn is still travelling.
    pub delayed: Option<Producer>,
    /// A mutant's: a producer whose transaction is open although the turn has passed on.
    pub open: Option<Producer>,
}

impl Worker {
    /// Initialises its ids.
    pub(crate) fn start(ids: &[String], log: &mut Log) -> Self {
        Self {
            producers: ids.iter().map(|id| log.init_transactions(id)).collect(),
            tasks: BTreeMap::new(),
            left: BTreeMap::new(),
            owed: BTreeSet::new(),
            delayed: None,
            open: None,
        }
    }

    /// The one whose turn it is.
    pub(crate) fn producer(&self) -> Producer {
        self.producers.first().cloned().unwrap_or_default()
    }

    /// The next transaction is another id's.
    pub(crate) fn take_turns(&mut self) {
        self.producers.rotate_left(1);
    }

    /// Fences the producer whose turn it is.
    pub(crate) fn renew(&mut self, log: &mut Log) {
        if let Some(producer) = self.producers.first_mut() {
            *producer = log.init_transactions(producer.id());
        }
    }

    /// The process dies and comes again: its ids fence what is left open. Returns the partitions it had.
    pub(crate) fn restart(&mut self, log: &mut Log) -> BTreeSet<i32> {
        // What could not be restored the last time is still its own.
        let mut partitions = std::mem::take(&mut self.owed);
        partitions.extend(std::mem::take(&mut self.tasks).into_keys());
        let ids: Vec<String> = self.producers.iter().map(|p| p.id().to_owned()).collect();
        *self = Self { owed: partitions.clone(), ..Self::start(&ids, log) };
        partitions
    }
}

/// Transactional ids of worker `worker` of a group.
pub(crate) fn ids(group: &str, worker: usize, count: usize) -> Vec<String> {
    (0..count.max(1)).map(|n| format!("fillstream.{group}.{worker}.{n}")).collect()
}

/// What each task's batch gave.
pub(crate) type Outputs = Vec<(i32, BatchOutput)>;

/// Batches in hand of a worker's tasks.
pub(crate) struct Work {
    pub worker: usize,
    /// Of the group, when the batches began.
    pub generation: u32,
    pub outputs: Outputs,
}

impl Work {
    pub(crate) fn first(&self) -> i32 {
        self.outputs.first().map_or(0, |(partition, _)| *partition)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Begin,
    Produce,
    Offsets,
    Commit,
    PlainOffsets,
}

/// What a worker does with a batch.
pub(crate) fn steps() -> &'static [Step] {
    if mutant::is("commit before produce") {
        return &[Step::Begin, Step::Offsets, Step::Commit, Step::Begin, Step::Produce, Step::Commit];
    }
    if mutant::is("offsets outside the transaction") {
        return &[Step::Begin, Step::Produce, Step::Commit, Step::PlainOffsets];
    }
    &[Step::Begin, Step::Produce, Step::Offsets, Step::Commit]
}
