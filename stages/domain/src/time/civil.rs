//! Days of the proleptic Gregorian calendar.

use super::{MICROS_PER_DAY, TimeError, TimestampMicros, serde_as_text, take_digits};
use std::fmt;
use std::str::FromStr;

/// A day in UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The day so many days after 1970-01-01.
    #[must_use]
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn days(self) -> i32 {
        self.0
    }

    /// The day of a year, a month from 1 and a day of the month from 1.
    ///
    /// # Errors
    /// No such day; a year beyond 9999.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Result<Self, TimeError> {
        let no_such = TimeError::NoSuchTime { name: "day" };
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return Err(no_such);
        }
        let (month, day) = (i32::try_from(month).map_err(|_| no_such)?, i32::try_from(day).map_err(|_| no_such)?);
        // Howard Hinnant's days_from_civil: years begin in March, so that the leap day is the last.
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Ok(Self(era * 146_097 + day_of_era - 719_468))
    }

    /// Year, month from 1, day of the month from 1.
    #[must_use]
    pub fn ymd(self) -> (i64, i64, i64) {
        // Howard Hinnant's civil_from_days. 64 bits: the shift may pass the ends of 32.
        let days = i64::from(self.0) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400;
        (if month <= 2 { year + 1 } else { year }, month, day)
    }

    /// Whether the day is a Saturday or a Sunday.
    #[must_use]
    pub const fn is_weekend(self) -> bool {
        // 1970-01-01 was a Thursday: Saturday is 2 days on.
        matches!(self.0.rem_euclid(7), 2 | 3)
    }

    /// The day after, `None` at the end of the count.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(days) => Some(Self(days)),
            None => None,
        }
    }

    /// 00:00 UTC of the day.
    ///
    /// # Errors
    /// Beyond what a time stamp holds.
    pub fn start(self) -> Result<TimestampMicros, TimeError> {
        i64::from(self.0)
            .checked_mul(MICROS_PER_DAY)
            .map(TimestampMicros::from_micros)
            .ok_or(TimeError::OutOfRange { name: "day" })
    }
}

const fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

impl FromStr for Day {
    type Err = TimeError;

    /// Reads `2025-06-21`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = TimeError::Malformed { name: "day" };
        let (year, rest) = take_digits(text, 4).ok_or(malformed)?;
        let (month, rest) = rest.strip_prefix('-').and_then(|rest| take_digits(rest, 2)).ok_or(malformed)?;
        let (day, rest) = rest.strip_prefix('-').and_then(|rest| take_digits(rest, 2)).ok_or(malformed)?;
        if !rest.is_empty() {
            return Err(malformed);
        }
        let (Ok(year), Ok(month), Ok(day)) = (i32::try_from(year), u32::try_from(month), u32::try_from(day)) else {
            return Err(malformed);
        };
        Self::from_ymd(year, month, day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

serde_as_text!(Day);
