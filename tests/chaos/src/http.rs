//! One HTTP request at a time, without a client of anybody else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::error::ChaosError;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Address and path of an `http://` URL.
fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    Some(rest.find('/').map_or((rest, "/"), |at| rest.split_at(at)))
}

/// The port of an `http://host:port` URL.
pub(crate) fn port(url: &str) -> Option<u16> {
    parts(url)?.0.rsplit_once(':')?.1.parse().ok()
}

/// The URL with another port.
pub(crate) fn with_port(url: &str, port: u16) -> Option<String> {
    let (host, path) = parts(url)?;
    let path = if path == "/" { "" } else { path };
    Some(format!("http://{}:{port}{path}", host.rsplit_once(':').map_or(host, |(name, _)| name)))
}

/// Status and body.
///
/// # Errors
/// No answer, or none of HTTP.
pub(crate) fn ask(method: &str, url: &str, body: &str) -> Result<(u16, String), ChaosError> {
    let failed = || ChaosError::io(format!("{method} {url}"));
    let wrong = |detail: &str| ChaosError::Answer { what: url.to_owned(), detail: detail.to_owned() };
    let (host, path) = parts(url).ok_or_else(|| wrong("it is no http address"))?;
    let mut stream = TcpStream::connect(host).map_err(failed())?;
    stream.set_read_timeout(Some(TIMEOUT)).and_then(|()| stream.set_write_timeout(Some(TIMEOUT))).map_err(failed())?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(failed())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(failed())?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| wrong("it has no head"))?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| wrong("it has no status"))?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_exchanged_and_paths_stay() {
        let url = "http://127.0.0.1:8081/apis/ccompat/v7";
        assert_eq!(port(url), Some(8081));
        assert_eq!(with_port(url, 9).as_deref(), Some("http://127.0.0.1:9/apis/ccompat/v7"));
        assert_eq!(with_port("http://127.0.0.1:8123", 9).as_deref(), Some("http://127.0.0.1:9"));
    }
}
