//! As much of Kafka's protocol as the proxy must know: requests are frames with a size, an API key, a version, a
//! correlation id and a client id.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

pub(super) const PRODUCE: i16 = 0;
pub(super) const ADD_PARTITIONS_TO_TXN: i16 = 24;
pub(super) const END_TXN: i16 = 26;
/// Larger is no frame.
const MOST_BYTES: usize = 128 << 20;

/// The first frame of a connection, its size included.
pub(super) async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).await.ok()?;
    let size = size_of(&frame).filter(|size| *size <= MOST_BYTES)?;
    frame.resize(size, 0);
    stream.read_exact(frame.get_mut(4..)?).await.ok()?;
    Some(frame)
}

/// Bytes of the frame that begins here, its size included.
fn size_of(bytes: &[u8]) -> Option<usize> {
    let size = i32::from_be_bytes(*bytes.first_chunk::<4>()?);
    usize::try_from(size).ok()?.checked_add(4)
}

/// Takes the first whole frame off the front; `None`: it is not whole yet. What is no frame is taken as a whole.
pub(super) fn split(pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    if pending.len() < 4 {
        return None;
    }
    match size_of(pending).filter(|size| (12..=MOST_BYTES).contains(size)) {
        None => Some(std::mem::take(pending)),
        Some(size) if pending.len() >= size => {
            let rest = pending.split_off(size);
            Some(std::mem::replace(pending, rest))
        }
        Some(_) => None,
    }
}

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) api: i16,
    /// The transactional id, where the request begins with it.
    pub(super) transactional_id: Option<String>,
}

/// The head of a whole frame.
pub(super) fn head(frame: &[u8]) -> Option<Head> {
    let api = i16_at(frame, 4)?;
    let version = i16_at(frame, 6)?;
    let first_flexible = match api {
        PRODUCE => 9,
        ADD_PARTITIONS_TO_TXN | END_TXN => 3,
        _ => return Some(Head { api, transactional_id: None }),
    };
    let (_, rest) = nullable_string(frame.get(12..)?)?;
    let transactional_id = if version >= first_flexible {
        let (tags, rest) = uvarint(rest)?;
        if tags > 0 { None } else { compact_string(rest) }
    } else if api == ADD_PARTITIONS_TO_TXN || api == END_TXN || version >= 3 {
        nullable_string(rest)?.0
    } else {
        None
    };
    Some(Head { api, transactional_id: transactional_id.map(str::to_owned) })
}

/// The client id of a whole frame.
pub(super) fn client_id(frame: &[u8]) -> Option<&str> {
    nullable_string(frame.get(12..)?)?.0
}

/// The node that a client id speaks for: `broker-2-fetcher-0`, `raft-client-3`, or just `1`.
pub(super) fn node_of(client_id: &str) -> Option<u8> {
    client_id.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk::<2>()?))
}

fn nullable_string(bytes: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let length = i16_at(bytes, 0)?;
    let rest = bytes.get(2..)?;
    let Ok(length) = usize::try_from(length) else { return Some((None, rest)) };
    Some((Some(std::str::from_utf8(rest.get(..length)?).ok()?), rest.get(length..)?))
}

fn uvarint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

fn compact_string(bytes: &[u8]) -> Option<&str> {
    let (length, rest) = uvarint(bytes)?;
    std::str::from_utf8(rest.get(..length.checked_sub(1)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(api: i16, version: i16, client: &str, rest: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(api.to_be_bytes());
        body.extend(version.to_be_bytes());
        body.extend(7_i32.to_be_bytes());
        body.extend(u16::try_from(client.len()).unwrap().to_be_bytes());
        body.extend(client.as_bytes());
        body.extend(rest);
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(body);
        frame
    }

    #[test]
    fn frames_are_cut_where_they_end() {
        let (a, b) = (frame(3, 1, "c", &[]), frame(END_TXN, 1, "c", b"\0\x01t"));
        let mut pending = [a.clone(), b.clone()].concat();
        let tail = pending.split_off(a.len() + 3);
        assert_eq!(split(&mut pending), Some(a));
        assert_eq!(split(&mut pending), None);
        pending.extend(tail);
        assert_eq!(split(&mut pending), Some(b));
        assert_eq!(split(&mut pending), None);
        let mut no_kafka = b"GET / HTTP/1.1\r\n".to_vec();
        assert_eq!(split(&mut no_kafka), Some(b"GET / HTTP/1.1\r\n".to_vec()), "passes as it is");
    }

    #[test]
    fn the_transactional_id_is_found_in_old_and_flexible_requests() {
        let of = |f: &[u8]| head(f).unwrap();
        let old = of(&frame(END_TXN, 1, "rdkafka", b"\0\x03abc\0\0\0\0\0\0\0\x01\0\x02\x01"));
        assert_eq!(old, Head { api: END_TXN, transactional_id: Some("abc".into()) });
        let flexible = of(&frame(ADD_PARTITIONS_TO_TXN, 3, "rdkafka", b"\0\x04abc"));
        assert_eq!(flexible.transactional_id.as_deref(), Some("abc"));
        assert_eq!(of(&frame(PRODUCE, 9, "rdkafka", b"\0\x04abc")).transactional_id.as_deref(), Some("abc"));
        assert_eq!(of(&frame(PRODUCE, 7, "rdkafka", b"\0\x03abc")).transactional_id.as_deref(), Some("abc"));
        assert_eq!(of(&frame(PRODUCE, 7, "rdkafka", b"\xff\xff")).transactional_id, None);
        assert_eq!(of(&frame(1, 11, "rdkafka", b"")).transactional_id, None);
    }

    #[test]
    fn nodes_are_known_by_their_client_ids() {
        for (id, node) in
            [("broker-2-fetcher-0", Some(2)), ("raft-client-3", Some(3)), ("1", Some(1)), ("rdkafka", None)]
        {
            assert_eq!(node_of(id), node, "{id}");
        }
        assert_eq!(client_id(&frame(18, 3, "broker-2-fetcher-0", b"\0")), Some("broker-2-fetcher-0"));
    }
}
