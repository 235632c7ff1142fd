//! What accounts that are allocated later must know of their order: the terms in force, that it is cancelled or suspended.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ALLOCATED, Desk, ORDERS, allocated, at, px, qty, with_limit};
use fillstream_domain::{Algorithm, Quantity};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, ExecutionStrategySelected, OrderEvent, OrderEventType, OrderTerms, Slice,
    StrategyChangeKind,
};
use fillstream_schemas::state::StrategyOrder;

/// The order is replaced with revision 7: so much, with this limit.
fn replaced(desk: &mut Desk, quantity: i64, limit: &str) {
    let terms = OrderTerms { limit_price: Some(px(limit)), ..allocated(Algorithm::Twap, 1, 60).terms };
    let event = OrderEvent {
        revision: 7,
        ord_qty: qty(quantity),
        new_ord_qty: Some(qty(quantity)),
        terms: Some(terms),
        ..desk.event(OrderEventType::Replaced, None)
    };
    desk.bench.record(ORDERS, &event);
}

/// So much more for an account, with the terms of a revision.
fn more(account: &str, quantity: i64, terms_revision: i32, limit: &str) -> AccountAllocation {
    AccountAllocation {
        event_id: format!("more-{account}"),
        account_id: Some(account.into()),
        kind: AllocationKind::Fallback,
        quantity: qty(quantity),
        terms_revision,
        ..with_limit(allocated(Algorithm::Twap, 300, 60), limit)
    }
}

#[test]
fn an_allocation_that_comes_after_a_replace_is_worked_by_the_replaced_terms() {
    let mut desk = Desk::new();
    replaced(&mut desk, 600, "101");
    desk.bench.restart();
    desk.quote("100", "100.02");
    desk.begin(&with_limit(allocated(Algorithm::Twap, 300, 60), "100.5"));
    let first = desk.slice();
    assert_eq!((first.quantity, first.limit_price, first.terms_revision), (qty(200), Some(px("101")), 7));
    assert_eq!(desk.order().ord_qty, qty(600), "a single account has all of the order");
    // Its end proves something to whoever waits for the end of these terms.
    desk.done(&first).to(20);
    let event = desk.event(OrderEventType::CancelRequested, None);
    desk.bench.take::<Slice>();
    desk.bench.record(ORDERS, &event);
    let last = desk.slice();
    assert_eq!((last.is_last, last.quantity, last.terms_revision), (true, Quantity::ZERO, 7));
}

#[test]
fn another_account_that_takes_over_after_a_replace_has_its_own_share_and_the_replaced_terms() {
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::Twap, 300, 60), "100.5"));
    let first = desk.slice();
    desk.done(&first);
    replaced(&mut desk, 600, "101");
    desk.bench.take::<Slice>();
    desk.bench.take::<ExecutionStrategySelected>();
    // Told by former terms, by whoever had not heard of the replace.
    desk.bench.record(ALLOCATED, &more("A2", 90, 0, "100.5"));
    let slice = desk.slice();
    assert_eq!((slice.account_id.as_str(), slice.quantity), ("A2", qty(30)));
    assert_eq!((slice.limit_price, slice.terms_revision), (Some(px("101")), 7));
}

#[test]
fn terms_that_come_with_more_for_an_account_are_in_force_before_the_order_says_so() {
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::Twap, 300, 60), "100.5"));
    let first = desk.slice();
    desk.done(&first).to(10);
    desk.bench.record(ALLOCATED, &more("A1", 100, 7, "101"));
    let slice = desk.slice();
    // 300 are left over 50 s: two slots.
    assert_eq!((slice.quantity, slice.limit_price, slice.terms_revision), (qty(150), Some(px("101")), 7));
    let before = desk.order();
    replaced(&mut desk, 400, "101");
    desk.nothing();
    assert_eq!(desk.order(), before, "the schedule stays as it was made");
    // Older ones change nothing any more.
    desk.bench.record(ALLOCATED, &more("A1", 100, 0, "100.5"));
    assert_eq!((desk.order().terms_revision, desk.order().terms.limit_price), (7, Some(px("101"))));
}

#[test]
fn a_cancel_that_comes_before_the_allocation_stops_it_at_once() {
    let mut desk = Desk::new();
    let event = desk.event(OrderEventType::CancelRequested, None);
    desk.bench.record(ORDERS, &event).restart();
    desk.quote("100", "100.02");
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let last = desk.slice();
    assert_eq!((last.is_last, last.quantity), (true, Quantity::ZERO));
    let end = OrderEvent { is_terminal: true, ..desk.event(OrderEventType::Cancelled, None) };
    desk.bench.record(ORDERS, &end);
    assert!(desk.bench.state::<StrategyOrder>("orders").is_empty());
    desk.to(100).nothing();
    assert_eq!(desk.bench.now(), at(100));
}

fn say(desk: &mut Desk, event_type: OrderEventType) {
    let event = desk.event(event_type, None);
    desk.bench.record(ORDERS, &event).restart();
    desk.quote("100", "100.02");
}

fn changes(desk: &mut Desk) -> Vec<StrategyChangeKind> {
    let told = desk.bench.take::<ExecutionStrategySelected>();
    told.into_iter().filter_map(|event| event.change).map(|change| change.kind).collect()
}

#[test]
fn an_order_suspended_before_its_allocation_releases_nothing_until_it_is_resumed() {
    let mut desk = Desk::new();
    say(&mut desk, OrderEventType::Suspended);
    desk.bench.record(ALLOCATED, &allocated(Algorithm::Twap, 300, 60));
    assert_eq!(changes(&mut desk), [StrategyChangeKind::Paused], "and that it rests is told");
    desk.to(10).nothing();
    assert!(desk.bench.timers().is_empty() && !desk.order().stopped);
    say(&mut desk, OrderEventType::Resumed);
    assert_eq!(changes(&mut desk), [StrategyChangeKind::Resumed]);
    let first = desk.slice();
    assert_eq!((first.quantity, first.is_last), (qty(100), false));
    // An account that comes later begins at once.
    desk.bench.record(ALLOCATED, &more("A2", 90, 0, "101"));
    assert_eq!(desk.slice().account_id, "A2");
}

#[test]
fn an_order_suspended_after_its_allocation_rests_with_every_account_that_comes_later() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let first = desk.slice();
    desk.done(&first);
    say(&mut desk, OrderEventType::Suspended);
    desk.bench.record(ALLOCATED, &more("A2", 90, 0, "101"));
    assert_eq!(changes(&mut desk), [StrategyChangeKind::Paused, StrategyChangeKind::Paused]);
    desk.to(25).nothing();
    say(&mut desk, OrderEventType::Resumed);
    let released: Vec<Slice> = desk.bench.take();
    let accounts: Vec<&str> = released.iter().map(|slice| slice.account_id.as_str()).collect();
    assert_eq!(accounts, ["A1", "A2"]);
}

#[test]
fn an_order_suspended_and_resumed_before_its_allocation_begins_at_once() {
    let mut desk = Desk::new();
    say(&mut desk, OrderEventType::Suspended);
    say(&mut desk, OrderEventType::Resumed);
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    assert_eq!(desk.slice().quantity, qty(100));
}

#[test]
fn a_cancel_of_an_order_suspended_before_its_allocation_is_no_suspension() {
    let mut desk = Desk::new();
    say(&mut desk, OrderEventType::Suspended);
    say(&mut desk, OrderEventType::CancelRequested);
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    assert!(desk.slice().is_last, "the end that the cancel waits for");
    // The cancel of one that rests already.
    let mut desk = Desk::new();
    say(&mut desk, OrderEventType::Suspended);
    desk.bench.record(ALLOCATED, &allocated(Algorithm::Twap, 300, 60));
    changes(&mut desk);
    say(&mut desk, OrderEventType::CancelRequested);
    assert!(desk.slice().is_last);
}

#[test]
fn nothing_is_remembered_of_an_order_that_is_only_resumed() {
    let mut desk = Desk::new();
    say(&mut desk, OrderEventType::Resumed);
    assert!(desk.bench.state::<StrategyOrder>("orders").is_empty());
}
