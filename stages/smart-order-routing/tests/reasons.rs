//! Every reason is reached, and stands in the plan under its code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{ORDERS, SLICES, World, after, collar, now, num, qty, quote, slice, venue, world};
use fillstream_domain::{AssetClass, ControlScope, ExecType, OrdStatus, OrdType, Quantity, TimeInForce};
use fillstream_schemas::execution::{ChildUpdate, OrderEvent, OrderEventType, RoutingPlan, Slice};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Calendar, RiskLimit, Venue, VenueKind};
use fillstream_smart_order_routing::RouteReason;

type Case = (RouteReason, fn(&mut World));

fn calendar(id: &str, opens_hour: i64) -> Calendar {
    Calendar {
        calendar_id: id.into(),
        opens_at_us: opens_hour * 3_600_000_000,
        closes_at_us: 24 * 3_600_000_000,
        ..Calendar::default()
    }
}

const CASES: &[Case] = &[
    (RouteReason::NoQuote, |w| w.rows[0].event_time = after(-60_001)),
    (RouteReason::CrossedMarket, |w| w.rows[0].bid = Some(num("100.2"))),
    (RouteReason::LockedMarket, |w| w.rows[0].bid = Some(num("100.1"))),
    (RouteReason::NoFxRate, |w| {
        w.limit = Some(collar("50"));
        w.instrument.quote_currency = "CHF".into();
    }),
    (RouteReason::FigureOutOfRange, |w| w.rows.push(quote("X", "A", "0.00000001", "9000", 1))),
    (RouteReason::NoAccount, |w| w.slice.account_id = "nobody".into()),
    (RouteReason::NoVenue, |w| w.venues.iter_mut().for_each(|v| v.instruments = vec!["Y".into()])),
    (RouteReason::DepthExhausted, |w| w.slice = slice(1_000)),
    (RouteReason::VenueLot, |w| {
        w.venues.iter_mut().for_each(|v| v.lot_size = Some(qty(300)));
        w.slice.is_last = true;
    }),
    (RouteReason::ThroughLimit, |w| {
        w.slice = Slice { ord_type: OrdType::Limit, limit_price: Some(num("100")), ..slice(100) };
    }),
    (RouteReason::Collar, |w| {
        w.limit = Some(collar("50"));
        w.rows.push(quote("X", "A", "102", "103", 10));
    }),
    (RouteReason::NotWorthTaking, |w| {
        w.slice = slice(1_000);
        w.brokers = vec![common::broker("b", "1")];
        for (id, ask, size) in [("A", "100.1", 400), ("B", "100.1", 200), ("C", "100.3", 900)] {
            w.rows.push(quote("X", id, "100", ask, size));
        }
        w.venues.iter_mut().for_each(|v| v.quality = num("1"));
    }),
    (RouteReason::VenueUnknown, |w| w.brokers[0].venues = vec!["A".into(), "GHOST".into()]),
    (RouteReason::VenueClosed, |w| w.venues[0].is_open = false),
    (RouteReason::VenueOutOfHours, |w| {
        w.venues[0].calendar_id = Some("LATE".into());
        w.calendars.push(calendar("LATE", 20));
    }),
    (RouteReason::VenueNoCalendar, |w| w.venues[0].calendar_id = Some("NONE".into())),
    (RouteReason::VenueHalted, |w| {
        w.rows.push(NormalizedMarketData {
            kind: MarketDataKind::Status,
            trading_status: Some("HALTED".into()),
            bid: None,
            ask: None,
            ..quote("X", "A", "1", "1", 1)
        });
    }),
    (RouteReason::VenueKind, |w| w.venues[0].kind = VenueKind::Other),
    (RouteReason::VenueAssetClass, |w| w.venues[0].asset_classes = vec!["FX".into()]),
    (RouteReason::VenueOrderType, |w| w.venues[0].order_types = vec!["LIMIT".into()]),
    (RouteReason::BelowMinQuantity, |w| w.venues[0].min_quantity = Some(qty(101))),
    (RouteReason::VenueRestricted, |w| w.slice.venue_restrictions = vec!["A".into()]),
    (RouteReason::VenueNotPermitted, |w| {
        w.limit = Some(RiskLimit { permitted_venues: vec!["B".into()], ..collar("50") });
    }),
    (RouteReason::VenueNoQuote, |w| {
        w.rows.push(NormalizedMarketData { ask: None, ..quote("X", "A", "100", "100", 1) });
    }),
    (RouteReason::VenueStaleQuote, |w| {
        w.config.max_venue_quote_age_ms = 10_000;
        w.rows.push(NormalizedMarketData { event_time: after(-10_001), ..quote("X", "A", "100", "100.1", 9) });
    }),
    (RouteReason::VenueCrossed, |w| w.rows.push(quote("X", "A", "100.1", "100", 9))),
    (RouteReason::VenueLocked, |w| w.rows.push(quote("X", "A", "100.1", "100.1", 9))),
    (RouteReason::DarkNotWanted, |w| w.venues.push(Venue { kind: VenueKind::Dark, ..venue("D", "0") })),
    (RouteReason::Killed, |w| w.kills.push((ControlScope::Broker, "b"))),
    (RouteReason::Paused, |w| w.pauses.push((ControlScope::Venue, "A"))),
    (RouteReason::BrokerUnknown, |w| w.account.brokers.push("ghost".into())),
    (RouteReason::BrokerInactive, |w| w.brokers[0].is_active = false),
    (RouteReason::BrokerAssetClass, |w| w.brokers[0].asset_classes = vec!["CRYPTO".into()]),
    (RouteReason::BrokerOrderType, |w| w.brokers[0].order_types = vec!["LIMIT".into()]),
    (RouteReason::BrokerFractional, |w| {
        w.brokers[0].fractional_units = false;
        w.slice.quantity = num("10.5");
        w.slice.lot_size = num("0.5");
    }),
    (RouteReason::BrokerNotPreferred, |w| {
        w.account.brokers.push("c".into());
        w.brokers.push(common::broker("c", "0"));
        w.slice.preferred_brokers = vec!["c".into()];
    }),
    (RouteReason::BrokerNotFree, |w| {
        w.brokers[0].per_unit = num("0.01");
        w.account.brokers.push("c".into());
        w.brokers.push(common::broker("c", "0"));
        w.slice.quantity = qty(10);
    }),
];

/// A slice goes around the venues that the limits do not name, of the order or of its children, instead of being refused there.
#[test]
fn rule_33_venues_that_are_not_permitted_are_routed_around() {
    let routed = |orders: &[&str], children: &[&str]| {
        let mut w = world(100);
        let names = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let (permitted_venues, child_permitted_venues) = (names(orders), names(children));
        w.limit = Some(RiskLimit { permitted_venues, child_permitted_venues, ..collar("50") });
        let plan = w.plan();
        let code = |id: &str| common::code(&plan, id).unwrap_or("").to_owned();
        let legs: Vec<String> = common::legs(&plan).iter().map(|(venue, _)| (*venue).to_owned()).collect();
        (legs.join(","), [code("A"), code("B"), code("C")].join(","))
    };
    let of = |legs: &str, codes: &str| (legs.to_owned(), codes.to_owned());
    assert_eq!(routed(&[], &[]), of("A", ",,"));
    assert_eq!(routed(&["B", "C"], &[]), of("B", "VENUE_NOT_PERMITTED,,"));
    assert_eq!(routed(&[], &["C"]), of("C", "VENUE_NOT_PERMITTED,VENUE_NOT_PERMITTED,"));
    assert_eq!(routed(&["B", "C"], &["A", "C"]), of("C", "VENUE_NOT_PERMITTED,VENUE_NOT_PERMITTED,"));
    let nowhere = routed(&["A"], &["B"]);
    assert_eq!(nowhere, of("", "VENUE_NOT_PERMITTED,VENUE_NOT_PERMITTED,VENUE_NOT_PERMITTED"));
}

// Reasons that need a history: what order-management said before.
fn rejected(cl_ord_id: &str, venue: &str, at_ms: i64) -> OrderEvent {
    let child = ChildUpdate {
        cl_ord_id: cl_ord_id.into(),
        broker: "b".into(),
        venue: venue.into(),
        ord_status: OrdStatus::Rejected,
        exec_type: Some(ExecType::Rejected),
        ord_qty: qty(100),
        reject_code: Some("TOO_LATE".into()),
        ..ChildUpdate::default()
    };
    OrderEvent {
        event_type: OrderEventType::ChildUpdated,
        timestamp: after(at_ms),
        leaves_qty: qty(100),
        child: Some(child),
        ..released(100)
    }
}

fn released(leaves: i64) -> OrderEvent {
    OrderEvent {
        event_id: format!("r{leaves}"),
        timestamp: now(),
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        instrument_id: "X".into(),
        event_type: OrderEventType::Released,
        leaves_qty: qty(leaves),
        ..OrderEvent::default()
    }
}

fn codes(plan: &RoutingPlan) -> BTreeSet<String> {
    let excluded = plan.candidates.iter().filter_map(|c| c.exclusion_code.clone());
    let brokers = plan.broker_choices.iter().filter_map(|c| c.exclusion_code.clone());
    excluded.chain(brokers).chain(plan.unrouted_code.clone()).collect()
}

#[test]
fn rule_14_every_reason_is_reached_and_nothing_is_unrouted_silently() {
    let mut reached: BTreeSet<RouteReason> = BTreeSet::new();
    for (reason, change) in CASES {
        let mut w = world(100);
        change(&mut w);
        let plan = w.plan();
        assert!(codes(&plan).contains(reason.as_str()), "{reason:?}: {:?}", codes(&plan));
        let routed = Quantity::sum(plan.venue_allocations.iter().map(|l| l.quantity)).unwrap();
        assert_eq!(routed.checked_add(plan.unrouted_qty).unwrap(), plan.quantity, "{reason:?}");
        assert_eq!(plan.unrouted_qty.is_positive(), plan.unrouted_code.is_some(), "{reason:?}");
        reached.insert(*reason);
    }
    for reason in [RouteReason::VenueRejected, RouteReason::TooManyRejects, RouteReason::ExceedsLeaves] {
        reached.insert(reason);
    }
    let all: BTreeSet<RouteReason> = RouteReason::ALL.into_iter().collect();
    assert_eq!(reached, all);
    let names: BTreeSet<&str> = all.iter().map(|r| r.as_str()).collect();
    assert_eq!(names.len(), all.len(), "two reasons share a code");
}

/// A venue that refused is avoided for the configured time; the refused quantity is routed again with the reason.
#[test]
fn a_refused_child_is_rerouted_elsewhere_with_the_reason_and_the_venue_avoided_for_a_time() {
    let w = world(100);
    let mut bench = w.bench();
    let first: RoutingPlan = bench.record(ORDERS, &released(100)).record(SLICES, &w.slice).take_one();
    let leg = &first.venue_allocations[0];
    assert_eq!((leg.venue.as_str(), first.attempt), ("A", 0));
    bench.record(ORDERS, &rejected(&leg.cl_ord_id, "A", 100));
    let next = |n: i32| Slice { event_id: format!("s{n}"), slice_no: n, ..w.slice.clone() };
    let second: RoutingPlan = bench.restart().at(after(200)).record(SLICES, &next(2)).take_one();
    assert_eq!(second.venue_allocations[0].venue, "B");
    assert!(codes(&second).contains("VENUE_REJECTED"));
    let back = &second.reroutes[0];
    assert_eq!((back.venue.as_str(), back.quantity, back.code.as_str()), ("A", qty(100), "TOO_LATE"));
    assert_eq!((&back.cl_ord_id, second.attempt), (&leg.cl_ord_id, 1));
    assert!(second.routing_reasoning.contains("came back: 100 of b/A (TOO_LATE)"), "{}", second.routing_reasoning);
    // Another order of the portfolio avoids it too, until the time is over; what came back is said once.
    let other = |n: i32| Slice { order_id: "o2".into(), ..next(n) };
    let plan: RoutingPlan = bench.at(after(30_099)).record(SLICES, &other(3)).take_one();
    assert_eq!((plan.venue_allocations[0].venue.as_str(), plan.reroutes.len()), ("B", 0));
    let plan: RoutingPlan = bench.at(after(30_100)).record(SLICES, &other(4)).take_one();
    assert_eq!(plan.venue_allocations[0].venue, "A");
}

/// Our own risk's refusal says nothing of the venue; a fill ends the avoidance and the count.
#[test]
fn only_the_venues_own_refusals_make_it_avoided_and_a_fill_ends_it() {
    let mut w = world(100);
    w.config.max_rejects = 2;
    let mut bench = w.bench();
    bench.record(ORDERS, &released(300));
    let mut n = 0;
    let mut route = |bench: &mut fillstream_testkit::StageBench, quantity: i64| -> RoutingPlan {
        n += 1;
        let slice = Slice { event_id: format!("s{n}"), slice_no: n, quantity: qty(quantity), ..w.slice.clone() };
        bench.record(SLICES, &slice).take_one()
    };
    let leg =
        |plan: &RoutingPlan| (plan.venue_allocations[0].venue.clone(), plan.venue_allocations[0].cl_ord_id.clone());
    let (_, open) = leg(&route(&mut bench, 100));
    let (venue, id) = leg(&route(&mut bench, 100));
    let mut own = rejected(&id, &venue, 0);
    own.leaves_qty = qty(300);
    own.child.as_mut().unwrap().exec_type = None;
    bench.record(ORDERS, &own);
    // An empty slice takes nothing of what came back with it.
    assert!(route(&mut bench, 0).reroutes.is_empty());
    let plan = route(&mut bench, 100);
    assert_eq!((leg(&plan).0.as_str(), plan.reroutes.len(), plan.attempt), ("A", 1, 1));
    let fill = |id: &str| {
        let mut event = rejected(id, "A", 0);
        let child = event.child.as_mut().unwrap();
        (child.ord_status, child.exec_type) = (OrdStatus::PartiallyFilled, Some(ExecType::Trade));
        (child.cum_qty, child.leaves_qty, child.last_px) = (qty(10), qty(90), Some(num("100.1")));
        OrderEvent { leaves_qty: qty(290), ..event }
    };
    // The venue's refusal, the second in a row, pauses the order; the fill of its other child there ends both.
    let (_, id) = leg(&plan);
    bench.record(ORDERS, &OrderEvent { leaves_qty: qty(300), ..rejected(&id, "A", 0) });
    assert_eq!(route(&mut bench, 100).unrouted_code.as_deref(), Some("TOO_MANY_REJECTS"));
    bench.record(ORDERS, &fill(&open));
    assert_eq!(leg(&route(&mut bench, 100)).0, "A");
}

#[test]
fn attempts_are_bounded_then_the_order_is_paused() {
    let mut w = world(100);
    w.venues.truncate(1);
    w.config.reject_pause_ms = 10_000;
    let mut bench = w.bench();
    bench.record(ORDERS, &released(100));
    for n in 1..=5 {
        let slice = Slice { event_id: format!("s{n}"), slice_no: n, ..w.slice.clone() };
        let plan: RoutingPlan = bench.record(SLICES, &slice).take_one();
        // One venue only: it is used although it has refused.
        assert_eq!((plan.venue_allocations.len(), plan.attempt), (1, n - 1));
        bench.record(ORDERS, &rejected(&plan.venue_allocations[0].cl_ord_id, "A", 0));
    }
    let sixth = Slice { event_id: "s6".into(), slice_no: 6, ..w.slice.clone() };
    let plan: RoutingPlan = bench.record(SLICES, &sixth).take_one();
    assert_eq!((plan.unrouted_code.as_deref(), plan.unrouted_qty), (Some("TOO_MANY_REJECTS"), qty(100)));
    let seventh = Slice { event_id: "s7".into(), slice_no: 7, ..w.slice.clone() };
    let plan: RoutingPlan = bench.at(after(10_000)).record(SLICES, &seventh).take_one();
    assert_eq!(plan.venue_allocations.len(), 1);
}

/// A slice whose value is out of range is refused, not dead-lettered: its plan is waited for.
#[test]
fn a_value_out_of_range_is_refused_with_its_code() {
    let mut w = world(100);
    w.slice.quantity = num("99999999999999999999");
    let plan = w.plan();
    assert_eq!(plan.unrouted_code.as_deref(), Some("FIGURE_OUT_OF_RANGE"));
    assert_eq!(plan.unrouted_qty, plan.quantity);
}

#[test]
fn rule_4_no_more_is_routed_than_the_order_has_free() {
    let w = world(100);
    let mut bench = w.bench();
    bench.record(ORDERS, &released(130)).record(SLICES, &w.slice);
    assert_eq!(bench.take_one::<RoutingPlan>().venue_allocations.len(), 1);
    let next = |n: i32| Slice { event_id: format!("s{n}"), slice_no: n, ..w.slice.clone() };
    let plan: RoutingPlan = bench.restart().record(SLICES, &next(2)).take_one();
    assert_eq!((common::legs(&plan), plan.unrouted_qty), (vec![("A", "30".to_string())], qty(70)));
    assert_eq!(plan.unrouted_code.as_deref(), Some("EXCEEDS_LEAVES"));
    let plan: RoutingPlan = bench.record(SLICES, &next(3)).take_one();
    assert_eq!((plan.unrouted_qty, plan.venue_allocations.len()), (qty(100), 0));
}

#[test]
fn an_asset_class_of_fractions_is_not_a_share() {
    let mut w = world(100);
    w.instrument.asset_class = AssetClass::Crypto;
    w.brokers[0].fractional_units = false;
    w.slice = Slice { quantity: num("0.5"), lot_size: num("0.1"), time_in_force: TimeInForce::Ioc, ..w.slice };
    assert_eq!(w.plan().venue_allocations.len(), 1);
}
