//! Publishes market rows when their time comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::bail;
use fillstream_domain::TimestampMicros;
use fillstream_market::MarketSource;

use crate::bus::{Writer, now_us};

const MARKET: &str = "market.data.v1";
const STEP: Duration = Duration::from_millis(20);

/// The thread that publishes; it stops with this value.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Feed {
    /// Publishes what is past at once, in this thread, and the rest as its time comes.
    ///
    /// # Errors
    /// The market is damaged, or the cluster does not take a row.
    pub fn start(mut source: Box<dyn MarketSource + Send>, mut writer: Writer) -> anyhow::Result<Self> {
        publish(&mut *source, &mut writer)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("market feed".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) && source.peek_time()?.is_some() {
                publish(&mut *source, &mut writer)?;
                std::thread::park_timeout(STEP);
            }
            Ok(())
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Whether it still publishes.
    ///
    /// # Errors
    /// It ended: why.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if self.thread.as_ref().is_some_and(|t| !t.is_finished()) {
            return Ok(());
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(e))) => Err(e.context("market feed")),
            Some(Err(_)) => bail!("the market feed panicked"),
            Some(Ok(Ok(()))) | None => bail!("the market is over"),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn publish(source: &mut dyn MarketSource, writer: &mut Writer) -> anyhow::Result<()> {
    let rows = source.advance_to(TimestampMicros::from_micros(now_us()))?;
    for row in &rows {
        writer.send(MARKET, row)?;
    }
    if rows.is_empty() { Ok(()) } else { writer.flush() }
}
