//! `fillstream chaos`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use fillstream_chaos::{Kind, Options, Report};

use crate::cli::ChaosArgs;
use crate::config::Config;

/// Profile of topics.yaml: nine partitions, three copies.
const PROFILE: &str = "chaos";
/// Of transactions, where nothing else is configured.
const USUAL_VERSION: u8 = 1;
/// Often enough that a run of minutes has snapshots to replay from.
const SNAPSHOT_MIN: u64 = 2;
/// Leases of headroom are over soon: what is unused of them is returned, and nothing is written after the rig is at rest.
const LEASE_MS: i64 = 4_000;

pub(crate) fn run(args: &ChaosArgs, config: &Config) -> anyhow::Result<ExitCode> {
    if args.list {
        Kind::ALL.iter().for_each(|kind| println!("{}", kind.name()));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(dir) = &args.total {
        return total(args, dir);
    }
    let mut local = super::local::local_config()?;
    local.data = match &args.data {
        Some(dir) => std::path::absolute(dir)?,
        None => local.data.join("chaos"),
    };
    let mut config = config.clone();
    PROFILE.clone_into(&mut config.kafka.profile);
    config.run.snapshot_interval_min = SNAPSHOT_MIN;
    config.stages.entry("limit-owner".to_owned()).or_default().insert("lease_ms".to_owned(), LEASE_MS.into());
    let mut options = Options {
        program: std::env::current_exe()?,
        base_config: toml::to_string(&config)?,
        local,
        seed: args.seed,
        minutes: args.minutes,
        drain_every: args.drain_every,
        kinds: kinds(&args.faults)?,
        rate: args.rate,
        has_fail_points: cfg!(feature = "failpoints"),
        before: BTreeMap::new(),
        settings: settings(&config),
        commit: commit(),
    };
    let mut clean = true;
    for round in 0..args.rounds {
        options.seed = args.seed.saturating_add(round);
        // The first run makes the folder with its report.
        if let Some(dir) = args.after.as_ref().filter(|dir| dir.exists()) {
            options.before = fillstream_chaos::total(dir, Some(&options.commit))?.felt();
        }
        let report = one(args, &options)?;
        clean &= report.clean;
        if report.kept.is_some() {
            // The next one would write over what is kept.
            break;
        }
    }
    Ok(ExitCode::from(if clean { 0 } else { 3 }))
}

fn one(args: &ChaosArgs, options: &Options) -> anyhow::Result<Report> {
    let report = fillstream_chaos::run(options, &|text| eprintln!("{text}"))?;
    for (kind, why) in &report.skipped {
        eprintln!("SKIPPED {kind}: {why}");
    }
    if let Some(file) = &args.report {
        write(&report, &named(file, options.seed, args.rounds))?;
    }
    eprintln!("{}", report.markdown());
    if let Some(kept) = &report.kept {
        eprintln!("data, logs and history are kept in {kept}; repeat with: {}", report.repeat);
    }
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(report)
}

fn total(args: &ChaosArgs, dir: &Path) -> anyhow::Result<ExitCode> {
    let total = fillstream_chaos::total(dir, args.commit.as_deref())?;
    if args.json {
        println!("{}", serde_json::to_string(&total)?);
    } else {
        print!("{}", total.markdown());
    }
    Ok(ExitCode::from(if total.is_clean() { 0 } else { 3 }))
}

/// The file of a round.
fn named(file: &Path, seed: u64, rounds: u64) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if rounds > 1 { file.with_file_name(format!("{name}-{seed}")) } else { file.to_owned() }
}

/// What of the configuration makes another run of it.
fn settings(config: &Config) -> String {
    let version = config.kafka.transaction_version;
    if version == USUAL_VERSION { String::new() } else { format!(" --set kafka.transaction_version={version}") }
}

/// Kinds by name, or by the part before the slash; all when nothing is asked for.
fn kinds(names: &[String]) -> anyhow::Result<Vec<Kind>> {
    if names.is_empty() {
        return Ok(Kind::ALL.to_vec());
    }
    let asked = |kind: &Kind| names.iter().any(|n| kind.name() == n || kind.name().split('/').next() == Some(n));
    for name in names {
        let known = Kind::ALL.iter().any(|k| k.name() == name || k.name().split('/').next() == Some(name));
        ensure!(known, "--faults {name}: no such kind; `fillstream chaos --list` names them");
    }
    Ok(Kind::ALL.iter().copied().filter(asked).collect())
}

fn write(report: &Report, file: &Path) -> anyhow::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let (json, text) = (file.with_extension("json"), file.with_extension("md"));
    std::fs::write(&json, serde_json::to_vec(report)?).with_context(|| json.display().to_string())?;
    std::fs::write(&text, report.markdown()).with_context(|| text.display().to_string())
}

/// Commit of the working folder; where there is none, the version.
fn commit() -> String {
    let asked = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let text = asked.ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    text.filter(|t| !t.is_empty()).unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_have_files_of_their_own() {
        let file = Path::new("reports/hour");
        assert_eq!(named(file, 7, 1), file);
        assert_eq!(named(file, 7, 2), Path::new("reports/hour-7"));
    }

    #[test]
    fn kinds_are_chosen_by_name_or_by_family() {
        let named = |names: &[&str]| kinds(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(named(&[]).unwrap().len(), Kind::ALL.len());
        assert_eq!(named(&["node/stop"]).unwrap(), [Kind::StopNode]);
        let stops = named(&["stop"]).unwrap();
        assert_eq!(stops, [Kind::StopStages, Kind::StopGateway, Kind::StopSink]);
        assert!(named(&["nothing"]).unwrap_err().to_string().contains("--list"));
    }
}
