//! Where the data suffice, the convex split instead of the rule's, which stands beside it in the plan.
//!
//! Taking needs a quote of its own and a displayed size at every venue. Resting, which the slice must allow, needs the
//! outflow of the venue's queue: half of what was printed there in each of the last windows as long as the child may rest.

use fillstream_domain::{Bps, Money, NumberError, Price, Quantity, Ratio, Rounding, TimestampMicros, mul_div_i128};

use crate::candidates::{Job, half_spread};
use crate::convex::{Problem, Rest, Share, Side, Take, cost, solve};
use crate::plan::Leg;
use crate::score::Candidate;
use crate::split::{Split, add_rest, cap, lot};
use crate::terms;

/// A convex split and the rule's, with what they cost in the same model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) legs: Vec<Leg>,
    pub(crate) left: Quantity,
    /// The rule's split, by index of the ranked candidates.
    pub(crate) rule: Vec<(usize, Quantity)>,
    pub(crate) rule_cost: Money,
    pub(crate) cost: Money,
    /// Cost of a unit that stays unfilled.
    pub(crate) penalty: Bps,
}

/// The rule's split of the same quantity.
pub(crate) struct Rule<'a> {
    pub(crate) shares: &'a [(usize, Quantity)],
    pub(crate) left: Quantity,
}

/// The convex split over `usable`, or `None` where the data do not suffice or the rule's is no worse.
pub(crate) fn place(
    job: &Job<'_>,
    ranked: &[Candidate],
    usable: &[usize],
    shape: &Split,
    rule: &Rule<'_>,
) -> Result<Option<Placement>, NumberError> {
    let candidates: Vec<&Candidate> = usable.iter().filter_map(|i| ranked.get(*i)).collect();
    let known = candidates.iter().all(|c| c.detail.own_quote && c.available.is_some());
    if !job.config.convex_split || !known || candidates.len() < 2 || !job.takes || shape.single || shape.all_or_none {
        return Ok(None);
    }
    let costs = candidates.iter().map(|c| taker_cost(job, c)).collect::<Result<Vec<Bps>, _>>()?;
    let penalty = penalty(&costs, shape, job.config.underfill_bps)?;
    let mut sides = Vec::with_capacity(candidates.len());
    for (c, cost) in candidates.iter().zip(&costs) {
        sides.push(side(job, c, *cost, penalty)?);
    }
    let max_legs = job.config.max_legs;
    let problem = Problem { quantity: shape.quantity, cap: cap(usable.len(), shape, job.config)?, penalty, max_legs };
    let place_of = |index: &usize| usable.iter().position(|i| i == index);
    let of_rule: Vec<Share> = rule
        .shares
        .iter()
        .filter_map(|(index, quantity)| Some(Share { side: place_of(index)?, rests: false, quantity: *quantity }))
        .collect();
    let (shares, left) = complete(&problem, &sides, ranked, usable, shape)?;
    let (ours, rules) = (cost(&problem, &sides, &shares, left)?, cost(&problem, &sides, &of_rule, rule.left)?);
    if ours >= rules {
        return Ok(None);
    }
    let mut legs = Vec::with_capacity(shares.len());
    for share in &shares {
        let Some((index, c)) = usable.get(share.side).zip(candidates.get(share.side)) else { continue };
        let terms = if share.rests { terms::resting(job, c)? } else { terms::of(job, c)? };
        legs.push(Leg { index: *index, quantity: share.quantity, terms, rests: share.rests });
    }
    let middle = job.quote.mid().price(Rounding::HalfEven)?;
    Ok(Some(Placement {
        legs,
        left,
        rule: rule.shares.to_vec(),
        rule_cost: money(rules, middle)?,
        cost: money(ours, middle)?,
        penalty,
    }))
}

// The solution; of a last slice the rest goes where the rule's would.
fn complete(
    problem: &Problem,
    sides: &[Side],
    ranked: &[Candidate],
    usable: &[usize],
    shape: &Split,
) -> Result<(Vec<Share>, Quantity), NumberError> {
    let (mut shares, left) = solve(problem, sides)?;
    if !shape.is_final || left.is_zero() {
        return Ok((shares, left));
    }
    let takes = shares.iter().filter(|s| !s.rests);
    let mut legs: Vec<(usize, Quantity)> = takes.filter_map(|s| Some((*usable.get(s.side)?, s.quantity))).collect();
    let left = add_rest(ranked, usable, &mut legs, left, shape)?;
    shares.retain(|s| s.rests);
    let taken = legs.into_iter().filter_map(|(index, quantity)| {
        Some(Share { side: usable.iter().position(|i| *i == index)?, rests: false, quantity })
    });
    shares.extend(taken);
    Ok((shares, left))
}

// What a unit costs that is taken there, from the middle of the reference quote on.
fn taker_cost(job: &Job<'_>, c: &Candidate) -> Result<Bps, NumberError> {
    let d = &c.detail;
    from_middle(job, job.touch(c))?.checked_add(d.fee)?.checked_add(d.commission_bps)
}

// How much worse a price is than the middle, basis points.
fn from_middle(job: &Job<'_>, price: Price) -> Result<Bps, NumberError> {
    let twice = job.quote.mid().twice_unscaled();
    let worse = (2 * price.unscaled() - twice) * i128::from(job.slice.side.sign());
    let units = 10_000 * Bps::ONE.unscaled();
    mul_div_i128(worse, units, twice.abs().max(1), Rounding::HalfEven).and_then(Bps::from_unscaled)
}

// The cheapest taking and what waiting for later is feared to cost more; of a last slice there is no later.
fn penalty(costs: &[Bps], shape: &Split, underfill: Bps) -> Result<Bps, NumberError> {
    let base = if shape.is_final { costs.iter().max() } else { costs.iter().min() };
    base.copied().unwrap_or(Bps::ZERO).max(Bps::ZERO).checked_add(underfill)
}

fn side(job: &Job<'_>, c: &Candidate, taker: Bps, penalty: Bps) -> Result<Side, NumberError> {
    let p = c.detail.learned.fill_rate;
    let one = Ratio::ONE.unscaled();
    let expected = taker.unscaled() * p.unscaled() + penalty.unscaled() * (one - p.unscaled());
    let expected = mul_div_i128(expected, 1, one, Rounding::Ceiling).and_then(Bps::from_unscaled)?;
    Ok(Side {
        lot: lot(c, job.slice.lot_size)?,
        min_quantity: c.detail.min_quantity,
        take: Take { cost: expected, size: c.available.unwrap_or(Quantity::ZERO) },
        rest: rest(job, c)?,
    })
}

// Resting at the near touch of a venue, where the slice allows it and the outflow is known.
fn rest(job: &Job<'_>, c: &Candidate) -> Result<Option<Rest>, NumberError> {
    let (Some(until), Some(queue)) = (job.slice.rest_until, c.detail.near_size) else { return Ok(None) };
    let window = until.micros().saturating_sub(job.now.micros());
    let Some(outflows) = outflows(job, c, window)? else { return Ok(None) };
    let half = half_spread(c.bid, c.ask)?;
    let cost = c.detail.maker_fee.checked_add(c.detail.commission_bps)?.checked_sub(half)?;
    let mut passed: Vec<Quantity> = outflows.into_iter().map(|outflow| outflow.less_at_most(queue)).collect();
    passed.sort_unstable();
    Ok(Some(Rest { cost, passed }))
}

// Half of what was printed at the venue in each of the last windows; `None` where the market is not known that far back.
fn outflows(job: &Job<'_>, c: &Candidate, window_us: i64) -> Result<Option<Vec<Quantity>>, NumberError> {
    let count = job.config.outflow_windows;
    let id = job.slice.instrument_id.as_str();
    let back = |n: i64| TimestampMicros::from_micros(job.now.micros().saturating_sub(window_us.saturating_mul(n)));
    if window_us <= 0 || job.market.quote_at(id, &c.venue, back(count)).is_err() {
        return Ok(None);
    }
    let mut outflows = Vec::new();
    for n in 0..count {
        let Ok(interval) = job.market.between(id, &c.venue, back(n.saturating_add(1)), back(n)) else {
            return Ok(None);
        };
        outflows.push(Quantity::from_unscaled(interval.volume.unscaled() / 2)?);
    }
    Ok(outflows.iter().any(|outflow| outflow.is_positive()).then_some(outflows))
}

// Basis points times quantity, in units of 10^-14, of a price.
fn money(cost: i128, middle: Price) -> Result<Money, NumberError> {
    let units = 10_000 * Bps::ONE.unscaled() * Price::ONE.unscaled();
    mul_div_i128(cost, middle.abs().unscaled(), units, Rounding::HalfEven).and_then(Money::from_unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaving a unit is feared to cost more than nothing, also where taking earns a rebate.
    #[test]
    fn the_penalty_lies_above_the_cheapest_taking_or_of_a_last_slice_above_the_dearest() {
        let of = |costs: &[i64], is_final: bool| {
            let costs: Vec<Bps> = costs.iter().map(|n| Bps::from_int(*n).unwrap()).collect();
            let shape = Split {
                quantity: Quantity::ONE,
                lot: Quantity::ONE,
                single: false,
                marketable: true,
                is_final,
                all_or_none: false,
            };
            penalty(&costs, &shape, Bps::from_int(5).unwrap()).unwrap().to_string()
        };
        assert_eq!((of(&[2, 9], false), of(&[2, 9], true)), ("7".to_owned(), "14".to_owned()));
        assert_eq!(of(&[-10, 9], false), "5");
    }
}
