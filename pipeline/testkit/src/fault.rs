//! What goes wrong in a run, and when: by a script or by a seed.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The worker stalls for longer than a transaction may be open: the coordinator aborts it, the commit is fenced.
    Timeout,
    /// The commit's first EndTxn is held in the network while its repeat succeeds, and arrives in the middle of the
    /// worker's next transaction, which is then aborted (KAFKA-17754).
    DelayedEnd,
    /// The process dies, and the broker forgets the group's offsets of a partition before it comes again.
    OffsetsLost,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 10] = [
        Self::Abort,
        Self::CrashBeforeCommit,
        Self::CrashAfterCommit,
        Self::UnknownCommit,
        Self::MoveMidBatch,
        Self::MoveInCommit,
        Self::Move,
        Self::Timeout,
        Self::DelayedEnd,
        Self::OffsetsLost,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::CrashBeforeCommit => "crash before commit",
            Self::CrashAfterCommit => "crash after commit",
            Self::UnknownCommit => "unknown commit",
            Self::MoveMidBatch => "move mid-batch",
            Self::MoveInCommit => "move in commit",
            Self::Move => "move",
            Self::Timeout => "transaction timeout",
            Self::DelayedEnd => "delayed EndTxn",
            Self::OffsetsLost => "offsets lost",
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
    elsewhere: BTreeMap<&'static str, usize>,
    /// Faults drawn so far, spared ones counted.
    struck: usize,
    spared: Spared,
}

/// Faults that do not happen although they were drawn: how a failing history is made smaller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spared {
    /// No fault from this number on, in the order in which they strike.
    pub from: Option<usize>,
    /// Not these either.
    pub numbers: BTreeSet<usize>,
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
            elsewhere: BTreeMap::new(),
            struck: 0,
            spared: Spared::default(),
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
            plan = plan.with(fault, 35);
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

    /// Leaves faults out.
    #[must_use]
    pub fn spare(mut self, spared: Spared) -> Self {
        self.spared = spared;
        self
    }

    /// Whether something that the edges call `name` goes wrong now, in so many of 1,000 cases.
    pub fn strikes(&mut self, name: &'static str, per_mille: u64) -> bool {
        if self.per_mille.is_empty() || self.random.next() % 1_000 >= per_mille || !self.strike() {
            return false;
        }
        *self.elsewhere.entry(name).or_default() += 1;
        true
    }

    /// How often each fault has happened, by name, those of the edges too.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<&'static str, usize> {
        let of_workers = self.seen.iter().map(|(fault, n)| (fault.name(), *n));
        of_workers.chain(self.elsewhere.iter().map(|(name, n)| (*name, *n))).collect()
    }

    /// How often each fault has happened to a batch.
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
        let fault = self.script.get(&batch).copied().or(by_chance).filter(|_| self.strike());
        if let Some(fault) = fault {
            *self.seen.entry(fault).or_default() += 1;
        }
        fault
    }

    fn strike(&mut self) -> bool {
        let number = self.struck;
        self.struck += 1;
        self.spared.from.is_none_or(|from| number < from) && !self.spared.numbers.contains(&number)
    }

    /// Batches so far, of all workers.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// The plan's random numbers.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// `SplitMix64`: a seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end` - 1; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// Even odds.
    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// Puts items in an order of chance.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
