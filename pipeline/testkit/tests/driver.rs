//! The driver itself: every fault alone, restore, tables, live mode, and replay.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod toy;

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::StageHandle;
use fillstream_core::codec::AvroRecord;
use fillstream_core::error::Poison;
use fillstream_core::group::{Group, Path};
use fillstream_core::record::{Payload, Record};
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_schemas::engine::JournalRecord;
use fillstream_testkit::{Cluster, Driver, Fault, FaultPlan, LogRecord, Setup, TestkitError};
use proptest::prelude::*;
use toy::probe::{Probe, ProbeIn, ProbeOut};
use toy::{Rates, Toy, ToyVenue, groups, us};

fn probe(workers: usize, plan: FaultPlan) -> Driver {
    let path = Path::new("probe-path", vec![StageHandle::of(Probe)]).unwrap();
    let setup = Setup::new(vec![Group::fused(&path).unwrap()], Cluster::new(3));
    setup.workers(workers).faults(plan).start().unwrap()
}

fn produce(driver: &mut Driver, count: i64) {
    for i in 0..count {
        let id = if i % 5 == 0 { format!("{i} set@{}", i * 40_000 + 200_000) } else { i.to_string() };
        driver.produce("in.v1", &Toy::new(&id, &format!("key-{}", i % 7), i * 40_000, i));
    }
}

/// Sum and count of all that the probes' states hold.
fn totals(driver: &mut Driver) -> (i64, i64) {
    let entries = driver.state().into_values().flatten().filter(|(store, ..)| store == "probe/sums");
    entries.fold((0, 0), |(n, count), (_, _, value)| {
        let sum = Toy::decode(&value).unwrap();
        (n + sum.n, count + sum.hops)
    })
}

#[test]
fn each_fault_at_each_batch_leaves_the_run_as_it_was() {
    let mut whole = probe(1, FaultPlan::none());
    produce(&mut whole, 12);
    whole.run_paced(us(10_000_000)).unwrap();
    let expected = whole.outputs().canonical();
    assert!(!expected.is_empty());
    for fault in Fault::ALL {
        for workers in 1..=3 {
            for batch in 0..8 {
                let plan = FaultPlan::cut(2).on_batch(batch, fault).on_batch(batch + 2, fault).seed(7);
                let mut driver = probe(workers, plan);
                produce(&mut driver, 12);
                driver.run_paced(us(10_000_000)).unwrap();
                let difference = expected.difference(&driver.outputs().canonical());
                assert_eq!(difference, None, "{fault:?} at batch {batch}, {workers} workers");
                assert!(driver.faults().seen().contains_key(&fault), "{fault:?} at batch {batch} did not happen");
                driver.replay().unwrap();
            }
        }
    }
}

#[test]
fn a_run_goes_on_after_a_stop_with_another_number_of_workers() {
    let mut whole = probe(2, FaultPlan::none());
    produce(&mut whole, 40);
    whole.run_paced(us(10_000_000)).unwrap();
    let mut stopped = probe(2, FaultPlan::cut(1));
    produce(&mut stopped, 40);
    for (until, workers) in [(300_000, 3), (700_000, 1), (1_100_000, 2)] {
        stopped.run_paced(us(until)).unwrap();
        stopped.restart(workers).unwrap();
    }
    stopped.run_paced(us(10_000_000)).unwrap();
    assert_eq!(whole.outputs().canonical().difference(&stopped.outputs().canonical()), None);
    assert_eq!(whole.state(), stopped.state());
}

#[test]
fn instants_with_nothing_to_do_are_skipped() {
    let mut driver = probe(1, FaultPlan::none());
    driver.produce("in.v1", &Toy::new("set@5000000000", "k", 50, 1));
    assert_eq!(driver.run_paced(us(i64::MAX)).unwrap(), 2, "one for the record, one for the timer");
    let outputs = driver.outputs().records::<Toy>("probe.v1").unwrap();
    assert_eq!(outputs.iter().map(|t| t.at.micros()).collect::<Vec<_>>(), [100_000, 5_000_000_000]);
}

fn last_journal(driver: &Driver) -> (i32, JournalRecord) {
    let last = |p| driver.log().read("fillstream.probe-path.journal", p, 0).0.pop().map(|(_, r)| r.bytes().to_vec());
    let partition = (0..3).find(|p| last(*p).is_some()).unwrap();
    (partition, JournalRecord::decode(&last(partition).unwrap()).unwrap())
}

fn append(driver: &mut Driver, topic: &str, partition: i32, key: &str, value: Vec<u8>, sequence: i64) {
    let producer = driver.log_mut().init_transactions("intruder");
    driver.log_mut().begin(&producer).unwrap();
    let record = LogRecord {
        key: key.into(),
        value: Some(Payload::Avro(value.into())),
        headers: vec![("fs-seq".to_owned(), sequence.to_be_bytes().to_vec())],
        timestamp: us(0),
    };
    driver.log_mut().append(&producer, topic, partition, record).unwrap();
    driver.log_mut().commit(&producer).unwrap();
}

#[test]
fn a_journal_that_is_ahead_of_the_offsets_is_refused() {
    let mut driver = probe(1, FaultPlan::none());
    produce(&mut driver, 5);
    driver.run_paced(us(10_000_000)).unwrap();
    let (partition, last) = last_journal(&driver);
    let ahead = JournalRecord { sequence: last.sequence + 1, ..last }.to_bytes();
    append(&mut driver, "fillstream.probe-path.journal", partition, &partition.to_string(), ahead, 0);
    assert!(matches!(driver.restart(1), Err(TestkitError::Restore { .. })));
}

#[test]
fn a_changelog_that_is_ahead_of_the_offsets_is_refused() {
    let mut driver = probe(1, FaultPlan::none());
    produce(&mut driver, 5);
    driver.run_paced(us(10_000_000)).unwrap();
    let (partition, last) = last_journal(&driver);
    let sum = Toy::new("sum", "key-0", 0, 0).to_bytes();
    append(&mut driver, "fillstream.probe-path.changelog", partition, "probe/sums/key-0", sum, last.sequence + 1);
    assert!(matches!(driver.restart(1), Err(TestkitError::Restore { .. })));
}

/// Adds the rate of the key to each record.
struct Rated;

impl Stage for Rated {
    type In = ProbeIn;
    type Out = ProbeOut;
    type Stores = ();
    type Timer = Toy;
    const NAME: &'static str = "rated";
    const DOC: &'static str = "A test of tables.";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<Rates>()]
    }

    fn on_record(&self, record: &Record<ProbeIn>, _: &mut (), fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let (ProbeIn::In(toy) | ProbeIn::Forwarded(toy)) = &record.value;
        let rate = fx.table::<Rates>().and_then(|r| r.of(&toy.key)).unwrap_or(-1);
        fx.emit(Toy { n: rate, ..*toy.clone() });
        Ok(())
    }

    fn on_timer(&self, _: &Timer<Toy>, _: &mut (), _: &mut Effects<'_, Self>) -> Result<(), Poison> {
        Ok(())
    }
}

#[test]
fn tables_are_as_of_the_instant() {
    let path = Path::new("rated", vec![StageHandle::of(Rated)]).unwrap();
    let groups: Vec<Arc<Group>> = vec![Group::fused(&path).unwrap()];
    let mut driver = Setup::new(groups, Cluster::new(2)).grid_us(100).upfront().start().unwrap();
    for (at, rate) in [(100, 1), (201, 2), (250, 3)] {
        driver.row("rates.v1", "k", &Toy::new("rate", "k", at, rate), us(at));
    }
    driver.produce_raw("rates.v1", 0, "junk", Some(Payload::Avro(vec![9].into())), us(0));
    for at in [50, 200, 201, 400] {
        driver.produce("in.v1", &Toy::new(&at.to_string(), "k", at, 0));
    }
    assert_eq!(driver.run_paced(us(1_000)).unwrap(), 4);
    let seen: Vec<_> =
        driver.outputs().records::<Toy>("probe.v1").unwrap().iter().map(|t| (t.at.micros(), t.n)).collect();
    assert_eq!(seen, [(50, 1), (200, 1), (201, 3), (400, 3)], "at the instants 100, 200, 300 and 400");
    assert_eq!(driver.refused_rows(), 1);
    driver.replay().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn live_every_record_counts_once_whatever_fails(seed in any::<u64>(), workers in 1..4_usize, count in 1..60_i64) {
        let mut driver = probe(workers, FaultPlan::seeded(seed));
        produce(&mut driver, count);
        driver.run_live(us(100_000_000)).unwrap();
        prop_assert_eq!(totals(&mut driver), ((0..count).sum(), count));
        let mut ids = BTreeMap::<String, usize>::new();
        for toy in driver.outputs().records::<Toy>("probe.v1").unwrap() {
            *ids.entry(toy.id).or_default() += 1;
        }
        prop_assert!(ids.values().all(|times| *times == 1));
        prop_assert!(driver.replay().unwrap() > 0);
        let before = driver.state();
        driver.restart(workers).unwrap();
        prop_assert_eq!(before, driver.state());
    }

    #[test]
    fn live_a_replay_of_the_journal_gives_the_same_bytes(seed in any::<u64>(), cuts in 0..4_u8, workers in 1..3_usize) {
        let cluster = Cluster::new(3).assign("children.v1", "session-0", 0).assign("children.v1", "session-1", 2);
        let setup = Setup::new(groups(cuts), cluster).workers(workers).faults(FaultPlan::seeded(seed));
        let mut driver = setup.outside(ToyVenue::default()).start().unwrap();
        for i in 0..40 {
            let toy = Toy::new(&format!("id-{i}"), &format!("key-{}", i % 5), i * 3_000, i).hops(i % 4);
            match i % 7 {
                0 => driver.row("rates.v1", &toy.key, &toy, toy.at),
                1 => driver.produce("commands.v1", &toy),
                _ => driver.produce("in.v1", &toy),
            }
        }
        driver.run_live(us(100_000_000)).unwrap();
        prop_assert!(driver.replay().unwrap() > 0);
    }
}

#[test]
fn a_replay_finds_a_changed_record() {
    let mut driver = probe(1, FaultPlan::none());
    produce(&mut driver, 5);
    driver.run_paced(us(10_000_000)).unwrap();
    driver.replay().unwrap();
    let (partition, last) = last_journal(&driver);
    let other = JournalRecord { sequence: last.sequence + 1, now: us(99_000_000), units: vec![], ..last }.to_bytes();
    append(&mut driver, "fillstream.probe-path.journal", partition, &partition.to_string(), other, 0);
    append(&mut driver, "fillstream.probe-path.changelog", partition, "probe/sums/x", vec![0; 5], last.sequence + 1);
    assert!(matches!(driver.replay(), Err(TestkitError::Replay { .. })));
}
