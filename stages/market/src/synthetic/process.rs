//! The random process of one instrument. The model is documented in the parent module.

use super::config::{SyntheticConfig, SyntheticInstrument};
use super::prng::Prng;
use crate::MarketError;
use crate::reference::day_us;
use fillstream_domain::{NumberError, Price, Quantity, TimestampMicros};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use std::collections::VecDeque;

/// Thousandths of a tick in a tick.
const MILLI: i128 = 1_000;
/// Shortest time between two events of an instrument, microseconds.
const SHORTEST_US: i64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Regime {
    Calm,
    Normal,
    Stressed,
}

impl Regime {
    /// Multiple of the daily volatility, thousandths.
    const fn volatility(self) -> i128 {
        match self {
            Self::Calm => 600,
            Self::Normal => 1_000,
            Self::Stressed => 2_200,
        }
    }

    /// Multiple of the calm spread, thousandths.
    const fn spread(self) -> i128 {
        match self {
            Self::Calm => 1_000,
            Self::Normal => 1_500,
            Self::Stressed => 3_000,
        }
    }

    /// Multiple of the mean touch size, thousandths.
    const fn size(self) -> i128 {
        match self {
            Self::Calm => 1_300,
            Self::Normal => 1_000,
            Self::Stressed => 500,
        }
    }

    /// Mean stay, microseconds.
    const fn stay_us(self) -> i128 {
        match self {
            Self::Calm => 600_000_000,
            Self::Normal => 400_000_000,
            Self::Stressed => 90_000_000,
        }
    }

    fn after(self, elapsed_us: i128, prng: &mut Prng) -> Self {
        if prng.below(self.stay_us()) >= elapsed_us {
            return self;
        }
        match self {
            Self::Calm | Self::Stressed => Self::Normal,
            Self::Normal if prng.below(10) < 7 => Self::Calm,
            Self::Normal => Self::Stressed,
        }
    }
}

/// One side of the touch: price in ticks, size in lots.
#[derive(Debug, Clone, Copy)]
struct Touch {
    ticks: i128,
    lots: i128,
}

/// What an instrument does next.
#[derive(Debug)]
pub(super) struct Process {
    spec: SyntheticInstrument,
    prng: Prng,
    start: i64,
    length_us: i64,
    quote_interval_us: i64,
    trade_interval_us: i64,
    regime: Regime,
    mid_milli: i128,
    bid: Touch,
    ask: Touch,
    last_quote: i64,
    next_quote: i64,
    /// `i64::MAX` for an instrument without trades.
    next_trade: i64,
    /// Rows made, at `ready_time`, and not yet taken.
    ready: VecDeque<NormalizedMarketData>,
    ready_time: i64,
    seq: i64,
}

impl Process {
    /// The process of a validated configuration.
    pub(super) fn new(spec: SyntheticInstrument, config: &SyntheticConfig) -> Self {
        let prng = Prng::new(config.seed, &spec.instrument_id);
        let mid_milli = spec.open_price.unscaled() * MILLI / spec.tick_size.unscaled();
        let start = config.start.micros();
        let mut process = Self {
            prng,
            start,
            length_us: config.length_us,
            quote_interval_us: config.quote_interval_us,
            trade_interval_us: config.trade_interval_us,
            regime: Regime::Normal,
            mid_milli,
            bid: Touch { ticks: 0, lots: 0 },
            ask: Touch { ticks: 0, lots: 0 },
            last_quote: start,
            next_quote: start,
            next_trade: i64::MAX,
            ready: VecDeque::new(),
            ready_time: start,
            seq: 0,
            spec,
        };
        if process.spec.trade_size.is_some() {
            process.next_trade = process.after(start, process.trade_interval_us);
        }
        process
    }

    /// Time of the next row, microseconds.
    pub(super) fn next_time(&self) -> i64 {
        if self.ready.is_empty() { self.next_quote.min(self.next_trade) } else { self.ready_time }
    }

    pub(super) fn next_row(&mut self) -> Result<NormalizedMarketData, MarketError> {
        if let Some(row) = self.ready.pop_front() {
            return Ok(row);
        }
        let now = self.next_time();
        let row = if self.next_quote <= self.next_trade { self.quote(now) } else { self.trade(now) };
        row.map_err(|source| MarketError::Number { instrument_id: self.spec.instrument_id.clone(), source })
    }

    fn quote(&mut self, now: i64) -> Result<NormalizedMarketData, NumberError> {
        let elapsed = i128::from(now - self.last_quote);
        self.regime = self.regime.after(elapsed, &mut self.prng);
        self.move_mid(elapsed);
        // Rounded up or down by chance, so that the mean is right for a spread of one tick too.
        let milli = i128::from(self.spec.spread_ticks) * self.regime.spread() + self.prng.below(MILLI);
        let spread = (milli / MILLI).max(1);
        // Keeps the bid above zero whatever the walk does.
        self.mid_milli = self.mid_milli.max((spread + 2) * MILLI);
        self.bid.ticks = (self.mid_milli - spread * MILLI / 2).div_euclid(MILLI);
        self.ask.ticks = self.bid.ticks + spread;
        self.bid.lots = self.touch_lots(now);
        self.ask.lots = self.touch_lots(now);
        self.last_quote = now;
        self.next_quote = self.after(now, self.quote_interval_us);
        self.quote_row(now)
    }

    fn move_mid(&mut self, elapsed_us: i128) {
        // Roots of times in 10^-3 us keep three more digits.
        let root = |us: i128| i128::try_from((us * 1_000_000).unsigned_abs().isqrt()).unwrap_or(i128::MAX);
        let day = root(day_us(self.spec.asset_class).into()).max(1);
        let sigma_e12 = self.spec.daily_sigma.unscaled() * self.regime.volatility();
        let deviation = self.mid_milli * sigma_e12 / 1_000_000 * root(elapsed_us) / day;
        self.mid_milli += deviation * self.prng.normal() / 65_536 / 1_000_000;
    }

    fn trade(&mut self, now: i64) -> Result<NormalizedMarketData, NumberError> {
        self.next_trade = self.after(now, self.trade_interval_us);
        let buy = self.prng.below(2) == 0;
        let touch = if buy { self.ask } else { self.bid };
        let mean = self.lots(self.spec.trade_size);
        let lots = (self.prng.exponential(mean) * self.activity(now) / 1_000).clamp(1, touch.lots.max(1));
        self.seq += 1;
        let row = NormalizedMarketData {
            kind: MarketDataKind::Trade,
            price: Some(self.price(touch.ticks)?),
            size: Some(self.size(lots)?),
            ..self.row(now)
        };
        self.take(buy, lots, now);
        let quote = self.quote_row(now)?;
        self.ready_time = now;
        self.ready.push_back(quote);
        Ok(row)
    }

    /// Takes lots from the touch; one that is gone moves a tick away, and the mid half a tick.
    fn take(&mut self, buy: bool, lots: i128, now: i64) {
        let left = if buy { self.ask.lots } else { self.bid.lots } - lots;
        if left > 0 {
            if buy {
                self.ask.lots = left
            } else {
                self.bid.lots = left
            }
            return;
        }
        let lots = self.touch_lots(now);
        if buy {
            self.ask = Touch { ticks: self.ask.ticks + 1, lots };
            self.mid_milli += MILLI / 2;
        } else if self.bid.ticks > 1 {
            self.bid = Touch { ticks: self.bid.ticks - 1, lots };
            self.mid_milli -= MILLI / 2;
        } else {
            self.bid.lots = lots;
        }
    }

    fn touch_lots(&mut self, now: i64) -> i128 {
        let mean = self.lots(self.spec.touch_size) * self.activity(now) / 1_000 * self.regime.size() / 1_000;
        self.prng.exponential(mean).max(1)
    }

    fn lots(&self, size: Option<Quantity>) -> i128 {
        size.map_or(0, Quantity::unscaled) / self.spec.lot_size.unscaled()
    }

    /// u(x) in thousandths.
    fn activity(&self, now: i64) -> i128 {
        let x = i128::from(now - self.start) * 1_000 / i128::from(self.length_us);
        let d = (2 * x - 1_000).clamp(-1_000, 1_000);
        600 + 1_200 * d * d / 1_000_000
    }

    /// A time an exponential step after `now` whose mean is `interval / u(x)`.
    fn after(&mut self, now: i64, interval: i64) -> i64 {
        let step = self.prng.exponential(i128::from(interval) * 1_000 / self.activity(now));
        now.saturating_add(i64::try_from(step).unwrap_or(i64::MAX).max(SHORTEST_US))
    }

    fn price(&self, ticks: i128) -> Result<Price, NumberError> {
        Price::from_unscaled(ticks * self.spec.tick_size.unscaled())
    }

    fn size(&self, lots: i128) -> Result<Quantity, NumberError> {
        Quantity::from_unscaled(lots * self.spec.lot_size.unscaled())
    }

    fn quote_row(&mut self, now: i64) -> Result<NormalizedMarketData, NumberError> {
        self.seq += 1;
        let sized = self.spec.touch_size.is_some();
        let size = |lots| if sized { self.size(lots).map(Some) } else { Ok(None) };
        Ok(NormalizedMarketData {
            kind: MarketDataKind::Quote,
            bid: Some(self.price(self.bid.ticks)?),
            ask: Some(self.price(self.ask.ticks)?),
            bid_size: size(self.bid.lots)?,
            ask_size: size(self.ask.lots)?,
            ..self.row(now)
        })
    }

    fn row(&self, now: i64) -> NormalizedMarketData {
        NormalizedMarketData {
            instrument_id: self.spec.instrument_id.clone(),
            venue: self.spec.venue.clone(),
            event_time: TimestampMicros::from_micros(now),
            seq: self.seq,
            ..NormalizedMarketData::default()
        }
    }
}
