//! The Avro contracts and their codec.
#![forbid(unsafe_code)]
