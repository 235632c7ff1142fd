//! Traces over a real Kafka: one trace through fused and split groups, timers, forwards and crashes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod members;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

use common::eventually;
use fillstream_core::lineage::Lineage;
use fillstream_core::trace::TraceContext;
use fillstream_kafka::client::Received;
use fillstream_kafka::topics::{dead_letter_topic, partition_for};
use members::{Fault, Member};
use stages::{Harness, PARTITIONS, TestStages, command, decode};

test_stages!(fused, "test.trace-f-in.v1", "test.trace-f-fwd.v1", "test.trace-f-mid.v1", "test.trace-f-out.v1");
test_stages!(split, "test.trace-s-in.v1", "test.trace-s-fwd.v1", "test.trace-s-mid.v1", "test.trace-s-out.v1");

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn trace(r: &Received) -> TraceContext {
    let context = TraceContext::from_headers(r.header("traceparent"), r.header("tracestate"));
    context.unwrap_or_else(|| panic!("{}-{}:{} has no traceparent", r.topic, r.partition, r.offset))
}

fn stages_of(name: &str) -> TestStages {
    match name {
        "fused" => fused::stages(),
        "split" => split::stages(),
        other => panic!("{other}"),
    }
}

#[test]
#[ignore = "the process of a member, started by the other tests"]
fn a_member() {
    members::run(stages_of);
}

/// By command, its records of all output topics and of the dead letters.
fn by_command(h: &Harness, outputs: usize) -> BTreeMap<String, Vec<Received>> {
    h.outputs(outputs);
    let mut found: BTreeMap<String, Vec<Received>> = BTreeMap::new();
    for topic in &h.stages.topics[1..] {
        for r in h.read(topic) {
            found.entry(decode(&r).command_id).or_default().push(r);
        }
    }
    found
}

fn one_trace_each(name: &str, is_split: bool) {
    let h = &Harness::new(stages_of(name), is_split);
    let all = i64::from(PARTITIONS) * i64::try_from(h.groups.len()).unwrap();
    let parent: &[(&str, &[u8])] = &[("traceparent", PARENT.as_bytes()), ("tracestate", b"vendor=1")];
    let broken: &[(&str, &[u8])] = &[("traceparent", b"00-not-a-trace-01")];
    let given = [
        (command(1, "p1", ""), parent, 0),
        (command(2, "p2", ""), &[][..], 0),
        (command(3, "p3", ""), broken, 0),
        // Sent on from another partition.
        (command(4, "p4", ""), parent, 1),
        (command(5, "p5", ""), &[][..], 1),
        // Out of a timer.
        (command(6, "p6", "LATER"), parent, 0),
        (command(7, "p7", "LATER"), &[][..], 0),
        (command(8, "p8", "POISON"), parent, 0),
    ];
    let mut first = Member::start(h, name, "a", 1);
    eventually("the first process to work", || first.has(all).then_some(()));
    first.fail(Fault::FreezeBeforeCommit);
    for (c, headers, aside) in &given {
        let home = partition_for(c.portfolio_id.as_bytes(), PARTITIONS);
        let topic = h.stages.topics[0];
        let record = (c.portfolio_id.clone(), (home + aside) % PARTITIONS, h.frame(topic, c));
        h.send_with(topic, &[record], headers);
    }
    // It dies with everything written and nothing committed; the next one writes it again.
    eventually("a transaction to be left open", || first.met(Fault::FreezeBeforeCommit).then_some(()));
    first.kill();
    let second = Member::start(h, name, "a", 1);
    h.outputs_at_least(5);
    // It dies too, with the timers set, most likely: they come back from the changelog.
    second.kill();
    let third = Member::start(h, name, "a", 1);
    let found = by_command(h, 7);
    for (c, headers, aside) in &given[..7] {
        let records = &found[&c.command_id];
        assert_eq!(records.len(), 2 + usize::from(*aside != 0), "{}", c.command_id);
        let root = Lineage::root(h.stages.topics[0], &c.command_id);
        for r in records {
            let trace = trace(r);
            if *headers == parent {
                assert_eq!((&trace.to_string()[3..35], trace.state()), (&PARENT[3..35], Some("vendor=1")), "{c:?}");
            } else {
                assert_eq!((trace.trace_id(), trace.state()), (root.as_bytes(), None), "{c:?}");
            }
        }
        let spans: BTreeSet<_> = records.iter().map(|r| *trace(r).span_id()).collect();
        assert_eq!(spans.len(), records.len(), "each record is of a span of its own");
    }
    let letters = h.read(&dead_letter_topic(h.stages.names[0]));
    assert_eq!(letters.len(), 1);
    assert_eq!(trace(&letters[0]).to_string()[3..35], PARENT[3..35]);
    third.leave();
}

#[test]
fn a_fused_group_keeps_one_trace_through_timers_forwards_and_kills() {
    one_trace_each("fused", false);
}

#[test]
fn split_groups_do_the_same() {
    one_trace_each("split", true);
}
