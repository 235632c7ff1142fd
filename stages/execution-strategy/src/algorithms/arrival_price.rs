//! ARRIVAL_PRICE: front-loaded, and never far from the price at arrival.
//!
//! Of the time left t (1 to 0) the share t^p is still to be traded. With p = 2 it trades at twice the even rate at first, which
//! falls to nothing. No child goes further from the arrival mid than a configured distance.

use fillstream_domain::{Bps, NumberError, Price, Ratio, Rounding, Side, mul_div_i128};

/// Share of the order released by each of `slots` slots.
///
/// # Errors
/// Out of range.
pub(crate) fn targets(slots: i32, front_load: u32) -> Result<Vec<Ratio>, NumberError> {
    (1..=slots)
        .map(|k| {
            let mut left = Ratio::ONE.unscaled();
            for _ in 0..front_load {
                let rest = i128::from(slots.saturating_sub(k));
                left = mul_div_i128(left, rest, i128::from(slots), Rounding::Floor)?;
            }
            Ratio::ONE.checked_sub(Ratio::from_unscaled(left)?)
        })
        .collect()
}

/// The worst price: the arrival mid and so many basis points more for a buyer, less for a seller.
///
/// # Errors
/// Out of range.
pub(crate) fn bound(mid: Price, side: Side, distance: Bps) -> Result<Price, NumberError> {
    if side.is_buy() { mid.shifted_by(distance, Rounding::Floor) } else { mid.shifted_by(-distance, Rounding::Ceiling) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_front_loaded_and_ends_whole() {
        let shares = |slots, p| targets(slots, p).unwrap();
        assert_eq!(shares(4, 2), ["0.4375", "0.75", "0.9375", "1"].map(|s| s.parse().unwrap()));
        assert_eq!(shares(4, 1), ["0.25", "0.5", "0.75", "1"].map(|s| s.parse().unwrap()), "1 is a TWAP");
        assert_eq!(shares(1, 2), [Ratio::ONE]);
    }

    #[test]
    fn the_price_is_bounded_on_the_sides_own_way() {
        let mid = Price::from_int(200).unwrap();
        let bps = "50".parse().unwrap();
        assert_eq!(bound(mid, Side::Buy, bps).unwrap(), "201".parse().unwrap());
        assert_eq!(bound(mid, Side::SellShort, bps).unwrap(), "199".parse().unwrap());
    }
}
