//! What differs between the services.

use std::process::Command;

use crate::artifact::{Artifact, Context};
use crate::error::DeployError;

/// The ports of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// Where clients connect.
    pub(crate) client: u16,
    /// Kafka's controller, the registry's health; ClickHouse leaves it unused.
    pub(crate) internal: u16,
}

/// One kind of service: what it runs on, how it is started and asked.
pub(crate) trait Backend: Sync {
    /// The downloads it runs on.
    fn artifacts(&self) -> &'static [Artifact];
    /// Fetches what is missing, prepares the data directory and gives the command to run.
    fn command(&self, cx: Context<'_>, ports: Ports) -> Result<Command, DeployError>;
    /// The clients' address.
    fn address(&self, port: u16) -> String;
    /// Whether ours answers; otherwise why not, in one line.
    fn probe(&self, ports: Ports) -> Result<(), String>;
    /// What has to be set after a start.
    fn settle(&self, _ports: Ports) -> Result<(), String> {
        Ok(())
    }
    /// Whether one that runs elsewhere answers; otherwise why not, in one line.
    fn probe_external(&self, address: &str) -> Result<(), String>;
}
