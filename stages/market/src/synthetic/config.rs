//! What a synthetic market consists of.

use crate::MarketError;
use crate::reference::{calendar_id, day_us};
use fillstream_domain::{AssetClass, Money, NumberError, Price, Quantity, Ratio, TimestampMicros};
use fillstream_schemas::reference::Instrument;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Default start of the session: Monday 2026-03-02, 14:30:00 UTC, when New York opens.
pub const DEFAULT_START: TimestampMicros = TimestampMicros::from_micros(1_772_461_800_000_000);

/// Venue of the rows of the default instruments: the consolidated tape.
pub(crate) const TAPE: &str = "TAPE";

/// A synthetic market. Equal configurations give equal rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticConfig {
    /// Seed of all random numbers.
    pub seed: u64,
    /// First instant of the session.
    pub start: TimestampMicros,
    /// Length of the session, microseconds.
    pub length_us: i64,
    /// Mean time between quote revisions of an instrument, microseconds. A trade adds one quote.
    pub quote_interval_us: i64,
    /// Mean time between trades of an instrument, microseconds.
    pub trade_interval_us: i64,
    /// The instruments, each with a random stream of its own.
    pub instruments: Vec<SyntheticInstrument>,
}

impl Default for SyntheticConfig {
    /// Two hours of eight instruments, each with about 2 quotes and 0.5 trades a second.
    fn default() -> Self {
        Self {
            seed: 1,
            start: DEFAULT_START,
            length_us: 7_200_000_000,
            quote_interval_us: 667_000,
            trade_interval_us: 2_000_000,
            instruments: default_instruments(),
        }
    }
}

/// An instrument of a synthetic market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticInstrument {
    /// Id.
    pub instrument_id: String,
    /// Asset class.
    pub asset_class: AssetClass,
    /// What one unit is made of; the instrument itself for equities.
    pub base_currency: String,
    /// Currency of its prices.
    pub quote_currency: String,
    /// Smallest price step.
    pub tick_size: Price,
    /// Smallest quantity step.
    pub lot_size: Quantity,
    /// Price around which the session opens.
    pub open_price: Price,
    /// Volatility of a trading day in the normal regime, as a fraction.
    pub daily_sigma: Ratio,
    /// Spread in the calm regime, ticks.
    pub spread_ticks: u32,
    /// Mean size at the touch; none: quotes carry no sizes and nothing is printed (FX).
    pub touch_size: Option<Quantity>,
    /// Mean size of a trade; needed with a touch size.
    pub trade_size: Option<Quantity>,
    /// Shares outstanding, equities only.
    pub shares_outstanding: Option<Quantity>,
    /// Sector.
    pub sector: Option<String>,
    /// Venue of its rows.
    pub venue: String,
}

impl SyntheticConfig {
    /// Checks what the model relies on.
    ///
    /// # Errors
    /// [`MarketError::BadConfig`] names every fault.
    pub fn validate(&self) -> Result<(), MarketError> {
        let mut faults = Vec::new();
        let positive = [
            ("length_us", self.length_us),
            ("quote_interval_us", self.quote_interval_us),
            ("trade_interval_us", self.trade_interval_us),
        ];
        faults.extend(positive.iter().filter(|(_, v)| *v < 1).map(|(name, _)| format!("{name} is not positive")));
        if self.start.micros().checked_add(self.length_us).is_none() {
            faults.push("the session ends outside the calendar".to_owned());
        }
        if self.instruments.is_empty() {
            faults.push("there are no instruments".to_owned());
        }
        let mut ids = BTreeSet::new();
        for instrument in &self.instruments {
            if !ids.insert(&instrument.instrument_id) {
                faults.push(format!("{} stands twice", instrument.instrument_id));
            }
            let found = instrument.faults();
            faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", instrument.instrument_id)));
        }
        if faults.is_empty() { Ok(()) } else { Err(MarketError::BadConfig(faults.join("; "))) }
    }
}

impl SyntheticInstrument {
    fn faults(&self) -> Vec<&'static str> {
        let tick = self.tick_size.unscaled();
        let ticks = if tick > 0 { self.open_price.unscaled() / tick } else { 0 };
        let sizes = [self.touch_size, self.trade_size];
        let rules = [
            (!self.instrument_id.is_empty(), "instrument_id is empty"),
            (!self.venue.is_empty(), "venue is empty"),
            (tick > 0, "tick_size is not positive"),
            (self.lot_size.is_positive(), "lot_size is not positive"),
            ((100..=1_000_000_000).contains(&ticks), "open_price is not within 100 and 1,000,000,000 ticks"),
            (
                self.daily_sigma.is_positive() && self.daily_sigma <= Ratio::ONE,
                "daily_sigma is not above 0 and at most 1",
            ),
            ((1..=1000).contains(&self.spread_ticks), "spread_ticks is not within 1 and 1000"),
            (
                self.touch_size.is_some() == self.trade_size.is_some(),
                "touch_size and trade_size must be given together",
            ),
            (sizes.iter().flatten().all(|size| *size >= self.lot_size), "a mean size is below a lot"),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, fault)| fault).collect()
    }

    /// Reference data; the volume is that of the model: mean trade size times trades of a trading day.
    pub(super) fn reference(&self, trade_interval_us: i64) -> Result<Instrument, NumberError> {
        let trades = i128::from(day_us(self.asset_class) / trade_interval_us.max(1));
        let volume =
            |size: Quantity| Quantity::from_unscaled(size.unscaled().checked_mul(trades).ok_or(NumberError::Overflow)?);
        let adv = self.trade_size.map(volume).transpose()?;
        Ok(Instrument {
            instrument_id: self.instrument_id.clone(),
            asset_class: self.asset_class,
            base_currency: self.base_currency.clone(),
            quote_currency: self.quote_currency.clone(),
            settlement_currency: self.quote_currency.clone(),
            multiplier: Quantity::ONE,
            inverse: false,
            tick_size: self.tick_size,
            lot_size: self.lot_size,
            min_quantity: self.lot_size,
            min_notional: Money::ZERO,
            negative_price_allowed: false,
            adv,
            adv_source: adv.map(|_| "synthetic model: mean trade size x trades of a trading day".to_owned()),
            daily_sigma: Some(self.daily_sigma),
            shares_outstanding: self.shares_outstanding,
            sector: self.sector.clone(),
            reference_venue: self.venue.clone(),
            calendar_id: calendar_id(self.asset_class).to_owned(),
            version: 1,
        })
    }
}

/// The instruments of the default market: four shares, a fund, two coins, and a currency pair without sizes.
#[must_use]
pub fn default_instruments() -> Vec<SyntheticInstrument> {
    // The numbers are tick, lot, open, sigma, spread, touch, trade and shares outstanding; `-` is none.
    const TABLE: [Row; 8] = [
        Row("ACME", AssetClass::Equity, "ACME", "USD", "0.01 1 101.25 0.018 1 600 220 420000000", "Industrials"),
        Row("GLOBEX", AssetClass::Equity, "GLOBEX", "USD", "0.01 1 48.10 0.022 1 900 310 650000000", "Technology"),
        Row("HOOLI", AssetClass::Equity, "HOOLI", "USD", "0.01 1 312.40 0.025 2 250 90 300000000", "Technology"),
        Row("INITECH", AssetClass::Equity, "INITECH", "USD", "0.01 1 17.35 0.030 1 1400 480 120000000", "Software"),
        Row("BROADX", AssetClass::Etf, "BROADX", "USD", "0.01 1 520.80 0.010 1 1200 260 -", "-"),
        Row("BTCUSD", AssetClass::Crypto, "BTC", "USD", "0.01 0.00001 64250.50 0.035 120 0.9 0.12 -", "-"),
        Row("ETHUSD", AssetClass::Crypto, "ETH", "USD", "0.01 0.0001 3105.20 0.042 12 12 1.8 -", "-"),
        Row("EURUSD", AssetClass::Fx, "EUR", "USD", "0.00001 1000 1.08450 0.006 2 - - -", "-"),
    ];
    TABLE.iter().filter_map(Row::instrument).collect()
}

/// A line of the table of default instruments: id, asset class, base, quote, numbers, sector.
struct Row(&'static str, AssetClass, &'static str, &'static str, &'static str, &'static str);

impl Row {
    fn instrument(&self) -> Option<SyntheticInstrument> {
        let Self(id, asset_class, base, quote, numbers, sector) = self;
        let mut numbers = numbers.split(' ');
        Some(SyntheticInstrument {
            instrument_id: (*id).to_owned(),
            asset_class: *asset_class,
            base_currency: (*base).to_owned(),
            quote_currency: (*quote).to_owned(),
            tick_size: numbers.next()?.parse().ok()?,
            lot_size: numbers.next()?.parse().ok()?,
            open_price: numbers.next()?.parse().ok()?,
            daily_sigma: numbers.next()?.parse().ok()?,
            spread_ticks: numbers.next()?.parse().ok()?,
            touch_size: numbers.next()?.parse().ok(),
            trade_size: numbers.next()?.parse().ok(),
            shares_outstanding: numbers.next()?.parse().ok(),
            sector: (*sector != "-").then(|| (*sector).to_owned()),
            venue: TAPE.to_owned(),
        })
    }
}
