//! Errors of the sink.

use fillstream_core::error::Reaction;
use fillstream_kafka::client::ClientError;
use fillstream_kafka::registry::RegistryError;
use thiserror::Error;

use crate::plan::Contradiction;

/// Why the sink cannot go on.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The configuration is wrong; every fault.
    #[error("clickhouse-sink: {}", .0.join("; "))]
    Config(Vec<String>),
    /// Topics that do not exist.
    #[error("topics do not exist: {}", .0.join(", "))]
    MissingTopics(Vec<String>),
    /// A contract that has no table.
    #[error("contract {contract} has no table: {text}")]
    Contract {
        /// Full name.
        contract: String,
        /// Why.
        text: String,
    },
    /// A table differs from its contract in a way that no added column mends.
    #[error("table {table} differs from its contract: {}", .columns.join("; "))]
    TableDiffers {
        /// Table.
        table: String,
        /// Column, what it is, what it should be.
        columns: Vec<String>,
    },
    /// A table forgets tokens too early.
    #[error("table {table} remembers {has} insert tokens, {needs} are needed: run the migration, or raise round_ms")]
    Window {
        /// Table.
        table: String,
        /// `non_replicated_deduplication_window`.
        has: u64,
        /// Needed.
        needs: u64,
    },
    /// Rows that had been acknowledged are in a part that cannot be read: somebody must look.
    #[error("table {table}: {text}")]
    Lost {
        /// Table.
        table: String,
        /// What is lost, and what to do.
        text: String,
    },
    /// The table and the bounds contradict each other: somebody must look.
    #[error("{topic}/{partition}: {cause}")]
    Contradiction {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// What is wrong.
        cause: Contradiction,
    },
    /// The place to read on from is not known or not there any more: somebody must look.
    #[error("{topic}/{partition}: {text}")]
    Position {
        /// Topic.
        topic: String,
        /// Partition; -1 where it is not known.
        partition: i32,
        /// What is wrong, and what to do.
        text: String,
    },
    /// ClickHouse did not do it.
    #[error("clickhouse, {call}: {text}")]
    ClickHouse {
        /// Call.
        call: &'static str,
        /// Cause in words.
        text: String,
    },
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] ClientError),
    /// Schema registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A thread could not be started.
    #[error("starting a thread: {0}")]
    Thread(String),
}

impl SinkError {
    /// What to do about it.
    #[must_use]
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Kafka(e) => e.reaction(),
            Self::ClickHouse { .. } => Reaction::Retry,
            Self::Registry(RegistryError::Unreachable(_)) => Reaction::Retry,
            Self::Registry(RegistryError::UnknownId(_) | RegistryError::Refused { .. })
            | Self::Config(_)
            | Self::MissingTopics(_)
            | Self::Contract { .. }
            | Self::TableDiffers { .. }
            | Self::Window { .. }
            | Self::Lost { .. }
            | Self::Contradiction { .. }
            | Self::Position { .. }
            | Self::Thread(_) => Reaction::Stop,
        }
    }
}
