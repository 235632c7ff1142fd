//! The simulated venue: a process of its own, reached over sockets.
//!
//! It stands for the outside world: several venues behind broker sessions, with order entry and status over HTTP,
//! execution reports over a WebSocket and a journal of its own as a witness (`PROTOCOL.md`). It fills against a book
//! derived from a [`MarketSource`](fillstream_market::MarketSource) that it reads itself.
//!
//! [`Venue`] is the pure core: a function of market, configuration and the requests with their times. Everything else
//! (journal, clock, sockets) is around it. What the fills are like stands in [`matching`].
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_types))]

mod agenda;
mod api;
mod book;
mod config;
mod engine;
mod error;
mod journal;
mod look_ahead;
pub mod matching;
mod micros;
mod misbehaviour;
mod order;
mod report;
mod request;
mod server;

pub use config::{EngineConfig, MarketCenter, Misbehaviour, Mode, VenueConfig};
pub use engine::{Event, Venue};
pub use error::VenueError;
pub use journal::{Entry, Journal, Line, recorded_session_start};
pub use order::{OrderView, StatusView};
pub use report::{RejectCode, Report};
pub use request::{AcceptedCancel, AcceptedOrder, CancelRequest, OrderRequest, Refusal, RefusalCode};
pub use server::serve;
