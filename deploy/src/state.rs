//! What is remembered between commands: one record and one process-id file a service, and locks.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::backend::Ports;
use crate::config::LocalConfig;
use crate::error::DeployError;
use crate::process::{Cancel, POLL, ProcessId};
use crate::service::Service;

/// The last start of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceRecord {
    /// The process, none after a clean stop.
    pub(crate) process: Option<ProcessId>,
    /// The clients' port.
    pub(crate) client: u16,
    /// The other port: see [`Ports`].
    pub(crate) internal: u16,
    /// Where this start begins in the log, bytes.
    pub(crate) log_start: u64,
}

impl ServiceRecord {
    fn path(config: &LocalConfig, service: Service, extension: &str) -> PathBuf {
        config.data.join("run").join(format!("{service}.{extension}"))
    }

    /// The record of a service, none before its first start. An unreadable one counts as none: it holds nothing that
    /// cannot be found anew.
    pub(crate) fn load(config: &LocalConfig, service: Service) -> Option<Self> {
        let text = fs::read_to_string(Self::path(config, service, "json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes the record, and the process id for people and scripts.
    pub(crate) fn store(&self, config: &LocalConfig, service: Service) -> Result<(), DeployError> {
        let path = Self::path(config, service, "json");
        let text = serde_json::to_string(self).map_err(|error| DeployError::Io {
            action: "encoding",
            path: path.clone(),
            source: error.into(),
        })?;
        write_atomically(&path, &text)?;
        let pid_file = Self::path(config, service, "pid");
        match self.process {
            Some(process) => write_atomically(&pid_file, &format!("{}\n", process.pid)),
            None => remove_if_present(&pid_file),
        }
    }

    /// Its ports.
    pub(crate) fn ports(&self) -> Ports {
        Ports { client: self.client, internal: self.internal }
    }

    /// The process, if it still runs.
    pub(crate) fn running(&self) -> Option<ProcessId> {
        self.process.filter(ProcessId::is_alive)
    }
}

/// Writes a file so that readers see the old content or the new, never a part.
pub(crate) fn write_atomically(path: &Path, text: &str) -> Result<(), DeployError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, text).map_err(DeployError::io("writing", &temporary))?;
    fs::rename(&temporary, path).map_err(DeployError::io("writing", path))
}

fn remove_if_present(path: &Path) -> Result<(), DeployError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DeployError::io("deleting", path)(error)),
        _ => Ok(()),
    }
}

/// Deletes a directory and all below it; fine if it is not there.
pub(crate) fn remove_tree(path: &Path) -> Result<(), DeployError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DeployError::io("deleting", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a directory with its parents.
pub(crate) fn create_dir(path: &Path) -> Result<(), DeployError> {
    fs::create_dir_all(path).map_err(DeployError::io("creating", path))
}

/// An exclusive lock on a file, held until dropped; the kernel frees it when the process dies.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for the lock, or until the work is cancelled.
    pub(crate) fn acquire(path: &Path, cancel: &Cancel) -> Result<Self, DeployError> {
        if let Some(parent) = path.parent() {
            create_dir(parent)?;
        }
        let file = File::options().create(true).write(true).truncate(false).open(path);
        let file = file.map_err(DeployError::io("opening", path))?;
        loop {
            cancel.check()?;
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => thread::sleep(POLL),
                Err(TryLockError::Error(error)) => return Err(DeployError::io("locking", path)(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_lock_is_held_by_one_and_waiting_for_it_can_be_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks").join("x");
        let asked = Arc::new(AtomicBool::new(false));
        let cancel = Cancel::new(&asked);
        let held = FileLock::acquire(&path, &cancel).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| FileLock::acquire(&path, &cancel));
            asked.store(true, Ordering::Relaxed);
            assert!(matches!(waiting.join().unwrap(), Err(DeployError::Cancelled)));
        });
        drop(held);
        asked.store(false, Ordering::Relaxed);
        FileLock::acquire(&path, &cancel).unwrap();
    }
}
