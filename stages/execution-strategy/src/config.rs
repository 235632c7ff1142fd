//! Configuration of the stage.

use fillstream_domain::{Bps, Money, Ratio, Urgency};
use serde::{Deserialize, Serialize};

mod rails;

pub use rails::{Conditions, Guard, Guards, Prior, Weights};

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
    /// Time between the slots of a schedule, seconds.
    pub twap_interval_s: i64,
    /// Most slots of a schedule.
    pub twap_max_slots: i32,
    /// Most a slot may release to catch up, in regular slices.
    pub catch_up_slices: i32,
    /// Longest life of a completion's children, milliseconds.
    pub completion_timeout_ms: i64,
    /// Wait before the second completion, milliseconds; the first is at once, and each later wait is twice as long.
    pub completion_backoff_ms: i64,
    /// How often what is left over is released again.
    pub max_completions: i32,
    /// Age of a quote above which nothing is released on it, milliseconds.
    pub max_quote_age_ms: i64,
    /// Time after which a market that could not be traded on is looked at again, milliseconds.
    pub hold_recheck_ms: i64,
    /// Time before the end at which an order that must complete takes what is left, milliseconds.
    pub finish_before_end_ms: i64,
    /// Time between two looks at the prints by an order that waits for its stop, milliseconds.
    pub stop_poll_ms: i64,
    /// How late a print may come to be held against a stop still, milliseconds.
    pub stop_late_print_ms: i64,
    /// Share that is offered to dark pools for orders that prefer them, as a fraction.
    pub dark_pool_ratio: Ratio,
    /// Algorithms.
    pub algorithms: Algorithms,
    /// When the market is in which condition.
    pub conditions: Conditions,
    /// Guard rails by urgency.
    pub guards: Guards,
    /// How expected cost and risk are weighed against each other.
    pub weights: Weights,
    /// What the confidence in a recommendation is shrunk to.
    pub prior: Prior,
}

/// Parameters of the algorithms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Algorithms {
    /// Time after which a resting price that the book has left is moved to the near touch, milliseconds.
    pub reprice_after_ms: i64,
    /// How far a LIMIT order without a price of its own follows the book, basis points from where it began.
    pub limit_chase_bps: Bps,
    /// VWAP: how much more is traded at both ends of a session than in its middle, 0 (flat) to 1. The density at the ends is
    /// 1 + 2 x this, in the middle 1 - this. Flat for crypto and FX.
    pub vwap_u_depth: Ratio,
    /// VWAP: earlier sessions that the volume curve is learned from.
    pub vwap_history_days: i64,
    /// VWAP: prints that an earlier session must have in the order's hours to be learned from.
    pub vwap_min_prints: i64,
    /// IMPLEMENTATION_SHORTFALL: risk aversion of LOW orders, a unit of the reporting currency: the published example's.
    pub risk_aversion_low: Ratio,
    /// The same for NORMAL orders.
    pub risk_aversion_normal: Ratio,
    /// The same for HIGH orders.
    pub risk_aversion_high: Ratio,
    /// The same for URGENT orders.
    pub risk_aversion_urgent: Ratio,
    /// ARRIVAL_PRICE: of the time left t (1 to 0) the share t to this power is still to be traded. 1 is a TWAP.
    pub arrival_front_load: u32,
    /// ARRIVAL_PRICE: worst price, basis points from the arrival mid.
    pub arrival_bound_bps: Bps,
    /// ICEBERG: share of the order that is shown.
    pub iceberg_display: Ratio,
    /// ICEBERG: how far each shown quantity may differ from that, as a fraction of it.
    pub iceberg_variance: Ratio,
    /// SNIPER: widest spread that it takes at, basis points.
    pub sniper_max_spread_bps: Bps,
    /// SNIPER: least size at the touch that it takes, as a fraction of what is left.
    pub sniper_min_size: Ratio,
    /// SNIPER: worst price, basis points from the arrival mid.
    pub sniper_bound_bps: Bps,
    /// SNIPER: share of the time allowed after which it takes what there is.
    pub sniper_deadline: Ratio,
    /// SNIPER: time between two looks at the market, milliseconds.
    pub sniper_poll_ms: i64,
    /// POV: share of the volume where the order names none.
    pub pov_rate: Ratio,
    /// POV: time between two looks at the volume, milliseconds.
    pub pov_interval_ms: i64,
}

fn decimal<T: std::str::FromStr + Default>(text: &str) -> T {
    text.parse().unwrap_or_default()
}

impl Default for Algorithms {
    fn default() -> Self {
        Self {
            reprice_after_ms: 10_000,
            limit_chase_bps: decimal("50"),
            vwap_u_depth: decimal("0.6"),
            vwap_history_days: 5,
            vwap_min_prints: 200,
            risk_aversion_low: decimal("0.000001"),
            risk_aversion_normal: decimal("0.00001"),
            risk_aversion_high: decimal("0.0001"),
            risk_aversion_urgent: decimal("0.001"),
            arrival_front_load: 2,
            arrival_bound_bps: decimal("50"),
            iceberg_display: decimal("0.1"),
            iceberg_variance: decimal("0.2"),
            sniper_max_spread_bps: decimal("10"),
            sniper_min_size: decimal("0.5"),
            sniper_bound_bps: decimal("25"),
            sniper_deadline: decimal("0.8"),
            sniper_poll_ms: 2_000,
            pov_rate: decimal("0.1"),
            pov_interval_ms: 20_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            small_order_value: Money::from_int(10_000).unwrap_or_default(),
            arrival_price_value: Money::from_int(50_000).unwrap_or_default(),
            iceberg_value: Money::from_int(25_000).unwrap_or_default(),
            illiquid_below: decimal("0.3"),
            long_horizon_s: 4 * 3600,
            full_score_spread_bps: 10,
            twap_interval_s: 20,
            twap_max_slots: 48,
            catch_up_slices: 2,
            completion_timeout_ms: 30_000,
            completion_backoff_ms: 1_000,
            max_completions: 3,
            max_quote_age_ms: 60_000,
            hold_recheck_ms: 1_000,
            finish_before_end_ms: 10_000,
            stop_poll_ms: 1_000,
            stop_late_print_ms: 30_000,
            dark_pool_ratio: decimal("0.3"),
            algorithms: Algorithms::default(),
            conditions: Conditions::default(),
            guards: Guards::default(),
            weights: Weights::default(),
            prior: Prior::default(),
        }
    }
}

impl Algorithms {
    /// Risk aversion of the trajectory: urgency is risk aversion.
    #[must_use]
    pub const fn risk_aversion(&self, urgency: Urgency) -> Ratio {
        match urgency {
            Urgency::Low => self.risk_aversion_low,
            Urgency::Normal => self.risk_aversion_normal,
            Urgency::High => self.risk_aversion_high,
            Urgency::Urgent => self.risk_aversion_urgent,
        }
    }

    fn faults(&self, faults: &mut Vec<String>) {
        positive(
            "algorithms.",
            &[
                ("reprice_after_ms", self.reprice_after_ms),
                ("vwap_min_prints", self.vwap_min_prints),
                ("arrival_front_load", i64::from(self.arrival_front_load)),
                ("sniper_poll_ms", self.sniper_poll_ms),
                ("pov_interval_ms", self.pov_interval_ms),
            ],
            faults,
        );
        if !(0..=30).contains(&self.vwap_history_days) {
            faults.push(format!("algorithms.vwap_history_days must be from 0 to 30, not {}", self.vwap_history_days));
        }
        if self.arrival_front_load > 8 {
            faults.push(format!("algorithms.arrival_front_load must be at most 8, not {}", self.arrival_front_load));
        }
        let shares = [
            ("vwap_u_depth", self.vwap_u_depth, false),
            ("iceberg_display", self.iceberg_display, true),
            ("iceberg_variance", self.iceberg_variance, false),
            ("sniper_min_size", self.sniper_min_size, false),
            ("sniper_deadline", self.sniper_deadline, true),
            ("pov_rate", self.pov_rate, true),
        ];
        for (key, share, not_zero) in shares {
            if share.is_negative() || share > Ratio::ONE || (not_zero && share.is_zero()) {
                faults.push(format!("algorithms.{key} must be a share of at most 1, not {share}"));
            }
        }
        let lambdas =
            [self.risk_aversion_low, self.risk_aversion_normal, self.risk_aversion_high, self.risk_aversion_urgent];
        if lambdas.iter().any(|l| l.is_negative()) || !lambdas.is_sorted() {
            faults.push("algorithms.risk_aversion_* must rise with urgency from 0".to_owned());
        }
        let distances = [
            ("limit_chase_bps", self.limit_chase_bps),
            ("arrival_bound_bps", self.arrival_bound_bps),
            ("sniper_max_spread_bps", self.sniper_max_spread_bps),
            ("sniper_bound_bps", self.sniper_bound_bps),
        ];
        let most = Bps::from_int(10_000).unwrap_or_default();
        faults.extend(
            distances
                .iter()
                .filter(|(_, v)| v.is_negative() || *v >= most)
                .map(|(k, v)| format!("algorithms.{k} must be from 0 to below 10000, not {v}")),
        );
    }
}

fn positive(prefix: &str, values: &[(&str, i64)], faults: &mut Vec<String>) {
    let bad = values.iter().filter(|(_, v)| *v <= 0);
    faults.extend(bad.map(|(k, v)| format!("{prefix}{k} must be positive, not {v}")));
}

impl Config {
    /// Every fault of the configuration, each naming its key.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let values = [
            ("long_horizon_s", self.long_horizon_s),
            ("full_score_spread_bps", self.full_score_spread_bps),
            ("twap_interval_s", self.twap_interval_s),
            ("twap_max_slots", i64::from(self.twap_max_slots)),
            ("catch_up_slices", i64::from(self.catch_up_slices)),
            ("completion_timeout_ms", self.completion_timeout_ms),
            ("completion_backoff_ms", self.completion_backoff_ms),
            ("max_quote_age_ms", self.max_quote_age_ms),
            ("hold_recheck_ms", self.hold_recheck_ms),
            ("finish_before_end_ms", self.finish_before_end_ms),
            ("stop_poll_ms", self.stop_poll_ms),
            ("stop_late_print_ms", self.stop_late_print_ms),
        ];
        positive("", &values, &mut faults);
        if self.max_completions < 0 {
            faults.push(format!("max_completions must not be negative, not {}", self.max_completions));
        }
        if self.illiquid_below > Ratio::ONE || self.illiquid_below.is_negative() {
            faults.push(format!("illiquid_below must be from 0 to 1, not {}", self.illiquid_below));
        }
        if self.dark_pool_ratio > Ratio::ONE || self.dark_pool_ratio.is_negative() {
            faults.push(format!("dark_pool_ratio must be from 0 to 1, not {}", self.dark_pool_ratio));
        }
        self.algorithms.faults(&mut faults);
        self.conditions.faults(&mut faults);
        self.guards.faults(&mut faults);
        self.weights.faults(&mut faults);
        self.prior.faults(&mut faults);
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_fault_is_named_at_once() {
        assert_eq!(Config::default().validate(), Vec::<String>::new());
        let bad = Config {
            twap_interval_s: 0,
            max_completions: -1,
            illiquid_below: "1.5".parse().unwrap(),
            dark_pool_ratio: "1.5".parse().unwrap(),
            algorithms: Algorithms {
                iceberg_display: Ratio::ZERO,
                pov_rate: "1.1".parse().unwrap(),
                risk_aversion_low: Ratio::ONE,
                sniper_bound_bps: "-1".parse().unwrap(),
                arrival_front_load: 9,
                vwap_history_days: 31,
                ..Algorithms::default()
            },
            conditions: Conditions { exit_share: "2".parse().unwrap(), min_samples: 61, ..Conditions::default() },
            guards: Guards {
                high: Guard {
                    max_participation: Some(Ratio::ZERO),
                    would_bps: Some(Bps::ZERO),
                    max_cancels: -1,
                    ..Guard::default()
                },
                max_pause_ms: 0,
                ..Guards::default()
            },
            weights: Weights { low: "-1".parse().unwrap(), immediate_ms: 0, ..Weights::default() },
            prior: Prior { share: "1.1".parse().unwrap(), weight: 0 },
            ..Config::default()
        };
        let faults = bad.validate().join("; ");
        for key in [
            "twap_interval_s",
            "max_completions",
            "illiquid_below",
            "algorithms.iceberg_display",
            "algorithms.pov_rate",
            "algorithms.risk_aversion_",
            "algorithms.sniper_bound_bps",
            "algorithms.arrival_front_load",
            "algorithms.vwap_history_days",
            "conditions.exit_share",
            "conditions.min_samples",
            "guards.high.max_participation",
            "guards.high.would_bps",
            "guards.high.max_cancels",
            "dark_pool_ratio",
            "guards.max_pause_ms",
            "weights must",
            "weights.immediate_ms",
            "prior.share",
            "prior.weight",
        ] {
            assert!(faults.contains(key), "{faults}");
        }
    }

    #[test]
    fn the_published_risk_aversion_is_that_of_a_patient_order() {
        assert_eq!(Algorithms::default().risk_aversion(Urgency::Low), "0.000001".parse().unwrap());
    }
}
