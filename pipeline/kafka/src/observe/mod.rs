//! What an operator sees: metrics, and whether the process lives and is ready.

mod group_lag;
mod health;
mod metric;
mod metrics;
mod server;

pub use group_lag::{GroupLag, Progress};
pub use health::{Health, Readiness};
pub use metric::Metric;
pub use metrics::{Counter, Gauge, Histogram, Labels, Metrics};
pub use server::{ObserveServer, serve};
