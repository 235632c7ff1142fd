//! The simulated Kafka is no fiction: the same seeded histories of requests run against it and against a real broker, and
//! both must answer the same: to every request, in last stable offsets, ends, committed offsets, and in what readers of
//! committed records see.
//!
//! When a marker lands is the broker's affair: after each request the simulated markers all land, and the real ones are
//! waited for. The order of landings is the simulation's to vary.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{eventually, kafka, topic, unique};
use fillstream_core::TimestampMicros;
use fillstream_core::record::Payload;
use fillstream_kafka::client::{ClientError, KafkaClient, PartitionReader, RdKafka, ReaderEvent, TopicPartition};
use fillstream_testkit::{Committed, Log, LogError, LogRecord, Outcome, Producer, Random};
use wire::{ProducerId, Wire};

/// Histories, and requests of each.
const HISTORIES: u64 = 200;
const REQUESTS: usize = 24;
const THREADS: u64 = 4;
/// Each history has so many partitions of the topic for itself.
const PARTITIONS: i32 = 2;
/// One of so many histories waits for a transaction to be timed out, which takes seconds.
const WITH_TIMEOUT: u64 = 25;
/// A generation that the group never had.
const STALE: u32 = 5;

/// What a broker refuses a request with, as far as a client must react differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Fenced,
    /// Markers of the last transaction are on their way.
    Concurrent,
    InvalidState,
    StaleGeneration,
    Unstable,
}

/// A broker as the transaction protocol shows it. Producers are numbered in the order of their initialisation.
trait Broker {
    fn init(&mut self, id: usize) -> Result<(), Refusal>;
    fn add_partition(&mut self, producer: usize, partition: i32) -> Result<(), Refusal>;
    fn produce(&mut self, producer: usize, partition: i32, value: &str) -> Result<(), Refusal>;
    fn add_offsets(&mut self, producer: usize) -> Result<(), Refusal>;
    fn commit_offset(&mut self, producer: usize, partition: i32, offset: i64, stale: bool) -> Result<(), Refusal>;
    fn end(&mut self, producer: usize, commit: bool) -> Result<(), Refusal>;
    /// The coordinator times out what the producer has open.
    fn time_out(&mut self, producer: usize);
    fn plain(&mut self, partition: i32, value: &str);
    /// Last stable offset and end of a partition.
    fn ends(&mut self, partition: i32) -> (i64, i64);
    fn stable_offset(&mut self, partition: i32) -> Result<Option<i64>, Refusal>;
    fn committed(&mut self, partition: i32) -> Vec<(i64, String)>;
}

#[derive(Default)]
struct Simulated {
    log: Log,
    producers: Vec<Producer>,
}

fn refusal(error: &LogError) -> Refusal {
    match error {
        LogError::Fenced { .. } => Refusal::Fenced,
        LogError::Concurrent { .. } => Refusal::Concurrent,
        LogError::InvalidState { .. } | LogError::NoTransaction { .. } => Refusal::InvalidState,
        LogError::StaleGeneration { .. } => Refusal::StaleGeneration,
        LogError::Unstable { .. } => Refusal::Unstable,
    }
}

impl Simulated {
    fn ask<T>(
        &mut self,
        request: impl FnOnce(&mut Log, &Producer) -> Result<T, LogError>,
        of: usize,
    ) -> Result<(), Refusal> {
        let producer = self.producers[of].clone();
        request(&mut self.log, &producer).map(drop).map_err(|e| refusal(&e))
    }
}

fn text(value: &str) -> LogRecord {
    LogRecord {
        key: "k".into(),
        value: Some(Payload::Avro(value.as_bytes().into())),
        headers: Vec::new(),
        timestamp: TimestampMicros::from_micros(0),
    }
}

impl Broker for Simulated {
    fn init(&mut self, id: usize) -> Result<(), Refusal> {
        let producer = self.log.init_producer_id(&format!("id-{id}")).map_err(|e| refusal(&e))?;
        self.producers.push(producer);
        Ok(())
    }
    fn add_partition(&mut self, producer: usize, partition: i32) -> Result<(), Refusal> {
        self.ask(|log, p| log.add_partition(p, "t", partition), producer)
    }
    fn produce(&mut self, producer: usize, partition: i32, value: &str) -> Result<(), Refusal> {
        self.ask(|log, p| log.produce(p, "t", partition, text(value)), producer)
    }
    fn add_offsets(&mut self, producer: usize) -> Result<(), Refusal> {
        self.ask(|log, p| log.add_offsets(p, "g"), producer)
    }
    fn commit_offset(&mut self, producer: usize, partition: i32, offset: i64, stale: bool) -> Result<(), Refusal> {
        let committed = Committed { offset, metadata: String::new() };
        let generation = if stale { STALE } else { 0 };
        let offsets = [("t".to_owned(), partition, committed)];
        self.ask(|log, p| log.commit_in_transaction(p, "g", generation, offsets), producer)
    }
    fn end(&mut self, producer: usize, commit: bool) -> Result<(), Refusal> {
        let outcome = if commit { Outcome::Committed } else { Outcome::Aborted };
        self.ask(|log, p| log.end_transaction(p, outcome), producer)
    }
    fn time_out(&mut self, producer: usize) {
        let id = self.producers[producer].id().to_owned();
        self.log.expire(&id);
    }
    fn plain(&mut self, partition: i32, value: &str) {
        self.log.append_plain("t", partition, text(value));
    }
    fn ends(&mut self, partition: i32) -> (i64, i64) {
        self.log.land_all();
        (self.log.last_stable_offset("t", partition), self.log.end_offset("t", partition))
    }
    fn stable_offset(&mut self, partition: i32) -> Result<Option<i64>, Refusal> {
        self.log.land_all();
        self.log.stable_offset("g", "t", partition).map(|c| c.map(|c| c.offset)).map_err(|e| refusal(&e))
    }
    fn committed(&mut self, partition: i32) -> Vec<(i64, String)> {
        self.log.land_all();
        let (records, _) = self.log.read("t", partition, 0);
        records.into_iter().map(|(o, r)| (o, String::from_utf8(r.bytes().to_vec()).unwrap())).collect()
    }
}

/// The real one: requests on the wire, and readers of librdkafka.
struct Real {
    wire: Wire,
    kafka: RdKafka,
    topic: String,
    name: String,
    first: i32,
    timeout_ms: i32,
    producers: Vec<(String, ProducerId, BTreeMap<i32, i32>)>,
}

fn answer(error: i16) -> Result<(), Refusal> {
    match error {
        0 => Ok(()),
        47 | 90 => Err(Refusal::Fenced),
        // A leader that cannot ask the coordinator now says that it has not enough replicas; a coordinator may be loading.
        51 | 19 | 14..=16 => Err(Refusal::Concurrent),
        48 | 120 => Err(Refusal::InvalidState),
        22 | 25 => Err(Refusal::StaleGeneration),
        88 => Err(Refusal::Unstable),
        error => panic!("error {error} of the broker"),
    }
}

impl Real {
    fn new(kafka: &RdKafka, topic: &str, seed: u64) -> Self {
        let address = std::env::var("FILLSTREAM_KAFKA").unwrap();
        let mut wire = Wire::new(address.split(',').next().unwrap());
        let name = unique("h");
        let first = i32::try_from(seed).unwrap() * PARTITIONS;
        eventually("the coordinators", || (wire.find_coordinator(&name, 0) == 0).then_some(()));
        eventually("the coordinators", || (wire.find_coordinator(&name, 1) == 0).then_some(()));
        for partition in first..first + PARTITIONS {
            eventually("a leader", || wire.end_offset(topic, partition, true).ok());
        }
        Self {
            wire,
            kafka: kafka.clone(),
            topic: topic.to_owned(),
            name,
            first,
            timeout_ms: if seed.is_multiple_of(WITH_TIMEOUT) { 4_000 } else { 60_000 },
            producers: Vec::new(),
        }
    }
}

impl Broker for Real {
    fn init(&mut self, id: usize) -> Result<(), Refusal> {
        let id = format!("{}-{id}", self.name);
        match self.wire.init_producer_id(&id, self.timeout_ms) {
            Ok(producer) => {
                self.producers.push((id, producer, BTreeMap::new()));
                Ok(())
            }
            Err(error) => answer(error),
        }
    }
    fn add_partition(&mut self, producer: usize, partition: i32) -> Result<(), Refusal> {
        let (id, p, _) = &self.producers[producer];
        answer(self.wire.add_partition(id, p, &self.topic, self.first + partition))
    }
    fn produce(&mut self, producer: usize, partition: i32, value: &str) -> Result<(), Refusal> {
        let (id, p, sequences) = &mut self.producers[producer];
        let sequence = sequences.entry(partition).or_insert(0);
        let done = self.wire.produce(Some((id, p, *sequence)), &self.topic, self.first + partition, value);
        *sequence += i32::from(done == 0);
        answer(done)
    }
    fn add_offsets(&mut self, producer: usize) -> Result<(), Refusal> {
        let (id, p, _) = &self.producers[producer];
        answer(self.wire.add_offsets(id, p, &self.name))
    }
    fn commit_offset(&mut self, producer: usize, partition: i32, offset: i64, stale: bool) -> Result<(), Refusal> {
        let (id, p, _) = &self.producers[producer];
        let member = if stale { (i32::try_from(STALE).unwrap(), "gone") } else { (-1, "") };
        let at = (self.topic.as_str(), self.first + partition, offset);
        answer(self.wire.txn_offset_commit(id, p, &self.name, member, at))
    }
    fn end(&mut self, producer: usize, commit: bool) -> Result<(), Refusal> {
        let (id, p, _) = &self.producers[producer];
        answer(self.wire.end_txn(id, p, commit))
    }
    fn time_out(&mut self, _: usize) {
        // Nothing to do but to wait: the ends that follow do.
    }
    fn plain(&mut self, partition: i32, value: &str) {
        assert_eq!(self.wire.produce(None, &self.topic, self.first + partition, value), 0);
    }
    fn ends(&mut self, partition: i32) -> (i64, i64) {
        let mut end = |stable| self.wire.end_offset(&self.topic, self.first + partition, stable).unwrap();
        (end(true), end(false))
    }
    fn stable_offset(&mut self, partition: i32) -> Result<Option<i64>, Refusal> {
        match self.wire.stable_offset(&self.name, &self.topic, self.first + partition) {
            Ok(-1) => Ok(None),
            Ok(offset) => Ok(Some(offset)),
            Err(error) => Err(answer(error).unwrap_err()),
        }
    }
    fn committed(&mut self, partition: i32) -> Vec<(i64, String)> {
        let tp = TopicPartition::new(self.topic.as_str(), self.first + partition);
        let mut reader = self.kafka.reader().unwrap();
        reader.start(&[(tp, 0)]).unwrap();
        let mut records = Vec::new();
        eventually("the end of a partition", || match reader.next(Duration::from_millis(100)) {
            Ok(Some(ReaderEvent::Record(r))) => {
                records.push((r.offset, String::from_utf8(r.value.unwrap()).unwrap()));
                None
            }
            Ok(Some(ReaderEvent::End { .. })) => Some(()),
            Ok(None) | Err(ClientError::Retry { .. }) => None,
            Err(e) => panic!("{e}"),
        });
        records
    }
}

/// A request of a history.
#[derive(Clone, Debug)]
enum Request {
    Init(usize),
    AddPartition(usize, i32),
    Produce(usize, i32, String),
    AddOffsets(usize),
    CommitOffset(usize, i32, i64, bool),
    End(usize, bool),
    TimeOut(usize),
    Plain(i32, String),
}

fn ask(broker: &mut dyn Broker, request: &Request) -> Result<(), Refusal> {
    match request {
        Request::Init(id) => broker.init(*id),
        Request::AddPartition(producer, partition) => broker.add_partition(*producer, *partition),
        Request::Produce(producer, partition, value) => broker.produce(*producer, *partition, value),
        Request::AddOffsets(producer) => broker.add_offsets(*producer),
        Request::CommitOffset(producer, partition, offset, stale) => {
            broker.commit_offset(*producer, *partition, *offset, *stale)
        }
        Request::End(producer, commit) => broker.end(*producer, *commit),
        Request::TimeOut(producer) => {
            broker.time_out(*producer);
            Ok(())
        }
        Request::Plain(partition, value) => {
            broker.plain(*partition, value);
            Ok(())
        }
    }
}

/// What the generator of a history knows: enough to make most requests sensible, and some not.
struct Author {
    random: Random,
    /// Ids of the producers so far.
    producers: Vec<usize>,
    values: usize,
}

impl Author {
    // A transaction that nobody ends, and what its producer and a successor try then.
    fn timed_out(&mut self) -> Vec<Request> {
        let partition = i32::try_from(self.random.below(2)).unwrap();
        let produce = |of| [Request::AddPartition(of, partition), Request::Produce(of, partition, format!("by {of}"))];
        let mut requests = vec![Request::Init(0)];
        requests.extend(produce(0));
        if self.random.coin() {
            requests.extend([Request::AddOffsets(0), Request::CommitOffset(0, partition, 3, false)]);
        }
        requests.extend([
            Request::Plain(partition, "behind it".to_owned()),
            Request::TimeOut(0),
            Request::End(0, true),
        ]);
        requests.extend(produce(0));
        requests.push(Request::Init(0));
        requests.extend(produce(1));
        requests.extend([Request::End(0, false), Request::End(1, true)]);
        requests
    }

    // Two ids in turn: offsets of one partition, whose decisions come in either order.
    fn crossing(&mut self) -> Vec<Request> {
        let partition = i32::try_from(self.random.below(2)).unwrap();
        let commit = |of, offset| [Request::AddOffsets(of), Request::CommitOffset(of, partition, offset, false)];
        let mut requests = vec![Request::Init(0), Request::Init(1)];
        requests.extend(commit(0, 4));
        requests.extend(commit(1, 9));
        let first = self.random.below(2);
        requests.extend([Request::End(first, true), Request::End(1 - first, self.random.below(4) > 0)]);
        requests
    }

    fn next(&mut self) -> Vec<Request> {
        let partition = i32::try_from(self.random.below(2)).unwrap();
        if self.producers.is_empty() || self.random.below(14) == 0 {
            let id = self.random.below(2);
            self.producers.push(id);
            return vec![Request::Init(id)];
        }
        // Mostly one of the last: the others are fenced.
        let back = self.random.below(self.producers.len().min(3));
        let producer = self.producers.len() - 1 - back;
        self.values += 1;
        let value = format!("v{}", self.values);
        match self.random.below(20) {
            0..9 => vec![Request::AddPartition(producer, partition), Request::Produce(producer, partition, value)],
            9 => vec![Request::Produce(producer, partition, value)],
            10..13 => {
                let offset = i64::try_from(self.values).unwrap();
                let stale = self.random.below(4) == 0;
                vec![Request::AddOffsets(producer), Request::CommitOffset(producer, partition, offset, stale)]
            }
            13..17 => vec![Request::End(producer, self.random.below(3) > 0)],
            // A repeat of it, or a late one of the transaction before: KAFKA-17754.
            17 => vec![Request::End(producer, true), Request::End(producer, true)],
            _ => vec![Request::Plain(partition, value)],
        }
    }
}

/// Asks until markers of the last transaction are no reason to refuse any more.
fn insist(broker: &mut dyn Broker, request: &Request) -> Result<(), Refusal> {
    eventually("the markers", || match ask(broker, request) {
        Err(Refusal::Concurrent) => {
            broker.ends(0);
            None
        }
        answer => Some(answer),
    })
}

fn compare(simulated: &mut Simulated, real: &mut Real, history: &[String]) {
    for partition in 0..PARTITIONS {
        let expected = (simulated.ends(partition), simulated.stable_offset(partition));
        let mut last = None;
        let deadline = std::time::Instant::now() + common::DEADLINE;
        loop {
            let found = (real.ends(partition), real.stable_offset(partition));
            if found == expected {
                break;
            }
            last.replace(found);
            assert!(
                std::time::Instant::now() < deadline,
                "partition {partition}: simulated {expected:?}, real {last:?} after\n{}",
                history.join("\n")
            );
        }
    }
}

/// Requests that were compared.
fn history(kafka: &RdKafka, topic: &str, seed: u64) -> usize {
    let mut simulated = Simulated::default();
    simulated.log.hold_markers();
    let mut real = Real::new(kafka, topic, seed);
    let mut author = Author { random: Random::new(seed), producers: Vec::new(), values: 0 };
    let (mut said, mut compared) = (Vec::new(), 0);
    let requests = |author: &mut Author| -> Vec<Request> { (0..REQUESTS).flat_map(|_| author.next()).collect() };
    let requests = match seed % WITH_TIMEOUT {
        0 => author.timed_out(),
        1 | 2 => author.crossing(),
        _ => requests(&mut author),
    };
    for request in requests {
        let (ours, theirs) = (insist(&mut simulated, &request), insist(&mut real, &request));
        said.push(format!("{request:?}: {ours:?}"));
        assert_eq!(ours, theirs, "history {seed}, simulated and real, after\n{}", said.join("\n"));
        compared += 1;
        compare(&mut simulated, &mut real, &said);
    }
    for partition in 0..PARTITIONS {
        let (ours, theirs) = (simulated.committed(partition), real.committed(partition));
        assert_eq!(ours, theirs, "history {seed}, partition {partition}, after\n{}", said.join("\n"));
    }
    compared
}

#[test]
fn simulated_and_real_brokers_agree_on_every_history() {
    let kafka = kafka();
    // The records are of 2023: retention would take them away.
    let topic = topic(&kafka, "histories", i32::try_from(HISTORIES).unwrap() * PARTITIONS, &[("retention.ms", "-1")]);
    let first: u64 = std::env::var("HISTORY").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    // Mostly they wait for the broker: several at a time.
    let seeds = |thread: u64| (first..HISTORIES).filter(move |seed| seed % THREADS == thread);
    let run = |thread| seeds(thread).map(|seed| history(&kafka, &topic, seed)).sum::<usize>();
    let compared: usize = std::thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{} histories, {compared} requests", HISTORIES - first);
    assert!(compared > 10 * usize::try_from(HISTORIES - first).unwrap());
}
