//! Exact arithmetic on scaled integers, the audit's own: it must not share a mistake with the code it judges.

/// Decimal digits after the point of quantities, prices and money.
pub(crate) const SCALE: u32 = 8;
/// 1 with eight digits after the point.
pub(crate) const ONE: i128 = 100_000_000;
/// From eight to twelve digits after the point.
pub(crate) const E4: i128 = 10_000;

/// How a quotient is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Floor,
    Ceil,
    HalfEven,
}

const fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    // Divisors of an `i128` other than its minimum fit.
    if a > i128::MAX.unsigned_abs() { 1 } else { a.cast_signed() }
}

/// `a * b / c`; `None` beyond 128 bits or for `c` = 0. Common factors are taken out first, so amounts of any market fit.
pub(crate) fn mul_div(a: i128, b: i128, c: i128, round: Round) -> Option<i128> {
    if c == 0 {
        return None;
    }
    let g = gcd(b, c).max(1);
    let (b, c) = (b / g, c / g);
    let g = gcd(a, c).max(1);
    let (a, c) = (a / g, c / g);
    divide(a.checked_mul(b)?, c, round)
}

/// `a / c`, rounded.
pub(crate) fn divide(a: i128, c: i128, round: Round) -> Option<i128> {
    let floor = a.checked_div_euclid(c)?;
    let rest = a.checked_rem_euclid(c)?;
    // Euclid's remainder is never below zero; for c < 0 his quotient is the ceiling.
    let floor = if c < 0 && rest != 0 { floor - 1 } else { floor };
    let rest = if c < 0 && rest != 0 { c.checked_neg()? - rest } else { rest };
    let twice = rest.checked_mul(2)?;
    let width = c.checked_abs()?;
    let up = match round {
        Round::Floor => false,
        Round::Ceil => rest != 0,
        Round::HalfEven => twice > width || (twice == width && floor % 2 != 0),
    };
    Some(floor + i128::from(up))
}

/// The units of a plain decimal text of at most `scale` digits after the point.
pub(crate) fn parse(text: &str, scale: u32) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let places = u32::try_from(fraction.len()).ok()?;
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || places > scale {
        return None;
    }
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    let units = units.checked_mul(10_i128.checked_pow(scale - places)?)?;
    Some(if negative { -units } else { units })
}

/// Plain notation without trailing zeros.
pub(crate) fn plain(units: i128, scale: u32) -> String {
    let width = usize::try_from(scale).unwrap_or_default();
    let digits = format!("{:0>1$}", units.unsigned_abs(), width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    let fraction = fraction.trim_end_matches('0');
    let sign = if units < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Eight digits after the point, in plain notation.
pub(crate) fn text(units: i128) -> String {
    plain(units, SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rounding_on_both_sides_of_zero() {
        for (a, c, floor, ceil, even) in [
            (5, 2, 2, 3, 2),
            (-5, 2, -3, -2, -2),
            (7, 2, 3, 4, 4),
            (-7, 2, -4, -3, -4),
            (5, -2, -3, -2, -2),
            (-5, -2, 2, 3, 2),
            (6, 4, 1, 2, 2),
            (1, 4, 0, 1, 0),
            (8, 4, 2, 2, 2),
        ] {
            assert_eq!(divide(a, c, Round::Floor), Some(floor), "{a}/{c}");
            assert_eq!(divide(a, c, Round::Ceil), Some(ceil), "{a}/{c}");
            assert_eq!(divide(a, c, Round::HalfEven), Some(even), "{a}/{c}");
        }
        assert_eq!(divide(1, 0, Round::Floor), None);
    }

    #[test]
    fn common_factors_do_not_overflow() {
        let big = 10_i128.pow(36);
        assert_eq!(mul_div(big, ONE, ONE * 10, Round::Floor), Some(big / 10));
        assert_eq!(mul_div(big, big, 7, Round::Floor), None);
        assert_eq!(mul_div(-3, 5, 10, Round::HalfEven), Some(-2));
    }

    #[test]
    fn decimals_are_read_and_written_plainly() {
        for (given, expected) in
            [("100", "100"), ("101.250", "101.25"), ("-0.5", "-0.5"), ("0", "0"), ("0.00000001", "0.00000001")]
        {
            assert_eq!(plain(parse(given, 8).unwrap(), 8), expected);
        }
        for bad in ["", "-", ".5", "1e3", "1.000000001", "+1", " 1"] {
            assert_eq!(parse(bad, 8), None, "{bad}");
        }
    }
}
