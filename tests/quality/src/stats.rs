//! Means and intervals.
//!
//! - [`mean_interval`]: Student's t-interval of a mean. Applied to differences on the same path it is the paired t-test (Student,
//!   "The Probable Error of a Mean", 1908).
//! - [`share_interval`]: Wilson's score interval of a share ("Probable Inference, the Law of Succession, and Statistical Inference", 1927).
//! - [`ratio_interval`]: percentile bootstrap over paths of a ratio of sums (Efron, "Bootstrap Methods: Another Look at the Jackknife",
//!   1979), by a seeded generator.

use fillstream_market::Prng;

/// The normal distribution's 97.5 % quantile.
const Z: f64 = 1.959_963_984_540_054;
/// Resamples of a bootstrap.
const RESAMPLES: usize = 2_000;

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Estimate.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Half of its width.
    #[must_use]
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// Mean of some numbers; 0 of none.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values.len()).max(1.0)
}

/// 97.5 % quantile of Student's t with `freedom` degrees of freedom: the expansion 26.7.5 of Abramowitz and Stegun, "Handbook of
/// Mathematical Functions" (1964); within 0.001 from 3 degrees on.
fn t_quantile(freedom: f64) -> f64 {
    let (x, square) = (Z, Z * Z);
    let polynomial = |terms: &[f64]| terms.iter().fold(0.0, |sum, term| sum * square + term) * x;
    let g = [
        polynomial(&[1.0, 1.0]) / 4.0,
        polynomial(&[5.0, 16.0, 3.0]) / 96.0,
        polynomial(&[3.0, 19.0, 17.0, -15.0]) / 384.0,
        polynomial(&[79.0, 776.0, 1482.0, -1920.0, -945.0]) / 92_160.0,
    ];
    g.iter().rfold(0.0, |sum, term| (sum + term) / freedom) + x
}

/// Mean with Student's t-interval; `None` of fewer than four numbers.
#[must_use]
pub fn mean_interval(values: &[f64]) -> Option<Interval> {
    if values.len() < 4 {
        return None;
    }
    let (n, middle) = (count(values.len()), mean(values));
    let variance = values.iter().map(|v| (v - middle) * (v - middle)).sum::<f64>() / (n - 1.0);
    let half = t_quantile(n - 1.0) * libm::sqrt(variance / n);
    Some(Interval { mean: middle, low: middle - half, high: middle + half })
}

/// Share of `hits` in `of` with Wilson's interval; `None` of none.
#[must_use]
pub fn share_interval(hits: usize, of: usize) -> Option<Interval> {
    if of == 0 {
        return None;
    }
    let (n, share) = (count(of), count(hits) / count(of));
    let scale = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z * libm::sqrt(share * (1.0 - share) / n + Z * Z / (4.0 * n * n)) / scale;
    Some(Interval { mean: share, low: centre - half, high: centre + half })
}

/// 1 - sum of `with` / sum of `without`, paired, with its percentile bootstrap interval; `None` where `without` does not add up to
/// more than zero, or in a resample does not: then there is nothing to be a share of.
#[must_use]
pub fn ratio_interval(pairs: &[(f64, f64)], seed: u64) -> Option<Interval> {
    let saved = |with: f64, without: f64| (without > 0.0).then(|| 1.0 - with / without);
    let sums = |(a, b): (f64, f64), (with, without): &(f64, f64)| (a + with, b + without);
    let whole = pairs.iter().fold((0.0, 0.0), sums);
    let estimate = saved(whole.0, whole.1)?;
    let (mut prng, size) = (Prng::new(seed, "bootstrap"), i128::try_from(pairs.len()).ok()?);
    let mut drawn = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let resample = (0..pairs.len()).filter_map(|_| pairs.get(usize::try_from(prng.below(size)).ok()?));
        let (with, without) = resample.fold((0.0, 0.0), sums);
        drawn.push(saved(with, without)?);
    }
    drawn.sort_by(f64::total_cmp);
    let (low, high) = (drawn.get(RESAMPLES / 40)?, drawn.get(RESAMPLES - 1 - RESAMPLES / 40)?);
    Some(Interval { mean: estimate, low: *low, high: *high })
}

/// A count as a number to calculate with; exact up to 2^32, more than there are.
#[must_use]
pub fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, by: f64) -> bool {
        (a - b).abs() < by
    }

    #[test]
    fn quantiles_are_those_of_the_printed_table() {
        for (freedom, printed) in [(3.0, 3.182), (9.0, 2.262), (30.0, 2.042), (120.0, 1.980), (1e9, 1.960)] {
            assert!(near(t_quantile(freedom), printed, 0.004), "{freedom}: {}", t_quantile(freedom));
        }
    }

    /// Student's own example: additional hours of sleep by two drugs, ten patients, paired: 1.58, from 0.70 to 2.46.
    #[test]
    fn the_paired_interval_of_students_sleep_data() {
        let differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];
        let interval = mean_interval(&differences).unwrap();
        assert!(near(interval.mean, 1.58, 1e-9), "{interval:?}");
        assert!(near(interval.low, 0.700_114, 1e-3) && near(interval.high, 2.459_886, 1e-3), "{interval:?}");
        assert_eq!(mean_interval(&[1.0, 2.0, 3.0]), None);
    }

    /// Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I: 81 of 263.
    #[test]
    fn wilsons_interval_of_newcombes_example() {
        let interval = share_interval(81, 263).unwrap();
        assert!(near(interval.low, 0.2553, 5e-5) && near(interval.high, 0.3662, 5e-5), "{interval:?}");
        assert_eq!(share_interval(0, 0), None);
    }

    #[test]
    fn a_ratio_is_paired_seeded_and_refused_where_it_means_nothing() {
        let pairs: Vec<(f64, f64)> = (1..=100).map(|n| (f64::from(n) * 0.8, f64::from(n))).collect();
        let saved = ratio_interval(&pairs, 1).unwrap();
        // The same share on every path: whatever is drawn, it is 20 %.
        assert!(near(saved.mean, 0.2, 1e-9) && near(saved.low, 0.2, 1e-9) && near(saved.high, 0.2, 1e-9));
        let noisy: Vec<(f64, f64)> = (1..=100).map(|n| (f64::from(n % 7), f64::from(n % 5 + 1))).collect();
        assert_eq!(ratio_interval(&noisy, 3), ratio_interval(&noisy, 3));
        assert!(ratio_interval(&noisy, 3).unwrap().half_width() > 0.05);
        assert_eq!(ratio_interval(&[(1.0, 1.0), (1.0, -1.0)], 1), None);
    }
}
