//! The schema registry, from plain threads.
//!
//! The answer to "which schema has this id" decides whether a record is unreadable for ever or only now. So an unknown id
//! is told apart from an unreachable registry, and neither is ever remembered: the next question is asked again.

mod client;
mod framing;

pub use client::{RegistryConfig, RegistryError, SchemaRegistry};
pub use framing::{Frame, Framing, Unreadable, framed};

/// Subject of a topic's values.
#[must_use]
pub fn value_subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// Subject of engine state: the record's full name, whatever the topic.
#[must_use]
pub fn state_subject(full_name: &str) -> String {
    full_name.to_owned()
}
