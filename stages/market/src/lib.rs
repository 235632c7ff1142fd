//! Market data sources: replayed files and a documented synthetic market.
#![forbid(unsafe_code)]
