//! `a * b / c` with a product of 256 bits.

use super::{NumberError, Rounding};

/// `a * b / c`, the product in 256 bits, the quotient rounded as asked.
///
/// # Errors
/// [`NumberError::DivisionByZero`]; [`NumberError::Overflow`] when the quotient is no `i128`.
pub fn mul_div_i128(a: i128, b: i128, c: i128, rounding: Rounding) -> Result<i128, NumberError> {
    let (quotient, remainder, divisor, negative) = divide(a, b, c)?;
    let up = rounding.goes_up(remainder, divisor, quotient % 2 == 1, negative);
    let magnitude = quotient.checked_add(u128::from(up)).ok_or(NumberError::Overflow)?;
    with_sign(magnitude, negative)
}

/// `a * b / c` where the quotient is whole, `None` where it is not.
pub(crate) fn mul_div_exact(a: i128, b: i128, c: i128) -> Result<Option<i128>, NumberError> {
    let (quotient, remainder, _, negative) = divide(a, b, c)?;
    if remainder == 0 { with_sign(quotient, negative).map(Some) } else { Ok(None) }
}

/// Truncated quotient and remainder of the magnitudes, the divisor, and whether the result is negative.
fn divide(a: i128, b: i128, c: i128) -> Result<(u128, u128, u128, bool), NumberError> {
    let divisor = c.unsigned_abs();
    if divisor == 0 {
        return Err(NumberError::DivisionByZero);
    }
    let negative = ((a < 0) != (b < 0)) != (c < 0);
    let (high, low) = widening_mul(a.unsigned_abs(), b.unsigned_abs());
    let (quotient, remainder) = narrow_div(high, low, divisor)?;
    Ok((quotient, remainder, divisor, negative))
}

fn with_sign(magnitude: u128, negative: bool) -> Result<i128, NumberError> {
    if negative { 0_i128.checked_sub_unsigned(magnitude) } else { i128::try_from(magnitude).ok() }
        .ok_or(NumberError::Overflow)
}

/// The product of two `u128` as (high, low) halves.
fn widening_mul(a: u128, b: u128) -> (u128, u128) {
    const HALF: u128 = u128::MAX >> 64;
    let (a1, a0) = (a >> 64, a & HALF);
    let (b1, b0) = (b >> 64, b & HALF);
    // No sum below overflows: (2^64-1)^2 + 2(2^64-1) = 2^128-1.
    let low = a0 * b0;
    let mid = a1 * b0 + (low >> 64);
    let mid2 = a0 * b1 + (mid & HALF);
    (a1 * b1 + (mid >> 64) + (mid2 >> 64), (mid2 << 64) | (low & HALF))
}

/// `(high, low) / divisor`; the quotient must fit 128 bits.
fn narrow_div(high: u128, low: u128, divisor: u128) -> Result<(u128, u128), NumberError> {
    if high == 0 {
        let quotient = low / divisor;
        // One division of 128 bits, not two.
        return Ok((quotient, low - quotient * divisor));
    }
    if high >= divisor {
        return Err(NumberError::Overflow);
    }
    // Schoolbook division bit by bit; such products are rare (beyond 1.7e22 money units).
    let (mut remainder, mut quotient) = (high, 0_u128);
    for bit in (0..128).rev() {
        let carry = remainder >> 127 == 1;
        remainder = (remainder << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry || remainder >= divisor {
            remainder = remainder.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    Ok((quotient, remainder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_widest_products_are_exact() {
        assert_eq!(widening_mul(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
        assert_eq!(mul_div_i128(i128::MAX, i128::MAX, i128::MAX, Rounding::TowardsZero), Ok(i128::MAX));
        assert_eq!(mul_div_i128(i128::MIN, 1, 1, Rounding::Floor), Ok(i128::MIN));
        assert_eq!(mul_div_i128(i128::MIN, i128::MIN, i128::MIN, Rounding::Floor), Ok(i128::MIN));
        assert_eq!(mul_div_i128(i128::MIN, -1, 1, Rounding::Floor), Err(NumberError::Overflow));
        assert_eq!(mul_div_i128(i128::MAX, 2, 1, Rounding::Floor), Err(NumberError::Overflow));
        assert_eq!(mul_div_i128(1, 1, 0, Rounding::Floor), Err(NumberError::DivisionByZero));
    }

    #[test]
    fn rounding_at_the_tie_and_beside_it() {
        let cases = [
            // numerator over 4: half-even, towards zero, away, floor, ceiling
            (5, [1, 1, 2, 1, 2]),
            (6, [2, 1, 2, 1, 2]),
            (7, [2, 1, 2, 1, 2]),
            (2, [0, 0, 1, 0, 1]),
            (-2, [0, 0, -1, -1, 0]),
            (-5, [-1, -1, -2, -2, -1]),
            (-6, [-2, -1, -2, -2, -1]),
            (-10, [-2, -2, -3, -3, -2]),
            (8, [2; 5]),
            (0, [0; 5]),
        ];
        let modes =
            [Rounding::HalfEven, Rounding::TowardsZero, Rounding::AwayFromZero, Rounding::Floor, Rounding::Ceiling];
        for (numerator, expected) in cases {
            for (mode, expected) in modes.into_iter().zip(expected) {
                assert_eq!(mul_div_i128(numerator, 1, 4, mode), Ok(expected), "{numerator}/4 {mode:?}");
                assert_eq!(mul_div_i128(-numerator, 1, -4, mode), Ok(expected), "{numerator}/4 {mode:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn quotient_times_divisor_plus_remainder_is_the_product(a: u128, b: u128, c in 1_u128..) {
            let (high, low) = widening_mul(a, b);
            match narrow_div(high, low, c) {
                Err(_) => prop_assert!(high >= c),
                Ok((quotient, remainder)) => {
                    prop_assert!(remainder < c);
                    let (back_high, back_low) = widening_mul(quotient, c);
                    let (sum, carry) = back_low.overflowing_add(remainder);
                    prop_assert_eq!((back_high + u128::from(carry), sum), (high, low));
                }
            }
        }

        #[test]
        fn agrees_with_plain_arithmetic_where_that_fits(a in -1_000_000_000_000_i128..1_000_000_000_000,
            b in -1_000_000_000_000_i128..1_000_000_000_000, c in 1_i128..1_000_000) {
            prop_assert_eq!(mul_div_i128(a, b, c, Rounding::TowardsZero), Ok(a * b / c));
            prop_assert_eq!(mul_div_i128(a, b, c, Rounding::Floor), Ok((a * b).div_euclid(c)));
            prop_assert_eq!(mul_div_exact(a, b, c), Ok((a * b % c == 0).then_some(a * b / c)));
        }
    }
}
