//! The checker is checked: every seeded bug is caught by a named invariant that does not know of it, within 200 seeds.
//!
//! Not here, because only the real thing can show it: a random token of an insert, see the mutants of the ClickHouse sink.
#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use common::topology;
use fillstream_core::mutant;
use fillstream_sim::{Case, Failure, run, shrink};

/// Seeds that a mutant may survive.
const SEEDS: u64 = 200;
const THREADS: usize = 2;

/// First seed that catches the mutant, and by what.
fn caught(name: &'static str) -> Option<(u64, Failure)> {
    mutant::set(Some(name));
    let found = (0..SEEDS).find_map(|seed| {
        let case = Case { seed, ..Case::default() };
        match catch_unwind(AssertUnwindSafe(|| run(&case, &topology))) {
            Ok(outcome) => outcome.unwrap().err().map(|failure| (seed, failure)),
            Err(_) => Some((seed, Failure { invariant: "no_panic".to_owned(), text: "a stage panicked".to_owned() })),
        }
    });
    mutant::set(None);
    found
}

#[test]
fn every_mutant_is_caught_by_a_named_invariant() {
    let (left, found) = (Mutex::new(mutant::SIMULATED.to_vec()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(name) = { left.lock().unwrap().pop() } {
                    let outcome = caught(name);
                    found.lock().unwrap().push((name, outcome));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(name, _)| mutant::SIMULATED.iter().position(|n| n == name));
    println!("| mutant | invariant that caught it | seed | in the |\n|---|---|---|---|");
    for (name, outcome) in &found {
        match outcome {
            Some((seed, failure)) => {
                let run = failure.text.split_once(':').map_or("", |(run, _)| run);
                println!("| {name} | {} | {seed} | {run} |", failure.invariant);
            }
            None => println!("| {name} | survived {SEEDS} seeds | | |"),
        }
    }
    let survivors: Vec<_> = found.iter().filter(|(_, outcome)| outcome.is_none()).map(|(name, _)| *name).collect();
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
    assert!(found.len() >= 12);
}

#[test]
fn a_failing_history_is_made_smaller_and_fails_still() {
    mutant::set(Some("timers not in the changelog"));
    let find = |seed: &u64| run(&Case { seed: *seed, ..Case::default() }, &topology).unwrap().is_err();
    let seed = (0..SEEDS).find(find).unwrap();
    let case = Case { seed, ..Case::default() };
    let failure = run(&case, &topology).unwrap().unwrap_err();
    let smallest = shrink(&case, failure, &topology).unwrap();
    assert!(smallest.decisions.0 < smallest.decisions.1, "{smallest:?}");
    assert!((1..=3).contains(&smallest.faults), "{smallest:?}");
    assert_eq!(run(&smallest.case, &topology).unwrap().unwrap_err(), smallest.failure, "it repeats");
    mutant::set(None);
    assert!(run(&smallest.case, &topology).unwrap().is_ok(), "it was the mutant's");
}
