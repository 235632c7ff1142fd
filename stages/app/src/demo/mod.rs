//! `fillstream demo`: the whole pipeline in paced mode on a market, and the proof that it did its job.

mod desk;
mod instances;
mod kill_switch;
mod kills;
pub mod market;
mod pacer;
pub mod processes;
pub mod reference;
mod scenario;
mod summary;
mod venue_clock;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fillstream_deploy::{Endpoints, LocalConfig, ServiceSource, down, reset, up};
use fillstream_domain::Quantity;
use fillstream_kafka::topics::{dead_letter_topic, journal_topic};
use fillstream_market::SyntheticConfig;
use fillstream_venue::{EngineConfig, MarketCenter, Mode, VenueConfig};

use crate::bus::Cluster;
use crate::cli::DemoArgs;
use crate::commands::{apply_topics, register_schemas};
use crate::config::Config;
use crate::registry::{groups, order_groups, single_stages};
use instances::Instances;
use kills::Kills;
use market::{MarketChoice, VenueFile};
use pacer::{Paced, Pacer, Setup, TaskId};
use processes::Process;
use reference::Reference;
use scenario::{Scenario, Size};
use venue_clock::VenueClock;
use watch::{Seen, Watch};

/// Portfolios of the scenario; enough for every partition of the local profile.
const PORTFOLIOS: usize = 16;
/// Broker sessions of the simulated venue, one a broker.
pub const SESSIONS: [&str; 6] = ["interactive_brokers", "alpaca", "schwab", "fidelity", "etrade", "thinkorswim"];
const CHILD_ORDERS: &str = "execution.child-orders.v1";
const TABLES: [&str; 8] = [
    "reference.instruments.v1",
    "reference.accounts.v1",
    "reference.limits.v1",
    "reference.wide-limits.v1",
    "reference.venues.v1",
    "reference.brokers.v1",
    "reference.calendars.v1",
    "execution.controls.v1",
];

fn say(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Runs the demo.
///
/// # Errors
/// A step fails; what was started is stopped again.
pub fn run(args: &DemoArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let local = services()?;
    let endpoints = start(&local)?;
    let outcome = Demo::new(args, config, &local, &endpoints).and_then(|demo| demo.run(started));
    match outcome {
        Ok((clean, processes)) if args.keep => {
            say(format!(
                "left running: kafka {}, registry {}, clickhouse {}",
                endpoints.kafka, endpoints.registry, endpoints.clickhouse
            ));
            for process in processes {
                say(format!("  process {}", process.leave()));
            }
            say(format!("stop with: FILLSTREAM_DATA={} fillstream local down", local.data.display()));
            Ok(code(clean))
        }
        Ok((clean, processes)) => {
            drop(processes);
            down(&local, &|_| {})?;
            Ok(code(clean))
        }
        Err(e) => {
            let _ = down(&local, &|_| {});
            Err(e)
        }
    }
}

fn code(clean: bool) -> ExitCode {
    ExitCode::from(if clean { 0 } else { 3 })
}

// The demo has a data folder of its own, empty at every start: the same seed then gives the same result.
fn services() -> anyhow::Result<LocalConfig> {
    let mut local = crate::commands::local::local_config()?;
    local.data = local.data.join("demo");
    Ok(local)
}

fn start(local: &LocalConfig) -> anyhow::Result<Endpoints> {
    if !matches!(local.kafka, ServiceSource::External { .. }) {
        reset(local, &|_| {})?;
    }
    Ok(up(local, &|progress| say(progress))?)
}

struct Demo {
    args: DemoArgs,
    config: Config,
    cluster: Cluster,
    market: MarketChoice,
    dir: PathBuf,
    endpoints: Endpoints,
}

impl Demo {
    fn new(args: &DemoArgs, config: &Config, local: &LocalConfig, endpoints: &Endpoints) -> anyhow::Result<Self> {
        let mut config = config.clone();
        config.kafka.bootstrap_servers.clone_from(&endpoints.kafka);
        config.registry.url.clone_from(&endpoints.registry);
        config.clickhouse.url.clone_from(&endpoints.clickhouse);
        config.run.paced = true;
        // Every check of a kill is an instant of market time.
        config.set_stage("order-management", "kill_check_interval_ms", kill_switch::CHECKED_EVERY_MS);
        if let Some(max_units) = args.max_units {
            config.run.max_units = max_units;
        }
        if args.split {
            config.run.split = single_stages(&config.stages)?;
        }
        let market = match &args.market {
            Some(path) => MarketChoice::File(std::path::absolute(path)?),
            None => MarketChoice::Synthetic(SyntheticConfig { seed: args.seed, ..SyntheticConfig::default() }),
        };
        let dir = local.data.join("run");
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let cluster = Cluster::new(&config)?;
        Ok(Self { args: args.clone(), config, cluster, market, dir, endpoints: endpoints.clone() })
    }

    fn run(&self, started: Instant) -> anyhow::Result<(bool, Vec<Process>)> {
        apply_topics(&self.cluster, &self.config)?;
        let subjects = register_schemas(&self.cluster)?;
        say(format!("topics and {subjects} subjects are in place"));
        let ends = self.cluster.ends("coordination.decisions.v1")?;
        ensure!(
            ends.iter().all(|e| *e == 0),
            "coordination.decisions.v1 already has records: the demo needs an empty cluster"
        );

        let size = Size { seed: self.args.seed, decisions: self.args.decisions, portfolios: PORTFOLIOS };
        let source = self.market.open()?;
        if self.args.market.is_some() {
            say(fillstream_market::reference_table(source.instruments()));
        }
        let instruments = source.instruments().to_vec();
        let scenario = Scenario::new(source, size)?;
        let engine = self.engine(&instruments);
        let data = Reference {
            instruments: &instruments,
            accounts: &scenario.accounts,
            limits: &scenario.limits,
            calendars: &market::calendars(),
            engine: &engine,
        };
        data.publish(&self.cluster)?;
        let controls = kill_switch::controls(&scenario.upstream)?;
        kill_switch::publish(&controls, &self.cluster)?;

        let mut venue = Process::start("venue", &self.dir, &self.venue_args(engine)?)?;
        let venue_url = format!("http://{}", venue.address(Duration::from_secs(60))?);
        let mut config = self.config.clone();
        config.venue.url.clone_from(&venue_url);
        let instances = Instances::start(self.args.instances, &config, &self.dir)?;
        say(format!("venue and stages run ({:.1} s)", started.elapsed().as_secs_f32()));

        let mut watch = Watch::new();
        let tasks = self.tasks()?;
        let topics: BTreeSet<String> = tasks.keys().map(|(topic, _)| topic.clone()).collect();
        let journals = watch.journals(&self.cluster, &topics)?;
        let seen = Seen::watch(&mut watch, &self.cluster, &self.dead_letter_topics()?)?;
        let setup = Setup {
            source: self.market.open()?,
            upstream: scenario.upstream,
            venue: VenueClock::new(&venue_url)?,
            journals,
            tasks,
            inputs: self.inputs()?,
            sessions: self.sessions()?,
            tables: TABLES.iter().map(|t| (*t).to_owned()).collect(),
            grid_us: self.args.grid_ms.saturating_mul(1_000),
        };
        let paced_from = Instant::now();
        let mut pacer = Pacer::new(&self.cluster, setup)?;
        let mut kills = Kills::new(self.args.kills, self.args.decisions, instances.phases());
        let instances = Arc::new(Mutex::new(instances));
        let mut last = Instant::now();
        let paced = pacer.run(scenario.ends_at, |at| {
            kills.poll(at.published, &instances)?;
            instances.lock().unwrap_or_else(PoisonError::into_inner).check()?;
            if last.elapsed() >= Duration::from_secs(1) {
                last = Instant::now();
                progress(&at, &seen.lock().unwrap_or_else(PoisonError::into_inner));
            }
            Ok(())
        });
        let killed = kills.finish()?;
        paced?;
        let paced_for = paced_from.elapsed();
        watch.stop()?;
        if let Some(dir) = &self.args.dump {
            summary::dump(&self.cluster, &self.config, dir)?;
        }
        let audit = summary::audit(&self.config, &venue_url)?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let report = summary::Report {
            args: &self.args,
            seen: &seen,
            audit: &audit,
            endpoints: &self.endpoints,
            killed: &killed,
            controls: &controls,
        };
        say(report.text(paced_for, started.elapsed()));
        if self.args.json {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", report.json())?;
        }
        let clean = audit.checks.iter().all(|c| c.violations == 0 && c.examined > 0);
        let instances = Arc::into_inner(instances).context("the instances are still watched")?;
        let mut processes = instances.into_inner().unwrap_or_else(PoisonError::into_inner).into_processes();
        processes.push(venue);
        Ok((clean, processes))
    }

    fn engine(&self, instruments: &[fillstream_schemas::reference::Instrument]) -> EngineConfig {
        let mut engine = EngineConfig {
            seed: self.args.seed,
            sessions: SESSIONS.iter().map(|s| (*s).to_owned()).collect(),
            grid_us: self.args.grid_ms.saturating_mul(1_000),
            ..EngineConfig::default()
        };
        engine.misbehaviour.reject_share = "0.09".parse().unwrap_or_default();
        engine.venues.push(dark_pool());
        for center in &mut engine.venues {
            center.latency_us = center.latency_us.max(engine.grid_us);
        }
        // The venue that small orders like best does not trade everything: others get their share.
        if let Some(first) = engine.venues.first_mut() {
            first.instruments = instruments.iter().step_by(2).map(|i| i.instrument_id.clone()).collect();
        }
        engine
    }

    fn venue_args(&self, engine: EngineConfig) -> anyhow::Result<Vec<String>> {
        let venue = VenueConfig { mode: Mode::Paced, journal: self.dir.join("venue.jsonl"), engine };
        let file = VenueFile { venue, market: self.market.clone(), anchor: None };
        let path = self.dir.join("venue.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&file)?)?;
        let path = path.display().to_string();
        Ok(["venue", "--config-json", &path, "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec())
    }

    // Every task with the level of its group: they decide when an instant is drained.
    fn tasks(&self) -> anyhow::Result<BTreeMap<TaskId, i32>> {
        let mut tasks = BTreeMap::new();
        for group in order_groups(&self.config.stages, &self.config.run.split)? {
            let topic = journal_topic(group.name());
            for partition in 0..self.cluster.partitions(&topic)? {
                tasks.insert((topic.clone(), partition), group.level());
            }
        }
        tasks.extend(self.sessions()?.into_values().map(|p| ((journal_topic("broker-gateway"), p), 0)));
        Ok(tasks)
    }

    fn sessions(&self) -> anyhow::Result<BTreeMap<String, i32>> {
        let place = |session: &&str| Ok(((*session).to_owned(), self.cluster.router.partition(CHILD_ORDERS, session)?));
        SESSIONS.iter().map(place).collect()
    }

    // What tasks and sessions read.
    fn inputs(&self) -> anyhow::Result<BTreeSet<String>> {
        let groups = order_groups(&self.config.stages, &self.config.run.split)?;
        let topics = groups.iter().flat_map(|g| g.subscriptions()).map(|s| s.input.topic);
        Ok(topics.chain([CHILD_ORDERS]).map(str::to_owned).collect())
    }

    fn dead_letter_topics(&self) -> anyhow::Result<Vec<String>> {
        let groups = groups(&self.config.stages, &self.config.run.split)?;
        Ok(groups.iter().flat_map(|g| g.stages()).map(|s| dead_letter_topic(s.spec().name)).collect())
    }
}

/// A dark pool beside the lit venues: it shows nothing, and executes at the middle what it happens to have.
fn dark_pool() -> MarketCenter {
    let ratio = |text: &str| text.parse().unwrap_or_default();
    MarketCenter {
        venue_id: "XDRK".to_owned(),
        name: "Delta Dark".to_owned(),
        taker_fee: "0.1".parse().unwrap_or_default(),
        maker_fee: "0.1".parse().unwrap_or_default(),
        latency_us: 150_000,
        size_share: ratio("0"),
        hidden_share: ratio("0.6"),
        quality: ratio("0.75"),
        // Nobody knows what it holds: so much is tried.
        assumed_clip: Quantity::from_int(5_000).ok(),
        instruments: Vec::new(),
        quotes_of: None,
        dark: true,
    }
}

fn progress(at: &Paced, seen: &Seen) {
    say(format!(
        "{}  instant {}  published {}  orders {}  children {}  fills {}  ended {}",
        at.instant,
        at.instants,
        at.published,
        seen.orders,
        seen.children,
        seen.fills.values().sum::<u64>(),
        seen.terminal.values().sum::<u64>(),
    ));
}
