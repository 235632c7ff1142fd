//! Every reason code, reached by a leg.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{
    NOON, ORDERS, PLANS, World, at, created, derived, halt, leg, limited, num, order, order_of, plan, plan_of, quote,
};
use fillstream_child_risk::Reason;
use fillstream_domain::{ControlScope, OrdType, Quantity, Side};
use fillstream_schemas::execution::{
    AlertSeverity, ChildOrder, OrderEvent, OrderEventType, ParentStatus, RiskAlert, RiskAlertType, RoutingPlan,
};
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::Instrument;
use fillstream_schemas::state::ChildRiskChild;

/// What a case gives to the stage: a world, the orders' events, plans that came before, what changed since, the plan.
struct Given {
    world: World,
    orders: Vec<OrderEvent>,
    before: Vec<RoutingPlan>,
    change: fn(&mut World),
    after_us: i64,
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
    (Reason::StaleTerms, |g| {
        let replaced = order(OrderEventType::Replaced, ParentStatus::Working, "1000");
        g.orders.push(OrderEvent { revision: 4, ..replaced });
        g.plan.terms_revision = 3;
    }),
    (Reason::DuplicateClOrdId, |g| {
        g.plan.venue_allocations.push(leg(1, 1, "XA", "10"));
    }),
    (Reason::TooManyChildren, |g| {
        g.world.config.max_children_per_order = 1;
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
    (Reason::VenueNotPermitted, |g| g.world.limit().child_permitted_venues = vec!["XB".to_owned()]),
    (Reason::Paused, |g| g.world.pause(ControlScope::Strategy, "S1")),
    (Reason::LimitsNotConfirmed, |g| {
        gated(g);
        g.world.limit().child_confirmed_at = None;
    }),
    (Reason::NotReconciled, |g| {
        gated(g);
        g.world.account().reconciled_at = Some(at(NOON - 20 * 3_600_000_000 - 1_000));
    }),
    (Reason::MarketNotFresh, |g| {
        gated(g);
        g.world.config.gate.max_market_silence_ms = 999;
    }),
    (Reason::StrategyDisabled, |g| {
        g.world.limit().child_max_repeats = Some(1);
        g.world.limit().child_repeat_window_ms = 100;
        g.before = vec![plan(2, vec![leg(2, 1, "XA", "10")]), plan(3, vec![leg(3, 1, "XA", "10")])];
        g.after_us = 200_000;
    }),
    (Reason::SelfCross, |g| {
        g.world.limit().child_refuse_self_cross = true;
        g.orders.push(order_of("O2", Side::Sell));
        g.before = vec![limited(plan_of("O2", Side::Sell, 1, "10"), Side::Sell, "100.5")];
        g.plan = limited(g.plan.clone(), Side::Buy, "100.5");
    }),
    (Reason::AccountMessageRate, |g| g.world.limit().message_max_per_account = Some(0)),
    (Reason::SessionMessageRate, |g| g.world.limit().message_max_per_session = Some(0)),
    (Reason::OrderRate, |g| g.world.limit().child_max_orders = Some(0)),
    (Reason::OrderRateValue, |g| g.world.limit().child_max_orders_value = Some(num("999.99"))),
    // 1,000 are ordered, at 100.
    (Reason::HeldForRelease, |g| g.world.limit().child_hold_value = Some(num("99999.99"))),
    (Reason::RepeatedExecution, |g| g.world.limit().child_max_repeats = Some(0)),
    (Reason::AccountChanged, |g| {
        // Its book is opened in euro by a child that finds no rate.
        g.world.account().currency = "EUR".to_owned();
        g.before = vec![plan(2, vec![leg(2, 1, "XA", "10")])];
        g.change = |world| world.account().currency = "USD".to_owned();
    }),
    (Reason::ShortNotAllowed, |g| {
        g.world.limit().allow_short = false;
        g.world.account().positions.insert("ACME".to_owned(), num("9"));
        g.orders = vec![order_of("O1", Side::Sell)];
        g.plan.side = Side::Sell;
    }),
    (Reason::MaxAccountPosition, |g| g.world.limit().account_max_position_value = Some(num("1009.99"))),
    (Reason::NoMarkPrice, |g| {
        g.world.account().positions.insert("OTHER".to_owned(), num("-1"));
    }),
    (Reason::InsufficientBuyingPower, |g| g.world.account().cash = num("1013.02")),
    (Reason::FigureOutOfRange, |g| g.world.instrument.as_mut().unwrap().multiplier = Quantity::MAX),
];

// Everything is of the day.
fn gated(given: &mut Given) {
    given.world.config.gate.enabled = true;
    given.world.limit().child_confirmed_at = Some(at(NOON - 1));
    given.world.account().reconciled_at = Some(at(NOON - 20 * 3_600_000_000));
}

fn run(case: &Case) -> RiskAlert {
    let mut given = Given {
        world: World::default(),
        orders: vec![created()],
        before: Vec::new(),
        change: |_| {},
        after_us: 0,
        plan: plan(1, vec![leg(1, 1, "XA", "10")]),
    };
    (case.1)(&mut given);
    let mut bench = given.world.bench();
    given.orders.iter().for_each(|event| {
        bench.record(ORDERS, event);
    });
    given.before.iter().for_each(|plan| {
        bench.record(PLANS, plan);
    });
    (given.change)(&mut given.world);
    given.world.load(&mut bench);
    bench.at(at(NOON + given.after_us)).restart();
    let before = bench.state::<ChildRiskChild>("children").len();
    bench.take::<RiskAlert>();
    bench.take::<ChildOrder>();
    bench.record(PLANS, &given.plan);
    let children = bench.take::<ChildOrder>();
    // Only the cases with two legs approve one.
    assert_eq!(children.len(), given.plan.venue_allocations.len() - 1, "{:?}", case.0);
    assert_eq!(bench.state::<ChildRiskChild>("children").len(), before + children.len());
    let mut alerts = bench.take::<RiskAlert>();
    bench.expect_no_more();
    alerts.retain(|alert| alert.alert_type == RiskAlertType::ChildRejected);
    assert_eq!(alerts.len(), 1, "{:?}", case.0);
    alerts.remove(0)
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

#[test]
fn an_open_gate_lets_everything_through() {
    let mut given = Given {
        world: World::default(),
        orders: Vec::new(),
        before: Vec::new(),
        change: |_| {},
        after_us: 0,
        plan: RoutingPlan::default(),
    };
    gated(&mut given);
    given.world.config.gate.max_market_silence_ms = 1_000;
    let mut bench = given.world.bench();
    bench.record(ORDERS, &created()).record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    let child: ChildOrder = bench.take_one();
    let gate: Vec<&str> = child.checks.iter().map(|row| row.name.as_str()).filter(|n| n.starts_with("gate")).collect();
    assert_eq!(gate, ["gate_limits", "gate_account", "gate_market"]);
}

#[test]
fn a_child_is_worth_what_a_rate_of_the_permitted_age_says() {
    for (age_us, passes) in [(5_000_000, true), (5_000_001, false)] {
        let mut world = World::default();
        world.limit().currency = "EUR".to_owned();
        let rate = |id: &str| Instrument { instrument_id: id.to_owned(), ..world.instrument.clone().unwrap() };
        world.rates = vec![rate("USDEUR")];
        let row = quote("XA", NOON - age_us, "0.9", "0.9");
        world.rows.push(NormalizedMarketData { instrument_id: "USDEUR".to_owned(), ..row });
        let mut bench = world.bench();
        bench.record(ORDERS, &created()).record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
        if passes {
            let child: ChildOrder = bench.take_one();
            let value = child.checks.iter().find(|row| row.name == "child_value").unwrap();
            assert_eq!((value.figure, value.unit.as_str()), (Some(num("900")), "EUR"));
        } else {
            assert_eq!(bench.take_one::<RiskAlert>().code, "NO_FX_RATE");
        }
        bench.expect_no_more();
    }
}
