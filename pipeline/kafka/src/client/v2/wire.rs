//! Requests and answers on one connection.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, EndTxnRequest, EndTxnResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

const CLIENT_ID: &str = "fillstream";
/// Bytes of a request before its body, about.
const HEAD: usize = 64;
/// Largest answer, bytes: those of these requests are a few thousand.
const LARGEST_ANSWER: usize = 16 * 1_024 * 1_024;

/// A request with the version that is spoken.
pub(super) trait Request: Encodable + HeaderVersion {
    const KEY: i16;
    const VERSION: i16;
    type Answer: Decodable + HeaderVersion;
}

macro_rules! requests {
    ($($request:ident -> $answer:ident = $key:literal v $version:literal),+ $(,)?) => {
        $(impl Request for $request {
            const KEY: i16 = $key;
            const VERSION: i16 = $version;
            type Answer = $answer;
        })+
    };
}

// From Produce 12, TxnOffsetCommit 5 and EndTxn 5 on a broker takes the producer for one of `transaction.version` 2.
requests! {
    ProduceRequest -> ProduceResponse = 0 v 12,
    MetadataRequest -> MetadataResponse = 3 v 12,
    FindCoordinatorRequest -> FindCoordinatorResponse = 10 v 4,
    ApiVersionsRequest -> ApiVersionsResponse = 18 v 4,
    InitProducerIdRequest -> InitProducerIdResponse = 22 v 5,
    EndTxnRequest -> EndTxnResponse = 26 v 5,
    TxnOffsetCommitRequest -> TxnOffsetCommitResponse = 28 v 5,
}

/// A connection. Answers come in the order of requests.
pub(super) struct Connection {
    stream: TcpStream,
    sent: i32,
    answered: i32,
}

impl Connection {
    pub(super) fn open(address: &str, timeout: Duration) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{address} names no host"));
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    return Ok(Self { stream, sent: 0, answered: 0 });
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ask<R: Request>(&mut self, request: &R) -> io::Result<R::Answer> {
        self.send(request)?;
        self.receive::<R>()
    }

    /// Sends a request; its answer is the next but those of the requests before.
    pub(super) fn send<R: Request>(&mut self, request: &R) -> io::Result<()> {
        self.sent = self.sent.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(R::VERSION)
            .with_correlation_id(self.sent)
            .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
        let mut frame = BytesMut::with_capacity(HEAD + request.compute_size(R::VERSION).map_err(invalid)?);
        frame.extend_from_slice(&[0; 4]);
        header.encode(&mut frame, R::header_version(R::VERSION)).map_err(invalid)?;
        request.encode(&mut frame, R::VERSION).map_err(invalid)?;
        let length = i32::try_from(frame.len().saturating_sub(4)).map_err(invalid)?;
        if let Some(prefix) = frame.get_mut(..4) {
            prefix.copy_from_slice(&length.to_be_bytes());
        }
        self.stream.write_all(&frame)
    }

    /// The answer of the oldest request of this kind; it must be the oldest of all.
    pub(super) fn receive<R: Request>(&mut self) -> io::Result<R::Answer> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(invalid)?;
        if length > LARGEST_ANSWER {
            return Err(invalid(format!("an answer of {length} bytes")));
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, R::Answer::header_version(R::VERSION)).map_err(invalid)?;
        self.answered = self.answered.wrapping_add(1);
        if header.correlation_id != self.answered {
            return Err(invalid(format!("answer {} instead of {}", header.correlation_id, self.answered)));
        }
        R::Answer::decode(&mut frame, R::VERSION).map_err(invalid)
    }
}

fn invalid(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}
