//! The stream of a broker's reports, kept open by a task of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::standing::{Standing, Voice};
use crate::adapter::{BrokerAdapter, BrokerReport, Inbox, StreamEnd};
use crate::error::GatewayError;

/// Reports kept ready in memory; a broker that says more waits.
const QUEUE: usize = 4_096;
const BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The reports of a session from one sequence number on, in order and without gaps.
pub(crate) struct ReportStream {
    session: String,
    queue: mpsc::Receiver<BrokerReport>,
    // How the stream ended for good.
    ended: watch::Receiver<Option<(StreamEnd, i64)>>,
    // Counts the times that another connection took the session.
    replaced: watch::Receiver<u64>,
    replaced_seen: u64,
    task: JoinHandle<()>,
    voice: Voice,
    runtime: Handle,
}

impl Drop for ReportStream {
    fn drop(&mut self) {
        self.voice.silence();
        self.task.abort();
    }
}

impl ReportStream {
    /// Opens the stream from `from` on.
    pub(crate) fn open<A: BrokerAdapter>(
        runtime: &Handle,
        adapter: Arc<A>,
        session: &str,
        from: i64,
        standing: &Arc<Standing>,
    ) -> Self {
        let (into, queue) = mpsc::channel(QUEUE);
        let voice = Voice::new(Arc::clone(standing));
        let (opens, closes) = (voice.clone(), voice.clone());
        let inbox = Inbox::new(into, move || opens.opened());
        let (end, ended) = watch::channel(None);
        let (taken, replaced) = watch::channel(0_u64);
        let name = session.to_owned();
        let task = runtime.spawn(async move {
            let (mut next, mut backoff) = (from, BACKOFF);
            loop {
                let before = next;
                match adapter.reports(&mut next, &inbox).await {
                    StreamEnd::Closed { text } => {
                        debug!(session = name, next, text, "the stream of reports is closed");
                        closes.closed(format!("the stream of reports is closed: {text}"));
                    }
                    StreamEnd::Replaced => {
                        warn!(session = name, next, "another connection took the session's reports");
                        closes.closed("another connection took the session's reports".to_owned());
                        taken.send_modify(|count| *count = count.saturating_add(1));
                    }
                    StreamEnd::Unwanted => return,
                    last @ (StreamEnd::TooFar { .. } | StreamEnd::Malformed { .. }) => {
                        end.send_replace(Some((last, next)));
                        return;
                    }
                }
                backoff = if next > before { BACKOFF } else { backoff.saturating_mul(2).min(MAX_BACKOFF) };
                tokio::time::sleep(backoff).await;
                info!(session = name, next, "the stream of reports is opened again");
            }
        });
        let session = session.to_owned();
        Self { session, queue, ended, replaced, replaced_seen: 0, task, voice, runtime: runtime.clone() }
    }

    /// The next report that is here already.
    ///
    /// # Errors
    /// The stream has ended for good.
    pub(crate) fn take(&mut self) -> Result<Option<BrokerReport>, GatewayError> {
        match self.queue.try_recv() {
            Ok(report) => Ok(Some(report)),
            Err(_) => self.check().map(|()| None),
        }
    }

    /// Waits a while for the next report.
    ///
    /// # Errors
    /// The stream has ended for good.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Result<Option<BrokerReport>, GatewayError> {
        let queue = &mut self.queue;
        let waited = self.runtime.block_on(async { tokio::time::timeout(at_most, queue.recv()).await });
        match waited {
            Ok(Some(report)) => Ok(Some(report)),
            Ok(None) | Err(_) => self.check().map(|()| None),
        }
    }

    /// Whether another connection took the session since the last time this was asked.
    pub(crate) fn was_replaced(&mut self) -> bool {
        let count = *self.replaced.borrow();
        let news = count != self.replaced_seen;
        self.replaced_seen = count;
        news
    }

    fn check(&self) -> Result<(), GatewayError> {
        let session = self.session.clone();
        match &*self.ended.borrow() {
            Some((StreamEnd::TooFar { last_seq }, next)) => {
                Err(GatewayError::BrokerForgot { session, last: *last_seq, ours: next.saturating_sub(1) })
            }
            Some((end, next)) => {
                Err(GatewayError::BadReport { session, after: next.saturating_sub(1), text: format!("{end:?}") })
            }
            None if self.task.is_finished() => Err(GatewayError::Panicked { session }),
            None => Ok(()),
        }
    }
}
