//! Clocks on walls: how far a market's local time is from UTC.

use super::{Day, MICROS_PER_DAY, TimeError};
use crate::avro_enum;

const HOUR: i64 = 3_600_000_000;

avro_enum! {
    /// The clock that a market's hours are of.
    pub enum TimeZone {
        /// None: UTC.
        Utc = "UTC",
        /// New York: UTC-5, and UTC-4 from the second Sunday of March to the first of November, 02:00 (since 2007).
        NewYork = "AMERICA_NEW_YORK" | "America/New_York",
        /// London: UTC, and UTC+1 from the last Sunday of March to the last of October, 01:00 UTC (since 1996).
        London = "EUROPE_LONDON" | "Europe/London",
    }
}

impl TimeZone {
    /// How far a local time is ahead of UTC, microseconds. `of_day`: microseconds after local midnight, where an hour that
    /// comes twice is the first of the two, and one that is left out counts as daylight saving.
    pub(super) fn offset_us(self, day: Day, of_day: i64) -> Result<i64, TimeError> {
        let (standard, from, to) = match self {
            Self::Utc => return Ok(0),
            Self::NewYork => (-5 * HOUR, (nth_sunday(day, 3, 2)?, 2 * HOUR), (nth_sunday(day, 11, 1)?, 2 * HOUR)),
            Self::London => (0, (last_sunday(day, 3)?, HOUR), (last_sunday(day, 10)?, 2 * HOUR)),
        };
        // A time of day may be of the day before or after: an open before midnight, a close at 24 h.
        let shifted =
            i32::try_from(of_day.div_euclid(MICROS_PER_DAY)).map_err(|_| TimeError::OutOfRange { name: "day" })?;
        let local = (Day::from_days(day.days().saturating_add(shifted)), of_day.rem_euclid(MICROS_PER_DAY));
        let is_summer = from <= local && local < to;
        Ok(if is_summer { standard + HOUR } else { standard })
    }
}

/// The n-th Sunday, from 1, of a month of the day's year.
fn nth_sunday(day: Day, month: u32, n: i32) -> Result<Day, TimeError> {
    let first = Day::from_ymd(year(day)?, month, 1)?;
    Ok(Day::from_days(first.days() + to_sunday(first) + 7 * (n - 1)))
}

/// The last Sunday of a month of 31 days of the day's year.
fn last_sunday(day: Day, month: u32) -> Result<Day, TimeError> {
    let week = Day::from_ymd(year(day)?, month, 25)?;
    Ok(Day::from_days(week.days() + to_sunday(week)))
}

fn year(day: Day) -> Result<i32, TimeError> {
    i32::try_from(day.ymd().0).map_err(|_| TimeError::OutOfRange { name: "day" })
}

/// Days to the next Sunday, 0 on one.
const fn to_sunday(day: Day) -> i32 {
    // 1970-01-01 was a Thursday: the Sunday was 3 days on.
    (3 - day.days()).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daylight_saving_begins_and_ends_on_its_sundays() {
        let hours =
            |zone: TimeZone, day: &str, hour: i64| zone.offset_us(day.parse().unwrap(), hour * HOUR).unwrap() / HOUR;
        for (day, hour, new_york, london) in [
            ("2026-03-08", 1, -5, 0),
            ("2026-03-08", 3, -4, 0),
            ("2026-03-28", 12, -4, 0),
            ("2026-03-29", 2, -4, 1),
            ("2026-07-01", 12, -4, 1),
            ("2026-10-25", 1, -4, 1),
            ("2026-10-25", 2, -4, 0),
            ("2026-11-01", 1, -4, 0),
            ("2026-11-01", 2, -5, 0),
            ("2027-03-14", 3, -4, 0),
            ("2027-03-13", 12, -5, 0),
            ("2027-03-13", 27, -4, 0),
        ] {
            assert_eq!(hours(TimeZone::NewYork, day, hour), new_york, "New York {day} {hour}");
            assert_eq!(hours(TimeZone::London, day, hour), london, "London {day} {hour}");
        }
    }
}
