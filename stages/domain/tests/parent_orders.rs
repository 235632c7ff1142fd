//! Parent orders: the table, the one terminal event, amendments after it.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod support;

use fillstream_domain::order_state::*;
use fillstream_domain::*;
use proptest::prelude::*;
use support::{px, qty};

fn children(filled: &str, held: &str) -> ParentEvent {
    let filled = qty(filled);
    let fills =
        if filled.is_zero() { PriceQuantitySum::ZERO } else { PriceQuantitySum::ZERO.add(px("10"), filled).unwrap() };
    ParentEvent::Children { fills, held: qty(held) }
}

fn parent() -> ParentState {
    ParentState::new(qty("1000")).unwrap()
}

fn after(state: ParentState, events: &[ParentEvent]) -> ParentState {
    events.iter().fold(state, |state, event| parent_transition(&state, event).unwrap().state)
}

fn state_in(status: ParentStatus) -> ParentState {
    use ParentEvent::*;
    let part = [Released, children("400", "600")];
    match status {
        ParentStatus::PendingRisk => parent(),
        ParentStatus::Working => after(parent(), &[Released]),
        ParentStatus::PartiallyFilled => after(parent(), &part),
        ParentStatus::CancelPending => after(after(parent(), &part), &[CancelRequested]),
        ParentStatus::Filled => after(parent(), &[Released, children("1000", "0")]),
        ParentStatus::Cancelled => after(after(parent(), &part), &[CancelRequested, children("400", "0")]),
        ParentStatus::Rejected => after(parent(), &[Rejected]),
        ParentStatus::Expired => after(after(parent(), &part), &[Expired, children("400", "0")]),
    }
}

#[test]
fn every_pair_of_status_and_event() {
    use ParentChange::{Amendment, None as Same, Progress, Terminal};
    use ParentStatus::*;
    let refused: Option<(ParentStatus, ParentChange)> = None;
    let ok = |status, change| Some((status, change));
    let events = [
        ParentEvent::Released,
        ParentEvent::Rejected,
        ParentEvent::CancelRequested,
        ParentEvent::Expired,
        children("500", "300"),
        children("500", "0"),
        children("1000", "0"),
    ];
    #[rustfmt::skip]
    let table = [
        (PendingRisk, [ok(Working, Progress), ok(Rejected, Terminal), ok(Cancelled, Terminal), ok(Expired, Terminal), refused, refused, refused]),
        (Working, [refused, refused, ok(Cancelled, Terminal), ok(Expired, Terminal), ok(PartiallyFilled, Progress), ok(PartiallyFilled, Progress), ok(Filled, Terminal)]),
        (PartiallyFilled, [refused, refused, ok(CancelPending, Progress), ok(CancelPending, Progress), ok(PartiallyFilled, Progress), ok(PartiallyFilled, Progress), ok(Filled, Terminal)]),
        (CancelPending, [refused, refused, ok(CancelPending, Same), ok(CancelPending, Same), ok(CancelPending, Progress), ok(Cancelled, Terminal), ok(Filled, Terminal)]),
        (Filled, [refused, refused, ok(Filled, Same), ok(Filled, Same), ok(Filled, Amendment), ok(Filled, Amendment), ok(Filled, Same)]),
        (Cancelled, [refused, refused, ok(Cancelled, Same), ok(Cancelled, Same), ok(Cancelled, Amendment), ok(Cancelled, Amendment), ok(Cancelled, Amendment)]),
        (Rejected, [refused, refused, ok(Rejected, Same), ok(Rejected, Same), refused, refused, refused]),
        (Expired, [refused, refused, ok(Expired, Same), ok(Expired, Same), ok(Expired, Amendment), ok(Expired, Amendment), ok(Expired, Amendment)]),
    ];
    assert_eq!(table.map(|(status, _)| status).to_vec(), ParentStatus::ALL);
    for (from, cells) in table {
        let before = state_in(from);
        assert_eq!(before.status(), from);
        for (event, expected) in events.iter().zip(cells) {
            let found = parent_transition(&before, event).ok().map(|done| (done.to, done.change));
            assert_eq!(found, expected, "{from} + {event:?}");
        }
    }
}

/// Trading rule 1: an unknown child keeps its parent open.
#[test]
fn rule_1_what_children_hold_keeps_the_parent_open() {
    let asked = after(parent(), &[ParentEvent::Released, children("0", "1000"), ParentEvent::CancelRequested]);
    assert_eq!(asked.status(), ParentStatus::CancelPending);
    let part = after(asked, &[children("400", "600")]);
    assert_eq!((part.status(), part.leaves_qty()), (ParentStatus::CancelPending, qty("600")));
    let over = after(part, &[children("400", "0")]);
    assert_eq!(
        (over.status(), over.cum_qty(), over.cancelled_qty()),
        (ParentStatus::Cancelled, qty("400"), qty("600"))
    );
}

#[test]
fn a_cancel_that_every_fill_outran_ends_filled() {
    let state = after(
        parent(),
        &[ParentEvent::Released, children("0", "1000"), ParentEvent::CancelRequested, children("1000", "0")],
    );
    assert_eq!(state.status(), ParentStatus::Filled);
}

/// Trading rule 2: after the terminal event figures are amended, the status and the end stay.
#[test]
fn rule_2_late_reports_amend_the_figures_only() {
    let cancelled = state_in(ParentStatus::Cancelled);
    let late = parent_transition(&cancelled, &children("700", "0")).unwrap();
    assert_eq!((late.change, late.to), (ParentChange::Amendment, ParentStatus::Cancelled));
    assert_eq!((late.state.cum_qty(), late.state.cancelled_qty()), (qty("700"), qty("300")));
    let bust = parent_transition(&state_in(ParentStatus::Filled), &children("900", "0")).unwrap();
    assert_eq!((bust.change, bust.to), (ParentChange::Amendment, ParentStatus::Filled));
    assert_eq!(
        (bust.state.cum_qty(), bust.state.leaves_qty(), bust.state.cancelled_qty()),
        (qty("900"), Quantity::ZERO, qty("100"))
    );
}

#[test]
fn an_overfill_is_counted_apart_and_waits_for_open_children() {
    let working = after(parent(), &[ParentEvent::Released]);
    let over = parent_transition(&working, &children("1100", "200")).unwrap();
    assert_eq!(
        (over.overfilled, over.change, over.to),
        (qty("100"), ParentChange::Progress, ParentStatus::PartiallyFilled)
    );
    assert_eq!(
        (over.state.cum_qty(), over.state.leaves_qty(), over.state.overfill_qty()),
        (qty("1000"), Quantity::ZERO, qty("100"))
    );
    assert_eq!(after(over.state, &[children("1100", "0")]).status(), ParentStatus::Filled);
}

fn any_event() -> impl Strategy<Value = ParentEvent> {
    prop_oneof![
        2 => Just(ParentEvent::Released),
        1 => Just(ParentEvent::Rejected),
        1 => Just(ParentEvent::CancelRequested),
        1 => Just(ParentEvent::Expired),
        6 => (0_u32..1_300, prop_oneof![Just(0_u32), 0_u32..1_000]).prop_map(|(f, h)| children(&f.to_string(), &h.to_string())),
    ]
}

proptest! {
    #[test]
    fn a_parent_ends_at_most_once_and_its_figures_balance(events in prop::collection::vec(any_event(), 1..30)) {
        let mut state = parent();
        let mut ends = 0;
        for event in &events {
            let Ok(done) = parent_transition(&state, event) else { continue };
            prop_assert!(parent_quantities_balance(&done.state));
            prop_assert_eq!(ParentState::from_snapshot(&done.state.snapshot()), Ok(done.state));
            ends += u32::from(done.change == ParentChange::Terminal);
            prop_assert_eq!(done.to.is_terminal(), ends == 1);
            if state.status().is_terminal() {
                prop_assert_eq!(done.to, state.status());
            }
            if done.change == ParentChange::Terminal {
                prop_assert!(done.state.held_qty().is_zero());
            }
            prop_assert_eq!(done.state.leaves_qty().is_positive() && done.to.is_terminal(), false);
            state = done.state;
        }
        prop_assert!(ends <= 1);
    }
}
