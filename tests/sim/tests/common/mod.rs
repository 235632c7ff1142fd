//! The topology with its default configuration.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeSet;
use std::sync::Arc;

use fillstream_core::StageHandle;
use fillstream_core::group::{Group, Path};

fn handle<S: fillstream_core::stage::Stage>(stage: Result<S, Vec<String>>) -> Result<StageHandle, String> {
    stage.map(StageHandle::of).map_err(|faults| faults.join("; "))
}

/// The paths of the binary's registry, the order path cut behind the stages with these places.
pub(crate) fn topology(cuts: &BTreeSet<usize>) -> Result<Vec<Arc<Group>>, String> {
    let oms = fillstream_order_management::Config { kill_check_interval_ms: 5_000, ..Default::default() };
    let order_path = vec![
        handle(fillstream_order_management::OrderManagement::new(oms))?,
        handle(fillstream_pre_trade_risk::PreTradeRisk::new(Default::default()))?,
        handle(fillstream_account_allocation::AccountAllocator::new(Default::default()))?,
        handle(fillstream_execution_strategy::ExecutionStrategy::new(Default::default()))?,
        handle(fillstream_smart_order_routing::SmartOrderRouting::new(Default::default()))?,
        handle(fillstream_child_risk::ChildRisk::new(Default::default()))?,
    ];
    let limits = vec![handle(fillstream_limit_owner::LimitOwner::new(Default::default()))?];
    let tca = vec![handle(fillstream_tca::Tca::new(Default::default()))?];
    let mut parts = vec![Vec::new()];
    for (place, stage) in order_path.iter().enumerate() {
        if let Some(part) = parts.last_mut() {
            part.push(stage.spec().name.to_owned());
        }
        if cuts.contains(&place) {
            parts.push(Vec::new());
        }
    }
    let text = |e: fillstream_core::error::EngineError| e.to_string();
    let order_path = Path::new("order-path", order_path).map_err(text)?;
    let mut groups = Group::split(&order_path, &parts).map_err(text)?;
    groups.push(Group::fused(&Path::new("limits", limits).map_err(text)?).map_err(text)?);
    groups.push(Group::fused(&Path::new("tca", tca).map_err(text)?).map_err(text)?);
    Ok(groups)
}
