//! Tables that stages look things up in: market, reference data, controls.
#![forbid(unsafe_code)]
