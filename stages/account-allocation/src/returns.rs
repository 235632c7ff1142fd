//! How the equities of the accounts of a portfolio move together (trading rule 28).
//!
//! An equity is taken once a bar, with the first record of the portfolio in it: what the account record says, and what
//! fills realised since. The returns of two accounts are always of the same time. A bar without records belongs to the
//! next return.

use std::collections::BTreeMap;

use fillstream_domain::{Money, Ratio, TimestampMicros};
use fillstream_models::correlation::{Moments, log_return};
use fillstream_schemas::Finite;
use fillstream_schemas::state::{AllocationMoments, AllocationReturns};

/// Shape of the estimate.
#[derive(Clone, Copy, Debug)]
pub struct Bars {
    /// Length of a bar, microseconds, above zero.
    pub length_us: i64,
    /// Weight of a return against the next one's.
    pub decay: Ratio,
}

/// The state with the equities of a new bar; `None` where the bar has its equities, or fewer than two accounts have one.
#[must_use]
pub fn observe(
    last: Option<&AllocationReturns>,
    portfolio: &str,
    equities: &BTreeMap<String, Money>,
    now: TimestampMicros,
    bars: Bars,
) -> Option<AllocationReturns> {
    let bar = now.micros().div_euclid(bars.length_us.max(1));
    if equities.len() < 2 || last.is_some_and(|last| last.bar >= bar) {
        return None;
    }
    let returns: BTreeMap<&str, f64> = equities
        .iter()
        .filter_map(|(id, after)| Some((id.as_str(), log_return(*last?.equities.get(id)?, *after)?)))
        .collect();
    let mut pairs = BTreeMap::new();
    for (n, first) in equities.keys().enumerate() {
        for second in equities.keys().skip(n + 1) {
            let key = pair(first, second);
            let before = last.and_then(|last| last.pairs.get(&key)).cloned().unwrap_or_default();
            let after = match (returns.get(first.as_str()), returns.get(second.as_str())) {
                (Some(a), Some(b)) => stored(&moments(&before).updated(*a, *b, bars.decay)),
                (Some(_) | None, None) | (None, Some(_)) => before,
            };
            pairs.insert(key, after);
        }
    }
    Some(AllocationReturns { portfolio_id: portfolio.to_owned(), bar, equities: equities.clone(), pairs })
}

/// The correlation of two accounts; `None` with too few samples.
#[must_use]
pub fn correlation(state: &AllocationReturns, a: &str, b: &str, min_samples: i32) -> Option<Ratio> {
    state.pairs.get(&pair(a, b)).and_then(|stored| moments(stored).correlation(min_samples))
}

fn pair(a: &str, b: &str) -> String {
    if a <= b { format!("{a}\n{b}") } else { format!("{b}\n{a}") }
}

fn moments(stored: &AllocationMoments) -> Moments {
    Moments { samples: stored.samples, aa: stored.aa.get(), bb: stored.bb.get(), ab: stored.ab.get() }
}

// Sums of squares of logarithms of numbers of 28 digits: they are finite.
fn stored(moments: &Moments) -> AllocationMoments {
    let finite = |number| Finite::new(number).unwrap_or_default();
    AllocationMoments {
        samples: moments.samples,
        aa: finite(moments.aa),
        bb: finite(moments.bb),
        ab: finite(moments.ab),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARS: Bars = Bars { length_us: 60_000_000, decay: Ratio::ONE };

    fn equities(figures: &[(&str, i64)]) -> BTreeMap<String, Money> {
        figures.iter().map(|(id, money)| ((*id).to_owned(), Money::from_int(*money).unwrap())).collect()
    }

    fn see(state: Option<AllocationReturns>, minute: i64, figures: &[(&str, i64)]) -> Option<AllocationReturns> {
        let now = TimestampMicros::from_micros(minute * 60_000_000 + 7);
        observe(state.as_ref(), "P1", &equities(figures), now, BARS).or(state)
    }

    #[test]
    fn rule_28_one_equity_a_minute_makes_the_returns() {
        let mut state = see(None, 0, &[("A", 100), ("B", 200)]);
        state = see(state, 0, &[("A", 1), ("B", 1)]);
        assert_eq!(
            state.as_ref().unwrap().equities,
            equities(&[("A", 100), ("B", 200)]),
            "the first one of the minute"
        );
        for (minute, a, b) in [(1, 110, 220), (2, 99, 198), (5, 120, 240)] {
            state = see(state, minute, &[("A", a), ("B", b)]);
        }
        let state = state.unwrap();
        assert_eq!(state.pairs["A\nB"].samples, 3);
        assert_eq!(correlation(&state, "B", "A", 3), Some(Ratio::ONE));
        assert_eq!((correlation(&state, "A", "B", 4), correlation(&state, "A", "C", 1)), (None, None));
    }

    #[test]
    fn an_account_that_joins_later_has_fewer_samples_and_one_that_leaves_is_forgotten() {
        let mut state = see(None, 0, &[("A", 100), ("B", 100)]);
        state = see(state, 1, &[("A", 110), ("B", 90), ("C", 100)]);
        state = see(state, 2, &[("A", 120), ("B", 80), ("C", 90)]);
        let samples: Vec<i32> = state.as_ref().unwrap().pairs.values().map(|m| m.samples).collect();
        assert_eq!(samples, [2, 1, 1]);
        state = see(state, 3, &[("A", 120), ("C", 90)]);
        assert_eq!(state.unwrap().pairs.len(), 1);
    }

    #[test]
    fn one_account_alone_needs_no_state() {
        assert_eq!(see(None, 0, &[("A", 100)]), None);
    }

    #[test]
    fn an_account_without_equity_above_zero_has_no_return() {
        let mut state = see(None, 0, &[("A", 100), ("B", 0)]);
        state = see(state, 1, &[("A", 110), ("B", 10)]);
        assert_eq!(state.unwrap().pairs["A\nB"].samples, 0);
    }
}
