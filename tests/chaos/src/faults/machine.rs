//! The machine: its clock jumps, its disks are full.

use std::time::Duration;

use super::Outcome;
use super::stops::clickhouse;
use crate::error::ChaosError;
use crate::kind::Role;
use crate::rig::Rig;
use crate::seeded::Seeded;
use crate::world::SMALL_NODE;

const HOUR_US: i64 = 3_600_000_000;
const REFUSAL: &str = "no batch runs";

/// The clock of a stage process jumps an hour ahead, and comes back.
pub(super) fn clock_jump(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let free = rig.reserve(Role::Stages, Duration::from_secs(8), 1)?;
    let Some(name) = seeded.pick(&free).cloned() else { return Ok(Outcome::missed("nobody is free")) };
    rig.busy.insert(name.clone());
    rig.with_process(&name, |p| p.jump_clock(HOUR_US)).transpose()?;
    rig.pass(Duration::from_millis(seeded.between(5_000, 9_000)))?;
    let refused = rig.with_process(&name, |p| p.has_said(REFUSAL)).unwrap_or(false);
    rig.with_process(&name, |p| p.jump_clock(0)).transpose()?;
    rig.busy.remove(&name);
    if !refused {
        return Ok(Outcome::missed(format!("{name} had no batch to refuse")));
    }
    Ok(Outcome::fired(rig.groups_of(Role::Stages), format!("{name} ran no batch while its clock was an hour ahead")))
}

/// The disk of a node is full: it gives up, and comes back when there is room.
pub(super) fn disk_full_kafka(rig: &mut Rig<'_>) -> Result<Outcome, ChaosError> {
    let Some(at) = rig.world.disks.iter().position(|d| d.is_of(&format!("kafka-{SMALL_NODE}"))) else {
        return Ok(Outcome::missed("it has no disk of its own"));
    };
    let filled = rig.world.disks.get(at).map(crate::disk::SmallDisk::fill).transpose()?.unwrap_or(0);
    let died = rig.until(Duration::from_secs(25), |rig| Ok(rig.world.kafka.pid(SMALL_NODE).is_none()))?;
    rig.world.disks.iter().for_each(crate::disk::SmallDisk::free);
    rig.world.kafka.kill_node(SMALL_NODE)?;
    rig.pass(Duration::from_secs(1))?;
    rig.world.kafka.start_node(SMALL_NODE)?;
    rig.until(Duration::from_secs(60), |rig| Ok(rig.world.kafka.answers(SMALL_NODE)))?;
    if !died {
        return Ok(Outcome::missed(format!("node {SMALL_NODE} did not need room in 25 s, after {filled} bytes")));
    }
    Ok(Outcome::fired(rig.world.groups(), format!("node {SMALL_NODE} ended when its disk was full ({filled} bytes)")))
}

fn errors(rig: &Rig<'_>) -> u64 {
    let sql = "SELECT sum(value) FROM system.errors WHERE name IN ('NOT_ENOUGH_SPACE', 'CANNOT_WRITE_TO_FILE_DESCRIPTOR', \
               'CANNOT_WRITE_TO_OSTREAM', 'CANNOT_CREATE_DIRECTORY', 'STD_EXCEPTION', 'CANNOT_FSYNC', \
               'CANNOT_OPEN_FILE', 'FILE_DOESNT_EXIST') FORMAT TSV";
    clickhouse(rig, sql).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// How many tables there are, and those with parts that are not whole, with what ClickHouse says of them.
fn broken_tables(rig: &Rig<'_>) -> Result<(u64, Vec<String>), ChaosError> {
    let sql = "SELECT database || '.' || name FROM system.tables WHERE engine LIKE '%MergeTree' AND database != 'system' \
               FORMAT TSV";
    let tables = clickhouse(rig, sql)?;
    let (mut seen, mut broken) = (0, Vec::new());
    for table in tables.lines() {
        seen += 1;
        let sql = format!("CHECK TABLE {table} SETTINGS check_query_single_value_result = 1 FORMAT TSV");
        match clickhouse(rig, &sql) {
            Ok(text) if text.trim() == "1" => {}
            Ok(text) => broken.push(format!("{table}: {}", text.trim())),
            Err(error) => broken.push(format!("{table}: {error}")),
        }
    }
    Ok((seen, broken))
}

/// The disk of ClickHouse is full for a while.
pub(super) fn disk_full_clickhouse(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let Some(at) = rig.world.disks.iter().position(|d| d.is_of("clickhouse")) else {
        return Ok(Outcome::missed("it has no disk of its own"));
    };
    let before = errors(rig);
    let filled = rig.world.disks.get(at).map(crate::disk::SmallDisk::fill).transpose()?.unwrap_or(0);
    rig.pass(Duration::from_millis(seeded.between(6_000, 12_000)))?;
    let failed = errors(rig).saturating_sub(before);
    rig.world.disks.iter().for_each(crate::disk::SmallDisk::free);
    if failed == 0 {
        return Ok(Outcome::missed("nothing was to be written"));
    }
    // Whoever frees the disk looks whether what was written meanwhile is whole.
    let (tables, broken) = broken_tables(rig)?;
    let left = if broken.is_empty() {
        broken
    } else {
        rig.history.note("disk/full-under-clickhouse", "parts are not whole", &broken.join("; "));
        rig.world.restart_clickhouse()?;
        broken_tables(rig)?.1.into_iter().map(|table| format!("{table}, after a restart")).collect()
    };
    rig.tally.judge("clickhouse_is_whole_after_its_disk_was_full", tables, left);
    Ok(Outcome::fired(rig.groups_of(Role::Sink), format!("{failed} writes failed, after {filled} bytes")))
}
