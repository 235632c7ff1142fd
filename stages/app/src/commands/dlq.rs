//! `fillstream dlq`.

mod place;
mod retry;

use std::process::ExitCode;

use anyhow::ensure;
use fillstream_kafka::client::Received;
use fillstream_kafka::topics::dead_letter_topic;
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::engine::DeadLetter;
use fillstream_schemas::wire;
use serde_json::json as object;

use self::place::Place;
use super::tail::{decoded, each};
use crate::bus::Cluster;
use crate::cli::{Dlq, DlqSelect, From};
use crate::config::Config;
use crate::registry::groups;

/// Reason code of the note that a record was retried; it stands among the dead letters, under their lineage.
const RETRIED: &str = "RETRIED";

/// A dead letter where it stands.
struct Found {
    record: Received,
    letter: DeadLetter,
}

pub(crate) fn run(command: Dlq, config: &Config) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config)?;
    match command {
        Dlq::List { json } => list(&letters(&cluster, config)?, json),
        Dlq::Show(select) => show(&cluster, &letters(&cluster, config)?, &select)?,
        Dlq::Retry { select, actor, reason } => {
            return retry::run(&cluster, config, &select, &retry::Why { actor, reason });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every dead letter that is committed now, topic by topic, partition by partition in order.
fn letters(cluster: &Cluster, config: &Config) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    let groups = groups(&config.stages, &config.run.split)?;
    let stages = groups.iter().flat_map(|g| g.stages()).map(|s| s.spec().name);
    for stage in stages.chain(["broker-gateway"]) {
        each(cluster, &dead_letter_topic(stage), From::Beginning, true, |record| {
            if let Some(value) = record.value.as_deref() {
                let letter = DeadLetter::decode(wire::split(value)?.1)?;
                found.push(Found { record, letter });
            }
            Ok(true)
        })?;
    }
    Ok(found)
}

fn list(letters: &[Found], as_json: bool) {
    for Found { letter, .. } in letters {
        if as_json {
            println!("{}", letter.to_json());
        } else {
            let DeadLetter { stage, topic, partition, offset, reason_code, reason_text, failed_at, .. } = letter;
            println!("{failed_at} {stage} {topic}-{partition}@{offset} {reason_code}: {reason_text}");
        }
    }
    if !as_json {
        let retried = letters.iter().filter(|f| f.letter.reason_code == RETRIED).count();
        println!("{} dead letters, {retried} retries", letters.len() - retried);
    }
}

/// The letters that a command names.
fn chosen<'a>(letters: &'a [Found], select: &DlqSelect) -> anyhow::Result<Vec<&'a Found>> {
    let place: Place = select.place.parse().map_err(anyhow::Error::msg)?;
    let of_record = |f: &Found| place.holds(&f.letter.topic, f.letter.partition, f.letter.offset);
    let of_letter = |f: &Found| place.holds(&f.record.topic, f.record.partition, f.record.offset);
    let chosen: Vec<&Found> = letters.iter().filter(|f| of_record(f) || of_letter(f)).collect();
    ensure!(!chosen.is_empty(), "no dead letter of or at {}; `fillstream dlq list` prints them", select.place);
    Ok(chosen)
}

fn show(cluster: &Cluster, letters: &[Found], select: &DlqSelect) -> anyhow::Result<()> {
    for Found { record, letter } in chosen(letters, select)? {
        let key = letter.key.as_deref().map(text_or_hex);
        let value = decoded(cluster, &letter.value)
            .unwrap_or_else(|why| object!({ "undecodable": format!("{why:#}"), "hex": hex(&letter.value) }));
        let at = format!("{}-{}:{}", record.topic, record.partition, record.offset);
        let kept = i64::try_from(letter.value.len()).unwrap_or(i64::MAX);
        let shown = object!({
            "dead_letter": at,
            "record": format!("{}-{}:{}", letter.topic, letter.partition, letter.offset),
            "stage": letter.stage, "failed_at": letter.failed_at.to_string(),
            "reason_code": letter.reason_code, "reason_text": letter.reason_text,
            "lineage": letter.lineage, "sha256": letter.sha256,
            "value_size": letter.value_size, "truncated": kept < letter.value_size,
            "key": key, "value": value,
        });
        println!("{}", if select.json { shown.to_string() } else { serde_json::to_string_pretty(&shown)? });
    }
    Ok(())
}

fn text_or_hex(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
