//! The life of an order, from its decision to its retirement.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_core::lineage::Lineage;
use fillstream_domain::{Algorithm, ControlScope, ExecType, OrdStatus, Side, Urgency};
use fillstream_reference::Controls;
use fillstream_schemas::execution::{
    Command, CommandAction, OrderEvent, OrderEventType as E, ParentStatus as S, PriceSource, RiskCheck, TradeExecuted,
    ValidatedOrder,
};
use fillstream_schemas::state::{OmsChild, OmsControls, OmsExecution, OmsOrder, OmsParked};
use fillstream_testkit::StageBench;

#[test]
fn a_decision_becomes_an_order_with_its_terms_and_the_quote_it_was_made_on() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1"));
    let header = |name: &str| bench.outputs()[0].headers.iter().find(|h| h.0 == name).map(|h| h.1.clone());
    assert_eq!(header("priority").as_deref(), Some("HIGH"));
    assert_eq!(header("instrument_type").as_deref(), Some("EQUITY"));
    assert_eq!(header("status").as_deref(), Some("PENDING_RISK"));
    let created = bench.take_one::<OrderEvent>();
    assert_eq!((created.event_type, created.status, created.revision), (E::Created, S::PendingRisk, 1));
    assert_eq!((created.order_id, created.decision_event_id.as_str()), (id(), "D1"));
    assert_eq!((created.side, created.ord_qty, created.leaves_qty), (Side::Buy, num("100"), num("100")));
    assert_eq!((created.reason_code, created.account_id), (None, None));
    let terms = created.terms.unwrap();
    assert_eq!((terms.algorithm, terms.urgency), (Algorithm::Twap, Urgency::Normal));
    assert_eq!((terms.horizon_us, terms.expire_at), (30 * MINUTE, at(NOON + 4 * HOUR)));
    // Rule 36: the mid as of the decision, two seconds ago, not the mid now.
    assert_eq!((terms.decision_price, terms.decision_price_source), (num("99"), PriceSource::MidAtDecision));
    assert_eq!((terms.quote.bid, terms.quote.ask), (num("99"), num("101")));
    assert_eq!((terms.quote_currency.as_str(), terms.lot_size), ("USD", num("10")));
    bench.nothing_more();
}

#[test]
fn an_order_is_released_routed_filled_and_stated() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench.record(PLANS, &plan(1, true, &[("C1", "40"), ("C2", "60")]));
    bench.record(REPORTS, &report("C1", "e1", ExecType::New));
    bench.at(at(NOON + 5 * SECOND)).record(REPORTS, &fill("C1", "e2", "40", "100.01"));
    bench.record(REPORTS, &fill("C2", "e3", "60", "100.02"));
    let trade = bench.take_one::<TradeExecuted>();
    let events = expect(
        &mut bench,
        &[E::Created, E::Released, E::Routed, E::Routed, E::ChildUpdated, E::ChildUpdated, E::ChildUpdated, E::Filled],
    );
    check_life(&events);
    let shown: Vec<_> = events.iter().map(|e| (e.status, totals(e).join(" "))).collect();
    let expected = [
        (S::PendingRisk, "100 0 100 0 0 0"),
        (S::Working, "100 0 100 0 0 0"),
        (S::Working, "100 0 100 0 40 0"),
        (S::Working, "100 0 100 0 100 0"),
        (S::Working, "100 0 100 0 100 0"),
        (S::PartiallyFilled, "100 40 60 0 60 0"),
        (S::PartiallyFilled, "100 100 0 0 0 0"),
        (S::Filled, "100 100 0 0 0 0"),
    ];
    assert_eq!(shown, expected.map(|(s, t)| (s, t.to_owned())));
    assert_eq!(events[1].arrival, Some(arrival()));
    assert_eq!(events[1].account_id.as_deref(), Some("A1"));
    let child = events[5].child.clone().unwrap();
    assert_eq!((child.cl_ord_id.as_str(), child.ord_status), ("C1", OrdStatus::Filled));
    assert_eq!((child.exec_id.as_deref(), child.last_qty, child.fee), (Some("e2"), Some(num("40")), Some(num("0.5"))));
    assert!(events[7].is_terminal && events[7].child.is_none());
    assert_eq!((events[7].avg_px, events[7].filled_notional), (Some(num("100.016")), num("10001.6")));
    assert_eq!((events[7].fees, events[7].fee_currency.as_deref()), (num("1"), Some("USD")));
    assert_eq!((trade.revision, trade.account_id.as_str(), trade.fees), (1, "A1", num("1")));
    assert_eq!((trade.execution.executed_quantity, trade.execution.average_fill_price), (num("100"), num("100.016")));
    assert_eq!((trade.execution.total_amount, trade.execution.currency.as_str()), (num("10001.6"), "USD"));
    assert_eq!(trade.timing.order_submission_time, Some(at(NOON + SECOND)));
    assert_eq!(trade.timing.total_execution_duration_us, 5 * SECOND);
    assert!(trade.execution_quality.is_none());
    bench.nothing_more();
}

#[test]
fn a_refusal_by_risk_ends_the_order_with_the_figures_of_each_failed_check() {
    let mut bench = World::default().bench();
    let check = |code: &str, passed| RiskCheck {
        name: "n".into(),
        passed,
        code: (!passed).then(|| code.into()),
        figure: Some(num("7")),
        limit: Some(num("5")),
        unit: "USD".into(),
        scope: "portfolio/P1".into(),
        version: 3,
    };
    let refused = ValidatedOrder {
        is_approved: false,
        reason_codes: vec!["MAX_VALUE".into(), "BUYING_POWER".into()],
        validation_results: vec![check("MAX_VALUE", false), check("OK", true), check("BUYING_POWER", false)],
        arrival: None,
        ..approval()
    };
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &refused);
    let events = expect(&mut bench, &[E::Created, E::Rejected]);
    check_life(&events);
    assert!(events[1].is_terminal);
    assert_eq!((code(&events[1]), events[1].status), ("MAX_VALUE", S::Rejected));
    let text =
        "MAX_VALUE: 7 against 5 USD (portfolio/P1, version 3); BUYING_POWER: 7 against 5 USD (portfolio/P1, version 3)";
    assert_eq!(events[1].reason_text.as_deref(), Some(text));
    assert_eq!(totals(&events[1]), ["100", "0", "0", "100", "0", "0"]);
    bench.record(VERDICTS, &refused).nothing_more();
}

#[test]
fn a_cancel_waits_for_what_is_in_flight_and_for_every_open_child() {
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "10", "100")).record(COMMANDS, &cancel("K1"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::CancelRequested]);
    assert_eq!((events[1].status, code(&events[1])), (S::CancelPending, "CANCEL_COMMAND"));
    assert!(events[1].reason_text.as_ref().unwrap().contains("bob"));
    bench.record(REPORTS, &report("C1", "e2", ExecType::Canceled));
    bench.record(REPORTS, &report("C2", "e3", ExecType::Canceled));
    // A plan that was under way when the cancel came, and the last one.
    bench.record(PLANS, &plan(2, false, &[("C3", "20")])).record(PLANS, &plan(3, true, &[]));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated, E::Routed]);
    assert_eq!(totals(&events[2]), ["100", "10", "90", "0", "20", "0"]);
    bench.restart().record(REPORTS, &report("C3", "e4", ExecType::Canceled));
    let events = expect(&mut bench, &[E::ChildUpdated, E::Cancelled]);
    assert_eq!((code(&events[1]), events[1].is_terminal), ("CANCEL_COMMAND", true));
    assert_eq!(totals(&events[1]), ["100", "10", "0", "90", "0", "0"]);
    let trade = bench.take_one::<TradeExecuted>();
    assert_eq!(trade.execution.executed_quantity, num("10"));
    bench.nothing_more();
}

#[test]
fn a_cancel_without_children_ends_the_order_with_the_last_plan() {
    let mut bench = released();
    bench.record(COMMANDS, &cancel("K1"));
    expect(&mut bench, &[E::CancelRequested]);
    bench.record(PLANS, &plan(1, true, &[]));
    expect(&mut bench, &[E::Cancelled]);
    // Nothing was filled: there is no trade.
    bench.nothing_more();
}

/// Found by chaos: an order that ended after a fixed time was routed after its end, for an outage had held the plan up longer.
#[test]
fn no_time_that_passes_is_a_proof_that_nothing_is_under_way() {
    let mut bench = released();
    bench.record(COMMANDS, &cancel("K1"));
    expect(&mut bench, &[E::CancelRequested]);
    // After 30 s, and after 60 and 120 more.
    bench.timer_to(at(NOON + 30 * SECOND - 1)).nothing_more();
    bench.timer_to(at(NOON + 300 * SECOND));
    let reminders = expect(&mut bench, &[E::CancelRequested; 3]);
    let seconds = reminders.iter().map(|e| (e.timestamp.micros() - NOON) / SECOND).collect::<Vec<_>>();
    assert_eq!(seconds, [30, 90, 210]);
    assert_eq!((code(&reminders[2]), reminders[2].status), ("END_OVERDUE", S::CancelPending));
    let text = "waits for the last plan of the schedule (reminder 3)";
    assert_eq!(reminders[2].reason_text.as_deref(), Some(text));
    bench.record(PLANS, &plan(1, false, &[("C1", "60")]));
    expect(&mut bench, &[E::Routed]);
    bench.record(REPORTS, &report("C1", "e1", ExecType::Canceled));
    expect(&mut bench, &[E::ChildUpdated]);
    bench.restart().record(PLANS, &plan(2, true, &[]));
    assert_eq!(code(&expect(&mut bench, &[E::Cancelled])[0]), "CANCEL_COMMAND");
    // The answers to the reminders.
    bench.record(PLANS, &plan(3, true, &[])).timer_to(at(NOON + 400 * SECOND)).nothing_more();
}

#[test]
fn a_cancel_may_name_the_decision() {
    let mut bench = released();
    bench.record(COMMANDS, &Command { order_id: String::new(), decision_event_id: Some("D1".into()), ..cancel("K1") });
    expect(&mut bench, &[E::CancelRequested]);
}

#[test]
fn a_command_is_honoured_once_and_its_id_means_one_thing() {
    let mut bench = released();
    let command = cancel("K1");
    bench.record(COMMANDS, &command);
    expect(&mut bench, &[E::CancelRequested]);
    bench.record(COMMANDS, &command).restart().record(COMMANDS, &command).nothing_more();
    let other = Command { actor: "eve".into(), ..command };
    bench.record(COMMANDS, &other).record(COMMANDS, &other);
    assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), "DUPLICATE_CONFLICT");
}

#[test]
fn a_cancel_before_the_verdict_waits_for_it() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(COMMANDS, &cancel("K1"));
    expect(&mut bench, &[E::Created, E::CancelRequested]);
    bench.timer_to(at(NOON + 10 * SECOND)).nothing_more();
    bench.record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    assert_eq!(expect(&mut bench, &[E::Released])[0].status, S::CancelPending);
    bench.record(PLANS, &plan(1, true, &[]));
    expect(&mut bench, &[E::Cancelled]);
}

/// The verdict may be an approval, on its way, and slices behind it.
#[test]
fn a_verdict_that_does_not_come_is_asked_for_and_still_counts_when_it_does() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(COMMANDS, &cancel("K1")).timer_to(at(NOON + 30 * SECOND));
    let events = expect(&mut bench, &[E::Created, E::CancelRequested, E::CancelRequested]);
    assert_eq!(events[2].reason_text.as_deref(), Some("waits for the verdict of risk (reminder 1)"));
    // The last plan overtakes the verdict.
    bench.record(PLANS, &plan(1, true, &[])).nothing_more();
    bench.record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    expect(&mut bench, &[E::Released, E::Cancelled]);
}

#[test]
fn an_order_expires_at_its_horizon_counted_from_arrival() {
    let mut bench = routed(false);
    bench.record(REPORTS, &report("C1", "e1", ExecType::Canceled));
    bench.take::<OrderEvent>();
    bench.timer_to(at(NOON + 30 * MINUTE - 1)).nothing_more();
    bench.timer_to(at(NOON + 30 * MINUTE));
    assert_eq!(code(&expect(&mut bench, &[E::CancelRequested])[0]), "EXPIRED");
    bench.record(PLANS, &plan(2, true, &[])).nothing_more();
    bench.record(REPORTS, &report("C2", "e2", ExecType::Canceled));
    let events = expect(&mut bench, &[E::ChildUpdated, E::Expired]);
    assert_eq!((code(&events[1]), events[1].status), ("EXPIRED", S::Expired));
}

#[test]
fn an_order_that_risk_never_judges_expires_too() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).timer_to(at(NOON + 4 * HOUR));
    let events = expect(&mut bench, &[E::Created, E::CancelRequested]);
    assert_eq!((events[1].timestamp, code(&events[1])), (at(NOON + 4 * HOUR), "EXPIRED"));
    bench.record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation()).record(PLANS, &plan(1, true, &[]));
    expect(&mut bench, &[E::Released, E::Expired]);
}

#[test]
fn a_schedule_that_ends_with_leaves_ends_the_order() {
    let mut bench = routed(true);
    bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(ALERTS, &refused_child("C2"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated, E::Expired]);
    assert_eq!(code(&events[1]), "COLLAR");
    let child = events[1].child.clone().unwrap();
    assert_eq!((child.ord_status, child.reject_code.as_deref()), (OrdStatus::Rejected, Some("COLLAR")));
    assert_eq!((code(&events[2]), totals(&events[2]).join(" ")), ("SCHEDULE_COMPLETE", "100 40 0 60 0 0".into()));
    assert_eq!(bench.take_one::<TradeExecuted>().execution.executed_quantity, num("40"));
}

#[test]
fn a_last_plan_with_something_unrouted_leaves_the_order_open() {
    let mut bench = released();
    let unrouted =
        fillstream_schemas::execution::RoutingPlan { unrouted_qty: num("60"), ..plan(1, true, &[("C1", "40")]) };
    bench.record(PLANS, &unrouted).record(REPORTS, &fill("C1", "e1", "40", "100"));
    assert_eq!(expect(&mut bench, &[E::Routed, E::ChildUpdated])[1].status, S::PartiallyFilled);
}

#[test]
fn rule_1_an_unknown_child_keeps_its_parent_open() {
    let mut bench = routed(true);
    let unknown = |exec_id: &str| fillstream_schemas::execution::ExecutionReport {
        ord_status: OrdStatus::Unknown,
        synthetic: true,
        ..report("C1", exec_id, ExecType::OrderStatus)
    };
    bench.record(REPORTS, &unknown("e1")).record(REPORTS, &report("C2", "e2", ExecType::Canceled));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated]);
    assert_eq!(events[0].child.as_ref().unwrap().ord_status, OrdStatus::Unknown);
    bench.timer_to(at(NOON + HOUR));
    assert_eq!(totals(&expect(&mut bench, &[E::CancelRequested])[0]), ["100", "0", "100", "0", "40", "0"]);
    let found = fillstream_schemas::execution::ExecutionReport {
        ord_status: OrdStatus::Canceled,
        ..report("C1", "e9", ExecType::OrderStatus)
    };
    bench.record(REPORTS, &found);
    expect(&mut bench, &[E::ChildUpdated, E::Expired]);
}

#[test]
fn rule_19_a_kill_cancels_at_the_next_record_and_between_records_at_the_next_check() {
    let mut bench = routed(false);
    let mut controls = Controls::default();
    controls.take("PORTFOLIO/P1", kill(ControlScope::Portfolio, "P1", NOON + SECOND)).unwrap();
    bench.table(controls.clone()).record(REPORTS, &report("C1", "e1", ExecType::New));
    expect(&mut bench, &[E::ChildUpdated]);
    bench.at(at(NOON + SECOND)).record(REPORTS, &report("C2", "e2", ExecType::New));
    assert_eq!(code(&expect(&mut bench, &[E::ChildUpdated, E::CancelRequested])[1]), "KILLED");

    let mut world = World::default();
    world.config.kill_check_interval_ms = 1_000;
    let mut bench = world.bench();
    bench
        .at(at(NOON + 300_000))
        .record(DECISIONS, &decision("D1"))
        .record(VERDICTS, &approval())
        .record(ALLOCATIONS, &allocation())
        .table(controls);
    bench.take::<OrderEvent>();
    // On a grid, whenever the order came.
    bench.timer_to(at(NOON + 999_999)).nothing_more();
    bench.timer_to(at(NOON + SECOND));
    assert_eq!(code(&expect(&mut bench, &[E::CancelRequested])[0]), "KILLED");
    bench.record(PLANS, &plan(1, true, &[])).timer_to(at(NOON + 2 * SECOND));
    assert_eq!(code(&expect(&mut bench, &[E::Cancelled])[0]), "KILLED");
    // No open order, no timer.
    bench.timer_to(at(NOON + 3 * SECOND));
    assert!(!bench.timers().keys().any(|(_, key)| key.starts_with("kill-check")));
}

#[test]
fn rule_19_a_kill_is_found_beside_one_that_stands() {
    let mut world = World::default();
    world.config.kill_check_interval_ms = 1_000;
    let mut controls = Controls::default();
    controls.take("PORTFOLIO/P9", kill(ControlScope::Portfolio, "P9", NOON)).unwrap();
    let mut bench = world.bench();
    bench
        .table(controls.clone())
        .record(DECISIONS, &decision("D1"))
        .record(VERDICTS, &approval())
        .record(ALLOCATIONS, &allocation());
    bench.timer_to(at(NOON + 3 * SECOND));
    expect(&mut bench, &[E::Created, E::Released]);
    assert_eq!(bench.state::<OmsControls>("controls")["kills"].kills, ["PORTFOLIO/P9@1"]);
    controls.take("INSTRUMENT/ACME", kill(ControlScope::Instrument, "ACME", NOON + 3 * SECOND + 1)).unwrap();
    bench.table(controls).restart().timer_to(at(NOON + 4 * SECOND));
    assert_eq!(code(&expect(&mut bench, &[E::CancelRequested])[0]), "KILLED");
    assert_eq!(bench.state::<OmsControls>("controls")["kills"].kills, ["INSTRUMENT/ACME@1", "PORTFOLIO/P9@1"]);
}

#[test]
fn whatever_acts_on_an_order_acts_in_the_trace_of_its_decision() {
    let root = Lineage::root(DECISIONS, "D1");
    let all_of = |bench: &StageBench| {
        assert!(!bench.outputs().is_empty());
        for out in bench.outputs() {
            assert_eq!(out.trace.as_ref().unwrap().trace_id(), root.as_bytes(), "{out:?}");
        }
    };
    // Records whose producers know nothing of traces, and a command that has one of its own.
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench.record(PLANS, &plan(1, false, &[("C1", "100")])).restart().record(COMMANDS, &cancel("K1"));
    bench.record(REPORTS, &fill("C1", "e1", "10", "100")).record(REPORTS, &report("C1", "e2", ExecType::Canceled));
    bench.record(PLANS, &plan(2, true, &[]));
    all_of(&bench);
    assert_eq!(bench.take::<OrderEvent>().last().unwrap().event_type, E::Cancelled);
    let command = Lineage::root(COMMANDS, "K1");
    let spans = bench.take_spans();
    let of_command: Vec<_> = spans.iter().filter(|s| s.context.trace_id() == command.as_bytes()).collect();
    assert_eq!(of_command.len(), 1, "the command itself");
    let links = || spans.iter().filter_map(|s| s.link.as_ref());
    assert!(links().any(|link| *link == of_command[0].context), "what it did to the order names it");

    // The timer that holds all orders against the controls is of no trace.
    let mut controls = Controls::default();
    controls.take("PORTFOLIO/P1", kill(ControlScope::Portfolio, "P1", NOON + SECOND)).unwrap();
    let mut world = World::default();
    world.config.kill_check_interval_ms = 1_000;
    let mut bench = world.bench();
    bench
        .record(DECISIONS, &decision("D1"))
        .record(VERDICTS, &approval())
        .record(ALLOCATIONS, &allocation())
        .table(controls);
    bench.restart().timer_to(at(NOON + 2 * SECOND)).record(PLANS, &plan(1, true, &[]));
    all_of(&bench);
    assert_eq!(bench.take::<OrderEvent>().last().unwrap().event_type, E::Cancelled);
}

#[test]
fn an_order_filled_by_an_overfill_cancels_its_other_children_before_it_ends() {
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "110", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::Overfill, E::CancelRequested]);
    assert_eq!((code(&events[1]), code(&events[2])), ("OVERFILL", "FILLED_CANCEL_REST"));
    assert_eq!(totals(&events[2]), ["100", "100", "0", "0", "0", "10"]);
    bench.record(REPORTS, &report("C2", "e2", ExecType::Canceled));
    let events = expect(&mut bench, &[E::ChildUpdated, E::Filled]);
    assert_eq!(totals(&events[1]), ["100", "100", "0", "0", "0", "10"]);
    // What was executed, not what was ordered.
    assert_eq!(bench.take_one::<TradeExecuted>().execution.executed_quantity, num("110"));
}

#[test]
fn rule_2_what_comes_after_the_end_amends_by_revision() {
    let mut bench = routed(true);
    bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(REPORTS, &report("C2", "e2", ExecType::Canceled));
    let mut life = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated, E::Expired]);
    bench.take_one::<TradeExecuted>();
    bench.at(at(NOON + MINUTE)).restart().record(REPORTS, &fill("C2", "e3", "20", "103"));
    let amended = expect(&mut bench, &[E::ChildUpdated, E::Amended]);
    assert_eq!((amended[1].status, amended[1].is_terminal), (S::Expired, false));
    assert_eq!((totals(&amended[1]).join(" "), code(&amended[1])), ("100 60 0 40 0 0".into(), "LATE_EXECUTION"));
    let trade = bench.take_one::<TradeExecuted>();
    assert_eq!((trade.revision, trade.execution.average_fill_price), (2, num("101")));
    bench.record(REPORTS, &bust("C1", "e4", "e1"));
    let busted = expect(&mut bench, &[E::ChildUpdated, E::Amended]);
    assert_eq!(totals(&busted[1]), ["100", "20", "0", "80", "0", "0"]);
    let trade = bench.take_one::<TradeExecuted>();
    assert_eq!((trade.revision, trade.execution.executed_quantity, trade.fees), (3, num("20"), num("0.5")));
    life.extend(amended);
    life.extend(busted);
    assert_eq!(life.iter().filter(|e| e.is_terminal).count(), 1);
    bench.record(REPORTS, &bust("C2", "e5", "e3"));
    bench.take::<OrderEvent>();
    // Nothing is left of it, and that is stated too.
    let trade = bench.take_one::<TradeExecuted>();
    assert_eq!((trade.revision, trade.execution.executed_quantity), (4, num("0")));
}

/// Nothing watches an order any more that has ended, however it did.
#[test]
fn rule_5_nothing_is_due_for_an_order_that_has_ended_but_its_retirement() {
    let ended = |end: &dyn Fn(&mut StageBench), status: S| {
        let mut bench = World::default().bench();
        bench.record(DECISIONS, &decision("D1"));
        end(&mut bench);
        assert_eq!(bench.take::<OrderEvent>().last().unwrap().status, status);
        let timers: Vec<_> = bench.timers().keys().map(|(_, key)| key.clone()).collect();
        let left = timers.iter().filter(|key| !key.starts_with("sweep"));
        assert!(left.clone().count() == 1 && left.clone().all(|key| key.starts_with("retire")), "{status}: {timers:?}");
    };
    let refused = ValidatedOrder { is_approved: false, ..approval() };
    ended(&|bench| drop(bench.record(VERDICTS, &refused).take::<TradeExecuted>()), S::Rejected);
    let worked = |bench: &mut StageBench| {
        bench
            .record(VERDICTS, &approval())
            .record(ALLOCATIONS, &allocation())
            .record(PLANS, &plan(1, true, &[("C1", "40"), ("C2", "60")]));
    };
    let reports = |bench: &mut StageBench, reports: &[fillstream_schemas::execution::ExecutionReport]| {
        worked(bench);
        bench.records(REPORTS, reports);
    };
    ended(&|bench| reports(bench, &[fill("C1", "e1", "40", "100"), fill("C2", "e2", "60", "100")]), S::Filled);
    let both = [report("C1", "e1", ExecType::Canceled), report("C2", "e2", ExecType::Canceled)];
    ended(&|bench| reports(bench, &both), S::Expired);
    ended(
        &|bench| {
            worked(bench);
            bench.record(COMMANDS, &cancel("K1")).records(REPORTS, &both);
        },
        S::Cancelled,
    );
}

#[test]
fn an_ended_order_is_forgotten_after_a_while_and_a_later_report_is_a_dead_letter() {
    let mut bench = routed(true);
    bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(REPORTS, &fill("C2", "e2", "60", "100"));
    bench.take::<OrderEvent>();
    bench.take::<TradeExecuted>();
    bench.timer_to(at(NOON + 15 * MINUTE - 1));
    assert_eq!(bench.state::<OmsOrder>("orders").len(), 1);
    bench.timer_to(at(NOON + 15 * MINUTE)).restart();
    assert!(bench.state::<OmsOrder>("orders").is_empty());
    assert!(bench.state::<OmsChild>("children").is_empty());
    assert!(bench.state::<OmsExecution>("executions").is_empty());
    assert!(bench.state::<OmsParked>("parked").is_empty());
    bench.record(REPORTS, &report("C1", "e9", ExecType::Canceled));
    assert_eq!(bench.take_dead_letters()[0].reason_code, "UNKNOWN_ORDER");
    // But for the duplicate window and the end of the audit chain nothing is left.
    bench.timer_to(at(NOON + 200 * HOUR));
    let left = bench.dump().into_iter().filter(|(store, ..)| store != "order-management/chains");
    assert_eq!(left.collect::<Vec<_>>(), []);
    bench.nothing_more();
}

#[test]
fn an_order_with_an_open_child_is_not_forgotten() {
    let mut bench = released();
    bench.record(COMMANDS, &cancel("K1")).record(PLANS, &plan(1, true, &[]));
    expect(&mut bench, &[E::CancelRequested, E::Cancelled]);
    // A child that nobody here knew of, as after a state that was lost.
    bench.record(REPORTS, &report("C1", "e0", ExecType::New)).timer_to(at(NOON + HOUR));
    expect(&mut bench, &[E::Routed, E::ChildUpdated]);
    bench.record(REPORTS, &fill("C1", "e1", "40", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::Amended]);
    assert_eq!(totals(&events[1]), ["100", "40", "0", "60", "0", "0"]);
    assert_eq!(bench.take_one::<TradeExecuted>().revision, 1);
    bench.timer_to(at(NOON + 2 * HOUR));
    assert!(bench.state::<OmsOrder>("orders").is_empty());
}

#[test]
fn inputs_that_cannot_be_are_dead_letters() {
    let mut bench = World::default().bench();
    bench
        .record(VERDICTS, &approval())
        .record(ALLOCATIONS, &allocation())
        .record(PLANS, &plan(1, true, &[("C1", "40")]));
    bench.record(ALERTS, &refused_child("C1")).record(REPORTS, &report("C1", "e1", ExecType::New));
    bench.record(COMMANDS, &Command { portfolio_id: String::new(), action: CommandAction::Cancel, ..cancel("K1") });
    bench.record(DECISIONS, &decision("D1"));
    bench.take::<OrderEvent>();
    bench.record(VERDICTS, &ValidatedOrder { arrival: None, ..approval() });
    let codes: Vec<_> = bench.take_dead_letters().into_iter().map(|letter| letter.reason_code).collect();
    let unknown = "UNKNOWN_ORDER";
    assert_eq!(codes, [unknown, unknown, unknown, unknown, unknown, "NO_PORTFOLIO", "INCOMPLETE_APPROVAL"]);
    // The order waits on.
    bench.record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    expect(&mut bench, &[E::Released]);
}
