//! Orders in every status and events of every kind.
#![allow(dead_code, reason = "each test binary uses its part")]

use fillstream_domain::order_state::*;
use fillstream_domain::*;

pub(crate) fn px(text: &str) -> Price {
    text.parse().unwrap()
}

pub(crate) fn qty(text: &str) -> Quantity {
    text.parse().unwrap()
}

/// An approved order of so much at 10.
pub(crate) fn order(quantity: &str) -> ChildState {
    ChildState::approved(qty(quantity), Some(px("10"))).unwrap()
}

pub(crate) fn trade(quantity: &str) -> ChildEvent {
    ChildEvent::Trade { qty: qty(quantity), px: px("10") }
}

pub(crate) fn replaced(quantity: &str) -> ChildEvent {
    ChildEvent::Replaced { qty: qty(quantity), px: Some(px("10")) }
}

pub(crate) fn replace_requested(quantity: &str) -> ChildEvent {
    ChildEvent::ReplaceRequested { qty: qty(quantity), px: Some(px("10")) }
}

/// The last transition of a series.
pub(crate) fn after(state: ChildState, events: &[ChildEvent]) -> ChildState {
    events.iter().fold(state, |state, event| transition(&state, event).unwrap().state)
}

/// What happened, one event of each kind: an order of 10,000, fills of 1,000.
pub(crate) fn event_of(kind: ChildEventKind) -> ChildEvent {
    let (full, part, at) = (qty("10000"), qty("1000"), px("10"));
    match kind {
        ChildEventKind::SendIntent => ChildEvent::SendIntent,
        ChildEventKind::PendingNew => ChildEvent::PendingNew,
        ChildEventKind::New => ChildEvent::New,
        ChildEventKind::Trade => ChildEvent::Trade { qty: part, px: at },
        ChildEventKind::Canceled => ChildEvent::Canceled,
        ChildEventKind::Rejected => ChildEvent::Rejected,
        ChildEventKind::Expired => ChildEvent::Expired,
        ChildEventKind::DoneForDay => ChildEvent::DoneForDay,
        ChildEventKind::Stopped => ChildEvent::Stopped,
        ChildEventKind::Suspended => ChildEvent::Suspended,
        ChildEventKind::Calculated => ChildEvent::Calculated,
        ChildEventKind::Restated => ChildEvent::Restated { qty: qty("12000"), px: Some(at) },
        ChildEventKind::CancelRequested => ChildEvent::CancelRequested,
        ChildEventKind::PendingCancel => ChildEvent::PendingCancel,
        ChildEventKind::CancelRejected => ChildEvent::CancelRejected,
        ChildEventKind::ReplaceRequested => ChildEvent::ReplaceRequested { qty: full, px: Some(at) },
        ChildEventKind::PendingReplace => ChildEvent::PendingReplace,
        ChildEventKind::Replaced => ChildEvent::Replaced { qty: full, px: Some(at) },
        ChildEventKind::ReplaceRejected => ChildEvent::ReplaceRejected,
        ChildEventKind::TradeCancel => ChildEvent::TradeCancel { qty: part, px: at, leaves_return: true },
        ChildEventKind::TradeCorrect => {
            ChildEvent::TradeCorrect { old_qty: part, old_px: at, qty: part, px: px("11"), leaves_return: true }
        }
        ChildEventKind::Unknown => ChildEvent::Unknown,
        ChildEventKind::UnknownResolved => ChildEvent::UnknownResolved(Resolution::Working),
    }
}

/// An order of 10,000 in a status, 2,000 of it filled where the status can have fills; not yet sent where the
/// status is PENDING_NEW.
pub(crate) fn state_in(status: OrdStatus) -> ChildState {
    let approved = order("10000");
    let working = after(approved, &[ChildEvent::SendIntent, ChildEvent::PendingNew, ChildEvent::New]);
    let part = after(working, &[trade("2000")]);
    match status {
        OrdStatus::PendingNew => approved,
        OrdStatus::New => working,
        OrdStatus::PartiallyFilled => part,
        OrdStatus::Filled => after(part, &[trade("8000")]),
        OrdStatus::DoneForDay => after(part, &[ChildEvent::DoneForDay]),
        OrdStatus::Canceled => after(part, &[ChildEvent::Canceled]),
        OrdStatus::PendingCancel => after(part, &[ChildEvent::CancelRequested]),
        OrdStatus::Stopped => after(part, &[ChildEvent::Stopped]),
        OrdStatus::Rejected => after(approved, &[ChildEvent::Rejected]),
        OrdStatus::Suspended => after(part, &[ChildEvent::Suspended]),
        OrdStatus::Calculated => after(part, &[ChildEvent::Calculated]),
        OrdStatus::Expired => after(part, &[ChildEvent::Expired]),
        OrdStatus::PendingReplace => after(part, &[replace_requested("12000")]),
        OrdStatus::Unknown => after(part, &[ChildEvent::Unknown]),
    }
}
