//! Priorities: what goes first in a batch, and what never overtakes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_core::lineage::Lineage;
use fillstream_domain::ExecType;
use fillstream_order_management::order_id;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::{Command, OrderEvent, OrderEventType as E};
use fillstream_testkit::StageBench;
use proptest::prelude::*;

fn decided(event_id: &str, priority: &str, instrument: &str) -> CoordinatedTradingDecision {
    let mut decision = decision(event_id);
    (decision.decision.priority, decision.decision.instrument_id) = (priority.into(), instrument.into());
    decision
}

/// A market in which two instruments can be traded.
fn market() -> StageBench {
    let mut world = World::default();
    world.market.as_mut().unwrap().take(&quote("QUIET", NOON - 3 * SECOND, 2, "99", "101")).unwrap();
    world.bench()
}

/// Decisions in the order in which they became orders.
fn created(bench: &mut StageBench) -> Vec<String> {
    let created = bench.take::<OrderEvent>().into_iter().filter(|event| event.event_type == E::Created);
    created.map(|event| event.decision_event_id).collect()
}

#[test]
fn rule_10_high_goes_before_low_in_a_batch_and_low_waits_for_one_batch_only() {
    let mut bench = market();
    let batch = [decided("D1", "LOW", "ACME"), decided("D2", "NORMAL", "QUIET"), decided("D3", "HIGH", "QUIET")];
    bench.records(DECISIONS, &batch);
    assert_eq!(created(&mut bench), ["D2", "D3"]);
    // However much comes with the next batch: what was put off goes first.
    bench
        .restart()
        .at(at(NOON + 1))
        .records(DECISIONS, &[decided("D4", "HIGH", "QUIET"), decided("D5", "LOW", "QUIET")]);
    assert_eq!(created(&mut bench), ["D1", "D4"]);
    bench.at(at(NOON + 2)).fire();
    assert_eq!(created(&mut bench), ["D5"]);
    bench.at(at(NOON + 3)).fire().nothing_more();
}

#[test]
fn rule_10_nothing_of_one_portfolio_and_instrument_overtakes() {
    let mut bench = market();
    bench.records(
        DECISIONS,
        &[decided("D1", "LOW", "ACME"), decided("D2", "LOW", "ACME"), decided("D3", "HIGH", "ACME")],
    );
    assert_eq!(created(&mut bench), ["D1", "D2", "D3"]);
    // Another portfolio's order of the same instrument is another thing.
    let other = CoordinatedTradingDecision { portfolio_id: "P2".into(), ..decided("D5", "HIGH", "ACME") };
    bench.records(DECISIONS, &[decided("D4", "LOW", "ACME"), other]);
    assert_eq!(created(&mut bench), ["D5"]);
    // A report of a former order of the instrument.
    bench.record(REPORTS, &report("C1", "e1", ExecType::New));
    assert_eq!(created(&mut bench), ["D4"]);
}

#[test]
fn rule_10_a_command_does_not_overtake_a_decision() {
    let mut bench = market();
    bench.record(DECISIONS, &decided("D1", "LOW", "ACME"));
    assert_eq!(created(&mut bench), Vec::<String>::new());
    bench.record(COMMANDS, &Command { order_id: order_id("P1", "D1"), ..cancel("K1") });
    expect(&mut bench, &[E::Created, E::CancelRequested]);
}

#[test]
fn what_was_put_off_keeps_its_trace() {
    let mut bench = market();
    bench.records(DECISIONS, &[decided("D1", "LOW", "ACME"), decided("D2", "HIGH", "ACME")]);
    let created: Vec<_> = bench.outputs().iter().filter(|out| out.schema == OrderEvent::FULL_NAME).collect();
    assert_eq!(created.len(), 2);
    for (out, decision) in created.into_iter().zip(["D1", "D2"]) {
        assert_eq!(out.trace.as_ref().unwrap().trace_id(), Lineage::root(DECISIONS, decision).as_bytes(), "{decision}");
    }
}

#[test]
fn a_repeat_of_what_was_put_off_changes_nothing() {
    let mut bench = market();
    bench.records(DECISIONS, &[decided("D1", "LOW", "QUIET"), decided("D1", "LOW", "QUIET")]);
    bench.at(at(NOON + 1)).fire();
    assert_eq!(created(&mut bench), ["D1"]);
}

#[test]
fn priorities_can_be_left_out_of_account() {
    let mut world = World::default();
    world.config.defer_low_priority = false;
    let mut bench = world.bench();
    bench.record(DECISIONS, &decided("D1", "LOW", "ACME"));
    assert_eq!(created(&mut bench), ["D1"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However decisions come and batches are cut: those of one instrument become orders in the order in which they came,
    /// and none waits longer than for the next batch.
    #[test]
    fn rule_10_priority_never_reorders_one_instrument_and_never_starves(
        batches in prop::collection::vec(prop::collection::vec((0_usize..3, any::<bool>()), 1..6), 1..8)
    ) {
        let mut bench = market();
        let (mut came, mut made) = ([Vec::new(), Vec::new()], Vec::new());
        for (n, batch) in batches.iter().enumerate() {
            let now = NOON + i64::try_from(n).unwrap();
            let decisions: Vec<_> = (0..).zip(batch).map(|(i, (priority, quiet))| {
                let id = format!("D{n}-{i}");
                came[usize::from(*quiet)].push(id.clone());
                decided(&id, ["LOW", "NORMAL", "HIGH"][*priority], if *quiet { "QUIET" } else { "ACME" })
            }).collect();
            bench.at(at(now)).records(DECISIONS, &decisions);
            made.extend(created(&mut bench));
            let waits = |id: &&String| !made.contains(id);
            let of_this = format!("D{n}-");
            let none_older = came.iter().flatten().filter(waits).all(|id| id.starts_with(&of_this));
            prop_assert!(none_older, "something waits longer than a batch");
        }
        bench.at(at(NOON + 100)).fire();
        made.extend(created(&mut bench));
        for of_instrument in came {
            let order: Vec<_> = made.iter().filter(|id| of_instrument.contains(id)).cloned().collect();
            prop_assert_eq!(order, of_instrument);
        }
    }
}
