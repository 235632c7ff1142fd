//! What the samples say: cells, comparisons, and the two figures of trading rule 35.

use std::collections::BTreeMap;

use fillstream_domain::Algorithm;

use crate::measure::{ADAPTIVE, ALGORITHMS, Sample};
use crate::stats::{Interval, mean, mean_interval, ratio_interval, share_interval};

/// Paired paths that a cell must have (trading rule 35).
pub const LEAST_PATHS: usize = 200;
/// What the specification says of optimal choices: more than this share.
pub const OPTIMAL: f64 = 0.90;
/// What it says of adaptation: more than this share is saved.
pub const BETTER: f64 = 0.15;

/// Name of a cell: market, order, condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Where the paths come from.
    pub market: String,
    /// Value of the order; it sorts the tables.
    pub value: i64,
    /// Urgency, by name.
    pub urgency: &'static str,
    /// Time allowed, seconds.
    pub horizon_s: i64,
    /// Condition, by name.
    pub condition: &'static str,
}

/// Samples by cell.
#[must_use]
pub fn cells(samples: &[Sample]) -> BTreeMap<Cell, Vec<&Sample>> {
    let mut cells: BTreeMap<Cell, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let cell = Cell {
            market: sample.market.clone(),
            value: sample.order.value,
            urgency: sample.order.urgency.as_str(),
            horizon_s: sample.order.horizon_s,
            condition: sample.condition.as_str(),
        };
        cells.entry(cell).or_default().push(sample);
    }
    cells
}

/// Costs of an algorithm in a cell, path by path; `None` where it could not run on one of them.
#[must_use]
pub fn costs(samples: &[&Sample], algorithm: Algorithm) -> Option<Vec<f64>> {
    samples.iter().map(|s| s.of(algorithm).map(|o| o.cost_bps)).collect()
}

/// First less second, path by path, with its interval.
#[must_use]
pub fn paired(first: &[f64], second: &[f64]) -> Option<Interval> {
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    mean_interval(&differences)
}

/// The choice of the rules in a cell against the best that there was.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What was chosen most often, and on which share of the paths.
    pub chosen: (Algorithm, f64),
    /// The algorithm with the lowest mean cost.
    pub best: Algorithm,
    /// Mean cost of the choice less that of the best, paired; `None`: it is the best on every path.
    pub behind: Option<Interval>,
}

impl Choice {
    /// Lowest or not significantly worse: the interval of what it is behind reaches down to nothing.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.behind.is_none_or(|behind| behind.low <= 0.0)
    }
}

/// Judges the choice in a cell: on each path that of the rules there. `None`: there is nothing to compare.
#[must_use]
pub fn choice(samples: &[&Sample]) -> Option<Choice> {
    let chosen: Vec<f64> = samples.iter().map(|s| s.chosen().map(|o| o.cost_bps)).collect::<Option<_>>()?;
    let measured = ALGORITHMS.iter().filter_map(|a| Some((*a, costs(samples, *a)?)));
    let (best, least) = measured.min_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)))?;
    let often = |a: Algorithm| samples.iter().filter(|s| s.selected == a).count();
    let most = ALGORITHMS.iter().copied().max_by_key(|a| often(*a))?;
    let share = crate::stats::count(often(most)) / crate::stats::count(samples.len());
    let behind = if chosen == least { None } else { paired(&chosen, &least) };
    Some(Choice { chosen: (most, share), best, behind })
}

/// "90 % optimal": cells with enough paths whose choice is optimal, and all such cells.
#[must_use]
pub fn optimal_cells(cells: &BTreeMap<Cell, Vec<&Sample>>) -> (usize, usize, Option<Interval>) {
    let judged: Vec<bool> = cells
        .values()
        .filter(|samples| samples.len() >= LEAST_PATHS)
        .filter_map(|samples| choice(samples))
        .map(|c| c.is_optimal())
        .collect();
    let hits = judged.iter().filter(|optimal| **optimal).count();
    (hits, judged.len(), share_interval(hits, judged.len()))
}

/// The same algorithm with and without adaptation.
#[derive(Clone, Copy, Debug)]
pub struct Adaptation {
    /// Paths. What is measured on one path (several orders, several algorithms) is averaged first: it is not independent.
    pub paths: usize,
    /// Mean cost without, basis points.
    pub without: f64,
    /// Cost with less cost without, basis points.
    pub difference: Option<Interval>,
    /// Share of the cost that is saved; `None` where there is no cost to be saved.
    pub saved: Option<Interval>,
}

/// Adaptation of an algorithm, or of all of them, over samples.
#[must_use]
pub fn adaptation(samples: &[&Sample], algorithm: Option<Algorithm>, seed: u64) -> Adaptation {
    let mut by_path: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for sample in samples {
        for of in ADAPTIVE.iter().filter(|a| algorithm.is_none_or(|only| only == **a)) {
            let Some((with, without)) = sample.adapted(*of).zip(sample.of(*of)) else { continue };
            let pair = by_path.entry(&sample.path).or_default();
            pair.0.push(with.cost_bps);
            pair.1.push(without.cost_bps);
        }
    }
    let pairs: Vec<(f64, f64)> = by_path.values().map(|(with, without)| (mean(with), mean(without))).collect();
    let differences: Vec<f64> = pairs.iter().map(|(with, without)| with - without).collect();
    let without: Vec<f64> = pairs.iter().map(|(_, without)| *without).collect();
    Adaptation {
        paths: pairs.len(),
        without: mean(&without),
        difference: mean_interval(&differences),
        saved: ratio_interval(&pairs, seed),
    }
}

#[cfg(test)]
mod tests {
    use fillstream_domain::{MarketCondition, Urgency};

    use super::*;
    use crate::desk::{OrderSpec, Outcome};

    /// A path on which MARKET costs `market`, TWAP `twap` (and `adapted` with adaptation), and nothing else runs.
    fn sample(n: u32, selected: Algorithm, [market, twap, adapted]: [f64; 3]) -> Sample {
        let condition = MarketCondition::Normal;
        let outcome = |used, cost_bps| Outcome {
            selected,
            used,
            condition,
            impact_is_high: false,
            cost_bps,
            shortfall_bps: cost_bps,
            filled: 1.0,
        };
        let of = |a: &Algorithm| {
            let costs = [(Algorithm::Market, market), (Algorithm::Twap, twap)];
            costs.iter().find(|(of, _)| of == a).map(|(of, cost)| outcome(*of, *cost))
        };
        let adaptive = |a: &Algorithm| (*a == Algorithm::Twap).then(|| outcome(*a, adapted));
        Sample {
            market: "m".to_owned(),
            path: format!("p{n}"),
            order: OrderSpec { value: 1, urgency: Urgency::High, horizon_s: 1 },
            condition,
            selected,
            outcomes: ALGORITHMS.iter().map(of).collect(),
            adaptive: ADAPTIVE.iter().map(adaptive).collect(),
        }
    }

    fn many(n: u32, selected: Algorithm, costs: impl Fn(f64) -> [f64; 3]) -> Vec<Sample> {
        // The path itself moves by far more than what is compared: pairing takes that out.
        (0..n).map(|n| sample(n, selected, costs(f64::from(n % 7) * 100.0))).collect()
    }

    #[test]
    fn rule_35_a_choice_is_optimal_if_it_is_cheapest_or_not_significantly_dearer() {
        let judge = |samples: &[Sample]| choice(&samples.iter().collect::<Vec<_>>()).unwrap();
        let cheapest = judge(&many(200, Algorithm::Twap, |base| [base + 2.0, base + 1.0, 0.0]));
        assert_eq!((cheapest.best, cheapest.is_optimal()), (Algorithm::Twap, true));
        assert!(cheapest.behind.is_none());
        // A basis point dearer on every path: without pairing it would drown in the moves of the paths.
        let dearer = judge(&many(200, Algorithm::Market, |base| [base + 2.0 + base / 1e4, base + 1.0, 0.0]));
        assert_eq!((dearer.best, dearer.is_optimal()), (Algorithm::Twap, false));
        assert!(dearer.behind.is_some_and(|b| (b.mean - 1.03).abs() < 0.01), "{dearer:?}");
        // Dearer by 0.1 on average, and by 10 more or less from path to path.
        let unclear = judge(&many(200, Algorithm::Market, |base| {
            [base + 0.1 + if base > 250.0 { 10.0 } else { -13.333 }, base, 0.0]
        }));
        assert!(unclear.is_optimal(), "{unclear:?}");
    }

    #[test]
    fn rule_35_only_cells_with_200_paired_paths_are_counted() {
        let good = many(200, Algorithm::Twap, |base| [base + 2.0, base + 1.0, 0.0]);
        let few = many(199, Algorithm::Market, |base| [base + 2.0 + base / 1e4, base + 1.0, 0.0]);
        let other = |s: Sample| Sample { condition: MarketCondition::Trending, ..s };
        let all: Vec<Sample> = good.into_iter().chain(few.into_iter().map(other)).collect();
        assert_eq!(cells(&all).len(), 2);
        let (hits, of, share) = optimal_cells(&cells(&all));
        assert_eq!((hits, of), (1, 1));
        assert!(share.is_some_and(|s| s.low < OPTIMAL), "one cell proves nothing");
    }

    #[test]
    fn rule_35_adaptation_is_the_same_algorithm_on_the_same_path() {
        let samples = many(210, Algorithm::Twap, |base| [0.0, base + 10.0, base + 8.0]);
        let twice: Vec<&Sample> = samples.iter().chain(&samples).collect();
        let a = adaptation(&twice, Some(Algorithm::Twap), 1);
        assert_eq!(a.paths, 210, "two orders on a path are one path");
        assert!(a.difference.is_some_and(|d| (d.mean + 2.0).abs() < 1e-9 && d.half_width() < 1e-9), "{a:?}");
        // 2 of 310 on average.
        assert!(a.saved.is_some_and(|s| (s.mean - 2.0 / 310.0).abs() < 1e-9 && s.high < BETTER), "{a:?}");
        assert_eq!(adaptation(&twice, Some(Algorithm::Vwap), 1).paths, 0);
    }
}
