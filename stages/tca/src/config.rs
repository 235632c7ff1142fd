//! Configuration of the stage.

use fillstream_domain::{Bps, DurationMicros, Ratio};
use serde::{Deserialize, Serialize};

/// A PRELIMINARY row comes within this time of the terminal event: trading rule 40.
const PRELIMINARY_WITHIN_MS: i64 = 5_000;

/// When rows are made and of what. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// From the terminal event (or an amendment) to the row, so that the market's rows up to the end are in.
    pub row_delay_ms: i64,
    /// From the session's close to the FINAL row: how late the market's rows may be.
    pub final_grace_ms: i64,
    /// How often a FINAL row asks again whether the market's watermark has passed the close.
    pub final_retry_ms: i64,
    /// How long after the grace it asks; then the row is made of what there is, and says so.
    pub final_wait_ms: i64,
    /// How long an order is kept after its FINAL row, for late fills and busts.
    pub keep_after_final_ms: i64,
    /// How long an order is kept after its end where no session says when FINAL is.
    pub keep_without_session_ms: i64,
    /// Fewest prints in the interval that make a VWAP the benchmark.
    pub min_prints: i64,
    /// Oldest quote that converts a fee.
    pub max_rate_age_ms: i64,
    /// Fills of a child that are remembered one by one; older ones stay in its sums only.
    pub max_fills_per_child: usize,
    /// Cost at which nothing is left of the quality score.
    pub score_span: Bps,
    /// From when on something is advised.
    pub advice: Advice,
}

/// Thresholds of the recommendations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Advice {
    /// Delay cost, of Pd x Q.
    pub delay: Bps,
    /// Market impact, of Pd x Q.
    pub impact: Bps,
    /// Opportunity cost beyond the limit, of Pd x Q.
    pub limit_away: Bps,
    /// Fees, of the filled value.
    pub fees: Bps,
    /// Share of the market's volume, as a fraction.
    pub participation: Ratio,
    /// Filled over ordered, as a fraction: below it.
    pub fill_rate: Ratio,
    /// Share of children rejected, as a fraction.
    pub rejected: Ratio,
}

fn bps(whole: i64) -> Bps {
    Bps::from_int(whole).unwrap_or_default()
}

fn hundredths(count: i128) -> Ratio {
    Ratio::from_unscaled(count * 10_000_000).unwrap_or_default()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            row_delay_ms: 1_000,
            final_grace_ms: 5_000,
            final_retry_ms: 10_000,
            final_wait_ms: 600_000,
            keep_after_final_ms: 3_600_000,
            keep_without_session_ms: 86_400_000,
            min_prints: 5,
            max_rate_age_ms: 300_000,
            max_fills_per_child: 200,
            score_span: bps(25),
            advice: Advice::default(),
        }
    }
}

impl Default for Advice {
    fn default() -> Self {
        Self {
            delay: bps(10),
            impact: bps(10),
            limit_away: bps(10),
            fees: bps(10),
            participation: hundredths(20),
            fill_rate: hundredths(50),
            rejected: hundredths(20),
        }
    }
}

impl Config {
    /// Every fault of the configuration, each naming its key.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(1..=PRELIMINARY_WITHIN_MS).contains(&self.row_delay_ms) {
            faults.push(format!("row_delay_ms must be from 1 to {PRELIMINARY_WITHIN_MS}, not {}", self.row_delay_ms));
        }
        let times = [
            ("final_grace_ms", self.final_grace_ms, 0),
            ("final_retry_ms", self.final_retry_ms, 1),
            ("final_wait_ms", self.final_wait_ms, 0),
            ("keep_after_final_ms", self.keep_after_final_ms, 1),
            ("keep_without_session_ms", self.keep_without_session_ms, 1),
            ("min_prints", self.min_prints, 1),
            ("max_rate_age_ms", self.max_rate_age_ms, 1),
        ];
        for (name, value, least) in times {
            // Beyond this a sum of times could leave the range of time stamps.
            if !(least..=1_000_000_000_000).contains(&value) {
                faults.push(format!("{name} must be from {least} to 10^12, not {value}"));
            }
        }
        if self.max_fills_per_child == 0 {
            faults.push("max_fills_per_child must be at least 1".to_owned());
        }
        if !self.score_span.is_positive() {
            faults.push(format!("score_span must be above 0, not {}", self.score_span));
        }
        let advice = &self.advice;
        let costs = [("delay", advice.delay), ("impact", advice.impact), ("limit_away", advice.limit_away)];
        for (name, value) in costs.into_iter().chain([("fees", advice.fees)]) {
            if !value.is_positive() {
                faults.push(format!("advice.{name} must be above 0, not {value}"));
            }
        }
        let shares =
            [("participation", advice.participation), ("fill_rate", advice.fill_rate), ("rejected", advice.rejected)];
        for (name, value) in shares {
            if value.is_negative() || value > Ratio::ONE {
                faults.push(format!("advice.{name} must be from 0 to 1, not {value}"));
            }
        }
        faults
    }
}

/// A time of the configuration; valid ones are never negative.
pub(crate) fn millis(ms: i64) -> DurationMicros {
    DurationMicros::from_micros(ms.saturating_mul(1_000)).unwrap_or(DurationMicros::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_fault_is_named_at_once() {
        assert_eq!(Config::default().validate(), Vec::<String>::new());
        let bad = Config {
            row_delay_ms: 5_001,
            final_grace_ms: -1,
            final_retry_ms: 0,
            final_wait_ms: -1,
            keep_after_final_ms: 0,
            keep_without_session_ms: i64::MAX,
            min_prints: 0,
            max_rate_age_ms: 0,
            max_fills_per_child: 0,
            score_span: Bps::ZERO,
            advice: Advice {
                delay: Bps::ZERO,
                impact: Bps::ZERO,
                limit_away: Bps::ZERO,
                fees: bps(-1),
                participation: hundredths(101),
                fill_rate: hundredths(-1),
                rejected: hundredths(200),
            },
        };
        let faults = bad.validate();
        assert_eq!(faults.len(), 17, "{faults:?}");
    }
}
