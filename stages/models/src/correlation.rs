//! Correlation of two accounts' returns, as a stream.
//!
//! Returns are logarithmic, of equity from one bar to the next. Their moments are exponentially weighted with mean zero, as in
//! RiskMetrics (J.P. Morgan and Reuters, "RiskMetrics Technical Document", 4th edition, 1996, section 5.2.1): s <- decay s + r_a r_b.
//! The weights need no scale, because correlation is a quotient: rho = s_ab / sqrt(s_aa s_bb). With the decay of 0.94 of its
//! section 5.3 the weights add up to those of about 32 equal samples. A bar in which neither moved says nothing and is no sample.

use fillstream_domain::{Money, Ratio};

/// Weighted moments of two accounts' returns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Samples taken.
    pub samples: i32,
    /// Sum of the squares of the first one's returns.
    pub aa: f64,
    /// Sum of the squares of the second one's returns.
    pub bb: f64,
    /// Sum of the products.
    pub ab: f64,
}

impl Moments {
    /// With the returns of one more bar.
    #[must_use]
    pub fn updated(self, a: f64, b: f64, decay: Ratio) -> Self {
        if a == 0.0 && b == 0.0 {
            return self;
        }
        let decay = decay.unscaled() as f64 / Ratio::ONE.unscaled() as f64;
        Self {
            samples: self.samples.saturating_add(1),
            aa: decay * self.aa + a * a,
            bb: decay * self.bb + b * b,
            ab: decay * self.ab + a * b,
        }
    }

    /// The correlation, from -1 to 1; `None` with fewer samples, or where one of the two never moved.
    #[must_use]
    pub fn correlation(&self, min_samples: i32) -> Option<Ratio> {
        // The roots apart: a product of two small squares could vanish.
        let scale = libm::sqrt(self.aa) * libm::sqrt(self.bb);
        if self.samples < min_samples || !scale.is_normal() {
            return None;
        }
        let rho = (self.ab / scale).clamp(-1.0, 1.0);
        Ratio::from_unscaled(libm::rint(rho * Ratio::ONE.unscaled() as f64) as i128).ok()
    }
}

/// The logarithmic return between two equities; `None` unless both are above zero.
#[must_use]
pub fn log_return(before: Money, after: Money) -> Option<f64> {
    let both = before.is_positive() && after.is_positive();
    both.then(|| libm::log(after.unscaled() as f64 / before.unscaled() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decay() -> Ratio {
        "0.94".parse().unwrap()
    }

    fn fold(pairs: &[(f64, f64)]) -> Moments {
        pairs.iter().fold(Moments::default(), |m, (a, b)| m.updated(*a, *b, decay()))
    }

    fn rho(pairs: &[(f64, f64)]) -> Option<String> {
        fold(pairs).correlation(pairs.len() as i32).map(|rho| rho.to_string())
    }

    #[test]
    fn rule_28_equal_returns_are_1_opposite_ones_minus_1_and_unrelated_ones_0() {
        assert_eq!(rho(&[(0.01, 0.02), (-0.02, -0.04), (0.005, 0.01)]).as_deref(), Some("1"));
        assert_eq!(rho(&[(0.01, -0.02), (-0.02, 0.04)]).as_deref(), Some("-1"));
        assert_eq!(rho(&[(0.01, 0.0), (0.0, 0.02)]).as_deref(), Some("0"));
    }

    // By hand: the older pair weighs 0.94. s_ab = 0.94 x 1 + 0 = 0.94, s_aa = 0.94 + 1 = 1.94, s_bb = 0.94.
    #[test]
    fn rule_28_the_last_bar_weighs_most() {
        let expected = libm::sqrt(0.94 / 1.94);
        let got = rho(&[(1.0, 1.0), (1.0, 0.0)]).unwrap();
        assert_eq!(got, format!("{expected:.9}"));
    }

    #[test]
    fn rule_28_too_few_samples_are_unknown_and_a_bar_without_a_move_is_none() {
        let same: Vec<_> = (1..=30).map(|n| (f64::from(n), f64::from(n))).collect();
        assert_eq!(fold(&same[..29]).correlation(30), None);
        assert_eq!(fold(&same).correlation(30), Some(Ratio::ONE));
        let still = fold(&same[..29]).updated(0.0, 0.0, decay());
        assert_eq!((still.samples, still.correlation(30)), (29, None));
        assert_eq!(fold(&[(0.0, 0.1), (0.0, 0.2)]).correlation(2), None, "one of them never moved");
        assert_eq!(Moments::default().correlation(0), None);
    }

    #[test]
    fn a_return_needs_two_equities_above_zero() {
        let money = |text: &str| text.parse::<Money>().unwrap();
        assert_eq!(log_return(money("100"), money("100")), Some(0.0));
        assert_eq!(log_return(money("100"), money("110")).map(|r| format!("{r:.6}")).as_deref(), Some("0.095310"));
        for (before, after) in [("0", "1"), ("1", "0"), ("-1", "1"), ("1", "-1")] {
            assert_eq!(log_return(money(before), money(after)), None);
        }
    }

    proptest! {
        // Against the definition, with every weight written out.
        #[test]
        fn the_stream_is_the_sum(pairs in prop::collection::vec((-0.1_f64..0.1, -0.1_f64..0.1), 2..60)) {
            let n = pairs.len();
            let sum = |f: fn(&(f64, f64)) -> f64| -> f64 {
                pairs.iter().enumerate().map(|(i, p)| 0.94_f64.powi((n - 1 - i) as i32) * f(p)).sum()
            };
            let expected = sum(|p| p.0 * p.1) / (sum(|p| p.0 * p.0) * sum(|p| p.1 * p.1)).sqrt();
            let got = fold(&pairs).correlation(2).unwrap().unscaled() as f64 / 1e9;
            prop_assert!((got - expected).abs() < 1e-8, "{} {}", got, expected);
        }

        #[test]
        fn it_is_symmetric_and_between_minus_1_and_1(pairs in prop::collection::vec((-0.1_f64..0.1, -0.1_f64..0.1), 2..60)) {
            let swapped: Vec<_> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let one = fold(&pairs).correlation(2);
            prop_assert_eq!(one, fold(&swapped).correlation(2));
            prop_assert!(one.is_none_or(|rho| rho.abs() <= Ratio::ONE));
        }
    }
}
