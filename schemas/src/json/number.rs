//! Decimals as text, and JSON numbers that a double cannot hold.

use serde_json::{Number, Value as Json};

use crate::codec::{CodecError, Fault};

/// Digits of any decimal number that survive a double.
const EXACT_DIGITS: usize = 15;

/// `-12.50` for -1250 at scale 2.
pub(super) fn decimal_text(unscaled: i128, scale: u32) -> String {
    let width = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = width + 1);
    let sign = if unscaled < 0 { "-" } else { "" };
    match digits.split_at_checked(digits.len() - width) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        Some(_) | None => format!("{sign}{digits}"),
    }
}

/// The unscaled number of a decimal text at a scale; exact or an error.
pub(super) fn parse_decimal(text: &str, scale: u32) -> Result<i128, String> {
    let wrong = || format!("`{}` is no decimal number", text.chars().take(64).collect::<String>());
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong())?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || (mantissa.contains('.') && fraction.is_empty())
    {
        return Err(wrong());
    }
    let all = format!("{whole}{fraction}");
    let significant = all.trim_end_matches('0');
    if significant.trim_start_matches('0').is_empty() {
        return Ok(0);
    }
    // The number is `significant * 10^power`, and `scale` more digits make it whole.
    let dropped = i64::try_from(all.len() - significant.len()).unwrap_or(i64::MAX);
    let fraction_len = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let power = i64::from(exponent) - fraction_len + dropped + i64::from(scale);
    let Ok(power) = u32::try_from(power) else {
        return Err(format!("more than {scale} digits after the point"));
    };
    let too_large = || "too large".to_owned();
    let number: i128 = significant.parse().map_err(|_| too_large())?;
    let factor = 10_i128.checked_pow(power).ok_or_else(too_large)?;
    let number = number.checked_mul(factor).ok_or_else(too_large)?;
    Ok(if negative { -number } else { number })
}

/// The unscaled number of a JSON number at a scale; exact or an error.
pub(super) fn decimal_of_number(number: &Number, scale: u32) -> Result<i128, String> {
    let text = number.to_string();
    if number.is_f64() && significant_digits(&text) > EXACT_DIGITS {
        return Err(format!("{text} has more digits than a JSON number keeps: write it as a string"));
    }
    parse_decimal(&text, scale)
}

fn significant_digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}

/// Key of the object that stands for a number whose digits a double may not hold.
const EXACT_KEY: &str = "$number";

/// The text of a number that [`parse_exact`] kept.
pub(super) fn exact_text(json: &Json) -> Option<&str> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.get(EXACT_KEY)?.as_str()
}

/// Parses JSON so that no digit is lost: a number that a double may not hold arrives as an object of its text, which
/// [`AvroRecord::from_json`](crate::AvroRecord::from_json) takes where it takes decimals and doubles.
///
/// # Errors
/// The text is not JSON.
pub fn parse_exact(text: &str) -> Result<Json, CodecError> {
    let mut exact = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_len(rest),
            '-' | '0'..='9' => {
                rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len())
            }
            other => other.len_utf8(),
        };
        let (token, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
        let is_number = first == '-' || first.is_ascii_digit();
        let inexact = is_number && token.parse::<i64>().is_err() && significant_digits(token) > EXACT_DIGITS;
        // Only what JSON takes for a number is wrapped: a fault in the text must stay one.
        if inexact && serde_json::from_str::<Number>(token).is_ok() {
            exact.push_str(&format!("{{\"{EXACT_KEY}\":\"{token}\"}}"));
        } else {
            exact.push_str(token);
        }
        rest = tail;
    }
    serde_json::from_str(&exact).map_err(|error| {
        Fault::Expected { expected: "JSON".to_owned(), found: format!("something else: {error}") }.into()
    })
}

/// Bytes of the string literal at the front, with its quotes.
fn string_len(text: &str) -> usize {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_texts() {
        for (unscaled, scale, text) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (-1250, 2, "-12.50"),
            (12, 0, "12"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ] {
            assert_eq!(decimal_text(unscaled, scale), text);
        }
    }

    #[test]
    fn decimals_from_text() {
        for (text, number) in [
            ("0", 0),
            ("-0.000000000", 0),
            ("1", 100_000_000),
            ("1.5", 150_000_000),
            ("-1.50", -150_000_000),
            ("1e-8", 1),
            ("1E3", 100_000_000_000),
            ("+2", 200_000_000),
            ("100", 10_000_000_000),
            ("0.10e1", 100_000_000),
            ("1.000000000000000000000000000000000000000000000000", 100_000_000),
            ("0e99999999", 0),
        ] {
            assert_eq!(parse_decimal(text, 8), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal() {
        for text in
            ["", "-", ".", "1.", ".5", "1e", "NaN", "Infinity", "1,5", "1 ", "0x1", "1e99999999999", "--1", "1.2.3"]
        {
            assert!(parse_decimal(text, 8).is_err(), "{text}");
        }
        assert_eq!(parse_decimal("0.000000001", 8), Err("more than 8 digits after the point".to_owned()));
        assert_eq!(parse_decimal("1e40", 8), Err("too large".to_owned()));
        assert_eq!(parse_decimal("1e2000000000", 8), Err("too large".to_owned()));
    }

    #[test]
    fn long_numbers_keep_their_digits() {
        let json = parse_exact(
            r#"{"a": 100000000000.00000001, "b": 0.1, "c": "1\"2.00000000000000000000001", "d": 1723123800000001}"#,
        );
        assert_eq!(
            json.unwrap().to_string(),
            r#"{"a":{"$number":"100000000000.00000001"},"b":0.1,"c":"1\"2.00000000000000000000001","d":1723123800000001}"#
        );
        assert!(parse_exact("{\"a\": 1000000000000000000000-5}").is_err());
        assert!(parse_exact("{\"a\": 01000000000000000000000}").is_err());
        assert!(parse_exact("{\"a\": \"").is_err());
    }

    #[test]
    fn a_number_that_lost_digits_is_refused() {
        let lost: Number = serde_json::from_str("12345678901234567.25").unwrap();
        assert!(decimal_of_number(&lost, 8).is_err());
        let kept: Number = serde_json::from_str("1234567.12345678").unwrap();
        assert_eq!(decimal_of_number(&kept, 8), Ok(123_456_712_345_678));
    }

    proptest! {
        #[test]
        fn text_and_back(unscaled in any::<i128>(), scale in 0_u32..30) {
            prop_assert_eq!(parse_decimal(&decimal_text(unscaled, scale), scale).ok(), (unscaled != i128::MIN).then_some(unscaled));
        }

        #[test]
        fn any_text_is_json_or_an_error(text in "[\\[\\]{}:,\"\\\\0-9eE.+\\-a ]{0,60}") {
            let exact = parse_exact(&text);
            prop_assert_eq!(exact.is_ok(), serde_json::from_str::<Json>(&text).is_ok(), "{}", text);
        }
    }
}
