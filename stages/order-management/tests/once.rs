//! A decision is honoured once, for ever.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_schemas::execution::{OrderEvent, OrderEventType as E};
use fillstream_schemas::state::{OmsSeen, OmsSeenHour};

#[test]
fn an_identical_repeat_changes_nothing() {
    let mut bench = World::default().bench();
    bench.records(DECISIONS, &[decision("D1"), decision("D1")]);
    expect(&mut bench, &[E::Created]);
    let before = bench.dump();
    bench.restart().record(DECISIONS, &decision("D1")).nothing_more();
    // The same by way of the other topic, and long after: within the window.
    bench.record("coordination.decisions-forwarded.v1", &decision("D1")).nothing_more();
    assert_eq!(bench.dump(), before);
}

#[test]
fn a_repeat_of_a_refused_decision_changes_nothing_either() {
    let mut bench = World::default().bench();
    let mut refused = decision("D1");
    refused.decision.share_quantity = Some(num("-5"));
    bench.record(DECISIONS, &refused);
    let event = bench.take_one::<OrderEvent>();
    assert_eq!((code(&event), event.is_terminal, event.revision), ("INVALID_QUANTITY", true, 1));
    assert_eq!((totals(&event).join(" "), event.order_id), ("0 0 0 0 0 0".into(), id()));
    bench.record(DECISIONS, &refused).nothing_more();
}

#[test]
fn rule_9_other_content_is_a_conflict_with_ids_of_its_own() {
    let mut bench = World::default().bench();
    let mut other = decision("D1");
    other.decision.priority = "LOW".into();
    let mut third = decision("D1");
    third.decision.priority = "NORMAL".into();
    bench.record(DECISIONS, &decision("D1")).record(DECISIONS, &other).record(DECISIONS, &third);
    let lineages: Vec<_> = bench.outputs().iter().map(|o| o.lineage).collect();
    let events = expect(&mut bench, &[E::Created, E::Rejected, E::Rejected]);
    assert!(events[1..].iter().all(|e| code(e) == "DUPLICATE_CONFLICT" && e.decision_event_id == "D1"));
    for (i, a) in events.iter().enumerate() {
        for (j, b) in events.iter().enumerate().skip(i + 1) {
            assert!(a.order_id != b.order_id && a.event_id != b.event_id && lineages[i] != lineages[j]);
        }
    }
    // Each conflict is told once, and the order goes on.
    bench
        .record(DECISIONS, &other)
        .record(DECISIONS, &decision("D1"))
        .record(VERDICTS, &approval())
        .record(ALLOCATIONS, &allocation());
    expect(&mut bench, &[E::Released]);
}

#[test]
fn what_was_seen_is_forgotten_after_the_window_and_then_stale_under_ids_of_its_own() {
    let window = 168 * HOUR;
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1"));
    let first = bench.take::<OrderEvent>().remove(0);
    assert_eq!(bench.state::<OmsSeen>("seen").len(), 1);
    // 12:00 belongs to the hour that ends at 13:00.
    bench.timer_to(at(NOON + HOUR + window - 1)).record(DECISIONS, &decision("D1"));
    bench.take::<OrderEvent>();
    assert_eq!(bench.state::<OmsSeen>("seen").len(), 1);
    bench.timer_to(at(NOON + HOUR + window)).restart();
    assert!(bench.state::<OmsSeen>("seen").is_empty() && bench.state::<OmsSeenHour>("seen-hours").is_empty());
    bench.record(DECISIONS, &decision("D1"));
    let event = bench.take_one::<OrderEvent>();
    assert_eq!(code(&event), "STALE_DECISION");
    assert!(event.order_id != first.order_id && event.event_id != first.event_id);
    bench.record(DECISIONS, &decision("D1")).nothing_more();
}

#[test]
fn a_busy_hour_is_forgotten_in_parts() {
    // Refused, so that only the window remembers them.
    let mut bench = World { controls: None, ..World::default() }.bench();
    let many: Vec<_> = (0..4_500).map(|i| decision(&format!("D{i}"))).collect();
    bench.records(DECISIONS, &many);
    bench.take::<OrderEvent>();
    bench.timer_to(at(NOON + 169 * HOUR));
    assert_eq!(bench.state::<OmsSeen>("seen").len(), 2_500);
    bench.timer_to(at(NOON + 169 * HOUR + 2));
    assert!(bench.dump().iter().all(|(store, ..)| store == "order-management/chains"));
}

#[test]
fn a_portfolio_and_an_event_id_make_the_order_id() {
    let order_id = fillstream_order_management::order_id;
    assert_eq!(order_id("P1", "D1"), order_id("P1", "D1"));
    let ids = [order_id("a", "b/c"), order_id("a/b", "c"), order_id("a", "b"), order_id("b", "a")];
    for (i, id) in ids.iter().enumerate() {
        assert!(id.len() == 32 && !ids[i + 1..].contains(id));
    }
}

#[test]
fn rule_6_an_empty_portfolio_is_the_default_one() {
    let mut world = World::default();
    world.config.default_portfolio = Some("P1".into());
    let mut bench = world.bench();
    let mut nameless = decision("D1");
    nameless.portfolio_id = String::new();
    bench.record(DECISIONS, &nameless);
    let event = bench.take_one::<OrderEvent>();
    assert_eq!((event.event_type, event.portfolio_id.as_str(), event.order_id), (E::Created, "P1", id()));
}
