//! A world on the clock of the machine: the simulated venue, its market, reference data and the stages.
//!
//! The bench measures in it, and tests from other languages write to it.

mod feed;
mod http;
pub mod load;
pub mod reference;
pub mod upstream;
pub mod usage;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fillstream_deploy::{Endpoints, LocalConfig, up};
use fillstream_domain::TimestampMicros;
use fillstream_market::SyntheticConfig;
use fillstream_schemas::reference::Instrument;
use fillstream_venue::{EngineConfig, Misbehaviour, Mode, VenueConfig};

use crate::bus::{Cluster, now_us};
use crate::commands::{apply_topics, register_schemas};
use crate::config::Config;
use crate::demo::market::{MarketChoice, VenueFile};
use crate::demo::processes::Process;
use crate::demo::reference::Reference;
use feed::Feed;
pub use http::get;
pub use reference::{Orderable, portfolio};

/// Broker sessions of the simulated venue, the first two of the brokers.
pub const SESSIONS: [&str; 2] = ["interactive_brokers", "alpaca"];
/// Portfolios of the world, P01 and so on.
pub const PORTFOLIOS: usize = 14;
/// The market began this long ago, so that every instrument has a quote at once.
const HEAD_START_US: i64 = 30_000_000;
const READY: Duration = Duration::from_secs(60);

/// Everything that runs; it ends with this value, the services excepted.
pub struct World {
    /// Clients of the services.
    pub cluster: Cluster,
    /// What can be ordered.
    pub orderables: Vec<Orderable>,
    /// The stages, gateway and sink.
    pub stages: Process,
    /// Address of their health and metrics.
    pub stages_url: String,
    /// The venue.
    pub venue: Process,
    /// Address of the venue.
    pub venue_url: String,
    feed: Feed,
}

impl World {
    /// Provisions the services at `endpoints`, which must be empty, and starts the rest with its files in `dir`.
    ///
    /// # Errors
    /// A step fails; what was started ends.
    pub fn start(config: &Config, endpoints: &Endpoints, dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let mut config = config.clone();
        config.kafka.bootstrap_servers.clone_from(&endpoints.kafka);
        config.registry.url.clone_from(&endpoints.registry);
        config.clickhouse.url.clone_from(&endpoints.clickhouse);
        config.run.paced = false;
        let cluster = Cluster::new(&config)?;
        apply_topics(&cluster, &config)?;
        register_schemas(&cluster)?;
        let ends = cluster.ends("market.data.v1")?;
        ensure!(
            ends.iter().all(|e| *e == 0),
            "market.data.v1 already has records: a live world needs an empty cluster"
        );

        let file = venue_file(dir);
        let market = file.open_market()?;
        let orderables = reference::orderables(&fillstream_market::default_instruments())?;
        publish_reference(&cluster, market.instruments(), &file.venue.engine)?;
        let mut venue = Process::start("venue", dir, &venue_args(&file, dir)?)?;
        let venue_url = format!("http://{}", venue.address(READY)?);
        let feed = Feed::start(market, cluster.writer()?)?;
        config.venue.url.clone_from(&venue_url);
        let mut stages = start_stages(&config, dir)?;
        let stages_url = format!("http://{}", stages.address(READY)?);
        let mut world = Self { cluster, orderables, stages, stages_url, venue, venue_url, feed };
        world.wait_until_ready()?;
        Ok(world)
    }

    /// Whether everything still runs.
    ///
    /// # Errors
    /// What ended, and its last words.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.venue.check()?;
        self.stages.check()?;
        self.feed.check()
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            let answer = get(&format!("{}/health/ready", self.stages_url));
            match answer {
                Ok((200, _)) => return Ok(()),
                Ok((_, text)) if Instant::now() >= deadline => {
                    bail!("the stages are not ready after {READY:?}: {text}")
                }
                Err(e) if Instant::now() >= deadline => return Err(e.context(format!("no answer after {READY:?}"))),
                Ok(_) | Err(_) => {}
            }
            self.check()?;
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

fn venue_file(dir: &Path) -> VenueFile {
    let sessions = SESSIONS.iter().map(|s| (*s).to_owned()).collect();
    let engine = EngineConfig { sessions, misbehaviour: Misbehaviour::none(), ..EngineConfig::default() };
    VenueFile {
        venue: VenueConfig { mode: Mode::Live, journal: dir.join("venue.jsonl"), engine },
        market: MarketChoice::Synthetic(SyntheticConfig::default()),
        anchor: Some(TimestampMicros::from_micros(now_us().saturating_sub(HEAD_START_US))),
    }
}

fn venue_args(file: &VenueFile, dir: &Path) -> anyhow::Result<Vec<String>> {
    let path = dir.join("venue.json");
    std::fs::write(&path, serde_json::to_vec_pretty(file)?)?;
    Ok(["venue", "--config-json", &path.display().to_string(), "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec())
}

fn start_stages(config: &Config, dir: &Path) -> anyhow::Result<Process> {
    let file = dir.join("stages.toml");
    std::fs::write(&file, toml::to_string(config)?)?;
    Process::start("stages", dir, &["run", "--config", &file.display().to_string()].map(str::to_owned))
}

fn publish_reference(cluster: &Cluster, instruments: &[Instrument], engine: &EngineConfig) -> anyhow::Result<()> {
    let (accounts, limits) = (reference::accounts(instruments, PORTFOLIOS)?, reference::limits(PORTFOLIOS)?);
    let calendars = reference::always_open();
    Reference { instruments, accounts: &accounts, limits: &limits, calendars: &calendars, engine }.publish(cluster)
}

/// `fillstream live-world`: starts everything, prints the addresses as one line of JSON, and waits.
///
/// # Errors
/// A step fails, or something ends too early.
pub fn serve(minutes: u64, config: &Config) -> anyhow::Result<ExitCode> {
    let local: LocalConfig = crate::commands::local::local_config()?;
    let endpoints = up(&local, &|progress| eprintln!("{progress}"))?;
    let dir: PathBuf = local.data.join("live");
    let mut world = World::start(config, &endpoints, &dir)?;
    let line = serde_json::json!({ "kafka": endpoints.kafka, "registry": endpoints.registry, "clickhouse": endpoints.clickhouse,
        "venue": world.venue_url, "stages": world.stages_url });
    writeln!(std::io::stdout(), "{line}")?;
    let closed = Arc::new(AtomicBool::new(false));
    let input = Arc::clone(&closed);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        input.store(true, Ordering::Relaxed);
    })?;
    let deadline = Instant::now() + Duration::from_secs(minutes.saturating_mul(60));
    while Instant::now() < deadline && !closed.load(Ordering::Relaxed) && !local.cancel.load(Ordering::Relaxed) {
        world.check()?;
        std::thread::park_timeout(Duration::from_millis(100));
    }
    Ok(ExitCode::SUCCESS)
}
