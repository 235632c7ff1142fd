//! Kafka nodes: killed, stopped, cut off from clients and from each other; an EndTxn that comes late.

use std::time::{Duration, Instant};

use super::Outcome;
use crate::error::ChaosError;
use crate::kind::{Kind, Role};
use crate::proxy::{HoldStage, Link, Rule};
use crate::rig::{Rig, seat_of};
use crate::seeded::Seeded;
use crate::world::{NODES, ORDERS};

const UP_FOR: Duration = Duration::from_secs(5);

/// The node that a kind is about.
fn node_of(rig: &Rig<'_>, kind: Kind, seeded: &mut Seeded) -> Result<(u8, String), ChaosError> {
    let order_path = rig.world.stage_groups().into_iter().next().unwrap_or_default();
    match kind {
        Kind::KillLeader | Kind::PartitionLeader => {
            let partition = i32::try_from(seeded.below(9)).unwrap_or(0);
            Ok((rig.cluster.leader(ORDERS, partition)?, format!("the leader of {ORDERS}-{partition}")))
        }
        Kind::KillTransactionCoordinator => {
            let id = format!("fillstream.{order_path}.stages-{}.0.0", seeded.between(1, 2));
            Ok((rig.cluster.transaction_coordinator(&id)?, format!("the coordinator of {id}")))
        }
        _ => {
            let group = format!("fillstream.{order_path}");
            Ok((rig.cluster.group_coordinator(&group)?, format!("the coordinator of group {group}")))
        }
    }
}

fn everybody(rig: &Rig<'_>) -> Vec<String> {
    rig.world.groups()
}

/// kill -9 of a node, which comes back.
pub(super) fn kill(rig: &mut Rig<'_>, kind: Kind, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let (node, what) = node_of(rig, kind, seeded)?;
    if !rig.world.kafka.kill_node(node)? {
        return Ok(Outcome::missed(format!("node {node} did not run")));
    }
    rig.pass(Duration::from_millis(seeded.between(3_000, 9_000)))?;
    rig.world.kafka.start_node(node)?;
    let back = rig.until(Duration::from_secs(60), |rig| Ok(rig.world.kafka.answers(node)))?;
    let comes = if back { "is back" } else { "does not answer yet" };
    Ok(Outcome::fired(everybody(rig), format!("node {node}, {what}; it {comes}")))
}

/// SIGSTOP of a node beyond its session.
pub(super) fn stop(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let node = *seeded.pick(&NODES).unwrap_or(&1);
    if !rig.world.kafka.pause_node(node)? {
        return Ok(Outcome::missed(format!("node {node} did not run")));
    }
    rig.pass(Duration::from_millis(seeded.between(8_000, 13_000)))?;
    rig.world.kafka.resume_node(node)?;
    Ok(Outcome::fired(everybody(rig), format!("node {node} stood still")))
}

fn one_or_both_ways(seeded: &mut Seeded) -> (Rule, &'static str) {
    match seeded.below(3) {
        0 => (Rule::PARTITION, "both ways"),
        1 => (Rule::NO_RESPONSES, "answers lost"),
        _ => (Rule::NO_REQUESTS, "requests lost"),
    }
}

fn held(rig: &mut Rig<'_>, links: &[Link], rule: Rule, seeded: &mut Seeded) -> Result<u64, ChaosError> {
    let before: u64 = links.iter().map(Link::disturbed).sum();
    links.iter().for_each(|link| link.set(rule));
    let passed = rig.pass(Duration::from_millis(seeded.between(6_000, 12_000)));
    links.iter().for_each(|link| link.set(Rule::PASS));
    passed?;
    Ok(links.iter().map(Link::disturbed).sum::<u64>().saturating_sub(before))
}

/// A stage process and a node do not reach each other.
pub(super) fn partition(rig: &mut Rig<'_>, kind: Kind, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let free = rig.reserve(Role::Stages, UP_FOR, 1)?;
    let Some(name) = seeded.pick(&free).cloned() else { return Ok(Outcome::missed("nobody is free")) };
    let of = match kind {
        Kind::PartitionCoordinator if seeded.below(2) == 0 => Kind::KillTransactionCoordinator,
        other => other,
    };
    let (node, what) = node_of(rig, of, seeded)?;
    let link = rig.world.seat(seat_of(&name)).and_then(|seat| seat.kafka.get(&node).cloned());
    let (rule, how) = one_or_both_ways(seeded);
    rig.busy.insert(name.clone());
    let felt = held(rig, &link.into_iter().collect::<Vec<_>>(), rule, seeded);
    rig.busy.remove(&name);
    match felt? {
        0 => Ok(Outcome::missed(format!("{name} did not talk to node {node}"))),
        felt => Ok(Outcome::fired(
            rig.groups_of(Role::Stages),
            format!("{name} and node {node}, {what}: {how}, felt {felt} times"),
        )),
    }
}

/// A node and the others do not reach each other, or only one way.
pub(super) fn partition_nodes(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let node = *seeded.pick(&NODES).unwrap_or(&1);
    let (outgoing, incoming, how) = match seeded.below(3) {
        0 => (true, true, "both ways"),
        1 => (true, false, "it reaches nobody"),
        _ => (false, true, "nobody reaches it"),
    };
    let mut links = Vec::new();
    for ways in [&rig.world.between.brokers, &rig.world.between.controllers] {
        for (from, to) in ways.iter().flat_map(|(from, all)| all.iter().map(move |(to, link)| (*from, (*to, link)))) {
            let (to, link) = to;
            if from != to && (outgoing && from == node || incoming && to == node) {
                links.push(link.clone());
            }
        }
    }
    match held(rig, &links, Rule::PARTITION, seeded)? {
        0 => Ok(Outcome::missed(format!("node {node} talks to nobody"))),
        felt => Ok(Outcome::fired(everybody(rig), format!("node {node} and the others: {how}, felt {felt} times"))),
    }
}

/// Holds an EndTxn of a stage process until its retry has succeeded and the next transaction has begun.
pub(super) fn late_end_txn(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let free = rig.reserve(Role::Stages, UP_FOR, 1)?;
    let Some(name) = seeded.pick(&free).cloned() else { return Ok(Outcome::missed("nobody is free")) };
    let Some(hold) = rig.world.seat(seat_of(&name)).map(|seat| std::sync::Arc::clone(&seat.end_txn)) else {
        return Ok(Outcome::missed(format!("{name} has no seat")));
    };
    rig.busy.insert(name.clone());
    hold.arm(None);
    let began = Instant::now();
    let released = rig.until(Duration::from_secs(25), |_| Ok(hold.stage() == HoldStage::Released))?;
    let id = hold.transactional_id().unwrap_or_default();
    let stage = hold.disarm();
    rig.busy.remove(&name);
    if !released {
        return Ok(Outcome::missed(format!("{name}: it came as far as {stage:?}")));
    }
    let took = began.elapsed().as_millis();
    Ok(Outcome::fired(rig.groups_of(Role::Stages), format!("{name}, {id}: released after {took} ms, in the next one")))
}
