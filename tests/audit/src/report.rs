//! What the audit says.

use serde::Serialize;

/// Violations quoted in words, at most, a check.
const EXAMPLES: usize = 10;

/// The result of every check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Name of the check.
    pub name: String,
    /// Things it looked at; what looked at nothing proves nothing.
    pub examined: u64,
    /// Violations found.
    pub violations: u64,
    /// The first of them, in words.
    pub examples: Vec<String>,
}

/// A check under way.
#[derive(Debug)]
pub(crate) struct Exam(Check);

impl Exam {
    pub(crate) fn new(name: &str) -> Self {
        Self(Check { name: name.to_owned(), examined: 0, violations: 0, examples: Vec::new() })
    }

    /// One more thing was looked at.
    pub(crate) fn saw(&mut self) {
        self.0.examined += 1;
    }

    /// A violation unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.violations += 1;
            if self.0.examples.len() < EXAMPLES {
                self.0.examples.push(otherwise());
            }
        }
    }

    /// A violation.
    pub(crate) fn fault(&mut self, text: impl FnOnce() -> String) {
        self.require(false, text);
    }

    pub(crate) fn done(self) -> Check {
        self.0
    }
}
