//! Administration of topics on librdkafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use crate::wait::block_on;

use super::config::ConnectionConfig;
use super::error::ClientError;
use super::ffi;
use super::rdkafka_spread::await_everywhere;

/// A topic as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// UUID: another one under the same name is another topic.
    pub uuid: String,
    /// Partitions.
    pub partitions: i32,
    /// Replicas of partition 0.
    pub replication: i32,
}

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// Set on the topic.
    Topic,
    /// Inherited from the broker or from Kafka.
    Inherited,
}

/// Value of a topic's setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// Value; empty when sensitive.
    pub value: String,
    /// Where it comes from.
    pub origin: ConfigOrigin,
}

/// Administration of topics; its calls block.
pub struct Admin {
    inner: AdminClient<DefaultClientContext>,
    config: ConnectionConfig,
    timeout: Duration,
}

impl Admin {
    pub(super) fn new(config: &ConnectionConfig) -> Result<Self, ClientError> {
        let inner = config.administrative().create().map_err(|e| ClientError::fatal("new admin client", e))?;
        Ok(Self { inner, config: config.clone(), timeout: config.admin_timeout() })
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    /// UUID, partitions and replication of each topic that exists.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    pub fn describe(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicInfo>, ClientError> {
        let found = ffi::describe_topics(self.inner.inner(), topics, self.timeout)
            .map_err(|e| ClientError::retry("describe topics", e))?;
        Ok(found
            .into_iter()
            .map(|(name, d)| (name, TopicInfo { uuid: d.uuid, partitions: d.partitions, replication: d.replication }))
            .collect())
    }

    /// Settings of each topic.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    pub fn settings(&self, topics: &[&str]) -> Result<BTreeMap<String, BTreeMap<String, ConfigValue>>, ClientError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        let answer = block_on(self.inner.describe_configs(&resources, &self.options()))
            .map_err(|e| ClientError::retry("describe settings", e))?;
        let mut out = BTreeMap::new();
        for resource in answer {
            let resource = resource.map_err(|e| ClientError::retry("describe settings", e))?;
            let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
            let settings = resource
                .entries
                .into_iter()
                .map(|e| {
                    let origin = if e.source == ConfigSource::DynamicTopic {
                        ConfigOrigin::Topic
                    } else {
                        ConfigOrigin::Inherited
                    };
                    (e.name, ConfigValue { value: e.value.unwrap_or_default(), origin })
                })
                .collect();
            out.insert(name, settings);
        }
        Ok(out)
    }

    /// Creates a topic and waits until the cluster tells of it. One that is there already, as after a call whose answer was
    /// lost, is as good if it is like this.
    ///
    /// # Errors
    /// [`ClientError::Retry`]; [`ClientError::Fatal`] when there is another topic of this name.
    pub fn create(
        &self,
        name: &str,
        partitions: i32,
        replication: i32,
        settings: &BTreeMap<String, String>,
    ) -> Result<(), ClientError> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let answer = block_on(self.inner.create_topics([&topic], &self.options()))
            .map_err(|e| ClientError::retry("create topic", e))?;
        let existed = answer.iter().any(|r| matches!(r, Err((_, RDKafkaErrorCode::TopicAlreadyExists))));
        if !existed {
            first_error("create topic", answer)?;
        }
        let deadline = Instant::now() + self.timeout;
        let info = loop {
            if let Some(info) = self.describe(&[name])?.remove(name) {
                break info;
            }
            if Instant::now() >= deadline {
                return Err(ClientError::retry("create topic", format!("{name} does not show up")));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        if existed { self.is_like(name, &info, (partitions, replication), settings) } else { Ok(()) }
    }

    /// Refuses a topic that is not as it should have been created.
    fn is_like(
        &self,
        name: &str,
        info: &TopicInfo,
        (partitions, replication): (i32, i32),
        settings: &BTreeMap<String, String>,
    ) -> Result<(), ClientError> {
        let mut differs = Vec::new();
        for (what, is, wanted) in
            [("partitions", info.partitions, partitions), ("replication", info.replication, replication)]
        {
            if is != wanted {
                differs.push(format!("{what} {is}, not {wanted}"));
            }
        }
        let has = self.settings(&[name])?.remove(name).unwrap_or_default();
        for (setting, wanted) in settings {
            let is = has.get(setting).map_or("", |v| v.value.as_str());
            if is != wanted {
                differs.push(format!("{setting} {is:?}, not {wanted:?}"));
            }
        }
        if differs.is_empty() {
            return Ok(());
        }
        Err(ClientError::fatal("create topic", format!("{name} exists with {}", differs.join(", "))))
    }

    /// Waits until every node of the cluster knows each topic with its partitions, and a leader for each of these.
    ///
    /// # Errors
    /// [`ClientError::Retry`] naming a node that does not, after three times the administrative timeout.
    pub fn await_everywhere(&self, topics: &[(&str, i32)]) -> Result<(), ClientError> {
        await_everywhere(&self.config, &self.inner, topics, self.timeout.saturating_mul(3))
    }

    /// Adds partitions.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    pub fn grow(&self, name: &str, partitions: i32) -> Result<(), ClientError> {
        let count = usize::try_from(partitions).map_err(|e| ClientError::fatal("grow topic", e))?;
        let grown = NewPartitions::new(name, count);
        let answer = block_on(self.inner.create_partitions([&grown], &self.options()))
            .map_err(|e| ClientError::retry("grow topic", e))?;
        first_error("grow topic", answer)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    pub fn delete(&self, name: &str) -> Result<(), ClientError> {
        let answer = block_on(self.inner.delete_topics(&[name], &self.options()))
            .map_err(|e| ClientError::retry("delete topic", e))?;
        first_error("delete topic", answer)
    }

    /// Sets (`Some`) or takes away (`None`) settings of a topic; the others stay as they are.
    ///
    /// # Errors
    /// [`ClientError::Retry`].
    pub fn alter(&self, name: &str, settings: &[(String, Option<String>)]) -> Result<(), ClientError> {
        ffi::alter_topic(self.inner.inner(), name, settings, self.timeout)
            .map_err(|e| ClientError::retry("alter topic", e))
    }
}

fn first_error(call: &'static str, answer: Vec<rdkafka::admin::TopicResult>) -> Result<(), ClientError> {
    answer.into_iter().try_for_each(|r| match r {
        Ok(_) => Ok(()),
        Err((name, code)) => Err(ClientError::retry(call, format!("{name}: {code}"))),
    })
}
