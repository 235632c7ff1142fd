//! Proves a run from its topics, the venue's journal and ClickHouse alone.
#![forbid(unsafe_code)]
