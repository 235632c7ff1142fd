//! How often each algorithm beat the others: what the stage's confidence is read from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fillstream_domain::{Algorithm, Money};
use fillstream_execution_strategy::Config;
use fillstream_execution_strategy::confidence::{HEADER, Size, cell};

use crate::error::QualityError;
use crate::measure::{ALGORITHMS, Sample};

/// Paths below which a comparison is not written.
const LEAST: usize = 20;

/// Paths on which an algorithm met another: all, won, and alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Met {
    paths: usize,
    won: usize,
    alike: usize,
}

impl Met {
    fn of(samples: &[&Sample], algorithm: Algorithm, other: Algorithm) -> Self {
        let mut met = Self::default();
        for (own, theirs) in samples.iter().filter_map(|s| s.of(algorithm).zip(s.of(other))) {
            met.paths += 1;
            met.won += usize::from(own.cost_bps < theirs.cost_bps);
            met.alike += usize::from(own.cost_bps == theirs.cost_bps);
        }
        met
    }

    /// Whether it was beaten less often than another one: shares compared without rounding.
    fn is_less(&self, other: &Self) -> bool {
        (2 * self.won + self.alike) * other.paths < (2 * other.won + other.alike) * self.paths
    }
}

/// The comparisons on generated paths, as the file that ships with the stage: for each cell and algorithm those with the alternative that
/// it beat least often. One path counts once a cell.
///
/// # Errors
/// A value out of range.
pub fn confidence(samples: &[Sample], config: &Config) -> Result<String, QualityError> {
    let mut cells: BTreeMap<String, (BTreeSet<&str>, Vec<&Sample>)> = BTreeMap::new();
    for sample in samples.iter().filter(|s| s.market.starts_with("generator")) {
        let is_high = sample.of(Algorithm::Market).is_some_and(|o| o.impact_is_high);
        let size = Size::of(Money::from_int(sample.order.value)?, is_high, config);
        let of_cell = cells.entry(cell(size, sample.order.urgency, sample.condition)).or_default();
        if of_cell.0.insert(&sample.path) {
            of_cell.1.push(sample);
        }
    }
    let mut out = format!("{HEADER}\n");
    for (cell, (_, samples)) in &cells {
        for algorithm in ALGORITHMS {
            let others = ALGORITHMS.iter().filter(|other| **other != algorithm);
            let met =
                others.map(|other| (other, Met::of(samples, algorithm, *other))).filter(|(_, m)| m.paths >= LEAST);
            let hardest = met.reduce(|a, b| if b.1.is_less(&a.1) { b } else { a });
            let Some((against, Met { paths, won, alike })) = hardest else { continue };
            let _ = writeln!(out, "{cell},{},{},{paths},{won},{alike}", algorithm.as_str(), against.as_str());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use fillstream_domain::{MarketCondition, Urgency};

    use super::*;
    use crate::desk::{OrderSpec, Outcome};

    fn sample(n: usize, costs: [f64; 3]) -> Sample {
        let (selected, condition) = (Algorithm::Market, MarketCondition::Normal);
        let of = |(used, cost_bps): (Algorithm, f64)| {
            Some(Outcome {
                selected,
                used,
                condition,
                impact_is_high: false,
                cost_bps,
                shortfall_bps: 0.0,
                filled: 1.0,
            })
        };
        // MARKET, LIMIT and TWAP run; nothing else can.
        let outcomes = ALGORITHMS.iter().copied().zip(costs).map(of).chain([None; 6]).collect();
        Sample {
            market: "generator X".to_owned(),
            path: format!("p{n}"),
            order: OrderSpec { value: 30_000, urgency: Urgency::High, horizon_s: 1 },
            condition,
            selected,
            outcomes,
            adaptive: vec![None; 4],
        }
    }

    #[test]
    fn rule_35_a_line_is_the_alternative_that_was_beaten_least_often_and_a_path_counts_once() {
        // MARKET beats LIMIT on 30 of 40 paths; it is like TWAP on 10 and beats it on 15.
        let costs = |n: usize| {
            let limit = if n < 30 { 2.0 } else { 0.5 };
            let twap = if n < 10 {
                1.0
            } else if n < 25 {
                3.0
            } else {
                0.1
            };
            [1.0, limit, twap]
        };
        let mut samples: Vec<Sample> = (0..40).map(|n| sample(n, costs(n))).collect();
        let dearer = |s: &Sample| Sample { order: OrderSpec { value: 40_000, ..s.order.clone() }, ..s.clone() };
        let again: Vec<Sample> = samples.iter().map(dearer).collect();
        samples.extend(again);
        samples.push(Sample { market: "fx_tick".to_owned(), ..sample(99, [0.0, 9.0, 9.0]) });
        let csv = confidence(&samples, &Config::default()).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.first(), Some(&HEADER));
        assert!(lines.contains(&"MEDIUM,HIGH,NORMAL,MARKET,TWAP,40,15,10"), "{csv}");
        assert!(lines.contains(&"MEDIUM,HIGH,NORMAL,LIMIT,MARKET,40,10,0"), "{csv}");
        assert_eq!(lines.len(), 4, "what cannot run has no line: {csv}");
        assert_eq!(confidence(&samples[..19], &Config::default()).unwrap().lines().count(), 1, "too few");
    }
}
