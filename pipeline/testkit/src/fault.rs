//! What goes wrong in a run, and when: by a script or by a seed.

use std::collections::BTreeMap;

/// Something that happens to one batch of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The transaction is aborted part of the way; the tasks roll back and run again.
    Abort,
    /// The process dies with its transaction open. Its ghost tries to commit later and must be fenced.
    CrashBeforeCommit,
    /// The process dies after the commit, before it knows.
    CrashAfterCommit,
    /// The answer to the commit is lost, and whether it was done is a coin's throw; the worker lives and restores.
    UnknownCommit,
    /// One of the batch's tasks moves to another worker while its state is uncommitted, before the offsets are sent:
    /// the generation is stale, the transaction is aborted.
    MoveMidBatch,
    /// Likewise after the offsets are sent: the new owner waits until the transaction is timed out; the old one is fenced.
    MoveInCommit,
    /// One task moves to another worker between two batches; a state that is left behind is used again when the task
    /// comes back and it is not stale.
    Move,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 7] = [
        Self::Abort,
        Self::CrashBeforeCommit,
        Self::CrashAfterCommit,
        Self::UnknownCommit,
        Self::MoveMidBatch,
        Self::MoveInCommit,
        Self::Move,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::CrashBeforeCommit => "crash before commit",
            Self::CrashAfterCommit => "crash after commit",
            Self::UnknownCommit => "unknown commit",
            Self::MoveMidBatch => "move mid-batch",
            Self::MoveInCommit => "move in commit",
            Self::Move => "move",
        }
    }
}

/// Where batches are cut, what fails, and in which order workers get their turns. The same plan gives the same run.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    random: Random,
    max_units: usize,
    varied: bool,
    per_mille: BTreeMap<Fault, u64>,
    script: BTreeMap<usize, Fault>,
    batches: usize,
    seen: BTreeMap<Fault, usize>,
}

impl FaultPlan {
    /// Nothing fails, nothing is cut.
    #[must_use]
    pub fn none() -> Self {
        Self {
            random: Random(0),
            max_units: usize::MAX,
            varied: false,
            per_mille: BTreeMap::new(),
            script: BTreeMap::new(),
            batches: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Nothing fails; every batch takes at most `max_units` roots.
    #[must_use]
    pub fn cut(max_units: usize) -> Self {
        Self { max_units: max_units.max(1), ..Self::none() }
    }

    /// Everything fails now and then, and batches take 1 to 5 roots.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut plan = Self { random: Random(seed), varied: true, ..Self::cut(5) };
        for fault in Fault::ALL {
            plan = plan.with(fault, 50);
        }
        plan
    }

    /// Lets `fault` happen to so many of 1,000 batches.
    #[must_use]
    pub fn with(mut self, fault: Fault, per_mille: u64) -> Self {
        self.per_mille.insert(fault, per_mille);
        self
    }

    /// Lets `fault` happen to the `n`-th batch of the run, from 0, over all workers.
    #[must_use]
    pub fn on_batch(mut self, n: usize, fault: Fault) -> Self {
        self.script.insert(n, fault);
        self
    }

    /// Draws the workers' turns (and all else) from this seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random(seed);
        self
    }

    /// How often each fault has happened.
    #[must_use]
    pub fn seen(&self) -> &BTreeMap<Fault, usize> {
        &self.seen
    }

    pub(crate) fn units(&mut self) -> usize {
        if self.varied { 1 + self.random.below(self.max_units) } else { self.max_units }
    }

    /// What happens to the next batch.
    pub(crate) fn next(&mut self) -> Option<Fault> {
        let batch = self.batches;
        self.batches += 1;
        let mut drawn = self.random.next() % 1_000;
        let by_chance = self.per_mille.iter().find_map(|(fault, rate)| {
            let hit = drawn < *rate;
            drawn = drawn.saturating_sub(*rate);
            hit.then_some(*fault)
        });
        let fault = self.script.get(&batch).copied().or(by_chance);
        if let Some(fault) = fault {
            *self.seen.entry(fault).or_default() += 1;
        }
        fault
    }

    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// `SplitMix64`: a seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end` - 1; 0 where there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
