//! Checks every routed child at its own moment and signs it for the gateway.
#![forbid(unsafe_code)]
