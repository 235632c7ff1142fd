//! `fillstream recover`: gives a group its offsets back from its journal.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use fillstream_kafka::driver::{commit_offsets, offsets_from_journal};

use crate::bus::Cluster;
use crate::cli::Recover;
use crate::config::Config;
use crate::registry::groups;

pub(crate) fn run(command: &Recover, config: &Config) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config)?;
    let groups = groups(&config.stages, &config.run.split)?;
    let group = groups.iter().find(|g| g.name() == command.group).with_context(|| {
        let names: Vec<&str> = groups.iter().map(|g| g.name()).collect();
        format!("no group {}; there are {}", command.group, names.join(", "))
    })?;
    let offsets = offsets_from_journal(&cluster.kafka, &mut cluster.framing(), group)?;
    ensure!(!offsets.is_empty(), "the journal of {} is empty: a new group starts by itself", command.group);
    for o in &offsets {
        println!("{} offset {} ({})", o.tp, o.offset, o.metadata);
    }
    if command.commit {
        commit_offsets(&cluster.kafka, group, &offsets)?;
        println!("committed");
    } else {
        println!("nothing is committed; add --commit when no instance of the group runs");
    }
    Ok(ExitCode::SUCCESS)
}
