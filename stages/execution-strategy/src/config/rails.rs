//! Market conditions, guard rails, and the weights of expected cost and risk.

use fillstream_domain::{Bps, Ratio};
use serde::{Deserialize, Serialize};

use super::{decimal, positive};

/// Estimators and thresholds of market conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Time between two mids, milliseconds.
    pub sample_interval_ms: i64,
    /// Returns looked at.
    pub samples: i64,
    /// Returns below which nothing is told from them.
    pub min_samples: usize,
    /// Realised over usual volatility from which it is high.
    pub high_volatility_ratio: Ratio,
    /// Liquidity score up to which it is low, 0 to 1.
    pub low_liquidity_score: Ratio,
    /// Variance ratio from which the market trends: two standard errors over 1 with 60 returns.
    pub trending_variance_ratio: Ratio,
    /// Variance ratio up to which it reverts: two standard errors under 1.
    pub reverting_variance_ratio: Ratio,
    /// News impact score of the decision from which news drive the market, 0 to 1.
    pub news_score: Ratio,
    /// Jump statistic from which, with volume, news drive it.
    pub jump_statistic: Ratio,
    /// Volume ratio that makes a jump news.
    pub jump_volume_ratio: Ratio,
    /// Share of a threshold to which a figure has to fall back before the condition is over, 0 to 1.
    pub exit_share: Ratio,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            sample_interval_ms: 5_000,
            samples: 60,
            min_samples: 20,
            high_volatility_ratio: decimal("2"),
            low_liquidity_score: decimal("0.3"),
            trending_variance_ratio: decimal("1.6"),
            reverting_variance_ratio: decimal("0.45"),
            news_score: decimal("0.7"),
            jump_statistic: decimal("4.6"),
            jump_volume_ratio: decimal("3"),
            exit_share: decimal("0.75"),
        }
    }
}

/// Guard rails of the orders of each urgency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// LOW orders.
    pub low: Guard,
    /// NORMAL orders.
    pub normal: Guard,
    /// HIGH orders.
    pub high: Guard,
    /// URGENT orders.
    pub urgent: Guard,
    /// Time after which a pause is looked at again, milliseconds.
    pub recheck_ms: i64,
    /// Longest pause, milliseconds.
    pub max_pause_ms: i64,
}

/// Guard rails of an order. What is not given does not guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Least share of the volume that a schedule keeps up with, as a fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_participation: Option<Ratio>,
    /// Largest share of the volume, as a fraction, where the order names none and the volume is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_participation: Option<Ratio>,
    /// How much better than the arrival mid a price must be for everything to be taken at once, basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_bps: Option<Bps>,
    /// Whether what is left at the end is taken at the market, within the limit.
    pub must_complete: bool,
    /// Longest life of a child that rests, milliseconds.
    pub child_lifetime_ms: i64,
    /// How often an order may cancel children to price them anew.
    pub max_cancels: i32,
    /// Move of the mid against the order since its last slice at which it waits, basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_own_impact_bps: Option<Bps>,
    /// Average fill price against the arrival mid at which it stops, basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_slippage_bps: Option<Bps>,
    /// Realised over usual volatility at which an adaptive order pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volatility_pause_ratio: Option<Ratio>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            min_participation: None,
            max_participation: None,
            would_bps: None,
            must_complete: true,
            child_lifetime_ms: 86_400_000,
            max_cancels: 200,
            max_own_impact_bps: None,
            max_slippage_bps: None,
            volatility_pause_ratio: Some(decimal("3")),
        }
    }
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            low: Guard { must_complete: false, ..Guard::default() },
            normal: Guard::default(),
            high: Guard::default(),
            urgent: Guard { volatility_pause_ratio: None, ..Guard::default() },
            recheck_ms: 5_000,
            max_pause_ms: 120_000,
        }
    }
}

/// Weight of the standard deviation of the cost against its expectation, in the score of a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// LOW orders.
    pub low: Ratio,
    /// NORMAL orders.
    pub normal: Ratio,
    /// HIGH orders.
    pub high: Ratio,
    /// URGENT orders.
    pub urgent: Ratio,
    /// Orders that are to MINIMIZE_RISK.
    pub minimize_risk: Ratio,
    /// Cost of an hour's delay to orders that are to MAXIMIZE_ALPHA_CAPTURE, as a share of the hour's standard deviation.
    pub alpha_decay: Ratio,
    /// Time over which an order that is sent at once meets the market, milliseconds.
    pub immediate_ms: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            low: decimal("0.1"),
            normal: decimal("0.3"),
            high: decimal("1"),
            urgent: decimal("3"),
            minimize_risk: decimal("3"),
            alpha_decay: decimal("0.5"),
            immediate_ms: 60_000,
        }
    }
}

/// What the confidence in a recommendation is shrunk to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prior {
    /// Frequency expected before anything is measured, 0 to 1.
    pub share: Ratio,
    /// How many paths it counts as.
    pub weight: i32,
}

impl Default for Prior {
    fn default() -> Self {
        Self { share: decimal("0.5"), weight: 20 }
    }
}

impl Prior {
    pub(super) fn faults(&self, faults: &mut Vec<String>) {
        if self.share.is_negative() || self.share > Ratio::ONE {
            faults.push(format!("prior.share must be from 0 to 1, not {}", self.share));
        }
        positive("prior.", &[("weight", i64::from(self.weight))], faults);
    }
}

impl Conditions {
    pub(super) fn faults(&self, faults: &mut Vec<String>) {
        let samples = i64::try_from(self.min_samples).unwrap_or(i64::MAX);
        positive(
            "conditions.",
            &[("sample_interval_ms", self.sample_interval_ms), ("samples", self.samples), ("min_samples", samples)],
            faults,
        );
        if samples > self.samples {
            faults.push(format!("conditions.min_samples must be at most samples, not {samples}"));
        }
        let thresholds = [
            ("high_volatility_ratio", self.high_volatility_ratio),
            ("trending_variance_ratio", self.trending_variance_ratio),
            ("jump_statistic", self.jump_statistic),
            ("jump_volume_ratio", self.jump_volume_ratio),
            ("news_score", self.news_score),
            ("exit_share", self.exit_share),
        ];
        let bad = thresholds.iter().filter(|(_, v)| !v.is_positive());
        faults.extend(bad.map(|(k, v)| format!("conditions.{k} must be positive, not {v}")));
        if self.exit_share > Ratio::ONE {
            faults.push(format!("conditions.exit_share must be at most 1, not {}", self.exit_share));
        }
        if self.reverting_variance_ratio >= self.trending_variance_ratio {
            faults.push("conditions.reverting_variance_ratio must be below trending_variance_ratio".to_owned());
        }
    }
}

impl Guards {
    pub(super) fn faults(&self, faults: &mut Vec<String>) {
        positive("guards.", &[("recheck_ms", self.recheck_ms), ("max_pause_ms", self.max_pause_ms)], faults);
        let all = [("low", &self.low), ("normal", &self.normal), ("high", &self.high), ("urgent", &self.urgent)];
        for (urgency, guard) in all {
            positive(&format!("guards.{urgency}."), &[("child_lifetime_ms", guard.child_lifetime_ms)], faults);
            if guard.max_cancels < 0 {
                faults.push(format!("guards.{urgency}.max_cancels must not be negative, not {}", guard.max_cancels));
            }
            let shares =
                [("min_participation", guard.min_participation), ("max_participation", guard.max_participation)];
            for (key, share) in shares {
                if share.is_some_and(|s| !s.is_positive() || s > Ratio::ONE) {
                    faults.push(format!("guards.{urgency}.{key} must be above 0 and at most 1"));
                }
            }
            if guard.min_participation.zip(guard.max_participation).is_some_and(|(min, max)| min > max) {
                faults.push(format!("guards.{urgency}.min_participation must not be above max_participation"));
            }
            let distances = [
                ("would_bps", guard.would_bps),
                ("max_own_impact_bps", guard.max_own_impact_bps),
                ("max_slippage_bps", guard.max_slippage_bps),
            ];
            let bad = distances.iter().filter(|(_, v)| v.is_some_and(|v| !v.is_positive()));
            faults.extend(bad.map(|(k, _)| format!("guards.{urgency}.{k} must be positive")));
            if guard.volatility_pause_ratio.is_some_and(|v| !v.is_positive()) {
                faults.push(format!("guards.{urgency}.volatility_pause_ratio must be positive"));
            }
        }
    }
}

impl Weights {
    pub(super) fn faults(&self, faults: &mut Vec<String>) {
        positive("weights.", &[("immediate_ms", self.immediate_ms)], faults);
        let weights = [self.low, self.normal, self.high, self.urgent, self.minimize_risk, self.alpha_decay];
        if weights.iter().any(|w| w.is_negative()) {
            faults.push("weights must not be negative".to_owned());
        }
    }
}
