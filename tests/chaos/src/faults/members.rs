//! Instances that come and go.

use std::time::Duration;

use rustix::process::Signal;

use super::Outcome;
use crate::error::ChaosError;
use crate::kind::Role;
use crate::rig::{Rig, seat_of};
use crate::seeded::Seeded;

/// Partitions, and so the most instances that have work.
const MOST: u64 = 9;

/// From two instances to one, to nine, and back to two.
pub(super) fn storm(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let gone = "stages-2".to_owned();
    if !rig.reserve(Role::Stages, Duration::ZERO, 2)?.contains(&gone) {
        return Ok(Outcome::missed("nobody is free"));
    }
    rig.busy.insert(gone.clone());
    rig.away.insert(gone.clone());
    rig.with_process(&gone, |p| {
        p.signal(Signal::TERM);
        p.wait_end(Duration::from_secs(10));
    });
    rig.pass(Duration::from_millis(seeded.between(500, 3_000)))?;
    rig.world.start_process(&gone)?;
    rig.busy.remove(&gone);
    rig.away.remove(&gone);
    let further: Vec<String> = (3..=MOST).map(|n| format!("stages-{n}")).collect();
    for name in &further {
        rig.world.start_as(name, seat_of(name))?;
        rig.busy.insert(name.clone());
        rig.pass(Duration::from_millis(seeded.between(100, 1_200)))?;
    }
    rig.pass(Duration::from_secs(8))?;
    for (at, name) in further.iter().enumerate() {
        rig.away.insert(name.clone());
        // Half of them in order, half of them not.
        let signal = if at % 2 == 0 { Signal::TERM } else { Signal::KILL };
        rig.with_process(name, |p| p.signal(signal));
    }
    for name in &further {
        rig.with_process(name, |p| p.stop(Duration::from_secs(10)));
        rig.world.running.remove(name);
        rig.busy.remove(name);
        rig.away.remove(name);
    }
    Ok(Outcome::fired(rig.groups_of(Role::Stages), format!("1, then {MOST}, then 2 instances")))
}

/// An instance that ends in an open transaction and does not come back: its transactional id is nobody's any more.
pub(super) fn orphan(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    rig.storms += 1;
    // A name of its own each time: nobody ever fences its transactional id.
    let name = format!("stages-orphan{}", rig.storms);
    let points = ["engine.after-produce", "engine.after-offsets"];
    let point = *seeded.pick(&points).unwrap_or(&points[0]);
    rig.world.start_as(&name, seat_of(&name))?;
    rig.busy.insert(name.clone());
    rig.away.insert(name.clone());
    rig.pass(Duration::from_secs(3))?;
    rig.with_process(&name, |p| p.arm(point, false, 3)).transpose()?;
    let ended =
        rig.until(Duration::from_secs(30), |rig| Ok(rig.with_process(&name, |p| p.ended().is_some()).unwrap_or(true)))?;
    let fired = rig.with_process(&name, |p| p.fired()).flatten();
    rig.with_process(&name, |p| p.kill());
    rig.world.running.remove(&name);
    rig.busy.remove(&name);
    rig.away.remove(&name);
    match fired {
        Some(point) if ended => Ok(Outcome::fired(rig.world.groups(), format!("{name} at {point}, for good"))),
        _ => Ok(Outcome::missed(format!("{name} did not reach {point}"))),
    }
}
