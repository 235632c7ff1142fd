//! The checker is checked: an insert that has another token at every try is caught by the comparison of rows and records,
//! which does not know of it, on a real ClickHouse whose answers are lost.
#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use common::proxy::{Proxy, Way};
use common::{eventually, running, world};
use fillstream_core::mutant;

/// Rows of 100 records after answers were lost, as the comparison judges them.
fn judged(random: bool) -> Result<usize, String> {
    let (mut world, topic) = world(1);
    let proxy = Proxy::to(&world.services.endpoints.clickhouse);
    world.config.clickhouse.url = proxy.url.clone();
    world.config.deadline_ms = 30_000;
    let sink = world.sink();
    sink.migrate().unwrap();
    mutant::RANDOM_TOKEN.store(random, Ordering::SeqCst);
    running(&sink, || {
        proxy.set(Way::LoseAnswers);
        world.slices(&topic, 0, 0..100, true);
        eventually("lost answers", || (proxy.lost.load(Ordering::SeqCst) >= 2).then_some(()));
        proxy.set(Way::Open);
        eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
    });
    mutant::RANDOM_TOKEN.store(false, Ordering::SeqCst);
    let verdict = catch_unwind(AssertUnwindSafe(|| world.assert_exactly_once(&topic)));
    verdict.map_err(|e| e.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn a_random_token_is_caught_by_rows_that_are_no_records() {
    assert_eq!(judged(false), Ok(100));
    let caught = judged(true).unwrap_err();
    assert!(caught.contains("rows and records of"), "{caught}");
    println!("| mutant | invariant that caught it | on |\n|---|---|---|");
    println!("| random token | rows = committed records | a real ClickHouse, answers lost |");
}
