//! Stages whose own work is next to nothing: what a run of them costs is the engine's.

use std::sync::Arc;

use fillstream_core::error::Poison;
use fillstream_core::group::{Group, Path};
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::{StageHandle, inputs, outputs, stores};
use fillstream_schemas::engine::InputRun;
use fillstream_schemas::execution::Command;

/// What every one of them reads.
pub(super) const IN: &str = "bench.in.v1";
/// What is passed on.
pub(super) const PASSED: &str = "bench.passed.v1";
/// What is numbered.
pub(super) const COUNTED: &str = "bench.counted.v1";
/// What is remembered, where it is asked for.
pub(super) const KEPT: &str = "bench.kept.v1";

/// Actors of the load, as the stage that remembers takes them.
pub(super) mod actor {
    /// The record is remembered.
    pub(in super::super) const LOAD: &str = "load";
    /// The record is remembered, and answered with its number.
    pub(in super::super) const LIVE: &str = "live";
    /// Nothing is remembered, but how many were is answered.
    pub(in super::super) const ASK: &str = "ask";
}

inputs! {
    /// The load.
    pub enum In { Load(Command) = "bench.in.v1" }
}
outputs! {
    /// The same.
    pub enum Passed { Same(Command) = "bench.passed.v1" }
}
outputs! {
    /// The same with its number.
    pub enum Counted { Numbered(Command) = "bench.counted.v1" }
}
outputs! {
    /// The last record of a key with its number.
    pub enum Kept { Numbered(Command) = "bench.kept.v1" }
}
stores! {
    /// Records by key.
    pub struct Counts { seen: InputRun = "seen" }
}
stores! {
    /// The last record of each key, with its number as its order.
    pub struct Latest { last: Command = "last" }
}

/// What a stage of the benches does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Passes records on.
    Pass,
    /// Numbers the records of each key and passes them on.
    Count,
    /// Remembers the last record of each key, and how many there were; tells when asked.
    Keep,
}

impl Work {
    /// Its name, for people and for the peer.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Count => "count",
            Self::Keep => "keep",
        }
    }

    /// Name of the stage.
    pub(super) const fn stage(self) -> &'static str {
        match self {
            Self::Pass => Pass::NAME,
            Self::Count => Count::NAME,
            Self::Keep => Keep::NAME,
        }
    }

    /// What the stage writes.
    pub(super) const fn output(self) -> &'static str {
        match self {
            Self::Pass => PASSED,
            Self::Count => COUNTED,
            Self::Keep => KEPT,
        }
    }

    /// Topics that a transaction of one record writes to: the output, the journal, and the changelog of a stage that
    /// remembers.
    pub(super) const fn topics(self) -> usize {
        match self {
            Self::Pass => 2,
            Self::Count | Self::Keep => 3,
        }
    }

    /// The stage as a path of its own, in one group of that name.
    pub(super) fn group(self, name: &str) -> anyhow::Result<Arc<Group>> {
        let handle = match self {
            Self::Pass => StageHandle::of(Pass),
            Self::Count => StageHandle::of(Count),
            Self::Keep => StageHandle::of(Keep),
        };
        Ok(Group::fused(&Path::new(name, vec![handle])?)?)
    }
}

struct Pass;
struct Count;
struct Keep;

impl Stage for Pass {
    type In = In;
    type Out = Passed;
    type Stores = ();
    type Timer = Command;
    const NAME: &'static str = "bench-pass";
    const DOC: &'static str = "Passes records on.";

    fn on_record(&self, r: &Record<In>, (): &mut (), fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let In::Load(command) = &r.value;
        fx.emit((**command).clone());
        Ok(())
    }

    fn on_timer(&self, _: &Timer<Command>, (): &mut (), _: &mut Effects<'_, Self>) -> Result<(), Poison> {
        Ok(())
    }
}

impl Stage for Count {
    type In = In;
    type Out = Counted;
    type Stores = Counts;
    type Timer = Command;
    const NAME: &'static str = "bench-count";
    const DOC: &'static str = "Numbers the records of each key.";

    fn on_record(&self, r: &Record<In>, state: &mut Counts, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let In::Load(command) = &r.value;
        let mut run = state.seen.get(&command.portfolio_id).cloned().unwrap_or_default();
        run.count = run.count.saturating_add(1);
        let order_id = run.count.to_string();
        state.seen.put(&command.portfolio_id, run);
        fx.emit(Command { order_id, ..(**command).clone() });
        Ok(())
    }

    fn on_timer(&self, _: &Timer<Command>, _: &mut Counts, _: &mut Effects<'_, Self>) -> Result<(), Poison> {
        Ok(())
    }
}

impl Stage for Keep {
    type In = In;
    type Out = Kept;
    type Stores = Latest;
    type Timer = Command;
    const NAME: &'static str = "bench-keep";
    const DOC: &'static str = "Remembers the last record of each key.";

    fn on_record(&self, r: &Record<In>, state: &mut Latest, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let In::Load(command) = &r.value;
        let before = state.last.get(&command.portfolio_id).and_then(|last| last.order_id.parse().ok()).unwrap_or(0_u64);
        let is_question = command.actor == actor::ASK;
        let count = if is_question { before } else { before.saturating_add(1) };
        let numbered = Command { order_id: count.to_string(), ..(**command).clone() };
        if command.actor != actor::LOAD {
            fx.emit(numbered.clone());
        }
        if !is_question {
            state.last.put(&command.portfolio_id, numbered);
        }
        Ok(())
    }

    fn on_timer(&self, _: &Timer<Command>, _: &mut Latest, _: &mut Effects<'_, Self>) -> Result<(), Poison> {
        Ok(())
    }
}
