//! Test driver: the real task over an in-memory log, virtual time and a fault plan.
#![forbid(unsafe_code)]
