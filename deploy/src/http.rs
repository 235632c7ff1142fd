//! A minimal HTTP client for probes on the loopback: one request a connection, bodies of at most a megabyte.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const MAX_RESPONSE: u64 = 1 << 20;

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// An `http://` or `https://` address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) tls: bool,
    /// `host` or `host:port`, as written.
    authority: &'a str,
    /// Path without a slash at its end.
    path: &'a str,
}

impl<'a> Url<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err(format!("{text} is not an http:// or https:// address"));
        };
        let split = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        // Credentials are the client's business; a probe goes without.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if authority.is_empty() {
            return Err(format!("{text} names no host"));
        }
        Ok(Self { tls, authority, path: path.trim_end_matches('/') })
    }

    /// `host:port`, with the scheme's port when none is written.
    pub(crate) fn host_and_port(&self) -> String {
        let after_brackets = self.authority.rsplit(']').next().unwrap_or(self.authority);
        if after_brackets.contains(':') {
            self.authority.to_owned()
        } else {
            format!("{}:{}", self.authority, if self.tls { 443 } else { 80 })
        }
    }
}

/// Opens a connection to the first address of `host:port` that accepts one.
pub(crate) fn connect(host_and_port: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in host_and_port.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends a request below `base` (a plain `http://` address) and reads the whole answer.
///
/// # Errors
/// One line for whoever waits: no connection, no answer in time, or no HTTP.
pub(crate) fn request(
    method: &str,
    base: &str,
    path: &str,
    body: Option<&str>,
    timeout: Duration,
) -> Result<Response, String> {
    let url = Url::parse(base)?;
    exchange(method, &url, path, body, timeout).map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            format!("no answer within {} ms", timeout.as_millis())
        } else {
            error.to_string()
        }
    })
}

fn exchange(method: &str, url: &Url<'_>, path: &str, body: Option<&str>, timeout: Duration) -> io::Result<Response> {
    let mut stream = connect(&url.host_and_port(), timeout)?;
    let body = body.unwrap_or_default();
    // HTTP/1.0: the answer ends with the connection and is never chunked.
    let head = format!(
        "{method} {}{path} HTTP/1.0\r\nHost: {}\r\nAccept: */*\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        url.path,
        url.authority,
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut answer)?;
    parse_response(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse_response(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    let status = words.next()?.parse().ok()?;
    Some(Response { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn addresses_are_taken_apart() {
        let url = Url::parse("http://127.0.0.1:8081/apis/ccompat/v7/").unwrap();
        assert_eq!((url.host_and_port().as_str(), url.path), ("127.0.0.1:8081", "/apis/ccompat/v7"));
        assert_eq!(Url::parse("https://user:secret@h").unwrap().host_and_port(), "h:443");
        assert_eq!(Url::parse("http://[::1]").unwrap().host_and_port(), "[::1]:80");
        assert!(Url::parse("localhost:8081").is_err());
        assert!(Url::parse("http:///path").is_err());
    }

    #[test]
    fn a_request_reaches_the_server_and_its_answer_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/base", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = vec![0; 4096];
            let mut len = 0;
            while !seen[..len].ends_with(b"{}") {
                len += stream.read(&mut seen[len..]).unwrap();
            }
            stream.write_all(b"HTTP/1.1 409 Conflict\r\nX: y\r\n\r\nno").unwrap();
            String::from_utf8(seen[..len].to_vec()).unwrap()
        });
        let answer = request("PUT", &base, "/config", Some("{}"), Duration::from_secs(5)).unwrap();
        assert_eq!(answer, Response { status: 409, body: "no".into() });
        let seen = server.join().unwrap();
        assert!(seen.starts_with("PUT /base/config HTTP/1.0\r\n") && seen.contains("Content-Length: 2\r\n"), "{seen}");
    }

    #[test]
    fn other_protocols_are_no_answer() {
        assert_eq!(parse_response("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse_response("HTTP/1.1 200 OK\r\n\r\n"), Some(Response { status: 200, body: String::new() }));
    }
}
