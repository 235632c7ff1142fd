//! `fillstream control`, and its short forms `kill` and `release`.

mod acks;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, ReaderEvent, TopicPartition};
use fillstream_kafka::registry::Frame;
use fillstream_reference::{ControlCommand as Wanted, ControlRequest, Controls, phase, transition};
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::execution::{Control, ControlPhase, RiskOverride};

use crate::bus::{Cluster, now_us};
use crate::cli::{ControlCommand, Kill, OverrideArgs, Release};
use crate::config::Config;
use acks::Acks;

const TOPIC: &str = "execution.controls.v1";
const OVERRIDES: &str = "execution.risk-overrides.v1";

pub(crate) fn kill(command: &Kill, config: &Config) -> anyhow::Result<ExitCode> {
    change(&Cluster::new(config)?, &command.scope, &command.reason, &[(Wanted::Kill, &command.actor)])?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn release(command: &Release, config: &Config) -> anyhow::Result<ExitCode> {
    let signatures = [(Wanted::SignRelease, &*command.actor), (Wanted::SignRelease, &*command.second)];
    change(&Cluster::new(config)?, &command.scope, &command.reason, &signatures)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run(command: ControlCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config)?;
    let (by, wanted, second) = match command {
        ControlCommand::Kill(by) => (by, Wanted::Kill, None),
        ControlCommand::Pause(by) => (by, Wanted::Pause, None),
        ControlCommand::Resume(by) => (by, Wanted::Resume, None),
        ControlCommand::Release { by, second } => (by, Wanted::SignRelease, second),
        ControlCommand::Withdraw(by) => (by, Wanted::Withdraw, None),
        ControlCommand::Override(asked) => return waive(&cluster, &asked),
        ControlCommand::Status { scope } => return status(&cluster, scope.as_deref(), config),
    };
    let mut signatures = vec![(wanted, &*by.actor)];
    signatures.extend(second.as_deref().map(|second| (wanted, second)));
    let mut acks = Acks::follow(&cluster)?;
    let control = change(&cluster, &by.scope, &by.reason, &signatures)?;
    if control.phase == ControlPhase::ReleasePending {
        println!("signed by {}: another person must sign within 15 minutes", control.actor);
    }
    if by.wait_s == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    acks::ask(&cluster, &control)?;
    acks.wait(&control, &config.gateway.sessions, Duration::from_secs(by.wait_s))?;
    let complete = acks.print(&control, &config.gateway.sessions);
    Ok(ExitCode::from(u8::from(!complete)))
}

/// Asks child risk for an override; it answers with an alert of the type OVERRIDE.
fn waive(cluster: &Cluster, asked: &OverrideArgs) -> anyhow::Result<ExitCode> {
    let now = now_us();
    let request = RiskOverride {
        event_id: format!("override/{}/{}/{now}", asked.order, asked.code),
        portfolio_id: asked.portfolio.clone(),
        order_id: asked.order.clone(),
        code: asked.code.clone(),
        actor: asked.actor.clone(),
        second_actor: asked.second.clone(),
        reason: asked.reason.clone(),
        requested_at: TimestampMicros::from_micros(now),
        expires_at: TimestampMicros::from_micros(now + i64::from(asked.minutes) * 60_000_000),
    };
    let mut writer = cluster.writer()?;
    writer.send(OVERRIDES, &request)?;
    writer.flush()?;
    println!("asked until {}; the answer is an alert OVERRIDE in execution.risk-alerts.v1", request.expires_at);
    Ok(ExitCode::SUCCESS)
}

/// Takes the control of a scope through commands, each by its person, and writes where that leads.
fn change(cluster: &Cluster, scope: &str, reason: &str, by: &[(Wanted, &str)]) -> anyhow::Result<Control> {
    let (scope, scope_id) = parse_scope(scope)?;
    let key = key(scope, &scope_id);
    let mut control = read(cluster)?.remove(&key);
    let at = TimestampMicros::from_micros(now_us());
    for (command, actor) in by {
        let request = ControlRequest { command: *command, actor, reason, at };
        let next = transition((scope, &scope_id), control.as_ref(), &request);
        control = Some(next.map_err(|fault| anyhow!("{key}: {fault}"))?);
    }
    let control = control.context("nothing to do")?;
    let mut writer = cluster.writer()?;
    writer.put(TOPIC, &key, &control)?;
    writer.flush()?;
    println!("{key} {} (version {})", control.phase.as_str(), control.version);
    Ok(control)
}

fn status(cluster: &Cluster, scope: Option<&str>, config: &Config) -> anyhow::Result<ExitCode> {
    let wanted = scope.map(parse_scope).transpose()?.map(|(scope, id)| key(scope, &id));
    let mut controls = read(cluster)?;
    controls.retain(|key, _| wanted.as_ref().is_none_or(|wanted| wanted == key));
    if controls.is_empty() {
        println!("no control was ever set: everything runs");
    }
    let mut acks = Acks::all(cluster)?;
    acks.catch_up()?;
    for (key, control) in &controls {
        let second = control.second_actor.as_ref().map(|second| format!(" and {second}")).unwrap_or_default();
        let state = phase(control).as_str();
        let (version, by, reason) = (control.version, &control.actor, &control.reason);
        println!("{key} {state} (version {version}) since {} by {by}{second}: {reason}", control.set_at);
        acks.print(control, &config.gateway.sessions);
    }
    Ok(ExitCode::SUCCESS)
}

fn key(scope: ControlScope, id: &str) -> String {
    format!("{}/{id}", scope.as_str())
}

fn parse_scope(text: &str) -> anyhow::Result<(ControlScope, String)> {
    let (kind, id) = if text.eq_ignore_ascii_case("firm") {
        ("FIRM", "*")
    } else {
        text.split_once('/').context("a scope is firm or kind/id, such as portfolio/P01")?
    };
    let scope = kind.to_ascii_uppercase().parse::<ControlScope>().map_err(|_| {
        anyhow!("{kind} is no kind of scope; one of {}", ControlScope::SYMBOLS.join(", ").to_ascii_lowercase())
    })?;
    ensure!(!id.is_empty(), "the scope has no id");
    Ok((scope, id.to_owned()))
}

/// The controls in force, as every reader takes them: a record that is refused changes nothing.
fn read(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, Control>> {
    let (mut table, mut controls) = (Controls::default(), BTreeMap::new());
    let tp = TopicPartition::new(TOPIC, 0);
    let mut reader = cluster.kafka.reader()?;
    let (first, end) = reader.bounds(&tp)?;
    let (mut framing, mut next) = (cluster.framing(), first);
    reader.start(&[(tp, first)])?;
    while next < end {
        match reader.next(Duration::from_secs(10))?.context("execution.controls.v1 does not answer")? {
            ReaderEvent::End { .. } => break,
            ReaderEvent::Record(record) => {
                next = record.offset + 1;
                let control = match record.value.as_deref().map(|v| framing.read(Control::FULL_NAME, v)).transpose()? {
                    Some(Frame::Ours(bytes)) => Control::decode(bytes)?,
                    Some(Frame::Resolved(bytes)) => Control::decode(&bytes)?,
                    Some(Frame::Unreadable(u)) => bail!("record {} of {TOPIC}: {}", record.offset, u.text),
                    None => continue,
                };
                let key = key(control.scope, &control.scope_id);
                if !control.heartbeat && table.take(&key, control.clone()).is_ok() {
                    controls.insert(key, control);
                }
            }
        }
    }
    Ok(controls)
}
