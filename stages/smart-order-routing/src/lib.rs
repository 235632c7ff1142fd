//! Scores venues and splits a slice into routed legs.
#![forbid(unsafe_code)]
