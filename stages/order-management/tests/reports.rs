//! Reports folded into their order: every kind, repeated, late, early, contradicting.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_domain::{ExecType as X, OrdStatus as O};
use fillstream_schemas::execution::{ExecutionReport, OrderEvent, OrderEventType as E, ParentStatus as S};
use fillstream_schemas::state::{OmsExecution, OmsParked};

/// (exec_type, ord_status said, with orig_cl_ord_id) after others of the same, then status and leaves of the child.
#[test]
fn every_kind_of_report_moves_the_child_as_appendix_d_says() {
    type Step = (X, O, bool);
    const ACK: Step = (X::New, O::New, false);
    let cases: &[(&[Step], O, &str)] = &[
        (&[(X::PendingNew, O::PendingNew, false)], O::PendingNew, "40"),
        (&[ACK], O::New, "40"),
        (&[ACK, (X::Rejected, O::Rejected, false)], O::Rejected, "0"),
        (&[(X::Rejected, O::Rejected, false), ACK], O::Rejected, "0"),
        (&[ACK, (X::Canceled, O::Canceled, false)], O::Canceled, "0"),
        (&[(X::Canceled, O::Canceled, false), ACK], O::Canceled, "0"),
        (&[ACK, (X::Canceled, O::Canceled, true)], O::Canceled, "0"),
        (&[ACK, (X::Expired, O::Expired, false)], O::Expired, "0"),
        (&[ACK, (X::PendingCancel, O::PendingCancel, true)], O::PendingCancel, "40"),
        (&[ACK, (X::PendingCancel, O::PendingCancel, true), (X::Rejected, O::New, true)], O::New, "40"),
        (&[ACK, (X::Rejected, O::New, true)], O::New, "40"),
        (&[ACK, (X::DoneForDay, O::DoneForDay, false)], O::DoneForDay, "0"),
        (&[ACK, (X::Stopped, O::Stopped, false)], O::Stopped, "40"),
        (&[ACK, (X::Suspended, O::Suspended, false)], O::Suspended, "40"),
        (&[ACK, (X::Calculated, O::Calculated, false)], O::Calculated, "0"),
        (&[ACK, (X::Restated, O::New, false)], O::New, "40"),
        (&[ACK, (X::PendingReplace, O::PendingReplace, true)], O::New, "40"),
        (&[ACK, (X::Replaced, O::New, true)], O::New, "40"),
        (&[ACK, (X::New, O::Unknown, false)], O::Unknown, "40"),
        (&[ACK, (X::OrderStatus, O::Unknown, false), (X::OrderStatus, O::New, false)], O::New, "40"),
        (&[ACK, (X::OrderStatus, O::Unknown, false), (X::OrderStatus, O::Rejected, false)], O::Rejected, "0"),
        (&[ACK, (X::OrderStatus, O::Unknown, false), (X::OrderStatus, O::Expired, false)], O::Expired, "0"),
        (&[ACK, (X::OrderStatus, O::Canceled, false)], O::Canceled, "0"),
        (&[(X::OrderStatus, O::New, false)], O::New, "40"),
    ];
    for (steps, status, leaves) in cases {
        let mut bench = routed(false);
        for (i, (exec_type, ord_status, about)) in steps.iter().enumerate() {
            let mut said = report("C1", &format!("e{i}"), *exec_type);
            said.ord_status = *ord_status;
            if *about {
                (said.cl_ord_id, said.orig_cl_ord_id) = ("K1".into(), Some("C1".into()));
            }
            bench.record(REPORTS, &said);
        }
        assert!(bench.take_dead_letters().is_empty());
        let events = bench.take::<OrderEvent>();
        // What the last report about the child left, whether or not it told anything.
        let child = events.iter().filter_map(|e| e.child.clone()).rfind(|c| c.cl_ord_id == "C1").unwrap();
        assert_eq!((child.ord_status, child.leaves_qty.to_string().as_str()), (*status, *leaves), "{steps:?}");
        let held = if *leaves == "0" { "60" } else { "100" };
        assert_eq!(events.last().unwrap().working_qty, num(held), "{steps:?}");
    }
}

#[test]
fn a_report_said_twice_changes_nothing() {
    let mut bench = routed(false);
    let said = [report("C1", "e1", X::New), fill("C1", "e2", "10", "100"), fill("C1", "e3", "10", "100")];
    bench.records(REPORTS, &said);
    expect(&mut bench, &[E::ChildUpdated; 3]);
    let before = bench.dump();
    bench.records(REPORTS, &said).restart().records(REPORTS, &said).nothing_more();
    assert_eq!(bench.dump(), before);
    // Another broker counts its executions by itself.
    bench.record(REPORTS, &ExecutionReport { broker: "b2".into(), ..fill("C1", "e2", "10", "100") });
    assert_eq!(expect(&mut bench, &[E::ChildUpdated])[0].cum_qty, num("30"));
}

#[test]
fn an_exec_id_with_other_figures_is_told_and_not_booked() {
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "10", "100")).record(REPORTS, &fill("C1", "e1", "10", "101"));
    let severity = bench.outputs()[1].headers.iter().any(|h| *h == ("severity", "CRITICAL".to_owned()));
    assert!(severity);
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated]);
    assert_eq!((code(&events[1]), events[1].cum_qty), ("EXEC_ID_CONFLICT", num("10")));
    // Nothing that somebody could book.
    assert_eq!(events[1].child.as_ref().unwrap().last_qty, None);
}

#[test]
fn a_contradiction_is_told_and_changes_nothing() {
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(REPORTS, &report("C1", "e2", X::Canceled));
    let mut malformed = fill("C2", "e3", "1", "100");
    malformed.last_px = None;
    bench.record(REPORTS, &malformed).record(REPORTS, &bust("C1", "e4", "e2"));
    let events = expect(&mut bench, &[E::ChildUpdated; 4]);
    let codes: Vec<_> = events.iter().map(code).collect();
    assert_eq!(codes, ["", "ILLEGAL_REPORT", "MALFORMED_FILL", "ILLEGAL_REPORT"]);
    assert!(events.iter().all(|e| totals(e).join(" ") == "100 40 60 0 60 0"));
    // A cancel after the last fill is a contradiction; a cancel refused then is not.
    let late = ExecutionReport { orig_cl_ord_id: Some("C1".into()), ..report("K1", "e5", X::Rejected) };
    bench.record(REPORTS, &late).nothing_more();
    assert!(bench.take_dead_letters().is_empty());
}

#[test]
fn rule_16_a_bust_gives_leaves_back_only_where_the_report_says_so() {
    for (leaves, expected) in [("0", "100 10 90 0 70 0"), ("40", "100 10 90 0 90 0")] {
        let mut bench = routed(false);
        bench.record(REPORTS, &fill("C1", "e1", "20", "100")).record(REPORTS, &fill("C1", "e2", "10", "103"));
        bench.record(REPORTS, &ExecutionReport { leaves_qty: num(leaves), ..bust("C1", "e3", "e1") });
        let events = expect(&mut bench, &[E::ChildUpdated; 3]);
        assert_eq!(totals(&events[2]).join(" "), expected);
        assert_eq!((events[2].avg_px, events[2].fees), (Some(num("103")), num("0.5")));
        let child = events[2].child.clone().unwrap();
        assert_eq!(
            (child.exec_type, child.last_qty, child.last_px),
            (Some(X::TradeCancel), Some(num("20")), Some(num("100")))
        );
        // Twice is once too often.
        bench.record(REPORTS, &bust("C1", "e4", "e1"));
        assert_eq!(code(&expect(&mut bench, &[E::ChildUpdated])[0]), "ILLEGAL_REPORT");
    }
}

#[test]
fn a_correction_takes_the_place_of_its_fill_and_can_itself_be_amended() {
    let correct = |exec_id: &str, of: &str, qty: &str, px: &str| ExecutionReport {
        ref_exec_id: Some(of.into()),
        exec_type: X::TradeCorrect,
        ..fill("C1", exec_id, qty, px)
    };
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "20", "100"));
    bench.record(REPORTS, &ExecutionReport { fee: Some(num("0.7")), ..correct("e2", "e1", "20", "101") });
    // Without a fee it keeps the one it had; the broker may name the first ExecID or the last.
    bench.record(REPORTS, &ExecutionReport { fee: None, ..correct("e3", "e1", "30", "102") });
    let events = expect(&mut bench, &[E::ChildUpdated; 3]);
    let shown: Vec<_> = events.iter().map(|e| (e.cum_qty.to_string(), e.avg_px.unwrap().to_string(), e.fees)).collect();
    let expected = [("20", "100", "0.5"), ("20", "101", "0.7"), ("30", "102", "0.7")];
    assert_eq!(shown, expected.map(|(q, p, f)| (q.to_owned(), p.to_owned(), num(f))));
    bench.record(REPORTS, &bust("C1", "e4", "e2"));
    let events = expect(&mut bench, &[E::ChildUpdated]);
    assert_eq!((events[0].cum_qty, events[0].avg_px, events[0].fees), (num("0"), None, num("0")));
    let booked = bench.state::<OmsExecution>("executions").into_values().filter(|e| e.booked).count();
    assert_eq!(booked, 0);
}

#[test]
fn a_bust_or_correction_waits_for_the_fill_it_is_about() {
    let mut bench = routed(false);
    bench.record(REPORTS, &bust("C1", "e3", "e2"));
    let correction =
        ExecutionReport { ref_exec_id: Some("e1".into()), exec_type: X::TradeCorrect, ..fill("C1", "e2", "20", "101") };
    bench.record(REPORTS, &correction).restart();
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated]);
    assert!(events.iter().all(|e| code(e) == "AMENDMENT_BEFORE_FILL" && e.cum_qty.is_zero()));
    bench.record(REPORTS, &bust("C1", "e3", "e2")).nothing_more();
    // The fill brings the correction, the correction its bust.
    bench.record(REPORTS, &fill("C1", "e1", "10", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated; 3]);
    let cum: Vec<_> = events.iter().map(|e| e.cum_qty.to_string()).collect();
    assert_eq!(cum, ["10", "20", "0"]);
}

#[test]
fn what_is_told_of_a_child_without_its_plan_says_nothing_of_how_it_stands() {
    let mut bench = released();
    bench.record(REPORTS, &bust("C1", "e2", "e1"));
    let event = expect(&mut bench, &[E::ChildUpdated]).remove(0);
    assert_eq!((code(&event), &event.child), ("AMENDMENT_BEFORE_FILL", &None));
}

#[test]
fn a_refusal_of_a_child_that_has_traded_is_told_and_changes_nothing() {
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "10", "100")).record(ALERTS, &refused_child("C1"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated]);
    assert_eq!((code(&events[1]), totals(&events[1]).join(" ")), ("ILLEGAL_REPORT", "100 10 90 0 90 0".into()));
    assert_eq!(events[1].child.as_ref().unwrap().leaves_qty, num("30"));
    // Alerts about other things are none of ours.
    let other = fillstream_schemas::execution::RiskAlert {
        alert_type: fillstream_schemas::execution::RiskAlertType::Killed,
        ..refused_child("C1")
    };
    bench.record(ALERTS, &other).nothing_more();
}

#[test]
fn a_cancel_refused_by_the_gateway_leaves_the_order_as_it_stands() {
    let mut bench = routed(false);
    bench.record(REPORTS, &report("C1", "e1", X::New)).record(COMMANDS, &cancel("K"));
    bench.take::<OrderEvent>();
    for status in [O::New, O::PendingNew, O::PartiallyFilled] {
        let refused = ExecutionReport {
            orig_cl_ord_id: Some("C1".into()),
            ord_status: status,
            synthetic: true,
            ..report("K1", "GW:s1:K1:ORDER_CLOSED", X::OrderStatus)
        };
        bench.record(REPORTS, &refused).nothing_more();
    }
    bench.record(REPORTS, &report("C1", "e2", X::Canceled));
    expect(&mut bench, &[E::ChildUpdated]);
}

#[test]
fn a_late_fill_after_a_cancel_is_accepted() {
    let mut bench = routed(false);
    bench.record(REPORTS, &report("C1", "e1", X::Canceled)).record(REPORTS, &fill("C1", "e2", "15", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated]);
    assert_eq!(totals(&events[1]), ["100", "15", "85", "0", "60", "0"]);
    assert_eq!(events[1].child.as_ref().unwrap().ord_status, O::Canceled);
}

#[test]
fn a_child_that_is_overfilled_alone_is_told_too() {
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "45", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::Overfill]);
    assert_eq!(totals(&events[1]), ["100", "45", "55", "0", "55", "0"]);
}

#[test]
fn what_comes_before_its_cause_ends_the_same() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1"));
    // Reports before refusals before plans before the verdict: the other way round altogether.
    bench.record(REPORTS, &fill("C1", "e1", "40", "100"));
    bench.record(ALERTS, &refused_child("C2")).record(PLANS, &plan(1, true, &[("C1", "40"), ("C2", "60")]));
    assert_eq!(bench.state::<OmsParked>("parked").len(), 3);
    expect(&mut bench, &[E::Created]);
    bench.restart().record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    let events = expect(&mut bench, &[E::Released, E::Routed, E::Routed, E::ChildUpdated, E::ChildUpdated, E::Expired]);
    assert_eq!(totals(&events[5]), ["100", "40", "0", "60", "0", "0"]);
    assert!(bench.state::<OmsParked>("parked").is_empty());
}

#[test]
fn a_report_before_its_plan_books_the_child_from_the_report() {
    let mut bench = released();
    bench.record(REPORTS, &fill("C1", "e1", "10", "100")).record(ALERTS, &refused_child("C2"));
    let events = expect(&mut bench, &[E::Routed, E::ChildUpdated]);
    assert_eq!(totals(&events[1]), ["100", "10", "90", "0", "30", "0"]);
    bench.record(PLANS, &plan(1, true, &[("C1", "40"), ("C2", "60")]));
    let events = expect(&mut bench, &[E::Routed, E::ChildUpdated]);
    assert_eq!(events[1].child.as_ref().unwrap().cl_ord_id, "C2");
    assert_eq!((events[1].status, totals(&events[1]).join(" ")), (S::PartiallyFilled, "100 10 90 0 30 0".into()));
}

#[test]
fn a_fill_before_the_verdict_is_booked_with_it_though_the_order_is_being_ended() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(REPORTS, &fill("C1", "e1", "10", "100"));
    bench.record(COMMANDS, &cancel("K1")).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    let events = expect(&mut bench, &[E::Created, E::CancelRequested, E::Released, E::Routed, E::ChildUpdated]);
    assert_eq!(totals(&events[4]), ["100", "10", "90", "0", "30", "0"]);
    assert_eq!(events[4].account_id.as_deref(), Some("A1"));
    bench.record(REPORTS, &report("C1", "e2", X::Canceled)).record(PLANS, &plan(1, true, &[("C1", "40")]));
    check_life(&{
        let mut life = events;
        life.extend(expect(&mut bench, &[E::ChildUpdated, E::Cancelled]));
        life
    });
}

#[test]
fn fees_of_other_currencies_are_not_added_up() {
    let mut bench = routed(false);
    let other = ExecutionReport { fee_currency: Some("EUR".into()), ..fill("C1", "e1", "10", "100") };
    bench.record(REPORTS, &other).record(REPORTS, &fill("C1", "e2", "10", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated]);
    let fees: Vec<_> = events.iter().map(|e| (e.fees, e.fee_currency.clone().unwrap())).collect();
    assert_eq!(fees, [(num("0.5"), "EUR".to_owned()), (num("0.5"), "USD".to_owned())]);
}
