//! When a market trades.

use super::{Day, MICROS_PER_DAY, TimeError, TimeZone, TimestampMicros};
use std::collections::{BTreeMap, BTreeSet};

/// How many days ahead a session is looked for: more than any holiday is long.
const HORIZON_DAYS: usize = 31;

/// The daily session of a market by its own clock, with the days on which there is none or a shorter one.
///
/// A session has the name of the day on which it closes; it may open on the day before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCalendar {
    opens_at_us: i64,
    closes_at_us: i64,
    open_weekends: bool,
    holidays: BTreeSet<Day>,
    zone: TimeZone,
    opens_day_before: bool,
    early_closes: BTreeMap<Day, i64>,
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
    /// The hours are not 0 <= open < close <= 24 h, or not close <= open where it opens on the day before.
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
        Ok(Self {
            opens_at_us,
            closes_at_us,
            open_weekends,
            holidays: holidays.into_iter().collect(),
            zone: TimeZone::Utc,
            opens_day_before: false,
            early_closes: BTreeMap::new(),
        })
    }

    /// A calendar whose sessions open on the day before the one on which they close.
    ///
    /// # Errors
    /// The hours are not 0 < close <= open < 24 h.
    pub fn overnight<I: IntoIterator<Item = Day>>(
        opens_at_us: i64,
        closes_at_us: i64,
        open_weekends: bool,
        holidays: I,
    ) -> Result<Self, CalendarError> {
        if closes_at_us <= 0 || closes_at_us > opens_at_us || opens_at_us >= MICROS_PER_DAY {
            return Err(CalendarError::BadHours);
        }
        let day = Self::new(0, closes_at_us, open_weekends, holidays)?;
        Ok(Self { opens_at_us, opens_day_before: true, ..day })
    }

    /// The same hours by another clock.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// The same with days on which the session ends earlier: microseconds after midnight.
    ///
    /// # Errors
    /// An end that is not between open and close.
    pub fn with_early_closes<I: IntoIterator<Item = (Day, i64)>>(self, early: I) -> Result<Self, CalendarError> {
        let early_closes: BTreeMap<Day, i64> = early.into_iter().collect();
        let first = if self.opens_day_before { 0 } else { self.opens_at_us };
        if early_closes.values().any(|close| *close <= first || *close >= self.closes_at_us) {
            return Err(CalendarError::BadHours);
        }
        Ok(Self { early_closes, ..self })
    }

    /// Every day from 00:00 to 00:00 UTC: crypto (trading rule 23).
    #[must_use]
    pub const fn continuous() -> Self {
        Self {
            opens_at_us: 0,
            closes_at_us: MICROS_PER_DAY,
            open_weekends: true,
            holidays: BTreeSet::new(),
            zone: TimeZone::Utc,
            opens_day_before: false,
            early_closes: BTreeMap::new(),
        }
    }

    /// The session that closes on a local day, `None` on a weekend or holiday.
    ///
    /// # Errors
    /// Out of range.
    pub fn session_on(&self, day: Day) -> Result<Option<Session>, CalendarError> {
        if (day.is_weekend() && !self.open_weekends) || self.holidays.contains(&day) {
            return Ok(None);
        }
        let start = day.start()?.micros();
        let at = |of_day: i64| {
            let utc =
                start.checked_add(of_day).and_then(|local| local.checked_sub(self.zone.offset_us(day, of_day).ok()?));
            utc.map(TimestampMicros::from_micros).ok_or(TimeError::OutOfRange { name: "session" })
        };
        let opens = if self.opens_day_before { self.opens_at_us - MICROS_PER_DAY } else { self.opens_at_us };
        let closes = self.early_closes.get(&day).copied().unwrap_or(self.closes_at_us);
        Ok(Some(Session { open: at(opens)?, close: at(closes)? }))
    }

    /// The session in which `at` lies, or else the next one. A close belongs to the session after it.
    ///
    /// # Errors
    /// No session within a month, or out of range.
    pub fn session_at_or_after(&self, at: TimestampMicros) -> Result<Session, CalendarError> {
        // West of Greenwich it may still be the day before.
        let mut day = Day::from_days(at.day()?.days().saturating_sub(1));
        for _ in 0..HORIZON_DAYS + 2 {
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
        match self.session_at_or_after(at) {
            Ok(session) => Ok(session.open <= at),
            Err(CalendarError::NoSession) => Ok(false),
            Err(e @ (CalendarError::BadHours | CalendarError::Time(_))) => Err(e),
        }
    }

    /// When a DAY order of this moment ends: the close of its session, or of the next one.
    ///
    /// # Errors
    /// No session within a month, or out of range.
    pub fn session_end(&self, at: TimestampMicros) -> Result<TimestampMicros, CalendarError> {
        self.session_at_or_after(at).map(|session| session.close)
    }
}
