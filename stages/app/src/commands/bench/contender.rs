//! Who does the work: the bare loop, a stage under the Kafka driver, or a peer in a process of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fillstream_kafka::driver::{GroupRun, Running};
use fillstream_kafka::observe::{Health, Metrics};
use fillstream_kafka::topics::consumer_group;

use super::args::{Common, Who};
use super::bed::{Bed, eventually};
use super::floor::{Floor, Plan};
use super::stages::{IN, Work};
use crate::commands::edges::Observed;
use crate::commands::run::driver;

const STOPPED: Duration = Duration::from_secs(20);
/// What a peer prints once it has its partitions.
const READY: &str = "READY";

/// A kind of contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Loop,
    Ours,
    Peer,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }

    /// Those that run in each round, in order.
    pub(super) fn of(common: &Common) -> Vec<Self> {
        let own = common.who.iter().map(|who| match who {
            Who::Loop => Self::Loop,
            Who::Ours => Self::Ours,
        });
        own.chain(common.peer.is_some().then_some(Self::Peer)).collect()
    }
}

/// A run of a contender.
pub(super) struct Job<'a> {
    pub(super) bed: &'a Bed,
    pub(super) common: &'a Common,
    pub(super) work: Work,
    /// Number of the run: names are made from it.
    pub(super) number: usize,
    /// Topics that the bare loop writes each record to.
    pub(super) loop_topics: usize,
    pub(super) loop_ids: usize,
    /// Time between two commits of the bare loop.
    pub(super) loop_every: Duration,
}

/// A contender at work.
pub(super) struct Contender {
    pub(super) kind: Kind,
    /// Consumer group, whose offsets tell how far it is.
    pub(super) group: String,
    /// Where it writes what it made of the input.
    pub(super) output: String,
    /// Topics that nobody needs afterwards.
    topics: Vec<String>,
    at_work: AtWork,
}

enum AtWork {
    Loop(Floor),
    Ours { running: Option<Running>, health: Arc<Health>, metrics: Arc<Metrics> },
    Peer { child: Owned, log: PathBuf },
}

impl Job<'_> {
    /// Makes its topics and starts a contender.
    pub(super) fn start(&self, kind: Kind) -> anyhow::Result<Contender> {
        match kind {
            Kind::Loop => self.start_loop(),
            Kind::Ours => self.start_ours(),
            Kind::Peer => self.start_peer(),
        }
    }

    fn start_loop(&self) -> anyhow::Result<Contender> {
        let group = format!("bench-loop-{}", self.number);
        let outputs: Vec<String> = (0..self.loop_topics.max(1)).map(|n| format!("{group}.out-{n}")).collect();
        for topic in &outputs {
            self.bed.remake(topic, self.common.partitions)?;
        }
        let plan = Plan {
            kafka: self.bed.fresh_client()?,
            name: group.clone(),
            input: IN.to_owned(),
            outputs: outputs.clone(),
            ids: self.loop_ids,
            every: self.loop_every,
        };
        // The last is written last.
        let output = outputs.last().cloned().unwrap_or_default();
        let at_work = AtWork::Loop(Floor::start(plan)?);
        Ok(Contender { kind: Kind::Loop, group, output, topics: outputs, at_work })
    }

    fn start_ours(&self) -> anyhow::Result<Contender> {
        let name = format!("bench-{}-{}", self.work.name(), self.number);
        let partitions = self.common.partitions;
        self.bed.remake(self.work.output(), partitions)?;
        self.bed.remake_engine_topics(&name, self.work.stage(), partitions)?;
        let (metrics, health) = (Metrics::new(), Health::new());
        let mut cluster = self.bed.cluster.clone();
        cluster.kafka = self.bed.fresh_client()?;
        let config = &self.bed.config;
        let tracer = Default::default();
        let observed = Observed { metrics: Arc::clone(&metrics), health: Arc::clone(&health), tracer };
        let run = GroupRun { group: self.work.group(&name)?, workers: config.run.workers };
        let running = driver(&cluster, config, &observed, None).start(&[run])?;
        Ok(Contender {
            kind: Kind::Ours,
            group: consumer_group(&name),
            output: self.work.output().to_owned(),
            topics: ["journal", "changelog", "snapshots"].map(|t| format!("fillstream.{name}.{t}")).to_vec(),
            at_work: AtWork::Ours { running: Some(running), health, metrics },
        })
    }

    fn start_peer(&self) -> anyhow::Result<Contender> {
        let group = format!("bench-peer-{}-{}", self.work.name(), self.number);
        let output = format!("{group}.out");
        self.bed.remake(&output, self.common.partitions)?;
        let command = self.common.peer.as_deref().context("no peer is given")?;
        let (program, first) = command.trim().split_once(' ').unwrap_or((command.trim(), ""));
        let dir = self.bed.local.data.join("run");
        std::fs::create_dir_all(&dir)?;
        let (log, state) = (dir.join(format!("{group}.log")), dir.join(&group));
        let out = File::create(&log).with_context(|| log.display().to_string())?;
        let kafka = &self.bed.config.kafka.bootstrap_servers;
        let child = Command::new(program)
            .args(first.split_whitespace())
            .args(["--bootstrap", kafka.as_str(), "--input", IN, "--output", output.as_str()])
            .args(["--application-id", group.as_str(), "--work", self.work.name()])
            .args(["--commit-ms", &self.common.peer_commit_ms.to_string()])
            .args(["--threads", &self.bed.config.run.workers.to_string()])
            .args(["--replication", &self.common.replication.to_string()])
            .arg("--state-dir")
            .arg(&state)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let topics = vec![output.clone(), format!("{group}-counts-changelog")];
        Ok(Contender { kind: Kind::Peer, group, output, topics, at_work: AtWork::Peer { child: Owned(child), log } })
    }
}

impl Contender {
    /// Waits until it has its partitions.
    pub(super) fn await_ready(&mut self) -> anyhow::Result<()> {
        let what = format!("{} to have its partitions", self.kind.name());
        eventually(&what, || {
            self.check()?;
            let is_ready = match &self.at_work {
                AtWork::Loop(floor) => floor.is_ready(),
                AtWork::Ours { health, .. } => health.is_ready(),
                AtWork::Peer { log, .. } => {
                    std::fs::read_to_string(log).unwrap_or_default().lines().any(|l| l.trim() == READY)
                }
            };
            Ok(is_ready.then_some(()))
        })
    }

    /// Fails when it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match &mut self.at_work {
            AtWork::Loop(floor) => floor.check(),
            AtWork::Ours { running, .. } => {
                if let Some(ended) = running.take_if(|r| r.is_finished()) {
                    ended.join()?;
                    bail!("the driver stopped by itself");
                }
                Ok(())
            }
            AtWork::Peer { child, log } => match child.0.try_wait()? {
                None => Ok(()),
                Some(status) => bail!("the peer ended with {status}: see {}", log.display()),
            },
        }
    }

    /// The driver's metrics; of others none.
    pub(super) fn metrics(&self) -> String {
        match &self.at_work {
            AtWork::Ours { metrics, .. } => metrics.print(),
            AtWork::Loop(_) | AtWork::Peer { .. } => String::new(),
        }
    }

    /// Commits of the bare loop, and the time spent in them, microseconds.
    pub(super) fn loop_commits(&self) -> Option<(u64, u64)> {
        match &self.at_work {
            AtWork::Loop(floor) => Some(floor.counted().commits()),
            AtWork::Ours { .. } | AtWork::Peer { .. } => None,
        }
    }

    /// Its process, where it has one of its own.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.at_work {
            AtWork::Peer { child, .. } => Some(child.0.id()),
            AtWork::Loop(_) | AtWork::Ours { .. } => None,
        }
    }

    /// Ends it and deletes its topics.
    pub(super) fn stop(self, bed: &Bed) -> anyhow::Result<()> {
        match self.at_work {
            AtWork::Loop(floor) => floor.stop()?,
            AtWork::Ours { running, .. } => {
                if let Some(running) = running {
                    running.stop();
                    running.join()?;
                }
            }
            AtWork::Peer { child, log } => {
                let status = ended(child)?;
                // 143: the runtime's own way to say that it was told to end.
                ensure!(status.is_none_or(|code| code == 0 || code == 143), "the peer failed: see {}", log.display());
            }
        }
        bed.delete(&self.topics);
        Ok(())
    }
}

/// A child that does not outlive its value.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // One that has ended already is left alone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tells a child to end, and waits; `None` for one that had to be killed.
fn ended(mut owned: Owned) -> anyhow::Result<Option<i32>> {
    let child = &mut owned.0;
    if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(child.id())?) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + STOPPED;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
