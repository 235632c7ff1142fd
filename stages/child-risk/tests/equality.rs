//! Both risk stages in paced mode: whole = crashed = any cut = any number of workers = fused = split.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, ORDERS, PLANS, World, at, num, quote};
use fillstream_child_risk::{ChildRisk, Config};
use fillstream_core::StageHandle;
use fillstream_core::group::{Group, Path};
use fillstream_domain::{ControlScope, OrdStatus, Side};
use fillstream_pre_trade_risk::PreTradeRisk;
use fillstream_schemas::execution::{
    ChildOrder, ChildUpdate, OrderEvent, OrderEventType, OrderTerms, ParentStatus, RiskAlert, RoutingPlan,
    ValidatedOrder,
};
use fillstream_testkit::{Cluster, Driver, FaultPlan, Setup};
use proptest::prelude::*;

/// One order of a portfolio: when it is created, side, quantity; its plan, a fill and its end follow.
#[derive(Clone, Debug)]
struct Given {
    portfolio: u8,
    at: i64,
    sells: bool,
    quantity: i64,
    filled: i64,
    cancels: bool,
}

fn given() -> impl Strategy<Value = Given> {
    (0_u8..4, 0_i64..20, any::<bool>(), 1_i64..500, 0_i64..10, any::<bool>()).prop_map(
        |(portfolio, tick, sells, quantity, part, cancels)| Given {
            portfolio,
            at: NOON + tick * 100_000,
            sells,
            quantity,
            filled: quantity * part / 10,
            cancels,
        },
    )
}

fn name(portfolio: u8) -> String {
    format!("P{portfolio}")
}

/// The events of an order and its plan, each at its time.
fn story(n: usize, g: &Given) -> (Vec<OrderEvent>, RoutingPlan) {
    let order_id = format!("O{n}");
    let cl_ord_id = format!("C{n}");
    let qty = |units: i64| num(&units.to_string());
    let event = |no: i64, event_type, status, cum: i64| OrderEvent {
        event_id: format!("{order_id}-{no}"),
        timestamp: at(g.at + no * 150_000),
        order_id: order_id.clone(),
        portfolio_id: name(g.portfolio),
        instrument_id: "ACME".to_owned(),
        event_type,
        status,
        side: if g.sells { Side::Sell } else { Side::Buy },
        ord_qty: qty(g.quantity),
        cum_qty: qty(cum),
        leaves_qty: qty(g.quantity - cum),
        filled_notional: num(&(cum * 100).to_string()),
        ..OrderEvent::default()
    };
    let created = OrderEvent {
        terms: Some(OrderTerms { quote_currency: "USD".to_owned(), ..OrderTerms::default() }),
        ..event(0, OrderEventType::Created, ParentStatus::PendingRisk, 0)
    };
    let child = ChildUpdate {
        cl_ord_id: cl_ord_id.clone(),
        ord_status: OrdStatus::PartiallyFilled,
        leaves_qty: qty(g.quantity - g.filled),
        ..ChildUpdate::default()
    };
    let mut events = vec![created];
    if g.filled > 0 {
        let fill = event(2, OrderEventType::ChildUpdated, ParentStatus::PartiallyFilled, g.filled);
        events.push(OrderEvent { child: Some(child), ..fill });
    }
    if g.cancels {
        events.push(event(3, OrderEventType::CancelRequested, ParentStatus::CancelPending, g.filled));
        let end = event(4, OrderEventType::Cancelled, ParentStatus::Cancelled, g.filled);
        events.push(OrderEvent { leaves_qty: qty(0), ..end });
    }
    let mut leg = common::leg(1, 1, if n.is_multiple_of(2) { "XA" } else { "XB" }, &g.quantity.to_string());
    leg.cl_ord_id = cl_ord_id;
    let plan = RoutingPlan {
        event_id: format!("plan-{n}"),
        timestamp: at(g.at + 150_000),
        order_id,
        portfolio_id: name(g.portfolio),
        account_id: format!("A{}", g.portfolio),
        side: if g.sells { Side::Sell } else { Side::Buy },
        expire_at: at(NOON + 600_000_000),
        ..common::plan(1, vec![leg])
    };
    (events, plan)
}

fn run(given: &[Given], split: bool, workers: usize, plan: FaultPlan) -> Driver {
    let risk = PreTradeRisk::new(fillstream_pre_trade_risk::Config::default()).unwrap();
    let stages = vec![StageHandle::of(risk), StageHandle::of(ChildRisk::new(Config::default()).unwrap())];
    let path = Path::new("risk", stages).unwrap();
    let groups = if split {
        Group::split(&path, &[vec!["pre-trade-risk".to_owned()], vec!["child-risk".to_owned()]]).unwrap()
    } else {
        vec![Group::fused(&path).unwrap()]
    };
    let cluster = Cluster::new(3).assign("execution.child-orders.v1", "B1-1", 0);
    let mut driver = Setup::new(groups, cluster).workers(workers).faults(plan).start().unwrap();
    reference(&mut driver);
    for (n, g) in given.iter().enumerate() {
        let (events, plan) = story(n, g);
        events.iter().for_each(|event| driver.produce(ORDERS, event));
        driver.produce(PLANS, &plan);
    }
    driver.run_paced(at(NOON + 60_000_000)).unwrap();
    driver
}

// Reference data, a market that moves, and a kill of one venue in the middle.
fn reference(driver: &mut Driver) {
    let mut world = World::default();
    let start = at(NOON - 10_000_000);
    world.instrument.iter().for_each(|r| driver.row("reference.instruments.v1", "ACME", r, start));
    world.calendar.iter().for_each(|r| driver.row("reference.calendars.v1", "DAY", r, start));
    world.venues.iter().for_each(|r| driver.row("reference.venues.v1", &r.venue_id, r, start));
    world.broker.iter().for_each(|r| driver.row("reference.brokers.v1", "B1", r, start));
    for portfolio in 0..4 {
        let (id, account) = (name(portfolio), format!("A{portfolio}"));
        let (mut owner, mut limit) = (world.account.clone().unwrap(), world.limit.clone().unwrap());
        (owner.account_id, owner.portfolio_id, owner.currency) = (account.clone(), id.clone(), "USD".to_owned());
        (owner.cash, limit.portfolio_id) = (num("90000"), id.clone());
        owner.positions.insert("ACME".to_owned(), num("300"));
        (limit.max_order_quantity, limit.max_order_value) = (num("450"), num("45000"));
        (limit.max_position_value, limit.max_gross_value) = (num("90000"), num("90000"));
        driver.row("reference.accounts.v1", &account, &owner, start);
        driver.row("reference.limits.v1", &id, &limit, start);
    }
    for tick in 0..40_i64 {
        let (bid, ask) = (90 + tick % 7, 91 + tick % 7);
        let row = quote("XA", NOON - 1_000_000 + tick * 100_000, &bid.to_string(), &ask.to_string());
        driver.row("market.data.v1", "ACME", &row, row.event_time);
    }
    world.kill(ControlScope::Venue, "XB");
    let (key, mut kill) = world.controls.remove(0);
    kill.set_at = at(NOON + 1_000_000);
    driver.row("execution.controls.v1", &key, &kill, kill.set_at);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_run_does_not_depend_on_how_it_is_carried_out(
        given in prop::collection::vec(given(), 1..40),
        workers in 1..4_usize,
        max_units in 1..6_usize,
        seed in any::<u64>(),
    ) {
        let whole = run(&given, false, 1, FaultPlan::none());
        let outputs = whole.outputs();
        let verdicts = outputs.records::<ValidatedOrder>("execution.validated-orders.v1").unwrap();
        let children = outputs.records::<ChildOrder>("execution.child-orders.v1").unwrap();
        let alerts = outputs.records::<RiskAlert>("execution.risk-alerts.v1").unwrap();
        prop_assert_eq!(verdicts.len(), given.len());
        prop_assert!(children.len() + alerts.len() >= given.len());
        let whole = outputs.canonical();
        for (split, workers, plan) in [
            (false, 1, FaultPlan::seeded(seed)),
            (false, workers, FaultPlan::cut(max_units).seed(seed)),
            (true, 1, FaultPlan::none()),
            (true, workers, FaultPlan::seeded(seed)),
        ] {
            let other = run(&given, split, workers, plan);
            let difference = whole.difference(&other.outputs().canonical());
            prop_assert!(difference.is_none(), "split {}: {}", split, difference.unwrap_or_default());
        }
    }
}

#[test]
fn the_runs_compared_hold_every_kind_of_answer() {
    let given: Vec<Given> = (0..40_i64)
        .map(|n| Given {
            portfolio: u8::try_from(n % 4).unwrap(),
            at: NOON + (n * 7 % 20) * 100_000,
            sells: n % 3 == 0,
            quantity: 10 + n * 37 % 490,
            filled: n * 3 % 7,
            cancels: n % 2 == 0,
        })
        .collect();
    let driver = run(&given, false, 1, FaultPlan::none());
    let outputs = driver.outputs();
    let verdicts = outputs.records::<ValidatedOrder>("execution.validated-orders.v1").unwrap();
    let approved = verdicts.iter().filter(|v| v.is_approved).count();
    let children = outputs.records::<ChildOrder>("execution.child-orders.v1").unwrap();
    let cancels = children.iter().filter(|c| c.orig_cl_ord_id.is_some()).count();
    let alerts = outputs.records::<RiskAlert>("execution.risk-alerts.v1").unwrap();
    let killed = alerts.iter().filter(|a| a.code == "KILLED").count();
    let figures = [approved, verdicts.len() - approved, children.len() - cancels, cancels, killed];
    assert!(figures.iter().all(|n| *n >= 3), "approved, refused, new, cancels, killed: {figures:?}");
}
