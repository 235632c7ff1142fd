//! A task: the fused stages of a group with their state for one partition number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use fillstream_domain::TimestampMicros;
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::engine::{DeadLetter, JournalRecord, TimerEntry};

use crate::batch::{Batch, BatchOutput, Identity, OutDeadLetter, Root, RootWork, Waiting};
use crate::cascade::{Cascade, Queue};
use crate::error::EngineError;
use crate::group::{Group, Subscription};
use crate::instance::AnyInstance;
use crate::lineage::Lineage;
use crate::mutant;
use crate::position::Position;
use crate::reads::{Journalled, noting};
use crate::record::{ChangelogEntry, Envelope};
use crate::snapshot::Sweep;
use crate::timer::Timers;
use crate::trace::{Sampler, TraceContext};

/// Where a key of a topic belongs.
pub type Partitioner = Arc<dyn Fn(&str, &str) -> i32 + Send + Sync>;

/// What a task knows of its surroundings.
#[derive(Clone)]
pub struct TaskContext {
    /// Partition of a key.
    pub partitioner: Partitioner,
    /// Hash of the configuration in force.
    pub config_hash: String,
    /// Version of the code.
    pub code_version: String,
    /// Traces whose spans are told.
    pub sampler: Sampler,
}

/// A stage of a task, with its timers.
pub(crate) struct Slot {
    pub ordinal: u8,
    pub instance: Box<dyn AnyInstance>,
    pub timers: Timers,
}

/// The fused stages of a group with their state for one partition number.
pub struct Task {
    group: Arc<Group>,
    partition: i32,
    context: TaskContext,
    pub(crate) slots: Vec<Slot>,
    pending: BTreeMap<&'static str, VecDeque<Arc<Waiting>>>,
    taken: Vec<(&'static str, Arc<Waiting>)>,
    arrivals: u64,
    sequence: i64,
    now: TimestampMicros,
    in_batch: bool,
    journalled: Journalled,
    sweep: Option<Sweep>,
}

impl Task {
    /// An empty task; state comes by [`Task::restore`], input by [`Task::offer`].
    #[must_use]
    pub fn new(group: &Arc<Group>, partition: i32, context: TaskContext) -> Self {
        let slots = group
            .stages()
            .iter()
            .enumerate()
            .map(|(i, handle)| Slot {
                ordinal: u8::try_from(group.first_ordinal() + i).unwrap_or(u8::MAX),
                instance: (handle.new)(),
                timers: Timers::default(),
            })
            .collect();
        let pending = group.subscriptions().iter().map(|s| (s.input.topic, VecDeque::new())).collect();
        Self {
            group: Arc::clone(group),
            partition,
            context,
            slots,
            pending,
            taken: Vec::new(),
            arrivals: 0,
            sequence: 0,
            now: TimestampMicros::from_micros(i64::MIN),
            in_batch: false,
            journalled: Journalled::default(),
            sweep: None,
        }
    }

    /// Partition number.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Group.
    #[must_use]
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Sequence of the last committed batch; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        self.sequence
    }

    /// `now` of the last batch.
    #[must_use]
    pub fn now(&self) -> TimestampMicros {
        self.now
    }

    /// Earliest due time of a timer.
    #[must_use]
    pub fn next_due(&self) -> Option<TimestampMicros> {
        self.slots.iter().filter_map(|s| s.timers.next_due()).min().map(TimestampMicros::from_micros)
    }

    /// Records offered and not yet processed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.values().map(VecDeque::len).sum()
    }

    /// Applies a changelog entry.
    ///
    /// # Errors
    /// [`EngineError::UnknownStore`], [`EngineError::Changelog`].
    pub fn restore(&mut self, store: &str, key: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        let (group, partition) = (self.group.name().to_owned(), self.partition);
        let unknown = || EngineError::UnknownStore { group: group.clone(), partition, store: store.to_owned() };
        let (stage, name) = store.split_once('/').ok_or_else(unknown)?;
        let slot = self.slots.iter_mut().find(|s| s.instance.name() == stage).ok_or_else(unknown)?;
        let mut result = None;
        if name == Timers::STORE {
            result = Some(slot.timers.restore(key, value));
        } else {
            slot.instance.stores(&mut |n, s| {
                if n == name {
                    result = Some(s.restore(key, value));
                }
            });
        }
        result.ok_or_else(unknown)?.map_err(|source| EngineError::Changelog {
            group: group.clone(),
            partition,
            store: store.to_owned(),
            key: key.to_owned(),
            source,
        })
    }

    /// Sets where the restored state stands: the last journal record's sequence and now.
    pub fn restored(&mut self, sequence: i64, now: TimestampMicros) {
        self.sequence = sequence;
        self.now = now;
        self.begin_segment();
    }

    /// Begins a segment: the next batch's journal record says again, with its value, every row that it reads, so that a
    /// replay may begin there.
    pub fn begin_segment(&mut self) {
        self.journalled.begin();
    }

    /// Begins a snapshot of the state as it is now, between two batches: the batches to come carry it along. A segment
    /// begins with it. A snapshot that is still on its way goes on instead.
    ///
    /// A batch carries about `part_bytes` of it; what changes ahead of the sweep comes on top.
    pub fn begin_snapshot(&mut self, part_bytes: usize) {
        if self.sweep.is_none() {
            self.sweep = Some(Sweep::begin(self.sequence, self.now, part_bytes));
            self.begin_segment();
        }
    }

    /// Gives the task a record of one of its inputs; offsets of a topic must rise. Records of other topics are ignored.
    pub fn offer(&mut self, envelope: Envelope) {
        let subscription = self.group.subscriptions().iter().find(|s| *s.input.topic == *envelope.topic);
        if let Some(queue) = subscription.and_then(|s| self.pending.get_mut(s.input.topic)) {
            debug_assert!(queue.back().is_none_or(|b| b.envelope.offset < envelope.offset), "offsets must rise");
            queue.push_back(Arc::new(Waiting { arrival: self.arrivals, envelope, identity: OnceLock::new() }));
            self.arrivals = self.arrivals.saturating_add(1);
        }
    }

    /// Runs a batch. Its writes are kept apart until [`Task::commit`]; [`Task::rollback`] takes them back.
    ///
    /// # Errors
    /// [`EngineError::Batch`] when the last batch was neither committed nor rolled back, or now goes back;
    /// [`EngineError::ForeignKey`] when a stage breaks co-partitioning.
    pub fn run(&mut self, batch: &Batch<'_>) -> Result<BatchOutput, EngineError> {
        if self.in_batch || batch.now < self.now {
            let text = if self.in_batch {
                "the batch before is neither committed nor rolled back".to_owned()
            } else {
                format!("now {} is before {}", batch.now.micros(), self.now.micros())
            };
            return Err(EngineError::Batch { group: self.group.name().to_owned(), partition: self.partition, text });
        }
        self.in_batch = true;
        let group = Arc::clone(&self.group);
        let mut roots = self.roots(&group, batch);
        let left = roots.split_off(crate::batch::cut(&roots, batch.max_units));
        let mut out = BatchOutput::new(self.sequence + 1, batch.now);
        let (ran, reads) = noting(|| self.run_roots(roots, batch, &mut out));
        ran?;
        self.collect_changes(&mut out);
        if let Some(sweep) = &self.sweep {
            let (part, progress) = sweep.part(&mut self.slots);
            (out.snapshot, out.progress) = (Some(part), Some(progress));
        }
        let (told, additions) = self.journalled.tell(reads, batch.tables);
        out.additions = additions;
        out.complete = left.is_empty() && (batch.instant.is_some() || self.pending() == 0);
        out.record = JournalRecord {
            sequence: out.record.sequence,
            now: batch.now,
            instant: batch.instant.unwrap_or(0),
            complete: out.complete,
            next_due: self.next_due(),
            units: std::mem::take(&mut out.journal).into_units(),
            outputs: i32::try_from(out.outputs.len().saturating_add(out.dead_letters.len())).unwrap_or(i32::MAX),
            written: crate::batch::written(&out.outputs, |topic, key| (self.context.partitioner)(topic, key)),
            config_hash: self.context.config_hash.clone(),
            code_version: self.context.code_version.clone(),
            segment: told.segment,
            rows: told.rows,
            logs: told.logs,
        };
        Ok(out)
    }

    fn run_roots(&mut self, roots: Vec<Root<'_>>, batch: &Batch<'_>, out: &mut BatchOutput) -> Result<(), EngineError> {
        let mut earlier = mutant::earlier_tables();
        let (group, sequence, mut queue) = (Arc::clone(&self.group), out.record.sequence, Queue::default());
        for root in roots {
            let earlier = earlier.take();
            let before = earlier.as_ref().map(|tables| Batch { tables, ..*batch });
            let has_earlier = before.is_some();
            let batch = before.as_ref().unwrap_or(batch);
            let position = root.position.clone();
            Cascade { task: self, group: &group, batch, sequence, out, queue: &mut queue }.settle(Some(&position))?;
            let next = match &root.work {
                RootWork::Record { subscription, waiting } => self.take(subscription.input.topic, waiting, out),
                RootWork::Timer { .. } => false,
            };
            out.journal.push(&root, next);
            let mut cascade = Cascade { task: self, group: &group, batch, sequence, out, queue: &mut queue };
            cascade.begin(root)?;
            if has_earlier {
                cascade.settle(None)?;
            }
        }
        Cascade { task: self, group: &group, batch, sequence, out, queue: &mut queue }.settle(None)
    }

    /// The batch's transaction is committed.
    pub fn commit(&mut self, out: &BatchOutput) {
        for slot in &mut self.slots {
            slot.timers.keep_batch();
            slot.instance.stores(&mut |_, s| s.keep_batch());
        }
        self.journalled.keep(&out.additions);
        self.sweep.take_if(|sweep| out.progress.as_ref().is_some_and(|progress| sweep.keep(progress)));
        self.taken.clear();
        self.sequence = out.record.sequence;
        self.now = out.record.now;
        self.in_batch = false;
    }

    /// The batch's transaction was aborted for certain: state and inputs are as before it. After an ambiguous commit the
    /// task must be dropped and restored instead.
    pub fn rollback(&mut self) {
        for slot in &mut self.slots {
            if mutant::is("no rollback after an abort") {
                slot.timers.keep_batch();
                slot.instance.stores(&mut |_, s| s.keep_batch());
                continue;
            }
            slot.timers.undo_batch();
            slot.instance.stores(&mut |_, s| s.undo_batch());
        }
        while let Some((topic, waiting)) = self.taken.pop() {
            if let Some(queue) = self.pending.get_mut(topic) {
                let at = queue.partition_point(|w| w.arrival < waiting.arrival);
                queue.insert(at, waiting);
            }
        }
        self.in_batch = false;
    }

    /// All committed state as `stage/store`, key, value: what a changelog read from its start gives.
    pub fn dump(&mut self) -> Vec<(String, String, Vec<u8>)> {
        let mut out = Vec::new();
        for slot in &mut self.slots {
            let stage = slot.instance.name();
            let timers = slot.timers.dump();
            out.extend(timers.into_iter().map(|(k, v)| (format!("{stage}/{}", Timers::STORE), k.to_string(), v)));
            slot.instance.stores(&mut |name, s| {
                out.extend(s.dump().into_iter().map(|(k, v)| (format!("{stage}/{name}"), k.to_string(), v)));
            });
        }
        out
    }

    /// Number of timers set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.slots.iter().map(|s| s.timers.len()).sum()
    }

    pub(crate) fn context(&self) -> &TaskContext {
        &self.context
    }

    // Every unit of work that is due, in the order of positions.
    fn roots<'g>(&self, group: &'g Group, batch: &Batch<'_>) -> Vec<Root<'g>> {
        let mut roots = Vec::new();
        for (slot, s) in self.slots.iter().enumerate() {
            for entry in s.timers.due(batch.now.micros()) {
                let position = Position::timer(entry.due.micros(), &entry.stage, &entry.key);
                roots.push(Root { position, work: RootWork::Timer { slot, entry: entry.clone() } });
            }
        }
        if batch.instant.is_some() {
            self.due_records(group, batch.now, &mut roots);
            roots.sort_by(|a, b| a.position.cmp(&b.position));
            return roots;
        }
        roots.sort_by(|a, b| a.position.cmp(&b.position));
        for (i, root) in roots.iter_mut().enumerate() {
            root.position = Position::live(i);
        }
        self.arrived_records(group, batch.max_units.max(1), &mut roots);
        roots
    }

    // Paced mode: every record that belongs to the instant, or to one before it.
    fn due_records<'g>(&self, group: &'g Group, now: TimestampMicros, roots: &mut Vec<Root<'g>>) {
        for s in group.subscriptions() {
            for waiting in self.pending.get(s.input.topic).into_iter().flatten() {
                let envelope = &waiting.envelope;
                let Some(identity) = self.identity(s, waiting) else { break };
                let time = identity.event_time.unwrap_or(now);
                // Prefix by prefix: a record that is not due holds back those behind it in its partition.
                if !due(envelope, time, now, s.same_instant) {
                    break;
                }
                let position = match &envelope.position {
                    Some(p) if s.same_instant => Position::from_bytes(p),
                    Some(_) | None => {
                        let order = envelope.order.as_deref();
                        Position::record(time.micros(), s.input.topic, order, identity.lineage.as_bytes())
                    }
                };
                roots.push(Root { position, work: RootWork::Record { subscription: s, waiting: Arc::clone(waiting) } });
            }
        }
    }

    fn identity(&self, subscription: &Subscription, waiting: &Waiting) -> Option<Identity> {
        let first = subscription.stages.first()?;
        let slot = self.slots.iter().find(|s| s.ordinal == *first)?;
        Some(*waiting.identity.get_or_init(|| slot.instance.admit(&waiting.envelope).identity))
    }

    // Live: in the order they came, over all topics, so that a flood on one does not starve another.
    fn arrived_records<'g>(&self, group: &'g Group, max: usize, roots: &mut Vec<Root<'g>>) {
        let mut arrived: Vec<_> = group
            .subscriptions()
            .iter()
            .filter_map(|s| self.pending.get(s.input.topic).map(|queue| (s, queue)))
            .flat_map(|(s, queue)| queue.iter().take(max).map(move |waiting| (s, waiting)))
            .collect();
        arrived.sort_by_key(|(_, waiting)| waiting.arrival);
        let first = roots.len();
        roots.extend(arrived.into_iter().enumerate().map(|(i, (subscription, waiting))| Root {
            position: Position::live(first + i),
            work: RootWork::Record { subscription, waiting: Arc::clone(waiting) },
        }));
    }

    // Moves a record from the pending to the taken ones; tells whether it was the next of its topic.
    fn take(&mut self, topic: &'static str, waiting: &Arc<Waiting>, out: &mut BatchOutput) -> bool {
        let Some(queue) = self.pending.get_mut(topic) else { return false };
        let Some(at) = queue.iter().position(|w| w.arrival == waiting.arrival) else { return false };
        queue.remove(at);
        self.taken.push((topic, Arc::clone(waiting)));
        if let Some(offset) = waiting.envelope.offset {
            let next = out.offsets.entry(topic).or_insert(0);
            let taken = if mutant::is("offset instead of offset + 1") { offset } else { offset + 1 };
            *next = (*next).max(taken);
        }
        at == 0
    }

    fn collect_changes(&mut self, out: &mut BatchOutput) {
        for slot in &mut self.slots {
            let stage = slot.instance.name();
            let timers = if mutant::is("timers not in the changelog") { Vec::new() } else { slot.timers.changes() };
            for (key, value) in timers {
                let store = format!("{stage}/{}", Timers::STORE);
                out.changelog.push(ChangelogEntry {
                    store,
                    key: key.to_string(),
                    value,
                    schema: TimerEntry::FULL_NAME,
                });
            }
            slot.instance.stores(&mut |name, s| {
                for (key, value) in s.changes() {
                    let store = format!("{stage}/{name}");
                    out.changelog.push(ChangelogEntry { store, key: key.to_string(), value, schema: s.schema() });
                }
            });
        }
    }

    pub(crate) fn dead_letter(
        &self,
        stage: &'static str,
        poison: &crate::error::Poison,
        envelope: &Envelope,
        (lineage, now): (Lineage, TimestampMicros),
        trace: TraceContext,
    ) -> OutDeadLetter {
        let raw = envelope.payload.raw();
        let letter = DeadLetter {
            topic: envelope.topic.to_string(),
            partition: self.partition,
            // Offsets of what the pipeline or a gateway wrote depend on how transactions were cut: lineage names those.
            offset: envelope.offset.filter(|_| envelope.order.is_none()).unwrap_or(-1),
            stage: stage.to_owned(),
            reason_code: poison.code.to_string(),
            reason_text: poison.text.clone(),
            lineage: lineage.to_string(),
            sha256: crate::batch::sha256_hex(raw),
            key: Some(envelope.key.as_bytes().to_vec()),
            value: raw.get(..crate::batch::DEAD_LETTER_BYTES).unwrap_or(raw).to_vec(),
            value_size: i64::try_from(raw.len()).unwrap_or(i64::MAX),
            failed_at: now,
        };
        let mut payload = Vec::new();
        letter.encode(&mut payload);
        OutDeadLetter {
            stage,
            key: Arc::clone(&envelope.key),
            lineage,
            event_time: now,
            payload: payload.into(),
            trace,
        }
    }
}

// A record of another task, or of the outside that this pipeline wrote down, is never processed in the instant that made
// it; a record that a producer stamped with the instant belongs to it.
fn due(envelope: &Envelope, time: TimestampMicros, now: TimestampMicros, same_instant: bool) -> bool {
    let foreign = envelope.order.is_none();
    time < now || (time == now && (foreign || same_instant))
}
