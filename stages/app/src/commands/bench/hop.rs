//! `fillstream bench hop`.

use super::args::Latency;
use super::bed::Bed;
use super::latency::{Figures, rounds};
use super::stages::Work;
use super::text::compared;
use crate::config::Config;

pub(super) fn run(args: &Latency, config: &Config) -> anyhow::Result<bool> {
    let runs =
        Bed::with(config, (args.common.partitions, args.common.replication), |bed| rounds(bed, args, Work::Pass))?;
    print(&runs);
    if args.common.json {
        let (warm_up_s, measure_s) = (args.warm_up_s, args.measure_s);
        let all = serde_json::json!({ "bench": "hop", "warm_up_s": warm_up_s, "measure_s": measure_s, "runs": runs });
        println!("{all}");
    }
    Ok(runs.iter().all(|r| r.unanswered == 0))
}

/// Prints medians, and each contender as a multiple of the first.
pub(super) fn print(runs: &[Figures]) {
    let mut rates: Vec<u32> = runs.iter().map(|r| r.rate).collect();
    rates.dedup();
    rates.sort_unstable();
    rates.dedup();
    for rate in rates {
        let of = || runs.iter().filter(move |r| r.rate == rate);
        println!("{rate}/s, milliseconds, median (least-greatest) of the runs, multiple of the first:");
        println!("  p50  {}", compared(of(), |r| r.who, |r| r.p50_ms));
        println!("  p90  {}", compared(of(), |r| r.who, |r| r.p90_ms));
        println!("  p99  {}", compared(of(), |r| r.who, |r| r.p99_ms));
    }
}
