//! Execution quality learned from own children, as it stands in later plans.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{ORDERS, SLICES, World, after, broker, num, qty, slice, world};
use fillstream_domain::{ExecType, OrdStatus, OrdType, Quantity, TimeInForce};
use fillstream_schemas::execution::{ChildUpdate, OrderEvent, OrderEventType, RouteCandidate, RoutingPlan, Slice};
use fillstream_schemas::state::{RouteOrder, RouteQuality};

fn event(n: i32, at_ms: i64, child: Option<ChildUpdate>) -> OrderEvent {
    OrderEvent {
        event_id: format!("e{n}"),
        timestamp: after(at_ms),
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        instrument_id: "X".into(),
        event_type: if child.is_some() { OrderEventType::ChildUpdated } else { OrderEventType::Released },
        leaves_qty: qty(1_000),
        child,
        ..OrderEvent::default()
    }
}

fn update(cl_ord_id: &str, status: OrdStatus, said: Option<ExecType>, cum: i64, leaves: i64) -> ChildUpdate {
    ChildUpdate {
        cl_ord_id: cl_ord_id.into(),
        ord_status: status,
        exec_type: said,
        ord_qty: qty(100),
        cum_qty: qty(cum),
        leaves_qty: qty(leaves),
        last_px: (said == Some(ExecType::Trade)).then(|| num("100.2001")),
        last_qty: (said == Some(ExecType::Trade)).then(|| qty(cum)),
        ..ChildUpdate::default()
    }
}

fn venue<'a>(plan: &'a RoutingPlan, id: &str) -> &'a RouteCandidate {
    plan.candidates.iter().find(|c| c.venue == id).unwrap()
}

fn quiet() -> World {
    let mut w = world(100);
    w.brokers = vec![broker("b", "0.8")];
    w.venues.iter_mut().for_each(|v| v.quality = num("0.8"));
    w
}

/// Half of a taker filled, 10 basis points beyond the touch at routing, first report after 250 ms.
#[test]
fn rule_33_fill_rate_slippage_and_latency_are_learned_from_own_children() {
    let w = quiet();
    let mut bench = w.bench();
    let first: RoutingPlan = bench.record(SLICES, &w.slice).take_one();
    let (id, at) = (first.venue_allocations[0].cl_ord_id.as_str(), first.venue_allocations[0].venue.clone());
    let before = venue(&first, &at);
    assert_eq!((before.samples, before.fill_rate, before.slippage), (Some(num("0")), Some(num("0.8")), None));
    bench.record(ORDERS, &event(1, 0, None));
    bench.record(ORDERS, &event(2, 0, Some(update(id, OrdStatus::PendingNew, None, 0, 100))));
    bench.record(ORDERS, &event(3, 250, Some(update(id, OrdStatus::New, Some(ExecType::New), 0, 100))));
    bench.record(ORDERS, &event(4, 300, Some(update(id, OrdStatus::PartiallyFilled, Some(ExecType::Trade), 50, 50))));
    bench.record(ORDERS, &event(5, 310, Some(update(id, OrdStatus::Expired, Some(ExecType::Expired), 50, 0))));
    let next = Slice { event_id: "s2".into(), slice_no: 2, ..w.slice.clone() };
    let second: RoutingPlan = bench.restart().at(after(310)).record(SLICES, &next).take_one();
    let known = venue(&second, &at);
    // (20 x 0.8 + 0.5) / 21
    assert_eq!((known.samples, known.fill_rate), (Some(num("1")), Some(num("0.785714286"))));
    assert_eq!((known.slippage.unwrap().to_string().as_str(), known.latency_us), ("10", Some(250_000)));
    assert_eq!(known.prior_quality, Some(num("0.8")));
    assert!(known.quality < before.quality);
    assert_eq!(venue(&second, "C").quality, num("0.8"), "nothing was learned of the others");
    // What was left comes back with the status that the child ended with.
    assert_eq!((second.reroutes[0].quantity, second.reroutes[0].code.as_str()), (qty(50), "EXPIRED"));
}

/// For a seller a lower price is the worse one.
#[test]
fn slippage_of_sells_has_its_sign() {
    let mut w = quiet();
    w.slice.side = fillstream_domain::Side::Sell;
    let mut bench = w.bench();
    let plan: RoutingPlan = bench.record(SLICES, &w.slice).take_one();
    let mut child = update(&plan.venue_allocations[0].cl_ord_id, OrdStatus::Filled, Some(ExecType::Trade), 100, 0);
    child.last_px = Some(num("99.9"));
    bench.record(ORDERS, &OrderEvent { side: fillstream_domain::Side::Sell, ..event(1, 0, Some(child)) });
    let next = Slice { event_id: "s2".into(), slice_no: 2, ..w.slice.clone() };
    let next: RoutingPlan = bench.record(SLICES, &next).take_one();
    assert_eq!(venue(&next, "A").slippage, Some(num("10")));
}

/// A child that we took back, or that our own risk refused, says nothing of the share that fills there.
#[test]
fn what_we_did_ourselves_teaches_nothing() {
    let mut w = quiet();
    w.slice =
        Slice { ord_type: OrdType::Limit, limit_price: Some(num("99")), time_in_force: TimeInForce::Day, ..slice(100) };
    let learned = |child: fn(&str) -> ChildUpdate| {
        let mut bench = w.bench();
        let plan: RoutingPlan = bench.record(SLICES, &w.slice).take_one();
        bench.record(ORDERS, &event(1, 100, Some(child(&plan.venue_allocations[0].cl_ord_id))));
        let sums = bench.state::<RouteQuality>("quality");
        let orders = bench.state::<RouteOrder>("orders");
        (sums.values().next().map(|s| s.ended), orders["o1"].children.len())
    };
    assert_eq!(learned(|id| update(id, OrdStatus::Canceled, Some(ExecType::Canceled), 0, 0)), (Some(num("0")), 0));
    assert_eq!(learned(|id| update(id, OrdStatus::Rejected, None, 0, 0)), (None, 0));
    assert_eq!(learned(|id| update(id, OrdStatus::Filled, Some(ExecType::Trade), 100, 0)), (Some(num("1")), 0));
    assert_eq!(learned(|id| update(id, OrdStatus::Rejected, Some(ExecType::Rejected), 0, 0)), (Some(num("1")), 0));
}

/// Topics are not ordered among each other: order events before the plan, of unknown children, twice, or after the end change
/// nothing that they should not, and nothing is kept of an order that is over.
#[test]
fn order_events_may_come_in_any_order() {
    let w = quiet();
    let mut bench = w.bench();
    // Of an order that was never released here.
    bench.record(ORDERS, &event(1, 0, Some(update("stranger", OrdStatus::Filled, Some(ExecType::Trade), 100, 0))));
    assert!(bench.state::<RouteOrder>("orders").is_empty());
    // The plan before the release.
    let plan: RoutingPlan = bench.record(SLICES, &w.slice).take_one();
    let id = plan.venue_allocations[0].cl_ord_id.clone();
    assert_eq!(bench.state::<RouteOrder>("orders")["o1"].leaves_qty, None);
    bench.record(ORDERS, &event(2, 0, None));
    assert_eq!(bench.state::<RouteOrder>("orders")["o1"].leaves_qty, Some(qty(1_000)));
    let filled = event(3, 50, Some(update(&id, OrdStatus::Filled, Some(ExecType::Trade), 100, 0)));
    bench.record(ORDERS, &filled);
    let again = OrderEvent { event_id: "e4".into(), ..filled };
    bench.record(ORDERS, &again);
    assert_eq!(bench.state::<RouteQuality>("quality").values().next().unwrap().ended, num("1"));
    let end = OrderEvent {
        event_type: OrderEventType::Filled,
        is_terminal: true,
        leaves_qty: Quantity::ZERO,
        ..event(5, 60, None)
    };
    bench.record(ORDERS, &end);
    assert!(bench.restart().state::<RouteOrder>("orders").is_empty());
    bench.record(ORDERS, &event(6, 70, Some(update(&id, OrdStatus::Filled, Some(ExecType::Trade), 100, 0))));
    assert!(bench.state::<RouteOrder>("orders").is_empty());
}

/// The end of an order with an open child: kept until the child ends.
#[test]
fn an_order_is_remembered_until_its_last_child_ends() {
    let w = quiet();
    let mut bench = w.bench();
    let plan: RoutingPlan = bench.record(SLICES, &w.slice).take_one();
    let id = plan.venue_allocations[0].cl_ord_id.clone();
    bench.record(ORDERS, &OrderEvent { is_terminal: true, ..event(1, 0, None) });
    assert_eq!(bench.state::<RouteOrder>("orders").len(), 1);
    bench.record(ORDERS, &event(2, 0, Some(update(&id, OrdStatus::Rejected, None, 0, 0))));
    assert!(bench.state::<RouteOrder>("orders").is_empty());
}

#[test]
fn worse_quality_moves_the_flow_to_another_venue() {
    let w = World { venues: vec![common::venue("A", "0.5"), common::venue("B", "0.5")], ..quiet() };
    let mut bench = w.bench();
    let mut venues = Vec::new();
    for n in 1..=4 {
        let slice = Slice { event_id: format!("s{n}"), slice_no: n, ..w.slice.clone() };
        let plan: RoutingPlan = bench.record(SLICES, &slice).take_one();
        let leg = &plan.venue_allocations[0];
        venues.push(leg.venue.clone());
        let gone = update(&leg.cl_ord_id, OrdStatus::Expired, Some(ExecType::Expired), 0, 0);
        bench.record(ORDERS, &event(n, 0, Some(gone)));
    }
    assert_eq!(venues, ["A", "B", "A", "B"]);
}
