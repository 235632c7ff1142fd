//! Stop prices (trading rule 7): what STOP and STOP_LIMIT orders may ask for. Execution-strategy waits for the stop.

use fillstream_domain::{OrdType, Price, Side, TimeInForce};
use fillstream_reference::Quote;
use fillstream_schemas::reference::Instrument;
use fillstream_schemas::state::OmsOrder;

use crate::reason::Reason;
use crate::validate::{Refusal, World, price_fault, quote};

/// A stop order waits: it is none that is done at once.
pub(crate) fn at_once(ord_type: OrdType, time_in_force: TimeInForce) -> Option<Refusal> {
    match time_in_force {
        TimeInForce::Ioc | TimeInForce::Fok => {
            let text = format!("{ord_type} waits for its stop_price, {time_in_force} is done at once");
            Some(Refusal::new(Reason::StopNotSupported, text))
        }
        TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd => None,
    }
}

/// A limit that what is set off could not trade at.
pub(crate) fn beyond_limit(side: Side, stop: Price, limit: Price) -> Option<Refusal> {
    let beyond = if side.is_buy() { stop > limit } else { stop < limit };
    let text = || format!("stop_price {stop} of a {side} is beyond its limit_price {limit}");
    beyond.then(|| Refusal::new(Reason::StopBeyondLimit, text()))
}

/// A stop that the market has passed already would be set off at once: it is taken for a mistake.
pub(crate) fn passed(name: &str, stop: Price, side: Side, quote: &Quote) -> Option<Refusal> {
    let touch = quote.opposite_touch(side);
    let passed = if side.is_buy() { touch >= stop } else { touch <= stop };
    let text = || format!("{name} {stop} of a {side} is passed already at {} / {}", quote.bid, quote.ask);
    passed.then(|| Refusal::new(Reason::StopPassed, text()))
}

/// The stop that a replace asks for. One that was set off has no use for another; whether it was is known here once a child is.
pub(crate) fn replaced(
    world: &World<'_>,
    order: &OmsOrder,
    instrument: &Instrument,
    stop: Price,
) -> Result<Price, Refusal> {
    if !order.terms.ord_type.has_stop() {
        let text = format!("{} with new_stop_price {stop}", order.terms.ord_type);
        return Err(Refusal::new(Reason::UnexpectedPrice, text));
    }
    if is_set_off(order) {
        return Err(Refusal::new(Reason::StopPassed, "the stop of the order was set off already"));
    }
    let mut faults: Vec<Refusal> = price_fault("new_stop_price", stop, instrument).into_iter().collect();
    let quote = quote(world, instrument, &mut faults);
    faults.extend(quote.and_then(|quote| passed("new_stop_price", stop, order.side, &quote)));
    faults.into_iter().next().map_or(Ok(stop), Err)
}

/// Whether a stop order has had a child.
pub(crate) fn is_set_off(order: &OmsOrder) -> bool {
    order.open_children > 0 || order.fill_qty.is_positive() || order.first_ack_at.is_some()
}
