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

avro_enum! {
    /// What happens to the later of two accounts whose returns go together.
    pub enum CorrelationAction {
        /// Nothing.
        None = "NONE",
        /// Its order starts later.
        Delay = "DELAY",
        /// Its share is reduced; the rest goes to others, or to nobody.
        Reduce = "REDUCE",
    }
}

/// When the returns of two accounts go together too closely, and what follows. It concerns exposure-increasing orders,
/// and accounts whose records tell their equity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Correlation {
    /// Correlation above which they do, -1 to 1.
    pub threshold: Ratio,
    /// Samples below which it is unknown.
    pub min_samples: i32,
    /// What the later one gets.
    pub action: CorrelationAction,
    /// How much later its order starts, milliseconds; twice that for the second account that waits, and so on. Never
    /// more than a tenth of the order's horizon in all.
    pub delay_ms: i64,
    /// What its share is reduced to, as a fraction.
    pub reduced_to: Ratio,
}

impl Default for Correlation {
    fn default() -> Self {
        Self {
            threshold: "0.7".parse().unwrap_or_default(),
            min_samples: 30,
            action: CorrelationAction::Delay,
            delay_ms: 15_000,
            reduced_to: "0.5".parse().unwrap_or_default(),
        }
    }
}

/// How start and size vary among the accounts of one owner that opted in: against crossing each other and leaking
/// information. Orders keep their true ids and accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variance {
    /// Least delay of a start, milliseconds.
    pub min_delay_ms: i64,
    /// Most, milliseconds; never more than a tenth of the order's horizon.
    pub max_delay_ms: i64,
    /// Least that two accounts exchange of the smaller one's share, as a fraction.
    pub min_size: Ratio,
    /// Most, as a fraction.
    pub max_size: Ratio,
}

impl Default for Variance {
    fn default() -> Self {
        Self {
            min_delay_ms: 1_000,
            max_delay_ms: 30_000,
            min_size: "0.05".parse().unwrap_or_default(),
            max_size: "0.15".parse().unwrap_or_default(),
        }
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
    /// Accounts whose returns go together.
    pub correlation: Correlation,
    /// Variance of start and size.
    pub variance: Variance,
    /// Share of what a failed account order left that another account takes over, as a fraction.
    pub fallback_size: Ratio,
    /// Where orders are executed as blocks: the account that takes the lots that are left when fills are shared out, up to its
    /// part; without one, those with the smallest filled fraction.
    pub block_remainder_account: Option<String>,
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
            correlation: Correlation::default(),
            variance: Variance::default(),
            fallback_size: "0.95".parse().unwrap_or_default(),
            block_remainder_account: None,
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
        let share = |r: Ratio| r.is_positive() && r <= Ratio::ONE;
        if !share(self.fallback_size) {
            faults.push(format!("fallback_size must be above 0 and at most 1, not {}", self.fallback_size));
        }
        if self.block_remainder_account.as_ref().is_some_and(|id| id.trim().is_empty()) {
            faults.push("block_remainder_account must name an account".to_owned());
        }
        let c = &self.correlation;
        if c.threshold.abs() > Ratio::ONE || c.min_samples < 2 || c.delay_ms < 0 || !share(c.reduced_to) {
            faults.push("correlation: threshold -1 to 1, min_samples at least 2, delay_ms not negative, reduced_to above 0 and at most 1".to_owned());
        }
        let v = &self.variance;
        let delays = 0 <= v.min_delay_ms && v.min_delay_ms <= v.max_delay_ms;
        if !delays || v.min_size.is_negative() || v.min_size > v.max_size || v.max_size >= Ratio::ONE {
            faults.push("variance: least not above most, none negative, max_size below 1".to_owned());
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
    /// Length of a bar of the accounts' returns, seconds.
    pub return_bar_s: i64,
    /// Weight of a return against the next one's, as a fraction.
    pub return_decay: Ratio,
    /// Hours for which an ended order takes late fills, busts and corrections.
    pub amendments_kept_hours: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            portfolios: BTreeMap::new(),
            return_bar_s: 60,
            return_decay: "0.94".parse().unwrap_or_default(),
            amendments_kept_hours: 48,
        }
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
        if self.return_bar_s <= 0 {
            faults.push(format!("return_bar_s must be positive, not {}", self.return_bar_s));
        }
        if !self.return_decay.is_positive() || self.return_decay > Ratio::ONE {
            faults.push(format!("return_decay must be above 0 and at most 1, not {}", self.return_decay));
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
            reduce_when_killed: false,
            correlation: Correlation { min_samples: 1, ..Correlation::default() },
            variance: Variance { min_delay_ms: 30_001, ..Variance::default() },
            fallback_size: Ratio::ZERO,
            block_remainder_account: Some(" ".to_owned()),
            ..Policy::default()
        };
        let config = Config {
            portfolios: [("P1".to_owned(), bad)].into(),
            return_bar_s: 0,
            return_decay: Ratio::ZERO,
            amendments_kept_hours: 0,
            ..Config::default()
        };
        let faults = config.validate();
        assert_eq!(faults.len(), 12, "{faults:?}");
        assert_eq!(faults.iter().filter(|fault| fault.starts_with("portfolios.P1.")).count(), 9);
        assert_eq!((config.policy_of("P1").max_open_positions, config.policy_of("P2").max_open_positions), (0, 3));
    }
}
