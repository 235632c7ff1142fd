//! Selects an algorithm and releases the slices of its schedule.
#![forbid(unsafe_code)]
