//! The quotes of the market source, and what was taken from them at each venue.

use crate::config::{EngineConfig, MarketCenter};
use crate::matching::{Touch, displayed_size, hidden_size};
use crate::micros::later;
use crate::misbehaviour::draw;
use fillstream_domain::{MidPrice, NumberError, Price, Quantity, Rounding, TimestampMicros};
use fillstream_schemas::market::NormalizedMarketData;
use std::collections::BTreeMap;

/// A side of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BookSide {
    Bid,
    Ask,
}

impl BookSide {
    /// The side that an order takes from.
    pub(crate) const fn taken_by(is_buy: bool) -> Self {
        if is_buy { Self::Ask } else { Self::Bid }
    }

    /// The side that an order joins.
    pub(crate) const fn joined_by(is_buy: bool) -> Self {
        if is_buy { Self::Bid } else { Self::Ask }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bid => "bid",
            Self::Ask => "ask",
        }
    }
}

/// One side of the quote in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    price: Price,
    /// Unknown, which is not zero, where the source has none.
    size: Option<Quantity>,
    /// `seq` of the row that changed this side last.
    version: i64,
}

/// The quote in force at a venue of the market source.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Quote {
    bid: Option<Level>,
    ask: Option<Level>,
}

impl Quote {
    fn update(&mut self, row: &NormalizedMarketData) {
        let level = |old: Option<Level>, price: Option<Price>, size| {
            price.map(|price| match old {
                Some(old) if old.price == price && old.size == size => old,
                Some(_) | None => Level { price, size, version: row.seq },
            })
        };
        self.bid = level(self.bid, row.bid, row.bid_size);
        self.ask = level(self.ask, row.ask, row.ask_size);
    }

    const fn level(&self, side: BookSide) -> Option<&Level> {
        match side {
            BookSide::Bid => self.bid.as_ref(),
            BookSide::Ask => self.ask.as_ref(),
        }
    }

    /// The middle; none of a quote with one side.
    fn middle(&self) -> Result<Option<Price>, NumberError> {
        let sides = self.bid.zip(self.ask);
        sides.map(|(bid, ask)| MidPrice::of(bid.price, ask.price).price(Rounding::HalfEven)).transpose()
    }

    /// A locked or crossed quote never triggers a trade.
    fn is_tradable(&self) -> bool {
        match (&self.bid, &self.ask) {
            (Some(bid), Some(ask)) => bid.price < ask.price,
            (None, _) | (_, None) => true,
        }
    }
}

/// What was taken from one side of a quote at one venue.
#[derive(Debug, Clone, Copy)]
struct Taken {
    version: i64,
    displayed: Quantity,
    hidden: Quantity,
    last_at: TimestampMicros,
}

/// All books.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// By instrument and venue of the source.
    quotes: BTreeMap<String, BTreeMap<String, Quote>>,
    /// By venue, instrument and side.
    taken: BTreeMap<(String, String, BookSide), Taken>,
}

/// Which book, and the lot of its instrument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BookRef<'a> {
    pub(crate) center: &'a MarketCenter,
    pub(crate) instrument_id: &'a str,
    /// Venue of the source.
    pub(crate) source: &'a str,
    pub(crate) lot: Quantity,
}

impl Books {
    pub(crate) fn update(&mut self, row: &NormalizedMarketData) {
        if let Some(quote) = self.quotes.get_mut(&row.instrument_id).and_then(|venues| venues.get_mut(&row.venue)) {
            quote.update(row);
            return;
        }
        let mut quote = Quote::default();
        quote.update(row);
        self.quotes.entry(row.instrument_id.clone()).or_default().insert(row.venue.clone(), quote);
    }

    fn quote(&self, book: BookRef<'_>) -> Option<&Quote> {
        self.quotes.get(book.instrument_id)?.get(book.source)
    }

    /// Whether there has been a quote.
    pub(crate) fn is_quoted(&self, book: BookRef<'_>) -> bool {
        self.quote(book).is_some()
    }

    /// Whether the quote in force may trigger trades: it is neither locked nor crossed.
    pub(crate) fn is_tradable(&self, book: BookRef<'_>) -> bool {
        self.quote(book).is_some_and(Quote::is_tradable)
    }

    /// What can be taken from a side now; `None` where there is no price, or the quote is locked or crossed. In a dark pool
    /// it has the price of the middle.
    pub(crate) fn touch(
        &self,
        book: BookRef<'_>,
        side: BookSide,
        now: TimestampMicros,
        config: &EngineConfig,
    ) -> Result<Option<Touch>, NumberError> {
        let Some(quote) = self.quote(book).filter(|quote| quote.is_tradable()) else { return Ok(None) };
        let Some(level) = quote.level(side) else { return Ok(None) };
        let at = if book.center.dark { quote.middle()? } else { Some(level.price) };
        let Some(price) = at else { return Ok(None) };
        let displayed =
            if book.center.dark { Quantity::ZERO } else { displayed_size(book.center, level.size, book.lot)? };
        let key = format!("{}|{}|{}|{}", book.center.venue_id, book.instrument_id, side.name(), level.version);
        let hidden = hidden_size(book.center, level.size, book.lot, draw(config.seed, "hidden", &key))?;
        let taken = self.taken.get(&taken_key(book, side));
        let in_force = taken.filter(|t| t.version == level.version && now < later(t.last_at, config.refresh_us));
        let left = |size: Quantity, taken: Option<Quantity>| size.less_at_most(taken.unwrap_or(Quantity::ZERO));
        Ok(Some(Touch {
            price,
            displayed: left(displayed, in_force.map(|t| t.displayed)),
            hidden: left(hidden, in_force.map(|t| t.hidden)),
        }))
    }

    /// Displayed size of the side that an order joins, and its price.
    pub(crate) fn queue(&self, book: BookRef<'_>, side: BookSide) -> Result<Option<(Price, Quantity)>, NumberError> {
        let Some(level) = self.quote(book).and_then(|quote| quote.level(side)) else { return Ok(None) };
        Ok(Some((level.price, displayed_size(book.center, level.size, book.lot)?)))
    }

    /// When size that was taken from a side comes back.
    pub(crate) fn back_at(&self, book: BookRef<'_>, side: BookSide, refresh_us: i64) -> Option<TimestampMicros> {
        let version = self.quote(book)?.level(side)?.version;
        let taken = self.taken.get(&taken_key(book, side)).filter(|taken| taken.version == version)?;
        Some(later(taken.last_at, refresh_us))
    }

    /// Takes size from a side.
    pub(crate) fn take(
        &mut self,
        book: BookRef<'_>,
        side: BookSide,
        [displayed, hidden]: [Quantity; 2],
        now: TimestampMicros,
        refresh_us: i64,
    ) -> Result<(), NumberError> {
        let version = self.quote(book).and_then(|quote| quote.level(side)).map_or(0, |level| level.version);
        let key = taken_key(book, side);
        let earlier = self.taken.get(&key);
        let in_force = earlier.filter(|t| t.version == version && now < later(t.last_at, refresh_us));
        let (old_displayed, old_hidden) =
            in_force.map_or((Quantity::ZERO, Quantity::ZERO), |taken| (taken.displayed, taken.hidden));
        let taken = Taken {
            version,
            displayed: old_displayed.checked_add(displayed)?,
            hidden: old_hidden.checked_add(hidden)?,
            last_at: now,
        };
        self.taken.insert(key, taken);
        Ok(())
    }
}

fn taken_key(book: BookRef<'_>, side: BookSide) -> (String, String, BookSide) {
    (book.center.venue_id.clone(), book.instrument_id.to_owned(), side)
}
