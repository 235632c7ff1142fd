//! Sums that keep every digit until the end: average price and mid.

use super::wide::mul_div_exact;
use super::{
    AvgPrice, Bps, ExactTurnover, FixedDecimal, MidTime, Money, NumberError, Price, Quantity, Rounding, Turnover,
    mul_div_i128,
};

/// Units of a product (10^-16) in one unit of a turnover (10^-12).
const PRODUCT_PER_TURNOVER: i128 = 10_000;

/// An exact sum of `price * quantity`, from which the average price is taken once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PriceQuantitySum {
    product: ExactTurnover,
    quantity: Quantity,
}

impl PriceQuantitySum {
    /// No quantity yet.
    pub const ZERO: Self = Self { product: ExactTurnover::ZERO, quantity: Quantity::ZERO };

    /// A sum as it was stored.
    #[must_use]
    pub const fn from_parts(product: ExactTurnover, quantity: Quantity) -> Self {
        Self { product, quantity }
    }

    /// The exact sum of the products.
    #[must_use]
    pub const fn product(self) -> ExactTurnover {
        self.product
    }

    /// The exact sum of the products in units of 10^-16.
    #[must_use]
    pub const fn product_e16(self) -> i128 {
        self.product.unscaled()
    }

    /// The sum of the quantities.
    #[must_use]
    pub const fn quantity(self) -> Quantity {
        self.quantity
    }

    /// With one more fill.
    ///
    /// # Errors
    /// Out of range: 10^22 money units, or the quantity's.
    pub fn add(self, px: Price, qty: Quantity) -> Result<Self, NumberError> {
        let product = self.product.checked_add(product_of(px, qty)?)?;
        Ok(Self { product, quantity: self.quantity.checked_add(qty)? })
    }

    /// Without a fill that was counted before (a bust).
    ///
    /// # Errors
    /// The quantity is larger than the sum's, or overflow.
    pub fn remove(self, px: Price, qty: Quantity) -> Result<Self, NumberError> {
        let product = self.product.checked_sub(product_of(px, qty)?)?;
        Ok(Self { product, quantity: self.quantity.checked_sub(qty)? })
    }

    /// Two sums together.
    ///
    /// # Errors
    /// Out of range: 10^22 money units, or the quantity's.
    pub fn merge(self, other: Self) -> Result<Self, NumberError> {
        let product = self.product.checked_add(other.product)?;
        Ok(Self { product, quantity: self.quantity.checked_add(other.quantity)? })
    }

    /// A sum whose product was stored as a turnover.
    ///
    /// # Errors
    /// Overflow.
    pub fn from_turnover(turnover: Turnover, quantity: Quantity) -> Result<Self, NumberError> {
        let product = turnover.unscaled().checked_mul(PRODUCT_PER_TURNOVER).ok_or(NumberError::Overflow)?;
        Ok(Self { product: ExactTurnover::from_unscaled(product)?, quantity })
    }

    /// The sum of the products as a turnover of 12 digits; exact unless a price and a quantity together
    /// have more.
    ///
    /// # Errors
    /// [`NumberError::LostDigits`]; out of range.
    pub fn turnover_exact(self) -> Result<Turnover, NumberError> {
        mul_div_exact(self.product.unscaled(), 1, PRODUCT_PER_TURNOVER)?
            .ok_or(NumberError::LostDigits { name: Turnover::NAME })
            .and_then(Turnover::from_unscaled)
    }

    /// The sum of the products as a turnover of 12 digits.
    ///
    /// # Errors
    /// Out of range.
    pub fn turnover(self, rounding: Rounding) -> Result<Turnover, NumberError> {
        mul_div_i128(self.product.unscaled(), 1, PRODUCT_PER_TURNOVER, rounding).and_then(Turnover::from_unscaled)
    }

    /// The average price (AvgPx) with 12 digits, `None` without quantity.
    ///
    /// # Errors
    /// The average is no price: only for sums stored wrongly.
    pub fn avg(self, rounding: Rounding) -> Result<Option<AvgPrice>, NumberError> {
        if self.quantity.is_zero() {
            return Ok(None);
        }
        mul_div_i128(self.product.unscaled(), 10_000, self.quantity.unscaled(), rounding)
            .and_then(AvgPrice::from_unscaled)
            .map(Some)
    }

    /// The average price with the 8 digits of a [`Price`], `None` without quantity.
    ///
    /// # Errors
    /// The average is no price: only for sums stored wrongly.
    pub fn avg_as_price(self, rounding: Rounding) -> Result<Option<Price>, NumberError> {
        if self.quantity.is_zero() {
            return Ok(None);
        }
        mul_div_i128(self.product.unscaled(), 1, self.quantity.unscaled(), rounding)
            .and_then(Price::from_unscaled)
            .map(Some)
    }

    /// The sum as money, rounded once.
    ///
    /// # Errors
    /// Out of range.
    pub fn notional(self, rounding: Rounding) -> Result<Money, NumberError> {
        mul_div_i128(self.product.unscaled(), 1, Price::ONE.unscaled(), rounding).and_then(Money::from_unscaled)
    }
}

fn product_of(px: Price, qty: Quantity) -> Result<ExactTurnover, NumberError> {
    px.unscaled().checked_mul(qty.unscaled()).ok_or(NumberError::Overflow).and_then(ExactTurnover::from_unscaled)
}

/// The middle of a quote, exact: kept as the sum of bid and ask, because half of it may need a ninth digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MidPrice {
    /// Bid plus ask in units of 10^-8: twice the mid.
    twice: i128,
}

impl MidPrice {
    /// The middle of a quote; it may be locked or crossed.
    #[must_use]
    pub const fn of(bid: Price, ask: Price) -> Self {
        Self { twice: bid.unscaled() + ask.unscaled() }
    }

    /// Bid plus ask in units of 10^-8.
    #[must_use]
    pub const fn twice_unscaled(self) -> i128 {
        self.twice
    }

    /// The mid as an average price, exact.
    ///
    /// # Errors
    /// None for the mid of two prices; the type of the result has a range.
    pub fn avg_price(self) -> Result<AvgPrice, NumberError> {
        // Half of 10^-8 units is 5,000 units of 10^-12.
        self.twice.checked_mul(5_000).ok_or(NumberError::Overflow).and_then(AvgPrice::from_unscaled)
    }

    /// The mid as a price of 8 digits; the ninth, if any, is rounded.
    ///
    /// # Errors
    /// None for the mid of two prices; the type of the result has a range.
    pub fn price(self, rounding: Rounding) -> Result<Price, NumberError> {
        mul_div_i128(self.twice, 1, 2, rounding).and_then(Price::from_unscaled)
    }

    /// `(px - mid) / mid` in basis points.
    ///
    /// # Errors
    /// The mid is zero, or the result is out of range.
    pub fn bps_to(self, px: Price, rounding: Rounding) -> Result<Bps, NumberError> {
        mul_div_i128(2 * px.unscaled() - self.twice, 10_000 * Bps::ONE.unscaled(), self.twice, rounding)
            .and_then(Bps::from_unscaled)
    }
}

impl MidTime {
    /// The integral after the mid has stood for so many microseconds more.
    ///
    /// # Errors
    /// The time is negative; out of range.
    pub fn accrued(self, mid: MidPrice, micros: i64) -> Result<Self, NumberError> {
        if micros < 0 {
            return Err(NumberError::Negative { name: "duration" });
        }
        let more = mid.twice.checked_mul(i128::from(micros)).ok_or(NumberError::Overflow)?;
        self.unscaled().checked_add(more).ok_or(NumberError::Overflow).and_then(Self::from_unscaled)
    }

    /// The time-weighted mid between two readings of the integral, `micros` microseconds apart.
    ///
    /// # Errors
    /// The time is zero; out of range.
    pub fn mean_since(self, start: Self, micros: i64, rounding: Rounding) -> Result<AvgPrice, NumberError> {
        let area = self.unscaled() - start.unscaled();
        mul_div_i128(area, 5_000, i128::from(micros), rounding).and_then(AvgPrice::from_unscaled)
    }
}

impl Turnover {
    /// Price times quantity, rounded to 12 digits.
    ///
    /// # Errors
    /// Out of range.
    pub fn of(px: Price, qty: Quantity, rounding: Rounding) -> Result<Self, NumberError> {
        mul_div_i128(px.unscaled(), qty.unscaled(), PRODUCT_PER_TURNOVER, rounding).and_then(Self::from_unscaled)
    }

    /// The average price (VWAP) over a quantity.
    ///
    /// # Errors
    /// The quantity is zero; out of range.
    pub fn average(self, qty: Quantity, rounding: Rounding) -> Result<AvgPrice, NumberError> {
        mul_div_i128(self.unscaled(), Quantity::ONE.unscaled(), qty.unscaled(), rounding)
            .and_then(AvgPrice::from_unscaled)
    }

    /// The turnover as money of 8 digits.
    ///
    /// # Errors
    /// Out of range.
    pub fn to_money(self, rounding: Rounding) -> Result<Money, NumberError> {
        mul_div_i128(self.unscaled(), 1, 10_000, rounding).and_then(Money::from_unscaled)
    }
}

impl AvgPrice {
    /// The price with 8 digits.
    ///
    /// # Errors
    /// Out of range.
    pub fn to_price(self, rounding: Rounding) -> Result<Price, NumberError> {
        mul_div_i128(self.unscaled(), 1, 10_000, rounding).and_then(Price::from_unscaled)
    }

    /// Average price (or a difference of two) times quantity, rounded to 8 digits.
    ///
    /// # Errors
    /// Out of range.
    pub fn notional_rounded(self, qty: Quantity, rounding: Rounding) -> Result<Money, NumberError> {
        mul_div_i128(self.unscaled(), qty.unscaled(), Self::ONE.unscaled(), rounding).and_then(Money::from_unscaled)
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
