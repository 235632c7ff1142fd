//! What the workers of a process share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fillstream_core::task::TaskContext;

use super::config::DriverConfig;
use super::tables::TableHub;
use super::{Phase, PhaseObserver};
use crate::client::KafkaClient;
use crate::observe::{Health, Metrics};
use crate::registry::{Framing, SchemaRegistry};
use crate::telemetry::Tracer;
use crate::topics::Router;

pub(super) struct Shared<C: KafkaClient> {
    pub(super) client: C,
    pub(super) registry: Arc<SchemaRegistry>,
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) config: DriverConfig,
    pub(super) context: TaskContext,
    pub(super) hub: Arc<TableHub>,
    /// Partitions of engine topics that are not a task's own.
    pub(super) partitions: BTreeMap<String, i32>,
    pub(super) max_record_bytes: usize,
    pub(super) tracer: Tracer,
    pub(super) on_phase: Option<PhaseObserver>,
    pub(super) stop: Arc<AtomicBool>,
}

impl<C: KafkaClient> Shared<C> {
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn phase(&self, part: &str, phase: Phase) {
        if let Some(observer) = &self.on_phase {
            observer(part, phase);
        }
    }

    pub(super) fn framing(&self) -> Framing {
        Framing::new(Arc::clone(&self.registry))
    }

    pub(super) fn partitions_of(&self, topic: &str) -> i32 {
        self.partitions.get(topic).copied().unwrap_or(1)
    }
}
