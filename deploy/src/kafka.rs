//! A Kafka node, broker and controller in one process.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::artifact::{Artifact, Context, java};
use crate::backend::{Backend, Ports};
use crate::error::DeployError;
use crate::http::connect;
use crate::kafka_wire::broker_count;
use crate::ports::PortAllocator;
use crate::process::{Cancel, POLL, run, shortened, spawn_detached, telling_line};
use crate::service::Service;
use crate::state::{FileLock, create_dir, remove_tree};

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest record of a cluster, bytes.
const LARGEST: u32 = 12 << 20;
/// How long the one run that records Kafka's classes may take.
const TRAINING_TIMEOUT: Duration = Duration::from_secs(90);

pub(crate) struct Kafka;

impl Backend for Kafka {
    fn artifacts(&self) -> &'static [Artifact] {
        &[Artifact::Jre, Artifact::Kafka]
    }

    fn command(&self, cx: Context<'_>, ports: Ports) -> Result<Command, DeployError> {
        let jvm = Jvm::prepare(cx)?;
        let dir = cx.config.service_dir(Service::Kafka);
        let properties = jvm.format(cx.cancel, &dir, &NodeLayout::single(ports), &cluster_id()?)?;
        Ok(jvm.broker(&properties))
    }

    fn address(&self, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn probe(&self, ports: Ports) -> Result<(), String> {
        probe_broker(ports.client)
    }

    fn probe_external(&self, address: &str) -> Result<(), String> {
        // Its security is the clients' business: a connection is all that can be asked of any broker.
        let mut last = "no address".to_owned();
        for server in address.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            match connect(server, PROBE_TIMEOUT) {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }
}

pub(crate) fn probe_broker(port: u16) -> Result<(), String> {
    let mut stream = connect(&format!("127.0.0.1:{port}"), PROBE_TIMEOUT).map_err(|error| error.to_string())?;
    match broker_count(&mut stream)? {
        0 => Err("the broker is not part of the cluster yet".to_owned()),
        _ => Ok(()),
    }
}

/// The Java runtime with Kafka's jars and, where it could be made, the archive of their loaded classes, which halves
/// the start.
#[derive(Debug)]
pub(crate) struct Jvm {
    java: PathBuf,
    jars: PathBuf,
    archive: Option<PathBuf>,
}

impl Jvm {
    pub(crate) fn prepare(cx: Context<'_>) -> Result<Self, DeployError> {
        let jre = Artifact::Jre.ensure(cx)?;
        let jars = Artifact::Kafka.ensure(cx)?;
        let mut jvm = Self { java: java(&jre), jars, archive: None };
        jvm.archive = match jvm.class_archive(cx) {
            Ok(archive) => Some(archive),
            Err(DeployError::Cancelled) => return Err(DeployError::Cancelled),
            Err(error) => {
                tracing::warn!(%error, "kafka starts without a class archive");
                None
            }
        };
        Ok(jvm)
    }

    fn java(&self) -> Command {
        let mut command = Command::new(&self.java);
        command.args(["-Xmx512m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        if let Some(archive) = &self.archive {
            command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]);
        command.arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ");
        command.arg("-cp").arg(self.jars.join("*"));
        command
    }

    pub(crate) fn broker(&self, properties: &Path) -> Command {
        let mut command = self.java();
        command.arg("kafka.Kafka").arg(properties);
        command
    }

    /// Writes the configuration, and formats the storage on the first start. Returns the configuration's path.
    pub(crate) fn format(
        &self,
        cancel: &Cancel,
        dir: &Path,
        layout: &NodeLayout,
        cluster: &str,
    ) -> Result<PathBuf, DeployError> {
        create_dir(dir)?;
        let logs = dir.join("data");
        let properties = dir.join("server.properties");
        fs::write(&properties, layout.properties(&logs)).map_err(DeployError::io("writing", &properties))?;
        if logs.join("meta.properties").exists() {
            return Ok(properties);
        }
        let mut command = self.java();
        command.args(["kafka.tools.StorageTool", "format", "-t", cluster, "-c"]).arg(&properties);
        let output = run(command, cancel)?;
        if output.status.success() {
            return Ok(properties);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(DeployError::Died {
            service: Service::Kafka,
            detail: shortened(telling_line(&said).unwrap_or("its storage could not be formatted")),
            log: logs,
        })
    }

    /// The archive of the classes that a starting broker loads, made once by a run of its own.
    fn class_archive(&self, cx: Context<'_>) -> Result<PathBuf, DeployError> {
        let mut archive = self.jars.clone().into_os_string();
        archive.push(".jsa");
        let archive = PathBuf::from(archive);
        if archive.exists() {
            return Ok(archive);
        }
        let cache = &cx.config.cache;
        let _lock = FileLock::acquire(&cache.join("locks").join("kafka-archive"), cx.cancel)?;
        if archive.exists() {
            return Ok(archive);
        }
        let work = cache.join("tmp").join("kafka-archive");
        remove_tree(&work)?;
        create_dir(&work)?;
        let mut free = PortAllocator::new(&work);
        let ports = Ports { client: free.free(Service::Kafka, None)?, internal: free.free(Service::Kafka, None)? };
        let properties = self.format(cx.cancel, &work, &NodeLayout::single(ports), &cluster_id()?)?;
        let recorded = work.join("kafka.jsa");
        let mut command = self.java();
        command.arg(format!("-XX:ArchiveClassesAtExit={}", recorded.display())).arg("kafka.Kafka").arg(&properties);
        let (process, _) = spawn_detached(command, &work.join("log"))?;
        let deadline = Instant::now() + TRAINING_TIMEOUT;
        while process.is_alive() && Instant::now() < deadline && cx.cancel.check().is_ok() {
            if probe_broker(ports.client).is_ok() {
                break;
            }
            std::thread::sleep(POLL);
        }
        process.stop(TRAINING_TIMEOUT);
        cx.cancel.check()?;
        fs::rename(&recorded, &archive).map_err(DeployError::io("recording", &archive))?;
        remove_tree(&work)?;
        Ok(archive)
    }
}

/// What differs between the nodes of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeLayout {
    /// `node.id`.
    pub(crate) id: u8,
    /// `controller.quorum.voters`.
    pub(crate) voters: String,
    /// Each with its own port and the one that clients are told.
    pub(crate) listeners: Vec<NodeListener>,
    /// The listener that the nodes use among themselves.
    pub(crate) inter_broker: &'static str,
    /// Copies of everything, and how many of them must have a record.
    pub(crate) copies: (u8, u8),
    /// A node silent for so long counts as gone, milliseconds; none: Kafka's default.
    pub(crate) session_ms: Option<u32>,
}

/// A listener of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeListener {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// The port told to clients; none: it is not told.
    pub(crate) advertised: Option<u16>,
}

pub(crate) const CLIENT_LISTENER: &str = "PLAINTEXT";
pub(crate) const CONTROLLER_LISTENER: &str = "CONTROLLER";

impl NodeLayout {
    /// The only node: one copy of everything.
    pub(crate) fn single(Ports { client, internal }: Ports) -> Self {
        let listener = |name: &str, port, advertised| NodeListener { name: name.to_owned(), port, advertised };
        Self {
            id: 1,
            voters: format!("1@127.0.0.1:{internal}"),
            listeners: vec![
                listener(CLIENT_LISTENER, client, Some(client)),
                listener(CONTROLLER_LISTENER, internal, None),
            ],
            inter_broker: CLIENT_LISTENER,
            copies: (1, 1),
            session_ms: None,
        }
    }

    fn listed(&self, of: impl Fn(&NodeListener) -> Option<String>) -> String {
        self.listeners.iter().filter_map(of).collect::<Vec<_>>().join(",")
    }

    /// The broker's configuration: small, on the loopback.
    fn properties(&self, logs: &Path) -> String {
        let mut text = String::from("# Written at each start; changes here are lost.\n");
        let address = |name: &str, port: u16| format!("{name}://127.0.0.1:{port}");
        let (copies, in_sync) = (self.copies.0.to_string(), self.copies.1.to_string());
        let own = [
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", self.id.to_string()),
            ("controller.quorum.voters", self.voters.clone()),
            ("listeners", self.listed(|l| Some(address(&l.name, l.port)))),
            ("advertised.listeners", self.listed(|l| l.advertised.map(|port| address(&l.name, port)))),
            ("listener.security.protocol.map", self.listed(|l| Some(format!("{}:PLAINTEXT", l.name)))),
            ("inter.broker.listener.name", self.inter_broker.to_owned()),
            ("controller.listener.names", CONTROLLER_LISTENER.to_owned()),
            ("log.dirs", escape(&logs.to_string_lossy())),
            ("default.replication.factor", copies.clone()),
            ("min.insync.replicas", in_sync.clone()),
            ("offsets.topic.replication.factor", copies.clone()),
            ("transaction.state.log.replication.factor", copies.clone()),
            ("transaction.state.log.min.isr", in_sync.clone()),
            ("share.coordinator.state.topic.replication.factor", copies),
            ("share.coordinator.state.topic.min.isr", in_sync),
        ];
        let session = self.session_ms.map(|ms| {
            [
                ("broker.session.timeout.ms", ms.to_string()),
                ("broker.heartbeat.interval.ms", (ms / 4).to_string()),
                // Room for records that are too large for everybody else.
                ("message.max.bytes", LARGEST.to_string()),
                ("replica.fetch.max.bytes", LARGEST.to_string()),
            ]
        });
        let common = COMMON.iter().map(|(name, value)| (*name, (*value).to_owned()));
        for (name, value) in own.into_iter().chain(session.into_iter().flatten()).chain(common) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}={value}");
        }
        text
    }
}

/// What all nodes have in common.
const COMMON: [(&str, &str); 22] = [
    // Topics are made from topics.yaml; a misspelt one is an error.
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "8"),
    ("offsets.topic.segment.bytes", "16777216"),
    ("transaction.state.log.num.partitions", "8"),
    ("transaction.state.log.segment.bytes", "16777216"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    // A hung worker holds back every reader: find its transaction within a second, not ten.
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000"),
    ("add.partitions.to.txn.retry.backoff.ms", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    // Offsets outlive a long holiday: without one a group refuses to start over its own state.
    ("offsets.retention.minutes", "525600"),
    ("log.segment.bytes", "268435456"),
    ("log.index.size.max.bytes", "2097152"),
    ("log.retention.check.interval.ms", "60000"),
    ("log.cleaner.backoff.ms", "5000"),
    // The default of 128 MB is a quarter of the heap.
    ("log.cleaner.dedupe.buffer.size", "16777216"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("background.threads", "2"),
    ("num.recovery.threads.per.data.dir", "2"),
    ("group.coordinator.threads", "2"),
    ("socket.request.max.bytes", "104857600"),
    ("metadata.log.segment.bytes", "67108864"),
];

/// A value of a Java properties file: its backslashes would start an escape.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\")
}

/// 16 random bytes in URL-safe base64 without padding, which is how Kafka writes ids.
pub(crate) fn cluster_id() -> Result<String, DeployError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 16];
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(DeployError::io("reading", source))?;
    // The top bits zero: an id must not begin with a dash.
    Ok(base64_of(u128::from_be_bytes(bytes) >> 1))
}

fn base64_of(value: u128) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 22 digits of 6 bits hold 132: the value moves up by four, whose low bits stay zero.
    (0..22_u32)
        .map(|place| {
            let bits = if place == 21 { (value & 0x3) << 4 } else { (value >> (122 - 6 * place)) & 0x3f };
            usize::try_from(bits).ok().and_then(|digit| DIGITS.get(digit)).map_or('A', |digit| char::from(*digit))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_ports_and_directory_once() {
        let layout = NodeLayout::single(Ports { client: 9092, internal: 9093 });
        let text = layout.properties(Path::new("/data/a b"));
        assert!(text.contains("\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n"), "{text}");
        assert!(text.contains("\ncontroller.quorum.voters=1@127.0.0.1:9093\n"));
        assert!(text.contains("\nlog.dirs=/data/a b\n"));
        assert!(text.contains("\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n"));
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a setting twice");
    }

    /// The official image takes a setting `a.b` from the variable `KAFKA_A_B`.
    #[test]
    fn the_compose_file_has_the_same_settings() {
        let compose = include_str!("../compose.yaml");
        let text = NodeLayout::single(Ports { client: 9092, internal: 9093 }).properties(Path::new("/d"));
        // Addresses and folders are the container's own.
        let own = |name: &str| name.contains("listeners") || name.ends_with("voters") || name == "log.dirs";
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| !own(name)) {
            let variable = format!("KAFKA_{}: ", name.replace('.', "_").to_uppercase());
            let found = compose.lines().find_map(|line| line.trim().strip_prefix(&variable));
            assert_eq!(found.map(|v| v.trim_matches('"')), Some(value), "{name}");
        }
    }

    #[test]
    fn ids_are_base64_of_sixteen_bytes() {
        assert_eq!(base64_of(0), "A".repeat(22));
        assert_eq!(base64_of(u128::MAX), format!("{}w", "_".repeat(21)));
        assert_eq!(base64_of(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f), "AAECAwQFBgcICQoLDA0ODw");
        let (one, other) = (cluster_id().unwrap(), cluster_id().unwrap());
        assert_eq!(one.len(), 22);
        assert_ne!(one, other);
    }
}
