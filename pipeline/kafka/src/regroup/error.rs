//! Why a group cannot be regrouped.

use thiserror::Error;

use crate::client::ClientError;
use crate::driver::DriverError;
use crate::registry::RegistryError;
use crate::replay::ReplayError;

/// Why groups stay as they are. Nothing has moved then.
#[derive(Debug, Error)]
pub enum RegroupError {
    /// Kafka.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A group has members.
    #[error("{group} has members, and one that has stopped counts until its session ends: {source}")]
    Busy {
        /// Consumer group.
        group: String,
        /// What the cluster says.
        source: ClientError,
    },
    /// The driver, while it drained.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Reading what there is.
    #[error(transparent)]
    Read(#[from] ReplayError),
    /// The schema registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The two layouts do not hold the same stages.
    #[error("the groups hold other stages: {from:?}, then {to:?}")]
    OtherStages {
        /// Stages now.
        from: Vec<String>,
        /// Stages then.
        to: Vec<String>,
    },
    /// State, journal and offsets of a task do not agree: it must be started once as it is.
    #[error("{group} partition {partition}: {text}")]
    Task {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// What is wrong.
        text: String,
    },
    /// Records between two groups wait to be read.
    #[error("{group} has not read {topic}-{partition} to its end: drain first")]
    NotDrained {
        /// Group.
        group: String,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// Two groups that become one have read a topic up to different records.
    #[error("{topic}-{partition} was read up to {low} by one group and up to {high} by another")]
    Apart {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Lowest offset.
        low: i64,
        /// Highest offset.
        high: i64,
    },
    /// A group did not come to its end in time.
    #[error("{group} was not drained within {limit_ms} ms")]
    Timeout {
        /// Group.
        group: String,
        /// Limit, milliseconds.
        limit_ms: u64,
    },
}
