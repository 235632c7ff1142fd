//! `fillstream schemas`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use fillstream_kafka::registry::value_subject;
use fillstream_schemas::{catalog, compat, contract};

mod diff;

use crate::bus::Cluster;
use crate::cli::Schemas;
use crate::config::Config;

pub(crate) fn run(command: Schemas, config: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    match command {
        Schemas::Check { released } => {
            let report = compat::check(&released)?;
            for note in &report.notes {
                println!("note: {}: {}", note.full_name, note.text);
            }
            for found in &report.breaks {
                println!("break: {found}");
            }
            println!("{} released versions compared, {} breaks", report.compared, report.breaks.len());
            Ok(ExitCode::from(u8::from(!report.breaks.is_empty())))
        }
        Schemas::Diff(args) => diff::run(&args, config),
        Schemas::Register => {
            let n = register(&Cluster::new(&config()?)?)?;
            println!("{n} subjects registered");
            Ok(ExitCode::SUCCESS)
        }
        Schemas::Release { released, contracts } => {
            for c in catalog().iter().filter(|c| contracts.is_empty() || contracts.iter().any(|n| n == c.full_name)) {
                if let Some(version) = compat::release(&released, c)? {
                    println!("{} version {version}", c.full_name);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Registers the contract of every topic, and gives the number of subjects.
///
/// # Errors
/// The registry refuses a contract or does not answer.
pub fn register(cluster: &Cluster) -> anyhow::Result<usize> {
    let mut subjects = BTreeSet::new();
    for topic in &cluster.catalog.topics {
        if let Some(c) = contract(&topic.value) {
            cluster.registry.register(&value_subject(&topic.name), c.schema)?;
            subjects.insert(topic.name.clone());
        }
    }
    Ok(subjects.len())
}
