//! Schedules over slots: targets, completion, cancel, restart, the end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{ALLOCATED, Desk, ORDERS, PLANS, allocated, at, instrument, plan, px, qty, units, with_limit, with_terms};
use fillstream_domain::{Algorithm, AssetClass, OrdType, Quantity, TimeInForce, Urgency};
use fillstream_execution_strategy::{ALGORITHM_NOT_AVAILABLE, Config};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, ExecutionStrategySelected, OrderEvent, OrderEventType, Slice,
};
use fillstream_schemas::state::StrategyOrder;

/// Runs a schedule that is filled as it goes, and gives its sizes.
fn sizes(desk: &mut Desk, slots: i64) -> Vec<i64> {
    let mut sizes = Vec::new();
    for n in 1..=slots {
        let slice = desk.slice();
        assert_eq!(slice.due_at, at((n - 1) * 20), "slice {n}");
        sizes.push(units(slice.quantity));
        desk.done(&slice).quote("100", "100.02").to(n * 20);
    }
    desk.nothing();
    sizes
}

#[test]
fn a_twap_releases_its_slices_on_time_and_exactly() {
    let mut desk = Desk::new();
    let selected = desk.begin(&allocated(Algorithm::Twap, 100, 60));
    let used = (selected.used, selected.rule.as_str(), selected.substitution_code, selected.revision);
    assert_eq!(used, (Algorithm::Twap, "EXPLICIT", None, 1));
    let shares: Vec<String> = selected.time_allocation.iter().map(|t| t.share.to_string()).collect();
    assert_eq!(shares, ["0.333333333", "0.666666666", "1"]);
    assert_eq!(sizes(&mut desk, 3), [33, 33, 34]);
}

/// The volume of an equity's session is a U: the first hours of the order's time have more than the next ones.
#[test]
fn a_vwap_follows_the_u_of_an_equity_and_is_flat_for_crypto() {
    let mut desk = Desk::new();
    let v = allocated(Algorithm::Vwap, 1_000, 200);
    let selected = desk.begin(&v);
    assert_eq!(selected.recommended_strategy.parameters.volume_curve.as_deref(), Some("U_SHAPE"));
    let sizes_of_equity = sizes(&mut desk, 10);
    assert_eq!(sizes_of_equity.iter().sum::<i64>(), 1_000);
    assert!(sizes_of_equity[0] >= sizes_of_equity[8], "{sizes_of_equity:?}");
    let mut desk = Desk::with(Config::default(), Some(instrument(AssetClass::Crypto)));
    let selected = desk.begin(&v);
    assert_eq!(selected.recommended_strategy.parameters.volume_curve.as_deref(), Some("FLAT"));
    assert_eq!(sizes(&mut desk, 10), [100; 10]);
}

#[test]
fn a_vwap_learns_its_curve_from_earlier_sessions() {
    let mut config = Config::default();
    config.algorithms.vwap_min_prints = 3;
    let mut desk = Desk::with(config, Some(instrument(AssetClass::Equity)));
    let day = 86_400;
    // Half of the volume of yesterday's minute was printed in its last third.
    for (second, size) in [(5, 100), (25, 100), (45, 200)] {
        desk.print_at(at(second - day), size);
    }
    let selected = desk.begin(&allocated(Algorithm::Vwap, 400, 60));
    assert_eq!(selected.recommended_strategy.parameters.volume_curve.as_deref(), Some("LEARNED"));
    assert_eq!(sizes(&mut desk, 3), [100, 100, 200]);
}

/// Almgren and Chriss: the more urgent, the more is traded first.
#[test]
fn an_implementation_shortfall_schedule_is_the_models_trajectory() {
    let first = |urgency| {
        let mut desk = Desk::new();
        let v = with_terms(allocated(Algorithm::ImplementationShortfall, 100_000, 3_600), |t| t.urgency = urgency);
        let v = AccountAllocation { order_value: fillstream_domain::Money::from_int(10_001_000).unwrap(), ..v };
        let selected = desk.begin(&v);
        assert_eq!((selected.used, selected.substitution_code.as_deref()), (Algorithm::ImplementationShortfall, None));
        assert!(selected.recommended_strategy.parameters.risk_aversion.is_some());
        units(desk.slice().quantity)
    };
    let slices = [Urgency::Low, Urgency::Normal, Urgency::High, Urgency::Urgent].map(first);
    // 48 slots: an even schedule would begin with 2,083.
    assert!(slices.is_sorted() && slices[0] >= 2_083 && slices[3] > 2 * slices[1], "{slices:?}");
}

#[test]
fn an_arrival_price_order_is_front_loaded_and_its_price_bounded() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::ArrivalPrice, 400, 80));
    let first = desk.slice();
    // 1 - (3/4)^2 of 400; 50 bps over the mid of 100.01, down to the tick.
    assert_eq!((first.quantity, first.limit_price), (qty(175), Some(px("100.51"))));
    assert_eq!((first.ord_type, first.time_in_force), (OrdType::Limit, TimeInForce::Ioc));
    // The order's own limit is stricter.
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::ArrivalPrice, 400, 80), "100.1"));
    assert_eq!(desk.slice().limit_price, Some(px("100.1")));
}

/// Trading rule 27: a completion at once, then after a wait that doubles, at most three, each with its time.
#[test]
fn rule_27_what_children_leave_over_is_completed_at_once_and_at_most_three_times() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Market, 100, 600));
    let first = desk.slice();
    assert_eq!((first.quantity, first.is_last, first.ord_type), (qty(100), false, OrdType::Market));
    // 60 found a venue and 50 of them a fill: 50 come back.
    desk.routed(&first, 60).nothing().fill(1, 50, 0);
    let second = desk.slice();
    assert_eq!((second.quantity, second.reason.as_deref()), (qty(50), Some("COMPLETION")));
    assert_eq!((second.due_at, second.expire_at), (at(0), at(30)), "at once, for 30 s");
    desk.routed(&second, 0).nothing().to(1);
    let third = desk.slice();
    desk.routed(&third, 0).to(2).nothing().to(3);
    let last = desk.slice();
    assert_eq!((last.slice_no, last.is_last), (4, true));
    // Nobody takes it: the schedule ends, and says so.
    desk.routed(&last, 0);
    let end = desk.slice();
    assert_eq!((end.quantity, end.is_last, end.reason.as_deref()), (Quantity::ZERO, true, Some("END")));
    desk.routed(&end, 0).to(700).nothing();
}

/// Trading rule 27: a schedule that still runs is not partial.
#[test]
fn rule_27_a_schedule_that_runs_is_not_completed() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 100, 60));
    let first = desk.slice();
    desk.routed(&first, 10).fill(1, 10, 0).to(19).nothing().to(20);
    // Its share by now: 66, less 10.
    assert_eq!(desk.slice().quantity, qty(56));
}

#[test]
fn a_cancel_stops_the_schedule_and_a_terminal_event_forgets_it() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 100, 60));
    desk.slice();
    let cancel = desk.event(OrderEventType::CancelRequested, Some((1, 33)));
    desk.bench.record(ORDERS, &cancel);
    desk.to(3_600);
    let last = desk.slice();
    assert_eq!((last.slice_no, last.is_last, last.quantity), (2, true, Quantity::ZERO));
    // Asked again, it says so again: the first answer may stand in a dead-letter topic.
    desk.bench.restart().record(ORDERS, &OrderEvent { event_id: "again".into(), ..cancel });
    assert_eq!(desk.slice().slice_no, 3);
    let end = OrderEvent { is_terminal: true, ..desk.event(OrderEventType::Cancelled, Some((1, 0))) };
    desk.bench.record(ORDERS, &end);
    assert!(desk.bench.state::<StrategyOrder>("orders").is_empty() && desk.bench.timers().is_empty());
}

#[test]
fn a_cancel_that_comes_before_the_approval_leaves_nothing_to_release_but_the_last_slice() {
    let mut desk = Desk::new();
    let cancel = OrderEvent { account_id: None, ..desk.event(OrderEventType::CancelRequested, None) };
    desk.bench.record(ORDERS, &cancel).record(ORDERS, &OrderEvent { event_id: "again".into(), ..cancel.clone() });
    desk.nothing();
    desk.bench.restart();
    desk.begin(&allocated(Algorithm::Twap, 100, 60));
    desk.to(100);
    let last = desk.slice();
    assert_eq!((last.slice_no, last.is_last, last.quantity), (1, true, Quantity::ZERO));
    desk.nothing();
    // Refused instead: the end is all that comes.
    let mut desk = Desk::new();
    let end = OrderEvent { event_type: OrderEventType::Rejected, is_terminal: true, ..cancel.clone() };
    desk.bench.record(ORDERS, &cancel).record(ORDERS, &OrderEvent { event_id: "end".into(), ..end });
    assert!(desk.bench.state::<StrategyOrder>("orders").is_empty());
}

/// Trading rule 32: after downtime a schedule goes on where it should be, without a burst.
#[test]
fn rule_32_after_downtime_one_slice_not_a_burst() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 1_000, 200));
    let first = desk.slice();
    desk.done(&first);
    desk.bench.restart().at(at(101));
    desk.quote("100", "100.02").bench.fire();
    let late = desk.slice();
    assert_eq!((late.quantity, late.due_at, late.reason.as_deref()), (qty(200), at(100), Some("CATCH_UP")));
    assert_eq!(late.target_qty, Some(qty(600)));
    desk.nothing();
}

/// A restart in the middle continues the same schedule, whatever its targets.
#[test]
fn a_restart_in_the_middle_continues_the_same_schedule() {
    let run = |restarts: bool| {
        let mut desk = Desk::new();
        let mut slices: Vec<Slice> = Vec::new();
        desk.begin(&allocated(Algorithm::ImplementationShortfall, 10_000, 200));
        for n in 1..=10 {
            let slice = desk.slice();
            desk.done(&slice).quote("100", "100.02");
            slices.push(slice);
            if restarts {
                desk.bench.restart();
            }
            desk.to(n * 20);
        }
        desk.nothing();
        slices
    };
    assert_eq!(run(false), run(true));
}

/// Trading rule 8: selected, used and the code stand in the event.
#[test]
fn rule_8_a_substitution_is_an_event() {
    // Nobody knows the volume that the trajectory needs, and nobody prints.
    for algorithm in [Algorithm::ImplementationShortfall, Algorithm::Pov] {
        let mut desk = Desk::with(Config::default(), None);
        let selected = desk.begin(&allocated(algorithm, 100, 60));
        assert_eq!((selected.requested, selected.used), (algorithm, Algorithm::Twap));
        assert_eq!(selected.substitution_code.as_deref(), Some(ALGORITHM_NOT_AVAILABLE));
        assert_eq!(desk.slice().quantity, qty(33));
    }
}

#[test]
fn what_nobody_takes_gets_no_strategy() {
    let mut desk = Desk::new();
    desk.bench.record(ALLOCATED, &AccountAllocation { account_id: None, ..allocated(Algorithm::Twap, 100, 60) });
    desk.nothing();
}

/// Trading rule 37: locked and crossed quotes never trigger a trade; they pass, and the schedule catches up.
#[test]
fn rule_37_nothing_is_released_on_a_locked_or_crossed_book() {
    for (bid, ask) in [("100.02", "100.02"), ("100.03", "100.02")] {
        let mut desk = Desk::new();
        desk.begin(&allocated(Algorithm::Twap, 100, 60));
        let first = desk.slice();
        desk.done(&first).to(19).quote(bid, ask).to(24).nothing();
        desk.quote("100", "100.02").to(25);
        let slice = desk.slice();
        assert_eq!((slice.quantity, slice.due_at, slice.timestamp), (qty(33), at(20), at(25)));
    }
}

#[test]
fn a_halt_a_gap_and_a_closed_market_pause_the_schedule() {
    let paused = |change: fn(&mut Desk)| {
        let mut desk = Desk::new();
        desk.begin(&allocated(Algorithm::Twap, 100, 60));
        let first = desk.slice();
        desk.done(&first).to(19);
        change(&mut desk);
        desk.to(39).quiet();
        desk.status("OPEN").quote("100", "100.02").to(40);
        assert_eq!(desk.slice().quantity, qty(67), "the last slot takes what is left");
    };
    paused(|desk| {
        desk.status("HALTED");
    });
    paused(|desk| {
        desk.status("CLOSED");
    });
    // The market has said nothing for longer than a quote may be old.
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 1_000, 200));
    let first = desk.slice();
    desk.done(&first).to(60);
    assert_eq!(desk.bench.take::<Slice>().len(), 3);
    desk.to(119).quiet();
}

#[test]
fn the_end_of_its_time_ends_the_schedule() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Market, 100, 50));
    let slice = desk.slice();
    desk.routed(&slice, 100).to(49).nothing().to(50);
    let end = desk.slice();
    assert_eq!((end.is_last, end.quantity, end.reason.as_deref()), (true, Quantity::ZERO, Some("END")));
    assert!(desk.order().is_done && desk.bench.timers().is_empty());
}

#[test]
fn an_immediate_order_is_released_once() {
    for tif in [TimeInForce::Ioc, TimeInForce::Fok] {
        let mut desk = Desk::new();
        desk.begin(&with_terms(allocated(Algorithm::Vwap, 100, 600), |t| t.time_in_force = tif));
        let slice = desk.slice();
        assert_eq!((slice.quantity, slice.is_last, slice.time_in_force), (qty(100), true, tif));
        desk.routed(&slice, 100).fill(1, 40, 0).to(700).nothing();
    }
}

/// A share of the volume that the order must not pass: of what was printed, and of what the average day has in a slot.
#[test]
fn a_participation_limit_caps_every_slice() {
    let mut desk = Desk::new();
    let limited = |v| with_terms(v, |t| t.max_participation_rate = Some("0.1".parse().unwrap()));
    // 1,000,000 a day of 6.5 h: 854 in 20 s.
    desk.begin(&limited(allocated(Algorithm::Twap, 3_000, 60)));
    let first = desk.slice();
    assert_eq!(first.quantity, qty(85));
    desk.done(&first).print(1_000).quote("100", "100.02").to(20);
    // A tenth of 1,000 printed and 854 expected, less 85.
    assert_eq!(desk.slice().quantity, qty(100));
    // Nobody knows a volume: a limit on a share of it is kept by not trading.
    let mut desk = Desk::with(Config::default(), None);
    desk.bench.record(ALLOCATED, &limited(allocated(Algorithm::Twap, 3_000, 60)));
    desk.quote("100", "100.02").to(59);
    let told: Vec<ExecutionStrategySelected> = desk.bench.take();
    let codes: Vec<_> = told.iter().filter_map(|e| e.change.as_ref()).map(|c| c.code.as_str()).collect();
    assert_eq!(codes, ["VOLUME_UNKNOWN"], "once");
    desk.nothing();
}

#[test]
fn slices_below_the_smallest_notional_wait_and_leave_no_dust() {
    let mut small = instrument(AssetClass::Equity);
    small.min_notional = fillstream_domain::Money::from_int(2_000).unwrap();
    let mut desk = Desk::with(Config::default(), Some(small));
    // 20 shares are worth 2,000; a slot has 15.
    desk.begin(&allocated(Algorithm::Twap, 75, 100));
    desk.nothing().to(20);
    let slice = desk.slice();
    assert_eq!(slice.quantity, qty(30));
    desk.done(&slice).to(59).nothing().to(60);
    // 30 of 45 would leave 15 behind that nobody may trade.
    assert_eq!(desk.slice().quantity, qty(45));
}

#[test]
fn plans_of_other_orders_change_nothing() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 100, 60));
    let slice = desk.slice();
    let before = desk.order();
    desk.bench.record(PLANS, &fillstream_schemas::execution::RoutingPlan { order_id: "o2".into(), ..plan(&slice, 33) });
    assert_eq!(desk.order(), before);
    let _: Vec<ExecutionStrategySelected> = desk.bench.take();
}

/// Each account's part of an order has a schedule of its own, and the news of one say nothing to the other.
#[test]
fn parts_of_two_accounts_are_worked_apart() {
    let mut desk = Desk::new();
    let whole = |a: AccountAllocation| AccountAllocation { parent_qty: qty(100), ..a };
    desk.begin(&whole(allocated(Algorithm::Twap, 60, 40)));
    let first = desk.slice();
    let later = AccountAllocation {
        event_id: "v2".into(),
        account_id: Some("A2".into()),
        due_at: at(5),
        ..whole(allocated(Algorithm::Twap, 40, 40))
    };
    assert_eq!(desk.begin(&later).starts_at, at(5));
    desk.nothing().done(&first).to(5);
    let second = desk.slice();
    assert_eq!((second.account_id.as_str(), second.slice_no, second.quantity), ("A2", 1, qty(20)));
    // Nothing is left for A2: nothing more is released for it.
    let less = AccountAllocation { event_id: "v3".into(), kind: AllocationKind::Reduction, quantity: qty(0), ..later };
    desk.bench.record(ALLOCATED, &less);
    desk.nothing();
    assert_eq!(desk.bench.state::<StrategyOrder>("orders")["o1/A2"].ord_qty, qty(0));
    let cancel = desk.event(OrderEventType::CancelRequested, None);
    desk.bench.record(ORDERS, &cancel);
    let ends = desk.bench.take::<Slice>();
    let ends: Vec<_> = ends.iter().map(|s| (s.account_id.as_str(), s.slice_no, s.is_last)).collect();
    assert_eq!(ends, [("A1", 2, true), ("A2", 2, true)]);
}
