//! STOP and STOP_LIMIT orders (trading rule 7), synthetic: they wait here until the market has traded at their stop or beyond it (FIX
//! `StopPx`: buys at it or higher, sells at it or lower), and are worked by their algorithm as MARKET and LIMIT orders from then on. Child
//! risk and venues never see the stop.
//!
//! - Each look takes in every print of the reference venue since the last one, and those that came late: a print between two looks sets
//!   the stop off. Where nothing is printed at all, the touch that the order would take does it, on a fresh quote that is neither
//!   locked nor crossed (trading rule 37), of an open market.
//! - What was set off stays so, whatever the market or a replace does then, for all accounts of the order and for those that take over.
//! - What is printed while the order is suspended does not count, nor what was printed before its stop was replaced.
//! - It waits to the order's end. Its horizon, its costs and its share of the volume count from the moment at which it is set off.

use fillstream_domain::{NumberError, Price, TimestampMicros};
use fillstream_reference::Print;
use fillstream_schemas::execution::{Arrival, StrategyChange, StrategyChangeKind};
use fillstream_schemas::state::StrategyOrder;

use crate::adapt::{change, ends_after, wanted};
use crate::guards;
use crate::input::state_key;
use crate::plan::revisit;
use crate::reason::{Cause, Trigger};
use crate::release::{Step, after_ms};
use crate::view::View;
use crate::{ExecutionStrategy, Fx, State, put, release_step, wake};

/// What set a stop off.
struct Trip {
    price: Price,
    time: TimestampMicros,
    cause: Cause,
}

/// The stop that an order still waits for.
pub(crate) fn awaited(order: &StrategyOrder) -> Option<Price> {
    order.terms.stop_price.filter(|_| order.terms.ord_type.has_stop() && order.triggered_at.is_none())
}

/// Passes over what was printed while an order was suspended: whoever resumes it means the market as it is then. What was printed before,
/// and not looked at yet, still counts.
pub(crate) fn pass_over(order: &mut StrategyOrder, view: &View<'_>) {
    let (Some(stop), Some(paused_at)) = (awaited(order), order.paused_at) else { return };
    let since = watched_to(order);
    let reached = first_through(order, stop, (since, paused_at), view).is_some();
    order.watched_to = Some(if reached { since } else { order.starts_at.max(view.now) });
}

impl ExecutionStrategy {
    /// Looks whether the stop was set off; gives the order back if it may go on.
    pub(crate) fn watch(
        &self,
        mut order: StrategyOrder,
        stop: Price,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<Option<StrategyOrder>, NumberError> {
        let (instrument_id, venue) = (order.instrument_id.clone(), order.terms.quote.venue.clone());
        let view = View::new(&instrument_id, &venue, fx);
        let Some(trip) = shared(&order, state).or_else(|| self.tripped(&order, stop, &view)) else {
            self.wait_on(order, &view, state, fx);
            return Ok(None);
        };
        let before = order.algorithm;
        self.set_off(&mut order, &trip, &view)?;
        let (code, why) = (trip.cause.as_str(), format!("{} at {} against the stop {stop}", trip.price, trip.time));
        if order.algorithm != before {
            let (from, to) = (before.as_str(), order.algorithm.as_str());
            self.tell(&mut order, change(StrategyChangeKind::Algorithm, from, to, code, why.clone()), fx);
        }
        let told = StrategyChange {
            trigger_price: order.trigger_price,
            trigger_time: order.trigger_time,
            ..change(StrategyChangeKind::Triggered, "WAITING", "RUNNING", code, why)
        };
        self.tell(&mut order, told, fx);
        Ok(Some(order))
    }

    /// Waits for the next look, or ends with the order's time.
    fn wait_on(&self, mut order: StrategyOrder, view: &View<'_>, state: &mut State, fx: &mut Fx<'_>) {
        let (since, end) = (watched_to(&order), order.terms.expire_at);
        // What comes late is looked at, too, as long as it is not too late.
        let seen = view.quote().map(|quote| after_ms(quote.event_time, -self.config.stop_late_print_ms));
        order.watched_to = Some(seen.map_or(since, |seen| seen.max(since)));
        order.wake_at = None;
        if view.now >= end {
            let step = Step::last(&order, Trigger::End, view.now);
            release_step(&mut order, step, fx);
        } else {
            wake(&mut order, after_ms(view.now, self.config.stop_poll_ms).min(end), fx);
        }
        put(order, state);
    }

    fn set_off(&self, order: &mut StrategyOrder, trip: &Trip, view: &View<'_>) -> Result<(), NumberError> {
        order.triggered_at = Some(view.now);
        (order.trigger_price, order.trigger_time) = (Some(trip.price), Some(trip.time));
        order.ends_at = ends_after(view.now, &order.terms);
        let former = order.pin.take().map(|pin| Arrival { arrived_at: view.now, ..pin });
        order.pin = view.pin().or(former);
        let guard = guards::of(&self.config, order.terms.urgency);
        order.would_price = guards::would_price(order.pin.as_ref(), order.side, guard, view)?;
        let mut choice = revisit(order, wanted(order), view, &self.config)?;
        self.remake(order, &mut choice, view)
    }

    fn tripped(&self, order: &StrategyOrder, stop: Price, view: &View<'_>) -> Option<Trip> {
        // A print after the order's end, seen late, sets nothing off.
        let until = view.now.min(order.terms.expire_at);
        if let Some(print) = first_through(order, stop, (watched_to(order), until), view) {
            return Some(Trip { price: print.price, time: print.event_time, cause: Cause::StopPrint });
        }
        let has_prints = view.market?.has_prints(view.instrument_id, view.venue, view.now);
        let quote = view.tradable(&self.config).ok().filter(|_| !has_prints && view.now < order.terms.expire_at)?;
        let touch = quote.opposite_touch(order.side);
        let through = if order.side.is_buy() { touch >= stop } else { touch <= stop };
        through.then_some(Trip { price: touch, time: quote.event_time, cause: Cause::StopQuote })
    }
}

/// Up to which market time an order has looked at the prints.
fn watched_to(order: &StrategyOrder) -> TimestampMicros {
    order.watched_to.unwrap_or(order.starts_at)
}

fn first_through(
    order: &StrategyOrder,
    stop: Price,
    span: (TimestampMicros, TimestampMicros),
    view: &View<'_>,
) -> Option<Print> {
    view.market?.first_through(view.instrument_id, view.venue, span, stop, order.side.is_buy())
}

/// What has set off another part of the order.
fn shared(order: &StrategyOrder, state: &State) -> Option<Trip> {
    let prefix = state_key(&order.order_id, "");
    let mut parts = state.orders.with_prefix(&prefix).map(|(_, part)| part);
    let trip = |part: &StrategyOrder| Some((part.triggered_at.and(part.trigger_price)?, part.trigger_time?));
    let (price, time) = parts.find_map(trip)?;
    Some(Trip { price, time, cause: Cause::StopShared })
}
