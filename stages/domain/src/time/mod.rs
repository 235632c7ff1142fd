//! Time as data: stamps, lengths and trading sessions. Nothing here reads a clock.

mod calendar;
mod civil;
mod duration;
mod timestamp;
mod zone;

pub use calendar::{CalendarError, Session, SessionCalendar};
pub use civil::Day;
pub use duration::DurationMicros;
pub use timestamp::TimestampMicros;
pub use zone::TimeZone;

/// Why a text or a figure is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not in the form that is read.
    #[error("{name} is not in ISO 8601 form")]
    Malformed {
        /// What was to be read.
        name: &'static str,
    },
    /// No such day or time of day.
    #[error("{name} does not exist")]
    NoSuchTime {
        /// What was to be read.
        name: &'static str,
    },
    /// A fraction finer than a microsecond.
    #[error("{name} is finer than a microsecond")]
    TooFine {
        /// What was to be read.
        name: &'static str,
    },
    /// Beyond what 64 bits of microseconds hold.
    #[error("{name} is out of range")]
    OutOfRange {
        /// What was to be read.
        name: &'static str,
    },
}

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Serde as the text of `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

/// Reads exactly this many ASCII digits and what follows them.
pub(crate) fn take_digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

/// The fraction of a second `digits` (without the point) in microseconds.
pub(crate) fn fraction_micros(digits: &str, name: &'static str) -> Result<i64, TimeError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TimeError::Malformed { name });
    }
    let digits = digits.trim_end_matches('0');
    if digits.len() > 6 {
        return Err(TimeError::TooFine { name });
    }
    format!("{digits:0<6}").parse().map_err(|_| TimeError::Malformed { name })
}
