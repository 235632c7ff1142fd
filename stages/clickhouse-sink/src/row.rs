//! A record of a topic as a row.

use fillstream_kafka::client::Received;
use fillstream_kafka::registry::{Frame, Framing, RegistryError, Unreadable};
use fillstream_schemas::Contract;
use sha2::{Digest, Sha256};

use crate::block::{put_bytes, put_long};
use crate::plan::{Destination, RowMeta};

/// Bytes kept of a value that can never be read.
const KEPT: usize = 65_536;
/// 2299-12-31T23:59:59.999Z, the last moment of ClickHouse's DateTime64, milliseconds.
const LAST_MS: i64 = 10_413_791_999_999;

/// A row of a table, made of one record.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) meta: RowMeta,
    /// Milliseconds since 1970-01-01 UTC, within what ClickHouse can hold.
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Vec<u8>,
    /// Ends with Avro of the destination's schema.
    value: Vec<u8>,
    /// Where that begins.
    payload_at: usize,
}

impl Row {
    /// Avro of the destination's schema.
    pub(crate) fn payload(&self) -> &[u8] {
        self.value.get(self.payload_at..).unwrap_or_default()
    }
}

/// Hash of a row: the first 8 bytes, big-endian, of SHA-256 over the offset (8 bytes big-endian) and the value as it is on
/// the topic. Whoever reads the topic can compute it.
#[must_use]
pub fn row_hash(offset: i64, value: Option<&[u8]>) -> u64 {
    let mut sha = Sha256::new();
    sha.update(offset.to_be_bytes());
    sha.update(value.unwrap_or_default());
    let mut first = [0_u8; 8];
    for (to, from) in first.iter_mut().zip(sha.finalize()) {
        *to = from;
    }
    u64::from_be_bytes(first)
}

/// Makes the row of a record whose value should be of `contract`, and takes its bytes.
///
/// # Errors
/// [`RegistryError`] when the registry does not answer: not known now, ask again. The record is as it was.
pub(crate) fn row_of(record: &mut Received, contract: &Contract, framing: &mut Framing) -> Result<Row, RegistryError> {
    let payload = payload(record, contract, framing)?;
    let hash = row_hash(record.offset, record.value.as_deref());
    let (destination, value, payload_at) = match payload {
        Ok(Payload::EndOfValue(at)) => (Destination::Landing, record.value.take().unwrap_or_default(), at),
        Ok(Payload::Resolved(bytes)) => (Destination::Landing, bytes, 0),
        Err(why) => (Destination::Unreadable, unreadable(record, &why), 0),
    };
    let timestamp_ms = record.timestamp_ms.clamp(0, LAST_MS);
    let key = record.key.take().unwrap_or_default();
    let meta = RowMeta {
        offset: record.offset,
        hash,
        // The envelope is six short fields.
        size: value.len().saturating_sub(payload_at) + key.len() + 40,
        destination,
        month: month(timestamp_ms),
    };
    Ok(Row { meta, timestamp_ms, key, value, payload_at })
}

enum Payload {
    /// The record's value from there on.
    EndOfValue(usize),
    /// A foreign schema's record as ours.
    Resolved(Vec<u8>),
}

fn payload(
    record: &Received,
    contract: &Contract,
    framing: &mut Framing,
) -> Result<Result<Payload, Unreadable>, RegistryError> {
    let Some(value) = record.value.as_deref() else {
        return Ok(Err(Unreadable { code: "TOMBSTONE", text: "the record has no value".into() }));
    };
    Ok(match framing.read(contract.full_name, value)? {
        // One bad record would spoil the whole insert, so each is checked here first.
        Frame::Ours(bytes) => match contract.check(bytes) {
            Ok(()) => Ok(Payload::EndOfValue(value.len().saturating_sub(bytes.len()))),
            Err(e) => Err(Unreadable { code: "DECODE", text: e.to_string() }),
        },
        Frame::Resolved(bytes) => Ok(Payload::Resolved(bytes)),
        Frame::Unreadable(why) => Err(why),
    })
}

/// Avro of [`crate::shape::UNREADABLE_SCHEMA`].
fn unreadable(record: &Received, why: &Unreadable) -> Vec<u8> {
    let value = record.value.as_deref().unwrap_or_default();
    let kept = value.get(..KEPT).unwrap_or(value);
    let hash: String = Sha256::digest(value).iter().map(|b| format!("{b:02x}")).collect();
    let mut out = Vec::with_capacity(kept.len() + 256);
    put_bytes(why.code.as_bytes(), &mut out);
    put_bytes(why.text.as_bytes(), &mut out);
    put_bytes(hash.as_bytes(), &mut out);
    put_bytes(kept, &mut out);
    put_long(i64::try_from(value.len()).unwrap_or(i64::MAX), &mut out);
    out
}

/// Year x 100 + month of a moment, as ClickHouse's `toYYYYMM` in UTC.
fn month(timestamp_ms: i64) -> i32 {
    // Civil from days, in years that begin on 1 March (H. Hinnant).
    let days = timestamp_ms.div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    i32::try_from(year * 100 + month).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_change_where_the_calendar_says() {
        // From `date -u -d @... +%Y%m`.
        for (seconds, expected) in [
            (0_i64, 197_001),
            (951_782_399, 200_002),
            (951_782_400, 200_002),
            (951_868_799, 200_002),
            (951_868_800, 200_003),
            (1_704_067_199, 202_312),
            (1_704_067_200, 202_401),
            (4_107_542_400, 210_003),
            (4_107_542_399, 210_002),
            (10_413_791_999, 229_912),
        ] {
            assert_eq!(month(seconds * 1_000), expected, "{seconds}");
        }
    }

    #[test]
    fn the_hash_is_of_offset_and_value() {
        // printf '\0\0\0\0\0\0\0\x07abc' | sha256sum
        assert_eq!(row_hash(7, Some(b"abc")), 0x6b4b_627b_3d8f_81c5);
        assert_ne!(row_hash(7, Some(b"abc")), row_hash(8, Some(b"abc")));
        assert_ne!(row_hash(7, Some(b"abc")), row_hash(7, Some(b"abd")));
        assert_eq!(row_hash(7, None), row_hash(7, Some(b"")));
    }
}
