//! One transaction: everything that the batches of a worker's tasks write.

use std::time::{Duration, Instant};

use fillstream_core::error::Reaction;
use tracing::warn;

use super::Phase;
use super::clock::os_now_us;
use super::error::DriverError;
use super::paced;
use super::send::{Ready, Scratch};
use super::state::Work;
use super::worker::{FIRST_UNITS, Worker};
use crate::client::{ClientError, KafkaClient, OffsetEntry, TransactionalProducer};
use crate::failpoint::{self, fail_point};
use crate::topics::changelog_topic;

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

/// Ends the open transaction after an error that lets it be aborted; the error comes back, or that of the abort.
fn aborted<T>(producer: &mut impl TransactionalProducer, error: ClientError) -> Result<T, ClientError> {
    if let ClientError::Abort { .. } | ClientError::Retry { .. } | ClientError::TooLarge { .. } = &error {
        producer.abort()?;
    }
    Err(error)
}

/// The call that a transaction names which took too long.
const TOO_LONG: &str = "transaction";

/// What is left to do of a transaction whose records are handed to the producer.
struct Ending<'a, M> {
    offsets: &'a [OffsetEntry],
    membership: &'a M,
    began: Instant,
    limit: Duration,
}

impl<M> Ending<'_, M> {
    /// Commits; tells how long the offsets took, and the commit.
    fn run<P>(&self, producer: &mut P) -> Result<(Duration, Duration), ClientError>
    where
        P: TransactionalProducer<GroupMetadata = M>,
    {
        let at = Instant::now();
        producer.send_offsets(self.offsets, self.membership)?;
        let offsets = at.elapsed();
        fail_point(failpoint::AFTER_OFFSETS);
        if self.began.elapsed() > self.limit {
            let text = format!("took longer than {:?}", self.limit);
            return Err(ClientError::Abort { call: TOO_LONG, text });
        }
        let at = Instant::now();
        producer.commit()?;
        fail_point(failpoint::AFTER_COMMIT);
        Ok((offsets, at.elapsed()))
    }
}

impl<C: KafkaClient> Worker<C> {
    /// Writes and commits the batches. After an abort state and inputs are as before them.
    ///
    /// An error means that the tasks cannot go on from where they are.
    pub(super) fn transact(&mut self, work: Vec<Work>, membership: &C::GroupMetadata) -> Result<(), DriverError> {
        let written = work.iter().map(|w| self.ready_to_send(w)).collect::<Result<Vec<_>, _>>().and_then(|batches| {
            let offsets = self.offsets(&work);
            self.next_producer()?;
            self.write(&batches, &offsets, membership)
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
        batches: &[Ready<'_>],
        offsets: &[OffsetEntry],
        membership: &C::GroupMetadata,
    ) -> Result<(), DriverError> {
        let began = Instant::now();
        self.shared.phase(&self.part, Phase::Transaction);
        self.producers.current().begin()?;
        let done = self.produce(batches, began).and_then(|()| {
            let limit = Duration::from_millis(self.shared.config.max_batch_ms);
            let ending = Ending { offsets, membership, began, limit };
            self.gather_while(|producer| ending.run(producer).or_else(|e| aborted(producer, e)))
        });
        if let Ok((offsets, commit)) = &done {
            self.meters.offsets_seconds.observe(*offsets);
            self.meters.commit_seconds.observe(*commit);
        }
        if let Err(ClientError::Abort { call: TOO_LONG, .. }) = &done {
            // It would hold back every reader of what it wrote; smaller ones get through.
            self.max_units = (self.max_units / 2).max(1);
        }
        self.shared.phase(&self.part, Phase::Idle);
        Ok(done.map(drop)?)
    }

    fn produce(&mut self, batches: &[Ready<'_>], began: Instant) -> Result<(), ClientError> {
        fail_point(failpoint::BEFORE_PRODUCE);
        let (timestamp_ms, changelog) = (os_now_us() / 1_000, changelog_topic(self.group.name()));
        let (producer, mut scratch) = (self.producers.current(), Scratch::default());
        for batch in batches {
            let sent = batch.send(producer, &changelog, timestamp_ms, &mut scratch);
            sent.or_else(|e| aborted(producer, e))?;
        }
        self.meters.produce_seconds.observe(began.elapsed());
        fail_point(failpoint::AFTER_PRODUCE);
        self.worked = self.gathered.elapsed();
        Ok(())
    }

    fn after_commit(&mut self, work: Vec<Work>) {
        let now = os_now_us();
        let mut units = 0;
        for w in &work {
            if let Some(state) = self.tasks.get_mut(&w.partition) {
                state.committed(w);
                paced::committed(state, w);
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
