//! The schema registry: Apicurio with file storage, spoken to through its Confluent API.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::artifact::{Artifact, Context, java};
use crate::backend::{Backend, Ports};
use crate::error::DeployError;
use crate::http::{Url, connect, request};
use crate::service::Service;
use crate::state::create_dir;

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const API_PATH: &str = "/apis/ccompat/v7";
const COMPATIBILITY: &str = r#"{"compatibility":"FULL_TRANSITIVE"}"#;

pub(crate) struct Registry;

impl Backend for Registry {
    fn artifacts(&self) -> &'static [Artifact] {
        &[Artifact::Jre, Artifact::Registry]
    }

    fn command(&self, cx: Context<'_>, ports: Ports) -> Result<Command, DeployError> {
        let jre = Artifact::Jre.ensure(cx)?;
        let application = Artifact::Registry.ensure(cx)?;
        let dir = cx.config.service_dir(Service::Registry);
        create_dir(&dir)?;
        let mut command = Command::new(java(&jre));
        command
            .args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            // A line a request is too much of a log; warnings stay.
            .arg("-Dquarkus.log.category.\"io.quarkus.http.access-log\".level=OFF")
            .arg("-Dquarkus.log.category.\"io.apicurio\".level=WARN")
            .arg("-jar")
            .arg(application.join("quarkus-run.jar"))
            .current_dir(&dir)
            .envs(environment(ports, &dir));
        Ok(command)
    }

    fn address(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}{API_PATH}")
    }

    fn probe(&self, ports: Ports) -> Result<(), String> {
        let health = format!("http://127.0.0.1:{}", ports.internal);
        expect_ok("GET", &health, "/health/ready", None)
    }

    /// The registry's own default is to accept any change.
    fn settle(&self, ports: Ports) -> Result<(), String> {
        expect_ok("PUT", &self.address(ports.client), "/config", Some(COMPATIBILITY))
    }

    fn probe_external(&self, address: &str) -> Result<(), String> {
        let url = Url::parse(address)?;
        if url.tls {
            return connect(&url.host_and_port(), PROBE_TIMEOUT).map(drop).map_err(|error| error.to_string());
        }
        match request("GET", address, "/subjects", None, PROBE_TIMEOUT)?.status {
            // It answers; whether we may is told when a client with its credentials asks.
            200 | 401 | 403 => Ok(()),
            status => Err(format!("GET {address}/subjects gives status {status}")),
        }
    }
}

fn expect_ok(method: &str, base: &str, path: &str, body: Option<&str>) -> Result<(), String> {
    match request(method, base, path, body, PROBE_TIMEOUT)?.status {
        200 => Ok(()),
        status => Err(format!("{method} {path} gives status {status}")),
    }
}

fn environment(ports: Ports, dir: &Path) -> [(&'static str, String); 7] {
    // Without write delay: an id that records already carry must survive a kill.
    let url = format!("jdbc:h2:file:{};WRITE_DELAY=0", dir.join("registry").display());
    [
        ("QUARKUS_HTTP_HOST", "127.0.0.1".to_owned()),
        ("QUARKUS_HTTP_PORT", ports.client.to_string()),
        ("QUARKUS_MANAGEMENT_HOST", "127.0.0.1".to_owned()),
        ("QUARKUS_MANAGEMENT_PORT", ports.internal.to_string()),
        ("APICURIO_STORAGE_KIND", "sql".to_owned()),
        ("APICURIO_STORAGE_SQL_KIND", "h2".to_owned()),
        ("APICURIO_DATASOURCE_URL", url),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_binds_the_loopback_and_the_data_directory() {
        let environment = environment(Ports { client: 8081, internal: 8082 }, Path::new("/data/registry"));
        let value = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(value("QUARKUS_HTTP_HOST"), Some("127.0.0.1"));
        assert_eq!(value("QUARKUS_HTTP_PORT"), Some("8081"));
        assert_eq!(value("QUARKUS_MANAGEMENT_PORT"), Some("8082"));
        assert_eq!(value("APICURIO_DATASOURCE_URL"), Some("jdbc:h2:file:/data/registry/registry;WRITE_DELAY=0"));
    }
}
