//! What the integration tests share: a real Kafka and a real schema registry, and names of their own.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fillstream_kafka::client::{ConnectionConfig, Outgoing, RdKafka};

/// Longest wait for anything that must happen; no measure of how long it should take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Between two questions: a loop that spins takes the processor from what it waits for.
const PAUSE: Duration = Duration::from_millis(5);

fn address(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} must name a running service; deploy/test starts one"))
}

/// A client, and the log on standard error where FILLSTREAM_LOG asks for it.
pub(crate) fn kafka() -> RdKafka {
    if let Ok(filter) = std::env::var("FILLSTREAM_LOG") {
        // Only the first test of a process installs it.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    }
    RdKafka::new(connection()).unwrap()
}

/// A client whose producers send at once, not with the end of their transaction.
pub(crate) fn sending_at_once() -> RdKafka {
    let mut config = connection();
    config.producer.transaction_version = 1;
    RdKafka::new(config).unwrap()
}

/// The cluster of the tests. `TRANSACTION_VERSION=2` runs them all on our own producer.
pub(crate) fn connection() -> ConnectionConfig {
    let mut config = ConnectionConfig::new(address("FILLSTREAM_KAFKA"));
    if let Ok(version) = std::env::var("TRANSACTION_VERSION") {
        config.producer.transaction_version = version.parse().unwrap();
    }
    config
}

pub(crate) fn registry_url() -> String {
    address("FILLSTREAM_REGISTRY")
}

/// A name that no other test run uses.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("test.{what}-{now:x}-{}-{}.v1", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn topic(kafka: &RdKafka, what: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let name = unique(what);
    make_topic(kafka, &name, partitions, settings);
    name
}

pub(crate) fn make_topic(kafka: &RdKafka, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let settings: BTreeMap<String, String> = settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    kafka.admin().create(name, partitions, 1, &settings).unwrap();
}

pub(crate) fn record<'a>(topic: &'a str, partition: i32, key: &'a str, value: &'a str) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
        timestamp_ms: 1_700_000_000_000,
    }
}

/// Asks again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in {DEADLINE:?}");
        std::thread::park_timeout(PAUSE);
    }
}
