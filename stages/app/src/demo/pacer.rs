//! The pacer: releases market time instant by instant, each when the one before is drained.
//!
//! Only who has something to do gets a tick: the partitions to which upstream or a task of the last instant wrote, those
//! with a timer that is due, those of sessions to which the venue has spoken. The journals say all of that, so an instant
//! in which one portfolio trades costs one task's transaction, and there is no instant without work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fillstream_domain::TimestampMicros;
use fillstream_market::MarketSource;
use fillstream_schemas::engine::JournalRecord;
use fillstream_schemas::execution::{ClockTick, TablePosition};

use super::scenario::Upstream;
use super::venue_clock::VenueClock;
use crate::bus::{Cluster, Writer};

const CLOCK: &str = "execution.clock.v1";
const MARKET: &str = "market.data.v1";
/// Market rows are published this far ahead: tables read as of event time, so what is ahead changes nothing.
const LOOK_AHEAD_US: i64 = 60_000_000;

/// A task whose journal decides when an instant is drained: (journal topic, partition).
pub type TaskId = (String, i32);

/// A journal record as it was read.
pub struct Journalled {
    /// Which task wrote it.
    pub task: TaskId,
    /// What it wrote.
    pub record: JournalRecord,
}

/// Where the pacer stands, for progress.
#[derive(Clone, Copy, Debug)]
pub struct Paced {
    /// Market time.
    pub instant: TimestampMicros,
    /// Instants released.
    pub instants: i64,
    /// Decisions and commands published.
    pub published: usize,
}

/// Releases instants.
pub struct Pacer {
    writer: Writer,
    source: Box<dyn MarketSource + Send>,
    upstream: VecDeque<Upstream>,
    venue: VenueClock,
    journals: Receiver<Journalled>,
    /// Every task with the level of its group.
    tasks: BTreeMap<TaskId, i32>,
    latest: BTreeMap<TaskId, JournalRecord>,
    /// Topics that tasks and sessions read.
    inputs: BTreeSet<String>,
    /// Partition of each broker session.
    sessions: BTreeMap<String, i32>,
    /// What each session was last told of the venue.
    told: BTreeMap<String, i64>,
    /// Partitions with something to read at the next instant.
    written: BTreeSet<i32>,
    /// Records of the market topic published so far, by partition, as (event time, next offset) where they ended.
    market_ends: BTreeMap<i32, VecDeque<(i64, i64)>>,
    /// Positions of tables that do not move during the run.
    fixed_tables: Vec<TablePosition>,
    grid_us: i64,
    sequence: i64,
    published_to: i64,
    published: usize,
    /// How long a tick may take before the run is given up.
    patience: Duration,
}

/// What a pacer needs.
pub struct Setup {
    /// The market.
    pub source: Box<dyn MarketSource + Send>,
    /// What upstream publishes, in order of time.
    pub upstream: Vec<Upstream>,
    /// The venue.
    pub venue: VenueClock,
    /// Journal records of every task, in order a task.
    pub journals: Receiver<Journalled>,
    /// Tasks with the level of their group.
    pub tasks: BTreeMap<TaskId, i32>,
    /// Topics that tasks and sessions read.
    pub inputs: BTreeSet<String>,
    /// Partition of each broker session.
    pub sessions: BTreeMap<String, i32>,
    /// Table topics that are complete before the run.
    pub tables: Vec<String>,
    /// Step of market time, microseconds.
    pub grid_us: i64,
}

impl Pacer {
    /// A pacer at the start of the market's session.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn new(cluster: &Cluster, setup: Setup) -> anyhow::Result<Self> {
        let mut market_ends = BTreeMap::new();
        for (partition, end) in (0..).zip(cluster.ends(MARKET)?) {
            market_ends.insert(partition, VecDeque::from([(i64::MIN, end)]));
        }
        let mut fixed_tables = Vec::new();
        for topic in &setup.tables {
            for (partition, offset) in (0..).zip(cluster.ends(topic)?) {
                fixed_tables.push(TablePosition { topic: topic.clone(), partition, offset });
            }
        }
        Ok(Self {
            writer: cluster.writer()?,
            source: setup.source,
            upstream: setup.upstream.into(),
            venue: setup.venue,
            journals: setup.journals,
            tasks: setup.tasks,
            latest: BTreeMap::new(),
            inputs: setup.inputs,
            sessions: setup.sessions,
            told: BTreeMap::new(),
            written: BTreeSet::new(),
            market_ends,
            fixed_tables,
            grid_us: setup.grid_us,
            sequence: 0,
            published_to: i64::MIN,
            published: 0,
            patience: Duration::from_secs(120),
        })
    }

    /// Runs until upstream, timers and venue have nothing left up to `ends_at`.
    ///
    /// # Errors
    /// A service fails, or a tick is not drained in time.
    pub fn run(
        &mut self,
        ends_at: TimestampMicros,
        mut progress: impl FnMut(Paced) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut instant = self.ceil(self.source.session().start.micros().saturating_add(1));
        let mut instants = 0;
        loop {
            let mut awake = std::mem::take(&mut self.written);
            self.publish_up_to(instant, &mut awake)?;
            self.sequence += 1;
            self.venue.advance(instant, self.sequence)?;
            awake.extend(self.spoken_to());
            awake.extend(self.timers_due(instant));
            for level in 0..=self.tasks.values().copied().max().unwrap_or(0) {
                self.tick(instant, level, &awake)?;
                self.drain(level, &awake)?;
            }
            instants += 1;
            progress(Paced { instant: TimestampMicros::from_micros(instant), instants, published: self.published })?;
            self.venue.refresh()?;
            let step = instant.saturating_add(self.grid_us);
            if !self.written.is_empty() || self.spoken_to().next().is_some() {
                instant = step;
                continue;
            }
            match self.next_due() {
                Some(next) if next <= ends_at.micros() => instant = self.ceil(next).max(step),
                Some(_) | None => return Ok(()),
            }
        }
    }

    // Partitions of the sessions that do not know the venue's last word.
    fn spoken_to(&self) -> impl Iterator<Item = i32> {
        let news = |(session, seq): &(&String, &i64)| **seq > self.told.get(*session).copied().unwrap_or(0);
        self.venue.seqs().iter().filter(news).filter_map(|(session, _)| self.sessions.get(session)).copied()
    }

    fn timers_due(&self, instant: i64) -> impl Iterator<Item = i32> {
        let due = move |record: &JournalRecord| record.next_due.is_some_and(|due| due.micros() <= instant);
        self.latest.iter().filter(move |(_, record)| due(record)).map(|((_, partition), _)| *partition)
    }

    fn next_due(&self) -> Option<i64> {
        let timers = self.latest.values().filter_map(|r| r.next_due).map(TimestampMicros::micros);
        let upstream = self.upstream.front().map(|u| u.at().micros());
        timers.chain(upstream).chain(self.venue.next_event_at()).min()
    }

    fn ceil(&self, us: i64) -> i64 {
        us.saturating_add(self.grid_us - 1).div_euclid(self.grid_us).saturating_mul(self.grid_us)
    }

    fn publish_up_to(&mut self, instant: i64, awake: &mut BTreeSet<i32>) -> anyhow::Result<()> {
        if self.published_to < instant.saturating_add(LOOK_AHEAD_US / 4) {
            let ahead = instant.saturating_add(LOOK_AHEAD_US);
            for row in self.source.advance_to(TimestampMicros::from_micros(ahead)).context("market")? {
                let partition = self.writer.send(MARKET, &row)?;
                let ends = self.market_ends.entry(partition).or_default();
                let next = ends.back().map_or(0, |(_, end)| *end) + 1;
                ends.push_back((row.event_time.micros(), next));
            }
            self.published_to = ahead;
        }
        while self.upstream.front().is_some_and(|u| u.at().micros() <= instant) {
            awake.insert(match self.upstream.pop_front() {
                Some(Upstream::Decision(d)) => self.writer.send("coordination.decisions.v1", &*d)?,
                Some(Upstream::Command(c)) => self.writer.send("execution.commands.v1", &*c)?,
                None => break,
            });
            self.published += 1;
        }
        self.writer.flush()
    }

    fn tick(&mut self, instant: i64, level: i32, awake: &BTreeSet<i32>) -> anyhow::Result<()> {
        self.sequence += 1;
        let mut tables = self.fixed_tables.clone();
        for (partition, ends) in &mut self.market_ends {
            while ends.get(1).is_some_and(|(time, _)| *time <= instant) {
                ends.pop_front();
            }
            let offset = ends.front().map_or(0, |(_, end)| *end);
            tables.push(TablePosition { topic: MARKET.to_owned(), partition: *partition, offset });
        }
        let tick = ClockTick {
            instant: TimestampMicros::from_micros(instant),
            level,
            sequence: self.sequence,
            tables,
            session_seqs: self.venue.seqs().clone(),
        };
        for partition in awake {
            self.writer.send_to(CLOCK, *partition, &partition.to_string(), &tick)?;
        }
        let told = self.sessions.iter().filter(|(_, partition)| awake.contains(*partition));
        self.told.extend(told.filter_map(|(name, _)| self.venue.seqs().get(name).map(|seq| (name.clone(), *seq))));
        self.writer.flush()
    }

    // Waits for the journal of every task of the level that got a tick, and notes who has something to read next.
    fn drain(&mut self, level: i32, awake: &BTreeSet<i32>) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            let waiting: Vec<&TaskId> = self
                .tasks
                .iter()
                .filter(|((_, partition), l)| **l == level && awake.contains(partition))
                .map(|(task, _)| task)
                .filter(|task| !self.latest.get(*task).is_some_and(|r| r.instant == self.sequence && r.complete))
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.journals.recv_timeout(left) {
                Ok(Journalled { task, record }) => {
                    let read = record.written.iter().filter(|run| self.inputs.contains(&run.topic));
                    self.written.extend(read.map(|run| run.partition));
                    self.latest.insert(task, record);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let names: Vec<String> = waiting.iter().map(|(t, p)| format!("{t}-{p}")).collect();
                    bail!(
                        "instant {} is not drained after {:?}: waiting for {}",
                        self.sequence,
                        self.patience,
                        names.join(", ")
                    );
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the journals are not read any more"),
            }
        }
    }
}
