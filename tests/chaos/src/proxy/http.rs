//! A proxy before ClickHouse that understands HTTP/1.1: so that an answer can be lost, or turned into a failure, after the
//! server has done its work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Upstream;

/// What becomes of an insert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// Passed on, answered.
    #[default]
    Right,
    /// Passed on after this time, answered.
    Late(Duration),
    /// Passed on and carried out; the answer is a 500.
    Failure,
    /// Passed on and carried out; the connection ends without an answer.
    Nothing,
    /// Not passed on: the connection ends.
    Refused,
}

#[derive(Debug, Default)]
struct State {
    answering: Mutex<Answering>,
    inserts: AtomicU64,
    disturbed: AtomicU64,
}

/// The way to the server.
#[derive(Clone, Debug)]
pub struct HttpLink {
    name: Arc<str>,
    state: Arc<State>,
}

impl HttpLink {
    pub(super) fn new(name: String) -> Self {
        Self { name: name.into(), state: Arc::default() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What becomes of inserts from now on; other requests pass, except where all are refused.
    pub fn set(&self, answering: Answering) {
        *self.state.answering.lock().unwrap_or_else(PoisonError::into_inner) = answering;
    }

    /// Inserts seen.
    #[must_use]
    pub fn inserts(&self) -> u64 {
        self.state.inserts.load(Ordering::Relaxed)
    }

    /// Requests whose answer was not the server's, or late.
    #[must_use]
    pub fn disturbed(&self) -> u64 {
        self.state.disturbed.load(Ordering::Relaxed)
    }

    fn now(&self) -> Answering {
        *self.state.answering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn serve(listener: TcpListener, upstream: Upstream, link: HttpLink) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(connection(client, upstream.clone(), link.clone()))),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// One request after the other; `None` ends the connection.
async fn connection(mut client: TcpStream, upstream: Upstream, link: HttpLink) -> Option<()> {
    let _ = client.set_nodelay(true);
    let mut server = TcpStream::connect(upstream.get()?).await.ok()?;
    let _ = server.set_nodelay(true);
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    loop {
        let request = message(&mut client, &mut from_client, false).await?;
        let is_insert = is_insert(&request);
        let answering = link.now();
        if is_insert {
            link.state.inserts.fetch_add(1, Ordering::Relaxed);
        }
        let felt = is_insert && answering != Answering::Right || answering == Answering::Refused;
        if felt {
            link.state.disturbed.fetch_add(1, Ordering::Relaxed);
        }
        match answering {
            Answering::Refused => return None,
            Answering::Late(by) if felt => tokio::time::sleep(by).await,
            Answering::Right | Answering::Late(_) | Answering::Failure | Answering::Nothing => {}
        }
        server.write_all(&request).await.ok()?;
        let answer = message(&mut server, &mut from_server, true).await?;
        match answering {
            Answering::Failure if felt => {
                let text = "Code: 999. DB::Exception: the proxy says so. (CHAOS)\n";
                let head =
                    format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                client.write_all(head.as_bytes()).await.ok()?;
            }
            Answering::Nothing if felt => return None,
            Answering::Right | Answering::Late(_) | Answering::Failure | Answering::Nothing | Answering::Refused => {
                client.write_all(&answer).await.ok()?;
            }
        }
    }
}

/// Whether a request asks for rows to be inserted, by its line or its first bytes.
fn is_insert(request: &[u8]) -> bool {
    let head = request.get(..request.len().min(4_096)).unwrap_or_default();
    let text = String::from_utf8_lossy(head).to_ascii_uppercase();
    text.contains("INSERT+INTO") || text.contains("INSERT%20INTO") || text.contains("INSERT INTO")
}

/// A whole message with its body, as it came.
async fn message(stream: &mut (impl AsyncRead + Unpin), pending: &mut Vec<u8>, is_answer: bool) -> Option<Vec<u8>> {
    let head = loop {
        if let Some(end) = find(pending, b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, pending).await?;
    };
    let text = String::from_utf8_lossy(pending.get(..head)?).to_ascii_lowercase();
    let end = match body(&text, is_answer) {
        Body::Sized(length) => {
            while pending.len() < head + length {
                more(stream, pending).await?;
            }
            head + length
        }
        Body::Chunked => loop {
            if let Some(length) = chunks(pending.get(head..)?) {
                break head + length;
            }
            more(stream, pending).await?;
        },
        Body::ToTheEnd => {
            while more(stream, pending).await.is_some() {}
            pending.len()
        }
    };
    let rest = pending.split_off(end);
    Some(std::mem::replace(pending, rest))
}

enum Body {
    Sized(usize),
    Chunked,
    ToTheEnd,
}

fn body(head: &str, is_answer: bool) -> Body {
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("transfer-encoding:").is_some_and(|v| v.contains("chunked")) {
        return Body::Chunked;
    }
    match field("content-length:").and_then(|v| v.parse().ok()) {
        Some(length) => Body::Sized(length),
        None if is_answer && !head.contains(" 204 ") => Body::ToTheEnd,
        None => Body::Sized(0),
    }
}

/// Bytes of a chunked body, once it is whole; trailers are not used by anybody here.
fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(bytes.get(at..)?, b"\r\n")?;
        let size = std::str::from_utf8(bytes.get(at..at + line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        let next = at + line + 2 + size + 2;
        if bytes.len() < next {
            return None;
        }
        at = next;
        if size == 0 {
            return Some(at);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

async fn more(stream: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
    into.extend(buffer.get(..n)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_cut_where_they_end() {
        let sized = "POST /?query=INSERT+INTO+t HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let chunked =
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
        let bare = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n";
        let all = [sized, chunked, bare].concat();
        let (mut stream, mut pending) = (all.as_bytes(), Vec::new());
        for expected in [sized, chunked, bare] {
            let found = message(&mut stream, &mut pending, false).await.unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
        assert_eq!(message(&mut stream, &mut pending, false).await, None);
        assert!(is_insert(sized.as_bytes()) && !is_insert(bare.as_bytes()));
    }
}
