//! The driver on a client that fails as Kafka does, over a real Kafka: whatever is said of a transaction, its effects happen
//! once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod stages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fillstream_kafka::client::{
    ClientError, GroupMetadata, KafkaClient, KafkaProducer, OffsetEntry, Outgoing, RdKafka, RdKafkaConsumer,
    RdKafkaReader, TopicInfo, TransactionalProducer,
};
use fillstream_kafka::driver::{Driver, DriverConfig, GroupRun};
use stages::{Harness, TestStages, check_exactly_once, commands};

test_stages!(faults, "test.faults-in.v1", "test.faults-fwd.v1", "test.faults-mid.v1", "test.faults-out.v1");
test_stages!(turns, "test.turns-in.v1", "test.turns-fwd.v1", "test.turns-mid.v1", "test.turns-out.v1");

/// Counts of what was injected.
#[derive(Default)]
struct Injected {
    commits: AtomicU32,
    aborts: AtomicU32,
    lost_answers: AtomicU32,
    fatal: AtomicU32,
    suspect: AtomicU32,
}

#[derive(Clone)]
struct Flaky {
    inner: RdKafka,
    injected: Arc<Injected>,
}

struct FlakyProducer {
    inner: KafkaProducer,
    injected: Arc<Injected>,
    suspect: bool,
}

impl KafkaClient for Flaky {
    type GroupMetadata = GroupMetadata;
    type Producer = FlakyProducer;
    type Consumer = RdKafkaConsumer;
    type Reader = RdKafkaReader;

    fn producer(&self, transactional_id: &str) -> Result<FlakyProducer, ClientError> {
        let inner = self.inner.producer(transactional_id)?;
        Ok(FlakyProducer { inner, injected: Arc::clone(&self.injected), suspect: false })
    }
    fn consumer(&self, group: &str, instance: &str, topics: &[&str]) -> Result<RdKafkaConsumer, ClientError> {
        self.inner.consumer(group, instance, topics)
    }
    fn reader(&self) -> Result<RdKafkaReader, ClientError> {
        self.inner.reader()
    }
    fn follower(&self) -> Result<RdKafkaReader, ClientError> {
        self.inner.follower()
    }
    fn describe(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicInfo>, ClientError> {
        self.inner.describe(topics)
    }
}

impl TransactionalProducer for FlakyProducer {
    type GroupMetadata = GroupMetadata;

    fn init(&mut self) -> Result<(), ClientError> {
        self.inner.init()
    }
    fn begin(&mut self) -> Result<(), ClientError> {
        self.inner.begin()
    }
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ClientError> {
        self.inner.send(record)
    }
    fn send_offsets(&mut self, offsets: &[OffsetEntry], group: &GroupMetadata) -> Result<(), ClientError> {
        self.inner.send_offsets(offsets, group)
    }
    fn commit(&mut self) -> Result<(), ClientError> {
        let n = self.injected.commits.fetch_add(1, Ordering::SeqCst);
        let text = || "injected".to_owned();
        match n % 11 {
            3 | 4 => {
                self.injected.aborts.fetch_add(1, Ordering::SeqCst);
                Err(ClientError::Abort { call: "commit", text: text() })
            }
            // Committed, but nobody is told.
            6 => {
                self.injected.lost_answers.fetch_add(1, Ordering::SeqCst);
                self.inner.commit()?;
                Err(ClientError::Ambiguous { call: "commit", text: text() })
            }
            // Not committed, and the producer dies with its transaction open.
            9 => {
                self.injected.fatal.fetch_add(1, Ordering::SeqCst);
                Err(ClientError::Fatal { call: "commit", text: text() })
            }
            1 => {
                self.suspect = true;
                self.inner.commit()
            }
            _ => self.inner.commit(),
        }
    }
    fn abort(&mut self) -> Result<(), ClientError> {
        self.inner.abort()
    }
    fn is_suspect(&mut self) -> bool {
        if self.suspect {
            self.injected.suspect.fetch_add(1, Ordering::SeqCst);
        }
        self.suspect || self.inner.is_suspect()
    }
}

#[test]
fn aborts_lost_answers_and_dead_producers_change_nothing() {
    change_nothing(faults::stages(), 1);
}

#[test]
fn nor_do_they_when_two_producers_take_turns() {
    change_nothing(turns::stages(), 2);
}

fn change_nothing(stages: TestStages, transactional_ids: usize) {
    let h = Harness::new(stages, false);
    let injected = Arc::new(Injected::default());
    let client = Flaky { inner: h.kafka.clone(), injected: Arc::clone(&injected) };
    let (real, health, _) = h.driver(DriverConfig {
        instance: "a".into(),
        max_batch_records: 4,
        transactional_ids,
        ..DriverConfig::default()
    });
    let driver = Driver {
        client,
        registry: real.registry,
        router: real.router,
        metrics: real.metrics,
        health: real.health,
        config: real.config,
        config_hash: real.config_hash,
        code_version: real.code_version,
        tracer: real.tracer,
        max_record_bytes: real.max_record_bytes,
        on_phase: real.on_phase,
    };
    let sent = commands(0..180, 7);
    h.send(&sent);
    let running = driver.start(&[GroupRun { group: Arc::clone(&h.groups[0]), workers: 1 }]).unwrap();
    check_exactly_once(&sent, &h.outputs(180));
    assert!(health.is_live());
    running.stop();
    running.join().unwrap();
    for (what, count) in [
        ("aborts", &injected.aborts),
        ("lost answers", &injected.lost_answers),
        ("dead producers", &injected.fatal),
        ("suspect producers", &injected.suspect),
    ] {
        assert!(count.load(Ordering::SeqCst) >= 2, "too few {what}: {}", count.load(Ordering::SeqCst));
    }
}
