//! Given, when, then for one stage: the real task, without a log.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::batch::{Batch, BatchOutput};
use fillstream_core::group::{Group, Path};
use fillstream_core::lineage::Lineage;
use fillstream_core::record::{Envelope, OutRecord, Payload};
use fillstream_core::stage::Stage;
use fillstream_core::table::{Table, Tables};
use fillstream_core::task::{Partitioner, Task, TaskContext};
use fillstream_core::trace::{Sampler, Span};
use fillstream_core::{StageHandle, codec::Event};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::{DeadLetter, TimerEntry};

/// Batches that [`StageBench::timer_to`] runs before it takes the timers for endless.
const MAX_FIRINGS: usize = 100_000;

/// A stage (or a fused path) with its state, a clock and everything it wrote. Partition 0 of 1.
///
/// Each call that gives input is one committed batch at the bench's present time; timers that are due fire first, as
/// live. Every batch is run, rolled back and run again, and must come out the same: a stage that is not deterministic,
/// or a rollback that leaves something, fails the test by itself.
///
/// ```ignore
/// let mut bench = StageBench::new(OrderManagement::new(config));
/// bench.table(quotes).at(noon).record("coordination.decisions.v1", &decision);
/// assert_eq!(bench.take_one::<OrderEvent>().event_type, OrderEventType::Created);
/// bench.timer_to(later).restart();
/// assert!(bench.state::<ParentOrderState>("orders").is_empty());
/// ```
///
/// It panics where a test has to fail: on an error of the engine, and on records that cannot be read.
pub struct StageBench {
    group: Arc<Group>,
    context: TaskContext,
    task: Task,
    tables: Tables,
    now: TimestampMicros,
    offsets: BTreeMap<String, i64>,
    changelog: BTreeMap<(String, String), Vec<u8>>,
    outputs: Vec<OutRecord>,
    dead_letters: Vec<DeadLetter>,
    spans: Vec<Span>,
}

impl StageBench {
    /// A bench of one stage, at time 0, without state and tables.
    #[must_use]
    pub fn new<S: Stage>(stage: S) -> Self {
        Self::path(vec![StageHandle::of(stage)])
    }

    /// A bench of stages fused in this order.
    #[must_use]
    pub fn path(stages: Vec<StageHandle>) -> Self {
        Self::partitioned(stages, Arc::new(|_, _| 0))
    }

    /// As [`StageBench::path`], with `partitioner` (topic, key) deciding where keys belong; the bench is partition 0.
    #[must_use]
    pub fn partitioned(stages: Vec<StageHandle>, partitioner: Partitioner) -> Self {
        let path = or_fail("the path", Path::new("bench", stages));
        let group = or_fail("the group", Group::fused(&path));
        let sampler = Sampler::per_million(1_000_000);
        let context = TaskContext { partitioner, config_hash: "bench".into(), code_version: "bench".into(), sampler };
        Self {
            task: Task::new(&group, 0, context.clone()),
            group,
            context,
            tables: Tables::default(),
            now: TimestampMicros::from_micros(0),
            offsets: BTreeMap::new(),
            changelog: BTreeMap::new(),
            outputs: Vec::new(),
            dead_letters: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Sets the version of a table that the next batches see.
    pub fn table<T: Table>(&mut self, table: T) -> &mut Self {
        self.tables.set(table);
        self
    }

    /// Sets the time of the next batches. It fires no timer by itself.
    pub fn at(&mut self, now: TimestampMicros) -> &mut Self {
        self.now = now;
        self
    }

    /// The bench's time.
    #[must_use]
    pub fn now(&self) -> TimestampMicros {
        self.now
    }

    /// Gives a record as a foreign producer writes it: identity and time come from the value.
    pub fn record<R: Event>(&mut self, topic: &str, value: &R) -> &mut Self {
        let envelope = Envelope::foreign(topic, 0, 0, value.key(), Payload::Avro(value.to_bytes().into()));
        self.envelopes([envelope])
    }

    /// Gives several records of one topic in one batch.
    pub fn records<R: Event>(&mut self, topic: &str, values: &[R]) -> &mut Self {
        self.envelopes(
            values
                .iter()
                .map(|value| Envelope::foreign(topic, 0, 0, value.key(), Payload::Avro(value.to_bytes().into()))),
        )
    }

    /// Gives a record as another stage writes it: with its lineage, at the bench's time.
    pub fn derived<R: Event>(&mut self, topic: &str, value: &R, lineage: Lineage) -> &mut Self {
        let payload = Payload::Avro(value.to_bytes().into());
        let envelope = Envelope {
            lineage: Some(lineage),
            event_time: Some(self.now),
            ..Envelope::foreign(topic, 0, 0, value.key(), payload)
        };
        self.envelopes([envelope])
    }

    /// Gives bytes that are to be the Avro value of a record.
    pub fn bytes(&mut self, topic: &str, key: &str, value: &[u8]) -> &mut Self {
        self.envelopes([Envelope::foreign(topic, 0, 0, key, Payload::Avro(value.into()))])
    }

    /// Gives any records in one batch; the bench numbers their offsets.
    pub fn envelopes(&mut self, envelopes: impl IntoIterator<Item = Envelope>) -> &mut Self {
        for mut envelope in envelopes {
            if !self.group.subscriptions().iter().any(|s| s.input.topic == &*envelope.topic) {
                fail("the record", &format!("no stage reads {}", envelope.topic));
            }
            let next = self.offsets.entry(envelope.topic.to_string()).or_insert(0);
            envelope.offset = Some(*next);
            *next += 1;
            self.task.offer(envelope);
        }
        self.run()
    }

    /// Runs one batch of the timers that are due at the bench's time: what happens after downtime.
    pub fn fire(&mut self) -> &mut Self {
        self.run()
    }

    /// Moves the time to `until`, stopping at every timer that becomes due on the way.
    pub fn timer_to(&mut self, until: TimestampMicros) -> &mut Self {
        for _ in 0..MAX_FIRINGS {
            let Some(due) = self.task.next_due().filter(|due| *due <= until) else { break };
            // A timer never fires at the time at which it was set.
            let after = TimestampMicros::from_micros(self.task.now().micros().saturating_add(1));
            let next = self.now.max(due).max(after);
            if next > until {
                break;
            }
            self.now = next;
            self.run();
        }
        if self.task.next_due().is_some_and(|due| due < until) && self.task.now() < until && self.now <= until {
            fail("the timers", "they set each other without end");
        }
        self.now = self.now.max(until);
        self
    }

    /// Drops the task and restores it from the changelog's bytes; the state must be the same.
    pub fn restart(&mut self) -> &mut Self {
        let mut fresh = Task::new(&self.group, 0, self.context.clone());
        for ((store, key), value) in &self.changelog {
            or_fail("the restore", fresh.restore(store, key, Some(value)));
        }
        fresh.restored(self.task.sequence(), self.task.now());
        if self.task.dump() != fresh.dump() || self.task.next_due() != fresh.next_due() {
            fail("the restore", "the state restored from the changelog differs from the one in memory");
        }
        self.task = fresh;
        self
    }

    /// All records of type `R` written so far, taken out.
    pub fn take<R: AvroRecord>(&mut self) -> Vec<R> {
        let (taken, left) =
            std::mem::take(&mut self.outputs).into_iter().partition::<Vec<_>, _>(|o| o.schema == R::FULL_NAME);
        self.outputs = left;
        taken.iter().map(|o| or_fail(o.topic, R::decode(&o.payload))).collect()
    }

    /// The one record of type `R` written so far, taken out.
    pub fn take_one<R: AvroRecord>(&mut self) -> R {
        let mut taken = self.take::<R>();
        match (taken.pop(), taken.len()) {
            (Some(value), 0) => value,
            (_, more) => {
                fail(R::FULL_NAME, &format!("expected one record, found {}: {taken:?}", more + usize::from(more > 0)))
            }
        }
    }

    /// The spans of all that was done so far, taken out.
    pub fn take_spans(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.spans)
    }

    /// All dead letters so far, taken out.
    pub fn take_dead_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.dead_letters)
    }

    /// Records of any type written and not taken yet, in order, with key, lineage and headers.
    #[must_use]
    pub fn outputs(&self) -> &[OutRecord] {
        &self.outputs
    }

    /// The test fails unless every record and dead letter was taken: nothing else was written.
    pub fn expect_no_more(&mut self) -> &mut Self {
        if let Some(o) = self.outputs.first() {
            fail("expected no more output", &format!("{} stands on {} with key {}", o.schema, o.topic, o.key));
        }
        if let Some(letter) = self.dead_letters.first() {
            fail("expected no dead letter", &format!("{}: {}", letter.reason_code, letter.reason_text));
        }
        self
    }

    /// Committed entries of a store: `orders` of the only stage, or `stage/orders` in a path.
    #[must_use]
    pub fn state<V: AvroRecord>(&self, store: &str) -> BTreeMap<String, V> {
        let name = self.qualified(store);
        if !self.group.stores().iter().any(|(n, schema)| *n == name && *schema == V::FULL_NAME) {
            fail(&name, &format!("no store of {}", V::FULL_NAME));
        }
        let entries = self.changelog.iter().filter(|((store, _), _)| *store == name);
        entries.map(|((_, key), value)| (key.clone(), or_fail(&name, V::decode(value)))).collect()
    }

    /// Timers that are set: (stage, key) with due time.
    #[must_use]
    pub fn timers(&self) -> BTreeMap<(String, String), TimestampMicros> {
        let entries = self.changelog.iter().filter(|((store, _), _)| store.ends_with("/timers"));
        entries
            .map(|(_, value)| or_fail("timers", TimerEntry::decode(value)))
            .map(|entry| ((entry.stage, entry.key), entry.due))
            .collect()
    }

    /// The whole committed state as `stage/store`, key and Avro value, in this order.
    #[must_use]
    pub fn dump(&self) -> Vec<(String, String, Vec<u8>)> {
        self.changelog.iter().map(|((store, key), value)| (store.clone(), key.clone(), value.clone())).collect()
    }

    fn qualified(&self, store: &str) -> String {
        let only = self.group.stages().first().map_or("", |s| s.spec().name);
        if store.contains('/') { store.to_owned() } else { format!("{only}/{store}") }
    }

    fn run(&mut self) -> &mut Self {
        let batch = Batch { now: self.now, instant: None, tables: &self.tables, max_units: usize::MAX };
        let before = self.task.dump();
        let first = or_fail("the batch", self.task.run(&batch));
        self.task.rollback();
        if self.task.dump() != before {
            fail("the rollback", "it left something of the batch in the state");
        }
        let out = or_fail("the batch", self.task.run(&batch));
        if !same(&first, &out) {
            fail("the stage", "the same batch gave other outputs the second time");
        }
        self.task.commit(&out);
        for entry in out.changelog {
            let at = (entry.store, entry.key);
            match entry.value {
                Some(value) => self.changelog.insert(at, value),
                None => self.changelog.remove(&at),
            };
        }
        let letters = out.dead_letters.iter().map(|l| or_fail(l.stage, DeadLetter::decode(&l.payload)));
        self.dead_letters.extend(letters);
        self.outputs.extend(out.outputs);
        self.spans.extend(out.spans);
        self
    }
}

fn same(a: &BatchOutput, b: &BatchOutput) -> bool {
    a.outputs == b.outputs
        && a.dead_letters == b.dead_letters
        && a.changelog == b.changelog
        && a.record == b.record
        && a.spans == b.spans
}

fn or_fail<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => fail(what, &e.to_string()),
    }
}

#[expect(clippy::panic, reason = "a bench is part of a test: this is how it fails")]
fn fail(what: &str, text: &str) -> ! {
    panic!("{what}: {text}")
}
