//! Errors of the driver, named by the reaction they need.

use fillstream_core::error::{EngineError, Reaction};
use thiserror::Error;

use crate::client::ClientError;
use crate::registry::RegistryError;
use crate::topics::RouteError;

/// An error of the Kafka driver.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The schema registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A record has no partition.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The topics are not as the groups need them.
    #[error("topics are not as wanted, run `fillstream topics apply`: {0}")]
    Topics(String),
    /// A topic was deleted and made again.
    #[error(
        "{topic} is another topic now (id {now}, state was made from {then}): its offsets mean nothing; restore the topic, or start group {group} anew"
    )]
    AnotherTopic {
        /// Topic.
        topic: String,
        /// Consumer group.
        group: String,
        /// Id now.
        now: String,
        /// Id in the offset metadata.
        then: String,
    },
    /// There is state but no committed offset to go with it.
    #[error(
        "group {group} has state in partition {partition} but no committed offset of {topic}: run `fillstream recover {group}` to take it from the journal"
    )]
    NoOffset {
        /// Consumer group.
        group: String,
        /// Partition.
        partition: i32,
        /// Topic.
        topic: String,
    },
    /// Something else committed an offset of the group.
    #[error(
        "the offset of {topic}-{partition} in group {group} was not committed by fillstream (metadata {metadata:?}): run `fillstream recover {group}` to take it from the journal"
    )]
    ForeignOffset {
        /// Consumer group.
        group: String,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// What stands there.
        metadata: String,
    },
    /// Its state went to other groups.
    #[error("group {group} was regrouped: its state and offsets are in {to} now")]
    Regrouped {
        /// Consumer group.
        group: String,
        /// Groups that go on.
        to: String,
    },
    /// The records at a committed offset are gone.
    #[error("group {group}: {text}: records were deleted before they were processed; nothing is skipped silently")]
    OffsetGone {
        /// Consumer group.
        group: String,
        /// What the client says.
        text: String,
    },
    /// Changelog, journal and offsets do not agree, even after waiting.
    #[error(
        "state of {group} partition {partition} does not agree: offsets at batch {offsets}, journal at {journal}, changelog at {changelog}"
    )]
    Disagree {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// Batch sequence in the offset metadata.
        offsets: i64,
        /// Batch sequence of the last journal record.
        journal: i64,
        /// Highest batch sequence in the changelog.
        changelog: i64,
    },
    /// A table's topic ends before rows that were read from it.
    #[error("{table} ends at {end}, but was read up to {read}: rows are lost, or it is another topic")]
    TableLost {
        /// Partition of the table.
        table: String,
        /// Next offset by a task's journal.
        read: i64,
        /// End now.
        end: i64,
    },
    /// A record of an engine topic cannot be read.
    #[error("{topic}-{partition} at {offset}: {text}")]
    Unreadable {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// Why.
        text: String,
    },
    /// Something took longer than it may.
    #[error("{what} took longer than {limit_ms} ms")]
    Timeout {
        /// What.
        what: String,
        /// Limit, milliseconds.
        limit_ms: u64,
    },
    /// A task wrote a record that is too large.
    #[error("a record of {size} bytes for {topic} is larger than the {limit} allowed")]
    TooLarge {
        /// Partition of the task.
        partition: i32,
        /// Topic.
        topic: String,
        /// Bytes.
        size: usize,
        /// Most bytes.
        limit: usize,
    },
    /// A stage panicked and no single record is to blame.
    #[error("a stage of {group} partition {partition} panicked: {text}")]
    Panic {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// Message.
        text: String,
    },
    /// The configuration is wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// It failed too often in a row.
    #[error("gave up after {attempts} attempts without a commit; the last error: {last}")]
    GaveUp {
        /// Attempts.
        attempts: u32,
        /// Last error.
        last: Box<DriverError>,
    },
    /// Work was interrupted by a rebalance or a stop; nothing is wrong.
    #[error("interrupted")]
    Interrupted,
}

impl DriverError {
    /// What to do about it.
    #[must_use]
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Client(e) => match e.reaction() {
                Reaction::Retry => Reaction::Retry,
                Reaction::AbortTxn => Reaction::AbortTxn,
                Reaction::Restore => Reaction::Restore,
                Reaction::DeadLetter | Reaction::Stop => Reaction::Stop,
            },
            Self::Engine(e) => e.reaction(),
            Self::Registry(e) => match e {
                RegistryError::Unreachable(_) => Reaction::Retry,
                RegistryError::UnknownId(_) | RegistryError::Refused { .. } => Reaction::Stop,
            },
            Self::Timeout { .. } => Reaction::Restore,
            Self::Interrupted => Reaction::Retry,
            Self::Route(_)
            | Self::Topics(_)
            | Self::AnotherTopic { .. }
            | Self::NoOffset { .. }
            | Self::ForeignOffset { .. }
            | Self::OffsetGone { .. }
            | Self::Disagree { .. }
            | Self::Regrouped { .. }
            | Self::TableLost { .. }
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::Panic { .. }
            | Self::Config(_)
            | Self::GaveUp { .. } => Reaction::Stop,
        }
    }
}
