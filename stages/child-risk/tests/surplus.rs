//! Replaces by less, tighter limits, suspensions: which children are cancelled.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ORDERS, PLANS, World, child_event, created, derived, leg, limited, num, order, plan};
use fillstream_domain::{OrdStatus, Side};
use fillstream_schemas::execution::{
    ChildAction, ChildOrder, OrderEvent, OrderEventType, OrderTerms, ParentStatus, RiskAlert, RoutingPlan,
};
use fillstream_testkit::StageBench;

/// An order of 1000 with three children at the limit 100: 400, 300 and 200.
fn working(world: &World) -> StageBench {
    let mut bench = world.bench();
    bench.record(ORDERS, &created());
    for (slice, quantity) in [(1, "400"), (2, "300"), (3, "200")] {
        bench.record(PLANS, &limited(plan(slice, vec![leg(slice, 1, "XA", quantity)]), Side::Buy, "100"));
    }
    assert_eq!(bench.take::<ChildOrder>().len(), 3);
    bench
}

/// The order replaced: what is asked for, what is left as children still hold more.
fn replaced(new_qty: &str, leaves: &str) -> OrderEvent {
    OrderEvent { new_ord_qty: Some(num(new_qty)), ..order(OrderEventType::Replaced, ParentStatus::Working, leaves) }
}

/// Originals of the cancels written.
fn cancelled(bench: &mut StageBench) -> Vec<String> {
    let orders = bench.take::<ChildOrder>();
    assert!(orders.iter().all(|order| order.action == ChildAction::Cancel));
    orders.into_iter().filter_map(|order| order.orig_cl_ord_id).collect()
}

#[test]
fn a_decrease_cancels_the_youngest_children_until_the_others_fit() {
    let mut bench = working(&World::default());
    bench.record(ORDERS, &replaced("700", "900"));
    assert_eq!(cancelled(&mut bench), [derived(3, 1, 0, 0)]);
    // Told again, it is not cancelled again.
    bench.restart().record(ORDERS, &replaced("700", "900")).expect_no_more();
    bench.record(ORDERS, &replaced("699", "900"));
    assert_eq!(cancelled(&mut bench), [derived(2, 1, 0, 0)]);
    // The oldest still holds 300: they fit into what is left, until less is asked for.
    bench.record(ORDERS, &child_event(&derived(1, 1, 0, 0), OrdStatus::PartiallyFilled, "300", "599"));
    bench.expect_no_more();
    bench.record(ORDERS, &replaced("299", "599"));
    assert_eq!(cancelled(&mut bench), [derived(1, 1, 0, 0)]);
}

#[test]
fn what_is_under_way_after_a_decrease_is_held_against_the_new_quantity() {
    let mut bench = working(&World::default());
    bench.record(ORDERS, &replaced("950", "950"));
    let of = |slice, quantity| RoutingPlan { terms_revision: 1, ..plan(slice, vec![leg(slice, 1, "XA", quantity)]) };
    bench.record(PLANS, &of(4, "60"));
    assert_eq!(bench.take_one::<RiskAlert>().code, "EXCEEDS_LEAVES");
    bench.record(PLANS, &of(5, "50"));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
}

#[test]
fn a_slice_made_from_former_terms_is_refused_and_its_quantity_is_free_for_those_in_force() {
    let mut bench = working(&World::default());
    bench.record(ORDERS, &OrderEvent { revision: 5, ..replaced("1000", "1000") }).restart();
    let of = |revision, slice| RoutingPlan {
        terms_revision: revision,
        cancel_cl_ord_ids: vec![derived(slice - 3, 1, 0, 0)],
        ..plan(slice, vec![leg(slice, 1, "XA", "100")])
    };
    bench.record(PLANS, &of(0, 4));
    assert_eq!(bench.take_one::<RiskAlert>().code, "STALE_TERMS");
    assert_eq!(cancelled(&mut bench), [derived(1, 1, 0, 0)], "what it cancels is cancelled");
    // Of the revision in force, or of one that is not heard of here yet.
    bench.record(PLANS, &of(5, 5));
    assert_eq!(bench.take::<ChildOrder>().iter().filter(|order| order.action == ChildAction::New).count(), 1);
    let full = child_event(&derived(5, 1, 0, 0), OrdStatus::Rejected, "0", "1000");
    bench.record(ORDERS, &OrderEvent { revision: 6, ..full }).record(PLANS, &of(9, 6));
    assert_eq!(bench.take::<ChildOrder>().iter().filter(|order| order.action == ChildAction::New).count(), 1);
    bench.expect_no_more();
}

#[test]
fn a_tighter_limit_cancels_what_would_trade_through_it() {
    let mut bench = working(&World::default());
    bench.record(PLANS, &limited(plan(4, vec![leg(4, 1, "XA", "50")]), Side::Buy, "99.8"));
    bench.take::<ChildOrder>();
    let mut event = replaced("1000", "1000");
    event.terms = Some(OrderTerms { limit_price: Some(num("99.9")), ..OrderTerms::default() });
    bench.record(ORDERS, &event);
    assert_eq!(cancelled(&mut bench), [derived(1, 1, 0, 0), derived(2, 1, 0, 0), derived(3, 1, 0, 0)]);
}

#[test]
fn a_suspended_order_takes_no_new_child_and_keeps_or_cancels_those_it_has() {
    let suspended =
        OrderEvent { is_suspended: true, ..order(OrderEventType::Suspended, ParentStatus::Working, "1000") };
    let mut bench = working(&World::default());
    bench.record(ORDERS, &suspended).expect_no_more();
    bench.record(PLANS, &plan(4, vec![leg(4, 1, "XA", "50")]));
    assert_eq!(bench.take_one::<RiskAlert>().code, "PARENT_NOT_OPEN");
    bench.record(ORDERS, &order(OrderEventType::Resumed, ParentStatus::Working, "1000"));
    bench.record(PLANS, &plan(5, vec![leg(5, 1, "XA", "50")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);

    let mut world = World::default();
    world.config.cancel_on_suspend = true;
    let mut bench = working(&world);
    bench.record(ORDERS, &suspended);
    assert_eq!(cancelled(&mut bench), [derived(1, 1, 0, 0), derived(2, 1, 0, 0), derived(3, 1, 0, 0)]);
}
