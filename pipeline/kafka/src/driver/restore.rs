//! From an assignment to tasks that may run.
//!
//! Fences first: by the time of an assignment this worker's transactional ids are initialised, and offsets are asked for as
//! stable, so nothing that an earlier owner began can still commit them. Then the changelog is read as read_committed up to
//! its read_uncommitted end *taken after* the offsets: its commit marker may be written later than that of the offsets.
//! Changelog, journal and offsets each carry the batch sequence; a task runs only when they agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_core::TimestampMicros;
use fillstream_core::replay::tables_read;
use fillstream_core::task::Task;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::JournalRecord;
use tracing::{info, warn};

use super::envelope::big_endian;
use super::error::DriverError;
use super::metadata::OffsetMetadata;
use super::state::{Input, TaskState};
use super::worker::{SEQUENCE_HEADER, Worker};
use crate::client::{
    ClientError, ConsumerEvent, GroupConsumer, KafkaClient, OffsetEntry, PartitionReader, ReaderEvent, Received,
    TopicInfo, TopicPartition, TransactionalProducer,
};
use crate::registry::Frame;
use crate::topics::{changelog_topic, journal_topic};

const STEP: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_millis(200);

/// Sequences of a task's three witnesses.
struct Witnesses {
    changelog: i64,
    journal: Option<JournalRecord>,
    /// Records were there once, but their retention has passed.
    journal_expired: bool,
    /// How far tables were read by what the journal's last records say.
    tables: Reached,
}

type Reached = BTreeMap<TopicPartition, i64>;

type Infos = BTreeMap<String, TopicInfo>;

impl<C: KafkaClient> Worker<C> {
    /// Makes the tasks of an assignment and starts reading for them.
    pub(super) fn assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), DriverError> {
        let start = Instant::now();
        self.waiting(format!("restoring {} partitions", partitions.len()));
        let topics = self.topics();
        let names: Vec<&str> = topics.keys().map(AsRef::as_ref).collect();
        let infos = self.retrying("describe topics", |w| Ok(w.shared.client.describe(&names)?))?;
        let (mut new, mut journalled) = (Vec::new(), BTreeMap::new());
        for partition in self.complete_tasks(&partitions, &topics, &infos)? {
            let (state, is_new) = self.restored(partition, &topics, &infos, &mut journalled)?;
            if is_new {
                new.push(partition);
            }
            self.tasks.insert(partition, state);
        }
        self.kept.clear();
        self.commit_first_offsets(&new)?;
        self.await_tables(start, &journalled)?;
        let positions: Vec<OffsetEntry> = self.tasks.values().flat_map(TaskState::positions).collect();
        self.consumer.assign_at(&positions)?;
        let paused: Vec<_> = self.tasks.values_mut().flat_map(|t| t.inputs.values_mut()).collect();
        paused.into_iter().for_each(|i| i.paused = false);
        self.meters.restore_seconds.observe(start.elapsed());
        self.meters.tasks.set(i64::try_from(self.tasks.len()).unwrap_or(i64::MAX));
        info!(
            group = self.group.name(),
            tasks = self.tasks.len(),
            new = new.len(),
            elapsed_ms = start.elapsed().as_millis(),
            "tasks run"
        );
        self.ready();
        Ok(())
    }

    /// Makes one task anew.
    pub(super) fn restore_one(&mut self, partition: i32) -> Result<(), DriverError> {
        let topics = self.topics();
        let names: Vec<&str> = topics.keys().map(AsRef::as_ref).collect();
        let infos = self.retrying("describe topics", |w| Ok(w.shared.client.describe(&names)?))?;
        // The tables of this process have been where the task was.
        let (state, _) = self.restored(partition, &topics, &infos, &mut BTreeMap::new())?;
        self.tasks.insert(partition, state);
        Ok(())
    }

    /// Partition numbers of which every input is assigned; anything else is a fault of the topics.
    fn complete_tasks(
        &self,
        partitions: &[TopicPartition],
        topics: &BTreeMap<Arc<str>, &'static str>,
        infos: &Infos,
    ) -> Result<BTreeSet<i32>, DriverError> {
        let counts: BTreeMap<&str, i32> = infos.iter().map(|(name, i)| (name.as_str(), i.partitions)).collect();
        let distinct: BTreeSet<i32> = counts.values().copied().collect();
        if counts.len() != topics.len() || distinct.len() != 1 {
            return Err(DriverError::Topics(format!(
                "inputs of {} must exist with equal partition counts: {counts:?}",
                self.group.name()
            )));
        }
        let mut by_number: BTreeMap<i32, usize> = BTreeMap::new();
        for tp in partitions {
            *by_number.entry(tp.partition).or_default() += 1;
        }
        if let Some((number, count)) = by_number.iter().find(|(_, count)| **count != topics.len()) {
            return Err(DriverError::Topics(format!(
                "partition {number} of {} came with {count} of its {} inputs: another member subscribes differently",
                self.group.name(),
                topics.len()
            )));
        }
        Ok(by_number.into_keys().collect())
    }

    /// The task with its state as committed, and whether it never ran before.
    fn restored(
        &mut self,
        partition: i32,
        topics: &BTreeMap<Arc<str>, &'static str>,
        infos: &Infos,
        tables: &mut Reached,
    ) -> Result<(TaskState, bool), DriverError> {
        let deadline = Instant::now() + Duration::from_millis(self.shared.config.agree_timeout_ms);
        loop {
            self.interrupted()?;
            let tps: Vec<TopicPartition> =
                topics.keys().map(|t| TopicPartition::new(Arc::clone(t), partition)).collect();
            let entries = self.retrying("committed offsets", |w| Ok(w.consumer.committed(&tps)?))?;
            let sequence = self.committed_sequence(&entries, infos)?;
            if let Some(sequence) = sequence
                && let Some(state) = self.kept.remove(&partition)
                && state.task.sequence() == sequence
            {
                return Ok((state, false));
            }
            let mut task = Task::new(&self.group, partition, self.shared.context.clone());
            let seen = self.witnesses(&mut task)?;
            for (tp, next) in &seen.tables {
                let reached = tables.entry(tp.clone()).or_insert(0);
                *reached = (*reached).max(*next);
            }
            let journal = seen.journal.as_ref().map_or(0, |j| j.sequence);
            let Some(sequence) = sequence else {
                if seen.journal.is_some() || seen.changelog > 0 {
                    let topic = entries.first().map(|e| e.tp.topic.to_string()).unwrap_or_default();
                    return Err(DriverError::NoOffset { group: self.consumer_group.clone(), partition, topic });
                }
                let inputs = self.inputs(&entries, topics, infos)?;
                return Ok((
                    TaskState { task, inputs, ticks: Default::default(), last_tick: 0, snapshot_at: None },
                    true,
                ));
            };
            let agreed = seen.changelog <= sequence && (journal == sequence || seen.journal_expired);
            if agreed {
                let record = seen.journal.unwrap_or_default();
                let now = if record.sequence == 0 { TimestampMicros::from_micros(i64::MIN) } else { record.now };
                task.restored(sequence, now);
                let last_tick = if record.complete { record.instant } else { record.instant.saturating_sub(1) };
                let inputs = self.inputs(&entries, topics, infos)?;
                self.meters.restores.add(1);
                return Ok((
                    TaskState { task, inputs, ticks: Default::default(), last_tick, snapshot_at: None },
                    false,
                ));
            }
            if Instant::now() >= deadline {
                let (group, changelog) = (self.group.name().to_owned(), seen.changelog);
                return Err(DriverError::Disagree { group, partition, offsets: sequence, journal, changelog });
            }
            warn!(
                group = self.group.name(),
                partition,
                offsets = sequence,
                journal,
                changelog = seen.changelog,
                "state does not agree yet"
            );
            std::thread::park_timeout(STEP);
        }
    }

    /// Sequence of the last batch by the offsets' metadata; `None` where none was ever committed.
    fn committed_sequence(&self, entries: &[OffsetEntry], infos: &Infos) -> Result<Option<i64>, DriverError> {
        let mut sequence = None;
        for e in entries.iter().filter(|e| e.offset >= 0) {
            let group = self.consumer_group.clone();
            let topic = e.tp.topic.to_string();
            if let Some(to) = OffsetMetadata::moved_to(&e.metadata) {
                return Err(DriverError::Regrouped { group, to: to.to_owned() });
            }
            let Some(m) = OffsetMetadata::parse(&e.metadata) else {
                let metadata = e.metadata.clone();
                return Err(DriverError::ForeignOffset { group, topic, partition: e.tp.partition, metadata });
            };
            let now = infos.get(topic.as_str()).map(|i| i.uuid.clone()).unwrap_or_default();
            if m.topic_uuid != now {
                return Err(DriverError::AnotherTopic { topic, group, now, then: m.topic_uuid });
            }
            sequence = sequence.max(Some(m.sequence));
        }
        match entries.iter().find(|e| e.offset < 0) {
            Some(missing) if sequence.is_some() => Err(DriverError::NoOffset {
                group: self.consumer_group.clone(),
                partition: missing.tp.partition,
                topic: missing.tp.topic.to_string(),
            }),
            Some(_) | None => Ok(sequence),
        }
    }

    fn inputs(
        &mut self,
        entries: &[OffsetEntry],
        topics: &BTreeMap<Arc<str>, &'static str>,
        infos: &Infos,
    ) -> Result<BTreeMap<Arc<str>, Input>, DriverError> {
        let mut out = BTreeMap::new();
        for e in entries {
            let offset = if e.offset >= 0 {
                e.offset
            } else {
                self.retrying("first offset", |w| Ok(w.consumer.stable_bounds(&e.tp)?))?.0
            };
            let schema = topics.get(&e.tp.topic).copied().unwrap_or_default();
            let is_clock = self.shared.config.paced && *e.tp.topic == *self.shared.config.clock_topic;
            let uuid = infos.get(&*e.tp.topic).map(|i| i.uuid.clone()).unwrap_or_default();
            out.insert(Arc::clone(&e.tp.topic), Input::new(e.tp.clone(), schema, is_clock, uuid, offset));
        }
        Ok(out)
    }

    /// Reads changelog and journal of the task's partition.
    fn witnesses(&mut self, task: &mut Task) -> Result<Witnesses, DriverError> {
        let partition = task.partition();
        let schemas: BTreeMap<String, &'static str> = self.group.stores().into_iter().collect();
        let changelog = TopicPartition::new(changelog_topic(self.group.name()), partition);
        let (low, end) = self.retrying("changelog bounds", |w| Ok(w.reader.bounds(&changelog)?))?;
        let mut highest = 0;
        self.read(&changelog, low, end, |w, r| {
            highest = highest.max(r.header(SEQUENCE_HEADER).and_then(big_endian).unwrap_or(i64::MAX));
            w.apply_change(task, &schemas, r)
        })?;
        let journal = TopicPartition::new(journal_topic(self.group.name()), partition);
        let (low, end) = self.retrying("journal bounds", |w| Ok(w.reader.bounds(&journal)?))?;
        // The last committed record is near the end, unless many transactions were aborted after it.
        let (mut last, mut back, mut tables) = (None, 64, Reached::new());
        while last.is_none() && low < end {
            let from = end.saturating_sub(back).max(low);
            self.read(&journal, from, end, |w, r| {
                let record = w.journal_record(r)?;
                reached(&record, &mut tables);
                last = Some(record);
                Ok(())
            })?;
            if from == low {
                break;
            }
            back = back.saturating_mul(8);
        }
        let journal_expired = last.is_none() && low > 0;
        if journal_expired {
            warn!(group = self.group.name(), partition, "the journal's retention has passed: it is no witness");
        }
        Ok(Witnesses { changelog: highest, journal: last, journal_expired, tables })
    }

    fn apply_change(
        &mut self,
        task: &mut Task,
        schemas: &BTreeMap<String, &'static str>,
        r: &Received,
    ) -> Result<(), DriverError> {
        let (store, key) = store_and_key(r)?;
        let Some(bytes) = &r.value else { return Ok(task.restore(store, key, None)?) };
        let Some(schema) = schemas.get(store) else { return Ok(task.restore(store, key, Some(bytes))?) };
        match self.framed(schema, bytes)? {
            Frame::Ours(value) => Ok(task.restore(store, key, Some(value))?),
            Frame::Resolved(value) => Ok(task.restore(store, key, Some(&value))?),
            Frame::Unreadable(u) => Err(engine_unreadable(r, format!("{}: {}", u.code, u.text))),
        }
    }

    fn journal_record(&mut self, r: &Received) -> Result<JournalRecord, DriverError> {
        let bytes = r.value.as_deref().unwrap_or_default();
        let decoded = match self.framed(JournalRecord::FULL_NAME, bytes)? {
            Frame::Ours(value) => JournalRecord::decode(value),
            Frame::Resolved(value) => JournalRecord::decode(&value),
            Frame::Unreadable(u) => return Err(engine_unreadable(r, format!("{}: {}", u.code, u.text))),
        };
        decoded.map_err(|e| engine_unreadable(r, e.to_string()))
    }

    fn framed<'a>(&mut self, schema: &'static str, bytes: &'a [u8]) -> Result<Frame<'a>, DriverError> {
        self.retrying("schema", |w| Ok(w.framing.read(schema, bytes)?))
    }

    /// Reads every committed record of [from, end), when all of it is decided.
    fn read(
        &mut self,
        tp: &TopicPartition,
        from: i64,
        end: i64,
        mut take: impl FnMut(&mut Self, &Received) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        if from >= end {
            return Ok(());
        }
        let deadline = Instant::now() + self.shared.config.restore_timeout();
        while self.retrying("stable end", |w| Ok(w.reader.stable_bounds(tp)?))?.1 < end {
            self.interrupted()?;
            self.in_time(deadline, || format!("waiting for open transactions of {tp}"))?;
        }
        self.reader.start(&[(tp.clone(), from)])?;
        loop {
            let reached = match self.reader.next(STEP) {
                Ok(Some(ReaderEvent::Record(r))) if r.offset < end => {
                    take(self, &r)?;
                    r.offset.saturating_add(1)
                }
                Ok(Some(ReaderEvent::Record(r))) => r.offset,
                Ok(Some(ReaderEvent::End { offset, .. })) => offset,
                Ok(None) | Err(ClientError::Retry { .. }) => from,
                Err(e) => return Err(e.into()),
            };
            if reached >= end {
                break;
            }
            self.interrupted()?;
            self.in_time(deadline, || format!("reading {tp}"))?;
        }
        Ok(self.reader.start(&[])?)
    }

    fn in_time(&self, deadline: Instant, what: impl FnOnce() -> String) -> Result<(), DriverError> {
        if Instant::now() < deadline {
            return Ok(());
        }
        Err(DriverError::Timeout { what: what(), limit_ms: self.shared.config.restore_timeout_ms })
    }

    /// Commits the first offsets of tasks that never ran, so that there is no moment with state but without offsets.
    fn commit_first_offsets(&mut self, new: &[i32]) -> Result<(), DriverError> {
        if new.is_empty() {
            return Ok(());
        }
        let entries: Vec<OffsetEntry> = new
            .iter()
            .filter_map(|p| self.tasks.get(p))
            .flat_map(|t| t.inputs.values())
            .map(|i| OffsetEntry {
                tp: i.tp.clone(),
                offset: i.committed,
                metadata: OffsetMetadata { sequence: 0, topic_uuid: i.uuid.clone() }.to_string(),
            })
            .collect();
        let membership = self.consumer.group_metadata()?;
        let producer = self.next_producer()?;
        producer.begin()?;
        match producer.send_offsets(&entries, &membership).and_then(|()| producer.commit()) {
            Ok(()) => Ok(()),
            Err(e @ ClientError::Abort { .. }) => {
                producer.abort()?;
                Err(ClientError::fatal("first offsets", e).into())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Waits until the tables have everything that was written before this moment: no instance that ran these tasks can
    /// have seen more. A table topic that ends before what their journals say was read has lost rows, or is another one:
    /// the tasks would decide from an earlier state of the world than they have.
    fn await_tables(&mut self, start: Instant, journalled: &Reached) -> Result<(), DriverError> {
        let hub = Arc::clone(&self.shared.hub);
        if hub.partitions().is_empty() {
            return Ok(());
        }
        let ends = self.retrying("ends of tables", |w| Ok(w.reader.ends(hub.partitions())?))?;
        for (tp, end) in &ends {
            if let Some(read) = journalled.get(tp).filter(|read| *read > end) {
                return Err(DriverError::TableLost { table: tp.to_string(), read: *read, end: *end });
            }
        }
        while !hub.has_reached(&ends) {
            if let Some(why) = hub.failure() {
                return Err(DriverError::Client(ClientError::fatal("tables", why)));
            }
            hub.wait(STEP);
            self.interrupted()?;
            self.in_time(start + self.shared.config.restore_timeout(), || "reading the tables".to_owned())?;
        }
        Ok(())
    }

    /// Looks, now and then, whether the group moves on meanwhile; that ends the restore.
    pub(super) fn interrupted(&mut self) -> Result<(), DriverError> {
        if self.shared.stopping() {
            return Err(DriverError::Interrupted);
        }
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        match self.consumer.poll(Duration::ZERO) {
            Ok(Some(e @ (ConsumerEvent::Assigned(_) | ConsumerEvent::Revoked(_) | ConsumerEvent::Lost(_)))) => {
                self.backlog.push_back(e);
                Err(DriverError::Interrupted)
            }
            Ok(Some(ConsumerEvent::Record(_) | ConsumerEvent::End { .. } | ConsumerEvent::NoOffset(_)) | None)
            | Err(ClientError::Retry { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Asks until there is an answer, as long as it may be a question of time.
    pub(super) fn retrying<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut(&mut Self) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let deadline = Instant::now() + self.shared.config.restore_timeout();
        loop {
            match ask(self) {
                Err(e) if e.reaction() == fillstream_core::error::Reaction::Retry => {
                    warn!(group = self.group.name(), what, error = %e, "asking again");
                    self.in_time(deadline, || what.to_owned())?;
                    std::thread::park_timeout(STEP);
                    self.interrupted()?;
                }
                answer => return answer,
            }
        }
    }
}

/// The store and the key in the key of a changelog's record.
pub(crate) fn store_and_key(r: &Received) -> Result<(&str, &str), DriverError> {
    let path = std::str::from_utf8(r.key.as_deref().unwrap_or_default())
        .map_err(|e| engine_unreadable(r, format!("the key is not UTF-8: {e}")))?;
    // stage/store/key: a key may hold slashes, the names never do.
    let mut slashes = path.match_indices('/').map(|(i, _)| i);
    let Some((store, key)) = slashes.nth(1).and_then(|i| path.split_at_checked(i)) else {
        return Err(engine_unreadable(r, format!("the key {path:?} is not stage/store/key")));
    };
    Ok((store, key.strip_prefix('/').unwrap_or(key)))
}

fn reached(record: &JournalRecord, tables: &mut Reached) {
    for (topic, partition, next) in tables_read(record) {
        let at = tables.entry(TopicPartition::new(topic, partition)).or_insert(0);
        *at = (*at).max(next);
    }
}

pub(crate) fn engine_unreadable(r: &Received, text: String) -> DriverError {
    DriverError::Unreadable { topic: r.topic.to_string(), partition: r.partition, offset: r.offset, text }
}
