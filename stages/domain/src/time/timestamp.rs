//! A moment in UTC.

use super::{
    Day, DurationMicros, MICROS_PER_DAY, MICROS_PER_SECOND, TimeError, fraction_micros, serde_as_text, take_digits,
};
use std::fmt;
use std::str::FromStr;

/// Microseconds since 1970-01-01T00:00:00Z: Avro's `timestamp-micros`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMicros(i64);

const NAME: &str = "time stamp";

impl TimestampMicros {
    /// The moment so many microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The moment a time later.
    ///
    /// # Errors
    /// Out of range.
    pub const fn checked_add(self, by: DurationMicros) -> Result<Self, TimeError> {
        match self.0.checked_add(by.micros()) {
            Some(micros) => Ok(Self(micros)),
            None => Err(TimeError::OutOfRange { name: NAME }),
        }
    }

    /// The moment a time earlier.
    ///
    /// # Errors
    /// Out of range.
    pub const fn checked_sub(self, by: DurationMicros) -> Result<Self, TimeError> {
        match self.0.checked_sub(by.micros()) {
            Some(micros) => Ok(Self(micros)),
            None => Err(TimeError::OutOfRange { name: NAME }),
        }
    }

    /// How long after `earlier` this is; `None` if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<DurationMicros> {
        self.0.checked_sub(earlier.0).and_then(|micros| DurationMicros::from_micros(micros).ok())
    }

    /// The day in UTC.
    ///
    /// # Errors
    /// None: 64 bits of microseconds are 107 million days either way.
    pub fn day(self) -> Result<Day, TimeError> {
        i32::try_from(self.0.div_euclid(MICROS_PER_DAY))
            .map(Day::from_days)
            .map_err(|_| TimeError::OutOfRange { name: NAME })
    }

    /// Microseconds since 00:00 UTC of its day.
    #[must_use]
    pub const fn micros_of_day(self) -> i64 {
        self.0.rem_euclid(MICROS_PER_DAY)
    }
}

impl FromStr for TimestampMicros {
    type Err = TimeError;

    /// Reads `2025-06-21T10:30:00.300Z`, with up to six digits of a second and `Z` or an offset such as
    /// `+02:00`. A time without either is refused: nobody can say when it was.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = TimeError::Malformed { name: NAME };
        let no_such = TimeError::NoSuchTime { name: NAME };
        let (day, rest) = text.split_once('T').ok_or(malformed)?;
        let day: Day = day.parse()?;
        let (hour, rest) = take_digits(rest, 2).ok_or(malformed)?;
        let (minute, rest) = rest.strip_prefix(':').and_then(|rest| take_digits(rest, 2)).ok_or(malformed)?;
        let (second, rest) = rest.strip_prefix(':').and_then(|rest| take_digits(rest, 2)).ok_or(malformed)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(no_such);
        }
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(malformed)?;
                let (digits, zone) = rest.split_at_checked(end).ok_or(malformed)?;
                (fraction_micros(digits, NAME)?, zone)
            }
            None => (0, rest),
        };
        let seconds = hour * 3_600 + minute * 60 + second - offset_seconds(zone)?;
        let start = day.start()?;
        start
            .0
            .checked_add(seconds * MICROS_PER_SECOND + fraction)
            .map(Self)
            .ok_or(TimeError::OutOfRange { name: NAME })
    }
}

fn offset_seconds(zone: &str) -> Result<i64, TimeError> {
    let malformed = TimeError::Malformed { name: NAME };
    if zone == "Z" {
        return Ok(0);
    }
    let (sign, rest) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (None, Some(rest)) => (-1, rest),
        (None, None) => return Err(malformed),
    };
    let (hours, rest) = take_digits(rest, 2).ok_or(malformed)?;
    let (minutes, rest) = rest.strip_prefix(':').and_then(|rest| take_digits(rest, 2)).ok_or(malformed)?;
    if !rest.is_empty() {
        return Err(malformed);
    }
    if hours > 23 || minutes > 59 {
        return Err(TimeError::NoSuchTime { name: NAME });
    }
    Ok(sign * (hours * 3_600 + minutes * 60))
}

impl fmt::Display for TimestampMicros {
    /// `2025-06-21T10:30:00.300000Z`: always six digits, so that texts sort like times.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.day().map_err(|_| fmt::Error)?;
        let of_day = self.micros_of_day();
        let seconds = of_day / MICROS_PER_SECOND;
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{day}T{hour:02}:{minute:02}:{second:02}.{:06}Z", of_day % MICROS_PER_SECOND)
    }
}

serde_as_text!(TimestampMicros);
