//! What is broken when: a pure function of the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kind::{Cost, Kind};
use crate::seeded::Seeded;

/// Cheap faults come this far apart, milliseconds.
const CHEAP_MS: (u64, u64) = (2_000, 5_000);
const EXPENSIVE: Duration = Duration::from_secs(60);
/// Before the first fault everything may come up.
const WARM_UP: Duration = Duration::from_secs(5);
/// The first expensive one comes this long after the start.
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
    /// A fault; the number chooses its details.
    Fault(Kind, u64),
    /// Heal, drain, audit.
    Drain,
}

/// Deals kinds so that all come equally often, in an order of the seed.
struct Deck {
    kinds: Vec<Kind>,
    hand: Vec<Kind>,
}

impl Deck {
    fn deal(&mut self, seeded: &mut Seeded) -> Option<Kind> {
        if self.hand.is_empty() {
            self.hand.clone_from(&self.kinds);
            seeded.shuffle(&mut self.hand);
        }
        self.hand.pop()
    }
}

/// The plan of `minutes` with `kinds`, with a drain every `drain_every` minutes and at the end.
#[must_use]
pub fn plan(seed: u64, minutes: u64, drain_every: u64, kinds: &[Kind]) -> Vec<Planned> {
    let end = Duration::from_secs(minutes * 60);
    let mut all = Vec::new();
    let mut by_cost: BTreeMap<Cost, Vec<Kind>> = BTreeMap::new();
    for kind in kinds.iter().filter(|kind| kind.cost() != Cost::Last) {
        by_cost.entry(kind.cost()).or_default().push(*kind);
    }
    for (cost, kinds) in by_cost {
        let mut seeded = Seeded::new(seed, cost.name());
        let mut deck = Deck { kinds, hand: Vec::new() };
        let mut at = match cost {
            Cost::Cheap => WARM_UP,
            Cost::Expensive | Cost::Last => FIRST_EXPENSIVE,
        };
        while at < end {
            let Some(kind) = deck.deal(&mut seeded) else { break };
            all.push(Planned { at, step: Step::Fault(kind, seeded.next_u64()) });
            at += match cost {
                Cost::Cheap => Duration::from_millis(seeded.between(CHEAP_MS.0, CHEAP_MS.1)),
                Cost::Expensive | Cost::Last => EXPENSIVE,
            };
        }
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
    use super::*;

    fn faults(plan: &[Planned], cost: Cost) -> Vec<(Duration, Kind)> {
        let of = |p: &Planned| match p.step {
            Step::Fault(kind, _) if kind.cost() == cost => Some((p.at, kind)),
            Step::Fault(..) | Step::Drain => None,
        };
        plan.iter().filter_map(of).collect()
    }

    #[test]
    fn the_same_seed_plans_the_same_and_another_something_else() {
        assert_eq!(plan(7, 30, 10, Kind::ALL), plan(7, 30, 10, Kind::ALL));
        assert_ne!(plan(7, 30, 10, Kind::ALL), plan(8, 30, 10, Kind::ALL));
    }

    #[test]
    fn cheap_faults_are_seconds_apart_and_expensive_ones_a_minute() {
        let plan = plan(3, 60, 10, Kind::ALL);
        let gaps = |cost| {
            let all = faults(&plan, cost);
            all.windows(2).map(|w| w[1].0 - w[0].0).collect::<Vec<_>>()
        };
        let cheap = gaps(Cost::Cheap);
        assert!(cheap.len() > 900 && cheap.iter().all(|gap| (2_000..=5_000).contains(&gap.as_millis())));
        assert!(plan.iter().all(|p| !matches!(p.step, Step::Fault(kind, _) if kind.cost() == Cost::Last)));
        assert!(gaps(Cost::Expensive).iter().all(|gap| gap.as_secs() == 60));
        let drains: Vec<_> = plan.iter().filter(|p| p.step == Step::Drain).map(|p| p.at.as_secs() / 60).collect();
        assert_eq!(drains, [10, 20, 30, 40, 50, 60]);
        assert_eq!(plan.last().unwrap().step, Step::Drain);
    }

    #[test]
    fn every_kind_comes_equally_often() {
        let plan = plan(5, 120, 10, Kind::ALL);
        for cost in [Cost::Cheap, Cost::Expensive] {
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            faults(&plan, cost).iter().for_each(|(_, kind)| *counts.entry(kind.name()).or_default() += 1);
            let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            assert!(most - least <= 1, "{counts:?}");
            assert_eq!(counts.len(), Kind::ALL.iter().filter(|k| k.cost() == cost).count());
        }
    }

    #[test]
    fn a_short_run_drains_at_its_end() {
        let plan = plan(1, 5, 10, &[Kind::ALL[0]]);
        assert_eq!(plan.iter().filter(|p| p.step == Step::Drain).count(), 1);
        assert_eq!(plan.last().unwrap().at, Duration::from_secs(300));
    }
}
