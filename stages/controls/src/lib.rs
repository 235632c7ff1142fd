//! The pre-trade controls as data (`controls.yaml` of child risk), and a probe of each.
//!
//! A probe builds a situation in which nothing is wrong, sees that the stage lets an order through, then makes the one
//! thing wrong that the control is there for, and sees its code come out. It runs the stages as they run live, in the real
//! task, without services. What comes out is evidence for a control, and says nothing about a firm.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod child;
mod parent;
mod situation;

use std::collections::BTreeMap;

use fillstream_domain::NumberError;
use fillstream_schemas::codec::CodecError;
use serde::Deserialize;

/// controls.yaml as it was when this was built.
const TEXT: &str = include_str!("../../child-risk/controls.yaml");

/// Why the controls cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum ControlsError {
    /// controls.yaml is not what it must be.
    #[error("controls.yaml: {0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    /// A figure of a situation is out of range.
    #[error("a situation: {0}")]
    Number(#[from] NumberError),
    /// A record of a situation was refused.
    #[error("a situation: {0}")]
    Record(#[from] CodecError),
    /// A stage did not start.
    #[error("the stage does not start: {}", .0.join("; "))]
    Stage(Vec<String>),
}

/// controls.yaml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Version of the file's form.
    pub version: u32,
    /// Controls.
    pub controls: Vec<Control>,
    /// Codes of child risk that are no control of their own, with the reason.
    pub other_codes: BTreeMap<String, String>,
}

/// A control.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Id.
    pub id: String,
    /// Stage that holds it.
    pub stage: String,
    /// Reason code in the events of the stage.
    pub code: String,
    /// Clauses that it is evidence for.
    pub evidence_for: Vec<String>,
    /// What it does.
    pub does: String,
    /// Where its limit stands.
    pub limit: String,
    /// What the limit applies to.
    pub scope: String,
    /// Test that proves it.
    pub test: String,
    /// Event or metric that shows it.
    pub shows: String,
}

/// What the probe of a control found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Without the cause the order went, with it the code came out.
    Held,
    /// The order did not go without the cause either: these codes came out.
    Blocked(Vec<String>),
    /// The code did not come out: these did.
    Missed(Vec<String>),
    /// The stage has no probe here; its test proves it.
    ByTest,
}

/// The codes that came out without and with the cause.
struct Tried {
    before: Vec<String>,
    after: Vec<String>,
}

impl Catalogue {
    /// The controls.
    ///
    /// # Errors
    /// controls.yaml is not what it must be.
    pub fn load() -> Result<Self, ControlsError> {
        Ok(serde_yaml_ng::from_str(TEXT)?)
    }
}

impl Control {
    /// Probes the control.
    ///
    /// # Errors
    /// The situation cannot be built.
    pub fn probe(&self) -> Result<Proof, ControlsError> {
        let found = match self.stage.as_str() {
            "child-risk" => child::probe(&self.code)?,
            "pre-trade-risk" => parent::probe(&self.code)?,
            _ => None,
        };
        Ok(found.map_or(Proof::ByTest, |Tried { before, after }| {
            if !before.is_empty() {
                Proof::Blocked(before)
            } else if after.contains(&self.code) {
                Proof::Held
            } else {
                Proof::Missed(after)
            }
        }))
    }
}
