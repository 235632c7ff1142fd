//! `topics apply` on three nodes of which one is behind: when it returns, each of them knows every topic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use fillstream_deploy::{ClusterLayout, KafkaCluster, Launcher, LocalConfig};
use fillstream_kafka::client::{ConnectionConfig, RdKafka};
use fillstream_kafka::topics::{ApplyOptions, ResolvedTopic, apply, plan, read_cluster};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

const TOPICS: usize = 12;
const LONG: Duration = Duration::from_secs(30);
/// Shorter than the session of a node, so that the cluster still counts on the one that is stopped.
const STOPPED: Duration = Duration::from_secs(3);

fn signal(kafka: &KafkaCluster, node: u8, signal: &str) {
    let pid = kafka.pid(node).unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Names that one node tells of, asked by a client that has never heard of another.
fn known(port: u16) -> Vec<String> {
    let alone: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{port}")).create().unwrap();
    let metadata = alone.fetch_metadata(None, LONG).unwrap();
    metadata.topics().iter().filter(|t| t.partitions().len() == 3).map(|t| t.name().to_owned()).collect()
}

#[test]
fn every_node_knows_every_topic_when_apply_returns() {
    let data = tempfile::tempdir().unwrap();
    let vars = |name: &str| match name {
        "FILLSTREAM_DATA" => Some(data.path().as_os_str().to_owned()),
        "FILLSTREAM_KAFKA" => None,
        other => std::env::var_os(other),
    };
    let config = LocalConfig::from_vars(vars, Launcher { program: "none".into(), args: vec![] }).unwrap();
    let layout = ClusterLayout { nodes: 3, listeners: vec![], between_brokers: vec![], controllers: vec![] };
    let kafka = KafkaCluster::prepare(&config, &layout, &|step| eprintln!("{step}")).unwrap();
    kafka.start().unwrap();
    let addresses = kafka.bootstrap();
    let ports: Vec<u16> = addresses.split(',').map(|a| a.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    let client = RdKafka::new(ConnectionConfig::new(&addresses)).unwrap();
    let wanted: Vec<ResolvedTopic> = (0..TOPICS)
        .map(|n| ResolvedTopic {
            name: format!("test.everywhere-{n}.v1"),
            partitions: 3,
            replication: 2,
            settings: BTreeMap::from([("retention.ms".to_owned(), "86400000".to_owned())]),
            fixed_count: None,
        })
        .collect();
    let todo = plan(&wanted, &read_cluster(client.admin(), &wanted).unwrap(), ApplyOptions::default());
    assert_eq!(todo.changes.len(), TOPICS);
    let behind = 3;
    signal(&kafka, behind, "-STOP");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while begun.elapsed() < STOPPED {
                std::thread::park_timeout(STOPPED.saturating_sub(begun.elapsed()));
            }
            signal(&kafka, behind, "-CONT");
        });
        apply(client.admin(), &todo).unwrap();
        let took = begun.elapsed();
        for (node, port) in (1..=3).zip(&ports) {
            let known = known(*port);
            let missing: Vec<&str> =
                wanted.iter().map(|t| t.name.as_str()).filter(|n| !known.iter().any(|k| k == n)).collect();
            assert!(missing.is_empty(), "node {node} does not know {missing:?}");
        }
        assert!(took >= STOPPED, "node {behind} could not have said anything after {took:?}");
    });
    kafka.stop();
}
