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
    let chosen: Vec<f64> = samples.iter().map(|s| s.of(s.selected).map(|o| o.cost_bps)).collect::<Option<_>>()?;
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
    /// Pairs.
    pub pairs: usize,
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
    let of = |s: &Sample, a: Algorithm| Some((s.adapted(a)?.cost_bps, s.of(a)?.cost_bps));
    let wanted = ADAPTIVE.iter().filter(|a| algorithm.is_none_or(|only| only == **a));
    let pairs: Vec<(f64, f64)> = wanted.flat_map(|a| samples.iter().filter_map(move |s| of(s, *a))).collect();
    let differences: Vec<f64> = pairs.iter().map(|(with, without)| with - without).collect();
    let without: Vec<f64> = pairs.iter().map(|(_, without)| *without).collect();
    Adaptation {
        pairs: pairs.len(),
        without: mean(&without),
        difference: mean_interval(&differences),
        saved: ratio_interval(&pairs, seed),
    }
}
