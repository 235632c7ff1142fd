//! `fillstream bench loop`: the bare transactional loop, the floor under every path.
//!
//! Read, write to so many topics on the record's partition, commit with the offsets, through the client boundary that the
//! driver uses, without the driver: what is above it is the driver's and the stages' own cost.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fillstream_deploy::{LocalConfig, Service, ServiceSource, down, reset, status, up};
use fillstream_kafka::client::{
    ConnectionConfig, ConsumerEvent, GroupConsumer as _, KafkaClient as _, KafkaProducer, OffsetEntry, Outgoing,
    PartitionReader as _, RdKafka, ReaderEvent, Received, TopicPartition, TransactionalProducer as _,
};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bus::now_us;
use crate::cli::BenchLoop;
use crate::live::usage::{Snapshot, load_average};

/// A record's value: the intended send time and filling.
const VALUE_BYTES: usize = 300;
const DRAIN: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &BenchLoop) -> anyhow::Result<ExitCode> {
    let mut local = super::local::local_config()?;
    local.data = local.data.join("bench");
    let is_ours = !matches!(local.kafka, ServiceSource::External { .. });
    if is_ours {
        reset(&local, &|_| {})?;
    }
    let measured = measure(args, &local);
    if is_ours {
        down(&local, &|_| {})?;
    }
    let results = measured?;
    for figures in &results {
        println!("{}", figures.text());
    }
    if args.json {
        println!("{}", serde_json::json!({ "bench": "loop", "measure_s": args.measure_s, "runs": results }));
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &BenchLoop, local: &LocalConfig) -> anyhow::Result<Vec<Figures>> {
    let endpoints = up(local, &|progress| eprintln!("{progress}"))?;
    let kafka = RdKafka::new(ConnectionConfig::new(&*endpoints.kafka))?;
    let mut results = Vec::new();
    for round in 0..args.rounds {
        for rate in &args.rates {
            for ids in &args.transactional_ids {
                eprintln!("round {} of {}: {rate}/s with {ids} ids", round + 1, args.rounds);
                let name = format!("bench-{}", now_us());
                results.push(Loop { args, kafka: &kafka, local, name, rate: *rate, ids: *ids }.measure()?);
            }
        }
    }
    Ok(results)
}

/// What one run gave.
#[derive(Debug, Serialize)]
struct Figures {
    rate: u32,
    transactional_ids: usize,
    outputs: usize,
    partitions: i32,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    commits_per_s: f64,
    commit_mean_ms: f64,
    /// CPU of a broker of ours.
    kafka_ms_per_commit: Option<f64>,
    unanswered: usize,
    load_average: String,
}

impl Figures {
    fn text(&self) -> String {
        let mut out = String::new();
        let _ = write!(
            out,
            "loop {}/s, {} ids, {} topics of {} partitions: p50 {:.1} p90 {:.1} p99 {:.1} max {:.1} ms; {:.1} commits/s, mean {:.2} ms; kafka {} ms CPU a commit; {} unanswered; load {}",
            self.rate,
            self.transactional_ids,
            self.outputs,
            self.partitions,
            self.p50_ms,
            self.p90_ms,
            self.p99_ms,
            self.max_ms,
            self.commits_per_s,
            self.commit_mean_ms,
            self.kafka_ms_per_commit.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.2}")),
            self.unanswered,
            self.load_average
        );
        out
    }
}

struct Loop<'a> {
    args: &'a BenchLoop,
    kafka: &'a RdKafka,
    local: &'a LocalConfig,
    name: String,
    rate: u32,
    ids: usize,
}

/// What the loop counts while it is measured.
#[derive(Default)]
struct Counted {
    commits: u32,
    in_commit: Duration,
}

impl Loop<'_> {
    fn topic(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    fn outputs(&self) -> Vec<String> {
        (0..self.args.outputs).map(|n| self.topic(&format!("out-{n}"))).collect()
    }

    fn measure(&self) -> anyhow::Result<Figures> {
        let outputs = self.outputs();
        for topic in outputs.iter().chain([&self.topic("in")]) {
            self.kafka.admin().create(topic, self.args.partitions, 1, &std::collections::BTreeMap::new())?;
        }
        let (stop, is_measured) = (AtomicBool::new(false), AtomicBool::new(false));
        let latencies = Arc::new(Mutex::new(Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)?));
        let kafka = status(self.local).into_iter().find(|s| s.service == Service::Kafka);
        let kafka_pid = kafka.and_then(|s| u32::try_from(s.pid?).ok());
        std::thread::scope(|scope| {
            let work = scope.spawn(|| self.work(&outputs, &stop, &is_measured));
            let last = outputs.last().context("--outputs must be at least 1")?;
            let watch = scope.spawn(|| self.watch(last, &stop, &latencies));
            let sent = self.load(&is_measured).and_then(|sent| {
                let deadline = Instant::now() + DRAIN;
                while self.answered(&latencies) < sent.count && Instant::now() < deadline {
                    ensure!(!work.is_finished() && !watch.is_finished(), "the loop ended");
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Ok(sent)
            });
            stop.store(true, Ordering::Relaxed);
            let counted = work.join().map_err(|_| anyhow::anyhow!("the loop panicked"))??;
            watch.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
            let sent = sent?;
            let cpu_s = kafka_pid.map(|pid| sent.after.cpu(&sent.before, "kafka", pid).seconds);
            let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
            let at = |q: f64| Duration::from_micros(latencies.value_at_quantile(q)).as_secs_f64() * 1e3;
            let commits = f64::from(counted.commits.max(1));
            Ok(Figures {
                rate: self.rate,
                transactional_ids: self.ids,
                outputs: self.args.outputs,
                partitions: self.args.partitions,
                p50_ms: at(0.5),
                p90_ms: at(0.9),
                p99_ms: at(0.99),
                max_ms: at(1.0),
                commits_per_s: commits / f64::from(self.args.measure_s),
                commit_mean_ms: counted.in_commit.as_secs_f64() * 1e3 / commits,
                kafka_ms_per_commit: cpu_s.map(|s| s * 1e3 / commits),
                unanswered: sent.count.saturating_sub(usize::try_from(latencies.len())?),
                load_average: load_average(),
            })
        })
    }

    fn answered(&self, latencies: &Mutex<Histogram<u64>>) -> usize {
        usize::try_from(latencies.lock().unwrap_or_else(PoisonError::into_inner).len()).unwrap_or(usize::MAX)
    }

    fn load(&self, is_measured: &AtomicBool) -> anyhow::Result<SentLoad> {
        let publisher = self.kafka.publisher()?;
        let input = self.topic("in");
        let start = now_us() + 500_000;
        let (warm, all) = (self.args.warm_up_s * self.rate, (self.args.warm_up_s + self.args.measure_s) * self.rate);
        let mut before = None;
        for n in 0..all {
            let intended = start + i64::from(n) * 1_000_000 / i64::from(self.rate);
            while let Ok(left @ 1..) = u64::try_from(intended - now_us()) {
                std::thread::park_timeout(Duration::from_micros(left));
            }
            if n == warm {
                is_measured.store(true, Ordering::Relaxed);
                before = Some(Snapshot::take(""));
            }
            let mut value = vec![b'x'; VALUE_BYTES];
            let stamp = if n < warm { 0 } else { intended };
            value.splice(..8, stamp.to_be_bytes());
            let partition = i32::try_from(n)? % self.args.partitions;
            let key = n.to_string();
            publisher.send(&Outgoing {
                topic: &input,
                partition,
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: &[],
                timestamp_ms: intended / 1_000,
            })?;
        }
        publisher.flush(DRAIN)?;
        is_measured.store(false, Ordering::Relaxed);
        let after = Snapshot::take("");
        Ok(SentLoad {
            count: usize::try_from(all - warm)?,
            before: before.context("--measure-s must be at least 1")?,
            after,
        })
    }

    fn watch(&self, topic: &str, stop: &AtomicBool, latencies: &Mutex<Histogram<u64>>) -> anyhow::Result<()> {
        let mut reader = self.kafka.follower()?;
        let from: Vec<_> = (0..self.args.partitions).map(|p| (TopicPartition::new(topic, p), 0)).collect();
        reader.start(&from)?;
        while !stop.load(Ordering::Relaxed) {
            let Some(ReaderEvent::Record(record)) = reader.next(Duration::from_millis(100))? else { continue };
            let at = now_us();
            let stamp =
                record.value.as_deref().and_then(|v| v.first_chunk::<8>()).map_or(0, |b| i64::from_be_bytes(*b));
            if stamp > 0 {
                let us = u64::try_from(at - stamp).unwrap_or(0);
                latencies.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
            }
        }
        Ok(())
    }

    fn work(&self, outputs: &[String], stop: &AtomicBool, is_measured: &AtomicBool) -> anyhow::Result<Counted> {
        let mut producers = Vec::new();
        for n in 0..self.ids {
            let mut producer = self.kafka.producer(&self.topic(&format!("id-{n}")))?;
            producer.init()?;
            producers.push(producer);
        }
        let mut consumer = self.kafka.consumer(&self.topic("group"), "one", &[&self.topic("in")])?;
        let mut counted = Counted::default();
        let mut turn = 0;
        while !stop.load(Ordering::Relaxed) {
            let membership = consumer.group_metadata()?;
            let (mut batch, mut wait) = (Vec::new(), Duration::from_millis(50));
            while let Some(event) = consumer.poll(wait)? {
                match event {
                    ConsumerEvent::Record(record) => {
                        wait = Duration::ZERO;
                        batch.push(record);
                    }
                    ConsumerEvent::Assigned(partitions) => {
                        let at = |tp| OffsetEntry { tp, offset: 0, metadata: String::new() };
                        consumer.assign_at(&partitions.into_iter().map(at).collect::<Vec<_>>())?;
                        // What comes now belongs to another membership than the one taken above.
                        break;
                    }
                    ConsumerEvent::End { .. } => {}
                    other => anyhow::bail!("the bench has its group for itself, but: {other:?}"),
                }
            }
            if batch.is_empty() {
                continue;
            }
            turn = (turn + 1) % producers.len();
            let producer = producers.get_mut(turn).context("--transactional-ids must be at least 1")?;
            write(producer, &batch, outputs)?;
            producer.send_offsets(&offsets(&batch), &membership)?;
            let at = Instant::now();
            producer.commit()?;
            if is_measured.load(Ordering::Relaxed) {
                counted.commits += 1;
                counted.in_commit += at.elapsed();
            }
        }
        Ok(counted)
    }
}

struct SentLoad {
    count: usize,
    before: Snapshot,
    after: Snapshot,
}

fn write(producer: &mut KafkaProducer, batch: &[Received], outputs: &[String]) -> anyhow::Result<()> {
    producer.begin()?;
    for record in batch {
        for topic in outputs {
            producer.send(&Outgoing {
                topic,
                partition: record.partition,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &[],
                timestamp_ms: record.timestamp_ms,
            })?;
        }
    }
    Ok(())
}

fn offsets(batch: &[Received]) -> Vec<OffsetEntry> {
    let partitions: BTreeSet<i32> = batch.iter().map(|r| r.partition).collect();
    let next = |partition: i32| {
        let last = batch.iter().rfind(|r| r.partition == partition)?;
        let tp = TopicPartition::new(Arc::clone(&last.topic), partition);
        Some(OffsetEntry { tp, offset: last.offset + 1, metadata: String::new() })
    };
    partitions.into_iter().filter_map(next).collect()
}
