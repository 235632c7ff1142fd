//! The REST service of execution strategies: `/api/v1/execution-strategy`, its OpenAPI document and Swagger UI.
//!
//! The service decides nothing and keeps nothing. What is asked goes to topics (`execution.strategy-requests.v1`,
//! `execution.commands.v1`), where the stages handle it exactly once; what they write is read from topics and told
//! (`desk`, `kafka`). What is older than the process is asked of ClickHouse (`analytics`). So any number of instances may run, and one
//! that dies loses nothing: who asks again under the same `Idempotency-Key` gets the answer of the first time.
#![forbid(unsafe_code)]

mod analytics;
mod api;
mod body;
mod desk;
mod docs;
mod kafka;
mod orders;
mod problem;
mod server;

pub use analytics::ClickHouseConfig;
pub use api::ROUTES;
pub use desk::{Desk, Outbound, Said};
pub use docs::OPENAPI;
pub use kafka::{Connection, KafkaError, run};
pub use server::{ApiConfig, Server, serve};
