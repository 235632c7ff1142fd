//! The rows of one instrument at one venue.

use std::sync::Arc;

use fillstream_domain::{
    DurationMicros, MidPrice, MidTime, NumberError, Price, Quantity, Rounding, TimestampMicros, Turnover,
};

use super::quote::{Interval, MarketMiss, Pin, Print, Quote, TradingStatus};
use crate::ring::{Ring, Stamped};

/// Quotes held of one instrument at one venue.
pub const QUOTE_CAPACITY: usize = 131_072;
/// Prints held of one instrument at one venue.
pub const PRINT_CAPACITY: usize = 65_536;
/// Status changes held of one instrument at one venue.
const STATUS_CAPACITY: usize = 1_024;

/// Two sides of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    pub bid: Price,
    pub ask: Price,
    pub bid_size: Option<Quantity>,
    pub ask_size: Option<Quantity>,
}

/// A quote row and the integral of bid plus ask up to it.
#[derive(Clone, Debug)]
struct QuoteRow {
    time: TimestampMicros,
    seq: i64,
    /// The last two-sided book, if there was one: a one-sided row does not change the mid, it only cannot price anything.
    sides: Option<Sides>,
    two_sided: bool,
    mid_time: MidTime,
}

/// A print row and the sums up to and including it.
#[derive(Clone, Debug)]
struct PrintRow {
    time: TimestampMicros,
    seq: i64,
    price: Price,
    size: Quantity,
    sums: Sums,
}

/// Sums over prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    volume: Quantity,
    notional: Turnover,
    prints: i64,
}

#[derive(Clone, Debug)]
struct StatusRow {
    time: TimestampMicros,
    status: TradingStatus,
}

impl Stamped for QuoteRow {
    fn time(&self) -> TimestampMicros {
        self.time
    }
}

impl Stamped for PrintRow {
    fn time(&self) -> TimestampMicros {
        self.time
    }
}

impl Stamped for StatusRow {
    fn time(&self) -> TimestampMicros {
        self.time
    }
}

/// Where a row stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub time: TimestampMicros,
    pub seq: i64,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is in.
    New,
    /// It was said before: no change.
    Repeated,
    /// It is older than everything held: no change.
    TooLate,
}

/// The rows of one instrument at one venue.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    quotes: Ring<QuoteRow>,
    prints: Ring<PrintRow>,
    statuses: Ring<StatusRow>,
    /// Time of the first row, from which the sums count.
    first: TimestampMicros,
    first_quote: Option<TimestampMicros>,
    last: Stamp,
}

impl Series {
    pub(crate) fn new(first: TimestampMicros, quotes: usize, prints: usize) -> Self {
        Self {
            quotes: Ring::new(quotes),
            prints: Ring::new(prints),
            statuses: Ring::new(STATUS_CAPACITY),
            first,
            first_quote: None,
            last: Stamp { time: first, seq: i64::MIN },
        }
    }

    /// Latest event time seen.
    pub(crate) fn watermark(&self) -> TimestampMicros {
        self.last.time
    }

    // Said before? `seq` rises within a source; a source that starts over is known by its later times.
    fn admit(&mut self, stamp: Stamp, dropped: Option<TimestampMicros>) -> Taken {
        if stamp.seq <= self.last.seq && stamp.time <= self.last.time {
            return Taken::Repeated;
        }
        self.last = Stamp { time: self.last.time.max(stamp.time), seq: stamp.seq };
        if dropped.is_some_and(|dropped| stamp.time < dropped) { Taken::TooLate } else { Taken::New }
    }

    /// Takes a quote row in; `None` stands for a book without both sides.
    pub(crate) fn quote(&mut self, stamp: Stamp, sides: Option<Sides>) -> Result<Taken, NumberError> {
        let taken = self.admit(stamp, self.quotes.dropped().map(|row| row.time));
        if taken != Taken::New {
            return Ok(taken);
        }
        // Rows in order are by far the most: one alone changes nothing if it fails, so nothing is kept to go back to.
        if self.quotes.last().is_none_or(|row| row.time <= stamp.time) {
            return self.push_quote(stamp, sides).map(|()| Taken::New);
        }
        let before = self.quotes.clone();
        let later = self.quotes.split_after(stamp.time);
        let pushed = self.push_quote(stamp, sides).and_then(|()| {
            later.into_iter().try_for_each(|row| {
                self.push_quote(Stamp { time: row.time, seq: row.seq }, row.sides.filter(|_| row.two_sided))
            })
        });
        if pushed.is_err() {
            self.quotes = before;
        }
        pushed.map(|()| Taken::New)
    }

    fn push_quote(&mut self, stamp: Stamp, sides: Option<Sides>) -> Result<(), NumberError> {
        let before = self.quotes.last();
        let held = sides.or(before.and_then(|row| row.sides));
        let mid_time = match before {
            Some(row) => row.mid_time_at(stamp.time)?,
            None => MidTime::ZERO,
        };
        if sides.is_some() && self.first_quote.is_none_or(|first| stamp.time < first) {
            self.first_quote = Some(stamp.time);
        }
        let two_sided = sides.is_some();
        self.quotes.push(QuoteRow { time: stamp.time, seq: stamp.seq, sides: held, two_sided, mid_time });
        Ok(())
    }

    /// Takes a print in.
    pub(crate) fn print(&mut self, stamp: Stamp, price: Price, size: Quantity) -> Result<Taken, NumberError> {
        let taken = self.admit(stamp, self.prints.dropped().map(|row| row.time));
        if taken != Taken::New {
            return Ok(taken);
        }
        if self.prints.last().is_none_or(|row| row.time <= stamp.time) {
            return self.push_print(stamp, price, size).map(|()| Taken::New);
        }
        let before = self.prints.clone();
        let later = self.prints.split_after(stamp.time);
        let pushed = self.push_print(stamp, price, size).and_then(|()| {
            later
                .into_iter()
                .try_for_each(|row| self.push_print(Stamp { time: row.time, seq: row.seq }, row.price, row.size))
        });
        if pushed.is_err() {
            self.prints = before;
        }
        pushed.map(|()| Taken::New)
    }

    fn push_print(&mut self, stamp: Stamp, price: Price, size: Quantity) -> Result<(), NumberError> {
        let before = self.prints.last().map_or(Sums::default(), |row| row.sums);
        let sums = Sums {
            volume: before.volume.checked_add(size)?,
            notional: before.notional.checked_add(Turnover::of(price, size, Rounding::HalfEven)?)?,
            prints: before.prints + 1,
        };
        self.prints.push(PrintRow { time: stamp.time, seq: stamp.seq, price, size, sums });
        Ok(())
    }

    /// Takes a status in.
    pub(crate) fn status(&mut self, stamp: Stamp, status: TradingStatus) -> Taken {
        let taken = self.admit(stamp, self.statuses.dropped().map(|row| row.time));
        if taken == Taken::New {
            let later = self.statuses.split_after(stamp.time);
            self.statuses.push(StatusRow { time: stamp.time, status });
            later.into_iter().for_each(|row| self.statuses.push(row));
        }
        taken
    }

    pub(crate) fn status_at(&self, at: TimestampMicros) -> Option<TradingStatus> {
        let held = self.statuses.last_where(|row| row.time <= at);
        held.or(self.statuses.dropped().filter(|row| row.time <= at)).map(|row| row.status)
    }

    // The row that prevails at a time: a later row of the same time wins.
    fn prevailing(&self, at: TimestampMicros) -> Result<Option<&QuoteRow>, MarketMiss> {
        match (self.quotes.last_where(|row| row.time <= at), self.quotes.dropped()) {
            (Some(row), _) => Ok(Some(row)),
            (None, Some(row)) if row.time <= at => Ok(Some(row)),
            (None, Some(_)) => Err(MarketMiss::OutsideRing),
            (None, None) => Ok(None),
        }
    }

    // The prevailing row, if it has both sides.
    fn two_sided(&self, at: TimestampMicros) -> Result<(&QuoteRow, Sides), MarketMiss> {
        let row = self.prevailing(at)?.filter(|row| row.two_sided);
        row.and_then(|row| row.sides.map(|sides| (row, sides))).ok_or(MarketMiss::NoQuote)
    }

    // The last print strictly before a time.
    fn printed(&self, before: TimestampMicros) -> Result<Option<&PrintRow>, MarketMiss> {
        match (self.prints.last_where(|row| row.time < before), self.prints.dropped()) {
            (Some(row), _) => Ok(Some(row)),
            (None, Some(row)) if row.time < before => Ok(Some(row)),
            (None, Some(_)) => Err(MarketMiss::OutsideRing),
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn quote_at(&self, venue: &Arc<str>, at: TimestampMicros) -> Result<Quote, MarketMiss> {
        let (row, Sides { bid, ask, bid_size, ask_size }) = self.two_sided(at)?;
        Ok(Quote { venue: Arc::clone(venue), event_time: row.time, seq: row.seq, bid, ask, bid_size, ask_size })
    }

    pub(crate) fn pin_at(&self, at: TimestampMicros) -> Result<Pin, MarketMiss> {
        let (quote, sides) = self.two_sided(at)?;
        let print = self.printed(at)?;
        let sums = print.map_or(Sums::default(), |row| row.sums);
        Ok(Pin {
            arrived_at: at,
            bid: sides.bid,
            ask: sides.ask,
            mid: MidPrice::of(sides.bid, sides.ask).avg_price()?,
            cum_volume: sums.volume,
            cum_notional: sums.notional,
            cum_prints: sums.prints,
            cum_mid_time: quote.mid_time_at(at)?,
            quote_time: quote.time,
            market_seq: print.map_or(quote.seq, |row| row.seq.max(quote.seq)),
            counted_from: Some(self.first),
        })
    }

    pub(crate) fn has_prints(&self, at: TimestampMicros) -> bool {
        let dropped = self.prints.dropped().filter(|row| row.time <= at);
        dropped.or_else(|| self.prints.last_where(|row| row.time <= at)).is_some()
    }

    /// See `MarketTable::first_through`.
    pub(crate) fn first_through(
        &self,
        (after, until): (TimestampMicros, TimestampMicros),
        stop: Price,
        rises: bool,
    ) -> Option<Print> {
        let mut rows = self.prints.rows_after(|row| row.time <= after).take_while(|row| row.time <= until);
        let through = |row: &&PrintRow| if rises { row.price >= stop } else { row.price <= stop };
        rows.find(through).map(|row| Print { event_time: row.time, price: row.price })
    }

    /// What happened in `[start, end)`, from the rows held.
    pub(crate) fn between(&self, start: TimestampMicros, end: TimestampMicros) -> Result<Interval, MarketMiss> {
        let sums = self.printed(start)?.map_or(Sums::default(), |row| row.sums);
        let mid_time = match self.prevailing(start)? {
            Some(row) if row.sides.is_some() => Some((row.mid_time_at(start)?, start)),
            Some(_) | None => self.first_quote.map(|first| (MidTime::ZERO, first)),
        };
        self.since(start, sums, mid_time, end)
    }

    /// What happened from the pin up to, not including, `end`. The pin's own sums count only where its time is no longer
    /// held: rows that came late are then seen, too.
    pub(crate) fn interval(&self, pin: &Pin, end: TimestampMicros) -> Result<Interval, MarketMiss> {
        match self.between(pin.arrived_at, end) {
            Err(MarketMiss::OutsideRing) if pin.counted_from == Some(self.first) => {
                let sums = Sums { volume: pin.cum_volume, notional: pin.cum_notional, prints: pin.cum_prints };
                self.since(pin.arrived_at, sums, Some((pin.cum_mid_time, pin.arrived_at)), end)
            }
            answer => answer,
        }
    }

    fn since(
        &self,
        start: TimestampMicros,
        from: Sums,
        mid_time: Option<(MidTime, TimestampMicros)>,
        end: TimestampMicros,
    ) -> Result<Interval, MarketMiss> {
        if end <= start {
            return Ok(Interval::default());
        }
        let to = self.printed(end)?.map_or(Sums::default(), |row| row.sums);
        let volume = to.volume.checked_sub(from.volume)?;
        let notional = to.notional.checked_sub(from.notional)?;
        let vwap = if volume.is_zero() { None } else { Some(notional.average(volume, Rounding::HalfEven)?) };
        let twap_mid = match (mid_time, self.prevailing(end)?) {
            (Some((from, since)), Some(row)) => match end.since(since) {
                Some(time) if time > DurationMicros::ZERO => {
                    Some(row.mid_time_at(end)?.mean_since(from, time.micros(), Rounding::HalfEven)?)
                }
                Some(_) | None => None,
            },
            (_, None) | (None, _) => None,
        };
        Ok(Interval { vwap, volume, notional, prints: to.prints - from.prints, twap_mid })
    }
}

impl QuoteRow {
    /// The integral of bid plus ask up to a time at which this row prevails.
    fn mid_time_at(&self, at: TimestampMicros) -> Result<MidTime, NumberError> {
        let time = at.since(self.time).ok_or(NumberError::Negative { name: "duration" })?;
        match self.sides {
            Some(Sides { bid, ask, .. }) => self.mid_time.accrued(MidPrice::of(bid, ask), time.micros()),
            None => Ok(self.mid_time),
        }
    }
}
