//! `fillstream bench`: one module a bench, and what they share.
//!
//! `hop`, `keyed` and `throughput` let contenders do the same work in turn: the bare transactional loop ([`floor`]), a stage
//! under the Kafka driver ([`stages`]), and a peer in a process of its own ([`contender`]). Load, reader and clock are the same
//! for all of them.

pub mod args;
mod bed;
mod contender;
mod feed;
mod floor;
mod hop;
mod keyed;
mod latency;
mod looped;
mod orders;
mod path;
mod recommend;
mod restore;
mod sink;
mod stages;
mod strategy;
mod text;
mod throughput;
mod worker;

use std::process::ExitCode;

use args::Bench;

use crate::config::Config;

pub(crate) fn run(command: &Bench, config: &Config) -> anyhow::Result<ExitCode> {
    let is_complete = match command {
        Bench::Path(args) => path::run(args, config),
        Bench::Loop(args) => looped::run(args, config),
        Bench::Hop(args) => hop::run(args, config),
        Bench::Keyed(args) => keyed::run(args, config),
        Bench::Throughput(args) => throughput::run(args, config),
        Bench::Restore(args) => restore::run(args, config),
        Bench::Sink(args) => sink::run(args, config),
        Bench::Recommend(args) => recommend::run(args, config),
        Bench::Orders(args) => orders::run(args, config),
        Bench::Strategy(args) => strategy::run(args, config),
        Bench::Worker(args) => worker::run(args, config),
    }?;
    Ok(ExitCode::from(u8::from(!is_complete)))
}
