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

fn asked(quantity: &str) -> ParentEvent {
    ParentEvent::ReplaceRequested { qty: qty(quantity) }
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
        ParentStatus::Suspended => after(after(parent(), &part), &[Suspended]),
        ParentStatus::ReplacePending => after(after(parent(), &part), &[asked("700")]),
        ParentStatus::CancelPending => after(after(parent(), &part), &[CancelRequested]),
        ParentStatus::Filled => after(parent(), &[Released, children("1000", "0")]),
        ParentStatus::Cancelled => after(after(parent(), &part), &[CancelRequested, children("400", "0")]),
        ParentStatus::Rejected => after(parent(), &[Rejected]),
        ParentStatus::Expired => after(after(parent(), &part), &[Expired, children("400", "0")]),
    }
}

/// Rows: the status before. Columns: the event. A cell is the status after, with `!` where the order ends, `+` where its
/// end is amended, `=` where nothing changes; `x` stands for "refused". R: risk passes or refuses; C: cancel; E: time is
/// over; S: suspend; G: resume ("go"); Q: replace by 700; Y, N: risk's answer; then children with 500 filled and 300
/// held, 500 and nothing, 1000 and nothing.
const TABLE: &str = "
before    R+   R-   C   E   S   G   Q   Y   N   5/3  5/0  10/0
PR         W  RJ!  CA! EX!  x   x   x   x   x    x    x    x
W          x   x   CA! EX! SU   =  RP   x   x   PF   PF   FI!
PF         x   x   CP  CP  SU   =  RP   x   x   PF   PF   FI!
SU         x   x   CP  CP   =  PF  RP   x   x   SU   SU   FI!
RP         x   x   CP  CP  RP   =   x  PF  PF   RP   RP   RP
CP         x   x    =   =   x   x   x   x   =   CP   CA!  FI!
FI         x   x    =   =   x   x   x   x   =   FI+  FI+   =
CA         x   x    =   =   x   x   x   x   =   CA+  CA+  CA+
RJ         x   x    =   =   x   x   x   x   x    x    x    x
EX         x   x    =   =   x   x   x   x   =   EX+  EX+  EX+
";

const fn code(status: ParentStatus) -> &'static str {
    match status {
        ParentStatus::PendingRisk => "PR",
        ParentStatus::Working => "W",
        ParentStatus::PartiallyFilled => "PF",
        ParentStatus::Suspended => "SU",
        ParentStatus::ReplacePending => "RP",
        ParentStatus::CancelPending => "CP",
        ParentStatus::Filled => "FI",
        ParentStatus::Cancelled => "CA",
        ParentStatus::Rejected => "RJ",
        ParentStatus::Expired => "EX",
    }
}

#[test]
fn every_pair_of_status_and_event() {
    let events = [
        ParentEvent::Released,
        ParentEvent::Rejected,
        ParentEvent::CancelRequested,
        ParentEvent::Expired,
        ParentEvent::Suspended,
        ParentEvent::Resumed,
        asked("700"),
        ParentEvent::Replaced,
        ParentEvent::ReplaceRefused,
        children("500", "300"),
        children("500", "0"),
        children("1000", "0"),
    ];
    let rows = TABLE.lines().filter(|line| !line.trim().is_empty()).skip(1);
    let mut statuses = Vec::new();
    for row in rows {
        let mut cells = row.split_whitespace();
        let name = cells.next().unwrap();
        let from = *ParentStatus::ALL.iter().find(|status| code(**status) == name).unwrap();
        let before = state_in(from);
        assert_eq!(before.status(), from);
        let found: Vec<String> = events
            .iter()
            .map(|event| match parent_transition(&before, event) {
                Err(_) => "x".to_owned(),
                Ok(done) => match done.change {
                    ParentChange::None => "=".to_owned(),
                    ParentChange::Progress => code(done.to).to_owned(),
                    ParentChange::Terminal => format!("{}!", code(done.to)),
                    ParentChange::Amendment => format!("{}+", code(done.to)),
                },
            })
            .collect();
        assert_eq!(found, cells.collect::<Vec<_>>(), "{from}");
        statuses.push(from);
    }
    assert_eq!(statuses, ParentStatus::ALL);
}

#[test]
fn a_suspended_order_fills_on_and_is_what_it_was_when_it_is_resumed() {
    let suspended = after(parent(), &[ParentEvent::Released, ParentEvent::Suspended]);
    let filled = after(suspended, &[children("400", "100")]);
    assert_eq!((filled.status(), filled.cum_qty()), (ParentStatus::Suspended, qty("400")));
    assert_eq!(after(filled, &[ParentEvent::Resumed]).status(), ParentStatus::PartiallyFilled);
    assert_eq!(after(suspended, &[ParentEvent::Resumed]).status(), ParentStatus::Working);
    assert_eq!(after(filled, &[children("1000", "0")]).status(), ParentStatus::Filled);
}

#[test]
fn what_crosses_a_replace_wins_over_it() {
    let working = after(parent(), &[ParentEvent::Released]);
    let down = after(working, &[asked("700"), children("800", "0"), ParentEvent::Replaced]);
    assert_eq!((down.status(), down.ord_qty(), down.overfill_qty()), (ParentStatus::Filled, qty("800"), qty("0")));
    // All that was ordered is filled, but more is asked for: the order waits for the answer.
    let up = after(working, &[asked("1500"), children("1000", "0")]);
    assert_eq!(up.status(), ParentStatus::ReplacePending);
    assert_eq!(after(up, &[ParentEvent::ReplaceRefused]).status(), ParentStatus::Filled);
    let more = after(up, &[ParentEvent::Replaced]);
    assert_eq!((more.status(), more.leaves_qty()), (ParentStatus::PartiallyFilled, qty("500")));
    let below = parent_transition(&after(working, &[children("400", "0")]), &asked("399")).unwrap_err();
    assert_eq!(below.cause, ParentCause::BelowFilled);
}

#[test]
fn a_cancel_wins_over_a_pending_replace() {
    let both =
        after(parent(), &[ParentEvent::Released, children("0", "100"), asked("1500"), ParentEvent::CancelRequested]);
    assert_eq!(both.status(), ParentStatus::CancelPending);
    // The answer that was on its way finds nothing to answer.
    assert!(parent_transition(&both, &ParentEvent::Replaced).is_err());
    let end = after(both, &[ParentEvent::ReplaceRefused, children("0", "0")]);
    assert_eq!((end.status(), end.cancelled_qty()), (ParentStatus::Cancelled, qty("1000")));
}

#[test]
fn an_impossible_stored_parent_is_refused() {
    let good = state_in(ParentStatus::ReplacePending).snapshot();
    let field = |stored: ParentSnapshot| ParentState::from_snapshot(&stored).unwrap_err().field;
    assert_eq!(field(ParentSnapshot { ord_qty: Quantity::ZERO, ..good }), "ord_qty");
    assert_eq!(field(ParentSnapshot { replacing: Some(Quantity::ZERO), ..good }), "replacing");
    assert_eq!(field(ParentSnapshot { terminal: Some(ParentStatus::Filled), ..good }), "replacing");
    assert_eq!(field(ParentSnapshot { winding: Some(ParentStatus::Cancelled), ..good }), "replacing");
    assert_eq!(field(ParentSnapshot { winding: Some(ParentStatus::Suspended), ..good }), "winding");
    assert_eq!(field(ParentSnapshot { terminal: Some(ParentStatus::Working), ..good }), "terminal");
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
        1 => Just(ParentEvent::Suspended),
        1 => Just(ParentEvent::Resumed),
        2 => (0_u32..1_500).prop_map(|q| asked(&q.to_string())),
        2 => Just(ParentEvent::Replaced),
        1 => Just(ParentEvent::ReplaceRefused),
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
