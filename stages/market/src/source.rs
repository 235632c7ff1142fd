//! The one interface of all market sources, and a wrapper that moves a source in time.

use crate::MarketError;
use fillstream_domain::TimestampMicros;
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::Instrument;

/// When a market is open: from its first instant up to, and not including, its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// No row is earlier.
    pub start: TimestampMicros,
    /// Every row is earlier.
    pub end: TimestampMicros,
}

/// Where market rows come from.
///
/// Rows come in order of `event_time`, ties in the order of arrival; `seq` is gapless from 1 per instrument and venue.
pub trait MarketSource: Send {
    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// The source is damaged; it names the place.
    fn next_row(&mut self) -> Result<Option<NormalizedMarketData>, MarketError>;

    /// Event time of the next row without taking it; `None` after the last.
    ///
    /// # Errors
    /// As [`MarketSource::next_row`].
    fn peek_time(&mut self) -> Result<Option<TimestampMicros>, MarketError>;

    /// Reference data of the instruments of this source, in order of their ids.
    fn instruments(&self) -> &[Instrument];

    /// When the market is open.
    fn session(&self) -> Session;

    /// All rows up to and including `instant`.
    ///
    /// # Errors
    /// As [`MarketSource::next_row`].
    fn advance_to(&mut self, instant: TimestampMicros) -> Result<Vec<NormalizedMarketData>, MarketError> {
        let mut rows = Vec::new();
        while self.peek_time()?.is_some_and(|time| time <= instant) {
            rows.extend(self.next_row()?);
        }
        Ok(rows)
    }
}

impl<M: MarketSource + ?Sized> MarketSource for Box<M> {
    fn next_row(&mut self) -> Result<Option<NormalizedMarketData>, MarketError> {
        (**self).next_row()
    }

    fn peek_time(&mut self) -> Result<Option<TimestampMicros>, MarketError> {
        (**self).peek_time()
    }

    fn instruments(&self) -> &[Instrument] {
        (**self).instruments()
    }

    fn session(&self) -> Session {
        (**self).session()
    }
}

/// A source whose session begins at a given time instead of its own: how a recorded or synthetic market runs live.
#[derive(Debug)]
pub struct Anchored<M> {
    inner: M,
    /// Microseconds added to every time.
    shift: i64,
}

impl<M: MarketSource> Anchored<M> {
    /// Moves `inner` so that its session begins at `start`.
    pub fn new(inner: M, start: TimestampMicros) -> Self {
        let shift = start.micros().saturating_sub(inner.session().start.micros());
        Self { inner, shift }
    }

    /// A time saturates at the ends of the calendar (year 294,000), where no market is.
    fn moved(&self, time: TimestampMicros) -> TimestampMicros {
        TimestampMicros::from_micros(time.micros().saturating_add(self.shift))
    }
}

impl<M: MarketSource> MarketSource for Anchored<M> {
    fn next_row(&mut self) -> Result<Option<NormalizedMarketData>, MarketError> {
        let row = self.inner.next_row()?;
        Ok(row.map(|row| NormalizedMarketData { event_time: self.moved(row.event_time), ..row }))
    }

    fn peek_time(&mut self) -> Result<Option<TimestampMicros>, MarketError> {
        let time = self.inner.peek_time()?;
        Ok(time.map(|time| self.moved(time)))
    }

    fn instruments(&self) -> &[Instrument] {
        self.inner.instruments()
    }

    fn session(&self) -> Session {
        let Session { start, end } = self.inner.session();
        Session { start: self.moved(start), end: self.moved(end) }
    }
}
