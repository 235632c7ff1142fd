//! What a slice is worth in the reporting currency: trading rules 21 and 22.

use fillstream_domain::{
    Bps, DurationMicros, Money, NumberError, Price, Quantity, Rounding, TimestampMicros, mul_div_i128,
};
use fillstream_reference::{FxMiss, FxRate, MarketTable, ReferenceData, fx_rate};
use fillstream_schemas::reference::Instrument;

const US_DOLLAR: &str = "USD";

/// A value with the rates that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Valuation {
    /// Reporting currency.
    pub(crate) currency: String,
    /// Value of the slice at the opposite touch.
    pub(crate) value: Money,
    /// From the currency of the notional.
    pub(crate) fx: FxRate,
    /// US dollars for one unit of the reporting currency; `None`: no rate, and it stands in for the dollar.
    pub(crate) usd_rate: Option<Price>,
}

/// Where rates come from.
#[derive(Clone, Copy)]
pub(crate) struct Rates<'a> {
    pub(crate) market: &'a MarketTable,
    pub(crate) data: &'a ReferenceData,
    pub(crate) now: TimestampMicros,
    pub(crate) max_age: DurationMicros,
}

impl Rates<'_> {
    /// The value of a quantity at a price, in the reporting currency.
    pub(crate) fn value(
        &self,
        instrument: &Instrument,
        price: Price,
        quantity: Quantity,
        currency: &str,
    ) -> Result<Valuation, FxMiss> {
        // A coin-margined contract is worth its base currency.
        let from = if instrument.inverse { &instrument.base_currency } else { &instrument.quote_currency };
        let fx = self.rate(from, currency)?;
        let usd_rate = match self.rate(currency, US_DOLLAR) {
            Ok(rate) => Some(rate.rate),
            Err(FxMiss::NoRate) => None,
            Err(FxMiss::Number(e)) => return Err(FxMiss::Number(e)),
        };
        let value = notional(instrument, price, quantity)?.converted(fx.rate, Rounding::HalfEven)?;
        Ok(Valuation { currency: currency.to_owned(), value, fx, usd_rate })
    }

    fn rate(&self, from: &str, to: &str) -> Result<FxRate, FxMiss> {
        fx_rate(self.market, self.data, from, to, self.now, self.max_age)
    }
}

// |price| x quantity x multiplier, or quantity x multiplier / |price| where coin-margined.
fn notional(instrument: &Instrument, price: Price, quantity: Quantity) -> Result<Money, NumberError> {
    let one = Quantity::ONE.unscaled();
    let units = mul_div_i128(quantity.unscaled(), instrument.multiplier.unscaled(), one, Rounding::HalfEven)?;
    let (times, by) = (price.abs().unscaled(), Price::ONE.unscaled());
    let (times, by) = if instrument.inverse { (by, times) } else { (times, by) };
    mul_div_i128(units, times, by, Rounding::HalfEven).and_then(Money::from_unscaled)
}

impl Valuation {
    /// An amount in basis points of the value; nothing of nothing.
    pub(crate) fn bps_of(&self, amount: Money) -> Result<Bps, NumberError> {
        if self.value.is_positive() { amount.bps_of(self.value, Rounding::HalfEven) } else { Ok(Bps::ZERO) }
    }

    /// An amount in US dollars.
    pub(crate) fn in_dollars(&self, amount: Money) -> Result<Money, NumberError> {
        amount.converted(self.usd_rate.unwrap_or(Price::ONE), Rounding::HalfEven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trading rule 21: multiplier, and quantity x multiplier / price where coin-margined.
    #[test]
    fn rule_21_notional_of_linear_and_inverse() {
        let of = |inverse, multiplier: &str, price: &str, quantity: &str| {
            let instrument = Instrument { inverse, multiplier: multiplier.parse().unwrap(), ..Instrument::default() };
            notional(&instrument, price.parse().unwrap(), quantity.parse().unwrap()).unwrap().to_string()
        };
        assert_eq!(of(false, "50", "4000.25", "2"), "400025");
        assert_eq!(of(false, "1", "-3.5", "10"), "35");
        assert_eq!(of(true, "100", "50000", "5"), "0.01");
    }
}
