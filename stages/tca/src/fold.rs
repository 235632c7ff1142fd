//! What order events make of the state of an order.

use std::collections::BTreeMap;

use fillstream_domain::{AvgPrice, Money, NumberError, Quantity, Rounding, TimestampMicros, mul_div_i128};
use fillstream_schemas::execution::{ChildUpdate, OrderEvent, OrderTerms};
use fillstream_schemas::state::{TcaChild, TcaOrder};

use crate::child::{self, Change};

/// Stands for the broker and venue of figures that no child was named for.
const UNATTRIBUTED: &str = "UNATTRIBUTED";

/// An order as its creation tells it.
pub(crate) fn created(event: &OrderEvent, terms: &OrderTerms) -> TcaOrder {
    TcaOrder {
        order_id: event.order_id.clone(),
        portfolio_id: event.portfolio_id.clone(),
        account_id: event.account_id.clone(),
        instrument_id: event.instrument_id.clone(),
        side: event.side,
        terms: terms.clone(),
        algorithm: terms.algorithm,
        event_revision: 0,
        ord_qty: event.ord_qty,
        withdrawn_qty: Quantity::ZERO,
        decision_price: AvgPrice::from(terms.decision_price),
        reference: None,
        arrival: None,
        filled_qty: Quantity::ZERO,
        filled_notional: fillstream_domain::Turnover::ZERO,
        overfill_qty: Quantity::ZERO,
        fees: BTreeMap::new(),
        first_child_at: None,
        first_child: None,
        ended_at: None,
        closes_at: None,
        quality_revision: 0,
        finalised_at: None,
        interval: None,
        horizon: None,
        close: None,
        fee_rates: BTreeMap::new(),
    }
}

/// Where the child of an event stands in the store; without a child, where its figures go.
pub(crate) fn child_key(order_id: &str, update: Option<&ChildUpdate>) -> String {
    format!("{order_id}/{}", update.map_or("", |update| update.cl_ord_id.as_str()))
}

fn new_child(order_id: &str, update: Option<&ChildUpdate>) -> TcaChild {
    let named = |name: fn(&ChildUpdate) -> &String| update.map_or_else(|| UNATTRIBUTED.to_owned(), |u| name(u).clone());
    TcaChild {
        order_id: order_id.to_owned(),
        cl_ord_id: update.map(|update| update.cl_ord_id.clone()).unwrap_or_default(),
        broker: named(|update| &update.broker),
        venue: named(|update| &update.venue),
        ..TcaChild::default()
    }
}

/// What an event changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    /// The child to store, if the event is about one or changed figures.
    pub(crate) child: Option<TcaChild>,
    /// Whether quantities, prices or fees changed.
    pub(crate) figures: bool,
}

/// Takes an event's totals and child in. `before` is the child as stored; `added_at` the decision price of quantity that
/// the event adds to the order.
///
/// # Errors
/// Out of range: totals that contradict each other.
pub(crate) fn fold(
    order: &mut TcaOrder,
    event: &OrderEvent,
    before: Option<TcaChild>,
    added_at: AvgPrice,
    keep_fills: usize,
) -> Result<Folded, NumberError> {
    let update = event.child.as_ref();
    let requantified = amend_quantity(order, event.ord_qty, added_at)?;
    order.event_revision = event.revision;
    if event.account_id.is_some() {
        order.account_id.clone_from(&event.account_id);
    }
    if update.is_some() && order.first_child_at.is_none() {
        order.first_child_at = Some(event.timestamp);
    }
    let filled_qty = event.cum_qty.checked_add(event.overfill_qty)?;
    let change = Change::between((order.filled_qty, order.filled_notional), (filled_qty, event.filled_notional));
    order.filled_qty = filled_qty;
    order.filled_notional = event.filled_notional;
    order.overfill_qty = event.overfill_qty;
    let mut child = before.unwrap_or_else(|| new_child(&order.order_id, update));
    if let Some(update) = update {
        child.ord_status = update.ord_status;
    }
    let told = child::book(&mut child, update, change, event.timestamp, keep_fills)?;
    for (currency, fee) in &told {
        child::add_fee(&mut order.fees, currency, *fee)?;
    }
    let corrected = settle_fees(order, &mut child, event)?;
    let figures = requantified || !change.is_none() || corrected;
    let named = update.is_some() || !change.is_none() || corrected;
    Ok(Folded { child: named.then_some(child), figures })
}

/// Trading rule 39: quantity added joins at its own decision price, weighted; quantity taken back is withdrawn.
fn amend_quantity(order: &mut TcaOrder, ord_qty: Quantity, added_at: AvgPrice) -> Result<bool, NumberError> {
    let old = order.ord_qty;
    if ord_qty == old {
        return Ok(false);
    }
    if ord_qty > old {
        let added = ord_qty.checked_sub(old)?;
        let product =
            |px: AvgPrice, qty: Quantity| px.unscaled().checked_mul(qty.unscaled()).ok_or(NumberError::Overflow);
        let sum =
            product(order.decision_price, old)?.checked_add(product(added_at, added)?).ok_or(NumberError::Overflow)?;
        let mean = mul_div_i128(sum, 1, ord_qty.unscaled(), Rounding::HalfEven)?;
        order.decision_price = AvgPrice::from_unscaled(mean)?;
    } else {
        order.withdrawn_qty = order.withdrawn_qty.checked_add(old.checked_sub(ord_qty)?)?;
    }
    order.ord_qty = ord_qty;
    Ok(true)
}

/// The order's total is the authority for the fees of its currency: what it says more or less than the executions told
/// is the child's. Fees of further currencies are known from the executions alone.
fn settle_fees(order: &mut TcaOrder, child: &mut TcaChild, event: &OrderEvent) -> Result<bool, NumberError> {
    let Some(currency) = event.fee_currency.as_deref() else { return Ok(false) };
    let known = order.fees.get(currency).copied().unwrap_or(Money::ZERO);
    let difference = event.fees.checked_sub(known)?;
    if difference.is_zero() {
        return Ok(false);
    }
    child::add_fee(&mut order.fees, currency, difference)?;
    child::add_fee(&mut child.fees, currency, difference)?;
    Ok(true)
}

/// End of the execution interval: the last fill, without fills the terminal event; never before the arrival, should a
/// venue's clock be behind ours.
pub(crate) fn interval_end(order: &TcaOrder, children: &[TcaChild], arrived_at: TimestampMicros) -> TimestampMicros {
    let last_fill = children.iter().filter_map(child::last_fill_at).max();
    let end = if order.filled_qty.is_zero() { order.ended_at } else { last_fill.or(order.ended_at) };
    end.unwrap_or(arrived_at).max(arrived_at)
}

/// End of the order's horizon; of one that waited for its stop, the order's own.
pub(crate) fn horizon_end(order: &TcaOrder, arrived_at: TimestampMicros) -> TimestampMicros {
    if order.terms.ord_type.has_stop() {
        return order.terms.expire_at;
    }
    let end = TimestampMicros::from_micros(arrived_at.micros().saturating_add(order.terms.horizon_us.max(0)));
    end.min(order.terms.expire_at)
}
