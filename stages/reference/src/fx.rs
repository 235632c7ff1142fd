//! Conversion of amounts between currencies, with the evidence.

use fillstream_domain::{DurationMicros, NumberError, Price, Rounding, TimestampMicros, mul_div_i128};

use crate::{MarketTable, Quote, ReferenceData};

/// What one unit of a currency is worth in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FxRate {
    /// Units of the other currency, 8 digits half-even.
    pub rate: Price,
    /// Instrument that said so; `None` where the two are one currency.
    pub instrument: Option<String>,
    /// Its quote.
    pub quote: Option<Quote>,
}

/// Why there is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FxMiss {
    /// No instrument `<FROM><TO>` or `<TO><FROM>` with a fresh two-sided quote above zero at its reference venue.
    #[error("no fresh rate between the currencies")]
    NoRate,
    /// The rate is out of range.
    #[error("rate: {0}")]
    Number(#[from] NumberError),
}

/// The mid of `<FROM><TO>`, or one over that of `<TO><FROM>`, at the instrument's reference venue at a time, not older
/// than `max_age`.
///
/// # Errors
/// There is no such rate.
pub fn fx_rate(
    market: &MarketTable,
    data: &ReferenceData,
    from: &str,
    to: &str,
    at: TimestampMicros,
    max_age: DurationMicros,
) -> Result<FxRate, FxMiss> {
    if from == to {
        return Ok(FxRate { rate: Price::ONE, instrument: None, quote: None });
    }
    let quote_of = |name: &str| {
        let instrument = data.instrument(name)?;
        let quote = market.quote_at(name, &instrument.reference_venue, at).ok()?;
        let fresh = quote.age_at(at).is_some_and(|age| age <= max_age);
        (fresh && quote.mid().twice_unscaled() > 0).then_some(quote)
    };
    for (name, direct) in [(format!("{from}{to}"), true), (format!("{to}{from}"), false)] {
        if let Some(quote) = quote_of(&name) {
            let mid = quote.mid();
            let rate = if direct {
                mid.price(Rounding::HalfEven)?
            } else {
                let one = Price::ONE.unscaled();
                Price::from_unscaled(mul_div_i128(one, 2 * one, mid.twice_unscaled(), Rounding::HalfEven)?)?
            };
            return if rate.is_positive() {
                Ok(FxRate { rate, instrument: Some(name), quote: Some(quote) })
            } else {
                Err(FxMiss::NoRate)
            };
        }
    }
    Err(FxMiss::NoRate)
}
