//! Configuration of child risk.

use serde::{Deserialize, Serialize};

/// Configuration of child risk. Limits are no configuration: they are records of reference.limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most children of one parent order, ended ones included: a schedule that runs wild stops here.
    pub max_children_per_order: u32,
    /// Whether open children of an order are cancelled when it is suspended; otherwise they work on.
    pub cancel_on_suspend: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_children_per_order: 2_000, cancel_on_suspend: false }
    }
}

impl Config {
    /// Every fault of the configuration.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        if self.max_children_per_order == 0 {
            return vec!["max_children_per_order: 0 allows no child".to_owned()];
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_zero_is_not() {
        assert!(Config::default().validate().is_empty());
        assert_eq!(Config { max_children_per_order: 0, ..Config::default() }.validate().len(), 1);
    }
}
