//! Where things are: leaders, coordinators, and a connection to each.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiVersionsRequest, FindCoordinatorRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::codes::words;
use super::wire::Connection;

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Coordinates {
    /// Offsets of a group.
    Group,
    /// Transactions of an id.
    Transaction,
}

impl Coordinates {
    fn code(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::Transaction => 1,
        }
    }
}

/// What a connection is for. A broker answers one connection in order, so a request must not stand behind another that
/// waits for replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Records.
    Records,
    /// Offsets and decisions.
    Control,
}

/// The cluster as one producer knows it.
pub(super) struct Cluster {
    bootstrap: Vec<String>,
    timeout: Duration,
    brokers: BTreeMap<i32, String>,
    leaders: BTreeMap<String, BTreeMap<i32, i32>>,
    coordinators: BTreeMap<(Coordinates, String), i32>,
    connections: BTreeMap<(i32, Lane), Connection>,
}

impl Cluster {
    pub(super) fn new(bootstrap_servers: &str, timeout: Duration) -> Self {
        let bootstrap =
            bootstrap_servers.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        Self {
            bootstrap,
            timeout,
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }

    /// Finalized level of a feature; 0 when the cluster does not know it.
    pub(super) fn feature(&mut self, name: &str) -> io::Result<i16> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("fillstream"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let answer = self.somewhere(|connection| connection.ask(&request))?;
        told(answer.error_code, "ApiVersions")?;
        let level = answer.finalized_features.iter().find(|f| &*f.name == name).map(|f| f.max_version_level);
        Ok(level.unwrap_or(0))
    }

    /// Leader of a partition.
    pub(super) fn leader(&mut self, topic: &str, partition: i32) -> io::Result<i32> {
        let known = |cluster: &Self| cluster.leaders.get(topic).and_then(|p| p.get(&partition)).copied();
        if let Some(leader) = known(self) {
            return Ok(leader);
        }
        self.learn(topic)?;
        known(self).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{topic}-{partition} has no leader")))
    }

    /// What is known of a topic is not true any more.
    pub(super) fn forget(&mut self, topic: &str) {
        self.leaders.remove(topic);
    }

    /// The broker that coordinates `key`.
    pub(super) fn coordinator(&mut self, what: Coordinates, key: &str) -> io::Result<i32> {
        if let Some(node) = self.coordinators.get(&(what, key.to_owned())) {
            return Ok(*node);
        }
        let request = FindCoordinatorRequest::default()
            .with_key_type(what.code())
            .with_coordinator_keys(vec![StrBytes::from_string(key.to_owned())]);
        let answer = self.somewhere(|connection| connection.ask(&request))?;
        told(answer.error_code, "FindCoordinator")?;
        let Some(found) = answer.coordinators.first() else {
            return Err(io::Error::other(format!("nobody coordinates {key}")));
        };
        told(found.error_code, "FindCoordinator")?;
        self.brokers.insert(found.node_id.0, format!("{}:{}", &*found.host, found.port));
        self.coordinators.insert((what, key.to_owned()), found.node_id.0);
        Ok(found.node_id.0)
    }

    /// Somebody else coordinates it now.
    pub(super) fn forget_coordinator(&mut self, what: Coordinates, key: &str) {
        self.coordinators.remove(&(what, key.to_owned()));
    }

    /// A connection to a broker.
    pub(super) fn connection(&mut self, node: i32, lane: Lane) -> io::Result<&mut Connection> {
        if !self.connections.contains_key(&(node, lane)) {
            let address = self.brokers.get(&node).cloned();
            let address =
                address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no broker {node}")))?;
            self.connections.insert((node, lane), Connection::open(&address, self.timeout)?);
        }
        self.connections.get_mut(&(node, lane)).ok_or_else(|| io::Error::other("no connection"))
    }

    /// Closes a connection: its answers are not what is waited for any more.
    pub(super) fn hang_up(&mut self, node: i32, lane: Lane) {
        self.connections.remove(&(node, lane));
    }

    /// Closes every connection of a lane.
    pub(super) fn hang_up_all(&mut self, lane: Lane) {
        self.connections.retain(|(_, of), _| *of != lane);
    }

    fn learn(&mut self, topic: &str) -> io::Result<()> {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]))
            .with_allow_auto_topic_creation(false);
        let answer = self.somewhere(|connection| connection.ask(&request))?;
        for broker in &answer.brokers {
            let address = format!("{}:{}", &*broker.host, broker.port);
            if self.brokers.get(&broker.node_id.0) != Some(&address) {
                self.hang_up(broker.node_id.0, Lane::Records);
                self.hang_up(broker.node_id.0, Lane::Control);
                self.brokers.insert(broker.node_id.0, address);
            }
        }
        for found in answer.topics {
            told(found.error_code, topic)?;
            let leaders = found.partitions.iter().filter(|p| p.leader_id.0 >= 0);
            self.leaders.insert(topic.to_owned(), leaders.map(|p| (p.partition_index, p.leader_id.0)).collect());
        }
        Ok(())
    }

    // A request that any broker can answer.
    fn somewhere<T>(&mut self, mut ask: impl FnMut(&mut Connection) -> io::Result<T>) -> io::Result<T> {
        let nodes: Vec<i32> = self.brokers.keys().copied().collect();
        for node in nodes {
            match self.connection(node, Lane::Control).and_then(&mut ask) {
                Ok(answer) => return Ok(answer),
                Err(_) => self.hang_up(node, Lane::Control),
            }
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no bootstrap server");
        for address in &self.bootstrap {
            match Connection::open(address, self.timeout).and_then(|mut connection| ask(&mut connection)) {
                Ok(answer) => return Ok(answer),
                Err(e) => last = io::Error::new(e.kind(), format!("{address}: {e}")),
            }
        }
        Err(last)
    }
}

fn told(code: i16, what: &str) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::other(format!("{what}: {}", words(code)))) }
}
