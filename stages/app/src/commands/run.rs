//! `fillstream run`: groups of stages, the gateway and the sink in one process.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fillstream_core::error::Reaction;
use fillstream_kafka::driver::{Driver, DriverConfig, DriverError, GroupRun, Running};
use fillstream_kafka::observe::{Health, Metrics, Readiness, serve};
use fillstream_kafka::startup::{Patience, StartError, check_clock};
use fillstream_kafka::telemetry::{Exporter, TelemetryConfig};
use tracing::info;

use super::edges::Observed;
use crate::bus::{Cluster, now_us};
use crate::cli::RunArgs;
use crate::config::Config;
use crate::demo::processes::write_address;
use crate::phase::PhaseFile;
use crate::registry::{ADVICE, groups};

const PACED_FETCH_WAIT_MS: u32 = 5;

/// Names of the parts that are no groups of stages.
const GATEWAY: &str = "broker-gateway";
const SINK: &str = "clickhouse-sink";
const API: &str = "strategy-api";
/// Part of health that stands for what comes before the parts.
const START: &str = "start";

pub(crate) fn run(command: &RunArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut config = config.clone();
    config.run.paced |= command.paced;
    let cluster = Cluster::new(&config)?;
    let all = groups(&config.stages, &config.run.split)?;
    let known: Vec<&str> = all.iter().map(|g| g.name()).chain([GATEWAY, SINK, API]).collect();
    let named = |name: &str| command.stages.iter().any(|s| s == name);
    let has_api = !config.api.listen.is_empty();
    // Nobody asks where there is no API.
    let wanted = |name: &str| named(name) || (named("all") && (has_api || ![API, ADVICE].contains(&name)));
    ensure!(has_api || !named(API), "--stages {API}: api.listen is empty");
    ensure!(!has_api || !config.run.paced, "api.listen must be empty where run is paced");
    for name in &command.stages {
        ensure!(
            name == "all" || known.contains(&name.as_str()),
            "--stages {name}: no such group; there are {}",
            known.join(", ")
        );
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    #[cfg(feature = "failpoints")]
    crate::failpoints::follow()?;
    let (metrics, health) = (Metrics::new(), Health::new());
    let phases = command.phase_file.as_deref().map(PhaseFile::create).transpose()?;
    let listen: SocketAddr =
        config.run.listen.parse().with_context(|| format!("run.listen {:?}", config.run.listen))?;
    let server =
        serve(listen, Arc::clone(&health), Arc::clone(&metrics)).with_context(|| format!("run.listen {listen}"))?;

    let chosen: Vec<GroupRun> = all
        .iter()
        .filter(|g| wanted(g.name()))
        .map(|g| GroupRun { group: Arc::clone(g), workers: config.run.workers })
        .collect();
    // Dropped last: it tells what the parts have told it.
    let exporter = exporter(&config, &metrics)?;
    let tracer = exporter.as_ref().map(Exporter::tracer).unwrap_or_default();
    let observed = Observed { metrics: Arc::clone(&metrics), health: Arc::clone(&health), tracer };
    let on_wait = |text: &str| health.set(START, Readiness::Waiting(text.to_owned()));
    on_wait("kafka is not asked yet");
    let seconds = config.run.start_timeout_s;
    let limit = (seconds > 0).then(|| Duration::from_secs(seconds));
    let patience = Patience { stop: &stop, limit, on_wait: &on_wait };
    let tolerance = config.run.clock_tolerance_ms;
    let asked = patience.until(
        "starting, kafka",
        |e: &StartError| e.reaction() == Reaction::Retry,
        || if config.run.paced { Ok(()) } else { check_clock(&cluster.kafka, tolerance, now_us) },
    )?;
    let started = patience.until(
        "starting, kafka and the schema registry",
        |e: &DriverError| e.reaction() == Reaction::Retry,
        || {
            let driver = || driver(&cluster, &config, &observed, phases.as_ref());
            (!chosen.is_empty()).then(|| driver().start(&chosen)).transpose()
        },
    )?;
    let (Some(()), Some(running)) = (asked, started) else {
        info!("stopped before the services answered");
        return Ok(ExitCode::SUCCESS);
    };
    health.set(START, Readiness::Ready);
    let mut parts: Vec<JoinHandle<anyhow::Result<()>>> = Vec::new();
    // "all" of a process without sessions has no gateway; one that is asked for by name needs some, and says so.
    if named(GATEWAY) || (wanted(GATEWAY) && !config.gateway.sessions.is_empty()) {
        parts.push(super::edges::gateway(&cluster, &config, &stop, phases.as_ref(), &observed)?);
    }
    if wanted(SINK) {
        parts.push(super::edges::sink(&cluster, &config, &stop, &observed)?);
    }
    if wanted(API) {
        parts.push(super::edges::api(&cluster, &config, &stop, &observed)?);
    }
    if let Some(path) = &command.address_file {
        write_address(path, &server.address().to_string())?;
    }
    info!(address = %server.address(), paced = config.run.paced, "running");
    supervise(running, parts, &stop)?;
    Ok(ExitCode::SUCCESS)
}

/// What tells spans to the configured collector.
fn exporter(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<Exporter>> {
    let telemetry = &config.telemetry;
    if telemetry.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = TelemetryConfig {
        endpoint: telemetry.otlp_endpoint.clone(),
        sampler: telemetry.sampler(),
        instance: config.run.instance.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let started = Exporter::start(exporter, metrics).map_err(|text| anyhow::anyhow!("telemetry: {text}"));
    started.map(Some)
}

/// The driver as the configuration wants it.
pub(super) fn driver(
    cluster: &Cluster,
    config: &Config,
    observed: &Observed,
    phases: Option<&Arc<PhaseFile>>,
) -> Driver<fillstream_kafka::client::RdKafka> {
    let driver_config = DriverConfig {
        instance: config.run.instance.clone(),
        paced: config.run.paced,
        max_batch_records: config.run.max_units,
        clock_tolerance_ms: config.run.clock_tolerance_ms,
        transactional_ids: config.run.transactional_ids,
        snapshot_interval_ms: config.run.snapshot_interval_min.saturating_mul(60_000),
        ..DriverConfig::default()
    };
    // A tick waits until its inputs are read to their ends, which an idle fetch tells when its wait is over.
    let client = if config.run.paced {
        cluster.kafka.with_fetch_wait_max_ms(PACED_FETCH_WAIT_MS)
    } else {
        cluster.kafka.clone()
    };
    Driver {
        client,
        registry: Arc::clone(&cluster.registry),
        router: (*cluster.router).clone(),
        metrics: Arc::clone(&observed.metrics),
        health: Arc::clone(&observed.health),
        config: driver_config,
        config_hash: config.decision_hash(),
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        max_record_bytes: usize::try_from(cluster.kafka.config().producer.message_max_bytes).unwrap_or(1_000_000),
        tracer: observed.tracer.clone(),
        on_phase: crate::phase::observer(phases),
    }
}

// Ends when a signal came or one part ended: the process is one unit to its supervisor.
fn supervise(
    running: Option<Running>,
    parts: Vec<JoinHandle<anyhow::Result<()>>>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed)
        && !parts.iter().any(JoinHandle::is_finished)
        && !running.as_ref().is_some_and(Running::is_finished)
    {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    stop.store(true, Ordering::Relaxed);
    if let Some(running) = &running {
        running.stop();
    }
    let mut first = Ok(());
    if let Some(running) = running {
        first = first.and(running.join().map_err(anyhow::Error::from));
    }
    for part in parts {
        let ended = part.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a part panicked")));
        first = first.and(ended);
    }
    first
}
