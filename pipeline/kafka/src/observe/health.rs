//! Whether the process lives and is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// State of one part of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// At work.
    Ready,
    /// Not yet, or not now: why.
    Waiting(String),
    /// Never again: why. The process is not alive.
    Stopped(String),
}

/// State of every part of the process.
#[derive(Debug, Default)]
pub struct Health {
    parts: Mutex<BTreeMap<String, Readiness>>,
}

impl Health {
    /// Nothing known: not ready.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// States how a part is.
    pub fn set(&self, part: &str, readiness: Readiness) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), readiness);
    }

    /// No part has stopped.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        !parts.values().any(|p| matches!(p, Readiness::Stopped(_)))
    }

    /// There are parts, and all are at work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        !parts.is_empty() && parts.values().all(|p| *p == Readiness::Ready)
    }

    /// One line a part, for people.
    #[must_use]
    pub fn print(&self) -> String {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(part, state): (&String, &Readiness)| match state {
            Readiness::Ready => format!("{part}: ready\n"),
            Readiness::Waiting(why) => format!("{part}: waiting: {why}\n"),
            Readiness::Stopped(why) => format!("{part}: stopped: {why}\n"),
        };
        parts.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_part_is() {
        let h = Health::default();
        assert!(!h.is_ready() && h.is_live());
        h.set("a", Readiness::Ready);
        h.set("b", Readiness::Waiting("restoring".into()));
        assert!(!h.is_ready() && h.is_live());
        h.set("b", Readiness::Ready);
        assert!(h.is_ready());
        h.set("a", Readiness::Stopped("fenced".into()));
        assert!(!h.is_ready() && !h.is_live());
        assert_eq!(h.print(), "a: stopped: fenced\nb: ready\n");
    }
}
