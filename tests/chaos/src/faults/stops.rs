//! SIGSTOP of a process, while another takes its work over.

use std::time::Duration;

use rustix::process::Signal;

use super::Outcome;
use crate::error::ChaosError;
use crate::http;
use crate::kind::Role;
use crate::rig::Rig;
use crate::seeded::Seeded;

const UP_FOR: Duration = Duration::from_secs(5);
/// Longer than any session (10 s) and any deadline of an insert (10 s).
const BEYOND: (u64, u64) = (13_000, 18_000);
/// Longer than a disturbance of ClickHouse's answers may last.
const UNDISTURBED: Duration = Duration::from_secs(70);
const REACHED_WITHIN: Duration = Duration::from_secs(40);
const GATEWAY_POINT: &str = "gateway.between-check-and-write";
const SINK_POINT: &str = "sink.before-insert";

fn choose(rig: &mut Rig<'_>, role: Role, seeded: &mut Seeded) -> Result<Option<String>, ChaosError> {
    let free = rig.reserve(role, UP_FOR, 1)?;
    Ok(seeded.pick(&free).cloned())
}

/// A stage process beyond its session.
pub(super) fn stages(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let Some(name) = choose(rig, Role::Stages, seeded)? else { return Ok(Outcome::missed("nobody is free")) };
    rig.busy.insert(name.clone());
    rig.with_process(&name, |p| p.signal(Signal::STOP));
    let groups = rig.groups_of(Role::Stages);
    let waiting: Vec<_> = groups.iter().map(|g| rig.progress.expect(g)).collect();
    rig.pass(Duration::from_millis(seeded.between(BEYOND.0, BEYOND.1)))?;
    let taken_over =
        rig.until(Duration::from_secs(20), |rig| Ok(waiting.iter().all(|w| rig.progress.recovered(w).is_some())))?;
    let was_stopped = rig.with_process(&name, |p| p.is_stopped()).unwrap_or(false);
    rig.with_process(&name, |p| p.signal(Signal::CONT));
    rig.busy.remove(&name);
    if !was_stopped {
        return Ok(Outcome::missed(format!("{name} was not stopped")));
    }
    let by = if taken_over { "another had taken over" } else { "nobody had taken over yet" };
    Ok(Outcome::fired(groups, format!("{name} woke up; {by}")))
}

/// Stops a process at a fail point; whether it stands there.
fn stop_at(rig: &mut Rig<'_>, name: &str, point: &str) -> Result<bool, ChaosError> {
    rig.busy.insert(name.to_owned());
    rig.away.insert(name.to_owned());
    rig.with_process(name, |p| p.arm(point, true, 1)).transpose()?;
    let stands = rig.until(REACHED_WITHIN, |rig| {
        let stands = rig.with_process(name, |p| p.fired().is_some() && p.is_stopped()).unwrap_or(false);
        Ok(stands)
    })?;
    if !stands {
        rig.with_process(name, |p| p.disarm());
        release(rig, name);
    }
    Ok(stands)
}

fn release(rig: &mut Rig<'_>, name: &str) {
    rig.with_process(name, |p| p.signal(Signal::CONT));
    rig.busy.remove(name);
    rig.away.remove(name);
}

/// A gateway between its last check and its write; a successor takes its session over.
pub(super) fn gateway(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let Some(name) = choose(rig, Role::Gateway, seeded)? else { return Ok(Outcome::missed("nobody is free")) };
    if !stop_at(rig, &name, GATEWAY_POINT)? {
        return Ok(Outcome::missed(format!("{name} did not come to its write")));
    }
    let successor = name.strip_suffix('b').map_or_else(|| format!("{name}b"), str::to_owned);
    rig.world.start_process(&successor)?;
    rig.busy.insert(successor.clone());
    // It fences, waits until its predecessor may not send any more, and goes on.
    rig.pass(Duration::from_secs(3))?;
    let group = rig.groups_of(Role::Gateway);
    let waiting: Vec<_> = group.iter().map(|g| rig.progress.expect(g)).collect();
    let taken_over =
        rig.until(Duration::from_secs(20), |rig| Ok(waiting.iter().all(|w| rig.progress.recovered(w).is_some())))?;
    rig.with_process(&name, |p| p.signal(Signal::CONT));
    let ended =
        rig.until(Duration::from_secs(15), |rig| Ok(rig.with_process(&name, |p| p.ended().is_some()).unwrap_or(true)))?;
    let words = rig.with_process(&name, |p| p.last_words()).unwrap_or_default();
    let fenced = if ended { "it found itself fenced and ended" } else { "it had to be stopped" };
    rig.history.note(&name, "woke up behind its successor", &words);
    rig.with_process(&name, |p| p.stop(Duration::from_secs(5)));
    rig.world.running.remove(&name);
    rig.busy.remove(&name);
    rig.away.remove(&name);
    rig.busy.remove(&successor);
    let violations = if ended { vec![] } else { vec![format!("{name} went on beside {successor}: {words}")] };
    rig.tally.judge("a_gateway_that_wakes_up_is_fenced", 1, violations);
    let by = if taken_over { "had taken over" } else { "had not committed yet" };
    Ok(Outcome::fired(group, format!("{name} stood between check and write, {successor} {by}; then {fenced}")))
}

/// A sink before its insert, until deadline and deduplication window are over.
pub(super) fn sink(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    // A sink that sends an insert again within its deadline relies on the window, which is made for that: no answer may be
    // lost to another one while it is narrow.
    let ways: Vec<String> =
        rig.world.seats.iter().filter_map(|s| s.clickhouse.as_ref().map(|way| way.name().to_owned())).collect();
    let mut kept: Vec<String> = Vec::new();
    let undisturbed = rig.until(UNDISTURBED, |rig| {
        let free = ways.iter().filter(|way| rig.busy.insert((*way).clone()));
        kept.extend(free.cloned());
        Ok(kept.len() == ways.len())
    });
    let outcome = match undisturbed {
        Ok(true) => beyond_deduplication(rig, seeded),
        Ok(false) => Ok(Outcome::missed("ClickHouse is being disturbed")),
        Err(error) => Err(error),
    };
    for way in &kept {
        rig.busy.remove(way);
    }
    outcome
}

fn beyond_deduplication(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let Some(name) = choose(rig, Role::Sink, seeded)? else { return Ok(Outcome::missed("nobody is free")) };
    let others: Vec<String> = rig.free(Role::Sink, Duration::ZERO).into_iter().filter(|n| *n != name).collect();
    if !stop_at(rig, &name, SINK_POINT)? {
        return Ok(Outcome::missed(format!("{name} did not come to its insert")));
    }
    // Whoever checks the windows at its start would refuse them now.
    rig.busy.extend(others.iter().cloned());
    let windows = windows(rig)?;
    let group = rig.groups_of(Role::Sink);
    let done = (|| {
        for (table, _) in &windows {
            set_window(rig, table, 1)?;
        }
        rig.pass(Duration::from_millis(seeded.between(BEYOND.0, BEYOND.1)))?;
        let waiting: Vec<_> = group.iter().map(|g| rig.progress.expect(g)).collect();
        rig.until(Duration::from_secs(20), |rig| Ok(waiting.iter().all(|w| rig.progress.recovered(w).is_some())))?;
        release(rig, &name);
        // Its insert arrives now.
        rig.pass(Duration::from_secs(4))
    })();
    for (table, window) in &windows {
        set_window(rig, table, *window)?;
    }
    for other in &others {
        rig.busy.remove(other);
    }
    done?;
    Ok(Outcome::fired(group, format!("{name} stood before its insert, with windows of 1 in {} tables", windows.len())))
}

pub(super) fn clickhouse(rig: &Rig<'_>, sql: &str) -> Result<String, ChaosError> {
    let url = format!("{}/", rig.world.endpoints.clickhouse.trim_end_matches('/'));
    let (status, text) = http::ask("POST", &url, sql)?;
    if status == 200 {
        return Ok(text);
    }
    Err(ChaosError::Answer { what: format!("clickhouse, asked {sql:?},"), detail: text })
}

/// Landing tables with their deduplication windows.
fn windows(rig: &Rig<'_>) -> Result<Vec<(String, u64)>, ChaosError> {
    const SETTING: &str = "non_replicated_deduplication_window = ";
    let sql = format!(
        "SELECT database || '.' || name, engine_full FROM system.tables WHERE engine_full LIKE '%{SETTING}%' FORMAT TSV"
    );
    let of = |line: &str| {
        let (table, engine) = line.split_once('\t')?;
        let (_, rest) = engine.split_once(SETTING)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((table.to_owned(), digits.parse().ok()?))
    };
    Ok(clickhouse(rig, &sql)?.lines().filter_map(of).collect())
}

fn set_window(rig: &Rig<'_>, table: &str, window: u64) -> Result<(), ChaosError> {
    let (database, name) = table.split_once('.').unwrap_or(("default", table));
    let sql =
        format!("ALTER TABLE `{database}`.`{name}` MODIFY SETTING non_replicated_deduplication_window = {window}");
    clickhouse(rig, &sql).map(drop)
}
