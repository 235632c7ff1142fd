//! LIMIT, ICEBERG, SNIPER and POV: what rests, and what watches the market.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Desk, allocated, at, px, qty, selling, units, with_limit, with_terms};
use fillstream_domain::{Algorithm, OrdType, Quantity, TimeInForce, Urgency};
use fillstream_schemas::execution::{ExecutionStrategySelected, OrderEventType, Slice};

fn normal(v: fillstream_schemas::execution::AccountAllocation) -> fillstream_schemas::execution::AccountAllocation {
    with_terms(v, |t| t.urgency = Urgency::Normal)
}

#[test]
fn a_limit_order_with_a_price_of_its_own_rests_there_until_its_end() {
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::Limit, 100, 600), "99.5"));
    let slice = desk.slice();
    assert_eq!(
        (slice.limit_price, slice.time_in_force, slice.ord_type),
        (Some(px("99.5")), TimeInForce::Day, OrdType::Limit)
    );
    desk.routed(&slice, 100).fill(1, 30, 70).to(300).quote("101", "101.02").to(599).nothing();
    // Its child ends before its time: what is left is placed again, at the same price.
    desk.quote("101", "101.02").fill(1, 0, 0);
    let again = desk.slice();
    assert_eq!((again.quantity, again.limit_price), (qty(70), Some(px("99.5"))));
}

#[test]
fn a_limit_order_that_is_refused_again_and_again_waits_longer_each_time() {
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::Limit, 100, 600), "99.5"));
    let mut times = Vec::new();
    for n in 1..=5 {
        let slice = desk.slice();
        times.push((slice.timestamp.micros() - at(0).micros()) / 1_000_000);
        desk.routed(&slice, 100).fill(n, 0, 0).to(times.last().unwrap() + (1 << (n - 1)));
    }
    assert_eq!(times, [0, 1, 3, 7, 15]);
}

/// The repricing policy: after a time, if the book has moved away, to the near touch, never through the bound.
#[test]
fn a_limit_order_without_a_price_follows_the_near_touch() {
    let mut desk = Desk::new();
    let selected = desk.begin(&allocated(Algorithm::Limit, 100, 600));
    assert_eq!(selected.recommended_strategy.parameters.price_bound, Some(px("100.5")));
    let first = desk.slice();
    assert_eq!((first.limit_price, first.reason.as_deref()), (Some(px("100")), Some("PLACED")));
    desk.routed(&first, 100).to(5).quote("100.1", "100.12").to(9).nothing().to(10);
    let reprice = desk.slice();
    assert_eq!((reprice.quantity, reprice.is_last), (Quantity::ZERO, false));
    assert_eq!(
        (reprice.reason.as_deref(), reprice.cancel_cl_ord_ids.clone()),
        (Some("REPRICE"), vec!["c1".to_owned()])
    );
    // The cancel is asked for once, and what it gives back is placed at the touch of that moment.
    desk.routed(&reprice, 0).to(15).quote("100.2", "100.22").to(20).nothing().fill(1, 40, 0);
    let second = desk.slice();
    assert_eq!((second.quantity, second.limit_price), (qty(60), Some(px("100.2"))));
    // The book comes back: children keep their place. It runs away: the bound holds.
    desk.routed(&second, 60).quote("100.1", "100.12").to(40).nothing();
    desk.quote("101", "101.02").to(50);
    let third = desk.slice();
    assert_eq!(third.cancel_cl_ord_ids, ["c3"]);
    desk.routed(&third, 0).fill(3, 0, 0);
    assert_eq!(desk.slice().limit_price, Some(px("100.5")));
}

#[test]
fn what_rests_is_not_repriced_on_a_crossed_book() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Limit, 100, 600));
    let first = desk.slice();
    desk.routed(&first, 100).to(9).quote("100.3", "100.1").to(15).nothing();
    desk.quote("100.3", "100.32").to(16);
    assert_eq!(desk.slice().reason.as_deref(), Some("REPRICE"));
}

#[test]
fn an_iceberg_shows_a_part_and_the_next_when_it_is_gone() {
    let mut desk = Desk::new();
    let selected = desk.begin(&with_limit(allocated(Algorithm::Iceberg, 1_000, 600), "100.5"));
    assert_eq!(selected.used, Algorithm::Iceberg);
    assert_eq!(selected.recommended_strategy.parameters.display_qty, Some(qty(100)));
    let mut left = 1_000;
    let mut parts: Vec<Slice> = Vec::new();
    while left > 0 {
        let part = desk.slice();
        let size = units(part.quantity);
        assert!((80..=120).contains(&size) || size == left, "{size} of {left}");
        assert_eq!((part.limit_price, part.time_in_force), (Some(px("100")), TimeInForce::Day));
        desk.routed(&part, size);
        // A part that is filled in part stays where it is.
        desk.fill(part.slice_no, 10, size - 10).nothing();
        if parts.is_empty() {
            desk.bench.restart();
        }
        left -= size;
        desk.fill(part.slice_no, size - 10, 0);
        parts.push(part);
    }
    desk.nothing();
    let reasons: Vec<&str> = parts.iter().filter_map(|p| p.reason.as_deref()).collect();
    assert!(reasons[0] == "PLACED" && reasons[1..].iter().all(|r| *r == "REFRESH"));
    let mut sizes: Vec<Quantity> = parts.iter().map(|p| p.quantity).collect();
    sizes.dedup();
    assert!(sizes.len() > parts.len() / 2, "parts differ: {sizes:?}");
}

/// Must complete or may leave (trading rule 32): what rests is cancelled before the end, and what is left is taken.
#[test]
fn rule_32_an_order_that_must_complete_takes_what_is_left() {
    let mut desk = Desk::new();
    desk.begin(&normal(with_limit(allocated(Algorithm::Iceberg, 1_000, 600), "100.5")));
    let part = desk.slice();
    let size = units(part.quantity);
    desk.routed(&part, size).to(580).quote("100", "100.02").to(590);
    let told = desk.bench.take::<ExecutionStrategySelected>();
    assert_eq!(told.len(), 2, "the market was silent for more than a minute, and is back");
    let finish = desk.slice();
    assert_eq!((finish.reason.as_deref(), finish.cancel_cl_ord_ids.clone()), (Some("FINISH"), vec!["c1".to_owned()]));
    desk.routed(&finish, 0).to(591).nothing().fill(1, 0, 0);
    let rest = desk.slice();
    assert_eq!(
        (rest.quantity, rest.time_in_force, rest.limit_price),
        (qty(1_000), TimeInForce::Ioc, Some(px("100.5")))
    );
    assert_eq!((rest.reason.as_deref(), rest.expire_at), (Some("COMPLETION"), at(600)));
    // One that may leave it does.
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::Iceberg, 1_000, 600), "100.5"));
    let part = desk.slice();
    desk.routed(&part, units(part.quantity)).to(580).quote("100", "100.02").to(599).quiet().to(600);
    assert_eq!(desk.slice().reason.as_deref(), Some("END"));
}

#[test]
fn a_sniper_waits_for_its_conditions_and_takes_at_its_deadline() {
    let mut desk = Desk::new();
    desk.sized_quote(("100", "100.02"), Some(10));
    let selected = desk.begin(&allocated(Algorithm::Sniper, 100, 100));
    assert_eq!(selected.recommended_strategy.parameters.deadline_at, Some(at(80)));
    desk.to(10).nothing();
    desk.sized_quote(("100", "100.02"), Some(60)).to(12);
    let shot = desk.slice();
    assert_eq!((shot.quantity, shot.limit_price, shot.time_in_force), (qty(60), Some(px("100.02")), TimeInForce::Ioc));
    assert_eq!(shot.reason.as_deref(), Some("TRIGGERED"));
    desk.done(&shot).sized_quote(("100", "100.02"), Some(1)).to(20).nothing();
    // Size without a good price, or a tight spread, is nothing.
    desk.sized_quote(("101", "101.02"), Some(900)).to(40).nothing();
    desk.sized_quote(("99.5", "100.02"), Some(900)).to(79).nothing();
    desk.to(80);
    let last = desk.slice();
    assert_eq!((last.quantity, last.reason.as_deref()), (qty(40), Some("COMPLETION")));
    assert_eq!(last.limit_price, Some(px("100.26")), "25 bps over the arrival mid");
}

#[test]
fn a_sniper_does_not_shoot_at_a_locked_book() {
    let mut desk = Desk::new();
    desk.sized_quote(("100.02", "100.02"), Some(500));
    desk.begin(&selling(allocated(Algorithm::Sniper, 100, 100)));
    desk.to(10).nothing();
    desk.sized_quote(("100", "100.02"), Some(500)).to(12);
    assert_eq!(desk.slice().limit_price, Some(px("100")));
}

#[test]
fn a_pov_order_follows_the_volume() {
    let mut desk = Desk::new();
    desk.print(50).bench.at(at(1));
    let selected = desk.begin(&allocated(Algorithm::Pov, 200, 600));
    assert_eq!(selected.used, Algorithm::Pov);
    desk.nothing().to(10).print(500).quote("100", "100.02").to(21);
    let slice = desk.slice();
    assert_eq!((slice.quantity, slice.market_volume), (qty(50), Some(qty(500))));
    assert_eq!(slice.reason.as_deref(), Some("PARTICIPATION"));
    desk.done(&slice).quote("100", "100.02").to(41).nothing();
    // The order's own limit is less than the algorithm's rate.
    let mut desk = Desk::new();
    desk.print(50).bench.at(at(1));
    desk.begin(&with_terms(allocated(Algorithm::Pov, 200, 600), |t| {
        t.max_participation_rate = Some("0.05".parse().unwrap())
    }));
    desk.to(10).print(500).quote("100", "100.02").to(21);
    assert_eq!(desk.slice().quantity, qty(25));
}

/// Trading rule 32: what was missed is caught up with at the pace of the volume now.
#[test]
fn rule_32_a_pov_order_does_not_burst_after_a_halt() {
    let mut desk = Desk::new();
    desk.print(50).bench.at(at(1));
    desk.begin(&allocated(Algorithm::Pov, 1_000, 600));
    desk.status("HALTED").to(10).print(9_000).to(50).print(100).status("OPEN").quote("100", "100.02").to(60);
    // 910 are missing; a tenth of the last 20 s is 10, twice that may go.
    assert_eq!(desk.slice().quantity, qty(20));
}

#[test]
fn a_cancel_ends_what_rests_and_what_watches() {
    for algorithm in [Algorithm::Iceberg, Algorithm::Sniper] {
        let mut desk = Desk::new();
        desk.sized_quote(("100", "100.02"), Some(1));
        desk.begin(&allocated(algorithm, 1_000, 600));
        desk.bench.take::<Slice>();
        let cancel = desk.event(OrderEventType::CancelRequested, None);
        desk.bench.record(common::ORDERS, &cancel);
        assert_eq!(desk.slice().reason.as_deref(), Some("STOP"));
        desk.to(700).nothing();
        assert!(desk.bench.timers().is_empty());
    }
}
