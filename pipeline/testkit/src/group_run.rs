//! A consumer group at work: its workers, their tasks, and one transaction for all tasks of a worker.

use std::ops::ControlFlow;
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::batch::Batch;
use fillstream_core::group::Group;
use fillstream_core::mutant;
use fillstream_core::task::TaskContext;

use crate::cluster::Cluster;
use crate::coordinator::{Outcome, Producer};
use crate::error::{LogError, TestkitError};
use crate::fault::{Fault, FaultPlan};
use crate::log::{Committed, Log};
use crate::restore::{self, Running};
use crate::tables::TableReaders;
use crate::worker::{Outputs, Step, Work, Worker, ids, steps};
use crate::writes::{Write, writes_of};

/// What the workers of all groups share.
pub(crate) struct World {
    pub log: Log,
    pub cluster: Cluster,
    pub plan: FaultPlan,
    pub tables: TableReaders,
    pub context: TaskContext,
    pub transactional_ids: usize,
}

impl World {
    /// Some of the markers on their way reach their partitions.
    pub(crate) fn let_markers_land(&mut self) {
        let mut n = 0;
        while n < self.log.pending_markers() {
            if self.plan.random().coin() { self.log.land(n) } else { n += 1 }
        }
    }

    /// Time passes while somebody waits for a transaction of `by`: a marker lands, or, where none is on its way, the
    /// coordinator times the transaction out.
    pub(crate) fn wait_for(&mut self, by: &str) {
        match self.log.pending_markers() {
            0 => self.log.expire(by),
            pending => {
                let n = self.plan.random().below(pending);
                self.log.land(n);
            }
        }
    }
}

/// When a batch runs.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The one now.
    pub now: TimestampMicros,
    /// Sequence of the tick in paced mode.
    pub tick: Option<i64>,
}

/// A group with its workers.
pub(crate) struct GroupRun {
    pub group: Arc<Group>,
    workers: Vec<Worker>,
}

impl GroupRun {
    /// Starts `workers` workers and gives each a range of the partitions.
    pub(crate) fn start(group: &Arc<Group>, workers: usize, world: &mut World) -> Result<Self, TestkitError> {
        let ids = |worker| ids(group.name(), worker, world.transactional_ids);
        let workers = (0..workers.max(1)).map(|worker| Worker::start(&ids(worker), &mut world.log)).collect();
        let mut run = Self { group: Arc::clone(group), workers };
        world.log.rebalance(group.name());
        let (count, partitions) = (run.workers.len(), world.cluster.partitions());
        for partition in 0..partitions {
            while let Err(e) = restore::found(&mut world.log, group, partition) {
                let TestkitError::Log(LogError::Unstable { by, .. }) = e else { return Err(e) };
                world.wait_for(&by);
            }
            let share = usize::try_from(partition).unwrap_or(0) * count / usize::try_from(partitions).unwrap_or(1);
            run.adopt(share, partition, world)?;
        }
        Ok(run)
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Due time of the next timer of any task.
    pub(crate) fn next_due(&self) -> Option<TimestampMicros> {
        self.tasks().filter_map(|r| r.task.next_due()).min()
    }

    /// Whether every task has drained the instant of `tick`.
    pub(crate) fn complete(&self, tick: i64) -> bool {
        self.tasks().all(|r| r.complete >= tick)
    }

    /// Tasks with their committed offsets.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Running> {
        self.workers.iter().flat_map(|w| w.tasks.values())
    }

    pub(crate) fn tasks_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        self.workers.iter_mut().flat_map(|w| w.tasks.values_mut())
    }

    /// One batch of each task of a worker that has work, in one transaction; `false` when there was none.
    pub(crate) fn step(&mut self, worker: usize, moment: Moment, world: &mut World) -> Result<bool, TestkitError> {
        world.let_markers_land();
        let generation = world.log.generation(self.group.name());
        if self.end_other_transaction(worker, world)?.is_break() {
            return Ok(true);
        }
        let outputs = self.run(worker, moment, world)?;
        if outputs.is_empty() {
            return Ok(false);
        }
        let work = Work { worker, generation, outputs };
        let delayed = self.fresh_producer(worker, world);
        let fault = world.plan.next();
        if let Some(late) = delayed {
            self.meet_delayed_end(&work, &late, world)?;
            return Ok(true);
        }
        match fault {
            None => self.commit(&work, world)?,
            Some(Fault::Abort) => {
                self.perform_part(&work, world)?;
                self.abort(worker, world)?;
            }
            Some(Fault::CrashBeforeCommit) => {
                let ghost = self.producer(worker);
                self.perform_part(&work, world)?;
                self.restart(worker, world)?;
                must_be_fenced(Fault::CrashBeforeCommit, &world.log.commit(&ghost))?;
            }
            Some(Fault::CrashAfterCommit) => {
                self.perform(&work, world)?;
                self.restart(worker, world)?;
            }
            Some(Fault::UnknownCommit) => {
                self.perform_to(&work, steps().len() - usize::from(world.plan.random().coin()), world)?;
                self.restart(worker, world)?;
            }
            Some(Fault::MoveMidBatch) => self.move_mid_batch(&work, world)?,
            Some(Fault::MoveInCommit) => self.move_in_commit(&work, world)?,
            Some(Fault::Move) => {
                self.commit(&work, world)?;
                world.log.rebalance(self.group.name());
                self.hand_over(worker, work.first(), world)?;
            }
            Some(Fault::Timeout) => {
                self.perform_to(&work, steps().len() - 1, world)?;
                world.log.expire(self.producer(worker).id());
                must_be_fenced(Fault::Timeout, &world.log.commit(&self.producer(worker)))?;
                self.restart(worker, world)?;
            }
            Some(Fault::DelayedEnd) => {
                self.perform(&work, world)?;
                self.keep(&work);
                if let Some(w) = self.workers.get_mut(worker) {
                    w.delayed = Some(w.producer());
                }
            }
            Some(Fault::OffsetsLost) => {
                self.perform(&work, world)?;
                self.lose_offsets(worker, work.first(), world)?;
            }
        }
        Ok(true)
    }

    fn run(&mut self, worker: usize, moment: Moment, world: &mut World) -> Result<Outputs, TestkitError> {
        let mut outputs = Outputs::new();
        let Some(tables) = world.tables.of(worker) else { return Ok(outputs) };
        for (partition, running) in self.workers.get_mut(worker).into_iter().flat_map(|w| &mut w.tasks) {
            // Where it comes from, more may have been seen.
            if !tables.has_reached(&running.tables) {
                continue;
            }
            running.poll(&world.log);
            let (now, work) = match moment.tick {
                Some(tick) => (moment.now, running.complete < tick && running.has_read(&world.log, tick)),
                None => {
                    let next = TimestampMicros::from_micros(running.task.now().micros().saturating_add(1));
                    let now = moment.now.max(next);
                    (now, running.task.pending() > 0 || running.task.next_due().is_some_and(|due| due <= now))
                }
            };
            if work {
                let (tables, max_units) = (tables.published(), world.plan.units());
                outputs.push((*partition, running.task.run(&Batch { now, instant: moment.tick, tables, max_units })?));
            }
        }
        Ok(outputs)
    }

    fn commit(&mut self, work: &Work, world: &mut World) -> Result<(), TestkitError> {
        if mutant::is("both transactional ids open at once") && world.transactional_ids > 1 {
            return self.commit_beside(work, world);
        }
        self.perform(work, world)?;
        self.keep(work);
        self.take_turns(work.worker);
        Ok(())
    }

    // A mutant: the next transaction begins before the end of the last one is answered.
    fn commit_beside(&mut self, work: &Work, world: &mut World) -> Result<(), TestkitError> {
        let producer = self.producer(work.worker);
        self.perform_to(work, steps().len() - 1, world)?;
        self.keep(work);
        let open = self.workers.get_mut(work.worker).and_then(|w| w.open.take());
        match open {
            Some(other) if world.plan.random().coin() => {
                world.log.commit(&producer)?;
                self.set_open(work.worker, Some(other));
            }
            Some(other) => {
                world.log.commit(&other)?;
                self.set_open(work.worker, Some(producer));
            }
            None => self.set_open(work.worker, Some(producer)),
        }
        self.take_turns(work.worker);
        Ok(())
    }

    // At its next turn at the latest the mutant's open transaction ends. `Break`: it could not.
    fn end_other_transaction(&mut self, worker: usize, world: &mut World) -> Result<ControlFlow<()>, TestkitError> {
        let turn = self.producer(worker);
        let open = self.workers.get_mut(worker).and_then(|w| w.open.take_if(|open| *open == turn));
        match open.map(|open| world.log.commit(&open)) {
            None | Some(Ok(())) => Ok(ControlFlow::Continue(())),
            Some(Err(_)) => self.restart(worker, world).map(ControlFlow::Break),
        }
    }

    fn set_open(&mut self, worker: usize, open: Option<Producer>) {
        if let Some(w) = self.workers.get_mut(worker) {
            w.open = open;
        }
    }

    fn take_turns(&mut self, worker: usize) {
        if let Some(w) = self.workers.get_mut(worker) {
            w.take_turns();
        }
    }

    // The batches are part of the tasks.
    fn keep(&mut self, work: &Work) {
        for (partition, out) in &work.outputs {
            if let Some(running) = self.workers.get_mut(work.worker).and_then(|w| w.tasks.get_mut(partition)) {
                running.task.commit(out);
                running.done.extend(&out.offsets);
                running.complete = if out.complete { out.record.instant } else { running.complete };
                running.saw(&out.record);
            }
        }
    }

    fn abort(&mut self, worker: usize, world: &mut World) -> Result<(), TestkitError> {
        match world.log.abort(&self.producer(worker)) {
            Ok(()) | Err(LogError::NoTransaction { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        for running in self.workers.get_mut(worker).into_iter().flat_map(|w| w.tasks.values_mut()) {
            running.task.rollback();
        }
        Ok(())
    }

    // The whole transaction.
    fn perform(&self, work: &Work, world: &mut World) -> Result<(), TestkitError> {
        self.perform_to(work, steps().len(), world)
    }

    // Begun, but not all of it; what it writes may be cut short.
    fn perform_part(&self, work: &Work, world: &mut World) -> Result<(), TestkitError> {
        let end = 1 + world.plan.random().below(steps().len() - 1);
        let short = steps().get(end - 1) == Some(&Step::Produce);
        if short {
            self.perform_to(work, end - 1, world)?;
            return self.produce(work, true, world);
        }
        self.perform_to(work, end, world)
    }

    // The first `end` steps of the transaction.
    fn perform_to(&self, work: &Work, end: usize, world: &mut World) -> Result<(), TestkitError> {
        let producer = self.producer(work.worker);
        for step in steps().iter().take(end) {
            match step {
                Step::Begin => world.log.begin(&producer)?,
                Step::Produce => self.produce(work, false, world)?,
                Step::Offsets => self.send_offsets(work, world)?,
                Step::Commit => world.log.commit(&producer)?,
                Step::PlainOffsets => {
                    for (topic, partition, committed) in self.offsets(work, &world.log) {
                        world.log.commit_offset(self.group.name(), &topic, partition, committed);
                    }
                }
            }
        }
        Ok(())
    }

    fn produce(&self, work: &Work, partly: bool, world: &mut World) -> Result<(), TestkitError> {
        let producer = self.producer(work.worker);
        let mut writes: Vec<Write> = Vec::new();
        for (partition, out) in &work.outputs {
            writes.extend(writes_of(self.group.name(), *partition, out, &world.cluster));
        }
        if partly {
            writes.truncate(world.plan.random().below(writes.len() + 1));
        }
        for (topic, partition, record) in writes {
            world.log.append(&producer, &topic, partition, record)?;
        }
        Ok(())
    }

    fn send_offsets(&self, work: &Work, world: &mut World) -> Result<(), LogError> {
        let offsets = self.offsets(work, &world.log);
        let now = world.log.generation(self.group.name());
        let generation = if mutant::is("group metadata at commit time") { now } else { work.generation };
        world.log.send_offsets(&self.producer(work.worker), self.group.name(), generation, offsets)
    }

    fn offsets(&self, work: &Work, log: &Log) -> Vec<(String, i32, Committed)> {
        let tasks = self.workers.get(work.worker).map(|w| &w.tasks);
        work.outputs
            .iter()
            .filter_map(|(partition, out)| Some((tasks?.get(partition)?, out)))
            .flat_map(|(running, out)| running.offsets(log, &out.offsets, out.record.sequence))
            .collect()
    }

    // A producer whose last EndTxn may still be travelling never begins again: a new one fences it.
    fn fresh_producer(&mut self, worker: usize, world: &mut World) -> Option<Producer> {
        let w = self.workers.get_mut(worker)?;
        let delayed = w.delayed.take()?;
        if !mutant::is("begin again on a suspect producer") {
            w.renew(&mut world.log);
        }
        Some(delayed)
    }

    // A late EndTxn of the transaction before arrives when this one is half written; then it is aborted.
    fn meet_delayed_end(&mut self, work: &Work, late: &Producer, world: &mut World) -> Result<(), TestkitError> {
        world.log.begin(&self.producer(work.worker))?;
        self.produce(work, world.plan.random().coin(), world)?;
        // Whether the broker listens is judged by what becomes of the batch.
        let _ = world.log.end_transaction(late, Outcome::Committed);
        match self.abort(work.worker, world) {
            // The client cannot go on: the worker is built anew.
            Err(TestkitError::Log(_)) => self.restart(work.worker, world),
            done => done,
        }
    }

    // Another member takes a task over while this one has a batch of it in hand: before anything of it is written, or
    // after. The generation of the batch's start is stale by then.
    fn move_mid_batch(&mut self, work: &Work, world: &mut World) -> Result<(), TestkitError> {
        let (early, partition) = (world.plan.random().coin(), work.first());
        let successor = self.other(work.worker, world);
        if early && successor != work.worker {
            world.log.rebalance(self.group.name());
            self.adopt(successor, partition, world)?;
        }
        world.log.begin(&self.producer(work.worker))?;
        self.produce(work, false, world)?;
        if !early || successor == work.worker {
            world.log.rebalance(self.group.name());
        }
        match self.send_offsets(work, world) {
            Err(LogError::StaleGeneration { .. }) => self.abort(work.worker, world)?,
            Err(e) => return Err(e.into()),
            // The broker let it through: it goes on as it would.
            Ok(()) => world.log.commit(&self.producer(work.worker))?,
        }
        if early && successor != work.worker {
            if let Some(w) = self.workers.get_mut(work.worker) {
                w.tasks.remove(&partition);
            }
            return Ok(());
        }
        self.hand_over(work.worker, partition, world)
    }

    fn move_in_commit(&mut self, work: &Work, world: &mut World) -> Result<(), TestkitError> {
        let (worker, partition) = (work.worker, work.first());
        let zombie = self.producer(worker);
        self.perform_to(work, steps().len() - 1, world)?;
        world.log.rebalance(self.group.name());
        // The successor waits until the coordinator has timed the transaction out.
        if let Some(w) = self.workers.get_mut(worker) {
            w.tasks.remove(&partition);
        }
        self.adopt(self.other(worker, world), partition, world)?;
        must_be_fenced(Fault::MoveInCommit, &world.log.commit(&zombie))?;
        self.restart(worker, world)
    }

    // A group without its offsets must not start by itself: somebody recovers them first.
    fn lose_offsets(&mut self, worker: usize, partition: i32, world: &mut World) -> Result<(), TestkitError> {
        world.log.land_all();
        let group = Arc::clone(&self.group);
        let mut lost = Vec::new();
        for s in group.subscriptions() {
            let committed = world.log.forget_offset(group.name(), s.input.topic, partition);
            lost.extend(committed.map(|c| (s.input.topic, c)));
        }
        match self.restart(worker, world) {
            Err(TestkitError::Restore { .. }) => {}
            done => return done,
        }
        for (topic, committed) in lost {
            world.log.commit_offset(group.name(), topic, partition, committed);
        }
        self.restart(worker, world)
    }

    // The process dies and comes again: its producer fences what is left open, its tasks are restored.
    fn restart(&mut self, worker: usize, world: &mut World) -> Result<(), TestkitError> {
        let Some(w) = self.workers.get_mut(worker) else { return Ok(()) };
        let partitions = w.restart(&mut world.log);
        for partition in partitions {
            self.adopt(worker, partition, world)?;
            if let Some(w) = self.workers.get_mut(worker) {
                w.owed.remove(&partition);
            }
        }
        Ok(())
    }

    // Gives a task without uncommitted state to another worker.
    fn hand_over(&mut self, worker: usize, partition: i32, world: &mut World) -> Result<(), TestkitError> {
        if let Some(w) = self.workers.get_mut(worker)
            && let Some(running) = w.tasks.remove(&partition)
        {
            w.left.insert(partition, running);
        }
        self.adopt(self.other(worker, world), partition, world)
    }

    // Takes a task on: with the state left behind where no batch has run since, otherwise restored.
    // A transaction that is not decided, or whose markers are on their way, is waited for.
    fn adopt(&mut self, worker: usize, partition: i32, world: &mut World) -> Result<(), TestkitError> {
        loop {
            match self.try_adopt(worker, partition, world) {
                Err(TestkitError::Log(LogError::Unstable { by, .. })) => world.wait_for(&by),
                done => return done,
            }
        }
    }

    fn try_adopt(&mut self, worker: usize, partition: i32, world: &mut World) -> Result<(), TestkitError> {
        let sequence = restore::committed_sequence(&world.log, &self.group, partition)?;
        let Some(w) = self.workers.get_mut(worker) else { return Ok(()) };
        let running = match w.left.remove(&partition) {
            Some(running) if running.task.sequence() == sequence || mutant::is("kept state used again unchecked") => {
                running
            }
            Some(_) | None => restore::restore(&world.log, &self.group, partition, &world.context)?,
        };
        w.tasks.insert(partition, running);
        Ok(())
    }

    fn other(&self, worker: usize, world: &mut World) -> usize {
        let others = self.workers.len().saturating_sub(1).max(1);
        let drawn = (worker + 1 + world.plan.random().below(others)) % self.workers.len().max(1);
        // One whose tables are behind is the hardest case.
        let behind = (0..self.workers.len()).find(|other| *other != worker && world.tables.is_away(*other));
        behind.filter(|_| world.plan.random().coin()).unwrap_or(drawn)
    }

    fn producer(&self, worker: usize) -> Producer {
        self.workers.get(worker).map(Worker::producer).unwrap_or_default()
    }
}

fn must_be_fenced(fault: Fault, result: &Result<(), LogError>) -> Result<(), TestkitError> {
    match result {
        Err(LogError::Fenced { .. } | LogError::NoTransaction { .. }) => Ok(()),
        other => Err(TestkitError::Fault { fault: fault.name(), text: format!("a zombie's commit gave {other:?}") }),
    }
}
