//! Published models of trading cost: market impact and optimal execution.
//!
//! The one place of the order path that computes in `f64`, because the models are made of roots and exponentials. Transcendental
//! functions come from `libm`, never from the platform, so that a replay gives the same bits everywhere; what leaves the crate is
//! an exact number, rounded once, or a typed refusal.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod almgren_chriss;
pub mod correlation;
mod exact;
pub mod impact;
