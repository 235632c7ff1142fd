//! A worker: one member of the group, one transactional id, and every partition it owns.
//!
//! A round: poll; take the answers of ClickHouse; plan each partition; commit bounds of what begins and offsets of what has
//! landed in one transaction; send the inserts. Whatever fails in a way that only a new start mends ends the session: the
//! next one finds all it needs in the committed offsets' metadata and in ClickHouse.

mod answers;
mod commit;
mod job;
mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use fillstream_kafka::client::{
    ClientError, ConsumerEvent, GroupConsumer, KafkaClient, OffsetEntry, TopicPartition, TransactionalProducer,
};
use fillstream_kafka::observe::{GroupLag, Readiness};
use fillstream_kafka::registry::{Framing, value_subject};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::SinkBatch;
use tracing::{debug, info, warn};

use self::job::{Answer, Desk};
use self::partition::{Insert, Partition, Phase};
use crate::error::SinkError;
use crate::ledger::{Ledger, token};
use crate::plan::{Attempt, Bounds, Destination, Plan};
use crate::sink::{BATCHES_TOPIC, Sink};
use crate::status::PartitionStatus;
use crate::target::Table;

/// Most events taken between two looks at everything else.
const EVENTS: usize = 20_000;
/// Time between two questions for the ends of partitions.
const MEASURE: Duration = Duration::from_secs(2);
const IDLE_POLL: Duration = Duration::from_millis(10);

/// The server's clock, carried on by our own monotonic one.
struct ServerClock {
    us: i64,
    at: Instant,
}

impl ServerClock {
    fn now_us(&self) -> i64 {
        self.us.saturating_add(i64::try_from(self.at.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// What a round cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Full batches, and rows that have waited this long.
    Waiting {
        /// Shortest wait.
        at_least: Duration,
    },
    /// Nothing: only what has landed is acknowledged.
    Nothing,
}

pub(crate) struct Session<'a, C: KafkaClient> {
    sink: &'a Sink<C>,
    number: u16,
    lags: GroupLag,
    /// When the lag was last asked for.
    measured: Option<Instant>,
    is_ready: bool,
    transactional_id: String,
    producer: C::Producer,
    consumer: C::Consumer,
    /// Taken when the partitions came: a later one could commit offsets of partitions that have gone.
    membership: Option<C::GroupMetadata>,
    batches_partitions: i32,
    batch_schema: u32,
    framing: Framing,
    clock: ServerClock,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// Ours, but nothing could be learnt about them yet.
    unplaced: Vec<TopicPartition>,
    place_at: Instant,
    place_tries: u32,
    answers: Receiver<Answer>,
    desk: Sender<Answer>,
    epoch: u64,
    in_flight: usize,
    /// A look for failed writes is on its way.
    is_guarding: bool,
    /// The last insert took a small part of a deadline.
    is_brisk: bool,
    last_round: Instant,
}

impl<'a, C: KafkaClient> Session<'a, C> {
    /// Fences whoever had this worker's transactional id, then joins the group.
    pub(crate) fn start(sink: &'a Sink<C>, number: u16, name: &str) -> Result<Self, SinkError> {
        let clock = ServerClock { us: sink.wait_for(sink.server.now_us())?, at: Instant::now() };
        let transactional_id = format!("{}.{name}", sink.config.group);
        let mut producer = sink.kafka.producer(&transactional_id)?;
        producer.init()?;
        let batches = sink.kafka.describe(&[BATCHES_TOPIC])?;
        let missing = || SinkError::MissingTopics(vec![BATCHES_TOPIC.to_owned()]);
        let batches_partitions = batches.get(BATCHES_TOPIC).ok_or_else(missing)?.partitions;
        let topics: Vec<&str> = sink.targets.iter().map(|t| t.topic.as_str()).collect();
        let consumer = sink.kafka.consumer(&sink.config.group, name, &topics)?;
        let (desk, answers) = channel();
        let mut framing = Framing::new(Arc::clone(&sink.registry));
        // Asked once, here: a registry that is down later must not hold back bounds.
        let batch_schema = framing.id(&value_subject(BATCHES_TOPIC), SinkBatch::FULL_NAME)?;
        Ok(Self {
            framing,
            batch_schema,
            sink,
            number,
            lags: sink.group_lag(),
            measured: None,
            is_ready: false,
            transactional_id,
            producer,
            consumer,
            membership: None,
            batches_partitions,
            clock,
            partitions: BTreeMap::new(),
            unplaced: Vec::new(),
            place_at: Instant::now(),
            place_tries: 0,
            answers,
            desk,
            epoch: 0,
            in_flight: 0,
            is_guarding: false,
            is_brisk: false,
            last_round: Instant::now(),
        })
    }

    /// Rounds until `halt`; then what is on its way is waited for and acknowledged.
    pub(crate) fn run(&mut self, halt: &dyn Fn() -> bool) -> Result<(), SinkError> {
        while !halt() {
            self.poll()?;
            self.place()?;
            self.take_answers()?;
            self.prepare();
            self.ask()?;
            self.flow()?;
            if self.last_round.elapsed() >= self.sink.config.round() {
                self.round(self.due())?;
            }
            self.tell();
        }
        self.flush()
    }

    /// Lands what has been read, and waits for it at most a deadline.
    fn flush(&mut self) -> Result<(), SinkError> {
        let all: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        self.consumer.pause(&all)?;
        let patience = Instant::now() + Duration::from_millis(self.sink.config.deadline_ms);
        loop {
            self.prepare();
            self.round(Cut::Waiting { at_least: Duration::ZERO })?;
            // A partition in trouble is a successor's matter.
            if self.in_flight == 0 || Instant::now() >= patience {
                break;
            }
            self.poll()?;
            self.take_answers()?;
        }
        self.round(Cut::Nothing)?;
        self.tell();
        Ok(())
    }

    /// Whether it is time to cut what waits.
    fn due(&self) -> Cut {
        let linger = self.sink.config.linger();
        let oldest = self.partitions.values().filter_map(Partition::waits_since).min();
        // Cut together what would be due soon: one transaction instead of many.
        let at_least = if oldest.is_some_and(|t| t.elapsed() >= linger) { linger / 2 } else { linger };
        Cut::Waiting { at_least }
    }

    fn poll(&mut self) -> Result<(), SinkError> {
        for n in 0..EVENTS {
            let timeout = if n == 0 { IDLE_POLL } else { Duration::ZERO };
            match self.consumer.poll(timeout) {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => self.event(event)?,
                Err(e @ ClientError::Retry { .. }) => {
                    debug!(error = %e, "polling");
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn event(&mut self, event: ConsumerEvent) -> Result<(), SinkError> {
        match event {
            ConsumerEvent::Record(record) => {
                let tp = TopicPartition::new(Arc::clone(&record.topic), record.partition);
                if let Some(p) = self.partitions.get_mut(&tp) {
                    p.take(record);
                }
            }
            ConsumerEvent::End { tp, offset } => {
                if let Some(p) = self.partitions.get_mut(&tp) {
                    p.position = p.position.max(offset);
                }
            }
            ConsumerEvent::Assigned(partitions) => {
                info!(instance = self.transactional_id, partitions = partitions.len(), "partitions assigned");
                self.drop_partitions();
                self.membership = Some(self.consumer.group_metadata()?);
                (self.unplaced, self.place_at, self.place_tries) = (partitions, Instant::now(), 0);
            }
            ConsumerEvent::Revoked(_) | ConsumerEvent::Lost(_) => {
                // What is on its way is found by the next owner, as after a crash.
                self.membership = None;
                self.drop_partitions();
            }
            ConsumerEvent::NoOffset(text) => {
                let text = format!(
                    "{text}: the topic does not have the record to read on from any more. What was deleted unread is lost to \
                     ClickHouse; to go on behind the gap, set the offsets of group {}",
                    self.sink.config.group
                );
                return Err(SinkError::Position { topic: "?".into(), partition: -1, text });
            }
        }
        Ok(())
    }

    fn drop_partitions(&mut self) {
        for tp in self.partitions.keys() {
            self.sink.status.forget(tp);
        }
        self.partitions.clear();
        self.unplaced.clear();
        self.in_flight = 0;
        self.epoch += 1;
    }

    /// Learns where new partitions stand, and starts reading them.
    fn place(&mut self) -> Result<(), SinkError> {
        if self.unplaced.is_empty() || Instant::now() < self.place_at {
            return Ok(());
        }
        match self.positions() {
            Ok(positions) => {
                self.consumer.assign_at(&positions)?;
                self.unplaced.clear();
                Ok(())
            }
            Err(SinkError::Kafka(e @ ClientError::Retry { .. })) => {
                warn!(error = %e, "asking for committed offsets");
                self.partitions.clear();
                self.place_at = Instant::now() + self.sink.config.backoff(self.place_tries);
                self.place_tries = self.place_tries.saturating_add(1);
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn positions(&mut self) -> Result<Vec<OffsetEntry>, SinkError> {
        let topics = self.sink.described()?;
        let committed = self.consumer.committed(&self.unplaced)?;
        let mut positions = Vec::with_capacity(committed.len());
        for entry in committed {
            let wrong = |text: String| SinkError::Position {
                topic: entry.tp.topic.to_string(),
                partition: entry.tp.partition,
                text,
            };
            let (Some(target), Some(info)) =
                (self.sink.targets.topics.get(entry.tp.topic.as_ref()), topics.get(entry.tp.topic.as_ref()))
            else {
                return Err(wrong("is assigned, but not landed".into()));
            };
            let (start, phase) = if entry.offset < 0 {
                let (first, _) = self.consumer.stable_bounds(&entry.tp)?;
                (first, Phase::Probing { ask_at: Some(Instant::now()) })
            } else {
                let ledger = Ledger::parse(&entry.metadata).ok_or_else(|| {
                    wrong(format!("offset {} was not committed by this sink: {:?}", entry.offset, entry.metadata))
                })?;
                if ledger.topic_uuid != info.uuid {
                    return Err(wrong(format!(
                        "the topic was made again ({} is now {}): its offsets begin anew, so its table must be emptied or \
                         renamed, and the group's offsets deleted",
                        ledger.topic_uuid, info.uuid
                    )));
                }
                let phase = match ledger.outstanding {
                    None => Phase::Open,
                    Some(bounds) => Phase::Asking { bounds, ask_at: Some(Instant::now()), tries: 0 },
                };
                (entry.offset, phase)
            };
            let partition = Partition::new(entry.tp.clone(), target.contract, info.uuid.clone(), start, phase);
            self.partitions.insert(entry.tp.clone(), partition);
            positions.push(OffsetEntry { tp: entry.tp.clone(), offset: start, metadata: String::new() });
        }
        Ok(positions)
    }

    fn prepare(&mut self) {
        for p in self.partitions.values_mut().filter(|p| p.has_raw()) {
            if let Err(e) = p.prepare(&mut self.framing) {
                // Every other partition waits for the same registry, each for its timeout.
                let e = SinkError::Registry(e);
                trouble(self.sink, p, &e);
                break;
            }
        }
        self.partitions.values_mut().for_each(Partition::settle);
    }

    /// Asks ClickHouse what it must be asked, and repeats inserts whose pause is over.
    fn ask(&mut self) -> Result<(), SinkError> {
        let now = Instant::now();
        for p in self.partitions.values_mut() {
            let desk = || Desk { to: self.desk.clone(), tp: p.tp.clone(), epoch: self.epoch };
            match &mut p.phase {
                Phase::Probing { ask_at } if ask_at.is_some_and(|t| t <= now) => {
                    *ask_at = None;
                    let tables = [Destination::Landing, Destination::Unreadable];
                    let names = tables.iter().filter_map(|d| table(self.sink, &p.tp, *d)).map(|t| t.name.clone());
                    job::probe(self.sink, desk(), names.collect());
                }
                Phase::Asking { bounds, ask_at, .. } if ask_at.is_some_and(|t| t <= now) => {
                    *ask_at = None;
                    if let Some(table) = table(self.sink, &p.tp, bounds.destination) {
                        let token = token_of(self.sink, p.tp.partition, &p.uuid, table, bounds);
                        job::ask(self.sink, desk(), table.name.clone(), *bounds, token);
                    }
                }
                Phase::Retrying { bounds, insert, tries, at } if *at <= now => {
                    let (bounds, insert, tries) = (*bounds, Arc::clone(insert), *tries);
                    if let Some(meters) = self.sink.status.of(&p.tp.topic) {
                        meters.retries.add(1);
                    }
                    job::insert(self.sink, desk(), Arc::clone(&insert));
                    p.phase = Phase::Inserting { bounds, insert, tries };
                    self.in_flight += 1;
                }
                Phase::Probing { .. }
                | Phase::Open
                | Phase::Inserting { .. }
                | Phase::Retrying { .. }
                | Phase::Asking { .. }
                | Phase::Told { .. } => {}
            }
        }
        Ok(())
    }

    /// Stops fetching what there is no room for.
    fn flow(&mut self) -> Result<(), SinkError> {
        let config = &self.sink.config;
        let share = config.buffer_bytes / self.partitions.len().max(1);
        let most = share.clamp(1 << 16, config.batch_bytes.saturating_mul(4).max(1 << 16));
        for p in self.partitions.values_mut() {
            let tp = std::slice::from_ref(&p.tp);
            // A batch that is read again must fit, whatever its size.
            let needs_more = matches!(p.phase, Phase::Told { .. });
            if !p.paused && p.bytes() > most && !needs_more {
                self.consumer.pause(tp)?;
                p.paused = true;
            } else if p.paused && (p.bytes() <= most / 2 || needs_more) {
                self.consumer.resume(tp)?;
                p.paused = false;
            }
        }
        Ok(())
    }

    /// Plans every partition; what begins and what has landed goes into one transaction.
    fn round(&mut self, cut: Cut) -> Result<(), SinkError> {
        self.last_round = Instant::now();
        let mut begins = Vec::new();
        let config = &self.sink.config;
        // What is bounded now must be able to land before its deadline.
        // Where inserts take far less than that, another may wait behind each, so that the server never does.
        let ahead = if self.is_brisk { 2 } else { 1 };
        let room = config.batch_bytes.saturating_mul(config.parallel_inserts).saturating_mul(ahead);
        let mut room = room.saturating_sub(self.partitions.values().map(Partition::in_flight).sum());
        let deadline_ms = i64::try_from(self.sink.config.deadline_ms).unwrap_or(i64::MAX);
        let deadline_us = self.clock.now_us().saturating_add(deadline_ms.saturating_mul(1_000));
        for p in self.partitions.values_mut() {
            let begin = room > 0 && cut != Cut::Nothing;
            let lingered = |at_least| p.waits_since().is_some_and(|t: Instant| t.elapsed() >= at_least);
            let plan = p.plan(config, matches!(cut, Cut::Waiting { at_least } if lingered(at_least)));
            let told = match &p.phase {
                Phase::Told { bounds, .. } => Some(*bounds),
                Phase::Probing { .. }
                | Phase::Open
                | Phase::Inserting { .. }
                | Phase::Retrying { .. }
                | Phase::Asking { .. } => None,
            };
            match (plan, told) {
                (Plan::Acknowledge, Some(bounds)) => {
                    info!(partition = %p.tp, first = bounds.first, last = bounds.last, "a batch is found complete");
                    if let Some(meters) = self.sink.status.of(&p.tp.topic) {
                        meters.found_complete.add(1);
                    }
                    p.land(bounds.last);
                }
                (Plan::Forget, Some(bounds)) => {
                    warn!(partition = %p.tp, first = bounds.first, last = bounds.last, "bounds without rows are forgotten");
                    p.phase = Phase::Open;
                }
                (Plan::Wait, Some(bounds)) => {
                    let ask_at = Some(Instant::now() + Duration::from_millis(100));
                    p.phase = Phase::Asking { bounds, ask_at, tries: 0 };
                }
                (Plan::Stop(cause), _) => {
                    let (topic, partition) = (p.tp.topic.to_string(), p.tp.partition);
                    return Err(SinkError::Contradiction { topic, partition, cause });
                }
                (Plan::Repeat, Some(bounds)) if begin => {
                    let bounds = Bounds { attempt: Attempt::Repeat, deadline_us, ..bounds };
                    room = room.saturating_sub(p.size_to(bounds.last));
                    begins.push(commit::Begin { tp: p.tp.clone(), bounds, only: None });
                }
                (Plan::Repair { offsets, number }, Some(bounds)) if begin => {
                    let bounds = Bounds { attempt: Attempt::Repair(number), deadline_us, ..bounds };
                    room = room.saturating_sub(p.size_to(bounds.last));
                    begins.push(commit::Begin { tp: p.tp.clone(), bounds, only: Some(offsets) });
                }
                (Plan::Begin { rows }, _) if begin => {
                    if let Some(bounds) = crate::plan::bounds_of(&p.metas(rows), deadline_us) {
                        room = room.saturating_sub(p.size_to(bounds.last));
                        begins.push(commit::Begin { tp: p.tp.clone(), bounds, only: None });
                    }
                }
                // Not yet, or nothing to do.
                (
                    Plan::Begin { .. }
                    | Plan::Repeat
                    | Plan::Repair { .. }
                    | Plan::Idle
                    | Plan::Read
                    | Plan::Acknowledge
                    | Plan::Forget
                    | Plan::Wait,
                    _,
                ) => {}
            }
        }
        self.commit(begins, cut == Cut::Nothing)
    }

    fn tell(&mut self) {
        for p in self.partitions.values() {
            let status = PartitionStatus { landed: p.landed, read: p.position, trouble: p.trouble.clone() };
            self.sink.status.set(&p.tp, status);
        }
        let waits = self.waits();
        if self.is_ready != waits.is_none() {
            self.is_ready = waits.is_none();
            self.sink.stands(self.number, waits.map_or(Readiness::Ready, |why| Readiness::Waiting(why.into())));
        }
        if self.measured.is_none_or(|t| t.elapsed() >= MEASURE) {
            self.measured = Some(Instant::now());
            if let Some(tp) = self.partitions.keys().next().filter(|_| !self.is_guarding) {
                self.is_guarding = true;
                job::guard(self.sink, Desk { to: self.desk.clone(), tp: tp.clone(), epoch: self.epoch });
            }
            if let Err(error) = self.measure() {
                debug!(%error, "measuring the lag");
            }
        }
    }

    /// Why the worker is not at work yet.
    fn waits(&self) -> Option<&'static str> {
        if self.membership.is_none() {
            Some("partitions are not assigned yet")
        } else if !self.unplaced.is_empty() {
            Some("committed offsets are not known yet")
        } else if self.partitions.values().any(|p| matches!(p.phase, Phase::Probing { .. })) {
            Some("clickhouse has not said yet what it has")
        } else {
            None
        }
    }

    fn measure(&mut self) -> Result<(), SinkError> {
        let landed: Vec<(TopicPartition, i64)> = self.partitions.values().map(|p| (p.tp.clone(), p.landed)).collect();
        self.sink.show_lag(self.number, &mut self.lags, &landed)
    }

    /// Sends the insert of committed bounds.
    fn send(&mut self, begin: commit::Begin) {
        let Some(p) = self.partitions.get_mut(&begin.tp) else { return };
        let Some(table) = table(self.sink, &begin.tp, begin.bounds.destination) else { return };
        let bounds = begin.bounds;
        let only = begin.only.as_deref();
        let rows = p.rows_to(bounds.last).filter(move |r| only.is_none_or(|o| o.binary_search(&r.meta.offset).is_ok()));
        let insert = Arc::new(Insert {
            file: crate::block::container(&table.envelope, begin.tp.partition, rows),
            sql: table.insert_sql(self.sink.server.database(), &begin.tp.topic, bounds.deadline_us),
            token: token_of(self.sink, begin.tp.partition, &p.uuid, table, &bounds),
        });
        let desk = Desk { to: self.desk.clone(), tp: begin.tp.clone(), epoch: self.epoch };
        job::insert(self.sink, desk, Arc::clone(&insert));
        p.phase = Phase::Inserting { bounds, insert, tries: 0 };
        self.in_flight += 1;
    }
}

/// Table of rows of a partition.
fn table<'s, C: KafkaClient>(sink: &'s Sink<C>, tp: &TopicPartition, destination: Destination) -> Option<&'s Table> {
    match destination {
        Destination::Landing => sink.targets.topics.get(tp.topic.as_ref()).map(|t| &t.table),
        Destination::Unreadable => Some(&sink.targets.unreadable),
    }
}

fn table_path<C: KafkaClient>(sink: &Sink<C>, table: &Table) -> String {
    format!("{}.{}", sink.server.database(), table.name)
}

fn token_of<C: KafkaClient>(sink: &Sink<C>, partition: i32, uuid: &str, of: &Table, bounds: &Bounds) -> String {
    token(uuid, partition, &table_path(sink, of), bounds)
}

fn trouble<C: KafkaClient>(sink: &Sink<C>, p: &mut Partition, error: &SinkError) {
    if let (SinkError::ClickHouse { .. }, Some(meters)) = (error, sink.status.of(&p.tp.topic)) {
        meters.failures.add(1);
    }
    if p.may_log() {
        warn!(partition = %p.tp, %error, "a partition waits");
    }
    p.trouble = Some(error.to_string());
}
