//! Several instances of a group, each a process of its own, on a real Kafka: they come and go under load, die, hang and
//! wake up again, and every record takes effect once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod members;
mod stages;

use std::time::Instant;

use common::eventually;
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, TopicPartition};
use fillstream_schemas::execution::Command;
use members::{Fault, Member};
use stages::{Harness, PARTITIONS, TestStages, check_exactly_once, commands};

test_stages!(scale, "test.scale-in.v1", "test.scale-fwd.v1", "test.scale-mid.v1", "test.scale-out.v1");
test_stages!(parts, "test.parts-in.v1", "test.parts-fwd.v1", "test.parts-mid.v1", "test.parts-out.v1");
test_stages!(stale, "test.stale-in.v1", "test.stale-fwd.v1", "test.stale-mid.v1", "test.stale-out.v1");
test_stages!(open, "test.open-in.v1", "test.open-fwd.v1", "test.open-mid.v1", "test.open-out.v1");
test_stages!(orphan, "test.orphan-in.v1", "test.orphan-fwd.v1", "test.orphan-mid.v1", "test.orphan-out.v1");

fn stages_of(name: &str) -> TestStages {
    match name {
        "scale" => scale::stages(),
        "parts" => parts::stages(),
        "stale" => stale::stages(),
        "open" => open::stages(),
        "orphan" => orphan::stages(),
        other => panic!("{other}"),
    }
}

#[test]
#[ignore = "the process of a member, started by the other tests"]
fn a_member() {
    members::run(stages_of);
}

/// A harness under load, which notes what it was sent.
struct Load {
    h: Harness,
    name: &'static str,
    /// Transactional ids of a worker.
    ids: usize,
    sent: Vec<Command>,
}

impl Load {
    fn new(name: &'static str, split: bool, ids: usize) -> Self {
        Self { h: Harness::new(stages_of(name), split), name, ids, sent: Vec::new() }
    }

    fn member(&self, instance: &str) -> Member {
        Member::start(&self.h, self.name, instance, self.ids)
    }

    fn send(&mut self) {
        let next = commands(self.sent.len()..self.sent.len() + 10, 9);
        self.h.send(&next);
        self.sent.extend(next);
    }

    /// Sends to every partition until something has happened.
    fn until(&mut self, what: &str, mut happened: impl FnMut() -> bool) {
        eventually(what, || {
            self.send();
            happened().then_some(())
        });
    }

    fn check(&self) {
        check_exactly_once(&self.sent, &self.h.outputs(self.sent.len()));
    }
}

/// One instance, three, one again: one leaves in order, one dies.
fn scale(name: &'static str, split: bool, ids: usize) {
    let mut load = Load::new(name, split, ids);
    let tasks = i64::from(PARTITIONS) * i64::try_from(load.h.groups.len()).unwrap();
    let a = load.member("a");
    load.until("the first instance to have everything", || a.has(tasks));
    let (b, c) = (load.member("b"), load.member("c"));
    load.until("three instances to share", || [&a, &b, &c].iter().all(|m| m.has(tasks / 3)));
    load.check();
    b.leave();
    load.until("the first instance to take over from the one that left", || a.state().tasks > tasks / 3);
    c.kill();
    load.until("the first instance to have everything again", || a.has(tasks));
    load.check();
    a.leave();
}

#[test]
fn one_to_three_instances_and_back_under_load() {
    scale("scale", false, 1);
}

#[test]
fn one_to_three_instances_of_split_groups_and_back_under_load() {
    scale("parts", true, 2);
}

/// A member freezes inside its work, another takes its tasks over when its session is over; when it wakes up it goes on
/// with what it was doing, and must be refused.
fn frozen(name: &'static str, fault: Fault, ids: usize) {
    let mut load = Load::new(name, false, ids);
    let all = i64::from(PARTITIONS);
    let (a, mut b) = (load.member("a"), load.member("b"));
    load.until("two instances to share", || {
        a.state().ready && b.state().ready && a.state().tasks + b.state().tasks == all
    });
    b.fail(fault);
    load.until("the freeze", || b.met(fault));
    let before = b.state();
    load.until("the other instance to take over", || a.has(all));
    load.check();
    b.thaw();
    load.until("the refusal", || {
        let now = b.state();
        now.aborts > before.aborts || now.rebuilds > before.rebuilds
    });
    // It is a member like any other again.
    load.until("two instances to share again", || {
        a.state().ready && b.state().ready && b.state().tasks > 0 && !a.has(all)
    });
    load.check();
    a.leave();
    b.leave();
}

#[test]
fn what_a_member_of_an_earlier_generation_wrote_is_refused() {
    frozen("stale", Fault::FreezeBeforeBegin, 1);
}

#[test]
fn what_a_member_had_open_when_it_froze_is_refused() {
    frozen("open", Fault::FreezeBeforeCommit, 2);
}

/// Nobody ever initialises the transactional ids of an instance that is gone for good: the broker ends what they left
/// open.
#[test]
fn a_transaction_that_nobody_comes_back_for_holds_readers_up_only_for_its_timeout() {
    let mut load = Load::new("orphan", false, 2);
    let all = i64::from(PARTITIONS);
    let (a, mut b) = (load.member("a"), load.member("b"));
    load.until("two instances to share", || {
        a.state().ready && b.state().ready && a.state().tasks + b.state().tasks == all
    });
    b.fail(Fault::HangBeforeCommit);
    load.until("the hang", || b.met(Fault::HangBeforeCommit));
    let reader = load.h.kafka.reader().unwrap();
    let outputs: Vec<TopicPartition> = (0..PARTITIONS).map(|p| TopicPartition::new(orphan::OUT, p)).collect();
    let is_held = |tp: &&TopicPartition| reader.stable_bounds(tp).unwrap().1 < reader.bounds(tp).unwrap().1;
    // The other instance's transactions are open now and then too; this one stays.
    b.kill();
    let died = Instant::now();
    let held: Vec<&TopicPartition> = outputs.iter().filter(is_held).collect();
    let ends: Vec<i64> = held.iter().map(|tp| reader.bounds(tp).unwrap().1).collect();
    assert!(!held.is_empty(), "the dead member has left nothing open");
    eventually("readers to get past it", || {
        held.iter().zip(&ends).all(|(tp, end)| reader.stable_bounds(tp).unwrap().1 >= *end).then_some(())
    });
    println!("readers were held up for {:.1} s", died.elapsed().as_secs_f32());
    load.until("the other instance to take over", || a.has(all));
    load.check();
    a.leave();
}
