//! Runs stages on Kafka: transactions, restore, tables, topics, registry.

pub mod client;
pub mod topics;
