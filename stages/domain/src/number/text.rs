//! Decimal text to scaled units and back.

use super::NumberError;
use core::fmt;

/// `value * 10^power`, or the reason why that is no whole `i128`.
pub(crate) fn shift(value: i128, power: i32, name: &'static str) -> Result<i128, NumberError> {
    let out_of_range = NumberError::OutOfRange { name };
    if value == 0 {
        return Ok(0);
    }
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    if power >= 0 {
        return factor.and_then(|factor| value.checked_mul(factor)).ok_or(out_of_range);
    }
    match factor {
        Some(factor) if value % factor == 0 => Ok(value / factor),
        _ => Err(NumberError::LostDigits { name }),
    }
}

/// Reads `-12.34`, `12`, `1E-8` as units of `10^-scale`.
pub(crate) fn parse(text: &str, scale: u32, name: &'static str) -> Result<i128, NumberError> {
    let malformed = || NumberError::Malformed { name };
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().map_err(|_| malformed())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(malformed()),
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = append(0, whole).ok_or(NumberError::OutOfRange { name })?;
    let digits = append(digits, fraction).ok_or(NumberError::LostDigits { name })?;
    let fraction_length = i32::try_from(fraction.len()).map_err(|_| malformed())?;
    let scale = i32::try_from(scale).map_err(|_| malformed())?;
    let units = shift(digits, scale + i32::from(exponent) - fraction_length, name)?;
    Ok(if negative { -units } else { units })
}

fn append(start: i128, digits: &str) -> Option<i128> {
    digits
        .bytes()
        .try_fold(start, |value, digit| value.checked_mul(10)?.checked_add(i128::from(digit.checked_sub(b'0')?)))
}

/// Writes units of `10^-scale` with as few digits as they need.
pub(crate) fn format(units: i128, scale: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let magnitude = units.unsigned_abs();
    let one = 10_u128.pow(scale);
    let (whole, mut fraction) = (magnitude / one, magnitude % one);
    let mut width = usize::try_from(scale).unwrap_or(0);
    while width > 0 && fraction.is_multiple_of(10) {
        fraction /= 10;
        width -= 1;
    }
    let text = if width == 0 { whole.to_string() } else { format!("{whole}.{fraction:0width$}") };
    f.pad_integral(units >= 0, "", &text)
}
