//! A transactional producer that speaks the protocol of `transaction.version` 2 (KIP-890) itself.
//!
//! Every transaction has an epoch of its own: the coordinator raises it with each decision and tells it in the answer, so
//! nothing of an earlier transaction, no matter how late it arrives, can touch a later one (KAFKA-17754), and a repeated
//! EndTxn is known as one. Partitions join by being written to. So a transaction costs two round trips: records, and
//! beside them offsets; then the decision. An engine's batch is whole before its transaction ends, so its records are sent
//! together, a megabyte at a time and at most one batch a partition and request, on the caller's own thread.
//!
//! It speaks plain text only: with security settings librdkafka's producer stays in use.

mod batch;
mod cluster;
mod codes;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    EndTxnRequest, GroupId, InitProducerIdRequest, ProduceRequest, ProducerId, TopicName, TransactionalId,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use tracing::{debug, warn};

use super::config::ConnectionConfig;
use super::error::ClientError;
use super::rdkafka_consumer::GroupMetadata;
use super::{OffsetEntry, Outgoing, TransactionalProducer};
use batch::{BatchBuilder, Identity};
use cluster::{Cluster, Coordinates, Lane};
use codes::{Verdict, judge, words};

const INIT_TIMEOUT: Duration = Duration::from_secs(20);
/// Wait before the same request is sent again.
const BACKOFF: Duration = Duration::from_millis(1);
/// Likewise while nobody answers.
const SLOW_BACKOFF: Duration = Duration::from_millis(20);
/// Bytes that wait to be sent, at most: the broker takes them in while the next are being made.
const WAITING_BYTES: usize = 1_024 * 1_024;
/// Acknowledged by all in-sync replicas.
const ALL: i16 = -1;

type Place = (Arc<str>, i32);

/// A batch on its way.
#[derive(Clone)]
struct Flight {
    place: Place,
    bytes: Bytes,
}

/// Records of a partition that are not on their way yet.
#[derive(Default)]
struct Queue {
    /// Full batches and the number of records of each.
    full: VecDeque<BatchBuilder>,
    open: BatchBuilder,
    /// Sequence number of the next batch.
    sequence: i32,
}

/// A producer on `transaction.version` 2.
pub(super) struct V2Producer {
    cluster: Cluster,
    transactional_id: String,
    socket_timeout: Duration,
    transaction_timeout: Duration,
    message_max_bytes: usize,
    identity: Option<Identity>,
    queues: BTreeMap<Place, Queue>,
    waiting_bytes: usize,
    /// Requests sent, by broker, oldest first; a partition is in one of them at most.
    flights: VecDeque<(i32, Vec<Flight>)>,
    /// Whether a broker may know of the transaction.
    known: bool,
    began: Option<Instant>,
    topics: BTreeMap<String, Arc<str>>,
}

impl V2Producer {
    pub(super) fn new(config: &ConnectionConfig, transactional_id: &str) -> Self {
        let socket_timeout = Duration::from_millis(config.producer.socket_timeout_ms.into());
        Self {
            cluster: Cluster::new(&config.bootstrap_servers, socket_timeout),
            transactional_id: transactional_id.to_owned(),
            socket_timeout,
            transaction_timeout: Duration::from_millis(config.producer.transaction_timeout_ms.into()),
            message_max_bytes: usize::try_from(config.producer.message_max_bytes).unwrap_or(usize::MAX),
            identity: None,
            queues: BTreeMap::new(),
            waiting_bytes: 0,
            flights: VecDeque::new(),
            known: false,
            began: None,
            topics: BTreeMap::new(),
        }
    }

    fn identity(&self, call: &'static str) -> Result<Identity, ClientError> {
        self.identity.ok_or_else(|| ClientError::fatal(call, "the producer is not initialised"))
    }

    fn id(&self) -> TransactionalId {
        TransactionalId(StrBytes::from_string(self.transactional_id.clone()))
    }

    // The broker's own abort of a transaction that was open too long looks like fencing: its epoch is raised.
    fn fenced(&self, call: &'static str, text: String) -> ClientError {
        match self.began {
            Some(began) if began.elapsed() >= self.transaction_timeout => {
                ClientError::Fatal { call, text: format!("{text}; the transaction had outlived its timeout") }
            }
            Some(_) | None => ClientError::Fenced { call, text },
        }
    }

    fn reset(&mut self) {
        self.queues.clear();
        self.waiting_bytes = 0;
        if !self.flights.is_empty() {
            // What they say is of a transaction that is over.
            self.flights.clear();
            self.cluster.hang_up_all(Lane::Records);
        }
        (self.known, self.began) = (false, None);
    }

    fn end_of_call(&self) -> Instant {
        Instant::now() + self.socket_timeout
    }

    // Sends everything that waits, a batch a partition; those behind wait for the answers of those before.
    fn flush(&mut self, call: &'static str, deadline: Instant) -> Result<(), ClientError> {
        loop {
            let mut round = Vec::new();
            let identity = self.identity(call)?;
            for (place, queue) in &mut self.queues {
                let Some(builder) = queue.full.pop_front().or_else(|| take_open(&mut queue.open)) else { continue };
                let (sequence, count) = (queue.sequence, builder.count());
                queue.sequence = sequence.wrapping_add(count);
                round.push(Flight { place: place.clone(), bytes: builder.finish(identity, sequence) });
            }
            if round.is_empty() {
                self.waiting_bytes = 0;
                return Ok(());
            }
            self.land(call, deadline)?;
            self.depart(call, round, deadline)?;
        }
    }

    // Sends batches to their leaders.
    fn depart(&mut self, call: &'static str, mut batches: Vec<Flight>, deadline: Instant) -> Result<(), ClientError> {
        self.known = true;
        while !batches.is_empty() {
            let mut by_leader: BTreeMap<i32, Vec<Flight>> = BTreeMap::new();
            let mut failed = Vec::new();
            for flight in batches {
                match self.cluster.leader(&flight.place.0, flight.place.1) {
                    Ok(leader) => by_leader.entry(leader).or_default().push(flight),
                    Err(e) => {
                        debug!(topic = &*flight.place.0, partition = flight.place.1, error = %e, "no leader yet");
                        failed.push(flight);
                    }
                }
            }
            for (leader, flights) in by_leader {
                let request = self.produce_request(&flights);
                match self.cluster.connection(leader, Lane::Records).and_then(|c| c.send(&request)) {
                    Ok(()) => self.flights.push_back((leader, flights)),
                    Err(e) => {
                        warn!(leader, error = %e, "records could not be sent");
                        failed.extend(self.ground(leader, flights));
                    }
                }
            }
            batches = failed;
            if !batches.is_empty() {
                self.pause(call, SLOW_BACKOFF, deadline, "no leader takes the records")?;
            }
        }
        Ok(())
    }

    // The connection is lost, and with it the answers to everything that went over it: all of it is sent again.
    fn ground(&mut self, leader: i32, flights: Vec<Flight>) -> Vec<Flight> {
        self.cluster.hang_up(leader, Lane::Records);
        let (lost, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.flights).into_iter().partition(|(of, _)| *of == leader);
        self.flights = kept;
        let mut all: Vec<Flight> = lost.into_iter().flat_map(|(_, flights)| flights).collect();
        all.extend(flights);
        for flight in &all {
            self.cluster.forget(&flight.place.0);
        }
        all
    }

    fn produce_request(&self, flights: &[Flight]) -> ProduceRequest {
        let mut topics: BTreeMap<&Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
        for flight in flights {
            let data =
                PartitionProduceData::default().with_index(flight.place.1).with_records(Some(flight.bytes.clone()));
            topics.entry(&flight.place.0).or_default().push(data);
        }
        let topic = |(name, data): (&Arc<str>, Vec<PartitionProduceData>)| {
            TopicProduceData::default().with_name(topic_name(name)).with_partition_data(data)
        };
        ProduceRequest::default()
            .with_transactional_id(Some(self.id()))
            .with_acks(ALL)
            .with_timeout_ms(milliseconds(self.socket_timeout))
            .with_topic_data(topics.into_iter().map(topic).collect())
    }

    // Waits until every batch on its way has landed.
    fn land(&mut self, call: &'static str, deadline: Instant) -> Result<(), ClientError> {
        while let Some((leader, flights)) = self.flights.pop_front() {
            let answer = self.cluster.connection(leader, Lane::Records).and_then(|c| c.receive::<ProduceRequest>());
            let answer = match answer {
                Ok(answer) => answer,
                Err(e) => {
                    warn!(leader, error = %e, "records were not answered, and are sent again");
                    let again = self.ground(leader, flights);
                    self.pause(call, SLOW_BACKOFF, deadline, "records are not answered")?;
                    self.depart(call, again, deadline)?;
                    continue;
                }
            };
            let mut codes: BTreeMap<(&str, i32), i16> = BTreeMap::new();
            for topic in &answer.responses {
                let codes_of = topic.partition_responses.iter().map(|p| ((&**topic.name, p.index), p.error_code));
                codes.extend(codes_of);
            }
            let (mut again, mut worst) = (Vec::new(), "");
            for flight in flights {
                let (topic, partition) = (&*flight.place.0, flight.place.1);
                let code = codes.get(&(topic, partition)).copied();
                let text = || format!("{topic}-{partition}: {}", code.map_or_else(|| "no answer".to_owned(), words));
                match code.map_or(Verdict::Again, judge) {
                    Verdict::Done => continue,
                    Verdict::Again => worst = "a broker asks to wait",
                    Verdict::Elsewhere => {
                        self.cluster.forget(topic);
                        worst = "leaders move";
                    }
                    Verdict::Abort => return Err(ClientError::Abort { call, text: text() }),
                    Verdict::Fenced => return Err(self.fenced(call, text())),
                    Verdict::Fatal => return Err(ClientError::fatal(call, text())),
                }
                again.push(flight);
            }
            if !again.is_empty() {
                self.pause(call, BACKOFF, deadline, worst)?;
                self.depart(call, again, deadline)?;
            }
        }
        Ok(())
    }

    // Before the same request again; after the deadline the transaction is given up.
    fn pause(&self, call: &'static str, wait: Duration, deadline: Instant, text: &str) -> Result<(), ClientError> {
        if Instant::now() >= deadline {
            return Err(ClientError::Abort { call, text: format!("{text} for {:?}", self.socket_timeout) });
        }
        std::thread::park_timeout(wait);
        Ok(())
    }

    fn offsets_request(
        &self,
        offsets: &[OffsetEntry],
        group: &GroupMetadata,
        identity: Identity,
    ) -> TxnOffsetCommitRequest {
        let mut topics: BTreeMap<&str, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for entry in offsets {
            let partition = TxnOffsetCommitRequestPartition::default()
                .with_partition_index(entry.tp.partition)
                .with_committed_offset(entry.offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(StrBytes::from_string(entry.metadata.clone())));
            topics.entry(&entry.tp.topic).or_default().push(partition);
        }
        let topic = |(name, partitions): (&str, Vec<TxnOffsetCommitRequestPartition>)| {
            TxnOffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        TxnOffsetCommitRequest::default()
            .with_transactional_id(self.id())
            .with_group_id(GroupId(StrBytes::from_string(group.member.group.clone())))
            .with_producer_id(ProducerId(identity.id))
            .with_producer_epoch(identity.epoch)
            .with_generation_id(group.member.generation)
            .with_member_id(StrBytes::from_string(group.member.id.clone()))
            .with_group_instance_id(group.member.instance.clone().map(StrBytes::from_string))
            .with_topics(topics.into_iter().map(topic).collect())
    }

    // Ends the transaction. An answer that is lost is asked for again: a repeat is known as one.
    fn end(&mut self, call: &'static str, committed: bool) -> Result<(), ClientError> {
        let identity = self.identity(call)?;
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id())
            .with_producer_id(ProducerId(identity.id))
            .with_producer_epoch(identity.epoch)
            .with_committed(committed);
        let deadline = Instant::now() + self.transaction_timeout;
        loop {
            let node = self.cluster.coordinator(Coordinates::Transaction, &self.transactional_id);
            let answer = node.and_then(|node| {
                let answer = self.cluster.connection(node, Lane::Control).and_then(|c| c.ask(&request));
                answer.inspect_err(|_| self.cluster.hang_up(node, Lane::Control))
            });
            let (text, wait) = match answer {
                Ok(answer) => match judge(answer.error_code) {
                    Verdict::Done => {
                        let (id, epoch) = (answer.producer_id.0, answer.producer_epoch);
                        self.identity = (id >= 0 && epoch >= 0).then_some(Identity { id, epoch });
                        return Ok(());
                    }
                    Verdict::Again => (words(answer.error_code), BACKOFF),
                    Verdict::Elsewhere => {
                        self.cluster.forget_coordinator(Coordinates::Transaction, &self.transactional_id);
                        (words(answer.error_code), SLOW_BACKOFF)
                    }
                    Verdict::Abort => return Err(ClientError::Abort { call, text: words(answer.error_code) }),
                    Verdict::Fenced => return Err(self.fenced(call, words(answer.error_code))),
                    Verdict::Fatal => return Err(ClientError::fatal(call, words(answer.error_code))),
                },
                Err(e) => {
                    self.cluster.forget_coordinator(Coordinates::Transaction, &self.transactional_id);
                    (e.to_string(), SLOW_BACKOFF)
                }
            };
            if Instant::now() >= deadline {
                let text = format!("no answer in {:?}; {text}", self.transaction_timeout);
                return Err(ClientError::Ambiguous { call, text });
            }
            std::thread::park_timeout(wait);
        }
    }
}

impl TransactionalProducer for V2Producer {
    type GroupMetadata = GroupMetadata;

    fn init(&mut self) -> Result<(), ClientError> {
        const CALL: &str = "init";
        self.reset();
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(self.id()))
            .with_transaction_timeout_ms(milliseconds(self.transaction_timeout))
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let deadline = Instant::now() + INIT_TIMEOUT;
        loop {
            let answer = (|| {
                let level = self.cluster.feature("transaction.version")?;
                let node = self.cluster.coordinator(Coordinates::Transaction, &self.transactional_id)?;
                let answer = self.cluster.connection(node, Lane::Control).and_then(|c| c.ask(&request));
                Ok((level, answer.inspect_err(|_| self.cluster.hang_up(node, Lane::Control))?))
            })();
            let text = match answer {
                Ok((level, _)) if level < 2 => {
                    let text = format!("the cluster's transaction.version is {level}: it must be 2 for this producer");
                    return Err(ClientError::fatal(CALL, text));
                }
                Ok((_, answer)) => match judge(answer.error_code) {
                    Verdict::Done => {
                        let (id, epoch) = (answer.producer_id.0, answer.producer_epoch);
                        self.identity = Some(Identity { id, epoch });
                        return Ok(());
                    }
                    Verdict::Again | Verdict::Elsewhere => {
                        self.cluster.forget_coordinator(Coordinates::Transaction, &self.transactional_id);
                        words(answer.error_code)
                    }
                    Verdict::Abort | Verdict::Fatal => return Err(ClientError::fatal(CALL, words(answer.error_code))),
                    Verdict::Fenced => return Err(ClientError::Fenced { call: CALL, text: words(answer.error_code) }),
                },
                Err(e) => {
                    self.cluster.forget_coordinator(Coordinates::Transaction, &self.transactional_id);
                    std::io::Error::to_string(&e)
                }
            };
            if Instant::now() >= deadline {
                return Err(ClientError::retry(CALL, text));
            }
            debug!(transactional_id = self.transactional_id, text, "not yet");
            std::thread::park_timeout(SLOW_BACKOFF);
        }
    }

    fn begin(&mut self) -> Result<(), ClientError> {
        self.identity("begin")?;
        if self.began.is_some() {
            return Err(ClientError::Abort { call: "begin", text: "a transaction is open".to_owned() });
        }
        self.began = Some(Instant::now());
        Ok(())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ClientError> {
        let size = batch::most(record);
        if size > self.message_max_bytes {
            return Err(ClientError::TooLarge { topic: record.topic.to_owned(), size });
        }
        if self.began.is_none() {
            return Err(ClientError::fatal("send", "no transaction is open"));
        }
        if self.waiting_bytes.saturating_add(size) > WAITING_BYTES {
            self.flush("send", self.end_of_call())?;
        }
        let topic = match self.topics.get(record.topic) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic: Arc<str> = record.topic.into();
                self.topics.insert(record.topic.to_owned(), Arc::clone(&topic));
                topic
            }
        };
        let queue = self.queues.entry((topic, record.partition)).or_default();
        if queue.open.size().saturating_add(size) > self.message_max_bytes {
            queue.full.push_back(std::mem::take(&mut queue.open));
        }
        queue.open.push(record);
        self.waiting_bytes = self.waiting_bytes.saturating_add(size);
        Ok(())
    }

    fn send_offsets(&mut self, offsets: &[OffsetEntry], group: &GroupMetadata) -> Result<(), ClientError> {
        const CALL: &str = "send_offsets";
        if offsets.is_empty() {
            return Ok(());
        }
        let deadline = self.end_of_call();
        self.flush(CALL, deadline)?;
        let request = self.offsets_request(offsets, group, self.identity(CALL)?);
        self.known = true;
        loop {
            let node = self.cluster.coordinator(Coordinates::Group, &group.member.group);
            let answer = node.and_then(|node| {
                let answer = self.cluster.connection(node, Lane::Control).and_then(|c| c.ask(&request));
                answer.inspect_err(|_| self.cluster.hang_up(node, Lane::Control))
            });
            let (text, wait) = match answer {
                Ok(answer) => {
                    let codes = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
                    let Some(code) = codes.into_iter().find(|code| judge(*code) != Verdict::Done) else {
                        return Ok(());
                    };
                    match judge(code) {
                        Verdict::Done | Verdict::Again => (words(code), BACKOFF),
                        Verdict::Elsewhere => {
                            self.cluster.forget_coordinator(Coordinates::Group, &group.member.group);
                            (words(code), SLOW_BACKOFF)
                        }
                        Verdict::Abort => return Err(ClientError::Abort { call: CALL, text: words(code) }),
                        Verdict::Fenced => return Err(self.fenced(CALL, words(code))),
                        Verdict::Fatal => return Err(ClientError::fatal(CALL, words(code))),
                    }
                }
                Err(e) => {
                    self.cluster.forget_coordinator(Coordinates::Group, &group.member.group);
                    (e.to_string(), SLOW_BACKOFF)
                }
            };
            self.pause(CALL, wait, deadline, &text)?;
        }
    }

    fn commit(&mut self) -> Result<(), ClientError> {
        const CALL: &str = "commit";
        if self.began.is_none() {
            return Err(ClientError::fatal(CALL, "no transaction is open"));
        }
        let deadline = self.end_of_call();
        self.flush(CALL, deadline)?;
        self.land(CALL, deadline)?;
        if self.known {
            self.end(CALL, true)?;
        }
        self.reset();
        Ok(())
    }

    fn abort(&mut self) -> Result<(), ClientError> {
        let (known, began) = (self.known, self.began);
        self.reset();
        self.began = began;
        let done = if known { self.end("abort", false) } else { Ok(()) };
        self.began = None;
        done
    }

    // Whatever arrives late has an epoch that is over.
    fn is_suspect(&mut self) -> bool {
        self.identity.is_none()
    }
}

fn take_open(open: &mut BatchBuilder) -> Option<BatchBuilder> {
    (open.count() > 0).then(|| std::mem::take(open))
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn milliseconds(d: Duration) -> i32 {
    i32::try_from(d.as_millis()).unwrap_or(i32::MAX)
}
