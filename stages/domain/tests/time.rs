//! Time stamps, lengths of time, sessions.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use fillstream_domain::time::*;
use proptest::prelude::*;

fn at(text: &str) -> TimestampMicros {
    text.parse().unwrap()
}

#[test]
fn known_moments() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2000-02-29T12:00:00Z", 951_825_600_000_000),
        ("2025-06-21T10:30:00.300Z", 1_750_501_800_300_000),
        ("2025-06-21T12:30:00.3+02:00", 1_750_501_800_300_000),
        ("2025-06-21T05:00:00.300000000-05:30", 1_750_501_800_300_000),
    ] {
        assert_eq!(at(text).micros(), micros, "{text}");
    }
    assert_eq!(at("2025-06-21T10:30:00.3Z").to_string(), "2025-06-21T10:30:00.300000Z");
}

#[test]
fn what_is_no_moment_is_refused_with_its_cause() {
    let name = "time stamp";
    for text in ["2025-06-21T24:00:00Z", "2025-06-21T10:60:00Z", "2025-06-21T23:59:60Z", "2025-06-21T10:30:00+24:00"] {
        assert_eq!(text.parse::<TimestampMicros>(), Err(TimeError::NoSuchTime { name }), "{text}");
    }
    for text in ["2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2025-13-01T00:00:00Z", "2025-04-31T00:00:00Z"] {
        assert_eq!(text.parse::<TimestampMicros>(), Err(TimeError::NoSuchTime { name: "day" }), "{text}");
    }
    assert_eq!("2025-06-21T10:30:00.0000001Z".parse::<TimestampMicros>(), Err(TimeError::TooFine { name }));
    for text in [
        "2025-06-21T10:30:00",
        "2025-06-21T10:30:00.3",
        "2025-06-21T10:30:00.Z",
        "2025-06-21T10:30Z",
        "2025-06-21T10:30:00Zx",
        "2025-06-21T10:30:00+02",
        "2025-06-21T1é:30:00Z",
    ] {
        assert_eq!(text.parse::<TimestampMicros>(), Err(TimeError::Malformed { name }), "{text}");
    }
    for text in ["", "2025-6-21T10:30:00Z", "2025-06-21 10:30:00Z", "+025-06-21T10:30:00Z"] {
        assert!(text.parse::<TimestampMicros>().is_err(), "{text}");
    }
}

#[test]
fn time_between_moments() {
    let (a, b) = (at("2025-06-21T10:30:00Z"), at("2025-06-21T10:44:45Z"));
    let between = b.since(a).unwrap();
    assert_eq!(between.to_clock(), "00:14:45");
    assert_eq!(a.since(b), None);
    assert_eq!(a.checked_add(between), Ok(b));
    assert_eq!(b.checked_sub(between), Ok(a));
    assert!(TimestampMicros::from_micros(i64::MAX).checked_add(between).is_err());
}

#[test]
fn lengths_in_both_notations() {
    for (text, micros, shown) in [
        ("4_hours", 14_400_000_000, "PT4H"),
        ("1_hour", 3_600_000_000, "PT1H"),
        ("30_minutes", 1_800_000_000, "PT30M"),
        ("45_seconds", 45_000_000, "PT45S"),
        ("250_milliseconds", 250_000, "PT0.25S"),
        ("PT4H", 14_400_000_000, "PT4H"),
        ("PT90M", 5_400_000_000, "PT1H30M"),
        ("P1DT1S", 86_401_000_000, "PT24H1S"),
        ("P1W", 604_800_000_000, "PT168H"),
        ("PT1.5S", 1_500_000, "PT1.5S"),
        ("PT0S", 0, "PT0S"),
    ] {
        let parsed: DurationMicros = text.parse().unwrap();
        assert_eq!((parsed.micros(), parsed.to_string().as_str()), (micros, shown), "{text}");
    }
}

#[test]
fn what_is_no_length_is_refused() {
    for text in [
        "",
        "4",
        "4_",
        "_hours",
        "-4_hours",
        "4.5_hours",
        "4_fortnights",
        "P",
        "PT",
        "P1Y",
        "P1M",
        "PT4",
        "PTH",
        "PT1S1H",
        "PT1H1H",
        "PT-1H",
        "PT1.5H",
        "PT.5S",
        "PT1.S",
        "P1DT",
        "pt4h",
        "PT0.0000001S",
        "99999999999999999999_days",
        "9999999999_hours",
    ] {
        assert!(text.parse::<DurationMicros>().is_err(), "{text:?}");
    }
    assert!(DurationMicros::from_micros(-1).is_err());
}

#[test]
fn json_is_text() {
    assert_eq!(serde_json::to_string(&at("2025-06-21T10:30:00Z")).unwrap(), "\"2025-06-21T10:30:00.000000Z\"");
    assert_eq!(serde_json::from_str::<DurationMicros>("\"4_hours\"").unwrap().to_string(), "PT4H");
    assert_eq!(serde_json::from_str::<Day>("\"2025-06-21\"").unwrap().days(), 20_260);
    assert!(serde_json::from_str::<TimestampMicros>("1").is_err());
}

/// Trading rule 23: the crypto session ends at 00:00 UTC.
#[test]
fn rule_23_a_continuous_session_ends_at_midnight_utc() {
    let calendar = SessionCalendar::continuous();
    for (now, end) in [
        ("2024-08-10T00:00:00Z", "2024-08-11T00:00:00Z"),
        ("2024-08-10T23:59:59.999999Z", "2024-08-11T00:00:00Z"),
        ("2024-12-31T12:00:00Z", "2025-01-01T00:00:00Z"),
    ] {
        assert_eq!(calendar.session_end(at(now)), Ok(at(end)), "{now}");
        assert_eq!(calendar.is_open(at(now)), Ok(true), "{now}");
    }
}

#[test]
fn a_day_order_outside_hours_ends_with_the_next_session() {
    // 13:30 to 20:00 UTC; Friday the 4th of July is a holiday.
    let holiday: Day = "2025-07-04".parse().unwrap();
    let calendar = SessionCalendar::new(48_600_000_000, 72_000_000_000, false, [holiday]).unwrap();
    for (now, end, open) in [
        ("2025-07-03T13:29:59.999999Z", "2025-07-03T20:00:00Z", false),
        ("2025-07-03T13:30:00Z", "2025-07-03T20:00:00Z", true),
        ("2025-07-03T19:59:59.999999Z", "2025-07-03T20:00:00Z", true),
        ("2025-07-03T20:00:00Z", "2025-07-07T20:00:00Z", false),
        ("2025-07-04T15:00:00Z", "2025-07-07T20:00:00Z", false),
        ("2025-07-05T15:00:00Z", "2025-07-07T20:00:00Z", false),
    ] {
        assert_eq!(calendar.session_end(at(now)), Ok(at(end)), "{now}");
        assert_eq!(calendar.is_open(at(now)), Ok(open), "{now}");
    }
}

#[test]
fn a_calendar_without_sessions_says_so() {
    let days = (0..60).map(|n| Day::from_days(20_000 + n));
    let calendar = SessionCalendar::new(0, MICROS_PER_DAY, true, days).unwrap();
    assert_eq!(calendar.session_end(Day::from_days(20_000).start().unwrap()), Err(CalendarError::NoSession));
    for (open, close) in [(-1, 1), (1, 1), (2, 1), (0, MICROS_PER_DAY + 1)] {
        assert_eq!(SessionCalendar::new(open, close, true, []), Err(CalendarError::BadHours));
    }
}

#[test]
fn weekends_are_where_they_are() {
    let weekend = |text: &str| text.parse::<Day>().unwrap().is_weekend();
    assert!(weekend("2025-06-21") && weekend("2025-06-22") && weekend("1969-12-28"));
    assert!(!weekend("2025-06-20") && !weekend("2025-06-23") && !weekend("1970-01-01"));
}

proptest! {
    #[test]
    fn moments_round_trip_and_their_texts_sort(a in 0_i64..253_402_300_800_000_000, b in 0_i64..253_402_300_800_000_000) {
        let (a, b) = (TimestampMicros::from_micros(a), TimestampMicros::from_micros(b));
        prop_assert_eq!(a.to_string().parse::<TimestampMicros>(), Ok(a));
        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
    }

    #[test]
    fn any_stamp_can_be_shown(micros: i64) {
        prop_assert!(TimestampMicros::from_micros(micros).to_string().ends_with('Z'));
    }

    #[test]
    fn lengths_round_trip(micros in 0_i64..) {
        let length = DurationMicros::from_micros(micros).unwrap();
        prop_assert_eq!(length.to_string().parse::<DurationMicros>(), Ok(length));
    }

    #[test]
    fn days_follow_one_another(days in -700_000_i32..2_900_000) {
        let (y, m, d) = Day::from_days(days).ymd();
        let (y2, m2, d2) = Day::from_days(days + 1).ymd();
        prop_assert!((y2, m2, d2) == (y, m, d + 1) || (d2 == 1 && (y2, m2) == (y, m + 1)) || (m2, d2, y2) == (1, 1, y + 1));
        if (0..=9999).contains(&y) {
            prop_assert_eq!(Day::from_ymd(y.try_into().unwrap(), m.try_into().unwrap(), d.try_into().unwrap()).unwrap().days(), days);
        }
    }

    #[test]
    fn garbage_is_an_error_not_a_panic(text in "\\PC{0,40}", length in "P?[0-9TDHMSW._a-z]{0,12}") {
        let _ = text.parse::<TimestampMicros>();
        let _ = text.parse::<DurationMicros>();
        if let Ok(length) = length.parse::<DurationMicros>() {
            prop_assert!(length.micros() >= 0);
        }
    }
}

const HOUR: i64 = 3_600_000_000;

/// Trading rule 23: DAY ends at the calendar's session end: crypto 00:00 UTC, FX 17:00 New York with its daylight saving,
/// half days.
#[test]
fn rule_23_a_day_ends_with_the_session_of_its_calendar() {
    let crypto = SessionCalendar::continuous();
    assert_eq!(crypto.session_end(at("2026-11-25T23:59:59Z")), Ok(at("2026-11-26T00:00:00Z")));

    let fx = SessionCalendar::overnight(17 * HOUR, 17 * HOUR, false, []).unwrap().in_zone(TimeZone::NewYork);
    for (now, end, open) in [
        // Winter: 17:00 is 22:00 UTC; summer: 21:00.
        ("2026-11-25T21:59:59Z", "2026-11-25T22:00:00Z", true),
        ("2026-11-25T22:00:00Z", "2026-11-26T22:00:00Z", true),
        ("2026-07-01T21:00:00Z", "2026-07-02T21:00:00Z", true),
        // Friday evening to Sunday evening there is none.
        ("2026-11-27T22:00:00Z", "2026-11-30T22:00:00Z", false),
        ("2026-11-29T22:00:00Z", "2026-11-30T22:00:00Z", true),
        // The clocks change on the Sunday between: it opens at 21:00, not 22:00.
        ("2026-03-08T20:59:59Z", "2026-03-09T21:00:00Z", false),
        ("2026-03-08T21:00:00Z", "2026-03-09T21:00:00Z", true),
        ("2026-11-01T21:30:00Z", "2026-11-02T22:00:00Z", false),
    ] {
        assert_eq!((fx.session_end(at(now)), fx.is_open(at(now))), (Ok(at(end)), Ok(open)), "{now}");
    }

    let day = |text: &str| text.parse::<Day>().unwrap();
    let shares = SessionCalendar::new(9 * HOUR + HOUR / 2, 16 * HOUR, false, [day("2026-11-26")]).unwrap();
    let shares = shares.in_zone(TimeZone::NewYork).with_early_closes([(day("2026-11-27"), 13 * HOUR)]).unwrap();
    for (now, end) in [
        ("2026-11-25T15:00:00Z", "2026-11-25T21:00:00Z"),
        // The day after Thanksgiving ends at 13:00.
        ("2026-11-26T15:00:00Z", "2026-11-27T18:00:00Z"),
        ("2026-11-27T17:59:59Z", "2026-11-27T18:00:00Z"),
        ("2026-11-27T18:00:00Z", "2026-11-30T21:00:00Z"),
        ("2026-07-01T15:00:00Z", "2026-07-01T20:00:00Z"),
    ] {
        assert_eq!(shares.session_end(at(now)), Ok(at(end)), "{now}");
    }
}

#[test]
fn hours_that_make_no_session_are_refused() {
    for (opens, closes) in [(17, 18), (24, 17), (17, 0)] {
        assert_eq!(SessionCalendar::overnight(opens * HOUR, closes * HOUR, false, []), Err(CalendarError::BadHours));
    }
    let shares = || SessionCalendar::new(9 * HOUR, 16 * HOUR, false, []).unwrap();
    for close in [9, 16, 17] {
        let early = [("2026-11-27".parse().unwrap(), close * HOUR)];
        assert_eq!(shares().with_early_closes(early), Err(CalendarError::BadHours), "{close}");
    }
}

proptest! {
    /// Sessions follow one another without overlap, whatever the clock does.
    #[test]
    fn sessions_are_in_order(start in 1_700_000_000_i64..2_000_000_000, zone in 0_usize..3) {
        let fx = SessionCalendar::overnight(17 * HOUR, 17 * HOUR, true, []).unwrap().in_zone(TimeZone::ALL[zone]);
        let mut session = fx.session_at_or_after(TimestampMicros::from_micros(start * 1_000_000)).unwrap();
        for _ in 0..400 {
            let next = fx.session_at_or_after(session.close).unwrap();
            prop_assert_eq!(next.open, session.close);
            prop_assert!(next.close > next.open);
            session = next;
        }
    }
}
