//! Children over the life of an order.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, ORDERS, PLANS, World, at, child_event, created, derived, leg, limited, num, order, plan};
use fillstream_child_risk::approval_hash;
use fillstream_domain::{ControlScope, OrdStatus, Side};
use fillstream_schemas::execution::{
    AlertSeverity, ChildAction, ChildOrder, OrderEvent, OrderEventType, ParentStatus, RiskAlert, RiskAlertType,
};
use fillstream_schemas::state::{ChildRiskChild, ChildRiskOrder};
use fillstream_testkit::StageBench;

fn started() -> StageBench {
    let mut bench = World::default().bench();
    bench.record(ORDERS, &created());
    bench
}

fn cancel() -> OrderEvent {
    order(OrderEventType::CancelRequested, ParentStatus::CancelPending, "1000")
}

fn states(bench: &StageBench) -> (usize, usize) {
    (bench.state::<ChildRiskOrder>("orders").len(), bench.state::<ChildRiskChild>("children").len())
}

fn refused(bench: &mut StageBench) -> String {
    let alert: RiskAlert = bench.take_one();
    bench.expect_no_more();
    alert.code
}

#[test]
fn an_approved_leg_is_a_child_order_with_its_evidence_and_hash() {
    let mut bench = started();
    bench.record(PLANS, &limited(plan(3, vec![leg(3, 2, "XB", "40")]), Side::Buy, "100.5"));
    let child: ChildOrder = bench.take_one();
    assert_eq!((child.action, child.cl_ord_id.as_str()), (ChildAction::New, derived(3, 2, 0, 0).as_str()));
    assert_eq!((child.slice_no, child.leg, child.session.as_str()), (3, 2, "B1-1"));
    assert_eq!((child.quantity, child.limit_price), (num("40"), Some(num("100.5"))));
    assert_eq!((child.timestamp, child.expire_at), (at(NOON), at(NOON + 60_000_000)));
    assert_eq!(child.quote.as_ref().unwrap().venue, "XA", "the reference venue's: this one has no quotes");
    assert!(child.checks.len() > 15 && child.checks.iter().all(|row| row.passed));
    let collar = child.checks.iter().find(|row| row.name == "collar").unwrap();
    assert_eq!((collar.figure, collar.limit, collar.unit.as_str()), (Some(num("50")), Some(num("100")), "bps"));
    assert_eq!(child.approval_hash, approval_hash(&child));
    assert_eq!(bench.outputs().len(), 0);
}

#[test]
fn a_plan_may_come_before_the_order_is_released() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "400")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
}

#[test]
fn open_children_and_a_new_one_never_hold_more_than_the_order_has_left() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "400"), leg(1, 2, "XB", "400"), leg(1, 3, "XA", "201")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 2);
    assert_eq!(refused(&mut bench), "EXCEEDS_LEAVES");
    // 100 filled: leaves 900, held 700. 200 fit, 201 do not.
    bench.record(ORDERS, &child_event(&derived(1, 1, 0, 0), OrdStatus::PartiallyFilled, "300", "900")).restart();
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "201")]));
    assert_eq!(refused(&mut bench), "EXCEEDS_LEAVES");
    bench.record(PLANS, &plan(3, vec![leg(3, 1, "XA", "200")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
    // One child is gone unfilled: its 400 are free again.
    bench.record(ORDERS, &child_event(&derived(1, 2, 0, 0), OrdStatus::Rejected, "0", "900"));
    bench.record(PLANS, &plan(4, vec![leg(4, 1, "XB", "400")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
    // Nobody knows what became of a child: it is held.
    bench.record(ORDERS, &child_event(&derived(4, 1, 0, 0), OrdStatus::Unknown, "400", "900"));
    bench.record(PLANS, &plan(5, vec![leg(5, 1, "XB", "1")]));
    assert_eq!(refused(&mut bench), "EXCEEDS_LEAVES");
}

#[test]
fn a_cancel_goes_to_each_open_child_once_with_a_client_id_of_its_own() {
    let mut bench = started();
    bench.record(
        PLANS,
        &limited(plan(1, vec![leg(1, 1, "XA", "10"), leg(1, 2, "XB", "20"), leg(1, 3, "XA", "30")]), Side::Buy, "100"),
    );
    bench.record(ORDERS, &child_event(&derived(1, 3, 0, 0), OrdStatus::Filled, "0", "970"));
    let news = bench.take::<ChildOrder>();
    bench.record(ORDERS, &cancel()).restart();
    let cancels = bench.take::<ChildOrder>();
    assert_eq!(cancels.len(), 2);
    for new in &news[..2] {
        let cancel = cancels.iter().find(|c| c.orig_cl_ord_id.as_ref() == Some(&new.cl_ord_id)).unwrap();
        assert_eq!(cancel.action, ChildAction::Cancel);
        assert_eq!(cancel.cl_ord_id, derived(1, new.leg, 0, 1));
        assert_eq!(
            (cancel.quantity, cancel.limit_price, &cancel.session),
            (new.quantity, new.limit_price, &new.session)
        );
        assert!(cancel.checks.is_empty() && cancel.quote.is_none());
        assert_eq!(cancel.approval_hash, approval_hash(cancel));
        assert_ne!(cancel.event_id, new.event_id);
    }
    bench.record(ORDERS, &cancel()).expect_no_more();
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "10")]));
    assert_eq!(refused(&mut bench), "PARENT_NOT_OPEN");
}

#[test]
fn the_cancel_of_a_later_attempt_keeps_its_attempt() {
    let mut bench = started();
    let mut later = leg(1, 1, "XA", "10");
    later.cl_ord_id = derived(1, 1, 5, 0);
    bench.record(PLANS, &plan(1, vec![later])).record(ORDERS, &cancel());
    assert_eq!(bench.take::<ChildOrder>()[1].cl_ord_id, derived(1, 1, 5, 1));
}

#[test]
fn cancels_pass_a_kill_and_missing_tables() {
    let mut world = World::default();
    let mut bench = world.bench();
    bench.record(ORDERS, &created()).record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    bench.take::<ChildOrder>();
    world.kill(ControlScope::Firm, "*");
    world.broker = None;
    world.load(&mut bench);
    bench.record(ORDERS, &cancel());
    assert_eq!(bench.take_one::<ChildOrder>().action, ChildAction::Cancel);
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "10")]));
    assert!(bench.take::<ChildOrder>().is_empty());
}

#[test]
fn a_child_that_is_open_at_the_end_of_its_order_is_cancelled_and_then_forgotten() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10"), leg(1, 2, "XB", "10")]));
    bench.take::<ChildOrder>();
    bench.record(ORDERS, &child_event(&derived(1, 1, 0, 0), OrdStatus::Filled, "0", "990"));
    bench.record(ORDERS, &order(OrderEventType::Expired, ParentStatus::Expired, "0"));
    assert_eq!(bench.take_one::<ChildOrder>().orig_cl_ord_id, Some(derived(1, 2, 0, 0)));
    assert_eq!(states(&bench), (1, 2));
    let gone = child_event(&derived(1, 2, 0, 0), OrdStatus::Canceled, "0", "0");
    bench.record(ORDERS, &OrderEvent { event_type: OrderEventType::Amended, status: ParentStatus::Expired, ..gone });
    assert_eq!(states(&bench), (0, 0));
    bench.expect_no_more();
}

#[test]
fn nothing_is_kept_of_orders_that_ended_or_never_were() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    bench.record(ORDERS, &child_event(&derived(1, 1, 0, 0), OrdStatus::Filled, "0", "0"));
    bench.record(ORDERS, &order(OrderEventType::Filled, ParentStatus::Filled, "0"));
    assert_eq!(states(&bench), (0, 0));
    bench.record(ORDERS, &order(OrderEventType::Amended, ParentStatus::Filled, "0"));
    bench.record(
        ORDERS,
        &OrderEvent { order_id: "O2".to_owned(), ..order(OrderEventType::Rejected, ParentStatus::Rejected, "0") },
    );
    assert_eq!(states(&bench), (0, 0));
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "10")]));
    bench.take::<ChildOrder>();
    assert_eq!(refused(&mut bench), "UNKNOWN_PARENT");
}

#[test]
fn what_is_routed_but_was_refused_here_holds_nothing() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "501")]));
    assert_eq!(refused(&mut bench), "MAX_CHILD_QUANTITY");
    let routed = child_event(&derived(1, 1, 0, 0), OrdStatus::PendingNew, "501", "1000");
    bench.record(ORDERS, &OrderEvent { event_type: OrderEventType::Routed, ..routed });
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "400"), leg(2, 2, "XB", "400")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 2);
    bench.record(ORDERS, &cancel());
    assert_eq!(bench.take::<ChildOrder>().len(), 2, "only what was approved is cancelled");
}

#[test]
fn an_order_whose_id_begins_like_another_keeps_its_children_apart() {
    let mut bench = started();
    let other = OrderEvent { order_id: "O1/1".to_owned(), event_id: "x".to_owned(), ..created() };
    bench.record(ORDERS, &other);
    let mut theirs = plan(1, vec![leg(1, 9, "XA", "400")]);
    theirs.order_id = "O1/1".to_owned();
    bench.record(PLANS, &theirs);
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "400"), leg(1, 2, "XA", "400")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 3);
    bench.record(ORDERS, &order(OrderEventType::Cancelled, ParentStatus::Cancelled, "0"));
    assert_eq!(bench.take::<ChildOrder>().len(), 2);
}

#[test]
fn a_client_id_used_twice_alarms_without_naming_the_child_that_has_it() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XB", "20")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
    let alert: RiskAlert = bench.take_one();
    assert_eq!((alert.code.as_str(), alert.cl_ord_id), ("DUPLICATE_CL_ORD_ID", None));
    assert!(alert.text.contains(&derived(1, 1, 0, 0)), "{}", alert.text);
    let children = bench.state::<ChildRiskChild>("children");
    assert_eq!(children.values().map(|c| c.venue.as_str()).collect::<Vec<_>>(), ["XA"]);
}

#[test]
fn an_alarm_that_knows_nothing_of_a_child_does_not_free_it() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "400")]));
    bench.record(ORDERS, &child_event(&derived(1, 1, 0, 0), OrdStatus::PendingNew, "0", "1000"));
    bench.record(ORDERS, &cancel());
    assert_eq!(bench.take::<ChildOrder>().len(), 2, "the child and its cancel");
}

#[test]
fn a_plan_cancels_the_children_that_its_schedule_names_once() {
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "400"), leg(1, 2, "XB", "100")]));
    assert_eq!(bench.take::<ChildOrder>().len(), 2);
    let asks = |n: i32, ids: &[String]| fillstream_schemas::execution::RoutingPlan {
        cancel_cl_ord_ids: ids.to_vec(),
        ..plan(n, Vec::new())
    };
    bench.record(PLANS, &asks(2, &[derived(1, 1, 0, 0), "GHOST".to_owned()]));
    let cancel: ChildOrder = bench.take_one();
    assert_eq!((cancel.action, cancel.orig_cl_ord_id), (ChildAction::Cancel, Some(derived(1, 1, 0, 0))));
    bench.record(PLANS, &asks(3, &[derived(1, 1, 0, 0)]));
    assert!(bench.take::<ChildOrder>().is_empty(), "one cancel a child");
}

/// Trading rule 2: fills beyond the quantity ordered are booked, counted apart, and alerted.
#[test]
fn each_overfill_is_a_critical_alert_with_its_figures_even_after_the_order_is_forgotten() {
    let over = |id: &str, extra: &str, text: &str| OrderEvent {
        event_id: id.to_owned(),
        account_id: Some("A1".to_owned()),
        cum_qty: num("1000"),
        overfill_qty: num(extra),
        reason_code: Some("OVERFILL".to_owned()),
        reason_text: Some(text.to_owned()),
        ..order(OrderEventType::Overfill, ParentStatus::Filled, "0")
    };
    let mut bench = started();
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "400")]));
    bench.take_one::<ChildOrder>();
    // The child had 400 and got 405, but the order has leaves: nothing is over the order's quantity yet.
    let child_only = OrderEvent {
        cum_qty: num("405"),
        status: ParentStatus::Working,
        leaves_qty: num("595"),
        ..over("e1", "0", "B1 x1 overfills child C by 5 and the order by 0")
    };
    bench.record(ORDERS, &child_only);
    let alert: RiskAlert = bench.take_one();
    assert_eq!((alert.quantity, alert.checks[0].passed), (Some(num("0")), true));
    assert_eq!(alert.text, "B1 x1 overfills child C by 5 and the order by 0");
    assert_eq!(states(&bench), (1, 1), "the order lives on");

    bench.record(ORDERS, &child_event(&derived(1, 1, 0, 0), OrdStatus::Filled, "0", "0"));
    bench.record(ORDERS, &order(OrderEventType::Filled, ParentStatus::Filled, "0"));
    assert_eq!(states(&bench), (0, 0));
    bench.record(ORDERS, &over("e2", "5.5", "B1 x2 overfills child C by 5.5 and the order by 5.5")).restart();
    bench.record(ORDERS, &over("e3", "7", "B1 x3 overfills child C by 1.5 and the order by 1.5"));
    let alerts = bench.take::<RiskAlert>();
    bench.expect_no_more();
    assert_eq!(alerts.len(), 2);
    let alert = &alerts[0];
    assert_eq!((alert.alert_type, alert.severity), (RiskAlertType::Overfill, AlertSeverity::Critical));
    assert_eq!((alert.code.as_str(), alert.quantity), ("OVERFILL", Some(num("5.5"))));
    assert_eq!((alert.order_id.as_deref(), alert.account_id.as_deref()), (Some("O1"), Some("A1")));
    assert_eq!(
        alert.text,
        "B1 x2 overfills child C by 5.5 and the order by 5.5; filled_quantity: 1005.5 against 1000 units"
    );
    let check = &alert.checks[0];
    assert_eq!((check.passed, check.code.as_deref(), check.unit.as_str()), (false, Some("OVERFILL"), "units"));
    assert_eq!((check.figure, check.limit), (Some(num("1005.5")), Some(num("1000"))));
    // It refuses nothing: no leg is freed by it.
    assert_eq!(alert.cl_ord_id, None);
    assert_ne!(alerts[0].event_id, alerts[1].event_id);
}
