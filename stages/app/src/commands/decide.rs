//! `fillstream decide`: decisions from JSON, the specification's plain form included.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
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
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, line)| {
            let value = json::parse_exact(line).with_context(|| format!("line {}", n + 1))?;
            decision(value).with_context(|| format!("line {}", n + 1))
        })
        .collect()
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
    fn a_fault_names_its_line_and_field() {
        let line = PLAIN.replace('\n', " ");
        for (bad, field) in [("\"share_quantity\": \"many\"", "share_quantity"), ("\"share_quantity\": NaN", "line 2")]
        {
            let text = format!("{line}\n{}", line.replace("\"share_quantity\": 197", bad));
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(error.contains("line 2") && error.contains(field), "{error}");
        }
    }
}
