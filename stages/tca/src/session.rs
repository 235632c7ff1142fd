//! The session in which an order ended.

use fillstream_domain::TimestampMicros;
use fillstream_domain::time::{CalendarError, Day, Session, SessionCalendar};

/// How many days back a session is looked for.
const BACK_DAYS: i32 = 31;

/// The session in which `at` lies, otherwise the last one before it: what is done after hours belongs to the session
/// that was. Only where there is none within a month, the next one.
///
/// # Errors
/// There is no session within a month either way.
pub fn session_of(calendar: &SessionCalendar, at: TimestampMicros) -> Result<Session, CalendarError> {
    let today = at.day()?.days();
    // A session may have opened on the day before the one whose name it has.
    for back in -1..=BACK_DAYS {
        if let Some(day) = today.checked_sub(back)
            && let Some(session) = calendar.session_on(Day::from_days(day))?
            && session.open <= at
        {
            return Ok(session);
        }
    }
    calendar.session_at_or_after(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> TimestampMicros {
        text.parse().unwrap()
    }

    #[test]
    fn after_hours_belong_to_the_session_that_was() {
        let hour = 3_600_000_000;
        let calendar = SessionCalendar::new(8 * hour, 16 * hour, false, ["2025-06-19".parse().unwrap()]).unwrap();
        let cases = [
            ("2025-06-20T08:00:00Z", "2025-06-20T16:00:00Z"),
            ("2025-06-20T15:59:59.999999Z", "2025-06-20T16:00:00Z"),
            ("2025-06-20T16:00:00.050Z", "2025-06-20T16:00:00Z"),
            ("2025-06-22T12:00:00Z", "2025-06-20T16:00:00Z"),
            ("2025-06-20T07:59:59Z", "2025-06-18T16:00:00Z"),
        ];
        for (when, close) in cases {
            assert_eq!(session_of(&calendar, at(when)).unwrap().close, at(close), "{when}");
        }
        assert_eq!(
            session_of(&SessionCalendar::continuous(), at("2025-06-20T23:59:59.999999Z")).unwrap().close,
            at("2025-06-21T00:00:00Z")
        );
    }
}
