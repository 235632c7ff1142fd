//! The live pipeline, written to by Python with confluent-kafka: good, repeated, damaged, invalid and forbidden decisions.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use fillstream_tests::{HarnessError, binary, fillstream, python, run};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The upstream client of the test.
const CLIENT: &str = "confluent-kafka[avro]==2.12.2";

#[test]
fn a_python_upstream_is_honoured_once_and_damage_stops_nothing() -> Outcome<()> {
    let venv = venv()?;
    let data = tempfile::tempdir()?;
    let services = Services::up(data.path())?;
    let world = World::start(data.path())?;
    let mut script = Command::new(venv.join("bin/python"));
    // `python` knows where scripts are.
    script.args(python("live.py").get_args()).arg(binary()?).arg(&world.addresses);
    let done = run(script, Duration::from_secs(420))?.expect_code(0)?;
    let result: serde_json::Value = serde_json::from_str(done.stdout.trim())?;
    let passed = result.get("passed").and_then(|p| p.as_array()).map_or(0, Vec::len);
    assert_eq!(passed, 12, "{result}");
    drop(world);
    drop(services);
    Ok(())
}

/// Local services of a data folder; they stop with this value.
struct Services<'a>(&'a Path);

impl<'a> Services<'a> {
    fn up(data: &'a Path) -> Result<Self, HarnessError> {
        let services = Self(data);
        services.local("up", 600)?;
        Ok(services)
    }

    fn local(&self, what: &str, seconds: u64) -> Result<(), HarnessError> {
        let mut command = fillstream()?;
        command.args(["local", what]).env("FILLSTREAM_DATA", self.0);
        run(command, Duration::from_secs(seconds))?.expect_code(0)?;
        Ok(())
    }
}

impl Drop for Services<'_> {
    fn drop(&mut self) {
        let _ = self.local("down", 120);
    }
}

/// Venue, market, reference data and stages; they end when the input of their parent does.
struct World {
    child: Child,
    input: Option<ChildStdin>,
    addresses: String,
}

impl World {
    fn start(data: &Path) -> Outcome<Self> {
        let mut command = fillstream()?;
        command.arg("live-world").env("FILLSTREAM_DATA", data).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut world = Self { child, input, addresses: String::new() };
        // The line comes when everything is ready; a world that fails closes its output.
        BufReader::new(output.ok_or("no output")?).read_line(&mut world.addresses)?;
        if world.addresses.is_empty() {
            Err("the live world did not start; see its errors above".into())
        } else {
            Ok(world)
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// A virtual environment with the client, kept between runs.
fn venv() -> Outcome<PathBuf> {
    let cache = std::env::var_os("FILLSTREAM_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/fillstream"));
    let venv =
        cache.or_else(home).ok_or("neither FILLSTREAM_CACHE nor HOME is set")?.join("python-confluent-kafka-2.12.2");
    let complete = venv.join("complete");
    if !complete.is_file() {
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).arg(&venv);
        let mut install = Command::new(venv.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT]);
        for (step, what) in
            [(create, "python3 -m venv (Debian: apt-get install python3-venv)"), (install, "pip install")]
        {
            let done = run(step, Duration::from_secs(300)).and_then(|f| f.expect_code(0));
            done.map_err(|e| format!("this test writes with {CLIENT}, which could not be installed: {what}: {e}"))?;
        }
        std::fs::write(complete, CLIENT)?;
    }
    Ok(venv)
}
