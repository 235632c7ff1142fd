//! Errors, named by the reaction they need.

use std::borrow::Cow;

use thiserror::Error;

/// What the driver does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The same call again.
    Retry,
    /// Abort the transaction, take the uncommitted state back, run the batch again.
    AbortTxn,
    /// Forget the task's state and restore it from its changelog.
    Restore,
    /// Send the one record to the dead-letter topic and go on.
    DeadLetter,
    /// Stop: going on could break a promise. Somebody must look.
    Stop,
}

/// Why a stage refuses a record. Its state writes, outputs and timers are dropped; the record goes to the stage's
/// dead-letter topic in the same transaction. A business refusal is not poison but an event with a reason code.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {text}")]
pub struct Poison {
    /// Closed reason code, as `DECODE`.
    pub code: Cow<'static, str>,
    /// The error in words.
    pub text: String,
}

impl Poison {
    /// A poison with a closed `code`.
    #[must_use]
    pub fn new(code: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}

/// Errors of the engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A group's stages do not form a path: names twice, or an output without an owner.
    #[error("group {group}: {text}")]
    Topology {
        /// Group.
        group: String,
        /// What is wrong.
        text: String,
    },
    /// A stage emitted a record for a co-partitioned stage whose key belongs to another partition.
    #[error("stage {stage} emitted key {key:?} to {topic} in partition {partition}, but the key belongs to {owner}")]
    ForeignKey {
        /// Emitting stage.
        stage: String,
        /// Topic.
        topic: String,
        /// Key.
        key: String,
        /// Partition of the task.
        partition: i32,
        /// Partition of the key.
        owner: i32,
    },
    /// A changelog entry names a store, or a timer a stage, that the group does not have.
    #[error(
        "changelog of {group} partition {partition} holds an entry of {store}, which no stage of the group declares"
    )]
    UnknownStore {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// Store as `stage/store`.
        store: String,
    },
    /// A changelog entry cannot be decoded.
    #[error("changelog of {group} partition {partition}, store {store}, key {key:?}: {source}")]
    Changelog {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// Store as `stage/store`.
        store: String,
        /// Key.
        key: String,
        /// Cause.
        source: fillstream_schemas::codec::CodecError,
    },
    /// now would go back, or the batch sequence would not be gapless.
    #[error("batch of {group} partition {partition}: {text}")]
    Batch {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// What is wrong.
        text: String,
    },
}

impl EngineError {
    /// What to do about it.
    #[must_use]
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Topology { .. } | Self::ForeignKey { .. } | Self::UnknownStore { .. } | Self::Changelog { .. } => {
                Reaction::Stop
            }
            Self::Batch { .. } => Reaction::Restore,
        }
    }
}
