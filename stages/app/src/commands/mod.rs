//! One module a command.

pub mod audit;
pub mod bench;
mod chaos;
mod completions;
mod config;
mod control;
mod controls;
mod decide;
mod dlq;
pub mod edges;
pub mod local;
mod orders;
pub mod recover;
mod regroup;
mod replay;
pub mod run;
mod schemas;
mod sim;
mod tail;
mod topics;
mod topology;
mod venue;

use std::process::ExitCode;

pub use schemas::register as register_schemas;
pub use tail::each as tail_each;
pub use topics::apply as apply_topics;

use crate::cli::{Cli, Command};
use crate::config::{Config, Sources, file};

/// Runs the command.
///
/// # Errors
/// What failed, with its causes.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let sources = Sources { file: file(cli.config.as_deref()), set: cli.set };
    let config = || Config::load(&sources);
    match cli.command {
        Command::Local(c) => local::run(c),
        Command::Topics(c) => topics::run(c, &config()?),
        Command::Schemas(c) => schemas::run(c, config),
        Command::Config(c) => config::run(c, &sources),
        Command::Topology(c) => topology::run(&c, &config()?),
        Command::Run(c) => run::run(&c, &config()?),
        Command::Venue(c) => venue::run(&c),
        Command::Decide(c) => decide::run(&c, &config()?),
        Command::Tail(c) => tail::run(&c, &config()?),
        Command::Orders(c) => orders::run(c, &config()?),
        Command::Dlq(c) => dlq::run(c, &config()?),
        Command::Completions(c) => completions::run(&c),
        Command::Control(c) => control::run(c, &config()?),
        Command::Controls(c) => controls::run(&c),
        Command::Kill(c) => control::kill(&c, &config()?),
        Command::Release(c) => control::release(&c, &config()?),
        Command::Recover(c) => recover::run(&c, &config()?),
        Command::Replay(c) => replay::run(&c, &config()?),
        Command::Regroup(c) => regroup::run(&c, &config()?),
        Command::Audit(c) => audit::run(&c, &config()?),
        Command::Demo(c) => crate::demo::run(&c, &config()?),
        Command::Sim(c) => sim::run(&c, &config()?),
        Command::Chaos(c) => chaos::run(&c, &config()?),
        Command::ChaosLoad(c) => crate::live::upstream::run(&c, &config()?),
        Command::Bench(c) => bench::run(&c, &config()?),
        Command::LiveWorld { minutes } => crate::live::serve(minutes, &config()?),
    }
}
