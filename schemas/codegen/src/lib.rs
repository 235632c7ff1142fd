//! Generates Rust types and a direct Avro codec from the contracts.
#![forbid(unsafe_code)]
