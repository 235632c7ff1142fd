//! Pauses: what is paused gets nothing new and everything goes on when it is resumed (trading rule 19).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{SLICES, World, broker, control, qty, slice, world};
use fillstream_domain::{ControlScope, Quantity};
use fillstream_reference::Controls;
use fillstream_schemas::execution::{ControlPhase, RoutingPlan, Slice};
use proptest::prelude::*;

/// What can be paused of the slices here, brokers and venues last; the first two stop nothing of them.
const SCOPES: [(ControlScope, &str); 13] = [
    (ControlScope::Portfolio, "P2"),
    (ControlScope::Venue, "D"),
    (ControlScope::Firm, "*"),
    (ControlScope::Portfolio, "P1"),
    (ControlScope::Account, "A1"),
    (ControlScope::Strategy, "S1"),
    (ControlScope::Trader, "T1"),
    (ControlScope::Instrument, "X"),
    (ControlScope::Broker, "b"),
    (ControlScope::Broker, "c"),
    (ControlScope::Venue, "A"),
    (ControlScope::Venue, "B"),
    (ControlScope::Venue, "C"),
];
const OF_THE_SLICE: std::ops::Range<usize> = 2..8;

fn two_brokers() -> World {
    let mut w = world(100);
    w.account.brokers.push("c".into());
    w.brokers.push(broker("c", "0"));
    (w.slice.strategy_id, w.slice.trader_id) = (Some("S1".into()), Some("T1".into()));
    w
}

#[test]
fn rule_19_a_slice_in_a_paused_scope_stays_with_its_schedule_until_the_scope_is_resumed() {
    for scope in SCOPES[OF_THE_SLICE].iter().copied() {
        let w = World { pauses: vec![scope], ..two_brokers() };
        let mut bench = w.bench();
        let plan: RoutingPlan = bench.record(SLICES, &w.slice).take_one();
        assert_eq!((plan.unrouted_code.as_deref(), plan.unrouted_qty), (Some("PAUSED"), qty(100)), "{scope:?}");
        assert!(plan.venue_allocations.is_empty() && plan.candidates.is_empty());
        let mut controls = Controls::default();
        controls.take("key", control(scope, ControlPhase::Paused, 1)).unwrap();
        controls.take("key", control(scope, ControlPhase::Running, 2)).unwrap();
        let again = Slice { event_id: "s2".into(), slice_no: 2, ..w.slice.clone() };
        let plan: RoutingPlan = bench.restart().table(controls).record(SLICES, &again).take_one();
        assert_eq!((plan.venue_allocations.len(), plan.attempt), (1, 0), "{scope:?}: nothing was tried before");
    }
}

#[test]
fn rule_19_paused_venues_and_brokers_are_routed_around() {
    let w = World { pauses: vec![(ControlScope::Venue, "A"), (ControlScope::Broker, "b")], ..two_brokers() };
    let plan = w.plan();
    assert_eq!(common::pairs(&plan), ["c/B"]);
    let paused = plan.candidates.iter().filter(|c| c.exclusion_code.as_deref() == Some("PAUSED"));
    let paused: BTreeSet<String> = paused.map(|c| format!("{}/{}", c.broker, c.venue)).collect();
    assert_eq!(paused.into_iter().collect::<Vec<_>>(), ["b/A", "b/B", "b/C", "c/A"]);
    let nowhere = World { pauses: SCOPES[10..].to_vec(), ..two_brokers() }.plan();
    assert_eq!((nowhere.venue_allocations.len(), nowhere.unrouted_code.as_deref()), (0, Some("NO_VENUE")));
}

#[test]
fn an_empty_last_slice_gets_its_plan_whatever_is_paused() {
    let mut w = World { pauses: SCOPES.to_vec(), ..two_brokers() };
    (w.slice.quantity, w.slice.is_last) = (Quantity::ZERO, true);
    let plan = w.plan();
    assert!(plan.is_last && plan.venue_allocations.is_empty());
    assert_eq!((plan.unrouted_code, plan.unrouted_qty), (None, Quantity::ZERO));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pause(usize),
    Resume(usize),
    Route(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..SCOPES.len()).prop_map(Step::Pause),
        3 => (0..SCOPES.len()).prop_map(Step::Resume),
        4 => (0_i64..900).prop_map(Step::Route),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// Pauses, resumes, slices and restarts in whatever order: each slice gets one plan, which depends on nothing but what is
    /// paused at its moment.
    #[test]
    fn rule_19_nothing_goes_where_it_is_paused_and_everything_where_it_is_not(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let w = two_brokers();
        let (mut bench, mut controls, mut paused) = (w.bench(), Controls::default(), BTreeSet::new());
        for (n, step) in steps.into_iter().enumerate() {
            let version = i64::try_from(n).unwrap() + 1;
            match step {
                Step::Pause(scope) => {
                    paused.insert(scope);
                    controls.take("key", control(SCOPES[scope], ControlPhase::Paused, version)).unwrap();
                    bench.table(controls.clone());
                }
                Step::Resume(scope) => {
                    paused.remove(&scope);
                    controls.take("key", control(SCOPES[scope], ControlPhase::Running, version)).unwrap();
                    bench.table(controls.clone());
                }
                Step::Restart => drop(bench.restart()),
                Step::Route(quantity) => {
                    let (event_id, slice_no) = (format!("s{n}"), i32::try_from(n).unwrap() + 1);
                    let is_last = quantity == 0;
                    let order_id = format!("o{n}");
                    let next = Slice { event_id, order_id, slice_no, is_last, quantity: qty(quantity), ..w.slice.clone() };
                    let plan: RoutingPlan = bench.record(SLICES, &next).take_one();
                    let routed = Quantity::sum(plan.venue_allocations.iter().map(|leg| leg.quantity)).unwrap();
                    prop_assert_eq!(routed.checked_add(plan.unrouted_qty).unwrap(), qty(quantity));
                    prop_assert_eq!(plan.is_last, is_last);
                    let whole = OF_THE_SLICE.into_iter().any(|scope| paused.contains(&scope));
                    let is_paused = |scope, id: &str| paused.iter().any(|n| SCOPES[*n] == (scope, id));
                    for leg in &plan.venue_allocations {
                        prop_assert!(!is_paused(ControlScope::Venue, &leg.venue));
                        prop_assert!(!is_paused(ControlScope::Broker, &leg.broker));
                    }
                    let venue = ["A", "B", "C"].iter().any(|id| !is_paused(ControlScope::Venue, id));
                    let broker = ["b", "c"].iter().any(|id| !is_paused(ControlScope::Broker, id));
                    let goes = quantity > 0 && !whole && venue && broker;
                    prop_assert_eq!(!plan.venue_allocations.is_empty(), goes);
                    prop_assert_eq!(plan.unrouted_code.as_deref() == Some("PAUSED"), quantity > 0 && whole);
                }
            }
        }
    }
}

#[test]
fn the_world_of_these_tests_routes_what_is_not_paused() {
    let plan = World { slice: slice(100), ..two_brokers() }.plan();
    assert_eq!(plan.venue_allocations.len(), 1);
}
