//! What the market table answers.

use std::sync::Arc;

use fillstream_domain::{
    AvgPrice, DurationMicros, MidPrice, NumberError, Price, Quantity, Side, TimestampMicros, Turnover,
};
use fillstream_schemas::execution;

/// The market at a moment with its cumulated figures: what an order pins when it arrives.
pub type Pin = execution::Arrival;

/// A prevailing two-sided quote. It may be locked or crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Venue of the quote.
    pub venue: Arc<str>,
    /// Market event time.
    pub event_time: TimestampMicros,
    /// Sequence of its row.
    pub seq: i64,
    /// Best bid, quote currency a unit.
    pub bid: Price,
    /// Best ask, quote currency a unit.
    pub ask: Price,
    /// Units at the bid; `None`: unknown, which is not zero.
    pub bid_size: Option<Quantity>,
    /// Units at the ask; `None`: unknown, which is not zero.
    pub ask_size: Option<Quantity>,
}

impl Quote {
    /// Whether the bid is above the ask. Such a quote prices and is evidence, but never triggers a trade.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        self.bid > self.ask
    }

    /// Whether bid and ask are equal.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.bid == self.ask
    }

    /// The middle, exact.
    #[must_use]
    pub fn mid(&self) -> MidPrice {
        MidPrice::of(self.bid, self.ask)
    }

    /// The price that an order of this side would take: the ask for buys, the bid for sells.
    #[must_use]
    pub fn opposite_touch(&self, side: Side) -> Price {
        if side.is_buy() { self.ask } else { self.bid }
    }

    /// Units at [`Quote::opposite_touch`]; `None`: unknown.
    #[must_use]
    pub fn opposite_size(&self, side: Side) -> Option<Quantity> {
        if side.is_buy() { self.ask_size } else { self.bid_size }
    }

    /// How old the quote is; `None` if it is later than `now`.
    #[must_use]
    pub fn age_at(&self, now: TimestampMicros) -> Option<DurationMicros> {
        now.since(self.event_time)
    }

    /// The quote as evidence in a contract.
    #[must_use]
    pub fn evidence(&self) -> execution::Quote {
        execution::Quote {
            venue: self.venue.as_ref().to_owned(),
            event_time: self.event_time,
            bid: self.bid,
            ask: self.ask,
            bid_size: self.bid_size,
            ask_size: self.ask_size,
        }
    }
}

/// What happened from a start up to, not including, an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interval {
    /// Volume-weighted average price of the prints, 12 digits half-even; `None` without volume.
    pub vwap: Option<AvgPrice>,
    /// Units printed.
    pub volume: Quantity,
    /// Sum of price x size of the prints, quote currency.
    pub notional: Turnover,
    /// Number of prints.
    pub prints: i64,
    /// Time-weighted mid, the prevailing one carried in and up to the end, 12 digits half-even; `None` without time or
    /// quote.
    pub twap_mid: Option<AvgPrice>,
}

/// A print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    /// Market event time.
    pub event_time: TimestampMicros,
    /// Price, quote currency a unit.
    pub price: Price,
}

/// Why the market table has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarketMiss {
    /// No row of this instrument at this venue was ever seen.
    #[error("no market data of the instrument at the venue")]
    NoMarket,
    /// The time lies before what is held, or the sums of the pin count from elsewhere.
    #[error("the time lies outside the market history held")]
    OutsideRing,
    /// No two-sided quote stood at that time.
    #[error("no two-sided quote at the time")]
    NoQuote,
    /// A figure out of range.
    #[error("market figure: {0}")]
    Number(#[from] NumberError),
}

impl MarketMiss {
    /// Closed reason code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoMarket => "NO_MARKET",
            Self::OutsideRing => "OUTSIDE_RING",
            Self::NoQuote => "NO_QUOTE",
            Self::Number(_) => "MARKET_FIGURE",
        }
    }
}

/// What a venue says about trading in an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradingStatus {
    /// Trading.
    Open,
    /// Halted: nothing may be sent.
    Halted,
    /// Closed.
    Closed,
}

impl TradingStatus {
    /// Name of the contract's field value, for messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Halted => "HALTED",
            Self::Closed => "CLOSED",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Halted, Self::Closed].into_iter().find(|status| status.as_str() == text)
    }
}
