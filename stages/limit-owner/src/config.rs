//! Configuration of the stage.

use fillstream_domain::DurationMicros;
use serde::{Deserialize, Serialize};

/// Configuration of the owner of limits. Limits are no configuration: they are records of reference.wide-limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time for which a portfolio may use headroom that it was granted before it has to ask again, milliseconds.
    pub lease_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { lease_ms: 60_000 }
    }
}

impl Config {
    /// Every fault of the configuration.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        if (100..=86_400_000).contains(&self.lease_ms) {
            return Vec::new();
        }
        vec![format!("lease_ms: {} is not 100 to 86400000", self.lease_ms)]
    }

    pub(crate) fn lease(&self) -> DurationMicros {
        DurationMicros::from_micros(i64::from(self.lease_ms) * 1_000).unwrap_or(DurationMicros::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_a_fault_is_named() {
        assert_eq!(Config::default().validate(), Vec::<String>::new());
        assert_eq!(Config { lease_ms: 99 }.validate(), ["lease_ms: 99 is not 100 to 86400000"]);
    }
}
