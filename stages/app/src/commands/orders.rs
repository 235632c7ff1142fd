//! `fillstream orders`.

mod command;
mod story;

use std::process::ExitCode;

use anyhow::bail;
use fillstream_schemas::execution::{Command, CommandAction};
use serde_json::{Value, json};

use crate::bus::Cluster;
use crate::cli::Orders;
use crate::commands::tail::{decoded, each_of};
use crate::config::Config;
use story::{Life, text_of};

const ORDERS: &str = "execution.orders.v1";

pub(crate) fn run(command: Orders, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Orders::Show { id, json } => show(&id, json, config),
        Orders::Cancel(asked) => command::send(&asked, CommandAction::Cancel, Command::default(), config),
        Orders::Suspend(asked) => command::send(&asked, CommandAction::Suspend, Command::default(), config),
        Orders::Resume(asked) => command::send(&asked, CommandAction::Resume, Command::default(), config),
        Orders::Replace { asked, terms } => {
            command::send(&asked, CommandAction::Replace, command::new_terms(&terms)?, config)
        }
        Orders::Adapt { asked, how } => command::send(&asked, CommandAction::Adapt, command::new_way(&how)?, config),
    }
}

fn show(id: &str, json: bool, config: &Config) -> anyhow::Result<ExitCode> {
    let lives = lives(&Cluster::new(config)?, id)?;
    if lives.is_empty() {
        bail!("no order {id:?}, nor one of such a decision, in {ORDERS}");
    }
    if json {
        let all: Vec<Value> = lives.iter().map(as_json).collect();
        println!("{}", Value::from(all));
    } else {
        for (n, life) in lives.iter().enumerate() {
            if n > 0 {
                println!();
            }
            life.told().iter().for_each(|line| println!("{line}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The orders of this id, or of the decision of this id, in the order of their first events.
fn lives(cluster: &Cluster, id: &str) -> anyhow::Result<Vec<Life>> {
    let mut lives: Vec<Life> = Vec::new();
    let mut partitions = Vec::new();
    let all: Vec<i32> = (0..cluster.partitions(ORDERS)?).collect();
    records(cluster, ORDERS, &all, |partition, value| {
        let order_id = text_of(&value, "order_id");
        if order_id == id || text_of(&value, "decision_event_id") == id {
            match lives.iter_mut().find(|life| life.order_id() == order_id) {
                Some(life) => life.events.push(value),
                None => lives.push(Life { events: vec![value], ..Life::default() }),
            }
            partitions.push(partition);
        }
    })?;
    partitions.sort_unstable();
    partitions.dedup();
    // What is about an order stands where its events do: all are keyed by the portfolio. Children are keyed by session.
    let mut take = |topic: &str, of: fn(&mut Life) -> &mut Vec<Value>| {
        records(cluster, topic, &partitions, |_, value| {
            let order_id = match value.pointer("/execution/order_id") {
                Some(within) => within.as_str().unwrap_or_default(),
                None => text_of(&value, "order_id"),
            };
            if let Some(life) = lives.iter_mut().find(|life| life.order_id() == order_id) {
                of(life).push(value);
            }
        })
    };
    take("execution.validated-orders.v1", |life| &mut life.verdicts)?;
    take("execution.strategies.v1", |life| &mut life.strategies)?;
    take("execution.routing-plans.v1", |life| &mut life.plans)?;
    take("execution.risk-alerts.v1", |life| &mut life.alerts)?;
    take("execution.trades.v1", |life| &mut life.trades)?;
    take("execution.quality.v1", |life| &mut life.quality)?;
    take("execution.audit.v1", |life| &mut life.audit)?;
    Ok(lives)
}

/// Every record of these partitions that is there now, decoded by its writer's schema.
fn records(cluster: &Cluster, topic: &str, partitions: &[i32], mut f: impl FnMut(i32, Value)) -> anyhow::Result<()> {
    each_of(cluster, topic, partitions, crate::cli::From::Beginning, true, |record| {
        if let Some(value) = record.value.as_deref() {
            f(record.partition, decoded(cluster, value)?);
        }
        Ok(true)
    })
}

fn as_json(life: &Life) -> Value {
    json!({
        "order_id": life.order_id(),
        "story": life.story().iter().map(|line| json!({ "at": line.at, "what": line.text })).collect::<Vec<_>>(),
        "events": life.events,
        "verdicts": life.verdicts,
        "strategies": life.strategies,
        "routing_plans": life.plans,
        "risk_alerts": life.alerts,
        "trades": life.trades,
        "quality": life.quality,
        "audit": life.audit,
    })
}
