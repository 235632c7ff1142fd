//! STOP and STOP_LIMIT orders (trading rule 7): what sets them off, and what they are then.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ALLOCATED, Desk, ORDERS, allocated, at, px, qty, selling, with_limit, with_terms};
use fillstream_domain::{Algorithm, OrdType, Quantity, TimeInForce, TimestampMicros};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, ExecutionStrategySelected, OrderEvent, OrderEventType, Slice, StrategyChange,
    StrategyChangeKind,
};
use proptest::prelude::*;

/// Buys 100 when 101 is printed, the market being 100 / 100.02.
fn stop() -> AccountAllocation {
    with_terms(allocated(Algorithm::Market, 100, 600), |t| {
        (t.ord_type, t.stop_price) = (OrdType::Stop, Some(px("101")))
    })
}

fn begun(v: &AccountAllocation) -> Desk {
    let mut desk = Desk::new();
    desk.print_at_px(at(-1), "100").begin(v);
    desk.nothing();
    desk
}

fn triggered(desk: &mut Desk) -> StrategyChange {
    let told: Vec<ExecutionStrategySelected> = desk.bench.take();
    let change = told[0].change.clone().unwrap();
    assert_eq!((told.len(), change.kind), (1, StrategyChangeKind::Triggered));
    change
}

#[test]
fn rule_7_a_print_between_two_looks_sets_a_stop_off() {
    let mut desk = begun(&stop());
    desk.to(30).nothing();
    desk.print_at_px(at(30), "100.99").to(32).nothing();
    // Up and down again before anybody looks.
    desk.bench.restart();
    desk.print_at_px(at(32), "101").print_at_px(at(32), "100.5").quote("100.4", "100.42").to(34);
    let change = triggered(&mut desk);
    assert_eq!(
        (change.trigger_price, change.trigger_time, change.code.as_str()),
        (Some(px("101")), Some(at(32)), "STOP_PRINT")
    );
    let slice = desk.slice();
    assert_eq!((slice.ord_type, slice.quantity, slice.limit_price), (OrdType::Market, qty(100), None));
    // Set off, it stays so.
    desk.bench.restart();
    desk.quote("99", "99.02").routed(&slice, 100).fill(1, 0, 0);
    assert_eq!(desk.slice().quantity, qty(100));
}

#[test]
fn rule_7_a_gap_through_the_stop_sets_a_sell_off_at_what_is_there() {
    let sell = with_terms(selling(stop()), |t| {
        (t.ord_type, t.stop_price, t.limit_price) = (OrdType::StopLimit, Some(px("99")), Some(px("98.5")));
    });
    let mut desk = begun(&sell);
    desk.print_at_px(at(1), "99.01").to(3).nothing();
    desk.print_at_px(at(3), "97").quote("96.98", "97").to(5);
    assert_eq!(triggered(&mut desk).trigger_price, Some(px("97")));
    let slice = desk.slice();
    assert_eq!((slice.ord_type, slice.limit_price), (OrdType::Limit, Some(px("98.5"))), "no worse than its limit");
}

#[test]
fn rule_7_where_nothing_is_printed_a_fresh_touch_sets_it_off_and_a_crossed_one_does_not() {
    let mut desk = Desk::new();
    desk.begin(&stop());
    desk.to(5).nothing().quote("101.1", "101.05").to(8).nothing().quote("100.98", "101").to(10);
    let change = triggered(&mut desk);
    assert_eq!((change.trigger_price, change.code.as_str()), (Some(px("101")), "STOP_QUOTE"));
    // Where there are prints, only a print does.
    let mut desk = begun(&stop());
    desk.quote("101", "101.02").to(30).nothing();
}

fn say(desk: &mut Desk, event_type: OrderEventType) {
    let event = desk.event(event_type, None);
    desk.bench.record(ORDERS, &event);
    desk.bench.take::<ExecutionStrategySelected>();
}

fn replace(desk: &mut Desk, change: impl FnOnce(&mut fillstream_schemas::execution::OrderTerms)) {
    let mut terms = desk.order().terms;
    change(&mut terms);
    let event =
        OrderEvent { revision: 7, terms: Some(terms), ord_qty: qty(100), ..desk.event(OrderEventType::Replaced, None) };
    desk.bench.record(ORDERS, &event);
    desk.bench.take::<ExecutionStrategySelected>();
}

#[test]
fn rule_7_a_replaced_stop_counts_from_then_on() {
    let mut desk = begun(&stop());
    desk.print_at_px(at(1), "100.8").to(10);
    replace(&mut desk, |terms| terms.stop_price = Some(px("100.7")));
    // Neither what was printed before, nor less.
    desk.nothing().print_at_px(at(11), "100.69").to(13).nothing();
    desk.print_at_px(at(13), "100.7").to(15);
    triggered(&mut desk);
    assert_eq!(desk.slice().terms_revision, 7);
}

#[test]
fn rule_7_other_terms_leave_what_was_seen_and_what_was_set_off_as_it_is() {
    let mut desk = begun(&stop());
    desk.to(10).print_at_px(at(10), "101");
    replace(&mut desk, |terms| terms.horizon_us = 30_000_000);
    // The print of before the replace was not looked at yet.
    let slice = desk.slice();
    assert_eq!((slice.quantity, slice.expire_at), (qty(100), at(40)), "its time counts from when it was set off");
    desk.routed(&slice, 100).to(20);
    replace(&mut desk, |terms| terms.stop_price = Some(px("150")));
    desk.fill(1, 0, 0);
    assert_eq!(desk.slice().quantity, qty(100), "what was set off stays so");
}

#[test]
fn rule_7_a_cancel_or_the_end_before_the_trigger_releases_nothing() {
    let mut desk = begun(&stop());
    let event = desk.event(OrderEventType::CancelRequested, None);
    desk.bench.record(ORDERS, &event);
    let last = desk.slice();
    assert_eq!((last.is_last, last.quantity), (true, Quantity::ZERO));
    desk.print_at_px(at(1), "102").to(10).nothing();
    // It waits to the order's end, whatever the horizon of its schedule.
    let mut desk = begun(&with_terms(stop(), |terms| (terms.horizon_us, terms.expire_at) = (20_000_000, at(200))));
    desk.to(199).nothing();
    desk.to(200);
    let last = desk.slice();
    assert_eq!((last.is_last, last.quantity), (true, Quantity::ZERO), "untriggered");
    desk.print_at_px(at(199), "102");
    say(&mut desk, OrderEventType::Suspended);
    say(&mut desk, OrderEventType::Resumed);
    desk.to(300).nothing();
    assert!(desk.bench.timers().is_empty());
}

#[test]
fn rule_7_a_print_after_the_end_that_is_seen_late_sets_nothing_off() {
    let mut desk = begun(&with_terms(stop(), |terms| terms.expire_at = at(20)));
    desk.to(19).print_at_px(at(25), "102").bench.at(at(30)).fire();
    assert!(desk.slice().is_last);
    desk.nothing();
}

#[test]
fn rule_7_a_late_print_sets_a_stop_off_unless_it_is_too_late() {
    let mut desk = begun(&stop());
    desk.to(100).quote("100", "100.02").print_at_px(at(100), "100.1").to(105);
    // Of more than 30 s before the market's time, then of less.
    desk.print_at_px(at(69), "101.5").to(107).nothing();
    desk.print_at_px(at(71), "101.5").to(108);
    assert_eq!(triggered(&mut desk).trigger_time, Some(at(71)));
}

#[test]
fn rule_7_what_is_printed_while_it_is_suspended_does_not_count() {
    let mut desk = Desk::new();
    desk.print_px("100").bench.record(ALLOCATED, &stop());
    say(&mut desk, OrderEventType::Suspended);
    desk.print_at_px(at(1), "102").to(10).nothing();
    say(&mut desk, OrderEventType::Resumed);
    desk.bench.restart();
    desk.quote("100", "100.02").to(15).nothing();
    desk.print_at_px(at(15), "101").to(17);
    assert_eq!(triggered(&mut desk).trigger_time, Some(at(15)));
    // Nobody had looked at the last one before it was suspended.
    let mut desk = begun(&with_terms(stop(), |terms| terms.time_in_force = TimeInForce::Gtc));
    desk.to(10).print_at_px(at(10), "101.2");
    say(&mut desk, OrderEventType::Suspended);
    desk.print_at_px(at(11), "103").to(20).nothing();
    let event = desk.event(OrderEventType::Resumed, None);
    desk.bench.record(ORDERS, &event);
    let told: Vec<ExecutionStrategySelected> = desk.bench.take();
    assert_eq!(told.last().unwrap().change.as_ref().unwrap().trigger_price, Some(px("101.2")));
}

#[test]
fn rule_7_what_is_set_off_in_a_halt_trades_when_the_market_does() {
    let mut desk = begun(&stop());
    desk.to(10).print_at_px(at(10), "101").status("HALTED").to(12);
    let told: Vec<ExecutionStrategySelected> = desk.bench.take();
    let kinds: Vec<StrategyChangeKind> = told.iter().map(|e| e.change.as_ref().unwrap().kind).collect();
    assert_eq!(kinds, [StrategyChangeKind::Triggered, StrategyChangeKind::Paused]);
    desk.to(15).nothing().status("OPEN").quote("101", "101.02").to(25);
    desk.bench.take::<ExecutionStrategySelected>();
    assert_eq!(desk.slice().quantity, qty(100));
    // A touch is nothing that can be had while it lasts.
    let mut desk = Desk::new();
    desk.begin(&stop());
    desk.status("HALTED").quote("101.1", "101.2").to(20).nothing();
}

/// An account's share of an order of 600.
fn share(account: &str, kind: AllocationKind) -> AccountAllocation {
    AccountAllocation {
        event_id: account.into(),
        account_id: Some(account.into()),
        kind,
        parent_qty: qty(600),
        account_count: 2,
        ..stop()
    }
}

#[test]
fn rule_7_the_stop_is_the_orders_whichever_accounts_work_it() {
    let mut desk = Desk::new();
    desk.print_at_px(at(-1), "100").begin(&share("A1", AllocationKind::Primary));
    let later = AccountAllocation { due_at: at(10), ..share("A2", AllocationKind::Primary) };
    desk.begin(&later);
    desk.print_at_px(at(3), "101").print_at_px(at(4), "100").to(9);
    triggered(&mut desk);
    assert_eq!(desk.slice().account_id, "A1");
    // Its part had not begun when the market was there.
    desk.to(10);
    let change = triggered(&mut desk);
    assert_eq!((change.code.as_str(), change.trigger_time), ("STOP_SHARED", Some(at(3))));
    assert_eq!(desk.slice().account_id, "A2");
    // Nor had that of one who takes over.
    desk.bench.restart();
    desk.quote("100", "100.02").bench.record(ALLOCATED, &share("A3", AllocationKind::Fallback));
    let told: Vec<ExecutionStrategySelected> = desk.bench.take();
    assert_eq!(told[1].change.as_ref().unwrap().code, "STOP_SHARED");
    assert_eq!(desk.slice().account_id, "A3");
}

#[test]
fn rule_7_the_time_the_price_and_the_volume_count_from_the_trigger() {
    let slots = |algorithm| {
        let twap = with_terms(stop(), |terms| (terms.algorithm, terms.horizon_us) = (algorithm, 60_000_000));
        let mut desk = begun(&twap);
        desk.to(100).quote("101", "101.02").print(5_000).print_at_px(at(100), "101").to(101);
        let told: Vec<ExecutionStrategySelected> = desk.bench.take();
        assert_eq!(told.last().unwrap().ends_at, at(161));
        (desk, told)
    };
    let (mut desk, told) = slots(Algorithm::Twap);
    assert_eq!(told[0].time_allocation.iter().map(|t| t.due_at).collect::<Vec<_>>(), [at(101), at(121), at(141)]);
    assert_eq!(desk.slice().quantity, qty(33));
    let pin = desk.order().pin.unwrap();
    assert_eq!((pin.arrived_at, pin.bid), (at(101), px("101")));
    // POV: nothing is to be caught up with of what was traded before.
    let (mut desk, _) = slots(Algorithm::Pov);
    desk.nothing().print_at(at(105), 100).to(130);
    let slice = desk.slice();
    assert_eq!((slice.market_volume, slice.quantity), (Some(qty(100)), qty(10)));
}

#[test]
fn rule_7_every_algorithm_works_it_from_the_trigger_on() {
    let algorithms = [
        Algorithm::Auto,
        Algorithm::Market,
        Algorithm::Limit,
        Algorithm::Twap,
        Algorithm::Vwap,
        Algorithm::ImplementationShortfall,
        Algorithm::ArrivalPrice,
        Algorithm::Iceberg,
        Algorithm::Sniper,
        Algorithm::Pov,
    ];
    for algorithm in algorithms {
        let order = with_terms(with_limit(stop(), "102"), |terms| {
            (terms.algorithm, terms.ord_type) = (algorithm, OrdType::StopLimit);
        });
        let mut desk = begun(&order);
        desk.to(20).nothing().quote("101", "101.02").print_at_px(at(20), "101").to(22);
        triggered(&mut desk);
        for second in (25..=600).step_by(5) {
            desk.quote("101", "101.02").print(200).to(second);
        }
        let slices: Vec<Slice> = desk.bench.take();
        assert!(slices.iter().any(|slice| slice.quantity.is_positive()), "{algorithm:?} releases nothing");
        for slice in slices.iter().filter(|slice| slice.quantity.is_positive()) {
            assert_eq!((slice.ord_type, slice.timestamp >= at(21)), (OrdType::Limit, true), "{algorithm:?}");
            assert!(slice.limit_price.is_some_and(|price| price <= px("102")), "{algorithm:?}: {slice:?}");
        }
    }
}

#[test]
fn rule_7_an_algorithm_that_could_not_run_at_the_arrival_may_run_at_the_trigger() {
    // Nobody has printed: POV is substituted. Then somebody does, at the stop.
    let mut desk = Desk::new();
    let selected = desk.begin(&with_terms(stop(), |terms| terms.algorithm = Algorithm::Pov));
    assert_eq!(selected.used, Algorithm::Twap);
    assert!(selected.strategy_rationale.ends_with("waits for its stop 101"), "{}", selected.strategy_rationale);
    desk.to(1).print_at_px(at(1), "101").to(2);
    let told: Vec<ExecutionStrategySelected> = desk.bench.take();
    let changes: Vec<_> = told.iter().map(|e| e.change.as_ref().unwrap()).map(|c| (c.kind, c.to.as_str())).collect();
    assert_eq!(changes, [(StrategyChangeKind::Algorithm, "POV"), (StrategyChangeKind::Triggered, "RUNNING")]);
}

proptest! {
    /// Whatever is printed, in whatever order and with whatever restarts: an order is set off by the first look after a print at its stop
    /// or beyond it, once, and releases nothing before.
    #[test]
    fn rule_7_an_order_is_set_off_by_the_first_print_through_its_stop(
        prints in prop::collection::vec((1_i64..60, 9_900_i64..10_120, any::<bool>()), 0..12),
        cents in 9_950_i64..10_110,
        buys in any::<bool>(),
    ) {
        let text = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
        let order = with_terms(stop(), |terms| terms.stop_price = Some(px(&text(cents))));
        let mut desk = Desk::new();
        // Of a market that prints, far from every stop: 100 is printed before it is watched.
        desk.print_at_px(at(-1), "100").begin(&if buys { order } else { selling(order) });
        desk.nothing();
        let mut prints = prints;
        prints.sort_by_key(|(second, ..)| *second);
        let through = |price: i64| if buys { price >= cents } else { price <= cents };
        let first = prints.iter().find(|(_, price, _)| through(*price)).map(|(second, price, _)| (*second, *price));
        let mut told: Vec<(TimestampMicros, StrategyChange)> = Vec::new();
        let mut released: Vec<TimestampMicros> = Vec::new();
        let mut listen = |desk: &mut Desk| {
            let events = desk.bench.take::<ExecutionStrategySelected>();
            told.extend(events.into_iter().filter_map(|event| Some((event.timestamp, event.change?))));
            released.extend(desk.bench.take::<Slice>().into_iter().map(|slice| slice.timestamp));
        };
        for (second, price, restarts) in prints {
            desk.to(second);
            listen(&mut desk);
            desk.print_at_px(at(second), &text(price));
            if restarts {
                desk.bench.restart();
                desk.quote("100", "100.02");
            }
        }
        desk.to(61);
        listen(&mut desk);
        let told: Vec<_> = told.iter().map(|(now, c)| (*now, c.kind, c.trigger_time, c.trigger_price)).collect();
        let expected: Vec<_> = first.iter().map(|(second, price)| {
            (at(second + 1), StrategyChangeKind::Triggered, Some(at(*second)), Some(px(&text(*price))))
        }).collect();
        prop_assert_eq!(told, expected);
        prop_assert_eq!(released.first().copied(), first.map(|(second, _)| at(second + 1)));
    }
}
