//! Splits a slice over the ranked candidates: trading rule 33.

use fillstream_domain::{NumberError, Quantity, Ratio, Rounding};

use crate::config::Config;
use crate::score::Candidate;

/// What decides the split besides the candidates.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    /// Quantity of the slice.
    pub quantity: Quantity,
    /// Lot of the instrument.
    pub lot: Quantity,
    /// Whether the slice is worth less than the split threshold.
    pub single: bool,
    /// Whether the children take what is displayed (not resting): then displayed size caps them.
    pub marketable: bool,
    /// Whether nothing follows: the cap is void and the rest goes to the best venue.
    pub is_final: bool,
    /// All or nothing: one venue only.
    pub all_or_none: bool,
}

/// Quantities by index of the ranked candidates, and what no venue could take. `usable` are the indices of the best pair of
/// each venue, best first.
///
/// # Errors
/// Numbers out of range, or a lot that is not positive.
pub fn split(
    ranked: &[Candidate],
    usable: &[usize],
    s: &Split,
    config: &Config,
) -> Result<(Vec<(usize, Quantity)>, Quantity), NumberError> {
    let Some(best) = usable.first() else { return Ok((Vec::new(), s.quantity)) };
    if s.single || s.all_or_none || usable.len() == 1 {
        return Ok((vec![(*best, s.quantity)], Quantity::ZERO));
    }
    let cap = cap(usable.len(), s, config)?;
    let (mut legs, mut left) = (Vec::new(), s.quantity);
    for i in usable.iter().take(config.max_legs) {
        let Some(candidate) = ranked.get(*i) else { continue };
        let displayed = if s.marketable { candidate.available.unwrap_or(s.quantity) } else { s.quantity };
        let quantity = left.min(cap).min(displayed).floor_to_lot(s.lot)?;
        if quantity.is_positive() {
            legs.push((*i, quantity));
            left = left.checked_sub(quantity)?;
        }
    }
    if s.is_final && left.is_positive() {
        match legs.first_mut() {
            Some((_, quantity)) => *quantity = quantity.checked_add(left)?,
            None => legs.push((*best, left)),
        }
        left = Quantity::ZERO;
    }
    Ok((legs, left))
}

fn cap(eligible: usize, s: &Split, config: &Config) -> Result<Quantity, NumberError> {
    if s.is_final {
        return Ok(s.quantity);
    }
    let equal = Ratio::from_int(1)?.unscaled() / i128::try_from(eligible).unwrap_or(1);
    let share = config.max_share.max(Ratio::from_unscaled(equal)?);
    let cap = s.quantity.share(share, Rounding::Floor)?.floor_to_lot(s.lot)?;
    // Half of one lot is still a lot.
    Ok(cap.max(s.lot))
}

#[cfg(test)]
mod tests {
    use fillstream_domain::{Bps, Price};
    use proptest::prelude::*;

    use super::*;

    fn candidates(sizes: &[Option<i64>]) -> Vec<Candidate> {
        sizes
            .iter()
            .enumerate()
            .map(|(i, size)| Candidate {
                broker: "b".into(),
                venue: format!("V{i}"),
                session: "s".into(),
                cost: Bps::ZERO,
                quality: Ratio::ONE,
                available: size.map(|s| Quantity::from_int(s).unwrap()),
                bid: Price::ONE,
                ask: Price::ONE,
                score: Ratio::ONE,
            })
            .collect()
    }

    fn slice(quantity: i64) -> Split {
        Split {
            quantity: Quantity::from_int(quantity).unwrap(),
            lot: Quantity::ONE,
            single: false,
            marketable: true,
            is_final: false,
            all_or_none: false,
        }
    }

    fn run(sizes: &[Option<i64>], s: Split) -> (Vec<(usize, i64)>, i64) {
        let int = |q: Quantity| q.to_string().parse().unwrap();
        let all: Vec<usize> = (0..sizes.len()).collect();
        let (legs, left) = split(&candidates(sizes), &all, &s, &Config::default()).unwrap();
        (legs.into_iter().map(|(i, q)| (i, int(q))).collect(), int(left))
    }

    /// Trading rule 33: at most 50 % to a venue, displayed size caps marketable children, the rest waits.
    #[test]
    fn rule_33_cap_and_displayed_size() {
        assert_eq!(run(&[Some(1_000), Some(1_000)], slice(100)), (vec![(0, 50), (1, 50)], 0));
        assert_eq!(run(&[Some(30), Some(20), Some(10)], slice(100)), (vec![(0, 30), (1, 20), (2, 10)], 40));
        assert_eq!(run(&[Some(0), Some(20)], slice(100)), (vec![(1, 20)], 80));
        assert_eq!(run(&[None, None], slice(100)), (vec![(0, 50), (1, 50)], 0));
    }

    /// Trading rule 33: the cap is void for the last slice and for one venue; the rest goes to the best venue.
    #[test]
    fn rule_33_last_slice_and_single_venue() {
        assert_eq!(run(&[Some(30), Some(20)], Split { is_final: true, ..slice(100) }), (vec![(0, 80), (1, 20)], 0));
        assert_eq!(run(&[Some(30)], slice(100)), (vec![(0, 100)], 0));
        assert_eq!(run(&[Some(30), Some(500)], Split { single: true, ..slice(100) }), (vec![(0, 100)], 0));
        assert_eq!(run(&[], slice(100)), (vec![], 100));
    }

    #[test]
    fn resting_children_are_not_capped_by_what_is_displayed() {
        assert_eq!(run(&[Some(1), Some(1)], Split { marketable: false, ..slice(100) }), (vec![(0, 50), (1, 50)], 0));
    }

    proptest! {
        /// Legs and rest add up; no leg is empty, off the lot or over its cap.
        #[test]
        fn legs_add_up(sizes in prop::collection::vec(prop::option::of(0_i64..500), 0..6), quantity in 1_i64..1_000, last: bool) {
            let (legs, left) = run(&sizes, Split { is_final: last, ..slice(quantity) });
            prop_assert_eq!(legs.iter().map(|l| l.1).sum::<i64>() + left, quantity);
            prop_assert!(legs.iter().all(|l| l.1 > 0));
            if sizes.len() > 1 && !last {
                prop_assert!(legs.iter().all(|l| l.1 <= (quantity / 2).max(1)));
            }
        }
    }
}
