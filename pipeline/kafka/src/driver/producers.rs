//! The transactional producers of a worker: one, or two that take turns.
//!
//! A producer's next transaction must wait until the markers of its last one are written, which the broker does after it has
//! answered the commit. Another transactional id does not wait for them. Turns are taken between transactions only: one is
//! never begun before the commit or abort of the one before is answered, so there is never more than one open, and offsets
//! and records of a partition keep their order (readers see a partition up to its first undecided record; the broker keeps
//! of two offsets the one that was written later, whichever marker comes first).

use tracing::warn;

use crate::client::{ClientError, KafkaClient, TransactionalProducer};

/// Most transactional ids of a worker.
pub(super) const MOST_IDS: usize = 2;

/// A producer and its id, with which it is built anew.
struct Owned<P> {
    transactional_id: String,
    producer: P,
}

/// Producers in turn.
pub(super) struct Producers<P> {
    current: Owned<P>,
    resting: Option<Owned<P>>,
}

impl<P: TransactionalProducer> Producers<P> {
    /// Fences every earlier owner of the ids made from `stem`, of which `count` are used. What an earlier start with more of
    /// them left open on another cannot commit either: its member of the group is fenced, and restore waits until the broker
    /// has ended it.
    pub(super) fn fenced<C: KafkaClient<Producer = P>>(
        client: &C,
        stem: &str,
        count: usize,
    ) -> Result<Self, ClientError> {
        let id = |n: usize| format!("{stem}.{n}");
        let resting = (count == MOST_IDS).then(|| owned(client, id(1))).transpose()?;
        Ok(Self { current: owned(client, id(0))?, resting })
    }

    /// The producer of the transaction under way.
    pub(super) fn current(&mut self) -> &mut P {
        &mut self.current.producer
    }

    /// Makes the next one current, to begin a transaction on; one that may not begin again is built anew, which `true`
    /// tells.
    pub(super) fn next<C: KafkaClient<Producer = P>>(&mut self, client: &C) -> Result<bool, ClientError> {
        if let Some(resting) = &mut self.resting {
            std::mem::swap(&mut self.current, resting);
        }
        let is_suspect = self.current.producer.is_suspect();
        if is_suspect {
            let id = self.current.transactional_id.clone();
            warn!(id, "a late EndTxn could end the next transaction: a new producer is built");
            self.current = owned(client, id)?;
        }
        Ok(is_suspect)
    }
}

fn owned<C: KafkaClient>(client: &C, transactional_id: String) -> Result<Owned<C::Producer>, ClientError> {
    let mut producer = client.producer(&transactional_id)?;
    producer.init()?;
    Ok(Owned { transactional_id, producer })
}
