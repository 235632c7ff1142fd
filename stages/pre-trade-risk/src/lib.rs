//! Parent risk: limits, buying power and exposure held for open orders.
#![forbid(unsafe_code)]
