//! Paced mode: whole = crashed = any cut = any number of workers = fused = split, and what a replay of the journal gives.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod toy;

use fillstream_core::record::Payload;
use fillstream_testkit::{Canonical, Cluster, Driver, Fault, FaultPlan, Setup, TestkitError};
use proptest::prelude::*;
use toy::{Toy, ToyVenue, groups, us};

const PARTITIONS: i32 = 3;
const END: i64 = 60_000_000;

#[derive(Clone, Debug)]
struct Given {
    at: i64,
    key: u8,
    n: i64,
    hops: i64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    In,
    Misrouted(i32),
    Command,
    Rate,
    Garbage,
}

fn given() -> impl Strategy<Value = Given> {
    let kind = prop_oneof![
        6 => Just(Kind::In),
        2 => (0..PARTITIONS).prop_map(Kind::Misrouted),
        2 => Just(Kind::Command),
        1 => Just(Kind::Rate),
        1 => Just(Kind::Garbage),
    ];
    // Many ties: market time is coarse, and several records share an instant.
    (0..40_i64, 0..6_u8, -100..100_i64, 0..4_i64, kind).prop_map(|(at, key, n, hops, kind)| Given {
        at: at * 37_000,
        key,
        n,
        hops,
        kind,
    })
}

fn run(given: &[Given], setup: Setup) -> Result<Driver, TestkitError> {
    let mut driver = setup.outside(ToyVenue::default()).start()?;
    for (i, g) in given.iter().enumerate() {
        let toy = Toy::new(&format!("id-{i}"), &format!("key-{}", g.key), g.at, g.n).hops(g.hops);
        let parent = format!("00-{:032x}-{:016x}-01", i + 1, i + 1);
        driver.produce_under(if g.key == 0 {
            vec![("traceparent".to_owned(), parent.into_bytes())]
        } else {
            Vec::new()
        });
        match g.kind {
            Kind::In => driver.produce("in.v1", &toy),
            Kind::Misrouted(partition) => driver.produce_to("in.v1", partition, &toy),
            Kind::Command => driver.produce("commands.v1", &toy),
            Kind::Rate => driver.row("rates.v1", &toy.key, &toy, toy.at),
            Kind::Garbage => {
                let raw = format!("garbage {i}").into_bytes();
                driver.produce_raw("in.v1", 0, &toy.key, Some(Payload::Avro(raw.into())), toy.at);
            }
        }
    }
    driver.run_paced(us(END))?;
    Ok(driver)
}

fn cluster() -> Cluster {
    Cluster::new(PARTITIONS).assign("children.v1", "session-0", 0).assign("children.v1", "session-1", 2)
}

fn setup(cuts: u8, workers: usize, plan: FaultPlan) -> Setup {
    Setup::new(groups(cuts), cluster()).workers(workers).faults(plan)
}

fn whole(given: &[Given]) -> Canonical {
    run(given, setup(0, 1, FaultPlan::none())).unwrap().outputs().canonical()
}

fn assert_equal(whole: &Canonical, driver: &Driver) -> Result<(), TestCaseError> {
    let difference = whole.difference(&driver.outputs().canonical());
    prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_run_does_not_depend_on_how_it_is_carried_out(
        given in prop::collection::vec(given(), 1..60),
        cuts in 0..4_u8,
        workers in 1..4_usize,
        max_units in 1..6_usize,
        seed in any::<u64>(),
    ) {
        let whole = whole(&given);
        let crashed = run(&given, setup(0, 1, FaultPlan::seeded(seed))).unwrap();
        assert_equal(&whole, &crashed)?;
        let cut = run(&given, setup(0, 1, FaultPlan::cut(max_units))).unwrap();
        assert_equal(&whole, &cut)?;
        let spread = run(&given, setup(0, workers, FaultPlan::cut(max_units).seed(seed))).unwrap();
        assert_equal(&whole, &spread)?;
        let split = run(&given, setup(cuts, 1, FaultPlan::none())).unwrap();
        assert_equal(&whole, &split)?;
        let all = run(&given, setup(cuts, workers, FaultPlan::seeded(seed))).unwrap();
        assert_equal(&whole, &all)?;
        // A row of a table alone is nobody's work.
        let works = given.iter().any(|g| !matches!(g.kind, Kind::Rate));
        for driver in [&crashed, &cut, &split, &all] {
            prop_assert_eq!(driver.replay().unwrap() > 0, works);
        }
    }

    #[test]
    fn it_does_not_matter_when_producers_write(given in prop::collection::vec(given(), 1..60), seed in any::<u64>()) {
        // In order of time, as every producer writes; bytes without a time belong to the instant that finds them.
        let mut given: Vec<_> = given.into_iter().filter(|g| !matches!(g.kind, Kind::Garbage)).collect();
        given.sort_by_key(|g| g.at);
        let upfront = run(&given, setup(3, 2, FaultPlan::seeded(seed)).upfront()).unwrap();
        assert_equal(&whole(&given), &upfront)?;
    }

    #[test]
    fn a_producer_that_writes_out_of_order_is_no_reason_to_differ(
        given in prop::collection::vec(given(), 1..60),
        seed in any::<u64>(),
    ) {
        let whole = run(&given, setup(0, 1, FaultPlan::none()).upfront()).unwrap().outputs().canonical();
        assert_equal(&whole, &run(&given, setup(3, 2, FaultPlan::seeded(seed)).upfront()).unwrap())?;
    }
}

#[test]
fn the_toys_reach_everything() {
    let given: Vec<_> = (0..120)
        .map(|i| Given {
            at: (i * 7919 % 40) * 37_000,
            key: u8::try_from(i % 6).unwrap(),
            n: i,
            hops: i % 4,
            kind: match i % 12 {
                0 => Kind::Misrouted(i32::try_from(i % 3).unwrap()),
                1 | 2 => Kind::Command,
                3 => Kind::Rate,
                4 => Kind::Garbage,
                _ => Kind::In,
            },
        })
        .collect();
    let whole = run(&given, setup(0, 1, FaultPlan::none())).unwrap();
    let canonical = whole.outputs().canonical();
    for topic in [
        "a.v1",
        "b.v1",
        "back.v1",
        "children.v1",
        "reports.v1",
        "d.v1",
        "in-forwarded.v1",
        "alpha.dlq",
        "beta.dlq",
        "gamma.dlq",
        "delta.dlq",
    ] {
        assert!(canonical.sorted.keys().any(|(t, _)| t == topic), "{topic} is empty");
    }
    assert!(canonical.exact.keys().any(|(t, _)| t == "a.v1"));
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..6 {
        let driver = run(&given, setup(3, 3, FaultPlan::seeded(seed))).unwrap();
        assert_eq!(canonical.difference(&driver.outputs().canonical()), None);
        seen.extend(driver.faults().seen().clone());
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), Fault::ALL);
}
