//! From one cut of a path into groups to another, on a system that has run: fused to split and back.
//!
//! Every group is stopped. What stands between two groups is drained, so that the state of all of them and the offsets of
//! their inputs are one boundary. State is moved as bytes from changelogs to changelogs; then one transaction writes the
//! journal record that each new task goes on from and the offsets of all groups. Inputs keep their offsets; a topic that was
//! handed on in memory begins at its end, because the task that wrote it has done all of it. The old groups' offsets are
//! marked as moved in the same transaction: whoever starts the old cut again is told. The cluster refuses offsets of a group
//! that has members, and stable offsets do not come while a transaction of the group is open: those are the fences.

mod drain;
mod error;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_core::TimestampMicros;
use fillstream_core::group::{Group, Subscription};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::{JournalRecord, Snapshot};
use tracing::info;

use crate::client::{
    ClientError, GroupConsumer, KafkaClient, OffsetEntry, Outgoing, TopicInfo, TopicPartition, TransactionalProducer,
};
use crate::driver::{OffsetMetadata, SEQUENCE_HEADER};
use crate::registry::{Framing, SchemaRegistry, framed};
use crate::replay::Tapes;
use crate::topics::{changelog_topic, consumer_group, journal_topic, snapshots_topic};

pub use drain::drain;
pub use error::RegroupError;

use tasks::{OldTask, State, old_task, read_state};

const LOOK: Duration = Duration::from_millis(500);

/// Records of one transaction, so that it stays far below the transaction timeout.
const PIECE: usize = 2_000;

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Tasks that had run.
    pub tasks: usize,
    /// Keys with their state.
    pub keys: usize,
}

/// A change of groups.
pub struct Regroup<'a, C: KafkaClient> {
    /// Kafka.
    pub client: &'a C,
    /// Schemas.
    pub registry: &'a Arc<SchemaRegistry>,
    /// The groups as they have run, in path order.
    pub from: &'a [Arc<Group>],
    /// The groups as they shall run.
    pub to: &'a [Arc<Group>],
}

/// A record of an engine topic.
struct Write {
    topic: String,
    partition: i32,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    sequence: i64,
}

/// What the last transaction holds, and what may be written before it.
#[derive(Default)]
struct Plan {
    ahead: Vec<Write>,
    last: Vec<Write>,
    offsets: BTreeMap<String, Vec<OffsetEntry>>,
    moved: Moved,
}

impl<C: KafkaClient> Regroup<'_, C> {
    /// Moves everything, as soon as no group has members any more, at the latest within `limit`.
    ///
    /// # Errors
    /// [`RegroupError`]; then the old groups can go on as they are.
    pub fn run_within(&self, limit: Duration) -> Result<Moved, RegroupError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.run() {
                Err(RegroupError::Busy { group, .. }) if Instant::now() < deadline => {
                    info!(group, "waits until its members are gone");
                    std::thread::park_timeout(LOOK);
                }
                done => return done,
            }
        }
    }

    /// Moves everything.
    ///
    /// # Errors
    /// [`RegroupError`]; then the old groups can go on as they are.
    pub fn run(&self) -> Result<Moved, RegroupError> {
        let (from, to) = (names(self.from), names(self.to));
        if from != to {
            return Err(RegroupError::OtherStages { from, to });
        }
        let infos = self.describe()?;
        let journal = journal_topic(self.from.first().map(|g| g.name()).unwrap_or_default());
        let partitions = infos.get(&journal).map_or(0, |i| i.partitions);
        let mut consumers = BTreeMap::new();
        for group in self.from.iter().chain(self.to) {
            let name = consumer_group(group.name());
            consumers.insert(name.clone(), self.client.consumer(&name, "regroup", &[])?);
        }
        let mut producer = self.client.producer("fillstream.regroup")?;
        producer.init()?;
        self.no_members(&mut producer, &consumers, partitions)?;
        let mut tapes = Tapes::new(self.client)?;
        let mut framing = Framing::new(Arc::clone(self.registry));
        let mut plan = Plan::default();
        for partition in 0..partitions {
            let mut old = Vec::new();
            for group in self.from {
                let Some(consumer) = consumers.get(&consumer_group(group.name())) else { continue };
                let task = old_task(&mut tapes, &mut framing, consumer, group, partition, &infos)?;
                old.extend(task.map(|task| (group, task)));
            }
            if !old.is_empty() {
                self.partition(partition, &old, &infos, &mut tapes, &mut framing, &mut plan)?;
            }
        }
        self.write(&plan, &mut producer, &consumers)?;
        Ok(plan.moved)
    }

    /// The cluster would refuse it at the end too; here nothing is written yet.
    fn no_members(
        &self,
        producer: &mut C::Producer,
        consumers: &BTreeMap<String, C::Consumer>,
        partitions: i32,
    ) -> Result<(), RegroupError> {
        for group in self.from.iter().chain(self.to) {
            let name = consumer_group(group.name());
            let Some(consumer) = consumers.get(&name) else { continue };
            let topics = group.subscriptions().iter().map(|s| s.input.topic);
            let tps: Vec<TopicPartition> =
                topics.flat_map(|t| (0..partitions).map(move |p| TopicPartition::new(t, p))).collect();
            let held: Vec<OffsetEntry> = consumer.committed(&tps)?.into_iter().filter(|e| e.offset >= 0).collect();
            producer.begin()?;
            let sent = producer.send_offsets(&held, &consumer.group_metadata()?);
            producer.abort()?;
            sent.map_err(|source| RegroupError::Busy { group: name, source })?;
        }
        Ok(())
    }

    fn describe(&self) -> Result<BTreeMap<String, TopicInfo>, RegroupError> {
        let mut topics: BTreeSet<String> = BTreeSet::new();
        for group in self.from.iter().chain(self.to) {
            topics.extend([journal_topic(group.name()), changelog_topic(group.name()), snapshots_topic(group.name())]);
            topics.extend(group.subscriptions().iter().map(|s| s.input.topic.to_owned()));
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let found = self.client.describe(&names)?;
        match topics.iter().find(|topic| !found.contains_key(*topic)) {
            Some(missing) => Err(crate::replay::ReplayError::NoTopic(missing.clone()).into()),
            None => Ok(found),
        }
    }

    fn partition(
        &self,
        partition: i32,
        old: &[(&Arc<Group>, OldTask)],
        infos: &BTreeMap<String, TopicInfo>,
        tapes: &mut Tapes<C>,
        framing: &mut Framing,
        plan: &mut Plan,
    ) -> Result<(), RegroupError> {
        for (group, task) in old {
            for s in group.subscriptions().iter().filter(|s| s.same_instant) {
                let tp = TopicPartition::new(s.input.topic, partition);
                let at = task.offsets.get(s.input.topic).copied().unwrap_or(0);
                if tapes.first(&tp, at)?.is_some() {
                    let (group, topic) = (group.name().to_owned(), s.input.topic.to_owned());
                    return Err(RegroupError::NotDrained { group, topic, partition });
                }
            }
        }
        // Later than any batch of any of these tasks: the order of what one writes goes on.
        let (mut sequence, mut now) = (0, TimestampMicros::from_micros(i64::MIN));
        let (mut stale, mut stands) = (BTreeMap::new(), State::new());
        for (_, task) in old {
            sequence = sequence.max(task.record.sequence);
            now = now.max(task.record.now);
            stands.extend(task.state.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        for group in self.to {
            let (state, last) = read_state(tapes, framing, group.name(), partition)?;
            sequence = sequence.max(last);
            stale.insert(group.name(), state);
        }
        let names = names(self.from);
        sequence += 1;
        plan.moved.tasks += 1;
        plan.moved.keys += stands.len();
        for group in self.to {
            let held = stale.remove(group.name()).unwrap_or_default();
            let shared = self.from.iter().any(|old| old.name() == group.name());
            let mut writes = moves(group, partition, sequence, &stands, &held);
            writes.extend(snapshot(group, partition, (sequence, now), &stands, framing)?);
            // What an old group would read must not be there before the rest.
            if shared {
                plan.last.extend(writes)
            } else {
                plan.ahead.extend(writes)
            }
            let record = JournalRecord { sequence, now, complete: true, segment: true, ..JournalRecord::default() };
            let id = framing.state_id(JournalRecord::FULL_NAME)?;
            plan.last.push(Write {
                topic: journal_topic(group.name()),
                partition,
                key: partition.to_string().into_bytes(),
                value: Some(framed(id, &record.to_bytes())),
                sequence,
            });
            for s in group.subscriptions() {
                let tp = TopicPartition::new(s.input.topic, partition);
                let offset = offset_of(&tp, &s.stages, &names, old, tapes)?;
                let topic_uuid = infos.get(s.input.topic).map(|i| i.uuid.clone()).unwrap_or_default();
                let metadata = OffsetMetadata { sequence, topic_uuid }.to_string();
                plan.offsets.entry(consumer_group(group.name())).or_default().push(OffsetEntry {
                    tp,
                    offset,
                    metadata,
                });
            }
        }
        self.leave(partition, old, plan);
        Ok(())
    }

    /// The offsets of groups that are no more, marked.
    fn leave(&self, partition: i32, old: &[(&Arc<Group>, OldTask)], plan: &mut Plan) {
        let names: Vec<&str> = self.to.iter().map(|g| g.name()).collect();
        let metadata = OffsetMetadata::moved(&names);
        for (group, task) in old.iter().filter(|(group, _)| !names.contains(&group.name())) {
            let entries = task.offsets.iter().map(|(topic, offset)| OffsetEntry {
                tp: TopicPartition::new(topic.as_str(), partition),
                offset: *offset,
                metadata: metadata.clone(),
            });
            plan.offsets.entry(consumer_group(group.name())).or_default().extend(entries);
        }
    }

    fn write(
        &self,
        plan: &Plan,
        producer: &mut C::Producer,
        consumers: &BTreeMap<String, C::Consumer>,
    ) -> Result<(), RegroupError> {
        for piece in plan.ahead.chunks(PIECE) {
            producer.begin()?;
            let done = send(producer, piece).and_then(|()| producer.commit());
            settled(producer, done)?;
        }
        if plan.offsets.is_empty() {
            return Ok(());
        }
        producer.begin()?;
        let done = send(producer, &plan.last).and_then(|()| {
            for (group, entries) in &plan.offsets {
                let consumer = consumers.get(group).ok_or_else(|| ClientError::fatal("regroup", "no consumer"))?;
                producer.send_offsets(entries, &consumer.group_metadata()?)?;
            }
            producer.commit()
        });
        settled(producer, done)
    }
}

/// The state that a new task begins with, as a snapshot: its replay can begin there, too.
fn snapshot(
    group: &Group,
    partition: i32,
    (sequence, now): (i64, TimestampMicros),
    state: &State,
    framing: &mut Framing,
) -> Result<Vec<Write>, RegroupError> {
    let write = |key: &[u8], value: Vec<u8>| Write {
        topic: snapshots_topic(group.name()),
        partition,
        key: key.to_vec(),
        value: Some(value),
        sequence,
    };
    let mut writes: Vec<Write> = part_of(group, state).map(|(key, value)| write(key, value.clone())).collect();
    let end = Snapshot { sequence, now, entries: i64::try_from(writes.len()).unwrap_or(i64::MAX) };
    let id = framing.state_id(Snapshot::FULL_NAME)?;
    writes.push(write(partition.to_string().as_bytes(), framed(id, &end.to_bytes())));
    Ok(writes)
}

/// Keys of the stores of a group.
fn part_of<'s>(group: &Group, state: &'s State) -> impl Iterator<Item = (&'s Vec<u8>, &'s Vec<u8>)> {
    let stores: Vec<String> = group.stores().iter().map(|(store, _)| format!("{store}/")).collect();
    state.iter().filter(move |(key, _)| stores.iter().any(|store| key.starts_with(store.as_bytes())))
}

/// Names of the stages, in path order.
fn names(groups: &[Arc<Group>]) -> Vec<String> {
    groups.iter().flat_map(|g| g.stages()).map(|s| s.spec().name.to_owned()).collect()
}

/// Entries that make the changelog of `group`, which has `held`, hold its part of `state`.
fn moves(group: &Group, partition: i32, sequence: i64, state: &State, held: &State) -> Vec<Write> {
    let wanted: BTreeMap<&Vec<u8>, &Vec<u8>> = part_of(group, state).collect();
    let write = |key: &Vec<u8>, value: Option<&Vec<u8>>| Write {
        topic: changelog_topic(group.name()),
        partition,
        key: key.clone(),
        value: value.cloned(),
        sequence,
    };
    let left = held.keys().filter(|key| !wanted.contains_key(key)).map(|key| write(key, None));
    let set = wanted.iter().filter(|(key, value)| held.get(**key) != Some(**value));
    left.chain(set.map(|(key, value)| write(key, Some(value)))).collect()
}

/// Where a new task reads on: where those of its stages that read the topic stood. A stage that got it in memory has done
/// all of it and stands at its end, wherever another reader in its old group stood: order-management reads validated
/// orders back later than the strategy beside it was handed them.
fn offset_of<C: KafkaClient>(
    tp: &TopicPartition,
    readers: &[u8],
    names: &[String],
    old: &[(&Arc<Group>, OldTask)],
    tapes: &mut Tapes<C>,
) -> Result<i64, RegroupError> {
    let end = tapes.bounds(tp)?.1;
    let stood = |reader: &u8| {
        let name = names.get(usize::from(*reader))?;
        let (group, task) = old.iter().find(|(group, _)| group.stages().iter().any(|s| s.spec().name == name))?;
        let reads = |s: &Subscription| *s.input.topic == *tp.topic && s.stages.contains(reader);
        Some(if group.subscriptions().iter().any(reads) { *task.offsets.get(&*tp.topic)? } else { end })
    };
    let places: Vec<i64> = readers.iter().filter_map(stood).collect();
    let (Some(low), Some(high)) = (places.iter().min().copied(), places.iter().max().copied()) else { return Ok(end) };
    if tapes.first(tp, low)?.is_some_and(|r| r.offset < high) {
        return Err(RegroupError::Apart { topic: tp.topic.to_string(), partition: tp.partition, low, high });
    }
    Ok(high)
}

fn send<P: TransactionalProducer>(producer: &mut P, writes: &[Write]) -> Result<(), ClientError> {
    for w in writes {
        producer.send(&Outgoing {
            topic: &w.topic,
            partition: w.partition,
            key: Some(&w.key),
            value: w.value.as_deref(),
            headers: &[(SEQUENCE_HEADER, &w.sequence.to_be_bytes())],
            timestamp_ms: crate::driver::os_now_us() / 1_000,
        })?;
    }
    Ok(())
}

fn settled<P: TransactionalProducer>(producer: &mut P, done: Result<(), ClientError>) -> Result<(), RegroupError> {
    if let Err(ClientError::Abort { .. } | ClientError::Retry { .. } | ClientError::TooLarge { .. }) = &done {
        producer.abort()?;
    }
    Ok(done?)
}
