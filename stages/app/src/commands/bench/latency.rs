//! Open-loop latency of a contender: from the time at which a record should have gone out to a reader of committed records.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fillstream_kafka::client::{
    ClientError, KafkaClient as _, PartitionReader as _, RdKafka, ReaderEvent, TopicPartition,
};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::args::Latency;
use super::bed::Bed;
use super::contender::{Contender, Job, Kind};
use super::feed::{Feed, stamp};
use super::stages::{IN, Work};
use super::text::milliseconds;
use crate::bus::now_us;
use crate::live::usage::{Cpu, Phase, Snapshot, load_average};

/// How long answers are waited for after the load.
const DRAIN: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

/// What one run gave. Latencies are milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) who: &'static str,
    pub(super) work: &'static str,
    pub(super) rate: u32,
    pub(super) partitions: i32,
    pub(super) records: usize,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// How late the load generator was at worst: it is part of the latency.
    pub(super) send_lateness_max_ms: f64,
    /// Records not answered when the last one went out.
    pub(super) in_flight_at_end: usize,
    /// Records not answered after the drain.
    pub(super) unanswered: usize,
    /// Transactions a second, and the mean time of a commit; of a peer unknown.
    pub(super) commits_per_s: Option<f64>,
    pub(super) commit_mean_ms: Option<f64>,
    /// The driver's own phases.
    pub(super) phases: Vec<Phase>,
    pub(super) cpu: Vec<Cpu>,
    pub(super) others: Vec<Cpu>,
    pub(super) load_average_before: String,
    pub(super) load_average_after: String,
}

/// How records are sent.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) rate: u32,
    pub(super) warm_up_s: u32,
    pub(super) measure_s: u32,
}

/// Runs every contender at every rate, in turn.
pub(super) fn rounds(bed: &Bed, args: &Latency, work: Work) -> anyhow::Result<Vec<Figures>> {
    let mut all = Vec::new();
    warm_up(bed, args, work)?;
    for round in 0..args.common.rounds {
        for rate in &args.rates {
            for kind in Kind::of(&args.common) {
                eprintln!("round {} of {}: {}, {}, {rate}/s", round + 1, args.common.rounds, kind.name(), work.name());
                let job = Job {
                    bed,
                    common: &args.common,
                    work,
                    number: all.len(),
                    loop_topics: work.topics(),
                    loop_ids: usize::from(args.loop_ids),
                    loop_every: Duration::ZERO,
                };
                let load = Load { rate: *rate, warm_up_s: args.warm_up_s, measure_s: args.measure_s };
                let figures = measure(&job, kind, load)?;
                eprintln!("{}", figures.text());
                all.push(figures);
            }
        }
    }
    Ok(all)
}

/// Runs the bare loop once and forgets it: whoever came first would meet a broker whose code is not compiled yet.
fn warm_up(bed: &Bed, args: &Latency, work: Work) -> anyhow::Result<()> {
    const NUMBER: usize = 999;
    const SECONDS: u32 = 10;
    eprintln!("warming up the broker");
    let (common, loop_topics) = (&args.common, work.topics());
    let job = Job { bed, common, work, number: NUMBER, loop_topics, loop_ids: 1, loop_every: Duration::ZERO };
    let rate = args.rates.iter().copied().max().unwrap_or(1);
    measure(&job, Kind::Loop, Load { rate, warm_up_s: 0, measure_s: SECONDS }).map(drop)
}

/// Runs a contender under a load.
pub(super) fn measure(job: &Job<'_>, kind: Kind, load: Load) -> anyhow::Result<Figures> {
    let (bed, common) = (job.bed, job.common);
    bed.remake(IN, common.partitions)?;
    let feed = Feed::prompt(bed, common.partitions, common.keys, common.bytes)?;
    let mut contender = job.start(kind)?;
    contender.await_ready()?;
    let watch = Watch::default();
    let run = Run { bed, feed: &feed, load, watch: &watch };
    let (kafka, output) = (bed.fresh_client()?, contender.output.clone());
    let done = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch.read(&kafka, output, common.partitions));
        let done = run.run(&mut contender, || watching.is_finished());
        watch.stop.store(true, Ordering::Relaxed);
        let watched = watching.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        // Why the reader ended tells more than that it did.
        watched.and(done)
    });
    let done = done?;
    let figures = figures(job, &contender, load, &done, &watch)?;
    contender.stop(bed)?;
    Ok(figures)
}

struct Run<'a> {
    bed: &'a Bed,
    feed: &'a Feed,
    load: Load,
    watch: &'a Watch,
}

/// What was seen beside the latencies.
struct Done {
    records: usize,
    lateness_us: u64,
    in_flight_at_end: usize,
    before: Moment,
    after: Moment,
    load_average_before: String,
}

/// Everything cumulative, at a moment.
struct Moment {
    snapshot: Snapshot,
    loop_commits: Option<(u64, u64)>,
}

impl Moment {
    fn now(contender: &Contender) -> Self {
        Self { snapshot: Snapshot::take(&contender.metrics()), loop_commits: contender.loop_commits() }
    }
}

impl Run<'_> {
    fn run(&self, contender: &mut Contender, is_blind: impl Fn() -> bool) -> anyhow::Result<Done> {
        let Load { rate, warm_up_s, measure_s } = self.load;
        let (warm, all) = (warm_up_s * rate, (warm_up_s + measure_s) * rate);
        let load_average_before = load_average();
        let start = now_us() + 500_000;
        self.watch.from_us.store(u64::try_from(start + i64::from(warm_up_s) * 1_000_000)?, Ordering::Relaxed);
        let (mut before, mut lateness_us) = (None, 0);
        for n in 0..all {
            let intended = start + i64::from(n) * 1_000_000 / i64::from(rate);
            while let Ok(left @ 1..) = u64::try_from(intended - now_us()) {
                std::thread::park_timeout(Duration::from_micros(left));
            }
            if n == warm {
                before = Some(Moment::now(contender));
            }
            self.feed.send(n, intended)?;
            if n >= warm {
                lateness_us = lateness_us.max(u64::try_from(now_us() - intended).unwrap_or(0));
            }
            if n % rate == 0 {
                self.bed.check()?;
                contender.check()?;
                ensure!(!is_blind(), "the reader ended");
            }
        }
        self.feed.flush()?;
        let records = usize::try_from(all - warm)?;
        let in_flight_at_end = records.saturating_sub(self.watch.seen());
        let after = Moment::now(contender);
        let deadline = Instant::now() + DRAIN;
        while self.watch.seen() < records && Instant::now() < deadline {
            self.bed.check()?;
            contender.check()?;
            ensure!(!is_blind(), "the reader ended");
            std::thread::park_timeout(STEP);
        }
        let before = before.context("nothing was measured")?;
        Ok(Done { records, lateness_us, in_flight_at_end, before, after, load_average_before })
    }
}

/// Reads what comes out.
struct Watch {
    stop: AtomicBool,
    /// Records that should have gone out earlier are not measured; OS clock, microseconds.
    from_us: AtomicU64,
    latencies: Mutex<Option<Histogram<u64>>>,
    seen: AtomicU64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            from_us: AtomicU64::new(u64::MAX),
            latencies: Mutex::new(None),
            seen: AtomicU64::new(0),
        }
    }
}

impl Watch {
    fn seen(&self) -> usize {
        usize::try_from(self.seen.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    fn read(&self, kafka: &RdKafka, topic: String, partitions: i32) -> anyhow::Result<()> {
        let mut latencies = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)?;
        let mut reader = kafka.follower()?;
        let topic: std::sync::Arc<str> = topic.into();
        let from: Vec<_> = (0..partitions).map(|p| (TopicPartition::new(topic.clone(), p), 0)).collect();
        reader.start(&from)?;
        while !self.stop.load(Ordering::Relaxed) {
            let record = match reader.next(Duration::from_millis(100)) {
                Ok(Some(ReaderEvent::Record(record))) => record,
                // A topic that is a moment old is unknown to the reader at first.
                Ok(Some(ReaderEvent::End { .. }) | None) | Err(ClientError::Retry { .. }) => continue,
                Err(e) => return Err(e.into()),
            };
            let at = now_us();
            let intended = stamp(record.value.as_deref().context("a record without a value")?)?;
            if u64::try_from(intended)? >= self.from_us.load(Ordering::Relaxed) {
                latencies.saturating_record(u64::try_from(at - intended).unwrap_or(0));
                self.seen.fetch_add(1, Ordering::Relaxed);
            }
        }
        *self.latencies.lock().unwrap_or_else(PoisonError::into_inner) = Some(latencies);
        Ok(())
    }
}

fn figures(job: &Job<'_>, contender: &Contender, load: Load, done: &Done, watch: &Watch) -> anyhow::Result<Figures> {
    let latencies = watch.latencies.lock().unwrap_or_else(PoisonError::into_inner);
    let latencies = latencies.as_ref().context("nothing was read")?;
    let at = |quantile: f64| milliseconds(latencies.value_at_quantile(quantile));
    let (before, after) = (&done.before.snapshot, &done.after.snapshot);
    let phases = after.phases(before);
    let commit = phases.iter().find(|p| p.phase == "commit").map(|p| (p.count, p.mean_ms));
    let looped = done.before.loop_commits.zip(done.after.loop_commits).map(|(then, now)| {
        let commits = f64::from(u32::try_from(now.0 - then.0).unwrap_or(u32::MAX));
        (commits, milliseconds(now.1 - then.1) / commits.max(1.0))
    });
    let commits = commit.or(looped);
    let processes: Vec<(&str, u32)> = [("bench", Some(std::process::id())), ("kafka", job.bed.kafka_pid())]
        .into_iter()
        .chain([("peer", contender.pid())])
        .filter_map(|(name, pid)| Some((name, pid?)))
        .collect();
    let known: Vec<u32> = processes.iter().map(|(_, pid)| *pid).collect();
    Ok(Figures {
        who: contender.kind.name(),
        work: job.work.name(),
        rate: load.rate,
        partitions: job.common.partitions,
        records: done.records,
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        send_lateness_max_ms: milliseconds(done.lateness_us),
        in_flight_at_end: done.in_flight_at_end,
        unanswered: done.records.saturating_sub(watch.seen()),
        commits_per_s: commits.map(|(count, _)| count / f64::from(load.measure_s)),
        commit_mean_ms: commits.map(|(_, mean)| mean),
        phases,
        cpu: processes.iter().map(|(name, pid)| after.cpu(before, name, *pid)).collect(),
        others: after.others(before, &known),
        load_average_before: done.load_average_before.clone(),
        load_average_after: load_average(),
    })
}

impl Figures {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:<5} {:<5} {}/s over {} partitions: p50 {:.2} p90 {:.2} p99 {:.2} max {:.1} ms ({} records, load generator at most {:.1} ms late)",
            self.who,
            self.work,
            self.rate,
            self.partitions,
            self.p50_ms,
            self.p90_ms,
            self.p99_ms,
            self.max_ms,
            self.records,
            self.send_lateness_max_ms
        );
        let commits = match (self.commits_per_s, self.commit_mean_ms) {
            (Some(rate), Some(mean)) => format!("{rate:.1} commits/s of {mean:.2} ms"),
            _ => "commits unknown".to_owned(),
        };
        let cpu = |all: &[Cpu]| all.iter().map(|c| format!("{} {:.2}", c.name, c.cores)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "      {commits}; in flight at the end {}, unanswered {}; cores: {}; others: {}; load average {} then {}",
            self.in_flight_at_end,
            self.unanswered,
            cpu(&self.cpu),
            cpu(&self.others),
            self.load_average_before,
            self.load_average_after
        );
        for p in &self.phases {
            let _ = writeln!(out, "      {:<8} {:>7} x {:>7.3} ms", p.phase, p.count, p.mean_ms);
        }
        out
    }
}
