//! Harness of the end-to-end tests: runs the real binary on real services.
//!
//! Each demo has a data folder, and so services, of its own, and stops them whatever becomes of it. Demos run one after
//! another: they are heavy, and a loaded machine proves nothing more.
#![forbid(unsafe_code)]

mod demo;
mod otlp;
mod process;
mod world;

pub use demo::{Demo, Dump, Kept};
pub use otlp::{Collector, Span};
pub use process::{Finished, fillstream, python, run};
pub use world::{LiveWorld, LocalServices};

use std::path::{Path, PathBuf};

/// Why the harness could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// There is no binary to test.
    #[error("{} does not exist: `cargo build -p fillstream-app` (with --release for a release test), or set FILLSTREAM_BIN", .0.display())]
    NoBinary(PathBuf),
    /// A file or process operation failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        source: std::io::Error,
    },
    /// A command took too long and was killed.
    #[error("{command} did not end within {seconds} s:\n{said}")]
    Deadline {
        /// Command line.
        command: String,
        /// Its deadline, seconds.
        seconds: u64,
        /// End of its standard error.
        said: String,
    },
    /// A demo did not end as wanted.
    #[error("{command}: {problem}:\n{said}")]
    Failed {
        /// Command line.
        command: String,
        /// What is wrong.
        problem: String,
        /// End of its standard error.
        said: String,
    },
}

impl HarnessError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The binary under test: FILLSTREAM_BIN, else the one beside the test executable's folder, of the same profile.
///
/// # Errors
/// It is not built.
pub fn binary() -> Result<PathBuf, HarnessError> {
    let path = match std::env::var_os("FILLSTREAM_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            // <target>/<profile>/deps/<test> -> <target>/<profile>/fillstream
            let test = std::env::current_exe().map_err(HarnessError::io("own path"))?;
            test.ancestors().nth(2).map(|profile| profile.join("fillstream")).unwrap_or_default()
        }
    };
    if path.is_file() { Ok(path) } else { Err(HarnessError::NoBinary(path)) }
}
