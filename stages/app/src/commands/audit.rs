//! `fillstream audit`.

use std::process::ExitCode;
use std::time::Duration;

use fillstream_audit::{AuditConfig, ClickHouse, TopicRef};

use crate::bus::Cluster;
use crate::cli::AuditArgs;
use crate::config::Config;

pub(crate) fn run(command: &AuditArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut wanted = audit_config(config, command.venue.as_deref())?;
    wanted.outage = Duration::from_secs(command.outage_s);
    let report = fillstream_audit::run(&wanted)?;
    if command.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        for c in &report.checks {
            println!("{:<44} {:>8} examined  {} violations", c.name, c.examined, c.violations);
            c.examples.iter().for_each(|e| println!("    {e}"));
        }
    }
    // A check that examined nothing proves nothing.
    let clean = report.checks.iter().all(|c| c.violations == 0 && c.examined > 0);
    Ok(ExitCode::from(if clean { 0 } else { 3 }))
}

/// What the audit reads under this configuration.
///
/// # Errors
/// A faulty configuration.
pub fn audit_config(config: &Config, venue_url: Option<&str>) -> anyhow::Result<AuditConfig> {
    let cluster = Cluster::new(config)?;
    let topics = super::edges::sink_topics(&cluster, config)?
        .into_iter()
        .map(|t| TopicRef {
            table: Some(fillstream_clickhouse_sink::table_name(&t.topic)),
            name: t.topic,
            schema: t.contract,
        })
        .collect();
    let ch = &config.clickhouse;
    Ok(AuditConfig {
        kafka: config.kafka.bootstrap_servers.clone(),
        registry: Some(config.registry.url.clone()),
        clickhouse: Some(ClickHouse {
            url: ch.url.clone(),
            database: ch.database.clone(),
            user: ch.user.clone(),
            password: ch.password.clone(),
        }),
        venue_url: Some(venue_url.unwrap_or(&config.venue.url).to_owned()),
        topics,
        outage: Duration::ZERO,
    })
}
