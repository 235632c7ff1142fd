//! Runs sessions: threads, clients, restarts.

mod acks;
mod actor;
mod clock;
mod controls;
mod deliver;
mod live;
mod paced;
mod standing;
mod stream;
mod tail;
mod wire;
mod writer;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use fillstream_core::error::Reaction;
use fillstream_kafka::client::RdKafka;
use fillstream_kafka::observe::{Health, Metrics};
use fillstream_kafka::registry::SchemaRegistry;
use fillstream_kafka::telemetry::Tracer;
use fillstream_kafka::topics::Router;
use tokio::runtime::{Builder, Handle};
use tracing::{error, warn};

use self::actor::{Actor, Watch};
use self::controls::{ControlsView, Follower};
use self::standing::Standing;
use self::tail::Stop;
use crate::adapter::{BrokerAdapter, RestWsAdapter};
use crate::config::{GatewayConfig, Mode, SessionConfig};
use crate::error::GatewayError;
use crate::probe::Probe;

/// What a gateway is given.
#[derive(Clone)]
pub struct Environment {
    /// Clients of the cluster.
    pub kafka: RdKafka,
    /// The schema registry.
    pub registry: Arc<SchemaRegistry>,
    /// Where keys belong.
    pub router: Router,
    /// Set to end it: what is being sent is finished first, unless the broker does not answer.
    pub stop: Arc<AtomicBool>,
    /// Follows the sessions.
    pub probe: Arc<dyn Probe>,
    /// Where each session shows its series.
    pub metrics: Arc<Metrics>,
    /// Where the spans of intents, sends and reports are told.
    pub tracer: Tracer,
    /// Where each session is a part (`broker-gateway/alpaca`): ready once it is restored and the broker's stream of reports
    /// stands.
    pub health: Arc<Health>,
}

/// A transaction has ended one way or the other after a few seconds: the limits of its calls add up to less than ten.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// What the threads share.
pub(crate) struct Shared {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) kafka: RdKafka,
    pub(crate) registry: Arc<SchemaRegistry>,
    pub(crate) router: Router,
    pub(crate) runtime: Handle,
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) tracer: Tracer,
    pub(crate) stop: Stop,
}

/// Holds every configured session, over REST and WebSocket, until asked to stop. Blocks; not to be called from a runtime's
/// own thread.
///
/// # Errors
/// What stopped it, were it only one session: the others are stopped too. Another gateway that took a session over is
/// such a case.
pub fn run(config: GatewayConfig, environment: Environment) -> Result<(), GatewayError> {
    let answer_within = Duration::from_millis(config.request_timeout_ms);
    run_with(config, environment, |session| {
        RestWsAdapter::new(&session.session, &session.url, answer_within)
            .map_err(|e| GatewayError::Adapter { session: session.session.clone(), text: e.to_string() })
    })
}

/// As [`run`], with adapters of the caller's.
///
/// # Errors
/// As [`run`].
pub fn run_with<A: BrokerAdapter>(
    config: GatewayConfig,
    environment: Environment,
    adapter: impl Fn(&SessionConfig) -> Result<A, GatewayError>,
) -> Result<(), GatewayError> {
    config.validate()?;
    let runtime =
        Builder::new_multi_thread().worker_threads(2).thread_name("broker-gateway-io").enable_all().build()?;
    let Environment { kafka, registry, router, stop, probe, metrics, tracer, health } = environment;
    let shared = Shared {
        config: Arc::new(config),
        kafka,
        registry,
        router,
        runtime: runtime.handle().clone(),
        probe,
        tracer,
        stop: Stop(stop),
    };
    let sessions: Vec<(Arc<Standing>, String, Arc<A>)> = shared
        .config
        .sessions
        .iter()
        .map(|session| {
            let standing = Standing::new(&metrics, &health, &session.session);
            Ok((standing, session.session.clone(), Arc::new(adapter(session)?)))
        })
        .collect::<Result<_, GatewayError>>()?;
    let outcome = run_sessions(&shared, sessions);
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn run_sessions<A: BrokerAdapter>(
    shared: &Shared,
    sessions: Vec<(Arc<Standing>, String, Arc<A>)>,
) -> Result<(), GatewayError> {
    let view = Arc::new(ControlsView::default());
    let paced = match shared.config.mode {
        Mode::Live => None,
        Mode::Paced => Some(Arc::new(Mutex::new(Follower::new(&shared.kafka, &shared.registry)?))),
    };
    thread::scope(|scope| {
        let mut running: Vec<(String, ScopedJoinHandle<'_, Result<(), GatewayError>>)> = Vec::new();
        let (mut outcome, mut watched) = (Ok(()), Vec::new());
        for (standing, session, adapter) in sessions {
            let (view, paced, name) = (Arc::clone(&view), paced.clone(), session.clone());
            watched.push((session.clone(), Arc::clone(&standing)));
            let work = move || {
                let watch = || match &paced {
                    None => Watch::Live(Arc::clone(&view)),
                    Some(follower) => Watch::Paced(Arc::clone(follower)),
                };
                let result = hold(shared, &name, &adapter, watch, &standing);
                match &result {
                    Ok(()) => standing.waits("stopped as asked"),
                    Err(cause) => standing.stopped(cause.to_string()),
                }
                // One session's end is everybody's: somebody must look.
                shared.stop.set();
                result
            };
            match thread::Builder::new().name(format!("session {session}")).spawn_scoped(scope, work) {
                Ok(handle) => running.push((session, handle)),
                Err(error) => {
                    shared.stop.set();
                    outcome = Err(GatewayError::Os(error));
                }
            }
        }
        let watch = move || watch(&watched, &shared.stop);
        if let Err(error) = thread::Builder::new().name("session watch".to_owned()).spawn_scoped(scope, watch) {
            shared.stop.set();
            outcome = Err(GatewayError::Os(error));
        }
        if shared.config.mode == Mode::Live {
            let every = Duration::from_millis(shared.config.heartbeat_ms);
            let names: Vec<String> = shared.config.sessions.iter().map(|s| s.session.clone()).collect();
            let (told, arrived) = mpsc::channel();
            scope.spawn(move || acks::write(&shared.kafka, &shared.registry, &names, &arrived, &shared.stop));
            let Shared { kafka, registry, config, stop, .. } = shared;
            controls::keep(kafka, registry, &config.instance, every, &view, &told, stop);
        }
        for (session, handle) in running {
            let result = handle.join().unwrap_or(Err(GatewayError::Panicked { session }));
            outcome = outcome.and(result);
        }
        outcome
    })
}

/// Ends the process when a transaction of a session does not come back long after all limits of its calls: a thread that a client library holds cannot be ended otherwise, and nobody else may take the session over while it seems to be held.
fn watch(sessions: &[(String, Arc<Standing>)], stop: &Stop) {
    while stop.pause(Duration::from_secs(1)) {
        for (session, standing) in sessions {
            if let Some(call) = standing.hangs(HANGS_AFTER) {
                error!(session, call, "does not come back: the process ends, to be started again");
                std::process::abort();
            }
        }
    }
}

/// Holds a session: starts it from its journal again after every error that this can cure.
fn hold<A: BrokerAdapter>(
    shared: &Shared,
    session: &str,
    adapter: &Arc<A>,
    watch: impl Fn() -> Watch,
    standing: &Arc<Standing>,
) -> Result<(), GatewayError> {
    let mut failures = 0_u32;
    loop {
        let result = hold_once(shared, session, adapter, watch(), standing);
        let Err(cause) = result else { return Ok(()) };
        match cause.reaction() {
            Reaction::Stop | Reaction::DeadLetter => {
                error!(session, error = %cause, "the session stops");
                return Err(cause);
            }
            Reaction::Retry | Reaction::AbortTxn | Reaction::Restore => {
                failures = failures.saturating_add(1).min(16);
                warn!(session, error = %cause, failures, "the session is started again");
                standing.restarts(cause.to_string());
                let backoff = Duration::from_millis(shared.config.restart_backoff_ms).saturating_mul(failures);
                if !shared.stop.pause(backoff) {
                    return Ok(());
                }
            }
        }
    }
}

fn hold_once<A: BrokerAdapter>(
    shared: &Shared,
    session: &str,
    adapter: &Arc<A>,
    watch: Watch,
    standing: &Arc<Standing>,
) -> Result<(), GatewayError> {
    let Some(mut actor) = Actor::start(shared, session, Arc::clone(adapter), watch, standing)? else { return Ok(()) };
    match shared.config.mode {
        Mode::Live => actor.live(),
        Mode::Paced => actor.paced(&shared.kafka),
    }
}
