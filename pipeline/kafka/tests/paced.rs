//! Paced mode and tables against a real Kafka: an instant sees everything that belongs to it and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod stages;

use common::{eventually, unique};
use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::{Rows, Table, TableDecl, TableRow};
use fillstream_core::{StageHandle, inputs, outputs, stores};
use fillstream_domain::DurationMicros;
use fillstream_kafka::driver::DriverConfig;
use fillstream_kafka::registry::{framed, value_subject};
use fillstream_kafka::topics::{journal_topic, partition_for};
use fillstream_schemas::codec::CodecError;
use fillstream_schemas::engine::{InputRun, JournalRecord};
use fillstream_schemas::execution::{ClockTick, Command, TablePosition};
use fillstream_schemas::{AvroRecord, TimestampMicros, wire};
use stages::{Harness, PARTITIONS, Started, TestStages, command};

const IN: &str = "test.paced-in.v1";
const PRICES: &str = "test.paced-prices.v1";
const OUT: &str = "test.paced-out.v1";
const T0: i64 = 1_700_000_000_000_000;

inputs! {
    /// Inputs.
    enum In { Command(Command) = "test.paced-in.v1" }
}
outputs! {
    /// Outputs.
    enum Out { Command(Command) = "test.paced-out.v1" }
}
stores! {
    /// Nothing much.
    struct State { seen: InputRun = "seen" }
}

/// The last price of everything: the actor of a command stands for it.
#[derive(Clone)]
struct Prices(Rows<String>);

impl Default for Prices {
    fn default() -> Self {
        Self(Rows::new(PRICES))
    }
}

impl Table for Prices {
    const TOPICS: &'static [(&'static str, &'static str)] = &[(PRICES, Command::FULL_NAME)];

    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        let price = Command::decode(row.value.unwrap_or_default())?.actor;
        self.0.push(row.key, row, price, 1);
        Ok(())
    }
}

/// Looks the price up at once, and again 100 ms later.
struct Look;

impl Stage for Look {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = Command;
    const NAME: &'static str = "look";
    const DOC: &'static str = "Looks prices up.";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<Prices>()]
    }

    fn on_record(&self, r: &Record<In>, _: &mut State, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let In::Command(c) = &r.value;
        let mut c = (**c).clone();
        let due = fx.now().checked_add(DurationMicros::from_micros(100_000).unwrap()).unwrap();
        c.actor = fx.table::<Prices>().and_then(|p| p.0.get("x").cloned()).unwrap_or_default();
        c.order_id = fx.next_id();
        fx.schedule(c.command_id.clone(), due, &c);
        c.timestamp = fx.now();
        fx.emit(c);
        Ok(())
    }

    fn on_timer(&self, t: &Timer<Command>, _: &mut State, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let mut c = t.payload.clone();
        c.actor = fx.table::<Prices>().and_then(|p| p.0.get("x").cloned()).unwrap_or_default();
        c.reason = "timer".into();
        c.timestamp = fx.now();
        fx.emit(c);
        Ok(())
    }
}

struct Paced {
    h: Harness,
    clock: String,
    clock_id: u32,
}

impl Paced {
    fn new() -> Self {
        let make = || vec![StageHandle::of(Look)];
        let stages = TestStages { topics: &[IN, PRICES, OUT], names: &["look"], make };
        let h = Harness::new(stages, false);
        let clock = unique("clock");
        common::make_topic(&h.kafka, &clock, PARTITIONS, &[]);
        let clock_id = h.registry.register(&value_subject(&clock), ClockTick::SCHEMA).unwrap();
        Self { h, clock, clock_id }
    }

    fn start(&self, instance: &str, max_batch_records: usize) -> Started {
        let config = DriverConfig {
            instance: instance.into(),
            paced: true,
            clock_topic: self.clock.clone(),
            max_batch_records,
            ..DriverConfig::default()
        };
        self.h.start_with(config, 1)
    }

    fn price(&self, price: &str) -> Vec<TablePosition> {
        let mut row = command(0, "x", "");
        row.actor = price.into();
        let partition = partition_for(b"x", PARTITIONS);
        self.h.send_raw(PRICES, &[("x".into(), partition, self.h.frame(PRICES, &row))]);
        // A record and a marker each time.
        let offset = i64::try_from(self.h.read(PRICES).len()).unwrap() * 2;
        vec![TablePosition { topic: PRICES.into(), partition, offset }]
    }

    fn tick(&self, sequence: i64, at_us: i64, tables: &[TablePosition]) {
        let tick = ClockTick {
            instant: TimestampMicros::from_micros(T0 + at_us),
            sequence,
            tables: tables.to_vec(),
            ..ClockTick::default()
        };
        let value = framed(self.clock_id, &tick.to_bytes());
        let all: Vec<_> = (0..PARTITIONS).map(|p| (p.to_string(), p, value.clone())).collect();
        self.h.send_raw(&self.clock, &all);
    }

    fn done(&self, sequence: i64) {
        eventually("the tick to be done everywhere", || {
            let done = self.journal().iter().filter(|(_, r)| r.instant == sequence && r.complete).count();
            (done == usize::try_from(PARTITIONS).unwrap()).then_some(())
        });
    }

    fn journal(&self) -> Vec<(i32, JournalRecord)> {
        let topic = journal_topic(self.h.groups[0].name());
        let record = |r: &fillstream_kafka::client::Received| {
            let (_, bytes) = wire::split(r.value.as_deref().unwrap()).unwrap();
            (r.partition, JournalRecord::decode(bytes).unwrap())
        };
        self.h.read(&topic).iter().map(record).collect()
    }

    fn send(&self, id: usize, portfolio: &str, at_us: i64) {
        let mut c = command(id, portfolio, "");
        c.timestamp = TimestampMicros::from_micros(T0 + at_us);
        self.h.send(&[c]);
    }
}

type Line = (i64, String, String, String, String);

/// Time, id, price, reason, made id of every output, in an order of their own.
fn lines(p: &Paced) -> Vec<Line> {
    let mut out: Vec<Line> =
        p.h.commands(OUT)
            .into_iter()
            .map(|c| (c.timestamp.micros() - T0, c.command_id, c.actor, c.reason, c.order_id))
            .collect();
    out.sort();
    out
}

fn scenario(p: &Paced, mut between: impl FnMut()) -> Vec<Line> {
    for i in 0..20 {
        p.send(i, &format!("p{}", i % 5), i64::try_from(i).unwrap() * 10_000);
    }
    let old = p.price("old");
    p.tick(1, 0, &old);
    p.done(1);
    between();
    assert_eq!(lines(p).len(), 1, "only the command of that instant");
    let new = p.price("new");
    for (sequence, at) in [(2, 100_000), (3, 200_000), (4, 300_000)] {
        p.tick(sequence, at, &new);
        p.done(sequence);
        between();
    }
    lines(p)
}

#[test]
fn instants_are_complete_and_do_not_depend_on_batches_restarts_or_instances() {
    let mut p = Paced::new();
    let started = p.start("whole", 1_000);
    let whole = scenario(&p, || {});
    started.end();
    let count = |at: i64, price: &str, reason: &str| {
        whole.iter().filter(|l| l.0 == at && l.2 == price && l.3 == reason).count()
    };
    assert_eq!((count(0, "old", ""), count(100_000, "new", ""), count(200_000, "new", "")), (1, 10, 9));
    // Timers of 100 ms, at the instant that reaches them: never at the one that set them.
    assert_eq!(
        (count(100_000, "new", "timer"), count(200_000, "new", "timer"), count(300_000, "new", "timer")),
        (1, 10, 9)
    );
    assert_eq!(whole.len(), 40);

    for (name, batch) in [("tiny", 1), ("again", 3)] {
        p.h.regroup(false);
        for topic in [IN, PRICES, OUT] {
            stages::remake(&p.h.kafka, topic);
        }
        p.clock = unique("clock");
        common::make_topic(&p.h.kafka, &p.clock, PARTITIONS, &[]);
        let (p, mut started) = (&p, Some(p.start(name, batch)));
        let got = scenario(p, || {
            started.take().unwrap().end();
            started = Some(p.start(name, batch));
        });
        started.take().unwrap().end();
        assert_eq!(got, whole, "batches of {batch}, restarted at every tick");
    }
}
