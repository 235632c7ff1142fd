//! All that one root causes within a task, in the order of positions.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;
use fillstream_schemas::engine::TimerEntry;

use crate::batch::{Batch, BatchOutput, Root, RootWork};
use crate::error::{EngineError, Poison};
use crate::instance::Done;
use crate::lineage::Lineage;
use crate::position::{Position, WriterOrder};
use crate::record::{Envelope, OutRecord, Payload};
use crate::stage::{Emitted, InputTopic, TimerOp};
use crate::task::{Slot, Task};

pub(crate) struct Cascade<'t, 'b> {
    pub task: &'t mut Task,
    pub batch: &'t Batch<'b>,
    pub sequence: i64,
    pub out: &'t mut BatchOutput,
}

/// What made an output: its position and the stage's ordinal.
struct Cause<'p> {
    position: &'p Position,
    ordinal: u8,
    stage: &'static str,
    timer: Option<(&'p str, i64)>,
    origin_us: Option<i64>,
}

/// Where a record belongs.
enum Place {
    Here,
    /// Through this topic to another partition.
    Forward(InputTopic, &'static str),
    /// To another partition, and nothing takes it there.
    Elsewhere(i32),
}

type Queue = BTreeMap<(Position, u8), Arc<Envelope>>;

impl Cascade<'_, '_> {
    pub(crate) fn run(&mut self, root: Root) -> Result<(), EngineError> {
        self.out.units += 1;
        let mut queue = Queue::new();
        match root.work {
            RootWork::Timer { slot, entry } => self.fire(slot, &entry, &root.position, &mut queue)?,
            RootWork::Record { stages, waiting, .. } => {
                let (envelope, lineage) = (&waiting.envelope, waiting.lineage);
                match &waiting.key {
                    Err(poison) => self.poisoned(stages.first().copied(), poison, envelope, lineage),
                    Ok(key) => match self.place(envelope, key) {
                        Place::Here => {
                            queue.extend(stages.iter().map(|s| ((root.position.clone(), *s), Arc::clone(envelope))));
                        }
                        Place::Forward(input, to) => self.forward(input, to, envelope, key, lineage),
                        Place::Elsewhere(owner) => {
                            let text = format!("key {key:?} belongs to partition {owner}");
                            let poison = Poison::new("WRONG_PARTITION", text);
                            self.poisoned(stages.first().copied(), &poison, envelope, lineage);
                        }
                    },
                }
            }
        }
        while let Some(((position, ordinal), envelope)) = queue.pop_first() {
            self.record(&position, ordinal, &envelope, &mut queue)?;
        }
        Ok(())
    }

    fn slot(&mut self, ordinal: u8) -> Option<&mut Slot> {
        self.task.slots.iter_mut().find(|s| s.ordinal == ordinal)
    }

    fn record(
        &mut self,
        position: &Position,
        ordinal: u8,
        envelope: &Arc<Envelope>,
        queue: &mut Queue,
    ) -> Result<(), EngineError> {
        let (now, tables) = (self.batch.now, self.batch.tables);
        let Some(slot) = self.slot(ordinal) else { return Ok(()) };
        let stage = slot.instance.name();
        match slot.instance.on_record(envelope, now, tables) {
            Ok(done) => {
                let cause = Cause { position, ordinal, stage, timer: None, origin_us: envelope.origin_us };
                self.apply(&cause, done, queue)
            }
            Err(poison) => {
                let lineage = envelope.lineage.unwrap_or_else(|| Lineage::root(&envelope.topic, &envelope.key));
                self.poisoned(Some(ordinal), &poison, envelope, lineage);
                Ok(())
            }
        }
    }

    fn fire(
        &mut self,
        slot: usize,
        entry: &TimerEntry,
        position: &Position,
        queue: &mut Queue,
    ) -> Result<(), EngineError> {
        let (now, tables, sequence) = (self.batch.now, self.batch.tables, entry.fire_count);
        let Some(slot) = self.task.slots.get_mut(slot) else { return Ok(()) };
        let (stage, ordinal) = (slot.instance.name(), slot.ordinal);
        // A timer of an earlier root of this batch may have cancelled or moved this one.
        if slot.timers.get(&entry.key) != Some(entry) {
            return Ok(());
        }
        slot.timers.remove(&entry.key);
        slot.timers.keep_record();
        let creator = Lineage::from_slice(&entry.creator).unwrap_or_else(|| Lineage::root(stage, &entry.key));
        let lineage = creator.timer(stage, &entry.key, sequence);
        match slot.instance.on_timer(&entry.key, entry, lineage, now, tables) {
            Ok(done) => {
                let cause = Cause { position, ordinal, stage, timer: Some((&entry.key, sequence)), origin_us: None };
                self.apply(&cause, done, queue)
            }
            Err(poison) => {
                let topic = format!("{stage}/timers");
                let payload = Payload::Avro(entry.payload.as_slice().into());
                let envelope = Envelope {
                    offset: None,
                    ..Envelope::foreign(&topic, self.task.partition(), -1, &entry.key, payload)
                };
                self.poisoned(Some(ordinal), &poison, &envelope, lineage);
                Ok(())
            }
        }
    }

    fn apply(&mut self, cause: &Cause<'_>, done: Done, queue: &mut Queue) -> Result<(), EngineError> {
        let now = self.batch.now;
        if let (Some(lineage), Some(slot)) = (done.lineage, self.slot(cause.ordinal)) {
            for op in done.timers {
                set_timer(slot, cause, op, lineage, now);
            }
            slot.timers.keep_record();
        }
        for (n, emitted) in done.emitted.into_iter().enumerate() {
            let position = cause.position.child(cause.ordinal, u32::try_from(n).unwrap_or(u32::MAX));
            self.emit(cause, emitted, position, queue)?;
        }
        Ok(())
    }

    fn emit(
        &mut self,
        cause: &Cause<'_>,
        emitted: Emitted,
        position: Position,
        queue: &mut Queue,
    ) -> Result<(), EngineError> {
        let group = Arc::clone(self.task.group());
        let (topic, partition, now) = (emitted.topic.topic, self.task.partition(), self.batch.now);
        // Also where the reader is in another group: a path must not run split that cannot run fused.
        if group.read_later(topic, cause.ordinal) {
            let owner = (self.task.context().partitioner)(topic, &emitted.key);
            if owner != partition {
                let (stage, key) = (cause.stage.to_owned(), emitted.key.to_string());
                return Err(EngineError::ForeignKey { stage, topic: topic.to_owned(), key, partition, owner });
            }
        }
        let mut readers = group.handed_on(topic, cause.ordinal).peekable();
        if readers.peek().is_some() {
            let envelope = Arc::new(Envelope {
                topic: topic.into(),
                partition,
                offset: None,
                key: Arc::clone(&emitted.key),
                payload: Payload::Avro(Arc::clone(&emitted.payload)),
                lineage: Some(emitted.lineage),
                event_time: Some(now),
                order: None,
                position: None,
                origin_us: cause.origin_us,
            });
            queue.extend(readers.map(|r| ((position.clone(), r), Arc::clone(&envelope))));
        }
        let order = self.next_order();
        self.out.outputs.push(OutRecord {
            topic,
            key: emitted.key,
            payload: emitted.payload,
            schema: emitted.topic.schema,
            lineage: emitted.lineage,
            event_time: now,
            order,
            position: self.batch.instant.map(|_| position.as_bytes().into()),
            origin_us: cause.origin_us,
            headers: emitted.headers,
        });
        Ok(())
    }

    // Where a record belongs that may come from a producer with another partitioner.
    fn place(&self, envelope: &Envelope, key: &str) -> Place {
        let mut inputs = self.task.group().subscriptions().iter().map(|s| s.input);
        let Some(input) = inputs.find(|i| *i.topic == *envelope.topic) else { return Place::Here };
        // What a task or gateway wrote stands where it belongs, or was forwarded once.
        if envelope.order.is_some() {
            return Place::Here;
        }
        let owner = (self.task.context().partitioner)(input.topic, key);
        match input.forward_to {
            _ if owner == self.task.partition() => Place::Here,
            Some(to) => Place::Forward(input, to),
            None => Place::Elsewhere(owner),
        }
    }

    fn forward(&mut self, input: InputTopic, to: &'static str, envelope: &Envelope, key: &str, lineage: Lineage) {
        let Payload::Avro(payload) = &envelope.payload else { return };
        let order = self.next_order();
        self.out.forwards += 1;
        self.out.outputs.push(OutRecord {
            topic: to,
            key: key.into(),
            payload: Arc::clone(payload),
            schema: input.schema,
            lineage,
            // As for any record of a task: processed at a later instant, wherever the value's own time stands.
            event_time: self.batch.now,
            order,
            position: None,
            origin_us: envelope.origin_us,
            headers: Vec::new(),
        });
    }

    fn poisoned(&mut self, ordinal: Option<u8>, poison: &Poison, envelope: &Envelope, lineage: Lineage) {
        let stage = ordinal.and_then(|o| self.slot(o)).map(|s| s.instance.name());
        if let Some(stage) = stage {
            let letter = self.task.dead_letter(stage, poison, envelope, lineage, self.batch.now);
            self.out.dead_letters.push(letter);
        }
    }

    fn next_order(&mut self) -> [u8; 14] {
        let n = self.out.emitted;
        self.out.emitted = n.saturating_add(1);
        let writer = u16::try_from(self.task.partition()).unwrap_or(u16::MAX);
        WriterOrder { writer, sequence: u64::try_from(self.sequence).unwrap_or(0), n }.to_bytes()
    }
}

fn set_timer(slot: &mut Slot, cause: &Cause<'_>, op: TimerOp, creator: Lineage, now: TimestampMicros) {
    match op {
        TimerOp::Cancel { key } => slot.timers.remove(&key),
        TimerOp::Set { key, due, payload } => {
            // A handler that sets its own key again continues a chain; any other setting starts one.
            let fire_count = cause.timer.filter(|(k, _)| *k == key).map_or(0, |(_, n)| n + 1);
            let entry = TimerEntry {
                stage: cause.stage.to_owned(),
                key: key.clone(),
                due,
                set_at: now,
                fire_count,
                creator: creator.as_bytes().to_vec(),
                payload,
            };
            slot.timers.put(&key, entry);
        }
    }
}
