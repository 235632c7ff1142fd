//! Runs of `fillstream demo`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Finished, fillstream, run};
use crate::{HarnessError, binary};

/// A demo of these tests takes a fraction of it.
const DEADLINE: Duration = Duration::from_secs(600);
const QUICK: Duration = Duration::from_secs(60);

/// Topics in the order in which one leads to the next: the first that differs is nearest to the cause.
const CAUSAL: [&str; 12] = [
    "execution.commands.v1",
    "execution.orders.v1",
    "execution.validated-orders.v1",
    "execution.risk-alerts.v1",
    "execution.strategies.v1",
    "execution.slices.v1",
    "execution.routing-plans.v1",
    "execution.child-orders.v1",
    "execution.intents.v1",
    "execution.reports.v1",
    "execution.trades.v1",
    "execution.quality.v1",
];

// One demo at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Every committed record of the output topics, a canonical line each.
#[derive(Debug, PartialEq, Eq)]
pub struct Dump(pub BTreeMap<String, String>);

impl Dump {
    fn read(dir: &Path) -> Result<Self, HarnessError> {
        let failed = || HarnessError::io(dir.display().to_string());
        let mut topics = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let text = std::fs::read_to_string(entry.path()).map_err(failed())?;
            topics.insert(entry.file_name().to_string_lossy().into_owned(), text);
        }
        Ok(Self(topics))
    }

    /// Records of a topic.
    #[must_use]
    pub fn records(&self, topic: &str) -> usize {
        self.0.get(topic).map_or(0, |text| text.lines().count())
    }

    /// What differs from another run, the nearest to the cause first.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        names.sort_by_key(|name| CAUSAL.iter().position(|topic| topic == name).unwrap_or(CAUSAL.len()));
        names.into_iter().filter_map(|name| difference(name, self.0.get(name), other.0.get(name))).collect()
    }
}

fn difference(topic: &str, ours: Option<&String>, theirs: Option<&String>) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let (ours, theirs) = (ours.map_or("", String::as_str), theirs.map_or("", String::as_str));
    let (here, there): (BTreeSet<&str>, BTreeSet<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let first = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| a.difference(b).next().map_or("none", |line| *line).to_owned();
    Some(format!(
        "{topic}: {} and {} records, {} only here (first: {}), {} only there (first: {})",
        ours.lines().count(),
        theirs.lines().count(),
        here.difference(&there).count(),
        first(&here, &there),
        there.difference(&here).count(),
        first(&there, &here),
    ))
}

/// A demo that ended.
#[derive(Debug)]
pub struct Demo {
    /// The object that `--json` prints.
    pub json: Value,
    /// What it wrote to its topics.
    pub dump: Dump,
    /// How it ended, and what it said.
    pub finished: Finished,
}

impl Demo {
    /// Runs `fillstream demo --json --dump ...` with more arguments; it must end with code 0.
    ///
    /// # Errors
    /// It ends otherwise, or not in time.
    pub fn run(args: &[&str]) -> Result<Self, HarnessError> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let services = Services::new()?;
        let dump = services.data.path().join("dump");
        let finished = services.demo(args, &["--dump".into(), dump.clone()])?;
        let json = last_object(&finished)?;
        Ok(Self { json, dump: Dump::read(&dump)?, finished })
    }

    /// What the process of the stages was doing at each kill.
    #[must_use]
    pub fn kills(&self) -> Vec<&str> {
        self.json
            .get("kills")
            .and_then(Value::as_array)
            .map(|kills| kills.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }
}

/// A demo that was left running with `--keep`; it ends with this value.
#[derive(Debug)]
pub struct Kept {
    /// The object that `--json` prints.
    pub json: Value,
    /// How the demo ended, and what it said.
    pub finished: Finished,
    services: Services,
    processes: Vec<Pid>,
    _turn: std::sync::MutexGuard<'static, ()>,
}

impl Kept {
    /// Runs `fillstream demo --json --keep` with more arguments; it must end with code 0.
    ///
    /// # Errors
    /// It ends otherwise, or not in time.
    pub fn run(args: &[&str]) -> Result<Self, HarnessError> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let services = Services::new()?;
        let finished = services.demo(args, &["--keep".into()])?;
        let pids = finished.stderr.lines().filter_map(|line| line.trim().strip_prefix("process ")?.parse().ok());
        let processes = pids.filter_map(Pid::from_raw).collect();
        let json = last_object(&finished)?;
        Ok(Self { json, finished, services, processes, _turn: turn })
    }

    /// Every committed record of a topic as JSON lines.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn tail(&self, topic: &str) -> Result<String, HarnessError> {
        let tail = ["tail", topic, "--from", "beginning", "--until-end", "--json"];
        Ok(self.fillstream(&tail)?.expect_code(0)?.stdout)
    }

    /// Runs a command of the binary on the services of the demo.
    ///
    /// # Errors
    /// It cannot be started, or takes too long.
    pub fn fillstream(&self, args: &[&str]) -> Result<Finished, HarnessError> {
        let mut command = fillstream()?;
        command.args(args);
        for (name, service) in [("FILLSTREAM_KAFKA", "kafka"), ("FILLSTREAM_REGISTRY", "registry")] {
            command.env(
                name,
                self.json.pointer(&format!("/services/{service}")).and_then(Value::as_str).unwrap_or_default(),
            );
        }
        run(command, QUICK)
    }

    /// Configuration under which its stages run.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.services.data.path().join("demo/run/stages-1.toml")
    }

    /// Stops what the demo left running.
    ///
    /// # Errors
    /// Something does not stop.
    pub fn stop(mut self) -> Result<(), HarnessError> {
        self.end_processes();
        self.services.down()?;
        Ok(())
    }

    // They are the demo's children, not ours, so they cannot be waited for: asked to end, looked at, then killed.
    fn end_processes(&mut self) {
        for pid in &self.processes {
            let _ = kill_process(*pid, Signal::TERM);
        }
        let deadline = Instant::now() + QUICK;
        for pid in self.processes.drain(..) {
            while test_kill_process(pid).is_ok() {
                if Instant::now() >= deadline {
                    let _ = kill_process(pid, Signal::KILL);
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end_processes();
    }
}

/// Services of one demo, with their data.
#[derive(Debug)]
struct Services {
    data: TempDir,
}

impl Services {
    fn new() -> Result<Self, HarnessError> {
        binary()?;
        Ok(Self { data: tempfile::tempdir().map_err(HarnessError::io("temporary folder"))? })
    }

    fn demo(&self, args: &[&str], more: &[PathBuf]) -> Result<Finished, HarnessError> {
        let mut command = fillstream()?;
        command.env("FILLSTREAM_DATA", self.data.path()).args(["demo", "--json"]).args(args).args(more);
        run(command, DEADLINE)?.expect_code(0)
    }

    fn down(&self) -> Result<Finished, HarnessError> {
        let mut command = fillstream()?;
        command.env("FILLSTREAM_DATA", self.data.path().join("demo")).args(["local", "down"]);
        run(command, QUICK)?.expect_code(0)
    }
}

impl Drop for Services {
    // A demo stops its services itself; one that was killed did not.
    fn drop(&mut self) {
        let _ = self.down();
    }
}

fn last_object(finished: &Finished) -> Result<Value, HarnessError> {
    let parsed = finished.stdout.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(Value::is_object).ok_or_else(|| HarnessError::Failed {
        command: finished.command.clone(),
        problem: "the last line on standard output is no JSON object".to_owned(),
        said: finished.stdout.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::Dump;

    fn dump(topics: &[(&str, &str)]) -> Dump {
        Dump(topics.iter().map(|(topic, text)| ((*topic).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn differences_come_in_causal_order_with_the_lines_that_differ() {
        let ours = dump(&[("execution.child-orders.v1", "a\nb\n"), ("execution.orders.v1", "o\n"), ("x.dlq", "")]);
        assert_eq!(ours.differences(&ours), Vec::<String>::new());
        let theirs = dump(&[("execution.child-orders.v1", "a\nc\nd\n"), ("execution.orders.v1", "o\no\n")]);
        assert_eq!(
            ours.differences(&theirs),
            [
                "execution.orders.v1: 1 and 2 records, 0 only here (first: none), 0 only there (first: none)",
                "execution.child-orders.v1: 2 and 3 records, 1 only here (first: b), 2 only there (first: c)",
                "x.dlq: 0 and 0 records, 0 only here (first: none), 0 only there (first: none)",
            ]
        );
    }
}
