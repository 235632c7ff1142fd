//! Rules of the limit record beyond the single refusal: what they note, count, recommend, and let pass.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, ORDERS, World, at, created, event, limited, num, quote, replacing, verdict};
use fillstream_domain::{AssetClass, Side, TimestampMicros};
use fillstream_pre_trade_risk::Note;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, ParentStatus, ValidatedOrder};
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::Venue;
use fillstream_schemas::state::{RiskEntered, RiskRecent};
use fillstream_testkit::StageBench;

fn buy(order: &str, quantity: &str) -> OrderEvent {
    created(order, "ACME", Side::Buy, quantity)
}

fn later(seconds: i64) -> TimestampMicros {
    at(NOON + seconds * 1_000_000)
}

fn decided(bench: &mut StageBench, seconds: i64, order: &OrderEvent) -> ValidatedOrder {
    bench.at(later(seconds));
    verdict(bench, order)
}

/// A world whose quotes may be as old as a day.
fn patient() -> World {
    let mut world = World::default();
    world.limits[0].max_quote_age_ms = 86_400_000;
    world
}

#[test]
fn the_watch_list_notes_and_lets_pass() {
    let mut world = World::default();
    world.limits[0].watch_list.push("ACME".to_owned());
    let verdict1 = verdict(&mut world.bench(), &buy("O1", "1"));
    assert!(verdict1.is_approved && verdict1.notes.contains(&Note::WatchList.as_str().to_owned()), "{verdict1:?}");
    let other = verdict(&mut world.bench(), &created("O1", "BETA", Side::Buy, "1"));
    assert!(!other.notes.contains(&Note::WatchList.as_str().to_owned()));
}

#[test]
fn rule_14_unknown_depth_is_reported_and_not_zero() {
    let mut world = World::default();
    let noted = |verdict: &ValidatedOrder| verdict.notes.contains(&Note::DepthUnknown.as_str().to_owned());
    let unlimited = verdict(&mut world.bench(), &buy("O1", "10"));
    assert!(unlimited.is_approved && noted(&unlimited));
    world.limits[0].max_depth_multiple = Some(num("2"));
    world.venues.push(Venue { venue_id: "XA".to_owned(), assumed_clip: Some(num("5")), ..Venue::default() });
    assert!(verdict(&mut world.bench(), &buy("O1", "10")).is_approved);
    let refused = verdict(&mut world.bench(), &buy("O1", "11"));
    assert_eq!((refused.reason_codes.as_slice(), noted(&refused)), (["DEPTH_EXCEEDED".to_owned()].as_slice(), true));
    world.rows.push(NormalizedMarketData { ask_size: Some(num("7")), ..quote("ACME", NOON - 500, "99", "100") });
    let known = verdict(&mut world.bench(), &buy("O1", "14"));
    assert!(known.is_approved && !noted(&known), "{known:?}");
}

#[test]
fn rule_15_a_buy_that_waits_for_its_stop_is_held_there_plus_the_collar() {
    let stopped = |side, price: &str, limit: Option<&str>| {
        let mut world = World::default();
        world.accounts[0].positions.insert("ACME".to_owned(), num("10"));
        verdict(&mut world.bench(), &stop("O1", side, "1", (price, limit))).reserved_price
    };
    // The market is 99 / 100, the collar 1 %.
    assert_eq!(stopped(Side::Buy, "110", None), Some(num("111.1")));
    assert_eq!(stopped(Side::Buy, "110", Some("112")), Some(num("112")), "no more than its limit");
    assert_eq!(stopped(Side::Sell, "90", None), Some(num("99.99")), "no less than it is worth now");
}

fn stop(order: &str, side: Side, quantity: &str, (stop, limit): (&str, Option<&str>)) -> OrderEvent {
    let mut event = created(order, "ACME", side, quantity);
    let terms = event.terms.as_mut().unwrap();
    (terms.stop_price, terms.limit_price) = (Some(num(stop)), limit.map(num));
    event
}

#[test]
fn a_limit_that_comes_into_force_at_a_stop_is_held_against_that() {
    let mut world = World::default();
    world.limits[0].max_price_deviation = Some(num("100"));
    let asked = |limit: &str| verdict(&mut world.bench(), &stop("O1", Side::Buy, "1", ("110", Some(limit))));
    assert!(asked("111.1").is_approved);
    assert_eq!(asked("111.2").reason_codes, ["PRICE_DEVIATION"]);
}

/// When it is set off, and at what, nobody knows: it counts as an order that is at work.
#[test]
fn rule_7_a_stop_that_waits_crosses_as_if_it_did_not() {
    let mut world = World::default();
    world.limits[0].refuse_self_cross = true;
    world.accounts[0].positions.insert("ACME".to_owned(), num("10"));
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &stop("O1", Side::Sell, "1", ("90", Some("89")))).is_approved);
    assert!(verdict(&mut bench, &limited("O2", Side::Buy, "1", "88")).is_approved);
    assert_eq!(verdict(&mut bench, &limited("O3", Side::Buy, "1", "89")).reason_codes, ["SELF_CROSS"]);
}

#[test]
fn another_stop_is_no_duplicate_and_no_limit_at_the_market_is_advised_for_a_stop() {
    let mut world = patient();
    world.limits[0].duplicate_window_ms = 2_000;
    let mut bench = world.bench();
    for (order, at) in [("O1", "110"), ("O2", "111")] {
        assert!(verdict(&mut bench, &stop(order, Side::Buy, "1", (at, None))).is_approved);
    }
    assert_eq!(verdict(&mut bench, &stop("O3", Side::Buy, "1", ("110", None))).reason_codes, ["DUPLICATE_ORDER"]);
    // A limit at the touch would pass, but is another order.
    let mut bench = World::default().bench();
    assert!(verdict(&mut bench, &buy("O1", "400")).is_approved);
    assert_eq!(verdict(&mut bench, &buy("O2", "393")).recommendations, ["REDUCE_TO:392", "USE_LIMIT:100"]);
    assert_eq!(verdict(&mut bench, &stop("O3", Side::Buy, "393", ("110", None))).recommendations, ["REDUCE_TO:320"]);
}

#[test]
fn rule_17_an_impact_that_cannot_be_estimated_is_noted() {
    let noted = |world: &World| {
        verdict(&mut world.bench(), &buy("O1", "1")).notes.contains(&Note::ImpactNotEstimated.as_str().to_owned())
    };
    let mut world = World::default();
    assert!(noted(&world));
    world.instruments[0].daily_sigma = Some(num("0.02"));
    assert!(!noted(&world));
}

#[test]
fn permitted_venues_are_told_to_routing() {
    let mut world = World::default();
    world.limits[0].permitted_venues = vec!["XB".to_owned(), "XC".to_owned()];
    let venue = |id: &str, instruments: &[&str], is_open| Venue {
        venue_id: id.to_owned(),
        instruments: instruments.iter().map(|id| (*id).to_owned()).collect(),
        is_open,
        ..Venue::default()
    };
    world.venues = vec![venue("XB", &["BETA"], true), venue("XC", &["ACME"], true)];
    let approved = verdict(&mut world.bench(), &buy("O1", "1"));
    assert!(approved.is_approved, "{approved:?}");
    assert_eq!(approved.permitted_venues, ["XB", "XC"]);
    let mut elsewhere = buy("O1", "1");
    elsewhere.terms.as_mut().unwrap().venue_restrictions.push("XC".to_owned());
    assert_eq!(verdict(&mut world.bench(), &elsewhere).reason_codes, ["NO_PERMITTED_VENUE"]);
    world.venues[1].is_open = false;
    assert_eq!(verdict(&mut world.bench(), &buy("O1", "1")).reason_codes, ["NO_PERMITTED_VENUE"]);
}

#[test]
fn an_order_without_trader_is_not_that_of_an_authorised_one() {
    let mut world = World::default();
    world.limits[0].authorised_traders.push("T1".to_owned());
    assert!(verdict(&mut world.bench(), &buy("O1", "1")).is_approved);
    let mut nobody = buy("O1", "1");
    nobody.terms.as_mut().unwrap().trader_id = None;
    assert_eq!(verdict(&mut world.bench(), &nobody).reason_codes, ["TRADER_NOT_AUTHORISED"]);
}

#[test]
fn orders_that_could_trade_with_each_other_do_not_both_pass() {
    let mut world = World::default();
    world.limits[0].refuse_self_cross = true;
    world.accounts[0].positions.insert("ACME".to_owned(), num("500"));
    let sell = |order: &str, limit: &str| limited(order, Side::Sell, "1", limit);
    let mut bench = world.bench();
    let order = limited("O1", Side::Buy, "10", "98");
    assert!(verdict(&mut bench, &order).is_approved);
    assert!(verdict(&mut bench, &limited("O2", Side::Buy, "10", "99")).is_approved, "of one side");
    let crossing = verdict(&mut bench, &sell("O3", "99"));
    let row = crossing.validation_results.iter().find(|row| row.name == "self_cross").unwrap();
    assert_eq!((row.code.as_deref(), row.scope.as_str()), (Some("SELF_CROSS"), "portfolio/P1/order/O2"));
    assert_eq!(verdict(&mut bench, &created("O4", "ACME", Side::Sell, "1")).reason_codes, ["SELF_CROSS"]);
    assert!(verdict(&mut bench, &sell("O5", "99.01")).is_approved);
    assert!(verdict(&mut bench, &created("O6", "BETA", Side::Buy, "1")).is_approved, "another instrument");
    // A replace is held against the others, not against itself, and its terms count from the request on.
    assert_eq!(verdict(&mut bench, &replacing(&order, 2, "10", Some("99.01"))).reason_codes, ["SELF_CROSS"]);
    assert!(verdict(&mut bench, &replacing(&order, 3, "10", Some("99.005"))).is_approved);
    assert_eq!(verdict(&mut bench, &sell("O7", "99.005")).reason_codes, ["SELF_CROSS"]);
}

#[test]
fn a_duplicate_is_refused_within_its_window_across_restarts_and_forgotten_later() {
    let mut world = patient();
    world.limits[0].duplicate_window_ms = 2_000;
    let mut bench = world.bench();
    assert!(decided(&mut bench, 0, &buy("O1", "1")).is_approved);
    bench.restart();
    let refused = decided(&mut bench, 1, &buy("O2", "1"));
    let row = refused.validation_results.iter().find(|row| row.name == "duplicate").unwrap();
    assert_eq!((row.code.as_deref(), row.scope.as_str()), (Some("DUPLICATE_ORDER"), "portfolio/P1/order/O1"));
    let others = [buy("O3", "2"), created("O4", "BETA", Side::Buy, "1"), limited("O5", Side::Buy, "1", "99")];
    for other in &others {
        assert!(decided(&mut bench, 1, other).is_approved);
    }
    assert!(decided(&mut bench, 2, &buy("O6", "1")).is_approved, "two seconds after the approval");
    assert!(!decided(&mut bench, 3, &buy("O7", "1")).is_approved, "the window begins with each approval");
    assert_eq!(bench.state::<RiskRecent>("recent").len(), 4);
    // A day after noon, up to the next midnight.
    bench.timer_to(at(NOON + 36 * 3_600_000_000 - 1));
    assert_eq!(bench.state::<RiskRecent>("recent").len(), 4);
    bench.timer_to(at(NOON + 36 * 3_600_000_000));
    assert!(bench.state::<RiskRecent>("recent").is_empty() && bench.timers().is_empty());
}

#[test]
fn the_rate_counts_approved_orders_and_replaces_over_a_restart() {
    let mut world = patient();
    world.limits[0].max_orders_per_minute = Some(3);
    world.limits[0].max_order_quantity = num("100");
    let mut bench = world.bench();
    let first = buy("O1", "1");
    assert!(decided(&mut bench, 0, &first).is_approved);
    assert!(!decided(&mut bench, 1, &buy("O2", "101")).is_approved, "a refused order does not count");
    assert!(decided(&mut bench, 30, &replacing(&first, 2, "2", None)).is_approved);
    assert!(decided(&mut bench, 59, &buy("O3", "1")).is_approved);
    bench.restart();
    let refused = decided(&mut bench, 59, &buy("O4", "1"));
    assert_eq!(refused.reason_codes, ["ORDER_RATE"]);
    let row = refused.validation_results.iter().find(|row| row.name == "order_rate").unwrap();
    assert_eq!((row.figure, row.limit), (Some(num("4")), Some(num("3"))));
    assert_eq!(refused.recommendations, ["WAIT:2000"]);
    assert!(decided(&mut bench, 61, &buy("O5", "1")).is_approved);
}

#[test]
fn entered_value_counts_whatever_becomes_of_the_order() {
    let mut world = patient();
    world.limits[0].max_entered_value_per_minute = Some(num("2500"));
    world.limits[0].max_entered_value_per_day = Some(num("4000"));
    let mut bench = world.bench();
    // 10 are worth 1,010 with the collar.
    let first = buy("O1", "10");
    assert!(decided(&mut bench, 0, &first).is_approved);
    bench.record(ORDERS, &event(&first, OrderEventType::Cancelled, ParentStatus::Cancelled, "0", "0"));
    assert!(decided(&mut bench, 1, &buy("O2", "10")).is_approved);
    let refused = decided(&mut bench, 2, &buy("O3", "10"));
    assert_eq!(refused.reason_codes, ["ENTERED_VALUE_MINUTE"]);
    assert_eq!(refused.recommendations, ["REDUCE_TO:4", "WAIT:59000"]);
    assert!(decided(&mut bench, 61, &buy("O4", "10")).is_approved);
    let refused = decided(&mut bench, 200, &buy("O5", "10"));
    assert_eq!(refused.reason_codes, ["ENTERED_VALUE_DAY"]);
    assert_eq!(refused.recommendations, ["REDUCE_TO:9", "USE_LIMIT:100"][..1].to_vec());
    // A replace counts with what it adds.
    assert!(decided(&mut bench, 200, &replacing(&buy("O4", "10"), 2, "11", None)).is_approved);
    assert_eq!(bench.state::<RiskEntered>("entered")["P1"].day_value, num("3131"));
    // The next day begins anew.
    assert!(decided(&mut bench, 43_200, &buy("O6", "10")).is_approved);
}

#[test]
fn counters_need_no_limit_and_are_kept_for_none() {
    let mut bench = World::default().bench();
    assert!(verdict(&mut bench, &buy("O1", "1")).is_approved);
    assert!(bench.state::<RiskEntered>("entered").is_empty() && bench.state::<RiskRecent>("recent").is_empty());
    assert!(bench.timers().is_empty());
}

#[test]
fn a_closed_market_opens_in_so_many_milliseconds() {
    let mut world = World::default();
    world.limits[0].refuse_outside_session = true;
    // From 12:30, and the order is of 12:00.
    world.calendars[0].opens_at_us = 45_000_000_000;
    let refused = verdict(&mut world.bench(), &buy("O1", "1"));
    assert_eq!(
        (refused.reason_codes, refused.recommendations),
        (vec!["MARKET_CLOSED".to_owned()], vec!["WAIT:1800000".to_owned()])
    );
    world.limits[0].refuse_outside_session = false;
    assert!(verdict(&mut world.bench(), &buy("O1", "1")).is_approved);
}

#[test]
fn rule_18_a_share_of_daily_volume_is_split_over_days() {
    let mut world = World::default();
    // 40 of 100,000 a day.
    world.limits[0].max_adv_participation = Some(num("0.0004"));
    let refused = verdict(&mut world.bench(), &buy("O1", "81"));
    assert_eq!(refused.reason_codes, ["ADV_PARTICIPATION"]);
    assert_eq!(refused.recommendations, ["REDUCE_TO:40", "SPLIT_OVER:3"]);
}

#[test]
fn short_sales_need_a_locate_and_sales_of_what_is_held_none() {
    let mut world = World::default();
    world.limits[0].allow_short = true;
    world.limits[0].require_locate = true;
    world.limits[0].locates.insert("ACME".to_owned(), num("5"));
    world.accounts[0].positions.insert("ACME".to_owned(), num("10"));
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &created("O1", "ACME", Side::Sell, "10")).is_approved);
    let refused = verdict(&mut bench, &created("O2", "ACME", Side::SellShort, "6"));
    assert_eq!(
        (refused.reason_codes, refused.recommendations),
        (vec!["LOCATE_MISSING".to_owned()], vec!["REDUCE_TO:5".to_owned()])
    );
    assert!(verdict(&mut bench, &created("O3", "ACME", Side::SellShort, "5")).is_approved);
    assert_eq!(verdict(&mut bench, &created("O4", "ACME", Side::SellShort, "1")).reason_codes, ["LOCATE_MISSING"]);
}

#[test]
fn limits_on_net_sector_and_class_are_worst_case_in_the_direction_of_the_order() {
    let mut world = World::default();
    world.limits[0].allow_short = true;
    world.limits[0].max_net_value = Some(num("10000"));
    world.accounts[0].positions.insert("BETA".to_owned(), num("-100"));
    // BETA is -4,950 at its mid: net 149 x 101 - 4,950 passes 10,000 long, 49 x 101 more would be too much.
    let mut bench = world.bench();
    let long = verdict(&mut bench, &buy("O1", "148"));
    let row = long.validation_results.iter().find(|row| row.name == "net_value").unwrap();
    assert_eq!((long.is_approved, row.figure), (true, Some(num("9998"))));
    let short = verdict(&mut bench, &created("O2", "ACME", Side::SellShort, "51"));
    let row = short.validation_results.iter().find(|row| row.name == "net_value").unwrap();
    // Open buys do not net: -4,950 - 51 x 99.99.
    assert_eq!((short.is_approved, row.figure), (false, Some(num("10049.49"))));
}

#[test]
fn every_note_is_given_by_a_test() {
    let mut world = World::default();
    world.limits[0].watch_list.push("ACME".to_owned());
    let mut notes = verdict(&mut world.bench(), &buy("O1", "1")).notes;
    notes.sort();
    let mut all: Vec<&str> = Note::SYMBOLS.to_vec();
    all.sort_unstable();
    assert_eq!(notes, all);
}

#[test]
fn rule_21_value_is_with_the_multiplier_and_prices_may_be_negative_only_where_allowed() {
    let mut world = World::default();
    world.instruments[0].multiplier = num("100");
    world.limits[0].max_order_value = num("20200");
    let held = |verdict: &ValidatedOrder| (verdict.is_approved, verdict.reserved_value, verdict.order_value);
    // 2 contracts of 100 at 101, and at the mid of 99.5.
    assert_eq!(held(&verdict(&mut world.bench(), &buy("O1", "2"))), (true, num("20200"), num("19900")));
    assert_eq!(verdict(&mut world.bench(), &buy("O1", "3")).reason_codes, ["MAX_ORDER_VALUE"]);
    world.rows.push(quote("ACME", NOON - 500, "-3", "-2"));
    assert_eq!(verdict(&mut world.bench(), &buy("O1", "1")).reason_codes, ["PRICE_NOT_POSITIVE"]);
    world.instruments[0].negative_price_allowed = true;
    let approved = verdict(&mut world.bench(), &buy("O1", "1"));
    // Held at the ask moved by the collar towards zero or beyond, 1 %: its size is what counts.
    assert_eq!((approved.is_approved, approved.reserved_value), (true, num("202")), "{approved:?}");
}

#[test]
fn rule_15_initial_margin_is_by_asset_class() {
    let mut world = World::default();
    world.limits[0].allow_short = true;
    world.limits[0].initial_margin.insert("FUTURE".to_owned(), num("0.25"));
    world.instruments[1].asset_class = AssetClass::Future;
    world.accounts[0].cash = num("2000");
    world.accounts[0].positions.insert("BETA".to_owned(), num("-40"));
    let margin = |instrument: &str, quantity: &str| {
        let verdict = verdict(&mut world.bench(), &created("O1", instrument, Side::SellShort, quantity));
        let row = verdict.validation_results.iter().find(|row| row.name == "buying_power").unwrap();
        (verdict.is_approved, row.figure.unwrap())
    };
    // Short 40 at the mid of 49.5 hold a quarter; an equity at the bid of 99 with the collar what the account says.
    assert_eq!(margin("ACME", "10"), (true, num("1994.85")));
    // 44 futures at 49.49.
    assert_eq!(margin("BETA", "4"), (true, num("544.39")));
}
