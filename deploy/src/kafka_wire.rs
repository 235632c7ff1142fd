//! The one Kafka request a probe needs: Metadata without topics, version 1.
//!
//! A broker accepts connections before the controller has let it in; only its own entry in the metadata says that
//! clients can work with it.

use std::io::{Read, Write};
use std::net::TcpStream;

const API_KEY_METADATA: i16 = 3;
const API_VERSION: i16 = 1;
const CORRELATION_ID: i32 = 7;
const CLIENT_ID: &str = "fillstream-probe";
const MAX_RESPONSE: usize = 1 << 20;

/// Number of brokers that take part in the cluster, asked over an open connection.
///
/// # Errors
/// One line: the connection failed, or the answer is not Kafka's.
pub(crate) fn broker_count(stream: &mut TcpStream) -> Result<i32, String> {
    stream.write_all(&metadata_request()).map_err(|error| error.to_string())?;
    let mut size = [0_u8; 4];
    stream.read_exact(&mut size).map_err(|error| error.to_string())?;
    let size = usize::try_from(i32::from_be_bytes(size)).ok().filter(|size| *size <= MAX_RESPONSE);
    let size = size.ok_or("the answer is not Kafka's")?;
    let mut answer = vec![0_u8; size];
    stream.read_exact(&mut answer).map_err(|error| error.to_string())?;
    parse_broker_count(&answer).ok_or_else(|| "the answer is not Kafka's".to_owned())
}

fn metadata_request() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(API_KEY_METADATA.to_be_bytes());
    body.extend(API_VERSION.to_be_bytes());
    body.extend(CORRELATION_ID.to_be_bytes());
    body.extend(u16::try_from(CLIENT_ID.len()).unwrap_or_default().to_be_bytes());
    body.extend(CLIENT_ID.as_bytes());
    // An empty topic list: brokers only.
    body.extend(0_i32.to_be_bytes());
    let mut request = u32::try_from(body.len()).unwrap_or_default().to_be_bytes().to_vec();
    request.extend(body);
    request
}

/// Correlation id, then an array of brokers, of which only the length is read.
fn parse_broker_count(answer: &[u8]) -> Option<i32> {
    let (correlation, rest) = answer.split_first_chunk::<4>()?;
    let (brokers, _) = rest.split_first_chunk::<4>()?;
    (i32::from_be_bytes(*correlation) == CORRELATION_ID).then_some(i32::from_be_bytes(*brokers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_framed_as_the_protocol_says() {
        let request = metadata_request();
        let (size, body) = request.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_be_bytes(*size) as usize, body.len());
        assert_eq!(&body[..10], [0, 3, 0, 1, 0, 0, 0, 7, 0, 16]);
        assert_eq!(&body[26..], [0, 0, 0, 0]);
    }

    #[test]
    fn brokers_are_counted_and_other_answers_refused() {
        assert_eq!(parse_broker_count(&[0, 0, 0, 7, 0, 0, 0, 1, 0, 0]), Some(1));
        assert_eq!(parse_broker_count(&[0, 0, 0, 8, 0, 0, 0, 1]), None);
        assert_eq!(parse_broker_count(&[0, 0, 0, 7, 0]), None);
    }
}
