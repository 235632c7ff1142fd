//! Small file systems that can be filled without filling anybody else's: tmpfs, which takes root.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::ChaosError;

/// Room for an hour of a run, megabytes.
const SIZE_MB: u32 = 2_048;
/// How long a process that was killed may hold its files.
const GONE_WITHIN: Duration = Duration::from_secs(5);
const BLOCK: usize = 1 << 20;

/// A file system mounted on a folder until this value goes.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    dir: PathBuf,
}

fn mount(dir: &Path, size_mb: u32) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={size_mb}m"), "tmpfs"]).arg(dir).stdin(Stdio::null());
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Unmounts whatever is mounted there. False: nothing was, or somebody uses it.
pub(crate) fn unmount(dir: &Path) -> bool {
    let mut command = Command::new("umount");
    command.arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether one can be mounted; otherwise why not.
pub(crate) fn possible(data: &Path) -> Result<(), String> {
    let dir = data.join("mount-test");
    mount(&dir, 1)?;
    unmount(&dir);
    let _ = std::fs::remove_dir(&dir);
    Ok(())
}

impl SmallDisk {
    pub(crate) fn mount(dir: &Path) -> Result<Self, ChaosError> {
        let failed = |detail| ChaosError::Answer { what: format!("mounting {}", dir.display()), detail };
        mount(dir, SIZE_MB).map_err(failed)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Whether it is the one of a folder whose name ends so.
    pub(crate) fn is_of(&self, name: &str) -> bool {
        self.dir.ends_with(name)
    }

    /// Writes until it is full. Bytes written.
    pub(crate) fn fill(&self) -> Result<u64, ChaosError> {
        let mut file = File::create(self.dir.join("filler")).map_err(ChaosError::io("filling a disk"))?;
        let block = vec![0; BLOCK];
        let mut written = 0;
        while let Ok(n @ 1..) = file.write(&block) {
            written += u64::try_from(n).unwrap_or(0);
        }
        Ok(written)
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        let _ = std::fs::remove_file(self.dir.join("filler"));
    }

    /// Stays mounted.
    pub(crate) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever wrote there was killed a moment ago.
        let deadline = Instant::now() + GONE_WITHIN;
        while !unmount(&self.dir) && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}
