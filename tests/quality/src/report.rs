//! The tables, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fillstream_domain::Algorithm;

use crate::figures::{
    BETTER, Cell, Choice, LEAST_PATHS, OPTIMAL, adaptation, cells, choice, costs, optimal_cells, paired,
};
use crate::measure::{ADAPTIVE, ALGORITHMS, Plan, Sample};
use crate::stats::{Interval, count, mean, mean_interval};

/// Everything that was measured, as text.
#[must_use]
pub fn report(samples: &[Sample], plan: &Plan) -> String {
    let mut out = String::new();
    let cells = cells(samples);
    let _ = writeln!(
        out,
        "Cost in basis points of the order's value at arrival, fees included; what is left at the end is taken then.\n\
         Intervals are 95 %, differences are paired. Seed {}, {} paths a share and scenario.\n",
        plan.seed, plan.paths
    );
    for (cell, samples) in by_market(&cells, true) {
        table(&mut out, &cell, &samples);
    }
    let files = by_market(&cells, false);
    if files.is_empty() {
        let _ = writeln!(out, "No folder of market files was given: the generator only.\n");
    }
    for (cell, samples) in files {
        table(&mut out, &cell, &samples);
    }
    choices(&mut out, &cells);
    adaptations(&mut out, samples, plan.seed);
    out
}

/// Cells of generated paths; or those of files, over all conditions: their windows are too few to be divided.
fn by_market<'a>(cells: &BTreeMap<Cell, Vec<&'a Sample>>, generated: bool) -> BTreeMap<Cell, Vec<&'a Sample>> {
    let mut merged: BTreeMap<Cell, Vec<&Sample>> = BTreeMap::new();
    for (cell, samples) in cells.iter().filter(|(cell, _)| is_generated(cell) == generated) {
        let condition = if generated { cell.condition } else { "ALL" };
        merged.entry(Cell { condition, ..cell.clone() }).or_default().extend(samples);
    }
    merged
}

fn is_generated(cell: &Cell) -> bool {
    cell.market.starts_with("generator")
}

fn name(cell: &Cell) -> String {
    format!("{}, {} {} in {} s, {}", cell.market, cell.value, cell.urgency, cell.horizon_s, cell.condition)
}

fn interval(interval: Option<Interval>, scale: f64) -> String {
    interval.map_or_else(
        || "-".to_owned(),
        |i| format!("{:+.2} [{:+.2}, {:+.2}]", i.mean * scale, i.low * scale, i.high * scale),
    )
}

fn table(out: &mut String, cell: &Cell, samples: &[&Sample]) {
    let few = if samples.len() < LEAST_PATHS { " (too few for a figure)" } else { "" };
    let _ = writeln!(out, "{}: {} paths{few}, selected {}", name(cell), samples.len(), selected(samples));
    let _ = writeln!(
        out,
        "  {:<24} {:>8} {:>7} {:>26} {:>26} {:>7} {:>6} {:>9}",
        "algorithm", "cost", "+-", "less MARKET", "less TWAP", "filled", "whole", "shortfall"
    );
    for algorithm in ALGORITHMS {
        let Some(own) = costs(samples, algorithm) else {
            let _ = writeln!(out, "  {:<24} {:>8}", algorithm.as_str(), "cannot run");
            continue;
        };
        let against = |other| costs(samples, other).filter(|_| other != algorithm).and_then(|c| paired(&own, &c));
        let each = |figure: fn(&crate::desk::Outcome) -> f64| {
            let values: Vec<f64> = samples.iter().filter_map(|s| s.of(algorithm)).map(figure).collect();
            mean(&values)
        };
        let _ = writeln!(
            out,
            "  {:<24} {:>8.2} {:>7} {:>26} {:>26} {:>6.1}% {:>5.0}% {:>9.2}",
            algorithm.as_str(),
            mean(&own),
            mean_interval(&own).map_or_else(|| "-".to_owned(), |i| format!("{:.2}", i.half_width())),
            interval(against(Algorithm::Market), 1.0),
            interval(against(Algorithm::Twap), 1.0),
            100.0 * each(|o| o.filled),
            100.0 * each(|o| f64::from(u8::from(o.filled >= 1.0))),
            each(|o| o.shortfall_bps),
        );
    }
    out.push('\n');
}

/// What the rules chose, with its share.
fn selected(samples: &[&Sample]) -> String {
    let share = |a: Algorithm| count(samples.iter().filter(|s| s.selected == a).count()) / count(samples.len());
    let chosen = ALGORITHMS.iter().map(|a| (a, share(*a))).filter(|(_, share)| *share > 0.0);
    chosen.map(|(a, share)| format!("{} {:.0}%", a.as_str(), 100.0 * share)).collect::<Vec<_>>().join(", ")
}

fn choices(out: &mut String, cells: &BTreeMap<Cell, Vec<&Sample>>) {
    let _ = writeln!(
        out,
        "Choices (trading rule 35): on each path the algorithm that the rules select, against the one that is cheapest in the cell\n  \
         {:<58} {:>5} {:<24} {:<24} {:>24}  optimal",
        "cell", "paths", "chosen most", "cheapest", "behind"
    );
    let judged: Vec<(&Cell, usize, Choice)> = cells
        .iter()
        .filter(|(_, samples)| samples.len() >= LEAST_PATHS)
        .filter_map(|(cell, samples)| Some((cell, samples.len(), choice(samples)?)))
        .collect();
    for (cell, paths, c) in &judged {
        let _ = writeln!(
            out,
            "  {:<58} {:>5} {:<24} {:<24} {:>24}  {}",
            name(cell),
            paths,
            c.chosen.0.as_str(),
            c.best.as_str(),
            interval(c.behind, 1.0),
            if c.is_optimal() { "yes" } else { "no" },
        );
    }
    let mut widths: Vec<f64> = judged.iter().filter_map(|(_, _, c)| c.behind.map(|i| i.half_width())).collect();
    widths.sort_by(f64::total_cmp);
    let few = cells.values().filter(|samples| samples.len() < LEAST_PATHS).count();
    out.push('\n');
    for (where_from, wanted) in [("generated paths", Some(true)), ("market files", Some(false)), ("all", None)] {
        let of = |cell: &Cell| wanted.is_none_or(|generated| generated == is_generated(cell));
        let some: BTreeMap<Cell, Vec<&Sample>> =
            cells.iter().filter(|(cell, _)| of(cell)).map(|(cell, samples)| (cell.clone(), samples.clone())).collect();
        let (hits, of, share) = optimal_cells(&some);
        let Some(percent) = share else { continue };
        let _ = writeln!(
            out,
            "\"90 % optimal\", {where_from}: {hits} of {of} cells, {:.1} % [{:.1}, {:.1}]: {}",
            100.0 * percent.mean,
            100.0 * percent.low,
            100.0 * percent.high,
            verdict(share, OPTIMAL),
        );
    }
    if judged.is_empty() {
        let _ = writeln!(out, "\"90 % optimal\": no cell has {LEAST_PATHS} paths");
    }
    let _ = writeln!(
        out,
        "Half-width of the differences: median {:.2} basis points; what lies within it is not told apart. \
         {few} cells have fewer than {LEAST_PATHS} paths.\n",
        widths.get(widths.len() / 2).copied().unwrap_or_default(),
    );
}

fn adaptations(out: &mut String, samples: &[Sample], seed: u64) {
    let _ = writeln!(
        out,
        "Adaptation (trading rule 35): the same algorithm with and without, paired; what is measured on one path counts once\n  {:<18} {:<24} {:>6} {:>9} {:>24} {:>26}",
        "market", "algorithm", "paths", "without", "with less without", "saved, % of the cost"
    );
    let mut markets: Vec<&str> = samples.iter().map(|s| s.market.as_str()).collect();
    markets.dedup();
    let mut line = |market: &str, algorithm: Option<Algorithm>| {
        let of = |s: &&Sample| s.market == market || market == "generator" && s.market.starts_with("generator");
        let wanted: Vec<&Sample> = samples.iter().filter(of).collect();
        let a = adaptation(&wanted, algorithm, seed);
        let _ = writeln!(
            out,
            "  {:<18} {:<24} {:>6} {:>9.2} {:>24} {:>26}",
            market,
            algorithm.map_or("all", Algorithm::as_str),
            a.paths,
            a.without,
            interval(a.difference, 1.0),
            interval(a.saved, 100.0),
        );
        a.saved
    };
    for market in markets {
        for algorithm in ADAPTIVE {
            line(market, Some(algorithm));
        }
    }
    let all = line("generator", None);
    let _ = writeln!(out, "\n\"15 % better\": {}, on generated paths.", verdict(all, BETTER));
}

/// Whether a figure is above what is said: with its whole interval, not even with its mean, or neither.
fn verdict(figure: Option<Interval>, said: f64) -> &'static str {
    match figure {
        Some(figure) if figure.low > said => "holds",
        Some(figure) if figure.mean > said => "holds on average, but its interval goes below",
        Some(_) => "does not hold",
        None => "cannot be told",
    }
}
