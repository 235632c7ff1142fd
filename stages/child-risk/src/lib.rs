//! Child risk: every leg of a routing plan at its own moment. What passes becomes a child order with its checks, the
//! quote used and an approval hash; what does not becomes a risk alert, one a leg.
//!
//! It also turns the cancel of a parent order (asked for, or by expiry) into one cancel for each open child. Cancels
//! always pass, killed or not. Open children of an order never hold more than the order has left: after a replace by less,
//! the youngest are cancelled until the others fit, and those that the new limit forbids.
//!
//! Fills beyond what was ordered, which order-management books and counts apart, become a critical risk alert each.
//!
//! Each account has a book of its own here: cash and positions from its record when its first child is checked, moved by
//! every fill, bust and correction from then on, with what its open children hold. Counters of messages and children over
//! windows of the clock, and the strategies that a throttle has disabled, are state as well: no restart clears them.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod accounts;
mod acks;
mod alerts;
mod books;
mod children;
mod config;
mod desk;
mod hash;
mod overrides;
mod rates;
mod reason;
mod rules;
mod surplus;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_pre_trade_risk::checks::Checks;
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::execution::{
    ChildOrder, ControlAck, ControlProbe, OrderEvent, OrderEventType, ParentStatus, RiskAlert, RiskOverride, RouteLeg,
    RoutingPlan,
};
use fillstream_schemas::state::{
    ChildRiskChild, ChildRiskHold, ChildRiskLatch, ChildRiskOrder, ChildRiskOverride, ChildRiskRate, ChildRiskTimer,
    ChildRiskTimerKind, RiskPortfolio, RiskReservation,
};

use children::{
    approved, cancel_open, cancel_those, child_key, children, emit_child, forget, held, new_order, put_child,
    take_update,
};
pub use config::{Config, Gate, Overrides};
use desk::Desk;
pub use hash::approval_hash;
pub use overrides::OverrideAnswer;
pub use reason::Reason;
use rules::{Parent, World};

inputs! {
    /// What the stage reads.
    pub enum In {
        Plan(RoutingPlan) = "execution.routing-plans.v1",
        Order(OrderEvent) = "execution.orders.v1",
        Probe(ControlProbe) = "execution.control-probes.v1",
        Override(RiskOverride) = "execution.risk-overrides.v1",
    }
}

outputs! {
    /// What the stage writes.
    pub enum Out {
        Child(ChildOrder) = "execution.child-orders.v1",
        Alert(RiskAlert) = "execution.risk-alerts.v1",
        Ack(ControlAck) = "execution.controls-acks.v1",
    }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Parent orders that have not ended, or whose children have not.
        orders: ChildRiskOrder = "orders",
        /// Approved children of these orders, by order and ClOrdID.
        children: ChildRiskChild = "children",
        /// What open children hold of their accounts, by portfolio, account, order and ClOrdID.
        holds: ChildRiskHold = "holds",
        /// Cash and positions, by account.
        accounts: RiskPortfolio = "accounts",
        /// What is booked of each order, by portfolio, order and account; kept for a while after the order has ended.
        fills: RiskReservation = "fills",
        /// Messages and children counted over windows, by what a limit is about.
        rates: ChildRiskRate = "rates",
        /// Strategies that the throttle of repeated executions has disabled, by portfolio and strategy.
        latches: ChildRiskLatch = "latches",
        /// Overrides in force, by order and code.
        overrides: ChildRiskOverride = "overrides"
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
        let plan = &plan.of_leg(leg);
        let key = child_key(&plan.order_id, &leg.cl_ord_id);
        let mut checks = Checks::new(format!("portfolio/{}", plan.portfolio_id));
        let parent = Parent {
            order: state.orders.get(&plan.order_id),
            held: held(state, &plan.order_id),
            children: children(state, &plan.order_id).count(),
            max_children: usize::try_from(self.config.max_children_per_order).unwrap_or(usize::MAX),
            is_used: state.children.get(&key).is_some(),
        };
        let is_used = parent.is_used;
        rules::check_parent(plan, leg, &parent, &mut checks);
        let tables = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>()).zip(fx.table::<Controls>());
        checks.that("tables", Reason::TableUnavailable.as_str(), tables.is_some());
        let approval = tables.and_then(|((market, data), controls)| {
            let world = World { market, data, controls, now: fx.now() };
            let found = world.check(plan, leg, &self.config.gate, &mut checks);
            Desk { world, plan, leg, fee_reserve: self.config.fee_reserve_bps }.check(found, state, &mut checks)
        });
        overrides::apply(&plan.order_id, state, fx.now(), &mut checks);
        match approval.filter(|_| checks.passed()) {
            Some(approval) => {
                desk::approve(&approval, state, fx.now());
                let quote = approval.quote.clone();
                let child = approved(plan, leg, approval);
                let order = new_order(&child, checks, &quote, fx);
                put_child(&key, child, state);
                emit_child(order, fx);
            }
            None => {
                if let Some(latch) = desk::latch(plan, &checks, fx.now()) {
                    alerts::emit(alerts::disabled(plan, &latch, fx), fx);
                    state.latches.put(&desk::latch_key(plan), latch);
                }
                alerts::emit(alerts::refusal(plan, leg, is_used, checks, fx), fx);
            }
        }
    }

    fn on_order(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        if event.event_type == OrderEventType::Overfill {
            // First of all: it may come long after the order has ended and been forgotten here.
            alerts::emit(alerts::overfill(event, fx), fx);
        }
        books::take_fills(event, state, fx);
        let before = match (event.event_type, state.orders.get(&event.order_id)) {
            (_, Some(order)) => order.clone(),
            (OrderEventType::Created, None) => followed(event),
            // Refused before risk, or long gone.
            (_, None) => return Ok(()),
        };
        let before_status = before.status;
        let asked = event.event_type == OrderEventType::CancelRequested || event.status == ParentStatus::CancelPending;
        let target_qty = surplus::target(&before, event);
        let order = ChildRiskOrder {
            leaves_qty: surplus::leaves(target_qty, event),
            status: event.status,
            is_suspended: event.is_suspended,
            target_qty,
            is_cancelling: before.is_cancelling || asked,
            ord_qty: Some(event.ord_qty),
            terms_revision: rules::terms_revision(&before, event),
            ..before
        };
        if let Some(update) = &event.child {
            take_update(&event.order_id, update, state);
        }
        let ended = rules::has_ended(order.status);
        if ended && !rules::has_ended(before_status) {
            self.close_books(event, state, fx)?;
        }
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
    type Timer = ChildRiskTimer;

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
            In::Override(asked) => {
                overrides::take(asked, &self.config.overrides, state, fx);
                Ok(())
            }
            In::Probe(probe) => {
                acks::answer(probe, state, fx);
                Ok(())
            }
        }
    }

    fn on_timer(&self, timer: &Timer<ChildRiskTimer>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match timer.payload.kind {
            ChildRiskTimerKind::Purge => self.purge(&timer.payload.subject, timer.due, state),
            ChildRiskTimerKind::Probe => {
                timer.payload.probe.iter().for_each(|probe| acks::answer(probe, state, fx));
                Ok(())
            }
        }
    }
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
        ord_qty: Some(event.ord_qty),
        terms_revision: 0,
    }
}
