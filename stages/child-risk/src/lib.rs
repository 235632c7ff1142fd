//! Child risk: every leg of a routing plan at its own moment. What passes becomes a child order with its checks, the
//! quote used and an approval hash; what does not becomes a risk alert, one a leg.
//!
//! It also turns the cancel of a parent order (asked for, or by expiry) into one cancel for each open child. Cancels
//! always pass, killed or not. Open children of an order never hold more than the order has left: after a replace by less,
//! the youngest are cancelled until the others fit, and those that the new limit forbids.
//!
//! Fills beyond what was ordered, which order-management books and counts apart, become a critical risk alert each.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod config;
mod hash;
mod reason;
mod rules;
mod surplus;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::{AccountId, ClOrdId, IdError, OrderId, Quantity};
use fillstream_pre_trade_risk::checks::{Checks, Held, units};
use fillstream_reference::{Controls, MarketTable, Quote, ReferenceData};
use fillstream_schemas::engine::NoTimer;
use fillstream_schemas::execution::{
    AlertSeverity, ChildAction, ChildOrder, ChildUpdate, OrderEvent, OrderEventType, ParentStatus, RiskAlert,
    RiskAlertType, RouteLeg, RoutingPlan,
};
use fillstream_schemas::state::{ChildRiskChild, ChildRiskOrder};

pub use config::Config;
pub use hash::approval_hash;
pub use reason::Reason;
use rules::{Parent, World};

/// Attempts of a leg that are looked through for the one that a ClOrdID is from.
const MAX_ATTEMPTS: u32 = 64;

inputs! {
    /// What the stage reads.
    pub enum In {
        Plan(RoutingPlan) = "execution.routing-plans.v1",
        Order(OrderEvent) = "execution.orders.v1",
    }
}

outputs! {
    /// What the stage writes.
    pub enum Out {
        Child(ChildOrder) = "execution.child-orders.v1",
        Alert(RiskAlert) = "execution.risk-alerts.v1",
    }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Parent orders that have not ended, or whose children have not.
        orders: ChildRiskOrder = "orders",
        /// Approved children of these orders, by order and ClOrdID.
        children: ChildRiskChild = "children"
    }
}

/// The child-risk stage.
pub struct ChildRisk {
    config: Config,
}

type Fx<'a> = Effects<'a, ChildRisk>;

impl ChildRisk {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }

    fn on_leg(&self, plan: &RoutingPlan, leg: &RouteLeg, state: &mut State, fx: &mut Fx<'_>) {
        let key = child_key(&plan.order_id, &leg.cl_ord_id);
        let mut checks = Checks::new(format!("portfolio/{}", plan.portfolio_id));
        let parent = Parent {
            order: state.orders.get(&plan.order_id),
            held: held(state, &plan.order_id),
            children: children(state, &plan.order_id).count(),
            max_children: usize::try_from(self.config.max_children_per_order).unwrap_or(usize::MAX),
            is_used: state.children.get(&key).is_some(),
        };
        rules::check_parent(plan, leg, &parent, &mut checks);
        let tables = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>()).zip(fx.table::<Controls>());
        checks.that("tables", Reason::TableUnavailable.as_str(), tables.is_some());
        let quote = tables.and_then(|((market, data), controls)| {
            World { market, data, controls, now: fx.now() }.check(plan, leg, &mut checks)
        });
        if checks.passed() {
            state.children.put(&key, approved(plan, leg));
            emit_child(new_order(plan, leg, checks, quote.as_ref(), fx), fx);
        } else {
            emit_alert(refusal(plan, leg, parent.is_used, checks, fx), fx);
        }
    }

    fn on_order(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        if event.event_type == OrderEventType::Overfill {
            // First of all: it may come long after the order has ended and been forgotten here.
            emit_alert(overfill(event, fx), fx);
        }
        let before = match (event.event_type, state.orders.get(&event.order_id)) {
            (_, Some(order)) => order.clone(),
            (OrderEventType::Created, None) => followed(event),
            // Refused before risk, or long gone.
            (_, None) => return Ok(()),
        };
        let asked = event.event_type == OrderEventType::CancelRequested || event.status == ParentStatus::CancelPending;
        let target_qty = surplus::target(&before, event);
        let order = ChildRiskOrder {
            leaves_qty: surplus::leaves(target_qty, event),
            status: event.status,
            is_suspended: event.is_suspended,
            target_qty,
            is_cancelling: before.is_cancelling || asked,
            ..before
        };
        if let Some(update) = &event.child {
            take_update(&event.order_id, update, state);
        }
        let ended = rules::has_ended(order.status);
        if order.is_cancelling || ended {
            cancel_open(&event.order_id, state, fx)?;
        } else if order.target_qty.is_some() || order.is_suspended {
            let suspends = order.is_suspended && self.config.cancel_on_suspend;
            surplus::cancel_surplus(&order, event, suspends, state, fx)?;
        }
        if ended && held(state, &event.order_id).is_zero() {
            forget(&event.order_id, state);
        } else if state.orders.get(&event.order_id) != Some(&order) {
            state.orders.put(&event.order_id, order);
        }
        Ok(())
    }
}

impl Stage for ChildRisk {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = NoTimer;

    const NAME: &'static str = "child-risk";
    const DOC: &'static str =
        "checks each routed child at its own moment, signs it, and cancels children of cancelled orders";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>(), TableDecl::of::<Controls>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match &record.value {
            In::Plan(plan) => {
                let asked = |child: &ChildRiskChild| plan.cancel_cl_ord_ids.contains(&child.cl_ord_id);
                cancel_those(&plan.order_id, asked, state, fx)?;
                plan.venue_allocations.iter().for_each(|leg| self.on_leg(plan, leg, state, fx));
                Ok(())
            }
            In::Order(event) => self.on_order(event, state, fx),
        }
    }

    fn on_timer(&self, _: &Timer<NoTimer>, _: &mut State, _: &mut Fx<'_>) -> Result<(), Poison> {
        Ok(())
    }
}

fn child_key(order_id: &str, cl_ord_id: &str) -> String {
    format!("{order_id}/{cl_ord_id}")
}

fn children<'a>(state: &'a State, order_id: &'a str) -> impl Iterator<Item = (&'a str, &'a ChildRiskChild)> {
    // The prefix alone would take the children of an order `O/1` for those of `O`.
    state.children.with_prefix(order_id).filter(move |(_, child)| child.order_id == order_id)
}

// Units that the open children of an order hold.
fn held(state: &State, order_id: &str) -> Quantity {
    let sum = Quantity::sum(children(state, order_id).map(|(_, child)| child.held_qty));
    // More than any quantity is more than any leaves.
    sum.unwrap_or(Quantity::MAX)
}

fn followed(event: &OrderEvent) -> ChildRiskOrder {
    ChildRiskOrder {
        order_id: event.order_id.clone(),
        portfolio_id: event.portfolio_id.clone(),
        instrument_id: event.instrument_id.clone(),
        side: event.side,
        leaves_qty: event.leaves_qty,
        status: event.status,
        is_cancelling: false,
        is_suspended: event.is_suspended,
        target_qty: None,
    }
}

// What a report said about a child. A child that was never approved holds nothing.
fn take_update(order_id: &str, update: &ChildUpdate, state: &mut State) {
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
        state.children.put(&key, child);
    }
}

// Writes one cancel for each child that is open and has none yet.
fn cancel_open(order_id: &str, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
    cancel_those(order_id, |_| true, state, fx)
}

// The same, for those that are asked for by their ClOrdID.
fn cancel_those(
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
fn cancel(key: &str, child: ChildRiskChild, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
    let cl_ord_id = cancel_id(&child).map_err(|e| Poison::new("ID", e.to_string()))?;
    let order = ChildOrder {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        action: ChildAction::Cancel,
        cl_ord_id,
        orig_cl_ord_id: Some(child.cl_ord_id.clone()),
        ..wire(&child)
    };
    state.children.put(key, ChildRiskChild { cancel_sent: true, ..child });
    emit_child(order, fx);
    Ok(())
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

fn forget(order_id: &str, state: &mut State) {
    let keys: Vec<String> = children(state, order_id).map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        state.children.remove(&key);
    }
    state.orders.remove(order_id);
}

fn approved(plan: &RoutingPlan, leg: &RouteLeg) -> ChildRiskChild {
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

fn new_order(plan: &RoutingPlan, leg: &RouteLeg, checks: Checks, quote: Option<&Quote>, fx: &mut Fx<'_>) -> ChildOrder {
    ChildOrder {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        action: ChildAction::New,
        checks: checks.into_rows(),
        quote: quote.map(Quote::evidence),
        ..wire(&approved(plan, leg))
    }
}

fn emit_child(mut child: ChildOrder, fx: &mut Fx<'_>) {
    child.approval_hash = approval_hash(&child);
    let headers = vec![("venue", child.venue.clone()), ("broker", child.broker.clone())];
    fx.emit_with(child, headers);
}

fn emit_alert(alert: RiskAlert, fx: &mut Fx<'_>) {
    let severity = alert.severity.as_str().to_owned();
    fx.emit_with(alert, vec![("severity", severity)]);
}

// All fills against the quantity ordered. Where only a child was overfilled the parent's check passes; the words of
// order-management, which name fill and child, say by how much.
fn overfill(event: &OrderEvent, fx: &mut Fx<'_>) -> RiskAlert {
    let mut checks = Checks::new(format!("order/{}", event.order_id));
    let filled = event.cum_qty.checked_add(event.overfill_qty).and_then(units);
    match filled.and_then(|figure| Ok(Held { figure, limit: units(event.ord_qty)? })) {
        Ok(held) => checks.at_most("filled_quantity", RiskAlertType::Overfill.as_str(), held, "units"),
        Err(_) => checks.that("filled_quantity", Reason::FigureOutOfRange.as_str(), false),
    };
    let words = [event.reason_text.clone(), Some(checks.text())];
    RiskAlert {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        portfolio_id: event.portfolio_id.clone(),
        account_id: event.account_id.clone(),
        instrument_id: Some(event.instrument_id.clone()),
        alert_type: RiskAlertType::Overfill,
        severity: AlertSeverity::Critical,
        order_id: Some(event.order_id.clone()),
        quantity: Some(event.overfill_qty),
        code: RiskAlertType::Overfill.as_str().to_owned(),
        text: words.into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "),
        checks: checks.into_rows(),
        ..RiskAlert::default()
    }
}

// A ClOrdID that was used names the child that was approved with it: the alert must not say that this one is refused.
fn refusal(plan: &RoutingPlan, leg: &RouteLeg, is_used: bool, checks: Checks, fx: &mut Fx<'_>) -> RiskAlert {
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
