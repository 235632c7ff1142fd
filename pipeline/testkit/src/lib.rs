//! Test driver: the real task over an in-memory log, virtual time and a fault plan.
//!
//! [`StageBench`] is for unit tests of one stage: given, when, then.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::float_arithmetic)]

mod bench;

pub use bench::StageBench;
