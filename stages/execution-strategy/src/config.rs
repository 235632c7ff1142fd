//! Configuration of the stage.

use fillstream_domain::{Money, Ratio};
use serde::{Deserialize, Serialize};

/// Thresholds of the selection and shape of the schedules. Amounts are in the reporting currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Orders below are small: LIMIT when LOW, MARKET otherwise.
    pub small_order_value: Money,
    /// HIGH orders above use ARRIVAL_PRICE.
    pub arrival_price_value: Money,
    /// Illiquid orders above use ICEBERG.
    pub iceberg_value: Money,
    /// Liquidity score below which an instrument is illiquid, 0 to 1.
    pub illiquid_below: Ratio,
    /// High-impact orders with more time than this use TWAP, seconds.
    pub long_horizon_s: i64,
    /// Spread at which the spread half of the liquidity score is full, basis points.
    pub full_score_spread_bps: i64,
    /// Time between the slots of a TWAP, seconds.
    pub twap_interval_s: i64,
    /// Most slots of a TWAP.
    pub twap_max_slots: i32,
    /// Most a slot may release to catch up, in regular slices.
    pub catch_up_slices: i32,
    /// Time before what children left over is released again, milliseconds.
    pub completion_delay_ms: i64,
    /// How often it is released again.
    pub max_completions: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            small_order_value: Money::from_int(10_000).unwrap_or_default(),
            arrival_price_value: Money::from_int(50_000).unwrap_or_default(),
            iceberg_value: Money::from_int(25_000).unwrap_or_default(),
            illiquid_below: "0.3".parse().unwrap_or_default(),
            long_horizon_s: 4 * 3600,
            full_score_spread_bps: 10,
            twap_interval_s: 20,
            twap_max_slots: 48,
            catch_up_slices: 2,
            completion_delay_ms: 1_000,
            max_completions: 5,
        }
    }
}

impl Config {
    /// Every fault of the configuration, each naming its key.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let positive = [
            ("long_horizon_s", self.long_horizon_s),
            ("full_score_spread_bps", self.full_score_spread_bps),
            ("twap_interval_s", self.twap_interval_s),
            ("twap_max_slots", i64::from(self.twap_max_slots)),
            ("catch_up_slices", i64::from(self.catch_up_slices)),
            ("completion_delay_ms", self.completion_delay_ms),
        ];
        faults.extend(positive.iter().filter(|(_, v)| *v <= 0).map(|(k, v)| format!("{k} must be positive, not {v}")));
        if self.max_completions < 0 {
            faults.push(format!("max_completions must not be negative, not {}", self.max_completions));
        }
        if self.illiquid_below > Ratio::ONE || self.illiquid_below.is_negative() {
            faults.push(format!("illiquid_below must be from 0 to 1, not {}", self.illiquid_below));
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
        let bad = Config {
            twap_interval_s: 0,
            max_completions: -1,
            illiquid_below: "1.5".parse().unwrap(),
            ..Config::default()
        };
        let faults = bad.validate().join("; ");
        for key in ["twap_interval_s", "max_completions", "illiquid_below"] {
            assert!(faults.contains(key), "{faults}");
        }
    }
}
