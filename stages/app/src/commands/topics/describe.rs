//! `fillstream topics describe`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, TopicPartition};
use fillstream_kafka::registry::value_subject;
use fillstream_kafka::topics::{Kind, Partitioning, ResolvedTopic, TopicSpec};
use serde_json::{Value as Json, json};

use crate::bus::Cluster;
use crate::cli::TopicsDescribe;

pub(crate) fn run(args: &TopicsDescribe, cluster: &Cluster, wanted: &[ResolvedTopic]) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = if args.topics.is_empty() {
        cluster.catalog.topics.iter().map(|t| t.name.as_str()).collect()
    } else {
        args.topics.iter().map(String::as_str).collect()
    };
    let mut live = Ok(());
    for name in names {
        let topic = wanted.iter().find(|t| t.name == name).with_context(|| {
            format!("no topic {name} in topics.yaml, nor among those that the engine makes for groups and stages")
        })?;
        let spec = cluster.catalog.topics.iter().find(|t| t.name == name);
        // One answer that does not come is enough: every other would take as long.
        let figures = match &live {
            Ok(()) => figures(cluster, name),
            Err(why) => Err(anyhow::anyhow!("{why}")),
        };
        if let Err(why) = &figures {
            live = Err(format!("{why:#}"));
        }
        let figures = figures.unwrap_or_else(|why| json!({ "unknown": format!("{why:#}") }));
        if args.json {
            println!("{}", object(topic, spec, &figures));
        } else {
            println!("{}", text(topic, spec, &figures));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the cluster has of a topic.
fn figures(cluster: &Cluster, name: &str) -> anyhow::Result<Json> {
    let Some(info) = cluster.kafka.describe(&[name])?.remove(name) else { return Ok(json!({ "exists": false })) };
    let reader = cluster.kafka.reader()?;
    let mut partitions = Vec::new();
    for partition in 0..info.partitions {
        let (first, end) = reader.bounds(&TopicPartition::new(name, partition))?;
        partitions.push(json!({ "partition": partition, "first_offset": first, "next_offset": end }));
    }
    Ok(json!({ "exists": true, "topic_id": info.uuid, "partitions": partitions }))
}

fn object(topic: &ResolvedTopic, spec: Option<&TopicSpec>, figures: &Json) -> Json {
    let mut object = json!({
        "topic": topic.name,
        "partitions": topic.partitions,
        "replication": topic.replication,
        "settings": topic.settings,
        "cluster": figures,
    });
    if let (Some(spec), Some(map)) = (spec, object.as_object_mut()) {
        let more = json!({
            "kind": spec.kind, "key": spec.key, "partitioning": spec.partitioning, "schema": spec.value,
            "subject": value_subject(&spec.name), "cleanup": spec.cleanup, "retention": spec.retention.to_string(),
            "owner": spec.owner, "readers": spec.readers, "keyed_state_input": spec.keyed_state_input,
        });
        map.extend(more.as_object().cloned().unwrap_or_default());
    }
    object
}

fn text(topic: &ResolvedTopic, spec: Option<&TopicSpec>, figures: &Json) -> String {
    let mut out = topic.name.clone();
    let mut line = |name: &str, value: String| {
        let _ = write!(out, "\n  {name:<11} {value}");
    };
    match spec {
        Some(spec) => {
            line("kind", kind(spec.kind).to_owned());
            let by = match spec.partitioning {
                Partitioning::Murmur2 => "partition by its murmur2 hash",
                Partitioning::Sessions => "partition by the sessions of topics.yaml",
            };
            line("key", format!("{}, {by}", spec.key));
            line("schema", format!("{}, subject {}", spec.value, value_subject(&spec.name)));
            line("owner", spec.owner.clone());
            line("readers", spec.readers.iter().cloned().collect::<Vec<_>>().join(", "));
            line("kept", format!("{}, {}", spec.retention, spec.cleanup));
        }
        None => line("kind", "made by the engine".to_owned()),
    }
    line("partitions", format!("{}, {} replicas", topic.partitions, topic.replication));
    if let Some(why) = topic.fixed_count {
        line("note", format!("its partition count never changes: {why}"));
    }
    line("cluster", in_words(figures));
    out
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Input => "input: written by the outside",
        Kind::Table => "table: kept in memory by its readers",
        Kind::Output => "output: a contract for everybody",
        Kind::Internal => "internal: between our own processes",
    }
}

fn in_words(figures: &Json) -> String {
    if let Some(why) = figures["unknown"].as_str() {
        return format!("does not say: {why}");
    }
    if figures["exists"] == false {
        return "does not have it; run `fillstream topics apply`".to_owned();
    }
    let partitions = figures["partitions"].as_array().cloned().unwrap_or_default();
    let number = |p: &Json, key: &str| p[key].as_i64().unwrap_or(0);
    let kept: i64 = partitions.iter().map(|p| number(p, "next_offset") - number(p, "first_offset")).sum();
    let ends: Vec<String> = partitions.iter().map(|p| number(p, "next_offset").to_string()).collect();
    format!(
        "{} partitions, {kept} offsets kept (markers of transactions included), next offsets {}, id {}",
        partitions.len(),
        ends.join(" "),
        figures["topic_id"].as_str().unwrap_or_default()
    )
}
