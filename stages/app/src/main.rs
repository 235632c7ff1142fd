//! The one binary, `fillstream`.
#![forbid(unsafe_code)]
fn main() {}
