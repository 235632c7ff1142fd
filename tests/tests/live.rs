//! The live pipeline, written to by Python with confluent-kafka: good, repeated, damaged, invalid and forbidden decisions.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fillstream_tests::{LiveWorld, LocalServices, binary, python, run};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The upstream client of the test.
const CLIENT: &str = "confluent-kafka[avro]==2.12.2";

#[test]
fn a_python_upstream_is_honoured_once_and_damage_stops_nothing() -> Outcome<()> {
    let venv = venv()?;
    let data = tempfile::tempdir()?;
    let services = LocalServices::up(data.path())?;
    let world = LiveWorld::start(data.path(), &[])?;
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
