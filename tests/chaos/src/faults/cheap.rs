//! Faults that need no drain and run beside everything else.

use std::time::{Duration, Instant};

use super::Outcome;
use crate::error::ChaosError;
use crate::kind::{Kind, Role};
use crate::proxy::{Answering, Flow, HttpLink, Link, Rule};
use crate::rig::{Rig, seat_of};
use crate::seeded::Seeded;

/// One that has just started is left alone: it would never get anywhere.
const UP_FOR: Duration = Duration::from_secs(3);
/// How long a fail point may take to be reached, and an insert to come: longer than an outage of those before it.
const REACHED_WITHIN: Duration = Duration::from_secs(60);
/// Answers stay disturbed for so long after the first one, so that retries meet it too.
const CLICKHOUSE_LASTS: Duration = Duration::from_secs(2);

/// A cheap fault under way.
#[derive(Debug)]
pub(crate) enum Cheap {
    Kill { name: String, role: Role, until: Instant },
    Links { name: String, role: Role, links: Vec<Link>, before: u64, until: Instant },
    ClickHouse { link: HttpLink, before: u64, felt_at: Option<Instant>, until: Instant },
}

/// Begins one; or why not.
pub(crate) fn begin(rig: &mut Rig<'_>, kind: Kind, draw: u64) -> Result<Result<Cheap, String>, ChaosError> {
    let mut seeded = Seeded::new(draw, kind.name());
    if let Some((role, point)) = kind.kills_at() {
        return kill(rig, role, point, &mut seeded);
    }
    match kind {
        Kind::ClickHouseSlow => {
            Ok(clickhouse(rig, Answering::Late(Duration::from_millis(seeded.between(500, 4_000))), &mut seeded))
        }
        Kind::ClickHouseFailure => Ok(clickhouse(rig, Answering::Failure, &mut seeded)),
        Kind::ClickHouseNoAnswer => Ok(clickhouse(rig, Answering::Nothing, &mut seeded)),
        _ => Ok(links(rig, kind, &mut seeded)),
    }
}

fn kill(rig: &mut Rig<'_>, role: Role, point: &str, seeded: &mut Seeded) -> Result<Result<Cheap, String>, ChaosError> {
    if rig.is_reserved(role) {
        return Ok(Err("another waits for them".to_owned()));
    }
    let free = rig.free(role, UP_FOR);
    let Some(name) = seeded.pick(&free).cloned() else { return Ok(Err("nobody is free".to_owned())) };
    let nth = seeded.between(1, 2);
    rig.with_process(&name, |p| p.arm(point, false, nth)).transpose()?;
    rig.armed.insert(name.clone());
    Ok(Ok(Cheap::Kill { name, role, until: Instant::now() + REACHED_WITHIN }))
}

fn links(rig: &mut Rig<'_>, kind: Kind, seeded: &mut Seeded) -> Result<Cheap, String> {
    let role = *seeded.pick(&[Role::Stages, Role::Stages, Role::Gateway, Role::Sink]).unwrap_or(&Role::Stages);
    if rig.is_reserved(role) {
        return Err("another waits for them".to_owned());
    }
    let talking = rig.talking(role, UP_FOR);
    let name = seeded.pick(&talking).cloned().ok_or("nobody is free")?;
    let links: Vec<Link> =
        rig.world.seat(seat_of(&name)).map(|s| s.kafka.values().cloned().collect()).unwrap_or_default();
    let before = links.iter().map(Link::disturbed).sum();
    let moment = Duration::from_millis(seeded.between(300, 1_500));
    let (rule, lasts) = match kind {
        Kind::LinkDelay => {
            let by = Flow::Delay(Duration::from_millis(seeded.between(20, 250)));
            (Rule { responses: by, ..Rule::PASS }, Duration::from_secs(3))
        }
        Kind::LinkHoldRequests => (Rule::NO_REQUESTS, moment),
        Kind::LinkHoldResponses => (Rule::NO_RESPONSES, moment),
        Kind::LinkHalfClose => {
            links.iter().for_each(|link| {
                link.half_close();
            });
            (Rule::PASS, Duration::ZERO)
        }
        _ => {
            links.iter().for_each(|link| {
                link.cut();
            });
            (Rule::PASS, Duration::ZERO)
        }
    };
    links.iter().for_each(|link| link.set(rule));
    rig.linked.insert(name.clone());
    Ok(Cheap::Links { name, role, links, before, until: Instant::now() + lasts })
}

fn clickhouse(rig: &mut Rig<'_>, answering: Answering, seeded: &mut Seeded) -> Result<Cheap, String> {
    let links: Vec<HttpLink> = rig.world.seats.iter().filter_map(|s| s.clickhouse.clone()).collect();
    let link = seeded.pick(&links).cloned().ok_or("there is no sink")?;
    if !rig.busy.insert(link.name().to_owned()) {
        return Err("its way is being disturbed already".to_owned());
    }
    let before = link.disturbed();
    link.set(answering);
    Ok(Cheap::ClickHouse { link, before, felt_at: None, until: Instant::now() + REACHED_WITHIN })
}

/// Looks how one does; the outcome once it is healed.
pub(crate) fn poll(rig: &mut Rig<'_>, cheap: &mut Cheap) -> Result<Option<Outcome>, ChaosError> {
    match cheap {
        Cheap::Kill { name, role, until } => poll_kill(rig, name, *role, *until),
        Cheap::Links { name, role, links, before, until } => {
            let felt = links.iter().map(Link::disturbed).sum::<u64>().saturating_sub(*before);
            if Instant::now() < *until {
                return Ok(None);
            }
            links.iter().for_each(|link| link.set(Rule::PASS));
            rig.linked.remove(name);
            Ok(Some(if felt == 0 {
                Outcome::missed(format!("{name} did not feel it"))
            } else {
                Outcome::fired(rig.groups_of(*role), format!("{name} felt it {felt} times"))
            }))
        }
        Cheap::ClickHouse { link, before, felt_at, until } => {
            let felt = link.disturbed().saturating_sub(*before);
            if felt > 0 && felt_at.is_none() {
                *felt_at = Some(Instant::now());
            }
            if felt_at.map_or(Instant::now() < *until, |at| at.elapsed() < CLICKHOUSE_LASTS) {
                return Ok(None);
            }
            link.set(Answering::Right);
            rig.busy.remove(link.name());
            Ok(Some(if felt == 0 {
                Outcome::missed(format!("nothing was inserted over {}", link.name()))
            } else {
                Outcome::fired(rig.groups_of(Role::Sink), format!("{felt} inserts over {}", link.name()))
            }))
        }
    }
}

fn poll_kill(rig: &mut Rig<'_>, name: &str, role: Role, until: Instant) -> Result<Option<Outcome>, ChaosError> {
    let Some((fired, ended, words)) = rig.with_process(name, |p| (p.fired(), p.ended(), p.last_words())) else {
        rig.armed.remove(name);
        return Ok(Some(Outcome::missed(format!("{name} is gone"))));
    };
    let outcome = match (ended, fired) {
        (Some(_), Some(point)) => {
            // Unless whatever is about it now brings it back itself.
            if !rig.away.contains(name) {
                rig.world.start_as(name, seat_of(name))?;
            }
            Outcome::fired(rig.groups_of(role), format!("{name} at {point}"))
        }
        // It ended by itself before it got there: the supervisor sees that.
        (Some(status), None) => {
            rig.history.note(name, "ended before its fail point", &format!("{status}: {words}"));
            Outcome::missed(format!("{name} ended by itself"))
        }
        (None, _) if Instant::now() >= until => {
            rig.with_process(name, |p| p.disarm());
            // Between the look and the disarming it may have been reached.
            std::thread::park_timeout(Duration::from_millis(60));
            if rig.with_process(name, |p| p.fired()).flatten().is_some() {
                return Ok(None);
            }
            Outcome::missed(format!("{name} did not reach it"))
        }
        (None, _) => return Ok(None),
    };
    rig.armed.remove(name);
    Ok(Some(outcome))
}
