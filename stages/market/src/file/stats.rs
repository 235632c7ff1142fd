//! Reference data derived from the rows of a file.

use crate::reference::{Guess, guess};
use crate::{MarketError, Session};
use fillstream_domain::{
    AssetClass, FixedDecimal, MidPrice, Money, NumberError, Price, Quantity, Ratio, Rounding, TimestampMicros,
    mul_div_i128,
};
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::Instrument;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Mids are sampled this often for the volatility, microseconds.
const GRID_US: i64 = 10_000_000;
/// Lot of a currency pair whose quotes carry no sizes: a micro lot, units of base.
const FX_LOT: i64 = 1_000;
/// Denominator of a squared return counted in units of 10^-9.
const RETURN_UNIT: i128 = 1_000_000_000;

/// What is collected while a file is read.
pub(super) struct FileStats {
    file: PathBuf,
    span: Option<(TimestampMicros, TimestampMicros)>,
    symbols: BTreeMap<String, SymbolStats>,
}

#[derive(Default)]
struct SymbolStats {
    price_digits: u32,
    size_digits: Option<u32>,
    has_price_not_above_zero: bool,
    volume: Quantity,
    trades: u64,
    venues: BTreeMap<String, VenueStats>,
}

/// Quotes of one venue, with the sum of squared returns of the mid on the grid.
#[derive(Default)]
struct VenueStats {
    quotes: u64,
    bucket: i64,
    /// Twice the mid before the running bucket, and the latest.
    bucket_mid: Option<i128>,
    last_mid: Option<i128>,
    /// Units of 10^-18.
    sum_squares: i128,
}

impl FileStats {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), span: None, symbols: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, row: &NormalizedMarketData) -> Result<(), MarketError> {
        let start = self.span.map_or(row.event_time, |(start, _)| start);
        self.span = Some((start, row.event_time));
        if !self.symbols.contains_key(&row.instrument_id) {
            self.symbols.insert(row.instrument_id.clone(), SymbolStats::default());
        }
        let Some(symbol) = self.symbols.get_mut(&row.instrument_id) else { return Ok(()) };
        symbol.add(row).map_err(|source| MarketError::Number { instrument_id: row.instrument_id.clone(), source })
    }

    pub(super) fn finish(self) -> Result<(Vec<Instrument>, Session), MarketError> {
        let Some((start, last)) = self.span else { return Err(MarketError::Empty { file: self.file }) };
        let span_us = (last.micros() - start.micros()).max(1);
        let file = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let instruments = self.symbols.into_iter().map(|(symbol, stats)| {
            stats
                .instrument(&symbol, &file, span_us)
                .map_err(|source| MarketError::Number { instrument_id: symbol, source })
        });
        let session = Session { start, end: TimestampMicros::from_micros(last.micros().saturating_add(1)) };
        Ok((instruments.collect::<Result<_, _>>()?, session))
    }
}

impl SymbolStats {
    fn add(&mut self, row: &NormalizedMarketData) -> Result<(), NumberError> {
        for price in [row.bid, row.ask, row.price].into_iter().flatten() {
            self.price_digits = self.price_digits.max(digits(price));
            self.has_price_not_above_zero |= !price.is_positive();
        }
        for size in [row.bid_size, row.ask_size, row.size].into_iter().flatten() {
            self.size_digits = self.size_digits.max(Some(digits(size)));
        }
        if row.price.is_some() {
            self.trades += 1;
            self.volume = self.volume.checked_add(row.size.unwrap_or(Quantity::ZERO))?;
        }
        if !self.venues.contains_key(&row.venue) {
            self.venues.insert(row.venue.clone(), VenueStats::default());
        }
        if row.price.is_none()
            && let Some(venue) = self.venues.get_mut(&row.venue)
        {
            venue.add_quote(row)?;
        }
        Ok(())
    }

    fn instrument(&self, symbol: &str, file: &str, span_us: i64) -> Result<Instrument, NumberError> {
        // The venue with most quotes; of equals the first by name.
        let best = self.venues.iter().max_by(|a, b| a.1.quotes.cmp(&b.1.quotes).then(b.0.cmp(a.0)));
        let reference_venue = best.map(|(name, _)| name.clone()).unwrap_or_default();
        let guess = guess(symbol, &reference_venue);
        let daily_sigma = best.map(|(_, venue)| venue.daily_sigma(span_us, guess.day_us())).transpose()?.flatten();
        let lot_size = self.lot(&guess)?;
        let adv = self.adv(&guess, span_us, lot_size)?;
        Ok(Instrument {
            instrument_id: symbol.to_owned(),
            asset_class: guess.asset_class,
            base_currency: guess.base.clone(),
            quote_currency: guess.quote.clone(),
            settlement_currency: guess.settlement.clone(),
            multiplier: Quantity::from_int(guess.multiplier)?,
            inverse: guess.inverse,
            tick_size: step::<Price>(self.price_digits)?,
            lot_size,
            min_quantity: lot_size,
            min_notional: Money::ZERO,
            negative_price_allowed: self.has_price_not_above_zero,
            adv,
            adv_source: adv.map(|_| {
                format!("{file}: {} traded in {} s, scaled to a trading day", self.volume, span_us / 1_000_000)
            }),
            daily_sigma,
            shares_outstanding: None,
            sector: None,
            reference_venue,
            calendar_id: guess.calendar_id().to_owned(),
            version: 1,
        })
    }

    /// The smallest step of the sizes seen; a convention of the asset class where there are none.
    fn lot(&self, guess: &Guess) -> Result<Quantity, NumberError> {
        match (self.size_digits, guess.asset_class) {
            (Some(digits), _) => step::<Quantity>(digits),
            (None, AssetClass::Fx) => Quantity::from_int(FX_LOT),
            (
                None,
                AssetClass::Equity
                | AssetClass::Etf
                | AssetClass::Crypto
                | AssetClass::Future
                | AssetClass::Option
                | AssetClass::Bond,
            ) => Ok(Quantity::ONE),
        }
    }

    /// The volume scaled to a trading day, whole lots; unknown where nothing traded.
    fn adv(&self, guess: &Guess, span_us: i64, lot: Quantity) -> Result<Option<Quantity>, NumberError> {
        if !self.volume.is_positive() {
            return Ok(None);
        }
        let scaled = mul_div_i128(self.volume.unscaled(), guess.day_us().into(), span_us.into(), Rounding::HalfEven)?;
        Quantity::from_unscaled(scaled)?.floor_to_lot(lot).map(Some)
    }
}

impl VenueStats {
    fn add_quote(&mut self, row: &NormalizedMarketData) -> Result<(), NumberError> {
        self.quotes += 1;
        let (Some(bid), Some(ask)) = (row.bid, row.ask) else { return Ok(()) };
        let bucket = row.event_time.micros().div_euclid(GRID_US);
        if bucket != self.bucket {
            self.close_bucket()?;
            self.bucket = bucket;
        }
        self.last_mid = Some(MidPrice::of(bid, ask).twice_unscaled());
        Ok(())
    }

    /// Adds the return from the last sample to the latest mid.
    fn close_bucket(&mut self) -> Result<(), NumberError> {
        if let (Some(from), Some(to)) = (self.bucket_mid, self.last_mid)
            && from > 0
        {
            let change = mul_div_i128(to - from, RETURN_UNIT, from, Rounding::HalfEven)?;
            let square = change.checked_mul(change).ok_or(NumberError::Overflow)?;
            self.sum_squares = self.sum_squares.checked_add(square).ok_or(NumberError::Overflow)?;
        }
        self.bucket_mid = self.last_mid;
        Ok(())
    }

    /// Root of the sum of squared returns of the mid, scaled from the span to a trading day by the root of
    /// time. Whole numbers only: the same on every machine.
    fn daily_sigma(&self, span_us: i64, day_us: i64) -> Result<Option<Ratio>, NumberError> {
        if self.sum_squares == 0 {
            return Ok(None);
        }
        let day = mul_div_i128(self.sum_squares, day_us.into(), span_us.into(), Rounding::HalfEven)?;
        let root = i128::try_from(day.unsigned_abs().isqrt()).map_err(|_| NumberError::Overflow)?;
        Ratio::from_unscaled(root).map(Some)
    }
}

/// Digits after the point that a value needs.
fn digits<T: FixedDecimal>(value: T) -> u32 {
    let (mut units, mut digits) = (value.unscaled(), T::SCALE);
    while digits > 0 && units % 10 == 0 {
        units /= 10;
        digits -= 1;
    }
    digits
}

/// `10^-digits`.
fn step<T: FixedDecimal>(digits: u32) -> Result<T, NumberError> {
    let exponent = T::SCALE.checked_sub(digits).ok_or(NumberError::Overflow)?;
    T::from_unscaled(10_i128.checked_pow(exponent).ok_or(NumberError::Overflow)?)
}
