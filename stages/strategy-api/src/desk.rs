//! Where requests wait for what the stages say: the handlers' side of the topics.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fillstream_kafka::observe::Metrics;
use fillstream_schemas::execution::{
    Command, ExecutionStrategySelected, OrderEvent, StrategyRecommendation, StrategyRequest,
};
use tokio::sync::oneshot;

use crate::measure::Waits;
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

#[derive(Debug)]
struct Waiting<T> {
    waiters: BTreeMap<String, Vec<oneshot::Sender<T>>>,
    seen: Waits,
}

impl<T: Clone> Waiting<T> {
    fn new(seen: Waits) -> Self {
        Self { waiters: BTreeMap::new(), seen }
    }

    fn begin(&mut self, id: &str) -> oneshot::Receiver<T> {
        let (sender, answer) = oneshot::channel();
        self.waiters.entry(id.to_owned()).or_default().push(sender);
        self.seen.open(self.waiters.len());
        answer
    }

    fn answer(&mut self, id: &str, answer: &T) {
        for waiter in self.waiters.remove(id).into_iter().flatten() {
            // Who does not wait any more asks again.
            let _ = waiter.send(answer.clone());
        }
        self.seen.open(self.waiters.len());
        self.seen.answered(id);
    }

    /// Forgets those who do not wait any more.
    fn end(&mut self, id: &str) {
        let Some(waiters) = self.waiters.get_mut(id) else { return };
        let before = waiters.len();
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.len() < before {
            self.seen.given_up(id.to_owned());
        }
        if waiters.is_empty() {
            self.waiters.remove(id);
        }
        self.seen.open(self.waiters.len());
    }
}

/// Ends a wait, also that of a request whose sender went away.
struct Wait<'a, T: Clone> {
    of: &'a Mutex<Waiting<T>>,
    id: String,
}

impl<'a, T: Clone> Wait<'a, T> {
    fn begin(of: &'a Mutex<Waiting<T>>, id: &str) -> (Self, oneshot::Receiver<T>) {
        let answer = locked(of).begin(id);
        (Self { of, id: id.to_owned() }, answer)
    }
}

impl<T: Clone> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        locked(self.of).end(&self.id);
    }
}

/// Requests under way, and what the topics told.
#[derive(Debug)]
pub struct Desk {
    out: SyncSender<Outbound>,
    questions: Mutex<Waiting<StrategyRecommendation>>,
    commands: Mutex<Waiting<OrderEvent>>,
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
    pub fn new(metrics: &Metrics) -> (Arc<Self>, Receiver<Outbound>) {
        let (out, queue) = sync_channel(QUEUE);
        let questions = Mutex::new(Waiting::new(Waits::new(metrics, "question")));
        let commands = Mutex::new(Waiting::new(Waits::new(metrics, "command")));
        // Ids of different processes must differ; nobody has to be unable to guess them.
        let salt = RandomState::new().hash_one(std::process::id());
        let desk = Self { out, questions, commands, orders: Mutex::default(), salt, count: AtomicU64::new(0) };
        (Arc::new(desk), queue)
    }

    /// An id that no other request has.
    pub(crate) fn new_id(&self) -> String {
        format!("{:016x}-{:08x}", self.salt, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes an answer.
    pub fn take_answer(&self, answer: &StrategyRecommendation) {
        locked(&self.questions).answer(&answer.attempt_id, answer);
    }

    /// Takes an event of an order.
    pub fn take_event(&self, event: &OrderEvent) {
        let is_answer = locked(&self.orders).take_event(event, Instant::now());
        if let Some(id) = event.command_id.as_ref().filter(|_| is_answer) {
            locked(&self.commands).answer(id, event);
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
        let (_wait, answer) = Wait::begin(&self.questions, &request.attempt_id);
        self.say(Said::Question(Box::new(request)), answer, timeout).await
    }

    /// Sends a command, and waits for the event that answers it.
    pub(crate) async fn command(&self, command: Command, timeout: std::time::Duration) -> Result<OrderEvent, Silence> {
        let (_wait, answer) = Wait::begin(&self.commands, &command.command_id);
        self.say(Said::Command(Box::new(command)), answer, timeout).await
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
