//! The Kafka driver: runs any number of groups in one process.
//!
//! A worker is one thread with one consumer, its transactional producers and the tasks assigned to it. Its loop: gather what
//! is there, run the tasks that have work, write everything in one transaction. Whatever goes wrong has one of five
//! reactions: try again, abort and run again, build the worker anew and restore, dead-letter the record, stop.

mod blame;
mod clock;
mod config;
mod envelope;
mod error;
mod gather;
mod metadata;
mod meters;
mod paced;
mod producers;
mod recover;
mod restore;
mod send;
mod shared;
mod state;
mod tables;
mod transaction;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fillstream_core::error::Reaction;
use fillstream_core::group::Group;
use fillstream_core::task::TaskContext;
use tracing::{error, info, warn};

use crate::client::KafkaClient;
use crate::observe::{Health, Metric, Metrics, Readiness};
use crate::registry::{Framing, SchemaRegistry, value_subject};
use crate::telemetry::Tracer;
use crate::topics::{Router, changelog_topic, dead_letter_topic, journal_topic, snapshots_topic};

pub(crate) use clock::os_now_us;
pub use config::DriverConfig;
pub(crate) use envelope::{big_endian, envelope};
pub use error::DriverError;
pub(crate) use metadata::OffsetMetadata;
pub(crate) use restore::{engine_unreadable, store_and_key};
pub(crate) use worker::SEQUENCE_HEADER;

pub use recover::{commit_offsets, offsets_from_journal};

use shared::Shared;
use tables::TableReader;
use worker::Worker;

/// Everything that a process needs to run groups.
pub struct Driver<C: KafkaClient> {
    /// Kafka.
    pub client: C,
    /// Schemas.
    pub registry: Arc<SchemaRegistry>,
    /// Where keys belong, in the deployment's profile.
    pub router: Router,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Where to tell.
    pub health: Arc<Health>,
    /// How to run.
    pub config: DriverConfig,
    /// Hash of the configuration in force, for the journal.
    pub config_hash: String,
    /// Version of the code, for the journal.
    pub code_version: String,
    /// Largest record that may be written, bytes; no larger than the client's own limit.
    pub max_record_bytes: usize,
    /// Where the spans of committed batches are told.
    pub tracer: Tracer,
    /// Told what each worker begins to do, for evidence of where a crash hit.
    pub on_phase: Option<PhaseObserver>,
}

/// Told what a worker begins to do: (worker, phase). It runs in the worker's thread and must not wait.
pub type PhaseObserver = Arc<dyn Fn(&str, Phase) + Send + Sync>;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between transactions.
    Idle,
    /// Inside an open transaction, its commit included.
    Transaction,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Transaction => "transaction",
        }
    }
}

/// A group and how many workers of this process share it.
pub struct GroupRun {
    /// The group.
    pub group: Arc<Group>,
    /// Workers, at least 1.
    pub workers: usize,
}

/// Groups at work.
pub struct Running {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<(), DriverError>>>,
    _tables: TableReader,
}

impl Running {
    /// Asks every worker to commit what is done and leave. Returns at once.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.iter().for_each(|w| w.thread().unpark());
    }

    /// A flag that stops the workers when set, for a signal handler.
    #[must_use]
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether every worker has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the workers to end.
    ///
    /// # Errors
    /// The error that stopped the first of them.
    pub fn join(self) -> Result<(), DriverError> {
        let mut first = Ok(());
        for worker in self.workers {
            let ended = worker.join().unwrap_or_else(|_| Err(DriverError::Config("a worker's thread panicked".into())));
            first = first.and(ended);
        }
        first
    }
}

impl<C: KafkaClient> Driver<C> {
    /// Starts the groups.
    ///
    /// # Errors
    /// A fault of the configuration or of the topics, or a schema that the registry refuses.
    pub fn start(self, groups: &[GroupRun]) -> Result<Running, DriverError> {
        self.config.validate()?;
        let all: Vec<Arc<Group>> = groups.iter().map(|g| Arc::clone(&g.group)).collect();
        let partitions = self.check_topics(&all)?;
        let mut framing = Framing::new(Arc::clone(&self.registry));
        register_schemas(&mut framing, &all)?;
        let tables = tables::start(&self.client, framing, &all, &self.metrics)?;
        let stop = Arc::new(AtomicBool::new(false));
        let router = self.router.clone();
        let shared = Arc::new(Shared {
            context: TaskContext {
                partitioner: Arc::new(move |topic, key| router.partition(topic, key).unwrap_or(-1)),
                config_hash: self.config_hash,
                code_version: self.code_version,
                sampler: self.tracer.sampler(),
            },
            client: self.client,
            registry: self.registry,
            router: self.router,
            metrics: self.metrics,
            health: self.health,
            config: self.config,
            hub: Arc::clone(tables.hub()),
            partitions,
            max_record_bytes: self.max_record_bytes,
            tracer: self.tracer,
            on_phase: self.on_phase,
            stop: Arc::clone(&stop),
        });
        let mut workers = Vec::new();
        for run in groups {
            for index in 0..run.workers.max(1) {
                let (shared, group) = (Arc::clone(&shared), Arc::clone(&run.group));
                let thread = std::thread::Builder::new().name(format!("{}/{index}", group.name()));
                let spawned = thread.spawn(move || supervise(&shared, &group, index));
                workers.push(spawned.map_err(|e| DriverError::Config(format!("cannot start a worker's thread: {e}")))?);
            }
        }
        Ok(Running { stop, workers, _tables: tables })
    }

    /// Every topic is there, with as many partitions as the router thinks. Returns the counts of the dead-letter topics.
    fn check_topics(&self, groups: &[Arc<Group>]) -> Result<BTreeMap<String, i32>, DriverError> {
        let mut routed: BTreeSet<&str> = BTreeSet::new();
        let mut own: BTreeSet<String> = BTreeSet::new();
        for group in groups {
            own.extend(engine_topics(group));
            routed.extend(group.subscriptions().iter().map(|s| s.input.topic));
            for spec in group.stages().iter().map(|s| s.spec()) {
                routed.extend(spec.outputs.iter().map(|o| o.topic));
                routed.extend(spec.inputs.iter().filter_map(|i| i.forward_to));
                own.insert(dead_letter_topic(spec.name));
            }
        }
        if self.config.paced {
            routed.insert(&self.config.clock_topic);
        }
        let names: Vec<&str> = routed.iter().copied().chain(own.iter().map(String::as_str)).collect();
        let found = self.client.describe(&names)?;
        let mut faults: Vec<String> =
            names.iter().filter(|n| !found.contains_key(**n)).map(|n| format!("{n} does not exist")).collect();
        for (topic, info) in found.iter().filter(|(topic, _)| routed.contains(topic.as_str())) {
            if let Some(expected) = self.router.partitions(topic).filter(|n| *n != info.partitions) {
                faults.push(format!("{topic} has {} partitions, not {expected}", info.partitions));
            }
        }
        for group in groups {
            let inputs = group.subscriptions().iter().filter_map(|s| found.get(s.input.topic)).map(|i| i.partitions);
            let counts: BTreeSet<i32> =
                inputs.chain(engine_topics(group).iter().filter_map(|t| found.get(t)).map(|i| i.partitions)).collect();
            if counts.len() > 1 {
                faults.push(format!(
                    "inputs, journal, changelog and snapshots of {} have unequal partition counts: {counts:?}",
                    group.name()
                ));
            }
        }
        if !faults.is_empty() {
            return Err(DriverError::Topics(faults.join("; ")));
        }
        Ok(found.into_iter().filter(|(topic, _)| own.contains(topic)).map(|(topic, i)| (topic, i.partitions)).collect())
    }
}

fn engine_topics(group: &Group) -> [String; 3] {
    [journal_topic(group.name()), changelog_topic(group.name()), snapshots_topic(group.name())]
}

/// Registers every schema that the groups write, before anything is written: a refusal is a fault of the deployment, not
/// of a batch.
fn register_schemas(framing: &mut Framing, groups: &[Arc<Group>]) -> Result<(), DriverError> {
    use fillstream_schemas::AvroRecord;
    use fillstream_schemas::engine::{DeadLetter, JournalRecord, Snapshot};
    for group in groups {
        for spec in group.stages().iter().map(|s| s.spec()) {
            for output in spec.outputs {
                framing.id(&value_subject(output.topic), output.schema)?;
            }
            for (to, schema) in spec.inputs.iter().filter_map(|i| i.forward_to.map(|to| (to, i.schema))) {
                framing.id(&value_subject(to), schema)?;
            }
        }
        for (_, schema) in group.stores() {
            framing.state_id(schema)?;
        }
    }
    for schema in [JournalRecord::FULL_NAME, DeadLetter::FULL_NAME, Snapshot::FULL_NAME] {
        framing.state_id(schema)?;
    }
    Ok(())
}

/// Runs a worker, builds it anew after an error that asks for it, stops the process after one that asks for that.
fn supervise<C: KafkaClient>(shared: &Arc<Shared<C>>, group: &Arc<Group>, index: usize) -> Result<(), DriverError> {
    let part = format!("{}/{index}", group.name());
    let rebuilds = shared.metrics.counter(Metric::Rebuilds, &[("group", group.name())]);
    let mut failures: u32 = 0;
    loop {
        let (ended, committed) = match Worker::new(shared, group, index) {
            Ok(mut worker) => {
                let ended = worker.run();
                (ended, worker.commits > 0)
            }
            Err(e) => (Err(e), false),
        };
        let last = match ended {
            Ok(()) => {
                shared.health.set(&part, Readiness::Waiting("stopped as asked".into()));
                return Ok(());
            }
            Err(e) => e,
        };
        failures = if committed { 1 } else { failures.saturating_add(1) };
        let give_up = failures >= shared.config.max_failures;
        let stop = match last.reaction() {
            Reaction::Stop | Reaction::DeadLetter => true,
            Reaction::AbortTxn | Reaction::Restore => give_up,
            // A cluster or registry that is away comes back; nothing is lost by waiting for it, not ready.
            Reaction::Retry => false,
        };
        if stop {
            error!(worker = part, error = %last, "stopped: somebody must look");
            shared.health.set(&part, Readiness::Stopped(last.to_string()));
            shared.stop.store(true, Ordering::Relaxed);
            return Err(if give_up && last.reaction() != Reaction::Stop {
                DriverError::GaveUp { attempts: failures, last: Box::new(last) }
            } else {
                last
            });
        }
        if shared.stopping() {
            return Ok(());
        }
        warn!(worker = part, error = %last, attempt = failures, "the worker is built anew and restores");
        shared.health.set(&part, Readiness::Waiting(last.to_string()));
        rebuilds.add(1);
        std::thread::park_timeout(Duration::from_millis(50).saturating_mul(failures.min(20)));
        info!(worker = part, "again");
    }
}
