//! What is asked when everything is whole again: does it come to rest, is the audit clean, does each journal replay identically.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{AUDIT, CATCH_UP, DRAIN, ORDERS_END, OUTAGE, RESERVED_WITHIN, RETRIES, Rig};
use crate::error::ChaosError;
use crate::faults;

impl Rig<'_> {
    /// Heals, stops the load, waits until all is done, and has the audit judge. False: a violation.
    pub(super) fn drain(&mut self) -> Result<bool, ChaosError> {
        let began = Instant::now();
        self.quiet = true;
        self.say(&format!("{:>5} s  drain: {} faults so far", self.elapsed().as_secs(), self.tally.fired_total()));
        // Cheap ones end by themselves.
        self.until(RESERVED_WITHIN, |rig| Ok(rig.cheap.is_empty()))?;
        self.heal()?;
        self.until(Duration::from_secs(90), |rig| Ok(rig.pending.is_empty()))?;
        self.world.load.say("stop")?;
        self.world.load.hear("stopped", Duration::from_secs(60))?;
        self.pass(ORDERS_END)?;
        let rest = self.until_at_rest()?;
        self.history.note(
            "drain",
            if rest.is_none() { "at rest" } else { "not at rest" },
            rest.as_deref().unwrap_or(""),
        );
        self.tally.judge("comes_to_rest", 1, rest.into_iter().collect());
        for (kind, pending) in std::mem::take(&mut self.pending) {
            self.tally.never.push(format!("{} after {}: not before the drain", pending.group(), kind.name()));
        }
        faults::judge_poison(self)?;
        self.no_open_transactions()?;
        self.audit()?;
        self.replay()?;
        let took = began.elapsed();
        self.tally.drains.push(took);
        self.paused += took;
        if self.tally.violations() > 0 {
            return Ok(false);
        }
        self.world.load.say("start")?;
        self.progress.work_begins();
        self.pass(Duration::from_secs(3))?;
        self.quiet = false;
        Ok(true)
    }

    /// Why it is not at rest, if it does not come to rest in time.
    fn until_at_rest(&mut self) -> Result<Option<String>, ChaosError> {
        let deadline = Instant::now() + DRAIN;
        let mut left = Some("nobody looked".to_owned());
        while Instant::now() < deadline {
            self.pass(Duration::from_secs(1))?;
            let quiet = self.progress.last_move().is_none_or(|at| at.elapsed() > Duration::from_secs(6));
            if !quiet || !self.restarts.is_empty() {
                left = Some("offsets still move".to_owned());
                continue;
            }
            left = self.left().unwrap_or_else(|error| Some(crate::chain(&error)));
            if left.is_none() {
                return Ok(None);
            }
        }
        Ok(left)
    }

    fn left(&self) -> Result<Option<String>, ChaosError> {
        for group in self.world.groups() {
            if let Some(record) = self.cluster.left_for(&group)? {
                return Ok(Some(format!("{group} has not taken in {record}")));
            }
        }
        Ok(None)
    }

    fn topics(&mut self) -> Result<BTreeMap<String, i32>, ChaosError> {
        let mut asked = self.cluster.topics();
        for _ in 0..RETRIES {
            if asked.is_ok() {
                break;
            }
            self.pass(Duration::from_secs(5))?;
            asked = self.cluster.topics();
        }
        asked
    }

    fn no_open_transactions(&mut self) -> Result<(), ChaosError> {
        let written: Vec<String> = self
            .topics()?
            .into_keys()
            .filter(|t| t.starts_with("execution.") || t.starts_with("fillstream."))
            .collect();
        let mut asked = self.cluster.open_transaction(&written);
        for _ in 0..RETRIES {
            if asked.as_ref().is_ok_and(|(_, found)| found.is_none()) {
                break;
            }
            // A question may fail, and the last markers may just be on their way.
            self.pass(Duration::from_secs(5))?;
            asked = self.cluster.open_transaction(&written);
        }
        let (examined, found) = asked?;
        self.tally.judge("no_transaction_hangs_at_rest", examined, found.into_iter().collect());
        Ok(())
    }

    fn audit(&mut self) -> Result<(), ChaosError> {
        self.tally.outage = (self.progress.longest_outage() + CATCH_UP).max(OUTAGE);
        let outage_s = self.tally.outage.as_secs().to_string();
        let words = ["audit", "--json", "--outage-s", &outage_s];
        let report: AuditReport = self.asked(&words)?;
        let total: u64 = report.checks.iter().map(|c| c.examined).sum();
        for check in report.checks {
            let examples = check.examples;
            self.tally.judge_all(&check.name, check.examined, check.violations, examples);
        }
        self.say(&format!("        audit: {total} items examined, {} violations so far", self.tally.violations()));
        Ok(())
    }

    /// Every group's journal, fed again, must write what was recorded, across all that happened to it.
    fn replay(&mut self) -> Result<(), ChaosError> {
        let (mut batches, mut differences, mut examples) = (0, 0, Vec::new());
        for group in self.world.stage_groups().into_iter().chain(["limits", "tca"].map(str::to_owned)) {
            let report: ReplayReport = self.asked(&["replay", "--group", &group, "--json"])?;
            batches += report.tasks.iter().map(|task| task.batches).sum::<u64>();
            differences += report.tasks.iter().map(|task| task.differences).sum::<u64>();
            examples
                .extend(report.differences.iter().map(|d| format!("{group}: {} {}: {}", d.topic, d.what, d.example)));
        }
        self.tally.judge_all("replay_is_identical", batches, differences, examples);
        Ok(())
    }

    // What one of our commands answers as JSON, asked again while it cannot be had.
    fn asked<T: serde::de::DeserializeOwned>(&mut self, words: &[&str]) -> Result<T, ChaosError> {
        let mut asked = self.world.command(words, &[0, 3], AUDIT);
        for _ in 0..RETRIES {
            if asked.is_ok() {
                break;
            }
            self.pass(Duration::from_secs(10))?;
            asked = self.world.command(words, &[0, 3], AUDIT);
        }
        let (_, text) = asked?;
        serde_json::from_str(text.trim())
            .map_err(|e| ChaosError::Answer { what: words.join(" "), detail: e.to_string() })
    }
}

#[derive(serde::Deserialize)]
struct AuditReport {
    checks: Vec<Check>,
}

#[derive(serde::Deserialize)]
struct Check {
    name: String,
    examined: u64,
    violations: u64,
    examples: Vec<String>,
}

#[derive(serde::Deserialize)]
struct ReplayReport {
    tasks: Vec<ReplayTask>,
    differences: Vec<Difference>,
}

#[derive(serde::Deserialize)]
struct ReplayTask {
    batches: u64,
    differences: u64,
}

#[derive(serde::Deserialize)]
struct Difference {
    topic: String,
    what: String,
    example: String,
}
