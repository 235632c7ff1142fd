//! Transaction cost analysis of every parent order.
#![forbid(unsafe_code)]
