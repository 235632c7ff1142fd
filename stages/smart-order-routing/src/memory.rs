//! What the stage remembers: open children of each order, what came back of it, how pairs fared, which pairs refused.
//!
//! A child is remembered when its plan is written, so nothing that order-management says of it can come before. An order is
//! remembered from its release, or from its first plan, until its terminal event and the end of its last child.

use fillstream_core::stores;
use fillstream_domain::{
    Bps, ExecType, NumberError, OrdStatus, Price, Quantity, Ratio, Rounding, Side, TimestampMicros, mul_div_i128,
};
use fillstream_schemas::execution::{ChildUpdate, OrderEvent, OrderEventType, Reroute, RouteLeg};
use fillstream_schemas::state::{RouteAvoidance, RouteChild, RouteOrder, RouteQuality};

use crate::config::Config;
use crate::quality::{self, Ended};

/// The code with which child risk refuses what was made from terms that were replaced since: the order is not the worse for it.
const STALE_TERMS: &str = "STALE_TERMS";

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Orders that are routed, by order id.
        orders: RouteOrder = "orders",
        /// How pairs fared, by portfolio, broker and venue.
        quality: RouteQuality = "quality",
        /// Pairs that refused, by portfolio, broker, venue and instrument.
        avoided: RouteAvoidance = "avoided"
    }
}

/// Key of a pair's quality.
pub(crate) fn pair_key(portfolio: &str, broker: &str, venue: &str) -> String {
    format!("{portfolio}/{broker}/{venue}")
}

/// Key of a pair that refused an instrument.
pub(crate) fn avoided_key(portfolio: &str, broker: &str, venue: &str, instrument: &str) -> String {
    format!("{portfolio}/{broker}/{venue}/{instrument}")
}

/// What an order has left to route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Open less what children hold; `None`: not known.
    pub(crate) free: Option<Quantity>,
    /// Whether it was refused too often, too lately.
    pub(crate) is_paused: bool,
}

/// Where an order stands at a time.
pub(crate) fn standing(
    order: Option<&RouteOrder>,
    now: TimestampMicros,
    config: &Config,
) -> Result<Standing, NumberError> {
    let Some(order) = order else { return Ok(Standing::default()) };
    let held = Quantity::sum(order.children.iter().map(|c| c.leaves_qty))?;
    let pause = config.reject_pause_ms.saturating_mul(1_000);
    let since = now.micros().saturating_sub(order.rejected_at.micros());
    Ok(Standing {
        free: order.leaves_qty.map(|leaves| leaves.less_at_most(held)),
        is_paused: order.rejects >= config.max_rejects && since < pause,
    })
}

/// A leg that became a child.
pub(crate) struct Sent<'a> {
    pub(crate) leg: &'a RouteLeg,
    /// Whether it takes what is there or is gone.
    pub(crate) takes: bool,
    /// Price it meets.
    pub(crate) touch: Price,
}

/// Remembers the children of a plan; what had come back is routed again with it.
pub(crate) fn sent(state: &mut State, order_id: &str, legs: &[Sent<'_>], reroutes: bool, now: TimestampMicros) {
    if legs.is_empty() && !reroutes {
        return;
    }
    let known = state.orders.get(order_id).cloned();
    let mut order = known.unwrap_or_else(|| RouteOrder { order_id: order_id.to_owned(), ..RouteOrder::default() });
    order.children.extend(legs.iter().map(|Sent { leg, takes, touch }| RouteChild {
        cl_ord_id: leg.cl_ord_id.clone(),
        broker: leg.broker.clone(),
        venue: leg.venue.clone(),
        quantity: leg.quantity,
        leaves_qty: leg.quantity,
        cum_qty: Quantity::ZERO,
        takes: *takes,
        touch: *touch,
        routed_at: now,
        reported: false,
        slippage_product: Bps::ZERO,
    }));
    if reroutes {
        order.returned.clear();
        order.attempts = order.attempts.saturating_add(1);
    }
    state.orders.put(order_id, order);
}

/// Takes in what order-management says.
pub(crate) fn on_order(event: &OrderEvent, state: &mut State, config: &Config) -> Result<(), NumberError> {
    let known = state.orders.get(&event.order_id).cloned();
    let mut order = match (known, event.event_type) {
        (Some(order), _) => order,
        (None, OrderEventType::Released) => RouteOrder { order_id: event.order_id.clone(), ..RouteOrder::default() },
        // Refused, or long gone.
        (None, _) => return Ok(()),
    };
    order.leaves_qty = Some(event.leaves_qty);
    order.ended |= event.is_terminal;
    if let Some(update) = &event.child {
        take_update(event, update, &mut order, state, config)?;
    }
    if order.ended && order.children.is_empty() {
        state.orders.remove(&event.order_id);
    } else if state.orders.get(&event.order_id) != Some(&order) {
        state.orders.put(&event.order_id, order);
    }
    Ok(())
}

fn take_update(
    event: &OrderEvent,
    update: &ChildUpdate,
    order: &mut RouteOrder,
    state: &mut State,
    config: &Config,
) -> Result<(), NumberError> {
    let Some(at) = order.children.iter().position(|c| c.cl_ord_id == update.cl_ord_id) else { return Ok(()) };
    let mut child = order.children.remove(at);
    let is_first = update.exec_type.is_some() && !child.reported;
    child.reported |= update.exec_type.is_some();
    let filled = update.cum_qty.less_at_most(child.cum_qty);
    if let (Some(price), true) = (update.last_px, filled.is_positive()) {
        child.slippage_product = child.slippage_product.checked_add(slippage(event.side, &child, price, filled)?)?;
        order.rejects = 0;
        let key = avoided_key(&event.portfolio_id, &child.broker, &child.venue, &event.instrument_id);
        if state.avoided.get(&key).is_some() {
            state.avoided.remove(&key);
        }
    }
    (child.cum_qty, child.leaves_qty) = (update.cum_qty, update.leaves_qty);
    let key = pair_key(&event.portfolio_id, &child.broker, &child.venue);
    let mut sums =
        quality::at(&state.quality.get(&key).cloned().unwrap_or_default(), event.timestamp, &config.learning)?;
    if is_first {
        let after = event.timestamp.micros().saturating_sub(child.routed_at.micros());
        sums = quality::reported(sums, after)?;
    }
    let child_ended = update.ord_status.is_terminal();
    if child_ended {
        // An end that no report told, a refusal of our own, says nothing of the pair.
        if update.exec_type.is_some() {
            sums = quality::ended(sums, &verdict(&child, update)?)?;
        }
        came_back(event, update, &child, order, state, config);
    } else {
        order.children.insert(at, child);
    }
    if is_first || (child_ended && update.exec_type.is_some()) {
        state.quality.put(&key, sums);
    }
    Ok(())
}

// What the ended child says: a taker's remainder and a refusal speak of the pair, a resting child that was taken back does
// not.
fn verdict(child: &RouteChild, update: &ChildUpdate) -> Result<Ended, NumberError> {
    let share = child.cum_qty.min(child.quantity).ratio_of(child.quantity, Rounding::HalfEven)?;
    let counts = child.takes || matches!(update.ord_status, OrdStatus::Filled | OrdStatus::Rejected);
    Ok(Ended { filled: counts.then_some(share), slippage: (child.slippage_product, share) })
}

fn came_back(
    event: &OrderEvent,
    update: &ChildUpdate,
    child: &RouteChild,
    order: &mut RouteOrder,
    state: &mut State,
    config: &Config,
) {
    let code = update.reject_code.clone().unwrap_or_else(|| update.ord_status.as_str().to_owned());
    let left = child.quantity.less_at_most(child.cum_qty);
    if left.is_positive() {
        order.returned.push(Reroute {
            cl_ord_id: child.cl_ord_id.clone(),
            broker: child.broker.clone(),
            venue: child.venue.clone(),
            quantity: left,
            code: code.clone(),
        });
    }
    if update.ord_status != OrdStatus::Rejected || update.reject_code.as_deref() == Some(STALE_TERMS) {
        return;
    }
    order.rejects = order.rejects.saturating_add(1);
    order.rejected_at = event.timestamp;
    // A refusal of our own says nothing of the venue.
    if update.exec_type == Some(ExecType::Rejected) {
        let until = event.timestamp.micros().saturating_add(config.avoid_after_reject_ms.saturating_mul(1_000));
        let key = avoided_key(&event.portfolio_id, &child.broker, &child.venue, &event.instrument_id);
        state.avoided.put(&key, RouteAvoidance { until: TimestampMicros::from_micros(until), code });
    }
}

// What a fill cost against the touch at routing, in basis points, times the share of the child that it was.
fn slippage(side: Side, child: &RouteChild, price: Price, filled: Quantity) -> Result<Bps, NumberError> {
    if !child.touch.is_positive() {
        return Ok(Bps::ZERO);
    }
    let worse = price.bps_from(child.touch, Rounding::HalfEven)?.unscaled() * i128::from(side.sign());
    let share = filled.min(child.quantity).ratio_of(child.quantity, Rounding::HalfEven)?;
    mul_div_i128(worse, share.unscaled(), Ratio::ONE.unscaled(), Rounding::HalfEven).and_then(Bps::from_unscaled)
}
