//! `fillstream decide`: decisions from JSON, the specification's plain form included.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::{AvroRecord as _, json};
use serde_json::Value;

use crate::bus::Cluster;
use crate::cli::Decide;
use crate::config::Config;

pub(crate) fn run(command: &Decide, config: &Config) -> anyhow::Result<ExitCode> {
    let text = if command.file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        text
    } else {
        std::fs::read_to_string(&command.file).with_context(|| command.file.display().to_string())?
    };
    // All are read before the first is sent: a fault in the last line sends nothing.
    let decisions = parse(&text)?;
    let mut writer = Cluster::new(config)?.writer()?;
    for decision in &decisions {
        writer.send("coordination.decisions.v1", decision)?;
    }
    writer.flush()?;
    println!("{} decisions published", decisions.len());
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &str) -> anyhow::Result<Vec<CoordinatedTradingDecision>> {
    if let Ok(value) = json::parse_exact(text) {
        return Ok(vec![decision(value).context("decision")?]);
    }
    for (n, line) in text.lines().enumerate() {
        if let Some(field) = not_a_number(line) {
            bail!("line {}: {field}: NaN and infinities are no numbers", n + 1);
        }
    }
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, line)| {
            let value = json::parse_exact(line).with_context(|| format!("line {}", n + 1))?;
            decision(value).with_context(|| format!("line {}", n + 1))
        })
        .collect()
}

// Many writers put these words where JSON has no number; the parser can only say where, not in which field.
fn not_a_number(line: &str) -> Option<&str> {
    let (mut field, mut opened, mut escaped) = (None, None, false);
    for (at, c) in line.char_indices() {
        match (opened, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(from), '"') => {
                field = line.get(from..at);
                opened = None;
            }
            (None, '"') => opened = Some(at + 1),
            (None, 'N' | 'I')
                if line.get(at..).is_some_and(|rest| rest.starts_with("NaN") || rest.starts_with("Infinity")) =>
            {
                return field;
            }
            _ => {}
        }
    }
    None
}

fn decision(mut value: Value) -> anyhow::Result<CoordinatedTradingDecision> {
    // The specification's name of the field; ours is snake_case everywhere.
    if let Some(object) = value.as_object_mut()
        && let Some(id) = object.remove("eventId")
    {
        anyhow::ensure!(!object.contains_key("event_id"), "eventId and event_id are both given");
        object.insert("event_id".to_owned(), id);
    }
    Ok(CoordinatedTradingDecision::from_json(&value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"eventId": "e1", "timestamp": "2025-06-21T10:30:00.300Z",
        "decision": {"instrument_id": "AAPL", "action": "BUY", "position_size": 0.03, "trade_amount": 30000.00,
                     "share_quantity": 197, "priority": "HIGH"},
        "execution_strategy": {"order_type": "LIMIT", "execution_algorithm": "TWAP", "time_horizon": "4_hours", "urgency": "NORMAL"}}"#;

    #[test]
    fn the_specifications_plain_json_is_valid() {
        let parsed = parse(PLAIN).unwrap();
        let first = parsed.first().unwrap();
        assert_eq!((first.event_id.as_str(), first.decision.share_quantity), ("e1", Some("197".parse().unwrap())));
    }

    #[test]
    fn the_words_are_allowed_in_text() {
        let named = PLAIN.replace("\"e1\"", r#""NaN \" Infinity""#);
        assert_eq!(parse(&named).unwrap().first().unwrap().event_id, "NaN \" Infinity");
        assert_eq!(not_a_number(r#"{"a \" NaN": "Infinity", "b": [1, NaN]}"#), Some("b"));
        assert_eq!(not_a_number(r#"{"a": "NaN", "N": 1}"#), None);
    }

    #[test]
    fn a_fault_names_its_line_and_field() {
        let line = PLAIN.replace('\n', " ");
        for (bad, field) in [
            ("\"share_quantity\": \"many\"", "share_quantity"),
            ("\"share_quantity\": NaN", "share_quantity"),
            ("\"share_quantity\": -Infinity", "share_quantity"),
        ] {
            let text = format!("{line}\n{}", line.replace("\"share_quantity\": 197", bad));
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(error.contains("line 2") && error.contains(field), "{error}");
        }
    }
}
