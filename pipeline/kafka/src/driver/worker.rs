//! A worker: one thread, one consumer, its transactional producers, its tasks.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_core::TimestampMicros;
use fillstream_core::batch::{Batch, BatchOutput};
use fillstream_core::error::Reaction;
use fillstream_core::group::Group;
use fillstream_core::table::Tables;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::ClockTick;
use tracing::{info, warn};

use super::blame::Blame;
use super::clock::{Clock, os_now_us};
use super::config::DriverConfig;
use super::error::DriverError;
use super::gather::Gathered;
use super::meters::Meters;
use super::producers::Producers;
use super::shared::Shared;
use super::state::{TaskState, Work};
use crate::client::{ClientError, ConsumerEvent, GroupConsumer, KafkaClient, PartitionReader, TopicPartition};
use crate::observe::{GroupLag, Progress, Readiness};
use crate::registry::Framing;
use crate::topics::consumer_group;

/// Header of changelog entries: sequence of the batch that wrote them, 8 bytes big-endian.
pub(crate) const SEQUENCE_HEADER: &str = "fs-seq";

/// Most units of a first batch: what they cost is not known yet.
pub(super) const FIRST_UNITS: usize = 500;

pub(super) struct Worker<C: KafkaClient> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) group: Arc<Group>,
    pub(super) consumer_group: String,
    /// The same as the name of a service in traces.
    pub(super) service: Arc<str>,
    pub(super) part: String,
    pub(super) producers: Producers<C::Producer>,
    pub(super) consumer: C::Consumer,
    pub(super) reader: C::Reader,
    pub(super) framing: Framing,
    pub(super) tasks: BTreeMap<i32, TaskState>,
    /// Revoked, with state that is good as long as nobody else has committed since.
    pub(super) kept: BTreeMap<i32, TaskState>,
    /// Tasks that fail, and what is known of it.
    pub(super) blames: BTreeMap<i32, Blame>,
    pub(super) backlog: VecDeque<ConsumerEvent>,
    /// What was gathered while the last transaction ended.
    pub(super) ahead: Gathered,
    /// How that gathering ended, where it failed.
    pub(super) gathering_failed: Option<ClientError>,
    pub(super) meters: Meters,
    pub(super) group_lag: GroupLag,
    pub(super) looked: Instant,
    pub(super) commits: u64,
    pub(super) failures: u32,
    /// Most units of a batch now: it follows how long batches take.
    pub(super) max_units: usize,
    /// When the last gathering ended.
    pub(super) gathered: Instant,
    /// From then until the last batches' records were on their way.
    pub(super) worked: Duration,
    clock: Clock,
    is_ready: bool,
    /// Whether there is lag.
    pub(super) behind: bool,
    pub(super) last_commit: Instant,
    measured: Instant,
}

impl<C: KafkaClient> Worker<C> {
    /// A member of its group with fenced transactional ids.
    pub(super) fn new(shared: &Arc<Shared<C>>, group: &Arc<Group>, index: usize) -> Result<Self, DriverError> {
        let (client, config) = (&shared.client, &shared.config);
        let consumer_group = consumer_group(group.name());
        let instance = format!("{}-{index}", config.instance);
        let stem = format!("{consumer_group}.{}.{index}", config.instance);
        let mut worker = Self {
            producers: Producers::fenced(client, &stem, config.transactional_ids)?,
            consumer: client.consumer(&consumer_group, &instance, &subscribed(group, config))?,
            reader: client.reader()?,
            framing: shared.framing(),
            part: format!("{}/{index}", group.name()),
            meters: Meters::new(&shared.metrics, group.name(), index),
            group_lag: GroupLag::new(&shared.metrics, &consumer_group),
            clock: Clock::new(config.clock_tolerance_ms),
            shared: Arc::clone(shared),
            group: Arc::clone(group),
            service: consumer_group.as_str().into(),
            consumer_group,
            tasks: BTreeMap::new(),
            kept: BTreeMap::new(),
            blames: BTreeMap::new(),
            backlog: VecDeque::new(),
            ahead: Gathered::default(),
            gathering_failed: None,
            looked: Instant::now(),
            commits: 0,
            failures: 0,
            max_units: config.max_batch_records.min(FIRST_UNITS),
            gathered: Instant::now(),
            worked: Duration::ZERO,
            is_ready: false,
            behind: false,
            last_commit: Instant::now(),
            measured: Instant::now(),
        };
        worker.waiting("waiting for an assignment".into());
        Ok(worker)
    }

    /// Works until told to stop.
    pub(super) fn run(&mut self) -> Result<(), DriverError> {
        while !self.shared.stopping() {
            match self.cycle().or_else(|e| self.blame(e)) {
                Ok(()) | Err(DriverError::Interrupted) => {}
                Err(e) if e.reaction() == Reaction::Retry => {
                    warn!(group = self.group.name(), error = %e, "going on");
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Err(e) => return Err(e),
            }
        }
        info!(group = self.group.name(), tasks = self.tasks.len(), "what is done is committed; leaving");
        Ok(())
    }

    fn cycle(&mut self) -> Result<(), DriverError> {
        // Before anything is polled: offsets of partitions that are revoked meanwhile must not commit. Records that were taken
        // while the last transaction ended are older, but no generation begins before a poll has seen the last one end, and
        // that is in the backlog then.
        let membership = self.consumer.group_metadata()?;
        self.gather()?;
        self.gathered = Instant::now();
        self.convert()?;
        if let Some(why) = self.shared.hub.failure() {
            return Err(ClientError::fatal("tables", why).into());
        }
        let work = if self.shared.config.paced { self.run_ticks()? } else { self.run_live()? };
        if !work.is_empty() {
            self.transact(work, &membership)?;
            self.last_commit = Instant::now();
        }
        self.measure_lag();
        Ok(())
    }

    fn run_live(&mut self) -> Result<Vec<Work>, DriverError> {
        let os = os_now_us();
        let due: Vec<i32> = self.tasks.iter().filter(|(_, t)| has_work(t, os)).map(|(p, _)| *p).collect();
        let Some(floor) = due.iter().filter_map(|p| self.tasks.get(p)).map(|t| t.task.now().micros()).max() else {
            return Ok(Vec::new());
        };
        let os = match self.clock.now(floor) {
            Ok(os) => os,
            Err(fault) => {
                if self.is_ready {
                    tracing::error!(group = self.group.name(), "{}: no batch runs", fault.0);
                    self.waiting(fault.0);
                }
                std::thread::park_timeout(Duration::from_millis(100));
                return Ok(Vec::new());
            }
        };
        self.ready();
        let tables = self.shared.hub.pin();
        let (start, started_us) = (Instant::now(), os_now_us());
        let mut work = Vec::with_capacity(due.len());
        for partition in due {
            let now = self.tasks.get(&partition).map_or(os, |t| os.max(t.task.now().micros().saturating_add(1)));
            let out = self.run_task(partition, TimestampMicros::from_micros(now), None, &tables)?;
            work.extend(out.map(|out| Work { partition, out, started_us, clock: None }));
        }
        self.meters.process_seconds.observe(start.elapsed());
        Ok(work)
    }

    /// Runs a batch of a task. A panic of a stage leaves the task's state unknown: the worker is built again.
    pub(super) fn run_task(
        &mut self,
        partition: i32,
        now: TimestampMicros,
        instant: Option<i64>,
        tables: &Tables,
    ) -> Result<Option<BatchOutput>, DriverError> {
        let Some(state) = self.tasks.get_mut(&partition) else { return Ok(None) };
        let batch = Batch { now, instant, tables, max_units: self.max_units };
        let run = catch_unwind(AssertUnwindSafe(|| state.task.run(&batch)));
        match run {
            Ok(out) => Ok(Some(out?)),
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message")
                    .to_owned();
                Err(DriverError::Panic { group: self.group.name().to_owned(), partition, text })
            }
        }
    }

    /// The producer of the next transaction.
    pub(super) fn next_producer(&mut self) -> Result<&mut C::Producer, DriverError> {
        if self.producers.next(&self.shared.client)? {
            self.meters.rebuilds.add(1);
        }
        Ok(self.producers.current())
    }

    /// Topics that the worker reads, with the contracts of their values.
    pub(super) fn topics(&self) -> BTreeMap<Arc<str>, &'static str> {
        let mut out: BTreeMap<Arc<str>, &'static str> =
            self.group.subscriptions().iter().map(|s| (Arc::from(s.input.topic), s.input.schema)).collect();
        if self.shared.config.paced {
            out.insert(self.shared.config.clock_topic.as_str().into(), ClockTick::FULL_NAME);
        }
        out
    }

    fn measure_lag(&mut self) {
        if self.measured.elapsed() < Duration::from_secs(1) || self.tasks.is_empty() {
            return;
        }
        self.measured = Instant::now();
        let tps: Vec<TopicPartition> =
            self.tasks.values().flat_map(|t| t.inputs.values()).map(|i| i.tp.clone()).collect();
        let Ok(ends) = self.reader.ends(&tps) else { return };
        let mut lag: BTreeMap<i32, i64> =
            self.tasks.iter().map(|(p, t)| (*p, i64::try_from(t.task.pending()).unwrap_or(i64::MAX))).collect();
        let mut progress = Vec::with_capacity(ends.len());
        for (tp, end) in ends {
            let input = self.tasks.get(&tp.partition).and_then(|t| t.inputs.get(&tp.topic));
            if let (Some(input), Some(lag)) = (input, lag.get_mut(&tp.partition)) {
                *lag = lag.saturating_add(end.saturating_sub(input.position).max(0));
                // Behind the last record may stand markers of transactions, which nobody commits.
                let idle = input.raw.is_empty() && self.tasks.get(&tp.partition).is_some_and(|t| t.task.pending() == 0);
                let committed = if idle { input.committed.max(input.position) } else { input.committed };
                progress.push(Progress { tp, committed, end });
            }
        }
        self.meters.lag(&self.shared.metrics, &lag);
        self.group_lag.show(&progress);
        let timers: usize = self.tasks.values().map(|t| t.task.timers()).sum();
        self.meters.timers_set.set(i64::try_from(timers).unwrap_or(i64::MAX));
    }

    pub(super) fn waiting(&mut self, why: String) {
        self.is_ready = false;
        self.shared.health.set(&self.part, Readiness::Waiting(why));
    }

    pub(super) fn ready(&mut self) {
        if !self.is_ready {
            self.is_ready = true;
            self.shared.health.set(&self.part, Readiness::Ready);
        }
    }
}

fn has_work(state: &TaskState, os_us: i64) -> bool {
    state.task.pending() > 0 || state.task.next_due().is_some_and(|due| due.micros() <= os_us)
}

fn subscribed<'a>(group: &'a Group, config: &'a DriverConfig) -> Vec<&'a str> {
    let clock = config.paced.then_some(config.clock_topic.as_str());
    group.subscriptions().iter().map(|s| s.input.topic).chain(clock).collect()
}
