//! Tables that stages look things up in: [`MarketTable`], [`ReferenceData`], [`Controls`].
//!
//! Each is a [`Table`](fillstream_core::table::Table): a reader applies rows and publishes versions; a clone shares
//! its structure, so a version costs little. Reads are as of a given time, never "the latest": two runs that ask for the
//! same time get the same answer, however far their readers are.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod controls;
mod data;
mod fx;
mod market;
mod ring;

pub use controls::{Controls, FIRM_ID};
pub use data::{AccountMiss, CalendarMiss, ReferenceData};
pub use fx::{FxMiss, FxRate, fx_rate};
pub use market::{
    Interval, Listing, MarketMiss, MarketTable, PRINT_CAPACITY, Pin, QUOTE_CAPACITY, Quote, TradingStatus,
};
