//! Trading vocabulary: exact numbers, FIX enumerations, the order state table.
#![forbid(unsafe_code)]
