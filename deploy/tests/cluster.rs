//! Three Kafka nodes: one is killed, the others go on, and it comes back with its data.

use std::time::{Duration, Instant};

use fillstream_deploy::{ClusterLayout, ClusterListener, KafkaCluster, Launcher, LocalConfig};

#[test]
fn a_node_is_killed_alone_and_comes_back_on_its_data() {
    let data = tempfile::tempdir().unwrap();
    let vars = |name: &str| match name {
        "FILLSTREAM_DATA" => Some(data.path().as_os_str().to_owned()),
        other => std::env::var_os(other),
    };
    let config = LocalConfig::from_vars(vars, Launcher { program: "none".into(), args: vec![] }).unwrap();
    let layout = ClusterLayout {
        nodes: 3,
        listeners: vec![ClusterListener { name: "CLIENT_1".into(), advertised: vec![] }],
        between_brokers: vec![],
        controllers: vec![],
    };
    let kafka = KafkaCluster::prepare(&config, &layout, &|step| eprintln!("{step}")).unwrap();
    assert_eq!(kafka.bootstrap().split(',').count(), 3);
    kafka.start().unwrap();
    let formatted = std::fs::read_to_string(data.path().join("kafka-2/data/meta.properties")).unwrap();
    let pid = kafka.pid(2).unwrap();

    assert!(kafka.kill_node(2).unwrap());
    assert!(!kafka.kill_node(2).unwrap(), "it is dead already");
    assert_eq!((kafka.pid(2), kafka.answers(2)), (None, false));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !(kafka.answers(1) && kafka.answers(3)) {
        assert!(Instant::now() < deadline, "two of three are a cluster");
    }
    kafka.start_node(2).unwrap();
    kafka.wait_ready(2).unwrap();
    assert_ne!(kafka.pid(2).unwrap(), pid);
    assert_eq!(std::fs::read_to_string(data.path().join("kafka-2/data/meta.properties")).unwrap(), formatted);
    kafka.stop();
    assert!((1..=3).all(|node| kafka.pid(node).is_none()));
    assert!(kafka.start_node(4).unwrap_err().to_string().contains("there is no node 4"));
}
