//! The reports of each session, as their readers see them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// By session.
pub(crate) type Logs = Arc<BTreeMap<String, Arc<SessionLog>>>;

/// The durable reports of a session, `seq` 1 first, each as its JSON text.
#[derive(Debug)]
pub(crate) struct SessionLog {
    reports: RwLock<Vec<Arc<str>>>,
    last_seq: watch::Sender<u64>,
    /// Number of the connection that is logged on.
    logon: watch::Sender<u64>,
}

impl Default for SessionLog {
    fn default() -> Self {
        Self { reports: RwLock::default(), last_seq: watch::Sender::new(0), logon: watch::Sender::new(0) }
    }
}

impl SessionLog {
    pub(crate) fn push(&self, report: String) {
        self.reports.write().unwrap_or_else(PoisonError::into_inner).push(report.into());
        self.last_seq.send_modify(|last| *last += 1);
    }

    pub(crate) fn last_seq(&self) -> u64 {
        *self.last_seq.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.last_seq.subscribe()
    }

    /// Reports from a seq on, at most `limit`.
    pub(crate) fn from(&self, seq: u64, limit: usize) -> Vec<Arc<str>> {
        let reports = self.reports.read().unwrap_or_else(PoisonError::into_inner);
        let skipped = usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX);
        reports.iter().skip(skipped).take(limit).cloned().collect()
    }

    /// Logs a connection on; whoever was before is replaced. Returns its number and a watch on who is logged on.
    pub(crate) fn log_on(&self) -> (u64, watch::Receiver<u64>) {
        let mut number = 0;
        self.logon.send_modify(|current| {
            *current += 1;
            number = *current;
        });
        (number, self.logon.subscribe())
    }
}
