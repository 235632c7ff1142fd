//! The audit chain of a portfolio: one entry for each decision, each hanging on the one before.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_schemas::coordination::Action;
use fillstream_schemas::execution::{AuditEntry, CommandAction, OrderEvent, OrderEventType as E};

#[test]
fn each_decision_about_an_order_has_its_entry_with_who_and_why() {
    let mut bench = World::default().bench();
    let mut decided = decision("D1");
    decided.trader_id = Some("T7".into());
    bench.record(DECISIONS, &decided).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation()).restart();
    bench.record(PLANS, &plan(1, false, &[("C1", "40"), ("C2", "60")]));
    bench.record(COMMANDS, &replace_qty("K1", "120")).record(VERDICTS, &answer(5, true));
    bench.record(COMMANDS, &command("K2", CommandAction::Suspend));
    let mut unknown = cancel("K3");
    unknown.order_id = "nope".into();
    bench.restart().record(COMMANDS, &unknown).record(COMMANDS, &cancel("K4"));
    decided.decision.action = Action::Sell;
    bench.record(DECISIONS, &decided);
    let (entries, events) = (bench.take::<AuditEntry>(), bench.take::<OrderEvent>());
    let told: Vec<_> = entries.iter().map(|e| (e.action.as_str(), e.actor.as_str(), e.revision)).collect();
    let expected = [
        ("CREATED", "T7", 1),
        ("RELEASED", "pre-trade-risk", 2),
        ("REPLACE_REQUESTED", "bob", 5),
        ("REPLACED", "pre-trade-risk", 6),
        ("SUSPENDED", "bob", 7),
        ("COMMAND_REFUSED", "bob", 0),
        ("CANCEL_REQUESTED", "bob", 8),
        ("REJECTED", "T7", 1),
    ];
    assert_eq!(told, expected);
    let decisions = events.iter().filter(|e| !matches!(e.event_type, E::Routed | E::ChildUpdated));
    let decisions: Vec<_> = decisions.collect();
    assert_eq!(decisions.len(), entries.len());
    let mut prev_hash = vec![0; 32];
    for (i, (entry, event)) in entries.iter().zip(decisions).enumerate() {
        assert_eq!((usize::try_from(entry.sequence).unwrap(), &entry.prev_hash), (i + 1, &prev_hash));
        assert_eq!((&entry.order_event_id, &entry.reason_code), (&event.event_id, &event.reason_code));
        assert_eq!(entry.evidence["cum_qty"], event.cum_qty.to_string());
        prev_hash.clone_from(&entry.hash);
    }
    assert_eq!(entries[2].command_id.as_deref(), Some("K1"));
    assert_eq!(entries[2].evidence["new_ord_qty"], "120");
    assert_eq!(entries[0].evidence["quote"], "99 / 101 at 2026-11-18T11:59:59.000000Z");
}
