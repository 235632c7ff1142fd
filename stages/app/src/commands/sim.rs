//! `fillstream sim`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fillstream_core::group::Group;
use fillstream_sim::{Case, Counts, Failure, Smallest, Spared, run as run_case, shrink};
use serde_json::json;

use crate::cli::SimArgs;
use crate::config::Config;
use crate::registry::{StageConfigs, order_groups, stages_of};

/// The path that runs are cut in.
const PATH: &str = "order-path";

/// What a thread came to.
#[derive(Default)]
struct Share {
    seeds: u64,
    counts: Counts,
    failures: Vec<(u64, Failure)>,
}

pub(crate) fn run(command: &SimArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut config = config.clone();
    // Every check of a kill is an instant of market time.
    config.set_stage("order-management", "kill_check_interval_ms", 5_000);
    let topology = |cuts: &BTreeSet<usize>| cut_groups(&config.stages, cuts).map_err(|e| format!("{e:#}"));
    let started = Instant::now();
    let next = AtomicU64::new(command.from);
    let end = command.from.saturating_add(command.seeds);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares: Vec<anyhow::Result<Share>> = std::thread::scope(|scope| {
        let work = || -> anyhow::Result<Share> {
            let mut share = Share::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return Ok(share);
                }
                share.seeds += 1;
                match run_case(&case(command, seed), &topology)? {
                    Ok(counts) => share.counts.add(&counts),
                    Err(failure) => share.failures.push((seed, failure)),
                }
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let panicked = |_| Err(anyhow::anyhow!("a simulation panicked"));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut all = Share::default();
    for share in shares {
        let share = share?;
        all.seeds += share.seeds;
        all.counts.add(&share.counts);
        all.failures.extend(share.failures);
    }
    all.failures.sort_by_key(|(seed, _)| *seed);
    let smallest = match all.failures.first() {
        Some((seed, failure)) if !command.no_shrink => Some(shrink(&case(command, *seed), failure.clone(), &topology)?),
        Some(_) | None => None,
    };
    report(command, &all, smallest.as_ref(), started.elapsed().as_secs_f64());
    Ok(ExitCode::from(if all.failures.is_empty() { 0 } else { 3 }))
}

fn case(command: &SimArgs, seed: u64) -> Case {
    let spared = |from: Option<usize>, numbers: &[usize]| Spared { from, numbers: numbers.iter().copied().collect() };
    Case {
        seed,
        left_out: command.leave_out.iter().copied().collect(),
        spared: spared(command.spare_from, &command.spare),
        spared_live: spared(command.spare_live_from, &command.spare_live),
    }
}

// The one command that repeats a case.
fn repeat(case: &Case) -> String {
    let mut text = format!("fillstream sim --from {} --seeds 1", case.seed);
    let mut list = |name: &str, numbers: &BTreeSet<usize>| {
        if !numbers.is_empty() {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            let _ = write!(text, " --{name} {}", numbers.join(","));
        }
    };
    list("leave-out", &case.left_out);
    list("spare", &case.spared.numbers);
    list("spare-live", &case.spared_live.numbers);
    for (name, from) in [("spare-from", case.spared.from), ("spare-live-from", case.spared_live.from)] {
        if let Some(from) = from {
            let _ = write!(text, " --{name} {from}");
        }
    }
    text
}

fn report(command: &SimArgs, all: &Share, smallest: Option<&Smallest>, seconds: f64) {
    let counts = &all.counts;
    let faults: usize = counts.faults.values().sum();
    if command.json {
        let failures: Vec<_> = all
            .failures
            .iter()
            .map(|(seed, f)| {
                json!({"seed": seed, "invariant": f.invariant, "found": f.text, "repeat": repeat(&case(command, *seed))})
            })
            .collect();
        let smallest = smallest.map(|s| {
            json!({"invariant": s.failure.invariant, "found": s.failure.text, "repeat": repeat(&s.case),
                "decisions": s.decisions.0, "faults": s.faults})
        });
        let report = json!({"seeds": all.seeds, "seconds": seconds, "batches": counts.batches, "records": counts.records,
            "prefixes": counts.prefixes, "faults": counts.faults, "examined": counts.examined, "failures": failures,
            "smallest": smallest});
        println!("{report}");
        return;
    }
    println!(
        "{} seeds in {seconds:.1} s: {} batches, {} committed records, {} prefixes judged, {faults} faults",
        all.seeds, counts.batches, counts.records, counts.prefixes
    );
    counts.faults.iter().for_each(|(name, n)| println!("  {name:<44} {n:>10} times"));
    counts.examined.iter().filter(|(_, n)| **n > 0).for_each(|(name, n)| println!("  {name:<44} {n:>10} examined"));
    for (seed, failure) in &all.failures {
        println!("seed {seed}: {failure}\n  repeat with: {}", repeat(&case(command, *seed)));
    }
    if let Some(s) = smallest {
        println!(
            "smallest found in {} runs, {} of {} decisions and {} faults: {}\n  repeat with: {}",
            s.runs,
            s.decisions.0,
            s.decisions.1,
            s.faults,
            s.failure,
            repeat(&s.case)
        );
    }
}

// Every path of orders fused, but the order path cut behind the stages with these places.
fn cut_groups(configs: &StageConfigs, cuts: &BTreeSet<usize>) -> anyhow::Result<Vec<Arc<Group>>> {
    let mut parts = vec![Vec::new()];
    let stages = stages_of(PATH, configs)?;
    for (place, stage) in stages.iter().enumerate() {
        if let Some(part) = parts.last_mut() {
            part.push(stage.spec().name.to_owned());
        }
        if cuts.contains(&place) && place + 1 < stages.len() {
            parts.push(Vec::new());
        }
    }
    order_groups(configs, &BTreeMap::from([(PATH.to_owned(), parts)]))
}
