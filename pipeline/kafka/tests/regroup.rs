//! Regrouping against a real Kafka: fused to split and back, with nothing lost, nothing twice, and no way back by accident.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod stages;

use std::sync::Arc;
use std::time::Duration;

use common::eventually;
use fillstream_core::group::{Group, Path};
use fillstream_kafka::driver::{DriverConfig, DriverError, GroupRun};
use fillstream_kafka::regroup::{Moved, Regroup, RegroupError, drain};
use fillstream_kafka::replay::{Question, Replay};
use fillstream_kafka::topics::{Router, changelog_topic, journal_topic, snapshots_topic};
use stages::{Harness, PARTITIONS, Started, check_exactly_once, command, commands, remake};

test_stages!(regrouped, "test.regroup-in.v1", "test.regroup-fwd.v1", "test.regroup-mid.v1", "test.regroup-out.v1");

struct Layouts {
    h: Harness,
    fused: Vec<Arc<Group>>,
    split: Vec<Arc<Group>>,
}

impl Layouts {
    fn new() -> Self {
        let h = Harness::new(regrouped::stages(), false).with_short_session();
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
    let l = Layouts::new();
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

fn is_timer(r: &fillstream_kafka::client::Received) -> bool {
    r.value.is_some() && String::from_utf8_lossy(r.key.as_deref().unwrap_or_default()).contains("/timers/")
}
