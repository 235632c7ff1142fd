//! Everything that runs: three Kafka nodes, registry, ClickHouse, venue, load, and the processes of the system, with the
//! proxy between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_deploy::{
    ClusterLayout, ClusterListener, Endpoints, KafkaCluster, LocalConfig, Service, ServiceSource, down, reset, status,
    up,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::Options;
use crate::disk::{self, SmallDisk};
use crate::error::ChaosError;
use crate::http;
use crate::kind::Role;
use crate::process::{Process, Spec, Talker, run};
use crate::proxy::{HeldEndTxn, HttpLink, Link, Port, Proxy};

/// Kafka nodes.
pub(crate) const NODES: [u8; 3] = [1, 2, 3];
/// The node whose disk can be filled.
pub(crate) const SMALL_NODE: u8 = 3;
/// Broker sessions, each of one gateway.
const SESSIONS: [&str; 2] = ["interactive_brokers", "alpaca"];
/// Topics that every part of the order path has.
pub(crate) const ORDERS: &str = "execution.orders.v1";
const STOPS_WITHIN: Duration = Duration::from_secs(20);
const READY: Duration = Duration::from_secs(120);

/// A place that a process of the system takes: its name, and its ways to everybody.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The broker session, of a gateway.
    pub(crate) session: Option<&'static str>,
    /// Its way to each node.
    pub(crate) kafka: BTreeMap<u8, Link>,
    pub(crate) clickhouse: Option<HttpLink>,
    pub(crate) end_txn: Arc<HeldEndTxn>,
    ports: BTreeMap<u8, Port>,
    clickhouse_port: Option<Port>,
}

impl Seat {
    fn listener(&self) -> String {
        self.name.to_ascii_uppercase().replace('-', "_")
    }
}

/// The seats that are taken at the start.
const TAKEN: [&str; 6] = ["stages-1", "stages-2", "gateway-1", "gateway-2", "sink-1", "sink-2"];
/// Where further instances sit.
pub(crate) const SPARE: &str = "stages-spare";

fn seats(proxy: &Proxy) -> Result<Vec<Seat>, ChaosError> {
    let named: [(&str, Role, Option<&'static str>); 9] = [
        ("stages-1", Role::Stages, None),
        ("stages-2", Role::Stages, None),
        (SPARE, Role::Stages, None),
        ("gateway-1", Role::Gateway, Some(SESSIONS[0])),
        ("gateway-1b", Role::Gateway, Some(SESSIONS[0])),
        ("gateway-2", Role::Gateway, Some(SESSIONS[1])),
        ("gateway-2b", Role::Gateway, Some(SESSIONS[1])),
        ("sink-1", Role::Sink, None),
        ("sink-2", Role::Sink, None),
    ];
    named
        .into_iter()
        .map(|(name, role, session)| {
            let end_txn = Arc::new(HeldEndTxn::default());
            let (mut kafka, mut ports) = (BTreeMap::new(), BTreeMap::new());
            for node in NODES {
                let (port, link) = proxy.link(&format!("{name} to node-{node}"), Some(&end_txn))?;
                kafka.insert(node, link);
                ports.insert(node, port);
            }
            let http = (role == Role::Sink).then(|| proxy.http(&format!("{name} to clickhouse"))).transpose()?;
            let (clickhouse_port, clickhouse) = http.unzip();
            Ok(Seat { name: name.to_owned(), role, session, kafka, clickhouse, end_txn, ports, clickhouse_port })
        })
        .collect()
}

/// The ways between nodes: by who connects, then to whom.
#[derive(Debug)]
pub(crate) struct NodeLinks {
    pub(crate) brokers: BTreeMap<u8, BTreeMap<u8, Link>>,
    pub(crate) controllers: BTreeMap<u8, BTreeMap<u8, Link>>,
}

/// A set of all that runs; it ends with this value.
pub(crate) struct World {
    pub(crate) program: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) seats: Vec<Seat>,
    pub(crate) between: NodeLinks,
    pub(crate) registry: Link,
    pub(crate) kafka: KafkaCluster,
    pub(crate) endpoints: Endpoints,
    pub(crate) load: Talker,
    pub(crate) venue: Process,
    pub(crate) venue_url: String,
    /// Processes of the system by name.
    pub(crate) running: BTreeMap<String, Process>,
    /// How the order path is cut, as `regroup` says it.
    pub(crate) cut: String,
    /// Folders on small disks of their own, if there are any.
    pub(crate) disks: Vec<SmallDisk>,
    /// Nothing is taken apart at the end.
    pub(crate) keep: bool,
    base: PathBuf,
    local: LocalConfig,
    registry_port: Port,
    _proxy: Proxy,
}

impl World {
    /// Brings everything up.
    ///
    /// # Errors
    /// A step fails; what was started ends.
    pub(crate) fn start(options: &Options, say: &(dyn Fn(&str) + Sync)) -> Result<Self, ChaosError> {
        let mut local = options.local.clone();
        local.kafka = ServiceSource::Local { port: None };
        let small = [local.data.join(format!("kafka-{SMALL_NODE}")), local.data.join("clickhouse")];
        for dir in &small {
            disk::unmount(dir);
        }
        reset(&local, &|_| {})?;
        let dir = local.data.join("system");
        for old in NODES.iter().map(|n| local.data.join(format!("kafka-{n}"))).chain([dir.clone()]) {
            if old.exists() {
                std::fs::remove_dir_all(&old).map_err(ChaosError::io(format!("deleting {}", old.display())))?;
            }
        }
        let _ = std::fs::remove_file(local.data.join("kafka-cluster"));
        std::fs::create_dir_all(&dir).map_err(ChaosError::io(format!("making {}", dir.display())))?;
        let base = dir.join("base.toml");
        std::fs::write(&base, &options.base_config).map_err(ChaosError::io("writing the configuration"))?;

        let disks = if options.kinds.iter().any(|kind| kind.needs_small_disks()) {
            small.iter().map(|dir| SmallDisk::mount(dir)).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let proxy = Proxy::start()?;
        let seats = seats(&proxy)?;
        let (registry_port, registry) = proxy.link("everybody to the registry", None)?;
        let (kafka, between) = start_kafka(&proxy, &local, &seats)?;
        say("three Kafka nodes answer");
        local.kafka = ServiceSource::External { address: kafka.bootstrap() };
        let endpoints = up(&local, &|progress| say(&progress.to_string()))?;
        let known = |port: Option<u16>, what: &str| {
            port.ok_or_else(|| ChaosError::Answer {
                what: what.to_owned(),
                detail: "its address has no port".to_owned(),
            })
        };
        registry_port.upstream.set(known(http::port(&endpoints.registry), "registry")?);
        let clickhouse = known(http::port(&endpoints.clickhouse), "clickhouse")?;
        seats.iter().filter_map(|s| s.clickhouse_port.as_ref()).for_each(|p| p.upstream.set(clickhouse));

        let mut load =
            Talker::start(&options.program, "load", &load_args(options, &base, &kafka, &endpoints, &dir), &dir)?;
        load.hear("ready", READY)?;
        say("topics, schemas and reference data are in place");
        let (venue, venue_url) = start_venue(&options.program, &dir)?;
        let mut world = Self {
            program: options.program.clone(),
            dir,
            seats,
            between,
            registry,
            kafka,
            endpoints,
            load,
            venue,
            venue_url,
            running: BTreeMap::new(),
            cut: "fused".to_owned(),
            disks,
            keep: false,
            base,
            local,
            registry_port,
            _proxy: proxy,
        };
        for name in TAKEN {
            world.start_process(name)?;
        }
        Ok(world)
    }

    /// The seat of this name.
    pub(crate) fn seat(&self, name: &str) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.name == name)
    }

    /// Starts the process of a seat under the seat's name.
    ///
    /// # Errors
    /// There is no such seat, or the process cannot be started.
    pub(crate) fn start_process(&mut self, name: &str) -> Result<(), ChaosError> {
        self.start_as(name, name)
    }

    /// Starts a process at a seat under a name of its own.
    ///
    /// # Errors
    /// As [`Self::start_process`].
    pub(crate) fn start_as(&mut self, name: &str, seat: &str) -> Result<(), ChaosError> {
        let seat = self.seat(seat).ok_or_else(|| ChaosError::Options(format!("there is no seat {seat}")))?;
        let spec = Spec { name: name.to_owned(), args: self.args_of(name, seat) };
        let process = Process::start(&self.program, &spec, &self.dir)?;
        self.running.insert(name.to_owned(), process);
        Ok(())
    }

    fn args_of(&self, name: &str, seat: &Seat) -> Vec<String> {
        let stages = match seat.role {
            Role::Stages => self
                .stage_groups()
                .into_iter()
                .chain(["limits", "tca"].map(str::to_owned))
                .collect::<Vec<_>>()
                .join(","),
            Role::Gateway => "broker-gateway".to_owned(),
            Role::Sink => "clickhouse-sink".to_owned(),
        };
        let bootstrap: Vec<String> = seat.ports.values().map(|p| format!("127.0.0.1:{}", p.number)).collect();
        let registry = http::with_port(&self.endpoints.registry, self.registry_port.number).unwrap_or_default();
        let clickhouse = match &seat.clickhouse_port {
            Some(port) => http::with_port(&self.endpoints.clickhouse, port.number).unwrap_or_default(),
            None => self.endpoints.clickhouse.clone(),
        };
        let sessions = seat.session.map(|s| format!("{s:?}")).unwrap_or_default();
        let mut args = vec!["run".to_owned(), "--stages".to_owned(), stages];
        args.extend(self.settings(&bootstrap.join(","), &registry, &clickhouse));
        for (key, value) in [("run.instance", format!("{name:?}")), ("gateway.sessions", format!("[{sessions}]"))] {
            args.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        args
    }

    /// Names of the groups of the order path.
    pub(crate) fn stage_groups(&self) -> Vec<String> {
        if self.cut == "fused" {
            return vec!["order-path".to_owned()];
        }
        self.cut.split('/').filter_map(|part| part.split(',').next()).map(str::to_owned).collect()
    }

    /// Consumer groups of the whole system.
    pub(crate) fn groups(&self) -> Vec<String> {
        let others = ["limits", "tca", "broker-gateway", "clickhouse-sink"].map(str::to_owned);
        self.stage_groups().into_iter().chain(others).map(|g| format!("fillstream.{g}")).collect()
    }

    fn settings(&self, bootstrap: &str, registry: &str, clickhouse: &str) -> Vec<String> {
        let mut settings = vec![
            ("kafka.bootstrap_servers".to_owned(), format!("{bootstrap:?}")),
            ("registry.url".to_owned(), format!("{registry:?}")),
            ("clickhouse.url".to_owned(), format!("{clickhouse:?}")),
            ("venue.url".to_owned(), format!("{:?}", self.venue_url)),
        ];
        if self.cut != "fused" {
            settings.push(("run.split.order-path".to_owned(), as_toml(&self.cut)));
        }
        let file = ["--config".to_owned(), self.base.display().to_string()];
        file.into_iter()
            .chain(settings.into_iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]))
            .collect()
    }

    /// Runs a command of the program on the direct ways.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn command(
        &self,
        words: &[&str],
        accepted: &[i32],
        limit: Duration,
    ) -> Result<(i32, String), ChaosError> {
        let mut args: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        args.extend(self.settings(&self.kafka.bootstrap(), &self.endpoints.registry, &self.endpoints.clickhouse));
        run(&self.program, &args, accepted, limit)
    }

    /// The same in a process of its own, to be waited for.
    pub(crate) fn command_args(&self, words: &[&str]) -> Vec<String> {
        let mut args: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        args.extend(self.settings(&self.kafka.bootstrap(), &self.endpoints.registry, &self.endpoints.clickhouse));
        args
    }

    /// Ends ClickHouse in order and starts it again, as who frees its disk does: parts that were not written are set aside, and
    /// the sources of their merges, which stay for minutes, are taken instead.
    ///
    /// # Errors
    /// It does not come back.
    pub(crate) fn restart_clickhouse(&mut self) -> Result<(), ChaosError> {
        let runs = || status(&self.local).into_iter().find(|s| s.service == Service::ClickHouse).and_then(|s| s.pid);
        let deadline = Instant::now() + STOPS_WITHIN;
        let mut signal = Signal::TERM;
        while let Some(pid) = runs().and_then(Pid::from_raw) {
            // Fails only where it has just ended.
            let _ = kill_process(pid, signal);
            if Instant::now() >= deadline {
                signal = Signal::KILL;
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        self.endpoints.clickhouse = up(&self.local, &|_| {})?.clickhouse;
        let port = http::port(&self.endpoints.clickhouse);
        let ways = self.seats.iter().filter_map(|s| s.clickhouse_port.as_ref());
        ways.zip(std::iter::repeat(port)).for_each(|(way, to)| to.into_iter().for_each(|to| way.upstream.set(to)));
        Ok(())
    }

    /// Every link that a rule can stand on.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        let between = self.between.brokers.values().chain(self.between.controllers.values());
        let seats = self.seats.iter().flat_map(|s| s.kafka.values());
        seats.chain(between.flat_map(|to| to.values())).chain([&self.registry])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for process in self.running.values_mut() {
            process.kill();
        }
        self.venue.kill();
        // Who was interrupted still takes everything down.
        let local = LocalConfig { cancel: Arc::default(), ..self.local.clone() };
        let _ = down(&local, &|_| {});
        for node in NODES {
            let _ = self.kafka.kill_node(node);
        }
        if self.keep {
            std::mem::take(&mut self.disks).into_iter().for_each(SmallDisk::leave);
        }
    }
}

/// `a,b/c` as the configuration wants it.
fn as_toml(cut: &str) -> String {
    let part = |part: &str| {
        let names: Vec<String> = part.split(',').map(|name| format!("{name:?}")).collect();
        format!("[{}]", names.join(","))
    };
    format!("[{}]", cut.split('/').map(part).collect::<Vec<_>>().join(","))
}

fn start_kafka(proxy: &Proxy, local: &LocalConfig, seats: &[Seat]) -> Result<(KafkaCluster, NodeLinks), ChaosError> {
    let mut between = NodeLinks { brokers: BTreeMap::new(), controllers: BTreeMap::new() };
    let (mut brokers, mut controllers) = (Vec::new(), Vec::new());
    for to in NODES {
        let (port, links) = proxy.links_of_nodes(&format!("broker-{to}"), &NODES)?;
        brokers.push(port);
        for (from, link) in links {
            between.brokers.entry(from).or_default().insert(to, link);
        }
        let (port, links) = proxy.links_of_nodes(&format!("controller-{to}"), &NODES)?;
        controllers.push(port);
        for (from, link) in links {
            between.controllers.entry(from).or_default().insert(to, link);
        }
    }
    let numbers = |ports: &[Port]| ports.iter().map(|port| port.number).collect::<Vec<_>>();
    let layout = ClusterLayout {
        nodes: 3,
        listeners: seats
            .iter()
            .map(|seat| ClusterListener {
                name: seat.listener(),
                advertised: seat.ports.values().map(|port| port.number).collect(),
            })
            .collect(),
        between_brokers: numbers(&brokers),
        controllers: numbers(&controllers),
    };
    let kafka = KafkaCluster::prepare(local, &layout, &|_| {})?;
    let lead = |port: &Port, to: Option<u16>| to.into_iter().for_each(|to| port.upstream.set(to));
    for (node, (broker, controller)) in NODES.iter().zip(brokers.iter().zip(&controllers)) {
        lead(broker, kafka.broker_port(*node));
        lead(controller, kafka.controller_port(*node));
    }
    for seat in seats {
        for (node, port) in &seat.ports {
            lead(port, kafka.port(*node, &seat.listener()));
        }
    }
    kafka.start()?;
    Ok((kafka, between))
}

fn load_args(options: &Options, base: &Path, kafka: &KafkaCluster, endpoints: &Endpoints, dir: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let (seed, rate) = (options.seed.to_string(), options.rate.to_string());
    let words = ["chaos-load", "--dir", &text(dir), "--seed", &seed, "--rate", &rate, "--config", &text(base)];
    let set = [
        format!("kafka.bootstrap_servers={:?}", kafka.bootstrap()),
        format!("registry.url={:?}", endpoints.registry),
        format!("clickhouse.url={:?}", endpoints.clickhouse),
    ];
    let set = set.into_iter().flat_map(|s| ["--set".to_owned(), s]);
    words.map(str::to_owned).into_iter().chain(set).collect()
}

fn start_venue(program: &Path, dir: &Path) -> Result<(Process, String), ChaosError> {
    let (file, address) = (dir.join("venue.json"), dir.join("venue.addr"));
    let text = |path: &Path| path.display().to_string();
    let args = ["venue", "--config-json", &text(&file), "--listen", "127.0.0.1:0", "--address-file", &text(&address)];
    let spec = Spec { name: "venue".to_owned(), args: args.map(str::to_owned).to_vec() };
    let mut venue = Process::start(program, &spec, dir)?;
    let deadline = Instant::now() + READY;
    loop {
        if let Ok(found) = std::fs::read_to_string(&address) {
            return Ok((venue, format!("http://{}", found.trim())));
        }
        if venue.ended().is_some() || Instant::now() >= deadline {
            let detail = venue.last_words();
            return Err(ChaosError::Timeout { what: "the venue's start".to_owned(), limit: READY, detail });
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_written_as_the_configuration_wants_it() {
        assert_eq!(as_toml("a,b/c"), r#"[["a","b"],["c"]]"#);
    }
}
