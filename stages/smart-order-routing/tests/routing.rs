//! The stage on the bench: venues, split, prices.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{World, after, code, collar, legs, num, price, qty, quote, slice, venue, world};
use fillstream_domain::{OrdType, Quantity, Side, TimeInForce, Urgency};
use fillstream_schemas::execution::{RoutingMode, RoutingPlan, Slice};
use fillstream_schemas::reference::{RiskLimit, Venue, VenueKind};
use fillstream_smart_order_routing::{Config, SmartOrderRouting};
use fillstream_testkit::StageBench;

#[test]
fn rule_33_a_large_slice_is_split_by_displayed_size_and_the_rest_waits() {
    let plan = world(1_000).plan();
    assert_eq!(legs(&plan), [("A", "250".into()), ("B", "150".into()), ("C", "100".to_string())]);
    assert_eq!(
        (plan.unrouted_qty.to_string().as_str(), plan.unrouted_code.as_deref()),
        ("500", Some("DEPTH_EXHAUSTED"))
    );
    assert_eq!((plan.candidates.len(), plan.mode), (3, RoutingMode::Sweep));
    let ids: std::collections::BTreeSet<_> = plan.venue_allocations.iter().map(|l| &l.cl_ord_id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn rule_33_a_small_slice_goes_to_the_best_venue() {
    let plan = world(100).plan();
    assert_eq!((legs(&plan), plan.mode), (vec![("A", "100".to_string())], RoutingMode::SingleVenue));
    assert_eq!(plan.alternative.as_deref(), Some("b/B"));
}

/// Trading rule 22: the threshold is in the reporting currency, with the rate as evidence: 230 at 100.1 are 23,023 dollars,
/// but 25,325.30 where the dollar is 1.1.
#[test]
fn rule_22_the_threshold_is_in_the_reporting_currency() {
    let small = world(230).plan();
    assert_eq!((small.venue_allocations.len(), small.order_value), (1, Some(num("23023"))));
    assert_eq!((small.fx_rate, small.fx_instrument, small.usd_rate), (Some(price("1")), None, Some(price("1"))));
    let mut euros = world(230);
    euros.instrument.quote_currency = "EUR".into();
    euros.rows.push(quote("EURUSD", "FX", "1.09", "1.11", 1));
    euros.limit = Some(collar("1000"));
    let plan = euros.plan();
    assert_eq!((plan.venue_allocations.len(), plan.order_value), (2, Some(num("25325.3"))));
    assert_eq!((plan.fx_rate, plan.fx_instrument.as_deref()), (Some(price("1.1")), Some("EURUSD")));
    assert_eq!((plan.fx_quote_time, plan.reporting_currency.as_deref()), (Some(after(-1_000)), Some("USD")));
}

#[test]
fn the_last_slice_of_a_stopped_schedule_gets_a_plan_without_legs_whatever_is_known() {
    let mut bench = StageBench::new(SmartOrderRouting::new(Config::default()).unwrap());
    bench.at(common::now()).record(common::SLICES, &Slice { is_last: true, terms_revision: 7, ..slice(0) });
    let plan: RoutingPlan = bench.take_one();
    assert_eq!(plan.terms_revision, 7, "of the terms that the schedule followed");
    assert_eq!((plan.is_last, plan.unrouted_qty, plan.unrouted_code), (true, Quantity::ZERO, None));
    assert!(plan.venue_allocations.is_empty() && plan.candidates.is_empty());
    assert_eq!((plan.routing_reasoning.as_str(), plan.mode), ("the schedule was stopped", RoutingMode::None));
}

/// Fees are signed and differ for taking and providing; fees a unit count by the price.
#[test]
fn rule_42_fees_and_rebates_of_taking_and_providing() {
    let with = |taker: &str, maker: &str| Venue { taker_fee: num(taker), maker_fee: num(maker), ..venue("A", "1") };
    let cost = |w: &World| {
        let plan = w.plan();
        (plan.candidates[0].fee.unwrap().to_string(), plan.candidates[0].cost.to_string())
    };
    let mut w = world(100);
    w.venues = vec![with("3", "-2")];
    assert_eq!(cost(&w), ("3".into(), "8".into()), "3 and half of 10 basis points");
    w.slice =
        Slice { ord_type: OrdType::Limit, limit_price: Some(num("99")), time_in_force: TimeInForce::Day, ..slice(100) };
    assert_eq!(cost(&w), ("-2".into(), "-7".into()), "a rebate, and half the spread is earned");
    w.venues[0] = Venue { maker_fee_per_unit: Some(num("-0.001")), ..with("3", "0") };
    assert_eq!(cost(&w).0, "-0.0999", "0.001 of 100.1");
}

#[test]
fn rule_42_a_quote_of_its_own_counts_whole_with_its_age() {
    let mut w = world(1_000);
    w.rows.push(quote("X", "B", "100.01", "100.05", 700));
    let plan = w.plan();
    let b = plan.candidates.iter().find(|c| c.venue == "B").unwrap();
    assert_eq!((b.own_quote, b.available_qty, b.quote_time), (true, Some(qty(700)), Some(after(-1_000))));
    assert_eq!((b.bid, b.ask), (Some(num("100.01")), Some(num("100.05"))));
    assert!(!plan.candidates.iter().find(|c| c.venue == "A").unwrap().own_quote);
}

/// The price of a MARKET child is bounded at half the collar from its venue's touch, on the tick, to our side.
#[test]
fn price_protection_market_children_are_limited_within_the_collar() {
    let mut w = world(100);
    w.limit = Some(collar("50"));
    let leg = w.plan().venue_allocations.remove(0);
    // 100.1 plus 25 basis points is 100.35025.
    assert_eq!((leg.ord_type, leg.limit_price), (Some(OrdType::Limit), Some(price("100.35"))));
    w.slice.side = Side::Sell;
    let leg = w.plan().venue_allocations.remove(0);
    assert_eq!(leg.limit_price, Some(price("99.75")));
    w.venues[0].tick_size = Some(num("0.5"));
    assert_eq!(w.plan().venue_allocations.remove(0).limit_price, Some(price("100")));
    w.limit = None;
    let leg = w.plan().venue_allocations.remove(0);
    assert_eq!((leg.ord_type, leg.limit_price), (None, None));
}

/// A limit beyond the collar is drawn in, one within it stands, off the venue's tick it is rounded to our side.
#[test]
fn price_protection_limits_are_drawn_in_never_out() {
    let limited = |limit: &str, tick: Option<&str>| {
        let mut w = world(100);
        w.limit = Some(collar("50"));
        w.venues[0].tick_size = tick.map(num);
        w.slice = Slice { ord_type: OrdType::Limit, limit_price: Some(num(limit)), ..slice(100) };
        let leg = w.plan().venue_allocations.remove(0);
        (leg.ord_type, leg.limit_price)
    };
    assert_eq!(limited("200", None), (None, Some(price("100.35"))));
    assert_eq!(limited("100.2", None), (None, None));
    assert_eq!(limited("100.23", Some("0.05")), (None, Some(price("100.2"))));
}

/// Venues whose touch is through the limit or the collar are not used; the others are.
#[test]
fn price_protection_venues_beyond_limit_and_collar_are_excluded() {
    let mut w = world(1_000);
    w.limit = Some(collar("50"));
    w.rows.push(quote("X", "A", "100.2", "100.3", 400));
    w.rows.push(quote("X", "B", "101", "102", 400));
    w.slice = Slice { ord_type: OrdType::Limit, limit_price: Some(num("100.2")), ..slice(1_000) };
    let plan = w.plan();
    assert_eq!((code(&plan, "A"), code(&plan, "B"), code(&plan, "C")), (Some("THROUGH_LIMIT"), Some("COLLAR"), None));
    assert_eq!(legs(&plan), [("C", "1000".to_string())]);
    // The last slice goes: its limit protects it, and what the venue says ends the order.
    w.slice.is_last = true;
    assert_eq!((code(&w.plan(), "A"), code(&w.plan(), "B")), (None, Some("COLLAR")));
    w.slice.is_last = false;
    // A child that rests at its limit goes anywhere within the collar.
    w.slice.time_in_force = TimeInForce::Day;
    assert_eq!(code(&w.plan(), "A"), None);
}

/// At the limit and at the collar is not through them.
#[test]
fn price_protection_the_bounds_themselves_are_allowed() {
    let mut w = world(1_000);
    w.limit = Some(collar("50"));
    // 100.1 and 50 basis points are 100.6005.
    w.rows.push(quote("X", "A", "100.2", "100.6005", 400));
    w.slice = Slice { ord_type: OrdType::Limit, limit_price: Some(num("100.6005")), ..slice(1_000) };
    assert_eq!(code(&w.plan(), "A"), None);
    w.slice.limit_price = Some(num("100.6"));
    assert_eq!(code(&w.plan(), "A"), Some("THROUGH_LIMIT"));
}

#[test]
fn modes_sweep_takes_at_once_and_rest_waits_at_the_limit() {
    let mut w = world(1_000);
    w.slice = Slice {
        ord_type: OrdType::Limit,
        limit_price: Some(num("99.9")),
        time_in_force: TimeInForce::Day,
        ..slice(1_000)
    };
    let plan = w.plan();
    assert_eq!((plan.mode, plan.unrouted_qty), (RoutingMode::Rest, Quantity::ZERO));
    assert_eq!(legs(&plan), [("A", "500".to_string()), ("B", "500".to_string())]);
}

/// IOC and URGENT remainders go to the best venue; all or none goes to one that takes it.
#[test]
fn rule_33_remainders_of_the_last_slice_go_to_the_best_venue() {
    let urgent = World { slice: Slice { urgency: Urgency::Urgent, ..slice(1_000) }, ..world(1_000) };
    assert_eq!(legs(&urgent.plan()), [("A", "750".to_string()), ("B", "150".into()), ("C", "100".into())]);
    let mut fok = world(1_000);
    fok.slice.time_in_force = TimeInForce::Fok;
    fok.venues[0].lot_size = Some(qty(300));
    assert_eq!(legs(&fok.plan()), [("B", "1000".to_string())]);
}

/// Dark pools take their ratio first, up to the size assumed there and from their least size on, limited at the middle.
#[test]
fn rule_42_dark_pools_execute_at_the_middle_from_their_least_size_on() {
    let dark = |id: &str, clip: i64, least: i64| Venue {
        kind: VenueKind::Dark,
        assumed_clip: Some(qty(clip)),
        min_quantity: Some(qty(least)),
        ..venue(id, "0")
    };
    let mut w = world(1_000);
    w.venues.extend([dark("D1", 150, 100), dark("D2", 900, 400), dark("D3", 900, 200)]);
    w.slice.dark_pool_ratio = Some(num("0.4"));
    let plan = w.plan();
    let in_dark: Vec<_> = plan.venue_allocations.iter().filter(|l| l.venue.starts_with('D')).collect();
    let shares: Vec<_> = in_dark.iter().map(|l| (l.venue.as_str(), l.quantity.to_string())).collect();
    // The deepest first: 400 at D2 is all.
    assert_eq!(shares, [("D2", "400".to_string())]);
    // The middle of 100 and 100.1 is 100.05.
    assert_eq!((in_dark[0].ord_type, in_dark[0].limit_price), (Some(OrdType::Limit), Some(price("100.05"))));
    assert_eq!(plan.venue_allocations.iter().map(|l| l.quantity.unscaled()).sum::<i128>(), qty(900).unscaled());
    assert_eq!(plan.unrouted_qty, qty(100));
    // A ratio below the least size of the deeper two leaves the first one.
    w.slice.dark_pool_ratio = Some(num("0.15"));
    assert_eq!(w.plan().venue_allocations[0].venue, "D1");
    w.slice.dark_pool_ratio = None;
    assert_eq!(code(&w.plan(), "D1"), Some("DARK_NOT_WANTED"));
    // All or none has one venue.
    let fok = Slice { dark_pool_ratio: Some(num("1")), time_in_force: TimeInForce::Fok, ..slice(900) };
    assert_eq!(legs(&World { slice: fok, ..w.clone() }.plan()), [("A", "900".to_string())]);
    // Small slices go to one lit venue.
    w.slice = Slice { dark_pool_ratio: Some(num("1")), ..slice(100) };
    assert_eq!(legs(&w.plan()), [("A", "100".to_string())]);
}

#[test]
fn a_limit_record_of_another_currency_without_a_rate_fails_closed() {
    let mut w = world(100);
    w.limit = Some(RiskLimit { currency: "JPY".into(), ..collar("50") });
    let plan = w.plan();
    assert_eq!((plan.unrouted_code.as_deref(), plan.unrouted_qty), (Some("NO_FX_RATE"), qty(100)));
    assert!(plan.venue_allocations.is_empty());
}
