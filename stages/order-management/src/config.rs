//! Configuration of order-management.

use fillstream_domain::{Bps, Urgency};
use serde::{Deserialize, Serialize};

/// Microseconds in a millisecond.
const MICROS_PER_MS: i64 = 1_000;
/// Microseconds in an hour.
pub(crate) const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Configuration of order-management; every field has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Portfolio of decisions and commands that name none; without it they are refused.
    pub default_portfolio: Option<String>,
    /// Oldest decision that is honoured, milliseconds, by urgency.
    pub max_decision_age_ms: MaxDecisionAge,
    /// How far ahead of our clock a decision's time may be, milliseconds.
    pub max_decision_lead_ms: i64,
    /// How long an event_id or command_id is remembered, hours.
    pub duplicate_window_hours: i64,
    /// Largest difference between an amount and the quantity's value, basis points of the amount.
    pub amount_tolerance_bps: Bps,
    /// Smallest confidence of a decision that states one, 0 to 1.
    pub min_confidence: f64,
    /// Oldest quote that an order is created on, milliseconds.
    pub max_quote_age_ms: i64,
    /// Horizon of a decision that states none, milliseconds.
    pub default_horizon_ms: i64,
    /// How often open orders are held against the controls between their records, milliseconds; 0: only at their
    /// records.
    pub kill_check_interval_ms: i64,
    /// How long an order that is being ended waits for its verdict and the last plan of its schedule before the end is asked
    /// for again, with an alarm, milliseconds; twice as long each time, up to 64 times.
    pub end_reminder_ms: i64,
    /// How long a replace waits for risk's answer before it is refused, milliseconds.
    pub replace_answer_ms: i64,
    /// Longest life of a GTC or GTD order, calendar days.
    pub max_order_days: i64,
    /// Whether a decision of LOW priority waits for the others of its batch: one batch at most.
    pub defer_low_priority: bool,
    /// How long an order is kept after its end for late reports, milliseconds.
    pub retire_after_ms: i64,
}

/// Oldest decision that is honoured, milliseconds, by urgency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaxDecisionAge {
    /// LOW.
    pub low: i64,
    /// NORMAL.
    pub normal: i64,
    /// HIGH.
    pub high: i64,
    /// URGENT.
    pub urgent: i64,
}

impl Default for MaxDecisionAge {
    fn default() -> Self {
        Self { low: 900_000, normal: 300_000, high: 60_000, urgent: 30_000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default_portfolio: None,
            max_decision_age_ms: MaxDecisionAge::default(),
            max_decision_lead_ms: 5_000,
            duplicate_window_hours: 168,
            // 200 bps: trading rule 7.
            amount_tolerance_bps: Bps::from_int(200).unwrap_or(Bps::ZERO),
            min_confidence: 0.0,
            max_quote_age_ms: 60_000,
            default_horizon_ms: 3_600_000,
            kill_check_interval_ms: 1_000,
            end_reminder_ms: 30_000,
            replace_answer_ms: 30_000,
            max_order_days: 90,
            defer_low_priority: true,
            retire_after_ms: 900_000,
        }
    }
}

/// A value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {fault}")]
pub struct ConfigFault {
    /// Field.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: String,
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn validate(&self) -> Result<(), Vec<ConfigFault>> {
        let mut faults = Vec::new();
        let mut need = |ok: bool, field: &'static str, fault: &str| {
            if !ok {
                faults.push(ConfigFault { field, fault: fault.to_owned() });
            }
        };
        let ages = &self.max_decision_age_ms;
        let positive = [
            ("max_decision_age_ms.low", ages.low),
            ("max_decision_age_ms.normal", ages.normal),
            ("max_decision_age_ms.high", ages.high),
            ("max_decision_age_ms.urgent", ages.urgent),
            ("duplicate_window_hours", self.duplicate_window_hours),
            ("max_quote_age_ms", self.max_quote_age_ms),
            ("default_horizon_ms", self.default_horizon_ms),
            ("end_reminder_ms", self.end_reminder_ms),
            ("replace_answer_ms", self.replace_answer_ms),
            ("max_order_days", self.max_order_days),
            ("retire_after_ms", self.retire_after_ms),
        ];
        for (field, value) in positive {
            need(value > 0, field, "must be above zero");
        }
        for (field, value) in [
            ("max_decision_lead_ms", self.max_decision_lead_ms),
            ("kill_check_interval_ms", self.kill_check_interval_ms),
        ] {
            need(value >= 0, field, "must not be negative");
        }
        need(self.default_portfolio.as_deref() != Some(""), "default_portfolio", "must not be empty");
        need(!self.amount_tolerance_bps.is_negative(), "amount_tolerance_bps", "must not be negative");
        need((0.0..=1.0).contains(&self.min_confidence), "min_confidence", "must be between 0 and 1");
        let oldest = ages.low.max(ages.normal).max(ages.high).max(ages.urgent);
        let window_ms = self.duplicate_window_hours.saturating_mul(MICROS_PER_HOUR / MICROS_PER_MS);
        // A decision forgotten as a duplicate must be refused as stale.
        need(window_ms > oldest, "duplicate_window_hours", "must be longer than every max_decision_age_ms");
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Memory that duplicates take at a rate of decisions a second, bytes over all partitions: rate x window x entry.
    #[must_use]
    pub fn duplicate_memory_bytes(&self, decisions_per_s: i64) -> i64 {
        /// Two map entries with their keys and 16 bytes of content hash.
        const ENTRY_BYTES: i64 = 320;
        decisions_per_s.saturating_mul(self.duplicate_window_hours).saturating_mul(3_600).saturating_mul(ENTRY_BYTES)
    }

    pub(crate) fn max_decision_age_us(&self, urgency: Urgency) -> i64 {
        let ages = &self.max_decision_age_ms;
        micros(match urgency {
            Urgency::Low => ages.low,
            Urgency::Normal => ages.normal,
            Urgency::High => ages.high,
            Urgency::Urgent => ages.urgent,
        })
    }

    pub(crate) fn duplicate_window_us(&self) -> i64 {
        self.duplicate_window_hours.saturating_mul(MICROS_PER_HOUR)
    }

    /// The portfolio meant by an empty one.
    pub(crate) fn portfolio<'a>(&'a self, named: &'a str) -> &'a str {
        if named.is_empty() { self.default_portfolio.as_deref().unwrap_or("") } else { named }
    }
}

pub(crate) fn micros(ms: i64) -> i64 {
    ms.saturating_mul(MICROS_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let config = Config {
            default_portfolio: Some(String::new()),
            min_confidence: 1.5,
            max_quote_age_ms: 0,
            duplicate_window_hours: 0,
            kill_check_interval_ms: -1,
            ..Config::default()
        };
        let fields: Vec<_> = config.validate().unwrap_err().into_iter().map(|fault| fault.field).collect();
        assert_eq!(
            fields,
            [
                "duplicate_window_hours",
                "max_quote_age_ms",
                "kill_check_interval_ms",
                "default_portfolio",
                "min_confidence",
                "duplicate_window_hours"
            ]
        );
        assert!(Config { min_confidence: f64::NAN, ..Config::default() }.validate().is_err());
    }

    #[test]
    fn unknown_fields_are_refused_and_missing_ones_have_defaults() {
        assert!(serde_json::from_str::<Config>(r#"{"max_quote_age": 1}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"max_decision_age_ms": {"medium": 1}}"#).is_err());
        let config: Config = serde_json::from_str(r#"{"max_decision_age_ms": {"low": 1}}"#).unwrap();
        assert_eq!((config.max_decision_age_ms.low, config.max_decision_age_ms.high), (1, 60_000));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn the_duplicate_memory_is_rate_times_window_times_bytes() {
        assert_eq!(Config::default().duplicate_memory_bytes(10), 10 * 168 * 3_600 * 320);
    }
}
