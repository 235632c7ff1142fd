//! The stage engine: pure, deterministic, without Kafka, a runtime or a clock.
#![forbid(unsafe_code)]
