//! The pacer's side of the venue's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::runtime::Runtime;

/// Drives the clock of a paced venue.
pub struct VenueClock {
    url: String,
    http: reqwest::Client,
    runtime: Runtime,
    state: State,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct State {
    sessions: BTreeMap<String, i64>,
    next_event_at: Option<i64>,
}

impl VenueClock {
    /// Connects to the venue at `url`.
    ///
    /// # Errors
    /// It does not answer.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let mut clock = Self { url: format!("{url}/v1/clock"), http, runtime, state: State::default() };
        clock.refresh()?;
        Ok(clock)
    }

    /// Last outbound sequence number of each session.
    #[must_use]
    pub fn seqs(&self) -> &BTreeMap<String, i64> {
        &self.state.sessions
    }

    /// Nothing happens at the venue before this time without a new order, microseconds.
    #[must_use]
    pub fn next_event_at(&self) -> Option<i64> {
        self.state.next_event_at
    }

    /// Moves the venue to `instant`.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn advance(&mut self, instant: i64, sequence: i64) -> anyhow::Result<()> {
        let body = serde_json::json!({ "instant": instant, "sequence": sequence });
        self.ask(self.http.post(&self.url).json(&body))
    }

    /// Asks again, after orders were sent.
    ///
    /// # Errors
    /// It does not answer.
    pub fn refresh(&mut self) -> anyhow::Result<()> {
        self.ask(self.http.get(&self.url))
    }

    fn ask(&mut self, request: reqwest::RequestBuilder) -> anyhow::Result<()> {
        self.state = self.runtime.block_on(async {
            let answer = request.send().await.context("venue clock")?;
            let status = answer.status();
            let text = answer.text().await.context("venue clock")?;
            anyhow::ensure!(status.is_success(), "venue clock: {status}: {text}");
            serde_json::from_str(&text).context("venue clock")
        })?;
        Ok(())
    }
}
