//! `fillstream regroup`: another cut of a path into groups, with everything that the groups remember.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fillstream_core::group::{Group, Path};
use fillstream_kafka::observe::{Health, Metrics};
use fillstream_kafka::regroup::{Regroup, drain};
use fillstream_kafka::telemetry::Tracer;

use super::edges::Observed;
use super::run::driver;
use crate::bus::Cluster;
use crate::cli::RegroupArgs;
use crate::config::Config;
use crate::registry::{paths, stages_of};

pub(crate) fn run(command: &RegroupArgs, config: &Config) -> anyhow::Result<ExitCode> {
    ensure!(!config.run.paced, "a paced run is not regrouped: it is the same however it is cut");
    let name = command.path.as_str();
    ensure!(paths().contains(&name), "no path {name}; there are {}", paths().join(", "));
    let path = Path::new(name, stages_of(name, &config.stages)?)?;
    let from = match (&command.from, config.run.split.get(name)) {
        (Some(cut), _) => cut_into(&path, cut)?,
        (None, Some(parts)) => Group::split(&path, parts)?,
        (None, None) => vec![Group::fused(&path)?],
    };
    let to = cut_into(&path, &command.to)?;
    let cluster = Cluster::new(config)?;
    if command.drain_s > 0 {
        let make = || {
            let observed = Observed { metrics: Metrics::new(), health: Health::new(), tracer: Tracer::off() };
            driver(&cluster, config, &observed, None)
        };
        drain(&cluster.kafka, make, &from, Duration::from_secs(command.drain_s))?;
    }
    let regroup = Regroup { client: &cluster.kafka, registry: &cluster.registry, from: &from, to: &to };
    let moved = regroup
        .run_within(Duration::from_secs(command.wait_s))
        .context("nothing was moved; the groups can go on as they are")?;
    println!("moved {} tasks with {} keys", moved.tasks, moved.keys);
    println!("run it with: {}", setting(name, &to));
    Ok(ExitCode::SUCCESS)
}

fn cut_into(path: &Arc<Path>, cut: &str) -> anyhow::Result<Vec<Arc<Group>>> {
    if cut == "fused" {
        return Ok(vec![Group::fused(path)?]);
    }
    let parts: Vec<Vec<String>> =
        cut.split('/').map(|part| part.split(',').map(|stage| stage.trim().to_owned()).collect()).collect();
    Ok(Group::split(path, &parts)?)
}

fn setting(path: &str, to: &[Arc<Group>]) -> String {
    if let [fused] = to {
        return format!("no entry {} under [run.split]", fused.name());
    }
    let part = |group: &Arc<Group>| {
        let names: Vec<String> = group.stages().iter().map(|s| format!("\"{}\"", s.spec().name)).collect();
        format!("[{}]", names.join(", "))
    };
    let parts: Vec<String> = to.iter().map(part).collect();
    format!("[run.split] {path} = [{}]", parts.join(", "))
}
