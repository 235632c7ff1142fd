//! Topics as code: `topics.yaml`, what it says of a cluster, and where a key belongs.

mod check;
mod model;
mod partition;
mod plan;
mod retention;

pub use check::{StageGroup, check_declarations};
pub use model::{
    Catalog, Cleanup, EngineTemplate, EngineTopics, Kind, Partitioning, Profile, ResolvedTopic, TopicFault, TopicSpec,
    TopicsError,
};
pub use partition::{RouteError, Router, partition_for};
pub use plan::{ApplyOptions, Change, Cluster, Plan, Refusal, TopicState, apply, plan, read_cluster};
pub use retention::Retention;

/// Topic whose records the broker stamps with its own time: how a process learns it before it starts.
pub const TIME_TOPIC: &str = "fillstream.time";

/// Consumer group of an engine group.
#[must_use]
pub fn consumer_group(group: &str) -> String {
    format!("fillstream.{group}")
}

/// Journal topic of an engine group.
#[must_use]
pub fn journal_topic(group: &str) -> String {
    format!("fillstream.{group}.journal")
}

/// Changelog topic of an engine group.
#[must_use]
pub fn changelog_topic(group: &str) -> String {
    format!("fillstream.{group}.changelog")
}

/// Topic of the snapshots of an engine group's state.
#[must_use]
pub fn snapshots_topic(group: &str) -> String {
    format!("fillstream.{group}.snapshots")
}

/// Dead-letter topic of a stage.
#[must_use]
pub fn dead_letter_topic(stage: &str) -> String {
    format!("{stage}.dlq")
}
