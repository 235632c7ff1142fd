//! Which partition a key belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::task::Partitioner;

/// Partition count of all topics, and the keys that are assigned by name instead of by hash.
#[derive(Clone, Debug)]
pub struct Cluster {
    partitions: i32,
    assigned: BTreeMap<String, BTreeMap<String, i32>>,
}

impl Cluster {
    /// All topics have `partitions` partitions; at least one.
    #[must_use]
    pub fn new(partitions: i32) -> Self {
        Self { partitions: partitions.max(1), assigned: BTreeMap::new() }
    }

    /// Puts `key` of `topic` on `partition`, as the map from broker session to partition does.
    #[must_use]
    pub fn assign(mut self, topic: &str, key: &str, partition: i32) -> Self {
        self.assigned.entry(topic.to_owned()).or_default().insert(key.to_owned(), partition);
        self
    }

    /// Number of partitions of every topic.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// Partition of a key: the assigned one, otherwise by murmur2 like Kafka's Java client.
    #[must_use]
    pub fn partition_of(&self, topic: &str, key: &str) -> i32 {
        match self.assigned.get(topic).and_then(|keys| keys.get(key)) {
            Some(partition) => *partition,
            None => {
                let positive = murmur2(key.as_bytes()) & 0x7fff_ffff;
                i32::try_from(positive).unwrap_or(i32::MAX) % self.partitions
            }
        }
    }

    /// As the engine wants it.
    #[must_use]
    pub fn partitioner(&self) -> Partitioner {
        let cluster = self.clone();
        Arc::new(move |topic, key| cluster.partition_of(topic, key))
    }
}

// Kafka's variant: seed 0x9747b28c.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut h = 0x9747_b28c ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        h ^= tail.iter().rev().fold(0, |rest, byte| (rest << 8) | u32::from(*byte));
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Vectors of Kafka's own UtilsTest.
    #[test]
    fn hashes_like_the_java_client() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in vectors {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn an_assigned_key_wins_on_its_topic_only() {
        let by_hash = Cluster::new(6).partition_of("children", "S");
        let other = (by_hash + 1) % 6;
        let cluster = Cluster::new(6).assign("children", "S", other);
        assert_eq!(cluster.partition_of("children", "S"), other);
        assert_eq!(cluster.partition_of("orders", "S"), by_hash);
    }
}
