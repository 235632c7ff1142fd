//! Child processes with a deadline.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{HarnessError, binary, workspace};

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A process that ended.
#[derive(Debug)]
pub struct Finished {
    /// Command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// The last lines that it said.
    #[must_use]
    pub fn said(&self) -> String {
        tail(&self.stderr)
    }

    /// Itself, when it ended with `code`.
    ///
    /// # Errors
    /// It ended otherwise.
    pub fn expect_code(self, code: i32) -> Result<Self, HarnessError> {
        if self.status.code() == Some(code) {
            return Ok(self);
        }
        let (problem, said) = (format!("ended with {}, not {code}", self.status), self.said() + &tail(&self.stdout));
        Err(HarnessError::Failed { command: self.command, problem, said })
    }
}

/// `fillstream` in the root of the workspace, with nothing configured by the environment of the tests.
///
/// # Errors
/// It is not built.
pub fn fillstream() -> Result<Command, HarnessError> {
    let mut command = Command::new(binary()?);
    command.current_dir(workspace());
    for (name, _) in std::env::vars_os() {
        let configures =
            name.to_str().is_some_and(|name| name.starts_with("FILLSTREAM_") && name != "FILLSTREAM_CACHE");
        if configures {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// A script of the tests.
#[must_use]
pub fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(workspace().join("tests").join(script));
    command
}

/// Runs a command to its end, in a process group of its own that is killed at the deadline.
///
/// # Errors
/// It cannot be started, or takes too long.
pub fn run(mut command: Command, deadline: Duration) -> Result<Finished, HarnessError> {
    let text = format!("{command:?}");
    // Files, not pipes: nobody has to read while it runs, and what it leaves running holds nothing open.
    let dir = tempfile::tempdir().map_err(HarnessError::io("temporary folder"))?;
    let (out, err) = (dir.path().join("stdout"), dir.path().join("stderr"));
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(create(&out)?)
        .stderr(create(&err)?)
        .process_group(0)
        .spawn()
        .map_err(HarnessError::io(text.clone()))?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(HarnessError::io(text.clone()))? {
            break status;
        }
        if started.elapsed() >= deadline {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
            return Err(HarnessError::Deadline { command: text, seconds: deadline.as_secs(), said: tail(&read(&err)) });
        }
        std::thread::park_timeout(LOOK);
    };
    Ok(Finished { command: text, status, stdout: read(&out), stderr: read(&err), took: started.elapsed() })
}

fn create(path: &Path) -> Result<File, HarnessError> {
    File::create(path).map_err(HarnessError::io(path.display().to_string()))
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(60)).map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::run;
    use crate::HarnessError;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_command_says_and_its_code_are_kept() {
        let finished = run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(60)).unwrap();
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        let failed = finished.expect_code(0).unwrap_err();
        assert!(failed.to_string().contains("exit status: 3") && failed.to_string().contains("err"), "{failed}");
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_its_children() {
        let deadline = Duration::from_millis(300);
        let late = run(shell("echo begun >&2; tail -f /dev/null & wait"), deadline).unwrap_err();
        assert!(matches!(&late, HarnessError::Deadline { said, .. } if said.contains("begun")), "{late}");
    }
}
