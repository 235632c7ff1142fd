//! Selects an algorithm for each account's part of an approved order and releases the slices of its schedule on durable timers.
//!
//! MARKET and LIMIT are schedules of one slot, TWAP of many; what children leave over is released again a few times. The
//! other algorithms are selected and recorded, and run as TWAP until they exist (`selected`, `used`,
//! `ALGORITHM_NOT_AVAILABLE`). One timer an order: after downtime it fires once and the schedule goes on where it should be.
//!
//! Every request to cancel the order is answered by a last, empty slice. Slices of an order stay in order through routing, so
//! its plan tells order-management that nothing else is under way.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod config;
mod release;
pub mod rules;
pub mod schedule;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::{Algorithm, NumberError, OrdType, Quantity, TimeInForce, TimestampMicros};
use fillstream_reference::MarketTable;
use fillstream_schemas::execution::{
    AccountAllocation, ExecutionStrategySelected, ExpectedOutcomes, OrderEvent, OrderEventType, OrderTerms,
    RecommendedStrategy, RoutingPlan, Slice, StrategyParameters,
};
use fillstream_schemas::state::{StrategyChild, StrategyOrder, StrategyTimer};

pub use config::Config;
use release::stop;
use rules::{Analysis, Rule};

/// Code of a substitution by TWAP.
pub const ALGORITHM_NOT_AVAILABLE: &str = "ALGORITHM_NOT_AVAILABLE";

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
        /// Account orders with a schedule, by order and account; under the order alone that its cancel came first.
        orders: StrategyOrder = "orders"
    }
}

/// The execution-strategy stage.
pub struct ExecutionStrategy {
    config: Config,
}

type Fx<'a> = Effects<'a, ExecutionStrategy>;

impl ExecutionStrategy {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }

    fn on_allocated(&self, v: &AccountAllocation, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let Some(account_id) = v.account_id.as_ref().filter(|_| v.quantity.is_positive()) else { return Ok(()) };
        let plan = self.choose(v, fx).map_err(number)?;
        let mut order = self.order(v, account_id, plan.used, fx.now()).map_err(number)?;
        order.terms.limit_price = plan.limit;
        // Nothing orders two topics: the cancel may have come before the approval.
        order.stopped = state.orders.get(&key(&v.order_id, "")).is_some();
        let event_id = fx.next_id();
        fx.emit(selected_event(event_id, fx.now(), v, &plan, &order));
        if order.stopped {
            stop(order, state, fx);
            return Ok(());
        }
        if order.starts_at > fx.now() {
            let key = key(&order.order_id, &order.account_id);
            fx.schedule(&*key, order.starts_at, &timer_of(&order));
            state.orders.put(&key, order);
            return Ok(());
        }
        self.release(order, state, fx).map_err(number)
    }

    fn choose(&self, v: &AccountAllocation, fx: &Fx<'_>) -> Result<Choice, NumberError> {
        let quote = fx
            .table::<MarketTable>()
            .zip(v.quote.as_ref())
            .and_then(|(market, q)| market.quote_at(&v.instrument_id, &q.venue, fx.now()).ok())
            .map(|q| q.evidence());
        let quote = quote.or_else(|| v.quote.clone()).unwrap_or_else(|| v.terms.quote.clone());
        let analysis = Analysis {
            order_value: v.order_value,
            urgency: v.terms.urgency,
            impact_is_high: v.market_impact_estimate.is_high,
            horizon_us: v.terms.horizon_us,
            liquidity_score: rules::liquidity_score(&quote, v.side, v.quantity, &self.config)?,
        };
        let (selected, rule) = rules::select(&analysis, &self.config);
        let (wanted, rule) =
            if v.terms.algorithm == Algorithm::Auto { (selected, rule) } else { (v.terms.algorithm, Rule::Explicit) };
        let near_touch = if v.side.is_buy() { quote.bid } else { quote.ask };
        let used = rules::available(wanted);
        // A LIMIT without a price of its own rests at the near touch.
        let limit = v.terms.limit_price.or((used == Algorithm::Limit).then_some(near_touch));
        Ok(Choice { analysis, selected, wanted, used, rule, limit })
    }

    fn order(
        &self,
        v: &AccountAllocation,
        account_id: &str,
        used: Algorithm,
        now: TimestampMicros,
    ) -> Result<StrategyOrder, NumberError> {
        let starts = v.due_at.max(now);
        let ends = starts.micros().saturating_add(v.terms.horizon_us).min(v.terms.expire_at.micros());
        let horizon = ends.saturating_sub(starts.micros()).max(1);
        let once = matches!(v.terms.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
        let (slots, interval) = if used == Algorithm::Twap && !once {
            schedule::twap_shape(v.quantity, v.terms.lot_size, horizon, &self.config)?
        } else {
            (1, horizon)
        };
        Ok(StrategyOrder {
            order_id: v.order_id.clone(),
            portfolio_id: v.portfolio_id.clone(),
            account_id: account_id.to_owned(),
            instrument_id: v.instrument_id.clone(),
            side: v.side,
            ord_qty: v.quantity,
            cum_qty: Quantity::ZERO,
            terms: v.terms.clone(),
            algorithm: used,
            starts_at: starts,
            ends_at: TimestampMicros::from_micros(ends),
            slots,
            slots_done: 0,
            interval_us: interval,
            slices: 0,
            completions: 0,
            stopped: false,
            again_at: None,
            in_flight: Vec::new(),
            children: Vec::new(),
            terms_revision: 0,
        })
    }

    fn on_order(&self, e: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        let asked = e.event_type == OrderEventType::CancelRequested;
        let unallocated = key(&e.order_id, "");
        if asked && state.orders.get(&unallocated).is_none() {
            // What is allocated later is stopped at once: nothing orders two topics.
            let marker = StrategyOrder { order_id: e.order_id.clone(), stopped: true, ..StrategyOrder::default() };
            state.orders.put(&unallocated, marker);
        }
        let keys: Vec<String> = state.orders.with_prefix(&unallocated).map(|(key, _)| key.to_owned()).collect();
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
        let key = key(&order.order_id, &order.account_id);
        if let Some(account) = e.account.as_ref().filter(|account| account.account_id == order.account_id) {
            order.cum_qty = account.cum_qty;
        }
        if let Some(child) = &e.child {
            if child.leaves_qty.is_zero() {
                order.children.retain(|c| c.cl_ord_id != child.cl_ord_id);
            } else if let Some(open) = order.children.iter_mut().find(|c| c.cl_ord_id == child.cl_ord_id) {
                open.leaves_qty = child.leaves_qty;
            }
        }
        if e.event_type == OrderEventType::CancelRequested {
            order.stopped = true;
            fx.cancel(&*key);
            stop(order, state, fx);
        } else {
            self.comes_back(&mut order, fx)?;
            if state.orders.get(&key) != Some(&order) {
                state.orders.put(&key, order);
            }
        }
        Ok(())
    }

    // The plan says which part of a slice became children: the rest can be released again.
    fn on_plan(&self, plan: &RoutingPlan, state: &mut State, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        let key = key(&plan.order_id, &plan.account_id);
        let Some(mut order) = state.orders.get(&key).cloned() else { return Ok(()) };
        order.in_flight.retain(|s| s.slice_no != plan.slice_no);
        let legs = plan.venue_allocations.iter();
        order.children.extend(legs.map(|l| StrategyChild { cl_ord_id: l.cl_ord_id.clone(), leaves_qty: l.quantity }));
        self.comes_back(&mut order, fx)?;
        state.orders.put(&key, order);
        Ok(())
    }
}

/// Key of an account's part of an order; without an account, that of what is known of the order before any part.
fn key(order_id: &str, account_id: &str) -> String {
    format!("{order_id}/{account_id}")
}

/// What the timers of an account order carry.
fn timer_of(order: &StrategyOrder) -> StrategyTimer {
    StrategyTimer { order_id: order.order_id.clone(), account_id: order.account_id.clone() }
}

/// What was chosen and from what.
struct Choice {
    analysis: Analysis,
    selected: Algorithm,
    wanted: Algorithm,
    used: Algorithm,
    rule: Rule,
    limit: Option<fillstream_domain::Price>,
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
        vec![TableDecl::of::<MarketTable>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match &record.value {
            In::Allocated(a) => self.on_allocated(a, state, fx),
            In::Order(e) => self.on_order(e, state, fx).map_err(number),
            In::Plan(p) => self.on_plan(p, state, fx).map_err(number),
        }
    }

    fn on_timer(&self, timer: &Timer<StrategyTimer>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match state.orders.get(&key(&timer.payload.order_id, &timer.payload.account_id)).cloned() {
            Some(order) if !order.stopped => self.release(order, state, fx).map_err(number),
            Some(_) | None => Ok(()),
        }
    }
}

fn selected_event(
    event_id: String,
    now: TimestampMicros,
    v: &AccountAllocation,
    choice: &Choice,
    order: &StrategyOrder,
) -> ExecutionStrategySelected {
    let substituted = choice.used != choice.wanted;
    let a = &choice.analysis;
    let minutes = order.ends_at.micros().saturating_sub(order.starts_at.micros()) / 60_000_000;
    ExecutionStrategySelected {
        event_id,
        timestamp: now,
        order_id: v.order_id.clone(),
        portfolio_id: v.portfolio_id.clone(),
        instrument_id: v.instrument_id.clone(),
        requested: v.terms.algorithm,
        selected: choice.selected,
        used: choice.used,
        substitution_code: substituted.then(|| ALGORITHM_NOT_AVAILABLE.to_owned()),
        rule: choice.rule.as_str().to_owned(),
        recommended_strategy: RecommendedStrategy {
            strategy_name: choice.used.as_str().to_owned(),
            algorithm: choice.used,
            parameters: StrategyParameters {
                participation_rate: v.terms.max_participation_rate,
                dark_pool_ratio: None,
                volatility_adjustment: false,
                slice_count: order.slots,
                slice_interval_us: order.interval_us,
            },
            ..RecommendedStrategy::default()
        },
        strategy_rationale: format!(
            "rule {}: value {}, urgency {}, impact high {}, horizon {} s, liquidity {}",
            choice.rule.as_str(),
            a.order_value,
            a.urgency.as_str(),
            a.impact_is_high,
            a.horizon_us / 1_000_000,
            a.liquidity_score,
        ),
        expected_outcomes: ExpectedOutcomes {
            estimated_time_minutes: i32::try_from(minutes).unwrap_or(i32::MAX),
            market_impact: v.market_impact_estimate.impact,
            risk_score: Some(v.risk_score),
            ..ExpectedOutcomes::default()
        },
        confidence: None,
        order_value: v.order_value,
        starts_at: order.starts_at,
        ends_at: order.ends_at,
    }
}

/// Order type and time in force of the children: a LIMIT schedule rests, everything else takes what is there.
fn child_terms(algorithm: Algorithm, terms: &OrderTerms) -> (OrdType, TimeInForce) {
    let ord_type = if terms.limit_price.is_some() { OrdType::Limit } else { OrdType::Market };
    let time_in_force = match (algorithm, terms.time_in_force) {
        (_, TimeInForce::Fok) => TimeInForce::Fok,
        (Algorithm::Limit, tif) => tif,
        (_, TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd | TimeInForce::Ioc) => TimeInForce::Ioc,
    };
    (ord_type, time_in_force)
}
