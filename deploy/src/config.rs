//! Where things live and which services are ours.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::DeployError;
use crate::service::Service;

/// Whether a service is started here or runs elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceSource {
    /// Started and stopped here.
    Local {
        /// The port to listen on; none takes the last one used or a free one.
        port: Option<u16>,
    },
    /// Runs elsewhere: only probed, never started or stopped.
    External {
        /// `host:port` (comma separated list allowed) for Kafka, an `http://` address for the others.
        address: String,
    },
}

/// The command that runs [`crate::clickhouse::serve`] in a process of its own: a program and its first arguments,
/// to which those of [`crate::clickhouse::ServeOptions::to_args`] are appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The executable.
    pub program: PathBuf,
    /// The arguments that lead it to `serve`.
    pub args: Vec<OsString>,
}

impl Launcher {
    /// The running executable with these first arguments.
    ///
    /// # Errors
    /// When the operating system does not tell the path of the executable.
    pub fn current_exe<I, A>(args: I) -> Result<Self, DeployError>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        let program = std::env::current_exe().map_err(DeployError::io("finding", Path::new("this executable")))?;
        Ok(Self { program, args: args.into_iter().map(Into::into).collect() })
    }
}

/// How the local services are run.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Downloads, shared by all data directories.
    pub cache: PathBuf,
    /// Data, logs, process ids and ports of one set of services.
    pub data: PathBuf,
    /// Kafka: here or elsewhere.
    pub kafka: ServiceSource,
    /// Schema registry: here or elsewhere.
    pub registry: ServiceSource,
    /// ClickHouse: here or elsewhere.
    pub clickhouse: ServiceSource,
    /// What runs ClickHouse.
    pub launcher: Launcher,
    /// How long one service may take from its start until it answers.
    pub start_timeout: Duration,
    /// How long one service may take to end after SIGTERM before it gets SIGKILL.
    pub stop_timeout: Duration,
    /// Whether missing programs may be installed (as root, with apt).
    pub install_prerequisites: bool,
    /// Set by a signal handler or another thread, it ends [`crate::up`] early; what that started is stopped.
    pub cancel: Arc<AtomicBool>,
}

impl LocalConfig {
    /// The defaults and the environment: `FILLSTREAM_CACHE`, `FILLSTREAM_DATA`, `FILLSTREAM_KAFKA`,
    /// `FILLSTREAM_REGISTRY`, `FILLSTREAM_CLICKHOUSE`, and the `XDG` base directories. The launcher is this executable
    /// with the arguments `local serve-clickhouse`.
    ///
    /// # Errors
    /// When neither `HOME` nor the directories are set, or the path of the executable is unknown.
    pub fn from_env() -> Result<Self, DeployError> {
        let launcher = Launcher::current_exe(["local", "serve-clickhouse"])?;
        Self::from_vars(|name| std::env::var_os(name), launcher)
    }

    /// As [`Self::from_env`], from any source of variables; an empty one counts as unset.
    ///
    /// # Errors
    /// When neither `HOME` nor the directories are set, or an address is not text.
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>, launcher: Launcher) -> Result<Self, DeployError> {
        let var = |name: &str| vars(name).filter(|value| !value.is_empty());
        let below = |own: &'static str, xdg: &str, in_home: &str, leaf: &str| {
            if let Some(dir) = var(own) {
                return absolute(Path::new(&dir));
            }
            let base = var(xdg).map(PathBuf::from).filter(|dir| dir.is_absolute());
            let base = base.or_else(|| var("HOME").map(|home| Path::new(&home).join(in_home)));
            let base = base.ok_or_else(|| DeployError::Config { name: own, detail: "not set, nor is HOME".into() })?;
            absolute(&base.join(leaf))
        };
        let source = |service: Service| match var(service.variable()) {
            None => Ok(ServiceSource::Local { port: None }),
            Some(value) => value
                .into_string()
                .map(|address| ServiceSource::External { address })
                .map_err(|_| DeployError::Config { name: service.variable(), detail: "is not UTF-8 text".into() }),
        };
        Ok(Self {
            cache: below("FILLSTREAM_CACHE", "XDG_CACHE_HOME", ".cache", "fillstream")?,
            data: below("FILLSTREAM_DATA", "XDG_DATA_HOME", ".local/share", "fillstream/local")?,
            kafka: source(Service::Kafka)?,
            registry: source(Service::Registry)?,
            clickhouse: source(Service::ClickHouse)?,
            launcher,
            start_timeout: Duration::from_secs(120),
            stop_timeout: Duration::from_secs(20),
            install_prerequisites: true,
            cancel: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Where a service comes from.
    #[must_use]
    pub fn source(&self, service: Service) -> &ServiceSource {
        match service {
            Service::Kafka => &self.kafka,
            Service::Registry => &self.registry,
            Service::ClickHouse => &self.clickhouse,
        }
    }

    /// The same, to be changed.
    pub fn source_mut(&mut self, service: Service) -> &mut ServiceSource {
        match service {
            Service::Kafka => &mut self.kafka,
            Service::Registry => &mut self.registry,
            Service::ClickHouse => &mut self.clickhouse,
        }
    }

    /// The log of a service.
    #[must_use]
    pub fn log_file(&self, service: Service) -> PathBuf {
        self.data.join("logs").join(format!("{service}.log"))
    }

    /// The data of a service.
    #[must_use]
    pub fn service_dir(&self, service: Service) -> PathBuf {
        self.data.join(service.name())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, DeployError> {
    std::path::absolute(path).map_err(DeployError::io("resolving", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<LocalConfig, DeployError> {
        let launcher = Launcher { program: "fillstream".into(), args: vec![] };
        LocalConfig::from_vars(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()), launcher)
    }

    #[test]
    fn home_then_xdg_then_own_variables() {
        let config = from(&[("HOME", "/h")]).unwrap();
        assert_eq!(config.cache, Path::new("/h/.cache/fillstream"));
        assert_eq!(config.data, Path::new("/h/.local/share/fillstream/local"));
        let config = from(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c"), ("XDG_DATA_HOME", "relative")]).unwrap();
        assert_eq!(config.cache, Path::new("/c/fillstream"));
        assert_eq!(config.data, Path::new("/h/.local/share/fillstream/local"), "a relative XDG path is ignored");
        let config = from(&[("FILLSTREAM_CACHE", "/mine"), ("FILLSTREAM_DATA", "/data")]).unwrap();
        assert_eq!((config.cache.as_path(), config.data.as_path()), (Path::new("/mine"), Path::new("/data")));
    }

    #[test]
    fn without_home_the_variable_is_named() {
        assert_eq!(from(&[]).unwrap_err().to_string(), "FILLSTREAM_CACHE: not set, nor is HOME");
    }

    #[test]
    fn an_address_makes_a_service_external() {
        let config = from(&[("HOME", "/h"), ("FILLSTREAM_KAFKA", "k:9092"), ("FILLSTREAM_REGISTRY", "")]).unwrap();
        assert_eq!(config.kafka, ServiceSource::External { address: "k:9092".into() });
        assert_eq!(config.registry, ServiceSource::Local { port: None }, "empty counts as unset");
    }
}
