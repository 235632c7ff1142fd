//! Errors of a Kafka client, named by the reaction they need.

use std::fmt;

use fillstream_core::error::Reaction;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use thiserror::Error;

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Setting.
    pub setting: String,
    /// What is wrong with it.
    pub text: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.text)
    }
}

/// An error of a Kafka client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The same call again, after a while.
    #[error("{call}: {text} (can be retried)")]
    Retry {
        /// Call.
        call: &'static str,
        /// Cause in words.
        text: String,
    },
    /// The transaction must be aborted and its batch run again.
    #[error("{call}: {text} (the transaction is aborted)")]
    Abort {
        /// Call.
        call: &'static str,
        /// Cause in words.
        text: String,
    },
    /// The client cannot be used any more: build a new one and restore.
    #[error("{call}: {text} (the client is rebuilt)")]
    Fatal {
        /// Call.
        call: &'static str,
        /// Cause in words.
        text: String,
    },
    /// Another producer or member took over the id.
    #[error("{call}: {text} (another instance took over)")]
    Fenced {
        /// Call.
        call: &'static str,
        /// Cause in words.
        text: String,
    },
    /// Nobody can say whether the transaction committed: restore.
    #[error("{call}: {text} (the outcome is unknown, state is restored)")]
    Ambiguous {
        /// Call.
        call: &'static str,
        /// Cause in words.
        text: String,
    },
    /// The record can never be sent: it is larger than the client or the topic allows.
    #[error("record of {size} bytes for {topic} is larger than allowed")]
    TooLarge {
        /// Topic.
        topic: String,
        /// Key and value, bytes.
        size: usize,
    },
    /// The records at the offset to be read do not exist: deleted, or of another topic. Nothing is skipped silently.
    #[error("{topic}-{partition} cannot be read at {offset}: {text}")]
    OffsetGone {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// Cause in words.
        text: String,
    },
    /// The configuration is wrong.
    #[error("{}", join(.0))]
    Config(Vec<ConfigFault>),
}

fn join(faults: &[ConfigFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Retry { .. } => Reaction::Retry,
            Self::Abort { .. } => Reaction::AbortTxn,
            // Retention may have passed between the bounds and the read: new bounds tell.
            Self::Fatal { .. } | Self::Ambiguous { .. } | Self::OffsetGone { .. } => Reaction::Restore,
            Self::TooLarge { .. } => Reaction::DeadLetter,
            Self::Fenced { .. } | Self::Config(_) => Reaction::Stop,
        }
    }

    pub(crate) fn fatal(call: &'static str, text: impl fmt::Display) -> Self {
        Self::Fatal { call, text: text.to_string() }
    }

    pub(crate) fn retry(call: &'static str, text: impl fmt::Display) -> Self {
        Self::Retry { call, text: text.to_string() }
    }

    /// An error outside a transaction: what the broker may answer differently tomorrow is retried.
    pub(crate) fn outside(call: &'static str, error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(code) if is_fenced(code) => Self::Fenced { call, text: error.to_string() },
            Some(RDKafkaErrorCode::Fatal) => Self::fatal(call, error),
            Some(_) => Self::retry(call, error),
            None => Self::fatal(call, error),
        }
    }

    /// An error of a transactional call, by what librdkafka says of it.
    pub(crate) fn transactional(call: &'static str, error: &TxnError) -> Self {
        let text = format!("{} ({:?})", error.text, error.code);
        // The member under which the batch began is not the group's any more. Often it is this very client that has joined
        // again since, after its session or its coordinator was gone; if it is another one, the consumer is told so itself.
        let is_member = error.code == RDKafkaErrorCode::FencedInstanceId && error.requires_abort;
        if is_fenced(error.code) && !is_member {
            Self::Fenced { call, text }
        } else if error.fatal {
            Self::Fatal { call, text }
        } else if error.requires_abort {
            Self::Abort { call, text }
        } else if error.retriable {
            Self::Retry { call, text }
        } else {
            // Neither fatal nor abortable nor retriable: a call in the wrong state. Only a new client is certain.
            Self::Fatal { call, text }
        }
    }
}

/// What librdkafka says of a failed transactional call.
#[derive(Clone, Debug)]
pub(crate) struct TxnError {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) text: String,
    pub(crate) fatal: bool,
    pub(crate) retriable: bool,
    pub(crate) requires_abort: bool,
}

impl TxnError {
    pub(crate) fn of(error: &KafkaError) -> Self {
        if let KafkaError::Transaction(e) = error {
            return Self {
                code: e.code(),
                text: e.string(),
                fatal: e.is_fatal(),
                retriable: e.is_retriable(),
                requires_abort: e.txn_requires_abort(),
            };
        }
        Self {
            code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
            text: error.to_string(),
            fatal: true,
            retriable: false,
            requires_abort: false,
        }
    }
}

/// Whether the code says that somebody else owns the transactional id or the group member.
pub(crate) fn is_fenced(code: RDKafkaErrorCode) -> bool {
    [
        RDKafkaErrorCode::Fenced,
        RDKafkaErrorCode::ProducerFenced,
        RDKafkaErrorCode::InvalidProducerEpoch,
        RDKafkaErrorCode::FencedInstanceId,
    ]
    .contains(&code)
}

/// Whether the code says that there is nothing at the offset to be read.
pub(crate) fn is_offset_gone(code: RDKafkaErrorCode) -> bool {
    [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange, RDKafkaErrorCode::NoOffset].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(code: RDKafkaErrorCode, fatal: bool, requires_abort: bool, retriable: bool) -> TxnError {
        TxnError { code, text: String::new(), fatal, retriable, requires_abort }
    }

    #[test]
    fn fencing_stops_before_any_flag_is_read() {
        let e = ClientError::transactional("commit", &txn(RDKafkaErrorCode::Fenced, true, false, false));
        assert_eq!(e.reaction(), Reaction::Stop);
    }

    /// Found by chaos: a node that coordinated the group was killed, the consumer joined again while its worker waited for a
    /// producer, and the worker took itself for another one and stopped for good.
    #[test]
    fn offsets_of_a_former_member_are_aborted_and_only_the_consumer_knows_of_another_one() {
        let fenced = RDKafkaErrorCode::FencedInstanceId;
        let e = ClientError::transactional("send_offsets", &txn(fenced, false, true, false));
        assert_eq!(e.reaction(), Reaction::AbortTxn);
        assert_eq!(ClientError::transactional("x", &txn(fenced, true, false, false)).reaction(), Reaction::Stop);
        let told = KafkaError::ConsumerCommit(fenced);
        assert_eq!(ClientError::outside("poll", &told).reaction(), Reaction::Stop);
    }

    #[test]
    fn flags_decide_the_reaction() {
        let code = RDKafkaErrorCode::IllegalGeneration;
        let reaction = |f, a, r| ClientError::transactional("x", &txn(code, f, a, r)).reaction();
        assert_eq!(reaction(true, true, true), Reaction::Restore);
        assert_eq!(reaction(false, true, true), Reaction::AbortTxn);
        assert_eq!(reaction(false, false, true), Reaction::Retry);
        assert_eq!(reaction(false, false, false), Reaction::Restore);
    }
}
