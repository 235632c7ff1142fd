//! KAFKA-17754 on a real broker: an EndTxn that comes after its retry ends the next transaction of a client that goes on with
//! the same producer epoch. The rig does the same to the system (`protocol/late-end-txn`), which must not mind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_chaos::proxy::{HeldEndTxn, HoldStage, Proxy};
use fillstream_deploy::{ClusterLayout, ClusterListener, KafkaCluster, Launcher, LocalConfig};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const LONG: Duration = Duration::from_secs(30);
const TOPIC: &str = "test.late-end-txn.v1";
const ID: &str = "naive";

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn send(producer: &BaseProducer, value: &str) {
    producer.send(BaseRecord::to(TOPIC).partition(0).key("k").payload(value)).map_err(|(e, _)| e).unwrap();
    producer.flush(LONG).unwrap();
}

fn committed(bootstrap: &str) -> Vec<String> {
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut values = Vec::new();
    while let Some(Ok(message)) = consumer.poll(LONG) {
        values.push(String::from_utf8_lossy(message.payload().unwrap()).into_owned());
    }
    values
}

#[test]
fn a_late_end_txn_commits_what_a_naive_loop_aborts() {
    let data = tempfile::tempdir().unwrap();
    let vars = |name: &str| match name {
        "FILLSTREAM_DATA" => Some(data.path().as_os_str().to_owned()),
        "FILLSTREAM_KAFKA" => None,
        other => std::env::var_os(other),
    };
    let launcher = Launcher { program: "none".into(), args: vec![] };
    let config = LocalConfig::from_vars(vars, launcher).unwrap();
    let (proxy, hold) = (Proxy::start().unwrap(), Arc::new(HeldEndTxn::released_behind(Duration::from_secs(1))));
    let (port, _link) = proxy.link("naive", Some(&hold)).unwrap();
    let layout = ClusterLayout {
        nodes: 1,
        listeners: vec![ClusterListener { name: "NAIVE".into(), advertised: vec![port.number] }],
        between_brokers: vec![],
        controllers: vec![],
    };
    let kafka = KafkaCluster::prepare(&config, &layout, &|step| eprintln!("{step}")).unwrap();
    port.upstream.set(kafka.port(1, "NAIVE").unwrap());
    kafka.start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let admin: AdminClient<DefaultClientContext> = client(&kafka.bootstrap()).create().unwrap();
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1));
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap().pop().unwrap().unwrap();

    let producer: BaseProducer = client(&format!("127.0.0.1:{}", port.number))
        .set("transactional.id", ID)
        .set("socket.timeout.ms", "1000")
        .set("transaction.timeout.ms", "30000")
        .create()
        .unwrap();
    producer.init_transactions(LONG).unwrap();

    hold.arm(Some(ID));
    producer.begin_transaction().unwrap();
    send(&producer, "first");
    producer.commit_transaction(LONG).unwrap();
    assert_eq!(hold.stage(), HoldStage::Retried, "its first EndTxn is held, the second one was answered");
    assert_eq!(committed(&kafka.bootstrap()), ["first"]);

    producer.begin_transaction().unwrap();
    send(&producer, "never meant to be seen");
    assert_ne!(hold.stage(), HoldStage::Released, "the record is with the node before it");
    let deadline = Instant::now() + LONG;
    while hold.stage() != HoldStage::Released {
        assert!(Instant::now() < deadline, "{:?}", hold.stage());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    // Until the coordinator has written the markers.
    let torn = || committed(&kafka.bootstrap()).len() == 2;
    while !torn() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let _ = producer.abort_transaction(LONG);
    assert_eq!(committed(&kafka.bootstrap()), ["first", "never meant to be seen"], "the late EndTxn committed it");
}
