//! Configuration of the stage.

use std::collections::BTreeMap;

use fillstream_domain::{Money, Ratio, avro_enum};
use serde::{Deserialize, Serialize};

avro_enum! {
    /// How the shares of exposure-increasing orders are measured.
    pub enum Rule {
        /// Alike.
        Equal = "EQUAL",
        /// By equity.
        Equity = "EQUITY",
        /// By available margin.
        AvailableMargin = "AVAILABLE_MARGIN",
        /// By the accounts' own ratios.
        Ratio = "RATIO",
        /// By what each holds, so that every position changes by the same per cent.
        PercentChange = "PERCENT_CHANGE",
        /// One after another, each as much as it can take.
        Priority = "PRIORITY",
    }
}

/// How the accounts of a portfolio share its orders. Amounts are in the account's currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Rule of the shares.
    pub rule: Rule,
    /// Least available margin of an account that may increase its exposure.
    pub min_available_margin: Money,
    /// Most that it may have lost today, as a fraction of its equity.
    pub max_daily_drawdown: Ratio,
    /// Open positions from which on it opens no further one.
    pub max_open_positions: i32,
    /// Share of an order's value that it takes of the available margin, as a fraction.
    pub margin_rate: Ratio,
    /// Oldest rate between quote and account currency, milliseconds.
    pub max_rate_age_ms: i64,
    /// Whether an account that a control forbids to trade may still reduce its positions.
    pub reduce_when_killed: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rule: Rule::Equal,
            min_available_margin: Money::from_int(1_000).unwrap_or_default(),
            max_daily_drawdown: "0.04".parse().unwrap_or_default(),
            max_open_positions: 3,
            margin_rate: Ratio::ONE,
            max_rate_age_ms: 60_000,
            reduce_when_killed: false,
        }
    }
}

impl Policy {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.min_available_margin.is_negative() {
            faults.push(format!("min_available_margin must not be negative, not {}", self.min_available_margin));
        }
        if self.max_daily_drawdown.is_negative() {
            faults.push(format!("max_daily_drawdown must not be negative, not {}", self.max_daily_drawdown));
        }
        if self.max_open_positions <= 0 {
            faults.push(format!("max_open_positions must be positive, not {}", self.max_open_positions));
        }
        if !self.margin_rate.is_positive() {
            faults.push(format!("margin_rate must be positive, not {}", self.margin_rate));
        }
        if self.max_rate_age_ms <= 0 {
            faults.push(format!("max_rate_age_ms must be positive, not {}", self.max_rate_age_ms));
        }
        faults
    }
}

/// Configuration of the stage: a policy for each portfolio that has one of its own, and one for all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Policy of portfolios that have none of their own.
    pub policy: Policy,
    /// Policies by portfolio; what one leaves out is the built-in default.
    pub portfolios: BTreeMap<String, Policy>,
    /// Hours for which an ended order takes late fills, busts and corrections.
    pub amendments_kept_hours: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { policy: Policy::default(), portfolios: BTreeMap::new(), amendments_kept_hours: 48 }
    }
}

impl Config {
    /// The policy of a portfolio.
    #[must_use]
    pub fn policy_of(&self, portfolio: &str) -> &Policy {
        self.portfolios.get(portfolio).unwrap_or(&self.policy)
    }

    /// Every fault of the configuration, each naming its key.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.policy.faults().into_iter().map(|fault| format!("policy.{fault}")).collect();
        for (portfolio, policy) in &self.portfolios {
            faults.extend(policy.faults().into_iter().map(|fault| format!("portfolios.{portfolio}.{fault}")));
        }
        if !(1..=24 * 31).contains(&self.amendments_kept_hours) {
            faults.push(format!("amendments_kept_hours must be 1 to 744, not {}", self.amendments_kept_hours));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_specifications_and_valid() {
        let policy = Policy::default();
        assert_eq!(Config::default().validate(), Vec::<String>::new());
        assert_eq!(
            (policy.min_available_margin.to_string(), policy.max_daily_drawdown.to_string()),
            ("1000".to_owned(), "0.04".to_owned())
        );
        assert_eq!((policy.max_open_positions, policy.rule), (3, Rule::Equal));
    }

    #[test]
    fn every_fault_is_named_with_its_portfolio() {
        let bad = Policy {
            min_available_margin: -Money::ONE,
            max_daily_drawdown: -Ratio::ONE,
            max_open_positions: 0,
            margin_rate: Ratio::ZERO,
            max_rate_age_ms: 0,
            ..Policy::default()
        };
        let config =
            Config { portfolios: [("P1".to_owned(), bad)].into(), amendments_kept_hours: 0, ..Config::default() };
        let faults = config.validate();
        assert_eq!(faults.len(), 6, "{faults:?}");
        assert_eq!(faults.iter().filter(|fault| fault.starts_with("portfolios.P1.")).count(), 5);
        assert_eq!((config.policy_of("P1").max_open_positions, config.policy_of("P2").max_open_positions), (0, 3));
    }
}
