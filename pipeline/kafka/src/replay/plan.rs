//! Where a task's replay begins, and what it is fed.

use std::collections::BTreeMap;

use fillstream_core::TimestampMicros;
use fillstream_core::group::Group;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::{JournalRecord, Snapshot};

use super::error::ReplayError;
use super::tape::Tapes;
use crate::client::{KafkaClient, Received, TopicPartition};
use crate::driver::{SEQUENCE_HEADER, big_endian, engine_unreadable, store_and_key};
use crate::registry::{Frame, Framing};
use crate::topics::{changelog_topic, journal_topic, snapshots_topic};

/// State by `stage/store` and key, Avro in our schemas.
pub(super) type State = BTreeMap<(String, String), Vec<u8>>;

/// The state after a batch.
#[derive(Default)]
pub(super) struct Boundary {
    pub(super) sequence: i64,
    pub(super) now: Option<TimestampMicros>,
    pub(super) state: State,
}

/// What a task's replay is fed.
pub(super) struct TaskPlan {
    pub(super) partition: i32,
    pub(super) begin: Boundary,
    pub(super) batches: Vec<JournalRecord>,
    /// When the first and the last of them were written, OS time, milliseconds.
    pub(super) written_ms: Vec<i64>,
    /// States to be met on the way, by batch.
    pub(super) states: BTreeMap<i64, State>,
}

/// Reads the engine's topics of one task.
pub(super) struct Planner<'a, C: KafkaClient> {
    pub(super) tapes: &'a mut Tapes<C>,
    pub(super) framing: &'a mut Framing,
    pub(super) group: &'a Group,
    pub(super) partition: i32,
}

impl<C: KafkaClient> Planner<'_, C> {
    /// The plan of the batches from `from` to `to`: it begins at the last snapshot before them, without `from` as early as it
    /// can.
    pub(super) fn plan(
        mut self,
        from: Option<TimestampMicros>,
        to: Option<TimestampMicros>,
    ) -> Result<TaskPlan, ReplayError> {
        let journal = TopicPartition::new(journal_topic(self.group.name()), self.partition);
        let (low, end) = self.tapes.bounds(&journal)?;
        let empty = |partition| TaskPlan {
            partition,
            begin: Boundary::default(),
            batches: Vec::new(),
            written_ms: Vec::new(),
            states: BTreeMap::new(),
        };
        let Some(first) = self.tapes.first(&journal, low)?.cloned() else { return Ok(empty(self.partition)) };
        let first = journal_record(self.framing, &first)?.sequence;
        let begin = self.begin(&journal, first, from)?;
        let mut at = self.seek_batch(&journal, begin.sequence + 1)?;
        let mut plan = TaskPlan { begin, ..empty(self.partition) };
        let (mut times, mut ended) = (Vec::new(), true);
        while let Some(r) = self.tapes.first(&journal, at)?.cloned() {
            let record = journal_record(self.framing, &r)?;
            if to.is_some_and(|to| record.now > to) {
                ended = false;
                break;
            }
            let before = plan.batches.last().map_or(plan.begin.sequence, |b| b.sequence);
            if record.sequence != before + 1
                && from.is_none()
                && let Some(after) = self.snapshots(record.sequence, i64::MAX, 1)?.into_iter().next()
            {
                // The group was another one for a while: what can be replayed begins when it was this one again.
                at = self.seek_batch(&journal, after.sequence + 1)?;
                plan = TaskPlan { begin: after, ..empty(self.partition) };
                times.clear();
                continue;
            }
            if record.sequence != before + 1 || (plan.batches.is_empty() && !record.segment) {
                let text =
                    format!("batch {} follows {before}: the group was regrouped, or it is older", record.sequence);
                return Err(ReplayError::Journal { partition: self.partition, text });
            }
            times.push(r.timestamp_ms);
            plan.batches.push(record);
            at = r.offset.saturating_add(1);
        }
        plan.written_ms = times.first().into_iter().chain(times.last()).copied().collect();
        plan.states = self.states_within(&plan)?;
        if let Some(last) = plan.batches.last().filter(|_| ended && at <= end) {
            let state = self.changelog(last.sequence)?;
            plan.states.extend(state.map(|state| (last.sequence, state)));
        }
        Ok(plan)
    }

    fn begin(
        &mut self,
        journal: &TopicPartition,
        first: i64,
        from: Option<TimestampMicros>,
    ) -> Result<Boundary, ReplayError> {
        let Some(from) = from else {
            if first == 1 {
                return Ok(Boundary::default());
            }
            let wanted = TimestampMicros::from_micros(i64::MIN);
            let found = self.snapshots(first - 1, i64::MAX, 1)?.into_iter().next();
            return found.ok_or(ReplayError::TooEarly { partition: self.partition, wanted, first: None });
        };
        let framing = &mut *self.framing;
        let at = self.tapes.seek(journal, |r| Ok(journal_record(framing, r)?.now >= from))?;
        let target = match self.tapes.first(journal, at)?.cloned() {
            Some(r) => journal_record(self.framing, &r)?.sequence,
            None => i64::MAX,
        };
        if let Some(found) = self.last_before(first - 1, target)? {
            return Ok(found);
        }
        if first == 1 {
            return Ok(Boundary::default());
        }
        let earliest = self.snapshots(first - 1, i64::MAX, 1)?.into_iter().next().and_then(|b| b.now);
        Err(ReplayError::TooEarly { partition: self.partition, wanted: from, first: earliest })
    }

    /// The last whole snapshot of a batch of `[lowest, before)`.
    fn last_before(&mut self, lowest: i64, before: i64) -> Result<Option<Boundary>, ReplayError> {
        let tp = TopicPartition::new(snapshots_topic(self.group.name()), self.partition);
        let (low, _) = self.tapes.bounds(&tp)?;
        let mut end = self.tapes.seek(&tp, |r| Ok(sequence(r) >= before))?;
        while end > low {
            // Markers stand between: the record before is a step or two back.
            let (mut back, mut of) = (1, None);
            while of.is_none() && back <= 2 * (end - low) {
                of = self.tapes.first(&tp, end.saturating_sub(back))?.filter(|r| r.offset < end).map(sequence);
                back *= 2;
            }
            let Some(of) = of.filter(|of| *of >= lowest) else { return Ok(None) };
            let start = self.tapes.seek(&tp, |r| Ok(sequence(r) >= of))?;
            if let (Some(found), _) = self.snapshot(&tp, start)? {
                return Ok(Some(found));
            }
            end = start;
        }
        Ok(None)
    }

    /// At most `most` whole snapshots of batches of `[first, last]`.
    fn snapshots(&mut self, first: i64, last: i64, most: usize) -> Result<Vec<Boundary>, ReplayError> {
        let tp = TopicPartition::new(snapshots_topic(self.group.name()), self.partition);
        let mut at = self.tapes.seek(&tp, |r| Ok(sequence(r) >= first))?;
        let mut found = Vec::new();
        while found.len() < most && self.tapes.first(&tp, at)?.is_some_and(|r| sequence(r) <= last) {
            let (snapshot, next) = self.snapshot(&tp, at)?;
            found.extend(snapshot);
            at = next;
        }
        Ok(found)
    }

    fn states_within(&mut self, plan: &TaskPlan) -> Result<BTreeMap<i64, State>, ReplayError> {
        let Some(last) = plan.batches.last().map(|b| b.sequence) else { return Ok(BTreeMap::new()) };
        let found = self.snapshots(plan.begin.sequence + 1, last, usize::MAX)?;
        Ok(found.into_iter().map(|b| (b.sequence, b.state)).collect())
    }

    /// The snapshot whose first record stands at `start`, if it is whole, and where the next one begins.
    fn snapshot(&mut self, tp: &TopicPartition, start: i64) -> Result<(Option<Boundary>, i64), ReplayError> {
        let stores = self.stores();
        let (mut of, mut state, mut at) = (None, State::new(), start);
        while let Some(r) = self.tapes.first(tp, at)?.cloned() {
            if *of.get_or_insert(sequence(&r)) != sequence(&r) {
                break;
            }
            at = r.offset.saturating_add(1);
            if r.key.as_deref().unwrap_or_default().contains(&b'/') {
                let (place, value) = entry(self.framing, &stores, &r)?;
                state.extend(value.map(|value| (place, value)));
                continue;
            }
            let end = Snapshot::decode(&ours(self.framing, Snapshot::FULL_NAME, &r)?)
                .map_err(|e| engine_unreadable(&r, e.to_string()))?;
            let whole = usize::try_from(end.entries).is_ok_and(|n| n == state.len());
            return Ok((whole.then_some(Boundary { sequence: end.sequence, now: Some(end.now), state }), at));
        }
        Ok((None, at.max(start + 1)))
    }

    /// The state as the changelog has it; `None` where a later batch has written to it meanwhile.
    fn changelog(&mut self, last: i64) -> Result<Option<State>, ReplayError> {
        let tp = TopicPartition::new(changelog_topic(self.group.name()), self.partition);
        let stores = self.stores();
        let (mut at, _) = self.tapes.bounds(&tp)?;
        let mut state = State::new();
        while let Some(r) = self.tapes.first(&tp, at)?.cloned() {
            if sequence(&r) > last {
                return Ok(None);
            }
            at = r.offset.saturating_add(1);
            let (place, value) = entry(self.framing, &stores, &r)?;
            match value {
                Some(value) => state.insert(place, value),
                None => state.remove(&place),
            };
        }
        Ok(Some(state))
    }

    fn seek_batch(&mut self, journal: &TopicPartition, wanted: i64) -> Result<i64, ReplayError> {
        let framing = &mut *self.framing;
        self.tapes.seek(journal, |r| Ok(journal_record(framing, r)?.sequence >= wanted))
    }

    fn stores(&self) -> BTreeMap<String, &'static str> {
        self.group.stores().into_iter().collect()
    }
}

type Entry = ((String, String), Option<Vec<u8>>);

fn entry(framing: &mut Framing, stores: &BTreeMap<String, &'static str>, r: &Received) -> Result<Entry, ReplayError> {
    let (store, key) = store_and_key(r)?;
    let schema = stores.get(store).ok_or_else(|| engine_unreadable(r, format!("no stage declares {store}")))?;
    let value = r.value.as_ref().map(|_| ours(framing, schema, r)).transpose()?;
    Ok(((store.to_owned(), key.to_owned()), value))
}

fn ours(framing: &mut Framing, schema: &'static str, r: &Received) -> Result<Vec<u8>, ReplayError> {
    match framing.read(schema, r.value.as_deref().unwrap_or_default())? {
        Frame::Ours(value) => Ok(value.to_vec()),
        Frame::Resolved(value) => Ok(value),
        Frame::Unreadable(u) => Err(engine_unreadable(r, format!("{}: {}", u.code, u.text)).into()),
    }
}

fn journal_record(framing: &mut Framing, r: &Received) -> Result<JournalRecord, ReplayError> {
    let value = ours(framing, JournalRecord::FULL_NAME, r)?;
    Ok(JournalRecord::decode(&value).map_err(|e| engine_unreadable(r, e.to_string()))?)
}

fn sequence(r: &Received) -> i64 {
    r.header(SEQUENCE_HEADER).and_then(big_endian).unwrap_or(i64::MAX)
}
