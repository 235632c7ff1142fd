//! An EndTxn that arrives late (KAFKA-17754): held until its retry has succeeded and the next transaction has begun.
//!
//! The coordinator tells an EndTxn of an old client from another only by producer id and epoch, so one that was delayed in
//! the network ends whatever transaction is open when it arrives.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::frame::{ADD_PARTITIONS_TO_TXN, END_TXN, Head, PRODUCE};

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldStage {
    /// Nothing is held.
    #[default]
    Idle,
    /// The next EndTxn will be.
    Armed,
    /// One is held.
    Held,
    /// The client has sent it again.
    Retried,
    /// The next transaction of the same id has partitions.
    NextBegun,
    /// A record of it went out: the held one may go.
    Due,
    /// It went.
    Released,
}

#[derive(Debug, Default)]
struct State {
    stage: HoldStage,
    transactional_id: Option<String>,
    only: Option<String>,
}

/// What becomes of a request.
pub(super) enum Verdict {
    Pass,
    Hold,
}

/// Shared by all links of a process: its retry may go to another node.
#[derive(Debug)]
pub struct HeldEndTxn {
    state: Mutex<State>,
    due: watch::Sender<bool>,
    behind: Duration,
}

impl Default for HeldEndTxn {
    fn default() -> Self {
        Self::released_behind(Duration::from_millis(10))
    }
}

impl HeldEndTxn {
    /// One that goes so long after the first record of the next transaction went out. Earlier than the node has that record
    /// it would end an empty transaction, later perhaps none.
    #[must_use]
    pub fn released_behind(behind: Duration) -> Self {
        Self { state: Mutex::default(), due: watch::Sender::new(false), behind }
    }

    /// Holds the next EndTxn, of this transactional id if one is given.
    pub fn arm(&self, transactional_id: Option<&str>) {
        let only = transactional_id.map(str::to_owned);
        *self.lock() = State { stage: HoldStage::Armed, only, transactional_id: None };
        self.due.send_replace(false);
    }

    /// Lets go of what is held, and holds nothing more. How far it was.
    pub fn disarm(&self) -> HoldStage {
        let stage = std::mem::take(&mut *self.lock()).stage;
        self.due.send_replace(true);
        stage
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> HoldStage {
        self.lock().stage
    }

    /// Whose EndTxn is held.
    #[must_use]
    pub fn transactional_id(&self) -> Option<String> {
        self.lock().transactional_id.clone()
    }

    pub(super) fn meets(&self, head: &Head) -> Verdict {
        let mut state = self.lock();
        let ours = state.transactional_id.is_some() && state.transactional_id == head.transactional_id;
        let wanted = state.only.is_none() || state.only == head.transactional_id;
        match (state.stage, head.api) {
            (HoldStage::Armed, END_TXN) if wanted && head.transactional_id.is_some() => {
                state.stage = HoldStage::Held;
                state.transactional_id.clone_from(&head.transactional_id);
                return Verdict::Hold;
            }
            (HoldStage::Held, END_TXN) if ours => state.stage = HoldStage::Retried,
            (HoldStage::Retried, ADD_PARTITIONS_TO_TXN) if ours => state.stage = HoldStage::NextBegun,
            (HoldStage::NextBegun, PRODUCE) if ours => {
                state.stage = HoldStage::Due;
                self.due.send_replace(true);
            }
            _ => {}
        }
        Verdict::Pass
    }

    pub(super) async fn released(&self) {
        let mut due = self.due.subscribe();
        // The sender lives as long as this.
        let _ = due.wait_for(|due| *due).await;
        tokio::time::sleep(self.behind).await;
    }

    pub(super) fn sent(&self) {
        let mut state = self.lock();
        if state.stage == HoldStage::Due {
            state.stage = HoldStage::Released;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_retry_and_the_next_transaction_of_the_same_id_count() {
        let hold = HeldEndTxn::default();
        let meets = |api, id: &str| {
            let held = hold.meets(&Head { api, transactional_id: Some(id.into()) });
            (matches!(held, Verdict::Hold), hold.stage())
        };
        assert_eq!(meets(END_TXN, "a"), (false, HoldStage::Idle));
        hold.arm(None);
        assert_eq!(meets(PRODUCE, "a"), (false, HoldStage::Armed));
        assert_eq!(meets(END_TXN, "a"), (true, HoldStage::Held));
        assert_eq!(meets(END_TXN, "b"), (false, HoldStage::Held), "somebody else's");
        assert_eq!(meets(END_TXN, "a"), (false, HoldStage::Retried));
        assert_eq!(meets(PRODUCE, "a"), (false, HoldStage::Retried));
        assert_eq!(meets(ADD_PARTITIONS_TO_TXN, "a"), (false, HoldStage::NextBegun));
        assert_eq!(meets(PRODUCE, "b"), (false, HoldStage::NextBegun));
        assert_eq!(meets(PRODUCE, "a"), (false, HoldStage::Due));
        hold.sent();
        assert_eq!(hold.disarm(), HoldStage::Released);
        assert_eq!(meets(END_TXN, "a"), (false, HoldStage::Idle));
    }
}
