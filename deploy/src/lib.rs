//! Local Kafka, schema registry and ClickHouse from the package registries.
//!
//! [`up`] fetches the three services by exact version with the ordinary package clients (Maven, npm, pip), checks each
//! file against the sums in `deploy/checksums`, keeps them in a cache outside the repository, starts them on the
//! loopback address and returns once each of them answers. [`down`] stops them, data stays; [`reset`] deletes the data.
//! A service that already runs elsewhere is only probed: see [`ServiceSource::External`].
//!
//! ```no_run
//! use fillstream_deploy::{LocalConfig, Progress, up};
//!
//! # fn main() -> Result<(), fillstream_deploy::DeployError> {
//! let config = LocalConfig::from_env()?;
//! let endpoints = up(&config, &|step: Progress<'_>| eprintln!("{step}"))?;
//! println!("kafka is at {}", endpoints.kafka);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing runs in a container. Kafka and the registry run on one Java runtime that is fetched too; ClickHouse is the
//! library `libchdb`, served by this very program: it starts itself again with the arguments of [`Launcher`], and that
//! second process calls [`clickhouse::serve`].

mod artifact;
mod backend;
mod checksum;
pub mod clickhouse;
mod cluster;
mod config;
mod error;
mod http;
mod kafka;
mod kafka_wire;
mod libchdb;
mod local;
mod ports;
mod prerequisites;
mod process;
mod registry;
mod service;
mod state;

pub use cluster::{ClusterLayout, ClusterListener, KafkaCluster};
pub use config::{Launcher, LocalConfig, ServiceSource};
pub use error::DeployError;
pub use local::{ServiceState, ServiceStatus, StopOutcome, Stopped, down, reset, status, up};
pub use service::{Endpoints, Progress, Service};
