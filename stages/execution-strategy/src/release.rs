//! One step of a schedule: release what is due, set the timer of the next step. Or the last one: say that nothing follows.

use fillstream_domain::{NumberError, Quantity, TimeInForce, TimestampMicros};
use fillstream_schemas::execution::Slice;
use fillstream_schemas::state::{StrategyOrder, StrategySlice};

use crate::schedule::{releasable, slot_at, slot_due, slot_quantity};
use crate::{ExecutionStrategy, Fx, State, child_terms, key, timer_of};

/// What a step decided.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    quantity: Quantity,
    due_at: TimestampMicros,
    /// The schedule releases nothing after it.
    is_last: bool,
    next: Option<TimestampMicros>,
}

impl ExecutionStrategy {
    pub(crate) fn release(
        &self,
        mut order: StrategyOrder,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), NumberError> {
        order.again_at = None;
        let step = self.step(&mut order, fx.now())?;
        if step.quantity.is_positive() {
            emit(&mut order, &step, fx);
            order.in_flight.push(StrategySlice { slice_no: order.slices, quantity: step.quantity });
        }
        if let Some(due) = step.next {
            fx.schedule(key(&order.order_id, &order.account_id), due, &timer_of(&order));
        }
        let key = key(&order.order_id, &order.account_id);
        state.orders.put(&key, order);
        Ok(())
    }

    fn step(&self, order: &mut StrategyOrder, now: TimestampMicros) -> Result<Step, NumberError> {
        let (retry, once) = (self.after_delay(now), is_once(order));
        if order.slots_done < order.slots {
            let slot = slot_at(order, now).max(order.slots_done.saturating_add(1));
            order.slots_done = slot;
            let quantity = slot_quantity(order, slot, &self.config)?;
            let due_at = slot_due(order, slot);
            let next = (slot < order.slots).then(|| slot_due(order, slot.saturating_add(1)));
            let is_last = slot == order.slots && (once || self.config.max_completions == 0);
            return Ok(Step { quantity, due_at, is_last, next });
        }
        // Every slot has passed: what children left over is released again, a few times.
        let quantity = releasable(order)?;
        let over = now >= order.ends_at;
        if quantity.is_zero() || over {
            return Ok(Step { quantity: Quantity::ZERO, due_at: now, is_last: false, next: None });
        }
        order.completions = order.completions.saturating_add(1);
        let is_last = order.completions >= self.config.max_completions || retry >= order.ends_at;
        Ok(Step { quantity, due_at: now, is_last, next: None })
    }

    /// Sets the timer that releases again what has come back after the last slot. While children hold everything there is
    /// none: an order that rests costs nothing.
    pub(crate) fn comes_back(&self, order: &mut StrategyOrder, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        let is_over = order.stopped || order.slots_done < order.slots || order.slots == 0;
        let is_spent = order.completions >= self.config.max_completions || is_once(order);
        if is_over || is_spent || order.again_at.is_some() || releasable(order)?.is_zero() {
            return Ok(());
        }
        let due = self.after_delay(fx.now());
        order.again_at = Some(due);
        fx.schedule(key(&order.order_id, &order.account_id), due, &timer_of(order));
        Ok(())
    }

    fn after_delay(&self, now: TimestampMicros) -> TimestampMicros {
        let delay = self.config.completion_delay_ms.saturating_mul(1_000);
        TimestampMicros::from_micros(now.micros().saturating_add(delay))
    }
}

// Whether it is released once and what is left over expires.
fn is_once(order: &StrategyOrder) -> bool {
    matches!(order.terms.time_in_force, TimeInForce::Ioc | TimeInForce::Fok)
}

/// Ends the schedule of an order with a last slice, empty, which follows everything released before.
pub(crate) fn stop(mut order: StrategyOrder, state: &mut State, fx: &mut Fx<'_>) {
    let step = Step { quantity: Quantity::ZERO, due_at: fx.now(), is_last: true, next: None };
    emit(&mut order, &step, fx);
    let key = key(&order.order_id, &order.account_id);
    state.orders.put(&key, order);
}

fn emit(order: &mut StrategyOrder, step: &Step, fx: &mut Fx<'_>) {
    order.slices = order.slices.saturating_add(1);
    let event_id = fx.next_id();
    fx.emit(slice(event_id, fx.now(), order, step));
}

fn slice(event_id: String, now: TimestampMicros, order: &StrategyOrder, step: &Step) -> Slice {
    let (ord_type, time_in_force) = child_terms(order.algorithm, &order.terms);
    Slice {
        event_id,
        timestamp: now,
        order_id: order.order_id.clone(),
        portfolio_id: order.portfolio_id.clone(),
        account_id: order.account_id.clone(),
        instrument_id: order.instrument_id.clone(),
        side: order.side,
        slice_no: order.slices,
        is_last: step.is_last,
        quantity: step.quantity,
        due_at: step.due_at,
        algorithm: order.algorithm,
        ord_type,
        limit_price: order.terms.limit_price,
        time_in_force,
        expire_at: order.ends_at,
        urgency: order.terms.urgency,
        quote_currency: order.terms.quote_currency.clone(),
        lot_size: order.terms.lot_size,
        venue_restrictions: order.terms.venue_restrictions.clone(),
        preferred_brokers: order.terms.preferred_brokers.clone(),
        strategy_id: order.terms.strategy_id.clone(),
        trader_id: order.terms.trader_id.clone(),
        terms_revision: order.terms_revision,
        ..Slice::default()
    }
}
