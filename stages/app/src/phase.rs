//! What every worker of this process is doing, in a file that survives a kill: evidence of where a kill hit.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

/// Bytes of a line.
const LINE: usize = 64;

/// One line of fixed width a worker, each rewritten in place.
pub struct PhaseFile {
    file: File,
    slots: Mutex<BTreeMap<String, u64>>,
}

/// Told what a worker begins to do: (worker, phase).
pub type PhaseObserver = fillstream_kafka::driver::PhaseObserver;

impl PhaseFile {
    /// An empty file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> anyhow::Result<Arc<Self>> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Arc::new(Self { file, slots: Mutex::default() }))
    }

    /// Notes that `worker` is in `phase`.
    pub fn set(&self, worker: &str, phase: &str) {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let next = u64::try_from(slots.len()).unwrap_or(0);
            *slots.entry(worker.to_owned()).or_insert(next)
        };
        let line = format!("{worker}={phase}");
        let line = format!("{line:<width$.width$}\n", width = LINE - 1);
        // Evidence only: a full disk must not stop trading.
        let _ = self.file.write_all_at(line.as_bytes(), slot * u64::try_from(LINE).unwrap_or(64));
    }
}

/// An observer that writes to the file, if there is one.
#[must_use]
pub fn observer(phases: Option<&Arc<PhaseFile>>) -> Option<PhaseObserver> {
    let phases = Arc::clone(phases?);
    Some(Arc::new(move |worker, phase| phases.set(worker, phase.as_str())))
}
