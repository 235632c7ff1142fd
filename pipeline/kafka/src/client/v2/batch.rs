//! Record batches (format 2) of a transaction.

use bytes::Bytes;

use crate::client::Outgoing;

/// Bytes of a batch before its records.
const HEADER: usize = 61;
/// Of them, those that the checksum does not cover: base offset, length, leader epoch, magic, checksum.
const UNCHECKED: usize = 21;
const MAGIC: u8 = 2;
/// Of a transaction, create time, not compressed.
const TRANSACTIONAL: i16 = 0x10;
const NO_LEADER_EPOCH: i32 = -1;

/// Identity of a producer in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// Records of one partition.
#[derive(Debug, Default)]
pub(super) struct BatchBuilder {
    /// The batch, its header left open; empty without records.
    bytes: Vec<u8>,
    /// Where the last record was made.
    body: Vec<u8>,
    count: i32,
    first_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// Records so far.
    pub(super) fn count(&self) -> i32 {
        self.count
    }

    /// Size of the batch, bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len().max(HEADER)
    }

    pub(super) fn push(&mut self, record: &Outgoing<'_>) {
        if self.count == 0 {
            (self.first_timestamp, self.max_timestamp) = (record.timestamp_ms, record.timestamp_ms);
            self.bytes.resize(HEADER, 0);
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp_ms);
        // A record begins with its length, in as many bytes as that takes.
        let body = &mut self.body;
        body.clear();
        body.push(0);
        varint(body, record.timestamp_ms.wrapping_sub(self.first_timestamp));
        varint(body, self.count.into());
        bytes(body, record.key);
        bytes(body, record.value);
        varint(body, length(record.headers.len()));
        for (name, value) in record.headers {
            bytes(body, Some(name.as_bytes()));
            bytes(body, Some(value));
        }
        varint(&mut self.bytes, length(body.len()));
        self.bytes.extend_from_slice(body);
        self.count = self.count.saturating_add(1);
    }

    /// The batch whose first record has the sequence number `sequence` of its partition.
    pub(super) fn finish(mut self, identity: Identity, sequence: i32) -> Bytes {
        if let Some((unchecked, checked)) = self.bytes.split_at_mut_checked(UNCHECKED) {
            let mut head = Vec::with_capacity(HEADER);
            head.extend(TRANSACTIONAL.to_be_bytes());
            head.extend(self.count.saturating_sub(1).to_be_bytes());
            head.extend(self.first_timestamp.to_be_bytes());
            head.extend(self.max_timestamp.to_be_bytes());
            head.extend(identity.id.to_be_bytes());
            head.extend(identity.epoch.to_be_bytes());
            head.extend(sequence.to_be_bytes());
            head.extend(self.count.to_be_bytes());
            fill(checked, &head);
            head.clear();
            head.extend(0_i64.to_be_bytes());
            // Counted from behind itself: leader epoch, magic and checksum are 9 bytes.
            head.extend(i32::try_from(checked.len() + 9).unwrap_or(i32::MAX).to_be_bytes());
            head.extend(NO_LEADER_EPOCH.to_be_bytes());
            head.push(MAGIC);
            head.extend(crc32c::crc32c(checked).to_be_bytes());
            fill(unchecked, &head);
        }
        self.bytes.into()
    }
}

/// Upper bound of the size of a record in a batch, bytes.
pub(super) fn most(record: &Outgoing<'_>) -> usize {
    // A varint has at most ten bytes.
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 20).sum();
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers + 61
}

fn fill(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn bytes(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => varint(out, -1),
        Some(value) => {
            varint(out, length(value.len()));
            out.extend(value);
        }
    }
}

// Zigzag, seven bits a byte, the lowest first.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use kafka_protocol::records::RecordBatchDecoder;
    use proptest::prelude::*;

    use super::*;

    const WHO: Identity = Identity { id: 7_001, epoch: 3 };

    type Fields = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Vec<u8>)>, i64);

    fn record() -> impl Strategy<Value = Fields> {
        let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
        // The decoder keeps headers by name.
        let headers = prop::collection::btree_map("[a-z-]{1,12}", prop::collection::vec(any::<u8>(), 0..20), 0..4);
        (bytes(), bytes(), headers.prop_map(|h| h.into_iter().collect()), 0..4_000_000_000_000_i64)
    }

    proptest! {
        #[test]
        fn another_decoder_reads_what_was_written(all in prop::collection::vec(record(), 1..20), sequence in 0..1_000_000_i32) {
            let mut builder = BatchBuilder::default();
            for (key, value, headers, timestamp_ms) in &all {
                let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
                let (key, value) = (key.as_deref(), value.as_deref());
                let out = Outgoing { topic: "t", partition: 0, key, value, headers: &headers, timestamp_ms: *timestamp_ms };
                let before = builder.size();
                builder.push(&out);
                prop_assert!(builder.size() - before <= most(&out));
            }
            let size = builder.size();
            let mut batch = builder.finish(WHO, sequence);
            prop_assert_eq!(batch.len(), size);
            let decoded = RecordBatchDecoder::decode(&mut batch).unwrap();
            prop_assert_eq!(decoded.records.len(), all.len());
            for (n, (found, (key, value, headers, timestamp))) in decoded.records.iter().zip(&all).enumerate() {
                prop_assert_eq!((found.producer_id, found.producer_epoch), (WHO.id, WHO.epoch));
                prop_assert_eq!(found.sequence, sequence + i32::try_from(n).unwrap());
                prop_assert!(found.transactional && !found.control);
                prop_assert_eq!(found.timestamp, *timestamp);
                prop_assert_eq!(found.key.as_deref(), key.as_deref());
                prop_assert_eq!(found.value.as_deref(), value.as_deref());
                let found: Vec<(String, Vec<u8>)> =
                    found.headers.iter().map(|(n, v)| (n.to_string(), v.as_deref().unwrap().to_vec())).collect();
                prop_assert_eq!(&found, headers);
            }
        }
    }
}
