//! The rules by which orders are filled, as pure functions.
//!
//! **Size.** A venue displays its `size_share` of the quoted size, rounded down to the lot, or its `assumed_clip` where
//! the quote has no size. Behind it lies hidden size, uniform between 0 and twice `hidden_share` of the quoted size,
//! drawn anew for each change of the quote. What is taken is gone until that side of the quote changes in price or
//! size, or until `refresh_us` passed without another take.
//!
//! **On arrival** a marketable order takes the touch: displayed size first, then hidden, one execution each, at the
//! touch's price. The rest of an IOC is cancelled; FOK is filled whole or not at all. The rest of any other order
//! *sweeps* while it stays marketable: it takes again, as taker at the touch, whenever size comes back. Once the touch
//! moved away beyond its limit it *rests*.
//!
//! **A resting order** at or behind its own side's touch has the displayed size of that touch before it (the depth behind
//! the touch is not known), one that improves the touch has nothing before it. A print at its price first uses up what
//! is before it; a print through its price proves that gone. Of a print the venue sees its `size_share` (`assumed_clip`
//! where the size is unknown), which goes to the resting orders by price, then time. A quote that comes to or through its
//! limit fills it at its limit, up to the size of the touch. It is maker in each case.
//!
//! **A dark pool** displays nothing and knows no prints. An order takes the hidden size of the other side at the middle of
//! the quote, half to even in the last digit, if its limit allows; one that finds none waits until some comes with a change
//! of the quote. It has no place in a queue and is taker in each case.
//!
//! A locked or crossed quote never triggers a trade. The venue's own fills do not move the quotes.

use crate::config::MarketCenter;
use fillstream_domain::{Bps, Currency, Money, NumberError, Price, Quantity, Ratio, Rounding, mul_div_i128};

/// What can be taken from one side of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Its price.
    pub price: Price,
    /// Displayed size that is left.
    pub displayed: Quantity,
    /// Hidden size that is left.
    pub hidden: Quantity,
}

impl Touch {
    /// What an order of `qty` gets: displayed, then hidden.
    #[must_use]
    pub fn split(&self, qty: Quantity) -> [Quantity; 2] {
        let displayed = qty.min(self.displayed);
        [displayed, qty.less_at_most(displayed).min(self.hidden)]
    }

    /// Whether an order of `qty` can be filled whole.
    #[must_use]
    pub fn holds(&self, qty: Quantity) -> bool {
        qty.less_at_most(self.displayed).less_at_most(self.hidden).is_zero()
    }
}

/// Size that a venue displays of a quoted size.
///
/// # Errors
/// The lot is zero, or out of range.
pub fn displayed_size(center: &MarketCenter, quoted: Option<Quantity>, lot: Quantity) -> Result<Quantity, NumberError> {
    match quoted {
        Some(size) => size.share(center.size_share, Rounding::Floor)?.floor_to_lot(lot),
        None => center.assumed_clip.unwrap_or(Quantity::ZERO).floor_to_lot(lot),
    }
}

/// Hidden size behind a quoted one, decided by a random draw; none where the quoted size is unknown.
///
/// # Errors
/// The lot is zero, or out of range.
pub fn hidden_size(
    center: &MarketCenter,
    quoted: Option<Quantity>,
    lot: Quantity,
    draw: u64,
) -> Result<Quantity, NumberError> {
    let Some(size) = quoted else { return Ok(Quantity::ZERO) };
    let one = Ratio::ONE.unscaled();
    let share = Ratio::from_unscaled(2 * center.hidden_share.unscaled() * (i128::from(draw) % one) / one)?;
    size.share(share, Rounding::Floor)?.floor_to_lot(lot)
}

/// What a resting order gets of a print.
///
/// `volume` is what of the print is left for it, `ahead` what stands before it; returns the fill and what then
/// stands before it.
#[must_use]
pub fn print_fill(volume: Quantity, ahead: Quantity, leaves: Quantity, through: bool) -> (Quantity, Quantity) {
    let ahead = if through { Quantity::ZERO } else { ahead };
    (volume.less_at_most(ahead).min(leaves), ahead.less_at_most(volume))
}

/// What a fee is worked out from.
#[derive(Debug, Clone, Copy)]
pub struct FeeTerms {
    /// Basis points of notional.
    pub rate: Bps,
    /// Units a quantity of 1 stands for.
    pub multiplier: Quantity,
    /// Notional = quantity x multiplier / price, in base.
    pub inverse: bool,
    /// Currency of the fee.
    pub currency: Currency,
}

impl FeeTerms {
    /// The fee of an execution, rounded once, half to even, to the minor unit of its currency.
    ///
    /// # Errors
    /// The price is zero for an inverse instrument; out of range.
    pub fn fee(&self, px: Price, qty: Quantity) -> Result<Money, NumberError> {
        let digits = 8_u32.checked_sub(self.currency.minor_digits()).ok_or(NumberError::Overflow)?;
        let minor = 10_i128.checked_pow(digits).ok_or(NumberError::Overflow)?;
        // Quantities, prices and money count 10^-8, rates 10^-6 of 10^-4.
        let one = Price::ONE.unscaled();
        let rate_one = 10_000 * Bps::ONE.unscaled();
        let units = mul_div_i128(qty.unscaled(), self.multiplier.unscaled(), one, Rounding::HalfEven)?;
        let (factor, divisor) = if self.inverse { (one, px.unscaled()) } else { (px.unscaled(), one) };
        let notional = units.checked_mul(factor).ok_or(NumberError::Overflow)?;
        let divisor = divisor.checked_mul(rate_one).and_then(|d| d.checked_mul(minor)).ok_or(NumberError::Overflow)?;
        let fee = mul_div_i128(notional, self.rate.unscaled(), divisor, Rounding::HalfEven)?;
        Money::from_unscaled(fee.checked_mul(minor).ok_or(NumberError::Overflow)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{FeeTerms, Touch, displayed_size, hidden_size, print_fill};
    use crate::config::EngineConfig;
    use fillstream_domain::{Currency, Quantity};
    use proptest::prelude::*;

    fn qty(n: i64) -> Quantity {
        Quantity::from_int(n).unwrap()
    }

    #[test]
    fn displayed_size_is_the_share_in_whole_lots_or_the_clip() {
        let mut center = EngineConfig::default().venues.remove(0);
        assert_eq!(displayed_size(&center, Some(qty(333)), qty(10)), Ok(qty(140))); // 45 % = 149.85
        assert_eq!(displayed_size(&center, Some(qty(2)), qty(1)), Ok(qty(0)));
        assert_eq!(displayed_size(&center, None, qty(1000)), Ok(qty(250_000)));
        center.assumed_clip = None;
        assert_eq!(displayed_size(&center, None, qty(1000)), Ok(qty(0)));
    }

    #[test]
    fn hidden_size_is_between_nothing_and_twice_the_mean() {
        let center = EngineConfig::default().venues.remove(0);
        assert_eq!(hidden_size(&center, Some(qty(1000)), qty(1), 0), Ok(qty(0)));
        assert_eq!(hidden_size(&center, Some(qty(1000)), qty(1), 500_000_000), Ok(qty(100)));
        assert_eq!(hidden_size(&center, Some(qty(1000)), qty(1), 999_999_999), Ok(qty(199)));
        assert_eq!(hidden_size(&center, None, qty(1), 999_999_999), Ok(qty(0)));
    }

    #[test]
    fn a_print_uses_up_the_queue_before_it_fills() {
        assert_eq!(print_fill(qty(30), qty(100), qty(50), false), (qty(0), qty(70)));
        assert_eq!(print_fill(qty(30), qty(20), qty(50), false), (qty(10), qty(0)));
        assert_eq!(print_fill(qty(30), qty(100), qty(20), true), (qty(20), qty(0)));
    }

    #[test]
    fn fees_are_signed_and_rounded_once() {
        let terms = |rate: &str, inverse, currency: &str| FeeTerms {
            rate: rate.parse().unwrap(),
            multiplier: if inverse { qty(100) } else { qty(1) },
            inverse,
            currency: currency.parse().unwrap(),
        };
        let px = |text: &str| text.parse().unwrap();
        assert_eq!(terms("0.3", false, "USD").fee(px("101.25"), qty(100)).unwrap().to_string(), "0.3");
        assert_eq!(terms("-0.2", false, "USD").fee(px("50"), qty(500)).unwrap().to_string(), "-0.5");
        assert_eq!(terms("1", false, "USD").fee(px("50"), qty(1)).unwrap().to_string(), "0"); // 0.005, half to even
        assert_eq!(terms("1", false, "USD").fee(px("150"), qty(1)).unwrap().to_string(), "0.02"); // 0.015
        // 10 contracts of 100 USD at 50,000: 0.02 BTC, 5 bps of it.
        assert_eq!(terms("5", true, "BTC").fee(px("50000"), qty(10)).unwrap().to_string(), "0.00001");
        assert_eq!(Currency::USD.minor_digits(), 2);
    }

    proptest! {
        #[test]
        fn a_touch_never_gives_more_than_it_has_or_is_asked(displayed in 0_i64..500, hidden in 0_i64..500, asked in 0_i64..2_000) {
            let touch = Touch { price: "1".parse().unwrap(), displayed: qty(displayed), hidden: qty(hidden) };
            let [a, b] = touch.split(qty(asked));
            prop_assert!(a <= touch.displayed && b <= touch.hidden);
            prop_assert_eq!(a.checked_add(b).unwrap(), qty(asked.min(displayed + hidden)));
            prop_assert_eq!(touch.holds(qty(asked)), a.checked_add(b).unwrap() == qty(asked));
            prop_assert!(b.is_zero() || a == touch.displayed);
        }

        #[test]
        fn a_print_is_conserved(volume in 0_i64..500, ahead in 0_i64..500, leaves in 1_i64..500, through: bool) {
            let (fill, left) = print_fill(qty(volume), qty(ahead), qty(leaves), through);
            prop_assert!(fill <= qty(leaves) && fill <= qty(volume) && left <= qty(ahead));
            prop_assert!(fill.is_zero() || left.is_zero());
        }
    }
}
