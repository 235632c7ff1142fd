//! The three services and what is told about them.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A local service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Apache Kafka, one KRaft node.
    Kafka,
    /// The schema registry (Confluent API).
    Registry,
    /// ClickHouse over HTTP.
    ClickHouse,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kafka, Self::Registry, Self::ClickHouse];

    /// The lower-case name, used for folders and files too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::ClickHouse => "clickhouse",
        }
    }

    /// The environment variable that names a server running elsewhere.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Kafka => "FILLSTREAM_KAFKA",
            Self::Registry => "FILLSTREAM_REGISTRY",
            Self::ClickHouse => "FILLSTREAM_CLICKHOUSE",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the services answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Bootstrap servers, `host:port`.
    pub kafka: String,
    /// Base address of the Confluent API, `http://host:port/apis/ccompat/v7`.
    pub registry: String,
    /// Base address of the HTTP interface, `http://host:port`.
    pub clickhouse: String,
}

impl Endpoints {
    /// The address of one service.
    #[must_use]
    pub fn of(&self, service: Service) -> &str {
        match service {
            Service::Kafka => &self.kafka,
            Service::Registry => &self.registry,
            Service::ClickHouse => &self.clickhouse,
        }
    }
}

/// A step of a long operation, to be shown to whoever waits.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Missing programs are being installed.
    Installing {
        /// Package names, space separated.
        packages: &'a str,
    },
    /// A download has begun.
    Fetching {
        /// Name and version.
        artifact: &'a str,
    },
    /// A process has been started.
    Starting {
        /// The service.
        service: Service,
    },
    /// A service answers.
    Ready {
        /// The service.
        service: Service,
        /// Its address.
        address: &'a str,
        /// Time since its start, none if it ran already.
        after: Option<Duration>,
    },
    /// A service is being stopped.
    Stopping {
        /// The service.
        service: Service,
    },
    /// Data is being deleted.
    Deleting {
        /// The folder.
        path: &'a Path,
    },
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installing { packages } => write!(f, "installing {packages}"),
            Self::Fetching { artifact } => write!(f, "fetching {artifact}"),
            Self::Starting { service } => write!(f, "starting {service}"),
            Self::Ready { service, address, after: Some(after) } => {
                write!(f, "{service} is ready at {address} after {:.1} s", after.as_secs_f64())
            }
            Self::Ready { service, address, after: None } => write!(f, "{service} runs at {address}"),
            Self::Stopping { service } => write!(f, "stopping {service}"),
            Self::Deleting { path } => write!(f, "deleting {}", path.display()),
        }
    }
}

/// Takes the steps of a long operation; called from several threads.
pub(crate) type Observer<'a> = &'a (dyn Fn(Progress<'_>) + Sync);
