//! One HTTP request at a time.

use std::time::Duration;

use anyhow::Context as _;

/// Status and body of a GET.
///
/// # Errors
/// No answer.
pub fn get(url: &str) -> anyhow::Result<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let answer = http.get(url).send().await.with_context(|| url.to_owned())?;
        Ok((answer.status().as_u16(), answer.text().await.with_context(|| url.to_owned())?))
    })
}
