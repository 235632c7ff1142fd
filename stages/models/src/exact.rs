//! The border between exact numbers and `f64`: in without rules, out rounded once to the last digit of the type.

use fillstream_domain::{Bps, NumberError, Price, Quantity, Ratio};

/// An exact number that models compute with.
pub(crate) trait Figure: Copy {
    /// Digits after the point, as a power of ten.
    const UNITS: f64;
    /// The number in units of its last digit.
    fn units(self) -> i128;
}

impl Figure for Price {
    const UNITS: f64 = 1e8;
    fn units(self) -> i128 {
        self.unscaled()
    }
}

impl Figure for Quantity {
    const UNITS: f64 = 1e8;
    fn units(self) -> i128 {
        self.unscaled()
    }
}

impl Figure for Ratio {
    const UNITS: f64 = 1e9;
    fn units(self) -> i128 {
        self.unscaled()
    }
}

impl Figure for Bps {
    const UNITS: f64 = 1e6;
    fn units(self) -> i128 {
        self.unscaled()
    }
}

pub(crate) fn figure<T: Figure>(value: T) -> f64 {
    value.units() as f64 / T::UNITS
}

/// Half to even at the last digit; what is no number, or too large, is out of range.
fn units(value: f64, units: f64) -> Result<i128, NumberError> {
    let scaled = libm::rint(value * units);
    // Exact up to here: 2^63 is more than any of the types holds.
    if scaled.is_finite() && libm::fabs(scaled) < 9.2e18 { Ok(scaled as i128) } else { Err(NumberError::Overflow) }
}

pub(crate) fn ratio(value: f64) -> Result<Ratio, NumberError> {
    units(value, Ratio::UNITS).and_then(Ratio::from_unscaled)
}

pub(crate) fn bps(value: f64) -> Result<Bps, NumberError> {
    units(value, Bps::UNITS).and_then(Bps::from_unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_and_go_out() {
        assert_eq!(figure("50.125".parse::<Price>().unwrap()), 50.125);
        assert_eq!(figure("0.5".parse::<Quantity>().unwrap()), 0.5);
        assert_eq!(ratio(figure("-0.3".parse::<Ratio>().unwrap())).unwrap(), "-0.3".parse().unwrap());
        assert_eq!(bps(figure("1.25".parse::<Bps>().unwrap())).unwrap(), "1.25".parse().unwrap());
        assert_eq!(ratio(0.000_000_000_5), Ok(Ratio::ZERO), "half to even");
        assert_eq!(ratio(f64::NAN), Err(NumberError::Overflow));
        assert_eq!(bps(f64::INFINITY), Err(NumberError::Overflow));
        assert_eq!(bps(1e18), Err(NumberError::Overflow));
    }
}
