//! A stage that the pipeline does not have: it counts the order events of each portfolio, and poisons some of them after it
//! has counted and told. No stage in production writes before it poisons, so the promise that poison leaves nothing would
//! go unseen without it.

use std::sync::Arc;

use fillstream_core::StageHandle;
use fillstream_core::error::{EngineError, Poison};
use fillstream_core::group::{Group, Path};
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::{inputs, outputs, stores};
use fillstream_schemas::engine::NoTimer;
use fillstream_schemas::execution::{OrderEvent, Slice};

/// Where the counts are told.
pub(crate) const COUNTS: &str = "sim.counts.v1";
/// One of so many events is poisoned.
const POISONED: u32 = 6;

inputs! {
    /// What the probe reads.
    pub(crate) enum In { Order(OrderEvent) = "execution.orders.v1" }
}

outputs! {
    /// What the probe writes: any record that is keyed by portfolio and has a number.
    pub(crate) enum Out { Count(Slice) = "sim.counts.v1" }
}

stores! {
    /// Order events by portfolio.
    pub(crate) struct State { counts: Slice = "counts" }
}

/// The probe.
pub(crate) struct Probe;

impl Stage for Probe {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = NoTimer;

    const NAME: &'static str = "probe";
    const DOC: &'static str = "counts order events and poisons some after it has counted them";

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let In::Order(event) = &record.value;
        let portfolio = event.portfolio_id.as_str();
        let mut count = state
            .counts
            .get(portfolio)
            .cloned()
            .unwrap_or_else(|| Slice { portfolio_id: portfolio.to_owned(), ..Slice::default() });
        count.slice_no += 1;
        count.event_id = fx.next_id();
        count.timestamp = fx.now();
        state.counts.put(portfolio, count.clone());
        fx.emit(count);
        let draw: u32 = record.lineage.as_bytes().iter().map(|byte| u32::from(*byte)).sum();
        if draw.is_multiple_of(POISONED) {
            return Err(Poison::new("PROBE", "after it was counted"));
        }
        Ok(())
    }

    fn on_timer(&self, _: &Timer<NoTimer>, _: &mut State, _: &mut Effects<'_, Self>) -> Result<(), Poison> {
        Ok(())
    }
}

/// The probe's group.
pub(crate) fn group() -> Result<Arc<Group>, EngineError> {
    Group::fused(&Path::new("probe", vec![StageHandle::of(Probe)])?)
}
