//! All that roots cause within a task, in the order of positions.

use std::any::Any;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;
use fillstream_schemas::engine::TimerEntry;

use crate::batch::{Admitted, Batch, BatchOutput, Root, RootWork, Waiting};
use crate::error::{EngineError, Poison};
use crate::group::Group;
use crate::instance::{Done, Firing};
use crate::lineage::Lineage;
use crate::position::{Position, WriterOrder};
use crate::record::{Envelope, OutRecord, Payload};
use crate::stage::{Emitted, InputTopic, TimerOp, Under};
use crate::task::{Slot, Task};
use crate::trace::{Span, SpanWork, TraceContext};

pub(crate) struct Cascade<'t, 'b> {
    pub task: &'t mut Task,
    pub group: &'t Group,
    pub batch: &'t Batch<'b>,
    pub sequence: i64,
    pub out: &'t mut BatchOutput,
    /// Between two roots only what comes after the second.
    pub queue: &'t mut Queue,
}

/// What made an output: its position and the stage's ordinal, and whose trace it belongs to.
struct Cause<'p> {
    position: &'p Position,
    ordinal: u8,
    stage: &'static str,
    work: Work<'p>,
    /// The span that wrote the record or set the timer.
    parent: Option<&'p TraceContext>,
}

#[derive(Clone, Copy)]
enum Work<'p> {
    Record(&'p Envelope),
    Timer(&'p TimerEntry),
}

impl Cause<'_> {
    fn origin_us(&self) -> Option<i64> {
        match self.work {
            Work::Record(envelope) => envelope.origin_us,
            Work::Timer(_) => None,
        }
    }

    // What tells about the span: a handling that is over.
    fn span(&self, context: TraceContext, outputs: usize) -> Span {
        let (key, work) = match self.work {
            Work::Record(e) => {
                let (topic, partition, offset) = (Arc::clone(&e.topic), e.partition, e.offset);
                (Arc::clone(&e.key), SpanWork::Record { topic, partition, offset })
            }
            Work::Timer(entry) => (entry.key.as_str().into(), SpanWork::Timer),
        };
        let parent = self.parent.map(|p| *p.span_id());
        Span { context, parent, link: None, stage: self.stage, key, work, outputs, poison: None }
    }
}

/// The spans of a handling: that of what is in hand, and those in the traces that the stage followed.
struct Spans {
    in_hand: Option<TraceContext>,
    followed: Vec<TraceContext>,
}

impl Spans {
    fn of(&self, under: Under) -> Option<&TraceContext> {
        match under {
            Under::InHand => self.in_hand.as_ref(),
            Under::Followed(n) => self.followed.get(n),
            Under::Nobody => None,
        }
    }
}

/// Where a record belongs.
enum Place {
    Here,
    /// Through this topic to another partition.
    Forward(InputTopic, &'static str),
    /// To another partition, and nothing takes it there.
    Elsewhere(i32),
}

/// Name of the span in which a record is sent on to another partition.
const FORWARD: &str = "forward";

/// What roots still cause, the first position first. No two turns have the same position and stage.
pub(crate) type Queue = BinaryHeap<Reverse<Turn>>;

/// A stage's turn at a record.
pub(crate) struct Turn {
    position: Position,
    ordinal: u8,
    record: Held,
}

impl Turn {
    fn place(&self) -> (&Position, u8) {
        (&self.position, self.ordinal)
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Turn {}

/// A record in the queue.
#[derive(Clone)]
enum Held {
    /// That of the root, with what its first reader found in it.
    Root(Rc<(Arc<Waiting>, Admitted)>),
    /// One that a stage handed on.
    HandedOn(Arc<Envelope>),
}

impl Held {
    fn envelope(&self) -> &Envelope {
        match self {
            Self::Root(root) => &root.0.envelope,
            Self::HandedOn(envelope) => envelope,
        }
    }

    fn decoded(&self) -> Option<&(dyn Any + Send + Sync)> {
        match self {
            Self::Root(root) => root.1.decoded.as_deref(),
            Self::HandedOn(_) => None,
        }
    }

    fn lineage(&self) -> Lineage {
        match self {
            Self::Root(root) => root.1.identity.lineage,
            Self::HandedOn(e) => e.lineage.unwrap_or_else(|| Lineage::root(&e.topic, &e.key)),
        }
    }
}

impl Cascade<'_, '_> {
    /// Begins with a root; what it causes waits for its turn.
    pub(crate) fn begin(&mut self, root: Root<'_>) -> Result<(), EngineError> {
        self.out.units += 1;
        match root.work {
            RootWork::Timer { slot, entry } => self.fire(slot, &entry, &root.position)?,
            RootWork::Record { subscription, waiting } => {
                let (envelope, first) = (&waiting.envelope, subscription.stages.first().copied());
                let Some(slot) = first.and_then(|ordinal| self.slot(ordinal)) else { return Ok(()) };
                let admitted = slot.instance.admit(envelope);
                let lineage = admitted.identity.lineage;
                match &admitted.key {
                    Err(poison) => self.poisoned(first, poison, envelope, lineage),
                    Ok(key) => match self.place(subscription.input, envelope, key) {
                        Place::Here => {
                            let readers = subscription.stages.iter().copied();
                            self.hand(&root.position, readers, Held::Root(Rc::new((waiting, admitted))));
                        }
                        Place::Forward(input, to) => self.forward(input, to, envelope, key, lineage),
                        Place::Elsewhere(owner) => {
                            let text = format!("key {key:?} belongs to partition {owner}");
                            let poison = Poison::new("WRONG_PARTITION", text);
                            self.poisoned(first, &poison, envelope, lineage);
                        }
                    },
                }
            }
        }
        Ok(())
    }

    /// Takes every turn before a position; without one, all.
    pub(crate) fn settle(&mut self, before: Option<&Position>) -> Result<(), EngineError> {
        while self.queue.peek().is_some_and(|Reverse(turn)| before.is_none_or(|before| turn.position < *before)) {
            if let Some(Reverse(turn)) = self.queue.pop() {
                self.record(&turn)?;
            }
        }
        Ok(())
    }

    fn hand(&mut self, position: &Position, readers: impl Iterator<Item = u8>, record: Held) {
        self.queue.extend(
            readers.map(|ordinal| Reverse(Turn { position: position.clone(), ordinal, record: record.clone() })),
        );
    }

    fn slot(&mut self, ordinal: u8) -> Option<&mut Slot> {
        self.task.slots.iter_mut().find(|s| s.ordinal == ordinal)
    }

    fn record(&mut self, turn: &Turn) -> Result<(), EngineError> {
        let (position, ordinal, envelope) = (&turn.position, turn.ordinal, turn.record.envelope());
        let (now, tables) = (self.batch.now, self.batch.tables);
        let Some(slot) = self.slot(ordinal) else { return Ok(()) };
        let stage = slot.instance.name();
        match slot.instance.on_record(envelope, turn.record.decoded(), now, tables) {
            Ok(done) => {
                let (work, parent) = (Work::Record(envelope), envelope.trace.as_ref());
                self.apply(&Cause { position, ordinal, stage, work, parent }, done)
            }
            Err(poison) => {
                let lineage = turn.record.lineage();
                self.poisoned(Some(ordinal), &poison, envelope, lineage);
                Ok(())
            }
        }
    }

    fn fire(&mut self, slot: usize, entry: &TimerEntry, position: &Position) -> Result<(), EngineError> {
        let (now, tables) = (self.batch.now, self.batch.tables);
        let Some(slot) = self.task.slots.get_mut(slot) else { return Ok(()) };
        let (stage, ordinal) = (slot.instance.name(), slot.ordinal);
        // A timer of an earlier root of this batch may have cancelled or moved this one.
        if slot.timers.get(&entry.key) != Some(entry) {
            return Ok(());
        }
        slot.timers.remove(&entry.key);
        slot.timers.keep_record();
        let creator = Lineage::from_slice(&entry.creator).unwrap_or_else(|| Lineage::root(stage, &entry.key));
        let lineage = creator.timer(stage, &entry.key, entry.fire_count);
        let trace = entry.trace.as_deref().and_then(TraceContext::from_bytes);
        let firing = Firing { entry, lineage, trace: trace.as_ref() };
        match slot.instance.on_timer(&firing, now, tables) {
            Ok(done) => {
                let (work, parent) = (Work::Timer(entry), trace.as_ref());
                self.apply(&Cause { position, ordinal, stage, work, parent }, done)
            }
            Err(poison) => {
                let topic = format!("{stage}/timers");
                let payload = Payload::Avro(entry.payload.as_slice().into());
                let envelope = Envelope {
                    offset: None,
                    trace,
                    ..Envelope::foreign(&topic, self.task.partition(), -1, &entry.key, payload)
                };
                self.poisoned(Some(ordinal), &poison, &envelope, lineage);
                Ok(())
            }
        }
    }

    fn apply(&mut self, cause: &Cause<'_>, done: Done) -> Result<(), EngineError> {
        let now = self.batch.now;
        let spans = self.spans(cause, &done);
        if let (Some(lineage), Some(slot)) = (done.lineage, self.slot(cause.ordinal)) {
            for op in done.timers {
                set_timer(slot, cause, op, (lineage, now), &spans);
            }
            slot.timers.keep_record();
        }
        for (n, emitted) in done.emitted.into_iter().enumerate() {
            let trace = spans.of(emitted.under).cloned();
            self.emit(cause, u32::try_from(n).unwrap_or(u32::MAX), emitted, trace)?;
        }
        Ok(())
    }

    // The spans of a handling that succeeded, told where their traces are recorded.
    fn spans(&mut self, cause: &Cause<'_>, done: &Done) -> Spans {
        let sampler = self.task.context().sampler;
        let followed: Vec<_> = done.followed.iter().map(|f| f.context.clone()).collect();
        let has_effects = !done.emitted.is_empty() || !done.timers.is_empty();
        let Some(lineage) = done.lineage.filter(|_| has_effects || sampler.is_on()) else {
            return Spans { in_hand: None, followed };
        };
        let in_hand = TraceContext::enter(cause.parent, lineage, cause.stage);
        let outputs = |under| done.emitted.iter().filter(|e| e.under == under).count();
        let sets = done.timers.iter().any(|t| matches!(t, TimerOp::Set { under: Under::InHand, .. }));
        let own = outputs(Under::InHand);
        // Of a timer that had no effect nothing depends.
        let worth_telling = own > 0 || sets || matches!(cause.work, Work::Record(_));
        if worth_telling && sampler.records(&in_hand) {
            self.out.spans.push(cause.span(in_hand.clone(), own));
        }
        for (n, f) in done.followed.iter().enumerate().filter(|(_, f)| sampler.records(&f.context)) {
            let span = cause.span(f.context.clone(), outputs(Under::Followed(n)));
            self.out.spans.push(Span { parent: Some(f.parent), link: Some(in_hand.clone()), ..span });
        }
        Spans { in_hand: Some(in_hand), followed }
    }

    // The `n`-th output of its cause.
    fn emit(
        &mut self,
        cause: &Cause<'_>,
        n: u32,
        emitted: Emitted,
        trace: Option<TraceContext>,
    ) -> Result<(), EngineError> {
        let (topic, partition, now) = (emitted.topic.topic, self.task.partition(), self.batch.now);
        // Also where the reader is in another group: a path must not run split that cannot run fused.
        if self.group.read_later(topic, cause.ordinal) {
            let owner = (self.task.context().partitioner)(topic, &emitted.key);
            if owner != partition {
                let (stage, key) = (cause.stage.to_owned(), emitted.key.to_string());
                return Err(EngineError::ForeignKey { stage, topic: topic.to_owned(), key, partition, owner });
            }
        }
        let mut readers = self.group.handed_on(topic, cause.ordinal).peekable();
        // Live, an output that nobody here reads needs no place.
        let (is_read, is_paced) = (readers.peek().is_some(), self.batch.instant.is_some());
        let position = (is_read || is_paced).then(|| cause.position.child(cause.ordinal, n));
        if is_read && let Some(position) = &position {
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
                origin_us: cause.origin_us(),
                trace: trace.clone(),
            });
            self.hand(position, readers, Held::HandedOn(envelope));
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
            position: position.filter(|_| is_paced).map(|position| position.as_bytes().into()),
            origin_us: cause.origin_us(),
            trace,
            headers: emitted.headers,
        });
        Ok(())
    }

    // Where a record belongs that may come from a producer with another partitioner.
    fn place(&self, input: InputTopic, envelope: &Envelope, key: &str) -> Place {
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
        let context = TraceContext::enter(envelope.trace.as_ref(), lineage, FORWARD);
        if self.task.context().sampler.records(&context) {
            self.out.spans.push(Span {
                context: context.clone(),
                parent: envelope.trace.as_ref().map(|t| *t.span_id()),
                link: None,
                stage: FORWARD,
                key: key.into(),
                work: SpanWork::Forward { topic: Arc::clone(&envelope.topic), to },
                outputs: 1,
                poison: None,
            });
        }
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
            trace: Some(context),
            headers: Vec::new(),
        });
    }

    fn poisoned(&mut self, ordinal: Option<u8>, poison: &Poison, envelope: &Envelope, lineage: Lineage) {
        let stage = ordinal.and_then(|o| self.slot(o)).map(|s| s.instance.name());
        if let Some(stage) = stage {
            let trace = TraceContext::enter(envelope.trace.as_ref(), lineage, stage);
            if self.task.context().sampler.records(&trace) {
                let (topic, partition, offset) = (Arc::clone(&envelope.topic), envelope.partition, envelope.offset);
                self.out.spans.push(Span {
                    context: trace.clone(),
                    parent: envelope.trace.as_ref().map(|t| *t.span_id()),
                    link: None,
                    stage,
                    key: Arc::clone(&envelope.key),
                    work: SpanWork::Record { topic, partition, offset },
                    outputs: 0,
                    poison: Some(poison.code.to_string()),
                });
            }
            let letter = self.task.dead_letter(stage, poison, envelope, (lineage, self.batch.now), trace);
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

fn set_timer(
    slot: &mut Slot,
    cause: &Cause<'_>,
    op: TimerOp,
    (creator, now): (Lineage, TimestampMicros),
    spans: &Spans,
) {
    match op {
        TimerOp::Cancel { key } => slot.timers.remove(&key),
        TimerOp::Set { key, due, payload, under } => {
            // A handler that sets its own key again continues a chain; any other setting starts one.
            let fire_count = match cause.work {
                Work::Timer(fired) if fired.key == key => fired.fire_count + 1,
                Work::Timer(_) | Work::Record(_) => 0,
            };
            let entry = TimerEntry {
                stage: cause.stage.to_owned(),
                key: key.clone(),
                due,
                set_at: now,
                fire_count,
                creator: creator.as_bytes().to_vec(),
                payload,
                trace: spans.of(under).map(TraceContext::to_bytes),
            };
            slot.timers.put(&key, entry);
        }
    }
}
