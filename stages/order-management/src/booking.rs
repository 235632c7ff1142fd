//! What a report does to the sums of its order.

use fillstream_core::mutant;
use fillstream_domain::order_state::{ChildState, Transition};
use fillstream_domain::{ExecType, Money, NumberError, PriceQuantitySum, Quantity, TimestampMicros};
use fillstream_schemas::execution::ExecutionReport;
use fillstream_schemas::state::{OmsExecution, OmsOrder};

use crate::accounts::fill;
use crate::child::Fault;
use crate::parent::{fills, ordered, set_fills};
use crate::reason::Reason;

pub(crate) fn figure_fault(e: NumberError) -> Fault {
    (Reason::FigureOutOfRange, e.to_string())
}

pub(crate) fn unchanged(state: &ChildState) -> Transition {
    let status = state.status();
    let overfilled = Quantity::ZERO;
    Transition { state: *state, from: status, to: status, changed: false, late: false, overfilled }
}

pub(crate) fn says_the_same(known: &OmsExecution, report: &ExecutionReport) -> bool {
    known.exec_type == report.exec_type && known.last_qty == report.last_qty && known.last_px == report.last_px
}

/// The order after one child went from `old` to `new`: the sums over its children stay sums.
pub(crate) fn with_child(
    order: &OmsOrder,
    account_id: &str,
    (old, new): (&ChildState, &ChildState),
) -> Result<OmsOrder, NumberError> {
    let mut order = order.clone();
    fill(&mut order, account_id, old, new)?;
    order.held_qty = order.held_qty.checked_add(new.held_qty())?.checked_sub(old.held_qty())?;
    let (sum, was, is) = (fills(&order), old.fills(), new.fills());
    let product = sum.product().checked_add(is.product())?.checked_sub(was.product())?;
    let quantity = sum.quantity().checked_add(is.quantity())?.checked_sub(was.quantity())?;
    let quantity = Quantity::from_unscaled(mutant::through_float(quantity.unscaled()))?;
    set_fills(&mut order, PriceQuantitySum::from_parts(product, quantity));
    order.ord_qty = ordered(&order)?;
    match (old.status().is_terminal(), new.status().is_terminal()) {
        (false, true) => order.open_children = order.open_children.saturating_sub(1),
        (true, false) => order.open_children = order.open_children.saturating_add(1),
        (false, false) | (true, true) => {}
    }
    Ok(order)
}

/// Adds a report's fee. A busted or corrected fill's fee is taken back; a correction without one keeps it.
pub(crate) fn add_fees(
    order: &mut OmsOrder,
    report: &ExecutionReport,
    amended: Option<&OmsExecution>,
) -> Result<(), NumberError> {
    let keeps = report.exec_type == ExecType::TradeCorrect && report.fee.is_none();
    let back = amended.filter(|_| !keeps).and_then(|fill| Some((-fill.fee?, fill.fee_currency.clone())));
    let new = report.fee.map(|fee| (fee, report.fee_currency.clone()));
    for (fee, currency) in back.into_iter().chain(new) {
        let currency = currency.unwrap_or_else(|| order.terms.quote_currency.clone());
        let sum = order.fees.entry(currency).or_insert(Money::ZERO);
        *sum = sum.checked_add(fee)?;
    }
    Ok(())
}

pub(crate) fn note_times(order: &mut OmsOrder, report: &ExecutionReport) {
    let earliest =
        |known: Option<TimestampMicros>| Some(known.map_or(report.transact_at, |k| k.min(report.transact_at)));
    if matches!(report.exec_type, ExecType::New | ExecType::Trade) {
        order.first_ack_at = earliest(order.first_ack_at);
    }
    if report.exec_type == ExecType::Trade {
        order.first_fill_at = earliest(order.first_fill_at);
    }
}
