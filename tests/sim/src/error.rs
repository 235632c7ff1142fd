//! Why a simulated run failed, or could not be made.

use std::fmt;

use fillstream_testkit::TestkitError;
use thiserror::Error;

/// A broken invariant, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Name of the invariant: a check of the audit, or one of the simulation's own.
    pub invariant: String,
    /// What was found.
    pub text: String,
}

impl Failure {
    /// Names the run that it was found in.
    pub(crate) fn of(self, run: &str) -> Self {
        Self { text: format!("{run}: {}", self.text), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// Outputs differ from those of the undisturbed run.
pub(crate) const OUTPUTS_EQUAL: &str = "outputs_equal";
/// The journal, fed again, writes other bytes.
pub(crate) const REPLAY_IDENTICAL: &str = "replay_identical";
/// Offsets, journal and changelog of a task do not agree after everything is decided.
const WITNESSES_AGREE: &str = "witnesses_agree";
/// A fenced producer got through.
const ZOMBIES_FENCED: &str = "zombies_fenced";
/// The run comes to an end.
const PROGRESS: &str = "progress";
/// Nothing else stops a run.
const RUNS_ON: &str = "runs_on";

impl From<TestkitError> for Failure {
    fn from(error: TestkitError) -> Self {
        let (invariant, text) = match &error {
            TestkitError::Broken { invariant, text } => (invariant.clone(), text.clone()),
            TestkitError::Restore { .. } => (WITNESSES_AGREE.to_owned(), error.to_string()),
            TestkitError::Fault { .. } => (ZOMBIES_FENCED.to_owned(), error.to_string()),
            TestkitError::Pace { .. } => (PROGRESS.to_owned(), error.to_string()),
            TestkitError::Replay { .. } => (REPLAY_IDENTICAL.to_owned(), error.to_string()),
            TestkitError::Engine(_) | TestkitError::Log(_) | TestkitError::Record { .. } => {
                (RUNS_ON.to_owned(), error.to_string())
            }
        };
        Self { invariant, text }
    }
}

/// Why a simulation cannot be made at all.
#[derive(Debug, Error)]
pub enum SimError {
    /// A number of the scenario is out of range.
    #[error("scenario: {0}")]
    Number(#[from] fillstream_domain::NumberError),
    /// The market is faulty.
    #[error("market")]
    Market(#[from] fillstream_market::MarketError),
    /// The venue is faulty.
    #[error("venue")]
    Venue(#[from] fillstream_venue::VenueError),
    /// The audit refuses its topics.
    #[error("audit")]
    Audit(#[from] fillstream_audit::AuditError),
    /// The stages cannot be made.
    #[error("stages: {0}")]
    Stages(String),
}
