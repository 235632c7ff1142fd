//! Where a key belongs.

use std::collections::BTreeMap;

use thiserror::Error;

/// Partition of `key` among `partitions`, as the Java client's default partitioner chooses it.
#[must_use]
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff;
    let count = u32::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(positive % count).unwrap_or(0)
}

/// A record has no partition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RouteError {
    /// The topic is not in the catalog.
    #[error("topic {0} is not in topics.yaml")]
    UnknownTopic(String),
    /// The session has no partition.
    #[error("session {session:?} has no partition in topics.yaml: {topic} cannot carry it")]
    UnknownSession {
        /// Session.
        session: String,
        /// Topic.
        topic: String,
    },
}

/// Where keys belong, for every topic of a catalog under one profile.
#[derive(Clone, Debug, Default)]
pub struct Router {
    pub(super) topics: BTreeMap<String, Rule>,
    pub(super) sessions: BTreeMap<String, i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Murmur2(i32),
    Sessions,
}

impl Router {
    /// Partition of a key of a topic.
    ///
    /// # Errors
    /// [`RouteError`] when the topic or the session is unknown.
    pub fn partition(&self, topic: &str, key: &str) -> Result<i32, RouteError> {
        match self.topics.get(topic) {
            Some(Rule::Murmur2(partitions)) => Ok(partition_for(key.as_bytes(), *partitions)),
            Some(Rule::Sessions) => self
                .sessions
                .get(key)
                .copied()
                .ok_or_else(|| RouteError::UnknownSession { session: key.to_owned(), topic: topic.to_owned() }),
            None => Err(RouteError::UnknownTopic(topic.to_owned())),
        }
    }

    /// Partitions of a topic whose keys are hashed.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        match self.topics.get(topic) {
            Some(Rule::Murmur2(partitions)) => Some(*partitions),
            Some(Rule::Sessions) | None => None,
        }
    }

    /// Adds or replaces a topic whose keys are hashed over `partitions`.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>, partitions: i32) -> Self {
        self.topics.insert(topic.into(), Rule::Murmur2(partitions));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vectors of org.apache.kafka.common.utils.UtilsTest.testMurmur2.
    const JAVA: &[(&str, i32)] = &[
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];

    #[test]
    fn hashes_like_java() {
        for (key, hash) in JAVA {
            let ours = murmur2::murmur2(key.as_bytes(), murmur2::KAFKA_SEED);
            assert_eq!(i32::from_ne_bytes(ours.to_ne_bytes()), *hash, "{key}");
            for n in [1, 2, 6, 24, 1000] {
                assert_eq!(partition_for(key.as_bytes(), n), (hash & i32::MAX) % n, "{key} of {n}");
            }
        }
    }

    #[test]
    fn a_session_without_a_partition_is_refused() {
        let mut router = Router::default().with_topic("hashed", 6);
        router.topics.insert("by-session".into(), Rule::Sessions);
        router.sessions.insert("a".into(), 3);
        assert_eq!(router.partition("by-session", "a"), Ok(3));
        assert!(matches!(router.partition("by-session", "b"), Err(RouteError::UnknownSession { .. })));
        assert!(matches!(router.partition("nowhere", "b"), Err(RouteError::UnknownTopic(_))));
        assert_eq!(router.partition("hashed", "foobar"), Ok(partition_for(b"foobar", 6)));
    }
}
