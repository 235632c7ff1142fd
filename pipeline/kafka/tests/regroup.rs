//! Regrouping against a real Kafka: fused to split and back, with nothing lost, nothing twice, and no way back by accident.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::eventually;
use fillstream_core::group::{Group, Path};
use fillstream_kafka::client::{
    GroupConsumer, KafkaClient, OffsetEntry, PartitionReader, Received, TopicPartition, TransactionalProducer,
};
use fillstream_kafka::driver::{DriverConfig, DriverError, GroupRun};
use fillstream_kafka::regroup::{Moved, Regroup, RegroupError, drain};
use fillstream_kafka::replay::{Question, Replay};
use fillstream_kafka::topics::{Router, changelog_topic, consumer_group, journal_topic, snapshots_topic};
use fillstream_schemas::engine::InputRun;
use fillstream_schemas::{AvroRecord, wire};
use stages::{Harness, PARTITIONS, Started, TestStages, check_exactly_once, command, commands, remake};

test_stages!(regrouped, "test.regroup-in.v1", "test.regroup-fwd.v1", "test.regroup-mid.v1", "test.regroup-out.v1");

/// `tell` hears what it has told again, later; `work` after it is handed it, or reads it.
mod back {
    use fillstream_core::error::Poison;
    use fillstream_core::record::Record;
    use fillstream_core::stage::{Effects, Stage, Timer};
    use fillstream_core::{StageHandle, inputs, outputs, stores};
    use fillstream_schemas::engine::InputRun;
    use fillstream_schemas::execution::Command;

    pub(crate) const IN: &str = "test.back-in.v1";
    pub(crate) const MID: &str = "test.back-mid.v1";
    pub(crate) const OUT: &str = "test.back-out.v1";

    inputs! {
        /// Inputs of the teller.
        pub(crate) enum TellIn { In(Command) = "test.back-in.v1", Back(Command) = "test.back-mid.v1" }
    }
    outputs! {
        /// Outputs of the teller.
        pub(crate) enum TellOut { Mid(Command) = "test.back-mid.v1" }
    }
    inputs! {
        /// Inputs of the worker.
        pub(crate) enum WorkIn { Mid(Command) = "test.back-mid.v1" }
    }
    outputs! {
        /// Outputs of the worker.
        pub(crate) enum WorkOut { Out(Command) = "test.back-out.v1" }
    }
    stores! {
        /// What was heard.
        pub(crate) struct Heard { seen: InputRun = "seen" }
    }

    struct Tell;
    struct Work;

    impl Stage for Tell {
        type In = TellIn;
        type Out = TellOut;
        type Stores = Heard;
        type Timer = Command;
        const NAME: &'static str = "tell";
        const DOC: &'static str = "Tells, and hears what it told.";
        fn on_record(&self, r: &Record<TellIn>, state: &mut Heard, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
            match &r.value {
                TellIn::In(c) => fx.emit((**c).clone()),
                TellIn::Back(c) => {
                    let mut run = state.seen.get(&c.command_id).cloned().unwrap_or_default();
                    run.count += 1;
                    state.seen.put(&c.command_id, run);
                }
            }
            Ok(())
        }
        fn on_timer(&self, _: &Timer<Command>, _: &mut Heard, _: &mut Effects<'_, Self>) -> Result<(), Poison> {
            Ok(())
        }
    }

    impl Stage for Work {
        type In = WorkIn;
        type Out = WorkOut;
        type Stores = Heard;
        type Timer = Command;
        const NAME: &'static str = "work";
        const DOC: &'static str = "Works on what was told.";
        fn on_record(&self, r: &Record<WorkIn>, _: &mut Heard, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
            let WorkIn::Mid(c) = &r.value;
            fx.emit((**c).clone());
            Ok(())
        }
        fn on_timer(&self, _: &Timer<Command>, _: &mut Heard, _: &mut Effects<'_, Self>) -> Result<(), Poison> {
            Ok(())
        }
    }

    pub(crate) fn stages() -> crate::stages::TestStages {
        crate::stages::TestStages {
            topics: &[IN, MID, OUT],
            names: &["tell", "work"],
            make: || vec![StageHandle::of(Tell), StageHandle::of(Work)],
        }
    }
}

/// A regroup fences every other one.
static TURN: Mutex<()> = Mutex::new(());

struct Layouts {
    h: Harness,
    fused: Vec<Arc<Group>>,
    split: Vec<Arc<Group>>,
}

impl Layouts {
    fn new(stages: TestStages) -> Self {
        let h = Harness::new(stages, false).with_short_session();
        let path = Path::new(&h.path, (h.stages.make)()).unwrap();
        let parts: Vec<Vec<String>> = h.stages.names.iter().map(|n| vec![(*n).to_owned()]).collect();
        let split = Group::split(&path, &parts).unwrap();
        for group in &split {
            for topic in [journal_topic(group.name()), changelog_topic(group.name()), snapshots_topic(group.name())] {
                remake(&h.kafka, &topic);
            }
        }
        Self { fused: h.groups.clone(), split, h }
    }

    fn config() -> DriverConfig {
        DriverConfig { instance: "a".into(), snapshot_interval_ms: 20, ..DriverConfig::default() }
    }

    fn start(&self, groups: &[Arc<Group>]) -> Started {
        let (driver, health, metrics) = self.h.driver(Self::config());
        let runs: Vec<GroupRun> = groups.iter().map(|g| GroupRun { group: Arc::clone(g), workers: 1 }).collect();
        let started = Started { running: driver.start(&runs).unwrap(), health, metrics };
        started.ready();
        started
    }

    fn regroup(&self, from: &[Arc<Group>], to: &[Arc<Group>]) -> Result<Moved, RegroupError> {
        // A member that has just left counts until its session ends.
        let regroup = Regroup { client: &self.h.kafka, registry: &self.h.registry, from, to };
        regroup.run_within(Duration::from_secs(20))
    }

    /// What a group has done since it last became what it is replays to the byte; batches of all its tasks.
    fn replays(&self, group: &Arc<Group>) -> usize {
        let replay = Replay {
            client: self.h.kafka.clone(),
            registry: Arc::clone(&self.h.registry),
            router: self.h.stages.topics.iter().fold(Router::default(), |r, t| r.with_topic(*t, PARTITIONS)),
            group: Arc::clone(group),
            config_hash: "test".into(),
            code_version: "test".into(),
            partition: None,
            from: None,
            to: None,
            question: Question::Same,
        };
        let report = replay.run().unwrap();
        assert!(report.is_identical(), "{}: {:?}", group.name(), report.differences().next());
        report.batches()
    }
}

#[test]
fn a_path_goes_from_fused_to_split_and_back_with_nothing_lost_or_twice() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let l = Layouts::new(regrouped::stages());
    let mut sent = commands(0..60, 5);
    let started = l.start(&l.fused);
    l.h.send(&sent);
    check_exactly_once(&sent, &l.h.outputs(60));
    let now = Regroup { client: &l.h.kafka, registry: &l.h.registry, from: &l.fused, to: &l.split }.run();
    assert!(matches!(now, Err(RegroupError::Busy { .. })), "a group with members stays: {now:?}");
    // A timer that is set and not yet due goes along.
    let late = command(60, "p0", "LATER");
    l.h.send(std::slice::from_ref(&late));
    eventually("the timer", || l.h.read(&changelog_topic(l.fused[0].name())).iter().any(is_timer).then_some(()));
    started.end();

    let moved = l.regroup(&l.fused, &l.split).unwrap();
    assert!(moved.tasks > 0 && moved.keys >= 10, "{moved:?}");
    let started = l.start(&l.split);
    sent.push(late);
    l.h.outputs(61);
    let next = commands(61..100, 5);
    l.h.send(&next);
    sent.extend(next);
    check_exactly_once(&sent, &l.h.outputs(100));
    started.end();

    // Something waits between the two.
    let counter = l.start(&l.split[..1]);
    let next = commands(100..130, 5);
    l.h.send(&next);
    sent.extend(next);
    eventually("the counter", || (l.h.commands(regrouped::MID).len() == 130).then_some(()));
    counter.end();
    assert!(matches!(l.regroup(&l.split, &l.fused), Err(RegroupError::NotDrained { .. })));
    drain(&l.h.kafka, || l.h.driver(Layouts::config()).0, &l.split, Duration::from_secs(30)).unwrap();
    l.regroup(&l.split, &l.fused).unwrap();
    let started = l.start(&l.fused);
    let next = commands(130..170, 5);
    l.h.send(&next);
    sent.extend(next);
    check_exactly_once(&sent, &l.h.outputs(170));
    started.end();
    for group in l.split.iter().chain(&l.fused) {
        assert!(l.replays(group) > 0, "{}", group.name());
    }

    // The cut that was left does not run again by accident.
    let (driver, ..) = l.h.driver(Layouts::config());
    let stopped = driver.start(&[GroupRun { group: Arc::clone(&l.split[0]), workers: 1 }]).unwrap().join();
    assert!(matches!(stopped, Err(DriverError::Regrouped { .. })), "{stopped:?}");
}

fn is_timer(r: &Received) -> bool {
    r.value.is_some() && String::from_utf8_lossy(r.key.as_deref().unwrap_or_default()).contains("/timers/")
}

/// A stage that is handed its input in memory has done all of it, however far behind another reader of the topic is: here the
/// stage that wrote it, which has not heard the last of its own records yet.
#[test]
fn what_was_handed_on_in_memory_is_not_done_again_because_its_writer_reads_it_back_later() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let l = Layouts::new(back::stages());
    let sent = commands(0..60, 5);
    let started = l.start(&l.fused);
    l.h.send(&sent);
    l.h.outputs(60);
    let group = consumer_group(l.fused[0].name());
    let places: Vec<TopicPartition> = (0..PARTITIONS).map(|p| TopicPartition::new(back::MID, p)).collect();
    let consumer = l.h.kafka.consumer(&group, "observer", &[]).unwrap();
    let ends = || l.h.kafka.reader().unwrap().ends(&places).unwrap();
    let heard = |l: &Layouts, group: &Arc<Group>| -> BTreeMap<String, i32> {
        let state = l.h.read(&changelog_topic(group.name())).into_iter().filter(|r| r.value.is_some());
        let of = |r: &Received| {
            String::from_utf8_lossy(r.key.as_deref().unwrap()).starts_with("tell/seen/").then(|| {
                let (_, bytes) = wire::split(r.value.as_deref().unwrap()).unwrap();
                let key = String::from_utf8(r.key.clone().unwrap()).unwrap();
                (key.rsplit('/').next().unwrap().to_owned(), InputRun::decode(bytes).unwrap().count)
            })
        };
        state.filter_map(|r| of(&r)).collect()
    };
    eventually("everything to be heard", || (heard(&l, &l.fused[0]).len() == 60).then_some(()));
    started.end();
    // As it would stand if it had been stopped a little earlier: the last ones are not heard yet. Commands without an own
    // effect, so their state can stay.
    let mut producer = l.h.kafka.producer(&common::unique("rewind")).unwrap();
    producer.init().unwrap();
    let behind: Vec<OffsetEntry> = eventually("the members to be gone", || {
        let mut entries = consumer.committed(&places).ok()?;
        entries.iter_mut().for_each(|e| e.offset = (e.offset - 6).max(0));
        producer.begin().ok()?;
        let nobody = consumer.group_metadata().ok()?;
        if producer.send_offsets(&entries, &nobody).is_err() {
            producer.abort().ok()?;
            return None;
        }
        producer.commit().ok().map(|()| entries)
    });
    assert!(behind.iter().zip(ends()).any(|(at, (_, end))| at.offset + 2 < end), "something is not heard");

    l.regroup(&l.fused, &l.split).unwrap();
    let started = l.start(&l.split);
    let next = commands(60..80, 5);
    l.h.send(&next);
    let out = l.h.outputs(80);
    let mut ids: Vec<String> = out.into_iter().map(|c| c.command_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 80, "nothing is done twice");
    // The teller hears the last ones, as it would have.
    let twice = || heard(&l, &l.split[0]).values().filter(|n| **n == 2).count();
    eventually("the rest to be heard", || (twice() > 0).then_some(()));
    started.end();
    // And back: only what the teller has not heard counts for the fused group.
    drain(&l.h.kafka, || l.h.driver(Layouts::config()).0, &l.split, Duration::from_secs(30)).unwrap();
    l.regroup(&l.split, &l.fused).unwrap();
    let started = l.start(&l.fused);
    l.h.send(&commands(80..100, 5));
    assert_eq!(l.h.outputs(100).iter().map(|c| &c.command_id).collect::<BTreeSet<_>>().len(), 100);
    started.end();
}
