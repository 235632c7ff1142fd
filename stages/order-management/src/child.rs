//! A child order: how it is stored, what a report says of it, how an event shows it.

use fillstream_domain::order_state::{ChildEvent, ChildSnapshot, ChildState, Resolution, Transition, transition};
use fillstream_domain::{ExecType, NumberError, OrdStatus, Price, Quantity};
use fillstream_schemas::execution::{ChildUpdate, ExecutionReport};
use fillstream_schemas::state::{OmsChild, OmsExecution};

use crate::parent::{product_of, sum_of};
use crate::reason::Reason;

/// Why a report does not change its child: the reason and words.
pub(crate) type Fault = (Reason, String);

/// A child as it is routed; its state is not set.
pub(crate) fn routed(child: OmsChild) -> Result<(OmsChild, ChildState), NumberError> {
    let state = ChildState::approved(child.ord_qty, child.limit_price)?;
    Ok((stored(&child, &state), state))
}

/// The state of a child.
pub(crate) fn state(child: &OmsChild) -> Result<ChildState, Fault> {
    let snapshot = ChildSnapshot {
        ord_qty: child.ord_qty,
        limit_px: child.limit_price,
        fills: sum_of(&child.fill_product, child.fill_qty),
        withdrawn: child.withdrawn_qty,
        sent: child.sent,
        accepted: child.accepted,
        pending_cancels: u32::try_from(child.pending_cancels).unwrap_or(0),
        pending_replace: child.pending_replace_qty.map(|qty| (qty, child.pending_replace_px)),
        done_for_day: child.done_for_day,
        calculated: child.calculated,
        stopped: child.stopped,
        suspended: child.suspended,
        unknown: child.unknown,
        ended: child.ended,
    };
    ChildState::from_snapshot(&snapshot).map_err(|e| (Reason::IllegalReport, format!("child {}: {e}", child.cl_ord_id)))
}

/// The child with this state.
pub(crate) fn stored(child: &OmsChild, state: &ChildState) -> OmsChild {
    let snapshot = state.snapshot();
    OmsChild {
        ord_qty: snapshot.ord_qty,
        limit_price: snapshot.limit_px,
        fill_product: product_of(snapshot.fills),
        fill_qty: snapshot.fills.quantity(),
        withdrawn_qty: snapshot.withdrawn,
        sent: snapshot.sent,
        accepted: snapshot.accepted,
        pending_cancels: i32::try_from(snapshot.pending_cancels).unwrap_or(i32::MAX),
        pending_replace_qty: snapshot.pending_replace.map(|(qty, _)| qty),
        pending_replace_px: snapshot.pending_replace.and_then(|(_, px)| px),
        done_for_day: snapshot.done_for_day,
        calculated: snapshot.calculated,
        stopped: snapshot.stopped,
        suspended: snapshot.suspended,
        unknown: snapshot.unknown,
        ended: snapshot.ended,
        ..child.clone()
    }
}

/// What an event makes of a child.
pub(crate) fn apply(state: &ChildState, event: &ChildEvent) -> Result<Transition, Fault> {
    transition(state, event).map_err(|e| (Reason::IllegalReport, format!("{e}: {}", e.cause)))
}

/// What a report says of its child; `None`: nothing new. `amended` is the fill that a bust or correction is about.
pub(crate) fn read(
    report: &ExecutionReport,
    state: &ChildState,
    amended: Option<&OmsExecution>,
) -> Result<Option<ChildEvent>, Fault> {
    let leaves_return = report.leaves_qty > state.leaves_qty();
    let (qty, px) = (report.ord_qty, state.limit_px());
    Ok(Some(match report.exec_type {
        ExecType::Trade => {
            let (qty, px) = figures(report)?;
            ChildEvent::Trade { qty, px }
        }
        ExecType::TradeCancel => {
            let (qty, px) = booked(report, amended)?;
            ChildEvent::TradeCancel { qty, px, leaves_return }
        }
        ExecType::TradeCorrect => {
            let (old_qty, old_px) = booked(report, amended)?;
            let (qty, px) = figures(report)?;
            ChildEvent::TradeCorrect { old_qty, old_px, qty, px, leaves_return }
        }
        ExecType::OrderStatus => return Ok(status_answer(report, state)),
        // Ours: the gateway says so when nobody can tell.
        _ if report.ord_status == OrdStatus::Unknown => ChildEvent::Unknown,
        ExecType::New => ChildEvent::New,
        ExecType::PendingNew => ChildEvent::PendingNew,
        ExecType::Canceled => ChildEvent::Canceled,
        // With the order it was about it is the refusal of a request, not of the order.
        ExecType::Rejected if report.orig_cl_ord_id.is_some() && state.is_replace_pending() => {
            ChildEvent::ReplaceRejected
        }
        ExecType::Rejected if report.orig_cl_ord_id.is_some() => ChildEvent::CancelRejected,
        ExecType::Rejected => ChildEvent::Rejected,
        ExecType::Expired => ChildEvent::Expired,
        ExecType::DoneForDay => ChildEvent::DoneForDay,
        ExecType::Stopped => ChildEvent::Stopped,
        ExecType::Suspended => ChildEvent::Suspended,
        ExecType::Calculated => ChildEvent::Calculated,
        ExecType::Restated => ChildEvent::Restated { qty, px },
        ExecType::PendingCancel => ChildEvent::PendingCancel,
        ExecType::PendingReplace => ChildEvent::PendingReplace,
        ExecType::Replaced => ChildEvent::Replaced { qty, px },
    }))
}

fn figures(report: &ExecutionReport) -> Result<(Quantity, Price), Fault> {
    match (report.last_qty, report.last_px) {
        (Some(qty), Some(px)) if qty.is_positive() => Ok((qty, px)),
        (qty, px) => {
            let text = format!("{} {} with quantity {qty:?}, price {px:?}", report.exec_type, report.exec_id);
            Err((Reason::MalformedFill, text))
        }
    }
}

fn booked(report: &ExecutionReport, amended: Option<&OmsExecution>) -> Result<(Quantity, Price), Fault> {
    amended.filter(|fill| fill.booked).and_then(|fill| Some((fill.last_qty?, fill.last_px?))).ok_or_else(|| {
        let text = format!("{} {} is about a fill that does not count", report.exec_type, report.exec_id);
        (Reason::IllegalReport, text)
    })
}

// The answer to a status request. Fills it mentions come as trades of their own.
fn status_answer(report: &ExecutionReport, state: &ChildState) -> Option<ChildEvent> {
    let unknown = state.status() == OrdStatus::Unknown;
    let resolved = |resolution| Some(ChildEvent::UnknownResolved(resolution));
    match report.ord_status {
        OrdStatus::Unknown => Some(ChildEvent::Unknown),
        OrdStatus::Canceled if unknown => resolved(Resolution::Canceled),
        OrdStatus::Canceled => Some(ChildEvent::Canceled),
        OrdStatus::Expired if unknown => resolved(Resolution::Expired),
        OrdStatus::Expired => Some(ChildEvent::Expired),
        OrdStatus::Rejected if unknown => resolved(Resolution::NeverArrived),
        OrdStatus::Rejected => Some(ChildEvent::Rejected),
        OrdStatus::DoneForDay => Some(ChildEvent::DoneForDay),
        OrdStatus::Calculated => Some(ChildEvent::Calculated),
        OrdStatus::Stopped => Some(ChildEvent::Stopped),
        OrdStatus::Suspended => Some(ChildEvent::Suspended),
        OrdStatus::PendingNew => Some(ChildEvent::PendingNew),
        OrdStatus::PendingCancel => Some(ChildEvent::PendingCancel),
        OrdStatus::New | OrdStatus::PartiallyFilled | OrdStatus::Filled | OrdStatus::PendingReplace if unknown => {
            resolved(Resolution::Working)
        }
        OrdStatus::New => Some(ChildEvent::New),
        OrdStatus::PartiallyFilled | OrdStatus::Filled | OrdStatus::PendingReplace => None,
    }
}

/// The child as an event shows it.
pub(crate) fn update(child: &OmsChild, state: &ChildState) -> ChildUpdate {
    ChildUpdate {
        cl_ord_id: child.cl_ord_id.clone(),
        account_id: child.account_id.clone(),
        broker: child.broker.clone(),
        venue: child.venue.clone(),
        session: child.session.clone(),
        slice_no: child.slice_no,
        leg: child.leg,
        ord_status: state.status(),
        ord_qty: state.ord_qty(),
        cum_qty: state.cum_qty(),
        leaves_qty: state.leaves_qty(),
        limit_price: state.limit_px(),
        ..ChildUpdate::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn child() -> (OmsChild, ChildState) {
        let child = OmsChild { ord_qty: "1000".parse().unwrap(), limit_price: "5".parse().ok(), ..OmsChild::default() };
        routed(child).unwrap()
    }

    fn arb_event() -> impl Strategy<Value = ChildEvent> {
        let qty = (1_i64..400).prop_map(|q| Quantity::from_int(q).unwrap());
        let px = (-3_i128..2_000_000_000).prop_map(|p| Price::from_unscaled(p).unwrap());
        let trade = (qty.clone(), px.clone()).prop_map(|(qty, px)| ChildEvent::Trade { qty, px });
        let terms = (qty, px);
        prop_oneof![
            8 => trade,
            1 => (terms.clone(), any::<bool>())
                .prop_map(|((qty, px), leaves_return)| ChildEvent::TradeCancel { qty, px, leaves_return }),
            1 => (terms.clone(), terms.clone(), any::<bool>()).prop_map(|((old_qty, old_px), (qty, px), leaves_return)| {
                ChildEvent::TradeCorrect { old_qty, old_px, qty, px, leaves_return }
            }),
            1 => terms.clone().prop_map(|(qty, px)| ChildEvent::ReplaceRequested { qty, px: Some(px) }),
            1 => terms.clone().prop_map(|(qty, px)| ChildEvent::Replaced { qty, px: Some(px) }),
            1 => terms.prop_map(|(qty, _)| ChildEvent::Restated { qty, px: None }),
            6 => prop::sample::select(vec![
                ChildEvent::SendIntent, ChildEvent::PendingNew, ChildEvent::New, ChildEvent::Canceled,
                ChildEvent::Rejected, ChildEvent::Expired, ChildEvent::DoneForDay, ChildEvent::Stopped,
                ChildEvent::Suspended, ChildEvent::Calculated, ChildEvent::CancelRequested, ChildEvent::PendingCancel,
                ChildEvent::CancelRejected, ChildEvent::PendingReplace, ChildEvent::ReplaceRejected, ChildEvent::Unknown,
                ChildEvent::UnknownResolved(Resolution::NeverArrived), ChildEvent::UnknownResolved(Resolution::Working),
                ChildEvent::UnknownResolved(Resolution::Canceled), ChildEvent::UnknownResolved(Resolution::Expired),
            ]),
        ]
    }

    proptest! {
        #[test]
        fn what_is_stored_gives_the_state_back(events in prop::collection::vec(arb_event(), 0..60)) {
            let (mut child, mut reached) = child();
            for event in events {
                if let Ok(t) = apply(&reached, &event) {
                    reached = t.state;
                    child = stored(&child, &reached);
                }
                prop_assert_eq!(state(&child).unwrap(), reached);
            }
        }
    }

    #[test]
    fn every_kind_of_report_is_read_as_its_event() {
        let (_, state) = child();
        for exec_type in ExecType::ALL {
            let report = ExecutionReport {
                exec_type: *exec_type,
                ord_status: OrdStatus::New,
                last_qty: Quantity::from_int(1).ok(),
                last_px: Price::from_int(2).ok(),
                ..ExecutionReport::default()
            };
            let fill = OmsExecution {
                booked: true,
                last_qty: Quantity::from_int(1).ok(),
                last_px: Price::from_int(2).ok(),
                ..OmsExecution::default()
            };
            let event = read(&report, &state, Some(&fill)).unwrap().unwrap();
            let expected = if *exec_type == ExecType::OrderStatus { "NEW" } else { exec_type.as_str() };
            assert_eq!(event.kind().as_str(), expected);
        }
    }
}
