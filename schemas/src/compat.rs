//! Compatibility of the contracts with their released versions.
