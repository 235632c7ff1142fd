//! The programs that fetch and unpack the services.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::artifact::Context;
use crate::error::DeployError;
use crate::process::{Cancel, run, shortened, telling_line};
use crate::service::Progress;

/// A program that a download needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// Maven, for the Java services.
    Maven,
    /// npm, for libchdb.
    Npm,
    /// Python's pip, for the Java runtime.
    Pip,
    /// tar, to unpack.
    Tar,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Maven => "mvn",
            Self::Npm => "npm",
            Self::Pip => "python3 with pip",
            Self::Tar => "tar",
        }
    }

    fn debian_package(self) -> &'static str {
        match self {
            Self::Maven => "maven",
            Self::Npm => "npm",
            Self::Pip => "python3-pip",
            Self::Tar => "tar",
        }
    }

    fn is_present(self) -> bool {
        match self {
            Self::Maven | Self::Npm | Self::Tar => on_path(self.name()),
            // Debian ships python3 without pip, so only running it tells.
            Self::Pip => Command::new("python3")
                .args(["-m", "pip", "--version"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success()),
        }
    }
}

/// Whether a program is found on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Makes sure that the tools are there: installs them as root on Debian, otherwise names them with the command.
///
/// # Errors
/// [`DeployError::Prerequisites`] or [`DeployError::Install`].
pub(crate) fn ensure(tools: &[Tool], cx: Context<'_>) -> Result<(), DeployError> {
    let missing: Vec<Tool> = tools.iter().copied().filter(|tool| !tool.is_present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let is_debian = Path::new("/etc/debian_version").exists() && on_path("apt-get");
    if !(cx.config.install_prerequisites && is_debian && rustix::process::geteuid().is_root()) {
        return Err(named(&missing));
    }
    let packages = packages(&missing);
    (cx.observer)(Progress::Installing { packages: &packages });
    apt(&["update", "-q"], &packages, cx.cancel)?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(missing.iter().map(|tool| tool.debian_package()));
    apt(&arguments, &packages, cx.cancel)?;
    missing.iter().all(|tool| tool.is_present()).then_some(()).ok_or_else(|| named(&missing))
}

fn packages(missing: &[Tool]) -> String {
    missing.iter().map(|tool| tool.debian_package()).collect::<Vec<_>>().join(" ")
}

fn named(missing: &[Tool]) -> DeployError {
    DeployError::Prerequisites {
        missing: missing.iter().map(|tool| tool.name()).collect::<Vec<_>>().join(", "),
        command: format!("sudo apt-get install -y --no-install-recommends {}", packages(missing)),
    }
}

fn apt(arguments: &[&str], packages: &str, cancel: &Cancel) -> Result<(), DeployError> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let output = run(command, cancel)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let detail = shortened(telling_line(&text).unwrap_or("apt-get failed"));
    Err(DeployError::Install { packages: packages.to_owned(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command() {
        assert_eq!(
            named(&[Tool::Maven, Tool::Pip]).to_string(),
            "mvn, python3 with pip not found; install with: \
             sudo apt-get install -y --no-install-recommends maven python3-pip"
        );
    }

    #[test]
    fn the_search_path_is_searched() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-here"));
    }
}
