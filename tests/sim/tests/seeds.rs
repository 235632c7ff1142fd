//! Seeds in every shape; the thousand of them are run by `fillstream sim` in `deploy/test`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::topology;
use fillstream_sim::{Case, Counts, run};

#[test]
fn seeds_keep_every_invariant() {
    let first: u64 = std::env::var("SIM_FROM").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let seeds: u64 = std::env::var("SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(40);
    let mut counts = Counts::default();
    for seed in first..first + seeds {
        let case = Case { seed, ..Case::default() };
        match run(&case, &topology).unwrap() {
            Ok(of_seed) => counts.add(&of_seed),
            Err(failure) => panic!("seed {seed}: {failure}"),
        }
    }
    println!("{counts:#?}");
}
