//! What is committed beside an offset: `v1;<batch sequence>;<topic UUID>`.

use std::fmt;

/// Metadata of a committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OffsetMetadata {
    /// Sequence of the batch that committed it.
    pub(super) sequence: i64,
    /// UUID of the topic that the offset counts in.
    pub(super) topic_uuid: String,
}

impl OffsetMetadata {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let (version, sequence, uuid) = (parts.next()?, parts.next()?, parts.next()?);
        if version != "v1" || uuid.is_empty() || parts.next().is_some() {
            return None;
        }
        let sequence = sequence.parse().ok().filter(|s| *s >= 0)?;
        Some(Self { sequence, topic_uuid: uuid.to_owned() })
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
    }
}
