//! Exponential decay in exact arithmetic: 2^(-time / half-life), the same bits everywhere.

use fillstream_domain::{FixedDecimal, NumberError, Rounding, mul_div_i128};

/// 1 in the scale of factors.
const ONE: i128 = 1_000_000_000_000_000_000;

/// 2^(-1/2), 2^(-1/4), .. 2^(-1/2^30), rounded half-even.
const ROOTS: [i128; 30] = [
    707_106_781_186_547_524,
    840_896_415_253_714_543,
    917_004_043_204_671_232,
    957_603_280_698_573_647,
    978_572_062_087_700_135,
    989_228_013_193_975_484,
    994_599_423_483_633_176,
    997_296_056_085_470_126,
    998_647_112_890_970_174,
    999_323_327_502_650_752,
    999_661_606_496_243_684,
    999_830_788_931_929_063,
    999_915_390_886_613_498,
    999_957_694_548_431_133,
    999_978_847_050_491_930,
    999_989_423_469_314_464,
    999_994_711_720_674_283,
    999_997_355_856_841_395,
    999_998_677_927_546_760,
    999_999_338_963_554_895,
    999_999_669_481_722_826,
    999_999_834_740_847_758,
    999_999_917_370_420_465,
    999_999_958_685_209_379,
    999_999_979_342_604_476,
    999_999_989_671_302_185,
    999_999_994_835_651_079,
    999_999_997_417_825_536,
    999_999_998_708_912_767,
    999_999_999_354_456_383,
];

/// What a sum is multiplied by after a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decay(i128);

impl Decay {
    /// The factor after `elapsed_us`, which counts as 0 if negative; `half_life_us` is positive.
    pub(crate) fn after(elapsed_us: i64, half_life_us: i64) -> Self {
        let (elapsed, half) = (i128::from(elapsed_us.max(0)), i128::from(half_life_us.max(1)));
        let Some(whole) = u32::try_from(elapsed / half).ok().filter(|n| *n < 60) else { return Self(0) };
        let (mut factor, mut rest) = (ONE, elapsed % half);
        for root in ROOTS {
            rest *= 2;
            if rest >= half {
                rest -= half;
                factor = (factor * root + ONE / 2) / ONE;
            }
        }
        Self(factor >> whole)
    }

    /// A sum after that time, half-even.
    pub(crate) fn of<T: FixedDecimal>(self, sum: T) -> Result<T, NumberError> {
        self.of_units(sum.unscaled()).and_then(T::from_unscaled)
    }

    /// A sum in units after that time, half-even.
    pub(crate) fn of_units(self, sum: i128) -> Result<i128, NumberError> {
        mul_div_i128(sum, self.0, ONE, Rounding::HalfEven)
    }
}

#[cfg(test)]
mod tests {
    use fillstream_domain::Ratio;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_lives_halve() {
        assert_eq!(Decay::after(0, 100), Decay(ONE));
        assert_eq!(Decay::after(-5, 100), Decay(ONE));
        assert_eq!(Decay::after(100, 100), Decay(ONE / 2));
        assert_eq!(Decay::after(300, 100), Decay(ONE / 8));
        assert_eq!(Decay::after(i64::MAX, 100), Decay(0));
        // The square root of one half.
        assert_eq!(Decay::after(50, 100).of(Ratio::ONE).unwrap().to_string(), "0.707106781");
        assert_eq!(Decay::after(150, 100).of(Ratio::ONE).unwrap().to_string(), "0.353553391");
    }

    proptest! {
        /// Two steps are one, up to the rounding of a unit; later is never more.
        #[test]
        fn steps_add_up(a in 0_i64..1_000_000_000, b in 0_i64..1_000_000_000) {
            let half = 86_400_000_000;
            let sum: Ratio = "1000".parse().unwrap();
            let twice = Decay::after(b, half).of(Decay::after(a, half).of(sum).unwrap()).unwrap();
            let once = Decay::after(a + b, half).of(sum).unwrap();
            prop_assert!((twice.unscaled() - once.unscaled()).abs() <= 2_000);
            prop_assert!(once <= Decay::after(a, half).of(sum).unwrap());
        }
    }
}
