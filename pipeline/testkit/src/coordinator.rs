//! The transaction coordinator of the simulated Kafka, and the client in front of it.
//!
//! What a broker does with the requests of the classic transaction protocol (no epoch bump a transaction): a decision is
//! made once, at the coordinator; its markers reach the partitions, and the offsets, later and in any order. Until all have
//! landed the producer's next request meets CONCURRENT_TRANSACTIONS. The generation of a group is checked when offsets
//! are put into a transaction and never again. A delayed EndTxn ends whatever transaction its producer epoch has open then
//! (KAFKA-17754).

use std::collections::BTreeSet;

use crate::error::LogError;
use crate::log::{Committed, Coordinates, Log, LogRecord, OffsetKey};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not decided.
    Open,
    /// Committed.
    Committed,
    /// Aborted.
    Aborted,
}

/// A transactional producer: an id with the epoch that its initialisation gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producer {
    id: String,
    epoch: u32,
}

impl Producer {
    /// Transactional id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Debug)]
pub(crate) struct Transaction {
    pub id: String,
    pub epoch: u32,
    pub outcome: Outcome,
    pub partitions: BTreeSet<(String, i32)>,
    pub groups: BTreeSet<String>,
    pub offsets: Vec<(OffsetKey, u64, Committed)>,
    pub records: Vec<Coordinates>,
}

/// Where a marker goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Partition(String, i32),
    /// The partition of the committed offsets of a group.
    Offsets(String),
}

/// A marker on its way.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub transaction: usize,
    pub target: Target,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Empty,
    Ongoing(usize),
    /// Decided; markers are on their way.
    Completing(usize),
    Complete(Ended),
}

/// How the last transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Committed,
    Aborted,
}

/// What the coordinator knows of a transactional id.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    epoch: u32,
    state: State,
}

/// What a client library knows of its transaction.
#[derive(Debug, Default)]
pub(crate) struct Client {
    begun: bool,
    partitions: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
}

/// The client: what a worker calls. Where a broker says that markers are still on their way, it waits until they land.
impl Log {
    /// `initTransactions`: aborts what a predecessor with the id left open, and fences it.
    pub fn init_transactions(&mut self, id: &str) -> Producer {
        loop {
            match self.init_producer_id(id) {
                Ok(producer) => return producer,
                Err(_) => self.wait_for_markers_of(id),
            }
        }
    }

    /// Begins a transaction. No broker hears of it before something is written.
    ///
    /// # Errors
    /// None; kept for the callers, to whom a client may say that one is open.
    pub fn begin(&mut self, producer: &Producer) -> Result<(), LogError> {
        *self.client(producer) = Client { begun: true, ..Client::default() };
        Ok(())
    }

    /// Appends a record in the open transaction.
    ///
    /// # Errors
    /// [`LogError::NoTransaction`], [`LogError::Fenced`], [`LogError::InvalidState`].
    pub fn append(
        &mut self,
        producer: &Producer,
        topic: &str,
        partition: i32,
        record: LogRecord,
    ) -> Result<i64, LogError> {
        let at = (topic.to_owned(), partition);
        self.must_have_begun(producer)?;
        if !self.client(producer).partitions.contains(&at) {
            self.insist(producer, |log| log.add_partition(producer, topic, partition))?;
            self.client(producer).partitions.insert(at);
        }
        self.produce(producer, topic, partition, record)
    }

    /// `sendOffsetsToTransaction` with the group's generation at the batch's start.
    ///
    /// # Errors
    /// [`LogError::StaleGeneration`], [`LogError::Fenced`], [`LogError::NoTransaction`].
    pub fn send_offsets(
        &mut self,
        producer: &Producer,
        group: &str,
        generation: u32,
        offsets: impl IntoIterator<Item = (String, i32, Committed)>,
    ) -> Result<(), LogError> {
        self.must_have_begun(producer)?;
        self.insist(producer, |log| log.add_offsets(producer, group))?;
        self.client(producer).groups.insert(group.to_owned());
        self.commit_in_transaction(producer, group, generation, offsets)
    }

    /// Commits the open transaction.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::NoTransaction`], [`LogError::InvalidState`].
    pub fn commit(&mut self, producer: &Producer) -> Result<(), LogError> {
        self.finish(producer, Outcome::Committed)
    }

    /// Aborts the open transaction.
    ///
    /// # Errors
    /// As [`Log::commit`].
    pub fn abort(&mut self, producer: &Producer) -> Result<(), LogError> {
        self.finish(producer, Outcome::Aborted)
    }

    fn finish(&mut self, producer: &Producer, outcome: Outcome) -> Result<(), LogError> {
        self.must_have_begun(producer)?;
        let client = std::mem::take(self.client(producer));
        if client.partitions.is_empty() && client.groups.is_empty() {
            // No broker knows of it; a zombie finds out at its next write.
            return self.check_epoch(producer);
        }
        self.insist(producer, |log| log.end_transaction(producer, outcome))
    }

    fn client(&mut self, producer: &Producer) -> &mut Client {
        self.clients.entry((producer.id.clone(), producer.epoch)).or_default()
    }

    fn must_have_begun(&mut self, producer: &Producer) -> Result<(), LogError> {
        if self.client(producer).begun { Ok(()) } else { Err(LogError::NoTransaction { id: producer.id.clone() }) }
    }

    // A request again and again, as long as markers of the transaction before are on their way.
    fn insist(
        &mut self,
        producer: &Producer,
        mut request: impl FnMut(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        loop {
            match request(self) {
                Err(LogError::Concurrent { .. }) => self.wait_for_markers_of(&producer.id),
                answer => return answer,
            }
        }
    }
}

/// The requests, one to one as a broker answers them.
impl Log {
    /// InitProducerId: fences the epoch before. An open transaction is aborted first.
    ///
    /// # Errors
    /// [`LogError::Concurrent`] until the markers of the last transaction have landed.
    pub fn init_producer_id(&mut self, id: &str) -> Result<Producer, LogError> {
        if let State::Ongoing(_) = self.coordinator(id).state {
            self.expire(id);
        }
        let coordinator = self.coordinator(id);
        if let State::Completing(_) = coordinator.state {
            return Err(LogError::Concurrent { id: id.to_owned() });
        }
        coordinator.epoch = coordinator.epoch.saturating_add(1);
        coordinator.state = State::Empty;
        Ok(Producer { id: id.to_owned(), epoch: coordinator.epoch })
    }

    /// What the coordinator does on a transaction that is open for too long: aborts it and fences its producer.
    pub fn expire(&mut self, id: &str) {
        let coordinator = self.coordinator(id);
        if let State::Ongoing(transaction) = coordinator.state {
            coordinator.epoch = coordinator.epoch.saturating_add(1);
            self.decide(transaction, Outcome::Aborted);
        }
    }

    /// AddPartitionsToTxn: the first one opens the transaction.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::Concurrent`].
    pub fn add_partition(&mut self, producer: &Producer, topic: &str, partition: i32) -> Result<(), LogError> {
        let transaction = self.open(producer)?;
        if let Some(t) = self.transactions.get_mut(transaction) {
            t.partitions.insert((topic.to_owned(), partition));
        }
        Ok(())
    }

    /// AddOffsetsToTxn.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::Concurrent`].
    pub fn add_offsets(&mut self, producer: &Producer, group: &str) -> Result<(), LogError> {
        let transaction = self.open(producer)?;
        if let Some(t) = self.transactions.get_mut(transaction) {
            t.groups.insert(group.to_owned());
        }
        Ok(())
    }

    /// Produce. A leader asks the coordinator only at the first record of a transaction: after it, a fenced producer is
    /// let in until the marker lands.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::InvalidState`].
    pub fn produce(
        &mut self,
        producer: &Producer,
        topic: &str,
        partition: i32,
        record: LogRecord,
    ) -> Result<i64, LogError> {
        let state = self.coordinator(&producer.id).state;
        let (State::Ongoing(transaction) | State::Completing(transaction)) = state else {
            return Err(self.refused(producer));
        };
        let at = (topic.to_owned(), partition);
        let mine = |log: &Self| {
            let t = log.transactions.get(transaction)?;
            (t.epoch == producer.epoch && t.partitions.contains(&at)).then_some(t.outcome)
        };
        match mine(self) {
            Some(Outcome::Open) => {}
            // Its abort by a successor has not come to this partition yet.
            Some(Outcome::Aborted) if self.is_open_in(transaction, topic, partition) => {}
            Some(Outcome::Committed | Outcome::Aborted) | None => return Err(self.refused(producer)),
        }
        Ok(self.push_record(topic, partition, record, transaction))
    }

    /// TxnOffsetCommit. The group's generation is checked here and nowhere else.
    ///
    /// # Errors
    /// [`LogError::StaleGeneration`], [`LogError::Fenced`], [`LogError::InvalidState`].
    pub fn commit_in_transaction(
        &mut self,
        producer: &Producer,
        group: &str,
        generation: u32,
        offsets: impl IntoIterator<Item = (String, i32, Committed)>,
    ) -> Result<(), LogError> {
        self.check_epoch(producer)?;
        let current = self.generation(group);
        if generation != current {
            return Err(LogError::StaleGeneration { group: group.to_owned(), current, given: generation });
        }
        let State::Ongoing(transaction) = self.coordinator(&producer.id).state else {
            return Err(self.refused(producer));
        };
        let place = self.next_offset_record();
        if let Some(t) = self.transactions.get_mut(transaction) {
            t.offsets.extend(offsets.into_iter().map(|(topic, p, c)| ((group.to_owned(), topic, p), place, c)));
            self.unstable.insert((transaction, group.to_owned()));
        }
        Ok(())
    }

    /// EndTxn: ends the transaction that the producer epoch has open *now*. It is decided when this returns; that the
    /// markers have landed is another matter.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::Concurrent`] while the same decision is under way, [`LogError::InvalidState`].
    pub fn end_transaction(&mut self, producer: &Producer, outcome: Outcome) -> Result<(), LogError> {
        self.check_epoch(producer)?;
        let state = self.coordinator(&producer.id).state;
        match state {
            State::Ongoing(transaction) => {
                self.decide(transaction, outcome);
                Ok(())
            }
            State::Completing(transaction) if self.outcome(transaction) == outcome => {
                Err(LogError::Concurrent { id: producer.id.clone() })
            }
            // A repeated request.
            State::Complete(Ended::Committed) if outcome == Outcome::Committed => Ok(()),
            State::Complete(Ended::Aborted) if outcome == Outcome::Aborted => Ok(()),
            State::Completing(_) | State::Complete(_) | State::Empty => {
                Err(LogError::InvalidState { id: producer.id.clone() })
            }
        }
    }

    fn coordinator(&mut self, id: &str) -> &mut Coordinator {
        if !self.coordinators.contains_key(id) {
            self.coordinators.insert(id.to_owned(), Coordinator::default());
        }
        self.coordinators.entry(id.to_owned()).or_default()
    }

    fn check_epoch(&mut self, producer: &Producer) -> Result<(), LogError> {
        let current = self.coordinator(&producer.id).epoch;
        if current == producer.epoch { Ok(()) } else { Err(LogError::Fenced { id: producer.id.clone() }) }
    }

    fn refused(&mut self, producer: &Producer) -> LogError {
        self.check_epoch(producer).err().unwrap_or_else(|| LogError::InvalidState { id: producer.id.clone() })
    }

    // The transaction of the producer; the first request of one opens it.
    fn open(&mut self, producer: &Producer) -> Result<usize, LogError> {
        self.check_epoch(producer)?;
        match self.coordinator(&producer.id).state {
            State::Ongoing(transaction) => Ok(transaction),
            State::Completing(_) => Err(LogError::Concurrent { id: producer.id.clone() }),
            State::Empty | State::Complete(_) => {
                let transaction = self.transactions.len();
                self.transactions.push(Transaction {
                    id: producer.id.clone(),
                    epoch: producer.epoch,
                    outcome: Outcome::Open,
                    partitions: BTreeSet::new(),
                    groups: BTreeSet::new(),
                    offsets: Vec::new(),
                    records: Vec::new(),
                });
                self.coordinator(&producer.id).state = State::Ongoing(transaction);
                Ok(transaction)
            }
        }
    }

    fn decide(&mut self, transaction: usize, outcome: Outcome) {
        let Some(t) = self.transactions.get_mut(transaction) else { return };
        t.outcome = outcome;
        let id = t.id.clone();
        let partitions = t.partitions.iter().map(|(topic, p)| Target::Partition(topic.clone(), *p));
        let targets: Vec<Target> = partitions.chain(t.groups.iter().cloned().map(Target::Offsets)).collect();
        self.coordinator(&id).state = State::Completing(transaction);
        self.pending.extend(targets.into_iter().map(|target| Pending { transaction, target }));
        if outcome == Outcome::Committed {
            self.remember(transaction);
        }
        if !self.held {
            self.land_all();
        }
    }
}

/// The way of the markers.
impl Log {
    /// From here on a decision's markers are written only by [`Log::land`] and by clients that wait for them.
    pub fn hold_markers(&mut self) {
        self.held = true;
    }

    /// Markers on their way.
    #[must_use]
    pub fn pending_markers(&self) -> usize {
        self.pending.len()
    }

    /// The `n`-th marker on its way reaches its partition.
    pub fn land(&mut self, n: usize) {
        if n >= self.pending.len() {
            return;
        }
        let marker = self.pending.remove(n);
        self.write_marker(&marker);
        let transaction = marker.transaction;
        if self.pending.iter().any(|m| m.transaction == transaction) {
            return;
        }
        let Some((id, outcome)) = self.transactions.get(transaction).map(|t| (t.id.clone(), t.outcome)) else { return };
        let coordinator = self.coordinator(&id);
        if coordinator.state == State::Completing(transaction) {
            coordinator.state = State::Complete(match outcome {
                Outcome::Committed => Ended::Committed,
                Outcome::Aborted | Outcome::Open => Ended::Aborted,
            });
        }
    }

    /// Every marker on its way lands.
    pub fn land_all(&mut self) {
        while !self.pending.is_empty() {
            self.land(0);
        }
    }

    /// How often a client had to wait for markers of its own last transaction.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits
    }

    fn wait_for_markers_of(&mut self, id: &str) {
        self.waits += 1;
        let of_id = |log: &Self, m: &Pending| log.transactions.get(m.transaction).is_some_and(|t| t.id == id);
        while let Some(n) = self.pending.iter().position(|m| of_id(self, m)) {
            self.land(n);
        }
    }
}
