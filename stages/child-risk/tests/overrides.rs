//! Overrides of one check of one order, and the release of orders that are held.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{NOON, ORDERS, PLANS, World, at, created, leg, num, order, order_of, plan, plan_of};
use fillstream_child_risk::{OverrideAnswer, Overrides};
use fillstream_domain::Side;
use fillstream_schemas::execution::{
    AlertSeverity, ChildOrder, OrderEventType, ParentStatus, RiskAlert, RiskAlertType, RiskOverride,
};
use fillstream_schemas::state::ChildRiskOverride;
use fillstream_testkit::StageBench;

const OVERRIDES: &str = "execution.risk-overrides.v1";

fn asked(code: &str) -> RiskOverride {
    RiskOverride {
        event_id: "ask".to_owned(),
        portfolio_id: "P1".to_owned(),
        order_id: "O1".to_owned(),
        code: code.to_owned(),
        actor: "ann".to_owned(),
        second_actor: "rick".to_owned(),
        reason: "client asked".to_owned(),
        requested_at: at(NOON),
        expires_at: at(NOON + 600_000_000),
    }
}

fn world() -> World {
    let mut world = World::default();
    world.config.overrides =
        Overrides { risk_officers: vec!["rick".to_owned(), "ann".to_owned()], longest_minutes: 15 };
    world
}

fn started(world: &World) -> StageBench {
    let mut bench = world.bench();
    bench.record(ORDERS, &created()).record(ORDERS, &order_of("O2", Side::Buy));
    bench
}

fn answer(bench: &mut StageBench, asked: &RiskOverride) -> String {
    bench.record(OVERRIDES, asked);
    let alert: RiskAlert = bench.take_one();
    assert_eq!(alert.alert_type, RiskAlertType::Override);
    let accepted = alert.code == OverrideAnswer::Accepted.as_str();
    assert_eq!(alert.severity, if accepted { AlertSeverity::Info } else { AlertSeverity::Warning });
    alert.code
}

fn refused(bench: &mut StageBench) -> String {
    let alert: RiskAlert = bench.take_one();
    bench.expect_no_more();
    alert.code
}

/// Trading rule 20: one order, one check, for a while; everything else is checked again.
#[test]
fn rule_20_an_override_lets_one_check_of_one_order_pass_for_a_while() {
    let mut world = world();
    world.limit().max_child_quantity = num("50");
    let mut bench = started(&world);
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "60")]));
    assert_eq!(refused(&mut bench), "MAX_CHILD_QUANTITY");
    assert_eq!(answer(&mut bench, &asked("MAX_CHILD_QUANTITY")), "OVERRIDE_ACCEPTED");
    bench.restart();
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "60")]));
    let child: ChildOrder = bench.take_one();
    let row = child.checks.iter().find(|row| row.name == "child_quantity").unwrap();
    assert_eq!((row.figure, row.limit, row.passed), (Some(num("60")), Some(num("50")), true), "its figures stand");
    let said = child.checks.last().unwrap();
    assert_eq!(said.name, "override of MAX_CHILD_QUANTITY: ann and rick, client asked");
    // Another check of the order, and the same check of another order, are as ever.
    bench.record(PLANS, &plan(3, vec![leg(3, 1, "XA", "401")]));
    assert_eq!(refused(&mut bench), "MAX_CHILD_VALUE");
    bench.record(PLANS, &plan_of("O2", Side::Buy, 1, "60"));
    assert_eq!(refused(&mut bench), "MAX_CHILD_QUANTITY");
    bench.at(at(NOON + 2_000_000)).record(PLANS, &plan(4, vec![leg(4, 1, "XA", "60")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
    let short = RiskOverride { expires_at: at(NOON + 3_000_000), ..asked("MAX_CHILD_QUANTITY") };
    assert_eq!(answer(&mut bench, &short), "OVERRIDE_ACCEPTED");
    bench.at(at(NOON + 3_000_000)).record(PLANS, &plan(5, vec![leg(5, 1, "XA", "60")]));
    assert_eq!(refused(&mut bench), "MAX_CHILD_QUANTITY", "it is over");
    bench.record(ORDERS, &order(OrderEventType::Expired, ParentStatus::Expired, "0"));
    assert_eq!(bench.state::<ChildRiskOverride>("overrides").len(), 1, "children are open");
}

/// Trading rule 20: large orders are held until two people release them; only that order, and nothing else of it.
#[test]
fn rule_20_a_large_order_is_held_until_two_people_release_it() {
    let mut world = world();
    world.limit().child_hold_value = Some(num("50000"));
    let mut bench = started(&world);
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    let alert: RiskAlert = bench.take_one();
    assert_eq!(alert.text, "held_for_release: 100000 against 50000 USD", "the whole order counts");
    assert_eq!(answer(&mut bench, &asked("HELD_FOR_RELEASE")), "OVERRIDE_ACCEPTED");
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "10")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
    bench.record(PLANS, &plan_of("O2", Side::Buy, 1, "10"));
    assert_eq!(refused(&mut bench), "HELD_FOR_RELEASE");
    let small = fillstream_schemas::execution::OrderEvent { ord_qty: num("500"), ..order_of("O3", Side::Buy) };
    bench.record(ORDERS, &small).record(PLANS, &plan_of("O3", Side::Buy, 1, "10"));
    assert_eq!(bench.take::<ChildOrder>().len(), 1, "50,000 is not more than 50,000");
}

type Case = (OverrideAnswer, fn(&mut RiskOverride));

const CASES: &[Case] = &[
    (OverrideAnswer::Accepted, |_| {}),
    (OverrideAnswer::NotOverridable, |o| o.code = "KILLED".to_owned()),
    (OverrideAnswer::NotOverridable, |o| o.code = "INSUFFICIENT_BUYING_POWER".to_owned()),
    (OverrideAnswer::NotOverridable, |o| o.code = "NO_SUCH_CODE".to_owned()),
    (OverrideAnswer::NotTwoPeople, |o| o.actor = "rick".to_owned()),
    (OverrideAnswer::NotTwoPeople, |o| o.actor = " ".to_owned()),
    (OverrideAnswer::NotTwoPeople, |o| o.second_actor.clear()),
    (OverrideAnswer::NotRiskOfficer, |o| o.second_actor = "tom".to_owned()),
    (OverrideAnswer::NoReason, |o| o.reason = " ".to_owned()),
    (OverrideAnswer::NotTemporary, |o| o.expires_at = at(NOON)),
    (OverrideAnswer::NotTemporary, |o| o.expires_at = at(NOON + 15 * 60_000_000 + 1)),
    (OverrideAnswer::UnknownOrder, |o| o.order_id = "O9".to_owned()),
    (OverrideAnswer::UnknownOrder, |o| o.portfolio_id = "P2".to_owned()),
];

#[test]
fn each_cause_refuses_an_override_with_its_code_and_every_code_is_reached() {
    let mut reached = BTreeSet::new();
    for (expected, change) in CASES {
        let mut bench = started(&world());
        let mut asked = asked("PRICE_COLLAR");
        change(&mut asked);
        assert_eq!(answer(&mut bench, &asked), expected.as_str(), "{asked:?}");
        let held = bench.state::<ChildRiskOverride>("overrides").len();
        assert_eq!(held, usize::from(*expected == OverrideAnswer::Accepted));
        reached.insert(expected.as_str());
    }
    assert_eq!(reached, OverrideAnswer::SYMBOLS.iter().copied().collect());
}

#[test]
fn where_nobody_is_of_the_risk_function_nothing_is_overridden() {
    let mut bench = started(&World::default());
    assert_eq!(answer(&mut bench, &asked("PRICE_COLLAR")), "NOT_RISK_OFFICER");
}

#[test]
fn what_was_overridden_is_forgotten_with_its_order() {
    let mut bench = started(&world());
    answer(&mut bench, &asked("PRICE_COLLAR"));
    bench.record(ORDERS, &order(OrderEventType::Expired, ParentStatus::Expired, "0"));
    assert!(bench.state::<ChildRiskOverride>("overrides").is_empty());
}
