//! Sessions to brokers: intent journal, adapters, reports.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions)]

pub mod adapter;
mod boot_clock;
mod config;
mod error;
pub mod gate;
mod hash;
mod probe;
mod reason;
mod runner;
pub mod session;

pub use boot_clock::BootInstant;
pub use config::{GatewayConfig, Mode, SessionConfig};
pub use error::GatewayError;
pub use probe::{FailPoint, NoProbe, Phase, PhaseBoard, Probe};
pub use reason::{Reason, Refusal};
pub use runner::{Environment, run, run_with};
