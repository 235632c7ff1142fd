//! A Kafka cluster of several nodes on this machine, for tests that break it.
//!
//! Every node is broker and controller in a process of its own, with its data in a folder of its own: it can be killed,
//! stopped and started alone. Clients that must be told apart get a listener of their own on every node, whose advertised
//! port may be somebody else's, such as a proxy's; so may those that the nodes use among themselves.
//!
//! The nodes end with the value that started them. Those of one that was killed are ended by the next that uses their
//! folder.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::artifact::{Artifact, Context};
use crate::config::LocalConfig;
use crate::error::DeployError;
use crate::kafka::{CLIENT_LISTENER, CONTROLLER_LISTENER, Jvm, NodeLayout, NodeListener, cluster_id, probe_broker};
use crate::ports::PortAllocator;
use crate::prerequisites;
use crate::process::{Cancel, POLL, ProcessId, spawn_detached, telling_line_of_log};
use crate::service::{Progress, Service};
use crate::state::{create_dir, write_atomically};

const INTERNAL_LISTENER: &str = "INTERNAL";
/// A node that is silent for so long counts as gone, milliseconds.
const SESSION_MS: u32 = 6_000;

/// A listener beside the direct one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterListener {
    /// Upper-case letters, digits and underscores.
    pub name: String,
    /// The port that each node tells its clients, from the first node on; empty: its own.
    pub advertised: Vec<u16>,
}

/// How a cluster is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterLayout {
    /// Nodes, 1 to 9.
    pub nodes: u8,
    /// Listeners for clients that must be told apart.
    pub listeners: Vec<ClusterListener>,
    /// Ports by which the brokers reach each other, from the first node on; empty: directly.
    pub between_brokers: Vec<u16>,
    /// Ports by which the controllers are reached, likewise.
    pub controllers: Vec<u16>,
}

struct Node {
    id: u8,
    dir: PathBuf,
    log: PathBuf,
    properties: PathBuf,
    listeners: Vec<NodeListener>,
    process: Mutex<Option<ProcessId>>,
}

impl Node {
    fn port(&self, listener: &str) -> Option<u16> {
        self.listeners.iter().find(|l| l.name == listener).map(|l| l.port)
    }

    fn running(&self) -> Option<ProcessId> {
        let process = *self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        process.filter(ProcessId::is_alive)
    }
}

/// The nodes of a cluster.
pub struct KafkaCluster {
    jvm: Jvm,
    nodes: Vec<Node>,
    config: LocalConfig,
}

impl std::fmt::Debug for KafkaCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaCluster").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl KafkaCluster {
    /// Fetches what is missing, chooses ports and formats the folders `<data>/kafka-<n>`. Nothing is started.
    ///
    /// # Errors
    /// A layout that makes no cluster, and whatever fails on the way.
    pub fn prepare(
        config: &LocalConfig,
        layout: &ClusterLayout,
        observer: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self, DeployError> {
        check(layout)?;
        let cancel = Cancel::new(&config.cancel);
        let cx = Context { config, observer, cancel: &cancel };
        let tools = Artifact::tools_missing_for(&[Artifact::Jre, Artifact::Kafka], &config.cache)?;
        prerequisites::ensure(&tools, cx)?;
        let jvm = Jvm::prepare(cx)?;
        create_dir(&config.data.join("logs"))?;
        let mut ports = PortAllocator::new(&config.data);
        let places: Vec<Vec<NodeListener>> =
            (0..layout.nodes).map(|at| listeners(layout, usize::from(at), &mut ports)).collect::<Result<_, _>>()?;
        let voters: Vec<String> = (1..).zip(&places).filter_map(|(id, all): (u8, _)| voter(id, all)).collect();
        let cluster = same_cluster(&config.data.join("kafka-cluster"))?;
        let mut nodes = Vec::new();
        for (id, listeners) in (1..).zip(places) {
            let dir = config.data.join(format!("kafka-{id}"));
            create_dir(&dir)?;
            end_leftover(&dir, config)?;
            let copies = layout.nodes.min(3);
            let layout = NodeLayout {
                id,
                voters: voters.join(","),
                listeners: listeners.clone(),
                inter_broker: INTERNAL_LISTENER,
                copies: (copies, copies.div_ceil(2)),
                session_ms: Some(SESSION_MS),
            };
            let properties = jvm.format(&cancel, &dir, &layout, &cluster)?;
            let log = config.data.join("logs").join(format!("kafka-{id}.log"));
            nodes.push(Node { id, dir, log, properties, listeners, process: Mutex::new(None) });
        }
        Ok(Self { jvm, nodes, config: config.clone() })
    }

    /// Ids of the nodes, from 1.
    pub fn ids(&self) -> impl Iterator<Item = u8> + '_ {
        self.nodes.iter().map(|node| node.id)
    }

    /// The port that a node listens on.
    #[must_use]
    pub fn port(&self, node: u8, listener: &str) -> Option<u16> {
        self.nodes.iter().find(|n| n.id == node)?.port(listener)
    }

    /// The port of a node for other brokers.
    #[must_use]
    pub fn broker_port(&self, node: u8) -> Option<u16> {
        self.port(node, INTERNAL_LISTENER)
    }

    /// The port of a node's controller.
    #[must_use]
    pub fn controller_port(&self, node: u8) -> Option<u16> {
        self.port(node, CONTROLLER_LISTENER)
    }

    /// Bootstrap servers of the direct listener.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let ports = self.nodes.iter().filter_map(|node| node.port(CLIENT_LISTENER));
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// The process of a node, if it runs.
    #[must_use]
    pub fn pid(&self, node: u8) -> Option<i32> {
        self.nodes.iter().find(|n| n.id == node)?.running().map(|process| process.pid)
    }

    /// Starts every node that does not run, and waits until all answer.
    ///
    /// # Errors
    /// As [`Self::start_node`]; a node that does not answer in time.
    pub fn start(&self) -> Result<(), DeployError> {
        self.ids().try_for_each(|id| self.start_node(id))?;
        self.ids().try_for_each(|id| self.wait_ready(id))
    }

    /// Starts a node on the data it has. Does nothing to one that runs.
    ///
    /// # Errors
    /// There is none, or it cannot be started.
    pub fn start_node(&self, node: u8) -> Result<(), DeployError> {
        let node = self.node(node)?;
        if node.running().is_some() {
            return Ok(());
        }
        let (process, _) = spawn_detached(self.jvm.broker(&node.properties), &node.log)?;
        let text = serde_json::to_string(&process).unwrap_or_default();
        write_atomically(&record(&node.dir), &text)?;
        *node.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Waits until a node takes part in the cluster.
    ///
    /// # Errors
    /// It died, or does not answer in time.
    pub fn wait_ready(&self, node: u8) -> Result<(), DeployError> {
        let node = self.node(node)?;
        let cancel = Cancel::new(&self.config.cancel);
        let begun = Instant::now();
        loop {
            let answer = match node.port(CLIENT_LISTENER) {
                Some(port) => probe_broker(port),
                None => Err("it has no listener".to_owned()),
            };
            let Err(detail) = answer else { return Ok(()) };
            if node.running().is_none() {
                let (detail, log) = (telling_line_of_log(&node.log, 0), node.log.clone());
                return Err(DeployError::Died { service: Service::Kafka, detail, log });
            }
            cancel.check()?;
            if begun.elapsed() >= self.config.start_timeout {
                let (after, log) = (self.config.start_timeout, node.log.clone());
                return Err(DeployError::NotReady { service: Service::Kafka, after, detail, log });
            }
            thread::sleep(POLL);
        }
    }

    /// Whether a node answers now.
    #[must_use]
    pub fn answers(&self, node: u8) -> bool {
        self.port(node, CLIENT_LISTENER).is_some_and(|port| probe_broker(port).is_ok())
    }

    /// kill -9 of a node; its data stays. Whether it ran.
    ///
    /// # Errors
    /// There is none.
    pub fn kill_node(&self, node: u8) -> Result<bool, DeployError> {
        let running = self.node(node)?.running();
        running.inspect(|process| process.send(Signal::KILL));
        Ok(running.is_some_and(|process| process.wait_gone(self.config.stop_timeout)))
    }

    /// SIGSTOP of a node. Whether it ran.
    ///
    /// # Errors
    /// There is none.
    pub fn pause_node(&self, node: u8) -> Result<bool, DeployError> {
        let running = self.node(node)?.running();
        Ok(running.inspect(|process| process.send(Signal::STOP)).is_some())
    }

    /// SIGCONT of a node. Whether it ran.
    ///
    /// # Errors
    /// There is none.
    pub fn resume_node(&self, node: u8) -> Result<bool, DeployError> {
        let running = self.node(node)?.running();
        Ok(running.inspect(|process| process.send(Signal::CONT)).is_some())
    }

    /// Stops all nodes in order; their data stays.
    pub fn stop(&self) {
        let running: Vec<ProcessId> = self.nodes.iter().filter_map(Node::running).collect();
        running.iter().for_each(|process| process.send(Signal::CONT));
        thread::scope(|scope| {
            for process in &running {
                scope.spawn(|| process.stop(self.config.stop_timeout));
            }
        });
    }

    fn node(&self, id: u8) -> Result<&Node, DeployError> {
        self.nodes
            .iter()
            .find(|node| node.id == id)
            .ok_or_else(|| DeployError::Config { name: "node", detail: format!("there is no node {id}") })
    }
}

impl Drop for KafkaCluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nodes that are formatted at different times must still be of one cluster.
fn same_cluster(file: &Path) -> Result<String, DeployError> {
    if let Ok(id) = std::fs::read_to_string(file) {
        return Ok(id.trim().to_owned());
    }
    let id = cluster_id()?;
    write_atomically(file, &id)?;
    Ok(id)
}

fn check(layout: &ClusterLayout) -> Result<(), DeployError> {
    let wrong = |detail: String| Err(DeployError::Config { name: "layout", detail });
    if !(1..=9).contains(&layout.nodes) {
        return wrong(format!("{} nodes make no cluster here", layout.nodes));
    }
    let lists = layout.listeners.iter().map(|l| &l.advertised);
    for ports in lists.chain([&layout.between_brokers, &layout.controllers]) {
        if !ports.is_empty() && ports.len() != usize::from(layout.nodes) {
            return wrong(format!("{} advertised ports for {} nodes", ports.len(), layout.nodes));
        }
    }
    let plain = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let taken = [CLIENT_LISTENER, INTERNAL_LISTENER, CONTROLLER_LISTENER];
    match layout.listeners.iter().find(|l| l.name.is_empty() || !plain(&l.name) || taken.contains(&l.name.as_str())) {
        Some(listener) => wrong(format!("{:?} is no name of a listener", listener.name)),
        None => Ok(()),
    }
}

fn listeners(layout: &ClusterLayout, at: usize, ports: &mut PortAllocator) -> Result<Vec<NodeListener>, DeployError> {
    let named = layout.listeners.iter().map(|l| (l.name.as_str(), l.advertised.as_slice()));
    let fixed: [(&str, &[u16]); 3] = [
        (CLIENT_LISTENER, &[]),
        (INTERNAL_LISTENER, &layout.between_brokers),
        (CONTROLLER_LISTENER, &layout.controllers),
    ];
    fixed
        .into_iter()
        .chain(named)
        .map(|(name, advertised)| {
            let port = ports.free(Service::Kafka, None)?;
            Ok(NodeListener {
                name: name.to_owned(),
                port,
                advertised: Some(advertised.get(at).copied().unwrap_or(port)),
            })
        })
        .collect()
}

fn voter(id: u8, listeners: &[NodeListener]) -> Option<String> {
    let controller = listeners.iter().find(|l| l.name == CONTROLLER_LISTENER)?;
    Some(format!("{id}@127.0.0.1:{}", controller.advertised.unwrap_or(controller.port)))
}

fn record(dir: &Path) -> PathBuf {
    dir.join("process.json")
}

/// A node of this folder that outlived who started it.
fn end_leftover(dir: &Path, config: &LocalConfig) -> Result<(), DeployError> {
    let Ok(text) = std::fs::read_to_string(record(dir)) else { return Ok(()) };
    let Ok(process) = serde_json::from_str::<ProcessId>(&text) else { return Ok(()) };
    if process.is_alive() {
        process.send(Signal::CONT);
        if process.stop(config.stop_timeout).is_none() {
            return Err(DeployError::Unstoppable { service: Service::Kafka, pid: process.pid });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(nodes: u8) -> ClusterLayout {
        let listeners = vec![ClusterListener { name: "STAGES_1".into(), advertised: vec![] }];
        ClusterLayout { nodes, listeners, between_brokers: vec![], controllers: vec![] }
    }

    #[test]
    fn a_layout_that_makes_no_cluster_is_refused() {
        assert!(check(&layout(3)).is_ok());
        assert!(check(&layout(0)).is_err());
        let mut wrong = layout(3);
        wrong.controllers = vec![1, 2];
        assert!(check(&wrong).unwrap_err().to_string().contains("2 advertised ports for 3 nodes"));
        for name in ["", "stages", "INTERNAL"] {
            let mut wrong = layout(3);
            wrong.listeners[0].name = name.into();
            assert!(check(&wrong).is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_listener_has_a_port_and_tells_the_one_it_was_given() {
        let mut wanted = layout(3);
        wanted.listeners[0].advertised = vec![7, 8, 9];
        wanted.controllers = vec![4, 5, 6];
        let mut ports = PortAllocator::new(Path::new("/cluster"));
        let second = listeners(&wanted, 1, &mut ports).unwrap();
        let told: Vec<_> = second.iter().map(|l| (l.name.as_str(), l.advertised.filter(|p| *p != l.port))).collect();
        assert_eq!(told, [("PLAINTEXT", None), ("INTERNAL", None), ("CONTROLLER", Some(5)), ("STAGES_1", Some(8))]);
        assert_eq!(voter(2, &second).unwrap(), "2@127.0.0.1:5");
    }
}
