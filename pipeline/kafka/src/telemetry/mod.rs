//! Spans to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Spans are told after the transaction that they are about is committed: what was aborted never happened. Who tells them
//! never waits: they go into a bounded queue, which a thread of its own empties; what does not fit, or what the collector
//! does not take, is dropped and counted. A lost span never costs more than a gap in a picture.

mod otlp;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fillstream_core::trace::{Sampler, Span};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};

use crate::observe::{Counter, Metric, Metrics};

/// Most spans that wait.
const QUEUE: usize = 65_536;
/// Most spans of a request; a commit's spans stay together.
const REQUEST: usize = 2_048;
/// How long spans wait for others.
const LINGER: Duration = Duration::from_millis(500);
/// How often the thread looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for an answer of the collector.
const ANSWER: Duration = Duration::from_secs(5);
/// Attempts of a request.
const ATTEMPTS: u32 = 3;
/// How long the end waits until what is left is told.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Base address of the collector's OTLP/HTTP receiver, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Traces that are told.
    pub sampler: Sampler,
    /// `service.instance.id`.
    pub instance: String,
    /// `service.version`.
    pub version: String,
}

/// Spans of one commit.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) service: Arc<str>,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    /// Name of the attribute that the key of a span becomes.
    pub(crate) key_is: &'static str,
    pub(crate) spans: Vec<Span>,
}

struct Inner {
    sampler: Sampler,
    to: Sender<Told>,
    queued: AtomicUsize,
    /// When everything must be over, once it shall end.
    ends: OnceLock<Instant>,
    dropped: Counter,
}

/// Where committed spans are told. Cheap to clone; the default tells nobody.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

impl Tracer {
    /// Tells nobody.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Traces whose spans are wanted.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        self.0.as_ref().map_or(Sampler::OFF, |inner| inner.sampler)
    }

    /// Tells the spans of a commit, between two OS times in microseconds. Never waits.
    pub fn tell(&self, service: &Arc<str>, (start_us, end_us): (i64, i64), spans: Vec<Span>) {
        self.tell_keyed("messaging.kafka.message.key", service, (start_us, end_us), spans);
    }

    /// As [`tell`](Self::tell), for spans whose key is what the attribute `key_is` says.
    pub fn tell_keyed(
        &self,
        key_is: &'static str,
        service: &Arc<str>,
        (start_us, end_us): (i64, i64),
        spans: Vec<Span>,
    ) {
        let Some(inner) = self.0.as_ref().filter(|_| !spans.is_empty()) else { return };
        let count = spans.len();
        let told = Told { service: Arc::clone(service), start_us, end_us, key_is, spans };
        let fits = inner.queued.fetch_add(count, Ordering::Relaxed).saturating_add(count) <= QUEUE;
        if !fits || inner.to.send(told).is_err() {
            inner.queued.fetch_sub(count, Ordering::Relaxed);
            inner.dropped.add(count);
        }
    }
}

/// The thread that tells a collector; dropped, it tells what is left and ends.
pub struct Exporter {
    tracer: Tracer,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Starts it.
    ///
    /// # Errors
    /// In words: the client cannot be made.
    pub fn start(config: TelemetryConfig, metrics: &Metrics) -> Result<Self, String> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| format!("a runtime: {e}"))?;
        let client = Client::builder().timeout(ANSWER).build().map_err(|e| format!("an HTTP client: {e}"))?;
        let (to, from) = mpsc::channel();
        let dropped = |reason: &str| metrics.counter(Metric::SpansDropped, &[("reason", reason)]);
        let inner = Arc::new(Inner {
            sampler: config.sampler,
            to,
            queued: AtomicUsize::new(0),
            ends: OnceLock::new(),
            dropped: dropped("queue_full"),
        });
        let sender = Post {
            url: format!("{}/v1/traces", config.endpoint.trim_end_matches('/')),
            config,
            runtime,
            client,
            exported: metrics.counter(Metric::SpansExported, &[]),
            refused: dropped("not_accepted"),
            failing: false,
        };
        let shared = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("telemetry".into()).spawn(move || export(&shared, &from, sender));
        let thread = thread.map_err(|e| format!("a thread: {e}"))?;
        Ok(Self { tracer: Tracer(Some(inner)), thread: Some(thread) })
    }

    /// Where spans are told.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(inner) = &self.tracer.0 {
            inner.ends.get_or_init(|| Instant::now() + FAREWELL);
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread that tells spans panicked");
        }
    }
}

fn export(inner: &Inner, from: &Receiver<Told>, mut sender: Post) {
    let mut held: Vec<Told> = Vec::new();
    let (mut count, mut since) = (0_usize, Instant::now());
    loop {
        let ends = inner.ends.get();
        let (stopping, over) = (ends.is_some(), ends.is_some_and(|at| Instant::now() >= *at));
        let taken = if stopping { from.recv_timeout(Duration::ZERO) } else { from.recv_timeout(LOOK) };
        match taken {
            Ok(told) => {
                if held.is_empty() {
                    since = Instant::now();
                }
                inner.queued.fetch_sub(told.spans.len(), Ordering::Relaxed);
                count = count.saturating_add(told.spans.len());
                held.push(told);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) if stopping => {
                sender.post(std::mem::take(&mut held), inner);
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The one sender lives as long as this.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if count >= REQUEST || (!held.is_empty() && since.elapsed() >= LINGER) || over {
            sender.post(std::mem::take(&mut held), inner);
            count = 0;
        }
        if over {
            // What is left is lost with the process; it is counted all the same.
            inner.dropped.add(inner.queued.load(Ordering::Relaxed));
            return;
        }
    }
}

/// How a request ended that was not taken.
enum Refusal {
    /// It may be taken later.
    Later(String),
    /// Never.
    Never(String),
}

struct Post {
    url: String,
    config: TelemetryConfig,
    runtime: Runtime,
    client: Client,
    exported: Counter,
    refused: Counter,
    failing: bool,
}

impl Post {
    fn post(&mut self, told: Vec<Told>, inner: &Inner) {
        let spans: usize = told.iter().map(|t| t.spans.len()).sum();
        if spans == 0 {
            return;
        }
        let body = otlp::request(&told, &self.config.instance, &self.config.version);
        let mut wait = Duration::from_millis(200);
        for attempt in 1..=ATTEMPTS {
            let text = match self.runtime.block_on(self.in_time(body.clone(), inner)) {
                Ok(rejected) => {
                    let rejected = usize::try_from(rejected).unwrap_or(spans).min(spans);
                    self.exported.add(spans.saturating_sub(rejected));
                    self.refused.add(rejected);
                    if std::mem::take(&mut self.failing) {
                        info!(url = self.url, "the collector takes spans again");
                    }
                    return;
                }
                Err(Refusal::Later(text)) if attempt < ATTEMPTS && inner.ends.get().is_none() => {
                    std::thread::sleep(wait);
                    wait = wait.saturating_mul(3);
                    text
                }
                Err(Refusal::Later(text) | Refusal::Never(text)) => {
                    self.refused.add(spans);
                    if !std::mem::replace(&mut self.failing, true) {
                        warn!(url = self.url, text, "the collector does not take spans: they are dropped");
                    }
                    return;
                }
            };
            tracing::debug!(url = self.url, attempt, text, "spans again");
        }
    }

    /// One attempt, given up when everything must be over.
    async fn in_time(&self, body: Vec<u8>, inner: &Inner) -> Result<u64, Refusal> {
        let over = async {
            while inner.ends.get().is_none_or(|at| Instant::now() < *at) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            answer = self.once(body) => answer,
            () = over => Err(Refusal::Never("the process ends".to_owned())),
        }
    }

    async fn once(&self, body: Vec<u8>) -> Result<u64, Refusal> {
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let answer = request.send().await.map_err(|e| Refusal::Later(e.to_string()))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|e| Refusal::Later(e.to_string()))?;
        if status.is_success() {
            return Ok(otlp::rejected(&bytes));
        }
        let text = format!("{status}: {}", String::from_utf8_lossy(bytes.get(..200).unwrap_or(&bytes)));
        // As the protocol has it.
        let later = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        Err(if later.contains(&status) { Refusal::Later(text) } else { Refusal::Never(text) })
    }
}

#[cfg(test)]
mod tests;
