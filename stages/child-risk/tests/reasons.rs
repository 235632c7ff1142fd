//! Every reason code, reached by a leg.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{NOON, ORDERS, PLANS, World, at, created, derived, halt, leg, limited, num, order, plan, quote};
use fillstream_child_risk::{Config, Reason};
use fillstream_domain::{ControlScope, OrdType, Quantity, Side};
use fillstream_schemas::execution::{
    AlertSeverity, ChildOrder, OrderEvent, OrderEventType, ParentStatus, RiskAlert, RiskAlertType, RoutingPlan,
};
use fillstream_schemas::state::ChildRiskChild;

/// What a case gives to the stage: a world, the order's events, the plan.
struct Given {
    world: World,
    orders: Vec<OrderEvent>,
    plan: RoutingPlan,
}

type Case = (Reason, fn(&mut Given));

const CASES: &[Case] = &[
    (Reason::TableUnavailable, |g| g.world.tables = false),
    (Reason::Killed, |g| g.world.kill(ControlScope::Venue, "XA")),
    (Reason::UnknownParent, |g| g.orders.clear()),
    (Reason::ParentNotOpen, |g| {
        g.orders.push(order(OrderEventType::CancelRequested, ParentStatus::CancelPending, "1000"));
    }),
    (Reason::ParentMismatch, |g| g.plan.side = Side::Sell),
    (Reason::DuplicateClOrdId, |g| {
        g.plan.venue_allocations.push(leg(1, 1, "XA", "10"));
    }),
    (Reason::TooManyChildren, |g| {
        g.world.config = Config { max_children_per_order: 1, ..Config::default() };
        g.plan.venue_allocations.push(leg(1, 2, "XA", "10"));
    }),
    (Reason::UnknownInstrument, |g| g.world.instrument = None),
    (Reason::UnknownAccount, |g| g.world.account.as_mut().unwrap().portfolio_id = "P2".to_owned()),
    (Reason::AccountInactive, |g| g.world.account.as_mut().unwrap().is_active = false),
    (Reason::UnknownVenue, |g| g.world.venues.clear()),
    (Reason::VenueClosed, |g| g.world.venues[0].is_open = false),
    (Reason::VenueNotForInstrument, |g| g.world.venues[0].instruments.push("OTHER".to_owned())),
    (Reason::UnknownBroker, |g| g.world.broker = None),
    (Reason::BrokerNotAtVenue, |g| g.world.broker.as_mut().unwrap().venues = vec!["XB".to_owned()]),
    (Reason::BrokerNotForAccount, |g| g.world.account.as_mut().unwrap().brokers.clear()),
    (Reason::SessionMismatch, |g| g.plan.venue_allocations[0].session = "B2-1".to_owned()),
    (Reason::NoLimit, |g| g.world.limit = None),
    (Reason::RestrictedInstrument, |g| g.world.limit().restricted.push("ACME".to_owned())),
    (Reason::NoCalendar, |g| g.world.calendar = None),
    (Reason::MarketClosed, |g| g.world.calendar.as_mut().unwrap().closes_at_us = 12 * 3_600_000_000),
    (Reason::Halted, |g| g.world.rows.push(halt("XA"))),
    (Reason::NoQuote, |g| g.world.rows.clear()),
    (Reason::StaleQuote, |g| g.world.limit().max_quote_age_ms = 999),
    (Reason::OrdTypeUnsupported, |g| g.plan.ord_type = OrdType::Stop),
    (Reason::LimitPriceInvalid, |g| g.plan.ord_type = OrdType::Limit),
    (Reason::PriceNotPositive, |g| g.plan = limited(g.plan.clone(), Side::Buy, "-1")),
    (Reason::PriceCollar, |g| g.plan = limited(g.plan.clone(), Side::Buy, "101.01")),
    (Reason::QuantityNotPositive, |g| g.plan.venue_allocations[0].quantity = Quantity::ZERO),
    (Reason::MaxChildQuantity, |g| g.world.limit().max_child_quantity = num("9")),
    (Reason::MaxChildValue, |g| g.world.limit().max_child_value = num("999.99")),
    (Reason::NoFxRate, |g| g.world.limit().currency = "EUR".to_owned()),
    (Reason::ExceedsLeaves, |g| g.orders.push(order(OrderEventType::Released, ParentStatus::Working, "9"))),
    (Reason::Expired, |g| g.plan.expire_at = at(NOON)),
    (Reason::FigureOutOfRange, |g| g.world.instrument.as_mut().unwrap().multiplier = Quantity::MAX),
];

fn run(case: &Case) -> RiskAlert {
    let mut given =
        Given { world: World::default(), orders: vec![created()], plan: plan(1, vec![leg(1, 1, "XA", "10")]) };
    (case.1)(&mut given);
    let mut bench = given.world.bench();
    given.orders.iter().for_each(|event| {
        bench.record(ORDERS, event);
    });
    bench.record(PLANS, &given.plan);
    let children = bench.take::<ChildOrder>();
    // Only the cases with two legs approve one.
    assert_eq!(children.len(), given.plan.venue_allocations.len() - 1, "{:?}", case.0);
    assert_eq!(bench.state::<ChildRiskChild>("children").len(), children.len());
    let alert = bench.take_one();
    bench.expect_no_more();
    alert
}

#[test]
fn each_cause_gives_its_code_and_no_child() {
    for case in CASES {
        let alert = run(case);
        assert_eq!(alert.code, case.0.as_str(), "{alert:?}");
        let failed: Vec<_> = alert.checks.iter().filter(|row| !row.passed).collect();
        assert!(failed.iter().all(|row| row.code.as_deref() == Some(case.0.as_str())), "{failed:?}");
        assert!(!alert.text.is_empty());
    }
}

#[test]
fn every_code_is_reached_by_a_test() {
    let reached: BTreeSet<String> = CASES.iter().map(|case| run(case).code).collect();
    assert_eq!(reached, Reason::SYMBOLS.iter().map(|code| (*code).to_owned()).collect());
}

#[test]
fn a_refused_leg_is_named_with_every_failed_check_and_the_others_go() {
    let mut world = World::default();
    world.limit().max_child_quantity = num("50");
    world.venues[1].is_open = false;
    let mut bench = world.bench();
    bench.record(ORDERS, &created());
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XB", "60"), leg(1, 2, "XA", "50")]));
    let alert: RiskAlert = bench.take_one();
    assert_eq!((alert.alert_type, alert.severity), (RiskAlertType::ChildRejected, AlertSeverity::Warning));
    assert_eq!((alert.order_id.as_deref(), alert.slice_no, alert.leg), (Some("O1"), Some(1), Some(1)));
    assert_eq!((alert.cl_ord_id, alert.quantity), (Some(derived(1, 1, 0, 0)), Some(num("60"))));
    let codes: Vec<&str> = alert.checks.iter().filter_map(|row| row.code.as_deref()).collect();
    assert_eq!(codes, ["VENUE_CLOSED", "MAX_CHILD_QUANTITY"]);
    assert_eq!(alert.code, "VENUE_CLOSED");
    assert!(alert.text.contains("60 against 50 units"), "{}", alert.text);
    assert_eq!(bench.take_one::<ChildOrder>().leg, 2);
    bench.expect_no_more();
}

#[test]
fn every_scope_of_a_kill_blocks_new_children() {
    let scopes = [
        (ControlScope::Firm, "*"),
        (ControlScope::Portfolio, "P1"),
        (ControlScope::Account, "A1"),
        (ControlScope::Strategy, "S1"),
        (ControlScope::Trader, "T1"),
        (ControlScope::Broker, "B1"),
        (ControlScope::Venue, "XA"),
        (ControlScope::Instrument, "ACME"),
    ];
    for (scope, id) in scopes {
        let mut world = World::default();
        world.kill(scope, id);
        let mut bench = world.bench();
        bench.record(ORDERS, &created()).record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
        assert_eq!(bench.take_one::<RiskAlert>().code, "KILLED", "{scope:?}");
        bench.expect_no_more();
    }
    let mut world = World::default();
    world.kill(ControlScope::Venue, "XB");
    let mut bench = world.bench();
    bench.record(ORDERS, &created()).record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
}

#[test]
fn the_collar_is_held_against_the_touch_on_the_side_that_costs() {
    // The ask is 100, the bid 99; the collar 1 %.
    for (side, limit, passes) in [
        (Side::Buy, "101", true),
        (Side::Buy, "101.01", false),
        (Side::Buy, "50", true),
        (Side::Sell, "98.01", true),
        (Side::Sell, "98", false),
        (Side::Sell, "200", true),
    ] {
        let mut bench = World::default().bench();
        bench.record(ORDERS, &OrderEvent { side, ..created() });
        bench.record(PLANS, &limited(plan(1, vec![leg(1, 1, "XA", "10")]), side, limit));
        assert_eq!(bench.take::<ChildOrder>().len(), usize::from(passes), "{side:?} {limit}");
    }
}

#[test]
fn a_halt_at_the_childs_venue_or_at_the_reference_venue_stops_it() {
    for (halted, venue, passes) in [("XB", "XB", false), ("XA", "XB", false), ("XB", "XA", true)] {
        let mut world = World::default();
        world.rows.push(quote("XB", NOON - 1_000, "99", "100"));
        world.rows.push(halt(halted));
        let mut bench = world.bench();
        bench.record(ORDERS, &created()).record(PLANS, &plan(1, vec![leg(1, 1, venue, "10")]));
        assert_eq!(bench.take::<ChildOrder>().len(), usize::from(passes), "{halted} {venue}");
    }
}

#[test]
fn a_venue_with_quotes_of_its_own_is_priced_by_them() {
    let mut world = World::default();
    world.rows.push(quote("XB", NOON - 1_000, "110", "111"));
    let mut bench = world.bench();
    bench.record(ORDERS, &created());
    let legs = vec![leg(1, 1, "XA", "10"), leg(1, 2, "XB", "10")];
    bench.record(PLANS, &limited(plan(1, legs), Side::Buy, "112"));
    let child: ChildOrder = bench.take_one();
    assert_eq!(child.venue, "XB");
    assert_eq!(child.quote.unwrap().ask, num("111"));
    assert_eq!(bench.take_one::<RiskAlert>().code, "PRICE_COLLAR");
}
