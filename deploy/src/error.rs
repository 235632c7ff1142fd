//! What can go wrong, each as one line that says what to do or where to look.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::service::Service;

/// Why the local services could not be fetched, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// Programs are missing and may not be installed from here.
    #[error("{missing} not found; install with: {command}")]
    Prerequisites {
        /// The missing programs, comma separated.
        missing: String,
        /// The command that installs them.
        command: String,
    },
    /// The package manager could not install the missing programs.
    #[error("installing {packages} failed: {detail}")]
    Install {
        /// The packages asked for, space separated.
        packages: String,
        /// The last line of the package manager.
        detail: String,
    },
    /// A package client could not deliver a file.
    #[error("downloading {artifact} failed: {detail}")]
    Download {
        /// Name and version.
        artifact: String,
        /// The last meaningful line of the client.
        detail: String,
    },
    /// A downloaded file is not the one whose checksum is kept in the repository.
    #[error("{file} of {artifact}: sha256 is {actual}, expected {expected}")]
    Checksum {
        /// Name and version.
        artifact: String,
        /// File name.
        file: String,
        /// Hexadecimal sum found.
        actual: String,
        /// Hexadecimal sum wanted.
        expected: String,
    },
    /// A download brought other files than the checksum list names.
    #[error("{artifact}: {detail}")]
    Content {
        /// Name and version.
        artifact: String,
        /// Which file is missing or unexpected.
        detail: String,
    },
    /// There is no verified build for this machine.
    #[error("{artifact} has no verified build for {platform}; point {variable} at a running server instead")]
    Unsupported {
        /// Name and version.
        artifact: String,
        /// Operating system and processor.
        platform: String,
        /// The environment variable that names a running server.
        variable: &'static str,
    },
    /// The port asked for belongs to somebody else.
    #[error("{service}: port {port} on 127.0.0.1 is taken by another process")]
    PortTaken {
        /// The service that wanted it.
        service: Service,
        /// The port.
        port: u16,
    },
    /// No free port was found.
    #[error("{service}: no free port on 127.0.0.1 between {from} and {to}")]
    NoFreePort {
        /// The service that wanted it.
        service: Service,
        /// First port tried.
        from: u16,
        /// Last port tried.
        to: u16,
    },
    /// The service runs already, on another port than the one asked for.
    #[error("{service} runs on port {running} already, not on {wanted}; stop it first")]
    OtherPort {
        /// The service.
        service: Service,
        /// The port it has.
        running: u16,
        /// The port asked for.
        wanted: u16,
    },
    /// The process ended before it answered.
    #[error("{service} died while starting: {detail} (log: {})", log.display())]
    Died {
        /// The service.
        service: Service,
        /// The log's last meaningful line.
        detail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The process lives but did not become ready in time.
    #[error("{service} is not ready after {} s: {detail} (log: {})", after.as_secs(), log.display())]
    NotReady {
        /// The service.
        service: Service,
        /// How long it was waited for.
        after: Duration,
        /// What the last probe met.
        detail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// A service configured as running elsewhere does not answer.
    #[error("{service} at {address} does not answer: {detail}")]
    Unreachable {
        /// The service.
        service: Service,
        /// The configured address.
        address: String,
        /// What the probe met.
        detail: String,
    },
    /// The process survived even SIGKILL.
    #[error("{service}: process {pid} did not end")]
    Unstoppable {
        /// The service.
        service: Service,
        /// Its process id.
        pid: i32,
    },
    /// A configured value cannot be used.
    #[error("{name}: {detail}")]
    Config {
        /// The variable or field.
        name: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// `libchdb` could not be loaded, or its server ended with an error.
    #[error("libchdb: {0}")]
    Library(String),
    /// Another thread or a signal asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The operating system refused.
    #[error("{action} {} failed", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl DeployError {
    /// For `map_err`: the failed action and its path around an [`io::Error`].
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
