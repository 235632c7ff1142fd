//! Configuration of child risk.

use fillstream_domain::Bps;
use serde::{Deserialize, Serialize};

/// Configuration of child risk. Limits are no configuration: they are records of reference.limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most children of one parent order, ended ones included: a schedule that runs wild stops here.
    pub max_children_per_order: u32,
    /// Whether open children of an order are cancelled when it is suspended; otherwise they work on.
    pub cancel_on_suspend: bool,
    /// Buying power of the account held on top of value for fees, basis points of value.
    pub fee_reserve_bps: Bps,
    /// Hours for which an ended order takes late fills, busts and corrections into the books of its accounts.
    pub amendments_kept_hours: u32,
    /// Start of day.
    pub gate: Gate,
    /// Overrides of one check of one order.
    pub overrides: Overrides,
}

/// Who may confirm overrides, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// People of the risk function, one of whom confirms each override; nobody: none is taken.
    pub risk_officers: Vec<String>,
    /// Longest time for which one holds, minutes.
    pub longest_minutes: u32,
}

impl Default for Overrides {
    fn default() -> Self {
        Self { risk_officers: Vec::new(), longest_minutes: 60 }
    }
}

/// The start-of-day gate: nothing trades before everything that a check rests on is of the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Whether it is asked for.
    pub enabled: bool,
    /// How long the confirmation of limits, calendars and rates, and the reconciliation of an account hold, hours.
    pub confirmation_holds_hours: u32,
    /// The market of the instrument must have been heard of within, milliseconds.
    pub max_market_silence_ms: i64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { enabled: false, confirmation_holds_hours: 20, max_market_silence_ms: 60_000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        let fee_reserve_bps = Bps::from_unscaled(30 * Bps::ONE.unscaled()).unwrap_or(Bps::ZERO);
        Self {
            max_children_per_order: 2_000,
            cancel_on_suspend: false,
            fee_reserve_bps,
            amendments_kept_hours: 48,
            gate: Gate::default(),
            overrides: Overrides::default(),
        }
    }
}

impl Config {
    /// Every fault of the configuration.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.max_children_per_order == 0 {
            faults.push("max_children_per_order: 0 allows no child".to_owned());
        }
        if self.fee_reserve_bps.is_negative() {
            faults.push(format!("fee_reserve_bps: {} is negative", self.fee_reserve_bps));
        }
        if !(1..=24 * 31).contains(&self.amendments_kept_hours) {
            faults.push(format!("amendments_kept_hours: {} is not 1 to 744", self.amendments_kept_hours));
        }
        if !(1..=24 * 31).contains(&self.gate.confirmation_holds_hours) {
            let hours = self.gate.confirmation_holds_hours;
            faults.push(format!("gate.confirmation_holds_hours: {hours} is not 1 to 744"));
        }
        if self.gate.max_market_silence_ms < 1 {
            let ms = self.gate.max_market_silence_ms;
            faults.push(format!("gate.max_market_silence_ms: {ms} is not above 0"));
        }
        if !(1..=24 * 60).contains(&self.overrides.longest_minutes) {
            faults.push(format!("overrides.longest_minutes: {} is not 1 to 1440", self.overrides.longest_minutes));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_fault_is_named() {
        assert!(Config::default().validate().is_empty());
        assert_eq!(Config::default().fee_reserve_bps.to_string(), "30");
        let gate = Gate { confirmation_holds_hours: 0, max_market_silence_ms: 0, ..Gate::default() };
        let overrides = Overrides { longest_minutes: 0, ..Overrides::default() };
        let bad = Config {
            max_children_per_order: 0,
            fee_reserve_bps: -Bps::ONE,
            amendments_kept_hours: 0,
            gate,
            overrides,
            ..Config::default()
        };
        assert_eq!(bad.validate().len(), 6);
    }
}
