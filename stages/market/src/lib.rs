//! Market data sources: replayed files and a documented synthetic market.
//!
//! A [`MarketSource`] yields [`NormalizedMarketData`](fillstream_schemas::market::NormalizedMarketData) rows in order
//! of event time (ties in the order of arrival), each with a gapless `seq` (from 1) per instrument and venue, and the
//! reference data of its instruments. Both sources are deterministic: a file gives its rows, a synthetic market is a
//! pure function of its configuration. So two processes that open the same source see the same market.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)
)]

mod error;
mod file;
mod reference;
mod source;
mod synthetic;
mod table;

pub use error::MarketError;
pub use file::FileSource;
pub use reference::{CALENDAR_CRYPTO, CALENDAR_EQUITY, CALENDAR_FX};
pub use source::{Anchored, MarketSource, Session};
pub use synthetic::{DEFAULT_START, Prng, SyntheticConfig, SyntheticInstrument, SyntheticMarket, default_instruments};
pub use table::reference_table;
