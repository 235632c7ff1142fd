//! Plain HTTP requests.

use reqwest::RequestBuilder;

use crate::error::AuditError;

/// Characters of an error's body that are shown.
const SHOWN: usize = 500;

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
