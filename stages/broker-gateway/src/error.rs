//! Errors, named by the reaction they need.

use fillstream_core::error::Reaction;
use fillstream_kafka::client::ClientError;
use fillstream_kafka::registry::RegistryError;
use fillstream_kafka::topics::RouteError;
use fillstream_schemas::codec::CodecError;
use thiserror::Error;

use crate::probe::FailPoint;

/// Why a session, or the whole gateway, cannot go on.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The configuration is wrong.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] ClientError),
    /// The schema registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A record has no partition.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The session's stored state cannot be used: going on could send an order twice.
    #[error("state of session {session}: {text}")]
    State {
        /// Session.
        session: String,
        /// What is wrong.
        text: String,
    },
    /// A stored record cannot be read.
    #[error("state of session {session}, key {key:?}")]
    Unreadable {
        /// Session.
        session: String,
        /// Key.
        key: String,
        /// Cause.
        source: CodecError,
    },
    /// The transactions' client may have a commit in flight: everything is restored on a new one.
    #[error("the transactional client of session {session} is in doubt and is rebuilt")]
    Suspect {
        /// Session.
        session: String,
    },
    /// The stream of reports misses one: it is asked for again.
    #[error("session {session}: report {expected} was expected, {got} came")]
    Gap {
        /// Session.
        session: String,
        /// Number expected.
        expected: i64,
        /// Number that came.
        got: i64,
    },
    /// The broker knows fewer reports than were taken in: it lost its history, or is another one.
    #[error("session {session}: the broker's last report is {last}, {ours} were taken in")]
    BrokerForgot {
        /// Session.
        session: String,
        /// The broker's last.
        last: i64,
        /// Ours.
        ours: i64,
    },
    /// A report cannot be read: it may be a fill, so nothing goes past it.
    #[error("session {session}: the broker's report after {after} cannot be read: {text}")]
    BadReport {
        /// Session.
        session: String,
        /// Last report that could be read.
        after: i64,
        /// What is wrong.
        text: String,
    },
    /// The connection to a broker cannot be made at all.
    #[error("session {session}: {text}")]
    Adapter {
        /// Session.
        session: String,
        /// What is wrong.
        text: String,
    },
    /// The operating system refused a thread or a runtime.
    #[error("the operating system refused a thread")]
    Os(#[from] std::io::Error),
    /// A thread of the gateway ended without an answer.
    #[error("a thread of session {session} panicked")]
    Panicked {
        /// Session.
        session: String,
    },
    /// A test's probe asked for the end, here and now.
    #[error("killed at {0:?} by a probe")]
    Probe(FailPoint),
}

impl GatewayError {
    /// What to do about it. [`Reaction::Restore`]: start the session again from its journal, which fences first.
    #[must_use]
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Kafka(error) => match error.reaction() {
                // Nothing is rolled back in place: the one way back is the restore that a crash needs anyway.
                Reaction::Retry | Reaction::AbortTxn | Reaction::Restore => Reaction::Restore,
                Reaction::DeadLetter | Reaction::Stop => Reaction::Stop,
            },
            Self::Registry(RegistryError::Unreachable(_)) | Self::Suspect { .. } | Self::Gap { .. } => {
                Reaction::Restore
            }
            Self::Registry(RegistryError::UnknownId(_) | RegistryError::Refused { .. })
            | Self::Config(_)
            | Self::Route(_)
            | Self::State { .. }
            | Self::Unreadable { .. }
            | Self::BrokerForgot { .. }
            | Self::BadReport { .. }
            | Self::Adapter { .. }
            | Self::Os(_)
            | Self::Panicked { .. }
            | Self::Probe(_) => Reaction::Stop,
        }
    }
}
