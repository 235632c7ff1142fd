//! POV: a share of the volume that is printed while it works.

use fillstream_domain::{NumberError, Quantity, Ratio, Rounding};

/// Where it wants to be after so much volume.
///
/// # Errors
/// Out of range.
pub(crate) fn target(volume: Quantity, rate: Ratio, ord_qty: Quantity) -> Result<Quantity, NumberError> {
    Ok(volume.share(rate, Rounding::Floor)?.min(ord_qty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_share_of_the_volume_and_never_more_than_the_order() {
        let q = |n: i64| Quantity::from_int(n).unwrap();
        let rate = "0.1".parse().unwrap();
        assert_eq!(target(q(1_234), rate, q(500)).unwrap(), "123.4".parse().unwrap());
        assert_eq!(target(q(9_999), rate, q(500)).unwrap(), q(500));
        assert_eq!(target(Quantity::ZERO, rate, q(500)).unwrap(), Quantity::ZERO);
    }
}
