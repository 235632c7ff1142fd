//! Replaces: asked, judged by risk, in force; what crosses them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_domain::{Algorithm, ControlScope, ExecType, Quantity, Urgency};
use fillstream_reference::Controls;
use fillstream_schemas::execution::{
    AccountAllocation, Command, CommandAction, ExecutionReport, OrderEvent, OrderEventType as E, ParentStatus as S,
    RoutingPlan, TradeExecuted, ValidatedOrder,
};
use fillstream_testkit::StageBench;
use proptest::prelude::*;

/// A limit order, released.
fn limited() -> StageBench {
    let mut decided = decision("D1");
    (decided.execution_strategy.order_type, decided.execution_strategy.limit_price) =
        ("LIMIT".into(), Some(num("100")));
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decided).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench.take::<OrderEvent>();
    bench
}

/// A plan of the schedule that follows the terms of a revision.
fn plan_of(terms_revision: i32, slice_no: i32, is_last: bool, legs: &[(&str, &str)]) -> RoutingPlan {
    RoutingPlan { terms_revision, ..plan(slice_no, is_last, legs) }
}

#[test]
fn a_replace_is_in_force_when_risk_has_passed_it() {
    let mut bench = limited();
    let asked = Command {
        new_quantity: Some(num("150")),
        new_limit_price: Some(num("100.5")),
        new_horizon: Some("PT1H".into()),
        ..command("K1", CommandAction::Replace)
    };
    bench.at(at(NOON + 10 * MINUTE)).record(COMMANDS, &asked);
    let request = expect(&mut bench, &[E::ReplaceRequested]).remove(0);
    assert_eq!((request.revision, request.status, code(&request)), (3, S::Working, "REPLACE_COMMAND"));
    assert_eq!((request.ord_qty, request.new_ord_qty), (num("100"), Some(num("150"))));
    assert_eq!(request.command_id.as_deref(), Some("K1"));
    let terms = request.terms.clone().unwrap();
    assert_eq!((terms.limit_price, terms.horizon_us), (Some(num("100.5")), 70 * MINUTE), "counted from the arrival");
    bench.restart().record(VERDICTS, &answer(3, true));
    let replaced = expect(&mut bench, &[E::Replaced]).remove(0);
    assert_eq!(
        (replaced.ord_qty, replaced.leaves_qty, replaced.new_ord_qty),
        (num("150"), num("150"), Some(num("150")))
    );
    assert_eq!((replaced.terms.as_ref(), replaced.command_id.as_deref()), (Some(&terms), Some("K1")));
    // The order lives as long as asked for.
    bench.timer_to(at(NOON + 70 * MINUTE - 1)).nothing_more();
    bench.timer_to(at(NOON + 70 * MINUTE));
    assert_eq!(code(&expect(&mut bench, &[E::CancelRequested])[0]), "EXPIRED");
}

#[test]
fn an_order_is_worked_otherwise_when_a_command_adapts_it() {
    let mut bench = limited();
    let adapt = |id: &str| Command { new_quantity: Some(num("999")), ..command(id, CommandAction::Adapt) };
    let asked = Command {
        new_urgency: Some("CRITICAL".into()),
        new_algorithm: Some("ADAPTIVE_TWAP".into()),
        new_participation_rate: Some(num("0.25")),
        ..adapt("K1")
    };
    bench.record(COMMANDS, &asked).record(VERDICTS, &answer(3, true));
    let events = expect(&mut bench, &[E::ReplaceRequested, E::Replaced]);
    let terms = events[1].terms.clone().unwrap();
    assert_eq!((terms.urgency, terms.algorithm, terms.adaptive), (Urgency::Urgent, Algorithm::Twap, true));
    assert_eq!(terms.max_participation_rate, Some(num("0.25")));
    assert_eq!(events[1].new_ord_qty, Some(num("100")), "it changes how the order is worked, not how much");
    // Nothing to adapt, and what cannot be.
    let refused = [
        (adapt("K2"), "NOTHING_TO_REPLACE"),
        (Command { new_urgency: Some("soon".into()), ..adapt("K3") }, "UNKNOWN_URGENCY"),
        (Command { new_algorithm: Some("PEG".into()), ..adapt("K4") }, "UNKNOWN_ALGORITHM"),
        (Command { new_participation_rate: Some(num("1.1")), ..adapt("K5") }, "INVALID_PARTICIPATION_RATE"),
    ];
    for (command, expected) in refused {
        bench.record(COMMANDS, &command);
        assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), expected);
    }
}

/// Buys when 102 is traded, the market being 99 / 101, at 104 or better; three hours from then on, of four that are left.
fn stopped() -> StageBench {
    let mut decided = decision("D1");
    let asked = &mut decided.execution_strategy;
    (asked.order_type, asked.stop_price, asked.limit_price) = ("STOP_LIMIT".into(), Some(num("102")), Some(num("104")));
    asked.time_horizon = Some("3_hours".into());
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decided).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench
}

#[test]
fn rule_7_a_stop_order_is_created_with_its_stop_and_may_be_given_another() {
    let mut bench = stopped();
    let created = bench.take::<OrderEvent>().remove(0);
    let terms = created.terms.unwrap();
    assert_eq!((terms.stop_price, terms.limit_price), (Some(num("102")), Some(num("104"))));
    let to = |id: &str, price| Command { new_stop_price: Some(num(price)), ..command(id, CommandAction::Replace) };
    bench.record(COMMANDS, &to("K1", "103")).record(VERDICTS, &answer(3, true));
    let events = expect(&mut bench, &[E::ReplaceRequested, E::Replaced]);
    assert_eq!(events[1].terms.as_ref().unwrap().stop_price, Some(num("103")));
    let limit = Command { new_limit_price: Some(num("102.99")), ..command("K2", CommandAction::Replace) };
    let both = Command { new_stop_price: Some(num("105")), ..limit.clone() };
    for (n, (refused, expected)) in [
        (to("", "103.001"), "INVALID_PRICE"),
        (to("", "101"), "STOP_PASSED"),
        (to("", "104.01"), "STOP_BEYOND_LIMIT"),
        (limit, "STOP_BEYOND_LIMIT"),
        (both, "STOP_BEYOND_LIMIT"),
        (to("", "103"), "NOTHING_TO_REPLACE"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.record(COMMANDS, &Command { command_id: format!("R{n}"), ..refused });
        assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), expected);
    }
    // The quote is too old to say whether the market has passed it.
    bench.at(at(NOON + HOUR)).record(COMMANDS, &to("K3", "103.5"));
    assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), "STALE_QUOTE");
    // Others have none.
    let mut bench = limited();
    bench.record(COMMANDS, &to("K4", "103"));
    assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), "UNEXPECTED_PRICE");
}

#[test]
fn rule_7_a_stop_that_was_set_off_has_no_use_for_another() {
    let mut bench = stopped();
    bench.record(PLANS, &plan(1, false, &[("C1", "40")]));
    bench.take::<OrderEvent>();
    let replace = command("K1", CommandAction::Replace);
    bench.record(COMMANDS, &Command { new_stop_price: Some(num("103")), ..replace.clone() });
    assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), "STOP_PASSED");
    // Its limit may go where it likes: the stop is no more.
    bench.record(COMMANDS, &Command { command_id: "K2".into(), new_limit_price: Some(num("101.5")), ..replace });
    expect(&mut bench, &[E::ReplaceRequested]);
}

#[test]
fn rule_7_a_stop_order_waits_to_its_end_and_its_horizon_counts_from_the_trigger() {
    let mut bench = stopped();
    let terms = bench.take::<OrderEvent>().remove(0).terms.unwrap();
    assert_eq!((terms.horizon_us, terms.expire_at), (3 * HOUR, at(NOON + 4 * HOUR)));
    let replace = command("K1", CommandAction::Replace);
    bench.at(at(NOON + HOUR));
    bench.record(COMMANDS, &Command { new_horizon: Some("2_hours".into()), ..replace.clone() });
    let terms = expect(&mut bench, &[E::ReplaceRequested]).remove(0).terms.unwrap();
    assert_eq!((terms.horizon_us, terms.expire_at), (2 * HOUR, at(NOON + 4 * HOUR)));
    bench.record(VERDICTS, &answer(3, true));
    let sooner = Command { new_expire_at: Some(at(NOON + 3 * HOUR)), command_id: "K2".into(), ..replace };
    bench.record(COMMANDS, &sooner).record(VERDICTS, &answer(5, true));
    let terms = bench.take::<OrderEvent>().pop().unwrap().terms.unwrap();
    assert_eq!((terms.horizon_us, terms.expire_at), (2 * HOUR, at(NOON + 3 * HOUR)));
    bench.timer_to(at(NOON + 3 * HOUR - 1));
    assert!(bench.take::<OrderEvent>().is_empty());
    bench.timer_to(at(NOON + 3 * HOUR));
    assert_eq!(code(&expect(&mut bench, &[E::CancelRequested])[0]), "EXPIRED");
}

#[test]
fn a_replace_that_risk_refuses_leaves_the_order_as_it_was() {
    let mut bench = routed(false);
    bench.record(COMMANDS, &replace_qty("K1", "150")).record(VERDICTS, &answer(5, false));
    let events = expect(&mut bench, &[E::ReplaceRequested, E::CommandRefused]);
    assert_eq!((code(&events[1]), events[1].command_id.as_deref()), ("MAX_ORDER_VALUE", Some("K1")));
    assert_eq!(totals(&events[1]), ["100", "0", "100", "0", "100", "0"]);
    // Said twice, it is answered once; and another may be asked for.
    bench.record(VERDICTS, &answer(5, true)).nothing_more();
    bench.record(COMMANDS, &replace_qty("K2", "150")).record(VERDICTS, &answer(7, true));
    expect(&mut bench, &[E::ReplaceRequested, E::Replaced]);
}

#[test]
fn an_answer_to_another_request_is_no_answer() {
    let mut bench = released();
    bench.record(COMMANDS, &replace_qty("K1", "150")).record(VERDICTS, &answer(2, true));
    expect(&mut bench, &[E::ReplaceRequested]);
    bench.timer_to(at(NOON + 30 * SECOND));
    assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), "REPLACE_OVERDUE");
    bench.record(VERDICTS, &answer(3, true)).nothing_more();
}

#[test]
fn rule_16_a_decrease_frees_only_what_children_have_given_up() {
    let mut bench = routed(false);
    bench.record(COMMANDS, &replace_qty("K1", "50")).record(VERDICTS, &answer(5, true));
    let replaced = expect(&mut bench, &[E::ReplaceRequested, E::Replaced]).remove(1);
    assert_eq!((replaced.new_ord_qty, totals(&replaced).join(" ")), (Some(num("50")), "100 0 100 0 100 0".into()));
    // C2 of 60 is cancelled, after 10 of it were filled: C1 and they are what is asked for.
    bench.record(REPORTS, &fill("C2", "e1", "10", "100")).record(REPORTS, &report("C2", "e2", ExecType::Canceled));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated]);
    assert_eq!(totals(&events[0]).join(" "), "100 10 90 0 90 0");
    assert_eq!(totals(&events[1]).join(" "), "50 10 40 0 40 0");
    bench.record(REPORTS, &fill("C1", "e3", "40", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::Filled]);
    assert_eq!(totals(&events[1]).join(" "), "50 50 0 0 0 0");
    assert_eq!(bench.take_one::<TradeExecuted>().execution.requested_quantity, num("50"));
}

#[test]
fn a_fill_that_crosses_a_replace_wins_over_it() {
    // Before risk's answer.
    let mut bench = routed(false);
    bench.record(COMMANDS, &replace_qty("K1", "50")).record(REPORTS, &fill("C2", "e1", "60", "100"));
    bench.record(REPORTS, &report("C1", "e2", ExecType::Canceled)).record(VERDICTS, &answer(5, true));
    let events = expect(&mut bench, &[E::ReplaceRequested, E::ChildUpdated, E::ChildUpdated, E::Replaced, E::Filled]);
    assert_eq!((events[3].new_ord_qty, totals(&events[4]).join(" ")), (Some(num("60")), "60 60 0 0 0 0".into()));
    check_no_overfill(&events);

    // After it, before the surplus is cancelled.
    let mut bench = routed(false);
    bench.record(COMMANDS, &replace_qty("K1", "50")).record(VERDICTS, &answer(5, true));
    bench.record(REPORTS, &fill("C2", "e1", "60", "100")).record(REPORTS, &report("C1", "e2", ExecType::Canceled));
    let events = expect(&mut bench, &[E::ReplaceRequested, E::Replaced, E::ChildUpdated, E::ChildUpdated, E::Filled]);
    assert_eq!(totals(&events[4]).join(" "), "60 60 0 0 0 0");
    check_no_overfill(&events);

    // More than was ordered before is an overfill as ever.
    let mut bench = routed(false);
    bench.record(COMMANDS, &replace_qty("K1", "50")).record(VERDICTS, &answer(5, true));
    bench.record(REPORTS, &fill("C2", "e1", "101", "100"));
    let events = bench.take::<OrderEvent>();
    assert_eq!(totals(events.last().unwrap()).join(" "), "100 100 0 0 0 1");
}

#[track_caller]
fn check_no_overfill(events: &[OrderEvent]) {
    assert!(events.iter().all(|event| event.overfill_qty.is_zero()));
}

#[test]
fn all_is_filled_while_more_is_asked_for() {
    let filled = || {
        let mut bench = routed(true);
        bench.record(COMMANDS, &replace_qty("K1", "150"));
        bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(REPORTS, &fill("C2", "e2", "60", "100"));
        expect(&mut bench, &[E::ReplaceRequested, E::ChildUpdated, E::ChildUpdated]);
        bench
    };
    let mut bench = filled();
    bench.record(VERDICTS, &answer(5, false));
    expect(&mut bench, &[E::CommandRefused, E::Filled]);
    let mut bench = filled();
    bench.record(VERDICTS, &answer(5, true));
    assert_eq!(totals(&expect(&mut bench, &[E::Replaced])[0]).join(" "), "150 100 50 0 0 0");
}

#[test]
fn a_cancel_a_kill_or_the_end_wins_over_a_pending_replace_and_answers_it() {
    let ended = |end: &dyn Fn(&mut StageBench), expected: &str| {
        let mut bench = released();
        bench.record(COMMANDS, &replace_qty("K1", "150"));
        end(&mut bench);
        let events = expect(&mut bench, &[E::ReplaceRequested, E::CommandRefused, E::CancelRequested]);
        assert_eq!((code(&events[1]), events[1].command_id.as_deref()), ("REPLACE_OVERTAKEN", Some("K1")));
        assert_eq!(code(&events[2]), expected);
        // Risk's answer comes too late.
        bench.record(VERDICTS, &answer(3, true)).nothing_more();
        bench.record(PLANS, &plan(1, true, &[]));
        let end = bench.take_one::<OrderEvent>();
        assert_eq!(totals(&end).join(" "), "100 0 0 100 0 0");
    };
    ended(
        &|bench| {
            bench.record(COMMANDS, &cancel("K2"));
        },
        "CANCEL_COMMAND",
    );
    ended(
        &|bench| {
            let mut controls = Controls::default();
            controls.take("PORTFOLIO/P1", kill(ControlScope::Portfolio, "P1", NOON)).unwrap();
            bench.table(controls).record(ALERTS, &refused_child("C9"));
        },
        "KILLED",
    );
}

#[test]
fn a_last_plan_of_former_terms_proves_nothing() {
    let mut bench = released();
    bench.record(COMMANDS, &replace_qty("K1", "150")).record(VERDICTS, &answer(3, true));
    expect(&mut bench, &[E::ReplaceRequested, E::Replaced]);
    // The former schedule's end, on its way while the terms changed: more may come.
    bench.record(PLANS, &plan_of(0, 1, true, &[("C1", "100")])).record(REPORTS, &fill("C1", "e1", "100", "100"));
    let events = expect(&mut bench, &[E::Routed, E::ChildUpdated]);
    assert_eq!(totals(&events[1]).join(" "), "150 100 50 0 0 0");
    bench.record(COMMANDS, &cancel("K2"));
    expect(&mut bench, &[E::CancelRequested]);
    bench.record(PLANS, &plan_of(4, 2, false, &[("C2", "50")]));
    expect(&mut bench, &[E::Routed]);
    bench.record(REPORTS, &report("C2", "e2", ExecType::Canceled)).record(PLANS, &plan_of(4, 3, true, &[]));
    expect(&mut bench, &[E::ChildUpdated, E::Cancelled]);
}

#[test]
fn a_replace_that_is_in_force_before_the_allocation_comes_is_one_of_its_account() {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval());
    bench.record(COMMANDS, &replace_qty("K1", "150")).record(VERDICTS, &answer(3, true));
    expect(&mut bench, &[E::Created, E::Released, E::ReplaceRequested, E::Replaced]);
    bench.record(ALLOCATIONS, &allocation()).restart();
    bench.record(PLANS, &plan_of(4, 1, true, &[("C1", "140")])).record(REPORTS, &fill("C1", "e1", "140", "100"));
    let events = expect(&mut bench, &[E::Routed, E::ChildUpdated, E::Expired]);
    let account = events[1].account.as_ref().unwrap();
    assert_eq!((account.ord_qty, account.cum_qty, account.leaves_qty), (num("150"), num("140"), num("10")));
    assert_eq!(totals(&events[2]).join(" "), "150 140 0 10 0 0");
}

#[test]
fn a_replaced_order_ends_with_the_last_plan_of_the_terms_in_force_of_every_account() {
    let mut bench = World::default().bench();
    let part = |account: &str, no| AccountAllocation {
        event_id: account.into(),
        account_id: Some(account.into()),
        account_no: no,
        account_count: 2,
        quantity: num("50"),
        ..allocation()
    };
    let of = |account: &str, plan: RoutingPlan| RoutingPlan { account_id: account.into(), ..plan };
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval());
    // The allocation of one account comes before the replace, that of the other after it.
    bench.record(ALLOCATIONS, &part("A1", 1)).record(PLANS, &of("A1", plan_of(0, 1, true, &[("C1", "50")])));
    bench.record(COMMANDS, &Command { new_horizon: Some("PT1H".into()), ..command("K1", CommandAction::Replace) });
    bench.record(VERDICTS, &answer(4, true)).record(ALLOCATIONS, &part("A2", 2));
    bench.record(PLANS, &of("A2", plan_of(5, 1, true, &[("C2", "50")])));
    bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(REPORTS, &report("C1", "e2", ExecType::Canceled));
    bench.record(REPORTS, &ExecutionReport { account_id: "A2".into(), ..fill("C2", "e3", "50", "100") });
    assert!(!bench.take::<OrderEvent>().iter().any(|event| event.is_terminal), "A1 may release more by the new terms");
    bench.record(PLANS, &of("A1", plan_of(5, 2, true, &[])));
    assert_eq!(totals(&expect(&mut bench, &[E::Expired])[0]).join(" "), "100 90 0 10 0 0");
}

#[test]
fn a_replace_to_what_is_filled_ends_the_order() {
    let mut bench = routed(false);
    bench.record(REPORTS, &fill("C1", "e1", "35", "100")).record(COMMANDS, &replace_qty("K1", "35"));
    bench.record(VERDICTS, &answer(6, true));
    expect(&mut bench, &[E::ChildUpdated, E::ReplaceRequested, E::Replaced]);
    for child in ["C1", "C2"] {
        bench.record(REPORTS, &report(child, &format!("x{child}"), ExecType::Canceled));
    }
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated, E::Filled]);
    assert_eq!(totals(&events[2]).join(" "), "35 35 0 0 0 0");
}

#[test]
fn a_horizon_beyond_the_session_is_cut_with_a_note() {
    let mut bench = released();
    bench.record(COMMANDS, &Command { new_horizon: Some("9_hours".into()), ..command("K1", CommandAction::Replace) });
    let request = expect(&mut bench, &[E::ReplaceRequested]).remove(0);
    assert_eq!(request.terms.unwrap().horizon_us, 4 * HOUR);
    assert!(request.reason_text.unwrap().contains("cut to the end of the session"));
}

#[test]
fn a_replace_of_a_replace_is_measured_from_what_was_asked_for() {
    let mut bench = routed(false);
    bench.record(COMMANDS, &replace_qty("K1", "50")).record(VERDICTS, &answer(5, true));
    // Children still hold 100, but 50 are asked for already.
    bench.record(COMMANDS, &replace_qty("K2", "50"));
    let events = expect(&mut bench, &[E::ReplaceRequested, E::Replaced, E::CommandRefused]);
    assert_eq!(code(&events[2]), "NOTHING_TO_REPLACE");
    bench.record(COMMANDS, &replace_qty("K3", "100")).record(VERDICTS, &answer(8, true));
    let events = expect(&mut bench, &[E::ReplaceRequested, E::Replaced]);
    assert_eq!(totals(&events[1]).join(" "), "100 0 100 0 100 0");
}

/// What happens to an order of two children, C1 of 40 and C2 of 60.
#[derive(Debug, Clone)]
enum Step {
    Replace(i64),
    /// Risk's answer to the last request.
    Answer(bool),
    Suspend,
    Resume,
    Fill(usize, i64),
    Cancelled(usize),
    Plan(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_i64..20).prop_map(|lots| Step::Replace(lots * 10)),
        4 => any::<bool>().prop_map(Step::Answer),
        1 => Just(Step::Suspend),
        1 => Just(Step::Resume),
        4 => (0_usize..2, 1_i64..30).prop_map(|(child, qty)| Step::Fill(child, qty)),
        2 => (0_usize..2).prop_map(Step::Cancelled),
        1 => any::<bool>().prop_map(Step::Plan),
        1 => Just(Step::Restart),
    ]
}

const CHILDREN: [&str; 2] = ["C1", "C2"];

/// Lives through the steps, and then is cancelled; everything that was told.
fn lived(steps: &[Step]) -> Vec<OrderEvent> {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench.record(PLANS, &plan(1, false, &[("C1", "40"), ("C2", "60")]));
    let mut told: Vec<OrderEvent> = bench.take();
    for (n, step) in steps.iter().enumerate() {
        let id = format!("{n}");
        match step {
            Step::Replace(quantity) => bench.record(COMMANDS, &replace_qty(&id, &quantity.to_string())),
            Step::Answer(passed) => {
                let asked = told.iter().rev().find(|event| event.event_type == E::ReplaceRequested);
                let answer =
                    ValidatedOrder { event_id: format!("V-{n}"), ..answer(asked.map_or(99, |e| e.revision), *passed) };
                bench.record(VERDICTS, &answer)
            }
            Step::Suspend => bench.record(COMMANDS, &command(&id, CommandAction::Suspend)),
            Step::Resume => bench.record(COMMANDS, &command(&id, CommandAction::Resume)),
            Step::Fill(child, qty) => bench.record(REPORTS, &fill(CHILDREN[*child], &id, &qty.to_string(), "100")),
            Step::Cancelled(child) => bench.record(REPORTS, &report(CHILDREN[*child], &id, ExecType::Canceled)),
            Step::Plan(is_last) => bench.record(PLANS, &plan(i32::try_from(n).unwrap() + 2, *is_last, &[])),
            Step::Restart => bench.restart(),
        };
        told.extend(bench.take::<OrderEvent>());
    }
    bench.record(COMMANDS, &cancel("end")).record(PLANS, &plan_of(1_000, 1_000, true, &[]));
    for child in CHILDREN {
        bench.record(REPORTS, &report(child, &format!("end-{child}"), ExecType::Canceled));
    }
    told.extend(bench.take::<OrderEvent>());
    assert!(bench.take_dead_letters().is_empty());
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_crosses_every_command_is_answered_once_and_the_order_ends_once(
        steps in prop::collection::vec(step(), 0..25)
    ) {
        let told = lived(&steps);
        check_life(&told);
        prop_assert_eq!(told.iter().filter(|event| event.is_terminal).count(), 1);
        for (n, step) in steps.iter().enumerate() {
            let is_command = matches!(step, Step::Replace(_) | Step::Suspend | Step::Resume);
            let of = |event: &&OrderEvent| event.command_id.as_deref() == Some(n.to_string().as_str());
            let answers = told.iter().filter(of).filter(|event| event.event_type != E::ReplaceRequested).count();
            prop_assert_eq!(answers, usize::from(is_command), "command {}", n);
        }
        let (mut target, mut before) = (num::<Quantity>("100"), num::<Quantity>("100"));
        for event in &told {
            if event.event_type == E::Replaced {
                (target, before) = (event.new_ord_qty.unwrap(), before.max(event.ord_qty));
            }
            // Never less than is asked for, never more than that or what was ordered before.
            prop_assert!(event.ord_qty >= target && event.ord_qty <= before.max(target), "{:?}", event);
            // What is ordered beyond what is asked for is filled or held.
            let committed = event.cum_qty.checked_add(event.working_qty).unwrap();
            prop_assert!(event.ord_qty == target || event.ord_qty <= committed || event.leaves_qty.is_zero(), "{:?}", event);
            before = before.max(event.ord_qty);
        }
    }
}
