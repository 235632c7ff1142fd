//! Why there is no report.

use std::time::Duration;

use thiserror::Error;

/// A source of the audit cannot be read.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Kafka did not answer, or refused.
    #[error("kafka: {action}")]
    Kafka {
        /// What was tried.
        action: String,
        /// The client's error.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A topic that the audit needs does not exist.
    #[error("topic {0} does not exist")]
    NoTopic(String),
    /// Nothing came from Kafka although the topics have more.
    #[error("kafka: nothing came for {waited:?}; {open} partitions are not read to their end, {example} among them")]
    Stalled {
        /// How long.
        waited: Duration,
        /// Partitions left.
        open: usize,
        /// One of them.
        example: String,
    },
    /// A contract that the configuration names is not one.
    #[error("topic {topic}: there is no contract {schema}")]
    NoContract {
        /// Topic.
        topic: String,
        /// Full name asked for.
        schema: String,
    },
    /// An HTTP source did not answer.
    #[error("{url}")]
    Http {
        /// Address.
        url: String,
        /// The client's error.
        #[source]
        source: reqwest::Error,
    },
    /// An HTTP source answered with an error.
    #[error("{url}: status {status}: {body}")]
    Refused {
        /// Address.
        url: String,
        /// HTTP status.
        status: u16,
        /// Start of the answer.
        body: String,
    },
    /// An HTTP source answered with something else than agreed.
    #[error("{url}: {problem}")]
    Malformed {
        /// Address.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The runtime of the HTTP client cannot be made.
    #[error("http runtime")]
    Runtime(#[source] std::io::Error),
}
