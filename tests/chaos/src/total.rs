//! Several runs of one commit, added up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::ChaosError;
use crate::kind::{Cost, Kind};
use crate::report::{Faults, Recovery, Report, recovery};

/// What several runs of a commit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The commit.
    pub commit: String,
    /// The runs: the file's name with the report.
    pub runs: BTreeMap<String, Report>,
    /// Faults felt.
    pub faults: u64,
    /// By kind, those that nobody has felt yet too.
    pub kinds: BTreeMap<String, Faults>,
    /// All recoveries.
    pub recovery: Recovery,
    /// By invariant: examined and violations, over all runs.
    pub invariants: BTreeMap<String, (u64, u64)>,
}

/// Reads every report of a folder and adds up those of one commit: the given one, or the only one that there is.
///
/// # Errors
/// The folder or a report cannot be read, or it has reports of several commits and none is chosen.
pub fn total(dir: &Path, commit: Option<&str>) -> Result<Total, ChaosError> {
    let mut runs = BTreeMap::new();
    for file in files(dir)? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).map_err(ChaosError::io(format!("reading {}", file.display())))?;
        let report: Report = serde_json::from_str(&text)
            .map_err(|e| ChaosError::Answer { what: file.display().to_string(), detail: e.to_string() })?;
        if commit.is_none_or(|commit| report.commit == commit) {
            runs.insert(name, report);
        }
    }
    let commits: BTreeSet<&str> = runs.values().map(|r| r.commit.as_str()).collect();
    if commits.len() > 1 {
        let all = commits.into_iter().collect::<Vec<_>>().join(", ");
        return Err(ChaosError::Options(format!("{} has runs of several commits: {all}", dir.display())));
    }
    Ok(Total::of(commit.map(str::to_owned).or_else(|| commits.first().map(|c| (*c).to_owned())), runs))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, ChaosError> {
    let failed = || ChaosError::io(format!("reading {}", dir.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Total {
    fn of(commit: Option<String>, runs: BTreeMap<String, Report>) -> Self {
        let mut kinds: BTreeMap<String, Faults> = BTreeMap::new();
        for kind in Kind::ALL {
            kinds.insert(kind.name().to_owned(), Faults::default());
        }
        let mut invariants: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for report in runs.values() {
            for (name, faults) in &report.kinds {
                let sum = kinds.entry(name.clone()).or_default();
                sum.fired += faults.fired;
                sum.missed += faults.missed;
                sum.why.clone_from(&faults.why);
                sum.recoveries_ms.extend(&faults.recoveries_ms);
            }
            for (name, invariant) in &report.invariants {
                let (examined, violations) = invariants.entry(name.clone()).or_default();
                *examined += invariant.examined;
                *violations += invariant.violations;
            }
        }
        for faults in kinds.values_mut() {
            faults.recovery = recovery(faults.recoveries_ms.clone());
        }
        Self {
            commit: commit.unwrap_or_default(),
            faults: kinds.values().map(|f| f.fired).sum(),
            recovery: recovery(kinds.values().flat_map(|f| f.recoveries_ms.iter().copied()).collect()),
            kinds,
            invariants,
            runs,
        }
    }

    /// How often each kind was felt.
    #[must_use]
    pub fn felt(&self) -> BTreeMap<Kind, u64> {
        Kind::ALL.iter().map(|kind| (*kind, self.kinds.get(kind.name()).map_or(0, |f| f.fired))).collect()
    }

    /// Kinds that were not felt as often as is wanted, with how often they were.
    #[must_use]
    pub fn short(&self) -> Vec<(Kind, u64)> {
        self.felt().into_iter().filter(|(kind, felt)| *felt < kind.wanted()).collect()
    }

    /// Whether every run came to its end with nothing violated.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.runs.is_empty() && self.runs.values().all(|report| report.clean)
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let (verdict, r) = (if self.is_clean() { "clean" } else { "NOT clean" }, &self.recovery);
        writeln!(
            out,
            "# Chaos, {} runs of {}: {} faults, audit {verdict}\n",
            self.runs.len(),
            self.commit,
            self.faults
        )?;
        writeln!(
            out,
            "Recovery: p50 {} ms, p95 {} ms, max {} ms ({} measured).\n",
            r.p50_ms, r.p95_ms, r.max_ms, r.count
        )?;
        writeln!(out, "| run | seed | minutes | decisions/s | faults | items examined | verdict |")?;
        writeln!(out, "|---|---:|---:|---:|---:|---:|---|")?;
        for (name, run) in &self.runs {
            let examined: u64 = run.invariants.values().map(|i| i.examined).sum();
            let (seed, minutes, rate, verdict) = (run.seed, run.minutes, run.rate, run.verdict());
            writeln!(out, "| {name} | {seed} | {minutes} | {rate} | {} | {examined} | {verdict} |", run.faults)?;
        }
        writeln!(out, "\n| fault | cost | fired | wanted | not felt | recovery p50 / p95 / max ms |")?;
        writeln!(out, "|---|---|---:|---:|---:|---:|")?;
        for kind in Kind::ALL {
            let f = self.kinds.get(kind.name()).cloned().unwrap_or_default();
            let (r, cost, wanted) = (&f.recovery, kind.cost().name(), kind.wanted());
            let times = format!("{} / {} / {}", r.p50_ms, r.p95_ms, r.max_ms);
            writeln!(out, "| {} | {cost} | {} | {wanted} | {} | {times} |", kind.name(), f.fired, f.missed)?;
        }
        writeln!(out, "\n| invariant | examined, all runs | violations |\n|---|---:|---:|")?;
        for (name, (examined, violations)) in &self.invariants {
            writeln!(out, "| {name} | {examined} | {violations} |")?;
        }
        let short = self.short();
        if !short.is_empty() {
            let cheap = short.iter().filter(|(kind, _)| kind.cost() == Cost::Cheap).count();
            writeln!(out, "\n{} kinds, {cheap} of them cheap, are not felt as often as wanted yet.", short.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Invariant;

    fn report(commit: &str, fired: u64, took: &[u64], violations: u64) -> Report {
        let faults = Faults { fired, missed: 1, recoveries_ms: took.to_vec(), ..Faults::default() };
        let invariant = Invariant { examined: 10, judged: 1, violations, examples: vec![] };
        Report {
            commit: commit.to_owned(),
            clean: violations == 0,
            faults: fired,
            kinds: BTreeMap::from([(Kind::LinkCut.name().to_owned(), faults)]),
            invariants: BTreeMap::from([("orders".to_owned(), invariant)]),
            ..Report::default()
        }
    }

    #[test]
    fn runs_of_one_commit_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, report: &Report| {
            std::fs::write(dir.path().join(name), serde_json::to_vec(report).unwrap()).unwrap();
        };
        assert!(!total(dir.path(), None).unwrap().is_clean(), "nothing was run");
        put("a.json", &report("c1", 15, &[1, 9], 0));
        put("b.json", &report("c1", 6, &[5], 0));
        std::fs::write(dir.path().join("a.md"), "no report").unwrap();
        let sum = total(dir.path(), None).unwrap();
        assert_eq!((sum.faults, sum.recovery.p50_ms, sum.recovery.count), (21, 5, 3));
        assert_eq!((sum.invariants["orders"], sum.is_clean()), ((20, 0), true));
        let short = sum.short();
        assert!(
            short.iter().all(|(kind, felt)| *kind != Kind::LinkCut && *felt == 0) && short.len() == Kind::ALL.len() - 1
        );
        assert!(sum.markdown().contains("| link/cut | cheap | 21 | 20 | 2 | 5 / 9 / 9 |"), "{}", sum.markdown());

        put("c.json", &report("c2", 1, &[], 3));
        assert!(total(dir.path(), None).unwrap_err().to_string().contains("c1, c2"));
        assert_eq!(total(dir.path(), Some("c1")).unwrap(), sum);
        let other = total(dir.path(), Some("c2")).unwrap();
        assert_eq!((other.faults, other.invariants["orders"], other.is_clean()), (1, (10, 3), false));
        std::fs::write(dir.path().join("d.json"), "{").unwrap();
        assert!(total(dir.path(), None).unwrap_err().to_string().contains("d.json"));
    }
}
