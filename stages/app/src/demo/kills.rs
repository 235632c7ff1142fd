//! Kills processes of the stages (kill -9) at chosen phases, spread over the run, and starts them again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Instances;

/// Phases that a kill waits for, in turn: inside an open transaction, and between an intent's commit and its answer.
const TARGETS: [&str; 4] = [TRANSACTION, TRANSACTION, "between intent and answer", TRANSACTION];
const TRANSACTION: &str = "transaction";
const WAIT: Duration = Duration::from_secs(20);

/// The kills of a run.
pub struct Kills {
    wanted: u32,
    decisions: usize,
    done: u32,
    /// Where each instance says what it is doing.
    phases: Vec<PathBuf>,
    running: Option<JoinHandle<anyhow::Result<String>>>,
    /// Who was killed, and what it was doing.
    killed: Vec<String>,
}

impl Kills {
    /// `wanted` kills over `decisions` published decisions.
    #[must_use]
    pub fn new(wanted: u32, decisions: usize, phases: Vec<PathBuf>) -> Self {
        Self { wanted, decisions, done: 0, phases, running: None, killed: Vec::new() }
    }

    /// Starts the next kill when its time has come.
    ///
    /// # Errors
    /// The last one failed.
    pub fn poll(&mut self, published: usize, instances: &Arc<Mutex<Instances>>) -> anyhow::Result<()> {
        if self.running.as_ref().is_some_and(|t| !t.is_finished()) {
            return Ok(());
        }
        self.collect()?;
        let due = usize::try_from(self.done + 1)?.saturating_mul(self.decisions) / usize::try_from(self.wanted + 1)?;
        if self.done < self.wanted && published >= due {
            let turn = usize::try_from(self.done)?;
            let target = TARGETS.get(turn % TARGETS.len()).copied().unwrap_or(TRANSACTION);
            self.done += 1;
            let (phases, instances) = (self.phases.clone(), Arc::clone(instances));
            let thread = std::thread::Builder::new().name("killer".into());
            self.running = Some(thread.spawn(move || {
                let victim = victim(&phases, target, turn);
                instances.lock().unwrap_or_else(PoisonError::into_inner).kill(victim)
            })?);
        }
        Ok(())
    }

    /// Waits for the last kill and tells of each.
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

/// The first instance that enters the phase. For a transaction, which all have, it is first waited for the one whose turn
/// it is, so that all get theirs.
fn victim(phases: &[PathBuf], target: &str, turn: usize) -> usize {
    let (start, in_turn) = (Instant::now(), turn % phases.len().max(1));
    loop {
        // The phase lasts some milliseconds: look without sleeping.
        let anyone = target != TRANSACTION || start.elapsed() >= WAIT / 2;
        let is_there = |(n, path): &(usize, &PathBuf)| {
            (anyone || *n == in_turn) && read(path).values().any(|phase| phase == target)
        };
        match phases.iter().enumerate().find(is_there) {
            Some((n, _)) => return n,
            None if start.elapsed() >= WAIT => return in_turn,
            None => std::thread::yield_now(),
        }
    }
}

/// What every worker of an instance says it is doing.
pub fn read(phases: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(phases).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(worker, phase)| (worker.trim().to_owned(), phase.trim().to_owned()))
        .collect()
}
