//! The contracts under `tests/avro`, which have every type, and how to make any of their records.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    unused_qualifications,
    reason = "each test crate uses a part; generated code"
)]

include!(concat!(env!("OUT_DIR"), "/testing.rs"));
