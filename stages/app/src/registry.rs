//! The stages of this binary: one line each.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::StageHandle;
use fillstream_core::group::{Group, Path};
use fillstream_core::stage::Stage;
use fillstream_execution_strategy::recommend::{AdviceConfig, OrderRules, StrategyAdvice};
use serde::de::DeserializeOwned;

use crate::config::Faults;

/// Configuration of the stages by name; a missing one has its defaults.
pub type StageConfigs = BTreeMap<String, toml::Table>;

/// A stage, its path, and how it is made from its configuration.
pub struct Entry {
    /// Path the stage belongs to; its place among the entries of the path is its place in the path.
    pub path: &'static str,
    make: fn(&StageConfigs) -> Result<StageHandle, Faults>,
}

const fn stage(path: &'static str, make: fn(&StageConfigs) -> Result<StageHandle, Faults>) -> Entry {
    Entry { path, make }
}

/// Every stage, in topological order within its path.
pub const STAGES: &[Entry] = &[
    stage("order-path", |c| make(c, fillstream_order_management::OrderManagement::new)),
    stage("order-path", |c| make(c, fillstream_pre_trade_risk::PreTradeRisk::new)),
    stage("order-path", |c| make(c, fillstream_account_allocation::AccountAllocator::new)),
    stage("order-path", |c| make(c, fillstream_execution_strategy::ExecutionStrategy::new)),
    stage("order-path", |c| make(c, fillstream_smart_order_routing::SmartOrderRouting::new)),
    stage("order-path", |c| make(c, fillstream_child_risk::ChildRisk::new)),
    stage("limits", |c| make(c, fillstream_limit_owner::LimitOwner::new)),
    stage("tca", |c| make(c, fillstream_tca::Tca::new)),
    stage(ADVICE, advice),
];

/// Path of the questions to the strategy API: no order depends on it.
pub const ADVICE: &str = "strategy-advice";

fn make<S: Stage, C: DeserializeOwned>(
    configs: &StageConfigs,
    new: impl FnOnce(C) -> Result<S, Vec<String>>,
) -> Result<StageHandle, Faults> {
    made(S::NAME, new(section(configs, S::NAME)?))
}

fn section<C: DeserializeOwned>(configs: &StageConfigs, name: &str) -> Result<C, Faults> {
    let table = configs.get(name).cloned().unwrap_or_default();
    C::deserialize(table).map_err(|e| Faults(vec![format!("stages.{name}: {}", e.message())]))
}

fn made<S: Stage>(name: &str, stage: Result<S, Vec<String>>) -> Result<StageHandle, Faults> {
    let section = |fault: String| format!("stages.{name}: {fault}");
    stage.map(StageHandle::of).map_err(|faults| Faults(faults.into_iter().map(section).collect()))
}

/// Advice tells what the stages of orders would do: by their configuration.
fn advice(configs: &StageConfigs) -> Result<StageHandle, Faults> {
    let orders: fillstream_order_management::Config =
        section(configs, fillstream_order_management::OrderManagement::NAME)?;
    let strategies = section(configs, fillstream_execution_strategy::ExecutionStrategy::NAME)?;
    let own: AdviceConfig = section(configs, StrategyAdvice::NAME)?;
    let rules = OrderRules { default_horizon_ms: orders.default_horizon_ms, max_quote_age_ms: orders.max_quote_age_ms };
    made(StrategyAdvice::NAME, StrategyAdvice::new(strategies, own, rules))
}

/// The stages of `path`.
///
/// # Errors
/// Every fault of their configurations.
pub fn stages_of(path: &str, configs: &StageConfigs) -> Result<Vec<StageHandle>, Faults> {
    let (mut handles, mut faults) = (Vec::new(), Vec::new());
    for entry in STAGES.iter().filter(|e| e.path == path) {
        match (entry.make)(configs) {
            Ok(handle) => handles.push(handle),
            Err(Faults(f)) => faults.extend(f),
        }
    }
    if faults.is_empty() { Ok(handles) } else { Err(Faults(faults)) }
}

/// Names of the paths.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    let mut names: Vec<&str> = STAGES.iter().map(|e| e.path).collect();
    names.dedup();
    names
}

/// Every path fused into one group, or cut as `splits` says (path name to the stage names of each group).
///
/// # Errors
/// Every fault of the stages' configurations; a split that is not the path.
pub fn groups(configs: &StageConfigs, splits: &BTreeMap<String, Vec<Vec<String>>>) -> anyhow::Result<Vec<Arc<Group>>> {
    let mut groups = Vec::new();
    for name in paths() {
        let path = Path::new(name, stages_of(name, configs)?)?;
        match splits.get(name) {
            Some(parts) => groups.extend(Group::split(&path, parts)?),
            None => groups.push(Group::fused(&path)?),
        }
    }
    Ok(groups)
}

/// The groups of [`groups`] that orders go through.
///
/// # Errors
/// As [`groups`].
pub fn order_groups(
    configs: &StageConfigs,
    splits: &BTreeMap<String, Vec<Vec<String>>>,
) -> anyhow::Result<Vec<Arc<Group>>> {
    Ok(groups(configs, splits)?.into_iter().filter(|group| group.name() != ADVICE).collect())
}

/// Every path cut into its stages, each a group of its own.
///
/// # Errors
/// Every fault of the stages' configurations.
pub fn single_stages(configs: &StageConfigs) -> Result<BTreeMap<String, Vec<Vec<String>>>, Faults> {
    let cut = |path: &str| -> Result<Vec<Vec<String>>, Faults> {
        Ok(stages_of(path, configs)?.iter().map(|stage| vec![stage.spec().name.to_owned()]).collect())
    };
    paths().into_iter().map(|path| Ok((path.to_owned(), cut(path)?))).collect()
}
