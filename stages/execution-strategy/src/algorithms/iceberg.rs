//! ICEBERG: shows a part, and the next part when that is gone.
//!
//! Each part differs by a hash of the order and the number of the part: the same for whoever computes it again, and no pattern
//! for whoever watches the book.

use fillstream_core::lineage::Lineage;
use fillstream_domain::{NumberError, Quantity, Ratio, Rounding, mul_div_i128};

use crate::config::Algorithms;

/// What is shown on average: a share of the order in whole lots, at least a lot.
///
/// # Errors
/// A lot that is not positive, or out of range.
pub(crate) fn display(quantity: Quantity, lot: Quantity, config: &Algorithms) -> Result<Quantity, NumberError> {
    Ok(quantity.share(config.iceberg_display, Rounding::Floor)?.floor_to_lot(lot)?.max(lot))
}

/// What part number `part` shows: the average, more or less by up to `iceberg_variance` of it, in whole lots.
///
/// # Errors
/// A lot that is not positive, or out of range.
pub(crate) fn shown(
    order_id: &str,
    part: i32,
    average: Quantity,
    lot: Quantity,
    config: &Algorithms,
) -> Result<Quantity, NumberError> {
    let factor = Ratio::ONE.checked_add(deviation(order_id, part, config.iceberg_variance)?)?;
    Ok(average.share(factor, Rounding::HalfEven)?.floor_to_lot(lot)?.max(lot))
}

/// A number from -variance to +variance, by a hash.
fn deviation(order_id: &str, part: i32, variance: Ratio) -> Result<Ratio, NumberError> {
    let hash = Lineage::root("iceberg", &format!("{order_id}/{part}")).to_string();
    let digits = hash.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default();
    let twice = variance.unscaled().saturating_mul(2);
    let drawn = mul_div_i128(twice, i128::from(digits), i128::from(u32::MAX), Rounding::HalfEven)?;
    Ratio::from_unscaled(drawn.saturating_sub(variance.unscaled()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn parts_differ_within_their_variance_and_repeat() {
        let config = Algorithms::default();
        let (average, lot) = (Quantity::from_int(1_000).unwrap(), Quantity::from_int(10).unwrap());
        let part = |order: &str, n| shown(order, n, average, lot, &config).unwrap();
        let parts: BTreeSet<Quantity> = (1..=50).map(|n| part("o1", n)).collect();
        assert!(parts.len() > 20, "{parts:?}");
        let (least, most) = (Quantity::from_int(790).unwrap(), Quantity::from_int(1_200).unwrap());
        assert!(parts.iter().all(|p| *p >= least && *p <= most && p.is_whole_lots(lot)), "{parts:?}");
        assert_eq!(part("o1", 7), part("o1", 7));
        assert_ne!(part("o1", 7), part("o2", 7));
    }

    #[test]
    fn at_least_a_lot_is_shown() {
        let config = Algorithms::default();
        let lot = Quantity::from_int(100).unwrap();
        assert_eq!(display(Quantity::from_int(500).unwrap(), lot, &config).unwrap(), lot);
        assert_eq!(
            display(Quantity::from_int(2_500).unwrap(), lot, &config).unwrap(),
            Quantity::from_int(200).unwrap()
        );
    }
}
