//! Makes a failing case smaller: fewer decisions, then fewer faults, as long as it fails at all.

use crate::error::{Failure, SimError};
use crate::run::{Case, Topology, run};
use crate::world::World;

/// Runs that shrinking may take.
const MOST_RUNS: usize = 200;

/// The smallest failing case found.
#[derive(Clone, Debug)]
pub struct Smallest {
    /// What fails.
    pub case: Case,
    /// How.
    pub failure: Failure,
    /// Groups of decisions left of how many.
    pub decisions: (usize, usize),
    /// Faults left.
    pub faults: usize,
    /// Runs that it took.
    pub runs: usize,
}

struct Search<'t> {
    topology: &'t Topology<'t>,
    best: (Case, Failure),
    runs: usize,
}

impl Search<'_> {
    // Takes a smaller case on if it fails.
    fn try_case(&mut self, case: Case) -> Result<bool, SimError> {
        if self.runs >= MOST_RUNS {
            return Ok(false);
        }
        self.runs += 1;
        match run(&case, self.topology)? {
            Ok(_) => Ok(false),
            Err(failure) => {
                self.best = (case, failure);
                Ok(true)
            }
        }
    }

    fn decisions(&mut self) -> Result<(), SimError> {
        for group in 0..World::groups(self.best.0.seed)? {
            let mut case = self.best.0.clone();
            case.left_out.insert(group);
            self.try_case(case)?;
        }
        Ok(())
    }

    // `of` finds the spared faults of one of the runs.
    fn faults(&mut self, of: fn(&mut Case) -> &mut fillstream_testkit::Spared) -> Result<usize, SimError> {
        // The fewest first faults with which it fails still.
        let (mut low, mut high) = (0, 64);
        while high < 65_536 && !self.fails_from(of, high)? {
            high *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.fails_from(of, middle)? { high = middle } else { low = middle + 1 }
        }
        let mut left = 0;
        for number in 0..high.min(256) {
            let mut case = self.best.0.clone();
            of(&mut case).numbers.insert(number);
            left += usize::from(!self.try_case(case)?);
        }
        Ok(left)
    }

    fn fails_from(
        &mut self,
        of: fn(&mut Case) -> &mut fillstream_testkit::Spared,
        from: usize,
    ) -> Result<bool, SimError> {
        let mut case = self.best.0.clone();
        of(&mut case).from = Some(from);
        self.try_case(case)
    }
}

/// Shrinks a failing case.
///
/// # Errors
/// As [`run`].
pub fn shrink(case: &Case, failure: Failure, topology: &Topology<'_>) -> Result<Smallest, SimError> {
    let mut search = Search { topology, best: (case.clone(), failure), runs: 0 };
    search.decisions()?;
    let faults = search.faults(|case| &mut case.spared)? + search.faults(|case| &mut case.spared_live)?;
    search.decisions()?;
    let all = World::groups(case.seed)?;
    let (case, failure) = search.best;
    Ok(Smallest { decisions: (all - case.left_out.len(), all), case, failure, faults, runs: search.runs })
}
