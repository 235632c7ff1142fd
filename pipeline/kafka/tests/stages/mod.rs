//! Two small stages on contracts of the workspace, and a harness around the driver.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fillstream_core::group::{Group, Path};
use fillstream_kafka::client::{
    KafkaClient, Outgoing, PartitionReader, RdKafka, ReaderEvent, Received, TopicPartition, TransactionalProducer,
};
use fillstream_kafka::driver::{Driver, DriverConfig, GroupRun, Running};
use fillstream_kafka::observe::{Health, Metrics};
use fillstream_kafka::registry::{RegistryConfig, SchemaRegistry, framed, value_subject};
use fillstream_kafka::telemetry::Tracer;
use fillstream_kafka::topics::{
    Router, changelog_topic, dead_letter_topic, journal_topic, partition_for, snapshots_topic,
};
use fillstream_schemas::execution::Command;
use fillstream_schemas::{AvroRecord, TimestampMicros, wire};

use crate::common::{eventually, kafka, registry_url, unique};

pub(crate) const PARTITIONS: i32 = 3;

/// `count`: numbers the commands of a portfolio, 1, 2, ...; `copy`: passes them on, numbered by itself again.
///
/// A command with reason POISON is refused after its state was written; one with reason LATER comes out of a timer.
#[macro_export]
macro_rules! test_stages {
    ($name:ident, $in:literal, $forwarded:literal, $mid:literal, $out:literal) => {
        #[allow(unused_imports, clippy::large_enum_variant, reason = "a test's module")]
        mod $name {
            use std::sync::Arc;

            use fillstream_core::error::Poison;
            use fillstream_core::group::Path;
            use fillstream_core::record::Record;
            use fillstream_core::stage::{Effects, Stage, Timer};
            use fillstream_core::{StageHandle, inputs, outputs, stores};
            use fillstream_domain::DurationMicros;
            use fillstream_schemas::engine::InputRun;
            use fillstream_schemas::execution::Command;

            pub(crate) const IN: &str = $in;
            pub(crate) const FORWARDED: &str = $forwarded;
            pub(crate) const MID: &str = $mid;
            pub(crate) const OUT: &str = $out;
            pub(crate) const COUNT: &str = concat!("count-", stringify!($name));
            pub(crate) const COPY: &str = concat!("copy-", stringify!($name));

            inputs! {
                /// Inputs of the counter.
                pub(crate) enum CountIn { In(Command) = $in => $forwarded, Forwarded(Command) = $forwarded }
            }
            outputs! {
                /// Outputs of the counter.
                pub(crate) enum CountOut { Mid(Command) = $mid }
            }
            inputs! {
                /// Inputs of the copier.
                pub(crate) enum CopyIn { Mid(Command) = $mid }
            }
            outputs! {
                /// Outputs of the copier.
                pub(crate) enum CopyOut { Out(Command) = $out }
            }
            stores! {
                /// Counts.
                pub(crate) struct Counts { seen: InputRun = "seen" }
            }

            pub(crate) struct Count;
            pub(crate) struct Copy;

            fn number(state: &mut Counts, portfolio: &str) -> i32 {
                let mut run = state.seen.get(portfolio).cloned().unwrap_or_default();
                run.count += 1;
                let count = run.count;
                state.seen.put(portfolio, run);
                count
            }

            impl Stage for Count {
                type In = CountIn;
                type Out = CountOut;
                type Stores = Counts;
                type Timer = Command;
                const NAME: &'static str = COUNT;
                const DOC: &'static str = "Numbers.";
                fn on_record(
                    &self,
                    r: &Record<CountIn>,
                    state: &mut Counts,
                    fx: &mut Effects<'_, Self>,
                ) -> Result<(), Poison> {
                    let (CountIn::In(c) | CountIn::Forwarded(c)) = &r.value;
                    let mut c = (**c).clone();
                    if c.reason == "LATER" {
                        let due = fx.now().checked_add(DurationMicros::from_micros(300_000).unwrap()).unwrap();
                        fx.schedule(c.command_id.clone(), due, &c);
                        return Ok(());
                    }
                    c.order_id = number(state, &c.portfolio_id).to_string();
                    if c.reason == "POISON" {
                        return Err(Poison::new("TEST_POISON", "as asked"));
                    }
                    if c.reason == "PANIC" {
                        panic!("as asked");
                    }
                    if c.reason == "LARGE" {
                        c.actor = "x".repeat(2_000_000);
                    }
                    fx.emit(c);
                    Ok(())
                }
                fn on_timer(
                    &self,
                    t: &Timer<Command>,
                    state: &mut Counts,
                    fx: &mut Effects<'_, Self>,
                ) -> Result<(), Poison> {
                    let mut c = t.payload.clone();
                    c.order_id = number(state, &c.portfolio_id).to_string();
                    fx.emit(c);
                    Ok(())
                }
            }

            impl Stage for Copy {
                type In = CopyIn;
                type Out = CopyOut;
                type Stores = Counts;
                type Timer = Command;
                const NAME: &'static str = COPY;
                const DOC: &'static str = "Copies.";
                fn on_record(
                    &self,
                    r: &Record<CopyIn>,
                    state: &mut Counts,
                    fx: &mut Effects<'_, Self>,
                ) -> Result<(), Poison> {
                    let CopyIn::Mid(c) = &r.value;
                    let mut c = (**c).clone();
                    c.decision_event_id = Some(number(state, &c.portfolio_id).to_string());
                    fx.emit(c);
                    Ok(())
                }
                fn on_timer(
                    &self,
                    _: &Timer<Command>,
                    _: &mut Counts,
                    _: &mut Effects<'_, Self>,
                ) -> Result<(), Poison> {
                    Ok(())
                }
            }

            pub(crate) fn stages() -> $crate::stages::TestStages {
                $crate::stages::TestStages {
                    topics: &[IN, FORWARDED, MID, OUT],
                    names: &[COUNT, COPY],
                    make: || vec![StageHandle::of(Count), StageHandle::of(Copy)],
                }
            }
        }
    };
}

pub(crate) struct TestStages {
    /// The first is what tests write to, the last what they look at.
    pub(crate) topics: &'static [&'static str],
    pub(crate) names: &'static [&'static str],
    pub(crate) make: fn() -> Vec<fillstream_core::StageHandle>,
}

/// The stages on topics of their own, under a path that no earlier run used.
pub(crate) struct Harness {
    pub(crate) kafka: RdKafka,
    pub(crate) registry: Arc<SchemaRegistry>,
    pub(crate) stages: TestStages,
    pub(crate) path: String,
    pub(crate) groups: Vec<Arc<Group>>,
    pub(crate) extra_topics: Vec<&'static str>,
}

pub(crate) struct Started {
    pub(crate) running: Running,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Started {
    pub(crate) fn ready(&self) -> &Self {
        eventually("readiness", || self.health.is_ready().then_some(()));
        self
    }

    pub(crate) fn end(self) {
        self.running.stop();
        self.running.join().unwrap();
    }
}

impl Harness {
    pub(crate) fn new(stages: TestStages, split: bool) -> Self {
        Self::with(stages, split, &[])
    }

    pub(crate) fn with(stages: TestStages, split: bool, extra_topics: &[&'static str]) -> Self {
        let kafka = kafka();
        for topic in stages.topics.iter().chain(extra_topics) {
            remake(&kafka, topic);
        }
        let mut harness = Self {
            kafka,
            registry: SchemaRegistry::new(&RegistryConfig::new(registry_url())).unwrap(),
            stages,
            path: String::new(),
            groups: Vec::new(),
            extra_topics: extra_topics.to_vec(),
        };
        harness.regroup(split);
        harness
    }

    /// What another process has made.
    pub(crate) fn attach(stages: TestStages, path: &str, split: bool) -> Self {
        let groups = groups(&stages, path, split);
        let registry = SchemaRegistry::new(&RegistryConfig::new(registry_url())).unwrap();
        Self { kafka: kafka(), registry, stages, path: path.into(), groups, extra_topics: Vec::new() }
    }

    /// Groups of names that no earlier run used, with their engine topics.
    pub(crate) fn regroup(&mut self, split: bool) {
        self.path = unique("path").replace('.', "-");
        self.groups = groups(&self.stages, &self.path, split);
        for group in &self.groups {
            remake(&self.kafka, &journal_topic(group.name()));
            remake(&self.kafka, &changelog_topic(group.name()));
            remake(&self.kafka, &snapshots_topic(group.name()));
        }
        for stage in self.stages.names {
            remake(&self.kafka, &dead_letter_topic(stage));
        }
    }

    pub(crate) fn driver(&self, config: DriverConfig) -> (Driver<RdKafka>, Arc<Health>, Arc<Metrics>) {
        let (health, metrics) = (Health::new(), Metrics::new());
        let topics = self.stages.topics.iter().chain(&self.extra_topics);
        let router = topics.fold(Router::default(), |r, t| r.with_topic(*t, PARTITIONS));
        let driver = Driver {
            client: self.kafka.clone(),
            registry: Arc::clone(&self.registry),
            router,
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            config,
            config_hash: "test".into(),
            code_version: "test".into(),
            tracer: Tracer::off(),
            max_record_bytes: 900_000,
            on_phase: None,
        };
        (driver, health, metrics)
    }

    pub(crate) fn start_with(&self, config: DriverConfig, workers: usize) -> Started {
        let (driver, health, metrics) = self.driver(config);
        let runs: Vec<GroupRun> = self.groups.iter().map(|g| GroupRun { group: Arc::clone(g), workers }).collect();
        Started { running: driver.start(&runs).unwrap(), health, metrics }
    }

    pub(crate) fn start(&self, instance: &str) -> Started {
        self.start_with(DriverConfig { instance: instance.into(), ..DriverConfig::default() }, 1)
    }

    /// A client with a short session, so that the tests of lost members are short.
    pub(crate) fn with_short_session(mut self) -> Self {
        let mut config = self.kafka.config().clone();
        config.consumer.session_timeout_ms = 6_000;
        self.kafka = RdKafka::new(config).unwrap();
        self
    }

    pub(crate) fn frame(&self, topic: &str, command: &Command) -> Vec<u8> {
        let id = self.registry.register(&value_subject(topic), Command::SCHEMA).unwrap();
        framed(id, &command.to_bytes())
    }

    /// Writes commands in one transaction, each to the partition of its key.
    pub(crate) fn send(&self, commands: &[Command]) {
        let values: Vec<(String, i32, Vec<u8>)> = commands
            .iter()
            .map(|c| {
                let key = c.portfolio_id.clone();
                let partition = partition_for(key.as_bytes(), PARTITIONS);
                (key, partition, self.frame(self.stages.topics[0], c))
            })
            .collect();
        self.send_raw(self.stages.topics[0], &values);
    }

    pub(crate) fn send_raw(&self, topic: &str, values: &[(String, i32, Vec<u8>)]) {
        self.send_with(topic, values, &[]);
    }

    pub(crate) fn send_with(&self, topic: &str, values: &[(String, i32, Vec<u8>)], headers: &[(&str, &[u8])]) {
        let mut producer = self.kafka.producer(&unique("feed")).unwrap();
        producer.init().unwrap();
        producer.begin().unwrap();
        for (key, partition, value) in values {
            let out = Outgoing {
                topic,
                partition: *partition,
                key: Some(key.as_bytes()),
                value: Some(value),
                headers,
                timestamp_ms: 1_700_000_000_000,
            };
            producer.send(&out).unwrap();
        }
        producer.commit().unwrap();
    }

    /// Every committed record of a topic.
    pub(crate) fn read(&self, topic: &str) -> Vec<Received> {
        let partitions = self.kafka.describe(&[topic]).unwrap()[topic].partitions;
        let mut reader = self.kafka.reader().unwrap();
        let tps: Vec<TopicPartition> = (0..partitions).map(|p| TopicPartition::new(topic, p)).collect();
        let ends: BTreeMap<TopicPartition, i64> = reader.ends(&tps).unwrap().into_iter().collect();
        reader.start(&tps.iter().map(|tp| (tp.clone(), 0)).collect::<Vec<_>>()).unwrap();
        let (mut out, mut at) = (Vec::new(), BTreeMap::new());
        eventually("the end of a topic", || {
            match reader.next(Duration::from_millis(20)).unwrap() {
                Some(ReaderEvent::Record(r)) => out.push(r),
                Some(ReaderEvent::End { tp, offset }) => {
                    at.insert(tp, offset);
                }
                None => {}
            }
            ends.iter().all(|(tp, end)| at.get(tp).is_some_and(|o| o >= end)).then_some(())
        });
        out
    }

    pub(crate) fn commands(&self, topic: &str) -> Vec<Command> {
        self.read(topic).iter().map(decode).collect()
    }

    /// Waits until the output topic has so many commands.
    pub(crate) fn outputs_at_least(&self, count: usize) {
        let topic = self.stages.topics.last().unwrap();
        eventually("the outputs", || (self.read(topic).len() >= count).then_some(()));
    }

    /// Waits until the output topic has `count` commands, and returns them.
    pub(crate) fn outputs(&self, count: usize) -> Vec<Command> {
        let out = eventually("the outputs", || {
            Some(self.commands(self.stages.topics.last().unwrap())).filter(|c| c.len() >= count)
        });
        assert_eq!(out.len(), count);
        out
    }
}

fn groups(stages: &TestStages, path: &str, split: bool) -> Vec<Arc<Group>> {
    let path = Path::new(path, (stages.make)()).unwrap();
    if split {
        let parts: Vec<Vec<String>> = stages.names.iter().map(|n| vec![(*n).to_owned()]).collect();
        Group::split(&path, &parts).unwrap()
    } else {
        vec![Group::fused(&path).unwrap()]
    }
}

pub(crate) fn decode(r: &Received) -> Command {
    let (_, bytes) = wire::split(r.value.as_deref().unwrap()).unwrap();
    Command::decode(bytes).unwrap()
}

pub(crate) fn command(id: usize, portfolio: &str, reason: &str) -> Command {
    Command {
        command_id: format!("c{id}"),
        timestamp: TimestampMicros::from_micros(1_700_000_000_000_000),
        portfolio_id: portfolio.into(),
        actor: "test".into(),
        reason: reason.into(),
        ..Command::default()
    }
}

pub(crate) fn commands(ids: std::ops::Range<usize>, portfolios: usize) -> Vec<Command> {
    ids.map(|i| command(i, &format!("p{}", i % portfolios), "")).collect()
}

/// Each portfolio was counted 1, 2, 3, ... by both stages, in the order in which its commands were sent, and nothing is
/// missing or twice.
pub(crate) fn check_exactly_once(sent: &[Command], out: &[Command]) {
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for c in sent {
        expected.entry(&c.portfolio_id).or_default().push(&c.command_id);
    }
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for c in out {
        let of = seen.entry(&c.portfolio_id).or_default();
        of.push(&c.command_id);
        assert_eq!(c.order_id, of.len().to_string(), "{} by the first stage", c.command_id);
        assert_eq!(
            c.decision_event_id.as_deref(),
            Some(of.len().to_string().as_str()),
            "{} by the second",
            c.command_id
        );
    }
    assert_eq!(seen, expected);
}

/// Deletes a topic, if it exists, and makes it again.
pub(crate) fn remake(kafka: &RdKafka, name: &str) {
    if kafka.describe(&[name]).unwrap().contains_key(name) {
        kafka.admin().delete(name).unwrap();
    }
    // The records of these tests are of long ago: the broker must not take them for expired.
    let settings = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    eventually("a topic to be made", || kafka.admin().create(name, PARTITIONS, 1, &settings).ok());
    eventually("a topic to be there", || kafka.describe(&[name]).unwrap().contains_key(name).then_some(()));
}
