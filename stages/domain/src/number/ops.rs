//! The operations that have a meaning: money from price and quantity, lots, ticks, shares of a total.

use super::wide::{mul_div_exact, mul_div_i128};
use super::{Bps, Currency, FixedDecimal, Money, NumberError, Price, Quantity, Ratio, Rounding, SignedQuantity};

impl Price {
    /// Price times quantity, refused where 8 digits do not hold it.
    ///
    /// # Errors
    /// [`NumberError::LostDigits`]; out of range.
    pub fn notional_exact(self, qty: Quantity) -> Result<Money, NumberError> {
        mul_div_exact(self.unscaled(), qty.unscaled(), Self::ONE.unscaled())?
            .ok_or(NumberError::LostDigits { name: Money::NAME })
            .and_then(Money::from_unscaled)
    }

    /// Price times quantity, rounded to 8 digits.
    ///
    /// # Errors
    /// Out of range.
    pub fn notional_rounded(self, qty: Quantity, rounding: Rounding) -> Result<Money, NumberError> {
        mul_div_i128(self.unscaled(), qty.unscaled(), Self::ONE.unscaled(), rounding).and_then(Money::from_unscaled)
    }

    /// The nearest multiple of the tick in the direction of `rounding`.
    ///
    /// # Errors
    /// The tick is not positive; out of range.
    pub fn round_to_tick(self, tick: Self, rounding: Rounding) -> Result<Self, NumberError> {
        Self::from_unscaled(round_to_multiple(self.unscaled(), tick.unscaled(), "tick", rounding)?)
    }

    /// The multiple of the tick at or below: what a buyer's limit is rounded to.
    ///
    /// # Errors
    /// The tick is not positive; out of range.
    pub fn round_down_to_tick(self, tick: Self) -> Result<Self, NumberError> {
        self.round_to_tick(tick, Rounding::Floor)
    }

    /// The multiple of the tick at or above: what a seller's limit is rounded to.
    ///
    /// # Errors
    /// The tick is not positive; out of range.
    pub fn round_up_to_tick(self, tick: Self) -> Result<Self, NumberError> {
        self.round_to_tick(tick, Rounding::Ceiling)
    }

    /// The price moved by basis points of itself.
    ///
    /// # Errors
    /// Out of range.
    pub fn shifted_by(self, bps: Bps, rounding: Rounding) -> Result<Self, NumberError> {
        let whole = 10_000 * Bps::ONE.unscaled();
        mul_div_i128(self.unscaled(), whole + bps.unscaled(), whole, rounding).and_then(Self::from_unscaled)
    }

    /// `(self - base) / base` in basis points.
    ///
    /// # Errors
    /// The base is zero; out of range.
    pub fn bps_from(self, base: Self, rounding: Rounding) -> Result<Bps, NumberError> {
        mul_div_i128(self.unscaled() - base.unscaled(), 10_000 * Bps::ONE.unscaled(), base.unscaled(), rounding)
            .and_then(Bps::from_unscaled)
    }
}

impl Quantity {
    /// The largest whole number of lots that is not more.
    ///
    /// # Errors
    /// The lot is zero.
    pub fn floor_to_lot(self, lot: Self) -> Result<Self, NumberError> {
        Self::from_unscaled(round_to_multiple(self.unscaled(), lot.unscaled(), "lot", Rounding::Floor)?)
    }

    /// Whether the quantity is a whole number of lots; never so for a lot of zero.
    #[must_use]
    pub const fn is_whole_lots(self, lot: Self) -> bool {
        lot.is_positive() && self.unscaled() % lot.unscaled() == 0
    }

    /// What is left after taking away as much of `other` as there is: the smaller of the two goes.
    #[must_use]
    pub fn less_at_most(self, other: Self) -> Self {
        self.checked_sub(other).unwrap_or(Self::ZERO)
    }

    /// A share of the quantity.
    ///
    /// # Errors
    /// The ratio is negative; out of range.
    pub fn share(self, ratio: Ratio, rounding: Rounding) -> Result<Self, NumberError> {
        mul_div_i128(self.unscaled(), ratio.unscaled(), Ratio::ONE.unscaled(), rounding).and_then(Self::from_unscaled)
    }

    /// The quantity as a ratio of another.
    ///
    /// # Errors
    /// The other is zero; out of range.
    pub fn ratio_of(self, whole: Self, rounding: Rounding) -> Result<Ratio, NumberError> {
        mul_div_i128(self.unscaled(), Ratio::ONE.unscaled(), whole.unscaled(), rounding).and_then(Ratio::from_unscaled)
    }

    /// The quantity as a change of position: above zero when bought, below when sold.
    #[must_use]
    pub fn signed(self, side: crate::Side) -> SignedQuantity {
        let long = SignedQuantity::from(self);
        if side.is_buy() { long } else { -long }
    }
}

impl Money {
    /// Money over quantity: the price of one.
    ///
    /// # Errors
    /// The quantity is zero; out of range.
    pub fn per(self, qty: Quantity, rounding: Rounding) -> Result<Price, NumberError> {
        mul_div_i128(self.unscaled(), Price::ONE.unscaled(), qty.unscaled(), rounding).and_then(Price::from_unscaled)
    }

    /// How much of an instrument the money buys at a price.
    ///
    /// # Errors
    /// The price is zero, the result negative or out of range.
    pub fn buys_at(self, px: Price, rounding: Rounding) -> Result<Quantity, NumberError> {
        mul_div_i128(self.unscaled(), Price::ONE.unscaled(), px.unscaled(), rounding).and_then(Quantity::from_unscaled)
    }

    /// The amount as basis points of a base.
    ///
    /// # Errors
    /// The base is zero; out of range.
    pub fn bps_of(self, base: Self, rounding: Rounding) -> Result<Bps, NumberError> {
        mul_div_i128(self.unscaled(), 10_000 * Bps::ONE.unscaled(), base.unscaled(), rounding)
            .and_then(Bps::from_unscaled)
    }

    /// The amount of so many basis points of this one.
    ///
    /// # Errors
    /// Out of range.
    pub fn times_bps(self, bps: Bps, rounding: Rounding) -> Result<Self, NumberError> {
        mul_div_i128(self.unscaled(), bps.unscaled(), 10_000 * Bps::ONE.unscaled(), rounding)
            .and_then(Self::from_unscaled)
    }

    /// A share of the amount.
    ///
    /// # Errors
    /// Out of range.
    pub fn share(self, ratio: Ratio, rounding: Rounding) -> Result<Self, NumberError> {
        mul_div_i128(self.unscaled(), ratio.unscaled(), Ratio::ONE.unscaled(), rounding).and_then(Self::from_unscaled)
    }

    /// The amount in another currency: `rate` is the price of one unit of this one.
    ///
    /// # Errors
    /// Out of range.
    pub fn converted(self, rate: Price, rounding: Rounding) -> Result<Self, NumberError> {
        mul_div_i128(self.unscaled(), rate.unscaled(), Price::ONE.unscaled(), rounding).and_then(Self::from_unscaled)
    }

    /// The amount as it is booked: rounded once, half to even, to the currency's minor unit.
    ///
    /// # Errors
    /// Out of range.
    pub fn to_minor_unit(self, currency: Currency) -> Result<Self, NumberError> {
        let digits = Self::SCALE.checked_sub(currency.minor_digits()).ok_or(NumberError::Overflow)?;
        let unit = 10_i128.checked_pow(digits).ok_or(NumberError::Overflow)?;
        Self::from_unscaled(round_to_multiple(self.unscaled(), unit, "minor unit", Rounding::HalfEven)?)
    }
}

/// Money with its currency: what domain logic adds up, so that two currencies never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notional {
    /// The amount.
    pub amount: Money,
    /// Its currency.
    pub currency: Currency,
}

impl Notional {
    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// [`NumberError::CurrencyMismatch`]; out of range.
    pub fn checked_add(self, other: Self) -> Result<Self, NumberError> {
        if self.currency != other.currency {
            return Err(NumberError::CurrencyMismatch);
        }
        Ok(Self { amount: self.amount.checked_add(other.amount)?, ..self })
    }

    /// The amount as it is booked: half to even, to the minor unit.
    ///
    /// # Errors
    /// Out of range.
    pub fn booked(self) -> Result<Self, NumberError> {
        Ok(Self { amount: self.amount.to_minor_unit(self.currency)?, ..self })
    }
}

/// `total` in `n` parts of whole lots whose sum is exactly `total`: each is rounded down to the lot, and
/// the lots that are left go one each to the first parts (400 over 6 = 67, 67, 67, 67, 66, 66).
///
/// Where the total has fewer than `n` lots there are as many parts as lots: no part is below a lot.
///
/// # Errors
/// `n` or the lot is zero; the total is no whole number of lots.
pub fn split_even(total: Quantity, n: u32, lot: Quantity) -> Result<Vec<Quantity>, NumberError> {
    if n == 0 {
        return Err(NumberError::NotPositive { name: "number of parts" });
    }
    if !lot.is_positive() {
        return Err(NumberError::NotPositive { name: "lot" });
    }
    if !total.is_whole_lots(lot) {
        return Err(NumberError::NotWholeLots { name: Quantity::NAME });
    }
    let lots = total.unscaled() / lot.unscaled();
    let parts = i128::from(n).min(lots);
    (0..parts)
        .map(|part| {
            let extra = i128::from(part < lots % parts);
            Quantity::from_unscaled((lots / parts + extra) * lot.unscaled())
        })
        .collect()
}

/// The multiple of `step` next to `value` in the direction of `rounding`.
fn round_to_multiple(value: i128, step: i128, name: &'static str, rounding: Rounding) -> Result<i128, NumberError> {
    if step <= 0 {
        return Err(NumberError::NotPositive { name });
    }
    mul_div_i128(value, 1, step, rounding)?.checked_mul(step).ok_or(NumberError::Overflow)
}
