//! Configuration of the stage.

use fillstream_domain::{Bps, Money, Ratio, RoutingStrategy};
use serde::{Deserialize, Serialize};

/// Weights of the scores, thresholds of the split, and how the stage learns. Amounts are in the reporting currency of the
/// portfolio, which its limits name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the choice aims at where the slice does not say.
    pub routing_strategy: RoutingStrategy,
    /// Weight of cost in the score of a pair.
    pub cost_weight: Ratio,
    /// Weight of execution quality.
    pub quality_weight: Ratio,
    /// Weight of available size.
    pub liquidity_weight: Ratio,
    /// Weight of 1 / (commission + 1) in the score of a broker.
    pub broker_cost_weight: Ratio,
    /// Weight of a broker's quality.
    pub broker_quality_weight: Ratio,
    /// Weight of a broker's capability.
    pub broker_capability_weight: Ratio,
    /// What a need of the order counts that a capable broker has no specialty for, 0 to 1.
    pub general_capability: Ratio,
    /// Slices worth less go to a capable broker without commission, where there is one and the strategy is SMART.
    pub commission_free_below: Money,
    /// Y of the impact Y sigma sqrt(quantity / ADV) in a broker's total cost.
    pub impact_coefficient: Ratio,
    /// Slices worth less go to the single best venue.
    pub single_venue_below: Money,
    /// Most venues a slice is split over.
    pub max_legs: usize,
    /// Largest share of one venue, as a fraction; 1 / eligible venues where that is more.
    pub max_share: Ratio,
    /// Whether slices are split as a convex problem where the data suffice; the rule's split stands beside it.
    pub convex_split: bool,
    /// What leaving a unit for later is feared to cost beyond the cheapest taking now, basis points.
    pub underfill_bps: Bps,
    /// How many windows of outflow a resting child is judged by.
    pub outflow_windows: i64,
    /// Oldest reference quote that routes, milliseconds; and oldest rate of exchange where the portfolio's limits name none.
    pub max_quote_age_ms: i64,
    /// Oldest quote of its own with which a venue is used, milliseconds.
    pub max_venue_quote_age_ms: i64,
    /// How far through the touch a child may go, as a share of the portfolio's collar.
    pub collar_share: Ratio,
    /// Share of a slice offered to dark pools first, where the slice does not say.
    pub dark_pool_ratio: Ratio,
    /// The same under MINIMAL_MARKET_IMPACT, where it is more.
    pub minimal_impact_dark_ratio: Ratio,
    /// How the stage learns from its own children.
    pub learning: Learning,
    /// How long a pair is avoided for an instrument that it refused, milliseconds.
    pub avoid_after_reject_ms: i64,
    /// Most refusals of an order in a row; then it is paused.
    pub max_rejects: i32,
    /// For how long, milliseconds.
    pub reject_pause_ms: i64,
}

/// How execution quality is learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Learning {
    /// How many children the reference data's quality counts as much as.
    pub prior_weight: Ratio,
    /// Time after which a child counts half, hours.
    pub half_life_hours: i64,
    /// Weight of the share filled in quality.
    pub fill_weight: Ratio,
    /// Weight of slippage.
    pub slippage_weight: Ratio,
    /// Weight of the time to the first report.
    pub latency_weight: Ratio,
    /// Slippage that counts one half of the best, basis points.
    pub slippage_scale_bps: Bps,
    /// Time to the first report that counts one half of the best, milliseconds.
    pub latency_scale_ms: i64,
}

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap_or_default()
}

impl Default for Config {
    fn default() -> Self {
        let money = |n: i64| Money::from_int(n).unwrap_or_default();
        Self {
            routing_strategy: RoutingStrategy::Smart,
            cost_weight: ratio("0.4"),
            quality_weight: ratio("0.35"),
            liquidity_weight: ratio("0.25"),
            broker_cost_weight: ratio("0.4"),
            broker_quality_weight: ratio("0.35"),
            broker_capability_weight: ratio("0.25"),
            general_capability: ratio("0.5"),
            commission_free_below: money(10_000),
            impact_coefficient: Ratio::ONE,
            single_venue_below: money(25_000),
            max_legs: 3,
            max_share: ratio("0.5"),
            convex_split: true,
            underfill_bps: Bps::from_int(5).unwrap_or_default(),
            outflow_windows: 30,
            max_quote_age_ms: 60_000,
            max_venue_quote_age_ms: 60_000,
            collar_share: ratio("0.5"),
            dark_pool_ratio: Ratio::ZERO,
            minimal_impact_dark_ratio: ratio("0.5"),
            learning: Learning::default(),
            avoid_after_reject_ms: 30_000,
            max_rejects: 5,
            reject_pause_ms: 300_000,
        }
    }
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            prior_weight: ratio("20"),
            half_life_hours: 24,
            fill_weight: ratio("0.5"),
            slippage_weight: ratio("0.3"),
            latency_weight: ratio("0.2"),
            slippage_scale_bps: Bps::from_int(5).unwrap_or_default(),
            latency_scale_ms: 1_000,
        }
    }
}

impl Config {
    /// Every fault of the configuration, each naming its key.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let weights = [
            (
                "cost_weight, quality_weight and liquidity_weight",
                [self.cost_weight, self.quality_weight, self.liquidity_weight],
            ),
            (
                "broker_cost_weight, broker_quality_weight and broker_capability_weight",
                [self.broker_cost_weight, self.broker_quality_weight, self.broker_capability_weight],
            ),
            (
                "learning.fill_weight, slippage_weight and latency_weight",
                [self.learning.fill_weight, self.learning.slippage_weight, self.learning.latency_weight],
            ),
        ];
        for (names, weights) in weights {
            if weights.iter().any(|w| w.is_negative()) || Ratio::sum(weights).ok() != Some(Ratio::ONE) {
                faults.push(format!("{names} must not be negative and add up to 1"));
            }
        }
        let shares = [
            ("general_capability", self.general_capability),
            ("collar_share", self.collar_share),
            ("dark_pool_ratio", self.dark_pool_ratio),
            ("minimal_impact_dark_ratio", self.minimal_impact_dark_ratio),
        ];
        for (name, share) in shares {
            if share.is_negative() || share > Ratio::ONE {
                faults.push(format!("{name} must be from 0 to 1, not {share}"));
            }
        }
        if !self.max_share.is_positive() || self.max_share > Ratio::ONE {
            faults.push(format!("max_share must be above 0 and at most 1, not {}", self.max_share));
        }
        if self.max_legs == 0 {
            faults.push("max_legs must be at least 1".to_owned());
        }
        for (name, positive) in self.positive() {
            if positive <= 0 {
                faults.push(format!("{name} must be positive, not {positive}"));
            }
        }
        if self.impact_coefficient.is_negative() {
            faults.push(format!("impact_coefficient must not be negative, not {}", self.impact_coefficient));
        }
        if self.underfill_bps.is_negative() {
            faults.push(format!("underfill_bps must not be negative, not {}", self.underfill_bps));
        }
        if !self.learning.prior_weight.is_positive() {
            faults.push(format!("learning.prior_weight must be positive, not {}", self.learning.prior_weight));
        }
        if !self.learning.slippage_scale_bps.is_positive() {
            faults.push(format!(
                "learning.slippage_scale_bps must be positive, not {}",
                self.learning.slippage_scale_bps
            ));
        }
        faults
    }

    fn positive(&self) -> [(&'static str, i64); 8] {
        [
            ("outflow_windows", self.outflow_windows),
            ("max_quote_age_ms", self.max_quote_age_ms),
            ("max_venue_quote_age_ms", self.max_venue_quote_age_ms),
            ("avoid_after_reject_ms", self.avoid_after_reject_ms),
            ("max_rejects", i64::from(self.max_rejects)),
            ("reject_pause_ms", self.reject_pause_ms),
            ("learning.half_life_hours", self.learning.half_life_hours),
            ("learning.latency_scale_ms", self.learning.latency_scale_ms),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_fault_is_named_at_once() {
        assert!(Config::default().validate().is_empty());
        let learning = Learning { prior_weight: Ratio::ZERO, fill_weight: Ratio::ONE, ..Learning::default() };
        let bad = Config {
            cost_weight: Ratio::ONE,
            broker_cost_weight: ratio("-1"),
            collar_share: ratio("1.5"),
            max_legs: 0,
            max_quote_age_ms: 0,
            max_rejects: 0,
            learning,
            ..Config::default()
        };
        let faults = bad.validate();
        assert_eq!(faults.len(), 8, "{faults:?}");
    }
}
