//! Breaks the real thing on purpose: three Kafka nodes, registry, ClickHouse, venue, and two processes of each part of the
//! system under load, with a proxy between them. Every few seconds something is killed, stopped, cut or held; now and then all
//! is healed and drained, and the audit judges what is left.
//!
//! The rig shares no code with the engine. It drives the program by its commands, sends signals, stands in the network
//! between the processes, arms fail points by files, and looks at Kafka with a client of its own.
#![forbid(unsafe_code)]
#![allow(clippy::wildcard_enum_match_arm, reason = "a fault names the kinds it is about")]

mod disk;
mod error;
mod faults;
mod http;
mod kind;
mod process;
pub mod proxy;
mod report;
mod rig;
mod schedule;
mod seeded;
mod tally;
mod total;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use fillstream_deploy::LocalConfig;

pub use error::ChaosError;
pub use kind::{Cost, Kind, Role};
pub use report::{Faults, Recovery, Report};
pub use schedule::{Planned, Standing, Step, next, plan};
pub use seeded::Seeded;
pub use tally::{Exit, Invariant};
pub use total::{Total, total};

/// A run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test.
    pub program: PathBuf,
    /// Its configuration, as TOML; addresses, names and sessions are set by the rig.
    pub base_config: String,
    /// Services and folders.
    pub local: LocalConfig,
    /// Seed of the plan and the load.
    pub seed: u64,
    /// Minutes of faults, without the time that drains take.
    pub minutes: u64,
    /// Minutes between drains.
    pub drain_every: u64,
    /// Kinds to choose from.
    pub kinds: Vec<Kind>,
    /// Decisions a second.
    pub rate: u32,
    /// Whether the program was built with fail points.
    pub has_fail_points: bool,
    /// Felt in earlier runs of the same commit, by kind.
    pub before: BTreeMap<Kind, u64>,
    /// What else the command that repeats the run needs, may be empty.
    pub settings: String,
    /// Commit of the code, for the report.
    pub commit: String,
}

impl Options {
    fn repeat(&self) -> String {
        let all = self.kinds.len() == Kind::ALL.len();
        let names: Vec<&str> = self.kinds.iter().map(|k| k.name()).collect();
        let faults = if all { String::new() } else { format!(" --faults {}", names.join(",")) };
        let Self { seed, minutes, drain_every, rate, settings, .. } = self;
        format!(
            "fillstream chaos --seed {seed} --minutes {minutes} --drain-every {drain_every} --rate {rate}{faults}{settings}"
        )
    }
}

/// Runs it. What the audit finds is in the report, not an error; then everything is kept.
///
/// # Errors
/// The rig itself fails, before the first fault.
pub fn run(options: &Options, say: &(dyn Fn(&str) + Sync)) -> Result<Report, ChaosError> {
    let began = Instant::now();
    let mut options = options.clone();
    let mut skipped = BTreeMap::new();
    if !options.has_fail_points {
        for kind in options.kinds.iter().filter(|kind| kind.needs_fail_points()) {
            let why = "the program was built without the feature failpoints";
            skipped.insert(kind.name().to_owned(), why.to_owned());
        }
        options.kinds.retain(|kind| !kind.needs_fail_points());
    }
    if let Err(why) = disk::possible(&options.local.data) {
        for kind in options.kinds.iter().filter(|kind| kind.needs_small_disks()) {
            skipped.insert(kind.name().to_owned(), format!("a small file system cannot be mounted: {why}"));
        }
        options.kinds.retain(|kind| !kind.needs_small_disks());
    }
    if options.kinds.is_empty() || options.minutes == 0 {
        return Err(ChaosError::Options("there is nothing to do".to_owned()));
    }
    // What had come up before a start that failed is not left behind.
    let mut rig = rig::Rig::start(&options, say).inspect_err(|_| {
        let _ = fillstream_deploy::down(&options.local, &|_| {});
    })?;
    let outcome = rig.run();
    let seconds = began.elapsed().as_secs();
    let mut report = Report::of(&options, &rig.tally, seconds, skipped);
    if let Err(error) = &outcome {
        report.clean = false;
        report.ended_early = Some(chain(error));
    }
    if !report.clean {
        rig.world.keep = true;
        report.kept = Some(options.local.data.display().to_string());
    }
    Ok(report)
}

/// An error with its causes, in one line.
fn chain(error: &ChaosError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
