//! Risk alerts.

use fillstream_pre_trade_risk::checks::{Checks, Held, units};
use fillstream_schemas::execution::{AlertSeverity, OrderEvent, RiskAlert, RiskAlertType, RouteLeg, RoutingPlan};
use fillstream_schemas::state::ChildRiskLatch;

use crate::Fx;
use crate::reason::Reason;

/// Writes an alert.
pub(crate) fn emit(alert: RiskAlert, fx: &mut Fx<'_>) {
    let severity = alert.severity.as_str().to_owned();
    fx.emit_with(alert, vec![("severity", severity)]);
}

/// All fills against the quantity ordered. Where only a child was overfilled the parent's check passes; the words of
/// order-management, which name fill and child, say by how much.
pub(crate) fn overfill(event: &OrderEvent, fx: &mut Fx<'_>) -> RiskAlert {
    let mut checks = Checks::new(format!("order/{}", event.order_id));
    let filled = event.cum_qty.checked_add(event.overfill_qty).and_then(units);
    match filled.and_then(|figure| Ok(Held { figure, limit: units(event.ord_qty)? })) {
        Ok(held) => checks.at_most("filled_quantity", RiskAlertType::Overfill.as_str(), held, "units"),
        Err(_) => checks.that("filled_quantity", Reason::FigureOutOfRange.as_str(), false),
    };
    let words = [event.reason_text.clone(), Some(checks.text())];
    RiskAlert {
        quantity: Some(event.overfill_qty),
        text: words.into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "),
        checks: checks.into_rows(),
        ..about(event, RiskAlertType::Overfill, fx)
    }
}

/// A fill, bust or correction that no account's book could take: somebody must book it by hand.
pub(crate) fn not_booked(event: &OrderEvent, text: String, fx: &mut Fx<'_>) -> RiskAlert {
    let cl_ord_id = event.child.as_ref().map(|child| child.cl_ord_id.clone());
    let quantity = event.child.as_ref().and_then(|child| child.last_qty);
    RiskAlert { cl_ord_id, quantity, text, ..about(event, RiskAlertType::FillNotBooked, fx) }
}

// A critical alert about an order, its code the name of its type.
fn about(event: &OrderEvent, alert_type: RiskAlertType, fx: &mut Fx<'_>) -> RiskAlert {
    RiskAlert {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        portfolio_id: event.portfolio_id.clone(),
        account_id: event.account_id.clone(),
        instrument_id: Some(event.instrument_id.clone()),
        alert_type,
        severity: AlertSeverity::Critical,
        order_id: Some(event.order_id.clone()),
        code: alert_type.as_str().to_owned(),
        ..RiskAlert::default()
    }
}

/// A strategy that is disabled from here on.
pub(crate) fn disabled(plan: &RoutingPlan, latch: &ChildRiskLatch, fx: &mut Fx<'_>) -> RiskAlert {
    let text = format!(
        "{} {} is disabled until a person re-enables it: child {} of {} {} within the window, {} are allowed",
        latch.scope, latch.scope_id, latch.count, latch.side, latch.instrument_id, latch.max_repeats
    );
    RiskAlert {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        portfolio_id: plan.portfolio_id.clone(),
        account_id: Some(plan.account_id.clone()),
        instrument_id: Some(plan.instrument_id.clone()),
        alert_type: RiskAlertType::StrategyDisabled,
        severity: AlertSeverity::Critical,
        order_id: Some(plan.order_id.clone()),
        code: RiskAlertType::StrategyDisabled.as_str().to_owned(),
        text,
        ..RiskAlert::default()
    }
}

/// A refused leg. A ClOrdID that was used names the child that was approved with it: the alert must not say that this one
/// is refused.
pub(crate) fn refusal(plan: &RoutingPlan, leg: &RouteLeg, is_used: bool, checks: Checks, fx: &mut Fx<'_>) -> RiskAlert {
    let cl_ord_id = (!is_used).then(|| leg.cl_ord_id.clone());
    let severity = if is_used { AlertSeverity::Critical } else { AlertSeverity::Warning };
    let text = if is_used { format!("ClOrdID {}; {}", leg.cl_ord_id, checks.text()) } else { checks.text() };
    RiskAlert {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        portfolio_id: plan.portfolio_id.clone(),
        account_id: Some(plan.account_id.clone()),
        instrument_id: Some(plan.instrument_id.clone()),
        alert_type: RiskAlertType::ChildRejected,
        severity,
        order_id: Some(plan.order_id.clone()),
        cl_ord_id,
        slice_no: Some(plan.slice_no),
        leg: Some(leg.leg),
        quantity: Some(leg.quantity),
        code: checks.codes().into_iter().next().unwrap_or_default(),
        text,
        checks: checks.into_rows(),
    }
}
