//! Approved children: what is kept of them, what goes on the wire, and their cancels.

use fillstream_core::error::Poison;
use fillstream_domain::{AccountId, ClOrdId, IdError, Money, OrderId, Quantity};
use fillstream_pre_trade_risk::checks::Checks;
use fillstream_reference::{Quote, ReferenceData};
use fillstream_schemas::execution::{ChildAction, ChildOrder, ChildUpdate, RouteLeg, RoutingPlan};
use fillstream_schemas::state::{ChildRiskChild, ChildRiskHold};

use crate::desk::Approval;
use crate::hash::approval_hash;
use crate::{Fx, State, overrides, rates};

/// Attempts of a leg that are looked through for the one that a ClOrdID is from.
pub(crate) const MAX_ATTEMPTS: u32 = 64;

/// Key of a child.
pub(crate) fn child_key(order_id: &str, cl_ord_id: &str) -> String {
    format!("{order_id}/{cl_ord_id}")
}

/// Children of an order, ended ones included.
pub(crate) fn children<'a>(state: &'a State, order_id: &'a str) -> impl Iterator<Item = (&'a str, &'a ChildRiskChild)> {
    // The prefix alone would take the children of an order `O/1` for those of `O`.
    state.children.with_prefix(order_id).filter(move |(_, child)| child.order_id == order_id)
}

/// Units that the open children of an order hold.
pub(crate) fn held(state: &State, order_id: &str) -> Quantity {
    let sum = Quantity::sum(children(state, order_id).map(|(_, child)| child.held_qty));
    // More than any quantity is more than any leaves.
    sum.unwrap_or(Quantity::MAX)
}

/// What a report said about a child. A child that was never approved holds nothing.
pub(crate) fn take_update(order_id: &str, update: &ChildUpdate, state: &mut State) {
    let key = child_key(order_id, &update.cl_ord_id);
    let Some(child) = state.children.get(&key) else { return };
    let ended = update.ord_status.is_terminal();
    if !ended && update.leaves_qty.is_zero() {
        // Open without anything to fill: an alarm about a report that told nothing of the child.
        return;
    }
    let held_qty = if ended { Quantity::ZERO } else { update.leaves_qty };
    if child.held_qty != held_qty {
        let child = ChildRiskChild { held_qty, ..child.clone() };
        put_child(&key, child, state);
    }
}

/// Keeps a child, and what it holds of its account as long as it holds anything: a bust may open it again.
pub(crate) fn put_child(key: &str, child: ChildRiskChild, state: &mut State) {
    if let Some(hold) = &child.hold {
        let hold_key = format!("{}{}/{}", account_prefix(hold), hold.order_id, hold.cl_ord_id);
        if child.held_qty.is_zero() {
            state.holds.remove(&hold_key);
        } else {
            state.holds.put(&hold_key, ChildRiskHold { open_qty: child.held_qty, ..hold.clone() });
        }
    }
    state.children.put(key, child);
}

fn account_prefix(hold: &ChildRiskHold) -> String {
    format!("{}/{}/", hold.portfolio_id, hold.account_id)
}

/// Writes one cancel for each child of an order that is open and has none yet.
pub(crate) fn cancel_open(order_id: &str, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
    cancel_those(order_id, |_| true, state, fx)
}

/// The same, for those that are asked for.
pub(crate) fn cancel_those(
    order_id: &str,
    asked: impl Fn(&ChildRiskChild) -> bool,
    state: &mut State,
    fx: &mut Fx<'_>,
) -> Result<(), Poison> {
    let open = children(state, order_id).filter(|(_, c)| !c.held_qty.is_zero() && !c.cancel_sent && asked(c));
    let open: Vec<(String, ChildRiskChild)> = open.map(|(key, child)| (key.to_owned(), child.clone())).collect();
    open.into_iter().try_for_each(|(key, child)| cancel(&key, child, state, fx))
}

// Writes the cancel of one child.
pub(crate) fn cancel(key: &str, child: ChildRiskChild, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
    let cl_ord_id = cancel_id(&child).map_err(|e| Poison::new("ID", e.to_string()))?;
    let order = ChildOrder {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        action: ChildAction::Cancel,
        cl_ord_id,
        orig_cl_ord_id: Some(child.cl_ord_id.clone()),
        ..wire(&child)
    };
    count_cancel(&child, state, fx);
    state.children.put(key, ChildRiskChild { cancel_sent: true, ..child });
    emit_child(order, fx);
    Ok(())
}

// A cancel is a message like any other, but never one too many.
fn count_cancel(child: &ChildRiskChild, state: &mut State, fx: &Fx<'_>) {
    let limit = fx.table::<ReferenceData>().and_then(|data| data.limit(&child.portfolio_id));
    if let Some(limit) = limit {
        let counters = rates::messages(limit, &child.account_id, &child.session);
        rates::note(&counters, Money::ZERO, fx.now(), state);
    }
}

// The child's ClOrdID with the next amendment number.
fn cancel_id(child: &ChildRiskChild) -> Result<String, IdError> {
    let (order, account) = (OrderId::new(&child.order_id)?, AccountId::new(&child.account_id)?);
    let number = |n: i32| u32::try_from(n).unwrap_or_default();
    let derive = |attempt, amendment| {
        ClOrdId::derive(&order, &account, number(child.slice_no), number(child.leg), attempt, amendment)
    };
    let mut attempt = 0;
    while attempt < MAX_ATTEMPTS && derive(attempt, 0)?.as_str() != child.cl_ord_id {
        attempt += 1;
    }
    derive(attempt % MAX_ATTEMPTS, 1).map(|id| id.to_string())
}

/// Forgets an order and its children.
pub(crate) fn forget(order_id: &str, state: &mut State) {
    let keys: Vec<String> = children(state, order_id).map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        state.children.remove(&key);
    }
    overrides::forget(order_id, state);
    state.orders.remove(order_id);
}

/// A child as it is approved.
pub(crate) fn approved(plan: &RoutingPlan, leg: &RouteLeg, approval: Approval) -> ChildRiskChild {
    ChildRiskChild {
        order_id: plan.order_id.clone(),
        cl_ord_id: leg.cl_ord_id.clone(),
        portfolio_id: plan.portfolio_id.clone(),
        account_id: plan.account_id.clone(),
        instrument_id: plan.instrument_id.clone(),
        slice_no: plan.slice_no,
        leg: leg.leg,
        broker: leg.broker.clone(),
        venue: leg.venue.clone(),
        session: leg.session.clone(),
        side: plan.side,
        ord_type: plan.ord_type,
        quantity: leg.quantity,
        limit_price: plan.limit_price,
        time_in_force: plan.time_in_force,
        expire_at: plan.expire_at,
        strategy_id: plan.strategy_id.clone(),
        trader_id: plan.trader_id.clone(),
        held_qty: leg.quantity,
        cancel_sent: false,
        hold: Some(approval.hold),
    }
}

// The instruction that names a child, without what is its own: ids, action, time.
fn wire(child: &ChildRiskChild) -> ChildOrder {
    ChildOrder {
        cl_ord_id: child.cl_ord_id.clone(),
        order_id: child.order_id.clone(),
        portfolio_id: child.portfolio_id.clone(),
        account_id: child.account_id.clone(),
        instrument_id: child.instrument_id.clone(),
        slice_no: child.slice_no,
        leg: child.leg,
        broker: child.broker.clone(),
        venue: child.venue.clone(),
        session: child.session.clone(),
        side: child.side,
        ord_type: child.ord_type,
        quantity: child.quantity,
        limit_price: child.limit_price,
        time_in_force: child.time_in_force,
        expire_at: child.expire_at,
        strategy_id: child.strategy_id.clone(),
        trader_id: child.trader_id.clone(),
        ..ChildOrder::default()
    }
}

/// The instruction to send an approved child.
pub(crate) fn new_order(child: &ChildRiskChild, checks: Checks, quote: &Quote, fx: &mut Fx<'_>) -> ChildOrder {
    ChildOrder {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        action: ChildAction::New,
        checks: checks.into_rows(),
        quote: Some(quote.evidence()),
        ..wire(child)
    }
}

/// Signs and writes an instruction.
pub(crate) fn emit_child(mut child: ChildOrder, fx: &mut Fx<'_>) {
    child.approval_hash = approval_hash(&child);
    let headers = vec![("venue", child.venue.clone()), ("broker", child.broker.clone())];
    fx.emit_with(child, headers);
}
