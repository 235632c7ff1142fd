//! Execution quality of a (broker, venue) pair, learned from the portfolio's own children.
//!
//! Three things are learned: the share of a child that fills, what its fills cost against the touch at routing, and the time
//! to the first report. Each is a mean over children that count less the older they are; the reference data's quality
//! stands in as so many children. Everything is exact, so a replay learns the same.

use fillstream_domain::{Bps, NumberError, Ratio, Rounding, TimestampMicros, mul_div_i128};
use fillstream_schemas::state::RouteQuality;

use crate::config::Learning;
use crate::decay::Decay;

const HOUR_US: i64 = 3_600_000_000;
const ONE: i128 = Ratio::ONE.unscaled();

/// What is known of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Composite quality, 0 to 1.
    pub quality: Ratio,
    /// Share of a child that fills, with the prior.
    pub fill_rate: Ratio,
    /// Mean cost of fills against the touch at routing; `None`: nothing was filled.
    pub slippage: Option<Bps>,
    /// Mean time from plan to first report, microseconds; `None`: nothing was reported.
    pub latency_us: Option<i64>,
    /// Children that ended by themselves, as they count now.
    pub samples: Ratio,
}

/// What a child that has ended says of its pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// Share filled; `None`: it was taken back, which says nothing.
    pub(crate) filled: Option<Ratio>,
    /// Sum of slippage by the share filled, and that share.
    pub(crate) slippage: (Bps, Ratio),
}

/// The sums as they count at a time.
pub(crate) fn at(sums: &RouteQuality, now: TimestampMicros, c: &Learning) -> Result<RouteQuality, NumberError> {
    let elapsed = now.micros().saturating_sub(sums.updated_at.micros());
    let decay = Decay::after(elapsed, c.half_life_hours.saturating_mul(HOUR_US));
    Ok(RouteQuality {
        updated_at: sums.updated_at.max(now),
        ended: decay.of(sums.ended)?,
        filled: decay.of(sums.filled)?,
        slippage_weight: decay.of(sums.slippage_weight)?,
        slippage_sum: decay.of(sums.slippage_sum)?,
        acks: decay.of(sums.acks)?,
        ack_us: i64::try_from(decay.of_units(i128::from(sums.ack_us))?).map_err(|_| NumberError::Overflow)?,
    })
}

/// Adds a child that has ended to sums as they count now.
pub(crate) fn ended(sums: RouteQuality, child: &Ended) -> Result<RouteQuality, NumberError> {
    let (slippage, weight) = child.slippage;
    let mut sums = RouteQuality {
        slippage_sum: sums.slippage_sum.checked_add(slippage)?,
        slippage_weight: sums.slippage_weight.checked_add(weight)?,
        ..sums
    };
    if let Some(filled) = child.filled {
        sums.ended = sums.ended.checked_add(Ratio::ONE)?;
        sums.filled = sums.filled.checked_add(filled)?;
    }
    Ok(sums)
}

/// Adds a first report to sums as they count now.
pub(crate) fn reported(sums: RouteQuality, after_us: i64) -> Result<RouteQuality, NumberError> {
    Ok(RouteQuality {
        acks: sums.acks.checked_add(Ratio::ONE)?,
        ack_us: sums.ack_us.checked_add(after_us.max(0)).ok_or(NumberError::Overflow)?,
        ..sums
    })
}

/// What the sums, as they count now, say together with the prior.
pub(crate) fn learned(sums: Option<&RouteQuality>, prior: Ratio, c: &Learning) -> Result<Learned, NumberError> {
    let Some(sums) = sums else {
        return Ok(Learned { quality: prior, fill_rate: prior, ..Learned::default() });
    };
    let fill_rate = shrunk(sums.filled.unscaled(), sums.ended, prior, c)?;
    let slippage = mean(sums.slippage_sum.unscaled(), sums.slippage_weight)?.map(Bps::from_unscaled).transpose()?;
    let latency = mean(i128::from(sums.ack_us), sums.acks)?.map(i64::try_from).transpose();
    let latency_us = latency.map_err(|_| NumberError::Overflow)?;
    let cheap = worth(slippage.map(Bps::unscaled), c.slippage_scale_bps.unscaled(), sums.slippage_weight, prior, c)?;
    let scale = i128::from(c.latency_scale_ms) * 1_000;
    let fast = worth(latency_us.map(i128::from), scale, sums.acks, prior, c)?;
    let parts = [(fill_rate, c.fill_weight), (cheap, c.slippage_weight), (fast, c.latency_weight)];
    let quality = parts.iter().map(|(part, weight)| part.unscaled() * weight.unscaled()).sum();
    let quality = mul_div_i128(quality, 1, ONE, Rounding::HalfEven).and_then(Ratio::from_unscaled)?;
    Ok(Learned { quality, fill_rate, slippage, latency_us, samples: sums.ended })
}

// Mean of a sum; `None` without weight.
fn mean(sum: i128, weight: Ratio) -> Result<Option<i128>, NumberError> {
    if !weight.is_positive() {
        return Ok(None);
    }
    mul_div_i128(sum, ONE, weight.unscaled(), Rounding::HalfEven).map(Some)
}

// (prior weight x prior + sum) / (prior weight + weight), all of scale 9.
fn shrunk(sum: i128, weight: Ratio, prior: Ratio, c: &Learning) -> Result<Ratio, NumberError> {
    let pseudo = c.prior_weight.unscaled();
    let total = mul_div_i128(pseudo, prior.unscaled(), ONE, Rounding::HalfEven)? + sum;
    mul_div_i128(total, ONE, pseudo + weight.unscaled(), Rounding::HalfEven).and_then(Ratio::from_unscaled)
}

// scale / (scale + figure), 1 for a figure below zero, shrunk to the prior by its weight.
fn worth(figure: Option<i128>, scale: i128, weight: Ratio, prior: Ratio, c: &Learning) -> Result<Ratio, NumberError> {
    let Some(figure) = figure else { return Ok(prior) };
    let part = mul_div_i128(scale, ONE, scale + figure.max(0), Rounding::HalfEven)?;
    shrunk(mul_div_i128(part, weight.unscaled(), ONE, Rounding::HalfEven)?, weight, prior, c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    fn filled(share: &str, slippage: &str) -> Ended {
        let share = ratio(share);
        let product = slippage.parse::<Bps>().unwrap().unscaled() * share.unscaled() / ONE;
        Ended { filled: Some(share), slippage: (Bps::from_unscaled(product).unwrap(), share) }
    }

    /// Twenty children of prior 0.9 and twenty that filled nothing make 0.45; a half-life later they count ten: 0.6.
    #[test]
    fn rule_33_quality_is_learned_shrunk_to_the_prior_and_forgotten() {
        let c = Learning::default();
        let mut sums = RouteQuality::default();
        for _ in 0..20 {
            sums = ended(sums, &filled("0", "0")).unwrap();
        }
        assert_eq!(learned(Some(&sums), ratio("0.9"), &c).unwrap().fill_rate, ratio("0.45"));
        let later = at(&sums, TimestampMicros::from_micros(24 * HOUR_US), &c).unwrap();
        let known = learned(Some(&later), ratio("0.9"), &c).unwrap();
        assert_eq!((known.fill_rate, known.samples), (ratio("0.6"), ratio("10")));
        let nothing = learned(None, ratio("0.9"), &c).unwrap();
        assert_eq!((nothing.quality, nothing.samples, nothing.slippage), (ratio("0.9"), Ratio::ZERO, None));
    }

    #[test]
    fn slippage_and_latency_count_by_their_scales() {
        let c = Learning::default();
        let mut sums = RouteQuality::default();
        for _ in 0..20 {
            sums = reported(ended(sums, &filled("1", "5")).unwrap(), 3_000_000).unwrap();
        }
        let known = learned(Some(&sums), Ratio::ONE, &c).unwrap();
        assert_eq!((known.slippage.unwrap().to_string(), known.latency_us), ("5".to_owned(), Some(3_000_000)));
        // 0.5 x 1 + 0.3 x (1 + 1/2)/2 + 0.2 x (1 + 1/4)/2
        assert_eq!(known.quality, ratio("0.85"));
    }

    #[test]
    fn a_child_that_was_taken_back_says_nothing_of_the_share_filled() {
        let sums =
            ended(RouteQuality::default(), &Ended { filled: None, slippage: (Bps::ZERO, ratio("0.5")) }).unwrap();
        assert_eq!((sums.ended, sums.slippage_weight), (Ratio::ZERO, ratio("0.5")));
    }

    proptest! {
        /// Whatever was seen, quality and fill rate stay from 0 to 1, and more fills never make them less.
        #[test]
        fn learned_figures_stay_in_range(seen in prop::collection::vec((0_i64..=100, -50_i64..50, 0_i64..5_000_000), 0..40), prior in 0_i64..=100) {
            let c = Learning::default();
            let percent = |n: i64| Ratio::from_unscaled(i128::from(n) * 10_000_000).unwrap();
            let (mut sums, mut better) = (RouteQuality::default(), RouteQuality::default());
            for (share, slip, ack) in seen {
                let child = |share: i64| {
                    let product = Bps::from_unscaled(i128::from(slip * share) * 10_000).unwrap();
                    Ended { filled: Some(percent(share)), slippage: (product, percent(share)) }
                };
                sums = reported(ended(sums, &child(share)).unwrap(), ack).unwrap();
                better = ended(better, &child(100)).unwrap();
            }
            let known = learned(Some(&sums), percent(prior), &c).unwrap();
            for figure in [known.quality, known.fill_rate] {
                prop_assert!(!figure.is_negative() && figure <= Ratio::ONE, "{:?}", known);
            }
            prop_assert!(known.fill_rate <= learned(Some(&better), percent(prior), &c).unwrap().fill_rate);
        }
    }
}
