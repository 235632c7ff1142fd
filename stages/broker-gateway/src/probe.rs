//! Looking into a running gateway: the phase each session is in, and the points at which a test may end it.

use std::sync::atomic::{AtomicU8, Ordering};

/// What a session is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It waits for work.
    #[default]
    Idle,
    /// It restores its state, or waits out its predecessor.
    Recovering,
    /// A transaction is open.
    OpenTransaction,
    /// An intent is committed, the broker's answer to it is not known yet.
    BetweenIntentAndAnswer,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Idle, Self::Recovering, Self::OpenTransaction, Self::BetweenIntentAndAnswer];

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Recovering => "recovering",
            Self::OpenTransaction => "open transaction",
            Self::BetweenIntentAndAnswer => "between intent and answer",
        }
    }
}

/// Where a test may end a session as a kill would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailPoint {
    /// Everything is written, the transaction is not committed.
    BeforeCommit,
    /// The intents are committed, nothing is sent.
    AfterIntentCommit,
    /// An instruction's turn to be sent has come, nothing is checked yet.
    BeforeSend,
    /// The last check has passed, the write to the broker is next.
    BetweenCheckAndWrite,
    /// The broker has the order, its answer is not looked at.
    AfterSend,
    /// The broker's answers are known, nothing of them is committed.
    BeforeAnswerCommit,
}

impl FailPoint {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeCommit => "gateway.before-commit",
            Self::AfterIntentCommit => "gateway.after-intent-commit",
            Self::BeforeSend => "gateway.before-send",
            Self::BetweenCheckAndWrite => "gateway.between-check-and-write",
            Self::AfterSend => "gateway.after-send",
            Self::BeforeAnswerCommit => "gateway.before-answer-commit",
        }
    }
}

/// Follows sessions. Every method may be left out.
pub trait Probe: Send + Sync {
    /// The session has entered a phase.
    fn entered(&self, _session: &str, _phase: Phase) {}

    /// Whether the session must end here, as if it were killed.
    fn dies_at(&self, _session: &str, _point: FailPoint) -> bool {
        false
    }
}

/// No one looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {}

/// The present phase of each session, to be read from any thread.
#[derive(Debug, Default)]
pub struct PhaseBoard {
    phases: Vec<(String, AtomicU8)>,
}

impl PhaseBoard {
    /// A board of these sessions, all idle.
    #[must_use]
    pub fn new(sessions: impl IntoIterator<Item = String>) -> Self {
        Self { phases: sessions.into_iter().map(|session| (session, AtomicU8::new(0))).collect() }
    }

    /// Each session with its phase.
    pub fn phases(&self) -> impl Iterator<Item = (&str, Phase)> {
        self.phases.iter().map(|(session, cell)| {
            let phase = Phase::ALL.get(usize::from(cell.load(Ordering::Acquire)));
            (session.as_str(), phase.copied().unwrap_or_default())
        })
    }
}

impl Probe for PhaseBoard {
    fn entered(&self, session: &str, phase: Phase) {
        let index = Phase::ALL.iter().position(|p| *p == phase).and_then(|i| u8::try_from(i).ok());
        if let (Some((_, cell)), Some(index)) = (self.phases.iter().find(|(name, _)| name == session), index) {
            cell.store(index, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_shows_the_last_phase_of_each_session() {
        let board = PhaseBoard::new(["a".to_owned(), "b".to_owned()]);
        board.entered("b", Phase::OpenTransaction);
        board.entered("b", Phase::BetweenIntentAndAnswer);
        board.entered("nobody", Phase::Recovering);
        let shown: Vec<_> = board.phases().collect();
        assert_eq!(shown, [("a", Phase::Idle), ("b", Phase::BetweenIntentAndAnswer)]);
    }
}
