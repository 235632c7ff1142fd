//! The table of market.data.v1.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::table::{LogRows, Table, TableRow};
use fillstream_domain::{NumberError, Price, TimestampMicros};
use fillstream_schemas::codec::{AvroRecord, CodecError, Fault};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};

use super::quote::{Interval, MarketMiss, Pin, Print, Quote, TradingStatus};
use super::series::{PRINT_CAPACITY, QUOTE_CAPACITY, Series, Sides, Stamp, Taken};

type Venues = BTreeMap<Arc<str>, Arc<Series>>;

/// Market data by instrument and venue; nothing is consolidated.
///
/// Quotes: the prevailing one at `t` is the last row with event time <= `t`, of equal times the later row. Locked and
/// crossed quotes count. A row without bid or ask leaves no quote to trade on until the next two-sided one, but the mid
/// of the averages stays the last two-sided one. Prints of an interval: start <= event time < end. A late row goes to
/// its place while that is still held; a repeated one changes nothing.
#[derive(Clone, Debug)]
pub struct MarketTable {
    instruments: LogRows<Venues>,
    quote_capacity: usize,
    print_capacity: usize,
    repeated: u64,
    too_late: u64,
}

const MARKET: &str = "market.data.v1";

impl Default for MarketTable {
    fn default() -> Self {
        Self::with_capacity(QUOTE_CAPACITY, PRINT_CAPACITY)
    }
}

impl Table for MarketTable {
    const TOPICS: &'static [(&'static str, &'static str)] = &[(MARKET, NormalizedMarketData::FULL_NAME)];

    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        row.value.map_or(Ok(()), |bytes| self.take_from(row.partition, &NormalizedMarketData::decode(bytes)?))
    }
}

/// An instrument at a venue: found once, asked several times.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    venue: &'a Arc<str>,
    series: &'a Series,
}

impl Listing<'_> {
    /// See [`MarketTable::quote_at`].
    ///
    /// # Errors
    /// See [`MarketTable::quote_at`].
    pub fn quote_at(&self, at: TimestampMicros) -> Result<Quote, MarketMiss> {
        self.series.quote_at(self.venue, at)
    }

    /// See [`MarketTable::pin_at`].
    ///
    /// # Errors
    /// See [`MarketTable::pin_at`].
    pub fn pin_at(&self, at: TimestampMicros) -> Result<Pin, MarketMiss> {
        self.series.pin_at(at)
    }

    /// See [`MarketTable::status_at`].
    #[must_use]
    pub fn status_at(&self, at: TimestampMicros) -> Option<TradingStatus> {
        self.series.status_at(at)
    }
}

impl MarketTable {
    /// An instrument at a venue.
    ///
    /// # Errors
    /// No row of it was ever seen.
    pub fn listing(&self, instrument: &str, venue: &str) -> Result<Listing<'_>, MarketMiss> {
        self.find(instrument, venue).map(|(venue, series)| Listing { venue, series })
    }

    /// An empty table that holds so many quotes and prints of each instrument at each venue.
    #[must_use]
    pub fn with_capacity(quotes: usize, prints: usize) -> Self {
        Self {
            instruments: LogRows::new(MARKET),
            quote_capacity: quotes,
            print_capacity: prints,
            repeated: 0,
            too_late: 0,
        }
    }

    /// Takes a row in that comes from no topic.
    ///
    /// # Errors
    /// A print without price or size, a status that is none, or a sum out of range; the row is then not in.
    pub fn take(&mut self, row: &NormalizedMarketData) -> Result<(), CodecError> {
        self.take_from(0, row)
    }

    fn take_from(&mut self, partition: i32, row: &NormalizedMarketData) -> Result<(), CodecError> {
        let missing = |field: &'static str| CodecError::new(Fault::Missing).in_field(field);
        let stamp = Stamp { time: row.event_time, seq: row.seq };
        let taken = match row.kind {
            MarketDataKind::Quote => {
                let (bid_size, ask_size) = (row.bid_size, row.ask_size);
                let sides = row.bid.zip(row.ask).map(|(bid, ask)| Sides { bid, ask, bid_size, ask_size });
                self.series(partition, row).quote(stamp, sides)
            }
            MarketDataKind::Trade => {
                let price = row.price.ok_or_else(|| missing("price"))?;
                let size = row.size.ok_or_else(|| missing("size"))?;
                self.series(partition, row).print(stamp, price, size)
            }
            MarketDataKind::Status => {
                let text = row.trading_status.as_deref().ok_or_else(|| missing("trading_status"))?;
                let status = TradingStatus::parse(text).ok_or_else(|| {
                    let fault = Fault::Symbol { name: "trading_status".to_owned(), symbol: text.to_owned() };
                    CodecError::new(fault).in_field("trading_status")
                })?;
                Ok(self.series(partition, row).status(stamp, status))
            }
        };
        match taken.map_err(|e: NumberError| CodecError::new(Fault::Decimal(e.to_string())))? {
            Taken::New => {}
            Taken::Repeated => self.repeated += 1,
            Taken::TooLate => self.too_late += 1,
        }
        Ok(())
    }

    /// The prevailing quote at a time.
    ///
    /// # Errors
    /// No such market, no two-sided quote, or the time is before what is held.
    pub fn quote_at(&self, instrument: &str, venue: &str, at: TimestampMicros) -> Result<Quote, MarketMiss> {
        let (venue, series) = self.find(instrument, venue)?;
        series.quote_at(venue, at)
    }

    /// The quote and the cumulated figures at a time: prints before it, the mid up to it.
    ///
    /// # Errors
    /// As [`MarketTable::quote_at`], or a figure out of range.
    pub fn pin_at(&self, instrument: &str, venue: &str, at: TimestampMicros) -> Result<Pin, MarketMiss> {
        self.find(instrument, venue)?.1.pin_at(at)
    }

    /// What happened from a pin up to, not including, `end`. The answer is final once [`MarketTable::watermark`] has
    /// passed `end`.
    ///
    /// # Errors
    /// No such market; outside what is held and the pin's sums count from another first row; a figure out of range.
    pub fn interval(
        &self,
        instrument: &str,
        venue: &str,
        pin: &Pin,
        end: TimestampMicros,
    ) -> Result<Interval, MarketMiss> {
        self.find(instrument, venue)?.1.interval(pin, end)
    }

    /// What happened from `start` up to, not including, `end`.
    ///
    /// # Errors
    /// No such market; `start` is before what is held; a figure out of range.
    pub fn between(
        &self,
        instrument: &str,
        venue: &str,
        start: TimestampMicros,
        end: TimestampMicros,
    ) -> Result<Interval, MarketMiss> {
        self.find(instrument, venue)?.1.between(start, end)
    }

    /// Whether anything was printed up to a time.
    #[must_use]
    pub fn has_prints(&self, instrument: &str, venue: &str, at: TimestampMicros) -> bool {
        self.find(instrument, venue).is_ok_and(|(_, series)| series.has_prints(at))
    }

    /// The first print in `(after, until]` at `stop` or beyond it: at least that (`rises`) or at most. Of equal times the
    /// one that came first. What is not held any more is not seen.
    #[must_use]
    pub fn first_through(
        &self,
        instrument: &str,
        venue: &str,
        span: (TimestampMicros, TimestampMicros),
        stop: Price,
        rises: bool,
    ) -> Option<Print> {
        self.find(instrument, venue).ok()?.1.first_through(span, stop, rises)
    }

    /// What the venue last said about trading at a time; `None`: nothing.
    #[must_use]
    pub fn status_at(&self, instrument: &str, venue: &str, at: TimestampMicros) -> Option<TradingStatus> {
        self.find(instrument, venue).ok().and_then(|(_, series)| series.status_at(at))
    }

    /// Latest event time seen of an instrument at a venue.
    #[must_use]
    pub fn watermark(&self, instrument: &str, venue: &str) -> Option<TimestampMicros> {
        self.find(instrument, venue).ok().map(|(_, series)| series.watermark())
    }

    /// Venues with rows of an instrument, in order of their ids.
    pub fn venues(&self, instrument: &str) -> impl Iterator<Item = &str> {
        self.instruments.get(instrument).into_iter().flat_map(|venues| venues.keys().map(AsRef::as_ref))
    }

    /// Rows that were said before.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Rows that came when everything of their time was dropped.
    #[must_use]
    pub fn too_late(&self) -> u64 {
        self.too_late
    }

    fn find(&self, instrument: &str, venue: &str) -> Result<(&Arc<str>, &Series), MarketMiss> {
        let venues = self.instruments.get(instrument).ok_or(MarketMiss::NoMarket)?;
        venues.get_key_value(venue).map(|(venue, series)| (venue, &**series)).ok_or(MarketMiss::NoMarket)
    }

    // Copies what a published version still shares: two small maps and the tail of the series.
    fn series(&mut self, partition: i32, row: &NormalizedMarketData) -> &mut Series {
        let new = || Arc::new(Series::new(row.event_time, self.quote_capacity, self.print_capacity));
        let venues = self.instruments.entry(&row.instrument_id, partition);
        Arc::make_mut(venues.entry(row.venue.as_str().into()).or_insert_with(new))
    }
}
