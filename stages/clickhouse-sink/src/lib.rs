//! Lands every output topic in ClickHouse exactly once.
#![forbid(unsafe_code)]
