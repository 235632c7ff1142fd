//! Sessions to brokers: intent journal, adapters, reports.
//!
//! One actor a session, on a thread and a transactional id of its own (`fillstream.broker-gateway.<session>`), with its
//! state in a compacted topic. Each instruction takes three steps: its intent is committed with the input's offset, which
//! is the fence; then it is sent, before a deadline of L from that transaction's start, after a last look at controls,
//! approval hash and clock; then the broker's reports are committed with their inbound numbers.
//!
//! What is promised, and what not:
//! - Nothing is sent without an earlier committed intent, and a second attempt has the same ClOrdID and the same fields.
//!   So an order executes at most once where the broker refuses a ClOrdID that it has seen (`cl_ord_id_unique` in the
//!   reference data). Elsewhere an intent without an answer that the broker does not know is not sent again: it is UNKNOWN,
//!   which no timer ends.
//! - A successor fences first, waits until L after that, then asks for every intent without an answer. It does not wait
//!   where there is none, nor in market time.
//! - An intent is reported refused after an attempt only if the broker, asked, has not got it. Bytes that a network holds
//!   back for longer than L could still arrive after that; should they, the report of the order that was refused is passed
//!   on, with an error in the log.
//! - Live, no new order is written later than 250 ms after a kill was appended: controls count as fresh for 200 ms after
//!   the write of the last heartbeat that was read back. Cancels always pass.
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
