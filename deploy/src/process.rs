//! Processes that outlive the one that starts them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::error::DeployError;

/// How often a condition is looked at while it is waited for.
pub(crate) const POLL: Duration = Duration::from_millis(25);
/// The part of a log looked at for its last meaningful line, bytes.
const LOG_TAIL: u64 = 64 * 1024;
/// A log larger than this starts anew, the old one beside it, bytes.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// Whether work should end early: because the caller says so, or because a part of the same work has failed.
#[derive(Debug)]
pub(crate) struct Cancel {
    asked: Arc<AtomicBool>,
    abandoned: AtomicBool,
}

impl Cancel {
    pub(crate) fn new(asked: &Arc<AtomicBool>) -> Self {
        Self { asked: Arc::clone(asked), abandoned: AtomicBool::new(false) }
    }

    /// Ends this work, not the caller's other work.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`DeployError::Cancelled`].
    pub(crate) fn check(&self) -> Result<(), DeployError> {
        let cancelled = self.asked.load(Ordering::Relaxed) || self.abandoned.load(Ordering::Relaxed);
        if cancelled { Err(DeployError::Cancelled) } else { Ok(()) }
    }
}

/// A process, told apart from a later one with the same id by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    started: u64,
}

impl ProcessId {
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(&stat).map(|started| Self { pid, started })
    }

    /// Whether it still runs; a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// SIGTERM, a bounded wait, SIGKILL. True when SIGTERM was enough, `None` when even SIGKILL was not.
    pub(crate) fn stop(&self, timeout: Duration) -> Option<bool> {
        self.send(Signal::TERM);
        if self.wait_gone(timeout) {
            return Some(true);
        }
        self.send(Signal::KILL);
        self.wait_gone(Duration::from_secs(10)).then_some(false)
    }

    pub(crate) fn send(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // It fails only if the process has just ended, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }

    pub(crate) fn wait_gone(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }
}

/// The start time of a process that is no zombie. The command in parentheses may hold blanks and parentheses.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Starts a process in a group of its own, so that Ctrl-C here does not reach it, with its output in the log. Returns
/// where in the log its output begins.
pub(crate) fn spawn_detached(mut command: Command, log: &Path) -> Result<(ProcessId, u64), DeployError> {
    if fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_LIMIT) {
        fs::rename(log, log.with_extension("log.1")).map_err(DeployError::io("rotating", log))?;
    }
    let output = File::options().create(true).append(true).open(log).map_err(DeployError::io("opening", log))?;
    let log_start = output.metadata().map_err(DeployError::io("reading", log))?.len();
    let errors = output.try_clone().map_err(DeployError::io("opening", log))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    let program = Path::new(command.get_program()).to_owned();
    let mut child = command.spawn().map_err(DeployError::io("starting", &program))?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let process = ProcessId::of(pid).unwrap_or(ProcessId { pid, started: 0 });
    // Reaps the child should it end before this process does.
    thread::spawn(move || child.wait());
    Ok((process, log_start))
}

/// Runs a command to its end in a group of its own, or kills that group once `cancel` is set.
///
/// # Errors
/// When it cannot be started, or [`DeployError::Cancelled`].
pub(crate) fn run(mut command: Command, cancel: &Cancel) -> Result<Output, DeployError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let program = Path::new(command.get_program()).to_owned();
    let child = command.spawn().map_err(DeployError::io("starting", &program))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let waiter = thread::spawn(move || child.wait_with_output());
    while !waiter.is_finished() {
        if let Err(cancelled) = cancel.check() {
            if let Some(group) = group {
                // Already gone is fine.
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            return Err(cancelled);
        }
        thread::sleep(POLL);
    }
    match waiter.join() {
        Ok(output) => output.map_err(DeployError::io("running", &program)),
        Err(_) => Err(DeployError::Io {
            action: "running",
            path: program,
            source: std::io::Error::other("its output could not be read"),
        }),
    }
}

/// The line that says why: the last one that speaks of an error, otherwise the last one that is not part of a stack.
pub(crate) fn telling_line(text: &str) -> Option<&str> {
    const SIGNS: [&str; 7] = ["ERROR", "FATAL", "Exception", "Error:", "error:", "npm error", "rror occurred"];
    let lines = || {
        let is_frame = |line: &str| line.starts_with("at ") || line.starts_with("... ") || line.starts_with("[Help");
        text.lines().map(str::trim).filter(move |line| line.chars().any(char::is_alphanumeric) && !is_frame(line))
    };
    let sign = lines().rfind(|line| SIGNS.iter().any(|sign| line.contains(sign)));
    sign.or_else(|| lines().next_back())
}

/// The telling line of a log from `start` on.
pub(crate) fn telling_line_of_log(log: &Path, start: u64) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(len.saturating_sub(LOG_TAIL)).min(len)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    shortened(telling_line(&text).unwrap_or("it said nothing"))
}

/// One line of bearable length.
pub(crate) fn shortened(line: &str) -> String {
    const LIMIT: usize = 300;
    let mut chars = line.chars();
    let head: String = chars.by_ref().take(LIMIT).collect();
    if chars.next().is_some() { format!("{head}...") } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_past_odd_names_and_zombies_are_dead() {
        let stat = "12 (a b) c)) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(parse_stat(stat), Some(4242));
        assert_eq!(parse_stat(&stat.replace(" S ", " Z ")), None);
    }

    #[test]
    fn a_process_lives_until_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; trap 'exit 0' TERM; while :; do sleep 0.05; done"]);
        let (process, start) = spawn_detached(command, &log).unwrap();
        assert!(process.is_alive());
        assert!(!ProcessId { started: process.started + 1, ..process }.is_alive(), "another process, same id");
        while fs::read_to_string(&log).unwrap().is_empty() {
            thread::yield_now();
        }
        assert_eq!(process.stop(Duration::from_secs(20)), Some(true));
        assert!(!process.is_alive());
        assert_eq!(telling_line_of_log(&log, start), "ready");
    }

    #[test]
    fn a_process_that_ignores_sigterm_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]);
        let (process, _) = spawn_detached(command, &log).unwrap();
        while fs::read_to_string(&log).unwrap().is_empty() {
            thread::yield_now();
        }
        assert_eq!(process.stop(Duration::from_millis(100)), Some(false));
    }

    #[test]
    fn the_telling_line_is_the_error_not_the_stack() {
        let log =
            "INFO start\njava.net.BindException: Address already in use\n\tat java.base/x\n\t... 3 more\n[main] done\n";
        assert_eq!(telling_line(log), Some("java.net.BindException: Address already in use"));
        assert_eq!(telling_line("one\ntwo\n\n"), Some("two"));
        assert_eq!(telling_line("\n"), None);
    }

    #[test]
    fn a_cancelled_command_ends_at_once() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600"]);
        let begun = Instant::now();
        let error = run(command, &Cancel::new(&Arc::new(AtomicBool::new(true)))).unwrap_err();
        assert!(matches!(error, DeployError::Cancelled));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
