//! What follows on the bench from account orders that fail, late fills and replaces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, ORDERS, World, allocations, approved, at, balanced, event, filled_in, got, num, shares};
use fillstream_account_allocation::follow::CHILDREN_REJECTED;
use fillstream_domain::{Quantity, Side};
use fillstream_schemas::execution::{
    AccountAllocation, AccountFigures, AllocationKind, OrderEvent, OrderEventType, OrderTerms, ParentStatus,
    ValidatedOrder,
};
use fillstream_schemas::state::{AllocationAccount, AllocationOrder};
use fillstream_testkit::StageBench;

/// 200 over A1 and A2, while A3 may not take part; then it may.
fn shared_by_two() -> (World, StageBench, ValidatedOrder) {
    let mut world = World::of(3);
    world.accounts[2].available_margin = Some(num("900"));
    let mut bench = world.bench();
    let v = approved("O1", Side::Buy, "200");
    assert_eq!(got(&allocations(&mut bench, &v)), shares(&[("A1", "100"), ("A2", "100")]));
    (world.accounts[2].available_margin, world.accounts[2].version) = (Some(num("5000")), 2);
    world.load(&mut bench);
    (world, bench, v)
}

fn ended(v: &ValidatedOrder, account: &str, cum: &str, total: (&str, &str), code: &str) -> OrderEvent {
    let mut event = filled_in(v, account, "100", cum, total);
    event.event_id.push_str(code);
    event.account.as_mut().unwrap().ended_code = Some(code.to_owned());
    event
}

fn replaced(v: &ValidatedOrder, ord_qty: &str) -> OrderEvent {
    let totals = event(v, OrderEventType::Other, ParentStatus::Working, "0", "0");
    OrderEvent { event_id: format!("to {ord_qty}"), ord_qty: num(ord_qty), ..totals }
}

fn written(bench: &mut StageBench, event: &OrderEvent) -> Vec<AccountAllocation> {
    bench.record(ORDERS, event);
    let rows = bench.take::<AccountAllocation>();
    bench.expect_no_more();
    balanced(&rows);
    rows
}

#[test]
fn rule_25_rejected_children_let_another_account_take_over_at_once() {
    let (_, mut bench, v) = shared_by_two();
    let rows = written(&mut bench, &ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED));
    assert_eq!(got(&rows), shares(&[("A3", "66")]));
    let row = &rows[0];
    assert_eq!((row.kind, row.revision, row.account_no, row.account_count), (AllocationKind::Fallback, 2, 1, 1));
    assert_eq!((row.unallocated_qty, row.unallocated_code.as_deref()), (num("4"), Some("FALLBACK_REDUCED")));
    assert_eq!((row.due_at, row.shares.len()), (at(NOON), 3));
    assert!(row.rationale.starts_with("the children of A1 were rejected, 30 filled; "), "{}", row.rationale);
    assert_eq!((row.ended_account_id.as_deref(), row.ended_account_qty), (Some("A1"), Some(num("30"))));
    let again = OrderEvent { event_id: "again".into(), ..ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED) };
    assert_eq!(written(bench.restart(), &again), []);
}

#[test]
fn rule_27_a_late_fill_takes_from_what_took_over() {
    let (_, mut bench, v) = shared_by_two();
    written(&mut bench, &ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED));
    let rows = written(&mut bench, &filled_in(&v, "A1", "100", "40", ("40", "400")));
    assert_eq!((got(&rows), rows[0].kind, rows[0].revision), (shares(&[("A3", "60")]), AllocationKind::Reduction, 3));
    assert_eq!((rows[0].unallocated_qty, rows[0].ended_account_qty), (Quantity::ZERO, Some(num("40"))));
    assert_eq!(rows[0].rationale, "A1 was filled late, 40 in all; A3 reduced to 60");
    assert_eq!(bench.state::<AllocationAccount>("accounts")["P1/A1"].positions["X"].quantity, num("40"));
    // Of what A3 filled itself nothing can be taken.
    written(&mut bench, &filled_in(&v, "A3", "66", "60", ("100", "1000")));
    assert_eq!(written(&mut bench, &filled_in(&v, "A1", "100", "50", ("110", "1100"))).len(), 1, "A2 has leaves");
    let open = &bench.state::<AllocationOrder>("open")["P1/O1"];
    let quantities: Vec<String> = open.parts.iter().map(|part| part.quantity.to_string()).collect();
    assert_eq!(quantities, ["50", "90", "60"]);
}

#[test]
fn rule_27_a_late_fill_that_fits_what_nobody_has_reduces_nobody() {
    let (_, mut bench, v) = shared_by_two();
    written(&mut bench, &ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED));
    let rows = written(&mut bench, &filled_in(&v, "A1", "100", "33", ("33", "330")));
    assert_eq!((rows.len(), rows[0].kind, rows[0].revision), (1, AllocationKind::None, 3));
    assert_eq!((rows[0].unallocated_qty, rows[0].ended_account_qty), (num("1"), Some(num("33"))));
}

#[test]
fn rule_27_no_other_end_and_no_stopped_order_is_taken_over() {
    let (_, mut bench, v) = shared_by_two();
    assert_eq!(written(&mut bench, &ended(&v, "A1", "30", ("30", "300"), "SCHEDULE_COMPLETE")), []);
    written(&mut bench, &event(&v, OrderEventType::CancelRequested, ParentStatus::CancelPending, "30", "300"));
    assert_eq!(written(&mut bench, &ended(&v, "A2", "0", ("30", "300"), CHILDREN_REJECTED)), []);
}

#[test]
fn a_late_fill_after_the_order_has_ended_reduces_nobody() {
    let (_, mut bench, v) = shared_by_two();
    written(&mut bench, &ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED));
    let end = event(&v, OrderEventType::Cancelled, ParentStatus::Cancelled, "30", "300");
    assert_eq!(written(&mut bench, &end), []);
    let mut late = filled_in(&v, "A1", "100", "40", ("40", "400"));
    (late.event_type, late.status) = (OrderEventType::Amended, ParentStatus::Cancelled);
    let rows = written(bench.restart(), &late);
    assert_eq!((rows.len(), rows[0].kind, rows[0].ended_account_qty), (1, AllocationKind::None, Some(num("34"))));
    assert_eq!(bench.state::<AllocationAccount>("accounts")["P1/A1"].positions["X"].quantity, num("40"));
}

#[test]
fn rule_27_an_order_that_is_being_ended_gives_up_what_a_failed_account_left() {
    let (_, mut bench, v) = shared_by_two();
    let asks_again = |n: i32| OrderEvent {
        event_id: format!("again {n}"),
        event_type: OrderEventType::CancelRequested,
        status: ParentStatus::CancelPending,
        ..ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED)
    };
    let rows = written(&mut bench, &asks_again(1));
    let row = &rows[0];
    assert_eq!((rows.len(), row.kind, row.account_id.as_deref()), (1, AllocationKind::None, None));
    assert_eq!((row.ended_account_id.as_deref(), row.ended_account_qty), (Some("A1"), Some(num("30"))));
    assert_eq!((row.unallocated_qty, row.unallocated_code.as_deref()), (num("70"), Some("NO_ELIGIBLE_ACCOUNT")));
    // Whoever has not heard it is told again, and nothing changes.
    let again = written(bench.restart(), &asks_again(2));
    assert_eq!((again[0].revision, again[0].unallocated_qty), (row.revision + 1, num("70")));
    assert_eq!(again[0].ended_account_qty, Some(num("30")));
    // What others have is theirs: it is the failed account that is asked about.
    let other = OrderEvent { account: None, ..asks_again(3) };
    assert_eq!(written(&mut bench, &other), []);
}

#[test]
fn rule_27_what_is_said_of_another_quantity_is_not_answered() {
    let (_, mut bench, v) = shared_by_two();
    let former = |n: &str| {
        let mut event = ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED);
        event.account.as_mut().unwrap().ord_qty = num(n);
        event
    };
    assert_eq!(written(&mut bench, &former("99")), []);
    assert_eq!(written(&mut bench, &OrderEvent { event_id: "now".into(), ..former("100") }).len(), 1);
}

#[test]
fn a_stopped_order_is_not_resized() {
    let (_, mut bench, v) = shared_by_two();
    written(&mut bench, &event(&v, OrderEventType::CancelRequested, ParentStatus::CancelPending, "0", "0"));
    assert_eq!(written(&mut bench, &replaced(&v, "210")), []);
    assert_eq!(written(&mut bench, &replaced(&v, "100")), []);
}

#[test]
fn rule_25_where_nobody_can_take_over_one_record_says_so() {
    let mut bench = World::of(2).bench();
    let v = approved("O1", Side::Buy, "200");
    allocations(&mut bench, &v);
    let rows = written(&mut bench, &ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED));
    assert_eq!((rows.len(), rows[0].kind, rows[0].account_id.clone()), (1, AllocationKind::None, None));
    assert_eq!(
        (rows[0].unallocated_qty, rows[0].unallocated_code.as_deref()),
        (num("70"), Some("NO_ELIGIBLE_ACCOUNT"))
    );
}

#[test]
fn rule_25_a_replaced_order_of_several_accounts_gives_more_or_takes_away() {
    let (_, mut bench, v) = shared_by_two();
    let rows = written(&mut bench, &replaced(&v, "210"));
    assert_eq!(got(&rows), shares(&[("A1", "4"), ("A2", "3"), ("A3", "3")]));
    assert_eq!((rows[0].kind, rows[0].revision, rows[0].parent_qty), (AllocationKind::Primary, 2, num("210")));
    assert!(rows[0].rationale.starts_with("the order was replaced from 200 to 210: 10 more; "));
    written(&mut bench, &{
        let mut filled = filled_in(&v, "A1", "104", "100", ("100", "1000"));
        filled.ord_qty = num("210");
        filled
    });
    // 110 are open: 4, 103, 3; 55 go.
    let rows = written(&mut bench, &OrderEvent { filled_notional: num("1000"), ..replaced(&v, "155") });
    assert_eq!(got(&rows), shares(&[("A1", "102"), ("A2", "51"), ("A3", "2")]));
    assert!(rows.iter().all(|row| row.kind == AllocationKind::Reduction && row.parent_qty == num("155")));
    // Nothing but what is filled can be left.
    let rows = written(&mut bench, &OrderEvent { filled_notional: num("1000"), ..replaced(&v, "50") });
    assert_eq!(rows.last().unwrap().parent_qty, num("100"));
}

#[test]
fn what_is_allocated_after_a_replace_has_the_replaced_terms() {
    let (_, mut bench, v) = shared_by_two();
    let terms = OrderTerms { horizon_us: 42, ..v.terms.clone() };
    let replaced = OrderEvent {
        event_type: OrderEventType::Replaced,
        revision: 9,
        terms: Some(terms.clone()),
        ..replaced(&v, "210")
    };
    let rows = written(&mut bench, &replaced);
    assert!(rows.iter().all(|row| row.terms_revision == 9 && row.terms == terms), "more of it");
    let former = OrderEvent { event_id: "former".into(), revision: 8, terms: Some(v.terms.clone()), ..replaced };
    written(&mut bench, &former);
    let ended = OrderEvent { ord_qty: num("210"), ..ended(&v, "A1", "30", ("30", "300"), CHILDREN_REJECTED) };
    let ended =
        OrderEvent { account: ended.account.map(|figures| AccountFigures { ord_qty: num("104"), ..figures }), ..ended };
    let rows = written(bench.restart(), &ended);
    assert!(!rows.is_empty() && rows.iter().all(|row| row.terms_revision == 9 && row.terms == terms), "who takes over");
}

#[test]
fn a_smaller_order_loses_first_what_nobody_has() {
    let mut bench = World::of(2).holding(&["20", "10"]).bench();
    let v = approved("O1", Side::Sell, "50");
    allocations(&mut bench, &v);
    let rows = written(&mut bench, &replaced(&v, "40"));
    assert_eq!((rows.len(), rows[0].kind, rows[0].account_id.clone()), (1, AllocationKind::None, None));
    assert_eq!((rows[0].parent_qty, rows[0].unallocated_qty, rows[0].revision), (num("40"), num("10"), 2));
    let open = &bench.state::<AllocationOrder>("open")["P1/O1"];
    assert_eq!((open.unallocated_qty, open.parent_qty), (num("10"), num("40")));
    assert_eq!(got(&written(&mut bench, &replaced(&v, "15"))), shares(&[("A1", "10"), ("A2", "5")]));
    assert_eq!(bench.state::<AllocationOrder>("open")["P1/O1"].unallocated_code, None);
}

#[test]
fn a_replaced_order_of_one_account_stays_all_its_and_nothing_is_written() {
    let mut bench = World::of(1).bench();
    let v = approved("O1", Side::Buy, "200");
    allocations(&mut bench, &v);
    for quantity in ["300", "150"] {
        assert_eq!(written(&mut bench, &replaced(&v, quantity)), []);
        let open = &bench.state::<AllocationOrder>("open")["P1/O1"];
        assert_eq!((open.parent_qty, open.parts[0].quantity), (num(quantity), num(quantity)));
    }
}
