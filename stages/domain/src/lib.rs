//! Trading vocabulary: exact numbers, identifiers, FIX enumerations, the order state tables, time.
//!
//! Everything here is a value or a pure function: no clock, no randomness, no I/O. Money, prices and
//! quantities are integers of a fixed scale; an overflow or a lost digit is an error, and every
//! rounding is asked for by name.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod avro_enum;
pub mod enums;
pub mod ids;
pub mod number;
pub mod order_state;
pub mod time;

pub use avro_enum::{AvroEnum, UnknownSymbol, same_symbols};
pub use enums::*;
pub use ids::*;
pub use number::*;
pub use time::{DurationMicros, Session, SessionCalendar, TimestampMicros};

/// What [`avro_enum!`] expands to needs; no public interface.
#[doc(hidden)]
pub mod __private {
    pub use serde;
}
