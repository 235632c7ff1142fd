//! A length of time.

use super::{MICROS_PER_DAY, MICROS_PER_SECOND, TimeError, fraction_micros, serde_as_text};
use std::fmt;
use std::str::FromStr;

/// A length of time in microseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DurationMicros(i64);

const NAME: &str = "duration";
const MINUTE: i64 = 60 * MICROS_PER_SECOND;
const HOUR: i64 = 60 * MINUTE;

impl DurationMicros {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// So many microseconds.
    ///
    /// # Errors
    /// Negative.
    pub const fn from_micros(micros: i64) -> Result<Self, TimeError> {
        if micros < 0 { Err(TimeError::OutOfRange { name: NAME }) } else { Ok(Self(micros)) }
    }

    /// So many seconds.
    ///
    /// # Errors
    /// Negative or out of range.
    pub fn from_seconds(seconds: i64) -> Result<Self, TimeError> {
        times(seconds, MICROS_PER_SECOND).and_then(Self::from_micros)
    }

    /// Microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// `HH:MM:SS`, whole seconds, as the specifications write a total duration.
    #[must_use]
    pub fn to_clock(self) -> String {
        format!("{:02}:{:02}:{:02}", self.0 / HOUR, self.0 / MINUTE % 60, self.0 / MICROS_PER_SECOND % 60)
    }
}

fn times(count: i64, unit: i64) -> Result<i64, TimeError> {
    count.checked_mul(unit).ok_or(TimeError::OutOfRange { name: NAME })
}

fn whole(digits: &str) -> Result<i64, TimeError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TimeError::Malformed { name: NAME });
    }
    digits.parse().map_err(|_| TimeError::OutOfRange { name: NAME })
}

impl FromStr for DurationMicros {
    type Err = TimeError;

    /// Reads ISO 8601 (`PT4H`, `P1DT30M`, `PT1.5S`; no months or years, which have no fixed length) and
    /// the specifications' `4_hours`, `30_minutes`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let micros = match text.strip_prefix('P') {
            Some(rest) => iso(rest)?,
            None => {
                let (count, unit) = text.split_once('_').ok_or(TimeError::Malformed { name: NAME })?;
                let unit = match unit {
                    "millisecond" | "milliseconds" => 1_000,
                    "second" | "seconds" => MICROS_PER_SECOND,
                    "minute" | "minutes" => MINUTE,
                    "hour" | "hours" => HOUR,
                    "day" | "days" => MICROS_PER_DAY,
                    _ => return Err(TimeError::Malformed { name: NAME }),
                };
                times(whole(count)?, unit)?
            }
        };
        Self::from_micros(micros)
    }
}

/// What follows the `P`: each designator at most once, in order; only seconds may have a fraction.
fn iso(text: &str) -> Result<i64, TimeError> {
    let malformed = TimeError::Malformed { name: NAME };
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return Err(malformed),
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    if date.is_empty() && time.is_empty() {
        return Err(malformed);
    }
    let mut sum = 0_i64;
    let mut add = |micros: i64| -> Result<(), TimeError> {
        sum = sum.checked_add(micros).ok_or(TimeError::OutOfRange { name: NAME })?;
        Ok(())
    };
    let rest = match date.split_once('W') {
        Some((weeks, rest)) => {
            add(times(whole(weeks)?, 7 * MICROS_PER_DAY)?)?;
            rest
        }
        None => date,
    };
    if !rest.is_empty() {
        add(times(whole(rest.strip_suffix('D').ok_or(malformed)?)?, MICROS_PER_DAY)?)?;
    }
    let mut rest = time;
    for (designator, unit) in [('H', HOUR), ('M', MINUTE)] {
        if let Some((count, after)) = rest.split_once(designator) {
            add(times(whole(count)?, unit)?)?;
            rest = after;
        }
    }
    if !rest.is_empty() {
        let seconds = rest.strip_suffix('S').ok_or(malformed)?;
        let (seconds, fraction) = match seconds.split_once('.') {
            Some((seconds, digits)) => (seconds, fraction_micros(digits, NAME)?),
            None => (seconds, 0),
        };
        add(times(whole(seconds)?, MICROS_PER_SECOND)?)?;
        add(fraction)?;
    }
    Ok(sum)
}

impl fmt::Display for DurationMicros {
    /// ISO 8601 in hours, minutes and seconds: `PT4H30M`, `PT0S`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, micros) = (self.0 / HOUR, self.0 / MINUTE % 60, self.0 % MINUTE);
        f.write_str("PT")?;
        if hours > 0 {
            write!(f, "{hours}H")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}M")?;
        }
        let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        if fraction > 0 {
            let digits = format!("{fraction:06}");
            write!(f, "{seconds}.{}S", digits.trim_end_matches('0'))
        } else if seconds > 0 || self.0 == 0 {
            write!(f, "{seconds}S")
        } else {
            Ok(())
        }
    }
}

serde_as_text!(DurationMicros);
