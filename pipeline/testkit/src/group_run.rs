//! A consumer group at work: its workers, their tasks, and one transaction for all tasks of a worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::batch::{Batch, BatchOutput, OutDeadLetter};
use fillstream_core::codec::AvroRecord;
use fillstream_core::group::Group;
use fillstream_core::record::{ChangelogEntry, OutRecord, Payload, header};
use fillstream_core::task::TaskContext;

use crate::cluster::Cluster;
use crate::error::{LogError, TestkitError};
use crate::fault::{Fault, FaultPlan};
use crate::log::{Log, LogRecord, Producer};
use crate::restore::{self, Running, SEQUENCE};
use crate::tables::{Positions, TableReader};

/// What the workers of all groups share.
pub(crate) struct World {
    pub log: Log,
    pub cluster: Cluster,
    pub plan: FaultPlan,
    pub tables: TableReader,
    pub context: TaskContext,
    /// Table positions that each batch saw, by (group, partition, sequence): what a replay needs.
    pub evidence: BTreeMap<(String, i32, i64), Positions>,
}

/// When a batch runs.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub now: TimestampMicros,
    /// Sequence of the tick in paced mode.
    pub tick: Option<i64>,
}

/// A worker: one transactional producer and the tasks assigned to it.
struct Worker {
    producer: Producer,
    tasks: BTreeMap<i32, Running>,
    /// States of tasks that went elsewhere.
    left: BTreeMap<i32, Running>,
}

/// A group with its workers.
pub(crate) struct GroupRun {
    pub group: Arc<Group>,
    workers: Vec<Worker>,
}

type Outputs = Vec<(i32, BatchOutput)>;
type Write = (String, i32, LogRecord);

impl GroupRun {
    /// Starts `workers` workers and gives each a range of the partitions.
    pub(crate) fn start(group: &Arc<Group>, workers: usize, world: &mut World) -> Result<Self, TestkitError> {
        let id = |worker| format!("fillstream.{}.{worker}", group.name());
        let workers = (0..workers.max(1))
            .map(|worker| Worker {
                producer: world.log.init_transactions(&id(worker)),
                tasks: BTreeMap::new(),
                left: BTreeMap::new(),
            })
            .collect();
        let mut run = Self { group: Arc::clone(group), workers };
        world.log.rebalance(group.name());
        let (count, partitions) = (run.workers.len(), world.cluster.partitions());
        for partition in 0..partitions {
            restore::found(&mut world.log, group, partition)?;
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
        let generation = world.log.generation(self.group.name());
        let outputs = self.run(worker, moment, world)?;
        if outputs.is_empty() {
            return Ok(false);
        }
        match world.plan.next() {
            None => self.commit(worker, generation, &outputs, world)?,
            Some(Fault::Abort) => {
                self.produce(worker, &outputs, true, world)?;
                self.abort(worker, world)?;
            }
            Some(Fault::CrashBeforeCommit) => self.crash_before_commit(worker, generation, &outputs, world)?,
            Some(Fault::CrashAfterCommit) => {
                self.send(worker, generation, &outputs, world)?;
                world.log.commit(&self.producer(worker))?;
                self.restart(worker, world)?;
            }
            Some(Fault::UnknownCommit) => {
                self.send(worker, generation, &outputs, world)?;
                if world.plan.random().coin() {
                    world.log.commit(&self.producer(worker))?;
                }
                self.restart(worker, world)?;
            }
            Some(Fault::MoveMidBatch) => self.move_mid_batch(worker, generation, &outputs, world)?,
            Some(Fault::MoveInCommit) => self.move_in_commit(worker, generation, &outputs, world)?,
            Some(Fault::Move) => {
                self.commit(worker, generation, &outputs, world)?;
                if let Some((partition, _)) = outputs.first() {
                    world.log.rebalance(self.group.name());
                    self.hand_over(worker, *partition, world)?;
                }
            }
        }
        Ok(true)
    }

    fn run(&mut self, worker: usize, moment: Moment, world: &mut World) -> Result<Outputs, TestkitError> {
        let mut outputs = Outputs::new();
        for (partition, running) in self.workers.get_mut(worker).into_iter().flat_map(|w| &mut w.tasks) {
            running.poll(&world.log);
            let (now, work) = match moment.tick {
                Some(tick) => (moment.now, running.complete < tick),
                None => {
                    let next = TimestampMicros::from_micros(running.task.now().micros().saturating_add(1));
                    let now = moment.now.max(next);
                    (now, running.task.pending() > 0 || running.task.next_due().is_some_and(|due| due <= now))
                }
            };
            if work {
                let (tables, max_units) = (world.tables.published(), world.plan.units());
                outputs.push((*partition, running.task.run(&Batch { now, instant: moment.tick, tables, max_units })?));
            }
        }
        Ok(outputs)
    }

    fn commit(
        &mut self,
        worker: usize,
        generation: u32,
        outputs: &Outputs,
        world: &mut World,
    ) -> Result<(), TestkitError> {
        self.send(worker, generation, outputs, world)?;
        world.log.commit(&self.producer(worker))?;
        for (partition, out) in outputs {
            if let Some(running) = self.workers.get_mut(worker).and_then(|w| w.tasks.get_mut(partition)) {
                running.task.commit(out);
                running.done.extend(&out.offsets);
                running.complete = if out.complete { out.record.instant } else { running.complete };
            }
        }
        Ok(())
    }

    fn abort(&mut self, worker: usize, world: &mut World) -> Result<(), TestkitError> {
        world.log.abort(&self.producer(worker))?;
        for running in self.workers.get_mut(worker).into_iter().flat_map(|w| w.tasks.values_mut()) {
            running.task.rollback();
        }
        Ok(())
    }

    // The whole transaction but its commit.
    fn send(
        &mut self,
        worker: usize,
        generation: u32,
        outputs: &Outputs,
        world: &mut World,
    ) -> Result<(), TestkitError> {
        self.produce(worker, outputs, false, world)?;
        self.send_offsets(worker, generation, outputs, world)?;
        Ok(())
    }

    fn produce(&self, worker: usize, outputs: &Outputs, partly: bool, world: &mut World) -> Result<(), TestkitError> {
        let producer = self.producer(worker);
        let mut writes: Vec<Write> = Vec::new();
        for (partition, out) in outputs {
            let at = (self.group.name().to_owned(), *partition, out.record.sequence);
            world.evidence.insert(at, world.tables.published().positions().clone());
            writes.extend(writes_of(self.group.name(), *partition, out, &world.cluster));
        }
        if partly {
            writes.truncate(world.plan.random().below(writes.len() + 1));
        }
        world.log.begin(&producer)?;
        for (topic, partition, record) in writes {
            world.log.append(&producer, &topic, partition, record)?;
        }
        Ok(())
    }

    fn send_offsets(
        &self,
        worker: usize,
        generation: u32,
        outputs: &Outputs,
        world: &mut World,
    ) -> Result<(), LogError> {
        let tasks = self.workers.get(worker).map(|w| &w.tasks);
        let offsets: Vec<_> = outputs
            .iter()
            .filter_map(|(partition, out)| Some((tasks?.get(partition)?, out)))
            .flat_map(|(running, out)| running.offsets(&world.log, &out.offsets, out.record.sequence))
            .collect();
        world.log.send_offsets(&self.producer(worker), self.group.name(), generation, offsets)
    }

    fn crash_before_commit(
        &mut self,
        worker: usize,
        generation: u32,
        outputs: &Outputs,
        world: &mut World,
    ) -> Result<(), TestkitError> {
        let ghost = self.producer(worker);
        self.produce(worker, outputs, true, world)?;
        if world.plan.random().coin() {
            self.send_offsets(worker, generation, outputs, world)?;
        }
        self.restart(worker, world)?;
        must_be_fenced(Fault::CrashBeforeCommit, &world.log.commit(&ghost))
    }

    fn move_mid_batch(
        &mut self,
        worker: usize,
        generation: u32,
        outputs: &Outputs,
        world: &mut World,
    ) -> Result<(), TestkitError> {
        self.produce(worker, outputs, false, world)?;
        world.log.rebalance(self.group.name());
        let sent = self.send_offsets(worker, generation, outputs, world);
        if !matches!(sent, Err(LogError::StaleGeneration { .. })) {
            let text = format!("offsets of a stale generation: {sent:?}");
            return Err(TestkitError::Fault { fault: Fault::MoveMidBatch.name(), text });
        }
        self.abort(worker, world)?;
        match outputs.first() {
            Some((partition, _)) => self.hand_over(worker, *partition, world),
            None => Ok(()),
        }
    }

    fn move_in_commit(
        &mut self,
        worker: usize,
        generation: u32,
        outputs: &Outputs,
        world: &mut World,
    ) -> Result<(), TestkitError> {
        let Some((partition, _)) = outputs.first() else { return Ok(()) };
        let zombie = self.producer(worker);
        self.send(worker, generation, outputs, world)?;
        world.log.rebalance(self.group.name());
        let early = restore::restore(&world.log, &self.group, *partition, &world.context);
        if !matches!(early, Err(TestkitError::Log(LogError::Unstable { .. }))) {
            let text = "the successor restored beside an open transaction".to_owned();
            return Err(TestkitError::Fault { fault: Fault::MoveInCommit.name(), text });
        }
        world.log.expire(zombie.id());
        if let Some(w) = self.workers.get_mut(worker) {
            w.tasks.remove(partition);
        }
        self.adopt(self.other(worker, world), *partition, world)?;
        must_be_fenced(Fault::MoveInCommit, &world.log.commit(&zombie))?;
        self.restart(worker, world)
    }

    // The process dies and comes again: its producer fences what is left open, its tasks are restored.
    fn restart(&mut self, worker: usize, world: &mut World) -> Result<(), TestkitError> {
        let Some(w) = self.workers.get_mut(worker) else { return Ok(()) };
        let partitions: Vec<i32> = std::mem::take(&mut w.tasks).into_keys().collect();
        w.left.clear();
        w.producer = world.log.init_transactions(w.producer.id());
        partitions.into_iter().try_for_each(|partition| self.adopt(worker, partition, world))
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
    fn adopt(&mut self, worker: usize, partition: i32, world: &mut World) -> Result<(), TestkitError> {
        let sequence = restore::committed_sequence(&world.log, &self.group, partition)?;
        let Some(w) = self.workers.get_mut(worker) else { return Ok(()) };
        let running = match w.left.remove(&partition) {
            Some(running) if running.task.sequence() == sequence => running,
            Some(_) | None => restore::restore(&world.log, &self.group, partition, &world.context)?,
        };
        w.tasks.insert(partition, running);
        Ok(())
    }

    fn other(&self, worker: usize, world: &mut World) -> usize {
        let others = self.workers.len().saturating_sub(1).max(1);
        (worker + 1 + world.plan.random().below(others)) % self.workers.len().max(1)
    }

    fn producer(&self, worker: usize) -> Producer {
        self.workers.get(worker).map(|w| w.producer.clone()).unwrap_or_default()
    }
}

fn must_be_fenced(fault: Fault, result: &Result<(), LogError>) -> Result<(), TestkitError> {
    match result {
        Err(LogError::Fenced { .. }) => Ok(()),
        other => Err(TestkitError::Fault { fault: fault.name(), text: format!("a zombie's commit gave {other:?}") }),
    }
}

// Everything that a batch writes for a task.
fn writes_of(group: &str, partition: i32, out: &BatchOutput, cluster: &Cluster) -> Vec<Write> {
    let sequence = out.record.sequence;
    let mut writes: Vec<Write> = Vec::new();
    for record in &out.outputs {
        writes.push((record.topic.to_owned(), cluster.partition_of(record.topic, &record.key), output(record)));
    }
    for letter in &out.dead_letters {
        writes.push((format!("{}.dlq", letter.stage), partition, dead_letter(letter)));
    }
    for entry in &out.changelog {
        writes.push((restore::changelog_topic(group), partition, change(entry, sequence, out.record.now)));
    }
    let journal = LogRecord {
        key: partition.to_string().into(),
        value: Some(Payload::Avro(out.record.to_bytes().into())),
        headers: Vec::new(),
        timestamp: out.record.now,
    };
    writes.push((restore::journal_topic(group), partition, journal));
    writes
}

/// The record of the log that an output becomes.
pub(crate) fn output(record: &OutRecord) -> LogRecord {
    let mut headers = vec![
        (header::LINEAGE.to_owned(), record.lineage.as_bytes().to_vec()),
        (header::TIME.to_owned(), record.event_time.micros().to_be_bytes().to_vec()),
        (header::ORDER.to_owned(), record.order.to_vec()),
    ];
    headers.extend(record.position.iter().map(|p| (header::POSITION.to_owned(), p.to_vec())));
    headers.extend(record.origin_us.iter().map(|o| (header::ORIGIN.to_owned(), o.to_be_bytes().to_vec())));
    headers.extend(record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())));
    let value = Some(Payload::Avro(Arc::clone(&record.payload)));
    LogRecord { key: Arc::clone(&record.key), value, headers, timestamp: record.event_time }
}

/// The record of the log that a dead letter becomes.
pub(crate) fn dead_letter(letter: &OutDeadLetter) -> LogRecord {
    let headers = vec![
        (header::LINEAGE.to_owned(), letter.lineage.as_bytes().to_vec()),
        (header::TIME.to_owned(), letter.event_time.micros().to_be_bytes().to_vec()),
    ];
    let value = Some(Payload::Avro(Arc::clone(&letter.payload)));
    LogRecord { key: Arc::clone(&letter.key), value, headers, timestamp: letter.event_time }
}

/// The record of the log that a changelog entry becomes.
pub(crate) fn change(entry: &ChangelogEntry, sequence: i64, now: TimestampMicros) -> LogRecord {
    LogRecord {
        key: format!("{}/{}", entry.store, entry.key).into(),
        value: entry.value.as_deref().map(|v| Payload::Avro(v.into())),
        headers: vec![(SEQUENCE.to_owned(), sequence.to_be_bytes().to_vec())],
        timestamp: now,
    }
}
