//! The stage in paced mode, with what it learns: whole = crashed = any cut = any number of workers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ORDERS, SLICES, after, broker, collar, now, num, qty, quote, venue, world};
use fillstream_core::StageHandle;
use fillstream_core::group::{Group, Path};
use fillstream_domain::{AccountId, ClOrdId, ExecType, OrdStatus, OrderId};
use fillstream_schemas::execution::{ChildUpdate, OrderEvent, OrderEventType, RoutingPlan, Slice};
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::{Account, RiskLimit};
use fillstream_smart_order_routing::{Config, SmartOrderRouting};
use fillstream_testkit::{Cluster, Driver, FaultPlan, Setup};
use proptest::prelude::*;

/// An order of a portfolio with two slices, and what becomes of the first child of the first one.
#[derive(Clone, Debug)]
struct Given {
    portfolio: u8,
    tick: i64,
    quantity: i64,
    filled: i64,
    rejected: bool,
}

fn given() -> impl Strategy<Value = Given> {
    (0_u8..4, 0_i64..20, 10_i64..900, 0_i64..10, any::<bool>())
        .prop_map(|(portfolio, tick, quantity, filled, rejected)| Given { portfolio, tick, quantity, filled, rejected })
}

fn slice(n: usize, slice_no: i32, g: &Given) -> Slice {
    Slice {
        event_id: format!("s{n}-{slice_no}"),
        timestamp: after(g.tick * 100 + i64::from(slice_no) * 400),
        order_id: format!("O{n}"),
        portfolio_id: format!("P{}", g.portfolio),
        account_id: format!("A{}", g.portfolio),
        slice_no,
        ..common::slice(g.quantity)
    }
}

fn event(n: usize, no: i64, g: &Given, child: Option<ChildUpdate>) -> OrderEvent {
    let event_type = if child.is_some() { OrderEventType::ChildUpdated } else { OrderEventType::Released };
    OrderEvent {
        event_id: format!("e{n}-{no}"),
        timestamp: after(g.tick * 100 + 200 * no),
        order_id: format!("O{n}"),
        portfolio_id: format!("P{}", g.portfolio),
        instrument_id: "X".into(),
        event_type,
        leaves_qty: qty(3 * g.quantity),
        child,
        ..OrderEvent::default()
    }
}

fn update(n: usize, g: &Given) -> ChildUpdate {
    let (order, account) =
        (OrderId::new(&format!("O{n}")).unwrap(), AccountId::new(&format!("A{}", g.portfolio)).unwrap());
    let (status, said) =
        if g.rejected { (OrdStatus::Rejected, ExecType::Rejected) } else { (OrdStatus::Expired, ExecType::Expired) };
    ChildUpdate {
        cl_ord_id: ClOrdId::derive(&order, &account, 1, 1, 0, 0).unwrap().to_string(),
        ord_status: status,
        exec_type: Some(said),
        cum_qty: qty(if g.rejected { 0 } else { g.filled }),
        last_px: Some(num("100.2")),
        ..ChildUpdate::default()
    }
}

fn run(given: &[Given], workers: usize, plan: FaultPlan) -> Driver {
    let stage = SmartOrderRouting::new(Config::default()).unwrap();
    let path = Path::new("routing", vec![StageHandle::of(stage)]).unwrap();
    let groups = vec![Group::fused(&path).unwrap()];
    let mut driver = Setup::new(groups, Cluster::new(3)).workers(workers).faults(plan).start().unwrap();
    reference(&mut driver);
    for (n, g) in given.iter().enumerate() {
        driver.produce(ORDERS, &event(n, 1, g, None));
        driver.produce(SLICES, &slice(n, 1, g));
        driver.produce(ORDERS, &event(n, 3, g, Some(update(n, g))));
        driver.produce(SLICES, &slice(n, 2, g));
    }
    driver.run_paced(after(60_000)).unwrap();
    driver
}

fn reference(driver: &mut Driver) {
    let w = world(1);
    let start = after(-10_000);
    driver.row("reference.instruments.v1", "X", &w.instrument, start);
    for (id, quality) in [("b", "0.8"), ("c", "0.9")] {
        let mut b = broker(id, quality);
        b.venues = ["A", "B", "C"].map(str::to_owned).into();
        driver.row("reference.brokers.v1", id, &b, start);
    }
    for (id, share) in [("A", "0.5"), ("B", "0.3"), ("C", "0.2")] {
        driver.row("reference.venues.v1", id, &venue(id, share), start);
    }
    for n in 0..4 {
        let (account_id, portfolio_id) = (format!("A{n}"), format!("P{n}"));
        let account = Account {
            account_id: account_id.clone(),
            portfolio_id: portfolio_id.clone(),
            brokers: vec!["b".into(), "c".into()],
            ..Account::default()
        };
        driver.row("reference.accounts.v1", &account_id, &account, start);
        let limit = RiskLimit { portfolio_id: portfolio_id.clone(), ..collar("100") };
        driver.row("reference.limits.v1", &portfolio_id, &limit, start);
    }
    for tick in 0..40_i64 {
        let (bid, ask) = (format!("100.{}", tick % 7), format!("100.{}", tick % 7 + 1));
        let at = after(tick * 100 - 1_000);
        let row = NormalizedMarketData { event_time: at, seq: tick + 1, ..quote("X", "REF", &bid, &ask, 300) };
        driver.row("market.data.v1", "X", &row, at);
    }
    assert!(now() > start);
}

fn plans(driver: &Driver) -> Vec<RoutingPlan> {
    driver.outputs().records::<RoutingPlan>("execution.routing-plans.v1").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_run_does_not_depend_on_how_it_is_carried_out(
        given in prop::collection::vec(given(), 1..30),
        workers in 1..4_usize,
        max_units in 1..6_usize,
        seed in any::<u64>(),
    ) {
        let whole = run(&given, 1, FaultPlan::none());
        prop_assert_eq!(plans(&whole).len(), 2 * given.len());
        let whole = whole.outputs().canonical();
        for (workers, plan) in
            [(1, FaultPlan::seeded(seed)), (workers, FaultPlan::cut(max_units).seed(seed)), (workers, FaultPlan::seeded(seed))]
        {
            let other = run(&given, workers, plan);
            let difference = whole.difference(&other.outputs().canonical());
            prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
        }
    }
}

#[test]
fn the_runs_compared_learn_avoid_and_reroute() {
    let given: Vec<Given> = (0..24_i64)
        .map(|n| Given {
            portfolio: u8::try_from(n % 4).unwrap(),
            tick: n * 7 % 20,
            quantity: 10 + n * 61 % 890,
            filled: n % 9,
            rejected: n % 5 == 0,
        })
        .collect();
    let plans = plans(&run(&given, 1, FaultPlan::none()));
    let count = |what: fn(&RoutingPlan) -> bool| plans.iter().filter(|p| what(p)).count();
    let learned = count(|p| p.candidates.iter().any(|c| c.samples.is_some_and(|n| n.is_positive())));
    let avoided = count(|p| p.candidates.iter().any(|c| c.exclusion_code.as_deref() == Some("VENUE_REJECTED")));
    let figures = [learned, avoided, count(|p| !p.reroutes.is_empty()), count(|p| p.venue_allocations.len() > 1)];
    assert!(figures.iter().all(|n| *n >= 3), "learned, avoided, rerouted, split: {figures:?}");
}
