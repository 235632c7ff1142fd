//! Test driver: the real task over an in-memory log, virtual time and a fault plan.
//!
//! [`StageBench`] is for unit tests of one stage: given, when, then. [`Setup`] and [`Driver`] run whole paths over a
//! [`Log`] with transactions: fused or split, with any number of workers, paced or live, while a [`FaultPlan`] cuts,
//! aborts, kills and moves; [`Outputs::canonical`] is what two runs must have in common, [`Driver::replay`] feeds the
//! journal again.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::float_arithmetic)]

mod bench;
mod cluster;
mod coordinator;
mod driver;
mod edge;
mod error;
mod fault;
mod group_run;
mod log;
mod outputs;
mod outside;
mod replay;
mod restore;
mod setup;
mod tables;
mod worker;
mod writes;

pub use bench::StageBench;
pub use cluster::Cluster;
pub use coordinator::{Outcome, Producer};
pub use driver::{Driver, State};
pub use edge::{Edge, Surroundings};
pub use error::{LogError, TestkitError};
pub use fault::{Fault, FaultPlan, Random, Spared};
pub use group_run::Moment;
pub use log::{Committed, Coordinates, Log, LogRecord};
pub use outputs::{Canonical, Outputs, Row};
pub use outside::{Outside, Said, Seen};
pub use setup::{Observer, Setup};
pub use tables::LONGEST_TABLE_LAG_US;
