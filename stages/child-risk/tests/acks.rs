//! Acknowledgements of controls.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, ORDERS, PLANS, World, at, created, leg, plan};
use fillstream_domain::ControlScope;
use fillstream_schemas::execution::{ChildOrder, ControlAck, ControlPhase, ControlProbe, RiskAlert};
use fillstream_testkit::StageBench;

const PROBES: &str = "execution.control-probes.v1";

fn probe(scope: ControlScope, id: &str, version: i64) -> ControlProbe {
    ControlProbe {
        event_id: format!("ask-{id}-{version}"),
        partition_key: "k".to_owned(),
        partition: 4,
        scope,
        scope_id: id.to_owned(),
        version,
        requested_at: at(NOON),
    }
}

fn acks(bench: &mut StageBench) -> Vec<ControlAck> {
    bench.take::<ControlAck>()
}

/// Trading rule 19: each partition acknowledges the kill, and from the acknowledgement on nothing is approved against it.
#[test]
fn rule_19_a_partition_acknowledges_a_kill_when_it_is_in_force_there() {
    let mut world = World::default();
    let mut bench = world.bench();
    bench.record(ORDERS, &created());
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10"), leg(1, 2, "XB", "10")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 2);
    // Asked before the table has it.
    bench.record(PROBES, &probe(ControlScope::Venue, "XA", 1)).restart();
    bench.timer_to(at(NOON + 100_000));
    assert!(acks(&mut bench).is_empty());
    world.kill(ControlScope::Venue, "XA");
    // Its moment is yet to come here: another machine's clock is ahead.
    world.controls[0].1.set_at = at(NOON + 150_000);
    world.load(&mut bench);
    bench.timer_to(at(NOON + 140_000));
    assert!(acks(&mut bench).is_empty());
    bench.timer_to(at(NOON + 200_000));
    let ack = acks(&mut bench).pop().unwrap();
    assert_eq!((ack.control.as_str(), ack.version, ack.phase), ("VENUE/XA", 1, ControlPhase::Killed));
    assert_eq!((ack.partition, ack.session, ack.stage.as_str()), (Some(4), None, "child-risk"));
    assert_eq!(ack.open_children, Some(1), "that at the other venue is not in its scope");
    assert!(ack.acknowledged_at >= ack.set_at);
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "10")]));
    assert_eq!(bench.take_one::<RiskAlert>().code, "KILLED");
    bench.timer_to(at(NOON + 10_000_000));
    assert!(acks(&mut bench).is_empty(), "once");
}

/// A partition that has never had an order answers too, and a question that nobody can answer ends by itself.
#[test]
fn an_idle_partition_answers_and_a_question_is_given_up() {
    let mut world = World::default();
    world.pause(ControlScope::Firm, "*");
    let mut bench = world.bench();
    bench.record(PROBES, &probe(ControlScope::Firm, "*", 1));
    let ack = acks(&mut bench).pop().unwrap();
    assert_eq!((ack.phase, ack.open_children), (ControlPhase::Paused, Some(0)));
    bench.record(PROBES, &probe(ControlScope::Firm, "*", 2));
    bench.timer_to(at(NOON + 120_000_000));
    assert!(acks(&mut bench).is_empty());
    world.controls[0].1.version = 2;
    world.load(&mut bench);
    bench.timer_to(at(NOON + 240_000_000));
    assert!(acks(&mut bench).is_empty(), "too late");
    bench.record(PROBES, &probe(ControlScope::Firm, "*", 2));
    assert_eq!(acks(&mut bench).len(), 1);
}

/// Children in the scope of a control are counted whatever its kind.
#[test]
fn open_children_are_counted_in_every_scope() {
    for (scope, id) in [
        (ControlScope::Firm, "*"),
        (ControlScope::Portfolio, "P1"),
        (ControlScope::Account, "A1"),
        (ControlScope::Strategy, "S1"),
        (ControlScope::Trader, "T1"),
        (ControlScope::Broker, "B1"),
        (ControlScope::Venue, "XA"),
        (ControlScope::Instrument, "ACME"),
    ] {
        for (asked, count) in [(id, 1), ("other", 0)] {
            let mut world = World::default();
            let mut bench = world.bench();
            bench.record(ORDERS, &created()).record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
            world.kill(scope, asked);
            world.load(&mut bench);
            bench.record(PROBES, &probe(scope, asked, 1));
            assert_eq!(acks(&mut bench).pop().unwrap().open_children, Some(count), "{scope:?} {asked}");
        }
    }
}
