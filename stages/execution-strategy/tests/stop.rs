//! STOP and STOP_LIMIT orders (trading rule 7): what sets them off, and what they are then.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ALLOCATED, Desk, ORDERS, allocated, at, px, qty, selling, with_terms};
use fillstream_domain::{Algorithm, OrdType, Quantity};
use fillstream_schemas::execution::{
    AccountAllocation, ExecutionStrategySelected, OrderEvent, OrderEventType, StrategyChange, StrategyChangeKind,
};

/// Buys 100 when 101 is printed, the market being 100 / 100.02.
fn stop() -> AccountAllocation {
    with_terms(allocated(Algorithm::Market, 100, 600), |t| {
        (t.ord_type, t.stop_price) = (OrdType::Stop, Some(px("101")))
    })
}

fn begun(v: &AccountAllocation) -> Desk {
    let mut desk = Desk::new();
    desk.print_px("100").begin(v);
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

#[test]
fn rule_7_a_replaced_stop_counts_from_then_on() {
    let mut desk = begun(&stop());
    desk.print_at_px(at(1), "100.8").to(10);
    let mut terms = desk.order().terms;
    terms.stop_price = Some(px("100.7"));
    let event =
        OrderEvent { revision: 7, terms: Some(terms), ord_qty: qty(100), ..desk.event(OrderEventType::Replaced, None) };
    desk.bench.record(ORDERS, &event);
    desk.bench.take::<ExecutionStrategySelected>();
    // Neither what was printed before, nor less.
    desk.nothing().print_at_px(at(11), "100.69").to(13).nothing();
    desk.print_at_px(at(13), "100.7").to(15);
    triggered(&mut desk);
    assert_eq!(desk.slice().terms_revision, 7);
}

#[test]
fn rule_7_a_cancel_or_the_end_before_the_trigger_releases_nothing() {
    let mut desk = begun(&stop());
    let event = desk.event(OrderEventType::CancelRequested, None);
    desk.bench.record(ORDERS, &event);
    let last = desk.slice();
    assert_eq!((last.is_last, last.quantity), (true, Quantity::ZERO));
    desk.print_at_px(at(1), "102").to(10).nothing();
    let mut desk = begun(&stop());
    desk.to(600);
    let last = desk.slice();
    assert_eq!((last.is_last, last.quantity), (true, Quantity::ZERO), "untriggered");
    desk.to(700).nothing();
}

#[test]
fn rule_7_a_late_print_sets_a_stop_off_and_a_suspended_order_waits() {
    let mut desk = begun(&stop());
    desk.to(20).print_at_px(at(20), "100.1").to(25);
    // Of 18 s, heard of at 25 s.
    desk.print_at_px(at(18), "101.5").to(26);
    assert_eq!(triggered(&mut desk).trigger_time, Some(at(18)));
    let mut desk = Desk::new();
    desk.print_px("100").bench.record(ALLOCATED, &stop());
    let event = desk.event(OrderEventType::Suspended, None);
    desk.bench.record(ORDERS, &event);
    desk.print_at_px(at(1), "102").to(10).quiet();
}
