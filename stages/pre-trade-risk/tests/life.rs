//! Exposure over the life of orders.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, ORDERS, World, account, at, created, event, limited, num, verdict};
use fillstream_domain::{Money, Side, SignedQuantity};
use fillstream_schemas::execution::{ImpactTier, OrderEvent, OrderEventType, ParentStatus};
use fillstream_schemas::state::{RiskPortfolio, RiskReservation};
use fillstream_testkit::StageBench;

fn portfolio(bench: &StageBench) -> RiskPortfolio {
    bench.state::<RiskPortfolio>("portfolios").remove("P1").unwrap()
}

fn position(bench: &StageBench, instrument: &str) -> SignedQuantity {
    portfolio(bench).positions.get(instrument).map(|p| p.quantity).unwrap_or_default()
}

fn open(bench: &StageBench) -> Vec<(String, String)> {
    bench.state::<RiskReservation>("open").into_values().map(|o| (o.order_id, o.open_qty.to_string())).collect()
}

fn held(bench: &StageBench) -> usize {
    bench.state::<RiskReservation>("open").len()
}

fn pair(order: &str, quantity: &str) -> (String, String) {
    (order.to_owned(), quantity.to_owned())
}

#[test]
fn an_approval_carries_the_arrival_pin_the_reservation_and_every_figure() {
    let mut bench = World::default().bench();
    let verdict = verdict(&mut bench, &created("O1", "ACME", Side::Buy, "100"));
    assert!(verdict.is_approved && verdict.reason_codes.is_empty(), "{verdict:?}");
    let arrival = verdict.arrival.unwrap();
    assert_eq!((arrival.arrived_at, arrival.mid), (at(NOON), num("99.5")));
    assert_eq!(arrival.quote_time, at(NOON - 1_000_000));
    assert_eq!(verdict.account_id.as_deref(), Some("A1"));
    assert_eq!((verdict.reserved_price, verdict.reserved_value), (Some(num("101")), num("10100")));
    assert_eq!(verdict.order_value, num("9950"));
    // Of 50,000 order value 10,100 are used, of 80,000 position, of 120,000 gross and of 100,000 cash less.
    assert_eq!(verdict.risk_score, num("20.2"));
    assert_eq!(verdict.market_impact_estimate.tier, ImpactTier::Low);
    let names: Vec<&str> = verdict.validation_results.iter().map(|row| row.name.as_str()).collect();
    for name in
        ["kill", "restricted_list", "order_quantity", "order_value", "position_value", "gross_value", "buying_power"]
    {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(open(&bench), [pair("O1", "100")]);
}

#[test]
fn fills_move_from_the_reservation_to_position_and_cash_and_the_end_releases_the_rest() {
    let mut bench = World::default().bench();
    let order = created("O1", "ACME", Side::Buy, "100");
    verdict(&mut bench, &order);
    let fill = event(&order, OrderEventType::ChildUpdated, ParentStatus::PartiallyFilled, "40", "4000");
    let fill = OrderEvent { fees: num("2"), fee_currency: Some("USD".to_owned()), ..fill };
    bench.record(ORDERS, &fill).restart();
    assert_eq!(open(&bench), [pair("O1", "60")]);
    assert_eq!((position(&bench, "ACME"), portfolio(&bench).cash), (num("40"), num("95998")));
    let end = event(&order, OrderEventType::Cancelled, ParentStatus::Cancelled, "40", "4000");
    bench.record(ORDERS, &OrderEvent { fees: num("2"), fee_currency: Some("USD".to_owned()), ..end });
    assert!(open(&bench).is_empty());
    assert_eq!((position(&bench, "ACME"), portfolio(&bench).cash), (num("40"), num("95998")));
    bench.expect_no_more();
}

#[test]
fn rule_16_a_late_fill_and_a_bust_after_the_end_are_booked_and_hold_nothing_again() {
    let mut bench = World::default().bench();
    let order = created("O1", "ACME", Side::Buy, "100");
    verdict(&mut bench, &order);
    bench.record(ORDERS, &event(&order, OrderEventType::Cancelled, ParentStatus::Cancelled, "0", "0"));
    bench.record(ORDERS, &event(&order, OrderEventType::Amended, ParentStatus::Cancelled, "10", "1000")).restart();
    assert_eq!((position(&bench, "ACME"), portfolio(&bench).cash), (num("10"), num("99000")));
    bench.record(ORDERS, &event(&order, OrderEventType::Amended, ParentStatus::Cancelled, "0", "0"));
    assert_eq!((position(&bench, "ACME"), portfolio(&bench).cash), (num("0"), num("100000")));
    let over = event(&order, OrderEventType::Overfill, ParentStatus::Filled, "100", "10500");
    bench.record(ORDERS, &OrderEvent { overfill_qty: num("5"), ..over });
    assert_eq!((position(&bench, "ACME"), portfolio(&bench).cash), (num("105"), num("89500")));
    assert!(open(&bench).is_empty());
    bench.expect_no_more();
}

#[test]
fn ended_orders_are_forgotten_after_their_time_and_a_later_fill_is_a_dead_letter() {
    let mut bench = World::default().bench();
    let order = created("O1", "ACME", Side::Buy, "100");
    verdict(&mut bench, &order);
    bench.record(ORDERS, &event(&order, OrderEventType::Filled, ParentStatus::Filled, "100", "10000"));
    assert_eq!(bench.state::<RiskReservation>("closed").len(), 1);
    // 48 hours after noon, up to the next midnight.
    let midnight = NOON + 12 * 3_600_000_000 + 48 * 3_600_000_000;
    bench.timer_to(at(midnight - 1));
    assert_eq!(bench.state::<RiskReservation>("closed").len(), 1);
    bench.timer_to(at(midnight));
    assert!(bench.state::<RiskReservation>("closed").is_empty() && bench.timers().is_empty());
    bench.record(ORDERS, &event(&order, OrderEventType::Amended, ParentStatus::Filled, "90", "9000"));
    let letters = bench.take_dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason_code, "ORDER_FORGOTTEN");
}

#[test]
fn an_order_refused_before_or_after_risk_holds_nothing() {
    let mut bench = World::default().bench();
    let never = created("O0", "ACME", Side::Buy, "100");
    bench.record(ORDERS, &event(&never, OrderEventType::Rejected, ParentStatus::Rejected, "0", "0"));
    bench.expect_no_more();
    let order = created("O1", "ACME", Side::Buy, "100");
    assert!(verdict(&mut bench, &order).is_approved);
    bench.record(ORDERS, &event(&order, OrderEventType::Rejected, ParentStatus::Rejected, "0", "0"));
    assert_eq!((held(&bench), bench.state::<RiskReservation>("closed").len(), bench.timers().len()), (0, 0, 0));
}

#[test]
fn concurrent_orders_of_a_batch_never_pass_a_limit_together() {
    let mut bench = World::default().bench();
    // Each would fit alone; 101 x 400 = 40,400 of 80,000.
    let orders: Vec<OrderEvent> = (0..3).map(|n| created(&format!("O{n}"), "ACME", Side::Buy, "400")).collect();
    bench.records(ORDERS, &orders);
    let verdicts = bench.take::<fillstream_schemas::execution::ValidatedOrder>();
    assert_eq!(verdicts.iter().map(|v| v.is_approved).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(verdicts[1].reason_codes, ["MAX_POSITION_VALUE"]);
    // What is left passes, a lot more does not.
    assert_eq!(verdicts[1].recommendations, ["REDUCE_TO:392", "USE_LIMIT:100"]);
    assert!(!verdict(&mut bench, &created("O4", "ACME", Side::Buy, "393")).is_approved);
    assert!(verdict(&mut bench, &created("O5", "ACME", Side::Buy, "392")).is_approved);
}

#[test]
fn a_released_reservation_can_be_used_again() {
    let mut bench = World::default().bench();
    let first = created("O1", "ACME", Side::Buy, "490");
    assert!(verdict(&mut bench, &first).is_approved);
    assert!(!verdict(&mut bench, &created("O2", "ACME", Side::Buy, "490")).is_approved);
    bench.record(ORDERS, &event(&first, OrderEventType::Expired, ParentStatus::Expired, "0", "0"));
    assert!(verdict(&mut bench, &created("O3", "ACME", Side::Buy, "490")).is_approved);
}

#[test]
fn rules_15_and_24_closing_sells_need_no_cash_and_reduce_a_position_over_its_limit() {
    let mut world = World::default();
    world.accounts[0].cash = num("-5");
    world.accounts[0].positions.insert("ACME".to_owned(), num("5000"));
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &created("O1", "ACME", Side::Sell, "400")).is_approved);
    assert_eq!(
        verdict(&mut bench, &created("O2", "ACME", Side::Buy, "1")).reason_codes,
        ["MAX_POSITION_VALUE", "MAX_GROSS_VALUE", "INSUFFICIENT_BUYING_POWER"]
    );
}

#[test]
fn rule_15_open_buys_do_not_cover_sells() {
    let mut bench = World::default().bench();
    assert!(verdict(&mut bench, &created("O1", "ACME", Side::Buy, "100")).is_approved);
    assert_eq!(verdict(&mut bench, &created("O2", "ACME", Side::Sell, "1")).reason_codes, ["SHORT_NOT_ALLOWED"]);
}

#[test]
fn rule_15_shorts_use_margin_and_their_proceeds_are_no_cash() {
    let mut world = World::default();
    world.limits[0].allow_short = true;
    world.accounts[0].cash = num("30000");
    let mut bench = world.bench();
    let short = created("O1", "ACME", Side::SellShort, "200");
    // 200 x 99.99 (bid plus collar) x 1.5 = 29,997.
    let verdict1 = verdict(&mut bench, &short);
    assert!(verdict1.is_approved, "{verdict1:?}");
    bench.record(ORDERS, &event(&short, OrderEventType::Filled, ParentStatus::Filled, "200", "19800"));
    assert_eq!(portfolio(&bench).cash, num("30000"));
    assert_eq!(portfolio(&bench).positions["ACME"].short_proceeds, num("19800"));
    assert_eq!(
        verdict(&mut bench, &created("O2", "BETA", Side::Buy, "10")).reason_codes,
        ["INSUFFICIENT_BUYING_POWER"]
    );
    let cover = created("O3", "ACME", Side::BuyToCover, "200");
    assert!(verdict(&mut bench, &cover).is_approved, "the short's collateral pays for its cover");
    bench.record(ORDERS, &event(&cover, OrderEventType::Filled, ParentStatus::Filled, "200", "20000"));
    assert_eq!((position(&bench, "ACME"), portfolio(&bench).cash), (num("0"), num("29800")));
}

#[test]
fn opening_cash_and_positions_are_taken_once() {
    let mut world = World::default();
    world.accounts[0].positions.insert("ACME".to_owned(), num("7"));
    let mut bench = world.bench();
    verdict(&mut bench, &created("O1", "ACME", Side::Buy, "1"));
    let opened = portfolio(&bench);
    assert_eq!((opened.cash, opened.account_version, opened.opened_at), (num("100000"), 3, at(NOON)));
    assert_eq!(position(&bench, "ACME"), num("7"));
    let mut later = account("A1", "P1");
    (later.cash, later.version) = (num("1"), 4);
    world.accounts = vec![later];
    world.load(&mut bench);
    assert!(verdict(&mut bench, &created("O2", "ACME", Side::Buy, "1")).is_approved);
    assert_eq!(portfolio(&bench), opened);
}

#[test]
fn a_limit_order_is_held_at_its_limit_with_fees() {
    let mut world = World::default();
    world.config.fee_reserve_bps = num("50");
    world.accounts[0].cash = num("904.5");
    let mut bench = world.bench();
    let verdict1 = verdict(&mut bench, &limited("O1", Side::Buy, "10", "90"));
    assert!(verdict1.is_approved, "{verdict1:?}");
    assert_eq!(verdict1.reserved_value, num("900"));
    world.accounts[0].cash = num("904.49");
    let verdict2 = verdict(&mut world.bench(), &limited("O1", Side::Buy, "10", "90"));
    assert_eq!(verdict2.reason_codes, ["INSUFFICIENT_BUYING_POWER"]);
    assert_eq!(verdict2.recommendations, ["REDUCE_TO:9"]);
}

#[test]
fn a_repeated_creation_is_decided_once() {
    let mut bench = World::default().bench();
    let order = created("O1", "ACME", Side::Buy, "10");
    verdict(&mut bench, &order);
    bench.record(ORDERS, &order).expect_no_more();
    assert_eq!(portfolio(&bench).cash, num::<Money>("100000"));
}

#[test]
fn rule_17_an_estimate_without_volume_is_high_and_does_not_refuse() {
    let mut world = World::default();
    world.instruments[0].adv = None;
    let verdict = verdict(&mut world.bench(), &created("O1", "ACME", Side::Buy, "10"));
    assert!(verdict.is_approved);
    let impact = verdict.market_impact_estimate;
    assert_eq!((impact.tier, impact.is_high, impact.impact), (ImpactTier::NotEstimated, true, None));
}

#[test]
fn a_portfolio_whose_id_begins_like_another_has_its_own_orders() {
    let mut world = World::default();
    world.accounts.push(account("A2", "P1/2"));
    world.limits.push(common::limit("P1/2"));
    let mut bench = world.bench();
    let theirs = OrderEvent { portfolio_id: "P1/2".to_owned(), ..created("O1", "ACME", Side::Buy, "490") };
    assert!(verdict(&mut bench, &theirs).is_approved);
    assert!(verdict(&mut bench, &created("O2", "ACME", Side::Buy, "490")).is_approved);
    let ours =
        event(&created("O2", "ACME", Side::Buy, "490"), OrderEventType::Filled, ParentStatus::Filled, "490", "49000");
    bench.record(ORDERS, &ours);
    let ended = event(&theirs, OrderEventType::Cancelled, ParentStatus::Cancelled, "0", "0");
    bench.at(at(NOON + 24 * 3_600_000_000)).record(ORDERS, &ended);
    bench.timer_to(at(NOON + 60 * 3_600_000_000));
    let kept: Vec<String> = bench.state::<RiskReservation>("closed").into_values().map(|o| o.portfolio_id).collect();
    assert_eq!(kept, ["P1/2"]);
}
