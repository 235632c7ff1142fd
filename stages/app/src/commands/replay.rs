//! `fillstream replay`: feeds a group's journal again and compares.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use fillstream_kafka::replay::{Question, Replay, Report, What};
use serde_json::json;

use crate::bus::Cluster;
use crate::cli::ReplayArgs;
use crate::config::Config;
use crate::registry::groups;

/// Something differs.
const DIFFERENT: u8 = 3;
/// Orders named of each kind of difference.
const NAMED: usize = 10;

pub(crate) fn run(command: &ReplayArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config)?;
    let groups = groups(&config.stages, &config.run.split)?;
    let group = groups.iter().find(|g| g.name() == command.group).with_context(|| {
        let names: Vec<&str> = groups.iter().map(|g| g.name()).collect();
        format!("no group {}; there are {}", command.group, names.join(", "))
    })?;
    let replay = Replay {
        client: cluster.kafka.clone(),
        registry: Arc::clone(&cluster.registry),
        router: (*cluster.router).clone(),
        group: Arc::clone(group),
        config_hash: config.decision_hash(),
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        partition: command.partition,
        from: command.from,
        to: command.to,
        question: if command.what_if { Question::WhatIf } else { Question::Same },
    };
    let report = replay.run()?;
    if command.json {
        print_json(&report)
    } else {
        print(&report)
    }
    Ok(if report.is_identical() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn print(report: &Report) {
    for task in &report.tasks {
        let Some((from, to)) = task.range else {
            println!("partition {}: nothing to replay", task.partition);
            continue;
        };
        println!(
            "partition {}: {} batches from {from} to {to}, begun after batch {}; {} records and {} states compared, {} differences",
            task.partition,
            task.batches,
            task.begun_after,
            task.records,
            task.states,
            task.differences.len()
        );
    }
    for ((topic, what), kind) in kinds(report) {
        let named: Vec<&str> = kind.orders.iter().map(String::as_str).take(NAMED).collect();
        let more = if kind.orders.len() > NAMED { ", ..." } else { "" };
        println!("{topic} {what}: {} records, {} orders: {}{more}", kind.count, kind.orders.len(), named.join(", "));
        println!("    {}", kind.example);
    }
    let verdict = if report.is_identical() { "identical" } else { "different" };
    println!("{verdict}: {} batches, {} records compared", report.batches(), report.records());
}

/// Differences of one topic and field.
#[derive(Default)]
struct Kind {
    count: usize,
    orders: std::collections::BTreeSet<String>,
    example: String,
}

fn kinds(report: &Report) -> BTreeMap<(String, String), Kind> {
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    for d in report.differences() {
        let found: Vec<(String, String)> = match &d.what {
            What::OnlyRecorded => vec![("not written again".to_owned(), String::new())],
            What::OnlyReplayed => vec![("written only now".to_owned(), String::new())],
            What::Around(text) => vec![("around the value".to_owned(), text.clone())],
            What::Fields(fields) => {
                fields.iter().map(|f| (f.field.clone(), format!("{} became {}", f.recorded, f.replayed))).collect()
            }
        };
        for (what, example) in found {
            let kind = kinds.entry((d.topic.clone(), what)).or_default();
            kind.count += 1;
            kind.orders.insert(d.order_id.clone().unwrap_or_else(|| d.key.clone()));
            if kind.example.is_empty() {
                let (partition, sequence, key) = (d.partition, d.sequence, &d.key);
                kind.example = format!("such as {key}, partition {partition}, batch {sequence}: {example}");
            }
        }
    }
    kinds
}

fn print_json(report: &Report) {
    let tasks = report.tasks.iter().map(|t| {
        json!({
            "partition": t.partition,
            "begun_after": t.begun_after,
            "from": t.range.map(|r| r.0.to_string()),
            "to": t.range.map(|r| r.1.to_string()),
            "batches": t.batches,
            "records": t.records,
            "states": t.states,
            "differences": t.differences.len(),
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let kinds = kinds(report).into_iter().map(|((topic, what), kind)| {
        json!({"topic": topic, "what": what, "records": kind.count, "orders": kind.orders, "example": kind.example})
    });
    let kinds: Vec<_> = kinds.collect();
    println!("{}", json!({"identical": report.is_identical(), "tasks": tasks, "differences": kinds}));
}
