//! Kills the process of the stages (kill -9) at chosen phases, spread over the run, and starts it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Stages;

/// Phases that a kill waits for, in turn: inside an open transaction, and between an intent's commit and its answer.
const TARGETS: [&str; 4] = ["transaction", "transaction", "between intent and answer", "transaction"];
const WAIT: Duration = Duration::from_secs(20);

/// The kills of a run.
pub struct Kills {
    wanted: u32,
    decisions: usize,
    done: u32,
    phases: PathBuf,
    running: Option<JoinHandle<anyhow::Result<String>>>,
    /// What the process was doing at each kill.
    killed: Vec<String>,
}

impl Kills {
    /// `wanted` kills over `decisions` published decisions.
    #[must_use]
    pub fn new(wanted: u32, decisions: usize, phases: PathBuf) -> Self {
        Self { wanted, decisions, done: 0, phases, running: None, killed: Vec::new() }
    }

    /// Starts the next kill when its time has come.
    ///
    /// # Errors
    /// The last one failed.
    pub fn poll(&mut self, published: usize, stages: &Arc<Mutex<Stages>>) -> anyhow::Result<()> {
        if self.running.as_ref().is_some_and(|t| !t.is_finished()) {
            return Ok(());
        }
        self.collect()?;
        let due = usize::try_from(self.done + 1)?.saturating_mul(self.decisions) / usize::try_from(self.wanted + 1)?;
        if self.done < self.wanted && published >= due {
            let target = TARGETS.get(usize::try_from(self.done)? % TARGETS.len()).copied().unwrap_or("transaction");
            self.done += 1;
            let (phases, stages) = (self.phases.clone(), Arc::clone(stages));
            self.running =
                Some(std::thread::Builder::new().name("killer".into()).spawn(move || kill(&phases, target, &stages))?);
        }
        Ok(())
    }

    /// Waits for the last kill and gives the phase of each.
    ///
    /// # Errors
    /// It failed.
    pub fn finish(mut self) -> anyhow::Result<Vec<String>> {
        self.collect()?;
        Ok(self.killed)
    }

    fn collect(&mut self) -> anyhow::Result<()> {
        if let Some(thread) = self.running.take() {
            self.killed.push(thread.join().map_err(|_| anyhow::anyhow!("the killing thread panicked"))??);
        }
        Ok(())
    }
}

fn kill(phases: &Path, target: &str, stages: &Mutex<Stages>) -> anyhow::Result<String> {
    let deadline = Instant::now() + WAIT;
    // The phase lasts some milliseconds: look without sleeping.
    while !read(phases).values().any(|phase| phase == target) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let mut at_kill = BTreeMap::new();
    stages.lock().unwrap_or_else(PoisonError::into_inner).kill_and_restart(|| at_kill = read(phases))?;
    let busy: Vec<String> = at_kill.iter().filter(|(_, p)| *p != "idle").map(|(w, p)| format!("{w}: {p}")).collect();
    Ok(if busy.is_empty() { "idle".to_owned() } else { busy.join(", ") })
}

fn read(phases: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(phases).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(worker, phase)| (worker.trim().to_owned(), phase.trim().to_owned()))
        .collect()
}
