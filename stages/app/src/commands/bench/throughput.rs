//! `fillstream bench throughput`: how fast a topic that was filled before is worked off, exactly once.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;

use super::args::{Common, Throughput, WorkArg};
use super::bed::{Bed, Progress};
use super::contender::{Contender, Job, Kind};
use super::feed::Feed;
use super::stages::{IN, Work};
use super::text::{compared, number};
use crate::bus::now_us;
use crate::config::Config;
use crate::live::usage::{Cpu, Phase, Snapshot, load_average};

const LOOK: Duration = Duration::from_millis(25);
/// Share of the records after which a run is measured: by then a peer's code is compiled and all caches are warm.
const WARM: f64 = 0.3;
/// Longest time without any progress.
const STALLED: Duration = Duration::from_secs(60);
/// After the input is written: the broker has other work of its own then.
const SETTLE: Duration = Duration::from_secs(2);

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) who: &'static str,
    pub(super) work: &'static str,
    pub(super) records: i64,
    pub(super) bytes: u32,
    pub(super) partitions: i32,
    /// Records a second after the first 30 % of them, by what was committed.
    pub(super) records_per_s: f64,
    /// From the first committed record to the last.
    pub(super) records_per_s_whole: f64,
    pub(super) commits: Option<f64>,
    pub(super) phases: Vec<Phase>,
    pub(super) cpu: Vec<Cpu>,
    pub(super) others: Vec<Cpu>,
    pub(super) load_average_before: String,
    pub(super) load_average_after: String,
}

pub(super) fn run(args: &Throughput, config: &Config) -> anyhow::Result<bool> {
    let common = &args.common;
    let runs = Bed::with(config, (common.partitions, common.replication), |bed| {
        let works: Vec<Work> = args
            .work
            .iter()
            .map(|work| match work {
                WorkArg::Pass => Work::Pass,
                WorkArg::Count => Work::Count,
            })
            .collect();
        rounds(bed, common, &works, args.records, Duration::from_millis(args.loop_commit_ms.into()))
    })?;
    print(&runs);
    if common.json {
        println!("{}", serde_json::json!({ "bench": "throughput", "records": args.records, "runs": runs }));
    }
    Ok(true)
}

/// Prints medians, and each contender as a multiple of the first.
pub(super) fn print(runs: &[Figures]) {
    for work in [Work::Pass.name(), Work::Count.name()] {
        if runs.iter().any(|r| r.work == work) {
            let of = runs.iter().filter(|r| r.work == work);
            let figures = compared(of, |r| r.who, |r| r.records_per_s / 1e3);
            println!(
                "{work}, thousand records a second, median (least-greatest) of the runs, multiple of the first:\n  {figures}"
            );
        }
    }
}

/// Fills the input once and lets every contender work it off, in turn.
pub(super) fn rounds(
    bed: &Bed,
    common: &Common,
    works: &[Work],
    records: u32,
    loop_every: Duration,
) -> anyhow::Result<Vec<Figures>> {
    let mut all = Vec::new();
    if works.is_empty() {
        return Ok(all);
    }
    fill(bed, common, records)?;
    eprintln!("warming up the broker");
    let work = Work::Pass;
    measure(&Job { bed, common, work, number: 999, loop_topics: 1, loop_ids: 1, loop_every }, Kind::Loop)?;
    for round in 0..common.rounds {
        for work in works {
            for kind in Kind::of(common) {
                eprintln!("round {} of {}: {}, {}", round + 1, common.rounds, kind.name(), work.name());
                // Numbers of their own: names of the latency's runs may be in use.
                let number = 1_000 + all.len();
                let (work, loop_topics) = (*work, 1);
                let job = Job { bed, common, work, number, loop_topics, loop_ids: 1, loop_every };
                let figures = measure(&job, kind)?;
                eprintln!("{}", figures.text());
                all.push(figures);
            }
        }
    }
    Ok(all)
}

fn fill(bed: &Bed, common: &Common, records: u32) -> anyhow::Result<()> {
    bed.remake(IN, common.partitions)?;
    let feed = Feed::bulk(bed, common.partitions, common.keys, common.bytes)?;
    let start = Instant::now();
    let stamp = now_us();
    for n in 0..records {
        feed.send(n, stamp)?;
        if n % 100_000 == 0 {
            bed.check()?;
        }
    }
    feed.flush()?;
    eprintln!("{records} records of {} bytes are there after {:.1} s", common.bytes, start.elapsed().as_secs_f64());
    std::thread::sleep(SETTLE);
    Ok(())
}

/// A sample: time, records committed, and what was used until then.
struct Sample {
    at: Instant,
    committed: i64,
    snapshot: Snapshot,
}

fn measure(job: &Job<'_>, kind: Kind) -> anyhow::Result<Figures> {
    let (bed, common) = (job.bed, job.common);
    let total: i64 = bed.ends(IN, common.partitions)?.iter().sum();
    let load_average_before = load_average();
    let mut contender = job.start(kind)?;
    let progress = bed.progress(&contender.group, IN, common.partitions)?;
    let take = |contender: &Contender, committed| Sample {
        at: Instant::now(),
        committed,
        snapshot: Snapshot::take(&contender.metrics()),
    };
    let first = await_beyond(bed, &mut contender, &progress, 0)?;
    let first = take(&contender, first);
    let warm = await_beyond(bed, &mut contender, &progress, share(total, WARM))?;
    let warm = take(&contender, warm);
    let last = await_beyond(bed, &mut contender, &progress, total - 1)?;
    let last = take(&contender, last);
    let processes: Vec<(&str, u32)> = [("bench", Some(std::process::id())), ("kafka", bed.kafka_pid())]
        .into_iter()
        .chain([("peer", contender.pid())])
        .filter_map(|(name, pid)| Some((name, pid?)))
        .collect();
    let known: Vec<u32> = processes.iter().map(|(_, pid)| *pid).collect();
    let phases = last.snapshot.phases(&warm.snapshot);
    let figures = Figures {
        who: kind.name(),
        work: job.work.name(),
        records: total,
        bytes: common.bytes,
        partitions: common.partitions,
        records_per_s: rate(&warm, &last),
        records_per_s_whole: rate(&first, &last),
        commits: phases.iter().find(|p| p.phase == "commit").map(|p| p.count),
        phases,
        cpu: processes.iter().map(|(name, pid)| last.snapshot.cpu(&warm.snapshot, name, *pid)).collect(),
        others: last.snapshot.others(&warm.snapshot, &known),
        load_average_before,
        load_average_after: load_average(),
    };
    contender.stop(bed)?;
    Ok(figures)
}

fn share(total: i64, of_one: f64) -> i64 {
    let percent = Duration::from_secs_f64(of_one).as_millis() / 10;
    total.saturating_mul(i64::try_from(percent).unwrap_or(100)) / 100
}

fn rate(from: &Sample, to: &Sample) -> f64 {
    let records = number(u64::try_from(to.committed - from.committed).unwrap_or(0));
    records / to.at.saturating_duration_since(from.at).as_secs_f64().max(1e-3)
}

/// Waits until more than `bound` records are committed; gives how many.
fn await_beyond(bed: &Bed, contender: &mut Contender, progress: &Progress, bound: i64) -> anyhow::Result<i64> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let committed = progress.committed()?;
        if committed > bound {
            return Ok(committed);
        }
        if committed > last {
            (last, since) = (committed, Instant::now());
        }
        ensure!(since.elapsed() < STALLED, "{} stands at {last} of more than {bound}", contender.kind.name());
        bed.check()?;
        contender.check()?;
        std::thread::park_timeout(LOOK);
    }
}

impl Figures {
    fn text(&self) -> String {
        let mut out = String::new();
        let cpu = |all: &[Cpu]| all.iter().map(|c| format!("{} {:.2}", c.name, c.cores)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "{:<5} {:<5} {:.0} records/s ({:.0} from the first on); cores: {}; others: {}; load average {} then {}",
            self.who,
            self.work,
            self.records_per_s,
            self.records_per_s_whole,
            cpu(&self.cpu),
            cpu(&self.others),
            self.load_average_before,
            self.load_average_after
        );
        for p in &self.phases {
            let _ = writeln!(out, "      {:<8} {:>7} x {:>8.3} ms", p.phase, p.count, p.mean_ms);
        }
        out
    }
}
