//! Child orders over several events: published vectors, races, busts, invariants.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod support;

use fillstream_domain::order_state::*;
use fillstream_domain::*;
use proptest::prelude::*;
use support::*;

/// Status, cum, leaves.
fn figures(state: &ChildState) -> (OrdStatus, String, String) {
    (state.status(), state.cum_qty().to_string(), state.leaves_qty().to_string())
}

fn shown(status: OrdStatus, cum: &str, leaves: &str) -> (OrdStatus, String, String) {
    (status, cum.to_owned(), leaves.to_owned())
}

fn replay(steps: &[(ChildEvent, OrdStatus, &str, &str)]) -> ChildState {
    let mut state = order("10000");
    for (event, status, cum, leaves) in steps {
        state = transition(&state, event).unwrap().state;
        assert_eq!(figures(&state), shown(*status, cum, leaves), "after {event:?}");
        assert!(child_quantities_balance(&state));
    }
    state
}

fn illegal(state: &ChildState, event: ChildEvent) -> IllegalCause {
    transition(state, &event).unwrap_err().cause
}

#[test]
fn published_part_filled_then_done_for_day() {
    use OrdStatus::*;
    replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (trade("2000"), PartiallyFilled, "2000", "8000"),
        (trade("1000"), PartiallyFilled, "3000", "7000"),
        (ChildEvent::DoneForDay, DoneForDay, "3000", "0"),
    ]);
}

#[test]
fn published_fills_while_a_cancel_is_pending() {
    use OrdStatus::*;
    replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (trade("2000"), PartiallyFilled, "2000", "8000"),
        (ChildEvent::CancelRequested, PendingCancel, "2000", "8000"),
        (trade("3000"), PendingCancel, "5000", "5000"),
        (ChildEvent::PendingCancel, PendingCancel, "5000", "5000"),
        (trade("1000"), PendingCancel, "6000", "4000"),
        (ChildEvent::Canceled, Canceled, "6000", "0"),
    ]);
}

#[test]
fn published_a_replace_crosses_a_fill() {
    use OrdStatus::*;
    let end = replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (replace_requested("7000"), PendingReplace, "0", "10000"),
        (trade("7000"), PendingReplace, "7000", "3000"),
        (replaced("7000"), Filled, "7000", "0"),
    ]);
    assert_eq!((end.ord_qty(), end.overfill_qty()), (qty("7000"), Quantity::ZERO));
}

#[test]
fn published_a_part_filled_order_is_increased_and_fills_while_that_is_pending() {
    use OrdStatus::*;
    replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (trade("1000"), PartiallyFilled, "1000", "9000"),
        (replace_requested("12000"), PendingReplace, "1000", "9000"),
        (trade("100"), PendingReplace, "1100", "8900"),
        (ChildEvent::PendingReplace, PendingReplace, "1100", "8900"),
        (replaced("12000"), PartiallyFilled, "1100", "10900"),
        (trade("10900"), Filled, "12000", "0"),
    ]);
}

#[test]
fn published_a_filled_order_is_increased() {
    use OrdStatus::*;
    let filled = replay(&[(ChildEvent::New, New, "0", "10000"), (trade("10000"), Filled, "10000", "0")]);
    let asked = transition(&filled, &replace_requested("12000")).unwrap();
    assert!(asked.reopened());
    assert_eq!((figures(&asked.state), asked.state.held_qty()), (shown(PendingReplace, "10000", "0"), qty("2000")));
    assert_eq!(figures(&after(asked.state, &[ChildEvent::ReplaceRejected])), shown(Filled, "10000", "0"));
    let more = after(asked.state, &[replaced("12000")]);
    assert_eq!(figures(&more), shown(PartiallyFilled, "10000", "2000"));
    assert_eq!(figures(&after(more, &[trade("2000")])), shown(Filled, "12000", "0"));
    // By no more than is filled it is no increase.
    assert_eq!(illegal(&filled, replace_requested("10000")), IllegalCause::Status);
}

#[test]
fn published_a_cancel_comes_too_late_for_an_order_that_fills_meanwhile() {
    use OrdStatus::*;
    replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (trade("2000"), PartiallyFilled, "2000", "8000"),
        (ChildEvent::CancelRequested, PendingCancel, "2000", "8000"),
        (trade("5000"), PendingCancel, "7000", "3000"),
        (trade("3000"), PendingCancel, "10000", "0"),
        (ChildEvent::CancelRejected, Filled, "10000", "0"),
    ]);
}

#[test]
fn published_a_replace_chain_is_answered_one_after_the_other() {
    use OrdStatus::*;
    replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (replace_requested("11000"), PendingReplace, "0", "10000"),
        (trade("1000"), PendingReplace, "1000", "9000"),
        (replaced("11000"), PartiallyFilled, "1000", "10000"),
        (replace_requested("12000"), PendingReplace, "1000", "10000"),
        (ChildEvent::ReplaceRejected, PartiallyFilled, "1000", "10000"),
        (ChildEvent::DoneForDay, DoneForDay, "1000", "0"),
    ]);
}

#[test]
fn published_a_stopped_order_trades_at_its_guaranteed_price() {
    use OrdStatus::*;
    replay(&[
        (ChildEvent::PendingNew, PendingNew, "0", "10000"),
        (ChildEvent::New, New, "0", "10000"),
        (ChildEvent::Stopped, Stopped, "0", "10000"),
        (trade("1000"), Stopped, "1000", "9000"),
        (trade("9000"), Filled, "10000", "0"),
    ]);
}

#[test]
fn published_a_good_till_cancel_order_over_two_days() {
    use OrdStatus::*;
    replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (trade("2000"), PartiallyFilled, "2000", "8000"),
        (ChildEvent::DoneForDay, DoneForDay, "2000", "0"),
        (ChildEvent::Restated { qty: qty("10000"), px: Some(px("10")) }, PartiallyFilled, "2000", "8000"),
        (trade("2000"), PartiallyFilled, "4000", "6000"),
        (ChildEvent::Expired, Expired, "4000", "0"),
    ]);
}

#[test]
fn published_a_filled_order_whose_fill_is_busted_and_corrected() {
    use OrdStatus::*;
    let correct = ChildEvent::TradeCorrect {
        old_qty: qty("9000"),
        old_px: px("10"),
        qty: qty("9000"),
        px: px("11"),
        leaves_return: false,
    };
    replay(&[
        (ChildEvent::New, New, "0", "10000"),
        (trade("1000"), PartiallyFilled, "1000", "9000"),
        (trade("9000"), Filled, "10000", "0"),
        (correct, Filled, "10000", "0"),
        (
            ChildEvent::TradeCancel { qty: qty("1000"), px: px("10"), leaves_return: true },
            PartiallyFilled,
            "9000",
            "1000",
        ),
        (trade("1000"), Filled, "10000", "0"),
    ]);
}

#[test]
fn a_replace_below_what_is_filled_means_no_more() {
    let state = after(order("10000"), &[ChildEvent::New, replace_requested("7000"), trade("8000"), replaced("7000")]);
    assert_eq!(figures(&state), shown(OrdStatus::Filled, "8000", "0"));
    assert_eq!(state.ord_qty(), qty("8000"));
}

#[test]
fn a_filled_order_with_a_pending_cancel_waits_for_the_answer() {
    let state = after(order("10000"), &[ChildEvent::New, ChildEvent::CancelRequested, trade("10000")]);
    assert_eq!(figures(&state), shown(OrdStatus::PendingCancel, "10000", "0"));
    let refused = after(state, &[ChildEvent::CancelRejected]);
    let cancelled = after(state, &[ChildEvent::Canceled]);
    assert_eq!((refused.status(), cancelled.status()), (OrdStatus::Filled, OrdStatus::Filled));
}

#[test]
fn a_cancel_outranks_a_replace_and_each_is_answered_alone() {
    let both = after(order("10000"), &[ChildEvent::New, replace_requested("12000"), ChildEvent::CancelRequested]);
    assert_eq!(both.status(), OrdStatus::PendingCancel);
    assert_eq!(both.held_qty(), qty("12000"));
    let replaced = after(both, &[replaced("12000")]);
    assert_eq!(figures(&replaced), shown(OrdStatus::PendingCancel, "0", "12000"));
    let refused = after(both, &[ChildEvent::CancelRejected]);
    assert_eq!(refused.status(), OrdStatus::PendingReplace);
    assert_eq!(after(refused, &[ChildEvent::ReplaceRejected]).status(), OrdStatus::New);
    assert_eq!(
        illegal(&after(both, &[ChildEvent::ReplaceRejected]), ChildEvent::PendingReplace),
        IllegalCause::NoReplacePending
    );
}

#[test]
fn two_cancels_need_two_answers() {
    let twice = after(order("1"), &[ChildEvent::New, ChildEvent::CancelRequested, ChildEvent::CancelRequested]);
    let once = after(twice, &[ChildEvent::CancelRejected]);
    assert_eq!(once.status(), OrdStatus::PendingCancel);
    assert_eq!(after(once, &[ChildEvent::CancelRejected]).status(), OrdStatus::New);
    // The first succeeded, the second came too late.
    let late = transition(&after(twice, &[ChildEvent::Canceled]), &ChildEvent::CancelRejected).unwrap();
    assert!(!late.changed && late.to == OrdStatus::Canceled);
}

/// Trading rule 2: a late fill is accepted; cum goes up, what was cancelled down.
#[test]
fn rule_2_a_late_fill_after_a_cancel_amends() {
    let cancelled = after(order("10000"), &[ChildEvent::New, trade("6000"), ChildEvent::Canceled]);
    assert_eq!(cancelled.closed_qty(), qty("4000"));
    let late = transition(&cancelled, &trade("1000")).unwrap();
    assert!(late.late && late.changed && !late.became_terminal() && !late.reopened());
    assert_eq!(figures(&late.state), shown(OrdStatus::Canceled, "7000", "0"));
    assert_eq!(late.state.closed_qty(), qty("3000"));
    assert_eq!(after(late.state, &[trade("3000")]).status(), OrdStatus::Filled);
}

#[test]
fn a_fill_of_a_rejected_order_is_booked() {
    let done = transition(&state_in(OrdStatus::Rejected), &trade("1000")).unwrap();
    assert!(done.late);
    assert_eq!(figures(&done.state), shown(OrdStatus::Canceled, "1000", "0"));
}

/// Trading rule 2: what is filled beyond the order is booked and counted apart.
#[test]
fn rule_2_an_overfill_is_flagged_and_kept() {
    let full = after(order("10000"), &[ChildEvent::New, trade("9000")]);
    let over = transition(&full, &trade("1500")).unwrap();
    assert_eq!(over.overfilled, qty("500"));
    assert_eq!(figures(&over.state), shown(OrdStatus::Filled, "10000", "0"));
    assert_eq!((over.state.overfill_qty(), over.state.fills().quantity()), (qty("500"), qty("10500")));
    let more = transition(&over.state, &trade("1")).unwrap();
    assert_eq!((more.overfilled, more.state.overfill_qty()), (qty("1"), qty("501")));
}

/// Trading rule 16: leaves come back only if the report says so and the order works.
#[test]
fn rule_16_leaves_return_after_a_bust_only_if_the_report_says_so() {
    let bust = |leaves_return| ChildEvent::TradeCancel { qty: qty("2000"), px: px("10"), leaves_return };
    let part = after(order("10000"), &[ChildEvent::New, trade("2000"), trade("3000")]);
    assert_eq!(figures(&after(part, &[bust(true)])), shown(OrdStatus::PartiallyFilled, "3000", "7000"));
    let kept = after(part, &[bust(false)]);
    assert_eq!(figures(&kept), shown(OrdStatus::PartiallyFilled, "3000", "5000"));
    assert_eq!(kept.closed_qty(), qty("2000"));
    // The rest is filled: the order is over, and what was busted stays unfilled.
    let over = after(kept, &[trade("5000")]);
    assert_eq!(figures(&over), shown(OrdStatus::Canceled, "8000", "0"));

    let filled = after(part, &[trade("5000")]);
    let reopened = transition(&filled, &bust(true)).unwrap();
    assert!(reopened.late && reopened.reopened());
    assert_eq!(figures(&reopened.state), shown(OrdStatus::PartiallyFilled, "8000", "2000"));
    assert_eq!(figures(&after(filled, &[bust(false)])), shown(OrdStatus::Canceled, "8000", "0"));

    // An order that does not work gets nothing back whatever the report says.
    let cancelled = after(part, &[ChildEvent::Canceled, bust(true)]);
    assert_eq!(figures(&cancelled), shown(OrdStatus::Canceled, "3000", "0"));
    assert_eq!(cancelled.closed_qty(), qty("7000"));
}

#[test]
fn a_bust_of_an_overfill_takes_the_excess_first() {
    let over = after(order("10000"), &[ChildEvent::New, trade("9000"), trade("1500")]);
    let bust = ChildEvent::TradeCancel { qty: qty("1500"), px: px("10"), leaves_return: false };
    let state = after(over, &[bust]);
    assert_eq!(
        (state.overfill_qty(), state.cum_qty(), state.leaves_qty()),
        (Quantity::ZERO, qty("9000"), Quantity::ZERO)
    );
}

#[test]
fn what_was_never_booked_cannot_be_busted() {
    let part = after(order("10000"), &[ChildEvent::New, trade("2000")]);
    let bust = |quantity: &str, price: &str| ChildEvent::TradeCancel {
        qty: qty(quantity),
        px: px(price),
        leaves_return: true,
    };
    assert_eq!(illegal(&part, bust("2001", "10")), IllegalCause::NoSuchFill);
    assert_eq!(illegal(&part, bust("2000", "11")), IllegalCause::NoSuchFill);
    assert_eq!(illegal(&part, bust("0", "10")), IllegalCause::ZeroQuantity);
    assert_eq!(after(part, &[bust("2000", "10")]).status(), OrdStatus::New);
}

#[test]
fn a_correction_changes_price_or_quantity() {
    let part = after(order("10000"), &[ChildEvent::New, trade("2000")]);
    let correct = |quantity: &str, price: &str, leaves_return| ChildEvent::TradeCorrect {
        old_qty: qty("2000"),
        old_px: px("10"),
        qty: qty(quantity),
        px: px(price),
        leaves_return,
    };
    let dearer = after(part, &[correct("2000", "11", true)]);
    assert_eq!(dearer.fills().avg(Rounding::HalfEven).unwrap().unwrap().to_string(), "11");
    assert_eq!(figures(&after(part, &[correct("500", "10", true)])), shown(OrdStatus::PartiallyFilled, "500", "9500"));
    assert_eq!(figures(&after(part, &[correct("500", "10", false)])), shown(OrdStatus::PartiallyFilled, "500", "8000"));
    assert_eq!(
        figures(&after(part, &[correct("2500", "10", false)])),
        shown(OrdStatus::PartiallyFilled, "2500", "7500")
    );
    assert_eq!(illegal(&part, correct("0", "10", true)), IllegalCause::ZeroQuantity);
}

/// Trading rule 1: unknown keeps the order open and its exposure held, until somebody says what is.
#[test]
fn rule_1_unknown_holds_until_it_is_resolved() {
    let unknown = after(order("10000"), &[ChildEvent::SendIntent, ChildEvent::Unknown]);
    assert_eq!((unknown.status().is_terminal(), unknown.held_qty()), (false, qty("10000")));
    let resolved = |resolution| after(unknown, &[ChildEvent::UnknownResolved(resolution)]).status();
    assert_eq!(resolved(Resolution::NeverArrived), OrdStatus::Rejected);
    assert_eq!(resolved(Resolution::Working), OrdStatus::New);
    assert_eq!(resolved(Resolution::Canceled), OrdStatus::Canceled);
    assert_eq!(resolved(Resolution::Expired), OrdStatus::Expired);
    // Reports resolve it too; a refused request does not.
    assert_eq!(after(unknown, &[trade("1000")]).status(), OrdStatus::PartiallyFilled);
    assert_eq!(after(unknown, &[ChildEvent::PendingNew]).status(), OrdStatus::PendingNew);
    let asked = after(unknown, &[ChildEvent::CancelRequested]);
    assert_eq!(asked.status(), OrdStatus::Unknown);
    assert_eq!(after(asked, &[ChildEvent::CancelRejected]).status(), OrdStatus::Unknown);
    assert_eq!(after(asked, &[ChildEvent::New]).status(), OrdStatus::PendingCancel);
    assert_eq!(illegal(&unknown, ChildEvent::CancelRejected), IllegalCause::NoCancelPending);
    let part = after(unknown, &[trade("1000"), ChildEvent::Unknown]);
    assert_eq!(illegal(&part, ChildEvent::UnknownResolved(Resolution::NeverArrived)), IllegalCause::HasFills);
}

#[test]
fn a_good_till_cancel_order_comes_back_the_next_session() {
    let rested =
        after(order("10000"), &[ChildEvent::New, trade("3000"), ChildEvent::DoneForDay, ChildEvent::Calculated]);
    assert_eq!(figures(&rested), shown(OrdStatus::DoneForDay, "3000", "0"));
    let back = transition(&rested, &ChildEvent::Restated { qty: qty("10000"), px: Some(px("10")) }).unwrap();
    assert!(back.reopened());
    assert_eq!(figures(&back.state), shown(OrdStatus::PartiallyFilled, "3000", "7000"));
}

#[test]
fn a_hidden_end_is_not_forgotten() {
    let calculated = after(order("10000"), &[ChildEvent::New, ChildEvent::Canceled, ChildEvent::Calculated]);
    assert_eq!(calculated.status(), OrdStatus::Calculated);
    for event in [ChildEvent::Expired, ChildEvent::DoneForDay, ChildEvent::Restated { qty: qty("1"), px: None }] {
        assert_eq!(illegal(&calculated, event), IllegalCause::Status, "{event:?}");
    }
}

#[test]
fn an_order_is_sent_once() {
    let sent = after(order("1"), &[ChildEvent::SendIntent]);
    assert!(sent.is_sent() && !order("1").is_sent());
    assert_eq!(illegal(&sent, ChildEvent::SendIntent), IllegalCause::SentBefore);
    // A cancel may be asked for before the order has left.
    let early = after(order("1"), &[ChildEvent::CancelRequested, ChildEvent::SendIntent, ChildEvent::New]);
    assert_eq!(early.status(), OrdStatus::PendingCancel);
    assert_eq!(after(early, &[ChildEvent::CancelRejected]).status(), OrdStatus::New);
    assert_eq!(after(early, &[ChildEvent::Rejected]).status(), OrdStatus::Rejected);
}

#[test]
fn nothing_of_zero_quantity_happens() {
    assert!(ChildState::approved(Quantity::ZERO, None).is_err());
    let working = state_in(OrdStatus::New);
    assert_eq!(illegal(&working, trade("0")), IllegalCause::ZeroQuantity);
    assert_eq!(illegal(&working, replace_requested("0")), IllegalCause::ZeroQuantity);
    assert_eq!(illegal(&working, ChildEvent::Restated { qty: Quantity::ZERO, px: None }), IllegalCause::ZeroQuantity);
}

/// Trading rule 4: parent leaves less working, pending new, pending replace (the larger), pending cancel, unknown.
#[test]
fn rule_4_what_may_be_routed() {
    let children = [
        state_in(OrdStatus::PendingNew),
        state_in(OrdStatus::New),
        state_in(OrdStatus::PartiallyFilled),
        state_in(OrdStatus::PendingReplace),
        state_in(OrdStatus::PendingCancel),
        state_in(OrdStatus::Unknown),
        state_in(OrdStatus::Filled),
        state_in(OrdStatus::Canceled),
        state_in(OrdStatus::DoneForDay),
        state_in(OrdStatus::Rejected),
    ];
    let held = Commitments::of(&children).unwrap();
    let expected = Commitments {
        pending_new: qty("10000"),
        working: qty("18000"),
        pending_replace_max: qty("10000"),
        pending_cancel: qty("8000"),
        unknown: qty("8000"),
    };
    assert_eq!(held, expected);
    assert_eq!(available_to_route(qty("60000"), &held), Ok(qty("6000")));
    assert_eq!(available_to_route(qty("54000"), &held), Ok(Quantity::ZERO));
    assert_eq!(available_to_route(qty("53999"), &held), Err(NumberError::Negative { name: "Quantity" }));
    assert!(children_fit_parent(qty("54000"), &held) && !children_fit_parent(qty("53999"), &held));
}

#[test]
fn a_replace_down_holds_the_old_quantity_until_confirmed() {
    let asked = after(order("10000"), &[ChildEvent::New, trade("2000"), replace_requested("5000")]);
    assert_eq!(asked.held_qty(), qty("8000"));
    assert_eq!(after(asked, &[replaced("5000")]).held_qty(), qty("3000"));
}

#[test]
fn an_impossible_stored_order_is_refused() {
    let good = state_in(OrdStatus::PartiallyFilled).snapshot();
    let field = |stored: ChildSnapshot| ChildState::from_snapshot(&stored).unwrap_err().field;
    assert_eq!(field(ChildSnapshot { ord_qty: Quantity::ZERO, ..good }), "ord_qty");
    assert_eq!(field(ChildSnapshot { sent: false, ..good }), "accepted");
    assert_eq!(field(ChildSnapshot { ended: Some(OrdStatus::Filled), ..good }), "ended");
    assert_eq!(field(ChildSnapshot { withdrawn: qty("8001"), ..good }), "withdrawn");
}

fn any_event() -> impl Strategy<Value = ChildEvent> {
    let quantity = || (1_i64..4_000).prop_map(|n| Quantity::from_int(n).unwrap());
    let price = || (1_i64..20).prop_map(|n| Price::from_int(n).unwrap());
    prop_oneof![
        4 => (quantity(), price()).prop_map(|(qty, px)| ChildEvent::Trade { qty, px }),
        2 => (quantity(), price(), any::<bool>())
            .prop_map(|(qty, px, leaves_return)| ChildEvent::TradeCancel { qty, px, leaves_return }),
        1 => (quantity(), price(), quantity(), price(), any::<bool>()).prop_map(
            |(old_qty, old_px, qty, px, leaves_return)| ChildEvent::TradeCorrect { old_qty, old_px, qty, px, leaves_return }
        ),
        1 => quantity().prop_map(|qty| ChildEvent::Replaced { qty, px: None }),
        1 => quantity().prop_map(|qty| ChildEvent::ReplaceRequested { qty, px: None }),
        1 => quantity().prop_map(|qty| ChildEvent::Restated { qty, px: None }),
        8 => prop::sample::select(ChildEventKind::ALL).prop_map(event_of),
    ]
}

/// What the fills alone say, kept apart from the state under test.
#[allow(clippy::wildcard_enum_match_arm, reason = "every other kind moves no quantity, which is the claim")]
fn fill_change(event: &ChildEvent) -> i128 {
    match *event {
        ChildEvent::Trade { qty, .. } => qty.unscaled(),
        ChildEvent::TradeCancel { qty, .. } => -qty.unscaled(),
        ChildEvent::TradeCorrect { old_qty, qty, .. } => qty.unscaled() - old_qty.unscaled(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn invariants_hold_over_any_history(events in prop::collection::vec(any_event(), 1..40)) {
        let mut state = order("10000");
        let mut filled = 0_i128;
        for event in &events {
            let before = state;
            let Ok(done) = transition(&before, event) else { continue };
            state = done.state;
            filled += fill_change(event);
            prop_assert!(child_quantities_balance(&state));
            prop_assert_eq!(ChildState::from_snapshot(&state.snapshot()), Ok(state));
            // No fill is ever lost, whatever the state.
            prop_assert_eq!(state.fills().quantity().unscaled(), filled);
            prop_assert_eq!(state.cum_qty().unscaled() + state.overfill_qty().unscaled(), filled);
            prop_assert_eq!((done.from, done.to), (before.status(), state.status()));
            prop_assert!(done.changed || state == before);
            if state.status().is_terminal() {
                prop_assert!(state.leaves_qty().is_zero() && state.held_qty().is_zero(), "{:?}", state);
                prop_assert!(!state.is_cancel_pending() && !state.is_replace_pending());
            }
            if state.overfill_qty().is_positive() {
                prop_assert!(state.leaves_qty().is_zero() && state.closed_qty().is_zero());
            }
            if state.status() == OrdStatus::Filled {
                prop_assert_eq!(state.cum_qty(), state.ord_qty());
            }
            prop_assert!(state.held_qty() >= state.leaves_qty());
            let grew = state.overfill_qty().unscaled() - before.overfill_qty().unscaled();
            prop_assert_eq!(done.overfilled.unscaled(), grew.max(0));
            if done.reopened() {
                let amends = matches!(event, ChildEvent::Restated { .. } | ChildEvent::TradeCancel { leaves_return: true, .. }
                    | ChildEvent::TradeCorrect { leaves_return: true, .. } | ChildEvent::ReplaceRequested { .. });
                prop_assert!(amends, "{event:?} reopened {before:?}");
            }
        }
    }

    #[test]
    fn a_fill_is_accepted_in_any_reachable_state(events in prop::collection::vec(any_event(), 0..30)) {
        let mut state = order("10000");
        for event in &events {
            if let Ok(done) = transition(&state, event) {
                state = done.state;
            }
        }
        prop_assert!(transition(&state, &trade("1")).is_ok());
    }

    #[test]
    fn what_the_table_ignores_or_refuses_changes_nothing(events in prop::collection::vec(any_event(), 0..30)) {
        let mut state = order("10000");
        for event in &events {
            match (rule(state.status(), event.kind()), transition(&state, event)) {
                (Rule::Apply, Ok(done)) => state = done.state,
                (Rule::Apply, Err(_)) => {}
                (Rule::Ignore, result) => prop_assert_eq!(result.map(|done| (done.state, done.changed)), Ok((state, false))),
                (Rule::Refuse, result) => prop_assert_eq!(result.unwrap_err().cause, IllegalCause::Status),
            }
        }
    }
}
