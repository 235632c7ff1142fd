//! The schema registry is away.

use std::time::Duration;

use rustix::process::Signal;

use super::Outcome;
use crate::error::ChaosError;
use crate::kind::Role;
use crate::proxy::Rule;
use crate::rig::Rig;
use crate::seeded::Seeded;

fn down(rig: &Rig<'_>) {
    rig.world.registry.set(Rule::REFUSE);
    rig.world.registry.cut();
}

/// Those who know their schemas do not need it.
pub(super) fn registry_warm(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let groups = rig.world.groups();
    down(rig);
    let waiting: Vec<_> = groups.iter().map(|g| rig.progress.expect(g)).collect();
    rig.pass(Duration::from_millis(seeded.between(8_000, 15_000)))?;
    let moved = waiting.iter().filter(|w| rig.progress.recovered(w).is_some()).count();
    rig.world.registry.set(Rule::PASS);
    Ok(Outcome::fired(groups, format!("{moved} of {} groups moved on without it", waiting.len())))
}

/// One that starts must ask it, and waits.
pub(super) fn registry_cold(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let free = rig.reserve(Role::Stages, Duration::from_secs(5), 1)?;
    let Some(name) = seeded.pick(&free).cloned() else { return Ok(Outcome::missed("nobody is free")) };
    rig.busy.insert(name.clone());
    rig.away.insert(name.clone());
    let before = rig.world.registry.disturbed();
    down(rig);
    rig.with_process(&name, |p| {
        p.signal(Signal::KILL);
        p.wait_end(Duration::from_secs(5));
    });
    rig.world.start_process(&name)?;
    rig.pass(Duration::from_millis(seeded.between(5_000, 10_000)))?;
    let asked = rig.world.registry.disturbed().saturating_sub(before);
    rig.world.registry.set(Rule::PASS);
    // It may have given up: whoever supervises it starts it again.
    rig.busy.remove(&name);
    rig.away.remove(&name);
    if asked == 0 {
        return Ok(Outcome::missed(format!("{name} did not ask")));
    }
    Ok(Outcome::fired(rig.groups_of(Role::Stages), format!("{name} started without it and asked {asked} times")))
}
