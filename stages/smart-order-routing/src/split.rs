//! Splits a slice over the ranked candidates: trading rule 33.

use fillstream_domain::{NumberError, Quantity, Ratio, Rounding};

use crate::config::Config;
use crate::score::Candidate;

/// What decides the split besides the candidates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
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

/// Quantities by index of the ranked candidates, and what no venue could take.
pub(crate) type Legs = (Vec<(usize, Quantity)>, Quantity);

/// Splits a slice over `usable`: the indices of the pair of each venue, best first. Each leg keeps its venue's lot and least
/// quantity; what is left then goes to the best venue that takes it, if nothing follows.
///
/// # Errors
/// Numbers out of range, or a lot that is not positive.
pub(crate) fn split(ranked: &[Candidate], usable: &[usize], s: &Split, config: &Config) -> Result<Legs, NumberError> {
    if usable.is_empty() {
        return Ok((Vec::new(), s.quantity));
    }
    let single = s.single || s.all_or_none || usable.len() == 1;
    if single && let Some(best) = whole(ranked, usable, s)? {
        return Ok((vec![(best, s.quantity)], Quantity::ZERO));
    }
    if s.all_or_none {
        return Ok((Vec::new(), s.quantity));
    }
    // Where no venue takes all of a small slice, the best ones take what they can.
    let cap = if single { s.quantity } else { cap(usable.len(), s, config)? };
    let (mut legs, mut left) = (Vec::new(), s.quantity);
    for i in usable.iter().take(config.max_legs) {
        let Some(candidate) = ranked.get(*i) else { continue };
        let displayed = if s.marketable { candidate.available.unwrap_or(s.quantity) } else { s.quantity };
        let most = left.min(cap.max(candidate.detail.min_quantity)).min(displayed);
        let quantity = most.floor_to_lot(lot(candidate, s.lot)?)?;
        if quantity.is_positive() && quantity >= candidate.detail.min_quantity {
            legs.push((*i, quantity));
            left = left.checked_sub(quantity)?;
        }
    }
    if (s.is_final || single) && left.is_positive() {
        left = add_rest(ranked, usable, &mut legs, left, s)?;
    }
    Ok((legs, left))
}

// The best venue that takes the whole slice; all or none goes first to one that shows as much.
fn whole(ranked: &[Candidate], usable: &[usize], s: &Split) -> Result<Option<usize>, NumberError> {
    let mut fitting = Vec::new();
    for i in usable {
        if let Some(c) = ranked.get(*i)
            && fits(c, s.quantity, s.lot)?
        {
            fitting.push((*i, c.available.is_none_or(|shown| shown >= s.quantity)));
        }
    }
    let shows = fitting.iter().find(|(_, shows)| *shows || !s.all_or_none);
    Ok(shows.or(fitting.first()).map(|(i, _)| *i))
}

/// Gives the rest to the best venue that takes it with what it has; what none takes is left.
pub(crate) fn add_rest(
    ranked: &[Candidate],
    usable: &[usize],
    legs: &mut Vec<(usize, Quantity)>,
    left: Quantity,
    s: &Split,
) -> Result<Quantity, NumberError> {
    let others = usable.iter().copied().filter(|i| !legs.iter().any(|(leg, _)| leg == i));
    let order: Vec<usize> = legs.iter().map(|(i, _)| *i).chain(others).collect();
    for i in order {
        let Some(c) = ranked.get(i) else { continue };
        let has = legs.iter().find(|(leg, _)| *leg == i).map_or(Quantity::ZERO, |(_, q)| *q);
        let all = has.checked_add(left)?;
        if fits(c, all, s.lot)? {
            match legs.iter_mut().find(|(leg, _)| *leg == i) {
                Some((_, quantity)) => *quantity = all,
                None => legs.push((i, all)),
            }
            return Ok(Quantity::ZERO);
        }
    }
    Ok(left)
}

// Whether a venue takes exactly this. An odd part of the instrument's own lot is the order's affair, not the venue's.
fn fits(c: &Candidate, quantity: Quantity, instrument_lot: Quantity) -> Result<bool, NumberError> {
    let whole = match c.detail.lot {
        Some(_) => quantity.is_whole_lots(lot(c, instrument_lot)?),
        None => true,
    };
    Ok(whole && quantity >= c.detail.min_quantity)
}

/// The least quantity that is whole lots of both the instrument and the venue.
pub(crate) fn lot(c: &Candidate, instrument: Quantity) -> Result<Quantity, NumberError> {
    let Some(venue) = c.detail.lot else { return Ok(instrument) };
    let (mut a, mut b) = (instrument.unscaled(), venue.unscaled());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    if a == 0 {
        return Ok(instrument);
    }
    (instrument.unscaled() / a)
        .checked_mul(venue.unscaled())
        .ok_or(NumberError::Overflow)
        .and_then(Quantity::from_unscaled)
}

/// Most of one venue.
pub(crate) fn cap(eligible: usize, s: &Split, config: &Config) -> Result<Quantity, NumberError> {
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
    use proptest::prelude::*;

    use super::*;

    fn candidates(sizes: &[Option<i64>]) -> Vec<Candidate> {
        sizes
            .iter()
            .enumerate()
            .map(|(i, size)| Candidate {
                venue: format!("V{i}"),
                available: size.map(|s| Quantity::from_int(s).unwrap()),
                ..Candidate::default()
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

    /// A venue that shows nothing takes the rest of the last slice where those that have some of it cannot.
    #[test]
    fn rule_33_the_rest_of_the_last_slice_goes_to_a_venue_without_a_part_where_it_fits_no_other() {
        let last = Split { is_final: true, ..slice(150) };
        assert_eq!(with_rules(&[(100, Some(100), 0), (0, None, 0)], last), (vec![(0, 100), (1, 50)], 0));
    }

    /// Equal parts of few venues are more than a small largest share.
    #[test]
    fn rule_33_the_cap_leaves_room_for_everything() {
        let config = Config { max_share: "0.2".parse().unwrap(), ..Config::default() };
        let most = |venues| cap(venues, &slice(100), &config).unwrap();
        assert_eq!([2, 4, 5, 6].map(most), [50, 25, 20, 20].map(|n| Quantity::from_int(n).unwrap()));
    }

    #[test]
    fn resting_children_are_not_capped_by_what_is_displayed() {
        assert_eq!(run(&[Some(1), Some(1)], Split { marketable: false, ..slice(100) }), (vec![(0, 50), (1, 50)], 0));
    }

    fn with_rules(rules: &[(i64, Option<i64>, i64)], s: Split) -> (Vec<(usize, i64)>, i64) {
        let int = |q: Quantity| q.to_string().parse().unwrap();
        let mut all = candidates(&rules.iter().map(|r| Some(r.0)).collect::<Vec<_>>());
        for (c, (_, lot, min)) in all.iter_mut().zip(rules) {
            c.detail.lot = lot.map(|lot| Quantity::from_int(lot).unwrap());
            c.detail.min_quantity = Quantity::from_int(*min).unwrap();
        }
        let usable: Vec<usize> = (0..all.len()).collect();
        let (legs, left) = split(&all, &usable, &s, &Config::default()).unwrap();
        (legs.into_iter().map(|(i, q)| (i, int(q))).collect(), int(left))
    }

    /// Lots and least quantities of venues hold for every leg; what fits nowhere is left, never lost.
    #[test]
    fn rule_42_lots_and_least_quantities_of_venues() {
        let round = (1_000, Some(100), 0);
        assert_eq!(with_rules(&[round, (1_000, None, 0)], slice(350)), (vec![(0, 100), (1, 175)], 75));
        let last = Split { is_final: true, ..slice(350) };
        assert_eq!(with_rules(&[round, (1_000, None, 0)], last), (vec![(0, 300), (1, 50)], 0));
        assert_eq!(with_rules(&[round, round], last), (vec![(0, 300)], 50));
        let small = Split { single: true, ..slice(350) };
        assert_eq!(with_rules(&[round, (1_000, None, 0)], small), (vec![(1, 350)], 0));
        let fok = Split { all_or_none: true, ..slice(350) };
        assert_eq!(with_rules(&[round, round], fok), (vec![], 350));
        let fok = Split { all_or_none: true, ..slice(350) };
        assert_eq!(
            with_rules(&[(300, None, 0), (400, None, 0)], fok),
            (vec![(1, 350)], 0),
            "the one that shows it all"
        );
        assert_eq!(with_rules(&[(300, None, 0), (200, None, 0)], fok), (vec![(0, 350)], 0));
        // No venue takes all of a small slice: the best ones share it without a cap, and the rest fits one of them.
        let small = Split { single: true, ..slice(340) };
        assert_eq!(with_rules(&[(100, Some(100), 0), (30, Some(30), 0)], small), (vec![(0, 100), (1, 240)], 0));
        // 500 at least: the cap of one half gives way to it.
        assert_eq!(with_rules(&[(900, None, 500), (900, None, 0)], slice(800)), (vec![(0, 500), (1, 300)], 0));
        assert_eq!(with_rules(&[(400, None, 500), (900, None, 0)], slice(800)), (vec![(1, 400)], 400));
    }

    #[test]
    fn lots_combine_to_the_least_common_multiple() {
        let of = |instrument: &str, venue: &str| {
            let mut c = Candidate::default();
            c.detail.lot = Some(venue.parse().unwrap());
            lot(&c, instrument.parse().unwrap()).unwrap().to_string()
        };
        assert_eq!((of("1", "100").as_str(), of("0.4", "0.6").as_str(), of("5", "1").as_str()), ("100", "1.2", "5"));
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
