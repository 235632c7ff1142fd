//! Proves a run from its topics, the venue's journal and ClickHouse alone.
//!
//! The audit shares nothing with the engine and the stages but the contracts: it reads committed records with a Kafka
//! client of its own, the venue's journal and ClickHouse over HTTP, and recomputes what the pipeline claims with arithmetic
//! of its own. Facts are collected once; every check is a pure function of them.
//!
//! It is meant for a system at rest. What is still on its way when it looks is a violation, except where a check says
//! otherwise: fills that the venue reported in its last seconds, and cost analyses that are not due yet.
#![forbid(unsafe_code)]

mod checks;
mod clickhouse;
mod collect;
mod error;
mod facts;
mod http;
mod kafka;
mod market;
mod num;
mod report;
#[cfg(test)]
mod sample;
mod venue;
mod writers;

use std::fmt;
use std::time::Duration;

pub use error::AuditError;
pub use report::{AuditReport, Check};

/// Where a run left its traces.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// Bootstrap servers of Kafka.
    pub kafka: String,
    /// Schema registry, base of the Confluent API; without it every record is taken for one of its contract's own schema.
    pub registry: Option<String>,
    /// ClickHouse; without it the check of its rows examines nothing.
    pub clickhouse: Option<ClickHouse>,
    /// Base URL of the simulated venue; without it the checks against its journal examine nothing.
    pub venue_url: Option<String>,
    /// Topics whose records must be readable, and which ClickHouse must hold where they have a table.
    pub topics: Vec<TopicRef>,
    /// Longest outage that the run had. Market rows may have reached a stage, and cost analyses may have come, as much
    /// later than without one; everything else is judged as ever.
    pub outage: Duration,
}

/// A ClickHouse server, over HTTP.
#[derive(Clone)]
pub struct ClickHouse {
    /// Base URL.
    pub url: String,
    /// Database of the landing tables.
    pub database: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for ClickHouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, database, user, password: _ } = self;
        f.debug_struct("ClickHouse")
            .field("url", url)
            .field("database", database)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// A topic of a run.
#[derive(Clone, Debug)]
pub struct TopicRef {
    /// Name.
    pub name: String,
    /// Full name of the value's contract.
    pub schema: String,
    /// Landing table in ClickHouse, if there is one.
    pub table: Option<String>,
}

/// A committed record of a run whose log the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct CommittedRecord<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: &'a [u8],
    /// Avro without the wire header, or why it cannot be read; `None` is a tombstone.
    pub value: Option<Result<&'a [u8], &'a str>>,
    /// Header `fs-lineage`.
    pub lineage: Option<&'a [u8]>,
    /// Header `traceparent`.
    pub traceparent: Option<&'a [u8]>,
}

/// The same audit for a run whose log the caller holds: record after record, judged at any prefix.
#[derive(Debug)]
pub struct Evidence(collect::Gathering);

impl Evidence {
    /// Nothing yet. `topics` names contracts of topics that no check looks into, and the topics of dead letters.
    ///
    /// # Errors
    /// [`AuditError::NoContract`].
    pub fn new(topics: &[TopicRef]) -> Result<Self, AuditError> {
        collect::Gathering::new(topics).map(Self)
    }

    /// In a live run a stage may have decided without market rows that are this young, microseconds.
    #[must_use]
    pub fn with_lateness(mut self, us: i64) -> Self {
        self.0.facts_mut().lateness_us = Some(us);
        self
    }

    /// One more committed record. Any order of the transactions' decisions is a prefix that can be judged.
    pub fn record(&mut self, record: &CommittedRecord<'_>) {
        self.0.record(record);
    }

    /// One more line of the venue's journal.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn venue_line(&mut self, line: &str) -> Result<(), String> {
        self.0.venue_line(line)
    }

    /// Runs every check. `last_tick_us`: market time that a pacer has reached; `None`: a live run. Before the run is
    /// `at_rest` what has not happened yet is no violation.
    #[must_use]
    pub fn judge(&mut self, last_tick_us: Option<i64>, at_rest: bool) -> AuditReport {
        AuditReport { checks: checks::all(self.0.facts(last_tick_us, at_rest)) }
    }
}

/// Reads a run and judges it. Blocks until done.
///
/// # Errors
/// A source cannot be read; what is read but wrong is a violation, not an error.
pub fn run(config: &AuditConfig) -> Result<AuditReport, AuditError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AuditError::Runtime)?;
    let facts = runtime.block_on(collect::collect(config))?;
    Ok(AuditReport { checks: checks::all(&facts) })
}
