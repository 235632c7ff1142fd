//! From the consumer to the tasks.
//!
//! A record is given to its task at once, while its bytes are in the processor's cache. With lag that goes on while the
//! last transaction ends: the broker's answers are then not waited for in vain.

use std::collections::BTreeMap;
use std::thread::Builder;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::blame::Blame;
use super::clock::os_now_us;
use super::envelope::envelope;
use super::error::DriverError;
use super::paced;
use super::state::TaskState;
use super::worker::Worker;
use crate::client::{ClientError, ConsumerEvent, GroupConsumer, KafkaClient, Received, TopicPartition};
use crate::registry::{Framing, RegistryError};

/// Longest that one gathering takes.
const LONGEST: Duration = Duration::from_millis(200);

/// What was taken from the consumer for a transaction.
#[derive(Clone, Copy, Default)]
pub(super) struct Gathered {
    records: usize,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, record: &Received) {
        self.records = self.records.saturating_add(1);
        self.bytes = self.bytes.saturating_add(record.size());
    }
}

/// Most that is taken for a transaction.
#[derive(Clone, Copy)]
struct Most {
    records: usize,
    bytes: usize,
}

impl Most {
    fn is_reached(&self, got: Gathered) -> bool {
        got.records >= self.records || got.bytes >= self.bytes
    }
}

/// Where what was read goes.
struct Intake<'w> {
    tasks: &'w mut BTreeMap<i32, TaskState>,
    framing: &'w mut Framing,
    blames: &'w BTreeMap<i32, Blame>,
    /// Whether the registry may be asked for a schema: not while a transaction is open.
    may_ask: bool,
}

impl Intake<'_> {
    /// Gives a record to its task, where nothing speaks against that; otherwise it waits for [`Worker::convert`], which
    /// says what does.
    fn record(&mut self, record: Received) {
        let state = self.tasks.get_mut(&record.partition);
        let Some((task, input)) =
            state.and_then(|t| Some((&mut t.task, t.inputs.get_mut(&record.topic)?.expect(&record)?)))
        else {
            let (topic, partition, offset) = (&record.topic, record.partition, record.offset);
            warn!(%topic, partition, offset, "a record that was not asked for is dropped");
            return;
        };
        let is_readable = self.may_ask || self.framing.is_known(input.schema, record.value.as_deref());
        if !is_readable || input.is_clock || !input.raw.is_empty() || self.blames.contains_key(&record.partition) {
            input.raw.push_back(record);
            return;
        }
        match envelope(self.framing, input.schema, &record) {
            Ok(envelope) => task.offer(envelope),
            Err(_) => input.raw.push_back(record),
        }
    }

    /// A partition is read up to an offset, with what is never delivered.
    fn end(&mut self, tp: &TopicPartition, offset: i64) {
        let input = self.tasks.get_mut(&tp.partition).and_then(|t| t.inputs.get_mut(&tp.topic));
        if let Some(input) = input {
            input.position = input.position.max(offset);
        }
    }

    /// Takes records until `is_over`, or until the consumer says something else, which must wait until then.
    fn fill_until(
        &mut self,
        is_over: impl Fn() -> bool,
        consumer: &mut impl GroupConsumer,
        most: Most,
        got: &mut Gathered,
    ) -> Result<Option<ConsumerEvent>, ClientError> {
        let start = Instant::now();
        // Not longer than any gathering: a member whose transaction hangs must be seen to hang.
        let ends = || is_over() || start.elapsed() > LONGEST;
        while !most.is_reached(*got) {
            // Asked now and then, as records come quicker than it could be over.
            if got.records.is_multiple_of(64) && ends() {
                break;
            }
            match consumer.poll(Duration::ZERO) {
                Ok(Some(ConsumerEvent::Record(record))) => {
                    got.add(&record);
                    self.record(record);
                }
                Ok(Some(ConsumerEvent::End { tp, offset })) => self.end(&tp, offset),
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) | Err(ClientError::Retry { .. }) => {
                    if ends() {
                        break;
                    }
                    // A wait in the queue itself would end with every single record.
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl<C: KafkaClient> Worker<C> {
    /// Takes what is there; waits only when there is nothing to do.
    pub(super) fn gather(&mut self) -> Result<(), DriverError> {
        // Also where what the consumer has said makes them void.
        let mut got = std::mem::take(&mut self.ahead);
        while let Some(event) = self.backlog.pop_front() {
            self.take(event)?;
        }
        if let Some(error) = self.gathering_failed.take() {
            return Err(error.into());
        }
        let start = Instant::now();
        let most = self.most();
        let config = &self.shared.config;
        let (lag_records, minimum) = (config.lag_records, Duration::from_millis(config.min_batch_ms));
        if !config.paced && self.pending() >= most.records {
            return Ok(());
        }
        let mut wait = self.idle_wait();
        loop {
            let polled = self.consumer.poll(wait);
            wait = Duration::ZERO;
            match polled {
                Ok(Some(ConsumerEvent::Record(record))) => {
                    got.add(&record);
                    self.intake().record(record);
                }
                Ok(Some(event)) => self.take(event)?,
                // Under load a transaction that waits a little costs less than two.
                Ok(None) if self.behind && got.records > 0 && self.last_commit.elapsed() < minimum => {
                    wait = minimum.saturating_sub(self.last_commit.elapsed()).min(Duration::from_millis(1));
                }
                Ok(None) => break,
                Err(ClientError::Retry { text, .. }) => {
                    debug!(group = self.group.name(), text, "poll");
                    break;
                }
                Err(e) => return Err(e.into()),
            }
            // The clock costs as much as a small record: it is asked now and then.
            let is_late = || got.records.is_multiple_of(64) && start.elapsed() > LONGEST;
            if most.is_reached(got) || is_late() {
                break;
            }
        }
        self.behind = got.records >= lag_records;
        self.meters.poll_seconds.observe(start.elapsed());
        Ok(())
    }

    /// Ends the transaction. With lag that is done on another thread, and records for the next one are taken meanwhile, as
    /// long as no more wait than one takes.
    pub(super) fn gather_while<T: Send>(&mut self, end: impl Fn(&mut C::Producer) -> T + Sync) -> T {
        let mut most = self.most();
        most.records = most.records.saturating_sub(self.pending());
        // Without lag a thread more would only cost time.
        let overlaps = self.behind && !self.shared.config.paced && most.records > 0;
        let Self { producers, consumer, tasks, framing, blames, backlog, ahead, gathering_failed, .. } = self;
        let producer = producers.current();
        let ended = overlaps.then(|| {
            std::thread::scope(|scope| {
                let ending = Builder::new().spawn_scoped(scope, || end(producer)).ok()?;
                let mut intake = Intake { tasks, framing, blames, may_ask: false };
                match intake.fill_until(|| ending.is_finished(), consumer, most, ahead) {
                    Ok(event) => backlog.extend(event),
                    Err(error) => *gathering_failed = Some(error),
                }
                Some(ending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        });
        // Where there is no thread to be had too.
        ended.flatten().unwrap_or_else(|| end(producers.current()))
    }

    fn intake(&mut self) -> Intake<'_> {
        Intake { tasks: &mut self.tasks, framing: &mut self.framing, blames: &self.blames, may_ask: true }
    }

    /// Most that is taken for a transaction now.
    fn most(&self) -> Most {
        let records = self.max_units.saturating_mul(self.tasks.len().max(1));
        Most { records, bytes: self.shared.config.max_batch_bytes }
    }

    fn take(&mut self, event: ConsumerEvent) -> Result<(), DriverError> {
        match event {
            ConsumerEvent::Record(record) => {
                self.intake().record(record);
                Ok(())
            }
            ConsumerEvent::End { tp, offset } => {
                self.intake().end(&tp, offset);
                Ok(())
            }
            ConsumerEvent::Assigned(partitions) => {
                info!(group = self.group.name(), count = partitions.len(), "assigned");
                let done = self.assigned(partitions);
                if done.is_err() {
                    self.kept.append(&mut self.tasks);
                }
                done?;
                Err(DriverError::Interrupted)
            }
            ConsumerEvent::Revoked(partitions) => self.released("revoked", &partitions),
            ConsumerEvent::Lost(partitions) => self.released("lost", &partitions),
            ConsumerEvent::NoOffset(text) => Err(DriverError::OffsetGone { group: self.consumer_group.clone(), text }),
        }
    }

    fn released(&mut self, how: &str, partitions: &[TopicPartition]) -> Result<(), DriverError> {
        info!(group = self.group.name(), count = partitions.len(), how, "partitions are gone");
        self.meters.forget_lag(&self.shared.metrics, self.tasks.keys());
        self.group_lag.show(&[]);
        self.kept.append(&mut self.tasks);
        self.meters.tasks.set(0);
        self.waiting(format!("partitions {how}"));
        Err(DriverError::Interrupted)
    }

    /// Offers what waits to the tasks, as far as its schemas are known; where the registry does not answer, the partition
    /// pauses.
    pub(super) fn convert(&mut self) -> Result<(), DriverError> {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        let os = os_now_us();
        for (partition, state) in &mut self.tasks {
            let mut blame = self.blames.get_mut(partition);
            let drained = state.task.pending() == 0 && state.inputs.values().all(|i| i.raw.is_empty());
            if drained && blame.as_ref().is_some_and(|b| b.is_over()) {
                self.blames.remove(partition);
                blame = None;
            }
            let TaskState { task, inputs, ticks, last_tick, .. } = state;
            for input in inputs.values_mut() {
                while let Some(record) = input.raw.front() {
                    if blame.is_some() && (task.pending() > 0 || task.next_due().is_some_and(|d| d.micros() <= os)) {
                        break;
                    }
                    match envelope(&mut self.framing, input.schema, record) {
                        Ok(e) if input.is_clock => paced::receive(ticks, *last_tick, &e)?,
                        Ok(e) => match &mut blame {
                            None => task.offer(e),
                            Some(blame) => {
                                blame.offered(&e);
                                task.offer(blame.judged(e));
                            }
                        },
                        Err(RegistryError::Unreachable(text)) => {
                            if !input.paused {
                                warn!(partition = %input.tp, text, "the registry does not answer: the partition pauses");
                                input.paused = true;
                                pause.push(input.tp.clone());
                            }
                            break;
                        }
                        Err(e) => return Err(e.into()),
                    }
                    input.raw.pop_front();
                }
                if input.paused && input.raw.is_empty() {
                    input.paused = false;
                    resume.push(input.tp.clone());
                }
            }
        }
        if !pause.is_empty() {
            self.consumer.pause(&pause)?;
        }
        if !resume.is_empty() {
            self.consumer.resume(&resume)?;
        }
        Ok(())
    }

    fn pending(&self) -> usize {
        self.tasks.values().map(|t| t.task.pending()).sum()
    }

    fn idle_wait(&self) -> Duration {
        let longest = Duration::from_millis(self.shared.config.idle_wait_ms);
        if self.shared.config.paced {
            // A tick in hand waits for tables and inputs: look often.
            let busy = self.tasks.values().any(|t| !t.ticks.is_empty());
            return if busy { Duration::from_millis(1) } else { longest };
        }
        let unoffered = || self.tasks.values().flat_map(|t| t.inputs.values()).any(|i| !i.paused && !i.raw.is_empty());
        if self.pending() > 0 || unoffered() {
            return Duration::ZERO;
        }
        let due = self.tasks.values().filter_map(|t| t.task.next_due()).min();
        let until = due.map_or(i64::MAX, |d| d.micros().saturating_sub(os_now_us()).max(0));
        longest.min(Duration::from_micros(u64::try_from(until).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::VecDeque;

    use super::*;
    use crate::client::OffsetEntry;
    use crate::registry::{RegistryConfig, SchemaRegistry};

    /// Says what it is told to, and nothing afterwards.
    struct Script(VecDeque<Result<ConsumerEvent, ClientError>>);

    impl GroupConsumer for Script {
        type GroupMetadata = ();

        fn poll(&mut self, _: Duration) -> Result<Option<ConsumerEvent>, ClientError> {
            self.0.pop_front().transpose()
        }

        fn group_metadata(&self) -> Result<(), ClientError> {
            Ok(())
        }

        fn assign_at(&mut self, _: &[OffsetEntry]) -> Result<(), ClientError> {
            Ok(())
        }

        fn pause(&mut self, _: &[TopicPartition]) -> Result<(), ClientError> {
            Ok(())
        }

        fn resume(&mut self, _: &[TopicPartition]) -> Result<(), ClientError> {
            Ok(())
        }

        fn committed(&self, _: &[TopicPartition]) -> Result<Vec<OffsetEntry>, ClientError> {
            Ok(Vec::new())
        }

        fn stable_bounds(&self, _: &TopicPartition) -> Result<(i64, i64), ClientError> {
            Ok((0, 0))
        }
    }

    fn record(offset: i64) -> Result<ConsumerEvent, ClientError> {
        let (topic, key, value) = ("in.v1".into(), None, Some(vec![0; 100]));
        Ok(ConsumerEvent::Record(Received {
            topic,
            partition: 0,
            offset,
            timestamp_ms: 0,
            key,
            value,
            headers: Vec::new(),
        }))
    }

    fn fill(
        script: &mut Script,
        most: Most,
        is_over: impl Fn() -> bool,
    ) -> (Gathered, Result<Option<ConsumerEvent>, ClientError>) {
        let registry = SchemaRegistry::new(&RegistryConfig::new("http://127.0.0.1:1")).unwrap();
        let (mut tasks, mut framing, mut got) = (BTreeMap::new(), Framing::new(registry), Gathered::default());
        let mut intake = Intake { tasks: &mut tasks, framing: &mut framing, blames: &BTreeMap::new(), may_ask: false };
        let said = intake.fill_until(is_over, script, most, &mut got);
        (got, said)
    }

    const ALL: Most = Most { records: usize::MAX, bytes: usize::MAX };

    #[test]
    fn what_is_no_record_is_left_to_later_with_all_that_follows_it() {
        let mut script =
            Script((0..3).map(record).chain([Ok(ConsumerEvent::Revoked(Vec::new())), record(3)]).collect());
        let (got, said) = fill(&mut script, ALL, || false);
        assert_eq!(got.records, 3);
        assert!(matches!(said, Ok(Some(ConsumerEvent::Revoked(_)))));
        assert_eq!(script.0.len(), 1);
        let fenced = ClientError::Fenced { call: "poll", text: String::new() };
        let mut script = Script([record(0), Err(fenced), record(1)].into());
        assert!(matches!(fill(&mut script, ALL, || false).1, Err(ClientError::Fenced { .. })));
        assert_eq!(script.0.len(), 1);
    }

    #[test]
    fn it_takes_no_more_than_may_be_taken_and_no_longer_than_the_transaction_lasts() {
        let records = |n| Script((0..n).map(record).collect());
        assert_eq!(fill(&mut records(10), Most { records: 4, ..ALL }, || false).0.records, 4);
        assert_eq!(fill(&mut records(10), Most { bytes: 250, ..ALL }, || false).0.records, 3);
        assert_eq!(fill(&mut records(1_000), ALL, || true).0.records, 0, "it was over before");
        let asked = Cell::new(0);
        let (got, _) = fill(&mut records(1_000), ALL, || asked.replace(asked.get() + 1) == 2);
        assert_eq!(got.records, 128, "asked at 0, 64 and 128");
    }
}
