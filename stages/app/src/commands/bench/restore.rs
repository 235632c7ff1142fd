//! `fillstream bench restore`: how long a task's state takes to come back, and a killed process to get back to work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fillstream_deploy::Service;
use fillstream_kafka::client::{ClientError, KafkaClient as _, PartitionReader as _, ReaderEvent, TopicPartition};
use fillstream_kafka::topics::{changelog_topic, consumer_group};
use fillstream_schemas::execution::Command;
use fillstream_schemas::{AvroRecord as _, wire};
use serde::Serialize;

use super::args::Restore;
use super::bed::{Bed, eventually};
use super::feed::Feed;
use super::stages::{IN, KEPT, Work, actor};
use super::text::{median, milliseconds, number};
use crate::bus::now_us;
use crate::config::Config;
use crate::demo::processes::Process;
use crate::live::get;
use crate::live::usage::load_average;
use crate::live::usage::resident_bytes_of;

const READY: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(2);
/// Longest time for one kill's recovery, or for all of the load to be worked off without progress.
const STALLED: Duration = Duration::from_secs(90);
/// Keys that are asked for after each restart.
const QUESTIONS: u32 = 200;
/// Between a recovery and the next kill: the group settles.
const BETWEEN: Duration = Duration::from_millis(1_500);

/// One restart with all keys.
#[derive(Debug, Serialize)]
struct Restored {
    /// From the kill to the first committed answer, milliseconds.
    kill_to_answer_ms: f64,
    /// Reading state alone, as the driver measured it, milliseconds.
    restore_ms: f64,
    /// Resident memory of the process before the kill and after the restart, bytes.
    memory_before: u64,
    memory_after: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    keys: u32,
    updates: u32,
    bytes: u32,
    partitions: i32,
    updates_per_s: f64,
    /// Of a local broker: bytes of the changelog on disk when the first process was killed.
    changelog_bytes: Option<u64>,
    restored: Vec<Restored>,
    small_keys: u32,
    /// Kills under load, each from the kill to the first committed answer to a later record, milliseconds.
    recoveries_ms: Vec<f64>,
    load_average: String,
}

pub(super) fn run(args: &Restore, config: &Config) -> anyhow::Result<bool> {
    let figures = Bed::with(config, (args.partitions, 1), |bed| {
        let mut figures = Figures {
            keys: args.keys,
            updates: args.updates,
            bytes: args.bytes,
            partitions: args.partitions,
            updates_per_s: 0.0,
            changelog_bytes: None,
            restored: Vec::new(),
            small_keys: args.small_keys,
            recoveries_ms: Vec::new(),
            load_average: load_average(),
        };
        large(bed, args, &mut figures)?;
        small(bed, args, &mut figures)?;
        Ok(figures)
    })?;
    println!("{}", figures.text());
    if args.json {
        println!("{}", serde_json::json!({ "bench": "restore", "figures": figures }));
    }
    Ok(true)
}

/// A worker process, and how to start it again.
struct Killable {
    name: String,
    dir: PathBuf,
    args: Vec<String>,
    process: Process,
}

impl Killable {
    /// Makes the topics of the group and starts it.
    fn start(bed: &Bed, name: &str, partitions: i32) -> anyhow::Result<Self> {
        for topic in [IN, KEPT] {
            bed.remake(topic, partitions)?;
        }
        bed.remake_engine_topics(name, Work::Keep.stage(), partitions)?;
        let dir = bed.local.data.join("run");
        std::fs::create_dir_all(&dir)?;
        let file = dir.join(format!("{name}.toml"));
        std::fs::write(&file, toml::to_string(&bed.config)?)?;
        let partitions = partitions.to_string();
        let file = file.display().to_string();
        let args = ["bench", "worker", "--config", &file, "--name", name, "--partitions", &partitions];
        let args = args.map(str::to_owned).to_vec();
        let process = Process::start(name, &dir, &args)?;
        let mut killable = Self { name: name.to_owned(), dir, args, process };
        killable.await_ready()?;
        Ok(killable)
    }

    fn kill_and_restart(&mut self) -> anyhow::Result<Instant> {
        self.process.kill()?;
        let at = Instant::now();
        self.process = Process::start(&self.name, &self.dir, &self.args)?;
        Ok(at)
    }

    fn url(&mut self) -> anyhow::Result<String> {
        Ok(format!("http://{}", self.process.address(READY)?))
    }

    fn await_ready(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/health/ready", self.url()?);
        let deadline = Instant::now() + READY;
        while !matches!(get(&url), Ok((200, _))) {
            self.process.check()?;
            ensure!(Instant::now() < deadline, "{} is not ready after {READY:?}", self.name);
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Seconds in which its tasks were restored, summed.
    fn restore_seconds(&mut self) -> anyhow::Result<f64> {
        let (_, text) = get(&format!("{}/metrics", self.url()?))?;
        let sums = text.lines().filter(|l| l.starts_with("fillstream_restore_seconds_sum"));
        Ok(sums.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    fn memory(&self) -> u64 {
        resident_bytes_of(&self.process.id().to_string())
    }
}

/// All keys, updated so many times, and restarts with them.
fn large(bed: &Bed, args: &Restore, figures: &mut Figures) -> anyhow::Result<()> {
    const NAME: &str = "bench-keep-all";
    let mut worker = Killable::start(bed, NAME, args.partitions)?;
    let start = Instant::now();
    let feed = Feed::bulk(bed, args.partitions, args.keys, args.bytes)?;
    let (mut n, stamp) = (0_u32, now_us());
    for _ in 0..args.updates {
        for _ in 0..args.keys {
            feed.send(n, stamp)?;
            n = n.wrapping_add(1);
            if n.is_multiple_of(100_000) {
                bed.check()?;
                worker.process.check()?;
            }
        }
    }
    feed.flush()?;
    drop(feed);
    await_done(bed, &mut worker, args.partitions, NAME)?;
    figures.updates_per_s = number(u64::from(args.keys) * u64::from(args.updates)) / start.elapsed().as_secs_f64();
    eprintln!("{} keys updated {} times: {:.0} updates/s", args.keys, args.updates, figures.updates_per_s);
    figures.changelog_bytes = on_disk(&bed.local.service_dir(Service::Kafka).join("data"), &changelog_topic(NAME));
    let answers = Answers::default();
    let asking = Feed::prompt(bed, args.partitions, args.keys, args.bytes)?.acting(actor::ASK);
    answers.during(bed, args.partitions, || {
        for round in 0..args.restores {
            let memory_before = worker.memory();
            let asked = now_us();
            let at = worker.kill_and_restart()?;
            // Spread over the keys; they wait for the process.
            for question in 0..QUESTIONS {
                let key = u64::from(question) * u64::from(args.keys) / u64::from(QUESTIONS);
                asking.send_key(usize::try_from(key)?, question, asked)?;
            }
            asking.flush()?;
            let first = answers.first_since(asked, &mut worker)?;
            let answered = at.elapsed().saturating_sub(Duration::from_micros(u64::try_from(now_us() - first)?));
            worker.await_ready()?;
            eventually("every answer", || {
                Ok((answers.count_since(asked) >= usize::try_from(QUESTIONS)?).then_some(()))
            })?;
            answers.check(asked, u64::from(args.updates))?;
            let restored = Restored {
                kill_to_answer_ms: answered.as_secs_f64() * 1e3,
                restore_ms: worker.restore_seconds()? * 1e3,
                memory_before,
                memory_after: worker.memory(),
            };
            eprintln!("restart {} of {}: {restored:?}", round + 1, args.restores);
            figures.restored.push(restored);
        }
        Ok(())
    })
}

/// Few keys under load, and kills.
fn small(bed: &Bed, args: &Restore, figures: &mut Figures) -> anyhow::Result<()> {
    if args.kills == 0 {
        return Ok(());
    }
    let mut worker = Killable::start(bed, "bench-keep-few", args.partitions)?;
    let feed = Feed::prompt(bed, args.partitions, args.small_keys, args.bytes)?.acting(actor::LIVE);
    let (answers, stop, sent) = (Answers::default(), AtomicBool::new(false), AtomicU64::new(0));
    let rate = i64::from(args.rate);
    answers.during(bed, args.partitions, || {
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let start = now_us();
                for n in 0..u32::MAX {
                    let intended = start + i64::from(n) * 1_000_000 / rate;
                    while let Ok(left @ 1..) = u64::try_from(intended - now_us()) {
                        std::thread::park_timeout(Duration::from_micros(left));
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    feed.send(n, intended)?;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                feed.flush()
            });
            let killed = (0..args.kills).try_for_each(|kill| {
                std::thread::sleep(BETWEEN);
                bed.check()?;
                let before = now_us();
                worker.kill_and_restart()?;
                let first = answers.first_since(before, &mut worker)?;
                figures.recoveries_ms.push(milliseconds(u64::try_from(first - before)?));
                eprintln!(
                    "kill {} of {}: {:.0} ms",
                    kill + 1,
                    args.kills,
                    milliseconds(u64::try_from(first - before)?)
                );
                worker.await_ready()
            });
            stop.store(true, Ordering::Relaxed);
            sending.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
            killed
        })?;
        let sent = usize::try_from(sent.load(Ordering::Relaxed))?;
        eventually("every answer", || Ok((answers.count_since(0) >= sent).then_some(())))?;
        answers.check_each_once(sent)
    })
}

/// What came out: by the time stamp of the record that was answered, when it was read, its key and number.
#[derive(Default)]
struct Answers(Mutex<Vec<Answer>>, AtomicBool);

#[derive(Clone)]
struct Answer {
    stamp_us: i64,
    read_us: i64,
    key: String,
    number: u64,
}

impl Answers {
    /// Reads answers while `work` runs.
    fn during<T>(&self, bed: &Bed, partitions: i32, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut reader = bed.fresh_client()?.follower()?;
        let topic: Arc<str> = KEPT.into();
        let from: Vec<_> = (0..partitions).map(|p| (TopicPartition::new(topic.clone(), p), 0)).collect();
        reader.start(&from)?;
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || -> anyhow::Result<()> {
                while !self.1.load(Ordering::Relaxed) {
                    let record = match reader.next(Duration::from_millis(50)) {
                        Ok(Some(ReaderEvent::Record(record))) => record,
                        Ok(Some(ReaderEvent::End { .. }) | None) | Err(ClientError::Retry { .. }) => continue,
                        Err(e) => return Err(e.into()),
                    };
                    let read_us = now_us();
                    let command = Command::decode(wire::split(record.value.as_deref().context("no value")?)?.1)?;
                    let (stamp_us, number) = (command.timestamp.micros(), command.order_id.parse()?);
                    self.all().push(Answer { stamp_us, read_us, key: command.portfolio_id, number });
                }
                Ok(())
            });
            let done = work();
            self.1.store(true, Ordering::Relaxed);
            let read = reading.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
            read.and(done)
        })
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first answer to a record stamped at `us` or later; gives when it was read.
    fn first_since(&self, us: i64, worker: &mut Killable) -> anyhow::Result<i64> {
        let deadline = Instant::now() + STALLED;
        loop {
            // What came before was answered before: only the last ones can be new.
            let first =
                self.all().iter().rev().take_while(|a| a.read_us >= us).filter(|a| a.stamp_us >= us).last().cloned();
            if let Some(first) = first {
                return Ok(first.read_us);
            }
            worker.process.check()?;
            ensure!(Instant::now() < deadline, "no answer within {STALLED:?}");
            std::thread::park_timeout(STEP);
        }
    }

    fn count_since(&self, us: i64) -> usize {
        self.all().iter().filter(|a| a.stamp_us >= us).count()
    }

    /// Every answer to a record stamped at `us` or later tells of so many updates.
    fn check(&self, us: i64, updates: u64) -> anyhow::Result<()> {
        let wrong = self.all().iter().find(|a| a.stamp_us >= us && a.number != updates).cloned();
        match wrong {
            None => Ok(()),
            Some(a) => anyhow::bail!("{} was updated {updates} times, but its state says {}", a.key, a.number),
        }
    }

    /// The records of each key were numbered 1, 2, 3 ..., and there are so many.
    fn check_each_once(&self, sent: usize) -> anyhow::Result<()> {
        let mut seen: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        let all = self.all();
        ensure!(all.len() == sent, "{sent} records were sent, and {} answered", all.len());
        for a in all.iter() {
            ensure!(seen.entry(a.key.clone()).or_default().insert(a.number), "{} has two numbers {}", a.key, a.number);
        }
        let gap = seen.iter().find(|(_, numbers)| numbers.last().copied() != u64::try_from(numbers.len()).ok());
        ensure!(gap.is_none(), "numbers of {gap:?} are missing");
        Ok(())
    }
}

/// Waits until everything that was written is worked off.
fn await_done(bed: &Bed, worker: &mut Killable, partitions: i32, name: &str) -> anyhow::Result<()> {
    let total: i64 = bed.ends(IN, partitions)?.iter().sum();
    let progress = bed.progress(&consumer_group(name), IN, partitions)?;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let committed = progress.committed()?;
        if committed >= total {
            return Ok(());
        }
        if committed > last {
            (last, since) = (committed, Instant::now());
        }
        ensure!(since.elapsed() < STALLED, "{name} stands at {last} of {total}");
        bed.check()?;
        worker.process.check()?;
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Bytes of a topic's logs in a broker's data; `None` of a broker elsewhere.
fn on_disk(data: &Path, topic: &str) -> Option<u64> {
    let dirs = std::fs::read_dir(data).ok()?.flatten();
    let of_topic =
        dirs.filter(|d| d.file_name().to_str().and_then(|n| n.rsplit_once('-')).is_some_and(|(name, _)| name == topic));
    let logs = of_topic.filter_map(|d| std::fs::read_dir(d.path()).ok()).flat_map(Iterator::flatten);
    let bytes = logs.filter(|f| f.path().extension().is_some_and(|e| e == "log")).filter_map(|f| f.metadata().ok());
    Some(bytes.map(|m| m.len()).sum())
}

impl Figures {
    fn text(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        let mut out = format!(
            "{} keys of {} bytes, {} updates each ({:.0}/s), {} partitions, changelog {} MiB on disk\n",
            self.keys,
            self.bytes,
            self.updates,
            self.updates_per_s,
            self.partitions,
            self.changelog_bytes.map_or_else(|| "?".to_owned(), |b| mib(b).to_string()),
        );
        for r in &self.restored {
            out.push_str(&format!(
                "  restored in {:.0} ms, kill to first answer {:.0} ms; resident {} MiB before, {} MiB after\n",
                r.restore_ms,
                r.kill_to_answer_ms,
                mib(r.memory_before),
                mib(r.memory_after)
            ));
        }
        let mut sorted = self.recoveries_ms.clone();
        sorted.sort_by(f64::total_cmp);
        // The nearest rank: the 19th of 20.
        let p95 = sorted.get((sorted.len() * 95).div_ceil(100).saturating_sub(1));
        if let (Some((middle, least, most)), Some(p95)) = (median(&sorted), p95) {
            out.push_str(&format!(
                "  {} kills under load with {} keys: to the first answer p50 {middle:.0} p95 {p95:.0} ms ({least:.0}-{most:.0})\n",
                sorted.len(),
                self.small_keys
            ));
        }
        out.push_str(&format!("  load average {} at the start", self.load_average));
        out
    }
}
