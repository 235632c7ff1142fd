//! Lineage: the identity of a record, the same after an abort, a replay, fused or split.

use std::fmt;

use sha2::{Digest, Sha256};

/// 128-bit identity of a record, timer firing or event.
///
/// Never made from the offset of an intermediate topic, so it does not depend on how a stretch was cut into batches
/// or how stages were spread over groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage([u8; 16]);

impl Lineage {
    /// Lineage of a record that enters the pipeline: from its natural id (event_id, command_id, broker and ExecID).
    #[must_use]
    pub fn root(topic: &str, natural_id: &str) -> Self {
        Self::hash(&[b"root", topic.as_bytes(), natural_id.as_bytes()])
    }

    /// Lineage of a record without a natural id: its topic's UUID and coordinates. Never used in paced mode.
    #[must_use]
    pub fn of_coordinates(topic_uuid: &str, partition: i32, offset: i64) -> Self {
        Self::hash(&[b"at", topic_uuid.as_bytes(), &partition.to_be_bytes(), &offset.to_be_bytes()])
    }

    /// Lineage of the `n`-th id or output that `stage` makes from `self`.
    #[must_use]
    pub fn derive(&self, stage: &str, n: u32) -> Self {
        Self::hash(&[b"out", &self.0, stage.as_bytes(), &n.to_be_bytes()])
    }

    /// Lineage of a timer's firing; `self` is what set it.
    #[must_use]
    pub fn timer(&self, stage: &str, key: &str, fire_count: i64) -> Self {
        Self::hash(&[b"timer", &self.0, stage.as_bytes(), key.as_bytes(), &fire_count.to_be_bytes()])
    }

    /// Id of the span in which `name` handles what has this lineage and was written in the span `parent`; never all zero.
    /// The parent counts because a record may come twice: a dead letter that is written again is not its own cause.
    #[must_use]
    pub fn span(&self, name: &str, parent: Option<&[u8; 8]>) -> [u8; 8] {
        let hash = Self::hash(&[b"span", &self.0, name.as_bytes(), parent.map_or(&[][..], |id| id)]);
        let id = hash.0.first_chunk().copied().unwrap_or_default();
        if id == [0; 8] { 1_u64.to_be_bytes() } else { id }
    }

    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From 16 bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    // Every part is length-prefixed, so that two lists of parts never hash alike by concatenation.
    fn hash(parts: &[&[u8]]) -> Self {
        let mut h = Sha256::new();
        for part in parts {
            h.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            h.update(part);
        }
        let digest = h.finalize();
        let mut id = [0u8; 16];
        for (to, from) in id.iter_mut().zip(digest.iter()) {
            *to = *from;
        }
        Self(id)
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Lineage::root("ab", "c"), Lineage::root("a", "bc"));
    }

    #[test]
    fn each_kind_and_number_is_its_own() {
        let root = Lineage::root("t", "1");
        let ids = [root, root.derive("s", 0), root.derive("s", 1), root.derive("r", 0), root.timer("s", "k", 0)];
        for (i, a) in ids.iter().enumerate() {
            assert!(ids.iter().skip(i + 1).all(|b| a != b));
        }
        assert_eq!(root.derive("s", 1), Lineage::root("t", "1").derive("s", 1));
    }

    #[test]
    fn prints_32_hex_digits() {
        assert_eq!(Lineage::root("t", "1").to_string().len(), 32);
    }
}
