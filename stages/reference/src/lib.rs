//! Tables that stages look things up in: [`MarketTable`], [`ReferenceData`], [`WideLimits`], [`Controls`].
//!
//! Each is a [`Table`](fillstream_core::table::Table): a reader applies rows and publishes versions; a clone shares
//! its structure, so a version costs little. Reads are as of a given time, never "the latest": two runs that ask for the
//! same time get the same answer, however far their readers are.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod control_state;
mod controls;
mod data;
mod fx;
mod market;
mod ring;
mod wide_limits;

pub use control_state::{ControlCommand, ControlFault, ControlRequest, SIGNATURE_HOLDS_US, phase, transition};
pub use controls::{Controls, FIRM_ID};
pub use data::{AccountMiss, CalendarMiss, ReferenceData};
pub use fx::{FxMiss, FxRate, fx_rate};
pub use market::{
    Interval, Listing, MarketMiss, MarketTable, PRINT_CAPACITY, Pin, Print, QUOTE_CAPACITY, Quote, TradingStatus,
};
pub use wide_limits::{WideLimits, covers};
