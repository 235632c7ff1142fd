//! `fillstream kill` and `fillstream release`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, ReaderEvent, TopicPartition};
use fillstream_kafka::registry::Frame;
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::execution::{Control, ControlState};

use crate::bus::{Cluster, now_us};
use crate::cli::{Kill, Release};
use crate::config::Config;

const TOPIC: &str = "execution.controls.v1";

pub(crate) fn kill(command: &Kill, config: &Config) -> anyhow::Result<ExitCode> {
    let change = Change {
        scope: &command.scope,
        state: ControlState::Killed,
        actor: &command.actor,
        second: None,
        reason: &command.reason,
    };
    change.write(config)
}

pub(crate) fn release(command: &Release, config: &Config) -> anyhow::Result<ExitCode> {
    ensure!(command.actor != command.second, "a release takes two different people, not {} twice", command.actor);
    let second = Some(command.second.as_str());
    let change = Change {
        scope: &command.scope,
        state: ControlState::Running,
        actor: &command.actor,
        second,
        reason: &command.reason,
    };
    change.write(config)
}

struct Change<'a> {
    scope: &'a str,
    state: ControlState,
    actor: &'a str,
    second: Option<&'a str>,
    reason: &'a str,
}

impl Change<'_> {
    fn write(&self, config: &Config) -> anyhow::Result<ExitCode> {
        ensure!(!self.actor.is_empty() && !self.reason.is_empty(), "actor and reason must not be empty");
        let (scope, scope_id) = parse_scope(self.scope)?;
        let cluster = Cluster::new(config)?;
        let key = format!("{}/{scope_id}", scope.as_str());
        let before = current(&cluster, &key)?;
        if self.state == ControlState::Running && before.as_ref().is_none_or(|c| c.state != ControlState::Killed) {
            bail!("{key} is not killed");
        }
        let control = Control {
            scope,
            scope_id,
            state: self.state,
            version: before.map_or(1, |c| c.version + 1),
            actor: self.actor.to_owned(),
            second_actor: self.second.map(str::to_owned),
            reason: self.reason.to_owned(),
            set_at: TimestampMicros::from_micros(now_us()),
            heartbeat: false,
        };
        let mut writer = cluster.writer()?;
        writer.put(TOPIC, &key, &control)?;
        writer.flush()?;
        println!("{key} {} (version {})", control.state.as_str(), control.version);
        Ok(ExitCode::SUCCESS)
    }
}

fn parse_scope(text: &str) -> anyhow::Result<(ControlScope, String)> {
    let (kind, id) = if text.eq_ignore_ascii_case("firm") {
        ("FIRM", "*")
    } else {
        text.split_once('/').context("a scope is firm or kind/id, such as portfolio/P01")?
    };
    let scope = kind.to_ascii_uppercase().parse::<ControlScope>().map_err(|_| {
        anyhow::anyhow!("{kind} is no kind of scope; one of {}", ControlScope::SYMBOLS.join(", ").to_ascii_lowercase())
    })?;
    ensure!(!id.is_empty(), "the scope has no id");
    Ok((scope, id.to_owned()))
}

// The control in force, read to the end of its partition.
fn current(cluster: &Cluster, key: &str) -> anyhow::Result<Option<Control>> {
    let partition = cluster.router.partition(TOPIC, key)?;
    let tp = TopicPartition::new(TOPIC, partition);
    let mut reader = cluster.kafka.reader()?;
    let (first, end) = reader.bounds(&tp)?;
    let (mut framing, mut found, mut next) = (cluster.framing(), None, first);
    reader.start(&[(tp, first)])?;
    while next < end {
        match reader.next(Duration::from_secs(10))?.context("execution.controls.v1 does not answer")? {
            ReaderEvent::End { .. } => break,
            ReaderEvent::Record(r) => {
                next = r.offset + 1;
                if r.key.as_deref() == Some(key.as_bytes()) {
                    found = match r.value.as_deref().map(|v| framing.read(Control::FULL_NAME, v)).transpose()? {
                        Some(Frame::Ours(bytes)) => Some(Control::decode(bytes)?),
                        Some(Frame::Resolved(bytes)) => Some(Control::decode(&bytes)?),
                        Some(Frame::Unreadable(u)) => bail!("{key}: {}", u.text),
                        None => None,
                    };
                }
            }
        }
    }
    Ok(found)
}
