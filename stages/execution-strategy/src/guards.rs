//! Guard rails of an order (trading rule 32), by urgency.
//!
//! Three stop the schedule for a while or for good: volatility (an adaptive order pauses until it has calmed down, or the pause has
//! lasted long enough), own impact (the mid has moved against the order since its last slice: it waits for the book to recover) and
//! slippage (fills have become too dear: the schedule ends). The others bound what a step releases.

use fillstream_domain::{Bps, MidPrice, NumberError, Price, Quantity, Rounding, Side, TimestampMicros, Urgency};
use fillstream_reference::Quote;
use fillstream_schemas::execution::{Arrival, RiskControls, StrategyChangeKind};
use fillstream_schemas::state::StrategyOrder;

use crate::algorithms::arrival_price::bound;
use crate::conditions;
use crate::config::{Config, Guard};
use crate::reason::Pause;
use crate::release::after_ms;
use crate::view::{View, within};

/// What the guard rails say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Clear,
    /// Pause; look again then.
    Pause(Pause, TimestampMicros),
    /// Nothing more is released.
    Stop,
}

/// The guard rails of an order's urgency.
pub(crate) const fn of(config: &Config, urgency: Urgency) -> &Guard {
    match urgency {
        Urgency::Low => &config.guards.low,
        Urgency::Normal => &config.guards.normal,
        Urgency::High => &config.guards.high,
        Urgency::Urgent => &config.guards.urgent,
    }
}

/// Looks at the guard rails that stop a schedule.
pub(crate) fn check(
    order: &StrategyOrder,
    view: &View<'_>,
    quote: &Quote,
    config: &Config,
) -> Result<Verdict, NumberError> {
    let guard = of(config, order.terms.urgency);
    if let (Some(most), Some(pin), Some(paid)) = (guard.max_slippage_bps, order.pin.as_ref(), order.avg_px)
        && adverse(order.side, paid.bps_from(pin.mid, Rounding::HalfEven)?) > most
    {
        return Ok(Verdict::Stop);
    }
    let recheck = after_ms(view.now, config.guards.recheck_ms);
    if let (Some(most), Some(at), Some(before)) = (guard.max_own_impact_bps, order.released_at, order.released_mid) {
        let mid = MidPrice::of(quote.bid, quote.ask).price(Rounding::HalfEven)?;
        let moved = adverse(order.side, mid.bps_from(before, Rounding::HalfEven)?);
        if moved > most && view.now < after_ms(at, config.guards.max_pause_ms) {
            return Ok(Verdict::Pause(Pause::OwnImpact, recheck));
        }
    }
    if order.terms.adaptive && is_wild(order, view, guard, config)? {
        return Ok(Verdict::Pause(Pause::Volatility, recheck));
    }
    Ok(Verdict::Clear)
}

/// Whether the market moves too much. Once paused, it has to fall to the exit share of the threshold (hysteresis), but the pause
/// ends after its longest time, and is over then for as long.
fn is_wild(order: &StrategyOrder, view: &View<'_>, guard: &Guard, config: &Config) -> Result<bool, NumberError> {
    let Some(most) = guard.volatility_pause_ratio else { return Ok(false) };
    let paused = order.paused_code.as_deref() == Some(Pause::Volatility.as_str());
    if let Some(since) = order.paused_at {
        let longest = after_ms(since, config.guards.max_pause_ms);
        let again = after_ms(longest, config.guards.max_pause_ms);
        if view.now >= longest && view.now < again {
            return Ok(false);
        }
    }
    let Some(ratio) = conditions::volatility_ratio(view, &config.conditions)? else { return Ok(false) };
    let threshold = if paused {
        let (whole, share) = (fillstream_domain::Ratio::ONE.unscaled(), config.conditions.exit_share.unscaled());
        fillstream_domain::mul_div_i128(most.unscaled(), share, whole, Rounding::HalfEven)
            .and_then(fillstream_domain::Ratio::from_unscaled)?
    } else {
        most
    };
    Ok(ratio >= threshold)
}

fn adverse(side: Side, bps: Bps) -> Bps {
    if side.is_buy() { bps } else { -bps }
}

/// The price at which the order takes everything: so much better than the arrival mid.
pub(crate) fn would_price(
    pin: Option<&Arrival>,
    side: Side,
    guard: &Guard,
    view: &View<'_>,
) -> Result<Option<Price>, NumberError> {
    let (Some(pin), Some(better)) = (pin, guard.would_bps) else { return Ok(None) };
    let mid = MidPrice::of(pin.bid, pin.ask).price(Rounding::HalfEven)?;
    view.on_tick(bound(mid, side, -better)?, side).map(Some)
}

/// What is taken because the price is as good as that: what is displayed, or all where that is not known.
pub(crate) fn bargain(order: &StrategyOrder, quote: &Quote, free: Quantity) -> Option<(Quantity, Price)> {
    let would = order.would_price?;
    if !within(order.side, quote.opposite_touch(order.side), Some(would)) {
        return None;
    }
    let size = quote.opposite_size(order.side).map_or(free, |size| size.min(free));
    size.is_positive().then_some((size, would))
}

/// The guard rails as an event tells them.
pub(crate) fn told(order: &StrategyOrder, config: &Config) -> RiskControls {
    let guard = of(config, order.terms.urgency);
    let asked = order.terms.max_participation_rate;
    RiskControls {
        min_participation: guard.min_participation,
        max_participation: asked.or(guard.max_participation),
        hard_limit: order.terms.limit_price,
        would_price: order.would_price,
        must_complete: order.must_complete,
        child_lifetime_ms: guard.child_lifetime_ms,
        max_cancels: guard.max_cancels,
        max_own_impact_bps: guard.max_own_impact_bps,
        max_slippage_bps: guard.max_slippage_bps,
        volatility_pause_ratio: guard.volatility_pause_ratio.filter(|_| order.terms.adaptive),
    }
}

/// How a pause that is not what was is told: begun, ended, or nothing.
pub(crate) fn change_of(was: Option<&str>, is: Option<&str>) -> Option<StrategyChangeKind> {
    match (was, is) {
        (before, now) if before == now => None,
        (_, Some(_)) => Some(StrategyChangeKind::Paused),
        (_, None) => Some(StrategyChangeKind::Resumed),
    }
}
