//! The transaction protocol request by request, as a client library would not let it be spoken: every error of a broker is
//! seen, and a request can be sent when no client would. Old versions of the requests where there are any, because their
//! encoding is plain.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Writes the primitive types of the protocol.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn i8(mut self, n: i8) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn i16(mut self, n: i16) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn i32(mut self, n: i32) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn i64(mut self, n: i64) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn text(mut self, text: &str) -> Self {
        self.0.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }
    // Flexible versions: lengths are one more than they are, 0 is null. All of ours are below 127.
    fn compact(mut self, text: &str) -> Self {
        self.0.push(u8::try_from(text.len() + 1).unwrap());
        self.0.extend(text.as_bytes());
        self
    }
    fn compact_count(mut self, n: u8) -> Self {
        self.0.push(n + 1);
        self
    }
    /// Null, or no tagged fields.
    fn zero(mut self) -> Self {
        self.0.push(0);
        self
    }
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
        self.0.extend(bytes);
        self
    }
    fn one_partition(self, topic: &str, partition: i32) -> Self {
        self.i32(1).text(topic).i32(1).i32(partition)
    }
}

/// Reads them.
struct Answer(Vec<u8>, usize);

impl Answer {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.0[self.1..self.1 + N].try_into().unwrap();
        self.1 += N;
        bytes
    }
    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }
    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }
    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
    fn skip_text(&mut self) {
        let length = self.i16();
        self.1 += usize::try_from(length.max(0)).unwrap();
    }
    fn skip_compact(&mut self) {
        let [length] = self.take();
        self.1 += usize::from(length).saturating_sub(1);
    }
}

/// A producer: what InitProducerId gave, and the next sequence of each partition.
#[derive(Clone, Debug)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// A connection to the one broker of the tests.
pub(crate) struct Wire {
    stream: TcpStream,
    correlation: i32,
}

impl Wire {
    pub(crate) fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(super::common::DEADLINE)).unwrap();
        Self { stream, correlation: 0 }
    }

    fn call(&mut self, (api, version, flexible): (i16, i16, bool), body: Body) -> Answer {
        self.correlation += 1;
        let header = Body::default().i16(api).i16(version).i32(self.correlation).text("histories");
        let mut request = if flexible { header.zero() } else { header }.0;
        request.extend(body.0);
        let mut framed = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
        framed.extend(request);
        self.stream.write_all(&framed).unwrap();
        let mut size = [0_u8; 4];
        self.stream.read_exact(&mut size).unwrap();
        let mut answer = vec![0_u8; usize::try_from(u32::from_be_bytes(size)).unwrap()];
        self.stream.read_exact(&mut answer).unwrap();
        let mut answer = Answer(answer, 0);
        assert_eq!(answer.i32(), self.correlation);
        if flexible {
            answer.1 += 1;
        }
        answer
    }

    /// Makes the coordinator of a transactional id (type 1) or a group (type 0) known; error 0 when it is there.
    pub(crate) fn find_coordinator(&mut self, key: &str, of: i8) -> i16 {
        let mut answer = self.call((10, 1, false), Body::default().text(key).i8(of));
        answer.i32();
        answer.i16()
    }

    pub(crate) fn init_producer_id(&mut self, transactional_id: &str, timeout_ms: i32) -> Result<ProducerId, i16> {
        let mut answer = self.call((22, 1, false), Body::default().text(transactional_id).i32(timeout_ms));
        answer.i32();
        match answer.i16() {
            0 => Ok(ProducerId { id: answer.i64(), epoch: answer.i16() }),
            error => Err(error),
        }
    }

    pub(crate) fn add_partition(&mut self, txn: &str, p: &ProducerId, topic: &str, partition: i32) -> i16 {
        let body = Body::default().text(txn).i64(p.id).i16(p.epoch).one_partition(topic, partition);
        let mut answer = self.call((24, 0, false), body);
        answer.i32();
        answer.i32();
        answer.skip_text();
        answer.i32();
        answer.i32();
        answer.i16()
    }

    pub(crate) fn add_offsets(&mut self, txn: &str, p: &ProducerId, group: &str) -> i16 {
        let mut answer = self.call((25, 0, false), Body::default().text(txn).i64(p.id).i16(p.epoch).text(group));
        answer.i32();
        answer.i16()
    }

    /// `generation` -1 and no member: of nobody, as a partition that is assigned by hand.
    pub(crate) fn txn_offset_commit(
        &mut self,
        txn: &str,
        p: &ProducerId,
        group: &str,
        (generation, member): (i32, &str),
        (topic, partition, offset): (&str, i32, i64),
    ) -> i16 {
        let body = Body::default().compact(txn).compact(group).i64(p.id).i16(p.epoch).i32(generation).compact(member);
        let body = body.zero().compact_count(1).compact(topic).compact_count(1).i32(partition).i64(offset).i32(-1);
        let mut answer = self.call((28, 3, true), body.compact("").zero().zero().zero());
        answer.i32();
        answer.take::<1>();
        answer.skip_compact();
        answer.take::<1>();
        answer.i32();
        answer.i16()
    }

    pub(crate) fn end_txn(&mut self, txn: &str, p: &ProducerId, commit: bool) -> i16 {
        let body = Body::default().text(txn).i64(p.id).i16(p.epoch).i8(i8::from(commit));
        let mut answer = self.call((26, 1, false), body);
        answer.i32();
        answer.i16()
    }

    /// A record in a transaction, or outside any.
    pub(crate) fn produce(
        &mut self,
        txn: Option<(&str, &ProducerId, i32)>,
        topic: &str,
        partition: i32,
        value: &str,
    ) -> i16 {
        let body = match txn {
            Some((id, ..)) => Body::default().text(id),
            None => Body::default().i16(-1),
        };
        let batch = batch(txn.map(|(_, p, sequence)| (p, sequence)), value);
        let body = body.i16(-1).i32(10_000).one_partition(topic, partition).bytes(&batch);
        let mut answer = self.call((0, 3, false), body);
        answer.i32();
        answer.skip_text();
        answer.i32();
        answer.i32();
        answer.i16()
    }

    /// The end of a partition: the last stable offset, or that of everything.
    pub(crate) fn end_offset(&mut self, topic: &str, partition: i32, stable: bool) -> Result<i64, i16> {
        let body = Body::default().i32(-1).i8(i8::from(stable)).one_partition(topic, partition).i64(-1);
        let mut answer = self.call((2, 2, false), body);
        answer.i32();
        answer.i32();
        answer.skip_text();
        answer.i32();
        answer.i32();
        match answer.i16() {
            0 => {
                answer.i64();
                Ok(answer.i64())
            }
            error => Err(error),
        }
    }

    /// The committed offset of a group, -1 where there is none; an error while it is not stable.
    pub(crate) fn stable_offset(&mut self, group: &str, topic: &str, partition: i32) -> Result<i64, i16> {
        let body = Body::default().compact(group).compact_count(1).compact(topic).compact_count(1).i32(partition);
        let mut answer = self.call((9, 7, true), body.zero().i8(1).zero());
        answer.i32();
        answer.take::<1>();
        answer.skip_compact();
        answer.take::<1>();
        answer.i32();
        let offset = answer.i64();
        answer.i32();
        answer.skip_compact();
        match answer.i16() {
            0 => Ok(offset),
            error => Err(error),
        }
    }
}

/// A record batch of one record, format 2.
fn batch(producer: Option<(&ProducerId, i32)>, value: &str) -> Vec<u8> {
    let mut record = vec![0, 0, 0];
    for text in ["k", value] {
        varint(text.len(), &mut record);
        record.extend(text.as_bytes());
    }
    record.push(0);
    let (attributes, id, epoch, sequence) =
        producer.map_or((0, -1, -1, -1), |(p, sequence)| (0x10, p.id, p.epoch, sequence));
    let time = 1_700_000_000_000;
    let head = Body::default().i16(attributes).i32(0).i64(time).i64(time).i64(id).i16(epoch).i32(sequence).i32(1);
    let mut summed = head.0;
    varint(record.len(), &mut summed);
    summed.extend(record);
    let length = i32::try_from(summed.len() + 9).unwrap();
    let crc = crc32c(&summed).to_be_bytes();
    let mut batch = Body::default().i64(0).i32(length).i32(-1).i8(2).0;
    batch.extend(crc);
    batch.extend(summed);
    batch
}

// Zigzag of a number that is not negative.
fn varint(n: usize, out: &mut Vec<u8>) {
    let mut left = n << 1;
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap());
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
