//! `fillstream bench strategy`: what each algorithm costs, by the real stage on paired paths. No Kafka.

use anyhow::Context as _;
use fillstream_quality::{Plan, confidence, measure, report};
use serde::Deserialize as _;

use super::args::Strategy;
use crate::config::Config;

const STAGE: &str = "execution-strategy";

pub(super) fn run(args: &Strategy, config: &Config) -> anyhow::Result<bool> {
    let section = config.stages.get(STAGE).cloned().unwrap_or_default();
    let stage =
        fillstream_execution_strategy::Config::deserialize(section).with_context(|| format!("stages.{STAGE}"))?;
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan {
        seed: args.seed,
        paths: u64::from(args.paths),
        data: args.data.clone(),
        threads: args.threads.map_or_else(all, usize::from),
        config: stage,
    };
    let samples = measure(&plan)?;
    if let Some(file) = &args.confidence {
        std::fs::write(file, confidence(&samples, &plan.config)?).with_context(|| file.display().to_string())?;
    }
    print!("{}", report(&samples, &plan));
    Ok(true)
}
