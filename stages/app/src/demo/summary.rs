//! What came out of a demo: for people, as JSON, and for comparing runs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use fillstream_audit::AuditReport;
use fillstream_core::record::header;
use fillstream_deploy::Endpoints;
use fillstream_schemas::execution::{Control, ExecutionQuality};
use fillstream_schemas::wire;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::watch::Seen;
use crate::bus::Cluster;
use crate::cli::{DemoArgs, From};
use crate::commands::tail_each;
use crate::config::Config;

/// Everything that is reported.
pub struct Report<'a> {
    /// Arguments of the run.
    pub args: &'a DemoArgs,
    /// What was seen on the topics.
    pub seen: &'a Seen,
    /// What the audit says.
    pub audit: &'a AuditReport,
    /// Where the services are.
    pub endpoints: &'a Endpoints,
    /// What the process of the stages was doing at each kill.
    pub killed: &'a [String],
    /// What was done to the kill switch.
    pub controls: &'a [Control],
}

impl Report<'_> {
    /// For people.
    #[must_use]
    pub fn text(&self, paced: Duration, total: Duration) -> String {
        let seen = self.seen;
        let mut out = String::new();
        let percent = |part: u64, whole: u64| (part * 100).checked_div(whole).unwrap_or(0);
        let _ = writeln!(
            out,
            "\n{} orders of {} decisions, seed {}, on {} partitions",
            seen.orders,
            self.args.decisions,
            self.args.seed,
            seen.partitions.len()
        );
        let _ =
            writeln!(out, "  ended            {}", counts(seen.terminal.iter().map(|(k, v)| ((*k).to_owned(), *v))));
        let _ = writeln!(out, "  refused          {}", counts(seen.refusals.iter().map(|(k, v)| (k.clone(), *v))));
        let _ = writeln!(
            out,
            "  refused by risk  {} % of {} checked",
            percent(seen.refused_by_risk, seen.validated),
            seen.validated
        );
        let _ = writeln!(out, "  limit used       up to {} %", seen.utilisation);
        let named =
            |m: &std::collections::BTreeMap<&'static str, u64>| counts(m.iter().map(|(k, v)| ((*k).to_owned(), *v)));
        let _ = writeln!(
            out,
            "  shared           {} by several accounts; shares {}",
            seen.shared_orders.len(),
            named(&seen.shares)
        );
        let _ = writeln!(out, "  commands         {}", named(&seen.answers));
        let ends = |name: &str| seen.child_ends.get(name).copied().unwrap_or(0);
        let children = seen.children;
        let _ = writeln!(
            out,
            "  child orders     {children}: filled {} %, cancelled {} %, rejected {} %, partly filled {} %; {} plans split",
            percent(ends("filled"), children),
            percent(ends("cancelled"), children),
            percent(ends("rejected"), children),
            percent(seen.partly_filled, children),
            seen.split_plans,
        );
        let by_broker: Vec<String> =
            seen.brokers.iter().map(|(b, n)| format!("{b} {} %", percent(*n, children))).collect();
        let _ = writeln!(out, "  brokers          {}; {} plans routed again", by_broker.join(", "), seen.reroutes);
        let fills: u64 = seen.fills.values().sum();
        let by_venue: Vec<String> = seen.fills.iter().map(|(v, n)| format!("{v} {} %", percent(*n, fills))).collect();
        let _ = writeln!(out, "  fills            {fills}: {}", by_venue.join(", "));
        let (p50, p99) = (percentile(&seen.latency_us, 50), percentile(&seen.latency_us, 99));
        let _ = writeln!(out, "  decision to first child order (OS clock, paced): p50 {p50} ms, p99 {p99} ms");
        for (n, phase) in self.killed.iter().enumerate() {
            let _ = writeln!(out, "  kill -9, {:>2}      {phase}", n + 1);
        }
        let tables = seen.desk.tables(self.controls);
        tables.iter().for_each(|table| out.push_str(&table.text()));
        if let Some(words) = seen.desk.first_reroute() {
            let _ = writeln!(out, "\nthe first reroute\n  {words}");
        }
        out.push_str(&tca_table(seen));
        out.push_str("\naudit\n");
        for c in &self.audit.checks {
            let mark = if c.violations > 0 {
                "FAILED"
            } else if c.examined == 0 {
                "EMPTY "
            } else {
                "ok    "
            };
            let _ = writeln!(out, "  {mark} {:<44} {:>8} examined  {} violations", c.name, c.examined, c.violations);
            c.examples.iter().take(3).for_each(|e| {
                let _ = writeln!(out, "         {e}");
            });
        }
        let _ =
            writeln!(out, "\nmarket time took {:.1} s, everything {:.1} s", paced.as_secs_f32(), total.as_secs_f32());
        let _ = writeln!(out, "ask ClickHouse (while it runs, with --keep) at {}:", self.endpoints.clickhouse);
        let _ = writeln!(out, "  SELECT * FROM fillstream.tca_by_strategy");
        let _ = writeln!(out, "  SELECT * FROM fillstream.order_timeline ORDER BY timestamp LIMIT 20");
        out
    }

    /// One object.
    #[must_use]
    pub fn json(&self) -> Value {
        let seen = self.seen;
        let checks: Vec<Value> = self
            .audit
            .checks
            .iter()
            .map(|c| json!({ "name": c.name, "examined": c.examined, "violations": c.violations }))
            .collect();
        let tables = seen.desk.tables(self.controls);
        let tables: Map<String, Value> = tables.iter().map(|t| (t.name.to_owned(), t.json())).collect();
        json!({
            "decisions": self.args.decisions,
            "orders": seen.terminal,
            "refusals": seen.refusals,
            "child_orders": seen.children,
            "child_ends": seen.child_ends,
            "partly_filled": seen.partly_filled,
            "split_plans": seen.split_plans,
            "reroutes": seen.reroutes,
            "child_orders_by_broker": seen.brokers,
            "shares": seen.shares,
            "shared_orders": seen.shared_orders.len(),
            "commands": seen.answers,
            "fills": seen.fills.values().sum::<u64>(),
            "fills_by_venue": seen.fills,
            "validated": seen.validated,
            "refused_by_risk": seen.refused_by_risk,
            "limit_used_percent": seen.utilisation.to_string(),
            "partitions": seen.partitions,
            "tca_rows": seen.tca,
            "dead_letters": seen.dead_letters,
            "latency_ms": { "decision_to_child_order": {
                "p50": percentile(&seen.latency_us, 50), "p99": percentile(&seen.latency_us, 99) } },
            "kills": self.killed,
            "audit": { "checks": checks },
            "tables": tables,
            "first_reroute": seen.desk.first_reroute(),
            "seed": self.args.seed,
            "services": { "kafka": self.endpoints.kafka, "registry": self.endpoints.registry, "clickhouse": self.endpoints.clickhouse },
        })
    }
}

fn counts(items: impl Iterator<Item = (String, u64)>) -> String {
    let all: Vec<String> = items.map(|(k, v)| format!("{k} {v}")).collect();
    all.join(", ")
}

/// Milliseconds with one digit.
fn percentile(us: &[u64], p: usize) -> f64 {
    let mut sorted = us.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * p / 100).min(sorted.len().saturating_sub(1));
    #[expect(clippy::cast_precision_loss, reason = "a latency for people")]
    let ms = sorted.get(at).copied().unwrap_or(0) as f64 / 1_000.0;
    (ms * 10.0).round() / 10.0
}

fn tca_table(seen: &Seen) -> String {
    let mut groups: std::collections::BTreeMap<&str, Vec<&ExecutionQuality>> = std::collections::BTreeMap::new();
    for row in seen.quality.values() {
        groups.entry(row.algorithm.as_str()).or_default().push(row);
    }
    let mut out = format!(
        "\nalgorithms, by their transaction costs\n{:<24} {:>7} {:>10} {:>12} {:>13} {:>12} {:>12} {:>12}\n",
        "algorithm", "orders", "fill rate", "expected bps", "shortfall bps", "delay", "trading", "opportunity"
    );
    for (algorithm, rows) in groups {
        let n = rows.len();
        let mean = |f: &dyn Fn(&ExecutionQuality) -> String| {
            let sum: f64 = rows.iter().filter_map(|r| f(r).parse::<f64>().ok()).sum();
            #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
            let count = n as f64;
            sum / count
        };
        let _ = writeln!(
            out,
            "{algorithm:<24} {n:>7} {:>10.3} {:>12.2} {:>13.2} {:>12.2} {:>12.2} {:>12.2}",
            mean(&|r| r.efficiency_metrics.fill_rate.to_string()),
            mean(&|r| seen.expected.get(&r.order_id).map(ToString::to_string).unwrap_or_default()),
            mean(&|r| r.implementation_shortfall_bps.to_string()),
            mean(&|r| r.costs.delay_cost.to_string()),
            mean(&|r| r.costs.trading_cost.to_string()),
            mean(&|r| r.costs.opportunity_cost.to_string()),
        );
    }
    out
}

/// Audits the run. The audit itself waits for the sink to catch up.
///
/// # Errors
/// A source cannot be read.
pub fn audit(config: &Config, venue_url: &str) -> anyhow::Result<AuditReport> {
    let audit = crate::commands::audit::audit_config(config, Some(venue_url))?;
    Ok(fillstream_audit::run(&audit)?)
}

/// Writes each output topic as text, a line a record: partition, event time, lineage, key, hash of the value, span that
/// wrote it. Sorted by these, so that two runs of a seed give the same files whatever happened on the way.
///
/// # Errors
/// A topic cannot be read or the folder not be written.
pub fn dump(cluster: &Cluster, config: &Config, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut topics: Vec<String> = cluster
        .catalog
        .topics
        .iter()
        .map(|t| t.name.clone())
        .filter(|t| t.starts_with("execution.") && t != "execution.clock.v1" && t != "execution.controls.v1")
        .collect();
    for group in crate::registry::groups(&config.stages, &config.run.split)? {
        topics.extend(group.stages().iter().map(|s| fillstream_kafka::topics::dead_letter_topic(s.spec().name)));
    }
    for topic in topics {
        let mut lines = Vec::new();
        tail_each(cluster, &topic, From::Beginning, true, |record| {
            let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let time = record.header(header::TIME).and_then(|b| b.try_into().ok()).map_or(0, i64::from_be_bytes);
            let lineage = record.header(header::LINEAGE).map(hex).unwrap_or_default();
            let key = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            // Without the schema id: a registry numbers as it likes.
            let value =
                record.value.as_deref().map(|v| wire::split(v).map_or(v, |(_, payload)| payload)).unwrap_or_default();
            let trace = record.header(header::TRACEPARENT).map(String::from_utf8_lossy).unwrap_or("-".into());
            let hash = hex(&Sha256::digest(value));
            lines.push(format!("{} {time} {lineage} {key} {hash} {trace}", record.partition));
            Ok(true)
        })?;
        lines.sort();
        let mut file = std::fs::File::create(dir.join(&topic)).with_context(|| topic.clone())?;
        for line in lines {
            writeln!(file, "{line}")?;
        }
    }
    Ok(())
}
