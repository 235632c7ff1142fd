//! A process of the system under test: started, signalled, watched; its fail points armed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::ChaosError;

/// Variables that would point a process past the proxy.
const ADDRESSES: [&str; 3] = ["FILLSTREAM_KAFKA", "FILLSTREAM_REGISTRY", "FILLSTREAM_CLICKHOUSE"];
/// Names the files of the fail points of a process.
const FAILPOINTS: &str = "FILLSTREAM_FAILPOINTS";
/// Bytes of a log looked at for the last words.
const TAIL: usize = 16 << 10;

/// The program with arguments, away from the environment's addresses.
pub(crate) fn command(program: &Path, args: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    for name in ADDRESSES {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the program to its end. Its standard output.
///
/// # Errors
/// It cannot be started, takes too long, or ends with another status than `accepted`.
pub(crate) fn run(
    program: &Path,
    args: &[String],
    accepted: &[i32],
    limit: Duration,
) -> Result<(i32, String), ChaosError> {
    let name = args.first().cloned().unwrap_or_default();
    let failed = |action: &str| ChaosError::io(format!("{action} fillstream {name}"));
    let mut child = command(program, args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed("starting"))?;
    let pid = Pid::from_child(&child);
    let (sender, receiver) = channel();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let errors = std::thread::spawn(move || err.as_mut().map(|e| std::io::read_to_string(e).unwrap_or_default()));
    let waiter = std::thread::spawn(move || {
        let text = out.as_mut().map(|o| std::io::read_to_string(o).unwrap_or_default());
        let _ = sender.send((text.unwrap_or_default(), child.wait()));
    });
    let Ok((text, status)) = receiver.recv_timeout(limit) else {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waiter.join();
        return Err(ChaosError::Timeout { what: format!("fillstream {name}"), limit, detail: String::new() });
    };
    let said = errors.join().ok().flatten().unwrap_or_default();
    let status = status.map_err(failed("waiting for"))?;
    match status.code().filter(|code| accepted.contains(code)) {
        Some(code) => Ok((code, text)),
        None => {
            Err(ChaosError::Command { command: args.join(" "), status: status.to_string(), said: last_lines(&said) })
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(3)).copied().collect::<Vec<_>>().join(" | ")
}

/// How a process of the system is started.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Its name: of its log, its fail points and its listener.
    pub(crate) name: String,
    /// The arguments after the program.
    pub(crate) args: Vec<String>,
}

/// One that runs, or ran.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) spec: Spec,
    child: Child,
    log: PathBuf,
    prefix: PathBuf,
    fired_before: usize,
    log_before: usize,
    pub(crate) started: Instant,
}

impl Process {
    /// Starts it; its output is added to `<dir>/<name>.log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(program: &Path, spec: &Spec, dir: &Path) -> Result<Self, ChaosError> {
        let (log, prefix) = (dir.join(format!("{}.log", spec.name)), dir.join(&spec.name));
        let failed = || ChaosError::io(format!("starting {}", spec.name));
        let out = File::options().create(true).append(true).open(&log).map_err(failed())?;
        for order in ["arm", "clock"] {
            let _ = std::fs::remove_file(prefix.with_extension(order));
        }
        let log_before = usize::try_from(out.metadata().map_err(failed())?.len()).unwrap_or(0);
        let child = command(program, &spec.args)
            .env(FAILPOINTS, &prefix)
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(failed())?)
            .stderr(out)
            .spawn()
            .map_err(failed())?;
        let fired_before = fired(&prefix).len();
        Ok(Self { spec: spec.clone(), child, log, prefix, fired_before, log_before, started: Instant::now() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // Fails only where it has just ended.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Whether the kernel shows it as stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Waits for its end.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.ended().is_none() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        true
    }

    /// kill -9, and its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, a wait, kill -9.
    pub(crate) fn stop(&mut self, limit: Duration) {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        if !self.wait_end(limit) {
            self.kill();
        }
    }

    /// Arms a fail point: at its n-th time the process kills (or stops) itself.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn arm(&mut self, point: &str, stops: bool, nth: u64) -> Result<(), ChaosError> {
        self.fired_before = fired(&self.prefix).len();
        let action = if stops { "stop" } else { "kill" };
        let (part, file) = (self.prefix.with_extension("part"), self.prefix.with_extension("arm"));
        let failed = || ChaosError::io(format!("arming {}", self.spec.name));
        std::fs::write(&part, format!("{point} {action} {nth}")).map_err(failed())?;
        std::fs::rename(&part, &file).map_err(failed())
    }

    /// Takes the order back.
    pub(crate) fn disarm(&self) {
        let _ = std::fs::remove_file(self.prefix.with_extension("arm"));
    }

    /// The fail point that has fired since it was armed.
    pub(crate) fn fired(&self) -> Option<String> {
        fired(&self.prefix).get(self.fired_before).cloned()
    }

    /// Lets the OS clock seem to have jumped for the engine in it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn jump_clock(&self, us: i64) -> Result<(), ChaosError> {
        let file = self.prefix.with_extension("clock");
        std::fs::write(file, us.to_string()).map_err(ChaosError::io(format!("the clock of {}", self.spec.name)))
    }

    /// Whether it has said this since it was started.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let own = bytes.get(self.log_before..).unwrap_or_default();
        own.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// The end of its log in one line.
    pub(crate) fn last_words(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let tail = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(tail))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.stop(Duration::from_secs(5));
        }
    }
}

fn fired(prefix: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(prefix.with_extension("fired")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A process that is talked to by lines on its standard input and output.
#[derive(Debug)]
pub(crate) struct Talker {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Talker {
    pub(crate) fn start(program: &Path, name: &str, args: &[String], dir: &Path) -> Result<Self, ChaosError> {
        let log = dir.join(format!("{name}.log"));
        let failed = || ChaosError::io(format!("starting {name}"));
        let errors = File::options().create(true).append(true).open(&log).map_err(failed())?;
        let mut child = command(program, args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(failed())?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ChaosError::Answer { what: name.to_owned(), detail: "has no input or output".to_owned() });
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, lines, log })
    }

    /// Says a line.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), ChaosError> {
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).map_err(ChaosError::io("talking to the load"))
    }

    /// The next line that begins with `start`.
    ///
    /// # Errors
    /// It does not come.
    pub(crate) fn hear(&mut self, start: &str, limit: Duration) -> Result<String, ChaosError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(start) => return Ok(line),
                Ok(_) => {}
                Err(_) => {
                    let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                    return Err(ChaosError::Timeout {
                        what: format!("{start:?} of the load"),
                        limit,
                        detail: last_lines(&text),
                    });
                }
            }
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn check(&mut self) -> Result<(), ChaosError> {
        match self.child.try_wait().ok().flatten() {
            None => Ok(()),
            Some(status) => {
                let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                let (command, said) = ("chaos-load".to_owned(), last_lines(&text));
                Err(ChaosError::Command { command, status: status.to_string(), said })
            }
        }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
