//! What operators do under load: the kill switch, an upgrade, another cut of the path.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::Outcome;
use crate::error::ChaosError;
use crate::http;
use crate::kind::Role;
use crate::rig::{Rig, seat_of};
use crate::seeded::Seeded;

/// From the acknowledged command to the last new order at the venue.
const KILL_WITHIN_US: i64 = 250_000;
const LINES: u64 = 10_000;
const CUT: &str =
    "order-management,pre-trade-risk/account-allocation,execution-strategy,smart-order-routing,child-risk";

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// Times at which the venue took new orders in, from what is new in its journal.
fn new_orders(rig: &mut Rig<'_>) -> Result<Vec<(i64, String)>, ChaosError> {
    let mut orders = Vec::new();
    loop {
        let url = format!("{}/v1/journal?from={}&limit={LINES}", rig.world.venue_url, rig.venue_lines);
        let (_, text) = http::ask("GET", &url, "")?;
        let mut found = 0;
        for line in text.lines().filter(|line| !line.is_empty()) {
            found += 1;
            let line: serde_json::Value = serde_json::from_str(line)
                .map_err(|e| ChaosError::Answer { what: "the venue's journal".to_owned(), detail: e.to_string() })?;
            if line.get("type").and_then(|t| t.as_str()) == Some("order") {
                let id = line.get("client_order_id").and_then(|v| v.as_str()).unwrap_or_default().to_owned();
                orders.push((line.get("at").and_then(serde_json::Value::as_i64).unwrap_or(i64::MAX), id));
            }
        }
        rig.venue_lines += found;
        if found == 0 {
            return Ok(orders);
        }
    }
}

/// The whole firm is killed, and released by two people.
pub(super) fn kill_switch(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let limit = Duration::from_secs(40);
    new_orders(rig)?;
    rig.pass(Duration::from_secs(4))?;
    let before = new_orders(rig)?.len();
    rig.world.command(&["kill", "firm", "--actor", "chaos", "--reason", "kill switch under load"], &[0], limit)?;
    let killed_at = now_us();
    rig.pass(Duration::from_millis(seeded.between(3_000, 6_000)))?;
    let released_from = now_us();
    let words = ["release", "firm", "--actor", "chaos", "--second", "order", "--reason", "seen to hold"];
    rig.world.command(&words, &[0], limit)?;
    let orders = new_orders(rig)?;
    let late = |at: i64| at > killed_at + KILL_WITHIN_US && at < released_from;
    let found: Vec<String> = orders
        .iter()
        .filter(|(at, _)| late(*at))
        .map(|(at, id)| format!("{id} {} ms after the kill", (at - killed_at) / 1_000))
        .collect();
    let last = orders.iter().map(|(at, _)| at - killed_at).filter(|us| *us < released_from - killed_at).max();
    rig.tally.judge("no_new_order_250_ms_after_a_kill", 1, found);
    if before == 0 {
        return Ok(Outcome::missed("no order was sent in the seconds before"));
    }
    let last = last.map_or_else(|| "none after it".to_owned(), |us| format!("the last {} us after it", us));
    Ok(Outcome::fired(rig.world.groups(), format!("{before} orders in 4 s before; {last}")))
}

/// Every process is stopped and started as another file, one after the other.
pub(super) fn rolling_upgrade(rig: &mut Rig<'_>) -> Result<Outcome, ChaosError> {
    rig.storms += 1;
    let file = rig.world.dir.join(format!("fillstream-{}", rig.storms));
    std::fs::copy(&rig.options.program, &file).map_err(ChaosError::io("copying the program"))?;
    rig.world.program.clone_from(&file);
    let names: Vec<String> = rig.world.running.keys().cloned().collect();
    let mut done = 0;
    for name in names {
        let role = rig.world.seat(seat_of(&name)).map_or(Role::Stages, |seat| seat.role);
        if !rig.reserve_one(role, &name)? {
            continue;
        }
        rig.busy.insert(name.clone());
        rig.away.insert(name.clone());
        rig.with_process(&name, |p| p.signal(Signal::TERM));
        let ended = rig.until(Duration::from_secs(20), |rig| {
            Ok(rig.with_process(&name, |p| p.ended().is_some()).unwrap_or(true))
        })?;
        if !ended {
            let words = rig.with_process(&name, |p| p.last_words()).unwrap_or_default();
            rig.exited(&name, format!("did not stop within 20 s: {words}"));
            rig.with_process(&name, |p| p.kill());
        }
        rig.world.start_as(&name, seat_of(&name))?;
        rig.busy.remove(&name);
        rig.away.remove(&name);
        done += 1;
        rig.pass(Duration::from_secs(1))?;
    }
    Ok(Outcome::fired(rig.world.groups(), format!("{done} processes run {}", file.display())))
}

/// The order path in one group or in two, in turn.
pub(super) fn regroup(rig: &mut Rig<'_>) -> Result<Outcome, ChaosError> {
    let (from, to) = if rig.world.cut == "fused" { ("fused", CUT) } else { (CUT, "fused") };
    let names: Vec<String> = ["stages-1", "stages-2"].map(str::to_owned).to_vec();
    rig.reserve(Role::Stages, Duration::ZERO, names.len())?;
    for name in &names {
        rig.busy.insert(name.clone());
        rig.away.insert(name.clone());
        rig.with_process(name, |p| p.signal(Signal::TERM));
    }
    for name in &names {
        rig.with_process(name, |p| p.stop(Duration::from_secs(15)));
    }
    let was = std::mem::replace(&mut rig.world.cut, to.to_owned());
    let applied = rig.world.command(&["topics", "apply"], &[0], Duration::from_secs(90));
    rig.world.cut = was;
    applied?;
    // Not every node knows a new topic at once.
    rig.pass(Duration::from_secs(3))?;
    let words = ["regroup", "order-path", "--from", from, "--to", to, "--drain-s", "20", "--wait-s", "60"];
    let args = rig.world.command_args(&words);
    let (program, (sender, receiver)) = (rig.world.program.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || sender.send(crate::process::run(&program, &args, &[0], Duration::from_secs(150))));
    let mut done = None;
    rig.until(Duration::from_secs(160), |_| {
        done = receiver.try_recv().ok();
        Ok(done.is_some())
    })?;
    let outcome = match done {
        Some(Ok((_, text))) => {
            to.clone_into(&mut rig.world.cut);
            rig.progress.set_groups(rig.world.groups());
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it did not end".to_owned()),
    };
    for name in &names {
        rig.world.start_process(name)?;
        rig.busy.remove(name);
        rig.away.remove(name);
    }
    match outcome {
        Ok(text) => Ok(Outcome::fired(rig.groups_of(Role::Stages), format!("to {to}: {text}"))),
        Err(why) => Ok(Outcome::missed(why)),
    }
}
