//! Start, look at, stop and delete the services of one data directory.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::artifact::{Artifact, Context};
use crate::backend::{Backend, Ports};
use crate::clickhouse::ClickHouse;
use crate::config::{LocalConfig, ServiceSource};
use crate::error::DeployError;
use crate::kafka::Kafka;
use crate::ports::PortAllocator;
use crate::prerequisites;
use crate::process::{Cancel, POLL, ProcessId, spawn_detached, telling_line_of_log};
use crate::registry::Registry;
use crate::service::{Endpoints, Progress, Service};
use crate::state::{FileLock, ServiceRecord, create_dir, remove_tree};

/// How long a service elsewhere may fail to answer.
const EXTERNAL_TIMEOUT: Duration = Duration::from_secs(10);

fn backend(service: Service) -> &'static dyn Backend {
    match service {
        Service::Kafka => &Kafka,
        Service::Registry => &Registry,
        Service::ClickHouse => &ClickHouse,
    }
}

/// How a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// It runs and answers.
    Ready,
    /// It runs but does not answer.
    Unready,
    /// Its process ended without being stopped.
    Dead,
    /// It was stopped or never started.
    Stopped,
}

/// One line of [`status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Which one.
    pub service: Service,
    /// How it does.
    pub state: ServiceState,
    /// Whether it runs elsewhere.
    pub external: bool,
    /// The clients' address, none before the first start.
    pub address: Option<String>,
    /// The process, if it is ours and runs.
    pub pid: Option<i32>,
    /// Why it does not answer, or its log's last meaningful line.
    pub detail: Option<String>,
}

/// How a service was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopOutcome {
    /// It ended by itself after SIGTERM.
    Stopped,
    /// It had to be killed.
    Killed,
    /// It did not run.
    NotRunning,
}

/// One line of [`down`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// Which one.
    pub service: Service,
    /// How.
    pub outcome: StopOutcome,
}

/// Brings all three services up, in parallel, and returns once each of them answers. Those that run already are left
/// as they are; those configured as external are only probed.
///
/// # Errors
/// The first failure; what this call started is stopped again.
pub fn up(config: &LocalConfig, observer: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Endpoints, DeployError> {
    for dir in [config.data.join("logs"), config.data.join("run")] {
        create_dir(&dir)?;
    }
    let cancel = Cancel::new(&config.cancel);
    let _lock = FileLock::acquire(&config.data.join("lock"), &cancel)?;
    let cx = Context { config, observer, cancel: &cancel };
    let plans = plan(config)?;
    let artifacts: Vec<Artifact> = plans
        .iter()
        .filter(|plan| matches!(plan.action, Action::Start(_)))
        .flat_map(|plan| backend(plan.service).artifacts().iter().copied())
        .collect();
    let tools = Artifact::tools_missing_for(&artifacts, &config.cache)?;
    prerequisites::ensure(&tools, cx)?;

    let mut started = Vec::new();
    let outcome = bring_up_all(cx, &plans, &mut started);
    if outcome.is_err() {
        stop_services(config, observer, &started)?;
    }
    outcome?;
    let address = |service| plans.iter().find(|plan| plan.service == service).map(Plan::address).unwrap_or_default();
    Ok(Endpoints {
        kafka: address(Service::Kafka),
        registry: address(Service::Registry),
        clickhouse: address(Service::ClickHouse),
    })
}

/// What has to be done for one service.
#[derive(Debug)]
struct Plan {
    service: Service,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Probe(String),
    Wait(ProcessId, Ports, u64),
    Start(Ports),
}

impl Plan {
    fn address(&self) -> String {
        match &self.action {
            Action::Probe(address) => address.clone(),
            Action::Wait(_, ports, _) | Action::Start(ports) => backend(self.service).address(ports.client),
        }
    }
}

/// Decides for each service, before anything is started, so that a taken port stops nothing half-way.
fn plan(config: &LocalConfig) -> Result<Vec<Plan>, DeployError> {
    let mut allocator = PortAllocator::new(&config.data);
    let mut plans = Vec::new();
    for service in Service::ALL {
        let action = match config.source(service) {
            ServiceSource::External { address } => Action::Probe(address.clone()),
            ServiceSource::Local { port } => plan_local(config, service, *port, &mut allocator)?,
        };
        plans.push(Plan { service, action });
    }
    Ok(plans)
}

fn plan_local(
    config: &LocalConfig,
    service: Service,
    wanted: Option<u16>,
    allocator: &mut PortAllocator,
) -> Result<Action, DeployError> {
    let record = ServiceRecord::load(config, service);
    if let Some(record) = &record
        && let Some(process) = record.running()
    {
        let ports = record.ports();
        return match wanted {
            Some(wanted) if wanted != ports.client => {
                Err(DeployError::OtherPort { service, running: ports.client, wanted })
            }
            _ => Ok(Action::Wait(process, ports, record.log_start)),
        };
    }
    // The last ports again, if they are free: clients' configurations outlive a restart.
    let last = record.map(|record| record.ports());
    let client = match wanted {
        Some(port) => allocator.given(service, port)?,
        None => allocator.free(service, last.map(|ports| ports.client))?,
    };
    let internal = allocator.free(service, last.map(|ports| ports.internal))?;
    Ok(Action::Start(Ports { client, internal }))
}

/// Carries the plans out side by side. `started` names what was started, also after an error.
fn bring_up_all(cx: Context<'_>, plans: &[Plan], started: &mut Vec<Service>) -> Result<(), DeployError> {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for plan in plans {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut was_started = false;
                let result = bring_up(cx, plan, &mut was_started);
                // The receiver lives as long as the scope.
                let _ = sender.send((plan.service, was_started, result));
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        for (service, was_started, result) in receiver {
            if was_started {
                started.push(service);
            }
            if outcome.is_ok() && result.is_err() {
                outcome = result;
                cx.cancel.abandon();
            }
        }
        outcome
    })
}

fn bring_up(cx: Context<'_>, plan: &Plan, was_started: &mut bool) -> Result<(), DeployError> {
    let service = plan.service;
    let address = plan.address();
    let after = match &plan.action {
        Action::Probe(address) => {
            probe_external(cx, service, address)?;
            None
        }
        Action::Wait(process, ports, log_start) => {
            wait_ready(cx, service, *process, *ports, *log_start)?;
            None
        }
        Action::Start(ports) => {
            let command = backend(service).command(cx, *ports)?;
            let begun = Instant::now();
            (cx.observer)(Progress::Starting { service });
            let (process, log_start) = spawn_detached(command, &cx.config.log_file(service))?;
            *was_started = true;
            ServiceRecord { process: Some(process), client: ports.client, internal: ports.internal, log_start }
                .store(cx.config, service)?;
            wait_ready(cx, service, process, *ports, log_start)?;
            Some(begun.elapsed())
        }
    };
    (cx.observer)(Progress::Ready { service, address: &address, after });
    Ok(())
}

/// Gives a service elsewhere a moment: it may just be restarting.
fn probe_external(cx: Context<'_>, service: Service, address: &str) -> Result<(), DeployError> {
    let deadline = Instant::now() + EXTERNAL_TIMEOUT;
    loop {
        let Err(detail) = backend(service).probe_external(address) else { return Ok(()) };
        cx.cancel.check()?;
        if Instant::now() >= deadline {
            return Err(DeployError::Unreachable { service, address: address.to_owned(), detail });
        }
        thread::sleep(POLL);
    }
}

fn wait_ready(
    cx: Context<'_>,
    service: Service,
    process: ProcessId,
    ports: Ports,
    log_start: u64,
) -> Result<(), DeployError> {
    let begun = Instant::now();
    let log = cx.config.log_file(service);
    loop {
        // Looked at before the probe: on the port of a dead process somebody else might answer.
        if !process.is_alive() {
            return Err(DeployError::Died { service, detail: telling_line_of_log(&log, log_start), log });
        }
        let answer = backend(service).probe(ports).and_then(|()| backend(service).settle(ports));
        let Err(detail) = answer else { return Ok(()) };
        cx.cancel.check()?;
        if begun.elapsed() >= cx.config.start_timeout {
            return Err(DeployError::NotReady { service, after: cx.config.start_timeout, detail, log });
        }
        thread::sleep(POLL);
    }
}

/// How the services do. Waits for nobody, so it can be asked while [`up`] is at work.
#[must_use]
pub fn status(config: &LocalConfig) -> Vec<ServiceStatus> {
    thread::scope(|scope| {
        let asked = Service::ALL.map(|service| (service, scope.spawn(move || status_of(config, service))));
        let unknown = |service| ServiceStatus {
            service,
            state: ServiceState::Unready,
            external: false,
            address: None,
            pid: None,
            detail: Some("it could not be looked at".to_owned()),
        };
        asked.into_iter().map(|(service, asked)| asked.join().unwrap_or_else(|_| unknown(service))).collect()
    })
}

fn status_of(config: &LocalConfig, service: Service) -> ServiceStatus {
    let mut status = ServiceStatus {
        service,
        state: ServiceState::Stopped,
        external: false,
        address: None,
        pid: None,
        detail: None,
    };
    let answer = match config.source(service) {
        ServiceSource::External { address } => {
            status.external = true;
            status.address = Some(address.clone());
            backend(service).probe_external(address)
        }
        ServiceSource::Local { .. } => {
            let Some(record) = ServiceRecord::load(config, service) else { return status };
            status.address = Some(backend(service).address(record.client));
            let Some(process) = record.process else { return status };
            if !process.is_alive() {
                status.state = ServiceState::Dead;
                status.detail = Some(telling_line_of_log(&config.log_file(service), record.log_start));
                return status;
            }
            status.pid = Some(process.pid);
            backend(service).probe(record.ports())
        }
    };
    status.state = if answer.is_ok() { ServiceState::Ready } else { ServiceState::Unready };
    status.detail = answer.err();
    status
}

/// Stops what runs in the data directory; data stays. Services elsewhere are left alone.
///
/// # Errors
/// When a process does not end, or its record cannot be written; the others are stopped all the same.
pub fn down(config: &LocalConfig, observer: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Vec<Stopped>, DeployError> {
    if !config.data.exists() {
        return Ok(Service::ALL.map(|service| Stopped { service, outcome: StopOutcome::NotRunning }).to_vec());
    }
    let _lock = FileLock::acquire(&config.data.join("lock"), &Cancel::new(&config.cancel))?;
    stop_services(config, observer, &Service::ALL)
}

/// Stops the services and deletes their data, logs and records; downloads stay in the cache.
///
/// # Errors
/// As [`down`], or when a folder cannot be deleted.
pub fn reset(config: &LocalConfig, observer: &(dyn Fn(Progress<'_>) + Sync)) -> Result<(), DeployError> {
    if !config.data.exists() {
        return Ok(());
    }
    let _lock = FileLock::acquire(&config.data.join("lock"), &Cancel::new(&config.cancel))?;
    stop_services(config, observer, &Service::ALL)?;
    // Only what is ours: the directory may have been given by hand and hold other things.
    let names = Service::ALL.map(Service::name).into_iter().chain(["logs", "run"]);
    for path in names.map(|name| config.data.join(name)).filter(|path| path.exists()) {
        observer(Progress::Deleting { path: &path });
        remove_tree(&path)?;
    }
    Ok(())
}

/// Stops several services side by side.
fn stop_services(
    config: &LocalConfig,
    observer: &(dyn Fn(Progress<'_>) + Sync),
    services: &[Service],
) -> Result<Vec<Stopped>, DeployError> {
    thread::scope(|scope| {
        let stops: Vec<_> = services
            .iter()
            .map(|service| (*service, scope.spawn(move || stop_service(config, observer, *service))))
            .collect();
        let gone = |service| DeployError::Unstoppable { service, pid: 0 };
        let outcomes: Vec<_> =
            stops.into_iter().map(|(service, stop)| stop.join().unwrap_or_else(|_| Err(gone(service)))).collect();
        outcomes.into_iter().collect()
    })
}

fn stop_service(
    config: &LocalConfig,
    observer: &(dyn Fn(Progress<'_>) + Sync),
    service: Service,
) -> Result<Stopped, DeployError> {
    let Some(mut record) = ServiceRecord::load(config, service) else {
        return Ok(Stopped { service, outcome: StopOutcome::NotRunning });
    };
    let outcome = match record.running() {
        None => StopOutcome::NotRunning,
        Some(process) => {
            observer(Progress::Stopping { service });
            match process.stop(config.stop_timeout) {
                Some(true) => StopOutcome::Stopped,
                Some(false) => StopOutcome::Killed,
                None => return Err(DeployError::Unstoppable { service, pid: process.pid }),
            }
        }
    };
    record.process = None;
    record.store(config, service)?;
    Ok(Stopped { service, outcome })
}
