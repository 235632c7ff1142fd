//! Rows as one Avro object container file, which ClickHouse reads by itself: an envelope record around the record's own
//! bytes, so no field is encoded again.

use crate::row::Row;

/// Bytes of a block of the file: so few that they are copied from a cache. ClickHouse makes one block of all of them.
const BLOCK: usize = 1 << 17;

/// Appends an Avro `long` (or `int`).
pub(crate) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = u64::from_ne_bytes(((value << 1) ^ (value >> 63)).to_ne_bytes());
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends Avro `bytes` (or a `string`).
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn put_len(len: usize, out: &mut Vec<u8>) {
    put_long(i64::try_from(len).unwrap_or(i64::MAX), out);
}

/// Schema of the envelope around a contract's schema.
pub(crate) fn envelope_schema(value_schema: &str) -> String {
    format!(
        concat!(
            r#"{{"type":"record","name":"SinkRow","namespace":"fillstream.sink","fields":["#,
            r#"{{"name":"_partition","type":"int"}},{{"name":"_offset","type":"long"}},"#,
            r#"{{"name":"_timestamp","type":"long"}},{{"name":"_key","type":"bytes"}},"#,
            r#"{{"name":"_row_hash","type":"long"}},{{"name":"value","type":{}}}]}}"#
        ),
        value_schema
    )
}

/// The file of rows of one partition. `schema` is an [`envelope_schema`].
pub(crate) fn container<'a>(schema: &str, partition: i32, rows: impl Iterator<Item = &'a Row> + Clone) -> Vec<u8> {
    let mut size = 0_usize;
    let mut sync = [0_u8; 16];
    for row in rows.clone() {
        size += row.meta.size;
        // Any 16 bytes do; these are the same whenever the file is built again.
        for (to, from) in sync.iter_mut().zip(row.meta.hash.to_be_bytes()) {
            *to ^= from;
        }
    }
    let mut out = Vec::with_capacity(size + schema.len() + size / BLOCK * 32 + 256);
    out.extend_from_slice(b"Obj\x01");
    put_long(2, &mut out);
    put_bytes(b"avro.schema", &mut out);
    put_bytes(schema.as_bytes(), &mut out);
    put_bytes(b"avro.codec", &mut out);
    put_bytes(b"null", &mut out);
    put_long(0, &mut out);
    out.extend_from_slice(&sync);
    let (mut body, mut count) = (Vec::with_capacity(BLOCK + BLOCK / 4), 0_usize);
    for row in rows {
        count += 1;
        put_long(i64::from(partition), &mut body);
        put_long(row.meta.offset, &mut body);
        put_long(row.timestamp_ms, &mut body);
        put_bytes(&row.key, &mut body);
        put_long(i64::from_ne_bytes(row.meta.hash.to_ne_bytes()), &mut body);
        body.extend_from_slice(row.payload());
        if body.len() >= BLOCK {
            put_block(&mut body, &mut count, &sync, &mut out);
        }
    }
    if count > 0 {
        put_block(&mut body, &mut count, &sync, &mut out);
    }
    out
}

/// Appends a block of the file, whose length must stand before it.
fn put_block(body: &mut Vec<u8>, count: &mut usize, sync: &[u8], out: &mut Vec<u8>) {
    put_len(*count, out);
    put_len(body.len(), out);
    out.extend_from_slice(body);
    out.extend_from_slice(sync);
    body.clear();
    *count = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_zigzag_varints() {
        let bytes = |v| {
            let mut out = Vec::new();
            put_long(v, &mut out);
            out
        };
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(-1), [1]);
        assert_eq!(bytes(1), [2]);
        assert_eq!(bytes(-64), [0x7f]);
        assert_eq!(bytes(64), [0x80, 0x01]);
        assert_eq!(bytes(i64::MAX), [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(bytes(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn an_envelope_is_a_schema() {
        let schema = envelope_schema(r#""string""#);
        fillstream_schemas::Schema::parse(&schema).unwrap();
    }
}
