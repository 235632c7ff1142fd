//! The model of `topics.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::partition::{Router, Rule};
use super::retention::Retention;
use super::{TIME_TOPIC, changelog_topic, dead_letter_topic, journal_topic, snapshots_topic};

/// `topics.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Version of the file format: 1.
    pub version: u32,
    /// Sizes by deployment.
    pub profiles: BTreeMap<String, Profile>,
    /// Partition of each broker session, in topics with [`Partitioning::Sessions`].
    #[serde(default)]
    pub sessions: BTreeMap<String, i32>,
    /// Topics.
    pub topics: Vec<TopicSpec>,
    /// Topics that the engine makes for each group and stage.
    pub engine: EngineTopics,
}

/// Sizes of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Partitions of a topic that does not say.
    pub partitions: i32,
    /// Replicas of a topic that does not say.
    pub replication: i32,
    /// `min.insync.replicas` of every topic.
    pub min_insync_replicas: i32,
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Written by the outside.
    Input,
    /// Kept in memory by its readers.
    Table,
    /// A contract for everybody.
    Output,
    /// A contract between our own processes.
    Internal,
}

/// What is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cleanup {
    /// Records older than the retention.
    Delete,
    /// Records with a younger one of the same key.
    Compact,
}

impl fmt::Display for Cleanup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        })
    }
}

/// What decides the partition of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partitioning {
    /// The hash of the key, as the Java client's.
    #[default]
    Murmur2,
    /// The catalog's map of sessions.
    Sessions,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Field whose value is the key.
    pub key: String,
    /// What decides the partition.
    #[serde(default)]
    pub partitioning: Partitioning,
    /// Full name of the value's schema.
    pub value: String,
    /// Who writes it.
    pub owner: String,
    /// Stages that read it.
    pub readers: BTreeSet<String>,
    /// What is deleted.
    pub cleanup: Cleanup,
    /// How long records are kept.
    pub retention: Retention,
    /// Partitions, where not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Replicas, where not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<i32>,
    /// Whether a reader keeps state by the key.
    #[serde(default)]
    pub keyed_state_input: bool,
    /// Further settings of the topic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

/// Topics that the engine makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineTopics {
    /// `fillstream.<group>.journal`.
    pub journal: EngineTemplate,
    /// `fillstream.<group>.changelog`.
    pub changelog: EngineTemplate,
    /// `fillstream.<group>.snapshots`.
    pub snapshots: EngineTemplate,
    /// `<stage>.dlq`.
    pub dead_letters: EngineTemplate,
    /// [`TIME_TOPIC`].
    pub time: EngineTemplate,
}

/// Settings of an engine topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineTemplate {
    /// What is deleted.
    pub cleanup: Cleanup,
    /// How long records are kept.
    pub retention: Retention,
    /// Partitions; those of the group's inputs where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Further settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

/// A topic as a profile wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedTopic {
    /// Name.
    pub name: String,
    /// Partitions.
    pub partitions: i32,
    /// Replicas.
    pub replication: i32,
    /// Settings.
    pub settings: BTreeMap<String, String>,
    /// Why the partition count can never change on a live topic; `None` where it may grow.
    pub fixed_count: Option<&'static str>,
}

/// One fault of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFault {
    /// Topic, profile or section.
    pub subject: String,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for TopicFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// A catalog that cannot be used.
#[derive(Debug, Error)]
pub enum TopicsError {
    /// The text is not such a file.
    #[error("topics.yaml: {0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    /// It contradicts itself.
    #[error("topics.yaml has {} fault(s): {}", .0.len(), .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Faults(Vec<TopicFault>),
    /// There is no such profile.
    #[error("topics.yaml has no profile {0:?}")]
    UnknownProfile(String),
}

impl Catalog {
    /// Reads and checks a catalog. `is_schema` knows the contracts.
    ///
    /// # Errors
    /// [`TopicsError::Syntax`], or [`TopicsError::Faults`] with every fault at once.
    pub fn parse(yaml: &str, is_schema: impl Fn(&str) -> bool) -> Result<Self, TopicsError> {
        let catalog: Self = serde_yaml_ng::from_str(yaml)?;
        let faults = catalog.faults(is_schema);
        if faults.is_empty() { Ok(catalog) } else { Err(TopicsError::Faults(faults)) }
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicSpec> {
        self.topics.iter().find(|t| t.name == name)
    }

    /// Sizes of a profile.
    ///
    /// # Errors
    /// [`TopicsError::UnknownProfile`].
    pub fn profile(&self, name: &str) -> Result<Profile, TopicsError> {
        self.profiles.get(name).copied().ok_or_else(|| TopicsError::UnknownProfile(name.to_owned()))
    }

    /// Partitions of a topic under a profile.
    #[must_use]
    pub fn partitions(&self, topic: &str, profile: Profile) -> Option<i32> {
        self.topic(topic).map(|t| t.partitions.unwrap_or(profile.partitions))
    }

    /// Where keys belong.
    #[must_use]
    pub fn router(&self, profile: Profile) -> Router {
        let topics = self
            .topics
            .iter()
            .map(|t| {
                let rule = match t.partitioning {
                    Partitioning::Murmur2 => Rule::Murmur2(t.partitions.unwrap_or(profile.partitions)),
                    Partitioning::Sessions => Rule::Sessions,
                };
                (t.name.clone(), rule)
            })
            .collect();
        Router { topics, sessions: self.sessions.clone() }
    }

    /// Every topic as a profile wants it: the listed ones, then journal, changelog and snapshots of each group (name, input
    /// partitions), the dead letters of each stage, and the topic of the time.
    #[must_use]
    pub fn resolve(&self, profile: Profile, groups: &[(&str, i32)], stages: &[&str]) -> Vec<ResolvedTopic> {
        let listed = self.topics.iter().map(|t| ResolvedTopic {
            name: t.name.clone(),
            partitions: t.partitions.unwrap_or(profile.partitions),
            replication: t.replication.unwrap_or(profile.replication),
            settings: settings(t.cleanup, t.retention, profile, &t.config),
            fixed_count: match (t.keyed_state_input, t.partitioning) {
                (_, Partitioning::Sessions) => Some("sessions are pinned to their partitions"),
                (true, Partitioning::Murmur2) => {
                    Some("keys would hash to other partitions than the state that stages keep for them")
                }
                (false, Partitioning::Murmur2) => None,
            },
        });
        let engine = |name: String, t: &EngineTemplate, partitions: i32, fixed_count| ResolvedTopic {
            name,
            partitions: t.partitions.unwrap_or(partitions),
            replication: profile.replication,
            settings: settings(t.cleanup, t.retention, profile, &t.config),
            fixed_count,
        };
        let mut all: Vec<ResolvedTopic> = listed.collect();
        for (group, partitions) in groups {
            let fixed = Some("a partition is the history of one task");
            all.push(engine(journal_topic(group), &self.engine.journal, *partitions, fixed));
            all.push(engine(changelog_topic(group), &self.engine.changelog, *partitions, fixed));
            all.push(engine(snapshots_topic(group), &self.engine.snapshots, *partitions, fixed));
        }
        all.extend(
            stages.iter().map(|s| engine(dead_letter_topic(s), &self.engine.dead_letters, profile.partitions, None)),
        );
        all.push(engine(TIME_TOPIC.to_owned(), &self.engine.time, 1, None));
        all
    }

    fn faults(&self, is_schema: impl Fn(&str) -> bool) -> Vec<TopicFault> {
        let mut faults = Vec::new();
        let mut fault = |subject: &str, text: String| faults.push(TopicFault { subject: subject.into(), text });
        if self.version != 1 {
            fault("version", format!("{} is not known, only 1 is", self.version));
        }
        if self.profiles.is_empty() {
            fault("profiles", "none is given".into());
        }
        for (name, p) in &self.profiles {
            if p.partitions < 1 || p.replication < 1 {
                fault(name, "partitions and replication must be at least 1".into());
            }
            if p.min_insync_replicas < 1 || p.min_insync_replicas > p.replication {
                fault(name, format!("min_insync_replicas must be 1 to {}", p.replication));
            }
        }
        let mut names = BTreeSet::new();
        for t in &self.topics {
            if !names.insert(&t.name) {
                fault(&t.name, "is listed twice".into());
            }
            for text in t.faults(&is_schema) {
                fault(&t.name, text);
            }
            if t.partitioning == Partitioning::Sessions {
                for (name, p) in &self.profiles {
                    let count = t.partitions.unwrap_or(p.partitions);
                    for (session, at) in self.sessions.iter().filter(|(_, at)| **at < 0 || **at >= count) {
                        fault(
                            &t.name,
                            format!("session {session} is at partition {at}, but profile {name} has {count}"),
                        );
                    }
                }
            }
        }
        let mut by_partition: BTreeMap<i32, &str> = BTreeMap::new();
        for (session, at) in &self.sessions {
            if let Some(other) = by_partition.insert(*at, session) {
                fault("sessions", format!("{other} and {session} share partition {at}"));
            }
        }
        faults
    }
}

impl TopicSpec {
    fn faults(&self, is_schema: impl Fn(&str) -> bool) -> Vec<String> {
        let mut out = Vec::new();
        if !is_topic_name(&self.name) {
            out.push("a name is <context>.<entity>.v<n>, lower case".to_owned());
        }
        if !is_schema(&self.value) {
            out.push(format!("value {} is no contract in schemas/avro", self.value));
        }
        if self.owner.is_empty() || self.key.is_empty() {
            out.push("owner and key must be given".to_owned());
        }
        if self.partitions.is_some_and(|n| n < 1) || self.replication.is_some_and(|n| n < 1) {
            out.push("partitions and replication must be at least 1".to_owned());
        }
        match (self.cleanup, self.retention) {
            (Cleanup::Compact, Retention::Ms(_)) => {
                out.push("is compacted, so its retention must be forever".to_owned());
            }
            (Cleanup::Compact, Retention::Forever) | (Cleanup::Delete, _) => {}
        }
        if self.kind == Kind::Table && self.cleanup != Cleanup::Compact {
            out.push("is a table, so its cleanup must be compact".to_owned());
        }
        for owned in ["cleanup.policy", "retention.ms", "min.insync.replicas"] {
            if self.config.contains_key(owned) {
                out.push(format!("config.{owned} has a field of its own"));
            }
        }
        out
    }
}

fn settings(
    cleanup: Cleanup,
    retention: Retention,
    profile: Profile,
    config: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut out = config.clone();
    out.insert("cleanup.policy".into(), cleanup.to_string());
    out.insert("min.insync.replicas".into(), profile.min_insync_replicas.to_string());
    if cleanup == Cleanup::Delete {
        out.insert("retention.ms".into(), retention.ms().to_string());
    }
    out
}

fn is_topic_name(name: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let mut parts = name.rsplitn(2, '.');
    let version = parts.next().unwrap_or_default();
    let rest = parts.next().unwrap_or_default();
    let number = version.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    number && rest.contains('.') && rest.split('.').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = include_str!("../../../../topics.yaml");

    #[test]
    fn the_real_file_is_valid_and_keeps_what_the_specifications_ask() {
        let c = Catalog::parse(REAL, |s| s.starts_with("fillstream.")).unwrap();
        let retention = |t: &str| c.topic(t).unwrap().retention.to_string();
        assert_eq!(retention("execution.orders.v1"), "90d");
        for seven in ["execution.reports.v1", "execution.trades.v1", "execution.intents.v1"] {
            assert_eq!(retention(seven), "7y");
        }
        assert_eq!(retention("execution.risk-alerts.v1"), "1y");
        let local = c.profile("local").unwrap();
        assert_eq!((local.partitions, local.replication), (6, 1));
        assert_eq!(c.router(local).partition("execution.child-orders.v1", "alpaca"), Ok(1));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let broken = REAL
            .replace("name: execution.trades.v1", "name: Execution.Trades")
            .replace("fillstream.execution.Slice", "fillstream.execution.Slize")
            .replace("alpaca: 1", "alpaca: 0")
            .replace("etrade: 4", "etrade: 6")
            .replace("min_insync_replicas: 2", "min_insync_replicas: 4");
        let Err(TopicsError::Faults(faults)) = Catalog::parse(&broken, |s| !s.contains("Slize")) else {
            panic!("accepted")
        };
        let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for part in [
            "Execution.Trades: a name is",
            "execution.slices.v1: value fillstream.execution.Slize",
            "alpaca and interactive_brokers share partition 0",
            "session etrade is at partition 6, but profile local has 6",
            "default: min_insync_replicas must be 1 to 3",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let broken = REAL.replacen("retention: 90d", "retention: 90d\n    retentoin: 1d", 1);
        assert!(matches!(Catalog::parse(&broken, |_| true), Err(TopicsError::Syntax(_))));
    }

    #[test]
    fn names() {
        for good in ["execution.orders.v1", "coordination.decisions-forwarded.v12", "a.b.c.v1"] {
            assert!(is_topic_name(good), "{good}");
        }
        for bad in ["orders.v1", "execution.orders", "execution.orders.v", "execution..v1", "Execution.orders.v1", ""] {
            assert!(!is_topic_name(bad), "{bad}");
        }
    }
}
