//! Rates, the throttle of repeated executions, self-crosses.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, ORDERS, PLANS, World, at, created, leg, limited, order, order_of, plan, plan_of};
use fillstream_domain::{ControlScope, Side, TimeInForce};
use fillstream_schemas::execution::{
    AlertSeverity, ChildAction, ChildOrder, Control, ControlPhase, ControlState, OrderEventType, ParentStatus,
    RiskAlert, RiskAlertType, RoutingPlan,
};
use fillstream_schemas::state::{ChildRiskLatch, ChildRiskRate};
use fillstream_testkit::StageBench;

fn send(bench: &mut StageBench, slice: i32, at_us: i64) -> Result<ChildOrder, Vec<RiskAlert>> {
    bench.at(at(NOON + at_us)).record(PLANS, &plan(slice, vec![leg(slice, 1, "XA", "1")]));
    let alerts = bench.take::<RiskAlert>();
    if alerts.is_empty() { Ok(bench.take_one()) } else { Err(alerts) }
}

fn refused(bench: &mut StageBench, slice: i32, at_us: i64) -> Vec<String> {
    send(bench, slice, at_us).unwrap_err().into_iter().map(|alert| alert.code).collect()
}

/// Trading rule 20: counters on windows of the clock survive restarts.
#[test]
fn rule_20_a_message_rate_survives_a_restart_and_never_stops_a_cancel() {
    let mut world = World::default();
    world.limit().message_max_per_account = Some(3);
    world.limit().message_max_per_session = Some(9);
    let mut bench = world.bench();
    bench.record(ORDERS, &created()).record(ORDERS, &order_of("O2", Side::Buy));
    assert!(send(&mut bench, 1, 0).is_ok() && send(&mut bench, 2, 100_000).is_ok());
    bench.restart();
    let child = send(&mut bench, 3, 200_000).unwrap();
    let row = child.checks.iter().find(|row| row.name == "account_messages").unwrap();
    let three = Some("3".parse().unwrap());
    assert_eq!((row.figure, row.limit, row.scope.as_str(), row.version), (three, three, "account/A1", 7));
    assert_eq!(refused(&mut bench, 4, 300_000), ["ACCOUNT_MESSAGE_RATE"]);
    // The cancels of the three go out all the same, and count.
    bench.record(ORDERS, &order(OrderEventType::CancelRequested, ParentStatus::CancelPending, "1000"));
    let cancels = bench.take::<ChildOrder>();
    assert!(cancels.len() == 3 && cancels.iter().all(|cancel| cancel.action == ChildAction::Cancel));
    let other = |slice| RoutingPlan { account_id: "A1".to_owned(), ..plan_of("O2", Side::Buy, slice, "1") };
    bench.at(at(NOON + 1_350_000)).record(PLANS, &other(1));
    assert_eq!(bench.take_one::<RiskAlert>().code, "ACCOUNT_MESSAGE_RATE");
    bench.at(at(NOON + 1_450_000)).record(PLANS, &other(2));
    assert_eq!(bench.take::<ChildOrder>().len(), 1, "a second and a tenth after the last of them");
}

#[test]
fn a_limit_that_is_not_set_counts_nothing() {
    let mut bench = World::default().bench();
    bench.record(ORDERS, &created());
    (1..50).for_each(|slice| assert!(send(&mut bench, slice, 0).is_ok()));
    assert!(bench.state::<ChildRiskRate>("rates").is_empty());
}

fn control(version: i64, set_at: i64) -> Control {
    Control {
        scope: ControlScope::Strategy,
        scope_id: "S1".to_owned(),
        state: ControlState::Running,
        version,
        actor: "ada".to_owned(),
        reason: "looked at it".to_owned(),
        set_at: at(NOON + set_at),
        ..Control::default()
    }
}

/// Trading rule 20: a strategy that repeats itself is disabled until a named person re-enables it, restart or not.
#[test]
fn rule_20_repeated_executions_disable_the_strategy_until_a_person_re_enables_it() {
    let mut world = World::default();
    world.limit().child_max_repeats = Some(2);
    world.limit().child_repeat_window_ms = 1_000;
    // Set before: it re-enables nothing.
    world.controls.push(("STRATEGY/S1".to_owned(), control(1, 0)));
    let mut bench = world.bench();
    bench.record(ORDERS, &created());
    assert!(send(&mut bench, 1, 0).is_ok() && send(&mut bench, 2, 100).is_ok());
    let alerts = send(&mut bench, 3, 200).unwrap_err();
    let disabled = alerts.iter().find(|alert| alert.alert_type == RiskAlertType::StrategyDisabled).unwrap();
    assert_eq!((disabled.severity, alerts.len()), (AlertSeverity::Critical, 2));
    assert!(disabled.text.starts_with("STRATEGY S1 is disabled"), "{}", disabled.text);
    let latch = bench.state::<ChildRiskLatch>("latches").into_values().next().unwrap();
    assert_eq!((latch.count, latch.max_repeats, latch.limit_version), (3, 2, 7));
    bench.restart();
    // Long after the window: still disabled.
    assert_eq!(refused(&mut bench, 4, 3_000_000), ["STRATEGY_DISABLED"]);
    let other = RoutingPlan { strategy_id: Some("S2".to_owned()), ..plan(5, vec![leg(5, 1, "XA", "1")]) };
    bench.record(PLANS, &other);
    assert_eq!(bench.take::<ChildOrder>().len(), 1, "other strategies trade on");
    let nobody = Control { actor: " ".to_owned(), ..control(2, 3_100_000) };
    world.controls.push(("STRATEGY/S1".to_owned(), nobody));
    world.load(&mut bench);
    assert_eq!(refused(&mut bench, 6, 3_200_000), ["STRATEGY_DISABLED"]);
    let paused = Control { state: ControlState::Killed, phase: ControlPhase::Paused, ..control(3, 3_210_000) };
    world.controls.push(("STRATEGY/S1".to_owned(), paused));
    world.load(&mut bench);
    let alerts = send(&mut bench, 6, 3_220_000).unwrap_err();
    assert!(alerts[0].text.contains("PAUSED") && alerts[0].text.contains("STRATEGY_DISABLED"), "{}", alerts[0].text);
    world.controls.push(("STRATEGY/S1".to_owned(), control(4, 3_250_000)));
    world.load(&mut bench);
    assert_eq!(refused(&mut bench, 7, 3_240_000), ["PAUSED"], "not before its moment");
    assert!(send(&mut bench, 8, 3_300_000).is_ok());
    assert!(bench.state::<ChildRiskLatch>("latches").is_empty());
    assert!(send(&mut bench, 9, 3_300_100).is_ok(), "it counts anew");
    let alerts = send(&mut bench, 10, 3_300_200).unwrap_err();
    assert_eq!(alerts.len(), 2, "and stops anew: {alerts:?}");
}

#[test]
fn a_repeat_that_would_not_have_gone_anyway_disables_nothing() {
    let mut world = World::default();
    world.limit().child_max_repeats = Some(0);
    world.venues[0].is_open = false;
    let mut bench = world.bench();
    bench.record(ORDERS, &created());
    assert_eq!(refused(&mut bench, 1, 0), ["VENUE_CLOSED"]);
    assert!(bench.state::<ChildRiskLatch>("latches").is_empty());
}

/// Trading rule 12: no child trades with one of our own.
#[test]
fn rule_12_a_child_does_not_cross_a_resting_one_of_the_portfolio() {
    let sell = |limit: &str| limited(plan_of("O2", Side::Sell, 1, "10"), Side::Sell, limit);
    let buy = |limit: &str| limited(plan(1, vec![leg(1, 1, "XA", "10")]), Side::Buy, limit);
    let ioc = |plan: RoutingPlan| RoutingPlan { time_in_force: TimeInForce::Ioc, ..plan };
    let elsewhere = plan(1, vec![leg(1, 1, "XB", "10")]);
    for (resting, plan, refused) in [
        (sell("100.5"), buy("100.5"), true),
        (sell("100.5"), buy("100.49"), false),
        (sell("100.5"), plan(1, vec![leg(1, 1, "XA", "10")]), true),
        (sell("100.5"), elsewhere, false),
        (ioc(sell("100.5")), buy("100.5"), false),
        (plan_of("O2", Side::Sell, 1, "10"), buy("100.5"), false),
    ] {
        for on in [true, false] {
            let mut world = World::default();
            world.limit().child_refuse_self_cross = on;
            let mut bench = world.bench();
            bench.record(ORDERS, &created()).record(ORDERS, &order_of("O2", Side::Sell));
            bench.record(PLANS, &resting);
            bench.take_one::<ChildOrder>();
            bench.record(PLANS, &plan);
            let codes: Vec<String> = bench.take::<RiskAlert>().into_iter().map(|alert| alert.code).collect();
            assert_eq!(codes, if refused && on { vec!["SELF_CROSS"] } else { vec![] }, "{plan:?}");
        }
    }
    // The other way round: a sell at or below a resting buy.
    let mut world = World::default();
    world.limit().child_refuse_self_cross = true;
    let mut bench = world.bench();
    bench.record(ORDERS, &created()).record(ORDERS, &order_of("O2", Side::Sell)).record(PLANS, &buy("99.5"));
    bench.record(PLANS, &sell("99.5"));
    let alert: RiskAlert = bench.take_one();
    let row = alert.checks.iter().find(|row| !row.passed).unwrap();
    assert_eq!((row.name.as_str(), row.figure, row.limit), ("self_cross", Some("99.5".parse().unwrap()), row.figure));
}
