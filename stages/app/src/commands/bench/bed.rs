//! What benches of one stage stand on: services of their own, and topics that begin empty.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fillstream_deploy::{LocalConfig, Service, down, reset, status, up};
use fillstream_kafka::client::{GroupConsumer as _, KafkaClient as _, PartitionReader as _, RdKafka, TopicPartition};
use fillstream_kafka::topics::{changelog_topic, dead_letter_topic, journal_topic, snapshots_topic};

use super::stages::{COUNTED, IN, KEPT, PASSED};
use crate::bus::Cluster;
use crate::config::Config;

/// Longest wait for anything that must happen.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Services, and clients of them that know the topics of the benches.
pub(super) struct Bed {
    pub(super) local: LocalConfig,
    pub(super) config: Config,
    pub(super) cluster: Cluster,
    pub(super) replication: i32,
}

/// The services of the benches, which keep their data apart from those of `fillstream local`.
pub(super) fn services() -> anyhow::Result<LocalConfig> {
    let mut local = super::super::local::local_config()?;
    local.data = local.data.join("bench");
    Ok(local)
}

impl Bed {
    /// Starts services without data, works on them and stops them.
    pub(super) fn with<T>(
        config: &Config,
        (partitions, replication): (i32, i32),
        work: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let local = services()?;
        reset(&local, &|_| {})?;
        let endpoints = up(&local, &|progress| eprintln!("{progress}"))?;
        let mut config = config.clone();
        config.kafka.bootstrap_servers.clone_from(&endpoints.kafka);
        config.registry.url.clone_from(&endpoints.registry);
        config.clickhouse.url.clone_from(&endpoints.clickhouse);
        config.run.paced = false;
        let done = Self::new(local.clone(), config, partitions, replication).and_then(|bed| work(&bed));
        // Also what was interrupted stops its services, which is not interrupted by the same signal.
        local.cancel.store(false, Ordering::Relaxed);
        let stopped = down(&local, &|_| {});
        let done = done?;
        stopped?;
        Ok(done)
    }

    /// Clients of services that run already.
    pub(super) fn new(local: LocalConfig, config: Config, partitions: i32, replication: i32) -> anyhow::Result<Self> {
        let mut cluster = Cluster::new(&config)?;
        let topics = [IN, PASSED, COUNTED, KEPT];
        let router =
            topics.iter().fold((*cluster.router).clone(), |router, topic| router.with_topic(*topic, partitions));
        cluster.router = Arc::new(router);
        Ok(Self { local, config, cluster, replication })
    }

    /// Clients that share nothing with earlier ones: no metadata of topics that were deleted since.
    pub(super) fn fresh_client(&self) -> anyhow::Result<RdKafka> {
        Ok(RdKafka::new(self.cluster.kafka.config().clone())?)
    }

    /// Whether somebody wants the bench to end.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.local.cancel.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }

    /// Process of a local broker.
    pub(super) fn kafka_pid(&self) -> Option<u32> {
        let kafka = status(&self.local).into_iter().find(|s| s.service == Service::Kafka);
        kafka.and_then(|s| u32::try_from(s.pid?).ok())
    }

    /// Makes an empty topic, in the place of one of the same name.
    pub(super) fn remake(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        // Whatever the load's time stamps say, nothing expires during a run.
        let settings = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        self.remake_with(topic, partitions, &settings)
    }

    /// Makes the engine's topics of a group as topics.yaml wants them, empty.
    pub(super) fn remake_engine_topics(&self, group: &str, stage: &str, partitions: i32) -> anyhow::Result<()> {
        let own = [journal_topic(group), changelog_topic(group), snapshots_topic(group), dead_letter_topic(stage)];
        let wanted = self.cluster.catalog.resolve(self.cluster.profile, &[(group, partitions)], &[stage]);
        for topic in wanted.iter().filter(|t| own.contains(&t.name)) {
            self.remake_with(&topic.name, topic.partitions, &topic.settings)?;
        }
        Ok(())
    }

    /// Deletes topics that a run is done with; one that is not there does not matter.
    pub(super) fn delete(&self, topics: &[String]) {
        for topic in topics {
            if let Err(error) = self.cluster.kafka.admin().delete(topic) {
                tracing::debug!(topic, %error, "not deleted");
            }
        }
    }

    fn remake_with(&self, topic: &str, partitions: i32, settings: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let admin = self.cluster.kafka.admin();
        let before = self.uuid(topic)?;
        if before.is_some() {
            admin.delete(topic)?;
        }
        // A broker deletes in its own time, and makes no topic of the name meanwhile.
        eventually(&format!("topic {topic}"), || {
            self.check()?;
            Ok(admin.create(topic, partitions, self.replication, settings).ok())
        })?;
        // Nor does it tell of either at once: the old one may still be described.
        eventually(&format!("topic {topic}"), || Ok(self.uuid(topic)?.filter(|now| Some(now) != before.as_ref())))?;
        Ok(())
    }

    fn uuid(&self, topic: &str) -> anyhow::Result<Option<String>> {
        Ok(self.cluster.kafka.describe(&[topic])?.remove(topic).map(|info| info.uuid))
    }

    /// Next offset of every partition.
    pub(super) fn ends(&self, topic: &str, partitions: i32) -> anyhow::Result<Vec<i64>> {
        let reader = self.fresh_client()?.reader()?;
        (0..partitions).map(|p| Ok(reader.bounds(&TopicPartition::new(topic, p))?.1)).collect()
    }

    /// An onlooker that asks how far a group has committed.
    pub(super) fn progress(&self, group: &str, topic: &str, partitions: i32) -> anyhow::Result<Progress> {
        let consumer = self.cluster.kafka.consumer(group, "onlooker", &[])?;
        Ok(Progress { consumer, partitions: (0..partitions).map(|p| TopicPartition::new(topic, p)).collect() })
    }
}

/// How far a group has committed.
pub(super) struct Progress {
    consumer: <RdKafka as fillstream_kafka::client::KafkaClient>::Consumer,
    partitions: Vec<TopicPartition>,
}

impl Progress {
    /// Sum of the offsets that no open transaction can change any more; 0 where there is none yet.
    pub(super) fn committed(&self) -> anyhow::Result<i64> {
        match self.consumer.committed(&self.partitions) {
            Ok(all) => Ok(all.iter().map(|o| o.offset.max(0)).sum()),
            // A group that nobody has joined yet has no coordinator that knows it.
            Err(fillstream_kafka::client::ClientError::Retry { .. }) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }
}

/// Asks again until there is an answer.
pub(super) fn eventually<T>(what: &str, mut ask: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().with_context(|| what.to_owned())? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("{what} did not happen within {LIMIT:?}");
        }
        std::thread::park_timeout(PAUSE);
    }
}
