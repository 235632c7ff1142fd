//! Seeds in every shape; a thousand of them are run by `fillstream sim` in `deploy/test`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::topology;
use fillstream_sim::{Case, Counts, run};

/// Seeds of this test.
const SEEDS: u64 = 40;

#[test]
fn seeds_keep_every_invariant() {
    let first: u64 = std::env::var("SIM_FROM").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let seeds: u64 = std::env::var("SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SEEDS);
    let (mut counts, mut failures) = (Counts::default(), Vec::new());
    for seed in first..first + seeds {
        let case = Case { seed, ..Case::default() };
        match run(&case, &topology).unwrap() {
            Ok(of_seed) => counts.add(&of_seed),
            Err(failure) => failures.push(format!("seed {seed}: {failure}")),
        }
    }
    println!("{counts:#?}");
    assert!(failures.is_empty(), "{} of {seeds} seeds:\n{}", failures.len(), failures.join("\n"));
}
