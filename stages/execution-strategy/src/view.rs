//! The market as one order sees it at one moment.

use fillstream_domain::{NumberError, Price, Quantity, Ratio, Rounding, Side, TimestampMicros, mul_div_i128};
use fillstream_reference::{MarketTable, Quote, ReferenceData, TradingStatus};
use fillstream_schemas::execution::Arrival;
use fillstream_schemas::reference::Instrument;
use fillstream_schemas::state::StrategyOrder;

use crate::Fx;
use crate::config::Config;
use crate::reason::Hold;

/// Length of a trading day where the calendar is not known, microseconds.
const DAY_US: i64 = 86_400_000_000;

/// The market of an instrument at its reference venue.
pub(crate) struct View<'a> {
    pub market: Option<&'a MarketTable>,
    pub data: Option<&'a ReferenceData>,
    pub instrument_id: &'a str,
    pub venue: &'a str,
    pub now: TimestampMicros,
}

impl<'a> View<'a> {
    pub(crate) fn new(instrument_id: &'a str, venue: &'a str, fx: &Fx<'a>) -> Self {
        Self { market: fx.table(), data: fx.table(), instrument_id, venue, now: fx.now() }
    }

    pub(crate) fn instrument(&self) -> Option<&'a Instrument> {
        self.data.and_then(|data| data.instrument(self.instrument_id))
    }

    /// The prevailing quote, whatever it is like.
    pub(crate) fn quote(&self) -> Option<Quote> {
        self.market.and_then(|market| market.quote_at(self.instrument_id, self.venue, self.now).ok())
    }

    /// The quote that may be traded on, or why there is none (trading rule 37: locked and crossed quotes never trigger a
    /// trade).
    pub(crate) fn tradable(&self, config: &Config) -> Result<Quote, Hold> {
        let status = self.market.and_then(|market| market.status_at(self.instrument_id, self.venue, self.now));
        match status {
            Some(TradingStatus::Halted) => return Err(Hold::Halted),
            Some(TradingStatus::Closed) => return Err(Hold::MarketClosed),
            Some(TradingStatus::Open) | None => {}
        }
        let quote = self.quote().ok_or(Hold::NoQuote)?;
        let age_us = self.now.micros().saturating_sub(quote.event_time.micros());
        if age_us > config.max_quote_age_ms.saturating_mul(1_000) {
            return Err(Hold::StaleQuote);
        }
        if quote.is_crossed() {
            return Err(Hold::CrossedBook);
        }
        if quote.is_locked() { Err(Hold::LockedBook) } else { Ok(quote) }
    }

    pub(crate) fn pin(&self) -> Option<Arrival> {
        self.market.and_then(|market| market.pin_at(self.instrument_id, self.venue, self.now).ok())
    }

    /// Volume printed since a pin; `None`: nobody prints here, or it is not held any more.
    pub(crate) fn volume_since(&self, pin: Option<&Arrival>) -> Option<Quantity> {
        let pin = pin?;
        let interval = self.market?.interval(self.instrument_id, self.venue, pin, self.now).ok()?;
        let has_prints = pin.cum_prints > 0 || interval.prints > 0;
        has_prints.then_some(interval.volume)
    }

    /// Length of the session, microseconds.
    pub(crate) fn day_us(&self) -> i64 {
        let sessions = self.data.and_then(|data| data.sessions(self.instrument_id).ok());
        let session = sessions.and_then(|sessions| sessions.session_at_or_after(self.now).ok());
        session.map_or(DAY_US, |s| s.close.micros().saturating_sub(s.open.micros()).max(1))
    }

    /// Volume expected in a time: the average day's share of it.
    pub(crate) fn expected_volume(&self, time_us: i64) -> Result<Option<Quantity>, NumberError> {
        let Some(adv) = self.instrument().and_then(|i| i.adv) else { return Ok(None) };
        mul_div_i128(adv.unscaled(), i128::from(time_us), i128::from(self.day_us()), Rounding::Floor)
            .and_then(Quantity::from_unscaled)
            .map(Some)
    }

    /// Smallest quantity that a child may have at a price: the instrument's quantity and notional, in whole lots.
    pub(crate) fn least(&self, price: Price, lot: Quantity) -> Result<Quantity, NumberError> {
        let Some(instrument) = self.instrument().filter(|_| price.is_positive() && lot.is_positive()) else {
            return Ok(Quantity::ZERO);
        };
        let by_value = instrument.min_notional.buys_at(price, Rounding::Ceiling)?;
        let least = instrument.min_quantity.max(by_value);
        let floor = least.floor_to_lot(lot)?;
        if floor == least { Ok(floor) } else { floor.checked_add(lot) }
    }

    /// A price that is a multiple of the tick and no worse than this one.
    pub(crate) fn on_tick(&self, price: Price, side: Side) -> Result<Price, NumberError> {
        match self.instrument().map(|i| i.tick_size).filter(|tick| tick.is_positive()) {
            Some(tick) if side.is_buy() => price.round_down_to_tick(tick),
            Some(tick) => price.round_up_to_tick(tick),
            None => Ok(price),
        }
    }
}

/// What may be traded in all at a share of the volume: of what was printed, and of what is expected in the step that begins.
/// `None`: nobody knows a volume.
pub(crate) fn participation_cap(
    view: &View<'_>,
    order: &StrategyOrder,
    rate: Ratio,
    step_us: i64,
) -> Result<Option<Quantity>, NumberError> {
    let (printed, expected) = (view.volume_since(order.pin.as_ref()), view.expected_volume(step_us)?);
    if printed.is_none() && expected.is_none() {
        return Ok(None);
    }
    let volume = printed.unwrap_or_default().checked_add(expected.unwrap_or_default())?;
    volume.share(rate, Rounding::Floor).map(Some)
}

/// The price next to trade at on the own side of the book.
pub(crate) fn near_touch(quote: &Quote, side: Side) -> Price {
    if side.is_buy() { quote.bid } else { quote.ask }
}

/// The stricter of two limits.
pub(crate) fn stricter(side: Side, a: Option<Price>, b: Option<Price>) -> Option<Price> {
    match (a, b) {
        (Some(a), Some(b)) if side.is_buy() => Some(a.min(b)),
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, other) => one.or(other),
    }
}

/// Whether a price is no worse than a limit.
pub(crate) fn within(side: Side, price: Price, limit: Option<Price>) -> bool {
    limit.is_none_or(|limit| if side.is_buy() { price <= limit } else { price >= limit })
}
