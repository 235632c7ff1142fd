//! The bare transactional loop, the floor under every path: read, write to so many topics on the record's partition, commit
//! with the offsets, through the client boundary that the driver uses, without the driver. What is above it is the driver's
//! and the stages' own cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fillstream_kafka::client::{
    ClientError, ConsumerEvent, GroupConsumer as _, KafkaClient as _, KafkaProducer, OffsetEntry, Outgoing, RdKafka,
    RdKafkaConsumer, Received, TopicPartition, TransactionalProducer as _,
};

/// Longest wait for a first record: how soon the loop sees that it should end.
const IDLE: Duration = Duration::from_millis(50);
/// Most records of a transaction that is committed when nothing more is there.
const MOST: usize = 10_000;

/// What the loop reads and writes, and when it commits.
pub(super) struct Plan {
    pub(super) kafka: RdKafka,
    /// Consumer group, and stem of the transactional ids.
    pub(super) name: String,
    pub(super) input: String,
    pub(super) outputs: Vec<String>,
    /// Transactional ids used in turn.
    pub(super) ids: usize,
    /// Time between two commits; zero: as soon as nothing more is there.
    pub(super) every: Duration,
}

/// What a loop has done so far.
#[derive(Default)]
pub(super) struct Counted {
    commits: AtomicU64,
    in_commit_us: AtomicU64,
    is_assigned: AtomicBool,
}

impl Counted {
    /// Commits, and the time spent in them, microseconds.
    pub(super) fn commits(&self) -> (u64, u64) {
        (self.commits.load(Ordering::Relaxed), self.in_commit_us.load(Ordering::Relaxed))
    }
}

/// A loop at work.
pub(super) struct Floor {
    stop: Arc<AtomicBool>,
    counted: Arc<Counted>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Floor {
    pub(super) fn start(plan: Plan) -> anyhow::Result<Self> {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(Counted::default()));
        let own = (Arc::clone(&stop), Arc::clone(&counted));
        let thread = std::thread::Builder::new().name("bare loop".into()).spawn(move || plan.run(&own.0, &own.1))?;
        Ok(Self { stop, counted, thread: Some(thread) })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.counted.is_assigned.load(Ordering::Relaxed)
    }

    pub(super) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Fails when the loop has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.thread.take_if(|t| t.is_finished()) {
            None => Ok(()),
            Some(ended) => {
                joined(ended)?;
                bail!("the bare loop ended by itself")
            }
        }
    }

    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), joined)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn joined(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().unwrap_or_else(|_| bail!("the bare loop panicked"))
}

/// What a poll meant for the loop.
enum Polled {
    Record(Received),
    /// What comes now belongs to another membership than the one taken before.
    Moved(Vec<TopicPartition>),
    Nothing,
}

impl Plan {
    fn run(&self, stop: &AtomicBool, counted: &Counted) -> anyhow::Result<()> {
        let mut producers = Vec::new();
        for n in 0..self.ids.max(1) {
            producers.push(self.producer(n)?);
        }
        let mut consumer = self.kafka.consumer(&self.name, "one", &[&self.input])?;
        let (mut turn, mut committed) = (0, BTreeMap::new());
        while !stop.load(Ordering::Relaxed) {
            let membership = consumer.group_metadata()?;
            let first = match Self::poll(&mut consumer, IDLE)? {
                Polled::Record(record) => record,
                Polled::Moved(partitions) => {
                    committed = partitions.into_iter().map(|tp| (tp.partition, 0)).collect();
                    consumer.assign_at(&self.offsets(&committed))?;
                    counted.is_assigned.store(true, Ordering::Relaxed);
                    continue;
                }
                Polled::Nothing => continue,
            };
            turn = (turn + 1) % producers.len();
            let producer = producers.get_mut(turn).context("a loop needs a producer")?;
            producer.begin()?;
            let done = self.fill(producer, &mut consumer, first).and_then(|next| {
                producer.send_offsets(&self.offsets(&next), &membership)?;
                let at = Instant::now();
                producer.commit()?;
                counted.in_commit_us.fetch_add(u64::try_from(at.elapsed().as_micros())?, Ordering::Relaxed);
                counted.commits.fetch_add(1, Ordering::Relaxed);
                Ok(next)
            });
            match done {
                Ok(next) => committed.extend(next),
                // On a machine that has no time for anybody, a record is not acknowledged in time. A new producer ends what
                // the old one left open, and begins without a gap in its numbers.
                Err(e) if matches!(e.downcast_ref(), Some(ClientError::Abort { .. } | ClientError::Fatal { .. })) => {
                    tracing::warn!(error = %e, "the bare loop begins again where it committed last");
                    *producer = self.producer(turn)?;
                    consumer.assign_at(&self.offsets(&committed))?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn producer(&self, n: usize) -> anyhow::Result<KafkaProducer> {
        let mut producer = self.kafka.producer(&format!("{}.{n}", self.name))?;
        producer.init()?;
        Ok(producer)
    }

    fn offsets(&self, next: &BTreeMap<i32, i64>) -> Vec<OffsetEntry> {
        let entry = |(partition, offset): (&i32, &i64)| {
            let tp = TopicPartition::new(&*self.input, *partition);
            OffsetEntry { tp, offset: *offset, metadata: String::new() }
        };
        next.iter().map(entry).collect()
    }

    /// Writes what is there, or what comes until it is time to commit; gives the next offsets.
    fn fill(
        &self,
        producer: &mut KafkaProducer,
        consumer: &mut RdKafkaConsumer,
        first: Received,
    ) -> anyhow::Result<BTreeMap<i32, i64>> {
        let start = Instant::now();
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let (mut count, mut record) = (0, first);
        loop {
            self.write(producer, &record)?;
            next.insert(record.partition, record.offset + 1);
            count += 1;
            let left = self.every.saturating_sub(start.elapsed());
            let is_full = if self.every.is_zero() { count >= MOST } else { left.is_zero() };
            if is_full {
                break;
            }
            record = match Self::poll(consumer, left)? {
                Polled::Record(record) => record,
                Polled::Moved(_) => bail!("the bare loop has its group for itself, but its partitions moved"),
                Polled::Nothing => break,
            };
        }
        Ok(next)
    }

    fn poll(consumer: &mut RdKafkaConsumer, wait: Duration) -> anyhow::Result<Polled> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match consumer.poll(left) {
                Ok(Some(ConsumerEvent::Record(record))) => return Ok(Polled::Record(record)),
                Ok(Some(ConsumerEvent::Assigned(partitions))) => return Ok(Polled::Moved(partitions)),
                // No record: the end of a partition, behind which another one may have some, and what passes by itself, such
                // as a topic that is a moment old.
                Ok(Some(ConsumerEvent::End { .. })) => {}
                Err(ClientError::Retry { .. }) if !left.is_zero() => {}
                Ok(None) | Err(ClientError::Retry { .. }) => return Ok(Polled::Nothing),
                Ok(Some(other)) => bail!("the bare loop has its group for itself, but: {other:?}"),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn write(&self, producer: &mut KafkaProducer, record: &Received) -> anyhow::Result<()> {
        for topic in &self.outputs {
            producer.send(&Outgoing {
                topic,
                partition: record.partition,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &[],
                timestamp_ms: record.timestamp_ms,
            })?;
        }
        Ok(())
    }
}
