//! Why a recording cannot be replayed.

use fillstream_core::TimestampMicros;
use fillstream_core::error::EngineError;
use thiserror::Error;

use crate::client::ClientError;
use crate::driver::DriverError;
use crate::registry::RegistryError;

/// Why a recording cannot be replayed. A difference is no error: it is what a replay looks for.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Kafka.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The schema registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A record of an engine topic.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The task.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A topic is missing.
    #[error("{0} does not exist")]
    NoTopic(String),
    /// The group has no such partition.
    #[error("{group} has {partitions} partitions, none is {partition}")]
    NoPartition {
        /// Group.
        group: String,
        /// Its partitions.
        partitions: i32,
        /// Asked for.
        partition: i32,
    },
    /// The beginning is not kept any more.
    #[error("partition {partition} cannot be replayed from {wanted}: {}", .first.map_or_else(
        || "there is no snapshot that its journal goes on from".to_owned(),
        |first| format!("its first snapshot is of {first}")
    ))]
    TooEarly {
        /// Partition.
        partition: i32,
        /// Asked for.
        wanted: TimestampMicros,
        /// Earliest beginning.
        first: Option<TimestampMicros>,
    },
    /// Records that the journal names are not kept any more.
    #[error("{topic}-{partition} begins at {low}, but the journal names {wanted}: its retention has passed")]
    Gone {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Named offset.
        wanted: i64,
        /// First offset kept.
        low: i64,
    },
    /// The recording was made by other code or under another configuration: bytes are only promised under the same.
    #[error(
        "batch {sequence} of partition {partition} was decided by version {code} under configuration {config}, not by these: ask what this configuration would have decided"
    )]
    OtherDecider {
        /// Partition.
        partition: i32,
        /// Batch.
        sequence: i64,
        /// Version of the code, as recorded.
        code: String,
        /// Hash of the configuration, as recorded.
        config: String,
    },
    /// The journal contradicts itself.
    #[error("journal of partition {partition}: {text}")]
    Journal {
        /// Partition.
        partition: i32,
        /// What is wrong.
        text: String,
    },
    /// The cluster did not answer in time.
    #[error("reading {what} took longer than {limit_ms} ms")]
    Timeout {
        /// What.
        what: String,
        /// Limit, milliseconds.
        limit_ms: u64,
    },
}
