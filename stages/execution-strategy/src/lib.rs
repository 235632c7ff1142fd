//! Selects an algorithm for each account's part of an approved order and releases the slices of its schedule on durable timers.
//!
//! An algorithm gives a target (the share of the order by time), a price or a condition (`algorithms`); one engine turns that into
//! slices (`release`): whole lots, exact in sum, never what children hold, catch-up capped. MARKET is a schedule of one slot; TWAP,
//! VWAP, IMPLEMENTATION_SHORTFALL and ARRIVAL_PRICE of many; LIMIT and ICEBERG rest and follow the book; SNIPER and POV watch
//! the market. What children leave over is released again a few times. One timer an order: after downtime it fires once and
//! the schedule goes on where it should be. STOP and STOP_LIMIT orders wait for their stop first, whatever the algorithm (`stop`).
//!
//! Every request to cancel the order is answered by a last, empty slice. Slices of an order stay in order through routing, so
//! its plan tells order-management that nothing else is under way. A schedule whose time is over ends with one, too.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod adapt;
mod algorithms;
mod conditions;
pub mod confidence;
pub mod config;
mod event;
mod expect;
mod guards;
mod input;
mod known;
mod plan;
pub mod reason;
pub mod recommend;
mod release;
pub mod rules;
pub mod schedule;
mod stop;
mod venues;
mod view;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::{NumberError, Quantity, Rounding, TimeInForce, TimestampMicros};
use fillstream_reference::{MarketTable, ReferenceData};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, ExecutionStrategySelected, OrderEvent, OrderEventType, RouteLeg, RoutingPlan,
    Slice, StrategyChangeKind,
};
use fillstream_schemas::state::{StrategyChild, StrategyOrder, StrategySlice, StrategyTimer};

use confidence::Measured;
pub use config::Config;
use guards::Verdict;
use input::{Approved, state_key};
pub use plan::ALGORITHM_NOT_AVAILABLE;
use reason::{Pause, Trigger};
use release::{Decision, Step};
use schedule::outstanding;
use view::View;

inputs! {
    /// What the stage reads.
    pub enum In {
        Allocated(AccountAllocation) = "execution.allocations.v1",
        Order(OrderEvent) = "execution.orders.v1",
        Plan(RoutingPlan) = "execution.routing-plans.v1",
    }
}

outputs! {
    /// What the stage writes.
    pub enum Out {
        Strategy(ExecutionStrategySelected) = "execution.strategies.v1",
        Slice(Slice) = "execution.slices.v1",
    }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Accounts' parts with a schedule, by order and account; under the order alone what later accounts must know.
        orders: StrategyOrder = "orders"
    }
}

/// The execution-strategy stage.
pub struct ExecutionStrategy {
    config: Config,
    measured: Measured,
}

type Fx<'a> = Effects<'a, ExecutionStrategy>;

impl ExecutionStrategy {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration, or of the comparisons that ship with the stage.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config, measured: Measured::shipped()? }) } else { Err(faults) }
    }

    fn on_allocated(&self, a: &AccountAllocation, state: &mut State, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        if let (Some(account_id), Some(kept)) = (&a.ended_account_id, a.ended_account_qty) {
            keep(&a.order_id, account_id, kept, state);
        }
        if a.kind == AllocationKind::Reduction {
            keep(&a.order_id, a.account_id.as_deref().unwrap_or_default(), a.quantity, state);
            return Ok(());
        }
        let Some(approved) = Approved::of(a, fx.now()) else { return Ok(()) };
        match state.orders.get(&approved.key()).cloned() {
            None => self.begin(&approved, state, fx),
            Some(order) => self.resize(order, a, state, fx),
        }
    }

    /// More than before for an account begins the schedule anew with what is left.
    fn resize(
        &self,
        mut order: StrategyOrder,
        a: &AccountAllocation,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), NumberError> {
        order.is_whole = false;
        order.ord_qty = order.ord_qty.checked_add(a.quantity)?;
        // Terms that were replaced come with either topic.
        let is_newer = a.terms_revision > order.terms_revision;
        let terms = if is_newer { a.terms.clone() } else { order.terms.clone() };
        order.terms_revision = order.terms_revision.max(a.terms_revision);
        self.take_terms(&mut order, &terms, fx)?;
        if order.stopped {
            stop(order, state, fx);
            return Ok(());
        }
        if is_suspended(&order) {
            put(order, state);
            return Ok(());
        }
        self.advance(order, state, fx)
    }

    fn begin(&self, a: &Approved<'_>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        let known = known::of(a.order_id, state);
        let a = &a.under(known.as_ref());
        let view = View::new(a.instrument_id, &a.terms.quote.venue, fx);
        let (mut order, choice) = plan::begin(a, &view, &self.config)?;
        order.stopped = known.as_ref().is_some_and(|known| known.stopped);
        let event_id = fx.next_id();
        let selected = event::selected(event_id, &view, a, &choice, &order, &self.config)?;
        fx.emit(self.measured.tell(selected, a.terms.urgency, &choice, &self.config)?);
        if order.stopped {
            stop(order, state, fx);
            return Ok(());
        }
        // Its order rests meanwhile, and so does what it is to do of it.
        if state.orders.with_prefix(&state_key(a.order_id, "")).any(|(_, other)| is_suspended(other)) {
            self.rest_until_resumed(order, "suspended before the allocation came".to_owned(), state, fx);
            return Ok(());
        }
        if order.starts_at > fx.now() {
            let due = order.starts_at;
            wake(&mut order, due, fx);
            put(order, state);
            return Ok(());
        }
        self.advance(order, state, fx)
    }

    /// Does what an order's schedule asks for now, and sets its timer.
    fn advance(&self, mut order: StrategyOrder, state: &mut State, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        if let Some(stop) = stop::awaited(&order).filter(|_| !order.is_done && order.starts_at <= fx.now()) {
            let Some(triggered) = self.watch(order, stop, state, fx)? else { return Ok(()) };
            order = triggered;
        }
        if order.terms.adaptive {
            self.reconsider(&mut order, fx)?;
        }
        let (instrument_id, venue) = (order.instrument_id.clone(), order.terms.quote.venue.clone());
        let decision = self.decide(&mut order, &View::new(&instrument_id, &venue, fx))?;
        self.tell_pause(&mut order, &decision, fx);
        if let Some(step) = decision.step {
            release_step(&mut order, step, fx);
        }
        order.wake_at = None;
        if let Some(due) = decision.next {
            wake(&mut order, due, fx);
        }
        put(order, state);
        Ok(())
    }

    /// Tells of a pause that begins or ends with a decision, or of the end that a guard rail has brought.
    fn tell_pause(&self, order: &mut StrategyOrder, decision: &Decision, fx: &mut Fx<'_>) {
        match (decision.hold, decision.guard) {
            (Some(hold), _) if hold.is_told() => self.mark_pause(order, Some(hold.as_str()), fx),
            (Some(_), _) | (None, None) => {}
            (None, Some(Verdict::Clear)) => self.mark_pause(order, None, fx),
            (None, Some(Verdict::Pause(code, _))) => {
                self.mark_pause(order, Some(code.as_str()), fx);
                order.paused_at = order.paused_at.filter(|at| !is_over(*at, fx.now(), &self.config)).or(Some(fx.now()));
            }
            (None, Some(Verdict::Stop)) => {
                let (kind, code) = (StrategyChangeKind::Stopped, Pause::Slippage.as_str());
                self.tell(order, adapt::change(kind, "RUNNING", "STOPPED", code, String::new()), fx);
            }
        }
    }

    fn on_order(&self, e: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        known::note(e, state);
        let prefix = state_key(&e.order_id, "");
        let keys: Vec<String> = state.orders.with_prefix(&prefix).map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            if e.is_terminal {
                state.orders.remove(&key);
                fx.cancel(&*key);
            } else if let Some(order) = state.orders.get(&key).filter(|order| !order.account_id.is_empty()).cloned() {
                self.on_part(order, e, state, fx)?;
            }
        }
        Ok(())
    }

    /// What an event of its order says to an account's part.
    fn on_part(
        &self,
        mut order: StrategyOrder,
        e: &OrderEvent,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), NumberError> {
        let was_cancelled = book(&mut order, e);
        match e.event_type {
            OrderEventType::CancelRequested => {
                order.stopped = true;
                fx.cancel(state_key(&order.order_id, &order.account_id));
                stop(order, state, fx);
            }
            OrderEventType::Suspended => self.suspend(order, e, state, fx),
            OrderEventType::Resumed => return self.resume(order, e, state, fx),
            OrderEventType::Replaced => return self.replace(order, e, state, fx),
            OrderEventType::Created
            | OrderEventType::Rejected
            | OrderEventType::Released
            | OrderEventType::Routed
            | OrderEventType::ChildUpdated
            | OrderEventType::CommandRefused
            | OrderEventType::Filled
            | OrderEventType::Cancelled
            | OrderEventType::Expired
            | OrderEventType::Amended
            | OrderEventType::Overfill
            | OrderEventType::Other
            | OrderEventType::ReplaceRequested => return self.settle(order, was_cancelled, state, fx),
        }
        Ok(())
    }

    // The plan says which part of a slice became children: the rest can be released again.
    fn on_plan(&self, plan: &RoutingPlan, state: &mut State, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        let key = state_key(&plan.order_id, &plan.account_id);
        let Some(mut order) = state.orders.get(&key).cloned() else { return Ok(()) };
        order.in_flight.retain(|s| s.slice_no != plan.slice_no);
        let legs = plan.venue_allocations.iter();
        order.children.extend(legs.map(|l| StrategyChild { cl_ord_id: l.cl_ord_id.clone(), leaves_qty: l.quantity }));
        let former = former_terms(plan, &order);
        if !former.is_empty() {
            let step = Step::cancels(&order, former, fx.now());
            release_step(&mut order, step, fx);
        }
        if plan.is_last && plan.unrouted_qty.is_positive() && order.is_done && !order.stopped {
            // The last try found no venue for all of it: nothing follows, and this says so.
            let step = Step::last(&order, Trigger::End, fx.now());
            release_step(&mut order, step, fx);
            put(order, state);
            return Ok(());
        }
        self.settle(order, false, state, fx)
    }

    /// Goes on at once, or later, with what came back.
    fn settle(
        &self,
        mut order: StrategyOrder,
        was_cancelled: bool,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), NumberError> {
        if let Some(base) = order.base_qty {
            // What came back of what was used when the schedule was made is the schedule's, too.
            order.base_qty = Some(base.min(order.cum_qty.checked_add(outstanding(&order)?)?));
        }
        match self.comes_back(&mut order, was_cancelled, fx.now())? {
            Some(due) if due <= fx.now() => return self.advance(order, state, fx),
            Some(due) => wake(&mut order, due, fx),
            None => {}
        }
        put(order, state);
        Ok(())
    }
}

/// Children of a plan that would rest by terms that were replaced while it was under way.
fn former_terms(plan: &RoutingPlan, order: &StrategyOrder) -> Vec<String> {
    let rests = |leg: &RouteLeg| match leg.time_in_force.unwrap_or(plan.time_in_force) {
        TimeInForce::Ioc | TimeInForce::Fok => false,
        TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd => true,
    };
    let is_former = plan.terms_revision < order.terms_revision && !order.stopped;
    let legs = plan.venue_allocations.iter().filter(|leg| is_former && rests(leg));
    legs.map(|leg| leg.cl_ord_id.clone()).collect()
}

/// Whether a pause that began then has ended and may begin anew.
fn is_over(since: TimestampMicros, now: TimestampMicros, config: &Config) -> bool {
    now >= release::after_ms(since, config.guards.max_pause_ms.saturating_mul(2))
}

// Less than before for an account, down to nothing: the schedule goes on with what is left.
fn keep(order_id: &str, account_id: &str, quantity: Quantity, state: &mut State) {
    let key = state_key(order_id, account_id);
    if let Some(order) = state.orders.get(&key).filter(|order| !order.account_id.is_empty()).cloned() {
        put(StrategyOrder { ord_qty: quantity, is_whole: false, ..order }, state);
    }
}

fn is_suspended(order: &StrategyOrder) -> bool {
    order.paused_code.as_deref() == Some(Pause::Suspended.as_str())
}

/// Takes an event's figures. Whether it ends a child whose cancel the schedule itself asked for.
fn book(order: &mut StrategyOrder, e: &OrderEvent) -> bool {
    if let Some(account) = e.account.as_ref().filter(|account| account.account_id == order.account_id) {
        (order.cum_qty, order.avg_px) = (account.cum_qty, account.avg_px);
        // Another account may take over what it left: neither a resume nor other terms begin it again. If it was given
        // more since, the event is about what it had before.
        if account.ended_code.is_some() && account.ord_qty == order.ord_qty {
            (order.ord_qty, order.is_whole) = (account.cum_qty, false);
        }
    }
    let Some(child) = &e.child else { return false };
    if child.leaves_qty.is_zero() {
        order.children.retain(|c| c.cl_ord_id != child.cl_ord_id);
        let asked = order.cancelling.contains(&child.cl_ord_id);
        order.cancelling.retain(|id| *id != child.cl_ord_id);
        return asked;
    }
    if let Some(open) = order.children.iter_mut().find(|c| c.cl_ord_id == child.cl_ord_id) {
        open.leaves_qty = child.leaves_qty;
    }
    false
}

fn put(order: StrategyOrder, state: &mut State) {
    let key = state_key(&order.order_id, &order.account_id);
    if state.orders.get(&key) != Some(&order) {
        state.orders.put(&key, order);
    }
}

/// Sets the order's timer, if it has none that fires before.
fn wake(order: &mut StrategyOrder, due: TimestampMicros, fx: &mut Fx<'_>) {
    if order.wake_at.is_some_and(|at| at <= due && at > fx.now()) {
        return;
    }
    order.wake_at = Some(due);
    let key = state_key(&order.order_id, &order.account_id);
    let timer = StrategyTimer { order_id: order.order_id.clone(), account_id: order.account_id.clone() };
    fx.schedule(&*key, due, &timer);
}

fn release_step(order: &mut StrategyOrder, step: Step, fx: &mut Fx<'_>) {
    order.slices = order.slices.saturating_add(1);
    order.is_done |= step.is_last;
    order.cancelling.extend(step.cancels.iter().cloned());
    order.cancels = order.cancels.saturating_add(i32::try_from(step.cancels.len()).unwrap_or(i32::MAX));
    if step.quantity.is_positive() {
        order.in_flight.push(StrategySlice { slice_no: order.slices, quantity: step.quantity });
        (order.cum_at_release, order.released_at) = (Some(order.cum_qty), Some(fx.now()));
        order.released_mid = step.quote.as_ref().and_then(|q| q.mid().price(Rounding::HalfEven).ok());
    }
    let event_id = fx.next_id();
    let slice = event::slice(event_id, fx.now(), order, step);
    fx.emit(slice);
}

/// Ends the schedule of an order with a last slice, empty, which follows everything released before.
fn stop(mut order: StrategyOrder, state: &mut State, fx: &mut Fx<'_>) {
    order.wake_at = None;
    let step = Step::last(&order, Trigger::Stop, fx.now());
    release_step(&mut order, step, fx);
    put(order, state);
}

fn number(e: NumberError) -> Poison {
    Poison::new("NUMBER", e.to_string())
}

impl Stage for ExecutionStrategy {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = StrategyTimer;

    const NAME: &'static str = "execution-strategy";
    const DOC: &'static str = "selects an algorithm and releases the slices of its schedule";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match &record.value {
            In::Allocated(a) => self.on_allocated(a, state, fx).map_err(number),
            In::Order(e) => self.on_order(e, state, fx).map_err(number),
            In::Plan(p) => self.on_plan(p, state, fx).map_err(number),
        }
    }

    fn on_timer(&self, timer: &Timer<StrategyTimer>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match state.orders.get(&state_key(&timer.payload.order_id, &timer.payload.account_id)).cloned() {
            Some(order) if !order.stopped && !is_suspended(&order) => self.advance(order, state, fx).map_err(number),
            Some(_) | None => Ok(()),
        }
    }
}
