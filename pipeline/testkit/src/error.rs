//! What can go wrong in a driven run.

use fillstream_core::error::EngineError;
use fillstream_schemas::codec::CodecError;
use thiserror::Error;

/// Why the in-memory log refuses a call, as a broker would.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// A successor has initialised the transactional id, or the coordinator has timed the transaction out.
    #[error("producer {id} is fenced")]
    Fenced {
        /// Transactional id.
        id: String,
    },
    /// The consumer group has been rebalanced since the batch began.
    #[error("group {group} is at generation {current}, not {given}")]
    StaleGeneration {
        /// Consumer group.
        group: String,
        /// Generation now.
        current: u32,
        /// Generation of the caller.
        given: u32,
    },
    /// An open transaction holds back what was asked for.
    #[error("{what} waits for the open transaction of {by}")]
    Unstable {
        /// What cannot be read yet.
        what: String,
        /// Transactional id that has it open.
        by: String,
    },
    /// Markers of the producer's last transaction are on their way: CONCURRENT_TRANSACTIONS.
    #[error("markers of the last transaction of {id} are on their way")]
    Concurrent {
        /// Transactional id.
        id: String,
    },
    /// The request does not fit the state of the transaction: INVALID_TXN_STATE.
    #[error("the transaction of {id} is in no state for this")]
    InvalidState {
        /// Transactional id.
        id: String,
    },
    /// The producer has no transaction open.
    #[error("producer {id} has no transaction open")]
    NoTransaction {
        /// Transactional id.
        id: String,
    },
}

/// Why a driven run stopped.
#[derive(Debug, Error)]
pub enum TestkitError {
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The log refused where it must not.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The three sequences of a task do not agree.
    #[error("restore of {group} partition {partition}: {text}")]
    Restore {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// What does not agree.
        text: String,
    },
    /// A record of the log is not what it must be.
    #[error("{topic}-{partition}@{offset}: {source}")]
    Record {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// Cause.
        source: CodecError,
    },
    /// A rule of the pacer is broken, or the run does not end.
    #[error("instant {instant}: {text}")]
    Pace {
        /// Instant, microseconds UTC.
        instant: i64,
        /// What is wrong.
        text: String,
    },
    /// An invariant that an edge or an observer holds is broken.
    #[error("{invariant}: {text}")]
    Broken {
        /// Its name.
        invariant: String,
        /// What was found.
        text: String,
    },
    /// A fault was injected, and the log let through what it must not.
    #[error("after {fault}: {text}")]
    Fault {
        /// Injected fault.
        fault: &'static str,
        /// What is wrong.
        text: String,
    },
    /// The journal, fed again, gives something else.
    #[error("replay of {group} partition {partition}, batch {sequence}: {text}")]
    Replay {
        /// Group.
        group: String,
        /// Partition.
        partition: i32,
        /// Batch sequence.
        sequence: i64,
        /// First difference.
        text: String,
    },
}
