//! What can go wrong with the rig itself. What chaos finds is no error, but a violation in the report.

use std::time::Duration;

use fillstream_deploy::DeployError;
use rdkafka::error::KafkaError;

/// Why the rig cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The operating system.
    #[error("{action} failed")]
    Io {
        /// What was done.
        action: String,
        /// Why.
        source: std::io::Error,
    },
    /// The local services.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The rig's own Kafka client.
    #[error("{action} failed")]
    Kafka {
        /// What was asked.
        action: String,
        /// Why.
        source: KafkaError,
    },
    /// A command of the program failed.
    #[error("fillstream {command} ended with {status}: {said}")]
    Command {
        /// Its arguments.
        command: String,
        /// Its status.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// Something took too long.
    #[error("{what} took longer than {limit:?}{}", said(.detail))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What is known, may be empty.
        detail: String,
    },
    /// An answer was not understood.
    #[error("{what}: {detail}")]
    Answer {
        /// Whose.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The options make no run.
    #[error("{0}")]
    Options(String),
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

impl ChaosError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        |source| Self::Io { action, source }
    }

    pub(crate) fn kafka(action: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let action = action.into();
        |source| Self::Kafka { action, source }
    }
}
