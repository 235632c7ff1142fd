//! One transaction: everything that the batches of a worker's tasks write.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_core::error::Reaction;
use fillstream_core::record::{ChangelogEntry, OutRecord};
use fillstream_core::snapshot::SnapshotPart;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::{DeadLetter, JournalRecord, Snapshot};
use tracing::warn;

use super::Phase;
use super::clock::os_now_us;
use super::error::DriverError;
use super::state::Work;
use super::worker::{FIRST_UNITS, SEQUENCE_HEADER, Worker};
use crate::client::{ClientError, KafkaClient, OffsetEntry, Outgoing, TransactionalProducer};
use crate::registry::{framed, state_subject};
use crate::topics::{changelog_topic, dead_letter_topic, journal_topic, partition_for, snapshots_topic};

/// What a batch of one record may add to it on the wire; generous.
const FRAME_BYTES: usize = 512;

/// Wait after so many failures in a row, from 5 ms to 1.3 s. Together they outlast the heartbeat after which a member
/// that was taken out of its group knows of it: until then every transaction of it is refused.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(5 << failures.saturating_sub(1).min(8))
}

/// How large batches may become. A transaction has a price of its own, so under load larger ones are cheaper, as long as they
/// stay short enough for those who wait for them.
struct Growth {
    least: usize,
    most: usize,
    /// Longest that their own work should take. What the broker takes is no reason for smaller ones.
    target: Duration,
}

impl Growth {
    /// The most units of a next batch, after one of at most `units`.
    fn after(&self, units: usize, is_full: bool, took: Duration) -> usize {
        let doubled = units.saturating_mul(2);
        if units < self.least {
            // A transaction had taken too long and was aborted; this one did not.
            doubled.min(self.least)
        } else if took > self.target {
            (units / 2).max(self.least)
        } else if is_full && took < self.target / 2 {
            doubled.min(self.most)
        } else {
            units
        }
    }
}

/// A record ready to be sent. Its topic and key are not copied where they stand in what a task wrote.
struct Prepared<'w> {
    topic: Topic,
    partition: i32,
    key: Cow<'w, [u8]>,
    value: Option<Vec<u8>>,
    headers: Vec<(&'static str, Vec<u8>)>,
}

/// Name of a topic: of a stage's own, or one that the engine has for the group.
#[derive(Clone)]
enum Topic {
    Stage(&'static str),
    Engine(Arc<str>),
}

impl Topic {
    fn name(&self) -> &str {
        match self {
            Self::Stage(name) => name,
            Self::Engine(name) => name,
        }
    }
}

impl<C: KafkaClient> Worker<C> {
    /// Writes and commits the batches. After an abort state and inputs are as before them.
    ///
    /// An error means that the tasks cannot go on from where they are.
    pub(super) fn transact(&mut self, work: Vec<Work>, membership: &C::GroupMetadata) -> Result<(), DriverError> {
        let written = self.prepare(&work).and_then(|records| {
            let offsets = self.offsets(&work);
            self.next_producer()?;
            self.write(&records, &offsets, membership)
        });
        let error = match written {
            Ok(()) => {
                self.after_commit(work);
                return Ok(());
            }
            Err(e) => e,
        };
        match error.reaction() {
            Reaction::AbortTxn | Reaction::Retry => {}
            Reaction::Restore | Reaction::DeadLetter | Reaction::Stop => return Err(error),
        }
        for w in &work {
            if let Some(state) = self.tasks.get_mut(&w.partition) {
                state.task.rollback();
            }
        }
        self.meters.aborts.add(1);
        self.failures += 1;
        if self.failures >= self.shared.config.max_failures {
            return Err(DriverError::GaveUp { attempts: self.failures, last: Box::new(error) });
        }
        warn!(group = self.group.name(), %error, attempt = self.failures, "transaction aborted, its batches run again");
        std::thread::park_timeout(backoff(self.failures));
        Ok(())
    }

    fn write(
        &mut self,
        records: &[Prepared<'_>],
        offsets: &[OffsetEntry],
        membership: &C::GroupMetadata,
    ) -> Result<(), DriverError> {
        let start = Instant::now();
        let limit = Duration::from_millis(self.shared.config.max_batch_ms);
        self.shared.phase(&self.part, Phase::Transaction);
        self.producers.current().begin()?;
        let done = self.fill(records, offsets, membership, start, limit).and_then(|()| {
            let at = Instant::now();
            self.producers.current().commit()?;
            self.meters.commit_seconds.observe(at.elapsed());
            Ok(())
        });
        if let Err(ClientError::Abort { .. } | ClientError::Retry { .. } | ClientError::TooLarge { .. }) = &done {
            self.producers.current().abort()?;
        }
        self.shared.phase(&self.part, Phase::Idle);
        Ok(done?)
    }

    fn fill(
        &mut self,
        records: &[Prepared<'_>],
        offsets: &[OffsetEntry],
        membership: &C::GroupMetadata,
        start: Instant,
        limit: Duration,
    ) -> Result<(), ClientError> {
        let timestamp_ms = os_now_us() / 1_000;
        let producer = self.producers.current();
        for r in records {
            let headers: Vec<(&str, &[u8])> = r.headers.iter().map(|(k, v)| (*k, v.as_slice())).collect();
            producer.send(&Outgoing {
                topic: r.topic.name(),
                partition: r.partition,
                key: Some(&r.key),
                value: r.value.as_deref(),
                headers: &headers,
                timestamp_ms,
            })?;
        }
        self.meters.produce_seconds.observe(start.elapsed());
        self.worked = self.gathered.elapsed();
        let at = Instant::now();
        self.producers.current().send_offsets(offsets, membership)?;
        self.meters.offsets_seconds.observe(at.elapsed());
        if start.elapsed() > limit {
            // It would hold back every reader of what it wrote; smaller ones get through.
            self.max_units = (self.max_units / 2).max(1);
            return Err(ClientError::Abort { call: "transaction", text: format!("took longer than {limit:?}") });
        }
        Ok(())
    }

    fn after_commit(&mut self, work: Vec<Work>) {
        let now = os_now_us();
        let mut units = 0;
        for w in &work {
            if let Some(state) = self.tasks.get_mut(&w.partition) {
                state.committed(w);
                super::paced::committed(state, w);
                let config = &self.shared.config;
                state.snapshot(Duration::from_millis(config.snapshot_interval_ms), config.snapshot_part_bytes);
            }
            if let Some(blame) = self.blames.get_mut(&w.partition).filter(|_| w.out.units > 0) {
                blame.passed();
            }
            units += w.out.units;
            self.meters.outputs.add(w.out.outputs.len());
            self.meters.dead_letters.add(w.out.dead_letters.len());
            self.meters.forwards.add(w.out.forwards);
            for origin in w.out.outputs.iter().filter_map(|o| o.origin_us) {
                let us = u64::try_from(now.saturating_sub(origin)).unwrap_or(0);
                self.meters.end_to_end_seconds.observe(Duration::from_micros(us));
            }
        }
        self.max_units = self.next_units(&work);
        for w in work {
            self.shared.tracer.tell(&self.service, (w.started_us, now), w.out.spans);
        }
        self.meters.records.add(units);
        self.meters.batch_size.observe_count(units);
        self.meters.commits.add(1);
        self.commits += 1;
        self.failures = 0;
    }

    fn next_units(&self, work: &[Work]) -> usize {
        let config = &self.shared.config;
        let growth = Growth {
            least: config.max_batch_records.min(FIRST_UNITS),
            most: config.max_batch_records,
            target: Duration::from_millis(config.target_batch_ms),
        };
        let is_full = !config.paced && work.iter().any(|w| w.out.units >= self.max_units);
        growth.after(self.max_units, is_full, self.worked)
    }

    fn offsets(&self, work: &[Work]) -> Vec<OffsetEntry> {
        work.iter().filter_map(|w| self.tasks.get(&w.partition).map(|t| t.offsets(w))).flatten().collect()
    }

    fn prepare<'w>(&mut self, work: &'w [Work]) -> Result<Vec<Prepared<'w>>, DriverError> {
        let written = |w: &Work| w.out.outputs.len().saturating_add(w.out.changelog.len()).saturating_add(1);
        let mut all = Vec::with_capacity(work.iter().map(written).sum());
        let limit = self.shared.max_record_bytes;
        for w in work {
            let first = all.len();
            for out in &w.out.outputs {
                all.push(self.output(out)?);
            }
            self.prepare_engine(w, &mut all)?;
            for r in all.iter().skip(first) {
                let headers: usize = r.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
                let size = r.key.len() + r.value.as_ref().map_or(0, Vec::len) + headers + FRAME_BYTES;
                if size > limit {
                    let (topic, partition) = (r.topic.name().to_owned(), w.partition);
                    return Err(DriverError::TooLarge { partition, topic, size, limit });
                }
            }
        }
        Ok(all)
    }

    fn output<'w>(&mut self, out: &'w OutRecord) -> Result<Prepared<'w>, DriverError> {
        let partition = self.shared.router.partition(out.topic, &out.key)?;
        let id = self.framing.value_id(out.topic, out.schema)?;
        let headers = out.wire_headers();
        let (topic, key) = (Topic::Stage(out.topic), Cow::Borrowed(out.key.as_bytes()));
        Ok(Prepared { topic, partition, key, value: Some(framed(id, &out.payload)), headers })
    }

    /// A key with its state.
    fn entry<'w>(
        &mut self,
        topic: &Topic,
        partition: i32,
        entry: &ChangelogEntry,
        sequence: Vec<u8>,
    ) -> Result<Prepared<'w>, DriverError> {
        let value = match &entry.value {
            Some(v) => Some(framed(self.framing.id(&state_subject(entry.schema), entry.schema)?, v)),
            None => None,
        };
        let key = Cow::Owned(format!("{}/{}", entry.store, entry.key).into_bytes());
        Ok(Prepared { topic: topic.clone(), partition, key, value, headers: vec![(SEQUENCE_HEADER, sequence)] })
    }

    /// A snapshot is written as the changelog is, and ended by a record that says how much it is.
    fn prepare_snapshot(
        &mut self,
        partition: i32,
        part: &SnapshotPart,
        all: &mut Vec<Prepared<'_>>,
    ) -> Result<(), DriverError> {
        let topic = Topic::Engine(snapshots_topic(self.group.name()).into());
        let sequence = part.sequence.to_be_bytes().to_vec();
        for entry in &part.entries {
            let prepared = self.entry(&topic, partition, entry, sequence.clone())?;
            all.push(prepared);
        }
        if let Some(total) = part.total {
            let entries = i64::try_from(total).unwrap_or(i64::MAX);
            let end = Snapshot { sequence: part.sequence, now: part.now, entries };
            let id = self.framing.id(&state_subject(Snapshot::FULL_NAME), Snapshot::FULL_NAME)?;
            let key = Cow::Owned(partition.to_string().into_bytes());
            let value = Some(framed(id, &end.to_bytes()));
            all.push(Prepared { topic, partition, key, value, headers: vec![(SEQUENCE_HEADER, sequence)] });
        }
        Ok(())
    }

    /// Dead letters, changelog, snapshot and journal.
    fn prepare_engine<'w>(&mut self, w: &'w Work, all: &mut Vec<Prepared<'w>>) -> Result<(), DriverError> {
        let sequence = w.out.record.sequence.to_be_bytes().to_vec();
        for letter in &w.out.dead_letters {
            let topic = dead_letter_topic(letter.stage);
            let id = self.framing.id(&state_subject(DeadLetter::FULL_NAME), DeadLetter::FULL_NAME)?;
            let partition = partition_for(letter.key.as_bytes(), self.shared.partitions_of(&topic));
            let headers = letter.wire_headers();
            let (topic, key) = (Topic::Engine(topic.into()), Cow::Borrowed(letter.key.as_bytes()));
            let value = Some(framed(id, &letter.payload));
            all.push(Prepared { topic, partition, key, value, headers });
        }
        let changelog = Topic::Engine(changelog_topic(self.group.name()).into());
        for change in &w.out.changelog {
            let prepared = self.entry(&changelog, w.partition, change, sequence.clone())?;
            all.push(prepared);
        }
        if let Some(part) = &w.out.snapshot {
            self.prepare_snapshot(w.partition, part, all)?;
        }
        let id = self.framing.id(&state_subject(JournalRecord::FULL_NAME), JournalRecord::FULL_NAME)?;
        all.push(Prepared {
            topic: Topic::Engine(journal_topic(self.group.name()).into()),
            partition: w.partition,
            key: Cow::Owned(w.partition.to_string().into_bytes()),
            value: Some(framed(id, &w.out.record.to_bytes())),
            headers: vec![(SEQUENCE_HEADER, sequence)],
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_while_they_are_full_and_quick_and_shrink_when_they_are_slow() {
        let growth = Growth { least: 500, most: 3_000, target: Duration::from_millis(200) };
        let ms = Duration::from_millis;
        assert_eq!(growth.after(500, true, ms(20)), 1_000);
        assert_eq!(growth.after(2_000, true, ms(99)), 3_000, "no further than allowed");
        assert_eq!(growth.after(1_000, false, ms(20)), 1_000, "nothing waited for more room");
        assert_eq!(growth.after(1_000, true, ms(150)), 1_000, "the next would take too long");
        assert_eq!(growth.after(2_000, true, ms(201)), 1_000);
        assert_eq!(growth.after(600, false, ms(400)), 500);
        assert_eq!(growth.after(500, true, ms(900)), 500, "no smaller than the first ones");
        assert_eq!(growth.after(62, false, ms(20)), 124, "back from an abort, full or not");
        assert_eq!(growth.after(400, true, ms(900)), 500);
    }
}
