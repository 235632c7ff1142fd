//! Configuration of Kafka clients.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::{Deserialize, Serialize};

use super::error::{ClientError, ConfigFault};

/// How to reach the cluster, and the timings that the promises depend on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionConfig {
    /// `host:port,...` of some brokers.
    pub bootstrap_servers: String,
    /// Producers.
    pub producer: ProducerTuning,
    /// Consumers.
    pub consumer: ConsumerTuning,
    /// Longest wait for an administrative answer, milliseconds.
    pub admin_timeout_ms: u64,
    /// Settings of librdkafka by name, for security and the like; they win over everything above. Never printed.
    pub librdkafka: BTreeMap<String, String>,
}

/// Producer timings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerTuning {
    /// The broker aborts a transaction older than this, milliseconds: an upper bound for how long a hung worker holds
    /// back the readers of what it wrote (plus the broker's scan interval).
    pub transaction_timeout_ms: u32,
    /// Longest wait for one answer, milliseconds; below the transaction timeout.
    pub socket_timeout_ms: u32,
    /// Wait for more records before a request is sent, milliseconds. Not of transactions: their records come all at once.
    pub linger_ms: u32,
    /// Largest record, bytes.
    pub message_max_bytes: u32,
    /// Protocol of transactions: 1, librdkafka's, which every broker speaks; 2, our own producer on `transaction.version`
    /// 2 (KIP-890; brokers from 4.0 on, plain text only).
    pub transaction_version: u8,
}

/// Consumer timings and bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerTuning {
    /// A member silent for longer is taken out of the group, milliseconds. A restart under the same instance id does
    /// not wait for it.
    pub session_timeout_ms: u32,
    /// Longest time between polls, milliseconds.
    pub max_poll_interval_ms: u32,
    /// Longest wait of a fetch for data, milliseconds.
    pub fetch_wait_max_ms: u32,
    /// Records kept ready in memory for one consumer, kilobytes.
    pub queued_max_kbytes: u32,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".into(),
            producer: ProducerTuning::default(),
            consumer: ConsumerTuning::default(),
            admin_timeout_ms: 10_000,
            librdkafka: BTreeMap::new(),
        }
    }
}

impl Default for ProducerTuning {
    fn default() -> Self {
        Self {
            transaction_timeout_ms: 3_000,
            socket_timeout_ms: 2_000,
            linger_ms: 0,
            message_max_bytes: 1_000_000,
            transaction_version: 1,
        }
    }
}

impl Default for ConsumerTuning {
    fn default() -> Self {
        Self {
            session_timeout_ms: 10_000,
            max_poll_interval_ms: 60_000,
            fetch_wait_max_ms: 100,
            queued_max_kbytes: 65_536,
        }
    }
}

impl fmt::Debug for ConnectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("producer", &self.producer)
            .field("consumer", &self.consumer)
            .field("admin_timeout_ms", &self.admin_timeout_ms)
            .field("librdkafka", &self.librdkafka.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl ConnectionConfig {
    /// Of the cluster at `bootstrap_servers`, everything else as by default.
    #[must_use]
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), ..Self::default() }
    }

    /// Checks it whole.
    ///
    /// # Errors
    /// [`ClientError::Config`] with every fault.
    pub fn validate(&self) -> Result<(), ClientError> {
        let mut faults = Vec::new();
        let mut fault = |setting: &str, text: &str| {
            faults.push(ConfigFault { setting: setting.into(), text: text.into() });
        };
        if self.bootstrap_servers.trim().is_empty() {
            fault("bootstrap_servers", "is empty");
        }
        if self.producer.socket_timeout_ms >= self.producer.transaction_timeout_ms {
            fault("producer.socket_timeout_ms", "must be below producer.transaction_timeout_ms");
        }
        if self.producer.socket_timeout_ms < 100 {
            fault("producer.socket_timeout_ms", "must be at least 100");
        }
        if self.producer.transaction_timeout_ms > 10_000 {
            fault("producer.transaction_timeout_ms", "must be at most 10000: a hung worker blocks readers for as long");
        }
        if self.consumer.session_timeout_ms < 1_000 {
            fault("consumer.session_timeout_ms", "must be at least 1000");
        }
        if !(1..=2).contains(&self.producer.transaction_version) {
            fault("producer.transaction_version", "must be 1 or 2");
        }
        let secured = |name: &&String| ["security.", "ssl.", "sasl."].iter().any(|prefix| name.starts_with(prefix));
        if self.producer.transaction_version == 2
            && let Some(name) = self.librdkafka.keys().find(secured)
        {
            fault(&format!("librdkafka.{name}"), "producer.transaction_version 2 speaks plain text only");
        }
        for name in OWNED {
            if self.librdkafka.contains_key(*name) {
                fault(&format!("librdkafka.{name}"), "is fixed: exactly-once depends on it");
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(ClientError::Config(faults)) }
    }

    /// Longest wait for an administrative answer.
    #[must_use]
    pub fn admin_timeout(&self) -> Duration {
        Duration::from_millis(self.admin_timeout_ms)
    }

    fn base(&self) -> ClientConfig {
        let mut c = ClientConfig::new();
        c.set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "fillstream")
            .set("retry.backoff.ms", "2")
            .set("retry.backoff.max.ms", "10")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "1000")
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.refresh.interval.ms", "30000");
        c.set_log_level(RDKafkaLogLevel::Warning);
        c
    }

    fn finish(&self, mut c: ClientConfig) -> ClientConfig {
        for (name, value) in &self.librdkafka {
            c.set(name, value);
        }
        c
    }

    pub(crate) fn administrative(&self) -> ClientConfig {
        let mut c = self.base();
        c.set("isolation.level", "read_uncommitted");
        self.finish(c)
    }

    pub(crate) fn transactional(&self, transactional_id: &str) -> ClientConfig {
        let mut c = self.base();
        c.remove("allow.auto.create.topics");
        c.set("transactional.id", transactional_id)
            .set("enable.idempotence", "true")
            .set("transaction.timeout.ms", self.producer.transaction_timeout_ms.to_string())
            .set("socket.timeout.ms", self.producer.socket_timeout_ms.to_string())
            // With none every record wakes librdkafka's thread, which sends it alone. Offsets take longer than this, and the
            // commit does not wait for it.
            .set("linger.ms", "1")
            .set("message.max.bytes", self.producer.message_max_bytes.to_string())
            .set("queue.buffering.max.messages", "500000")
            .set("delivery.report.only.error", "true");
        self.finish(c)
    }

    pub(crate) fn idempotent(&self) -> ClientConfig {
        let mut c = self.base();
        c.remove("allow.auto.create.topics");
        c.set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", self.producer.linger_ms.to_string())
            .set("message.max.bytes", self.producer.message_max_bytes.to_string())
            .set("delivery.timeout.ms", "30000");
        self.finish(c)
    }

    pub(crate) fn member(&self, group: &str, instance: &str) -> ClientConfig {
        let mut c = self.reading();
        c.set("group.id", group)
            .set("group.instance.id", instance)
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", self.consumer.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", (self.consumer.session_timeout_ms / 5).clamp(200, 3_000).to_string())
            .set(
                "max.poll.interval.ms",
                self.consumer.max_poll_interval_ms.max(self.consumer.session_timeout_ms).to_string(),
            );
        c
    }

    pub(crate) fn reading(&self) -> ClientConfig {
        let mut c = self.base();
        c.set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", self.consumer.fetch_wait_max_ms.to_string())
            .set("fetch.queue.backoff.ms", "2")
            .set("fetch.error.backoff.ms", "20")
            .set("queued.max.messages.kbytes", self.consumer.queued_max_kbytes.to_string());
        self.finish(c)
    }
}

const OWNED: &[&str] = &[
    "transactional.id",
    "enable.idempotence",
    "transaction.timeout.ms",
    "socket.timeout.ms",
    "delivery.report.only.error",
    "isolation.level",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "partition.assignment.strategy",
    "enable.partition.eof",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let mut c = ConnectionConfig::new(" ");
        c.producer.socket_timeout_ms = 3_000;
        c.librdkafka.insert("isolation.level".into(), "read_uncommitted".into());
        let Err(ClientError::Config(faults)) = c.validate() else { panic!("accepted") };
        let named: Vec<_> = faults.iter().map(|f| f.setting.as_str()).collect();
        assert_eq!(named, ["bootstrap_servers", "producer.socket_timeout_ms", "librdkafka.isolation.level"]);
    }

    #[test]
    fn what_a_transaction_version_cannot_do_is_refused() {
        let mut c = ConnectionConfig::default();
        c.producer.transaction_version = 3;
        assert!(c.validate().is_err());
        c.producer.transaction_version = 2;
        c.validate().unwrap();
        c.librdkafka.insert("sasl.mechanism".into(), "PLAIN".into());
        assert!(c.validate().unwrap_err().to_string().contains("plain text only"));
    }

    #[test]
    fn defaults_are_valid_and_secrets_are_not_printed() {
        let mut c = ConnectionConfig::default();
        c.librdkafka.insert("sasl.password".into(), "hunter2".into());
        c.validate().unwrap();
        assert!(!format!("{c:?}").contains("hunter2"));
    }
}
