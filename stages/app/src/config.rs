//! Configuration: defaults < file < environment < flags, checked as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fillstream_core::trace::Sampler;
use serde::{Deserialize, Serialize};

use crate::registry::{self, StageConfigs};

/// The complete default file, with a comment for every key.
pub const DEFAULT: &str = include_str!("default.toml");

/// Every fault of a configuration.
#[derive(Debug)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

/// The configuration of this binary.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Kafka cluster.
    pub kafka: Kafka,
    /// Schema registry.
    pub registry: Endpoint,
    /// ClickHouse.
    pub clickhouse: ClickHouse,
    /// Simulated venue.
    pub venue: Endpoint,
    /// Broker gateway.
    pub gateway: Gateway,
    /// Strategy API.
    pub api: Api,
    /// Traces.
    pub telemetry: Telemetry,
    /// `fillstream run`.
    pub run: Run,
    /// Stages by name.
    pub stages: StageConfigs,
}

/// Kafka cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// host:port, comma separated.
    pub bootstrap_servers: String,
    /// Profile of topics.yaml.
    pub profile: String,
    /// Protocol of transactions: 1 or 2.
    pub transaction_version: u8,
    /// Further librdkafka settings.
    pub librdkafka: BTreeMap<String, String>,
}

/// A service with an address.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// URL.
    pub url: String,
}

/// Broker gateway.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Broker sessions that this process holds, as topics.yaml names them.
    pub sessions: Vec<String>,
}

/// Strategy API.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Address; port 0 takes a free one; empty: no API.
    pub listen: String,
    /// How long a request waits for the stages' answer, milliseconds.
    pub answer_timeout_ms: u64,
}

/// ClickHouse.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClickHouse {
    /// HTTP URL.
    pub url: String,
    /// Database of the landing tables.
    pub database: String,
    /// User.
    pub user: String,
    /// Password; prefer `password_file`.
    pub password: String,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Longest time a record waits for others before it is inserted, milliseconds.
    pub linger_ms: u64,
    /// Most rows of an insert.
    pub batch_rows: usize,
    /// Most inserts of this process at a time.
    pub parallel_inserts: usize,
    /// Inserts wait while ClickHouse's disk has less room than this, megabytes (2^20 bytes).
    pub min_free_disk_mb: u64,
}

impl fmt::Debug for ClickHouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouse")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("linger_ms", &self.linger_ms)
            .finish_non_exhaustive()
    }
}

/// Traces.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Base address of an OTLP/HTTP receiver; empty: none.
    pub otlp_endpoint: String,
    /// Share of the traces that are told, 0 to 1.
    pub sample_ratio: f64,
}

impl Telemetry {
    /// Traces that are told.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        // Checked to be between 0 and 1; written as a decimal, so that no conversion of floats is needed.
        let digits = format!("{:.6}", self.sample_ratio.clamp(0.0, 1.0)).replace('.', "");
        Sampler::per_million(digits.parse().unwrap_or(0))
    }
}

/// `fillstream run`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Stable name of this process: transactional ids and static membership come from it.
    pub instance: String,
    /// Worker threads a group.
    pub workers: usize,
    /// Address of health and metrics; port 0 takes a free one.
    pub listen: String,
    /// Most records and timers of one batch.
    pub max_units: usize,
    /// Transactional ids of a worker, 1 or 2 used in turn.
    pub transactional_ids: usize,
    /// How often each task's state is written down for a replay to begin at, minutes; 0: never.
    pub snapshot_interval_min: u64,
    /// Longest wait at the start for a cluster or registry that does not answer, seconds; 0: until the process is stopped.
    pub start_timeout_s: u64,
    /// How far the OS clock may be from the broker's at the start, and behind the last batch or ahead of the monotonic
    /// clock afterwards, milliseconds.
    pub clock_tolerance_ms: i64,
    /// Batches follow execution.clock.v1 instead of the OS clock.
    pub paced: bool,
    /// How paths are cut into groups: path to stage names of each group; fused where it says nothing.
    pub split: BTreeMap<String, Vec<Vec<String>>>,
}

/// Where values come from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Configuration file.
    pub file: Option<PathBuf>,
    /// `section.key=value` from flags, last one wins.
    pub set: Vec<String>,
}

const SECRETS: &[&str] = &["password", "librdkafka"];

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(sources: &Sources) -> anyhow::Result<Self> {
        let config = Self::read(sources, std::env::vars())?;
        let faults = config.faults();
        if faults.is_empty() { Ok(config) } else { Err(Faults(faults).into()) }
    }

    fn read(sources: &Sources, env: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let mut table: toml::Table = toml::from_str(DEFAULT).context("default configuration")?;
        if let Some(path) = &sources.file {
            let text = std::fs::read_to_string(path).with_context(|| format!("configuration {}", path.display()))?;
            merge(&mut table, toml::from_str(&text).with_context(|| format!("configuration {}", path.display()))?);
        }
        for (name, value) in env {
            if let Some(keys) = from_environment(&name) {
                set(&mut table, &keys, &value)?;
            }
        }
        for assignment in &sources.set {
            let (key, value) = assignment
                .split_once('=')
                .with_context(|| format!("--set {assignment}: expected section.key=value"))?;
            set(&mut table, &key.split('.').map(str::to_owned).collect::<Vec<_>>(), value)?;
        }
        let mut config = Self::deserialize(table).map_err(|e| anyhow::anyhow!("configuration: {}", e.message()))?;
        if let Some(path) = &config.clickhouse.password_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("clickhouse.password_file {}", path.display()))?;
            text.trim_end().clone_into(&mut config.clickhouse.password);
        }
        Ok(config)
    }

    /// Sets a number of a stage's configuration that nothing has set yet.
    pub fn set_stage(&mut self, stage: &str, key: &str, value: i64) {
        let section = self.stages.entry(stage.to_owned()).or_default();
        section.entry(key.to_owned()).or_insert(toml::Value::Integer(value));
    }

    /// Every fault, each naming its key.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, text: String| {
            if !ok {
                faults.push(text)
            }
        };
        let version = self.kafka.transaction_version;
        check((1..=2).contains(&version), format!("kafka.transaction_version must be 1 or 2, not {version}"));
        check(!self.kafka.bootstrap_servers.is_empty(), "kafka.bootstrap_servers must not be empty".to_owned());
        for (key, url) in
            [("registry", &self.registry.url), ("clickhouse", &self.clickhouse.url), ("venue", &self.venue.url)]
        {
            check(
                url.starts_with("http://") || url.starts_with("https://"),
                format!("{key}.url must be an http or https URL, not {url:?}"),
            );
        }
        let telemetry = &self.telemetry;
        check(
            telemetry.otlp_endpoint.is_empty() || telemetry.otlp_endpoint.starts_with("http://"),
            format!("telemetry.otlp_endpoint must be an http URL or empty, not {:?}", telemetry.otlp_endpoint),
        );
        check(
            (0.0..=1.0).contains(&telemetry.sample_ratio),
            format!("telemetry.sample_ratio must be between 0 and 1, not {}", telemetry.sample_ratio),
        );
        let listen = &self.api.listen;
        check(
            listen.is_empty() || listen.parse::<std::net::SocketAddr>().is_ok(),
            format!("api.listen must be an address such as 127.0.0.1:8088, or empty, not {listen:?}"),
        );
        check(listen.is_empty() || !self.run.paced, "api.listen must be empty where run.paced is true".to_owned());
        check(self.api.answer_timeout_ms > 0, "api.answer_timeout_ms must be at least 1".to_owned());
        check(self.run.workers > 0, "run.workers must be at least 1".to_owned());
        let tolerance = self.run.clock_tolerance_ms;
        check(tolerance > 0, format!("run.clock_tolerance_ms must be at least 1, not {tolerance}"));
        check(self.run.max_units > 0, "run.max_units must be at least 1".to_owned());
        check((1..=2).contains(&self.run.transactional_ids), "run.transactional_ids must be 1 or 2".to_owned());
        let name_ok = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        check(
            name_ok(&self.run.instance),
            format!("run.instance must be made of letters, digits, '-', '_' and '.', not {:?}", self.run.instance),
        );
        check(
            name_ok(&self.clickhouse.database),
            format!("clickhouse.database must be a plain name, not {:?}", self.clickhouse.database),
        );
        check(self.clickhouse.batch_rows > 0, "clickhouse.batch_rows must be at least 1".to_owned());
        check(self.clickhouse.parallel_inserts > 0, "clickhouse.parallel_inserts must be at least 1".to_owned());
        for path in registry::paths() {
            if let Err(Faults(f)) = registry::stages_of(path, &self.stages) {
                faults.extend(f);
            }
        }
        faults
    }

    /// The configuration as TOML without secrets.
    ///
    /// # Errors
    /// None in practice: the configuration came from TOML.
    pub fn shown(&self) -> anyhow::Result<String> {
        let mut value = toml::Value::try_from(self)?;
        redact(&mut value);
        Ok(toml::to_string_pretty(&value)?)
    }

    /// Hash of everything that can change what is decided: the stages' configuration and the cut into groups.
    #[must_use]
    pub fn decision_hash(&self) -> String {
        use sha2::{Digest, Sha256};
        let text = toml::to_string(&self.stages).unwrap_or_default();
        Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}

fn redact(value: &mut toml::Value) {
    let Some(table) = value.as_table_mut() else { return };
    for (key, value) in table.iter_mut() {
        if SECRETS.contains(&key.as_str()) && value.as_str().is_none_or(|s| !s.is_empty()) {
            *value = toml::Value::String("***".to_owned());
        } else {
            redact(value);
        }
    }
}

// FILLSTREAM__RUN__WORKERS=2 sets run.workers; three short names are the addresses of services running elsewhere.
fn from_environment(name: &str) -> Option<Vec<String>> {
    let keys = |path: &str| Some(path.split('.').map(str::to_owned).collect());
    match name {
        "FILLSTREAM_KAFKA" => keys("kafka.bootstrap_servers"),
        "FILLSTREAM_REGISTRY" => keys("registry.url"),
        "FILLSTREAM_CLICKHOUSE" => keys("clickhouse.url"),
        _ => name.strip_prefix("FILLSTREAM__").map(|rest| rest.split("__").map(str::to_ascii_lowercase).collect()),
    }
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn set(table: &mut toml::Table, keys: &[String], value: &str) -> anyhow::Result<()> {
    let Some((last, parents)) = keys.split_last() else { return Ok(()) };
    let mut table = table;
    for key in parents {
        let entry = table.entry(key.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = entry.as_table_mut().with_context(|| format!("configuration: {key} is not a section"))?;
    }
    // A value that is TOML is taken as such, anything else as a string.
    let parsed = toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
    table.insert(last.clone(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())));
    Ok(())
}

/// The file named by `--config`, or `fillstream.toml` in the working folder when there is one.
#[must_use]
pub fn file(flag: Option<&Path>) -> Option<PathBuf> {
    let here = Path::new("fillstream.toml");
    flag.map(Path::to_path_buf).or_else(|| here.exists().then(|| here.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Config> {
        let sources = Sources { file: None, set: set.iter().map(|s| (*s).to_owned()).collect() };
        Config::read(&sources, env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_default_file_is_complete_and_valid() {
        let config = read(&[], &[]).unwrap();
        assert_eq!(config.faults(), Vec::<String>::new());
    }

    #[test]
    fn flags_win_over_the_environment_over_the_defaults() {
        let env = [("FILLSTREAM_KAFKA", "a:1"), ("FILLSTREAM__RUN__WORKERS", "3"), ("FILLSTREAM__RUN__INSTANCE", "x")];
        let config = read(&["run.workers=4"], &env).unwrap();
        assert_eq!(
            (config.run.workers, config.kafka.bootstrap_servers.as_str(), config.run.instance.as_str()),
            (4, "a:1", "x")
        );
    }

    #[test]
    fn every_fault_is_named_at_once_and_unknown_keys_are_refused() {
        let config =
            read(&["run.workers=0", "registry.url=nowhere", "stages.execution-strategy.twap_interval_s=0"], &[])
                .unwrap();
        let faults = config.faults().join("\n");
        for key in ["run.workers", "registry.url", "twap_interval_s"] {
            assert!(faults.contains(key), "{faults}");
        }
        assert!(read(&["run.wrokers=1"], &[]).unwrap_err().to_string().contains("wrokers"));
    }

    #[test]
    fn the_share_of_traces_is_checked_and_taken_exactly() {
        let share = |ratio: &str| read(&[&format!("telemetry.sample_ratio={ratio}")], &[]).unwrap().telemetry.sampler();
        assert_eq!(share("0.25"), Sampler::per_million(250_000));
        assert_eq!(share("1.0"), Sampler::per_million(1_000_000));
        assert_eq!(share("0.0"), Sampler::OFF);
        let config = read(&["telemetry.sample_ratio=1.5", "telemetry.otlp_endpoint=https://tempo"], &[]).unwrap();
        let faults = config.faults().join("\n");
        assert!(faults.contains("sample_ratio") && faults.contains("otlp_endpoint"), "{faults}");
    }

    #[test]
    fn the_api_needs_an_address_and_the_clock_of_the_machine() {
        let faults = |set: &[&str]| read(set, &[]).unwrap().faults().join("\n");
        assert_eq!(faults(&["api.listen=127.0.0.1:0"]), "");
        let bad = faults(&["api.listen=here", "api.answer_timeout_ms=0", "stages.strategy-advice.remember_min=0"]);
        for key in ["api.listen", "api.answer_timeout_ms", "stages.strategy-advice: remember_min"] {
            assert!(bad.contains(key), "{bad}");
        }
        assert!(faults(&["api.listen=127.0.0.1:0", "run.paced=true"]).contains("run.paced"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = read(&["clickhouse.password=hunter2"], &[]).unwrap();
        assert!(!config.shown().unwrap().contains("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
