//! A stage with the state of one task, without its types.

use std::any::Any;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;
use fillstream_schemas::codec::{AvroRecord, CodecError};
use fillstream_schemas::engine::TimerEntry;

use crate::batch::{Admitted, Identity};
use crate::error::Poison;
use crate::lineage::Lineage;
use crate::mutant;
use crate::record::{Envelope, Payload, Record};
use crate::stage::{Effects, Emitted, Followed, Input, Stage, StageSpec, Timer, TimerOp};
use crate::store::{AnyStore, Stores};
use crate::table::Tables;
use crate::trace::TraceContext;

/// What a call of a stage did besides writing state.
#[derive(Default)]
pub(crate) struct Done {
    pub emitted: Vec<Emitted>,
    pub timers: Vec<TimerOp>,
    pub followed: Vec<Followed>,
    pub lineage: Option<Lineage>,
}

impl Done {
    fn of<S: Stage>(fx: Effects<'_, S>, lineage: Lineage) -> Self {
        Self { emitted: fx.emitted, timers: fx.timers, followed: fx.followed, lineage: Some(lineage) }
    }
}

/// A timer that fires, as a driver of an instance sees it.
pub(crate) struct Firing<'a> {
    pub entry: &'a TimerEntry,
    pub lineage: Lineage,
    pub trace: Option<&'a TraceContext>,
}

pub(crate) trait AnyInstance: Send {
    fn name(&self) -> &'static str;
    /// Finds out the record's identity, its time and the key its value asks for.
    fn admit(&self, envelope: &Envelope) -> Admitted;
    /// Handles a record. `decoded` is what it was admitted with, by this stage or another.
    fn on_record(
        &mut self,
        envelope: &Envelope,
        decoded: Option<&(dyn Any + Send + Sync)>,
        now: TimestampMicros,
        tables: &Tables,
    ) -> Result<Done, Poison>;
    fn on_timer(&mut self, firing: &Firing<'_>, now: TimestampMicros, tables: &Tables) -> Result<Done, Poison>;
    fn stores(&mut self, f: &mut dyn FnMut(&'static str, &mut dyn AnyStore));
}

/// A stage that can be given to a group.
pub struct StageHandle {
    pub(crate) spec: StageSpec,
    pub(crate) new: Box<dyn Fn() -> Box<dyn AnyInstance> + Send + Sync>,
}

impl StageHandle {
    /// A handle on `stage`.
    pub fn of<S: Stage>(stage: S) -> Self {
        let stage = Arc::new(stage);
        Self {
            spec: S::spec(),
            new: Box::new(move || {
                let (stage, stores, scratch) = (Arc::clone(&stage), S::Stores::default(), Vec::new());
                Box::new(Instance { stage, stores, scratch })
            }),
        }
    }

    /// What the stage reads, writes and remembers.
    #[must_use]
    pub fn spec(&self) -> &StageSpec {
        &self.spec
    }

    /// `stage/store` with the full name of its values' schema, timers included.
    #[must_use]
    pub fn stores(&self) -> Vec<(String, &'static str)> {
        let mut out = vec![(format!("{}/{}", self.spec.name, crate::timer::Timers::STORE), TimerEntry::FULL_NAME)];
        (self.new)().stores(&mut |name, store| out.push((format!("{}/{name}", self.spec.name), store.schema())));
        out
    }
}

struct Instance<S: Stage> {
    stage: Arc<S>,
    stores: S::Stores,
    scratch: Vec<u8>,
}

impl<S: Stage> Instance<S> {
    fn decode(envelope: &Envelope) -> Result<Record<S::In>, Poison> {
        let value = match &envelope.payload {
            Payload::Unreadable { code, text, .. } => return Err(Poison::new(code.clone(), text.clone())),
            Payload::Avro(bytes) => match S::In::decode(&envelope.topic, bytes) {
                Some(Ok(value)) => value,
                Some(Err(e)) => return Err(undecodable(&e)),
                None => {
                    let text = format!("{} does not read {}", S::NAME, envelope.topic);
                    return Err(Poison::new("NOT_AN_INPUT", text));
                }
            },
        };
        let lineage = envelope.lineage.unwrap_or_else(|| Lineage::root(&envelope.topic, &value.natural_id()));
        let event_time = envelope.event_time.unwrap_or_else(|| value.event_time());
        Ok(Record { value, key: Arc::clone(&envelope.key), lineage, event_time })
    }

    fn record_done<F>(&mut self, run: F) -> Result<Done, Poison>
    where
        F: FnOnce(&S, &mut S::Stores, &mut Vec<u8>) -> Result<Done, Poison>,
    {
        let result = run(&self.stage, &mut self.stores, &mut self.scratch);
        let keep = result.is_ok() || mutant::is("overlay kept on poison");
        self.stores.each(&mut |_, store| if keep { store.keep_record() } else { store.undo_record() });
        result
    }
}

fn undecodable(e: &CodecError) -> Poison {
    Poison::new("DECODE", e.to_string())
}

impl<S: Stage> AnyInstance for Instance<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn admit(&self, envelope: &Envelope) -> Admitted {
        match Self::decode(envelope) {
            Ok(record) => {
                let identity = Identity { lineage: record.lineage, event_time: Some(record.event_time) };
                let key = match self.stage.partition_key(&record.value) {
                    key if *key == *envelope.key => Arc::clone(&envelope.key),
                    key => key.into(),
                };
                Admitted { identity, key: Ok(key), decoded: Some(Box::new(record)) }
            }
            Err(poison) => {
                let by_bytes = || Lineage::root(&envelope.topic, &crate::batch::sha256_hex(envelope.payload.raw()));
                let lineage = envelope.lineage.unwrap_or_else(by_bytes);
                let identity = Identity { lineage, event_time: envelope.event_time };
                Admitted { identity, key: Err(poison), decoded: None }
            }
        }
    }

    fn on_record(
        &mut self,
        envelope: &Envelope,
        decoded: Option<&(dyn Any + Send + Sync)>,
        now: TimestampMicros,
        tables: &Tables,
    ) -> Result<Done, Poison> {
        let own: Record<S::In>;
        let record = match decoded.and_then(|decoded| decoded.downcast_ref()) {
            Some(record) => record,
            None => {
                own = Self::decode(envelope)?;
                &own
            }
        };
        self.record_done(|stage, stores, scratch| {
            let mut fx = Effects::<S>::new(now, record.lineage, tables, envelope.trace.as_ref(), scratch);
            stage.on_record(record, stores, &mut fx)?;
            Ok(Done::of(fx, record.lineage))
        })
    }

    fn on_timer(&mut self, firing: &Firing<'_>, now: TimestampMicros, tables: &Tables) -> Result<Done, Poison> {
        let Firing { entry, lineage, trace } = *firing;
        let payload = S::Timer::decode(&entry.payload).map_err(|e| undecodable(&e))?;
        let timer = Timer { key: entry.key.as_str().into(), due: entry.due, payload };
        self.record_done(|stage, stores, scratch| {
            let mut fx = Effects::<S>::new(now, lineage, tables, trace, scratch);
            stage.on_timer(&timer, stores, &mut fx)?;
            Ok(Done::of(fx, lineage))
        })
    }

    fn stores(&mut self, f: &mut dyn FnMut(&'static str, &mut dyn AnyStore)) {
        self.stores.each(f);
    }
}
