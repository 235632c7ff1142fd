//! The live world: services of a data folder, and everything around the stages.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use crate::HarnessError;
use crate::process::{fillstream, run};

/// Local services of a data folder; they stop with this value.
#[derive(Debug)]
pub struct LocalServices<'a>(&'a Path);

impl<'a> LocalServices<'a> {
    /// Starts them.
    ///
    /// # Errors
    /// One does not start.
    pub fn up(data: &'a Path) -> Result<Self, HarnessError> {
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

impl Drop for LocalServices<'_> {
    fn drop(&mut self) {
        let _ = self.local("down", 120);
    }
}

/// Venue, market, reference data and stages; they end when the input of their parent does.
#[derive(Debug)]
pub struct LiveWorld {
    child: Child,
    input: Option<ChildStdin>,
    /// Addresses of everything, a line of JSON.
    pub addresses: String,
}

impl LiveWorld {
    /// Starts them on the services of the data folder, with more arguments.
    ///
    /// # Errors
    /// They do not start; the reason is on standard error.
    pub fn start(data: &Path, args: &[&str]) -> Result<Self, HarnessError> {
        let mut command = fillstream()?;
        command.arg("live-world").args(args).env("FILLSTREAM_DATA", data);
        let text = format!("{command:?}");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(HarnessError::io(text.clone()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut world = Self { child, input, addresses: String::new() };
        // The line comes when everything is ready; a world that fails closes its output.
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut world.addresses).map_err(HarnessError::io(text.clone()))?;
        }
        if world.addresses.is_empty() {
            let (problem, said) = ("did not start".to_owned(), "  see its errors above".to_owned());
            return Err(HarnessError::Failed { command: text, problem, said });
        }
        Ok(world)
    }
}

impl Drop for LiveWorld {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
