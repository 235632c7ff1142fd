//! Price and terms of a leg: never through the limit, never through the collar.

use fillstream_domain::{
    Bps, NumberError, OrdType, Price, Ratio, Rounding, TimeInForce, TimestampMicros, mul_div_i128,
};

use crate::candidates::Job;
use crate::score::Candidate;

/// What differs from the plan's terms; `None`: as the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) ord_type: Option<OrdType>,
    pub(crate) limit_price: Option<Price>,
    pub(crate) time_in_force: Option<TimeInForce>,
    pub(crate) expire_at: Option<TimestampMicros>,
}

/// Terms of a leg that takes, or rests at the plan's own limit.
pub(crate) fn of(job: &Job<'_>, c: &Candidate) -> Result<Terms, NumberError> {
    if c.detail.is_dark {
        return limited(job, c, Some(job.touch(c)));
    }
    limited(job, c, bound(job, c)?)
}

/// Terms of a leg that rests at the near touch for as long as the slice allows.
pub(crate) fn resting(job: &Job<'_>, c: &Candidate) -> Result<Terms, NumberError> {
    let near = if job.slice.side.is_buy() { c.bid } else { c.ask };
    let Some(price) = better(job, Some(near), job.slice.limit_price) else { return Ok(Terms::default()) };
    Ok(Terms {
        ord_type: Some(OrdType::Limit),
        limit_price: Some(inward(job, c, price)?),
        time_in_force: Some(TimeInForce::Gtd),
        expire_at: job.slice.rest_until.map(|until| until.min(job.slice.expire_at)),
    })
}

// LIMIT at the better of the slice's limit and a price, on the venue's tick; nothing where there is neither.
fn limited(job: &Job<'_>, c: &Candidate, price: Option<Price>) -> Result<Terms, NumberError> {
    let Some(best) = better(job, price, job.slice.limit_price) else { return Ok(Terms::default()) };
    let best = inward(job, c, best)?;
    if job.slice.limit_price == Some(best) {
        return Ok(Terms::default());
    }
    let ord_type = (job.slice.ord_type == OrdType::Market).then_some(OrdType::Limit);
    Ok(Terms { ord_type, limit_price: Some(best), ..Terms::default() })
}

// The lower for buys, the higher for sells.
fn better(job: &Job<'_>, a: Option<Price>, b: Option<Price>) -> Option<Price> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if job.slice.side.is_buy() { a.min(b) } else { a.max(b) }),
        (a, b) => a.or(b),
    }
}

/// A price on the venue's tick, rounded to our side: down for buys, up for sells.
pub(crate) fn inward(job: &Job<'_>, c: &Candidate, price: Price) -> Result<Price, NumberError> {
    let rounding = if job.slice.side.is_buy() { Rounding::Floor } else { Rounding::Ceiling };
    if c.detail.tick.is_positive() { price.round_to_tick(c.detail.tick, rounding) } else { Ok(price) }
}

// How far a child may go: the touch plus the configured share of the collar. A share, so that a touch that moves our way
// before risk looks does not put the price through the collar. A touch of zero or below has no such distance.
fn bound(job: &Job<'_>, c: &Candidate) -> Result<Option<Price>, NumberError> {
    let touch = job.touch(c);
    let Some(collar) = job.collar.filter(|_| touch.is_positive()) else { return Ok(None) };
    let share = share_of(collar, job.config.collar_share)?;
    let (by, rounding) = if job.slice.side.is_buy() { (share, Rounding::Floor) } else { (-share, Rounding::Ceiling) };
    inward(job, c, touch.shifted_by(by, rounding)?).map(Some)
}

fn share_of(collar: Bps, share: Ratio) -> Result<Bps, NumberError> {
    mul_div_i128(collar.unscaled(), share.unscaled(), Ratio::ONE.unscaled(), Rounding::TowardsZero)
        .and_then(Bps::from_unscaled)
}
