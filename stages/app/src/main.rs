//! The one binary, `fillstream`.
#![forbid(unsafe_code)]
#![allow(unreachable_pub, reason = "a binary has no outside")]
#![allow(clippy::wildcard_enum_match_arm, reason = "commands and displays name what they show, not every case")]

mod bus;
mod cli;
mod commands;
mod config;
mod demo;
#[cfg(feature = "failpoints")]
mod failpoints;
mod live;
mod phase;
mod registry;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

/// A record is some thirty small pieces of memory on its way: the allocator is the largest single cost of a stage that does
/// little (ADR 12).
#[cfg(not(feature = "count-allocations"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: stats_alloc::StatsAlloc<mimalloc::MiMalloc> = stats_alloc::StatsAlloc::new(mimalloc::MiMalloc);

/// Allocations so far, by whatever thread; `None` where they are not counted.
#[must_use]
pub fn allocations() -> Option<u64> {
    #[cfg(feature = "count-allocations")]
    return u64::try_from(ALLOCATOR.stats().allocations).ok();
    #[cfg(not(feature = "count-allocations"))]
    None
}

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("FILLSTREAM_LOG").unwrap_or_else(|_| EnvFilter::new(cli.default_log()));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if cli.log_json {
        logs.json().init()
    } else {
        logs.with_target(false).init()
    }
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<config::Faults>() { 2 } else { 1 })
        }
    }
}
