//! Changes of topics that must be refused, with the reason. Nothing runs behind them, so they come last.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rustix::process::Signal;
use tokio::runtime::Builder;

use super::Outcome;
use crate::error::ChaosError;
use crate::rig::Rig;

const RECREATED: &str = "execution.commands.v1";
const GROWN: &str = "coordination.decisions.v1";
const PARTITIONS: i32 = 9;
const LIVE: Duration = Duration::from_secs(40);
const AT_START: Duration = Duration::from_secs(90);

fn admin(rig: &Rig<'_>) -> Result<AdminClient<DefaultClientContext>, ChaosError> {
    ClientConfig::new()
        .set("bootstrap.servers", rig.world.kafka.bootstrap())
        .create()
        .map_err(ChaosError::kafka("making an admin client"))
}

fn wait<T>(future: impl Future<Output = T>) -> Result<T, ChaosError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(ChaosError::io("starting a runtime"))?;
    Ok(runtime.block_on(future))
}

fn stage_processes(rig: &Rig<'_>) -> Vec<String> {
    rig.world.running.keys().filter(|name| name.starts_with("stages-")).cloned().collect()
}

fn ended(rig: &mut Rig<'_>, names: &[String]) -> bool {
    names.iter().all(|name| rig.with_process(name, |p| p.ended().is_some()).unwrap_or(true))
}

/// Starts what has ended, waits for its end, and judges what it said: one of the reasons.
fn refused_at_start(rig: &mut Rig<'_>, names: &[String], invariant: &str, reasons: &[&str]) -> Result<(), ChaosError> {
    for name in names {
        rig.with_process(name, |p| {
            p.signal(Signal::KILL);
            p.wait_end(Duration::from_secs(5));
        });
        rig.world.start_process(name)?;
    }
    rig.until(AT_START, |rig| Ok(ended(rig, names)))?;
    let mut wrong = Vec::new();
    for name in names {
        let (refused, ended, words) = rig
            .with_process(name, |p| {
                (reasons.iter().any(|reason| p.has_said(reason)), p.ended().is_some(), p.last_words())
            })
            .unwrap_or_default();
        if !(refused && ended) {
            wrong.push(format!("{name} did not refuse: {words}"));
        }
        rig.history.note(name, "refuses to start", &words);
    }
    rig.tally.judge(invariant, u64::try_from(names.len()).unwrap_or(0), wrong);
    Ok(())
}

/// A topic is deleted and made again: its offsets mean nothing any more, and that is said.
pub(super) fn recreated(rig: &mut Rig<'_>) -> Result<Outcome, ChaosError> {
    let names = stage_processes(rig);
    rig.away.extend(names.iter().cloned());
    let (admin, options) = (admin(rig)?, AdminOptions::new());
    let action = || format!("making {RECREATED} again");
    wait(admin.delete_topics(&[RECREATED], &options))?.map_err(ChaosError::kafka(action()))?;
    rig.until(Duration::from_secs(20), |rig| Ok(!rig.cluster.topics()?.contains_key(RECREATED)))?;
    let topic = NewTopic::new(RECREATED, PARTITIONS, TopicReplication::Fixed(3));
    wait(admin.create_topics([&topic], &options))?.map_err(ChaosError::kafka(action()))?;
    let live = rig.until(LIVE, |rig| Ok(ended(rig, &names)))?;
    // Kafka drops the offsets of a topic with the topic; who comes before that finds them to be of another one.
    let no_offset = format!("no committed offset of {RECREATED}");
    refused_at_start(rig, &names, "a_recreated_topic_is_refused", &["is another topic now", &no_offset])?;
    let when = if live { "while they ran, and when they started" } else { "when they started" };
    Ok(Outcome::fired(vec![], format!("{RECREATED}: refused {when}")))
}

/// Partitions are added to an input whose keys have state in the task of their partition.
pub(super) fn partitions_added(rig: &mut Rig<'_>) -> Result<Outcome, ChaosError> {
    let names = stage_processes(rig);
    rig.away.extend(names.iter().cloned());
    let (admin, more) = (admin(rig)?, usize::try_from(PARTITIONS + 1).unwrap_or(10));
    let grown = wait(admin.create_partitions(&[NewPartitions::new(GROWN, more)], &AdminOptions::new()))?;
    grown.map_err(ChaosError::kafka(format!("adding a partition to {GROWN}")))?;
    rig.pass(Duration::from_secs(3))?;
    refused_at_start(
        rig,
        &names,
        "added_partitions_are_refused",
        &[&format!("{GROWN} has {} partitions, not {PARTITIONS}", PARTITIONS + 1)],
    )?;
    Ok(Outcome::fired(vec![], format!("{GROWN}: refused when they started")))
}
