//! What a run leaves behind: JSON for programs, Markdown for the repository.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Options;
use crate::kind::Kind;
use crate::tally::{Exit, Invariant, Tally, quantile};

/// Times to recover: from the heal to committed progress of every active partition of the groups concerned, milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Measured.
    pub count: usize,
    /// Median.
    pub p50_ms: u64,
    /// 95th percentile.
    pub p95_ms: u64,
    /// Longest.
    pub max_ms: u64,
}

/// What became of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// How often it was felt.
    pub fired: u64,
    /// How often it was not.
    pub missed: u64,
    /// Why not, the last time.
    pub why: String,
    /// How long recoveries took.
    pub recovery: Recovery,
    /// Each of them, milliseconds, so that those of several runs can be put together.
    pub recoveries_ms: Vec<u64>,
}

/// The report of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Commit of the code.
    pub commit: String,
    /// Seed.
    pub seed: u64,
    /// Minutes planned.
    pub minutes: u64,
    /// Decisions a second.
    pub rate: u32,
    /// Where it ran.
    pub machine: String,
    /// Seconds that it took, with all.
    pub seconds: u64,
    /// Whether nothing was violated.
    pub clean: bool,
    /// Faults felt.
    pub faults: u64,
    /// By kind.
    pub kinds: BTreeMap<String, Faults>,
    /// All recoveries.
    pub recovery: Recovery,
    /// Groups that did not move on before the next drain.
    pub not_before_the_drain: Vec<String>,
    /// Drains, seconds each.
    pub drains_s: Vec<u64>,
    /// The longest outage that the audit allowed for, seconds.
    pub outage_s: u64,
    /// Invariants by name.
    pub invariants: BTreeMap<String, Invariant>,
    /// Processes that ended by themselves.
    pub exits: Vec<Exit>,
    /// What was left out, with the reason.
    pub skipped: BTreeMap<String, String>,
    /// The command that repeats it.
    pub repeat: String,
    /// Data, logs and history, where they were kept.
    pub kept: Option<String>,
    /// Why the run ended early, if it did.
    pub ended_early: Option<String>,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn recovery(mut all: Vec<u64>) -> Recovery {
    all.sort_unstable();
    let at = |percent| quantile(&all, percent).unwrap_or(0);
    Recovery { count: all.len(), p50_ms: at(50), p95_ms: at(95), max_ms: at(100) }
}

/// Cores, memory and system.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let kb = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let model =
        read("/proc/cpuinfo").lines().find_map(|l| Some(l.strip_prefix("model name")?.split_once(": ")?.1.to_owned()));
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({}), {} GB, Linux {}",
        model.as_deref().unwrap_or("unknown"),
        kb.unwrap_or(0) >> 20,
        kernel.trim()
    )
}

impl Report {
    pub(crate) fn of(options: &Options, tally: &Tally, seconds: u64, skipped: BTreeMap<String, String>) -> Self {
        let mut kinds: BTreeMap<String, Faults> = BTreeMap::new();
        for kind in Kind::ALL {
            let (missed, why) = tally.missed.get(kind).cloned().unwrap_or_default();
            let fired = tally.fired.get(kind).copied().unwrap_or(0);
            let took: Vec<u64> = tally.recovered.get(kind).into_iter().flatten().copied().map(ms).collect();
            if fired + missed > 0 {
                let faults = Faults { fired, missed, why, recovery: recovery(took.clone()), recoveries_ms: took };
                kinds.insert(kind.name().to_owned(), faults);
            }
        }
        Self {
            commit: options.commit.clone(),
            seed: options.seed,
            minutes: options.minutes,
            rate: options.rate,
            machine: machine(),
            seconds,
            clean: tally.violations() == 0,
            faults: tally.fired_total(),
            kinds,
            recovery: recovery(tally.recovered.values().flatten().copied().map(ms).collect()),
            not_before_the_drain: tally.never.clone(),
            drains_s: tally.drains.iter().map(Duration::as_secs).collect(),
            outage_s: tally.outage.as_secs(),
            invariants: tally.invariants.clone(),
            exits: tally.exits.clone(),
            skipped,
            repeat: options.repeat(),
            kept: None,
            ended_early: None,
        }
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    /// In words.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.invariants.values().any(|i| i.violations > 0), self.clean) {
            (true, _) => "VIOLATED",
            (false, true) => "clean",
            (false, false) => "clean as far as it came",
        }
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# Chaos: {} faults, audit {}\n", self.faults, self.verdict())?;
        writeln!(
            out,
            "- commit {}, seed {}, {} minutes planned, {} s taken",
            self.commit, self.seed, self.minutes, self.seconds
        )?;
        writeln!(out, "- {} decisions/s; {}", self.rate, self.machine)?;
        writeln!(out, "- repeat with `{}`", self.repeat)?;
        let r = &self.recovery;
        writeln!(
            out,
            "- recovery, from the heal until every active partition of the groups concerned has committed again, other faults \
             going on: p50 {} ms, p95 {} ms, max {} ms ({} measured); {} not before the drain",
            r.p50_ms,
            r.p95_ms,
            r.max_ms,
            r.count,
            self.not_before_the_drain.len()
        )?;
        writeln!(out, "- drains took {:?} s", self.drains_s)?;
        writeln!(
            out,
            "- the audit allowed market rows and cost analyses to be {} s late (two minutes, or the longest outage)",
            self.outage_s
        )?;
        if let Some(why) = &self.ended_early {
            writeln!(out, "- ended early: {why}")?;
        }
        writeln!(out, "\n| fault | fired | not felt | recovery p50 / p95 / max ms |\n|---|---:|---:|---:|")?;
        for (name, f) in &self.kinds {
            let r = &f.recovery;
            writeln!(out, "| {name} | {} | {} | {} / {} / {} |", f.fired, f.missed, r.p50_ms, r.p95_ms, r.max_ms)?;
        }
        writeln!(out, "\n| invariant | examined | judged | violations |\n|---|---:|---:|---:|")?;
        for (name, i) in &self.invariants {
            writeln!(out, "| {name} | {} | {} | {} |", i.examined, i.judged, i.violations)?;
        }
        let quoted = self.invariants.iter().flat_map(|(name, i)| i.examples.iter().map(move |e| (name, e)));
        for (name, example) in quoted {
            writeln!(out, "\n- {name}: {example}")?;
        }
        if !self.skipped.is_empty() {
            writeln!(out, "\nSkipped:\n")?;
            self.skipped.iter().try_for_each(|(name, why)| writeln!(out, "- {name}: {why}"))?;
        }
        if !self.exits.is_empty() {
            writeln!(out, "\n{} processes ended by themselves and were started again:\n", self.exits.len())?;
            for (said, count) in self.exit_kinds() {
                writeln!(out, "- {count} x {said}")?;
            }
        }
        Ok(())
    }

    /// What ended processes said, without what differs from one to the next.
    fn exit_kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for exit in &self.exits {
            let said = exit.said.rsplit(" | ").next().unwrap_or_default();
            let said: String = said.chars().filter(|c| !c.is_ascii_digit()).take(160).collect();
            *kinds.entry(said).or_default() += 1;
        }
        kinds
    }
}
