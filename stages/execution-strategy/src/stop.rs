//! STOP and STOP_LIMIT orders (trading rule 7), synthetic: they wait here until the market has traded at their stop or beyond it,
//! and are worked as MARKET and LIMIT orders from then on. Child risk and venues never see the stop.
//!
//! Each look takes in every print since the last one, and those that came late: a print between two looks sets the stop off. Where
//! nothing is printed at all, the touch that the order would take does it, on a fresh quote that is neither locked nor crossed. What was
//! set off stays so, whatever the market or a replace does then.

use fillstream_domain::{NumberError, Price, TimestampMicros};
use fillstream_schemas::execution::{Arrival, StrategyChange, StrategyChangeKind};
use fillstream_schemas::state::StrategyOrder;

use crate::plan::revisit;
use crate::reason::{Cause, Trigger};
use crate::release::{Step, after_ms};
use crate::view::View;
use crate::{ExecutionStrategy, Fx, State, adapt, put, release_step, wake};

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
        let tripped = self.tripped(&mut order, stop, &view);
        order.wake_at = None;
        let Some(trip) = tripped else {
            if view.now >= order.ends_at {
                let step = Step::last(&order, Trigger::End, view.now);
                release_step(&mut order, step, fx);
            } else {
                let next = after_ms(view.now, self.config.stop_poll_ms).min(order.ends_at);
                wake(&mut order, next, fx);
            }
            put(order, state);
            return Ok(None);
        };
        order.triggered_at = Some(view.now);
        // What it costs is measured from here; its time still counts from its arrival.
        let arrived_at = order.pin.as_ref().map_or(order.starts_at, |pin| pin.arrived_at);
        order.pin = view.pin().map(|pin| Arrival { arrived_at, ..pin }).or(order.pin);
        let mut choice = revisit(&order, order.algorithm, &view, &self.config)?;
        self.remake(&mut order, &mut choice, &view)?;
        let change = StrategyChange {
            trigger_price: Some(trip.price),
            trigger_time: Some(trip.time),
            ..adapt::change(
                StrategyChangeKind::Triggered,
                "WAITING",
                "RUNNING",
                trip.cause.as_str(),
                format!("{} at {} against the stop {stop}", trip.price, trip.time),
            )
        };
        self.tell(&mut order, change, fx);
        Ok(Some(order))
    }

    fn tripped(&self, order: &mut StrategyOrder, stop: Price, view: &View<'_>) -> Option<Trip> {
        let rises = order.side.is_buy();
        let since = order.watched_to.unwrap_or(order.starts_at);
        if let Some(market) = view.market {
            let span = (since, view.now);
            if let Ok(Some(print)) = market.first_through(view.instrument_id, view.venue, span, stop, rises) {
                return Some(Trip { price: print.price, time: print.event_time, cause: Cause::StopPrint });
            }
            // What comes late is looked at, too, as long as it is not too late.
            let seen = market.watermark(view.instrument_id, view.venue).unwrap_or(since).min(view.now);
            order.watched_to = Some(since.max(after_ms(seen, -self.config.stop_late_print_ms)));
        }
        if view.volume_since(order.pin.as_ref()).is_some() {
            return None;
        }
        let quote = view.tradable(&self.config).ok()?;
        let touch = quote.opposite_touch(order.side);
        let through = if rises { touch >= stop } else { touch <= stop };
        through.then_some(Trip { price: touch, time: quote.event_time, cause: Cause::StopQuote })
    }
}
