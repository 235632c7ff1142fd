//! Commands on orders, and their answers.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fillstream_domain::TimestampMicros;
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, ReaderEvent, TopicPartition};
use fillstream_schemas::execution::{Command, CommandAction};
use serde_json::Value;

use super::story::{text_of, what};
use super::{ORDERS, lives};
use crate::bus::{Cluster, now_us};
use crate::cli::{NewTerms, NewWay, OrderCommand};
use crate::commands::tail::decoded;
use crate::config::Config;

const COMMANDS: &str = "execution.commands.v1";

/// Sends a command on the order, with what it changes, and tells its answer.
pub(crate) fn send(
    asked: &OrderCommand,
    action: CommandAction,
    change: Command,
    config: &Config,
) -> anyhow::Result<ExitCode> {
    ensure!(!asked.actor.is_empty() && !asked.reason.is_empty(), "actor and reason must not be empty");
    let cluster = Cluster::new(config)?;
    let mut found = lives(&cluster, &asked.id)?;
    let life = match (found.pop(), found.len()) {
        (None, _) => bail!("no order {:?}, nor one of such a decision, in {ORDERS}", asked.id),
        (Some(life), 0) => life,
        (Some(_), more) => bail!("{:?} names {} orders: give an order_id", asked.id, more + 1),
    };
    let portfolio_id = life.events.first().map_or("", |event| text_of(event, "portfolio_id")).to_owned();
    let now = now_us();
    let command = Command {
        command_id: asked.command_id.clone().unwrap_or_else(|| format!("cli-{now}-{}", std::process::id())),
        timestamp: TimestampMicros::from_micros(now),
        portfolio_id,
        order_id: life.order_id().to_owned(),
        action,
        actor: asked.actor.clone(),
        reason: asked.reason.clone(),
        ..change
    };
    let partition = cluster.router.partition(ORDERS, &command.portfolio_id)?;
    let tp = TopicPartition::new(ORDERS, partition);
    let mut reader = cluster.kafka.reader()?;
    let (_, end) = reader.stable_bounds(&tp)?;
    let mut writer = cluster.writer()?;
    writer.send(COMMANDS, &command)?;
    writer.flush()?;
    println!("command {} on order {} sent", command.command_id, command.order_id);
    reader.start(&[(tp, end)])?;
    let deadline = Instant::now() + Duration::from_secs(asked.wait_s);
    while Instant::now() < deadline {
        let Some(ReaderEvent::Record(record)) = reader.next(Duration::from_millis(200))? else { continue };
        let Some(value) = record.value.as_deref() else { continue };
        let event = decoded(&cluster, value)?;
        if text_of(&event, "command_id") == command.command_id {
            println!("{}  {}", text_of(&event, "timestamp"), what(&event));
            if let Some(obeyed) = is_answer(&event) {
                return Ok(ExitCode::from(u8::from(!obeyed)));
            }
        }
    }
    bail!(
        "no answer within {} s: ask again with --command-id {} (it is honoured once)",
        asked.wait_s,
        command.command_id
    )
}

/// Whether an event about a command is its answer, and if so whether it was obeyed.
fn is_answer(event: &Value) -> Option<bool> {
    match text_of(event, "event_type") {
        "REPLACE_REQUESTED" => None,
        "COMMAND_REFUSED" => Some(false),
        _ => Some(true),
    }
}

fn number(name: &str, text: &Option<String>) -> Option<(String, String)> {
    text.clone().map(|text| (name.to_owned(), text))
}

/// The changes of a command ADAPT; order-management reads the words.
pub(super) fn new_way(asked: &NewWay) -> anyhow::Result<Command> {
    Ok(Command {
        new_urgency: asked.urgency.clone(),
        new_algorithm: asked.algorithm.clone(),
        new_participation_rate: parsed(number("participation", &asked.participation))?,
        ..Command::default()
    })
}

/// The changes of a command REPLACE.
pub(super) fn new_terms(asked: &NewTerms) -> anyhow::Result<Command> {
    Ok(Command {
        new_quantity: parsed(number("quantity", &asked.quantity))?,
        new_limit_price: parsed(number("limit", &asked.limit))?,
        new_stop_price: parsed(number("stop", &asked.stop))?,
        new_horizon: asked.horizon.clone(),
        new_expire_at: parsed(number("expire-at", &asked.expire_at))?,
        ..Command::default()
    })
}

fn parsed<T: std::str::FromStr>(named: Option<(String, String)>) -> anyhow::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    named.map(|(name, text)| text.parse::<T>().with_context(|| format!("--{name} {text:?}"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_no_answer_yet() {
        let is = |event_type: &str| is_answer(&json!({ "event_type": event_type }));
        assert_eq!((is("REPLACE_REQUESTED"), is("REPLACED"), is("SUSPENDED")), (None, Some(true), Some(true)));
        assert_eq!((is("CANCEL_REQUESTED"), is("COMMAND_REFUSED")), (Some(true), Some(false)));
    }

    #[test]
    fn a_way_of_working_is_taken_as_it_is_said() {
        let asked = NewWay { urgency: Some("HIGH".into()), participation: Some("0.15".into()), ..NewWay::default() };
        let command = new_way(&asked).unwrap();
        assert_eq!((command.new_urgency.as_deref(), command.new_algorithm), (Some("HIGH"), None));
        assert_eq!(command.new_participation_rate, "0.15".parse().ok());
        let bad = NewWay { participation: Some("much".into()), ..NewWay::default() };
        assert!(format!("{:#}", new_way(&bad).unwrap_err()).contains("--participation \"much\""));
    }

    #[test]
    fn new_terms_are_exact_and_a_fault_names_its_flag() {
        let asked = NewTerms {
            quantity: Some("1.5".into()),
            limit: Some("100.25".into()),
            stop: Some("99.5".into()),
            ..NewTerms::default()
        };
        let command = new_terms(&asked).unwrap();
        assert_eq!(command.new_stop_price, "99.5".parse().ok());
        assert_eq!((command.new_quantity, command.new_limit_price), ("1.5".parse().ok(), "100.25".parse().ok()));
        let bad = NewTerms { expire_at: Some("tomorrow".into()), ..NewTerms::default() };
        assert!(format!("{:#}", new_terms(&bad).unwrap_err()).contains("--expire-at \"tomorrow\""));
    }
}
