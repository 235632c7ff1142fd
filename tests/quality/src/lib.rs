//! x
#![forbid(unsafe_code)]

pub mod book;
pub mod desk;
mod error;
pub mod files;
pub mod generator;
pub mod path;
pub mod stats;

pub use error::QualityError;
