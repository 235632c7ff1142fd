//! ClickHouse out of `libchdb`, in a process of its own that is this program again.
//!
//! Only HTTP is served: on the native TCP port of this build one wrong password ends the process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::artifact::{Artifact, Context};
use crate::backend::{Backend, Ports};
use crate::error::DeployError;
use crate::http::{Url, connect, request};
use crate::libchdb;
use crate::service::Service;
use crate::state::{create_dir, remove_tree};

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const LIBRARY: &str = "package/libchdb.so";
/// The query that keeps the server up; killing it ends the server in good order.
const KEEP_ALIVE: &str = "SELECT sleepEachRow(1) FROM system.numbers \
     SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null";
const KILL_KEEP_ALIVE: &str = "KILL QUERY WHERE startsWith(query, 'SELECT sleepEachRow(1) FROM system.numbers') ASYNC";

pub(crate) struct ClickHouse;

impl Backend for ClickHouse {
    fn artifacts(&self) -> &'static [Artifact] {
        &[Artifact::ClickHouse]
    }

    fn command(&self, cx: Context<'_>, ports: Ports) -> Result<Command, DeployError> {
        let library = Artifact::ClickHouse.ensure(cx)?.join(LIBRARY);
        let data = cx.config.service_dir(Service::ClickHouse);
        create_dir(&data)?;
        // Its system tables (query_log and the like) do not survive a restart: new ones are made.
        remove_tree(&data.join("data").join("system"))?;
        let options = ServeOptions { library, data, port: ports.client };
        let mut command = Command::new(&cx.config.launcher.program);
        command.args(&cx.config.launcher.args).args(options.to_args()).env("TZ", "UTC");
        Ok(command)
    }

    fn address(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn probe(&self, ports: Ports) -> Result<(), String> {
        ping(&self.address(ports.client))
    }

    fn probe_external(&self, address: &str) -> Result<(), String> {
        let url = Url::parse(address)?;
        if url.tls {
            return connect(&url.host_and_port(), PROBE_TIMEOUT).map(drop).map_err(|error| error.to_string());
        }
        ping(address)
    }
}

fn ping(address: &str) -> Result<(), String> {
    match request("GET", address, "/ping", None, PROBE_TIMEOUT)? {
        answer if answer.status == 200 => Ok(()),
        answer => Err(format!("GET /ping gives status {}", answer.status)),
    }
}

/// What [`serve`] needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// Path of `libchdb.so`.
    pub library: PathBuf,
    /// The database's directory.
    pub data: PathBuf,
    /// The HTTP port on 127.0.0.1.
    pub port: u16,
}

impl ServeOptions {
    /// The arguments that [`Self::from_args`] reads.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        vec![self.library.clone().into(), self.data.clone().into(), self.port.to_string().into()]
    }

    /// Reads library, data directory and port.
    ///
    /// # Errors
    /// When the arguments are not these three.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, DeployError> {
        let args: Vec<OsString> = args.into_iter().collect();
        let wrong = || DeployError::Config {
            name: "serve-clickhouse",
            detail: "takes the library, the data directory and the port; it is called by this program itself".into(),
        };
        let [library, data, port] = <[OsString; 3]>::try_from(args).map_err(|_| wrong())?;
        let port = port.to_str().and_then(|port| port.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { library: library.into(), data: data.into(), port })
    }
}

/// Runs ClickHouse in this process until SIGTERM or SIGINT. Returns after a clean stop; the caller should then end the
/// process.
///
/// # Errors
/// When the library cannot be loaded or the server ends with an error, as with a port or directory already in use.
pub fn serve(options: &ServeOptions) -> Result<(), DeployError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(DeployError::io("handling", Path::new("signals")))?;
    let (flag, base) = (Arc::clone(&stopping), format!("http://127.0.0.1:{}", options.port));
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            flag.store(true, Ordering::SeqCst);
            stop(&base);
        }
    });
    let outcome = libchdb::run(&options.library, &arguments(options));
    // The killed query reports that it was killed.
    if stopping.load(Ordering::SeqCst) { Ok(()) } else { outcome.map_err(DeployError::Library) }
}

/// Ends the server from inside: what it has buffered is written, then the query that keeps it up is killed. Repeated
/// until the process is gone, because a signal may come before the server listens.
fn stop(base: &str) {
    loop {
        for query in ["SYSTEM FLUSH LOGS", KILL_KEEP_ALIVE] {
            // No answer means not listening yet, or not any more.
            let _ = request("POST", base, "/", Some(query), PROBE_TIMEOUT);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// The command line of `clickhouse-local`.
fn arguments(options: &ServeOptions) -> [OsString; 7] {
    let mut path = OsString::from("--path=");
    path.push(&options.data);
    [
        "clickhouse-local".into(),
        path,
        format!("--http_port={}", options.port).into(),
        "--listen_host=127.0.0.1".into(),
        "--multiquery".into(),
        "--query".into(),
        format!("SYSTEM START LISTEN HTTP; {KEEP_ALIVE}").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_the_command_line() {
        let options = ServeOptions { library: "/l/libchdb.so".into(), data: "/d d".into(), port: 8123 };
        assert_eq!(ServeOptions::from_args(options.to_args()).unwrap(), options);
        assert!(ServeOptions::from_args(["x".into(), "y".into()]).is_err());
        assert!(ServeOptions::from_args(["x".into(), "y".into(), "port".into()]).is_err());
    }

    #[test]
    fn the_native_port_stays_closed() {
        let options = ServeOptions { library: "/l".into(), data: "/d".into(), port: 8123 };
        let line = arguments(&options).map(|argument| argument.into_string().unwrap()).join(" ");
        assert!(line.contains("--path=/d --http_port=8123 --listen_host=127.0.0.1"), "{line}");
        assert!(!line.contains("tcp"), "{line}");
    }

    #[test]
    fn the_kill_finds_the_query_that_keeps_the_server_up() {
        let prefix = KILL_KEEP_ALIVE.split('\'').nth(1).unwrap();
        assert!(KEEP_ALIVE.starts_with(prefix));
        assert!(!KILL_KEEP_ALIVE.starts_with(prefix), "it must not kill itself");
    }
}
