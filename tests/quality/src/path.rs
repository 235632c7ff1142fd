//! Market paths: what one order meets, row by row.

use fillstream_domain::{NumberError, Price, Quantity, TimestampMicros};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::Instrument;

/// A two-sided top of book. `None` sizes are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// Best bid.
    pub bid: Price,
    /// Best ask.
    pub ask: Price,
    /// Units at the bid.
    pub bid_size: Option<Quantity>,
    /// Units at the ask.
    pub ask_size: Option<Quantity>,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The book's top; `None`: it has not both sides.
    Quote(Option<Top>),
    /// A print: price and units.
    Print(Price, Quantity),
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Event time.
    pub at: TimestampMicros,
    /// What it says.
    pub said: Said,
}

impl Tick {
    /// What is measured of a row; statuses are not (no source has any), nor prints without size.
    #[must_use]
    pub fn of(row: &NormalizedMarketData) -> Option<Self> {
        let said = match row.kind {
            MarketDataKind::Quote => {
                let (bid_size, ask_size) = (row.bid_size, row.ask_size);
                Said::Quote(row.bid.zip(row.ask).map(|(bid, ask)| Top { bid, ask, bid_size, ask_size }))
            }
            MarketDataKind::Trade => {
                let (price, size) = row.price.zip(row.size)?;
                Said::Print(price, size)
            }
            MarketDataKind::Status => return None,
        };
        Some(Self { at: row.event_time, said })
    }
}

/// A market path of one instrument at its reference venue.
#[derive(Clone, Debug)]
pub struct MarketPath {
    /// Its name: where it comes from, and its number.
    pub name: String,
    /// Where it comes from.
    pub market: String,
    /// Instrument.
    pub instrument: Instrument,
    /// Rows in order, those before the arrival too.
    pub ticks: Vec<Tick>,
    /// When the order arrives.
    pub arrives_at: TimestampMicros,
    /// Whether the order buys.
    pub is_buy: bool,
    /// Whether own fills move the book.
    pub moves: bool,
    /// What upstream says of news, with the order.
    pub is_news: bool,
}

impl MarketPath {
    /// The book behind the touch, from the quotes before the arrival: units a level, and price between two levels.
    ///
    /// Nothing published says what stands behind the touch. A level has the mean size at the touch (`clip` where sizes are not known).
    /// On the generator levels are a tick apart, as its own rule says; in a file they are as far apart as bid and ask are on average, at
    /// least a tick.
    ///
    /// # Errors
    /// Out of range.
    pub fn ladder(&self, clip: Quantity) -> Result<(Quantity, Price), NumberError> {
        let (mut sizes, mut spreads) = (Vec::new(), Vec::new());
        for tick in self.ticks.iter().take_while(|tick| tick.at <= self.arrives_at) {
            let Said::Quote(Some(top)) = tick.said else { continue };
            sizes.extend([top.bid_size, top.ask_size].into_iter().flatten().map(Quantity::unscaled));
            spreads.push((top.ask.unscaled() - top.bid.unscaled()).max(0));
        }
        let mean = |values: &[i128]| {
            let count = i128::try_from(values.len()).unwrap_or(i128::MAX);
            values.iter().sum::<i128>().checked_div(count)
        };
        let (lot, tick) = (self.instrument.lot_size, self.instrument.tick_size);
        let depth = mean(&sizes).map_or(Ok(clip), Quantity::from_unscaled)?;
        let depth = if lot.is_positive() { depth.floor_to_lot(lot)?.max(lot) } else { depth };
        if self.moves {
            return Ok((depth, tick));
        }
        let spread = Price::from_unscaled(mean(&spreads).unwrap_or_default())?;
        Ok((depth, spread.round_down_to_tick(tick)?.max(tick)))
    }
}
