//! Configuration of the stage.

use fillstream_domain::{Money, Ratio};
use serde::{Deserialize, Serialize};

/// Weights of the score and thresholds of the split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Weight of cost in the score.
    pub cost_weight: Ratio,
    /// Weight of execution quality.
    pub quality_weight: Ratio,
    /// Weight of available size.
    pub liquidity_weight: Ratio,
    /// Slices worth less go to the single best venue, quote currency.
    pub single_venue_below: Money,
    /// Most venues a slice is split over.
    pub max_legs: usize,
    /// Largest share of one venue, as a fraction; 1 / eligible venues where that is more.
    pub max_share: Ratio,
    /// Oldest quote that routes, milliseconds.
    pub max_quote_age_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        let ratio = |text: &str| text.parse().unwrap_or_default();
        Self {
            cost_weight: ratio("0.4"),
            quality_weight: ratio("0.35"),
            liquidity_weight: ratio("0.25"),
            single_venue_below: Money::from_int(25_000).unwrap_or_default(),
            max_legs: 3,
            max_share: ratio("0.5"),
            max_quote_age_ms: 60_000,
        }
    }
}

impl Config {
    /// Every fault of the configuration, each naming its key.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let weights = [self.cost_weight, self.quality_weight, self.liquidity_weight];
        if weights.iter().any(|w| w.is_negative()) || Ratio::sum(weights).ok() != Some(Ratio::ONE) {
            faults.push(
                "cost_weight, quality_weight and liquidity_weight must not be negative and add up to 1".to_owned(),
            );
        }
        if !self.max_share.is_positive() || self.max_share > Ratio::ONE {
            faults.push(format!("max_share must be above 0 and at most 1, not {}", self.max_share));
        }
        if self.max_legs == 0 {
            faults.push("max_legs must be at least 1".to_owned());
        }
        if self.max_quote_age_ms <= 0 {
            faults.push(format!("max_quote_age_ms must be positive, not {}", self.max_quote_age_ms));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_fault_is_named_at_once() {
        assert!(Config::default().validate().is_empty());
        let bad = Config { cost_weight: Ratio::ONE, max_legs: 0, max_quote_age_ms: 0, ..Config::default() };
        assert_eq!(bad.validate().len(), 3);
    }
}
