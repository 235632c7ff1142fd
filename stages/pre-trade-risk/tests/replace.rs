//! Replaces of approved orders (trading rule 16).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ORDERS, World, created, event, limited, num, replacing, verdict};
use fillstream_domain::Side;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, ParentStatus, ValidatedOrder};
use fillstream_schemas::state::RiskReservation;
use fillstream_testkit::StageBench;

fn held(bench: &StageBench) -> RiskReservation {
    bench.state::<RiskReservation>("open").into_values().next().unwrap()
}

/// Order-management's answer to an approval: the new quantity in force, `ord_qty` as large as children still hold.
fn replaced(created: &OrderEvent, target: &str, ordered: &str, cum: &str, notional: &str) -> OrderEvent {
    let order = OrderEvent { ord_qty: num(ordered), ..created.clone() };
    let event = event(&order, OrderEventType::Replaced, ParentStatus::Working, cum, notional);
    OrderEvent { new_ord_qty: Some(num(target)), ..event }
}

fn refusal(created: &OrderEvent, code: &str) -> OrderEvent {
    let event = event(created, OrderEventType::CommandRefused, ParentStatus::Working, "0", "0");
    OrderEvent { reason_code: Some(code.to_owned()), ..event }
}

/// A world in which 500 of the order fit and 501 do not: each is held at 100.
fn five_hundred() -> (World, OrderEvent) {
    let mut world = World::default();
    world.limits[0].max_position_value = num("50000");
    world.limits[0].max_order_value = num("60000");
    (world, limited("O1", Side::Buy, "300", "100"))
}

fn fits(bench: &mut StageBench, order: &str, quantity: &str) -> bool {
    let verdict = verdict(bench, &limited(order, Side::Buy, quantity, "100"));
    assert!(verdict.is_approved || verdict.reason_codes == ["MAX_POSITION_VALUE"], "{verdict:?}");
    verdict.is_approved
}

#[test]
fn rule_16_an_increase_is_checked_for_its_delta_before_it_is_sent() {
    let (world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    let refused = verdict(&mut bench, &replacing(&order, 2, "501", None));
    assert_eq!((refused.revision, refused.reason_codes.as_slice()), (2, ["MAX_POSITION_VALUE".to_owned()].as_slice()));
    assert_eq!(held(&bench).replace, None);
    let approved = verdict(&mut bench, &replacing(&order, 3, "500", None));
    assert!(approved.is_approved, "{approved:?}");
    assert_eq!((approved.revision, approved.quantity), (3, num("500")));
    assert_eq!((approved.reserved_value, approved.arrival.is_some()), (num("50000"), true));
    bench.restart();
    assert!(!fits(&mut bench, "O2", "1"), "the larger is held from the approval on");
}

#[test]
fn rule_16_a_decrease_frees_only_when_the_order_says_so() {
    let (world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    assert!(verdict(&mut bench, &replacing(&order, 2, "100", None)).is_approved);
    assert!(!fits(&mut bench, "O2", "201"));
    // In force, but children still hold 250.
    bench.record(ORDERS, &replaced(&order, "100", "250", "0", "0"));
    assert!(!fits(&mut bench, "O3", "251"));
    assert!(fits(&mut bench, "O4", "250"));
    let confirmed = OrderEvent { ord_qty: num("100"), ..order };
    bench.record(ORDERS, &event(&confirmed, OrderEventType::ChildUpdated, ParentStatus::Working, "0", "0"));
    assert!(!fits(&mut bench, "O5", "151"));
    assert!(fits(&mut bench, "O6", "150"));
}

#[test]
fn rule_16_a_replace_that_is_given_up_leaves_the_old_terms_alone_and_other_refusals_do_not() {
    let (world, order) = five_hundred();
    for code in ["REPLACE_OVERTAKEN", "REPLACE_OVERDUE"] {
        let mut bench = world.bench();
        assert!(verdict(&mut bench, &order).is_approved);
        assert!(verdict(&mut bench, &replacing(&order, 2, "500", None)).is_approved);
        for other in ["REPLACE_ALREADY_PENDING", "CANCEL_ALREADY_PENDING", "DUPLICATE_CONFLICT"] {
            bench.record(ORDERS, &refusal(&order, other));
            assert!(!fits(&mut bench, other, "1"));
        }
        bench.record(ORDERS, &refusal(&order, code));
        assert!(fits(&mut bench, "O2", "200"));
    }
}

#[test]
fn rule_16_what_is_filled_meanwhile_is_held_once() {
    let (world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    assert!(verdict(&mut bench, &replacing(&order, 2, "400", None)).is_approved);
    bench.record(ORDERS, &event(&order, OrderEventType::ChildUpdated, ParentStatus::PartiallyFilled, "100", "10000"));
    let reservation = held(&bench);
    assert_eq!((reservation.open_qty, reservation.replace.map(|r| r.open_qty)), (num("200"), Some(num("300"))));
    bench.record(ORDERS, &replaced(&order, "400", "400", "100", "10000"));
    let reservation = held(&bench);
    assert_eq!((reservation.ord_qty, reservation.open_qty, reservation.replace), (num("400"), num("300"), None));
    assert!(fits(&mut bench, "O2", "100"));
    assert!(!fits(&mut bench, "O3", "1"));
}

#[test]
fn a_higher_former_price_is_held_until_the_order_ends() {
    let (world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    let lowered = verdict(&mut bench, &replacing(&order, 2, "300", Some("90")));
    let row = lowered.validation_results.iter().find(|row| row.name == "buying_power").unwrap();
    assert_eq!((lowered.is_approved, row.figure), (true, Some(num("30000"))), "the larger of 300 at 100 and at 90");
    bench.record(ORDERS, &replaced(&order, "300", "300", "0", "0"));
    let reservation = held(&bench);
    assert_eq!((reservation.reserved_price, reservation.limit_price), (num("90"), Some(num("90"))));
    assert_eq!((reservation.former_price, reservation.former_limit), (Some(num("100")), Some(num("100"))));
    let cash = |bench: &mut StageBench| {
        let verdict = verdict(bench, &limited("O2", Side::Buy, "1", "100"));
        verdict.validation_results.iter().find(|row| row.name == "buying_power").unwrap().figure
    };
    assert_eq!(cash(&mut bench), Some(num("30100")));
}

#[test]
fn a_former_limit_can_still_be_traded_with() {
    let mut world = World::default();
    world.limits[0].refuse_self_cross = true;
    world.accounts[0].positions.insert("ACME".to_owned(), num("10"));
    let mut bench = world.bench();
    let order = limited("O1", Side::Buy, "10", "98");
    assert!(verdict(&mut bench, &order).is_approved);
    assert!(verdict(&mut bench, &replacing(&order, 2, "10", Some("90"))).is_approved);
    bench.record(ORDERS, &replaced(&order, "10", "10", "0", "0"));
    assert!(verdict(&mut bench, &limited("O2", Side::Sell, "1", "98.01")).is_approved);
    assert_eq!(verdict(&mut bench, &limited("O3", Side::Sell, "1", "98")).reason_codes, ["SELF_CROSS"]);
}

#[test]
fn a_raised_limit_counts_with_what_it_adds() {
    let mut world = World::default();
    world.accounts[0].cash = num("10000");
    let order = limited("O1", Side::Buy, "100", "90");
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    let refused = verdict(&mut bench, &replacing(&order, 2, "100", Some("100.01")));
    assert_eq!(refused.reason_codes, ["INSUFFICIENT_BUYING_POWER"]);
    let row = refused.validation_results.iter().find(|row| row.name == "buying_power").unwrap();
    assert_eq!((row.figure, row.limit), (Some(num("10001")), Some(num("10000"))));
    assert_eq!(refused.recommendations, ["REDUCE_TO:99"]);
    assert!(verdict(&mut bench, &replacing(&order, 3, "100", Some("100"))).is_approved);
}

#[test]
fn what_adds_nothing_passes_limits_that_were_lowered_meanwhile() {
    let (mut world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    world.limits[0].max_position_value = num("1");
    world.limits[0].max_order_quantity = num("1");
    world.limits[0].max_order_value = num("1");
    world.limits[0].max_gross_value = num("1");
    world.limits[0].max_orders_per_minute = Some(5);
    world.limits[0].max_entered_value_per_day = Some(num("0"));
    world.load(&mut bench);
    let smaller = verdict(&mut bench, &replacing(&order, 2, "299", None));
    assert!(smaller.is_approved, "{smaller:?}");
    assert_eq!(smaller.validation_results.iter().find(|r| r.name == "order_quantity").unwrap().limit, Some(num("1")));
}

#[test]
fn a_short_sale_that_is_no_longer_allowed_may_be_made_smaller_and_not_larger() {
    let mut world = World::default();
    world.limits[0].allow_short = true;
    let order = created("O1", "ACME", Side::SellShort, "10");
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    world.limits[0].allow_short = false;
    world.load(&mut bench);
    assert_eq!(verdict(&mut bench, &replacing(&order, 2, "11", None)).reason_codes, ["SHORT_NOT_ALLOWED"]);
    assert!(verdict(&mut bench, &replacing(&order, 3, "9", None)).is_approved);
}

#[test]
fn a_replace_is_refused_by_every_rule_that_refuses_an_order() {
    let (mut world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    world.limits[0].restricted.push("ACME".to_owned());
    world.load(&mut bench);
    assert_eq!(verdict(&mut bench, &replacing(&order, 2, "10", None)).reason_codes, ["RESTRICTED_INSTRUMENT"]);
}

#[test]
fn the_end_of_the_order_frees_what_its_replace_held() {
    let (world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    assert!(verdict(&mut bench, &replacing(&order, 2, "500", None)).is_approved);
    bench.record(ORDERS, &event(&order, OrderEventType::Cancelled, ParentStatus::Cancelled, "0", "0"));
    assert!(fits(&mut bench, "O2", "500"));
    let late = verdict(&mut bench, &replacing(&order, 3, "500", None));
    assert_eq!(late.reason_codes, ["ORDER_NOT_OPEN", "MAX_POSITION_VALUE"]);
}

#[test]
fn a_repeated_request_is_answered_once() {
    let (world, order) = five_hundred();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &order).is_approved);
    let request = replacing(&order, 2, "500", None);
    assert!(verdict(&mut bench, &request).is_approved);
    bench.record(ORDERS, &request).expect_no_more();
    assert!(bench.take::<ValidatedOrder>().is_empty());
}

#[test]
fn suspending_and_resuming_change_nothing_that_is_held() {
    let order = created("O1", "ACME", Side::Buy, "10");
    let mut bench = World::default().bench();
    assert!(verdict(&mut bench, &order).is_approved);
    let before = held(&bench);
    for event_type in [OrderEventType::Suspended, OrderEventType::Resumed] {
        bench.record(ORDERS, &event(&order, event_type, ParentStatus::Working, "0", "0")).expect_no_more();
        assert_eq!(held(&bench), before);
    }
}
