//! Times as JSON integers: microseconds since 1970-01-01T00:00:00Z.

use fillstream_domain::TimestampMicros;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(time: &TimestampMicros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(time.micros())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimestampMicros, D::Error> {
    i64::deserialize(deserializer).map(TimestampMicros::from_micros)
}

/// A time, or null.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serializer, TimestampMicros};

    #[expect(clippy::ref_option, reason = "the signature that serde's `with` asks for")]
    pub(crate) fn serialize<S: Serializer>(time: &Option<TimestampMicros>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&time.micros()),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimestampMicros>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(TimestampMicros::from_micros))
    }
}

/// A time so many microseconds later; the end of the calendar at most.
pub(crate) fn later(time: TimestampMicros, micros: i64) -> TimestampMicros {
    TimestampMicros::from_micros(time.micros().saturating_add(micros))
}
