//! Replays against a real Kafka: a recorded run, with whatever happened to it, gives the same bytes again; another rule gives
//! the differences.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod stages;

use std::collections::BTreeSet;
use std::sync::Arc;

use fillstream_core::error::Poison;
use fillstream_core::group::{Group, Path};
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::{LogRows, Rows, Table, TableDecl, TableRow};
use fillstream_core::{StageHandle, inputs, outputs, stores};
use fillstream_domain::DurationMicros;
use fillstream_kafka::driver::{DriverConfig, DriverError, GroupRun};
use fillstream_kafka::replay::{Question, Replay, Report, What};
use fillstream_kafka::topics::{Router, journal_topic, partition_for};
use fillstream_schemas::codec::CodecError;
use fillstream_schemas::engine::{InputRun, JournalRecord};
use fillstream_schemas::execution::Command;
use fillstream_schemas::{AvroRecord, TimestampMicros, wire};
use stages::{Harness, PARTITIONS, Started, TestStages, command, remake};

const IN: &str = "test.replay-in.v1";
const FORWARDED: &str = "test.replay-fwd.v1";
const PRICES: &str = "test.replay-prices.v1";
const TICKS: &str = "test.replay-ticks.v1";
const OUT: &str = "test.replay-out.v1";
const LIMIT: usize = 3;

inputs! {
    /// Inputs.
    enum In { Command(Command) = "test.replay-in.v1" => "test.replay-fwd.v1", Forwarded(Command) = "test.replay-fwd.v1" }
}
outputs! {
    /// Outputs.
    enum Out { Command(Command) = "test.replay-out.v1" }
}
stores! {
    /// How often each portfolio was asked for.
    struct State { seen: InputRun = "seen" }
}

/// The last price of a portfolio: its actor, one letter a unit.
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
        match row.value {
            Some(value) => self.0.push(row.key, row, Command::decode(value)?.actor, 1),
            None => self.0.remove(row.key),
        }
        Ok(())
    }
}

/// How many ticks a portfolio has had.
#[derive(Clone)]
struct Ticks(LogRows<u32>);

impl Default for Ticks {
    fn default() -> Self {
        Self(LogRows::new(TICKS))
    }
}

impl Table for Ticks {
    const TOPICS: &'static [(&'static str, &'static str)] = &[(TICKS, Command::FULL_NAME)];

    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        *self.0.entry(row.key, row.partition) += 1;
        Ok(())
    }
}

/// Prices commands, and says of those above its limit that they are.
struct Pricer {
    limit: usize,
}

impl Pricer {
    fn price(&self, mut c: Command, state: &mut State, fx: &mut Effects<'_, Self>) {
        let mut run = state.seen.get(&c.portfolio_id).cloned().unwrap_or_default();
        run.count += 1;
        c.order_id = format!("{}-{}", c.portfolio_id, run.count);
        state.seen.put(&c.portfolio_id.clone(), run);
        c.actor = fx.table::<Prices>().and_then(|p| p.0.get(&c.portfolio_id)).cloned().unwrap_or_default();
        let ticks = fx.table::<Ticks>().and_then(|t| t.0.get(&c.portfolio_id)).copied();
        c.decision_event_id = ticks.map(|n| n.to_string());
        if c.actor.len() > self.limit {
            c.reason = "OVER".into();
        }
        fx.emit(c);
    }
}

impl Stage for Pricer {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = Command;
    const NAME: &'static str = "replayed-pricer";
    const DOC: &'static str = "Prices commands.";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<Prices>(), TableDecl::of::<Ticks>()]
    }

    fn on_record(&self, r: &Record<In>, state: &mut State, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let (In::Command(c) | In::Forwarded(c)) = &r.value;
        match c.reason.as_str() {
            "LATER" => {
                let due = fx.now().checked_add(DurationMicros::from_micros(50_000).unwrap()).unwrap();
                fx.schedule(c.command_id.clone(), due, c);
            }
            "POISON" => return Err(Poison::new("TEST_POISON", "as asked")),
            "PANIC" => panic!("as asked"),
            _ => self.price((**c).clone(), state, fx),
        }
        Ok(())
    }

    fn on_timer(&self, t: &Timer<Command>, state: &mut State, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        self.price(t.payload.clone(), state, fx);
        Ok(())
    }
}

struct Recording {
    h: Harness,
    sent: usize,
    expected: usize,
}

impl Recording {
    fn new() -> Self {
        let make = || vec![StageHandle::of(Pricer { limit: LIMIT })];
        let stages = TestStages { topics: &[IN, FORWARDED, OUT], names: &[Pricer::NAME], make };
        Self { h: Harness::with(stages, false, &[PRICES, TICKS]), sent: 0, expected: 0 }
    }

    fn start(&self, instance: &str) -> Started {
        let config = DriverConfig {
            instance: instance.into(),
            max_batch_records: 7,
            snapshot_interval_ms: 20,
            snapshot_part_bytes: 64,
            ..DriverConfig::default()
        };
        let started = self.h.start_with(config, 1);
        started.ready();
        started
    }

    fn row(&self, topic: &str, portfolio: usize, actor: &str) {
        let mut row = command(0, &format!("p{portfolio}"), "");
        row.actor = actor.into();
        let key = row.portfolio_id.clone();
        let partition = partition_for(key.as_bytes(), PARTITIONS);
        self.h.send_raw(topic, &[(key, partition, self.h.frame(topic, &row))]);
    }

    /// Commands of six portfolios, one of them never priced, with everything that can happen to one.
    fn commands(&mut self) {
        let mut commands = Vec::new();
        for i in self.sent..self.sent + 40 {
            let reason = match i % 40 {
                7 | 21 => "LATER",
                13 => "POISON",
                33 => "PANIC",
                _ => "",
            };
            commands.push(command(i, &format!("p{}", i % 6), reason));
        }
        self.h.send(&commands);
        // One on a partition of its own choice, and one that nobody can read.
        let stray = command(self.sent + 1_000, "p1", "");
        let elsewhere = (partition_for(b"p1", PARTITIONS) + 1) % PARTITIONS;
        self.h.send_raw(IN, &[("p1".into(), elsewhere, self.h.frame(IN, &stray))]);
        self.h.send_raw(IN, &[("p2".into(), 0, vec![9, 9])]);
        self.sent += 40;
        self.expected += 39;
        self.h.outputs(self.expected);
    }

    fn journal(&self) -> Vec<JournalRecord> {
        let records = self.h.read(&journal_topic(self.h.groups[0].name()));
        records
            .iter()
            .map(|r| JournalRecord::decode(wire::split(r.value.as_deref().unwrap()).unwrap().1).unwrap())
            .collect()
    }

    fn replay(&self, limit: usize, question: Question, from: Option<TimestampMicros>) -> Report {
        let path = Path::new(&self.h.path, vec![StageHandle::of(Pricer { limit })]).unwrap();
        let topics = [IN, FORWARDED, PRICES, TICKS, OUT];
        let replay = Replay {
            client: self.h.kafka.clone(),
            registry: Arc::clone(&self.h.registry),
            router: topics.iter().fold(Router::default(), |r, t| r.with_topic(*t, PARTITIONS)),
            group: Group::fused(&path).unwrap(),
            config_hash: "test".into(),
            code_version: "test".into(),
            partition: None,
            from,
            to: None,
            question,
        };
        replay.run().unwrap()
    }
}

#[test]
fn a_recorded_run_replays_identically_and_another_rule_shows() {
    let mut run = Recording::new();
    for portfolio in 0..5 {
        run.row(PRICES, portfolio, "xx");
        run.row(TICKS, portfolio, "");
    }
    // Through a stop and a start, a zombie that is fenced, and a second instance that comes and goes.
    let first = run.start("a");
    run.commands();
    run.row(PRICES, 0, "xxxx");
    run.row(TICKS, 0, "");
    run.commands();
    first.end();
    let zombie = run.start("a");
    run.row(PRICES, 1, "xxxxxx");
    run.commands();
    let second = run.start("a");
    run.row(PRICES, 0, "x");
    run.row(TICKS, 1, "");
    run.commands();
    assert!(zombie.running.join().is_err(), "a zombie stops");
    let third = run.start("b");
    run.commands();
    second.end();
    run.row(TICKS, 0, "");
    run.commands();
    third.end();

    let journal = run.journal();
    let segments = journal.iter().filter(|r| r.segment).count();
    assert!(segments > 10 && journal.iter().any(|r| !r.segment), "{segments} segments");
    // What the tables were made of is gone: the rows come from the journal.
    remake(&run.h.kafka, PRICES);
    let report = run.replay(LIMIT, Question::Same, None);
    assert_eq!(report.differences().collect::<Vec<_>>(), Vec::<&_>::new());
    assert_eq!(report.batches(), journal.len());
    assert!(report.records() >= journal.len() + run.expected, "{} records", report.records());
    assert!(report.tasks.iter().map(|t| t.states).sum::<usize>() > 10, "snapshots on the way, and the end");

    // From the middle: a snapshot gives the state.
    let mut nows: Vec<TimestampMicros> = journal.iter().map(|r| r.now).collect();
    nows.sort_unstable();
    let report = run.replay(LIMIT, Question::Same, Some(nows[nows.len() / 2]));
    assert!(report.is_identical(), "{:?}", report.differences().next());
    assert!(report.tasks.iter().all(|t| t.begun_after > 0) && report.batches() < journal.len());

    // A replay that cannot fail proves nothing.
    assert!(!run.replay(LIMIT - 2, Question::Same, None).is_identical());

    // Exactly the commands between the two limits are decided otherwise.
    let report = run.replay(LIMIT + 2, Question::WhatIf, None);
    let between = |c: &Command| c.actor.len() > LIMIT && c.actor.len() <= LIMIT + 2;
    let expected: BTreeSet<String> = run.h.commands(OUT).into_iter().filter(between).map(|c| c.order_id).collect();
    assert!(!expected.is_empty());
    let found: BTreeSet<String> = report.differences().filter_map(|d| d.order_id.clone()).collect();
    assert_eq!(found, expected);
    assert!(report.differences().all(|d| matches!(&d.what, What::Fields(f) if f.len() == 1 && f[0].field == "reason")));

    // Nobody decides again over a table that has lost what was read of it.
    let (driver, ..) = run.h.driver(DriverConfig { instance: "c".into(), ..DriverConfig::default() });
    let stopped = driver.start(&[GroupRun { group: Arc::clone(&run.h.groups[0]), workers: 1 }]).unwrap().join();
    let lost =
        matches!(&stopped, Err(DriverError::TableLost { table, read, end }) if table.starts_with(PRICES) && read > end);
    assert!(lost, "{stopped:?}");
}
