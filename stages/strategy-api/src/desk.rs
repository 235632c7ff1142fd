//! Where requests wait for what the stages say: the handlers' side of the topics.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fillstream_schemas::execution::{
    Command, ExecutionStrategySelected, OrderEvent, StrategyRecommendation, StrategyRequest,
};
use tokio::sync::oneshot;

use crate::orders::Orders;

/// Requests that wait to be written; more are refused.
const QUEUE: usize = 4_096;

/// What is written.
#[derive(Debug)]
pub enum Said {
    /// To `execution.strategy-requests.v1`.
    Question(Box<StrategyRequest>),
    /// To `execution.commands.v1`.
    Command(Box<Command>),
}

/// Something to write, and whom to tell that it was.
#[derive(Debug)]
pub struct Outbound {
    /// What.
    pub said: Said,
    /// Why it was not, if it was not.
    pub written: oneshot::Sender<Result<(), String>>,
}

/// Why nothing came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Too many requests wait.
    Busy,
    /// It could not be written, or not surely.
    NotWritten(String),
    /// No answer in time.
    Late,
}

#[derive(Debug, Default)]
struct Waiting {
    questions: BTreeMap<String, oneshot::Sender<StrategyRecommendation>>,
    commands: BTreeMap<String, Vec<oneshot::Sender<OrderEvent>>>,
}

/// Requests under way, and what the topics told.
#[derive(Debug)]
pub struct Desk {
    out: SyncSender<Outbound>,
    waiting: Mutex<Waiting>,
    orders: Mutex<Orders>,
    salt: u64,
    count: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// A desk, and what comes out of it to be written.
    #[must_use]
    pub fn new() -> (Arc<Self>, Receiver<Outbound>) {
        let (out, queue) = sync_channel(QUEUE);
        let (waiting, orders) = (Mutex::default(), Mutex::default());
        // Ids of different processes must differ; nobody has to be unable to guess them.
        let salt = RandomState::new().hash_one(std::process::id());
        (Arc::new(Self { out, waiting, orders, salt, count: AtomicU64::new(0) }), queue)
    }

    /// An id that no other request has.
    pub(crate) fn new_id(&self) -> String {
        format!("{:016x}-{:08x}", self.salt, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes an answer.
    pub fn take_answer(&self, answer: StrategyRecommendation) {
        if let Some(waiter) = locked(&self.waiting).questions.remove(&answer.attempt_id) {
            // Who does not wait any more asks again.
            let _ = waiter.send(answer);
        }
    }

    /// Takes an event of an order.
    pub fn take_event(&self, event: &OrderEvent) {
        let is_answer = locked(&self.orders).take_event(event, Instant::now());
        let Some(id) = event.command_id.as_ref().filter(|_| is_answer) else { return };
        for waiter in locked(&self.waiting).commands.remove(id).into_iter().flatten() {
            let _ = waiter.send(event.clone());
        }
    }

    /// Takes a strategy of an order.
    pub fn take_strategy(&self, strategy: &ExecutionStrategySelected) {
        locked(&self.orders).take_strategy(strategy);
    }

    pub(crate) fn orders(&self) -> MutexGuard<'_, Orders> {
        locked(&self.orders)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        request: StrategyRequest,
        timeout: std::time::Duration,
    ) -> Result<StrategyRecommendation, Silence> {
        let attempt = request.attempt_id.clone();
        let (sender, answer) = oneshot::channel();
        locked(&self.waiting).questions.insert(attempt.clone(), sender);
        let waited = self.say(Said::Question(Box::new(request)), answer, timeout).await;
        locked(&self.waiting).questions.remove(&attempt);
        waited
    }

    /// Sends a command, and waits for the event that answers it.
    pub(crate) async fn command(&self, command: Command, timeout: std::time::Duration) -> Result<OrderEvent, Silence> {
        let id = command.command_id.clone();
        let (sender, answer) = oneshot::channel();
        locked(&self.waiting).commands.entry(id.clone()).or_default().push(sender);
        let waited = self.say(Said::Command(Box::new(command)), answer, timeout).await;
        let mut waiting = locked(&self.waiting);
        if let Some(waiters) = waiting.commands.get_mut(&id) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                waiting.commands.remove(&id);
            }
        }
        waited
    }

    async fn say<T>(
        &self,
        said: Said,
        answer: oneshot::Receiver<T>,
        timeout: std::time::Duration,
    ) -> Result<T, Silence> {
        let (written, told) = oneshot::channel();
        self.out.try_send(Outbound { said, written }).map_err(|e| match e {
            TrySendError::Full(_) => Silence::Busy,
            TrySendError::Disconnected(_) => Silence::NotWritten("the service is stopping".to_owned()),
        })?;
        let gone = || Silence::NotWritten("the service is stopping".to_owned());
        let waited = async {
            told.await.map_err(|_| gone())?.map_err(Silence::NotWritten)?;
            answer.await.map_err(|_| gone())
        };
        tokio::time::timeout(timeout, waited).await.unwrap_or(Err(Silence::Late))
    }
}
