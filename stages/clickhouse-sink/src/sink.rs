//! The sink as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fillstream_core::error::Reaction;
use fillstream_kafka::client::{ClientError, KafkaClient, PartitionReader, TopicInfo, TopicPartition};
use fillstream_kafka::observe::{GroupLag, Health, Metric, Metrics, Progress, Readiness};
use fillstream_kafka::registry::SchemaRegistry;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use crate::clickhouse::ClickHouse;
use crate::config::SinkConfig;
use crate::ddl::{self, Migrated};
use crate::error::SinkError;
use crate::guard::Guard;
use crate::status::SinkStatus;
use crate::target::{STAGE, Targets, TopicContract};
use crate::worker::Session;

/// Topic of the bounds.
pub const BATCHES_TOPIC: &str = "sink.batches.v1";

/// A moment in the life of a batch, told to the observer of a sink. Tests end the process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Bounds are made; nothing is committed.
    Bounded,
    /// Bounds are committed; nothing is sent to ClickHouse.
    Committed,
    /// ClickHouse has answered an insert; the offset is not committed.
    Inserted,
    /// The offset behind a batch is committed.
    Acknowledged,
}

impl Moment {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bounded => "sink.before-bounds-commit",
            Self::Committed => "sink.before-insert",
            Self::Inserted => "sink.after-insert",
            Self::Acknowledged => "sink.after-acknowledgement",
        }
    }
}

pub(crate) type Observer = Arc<dyn Fn(Moment, &TopicPartition) + Send + Sync>;

/// Lands topics in ClickHouse, exactly once.
pub struct Sink<C: KafkaClient> {
    pub(crate) kafka: C,
    pub(crate) registry: Arc<SchemaRegistry>,
    pub(crate) config: SinkConfig,
    pub(crate) targets: Targets,
    pub(crate) status: Arc<SinkStatus>,
    pub(crate) server: ClickHouse,
    pub(crate) guard: Arc<Guard>,
    pub(crate) observer: Observer,
    pub(crate) health: Arc<Health>,
    metrics: Arc<Metrics>,
    /// Held by each insert while it is sent.
    pub(crate) inserts: Arc<Semaphore>,
    reader: Mutex<Option<C::Reader>>,
    // Always there; an option only so that it can be given up when the sink is dropped.
    runtime: Option<Runtime>,
}

impl<C: KafkaClient> Sink<C> {
    /// A sink of `topics`, not yet at work.
    ///
    /// # Errors
    /// [`SinkError::Config`], [`SinkError::Contract`].
    pub fn new(
        config: SinkConfig,
        kafka: C,
        registry: Arc<SchemaRegistry>,
        topics: &[TopicContract],
    ) -> Result<Self, SinkError> {
        config.validate()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("clickhouse-sink")
            .enable_all()
            .build()
            .map_err(|e| SinkError::Thread(e.to_string()))?;
        let (targets, metrics) = (Targets::new(topics)?, Metrics::new());
        let server = ClickHouse::new(&config.clickhouse);
        let tables = targets.tables().map(|t| t.name.clone()).collect();
        Ok(Self {
            guard: Arc::new(Guard::new(server.clone(), tables)),
            server,
            status: status(&metrics, &targets),
            health: Health::new(),
            metrics,
            targets,
            observer: Arc::new(|_, _| {}),
            inserts: Arc::new(Semaphore::new(config.parallel_inserts)),
            reader: Mutex::new(None),
            runtime: Some(runtime),
            kafka,
            registry,
            config,
        })
    }

    /// Tells `observer` each [`Moment`] of each batch, from the worker's thread.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(Moment, &TopicPartition) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Shows its series in `metrics`, and in `health` a part for each worker (`clickhouse-sink/0`): ready once the tables are
    /// there and it knows where each of its partitions stands.
    #[must_use]
    pub fn with_observability(mut self, metrics: &Arc<Metrics>, health: &Arc<Health>) -> Self {
        self.status = status(metrics, &self.targets);
        (self.metrics, self.health) = (Arc::clone(metrics), Arc::clone(health));
        self
    }

    /// What the sink tells about itself.
    #[must_use]
    pub fn status(&self) -> &Arc<SinkStatus> {
        &self.status
    }

    /// The topics and tables.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Makes database, tables, grown columns and views. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`SinkError::ClickHouse`]; [`SinkError::TableDiffers`] when a table cannot become what its contract wants.
    pub fn migrate(&self) -> Result<Migrated, SinkError> {
        self.wait_for(ddl::migrate(&self.server, &self.config, &self.targets))
    }

    /// [`Self::migrate`], tried again while ClickHouse is away, then [`Self::run`].
    ///
    /// # Errors
    /// As these.
    pub fn migrate_and_run(&self, stop: &AtomicBool) -> Result<(), SinkError> {
        let migrated = self.patiently(stop, || self.migrate().map(drop));
        let outcome = if stop.load(Ordering::Relaxed) { migrated } else { migrated.and_then(|()| self.run(stop)) };
        if let Err(e) = &outcome {
            self.stands_all(&Readiness::Stopped(e.to_string()));
        }
        outcome
    }

    /// Committed records that are not known to be in ClickHouse, over all partitions of all topics; 0 means that every
    /// record committed before the call is there. Partitions that this process does not own count whole.
    ///
    /// # Errors
    /// [`SinkError::Kafka`], [`SinkError::MissingTopics`].
    pub fn lag(&self) -> Result<i64, SinkError> {
        let topics = self.described()?;
        self.with_reader(|reader| {
            let mut lag = 0_i64;
            for (topic, info) in topics {
                for partition in 0..info.partitions {
                    let tp = TopicPartition::new(topic.as_str(), partition);
                    let (start, end) = reader.stable_bounds(&tp)?;
                    // Asked after the end: what lands in between only makes the lag smaller.
                    let landed = self.status.partitions().get(&tp).map_or(start, |p| p.landed);
                    lag = lag.saturating_add(end.saturating_sub(landed.max(start)).max(0));
                }
            }
            Ok(lag)
        })
    }

    fn with_reader<T>(&self, ask: impl FnOnce(&mut C::Reader) -> Result<T, ClientError>) -> Result<T, SinkError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match &mut *reader {
            Some(reader) => reader,
            none @ None => none.insert(self.kafka.reader()?),
        };
        Ok(ask(reader)?)
    }

    /// Shows how far a worker is, from where its partitions stand.
    pub(crate) fn show_lag(
        &self,
        worker: u16,
        lags: &mut GroupLag,
        landed: &[(TopicPartition, i64)],
    ) -> Result<(), SinkError> {
        let tps: Vec<TopicPartition> = landed.iter().map(|(tp, _)| tp.clone()).collect();
        let ends: BTreeMap<_, _> = self.with_reader(|reader| reader.ends(&tps))?.into_iter().collect();
        let at = |(tp, committed): &(TopicPartition, i64)| {
            Some(Progress { tp: tp.clone(), committed: *committed, end: *ends.get(tp)? })
        };
        let progress: Vec<Progress> = landed.iter().filter_map(at).collect();
        let worker = worker.to_string();
        for target in self.targets.iter() {
            let of_topic = progress.iter().filter(|p| *p.tp.topic == *target.topic);
            let labels = [("topic", target.topic.as_str()), ("worker", worker.as_str())];
            self.metrics.gauge(Metric::SinkLag, &labels).set(of_topic.map(Progress::lag).sum());
        }
        lags.show(&progress);
        Ok(())
    }

    /// The series of a worker's lag.
    pub(crate) fn group_lag(&self) -> GroupLag {
        GroupLag::new(&self.metrics, &self.config.group)
    }

    /// States how a worker is.
    pub(crate) fn stands(&self, worker: u16, readiness: Readiness) {
        self.health.set(&format!("{STAGE}/{worker}"), readiness);
    }

    fn stands_all(&self, readiness: &Readiness) {
        (0..self.config.workers).for_each(|worker| self.stands(worker, readiness.clone()));
    }

    /// Works until `stop` is true. Returns once what has been read has landed and is acknowledged, or after a deadline.
    ///
    /// # Errors
    /// What somebody must look at: [`SinkError::reaction`] is [`Reaction::Stop`]. Everything that passes by itself is tried
    /// again for ever, and only makes the lag grow.
    pub fn run(&self, stop: &AtomicBool) -> Result<(), SinkError> {
        self.stands_all(&Readiness::Waiting("tables are not checked yet".into()));
        self.patiently(stop, || {
            let partitions = self.described()?.into_iter().map(|(t, i)| (t, i.partitions)).collect();
            self.wait_for(async {
                self.guard.inspect().await?;
                ddl::check(&self.server, &self.config, &self.targets, &partitions).await?;
                self.guard.tell_set_aside().await
            })
        })?;
        let failed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.config.workers)
                .map(|number| {
                    let halt = || stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed);
                    let failed = &failed;
                    scope.spawn(move || {
                        let outcome = self.work(number, &halt);
                        if outcome.is_err() {
                            failed.store(true, Ordering::Relaxed);
                        }
                        outcome
                    })
                })
                .collect();
            let panicked = || Err(SinkError::Thread("a worker panicked".into()));
            workers.into_iter().map(|w| w.join().unwrap_or_else(|_| panicked())).fold(Ok(()), Result::and)
        })
    }

    /// One worker: sessions until there is nothing to do or somebody must look.
    fn work(&self, number: u16, halt: &dyn Fn() -> bool) -> Result<(), SinkError> {
        let name = format!("{}-{number}", self.config.instance);
        let mut attempt = 0_u32;
        while !halt() {
            let began = Instant::now();
            self.stands(number, Readiness::Waiting("joins its group".into()));
            match Session::start(self, number, &name).and_then(|mut session| session.run(halt)) {
                Ok(()) => break,
                Err(e) if e.reaction() == Reaction::Stop => {
                    self.stands(number, Readiness::Stopped(e.to_string()));
                    error!(worker = name, error = %e, "clickhouse sink stops");
                    return Err(e);
                }
                Err(e) => {
                    // Everything needed to go on is in Kafka and ClickHouse.
                    attempt = if began.elapsed() > Duration::from_secs(60) { 0 } else { attempt.saturating_add(1) };
                    self.stands(number, Readiness::Waiting(e.to_string()));
                    warn!(worker = name, error = %e, attempt, "clickhouse sink starts over");
                    pause(self.config.backoff(attempt), halt);
                }
            }
        }
        self.stands(number, Readiness::Waiting("stopped as asked".into()));
        info!(worker = name, "clickhouse sink has stopped");
        Ok(())
    }

    /// Tries again what passes by itself, until it is done or `stop`.
    fn patiently(&self, stop: &AtomicBool, mut call: impl FnMut() -> Result<(), SinkError>) -> Result<(), SinkError> {
        let mut attempt = 0_u32;
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(_) if stop.load(Ordering::Relaxed) => return Ok(()),
                Err(e) if e.reaction() == Reaction::Stop => return Err(e),
                Err(e) => {
                    self.stands_all(&Readiness::Waiting(e.to_string()));
                    if attempt.is_multiple_of(10) {
                        warn!(error = %e, attempt, "clickhouse sink waits");
                    }
                    pause(self.config.backoff(attempt), &|| stop.load(Ordering::Relaxed));
                    attempt = attempt.saturating_add(1);
                }
            }
        }
    }

    /// The landed topics, all of which must exist.
    pub(crate) fn described(&self) -> Result<BTreeMap<String, TopicInfo>, SinkError> {
        let names: Vec<&str> = self.targets.iter().map(|t| t.topic.as_str()).collect();
        let known = self.kafka.describe(&names)?;
        let missing: Vec<String> = names.iter().filter(|n| !known.contains_key(**n)).map(|n| (*n).to_owned()).collect();
        if missing.is_empty() { Ok(known) } else { Err(SinkError::MissingTopics(missing)) }
    }

    pub(crate) fn wait_for<T>(&self, answer: impl Future<Output = Result<T, SinkError>>) -> Result<T, SinkError> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(answer),
            None => Err(SinkError::Thread("the sink is being dropped".into())),
        }
    }

    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(job);
        }
    }
}

fn status(metrics: &Metrics, targets: &Targets) -> Arc<SinkStatus> {
    Arc::new(SinkStatus::new(metrics, targets.iter().map(|t| t.topic.as_str())))
}

impl<C: KafkaClient> Drop for Sink<C> {
    fn drop(&mut self) {
        // A plain drop waits for its threads, which is forbidden inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits, but not for a worker that should halt.
fn pause(time: Duration, halt: &dyn Fn() -> bool) {
    let end = Instant::now() + time;
    while !halt() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}
