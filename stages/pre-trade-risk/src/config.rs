//! Configuration of parent risk.

use fillstream_domain::{Bps, Ratio};
use serde::{Deserialize, Serialize};

/// Configuration of parent risk. Limits are no configuration: they are records of reference.limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Buying power held on top of value for fees, basis points of value.
    pub fee_reserve_bps: Bps,
    /// Refuse orders in instruments without average daily volume; otherwise their impact is NOT_ESTIMATED and high.
    pub require_adv: bool,
    /// Hours for which an ended order takes late fills, busts and corrections.
    pub amendments_kept_hours: u32,
    /// Coefficient of the square-root law of market impact.
    pub square_root_y: Ratio,
    /// Seconds over which an order without horizon is taken to be executed, in the equity model of market impact.
    pub impact_shortest_s: u32,
    /// Longest wait of an order for headroom of a limit over several portfolios, milliseconds.
    pub headroom_wait_ms: u32,
    /// Time after which an order that waits asks for it again, milliseconds.
    pub headroom_retry_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        let fee_reserve_bps = Bps::from_unscaled(30 * Bps::ONE.unscaled()).unwrap_or(Bps::ZERO);
        Self {
            fee_reserve_bps,
            require_adv: false,
            amendments_kept_hours: 48,
            square_root_y: Ratio::ONE,
            impact_shortest_s: 60,
            headroom_wait_ms: 2_000,
            headroom_retry_ms: 100,
        }
    }
}

impl Config {
    /// Every fault of the configuration.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.fee_reserve_bps.is_negative() {
            faults.push(format!("fee_reserve_bps: {} is negative", self.fee_reserve_bps));
        }
        if !(1..=24 * 31).contains(&self.amendments_kept_hours) {
            faults.push(format!("amendments_kept_hours: {} is not 1 to 744", self.amendments_kept_hours));
        }
        if !self.square_root_y.is_positive() {
            faults.push(format!("square_root_y: {} is not above zero", self.square_root_y));
        }
        if !(1..=86_400).contains(&self.impact_shortest_s) {
            faults.push(format!("impact_shortest_s: {} is not 1 to 86400", self.impact_shortest_s));
        }
        for (name, value) in
            [("headroom_wait_ms", self.headroom_wait_ms), ("headroom_retry_ms", self.headroom_retry_ms)]
        {
            if !(1..=600_000).contains(&value) {
                faults.push(format!("{name}: {value} is not 1 to 600000"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_fault_is_named() {
        assert_eq!(Config::default().validate(), Vec::<String>::new());
        assert_eq!(Config::default().fee_reserve_bps.to_string(), "30");
        let bad = Config {
            fee_reserve_bps: -Bps::ONE,
            amendments_kept_hours: 0,
            square_root_y: Ratio::ZERO,
            impact_shortest_s: 0,
            headroom_wait_ms: 0,
            headroom_retry_ms: 600_001,
            ..Config::default()
        };
        assert_eq!(bad.validate().len(), 6);
    }
}
