//! What is committed beside an offset: `v1;<batch sequence>;<topic UUID>`, or where the group's state went.

use std::fmt;

const MOVED: &str = "moved;";

/// Metadata of a committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetMetadata {
    /// Sequence of the batch that committed it.
    pub(crate) sequence: i64,
    /// UUID of the topic that the offset counts in.
    pub(crate) topic_uuid: String,
}

impl OffsetMetadata {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let (version, sequence, uuid) = (parts.next()?, parts.next()?, parts.next()?);
        if version != "v1" || uuid.is_empty() || parts.next().is_some() {
            return None;
        }
        let sequence = sequence.parse().ok().filter(|s| *s >= 0)?;
        Some(Self { sequence, topic_uuid: uuid.to_owned() })
    }

    /// What stands beside the offsets of a group whose state went to other groups.
    pub(crate) fn moved(to: &[&str]) -> String {
        format!("{MOVED}{}", to.join(","))
    }

    /// The groups to which the state went, where it did.
    pub(crate) fn moved_to(text: &str) -> Option<&str> {
        text.strip_prefix(MOVED)
    }
}

impl fmt::Display for OffsetMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1;{};{}", self.sequence, self.topic_uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let m = OffsetMetadata { sequence: 42, topic_uuid: "abc-_".into() };
        assert_eq!(m.to_string(), "v1;42;abc-_");
        assert_eq!(OffsetMetadata::parse(&m.to_string()), Some(m));
    }

    #[test]
    fn anything_else_is_nothing() {
        for text in ["", "v1", "v1;1", "v1;1;", "v2;1;u", "v1;x;u", "v1;-1;u", "v1;1;u;more"] {
            assert_eq!(OffsetMetadata::parse(text), None, "{text}");
        }
        let moved = OffsetMetadata::moved(&["a", "b"]);
        assert_eq!((OffsetMetadata::parse(&moved), OffsetMetadata::moved_to(&moved)), (None, Some("a,b")));
    }
}
