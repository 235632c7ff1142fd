//! A process that starts before its services, and one whose services never come.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fillstream_tests::{Finished, HarnessError, fillstream, run};
use rustix::process::{Pid, Signal, kill_process};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const DEADLINE: Duration = Duration::from_secs(180);

fn local(data: &Path, what: &str) -> Result<Finished, HarnessError> {
    let mut command = fillstream()?;
    command.args(["local", what]).env("FILLSTREAM_DATA", data);
    run(command, Duration::from_secs(600))?.expect_code(0)
}

/// Services that stop with this value.
struct Services<'a>(&'a Path);

impl Drop for Services<'_> {
    fn drop(&mut self) {
        let _ = local(self.0, "down");
    }
}

/// A process that is killed with this value.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Outcome<Self> {
        Ok(Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    fn end(mut self) -> Outcome<Option<i32>> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?).ok_or("no process")?;
        kill_process(pid, Signal::TERM)?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.code());
            }
            if begun.elapsed() > DEADLINE {
                return Err("it does not end".into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status line and body of an answer; nothing while nobody listens.
fn ready(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET /health/ready HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn eventually(what: &str, mut ask: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let begun = Instant::now();
    while !ask()? {
        if begun.elapsed() > DEADLINE {
            return Err(format!("{what} did not happen").into());
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[test]
fn a_process_waits_for_services_that_are_away_and_then_works() -> Outcome<()> {
    let data = tempfile::tempdir()?;
    let up = local(data.path(), "up")?;
    let services = Services(data.path());
    let addresses: Vec<(String, String)> = up
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
        .collect();
    if addresses.len() != 3 {
        return Err(format!("`local up` said {}", up.stdout).into());
    }
    let configured = || -> Result<Command, HarnessError> {
        let mut command = fillstream()?;
        command.envs(addresses.iter().map(|(name, value)| (name, value)));
        Ok(command)
    };
    for arguments in [["topics", "apply"], ["schemas", "register"]] {
        let mut command = configured()?;
        command.args(arguments);
        run(command, DEADLINE)?.expect_code(0)?;
    }
    local(data.path(), "down")?;

    let process = || -> Outcome<(Running, u16)> {
        let (mut command, port) = (configured()?, free_port()?);
        command.args(["run", "--stages", "tca,clickhouse-sink", "--set", &format!("run.listen=127.0.0.1:{port}")]);
        Ok((Running::start(command)?, port))
    };
    // One that is stopped while it waits ends in good order.
    let (waiting, port) = process()?;
    eventually("a first look", || Ok(ready(port).is_some_and(|r| r.contains("start") && !r.contains(" 200 "))))?;
    if waiting.end()? != Some(0) {
        return Err("a process that is stopped while it waits fails".into());
    }
    // One that may wait a second only says what it waited for.
    let mut command = configured()?;
    command.args(["run", "--stages", "tca", "--set", "run.start_timeout_s=1"]);
    let late = run(command, DEADLINE)?.expect_code(1)?;
    if !late.stderr.contains("describe topics") {
        return Err(format!("it does not say what did not answer: {}", late.stderr).into());
    }
    // A wrong configuration is not waited for.
    let mut command = configured()?;
    command.args(["run", "--stages", "tca", "--set", "run.workers=0"]);
    run(command, DEADLINE)?.expect_code(2)?;

    let (mut waiting, port) = process()?;
    eventually("a wait", || Ok(ready(port).is_some_and(|r| r.contains("starting, kafka"))))?;
    local(data.path(), "up")?;
    eventually("readiness", || match waiting.0.try_wait()? {
        Some(status) => Err(format!("it ended with {status}").into()),
        None => Ok(ready(port).is_some_and(|r| r.lines().next().is_some_and(|l| l.contains(" 200 ")))),
    })?;
    if waiting.end()? != Some(0) {
        return Err("it does not end in good order".into());
    }
    drop(services);
    Ok(())
}
