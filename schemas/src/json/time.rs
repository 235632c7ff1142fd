//! Times of the proleptic Gregorian calendar as ISO 8601 text, UTC.

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// `2026-11-21T06:46:42.123456Z`; `None` outside the years 0 to 9999.
pub(super) fn timestamp_text(micros: i64) -> Option<String> {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let date = date_text(i32::try_from(seconds.div_euclid(SECONDS_PER_DAY)).ok()?)?;
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}.{:06}Z", micros.rem_euclid(MICROS_PER_SECOND)))
}

/// `2026-11-21`; `None` outside the years 0 to 9999.
pub(super) fn date_text(days: i32) -> Option<String> {
    let (year, month, day) = civil(i64::from(days));
    (0..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Microseconds of an ISO 8601 date and time with its offset: `2026-11-21T06:46:42Z`, `...42.123456+01:00`.
pub(super) fn parse_timestamp(text: &str) -> Result<i64, &'static str> {
    const SHAPE: &str = "a time is written as 2026-11-21T06:46:42.123456Z, or in microseconds";
    let (date, rest) = text.split_at_checked(10).ok_or(SHAPE)?;
    let days = i64::from(parse_date(date)?);
    let rest = rest.strip_prefix(['T', 't', ' ']).ok_or(SHAPE)?;
    let (clock, rest) = rest.split_at_checked(8).ok_or(SHAPE)?;
    let [hour, minute, second] = parts(clock, ':').ok_or(SHAPE)?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err("no such time of day");
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("0", rest),
    };
    let offset = offset_seconds(zone).ok_or("a time needs its offset: Z or +hh:mm")?;
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    Ok(seconds * MICROS_PER_SECOND + fraction_micros(fraction)?)
}

/// Days since 1970-01-01 of `2026-11-21`.
pub(super) fn parse_date(text: &str) -> Result<i32, &'static str> {
    let [year, month, day] = parts(text, '-').filter(|_| text.len() == 10).ok_or("a date is written as 2026-11-21")?;
    let days = days_from_civil(year, month, day);
    // The way back catches the 30th of February.
    if civil(days) != (year, month, day) {
        return Err("no such day");
    }
    i32::try_from(days).map_err(|_| "no such day")
}

fn parts(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(digits);
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn fraction_micros(digits: &str) -> Result<i64, &'static str> {
    let (kept, lost) = digits.split_at_checked(6).unwrap_or((digits, ""));
    if digits.is_empty() {
        return Err("a fraction of no digits");
    }
    if lost.bytes().any(|digit| digit != b'0') {
        return Err("finer than a microsecond");
    }
    format!("{kept:0<6}").parse().map_err(|_| "no fraction")
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, zone.strip_prefix('-')?),
    };
    let (hours, minutes) = rest.split_once(':').or_else(|| rest.split_at_checked(2))?;
    let minutes = if minutes.is_empty() { 0 } else { digits(minutes)? };
    let hours = digits(hours)?;
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Year, month and day of a day number: Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Day number of a date: Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (text, micros) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("2024-08-08T13:30:00.000001Z", 1_723_123_800_000_001),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2000-02-29T00:00:00.000000Z", 951_782_400_000_000),
        ] {
            assert_eq!(parse_timestamp(text), Ok(micros), "{text}");
            assert_eq!(timestamp_text(micros).as_deref(), Some(text));
        }
    }

    #[test]
    fn spellings() {
        let noon = parse_timestamp("2024-08-08T12:00:00Z");
        for text in [
            "2024-08-08 12:00:00Z",
            "2024-08-08T14:00:00+02:00",
            "2024-08-08T07:30:00.000-0430",
            "2024-08-08T13:00:00.000000000+01",
        ] {
            assert_eq!(parse_timestamp(text), noon, "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2024-08-08",
            "2024-08-08T12:00",
            "2024-08-08T12:00:00",
            "2024-02-30T12:00:00Z",
            "2024-13-01T12:00:00Z",
            "2024-08-08T24:00:00Z",
            "2024-08-08T12:00:60Z",
            "2024-08-08T12:00:00.Z",
            "2024-08-08T12:00:00.0000001Z",
            "2024-08-08T12:00:00+1",
            "2024-08-08T+1:00:00Z",
            "é024-08-08T12:00:00Z",
            "2024-08-08T12:00:00+99:00",
        ] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let text = timestamp_text(micros).unwrap();
            prop_assert_eq!(parse_timestamp(&text), Ok(micros), "{}", text);
        }

        #[test]
        fn any_text_is_a_time_or_an_error(text in "\\PC{0,40}") {
            let _ = parse_timestamp(&text);
        }
    }
}
