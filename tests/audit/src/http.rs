//! Plain HTTP requests.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};

use crate::error::AuditError;

/// Characters of an error's body that are shown.
const SHOWN: usize = 500;

/// Longest wait for a connection, and for the next part of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(60);

/// A client that does not wait for ever.
pub(crate) fn client() -> Result<Client, AuditError> {
    let built = Client::builder().connect_timeout(CONNECT).read_timeout(READ).build();
    built.map_err(|source| AuditError::Http { url: "http client".to_owned(), source })
}

/// Longest wait for a small answer, and how often a lost one is asked for.
const SMALL: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 6;

/// The body of a small good answer. A registry may lose a request (Apicurio 3.3.3 does, about one connection in
/// 50,000), so silence is answered by asking on another connection.
pub(crate) async fn small(url: &str) -> Result<String, AuditError> {
    for _ in 1..ATTEMPTS {
        match text(url, client()?.get(url).timeout(SMALL)).await {
            Err(AuditError::Http { source, .. }) if source.is_timeout() => {}
            told => return told,
        }
    }
    text(url, client()?.get(url).timeout(SMALL)).await
}

/// The body of a good answer.
pub(crate) async fn text(url: &str, request: RequestBuilder) -> Result<String, AuditError> {
    let failed = |source: reqwest::Error| AuditError::Http { url: url.to_owned(), source: source.without_url() };
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let body = answer.text().await.map_err(failed)?;
    if status.is_success() {
        return Ok(body);
    }
    let body = body.chars().take(SHOWN).collect();
    Err(AuditError::Refused { url: url.to_owned(), status: status.as_u16(), body })
}
