//! The processes of a demo: the venue and the stages, with this binary itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A child process that is ended when this value goes.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    address_file: PathBuf,
}

impl Process {
    /// Starts `fillstream ARGS`; its output goes to `<dir>/<name>.log`, its address comes from `<dir>/<name>.addr`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, dir: &Path, args: &[String]) -> anyhow::Result<Self> {
        let (log, address_file) = (dir.join(format!("{name}.log")), dir.join(format!("{name}.addr")));
        let _ = std::fs::remove_file(&address_file);
        let out = File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        let child = Command::new(std::env::current_exe()?)
            .args(args)
            .arg("--address-file")
            .arg(&address_file)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log, address_file })
    }

    /// Address that the process listens on.
    ///
    /// # Errors
    /// It died or did not say so in time; the last line of its log is in the error.
    pub fn address(&mut self, timeout: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            // Written whole and renamed: what can be read is complete.
            if let Ok(address) = std::fs::read_to_string(&self.address_file) {
                return Ok(address.trim().to_owned());
            }
            self.check()?;
            if Instant::now() >= deadline {
                bail!("{} did not listen within {timeout:?}: {}", self.name, self.last_words());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It ended; the last line of its log is in the error.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}: {}", self.name, self.last_words()),
        }
    }

    /// kill -9.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// The system refuses.
    pub fn stop(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id())?;
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + timeout;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return self.kill();
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Lets it run on after this value goes.
    pub fn leave(self) -> u32 {
        let pid = self.child.id();
        std::mem::forget(self);
        pid
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().filter(|l| !l.trim().is_empty()).take(3).collect();
        format!("{} ({})", lines.into_iter().rev().collect::<Vec<_>>().join(" | "), self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop(Duration::from_secs(10));
    }
}

/// Writes an address file so that a reader sees all of it or nothing.
///
/// # Errors
/// The folder is not writable.
pub fn write_address(file: &Path, address: &str) -> anyhow::Result<()> {
    let part = file.with_extension("part");
    std::fs::write(&part, address).with_context(|| part.display().to_string())?;
    std::fs::rename(&part, file).with_context(|| file.display().to_string())
}
