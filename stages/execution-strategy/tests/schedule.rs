//! The stage on the bench: selection, slices, completion, cancel, restart.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use fillstream_domain::{Algorithm, Money, OrdType, Price, Quantity, TimeInForce, TimestampMicros, Urgency};
use fillstream_execution_strategy::{ALGORITHM_NOT_AVAILABLE, Config, ExecutionStrategy};
use fillstream_schemas::execution::{
    AccountAllocation, AccountFigures, ChildUpdate, ExecutionStrategySelected, OrderEvent, OrderEventType, OrderTerms,
    Quote, RouteLeg, RoutingPlan, Slice,
};
use fillstream_testkit::StageBench;

const ALLOCATED: &str = "execution.allocations.v1";
const ORDERS: &str = "execution.orders.v1";
const PLANS: &str = "execution.routing-plans.v1";
const SECOND: i64 = 1_000_000;

fn at(seconds: i64) -> TimestampMicros {
    TimestampMicros::from_micros(1_000 * SECOND + seconds * SECOND)
}

fn qty(n: i64) -> Quantity {
    Quantity::from_int(n).unwrap()
}

fn allocated(algorithm: Algorithm, quantity: i64, horizon_s: i64) -> AccountAllocation {
    let quote = Quote {
        venue: "V".into(),
        bid: Price::from_int(100).unwrap(),
        ask: "100.02".parse().unwrap(),
        ..Quote::default()
    };
    AccountAllocation {
        event_id: "v1".into(),
        timestamp: at(0),
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        account_id: Some("A1".into()),
        instrument_id: "X".into(),
        quantity: qty(quantity),
        order_value: Money::from_int(30_000).unwrap(),
        quote: Some(quote.clone()),
        terms: OrderTerms {
            algorithm,
            urgency: Urgency::Low,
            horizon_us: horizon_s * SECOND,
            expire_at: at(100_000),
            lot_size: qty(1),
            time_in_force: TimeInForce::Day,
            quote,
            ..OrderTerms::default()
        },
        ..AccountAllocation::default()
    }
}

fn bench() -> StageBench {
    let mut bench = StageBench::new(ExecutionStrategy::new(Config::default()).unwrap());
    bench.at(at(0));
    bench
}

fn plan(slice: &Slice, routed: i64) -> RoutingPlan {
    let leg = RouteLeg { cl_ord_id: format!("c{}", slice.slice_no), quantity: qty(routed), ..RouteLeg::default() };
    RoutingPlan {
        event_id: format!("p{}", slice.slice_no),
        portfolio_id: "P1".into(),
        order_id: "o1".into(),
        account_id: "A1".into(),
        slice_no: slice.slice_no,
        quantity: slice.quantity,
        venue_allocations: if routed > 0 { vec![leg] } else { Vec::new() },
        ..RoutingPlan::default()
    }
}

fn child(n: i32, cum_parent: i64, leaves: i64) -> OrderEvent {
    OrderEvent {
        event_id: format!("e{n}-{cum_parent}-{leaves}"),
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        event_type: OrderEventType::ChildUpdated,
        cum_qty: qty(cum_parent),
        account: Some(AccountFigures {
            account_id: "A1".into(),
            cum_qty: qty(cum_parent),
            ..AccountFigures::default()
        }),
        child: Some(ChildUpdate { cl_ord_id: format!("c{n}"), leaves_qty: qty(leaves), ..ChildUpdate::default() }),
        ..OrderEvent::default()
    }
}

#[test]
fn a_twap_releases_its_slices_on_time_and_exactly() {
    let mut bench = bench();
    bench.record(ALLOCATED, &allocated(Algorithm::Twap, 100, 60));
    let selected: ExecutionStrategySelected = bench.take_one();
    assert_eq!(
        (selected.used, selected.rule.as_str(), selected.substitution_code),
        (Algorithm::Twap, "EXPLICIT", None)
    );
    let mut filled = 0;
    let mut sizes = Vec::new();
    for n in 1..=3 {
        let slice: Slice = bench.take_one();
        assert_eq!(
            (slice.slice_no, slice.due_at, slice.time_in_force),
            (n, at(i64::from(n - 1) * 20), TimeInForce::Ioc)
        );
        let quantity: i64 = slice.quantity.to_string().parse().unwrap();
        sizes.push(quantity);
        filled += quantity;
        bench.record(PLANS, &plan(&slice, quantity)).record(ORDERS, &child(n, filled, 0));
        bench.timer_to(at(i64::from(n) * 20));
    }
    assert_eq!((sizes, filled), (vec![33, 33, 34], 100));
    bench.expect_no_more();
}

#[test]
fn what_children_leave_over_is_released_again_and_the_last_time_says_so() {
    let mut bench = bench();
    bench.record(ALLOCATED, &allocated(Algorithm::Market, 100, 600));
    let _: ExecutionStrategySelected = bench.take_one();
    let first: Slice = bench.take_one();
    assert_eq!((first.quantity, first.is_last, first.ord_type), (qty(100), false, OrdType::Market));
    // 60 found a venue and 50 of them a fill: 50 come back.
    bench.record(PLANS, &plan(&first, 60)).record(ORDERS, &child(1, 50, 0)).timer_to(at(1));
    let mut last: Slice = bench.take_one();
    assert_eq!(last.quantity, qty(50));
    for second in 2..=5 {
        bench.record(PLANS, &plan(&last, 0)).timer_to(at(second));
        last = bench.take_one();
    }
    assert_eq!((last.slice_no, last.is_last), (6, true));
    bench.record(PLANS, &plan(&last, 0)).timer_to(at(599));
    bench.expect_no_more();
}

#[test]
fn what_children_hold_is_not_released_again() {
    let mut bench = bench();
    bench.record(ALLOCATED, &allocated(Algorithm::Limit, 100, 600));
    let _: ExecutionStrategySelected = bench.take_one();
    let slice: Slice = bench.take_one();
    assert_eq!((slice.limit_price, slice.time_in_force), (Some(Price::from_int(100).unwrap()), TimeInForce::Day));
    bench.timer_to(at(5)).record(PLANS, &plan(&slice, 100)).record(ORDERS, &child(1, 30, 70)).timer_to(at(500));
    bench.expect_no_more();
    assert!(bench.timers().is_empty(), "an order that rests is not looked at again and again");
    bench.record(ORDERS, &child(1, 30, 0)).timer_to(at(502));
    let again: Slice = bench.take_one();
    assert_eq!(again.quantity, qty(70));
}

#[test]
fn a_cancel_stops_the_schedule_and_a_terminal_event_forgets_it() {
    let mut bench = bench();
    bench.record(ALLOCATED, &allocated(Algorithm::Twap, 100, 60));
    let _: ExecutionStrategySelected = bench.take_one();
    let _: Slice = bench.take_one();
    let cancel = OrderEvent { event_type: OrderEventType::CancelRequested, ..child(1, 0, 33) };
    bench.record(ORDERS, &cancel).timer_to(at(3_600));
    let last: Slice = bench.take_one();
    assert_eq!((last.slice_no, last.is_last, last.quantity), (2, true, Quantity::ZERO));
    // Asked again, it says so again: the first answer may stand in a dead-letter topic.
    bench.restart().record(ORDERS, &OrderEvent { event_id: "again".into(), ..cancel });
    assert_eq!(bench.take_one::<Slice>().slice_no, 3);
    let end = OrderEvent { event_type: OrderEventType::Cancelled, is_terminal: true, ..child(1, 0, 0) };
    bench.record(ORDERS, &end);
    assert!(bench.state::<fillstream_schemas::state::StrategyOrder>("orders").is_empty());
}

#[test]
fn a_cancel_that_comes_before_the_approval_leaves_nothing_to_release_but_the_last_slice() {
    let mut bench = bench();
    let cancel = OrderEvent { event_type: OrderEventType::CancelRequested, child: None, ..child(1, 0, 0) };
    bench.record(ORDERS, &cancel).record(ORDERS, &OrderEvent { event_id: "again".into(), ..cancel.clone() });
    bench.expect_no_more();
    bench.restart().record(ALLOCATED, &allocated(Algorithm::Twap, 100, 60)).timer_to(at(100));
    let _: ExecutionStrategySelected = bench.take_one();
    let last: Slice = bench.take_one();
    assert_eq!((last.slice_no, last.is_last, last.quantity), (1, true, Quantity::ZERO));
    bench.expect_no_more();
    // Refused instead: the end is all that comes.
    let mut bench = crate::bench();
    let end = OrderEvent { event_type: OrderEventType::Rejected, is_terminal: true, ..cancel.clone() };
    bench.record(ORDERS, &cancel).record(ORDERS, &OrderEvent { event_id: "end".into(), ..end });
    assert!(bench.state::<fillstream_schemas::state::StrategyOrder>("orders").is_empty());
}

/// Trading rule 32: after downtime a schedule goes on where it should be, without a burst.
#[test]
fn rule_32_after_downtime_one_slice_not_a_burst() {
    let mut bench = bench();
    bench.record(ALLOCATED, &allocated(Algorithm::Twap, 1_000, 200));
    let _: ExecutionStrategySelected = bench.take_one();
    let first: Slice = bench.take_one();
    bench.record(PLANS, &plan(&first, 100)).record(ORDERS, &child(1, 100, 0));
    bench.restart().at(at(101)).fire();
    let late: Slice = bench.take_one();
    assert_eq!((late.quantity, late.due_at), (qty(200), at(100)));
    bench.expect_no_more();
}

/// Trading rule 8: selected, used and the code stand in the event.
#[test]
fn rule_8_a_substitution_is_an_event() {
    let mut bench = bench();
    bench.record(ALLOCATED, &allocated(Algorithm::Iceberg, 100, 60));
    let selected: ExecutionStrategySelected = bench.take_one();
    assert_eq!((selected.requested, selected.used), (Algorithm::Iceberg, Algorithm::Twap));
    assert_eq!(selected.substitution_code.as_deref(), Some(ALGORITHM_NOT_AVAILABLE));
}

#[test]
fn what_nobody_takes_gets_no_strategy() {
    let mut bench = bench();
    bench.record(ALLOCATED, &AccountAllocation { account_id: None, ..allocated(Algorithm::Twap, 100, 60) });
    bench.expect_no_more();
}

/// Each account's part of an order has a schedule of its own, and the news of one say nothing to the other.
#[test]
fn parts_of_two_accounts_are_worked_apart() {
    let mut bench = bench();
    bench.record(ALLOCATED, &allocated(Algorithm::Twap, 60, 40));
    let _: ExecutionStrategySelected = bench.take_one();
    let first: Slice = bench.take_one();
    let later = AccountAllocation {
        event_id: "v2".into(),
        account_id: Some("A2".into()),
        due_at: at(5),
        ..allocated(Algorithm::Twap, 40, 40)
    };
    bench.record(ALLOCATED, &later);
    let selected: ExecutionStrategySelected = bench.take_one();
    assert_eq!(selected.starts_at, at(5));
    bench.expect_no_more();
    bench.record(PLANS, &plan(&first, 30)).record(ORDERS, &child(1, 30, 0)).timer_to(at(5));
    let second: Slice = bench.take_one();
    assert_eq!((second.account_id.as_str(), second.slice_no, second.quantity), ("A2", 1, qty(20)));
    let cancel = OrderEvent { event_type: OrderEventType::CancelRequested, child: None, ..child(9, 30, 0) };
    bench.record(ORDERS, &cancel);
    let last: Vec<Slice> = vec![bench.take_one(), bench.take_one()];
    let ends: Vec<_> = last.iter().map(|s| (s.account_id.as_str(), s.slice_no, s.is_last)).collect();
    assert_eq!(ends, [("A1", 2, true), ("A2", 2, true)]);
}
