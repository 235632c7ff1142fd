//! When a market trades.

use super::{Day, MICROS_PER_DAY, TimeError, TimestampMicros};
use std::collections::BTreeSet;

/// How many days ahead a session is looked for: more than any holiday is long.
const HORIZON_DAYS: usize = 31;

/// The daily session of a market, in UTC, with the days on which there is none.
///
/// A session never spans midnight UTC; one whose hours move with a local clock has one record per season.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCalendar {
    opens_at_us: i64,
    closes_at_us: i64,
    open_weekends: bool,
    holidays: BTreeSet<Day>,
}

/// One session: from its open up to, not including, its close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// The first moment.
    pub open: TimestampMicros,
    /// The moment after the last.
    pub close: TimestampMicros,
}

/// Why a calendar gives no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The hours are not 0 <= open < close <= 24 h.
    #[error("session hours are not in order within a day")]
    BadHours,
    /// No session for a month.
    #[error("no session within {HORIZON_DAYS} days")]
    NoSession,
    /// At the end of time.
    #[error("session is out of range")]
    Time(#[from] TimeError),
}

impl SessionCalendar {
    /// A calendar from hours in microseconds after 00:00 UTC; the close may be 24 h.
    ///
    /// # Errors
    /// The hours are not 0 <= open < close <= 24 h.
    pub fn new<I: IntoIterator<Item = Day>>(
        opens_at_us: i64,
        closes_at_us: i64,
        open_weekends: bool,
        holidays: I,
    ) -> Result<Self, CalendarError> {
        if opens_at_us < 0 || opens_at_us >= closes_at_us || closes_at_us > MICROS_PER_DAY {
            return Err(CalendarError::BadHours);
        }
        Ok(Self { opens_at_us, closes_at_us, open_weekends, holidays: holidays.into_iter().collect() })
    }

    /// Every day from 00:00 to 00:00 UTC: crypto (trading rule 23).
    #[must_use]
    pub const fn continuous() -> Self {
        Self { opens_at_us: 0, closes_at_us: MICROS_PER_DAY, open_weekends: true, holidays: BTreeSet::new() }
    }

    /// The session of a day, `None` on a weekend or holiday.
    ///
    /// # Errors
    /// Out of range.
    pub fn session_on(&self, day: Day) -> Result<Option<Session>, CalendarError> {
        if (day.is_weekend() && !self.open_weekends) || self.holidays.contains(&day) {
            return Ok(None);
        }
        let start = day.start()?.micros();
        let at = |of_day: i64| {
            start.checked_add(of_day).map(TimestampMicros::from_micros).ok_or(TimeError::OutOfRange { name: "session" })
        };
        Ok(Some(Session { open: at(self.opens_at_us)?, close: at(self.closes_at_us)? }))
    }

    /// The session in which `at` lies, or else the next one. A close belongs to the session after it.
    ///
    /// # Errors
    /// No session within a month, or out of range.
    pub fn session_at_or_after(&self, at: TimestampMicros) -> Result<Session, CalendarError> {
        let mut day = at.day()?;
        for _ in 0..HORIZON_DAYS {
            if let Some(session) = self.session_on(day)?
                && at < session.close
            {
                return Ok(session);
            }
            day = day.next().ok_or(TimeError::OutOfRange { name: "day" })?;
        }
        Err(CalendarError::NoSession)
    }

    /// Whether the market trades at this moment.
    ///
    /// # Errors
    /// Out of range.
    pub fn is_open(&self, at: TimestampMicros) -> Result<bool, CalendarError> {
        Ok(self.session_on(at.day()?)?.is_some_and(|session| session.open <= at && at < session.close))
    }

    /// When a DAY order of this moment ends: the close of its session, or of the next one.
    ///
    /// # Errors
    /// No session within a month, or out of range.
    pub fn session_end(&self, at: TimestampMicros) -> Result<TimestampMicros, CalendarError> {
        self.session_at_or_after(at).map(|session| session.close)
    }
}
