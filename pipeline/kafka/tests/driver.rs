//! The driver against a real Kafka and a real registry: nothing lost, nothing twice, nothing guessed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod stages;

use std::time::Duration;

use common::eventually;
use fillstream_core::record::header;
use fillstream_kafka::client::{
    ConsumerEvent, GroupConsumer, KafkaClient, OffsetEntry, PartitionReader, TransactionalProducer,
};
use fillstream_kafka::driver::{DriverConfig, DriverError, commit_offsets, offsets_from_journal};
use fillstream_kafka::registry::{Framing, framed};
use fillstream_kafka::topics::{changelog_topic, dead_letter_topic, journal_topic, partition_for};
use fillstream_schemas::engine::{DeadLetter, JournalRecord};
use fillstream_schemas::{AvroRecord, wire};
use stages::{Harness, PARTITIONS, check_exactly_once, command, commands};

test_stages!(fused, "test.fused-in.v1", "test.fused-fwd.v1", "test.fused-mid.v1", "test.fused-out.v1");
test_stages!(split, "test.split-in.v1", "test.split-fwd.v1", "test.split-mid.v1", "test.split-out.v1");
test_stages!(restart, "test.restart-in.v1", "test.restart-fwd.v1", "test.restart-mid.v1", "test.restart-out.v1");
test_stages!(zombie, "test.zombie-in.v1", "test.zombie-fwd.v1", "test.zombie-mid.v1", "test.zombie-out.v1");
test_stages!(moves, "test.moves-in.v1", "test.moves-fwd.v1", "test.moves-mid.v1", "test.moves-out.v1");
test_stages!(letters, "test.letters-in.v1", "test.letters-fwd.v1", "test.letters-mid.v1", "test.letters-out.v1");
test_stages!(blamed, "test.blamed-in.v1", "test.blamed-fwd.v1", "test.blamed-mid.v1", "test.blamed-out.v1");
test_stages!(timers, "test.timers-in.v1", "test.timers-fwd.v1", "test.timers-mid.v1", "test.timers-out.v1");
test_stages!(uuid, "test.uuid-in.v1", "test.uuid-fwd.v1", "test.uuid-mid.v1", "test.uuid-out.v1");
test_stages!(offsets, "test.offsets-in.v1", "test.offsets-fwd.v1", "test.offsets-mid.v1", "test.offsets-out.v1");
test_stages!(recover, "test.recover-in.v1", "test.recover-fwd.v1", "test.recover-mid.v1", "test.recover-out.v1");
test_stages!(lost, "test.lost-in.v1", "test.lost-fwd.v1", "test.lost-mid.v1", "test.lost-out.v1");
test_stages!(disagree, "test.disagree-in.v1", "test.disagree-fwd.v1", "test.disagree-mid.v1", "test.disagree-out.v1");
test_stages!(forward, "test.forward-in.v1", "test.forward-fwd.v1", "test.forward-mid.v1", "test.forward-out.v1");
test_stages!(pending, "test.pending-in.v1", "test.pending-fwd.v1", "test.pending-mid.v1", "test.pending-out.v1");

fn journal(h: &Harness, group: usize) -> Vec<(i32, JournalRecord)> {
    h.read(&journal_topic(h.groups[group].name()))
        .iter()
        .map(|r| {
            let (_, bytes) = wire::split(r.value.as_deref().unwrap()).unwrap();
            (r.partition, JournalRecord::decode(bytes).unwrap())
        })
        .collect()
}

#[test]
fn a_fused_group_does_everything_once_and_tells_of_it() {
    let h = Harness::new(fused::stages(), false);
    let started = h.start("a");
    started.ready();
    let sent = commands(0..200, 7);
    h.send(&sent);
    check_exactly_once(&sent, &h.outputs(200));
    // Sequences are gapless in each partition, and the journal names every input once.
    let journal = journal(&h, 0);
    for partition in 0..PARTITIONS {
        let of: Vec<i64> = journal.iter().filter(|(p, _)| *p == partition).map(|(_, r)| r.sequence).collect();
        assert_eq!(of, (1..=i64::try_from(of.len()).unwrap()).collect::<Vec<_>>());
    }
    let inputs: i32 = journal.iter().flat_map(|(_, r)| &r.units).filter_map(|u| u.run.as_ref()).map(|r| r.count).sum();
    assert_eq!(inputs, 200);
    let group = h.groups[0].name().to_owned();
    eventually("a lag of 0 everywhere", || {
        let text = started.metrics.print();
        let zero = (0..PARTITIONS)
            .all(|p| text.contains(&format!("fillstream_lag_records{{group=\"{group}\",partition=\"{p}\"}} 0\n")));
        zero.then_some(())
    });
    let text = started.metrics.print();
    assert!(text.contains(&format!("fillstream_records_total{{group=\"{group}\"}} 200\n")), "{text}");
    assert!(text.contains(&format!("fillstream_outputs_total{{group=\"{group}\"}} 400\n")), "{text}");
    for phase in ["poll", "process", "produce", "offsets", "commit"] {
        assert!(text.contains(&format!("phase=\"{phase}\"")), "{phase}");
    }
    started.end();
}

#[test]
fn split_groups_write_what_a_fused_one_does() {
    let h = Harness::new(split::stages(), true);
    let started = h.start("a");
    started.ready();
    let sent = commands(0..100, 5);
    h.send(&sent);
    check_exactly_once(&sent, &h.outputs(100));
    started.end();
}

#[test]
fn state_goes_on_where_it_was_after_a_stop_and_a_start() {
    let h = Harness::new(restart::stages(), false);
    let mut sent = commands(0..50, 4);
    h.send(&sent);
    for round in 1..4 {
        let started = h.start("a");
        started.ready();
        check_exactly_once(&sent, &h.outputs(sent.len()));
        started.end();
        let next = commands(round * 50..(round + 1) * 50, 4);
        h.send(&next);
        sent.extend(next);
    }
    // Another instance, which has to restore everything by itself.
    let started = h.start("b");
    check_exactly_once(&sent, &h.outputs(sent.len()));
    started.end();
}

#[test]
fn a_zombie_is_fenced_stops_and_says_so_and_nothing_is_lost_or_twice() {
    let h = Harness::new(zombie::stages(), false);
    let first = h.start("same");
    first.ready();
    let mut sent = Vec::new();
    let mut feed = |n: usize| {
        let next = commands(n * 40..(n + 1) * 40, 6);
        h.send(&next);
        sent.extend(next);
    };
    (0..5).for_each(&mut feed);
    let second = h.start("same");
    (5..10).for_each(&mut feed);
    eventually("the end of the zombie", || first.running.is_finished().then_some(()));
    assert!(!first.health.is_live());
    assert!(first.health.print().contains("another instance took over"), "{}", first.health.print());
    let error = first.running.join().unwrap_err();
    assert!(error.to_string().contains("another instance took over"), "{error}");
    (10..12).for_each(&mut feed);
    second.ready();
    check_exactly_once(&sent, &h.outputs(sent.len()));
    second.end();
}

#[test]
fn tasks_move_between_instances_with_their_state() {
    let h = Harness::new(moves::stages(), false).with_short_session();
    let first = h.start("one");
    first.ready();
    let mut sent = commands(0..60, 9);
    h.send(&sent);
    h.outputs(60);
    let second = h.start("two");
    let mut n = 60;
    eventually("tasks on both instances", || {
        let next = commands(n..n + 20, 9);
        n += 20;
        h.send(&next);
        sent.extend(next);
        let tasks = |s: &stages::Started| {
            s.metrics.print().lines().any(|l| l.starts_with("fillstream_tasks{") && !l.ends_with(" 0"))
        };
        (tasks(&first) && tasks(&second) && first.health.is_ready() && second.health.is_ready()).then_some(())
    });
    check_exactly_once(&sent, &h.outputs(sent.len()));
    second.end();
    // The tasks of the second come back when its session is over.
    let next = commands(n..n + 50, 9);
    h.send(&next);
    sent.extend(next);
    check_exactly_once(&sent, &h.outputs(sent.len()));
    first.end();
}

#[test]
fn what_cannot_be_read_or_is_refused_becomes_one_dead_letter_and_the_next_flows() {
    let h = Harness::new(letters::stages(), false);
    let started = h.start("a");
    started.ready();
    let key = "p".to_owned();
    let partition = partition_for(key.as_bytes(), PARTITIONS);
    let good = |i| h.frame(letters::IN, &command(i, &key, ""));
    let mut truncated = good(5);
    truncated.truncate(12);
    let values = [
        good(0),
        b"{\"command_id\":\"json\"}".to_vec(),
        framed(2_000_000_000, &[1, 2, 3]),
        truncated,
        h.frame(letters::IN, &command(1, &key, "POISON")),
        good(2),
    ];
    let values: Vec<_> = values.into_iter().map(|v| (key.clone(), partition, v)).collect();
    h.send_raw(letters::IN, &values);
    let out = h.outputs(2);
    assert_eq!(
        out.iter().map(|c| c.order_id.as_str()).collect::<Vec<_>>(),
        ["1", "2"],
        "a poisoned record leaves no state"
    );
    let letters: Vec<DeadLetter> = h
        .read(&dead_letter_topic(letters::COUNT))
        .iter()
        .map(|r| DeadLetter::decode(wire::split(r.value.as_deref().unwrap()).unwrap().1).unwrap())
        .collect();
    let codes: Vec<&str> = letters.iter().map(|l| l.reason_code.as_str()).collect();
    assert_eq!(codes, ["BAD_FRAME", "UNKNOWN_SCHEMA_ID", "DECODE", "TEST_POISON"]);
    assert!(letters.iter().all(|l| l.topic == letters::IN && l.partition == partition));
    assert_eq!(letters[0].value, values[1].2);
    started.end();
}

#[test]
fn a_record_that_makes_a_stage_panic_or_write_too_much_is_found_and_the_others_flow() {
    let h = Harness::new(blamed::stages(), false);
    let mut sent = commands(0..60, 4);
    sent[17].reason = "PANIC".into();
    sent[31].reason = "LARGE".into();
    h.send(&sent);
    let started = h.start("a");
    let out = h.outputs(58);
    sent.retain(|c| c.reason.is_empty());
    check_exactly_once(&sent, &out);
    let mut codes: Vec<(String, String)> = h
        .read(&dead_letter_topic(blamed::COUNT))
        .iter()
        .map(|r| DeadLetter::decode(wire::split(r.value.as_deref().unwrap()).unwrap().1).unwrap())
        .map(|l| (l.reason_code, l.topic))
        .collect();
    codes.sort();
    let topic = blamed::IN.to_owned();
    assert_eq!(codes, [("OUTPUT_TOO_LARGE".to_owned(), topic.clone()), ("PANIC".to_owned(), topic)]);
    h.send(&commands(100..140, 4));
    h.outputs(98);
    assert!(started.health.is_ready());
    started.end();
}

#[test]
fn timers_outlive_the_process_and_fire_once() {
    let h = Harness::new(timers::stages(), false);
    let started = h.start("a");
    started.ready();
    let sent: Vec<_> = (0..30).map(|i| command(i, &format!("p{}", i % 4), "LATER")).collect();
    h.send(&sent);
    eventually("the timers to be set", || {
        (journal(&h, 0).iter().flat_map(|(_, r)| &r.units).count() > 0).then_some(())
    });
    started.end();
    let started = h.start("b");
    let out = h.outputs(30);
    let mut ids: Vec<_> = out.iter().map(|c| c.command_id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30);
    started.end();
    let started = h.start("a");
    started.ready();
    h.send(&commands(100..101, 1));
    h.outputs(31);
    started.end();
}

/// The error that ends a driver which must not start.
fn refusal(h: &Harness) -> DriverError {
    let started = h.start("a");
    eventually("the stop", || started.running.is_finished().then_some(()));
    assert!(!started.health.is_live());
    started.running.join().unwrap_err()
}

#[test]
fn a_topic_made_again_stops_the_group() {
    let h = Harness::new(uuid::stages(), false);
    let started = h.start("a");
    started.ready();
    h.send(&commands(0..10, 3));
    h.outputs(10);
    started.end();
    // Kafka forgets the offsets of a deleted topic, so what is left is state without them.
    stages::remake(&h.kafka, uuid::IN);
    let error = refusal(&h);
    assert!(matches!(&error, DriverError::NoOffset { topic, .. } if topic == uuid::IN), "{error}");
    // The journal's offsets are none of the topic that stands there now.
    let mut framing = Framing::new(std::sync::Arc::clone(&h.registry));
    let error = offsets_from_journal(&h.kafka, &mut framing, &h.groups[0]).unwrap_err();
    assert!(matches!(&error, DriverError::AnotherTopic { topic, .. } if topic == uuid::IN), "{error}");
}

/// Commits an offset for every input as the member whose place the driver then takes.
fn commit_offsets_of(h: &Harness, metadata: &str) {
    let (topics, group) = ([offsets::IN, offsets::FORWARDED], format!("fillstream.{}", h.groups[0].name()));
    let mut consumer = h.kafka.consumer(&group, "a-0", &topics).unwrap();
    let assigned = eventually("an assignment", || match consumer.poll(Duration::from_millis(50)) {
        Ok(Some(ConsumerEvent::Assigned(tps))) => Some(tps),
        Ok(_) | Err(_) => None,
    });
    let entries: Vec<OffsetEntry> =
        assigned.into_iter().map(|tp| OffsetEntry { tp, offset: 0, metadata: metadata.into() }).collect();
    consumer.assign_at(&entries).unwrap();
    let mut producer = h.kafka.producer(&common::unique("offsets")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    producer.send_offsets(&entries, &consumer.group_metadata().unwrap()).unwrap();
    producer.commit().unwrap();
}

#[test]
fn offsets_of_another_topic_or_of_somebody_else_are_not_believed() {
    let mut h = Harness::new(offsets::stages(), false);
    commit_offsets_of(&h, "v1;0;another-topics-uuid");
    let error = refusal(&h);
    assert!(matches!(&error, DriverError::AnotherTopic { then, .. } if then == "another-topics-uuid"), "{error}");
    h.regroup(false);
    commit_offsets_of(&h, "");
    let error = refusal(&h);
    assert!(matches!(&error, DriverError::ForeignOffset { .. }), "{error}");
}

#[test]
fn state_without_offsets_is_never_taken_for_a_new_group() {
    let h = Harness::new(lost::stages(), false);
    // A journal of a batch that no offset knows of, as after the offsets have expired.
    let record = JournalRecord { sequence: 7, ..JournalRecord::default() };
    let id = h.registry.register(JournalRecord::FULL_NAME, JournalRecord::SCHEMA).unwrap();
    h.send_raw(&journal_topic(h.groups[0].name()), &[("1".into(), 1, framed(id, &record.to_bytes()))]);
    let error = refusal(&h);
    assert!(matches!(error, DriverError::NoOffset { partition: 1, .. }), "{error}");
    assert!(error.to_string().contains("fillstream recover"), "{error}");
}

#[test]
fn a_changelog_ahead_of_the_offsets_stops_the_task() {
    let h = Harness::new(disagree::stages(), false);
    let started = h.start("a");
    started.ready();
    let sent = commands(0..30, 6);
    h.send(&sent);
    h.outputs(30);
    started.end();
    let key = format!("{}/seen/p0", disagree::COUNT);
    let partition = partition_for(b"p0", PARTITIONS);
    let run = fillstream_schemas::engine::InputRun { count: 99, ..Default::default() };
    let id = h
        .registry
        .register(fillstream_schemas::engine::InputRun::FULL_NAME, fillstream_schemas::engine::InputRun::SCHEMA)
        .unwrap();
    let value = framed(id, &run.to_bytes());
    h.send_with(&changelog_topic(h.groups[0].name()), &[(key, partition, value)], &[("fs-seq", &999i64.to_be_bytes())]);
    let config = DriverConfig { instance: "a".into(), agree_timeout_ms: 300, ..DriverConfig::default() };
    let started = h.start_with(config, 1);
    eventually("the stop", || started.running.is_finished().then_some(()));
    let error = started.running.join().unwrap_err();
    assert!(matches!(error, DriverError::Disagree { changelog: 999, .. }), "{error}");
}

#[test]
fn a_record_on_a_wrong_partition_is_forwarded_once_and_counted() {
    let h = Harness::new(forward::stages(), false);
    let started = h.start("a");
    started.ready();
    let wrong = (partition_for(b"p0", PARTITIONS) + 1) % PARTITIONS;
    h.send_raw(forward::IN, &[("p0".into(), wrong, h.frame(forward::IN, &command(1, "p0", "")))]);
    check_exactly_once(&[command(1, "p0", "")], &h.outputs(1));
    let forwarded = h.read(forward::FORWARDED);
    assert_eq!(forwarded.len(), 1);
    assert_eq!(forwarded[0].partition, partition_for(b"p0", PARTITIONS));
    assert_eq!(forwarded[0].header(header::LINEAGE).map(<[u8]>::len), Some(16));
    let group = h.groups[0].name();
    assert!(started.metrics.print().contains(&format!("fillstream_forwards_total{{group=\"{group}\"}} 1\n")));
    started.end();
}

#[test]
fn an_open_transaction_on_the_changelog_is_waited_for() {
    let h = Harness::new(pending::stages(), false);
    let started = h.start("a");
    started.ready();
    let sent = commands(0..20, 5);
    h.send(&sent);
    h.outputs(20);
    started.end();
    // Somebody's transaction hangs: nothing may be read past it until the broker has ended it.
    let mut hung = common::sending_at_once().producer(&common::unique("hung")).unwrap();
    hung.init().unwrap();
    hung.begin().unwrap();
    let changelog = changelog_topic(h.groups[0].name());
    hung.send(&common::record(&changelog, 0, "nobody/seen/x", "garbage")).unwrap();
    let tp = fillstream_kafka::client::TopicPartition::new(changelog.as_str(), 0);
    let reader = h.kafka.reader().unwrap();
    eventually("the record to arrive", || {
        (reader.bounds(&tp).unwrap().1 > reader.stable_bounds(&tp).unwrap().1).then_some(())
    });
    let started = h.start("a");
    let next = commands(20..40, 5);
    h.send(&next);
    let all: Vec<_> = sent.into_iter().chain(next).collect();
    check_exactly_once(&all, &h.outputs(40));
    assert!(hung.commit().is_err(), "the broker ended it");
    started.end();
}

#[test]
fn the_journal_knows_the_offsets() {
    let h = Harness::new(recover::stages(), false).with_short_session();
    let started = h.start("a");
    started.ready();
    let mut sent = commands(0..40, 5);
    h.send(&sent);
    h.outputs(40);
    started.end();
    let mut framing = Framing::new(std::sync::Arc::clone(&h.registry));
    let found = offsets_from_journal(&h.kafka, &mut framing, &h.groups[0]).unwrap();
    let group = format!("fillstream.{}", h.groups[0].name());
    let consumer = h.kafka.consumer(&group, "look", &[]).unwrap();
    let tps: Vec<_> = found.iter().map(|o| o.tp.clone()).collect();
    let committed = consumer.committed(&tps).unwrap();
    let of = |all: &[OffsetEntry]| -> Vec<_> { all.iter().map(|o| (o.tp.clone(), o.offset)).collect() };
    assert_eq!(of(&found), of(&committed));
    // Refused as long as the stopped member's session lasts.
    eventually("the commit", || commit_offsets(&h.kafka, &h.groups[0], &found).ok());
    assert_eq!(consumer.committed(&tps).unwrap(), found);
    let started = h.start("a");
    let next = commands(40..60, 5);
    h.send(&next);
    sent.extend(next);
    check_exactly_once(&sent, &h.outputs(60));
    started.end();
}
