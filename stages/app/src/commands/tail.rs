//! `fillstream tail`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, ReaderEvent, Received, TopicPartition};
use fillstream_schemas::{json, schema::Schema, wire};
use serde_json::{Map, Value, json as object};

use crate::bus::Cluster;
use crate::cli::{From, Tail};
use crate::config::Config;

pub(crate) fn run(command: &Tail, config: &Config) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config)?;
    let mut left = command.count.unwrap_or(u64::MAX);
    each(&cluster, &command.topic, command.from, command.until_end, |record| {
        print(&cluster, &record, command.json)?;
        left -= 1;
        Ok(left > 0)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Calls `f` with each committed record until it says false, or until the ends of now when `until_end`.
pub fn each(
    cluster: &Cluster,
    topic: &str,
    from: From,
    until_end: bool,
    f: impl FnMut(Received) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let all: Vec<i32> = (0..cluster.partitions(topic)?).collect();
    each_of(cluster, topic, &all, from, until_end, f)
}

/// The same of some partitions.
pub(super) fn each_of(
    cluster: &Cluster,
    topic: &str,
    partitions: &[i32],
    from: From,
    until_end: bool,
    mut f: impl FnMut(Received) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut reader = cluster.kafka.reader()?;
    let (mut start, mut open) = (Vec::new(), std::collections::BTreeMap::new());
    for partition in partitions.iter().copied() {
        let tp = TopicPartition::new(topic, partition);
        let (first, end) = reader.stable_bounds(&tp)?;
        let offset = match from {
            From::Beginning => first,
            From::End => end,
        };
        if offset < end {
            open.insert(partition, end);
        }
        start.push((tp, offset));
    }
    if until_end && open.is_empty() {
        return Ok(());
    }
    reader.start(&start)?;
    loop {
        match reader.next(Duration::from_millis(500))? {
            None => {}
            Some(ReaderEvent::End { tp, .. }) => {
                open.remove(&tp.partition);
            }
            Some(ReaderEvent::Record(record)) => {
                if open.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                    open.remove(&record.partition);
                }
                if !f(record)? {
                    return Ok(());
                }
            }
        }
        if until_end && open.is_empty() {
            return Ok(());
        }
    }
}

fn print(cluster: &Cluster, record: &Received, as_json: bool) -> anyhow::Result<()> {
    let key = record.key.as_deref().map(String::from_utf8_lossy);
    let value = record.value.as_deref().map_or(Ok(Value::Null), |value| decoded(cluster, value));
    let mut out = std::io::stdout().lock();
    if as_json {
        let value = value.unwrap_or_else(|e| object!({ "undecodable": format!("{e:#}") }));
        let line = object!({ "topic": &*record.topic, "partition": record.partition, "offset": record.offset,
            "timestamp_ms": record.timestamp_ms, "key": key, "headers": headers(record), "value": value });
        writeln!(out, "{line}")?;
    } else {
        let text = value.map_or_else(|e| format!("undecodable: {e:#}"), |v| v.to_string());
        writeln!(out, "{}-{}@{} {} {text}", record.topic, record.partition, record.offset, key.unwrap_or_default())?;
    }
    Ok(())
}

/// Headers that are text: those for subscribers and the trace. The engine's own are not.
fn headers(record: &Received) -> Value {
    let own = |name: &str| name.starts_with("fs-");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = record.headers.iter().filter(|(name, _)| !own(name));
    headers.map(|(name, value)| (name.clone(), Value::String(text(value)))).collect::<Map<_, _>>().into()
}

/// A value by its writer's schema: what is on the topic, not what we would make of it.
///
/// # Errors
/// It is no such value, or the registry does not know its schema or does not answer.
pub(super) fn decoded(cluster: &Cluster, value: &[u8]) -> anyhow::Result<Value> {
    let (id, payload) = wire::split(value)?;
    let schema = cluster.registry.by_id(id).with_context(|| format!("schema id {id}"))?;
    Ok(json::to_json(&Schema::parse(&schema)?.decode_value(payload)?))
}
