//! The split as a convex problem: Cont and Kukanov, "Optimal order placement in limit order markets", Quantitative Finance
//! 17 (2017), arXiv:1210.1625.
//!
//! A quantity S is divided into what is taken at once, M_k at cost h + f_k a unit, and what rests at the near touch of each
//! venue, L_k behind a queue Q_k, which earns h + r_k where the outflow of the queue passes it; a unit that stays unfilled
//! costs the penalty lambda. The paper lets orders overlap (and charges overfills); here M + sum L <= S always, so that never more
//! is in the market than is open. Then what stays unfilled is the sum of what stays unfilled at each venue, the problem
//! separates, and its marginal costs
//!   taking at k:            p_k (h_k + f_k) + (1 - p_k) lambda, up to the displayed size
//!   the L-th unit at k:     lambda - (lambda + h_k + r_k) P(outflow_k > Q_k + L), which rises with L
//! are filled from the cheapest on, which is exact (Gross 1956). With one venue it gives the paper's first proposition.
//! The distribution of outflows is the empirical one, so P is a step function and everything is whole numbers.

use std::collections::BTreeSet;

use fillstream_domain::{Bps, NumberError, Quantity};

/// What taking at a venue costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Take {
    /// Expected cost a unit, the penalty of what does not fill included.
    pub(crate) cost: Bps,
    /// Displayed size.
    pub(crate) size: Quantity,
}

/// What resting at a venue costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Cost of a unit that fills: fees less half the spread, mostly negative.
    pub(crate) cost: Bps,
    /// By how much each sampled outflow passes the queue, rising.
    pub(crate) passed: Vec<Quantity>,
}

/// A venue in the problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// Least step of a leg.
    pub(crate) lot: Quantity,
    /// Least leg.
    pub(crate) min_quantity: Quantity,
    pub(crate) take: Take,
    pub(crate) rest: Option<Rest>,
}

/// What is divided, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) quantity: Quantity,
    /// Most of one venue.
    pub(crate) cap: Quantity,
    /// Cost of a unit that stays unfilled.
    pub(crate) penalty: Bps,
    pub(crate) max_legs: usize,
}

/// A leg: which venue, whether it rests, how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) side: usize,
    pub(crate) rests: bool,
    pub(crate) quantity: Quantity,
}

/// A stretch of constant marginal cost.
#[derive(Clone, Copy, Debug)]
struct Segment {
    cost: i128,
    side: usize,
    rests: bool,
    size: Quantity,
}

/// The cheapest division, and what is better left unfilled.
pub(crate) fn solve(problem: &Problem, sides: &[Side]) -> Result<(Vec<Share>, Quantity), NumberError> {
    let mut segments = Vec::new();
    for (side, venue) in sides.iter().enumerate() {
        let size = venue.take.size.floor_to_lot(venue.lot)?;
        segments.push(Segment { cost: venue.take.cost.unscaled(), side, rests: false, size });
        segments.extend(resting(side, venue, problem.penalty)?);
    }
    segments.retain(|s| s.cost <= problem.penalty.unscaled() && s.size.is_positive());
    segments.sort_by_key(|s| (s.cost, s.rests, s.side));
    let mut barred: BTreeSet<(usize, bool)> = BTreeSet::new();
    loop {
        let (shares, left) = fill(problem, sides, &segments, &barred)?;
        let small = |s: &&Share| sides.get(s.side).is_some_and(|venue| s.quantity < venue.min_quantity);
        let surplus = || (shares.len() > problem.max_legs).then(|| shares.iter().min_by_key(|s| s.quantity)).flatten();
        match shares.iter().find(small).or_else(surplus) {
            Some(share) => barred.insert((share.side, share.rests)),
            None => return Ok((shares, left)),
        };
    }
}

// Cheapest first, in whole lots, at most the cap of a venue.
fn fill(
    problem: &Problem,
    sides: &[Side],
    segments: &[Segment],
    barred: &BTreeSet<(usize, bool)>,
) -> Result<(Vec<Share>, Quantity), NumberError> {
    let (mut shares, mut left): (Vec<Share>, _) = (Vec::new(), problem.quantity);
    for segment in segments.iter().filter(|s| !barred.contains(&(s.side, s.rests))) {
        let Some(venue) = sides.get(segment.side) else { continue };
        let used = Quantity::sum(shares.iter().filter(|s| s.side == segment.side).map(|s| s.quantity))?;
        let most = left.min(segment.size).min(problem.cap.less_at_most(used));
        let quantity = most.floor_to_lot(venue.lot)?;
        if quantity.is_zero() {
            continue;
        }
        left = left.checked_sub(quantity)?;
        match shares.iter_mut().find(|s| (s.side, s.rests) == (segment.side, segment.rests)) {
            Some(share) => share.quantity = share.quantity.checked_add(quantity)?,
            None => shares.push(Share { side: segment.side, rests: segment.rests, quantity }),
        }
    }
    Ok((shares, left))
}

// The steps of the marginal cost of resting, in whole lots: a step ends where the next sample of the outflow does.
fn resting(side: usize, venue: &Side, penalty: Bps) -> Result<Vec<Segment>, NumberError> {
    let Some(rest) = &venue.rest else { return Ok(Vec::new()) };
    let (mut from, mut segments) = (Quantity::ZERO, Vec::new());
    for (n, passed) in rest.passed.iter().enumerate() {
        let upto = passed.floor_to_lot(venue.lot)?;
        if upto > from {
            let cost = marginal(rest, rest.passed.len() - n, penalty)?;
            segments.push(Segment { cost, side, rests: true, size: upto.checked_sub(from)? });
            from = upto;
        }
    }
    Ok(segments)
}

// Cost of a unit that fills in so many of the samples.
fn marginal(rest: &Rest, fills: usize, penalty: Bps) -> Result<i128, NumberError> {
    let count = |n: usize| i128::try_from(n).map_err(|_| NumberError::Overflow);
    let (all, fills) = (count(rest.passed.len())?, count(fills)?);
    // Rounded up: a cost is never understated.
    let sum = rest.cost.unscaled() * fills + penalty.unscaled() * (all - fills);
    Ok(-(-sum).div_euclid(all.max(1)))
}

/// Expected cost of a division in this model, units of 10^-14 (basis points times quantity). What goes beyond the displayed
/// size, or beyond every outflow, counts as unfilled.
pub(crate) fn cost(problem: &Problem, sides: &[Side], shares: &[Share], left: Quantity) -> Result<i128, NumberError> {
    let penalty = problem.penalty.unscaled();
    let mut total = times(penalty, left)?;
    for share in shares {
        let Some(venue) = sides.get(share.side) else { continue };
        let segments = if share.rests {
            resting(share.side, venue, problem.penalty)?
        } else {
            vec![Segment { cost: venue.take.cost.unscaled(), side: share.side, rests: false, size: venue.take.size }]
        };
        let mut rest = share.quantity;
        for segment in segments {
            let part = rest.min(segment.size);
            total = total.checked_add(times(segment.cost, part)?).ok_or(NumberError::Overflow)?;
            rest = rest.checked_sub(part)?;
        }
        total = total.checked_add(times(penalty, rest)?).ok_or(NumberError::Overflow)?;
    }
    Ok(total)
}

fn times(bps: i128, quantity: Quantity) -> Result<i128, NumberError> {
    bps.checked_mul(quantity.unscaled()).ok_or(NumberError::Overflow)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn qty(n: i64) -> Quantity {
        Quantity::from_int(n).unwrap()
    }

    fn bps(n: i64) -> Bps {
        Bps::from_int(n).unwrap()
    }

    fn taker(cost: i64, size: i64) -> Side {
        Side {
            lot: Quantity::ONE,
            min_quantity: Quantity::ZERO,
            take: Take { cost: bps(cost), size: qty(size) },
            rest: None,
        }
    }

    fn problem(quantity: i64, penalty: i64) -> Problem {
        Problem { quantity: qty(quantity), cap: qty(quantity), penalty: bps(penalty), max_legs: 9 }
    }

    fn solved(problem: &Problem, sides: &[Side]) -> (Vec<(usize, bool, i64)>, i64) {
        let int = |q: Quantity| q.to_string().parse().unwrap();
        let (shares, left) = solve(problem, sides).unwrap();
        (shares.into_iter().map(|s| (s.side, s.rests, int(s.quantity))).collect(), int(left))
    }

    // Outflows 1 to 100, each as likely, of which a queue of 20 is passed by the last 80.
    fn with_queue(cost_when_filled: i64) -> Rest {
        Rest { cost: bps(cost_when_filled), passed: (1..=100_i64).map(|outflow| qty((outflow - 20).max(0))).collect() }
    }

    /// Cont and Kukanov, proposition 1, with h = 5, f = 3, r = 2, Q = 20 and outflow uniform on 1..100: between the bounds of
    /// lambda, L* = F^-1((2h + f + r) / (lambda + h + r)) - Q and M* = S - L*; all rests below, all is taken above.
    #[test]
    fn one_venue_gives_the_published_split_between_taking_and_resting() {
        let split = |lambda: i64, s: i64| {
            let venue = Side { rest: Some(with_queue(-7)), ..taker(8, 1_000) };
            let (shares, left) = solved(&problem(s, lambda), &[venue]);
            assert_eq!(left, 0);
            let of = |rests: bool| shares.iter().filter(|s| s.1 == rests).map(|s| s.2).sum::<i64>();
            (of(false), of(true))
        };
        // 15 / 27 of 100 is 55.6: the first 55 outflows are below, so units 1 to 36 fill often enough.
        assert_eq!(split(20, 50), (14, 36));
        // 15 / 37 is 40.5; 15 / 57 is 26.3.
        assert_eq!(split(30, 50), (29, 21));
        assert_eq!(split(50, 50), (43, 7));
        // Above 15 / F(Q) - 7 = 68 everything is taken, below 15 / F(Q + S) - 7 = 14.4 everything rests.
        assert_eq!(split(69, 50), (50, 0));
        assert_eq!(split(14, 50), (0, 50));
    }

    #[test]
    fn takers_go_by_price_and_fee_and_what_costs_more_than_waiting_is_left() {
        let venues = [taker(5, 30), taker(2, 20), taker(9, 500)];
        assert_eq!(solved(&problem(40, 8), &venues), (vec![(1, false, 20), (0, false, 20)], 0));
        assert_eq!(solved(&problem(100, 8), &venues), (vec![(1, false, 20), (0, false, 30)], 50));
        let capped = Problem { cap: qty(15), ..problem(40, 8) };
        assert_eq!(solved(&capped, &venues), (vec![(1, false, 15), (0, false, 15)], 10));
    }

    #[test]
    fn legs_keep_lots_least_sizes_and_their_number() {
        let lots = Side { lot: qty(7), ..taker(1, 20) };
        assert_eq!(solved(&problem(40, 8), &[lots, taker(2, 50)]), (vec![(0, false, 14), (1, false, 26)], 0));
        let least = Side { min_quantity: qty(25), ..taker(1, 20) };
        assert_eq!(solved(&problem(40, 8), &[least, taker(2, 50)]), (vec![(1, false, 40)], 0));
        let few = Problem { max_legs: 2, ..problem(60, 8) };
        let three = [taker(1, 30), taker(2, 10), taker(3, 40)];
        assert_eq!(solved(&few, &three), (vec![(0, false, 30), (2, false, 30)], 0));
    }

    fn side() -> impl Strategy<Value = Side> {
        let rest = prop::option::of((-10_i64..5, prop::collection::vec(0_i64..40, 1..8)));
        (-5_i64..30, 0_i64..40, rest).prop_map(|(cost, size, rest)| {
            let rest = rest.map(|(cost, mut passed)| {
                passed.sort_unstable();
                Rest { cost: bps(cost), passed: passed.into_iter().map(qty).collect() }
            });
            Side { rest, ..taker(cost, size) }
        })
    }

    proptest! {
        /// Nothing is lost or doubled, and no other division is cheaper: no unit can move to another leg, out or in at a gain.
        #[test]
        fn no_single_move_makes_it_cheaper(sides in prop::collection::vec(side(), 1..4), quantity in 1_i64..60, penalty in 0_i64..25) {
            let problem = problem(quantity, penalty);
            let (shares, left) = solve(&problem, &sides).unwrap();
            let all = Quantity::sum(shares.iter().map(|s| s.quantity)).unwrap().checked_add(left).unwrap();
            prop_assert_eq!(all, qty(quantity));
            let best = cost(&problem, &sides, &shares, left).unwrap();
            // Sources and targets: every leg there is or could be, and leaving it.
            let mut legs = shares;
            for (side, venue) in sides.iter().enumerate() {
                for rests in [false, true] {
                    let able = !rests || venue.rest.is_some();
                    if able && !legs.iter().any(|s| (s.side, s.rests) == (side, rests)) {
                        legs.push(Share { side, rests, quantity: Quantity::ZERO });
                    }
                }
            }
            for from in 0..=legs.len() {
                for to in 0..=legs.len() {
                    let (mut moved, mut rest) = (legs.clone(), left);
                    let source = moved.get_mut(from).map_or(&mut rest, |s| &mut s.quantity);
                    let Ok(less) = source.checked_sub(Quantity::ONE) else { continue };
                    *source = less;
                    let target = moved.get_mut(to).map_or(&mut rest, |s| &mut s.quantity);
                    *target = target.checked_add(Quantity::ONE).unwrap();
                    let other = cost(&problem, &sides, &moved, rest).unwrap();
                    // A marginal cost is rounded up by less than a unit of 10^-6 basis points.
                    prop_assert!(best <= other + 60 * Quantity::ONE.unscaled(), "{} > {}", best, other);
                }
            }
        }
    }
}
