//! How long records are kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long records are kept: a whole number of hours, days or years of 365 days, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Never deleted by age.
    Forever,
    /// Milliseconds.
    Ms(i64),
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;

impl Retention {
    /// Value of `retention.ms`.
    #[must_use]
    pub fn ms(self) -> i64 {
        match self {
            Self::Forever => -1,
            Self::Ms(ms) => ms,
        }
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "forever" {
            return Ok(Self::Forever);
        }
        let wrong = || format!("{s:?} is no retention: a number with h, d or y, or forever");
        let unit = match s.chars().last() {
            Some('h') => HOUR_MS,
            Some('d') => DAY_MS,
            Some('y') => YEAR_MS,
            Some(_) | None => return Err(wrong()),
        };
        let digits = s.get(..s.len() - 1).ok_or_else(wrong)?;
        let count: i64 = digits.parse().map_err(|_| wrong())?;
        if count <= 0 {
            return Err(wrong());
        }
        count.checked_mul(unit).map(Self::Ms).ok_or_else(wrong)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Ms(ms) if ms % YEAR_MS == 0 => write!(f, "{}y", ms / YEAR_MS),
            Self::Ms(ms) if ms % DAY_MS == 0 => write!(f, "{}d", ms / DAY_MS),
            Self::Ms(ms) => write!(f, "{}h", ms / HOUR_MS),
        }
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!("90d".parse::<Retention>().unwrap().ms(), 7_776_000_000);
        assert_eq!("7y".parse::<Retention>().unwrap().ms(), 220_752_000_000);
        assert_eq!("12h".parse::<Retention>().unwrap().ms(), 43_200_000);
        assert_eq!("forever".parse::<Retention>().unwrap().ms(), -1);
        for s in ["12h", "90d", "7y", "forever"] {
            assert_eq!(s.parse::<Retention>().unwrap().to_string(), s);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for s in ["", "d", "90", "-1d", "0d", "1.5d", "9999999999999y", "é"] {
            assert!(s.parse::<Retention>().is_err(), "{s}");
        }
    }
}
