//! `fillstream dlq retry`.
//!
//! In one transaction the record goes back to where it came from, and a note of it (a dead letter with the code RETRIED) behind
//! the letter. What has been retried is decided by the last word on its lineage, read after earlier retries are fenced: so
//! two people at once, or one person twice, write the record once.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use fillstream_core::record::header::{LINEAGE, TIME, TRACEPARENT, TRACESTATE};
use fillstream_domain::TimestampMicros;
use fillstream_kafka::client::{KafkaClient as _, Outgoing, TransactionalProducer as _};
use fillstream_kafka::registry::framed;
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::engine::DeadLetter;

use super::{Found, RETRIED, chosen, letters};
use crate::bus::{Cluster, now_us};
use crate::cli::DlqSelect;
use crate::config::Config;

/// The one writer of retries in a cluster: the latest fences the others.
const TRANSACTIONAL_ID: &str = "fillstream.dlq-retry";

/// Who retries, and why it should pass now.
pub(super) struct Why {
    pub(super) actor: String,
    pub(super) reason: String,
}

/// What becomes of a letter.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Retry,
    /// Its last word is a retry.
    Done(String),
    Refused(String),
}

pub(super) fn run(cluster: &Cluster, config: &Config, select: &DlqSelect, why: &Why) -> anyhow::Result<ExitCode> {
    ensure!(!why.actor.trim().is_empty() && !why.reason.trim().is_empty(), "--actor and --reason must say something");
    let mut producer = cluster.kafka.producer(TRANSACTIONAL_ID)?;
    // First: what an earlier retry committed is then read below, and one that has not committed never will.
    producer.init()?;
    let letters = letters(cluster, config)?;
    let mut last: BTreeMap<&str, &DeadLetter> = BTreeMap::new();
    for found in &letters {
        last.insert(&found.letter.lineage, &found.letter);
    }
    let (mut retried, mut refused) = (0, 0);
    let mut seen: Vec<&str> = Vec::new();
    for found in chosen(&letters, select)? {
        let letter = &found.letter;
        if letter.reason_code == RETRIED || seen.contains(&letter.lineage.as_str()) {
            continue;
        }
        seen.push(&letter.lineage);
        // The last of a lineage is the one that counts: the record may have failed again.
        let current = last.get(letter.lineage.as_str()).copied().unwrap_or(letter);
        let at = format!("{}-{}:{}", letter.topic, letter.partition, letter.offset);
        let word = match judge(current, &|topic| cluster.catalog.topics.iter().any(|t| t.name == topic)) {
            Verdict::Retry => {
                write(cluster, &mut producer, found, current, why)?;
                retried += 1;
                "written again".to_owned()
            }
            Verdict::Done(text) => format!("nothing to do: {text}"),
            Verdict::Refused(text) => {
                refused += 1;
                format!("refused: {text}")
            }
        };
        if select.json {
            println!("{}", serde_json::json!({ "record": at, "lineage": letter.lineage, "outcome": word }));
        } else {
            println!("{at}: {word}");
        }
    }
    if !select.json {
        println!("{retried} records written again, {refused} refused");
    }
    Ok(ExitCode::from(u8::from(refused > 0)))
}

fn judge(last: &DeadLetter, is_topic: &dyn Fn(&str) -> bool) -> Verdict {
    if last.reason_code == RETRIED {
        return Verdict::Done(format!("{}; it has not failed since", last.reason_text));
    }
    if !is_topic(&last.topic) {
        return Verdict::Refused(format!("{} is no topic: it came from outside Kafka", last.topic));
    }
    let kept = i64::try_from(last.value.len()).unwrap_or(i64::MAX);
    if kept < last.value_size {
        return Verdict::Refused(format!("only {kept} of its {} bytes were kept", last.value_size));
    }
    Verdict::Retry
}

fn write(
    cluster: &Cluster,
    producer: &mut fillstream_kafka::client::KafkaProducer,
    found: &Found,
    letter: &DeadLetter,
    why: &Why,
) -> anyhow::Result<()> {
    let now = now_us();
    let note = DeadLetter {
        reason_code: RETRIED.to_owned(),
        reason_text: format!("retried by {}: {}", why.actor, why.reason),
        failed_at: TimestampMicros::from_micros(now),
        value: Vec::new(),
        ..letter.clone()
    };
    let lineage = lineage(&letter.lineage).with_context(|| format!("lineage {:?} is none", letter.lineage))?;
    let name = DeadLetter::FULL_NAME;
    let id = cluster.framing().state_id(name)?;
    // It stays in its trace, below the span that refused it.
    let mut headers: Vec<(&str, &[u8])> = vec![(LINEAGE, &lineage)];
    headers.extend([TRACEPARENT, TRACESTATE].into_iter().filter_map(|n| Some((n, found.record.header(n)?))));
    let (note, time) = (framed(id, &note.to_bytes()), now.to_be_bytes());
    producer.begin()?;
    producer.send(&Outgoing {
        topic: &letter.topic,
        partition: letter.partition,
        key: letter.key.as_deref(),
        value: Some(&letter.value),
        headers: &headers,
        timestamp_ms: now / 1_000,
    })?;
    producer.send(&Outgoing {
        topic: &found.record.topic,
        partition: found.record.partition,
        key: found.record.key.as_deref(),
        value: Some(&note),
        headers: &[(LINEAGE, &lineage), (TIME, &time)],
        timestamp_ms: now / 1_000,
    })?;
    Ok(producer.commit()?)
}

fn lineage(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_whole_came_from_a_topic_and_failed_last_is_retried() {
        let letter = DeadLetter { topic: "t".into(), value: vec![1, 2], value_size: 2, ..DeadLetter::default() };
        let judge = |letter: &DeadLetter| judge(letter, &|topic| topic == "t");
        assert_eq!(judge(&letter), Verdict::Retry);
        let cut = DeadLetter { value_size: 65_537, ..letter.clone() };
        assert!(matches!(judge(&cut), Verdict::Refused(text) if text.contains("2 of its 65537")));
        let stray = DeadLetter { topic: "alpaca".into(), ..letter.clone() };
        assert!(matches!(judge(&stray), Verdict::Refused(_)));
        // A note has no value, and says so by itself.
        let note = DeadLetter { reason_code: RETRIED.into(), value: Vec::new(), ..letter };
        assert!(matches!(judge(&note), Verdict::Done(_)));
    }

    #[test]
    fn lineages_are_hex() {
        assert_eq!(lineage("00ff10"), Some(vec![0, 255, 16]));
        assert_eq!(lineage("0x"), None);
    }
}
