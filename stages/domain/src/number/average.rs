//! Sums that keep every digit until the end: average price and mid.

use super::{Bps, Money, NumberError, Price, Quantity, Rounding, mul_div_i128};

/// An exact sum of `price * quantity`, from which the average price is taken once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PriceQuantitySum {
    /// Units of 10^-16.
    product: i128,
    quantity: Quantity,
}

impl PriceQuantitySum {
    /// No quantity yet.
    pub const ZERO: Self = Self { product: 0, quantity: Quantity::ZERO };

    /// A sum as it was stored: the product in units of 10^-16 and the quantity.
    #[must_use]
    pub const fn from_parts(product_e16: i128, quantity: Quantity) -> Self {
        Self { product: product_e16, quantity }
    }

    /// The sum of the products in units of 10^-16.
    #[must_use]
    pub const fn product_e16(self) -> i128 {
        self.product
    }

    /// The sum of the quantities.
    #[must_use]
    pub const fn quantity(self) -> Quantity {
        self.quantity
    }

    /// With one more fill.
    ///
    /// # Errors
    /// Overflow of 1.7e22 money units, or of the quantity.
    pub fn add(self, px: Price, qty: Quantity) -> Result<Self, NumberError> {
        let product = px.unscaled().checked_mul(qty.unscaled()).ok_or(NumberError::Overflow)?;
        let product = self.product.checked_add(product).ok_or(NumberError::Overflow)?;
        Ok(Self { product, quantity: self.quantity.checked_add(qty)? })
    }

    /// Without a fill that was counted before (a bust).
    ///
    /// # Errors
    /// The quantity is larger than the sum's, or overflow.
    pub fn remove(self, px: Price, qty: Quantity) -> Result<Self, NumberError> {
        let product = px.unscaled().checked_mul(qty.unscaled()).ok_or(NumberError::Overflow)?;
        let product = self.product.checked_sub(product).ok_or(NumberError::Overflow)?;
        Ok(Self { product, quantity: self.quantity.checked_sub(qty)? })
    }

    /// Two sums together.
    ///
    /// # Errors
    /// Overflow of 1.7e22 money units, or of the quantity.
    pub fn merge(self, other: Self) -> Result<Self, NumberError> {
        let product = self.product.checked_add(other.product).ok_or(NumberError::Overflow)?;
        Ok(Self { product, quantity: self.quantity.checked_add(other.quantity)? })
    }

    /// The average price (AvgPx), `None` without quantity.
    ///
    /// # Errors
    /// The average is no price: only for sums stored wrongly.
    pub fn avg(self, rounding: Rounding) -> Result<Option<Price>, NumberError> {
        if self.quantity.is_zero() {
            return Ok(None);
        }
        mul_div_i128(self.product, 1, self.quantity.unscaled(), rounding).and_then(Price::from_unscaled).map(Some)
    }

    /// The sum as money, rounded once.
    ///
    /// # Errors
    /// Out of range.
    pub fn notional(self, rounding: Rounding) -> Result<Money, NumberError> {
        mul_div_i128(self.product, 1, Price::ONE.unscaled(), rounding).and_then(Money::from_unscaled)
    }
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
