//! The contracts under `tests/avro`, which have every type, and how to make any of their records.
#![allow(dead_code, unreachable_pub, unused_qualifications, reason = "each test crate uses a part; generated code")]

include!(concat!(env!("OUT_DIR"), "/testing.rs"));
