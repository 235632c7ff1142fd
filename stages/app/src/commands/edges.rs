//! The two edges of the pipeline as threads of `fillstream run`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use fillstream_broker_gateway::{Environment, FailPoint, GatewayConfig, Mode, Probe, SessionConfig};
use fillstream_clickhouse_sink::{ClickHouseConfig, Selection, Sink, SinkConfig, TopicContract, topics_of};
use fillstream_kafka::client::RdKafka;
use fillstream_kafka::failpoint::fail_point;
use fillstream_kafka::observe::{Health, Metrics, Readiness};
use fillstream_kafka::telemetry::Tracer;
use fillstream_strategy_api::{ApiConfig, ClickHouseConfig as Analytics, Connection, Desk, serve};

use crate::bus::Cluster;
use crate::config::Config;
use crate::phase::PhaseFile;
use crate::registry::groups;

/// Where the edges show how they stand.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) tracer: Tracer,
}

impl Observed {
    // Before its thread says so itself: without its parts the process would look ready too early.
    fn expect(&self, part: &str) {
        self.health.set(part, Readiness::Waiting("is not started yet".to_owned()));
    }
}

/// Writes the phase of each session to the file, and stands at the places where a test may end the process.
struct Watching(Option<Arc<PhaseFile>>);

impl Probe for Watching {
    fn entered(&self, session: &str, phase: fillstream_broker_gateway::Phase) {
        if let Some(file) = &self.0 {
            file.set(&format!("broker-gateway/{session}"), phase.as_str());
        }
    }

    fn dies_at(&self, _session: &str, point: FailPoint) -> bool {
        // Whoever dies here does not return.
        fail_point(point.name());
        false
    }
}

/// Starts the gateway with its configured sessions.
///
/// # Errors
/// A thread cannot be started.
pub(crate) fn gateway(
    cluster: &Cluster,
    config: &Config,
    stop: &Arc<AtomicBool>,
    phases: Option<&Arc<PhaseFile>>,
    observed: &Observed,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let session = |name: &String| SessionConfig { session: name.clone(), url: config.venue.url.clone() };
    let gateway = GatewayConfig {
        instance: config.run.instance.clone(),
        mode: if config.run.paced { Mode::Paced } else { Mode::Live },
        sessions: config.gateway.sessions.iter().map(session).collect(),
        ..GatewayConfig::default()
    };
    let probe: Arc<dyn Probe> = Arc::new(Watching(phases.cloned()));
    let environment = Environment {
        kafka: cluster.kafka.clone(),
        registry: Arc::clone(&cluster.registry),
        router: (*cluster.router).clone(),
        stop: Arc::clone(stop),
        probe,
        metrics: Arc::clone(&observed.metrics),
        tracer: observed.tracer.clone(),
        health: Arc::clone(&observed.health),
    };
    config.gateway.sessions.iter().for_each(|session| observed.expect(&format!("broker-gateway/{session}")));
    part("broker-gateway", move || Ok(fillstream_broker_gateway::run(gateway, environment)?))
}

/// The topics that the sink lands.
///
/// # Errors
/// A faulty configuration.
pub fn sink_topics(cluster: &Cluster, config: &Config) -> anyhow::Result<Vec<TopicContract>> {
    let groups = groups(&config.stages, &config.run.split)?;
    let stages: Vec<&str> = groups.iter().flat_map(|g| g.stages()).map(|s| s.spec().name).collect();
    Ok(topics_of(&cluster.catalog, &stages, Selection::Outputs))
}

/// The sink as the configuration wants it.
pub(crate) fn sink_config(config: &Config) -> SinkConfig {
    let ch = &config.clickhouse;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    SinkConfig {
        clickhouse: ClickHouseConfig {
            url: ch.url.clone(),
            database: ch.database.clone(),
            user: some(&ch.user),
            password: some(&ch.password),
            min_free_disk_bytes: ch.min_free_disk_mb.saturating_mul(1 << 20),
            ..ClickHouseConfig::default()
        },
        instance: format!("sink-{}", config.run.instance),
        linger_ms: ch.linger_ms,
        batch_rows: ch.batch_rows,
        parallel_inserts: ch.parallel_inserts,
        ..SinkConfig::default()
    }
}

/// The sink, not yet at work.
///
/// # Errors
/// A faulty configuration.
pub fn sink_of(cluster: &Cluster, config: &Config) -> anyhow::Result<Sink<RdKafka>> {
    let topics = sink_topics(cluster, config)?;
    Ok(Sink::new(sink_config(config), cluster.kafka.clone(), Arc::clone(&cluster.registry), &topics)?)
}

/// Starts the sink.
///
/// # Errors
/// A faulty configuration.
pub(crate) fn sink(
    cluster: &Cluster,
    config: &Config,
    stop: &Arc<AtomicBool>,
    observed: &Observed,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let sink = sink_of(cluster, config)?.with_observability(&observed.metrics, &observed.health);
    let sink = sink.with_observer(|moment, _| fail_point(moment.name()));
    observed.expect("clickhouse-sink/0");
    let stop = Arc::clone(stop);
    part("clickhouse-sink", move || Ok(sink.migrate_and_run(&stop)?))
}

/// Starts the strategy API.
///
/// # Errors
/// Its address cannot be listened on.
pub(crate) fn api(
    cluster: &Cluster,
    config: &Config,
    stop: &Arc<AtomicBool>,
    observed: &Observed,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let ch = &config.clickhouse;
    let served = ApiConfig {
        listen: config.api.listen.parse().with_context(|| format!("api.listen {:?}", config.api.listen))?,
        answer_timeout: Duration::from_millis(config.api.answer_timeout_ms),
        clickhouse: Analytics {
            url: ch.url.clone(),
            database: ch.database.clone(),
            user: ch.user.clone(),
            password: ch.password.clone(),
        },
    };
    let connection = Connection {
        kafka: cluster.kafka.clone(),
        registry: Arc::clone(&cluster.registry),
        router: Arc::clone(&cluster.router),
        health: Arc::clone(&observed.health),
    };
    observed.expect("strategy-api");
    let (desk, queue) = Desk::new();
    let server = serve(served, Arc::clone(&desk)).with_context(|| format!("api.listen {}", config.api.listen))?;
    tracing::info!(address = %server.address(), "the strategy API listens; its page is /docs");
    let stop = Arc::clone(stop);
    part("strategy-api", move || {
        let done = fillstream_strategy_api::run(connection, &desk, queue, &stop);
        drop(server);
        Ok(done?)
    })
}

fn part(
    name: &str,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    Ok(std::thread::Builder::new().name(name.to_owned()).spawn(run)?)
}
