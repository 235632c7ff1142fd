//! `fillstream bench loop`.

use std::time::Duration;

use super::args::{BenchLoop, Common, Who};
use super::bed::Bed;
use super::contender::{Job, Kind};
use super::latency::{Figures, Load, measure};
use super::stages::Work;
use crate::config::Config;

/// As the order path's records are, in the middle.
const VALUE_BYTES: u32 = 300;
const KEYS: u32 = 10_000;

#[derive(serde::Serialize)]
struct Run {
    transactional_ids: u8,
    outputs: u8,
    #[serde(flatten)]
    figures: Figures,
}

pub(super) fn run(args: &BenchLoop, config: &Config) -> anyhow::Result<bool> {
    let runs = Bed::with(config, (args.partitions, args.replication), |bed| rounds(bed, args))?;
    for run in &runs {
        print!("{} ids, {} topics: {}", run.transactional_ids, run.outputs, run.figures.text());
    }
    if args.json {
        println!("{}", serde_json::json!({ "bench": "loop", "measure_s": args.measure_s, "runs": runs }));
    }
    Ok(runs.iter().all(|r| r.figures.unanswered == 0))
}

fn rounds(bed: &Bed, args: &BenchLoop) -> anyhow::Result<Vec<Run>> {
    let common = Common {
        partitions: args.partitions,
        replication: args.replication,
        bytes: VALUE_BYTES,
        keys: KEYS,
        rounds: args.rounds,
        who: vec![Who::Loop],
        peer: None,
        peer_commit_ms: 0,
        json: args.json,
    };
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        for rate in &args.rates {
            for ids in &args.transactional_ids {
                eprintln!("round {} of {}: {rate}/s with {ids} ids", round + 1, args.rounds);
                let job = Job {
                    bed,
                    common: &common,
                    work: Work::Pass,
                    number: runs.len(),
                    loop_topics: usize::from(args.outputs),
                    loop_ids: usize::from(*ids),
                    loop_every: Duration::ZERO,
                };
                let load = Load { rate: *rate, warm_up_s: args.warm_up_s, measure_s: args.measure_s };
                let figures = measure(&job, Kind::Loop, load)?;
                runs.push(Run { transactional_ids: *ids, outputs: args.outputs, figures });
            }
        }
    }
    Ok(runs)
}
