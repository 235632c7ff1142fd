//! Runs stages on Kafka: transactions, restore, tables, topics, registry.

pub mod client;
pub mod driver;
pub mod failpoint;
pub mod observe;
pub mod registry;
pub mod regroup;
pub mod replay;
pub mod startup;
pub mod telemetry;
pub mod topics;
mod wait;
