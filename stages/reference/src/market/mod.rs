//! The market by event time: prevailing quotes, prints and their sums, as of any time held.

mod quote;
mod series;
mod table;

pub use quote::{Interval, MarketMiss, Pin, Print, Quote, TradingStatus};
pub use series::{PRINT_CAPACITY, QUOTE_CAPACITY};
pub use table::{Listing, MarketTable};
