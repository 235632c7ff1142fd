//! What is broken when: a pure function of the seed.

use std::time::Duration;

use crate::kind::{Cost, Kind};
use crate::seeded::Seeded;

/// Cheap faults come this far apart, milliseconds.
const CHEAP_MS: (u64, u64) = (2_000, 3_500);
const EXPENSIVE: Duration = Duration::from_secs(50);
/// Before the first fault everything may come up.
const WARM_UP: Duration = Duration::from_secs(5);
/// The first expensive one comes so long after the start.
const FIRST_EXPENSIVE: Duration = Duration::from_secs(20);

/// Something planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Since the start, without the time that drains take.
    pub at: Duration,
    /// What.
    pub step: Step,
}

/// What is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A fault that runs beside everything else; the number chooses its details.
    Cheap(u64),
    /// One that has its minute.
    Expensive(u64),
    /// Heal, drain, audit.
    Drain,
}

/// What became of a kind so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Felt, in earlier runs too, or under way.
    pub felt: u64,
    /// Not felt.
    pub missed: u64,
}

/// The kinds in the order in which they are to come next: furthest from what is wanted of them first. One that was not felt
/// counts half, so that a kind that cannot be felt now does not keep the others from coming. `draw` decides between equals.
#[must_use]
pub fn next(kinds: &[Kind], draw: u64, standing: impl Fn(Kind) -> Standing) -> Vec<Kind> {
    let mut all = kinds.to_vec();
    Seeded::new(draw, "next").shuffle(&mut all);
    all.sort_by_key(|kind| {
        let Standing { felt, missed } = standing(*kind);
        (2 * felt + missed).saturating_mul(1_000).checked_div(kind.wanted()).unwrap_or(u64::MAX)
    });
    all
}

/// The plan of `minutes` with a drain every `drain_every` minutes and at the end: when something comes, and the numbers that
/// choose its details. Which kind it is, the rig decides then: [`next`].
#[must_use]
pub fn plan(seed: u64, minutes: u64, drain_every: u64) -> Vec<Planned> {
    let end = Duration::from_secs(minutes * 60);
    let mut all = Vec::new();
    let mut seeded = Seeded::new(seed, Cost::Cheap.name());
    let mut at = WARM_UP;
    while at < end {
        all.push(Planned { at, step: Step::Cheap(seeded.next_u64()) });
        at += Duration::from_millis(seeded.between(CHEAP_MS.0, CHEAP_MS.1));
    }
    let mut seeded = Seeded::new(seed, Cost::Expensive.name());
    let mut at = FIRST_EXPENSIVE;
    while at < end {
        all.push(Planned { at, step: Step::Expensive(seeded.next_u64()) });
        at += EXPENSIVE;
    }
    let every = Duration::from_secs(drain_every.max(1) * 60);
    let mut at = every.min(end);
    loop {
        all.push(Planned { at, step: Step::Drain });
        if at >= end {
            break;
        }
        at = (at + every).min(end);
    }
    // Stable: a drain that falls together with a fault comes behind it.
    all.sort_by_key(|planned| (planned.at, planned.step == Step::Drain));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn times(plan: &[Planned], of: impl Fn(Step) -> bool) -> Vec<Duration> {
        plan.iter().filter(|p| of(p.step)).map(|p| p.at).collect()
    }

    #[test]
    fn the_same_seed_plans_the_same_and_another_something_else() {
        assert_eq!(plan(7, 30, 10), plan(7, 30, 10));
        assert_ne!(plan(7, 30, 10), plan(8, 30, 10));
    }

    #[test]
    fn cheap_faults_are_seconds_apart_and_expensive_ones_a_minute() {
        let plan = plan(3, 60, 10);
        let gaps = |of: fn(Step) -> bool| times(&plan, of).windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>();
        let cheap = gaps(|s| matches!(s, Step::Cheap(_)));
        let allowed = u128::from(CHEAP_MS.0)..=u128::from(CHEAP_MS.1);
        assert!(cheap.len() > 1_000 && cheap.iter().all(|gap| allowed.contains(&gap.as_millis())), "{}", cheap.len());
        assert!(gaps(|s| matches!(s, Step::Expensive(_))).iter().all(|gap| *gap == EXPENSIVE));
        let drains: Vec<_> = times(&plan, |s| s == Step::Drain).iter().map(|at| at.as_secs() / 60).collect();
        assert_eq!(drains, [10, 20, 30, 40, 50, 60]);
        assert_eq!(plan.last().unwrap().step, Step::Drain);
    }

    #[test]
    fn the_kind_that_is_furthest_from_what_is_wanted_comes_next() {
        let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|k| k.cost() == Cost::Expensive).collect();
        let mut standing: BTreeMap<Kind, Standing> = BTreeMap::new();
        let rounds: u64 = kinds.iter().map(|kind| kind.wanted()).sum();
        for draw in 0..rounds {
            let next = next(&kinds, draw, |kind| standing.get(&kind).copied().unwrap_or_default())[0];
            standing.entry(next).or_default().felt += 1;
        }
        assert!(kinds.iter().all(|kind| standing[kind].felt == kind.wanted()), "{standing:?}");
        // Felt never: after two attempts it has had its turn as if it were felt once.
        let two = [Kind::StopNode, Kind::Poison];
        let of = |felt, missed| {
            move |kind| if kind == Kind::StopNode { Standing { felt: 0, missed } } else { Standing { felt, missed: 0 } }
        };
        assert_eq!(next(&two, 1, of(1, 1))[0], Kind::StopNode);
        assert_eq!(next(&two, 1, of(1, 3))[0], Kind::Poison);
        let orders: std::collections::BTreeSet<_> = (0..20).map(|draw| next(&two, draw, of(0, 0))[0]).collect();
        assert_eq!(orders.len(), 2, "the draw decides between equals");
    }

    #[test]
    fn a_short_run_drains_at_its_end() {
        let plan = plan(1, 5, 10);
        assert_eq!(times(&plan, |s| s == Step::Drain), [Duration::from_secs(300)]);
        assert_eq!(plan.last().unwrap().step, Step::Drain);
    }
}
