//! The process: one worker that owns venue and journal, and the sockets around it.

mod core;
mod log;

pub(crate) use self::core::{Answer, Ask};
pub(crate) use log::{Logs, SessionLog};

use self::core::Core;
use crate::VenueError;
use crate::config::VenueConfig;
use crate::journal::Offsets;
use crate::request::{Refusal, RefusalCode};
use fillstream_domain::TimestampMicros;
use fillstream_market::MarketSource;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests waiting for the worker; more wait in their connections.
const QUEUE: usize = 1_024;
/// Most requests in one group of the journal.
const GROUP: usize = 256;

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// What the handlers of the API share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) logs: Logs,
    pub(crate) journal: PathBuf,
    pub(crate) offsets: Offsets,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Runs the venue until `shutdown` is done. It restores itself from its journal before it answers.
///
/// `market` must be at its first row: a restart runs it again. Live, it must be anchored where it was before
/// ([`recorded_session_start`](crate::recorded_session_start)).
///
/// # Errors
/// Configuration, journal or market is faulty, or a socket failed.
pub async fn serve(
    config: VenueConfig,
    market: Box<dyn MarketSource>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), VenueError> {
    config.engine.validate()?;
    let journal = config.journal.clone();
    let restored = tokio::task::spawn_blocking(move || Core::restore(&config, market)).await;
    let core = restored.map_err(|_| VenueError::WorkerGone)??;
    let (commands, queue) = mpsc::channel(QUEUE);
    let (stop, stopping) = watch::channel(false);
    let shared = Shared { commands, logs: core.logs(), journal, offsets: core.journal_offsets(), stopping };
    let (worker_done, worker_ended) = oneshot::channel::<()>();
    let worker = tokio::task::spawn_blocking(move || {
        let result = work(core, queue);
        drop(worker_done);
        result
    });
    let ending = async move {
        tokio::select! {
            () = shutdown => {},
            _ = worker_ended => {},
        }
        stop.send_replace(true);
    };
    let served = axum::serve(listener, crate::api::router(shared)).with_graceful_shutdown(ending).await;
    // The router, and with it the last sender of commands, is gone: the worker ends.
    let worked = worker.await.map_err(|_| VenueError::WorkerGone)?;
    worked.and(served.map_err(VenueError::Serve))
}

/// The worker: takes what waits as one group, makes it durable with one fsync, then answers.
fn work(mut core: Core, mut queue: mpsc::Receiver<Command>) -> Result<(), VenueError> {
    let runtime = tokio::runtime::Handle::current();
    loop {
        let wake = core.next_wake()?;
        let first = runtime.block_on(next_command(&mut queue, wake));
        let mut group = match first {
            Waited::Command(command) => vec![command],
            Waited::Wake => Vec::new(),
            Waited::Closed => return Ok(()),
        };
        while group.len() < GROUP
            && let Ok(command) = queue.try_recv()
        {
            group.push(command);
        }
        let now = core.not_before_clock(os_now());
        let mut answers = Vec::with_capacity(group.len());
        let run = || {
            core.wake(now)?;
            for Command { ask, reply } in group {
                answers.push((reply, core.handle(ask, now)?));
            }
            core.commit()
        };
        if let Err(error) = run() {
            // Requests that were not handled see their reply dropped, which the API answers alike.
            let refusal = Refusal::new(RefusalCode::JournalFailed, "the venue failed; ask for the status");
            for (reply, _) in answers {
                let _ = reply.send(Answer::refused(&refusal));
            }
            let cause: &dyn std::error::Error = &error;
            tracing::error!(error = cause, "the venue stops");
            return Err(error);
        }
        for (reply, answer) in answers {
            // A client that went away finds its answer by the status query.
            let _ = reply.send(answer);
        }
    }
}

enum Waited {
    Command(Command),
    Wake,
    Closed,
}

async fn next_command(queue: &mut mpsc::Receiver<Command>, wake: Option<TimestampMicros>) -> Waited {
    let received = |command: Option<Command>| command.map_or(Waited::Closed, Waited::Command);
    let Some(wake) = wake else { return received(queue.recv().await) };
    let micros = wake.micros().saturating_sub(os_now().micros());
    let wait = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    match tokio::time::timeout(wait, queue.recv()).await {
        Ok(command) => received(command),
        Err(_) => Waited::Wake,
    }
}

/// The clock of the operating system.
fn os_now() -> TimestampMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_micros());
    TimestampMicros::from_micros(since.ok().and_then(|micros| i64::try_from(micros).ok()).unwrap_or(0))
}
