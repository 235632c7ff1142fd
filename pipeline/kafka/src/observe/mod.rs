//! What an operator sees: metrics, and whether the process lives and is ready.

mod health;
mod metrics;
mod server;

pub use health::{Health, Readiness};
pub use metrics::{Counter, Gauge, Histogram, Labels, Metric, Metrics};
pub use server::{ObserveServer, serve};
