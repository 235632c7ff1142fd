//! `fillstream bench path`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fillstream_deploy::{LocalConfig, down, reset, status, up};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::args::BenchPath;
use super::bed::services;
use super::text::milliseconds as ms;
use crate::bus::now_us;
use crate::config::Config;
use crate::demo::watch::Watch;
use crate::live::load::{Answer, Answers, Sent, send};
use crate::live::usage::{Cpu, Phase, Snapshot, load_average};
use crate::live::{World, get};

/// How long answers are waited for after the load.
const DRAIN: Duration = Duration::from_secs(30);

pub(super) fn run(args: &BenchPath, config: &Config) -> anyhow::Result<bool> {
    let local = services()?;
    reset(&local, &|_| {})?;
    let measured = measure(args, config, &local);
    // Also what was interrupted stops its services, which is not interrupted by the same signal.
    local.cancel.store(false, Ordering::Relaxed);
    down(&local, &|_| {})?;
    let results = measured?;
    println!("{}", results.iter().map(Figures::text).collect::<Vec<_>>().join("\n"));
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "bench": "path", "warm_up_s": args.warm_up_s, "measure_s": args.measure_s, "runs": results })
        );
    }
    Ok(results.iter().all(|r| r.unanswered == 0 && r.refused.is_empty()))
}

fn measure(args: &BenchPath, config: &Config, local: &LocalConfig) -> anyhow::Result<Vec<Figures>> {
    let endpoints = up(local, &|progress| eprintln!("{progress}"))?;
    let mut world = World::start(config, &endpoints, &local.data.join("run"))?;
    let mut watch = Watch::new();
    let answers = Answers::watch(&mut watch, &world.cluster)?;
    let mut figures = Vec::new();
    for rate in &args.rates {
        eprintln!("{rate}/s for {} + {} s", args.warm_up_s, args.measure_s);
        figures.push(Run { args, rate: *rate, local, answers: &answers }.measure(&mut world)?);
    }
    watch.stop()?;
    Ok(figures)
}

/// What one rate gave.
#[derive(Debug, Serialize)]
struct Figures {
    rate: u32,
    decisions: usize,
    sent_per_s: f64,
    answered_per_s: f64,
    latency_ms: Latency,
    /// How late the load generator was at worst, milliseconds: it is part of the latency.
    send_lateness_max_ms: f64,
    /// Decisions not answered when the last one went out.
    in_flight_at_end: usize,
    /// Decisions not answered after the drain.
    unanswered: usize,
    refused: BTreeMap<String, usize>,
    aborts: f64,
    transactions: Vec<Phase>,
    cpu: Vec<Cpu>,
    others: Vec<Cpu>,
    load_average_before: String,
    load_average_after: String,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

struct Run<'a> {
    args: &'a BenchPath,
    rate: u32,
    local: &'a LocalConfig,
    answers: &'a Answers,
}

impl Run<'_> {
    fn measure(&self, world: &mut World) -> anyhow::Result<Figures> {
        let (warm, measured) = (self.args.warm_up_s * self.rate, self.args.measure_s * self.rate);
        let mut writer = world.cluster.writer()?;
        let load_average_before = load_average();
        let (url, orderables) = (format!("{}/metrics", world.stages_url), world.orderables.clone());
        let start = now_us() + 100_000;
        let window = start + i64::from(self.args.warm_up_s) * 1_000_000;
        let check = || {
            ensure!(!self.local.cancel.load(Ordering::Relaxed), "interrupted");
            world.check()
        };
        let (sent, before) = std::thread::scope(|scope| {
            // Beside the load: a slow answer must not delay a decision.
            let before = scope.spawn(|| snapshot_at(window, &url));
            let sent = send(&mut writer, &orderables, (start, self.rate, warm + measured), check)?;
            anyhow::Ok((sent, before.join().map_err(|_| anyhow::anyhow!("the snapshot panicked"))??))
        })?;
        let sent = sent.get(usize::try_from(warm)?..).context("nothing was measured")?;
        let in_flight_at_end = self.open(sent);
        let after = snapshot_at(0, &url)?;
        let deadline = Instant::now() + DRAIN;
        while self.open(sent) > 0 && Instant::now() < deadline {
            world.check()?;
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.figures(world, sent, (&before, &after), in_flight_at_end, load_average_before)
    }

    fn open(&self, sent: &[Sent]) -> usize {
        sent.iter().filter(|s| self.answers.of(&s.order_id).is_none()).count()
    }

    fn figures(
        &self,
        world: &World,
        sent: &[Sent],
        (before, after): (&Snapshot, &Snapshot),
        in_flight_at_end: usize,
        load_average_before: String,
    ) -> anyhow::Result<Figures> {
        let mut latency = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)?;
        let (mut refused, mut unanswered, mut last) = (BTreeMap::new(), 0, i64::MIN);
        for s in sent {
            match self.answers.of(&s.order_id) {
                Some(Answer::Child(at)) => {
                    latency.saturating_record(u64::try_from(at - s.intended_us).unwrap_or(0));
                    last = last.max(at);
                }
                Some(Answer::Refused(reason)) => *refused.entry(reason).or_default() += 1,
                None => unanswered += 1,
            }
        }
        let (first, end) = (sent.first().context("nothing was sent")?, sent.last().context("nothing was sent")?);
        let seconds =
            |from: i64, to: i64| Duration::from_micros(u64::try_from(to - from).unwrap_or(0)).as_secs_f64().max(1e-6);
        let one = 1.0 / f64::from(self.rate);
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let answered = usize::try_from(latency.len())?;
        let processes = self.processes(world);
        let known: Vec<u32> = processes.iter().map(|(_, pid)| *pid).collect();
        Ok(Figures {
            rate: self.rate,
            decisions: sent.len(),
            sent_per_s: count(sent.len()) / (seconds(first.sent_us, end.sent_us) + one),
            answered_per_s: count(answered) / (seconds(first.intended_us, last) + one),
            latency_ms: Latency {
                p50: ms(latency.value_at_quantile(0.5)),
                p90: ms(latency.value_at_quantile(0.9)),
                p99: ms(latency.value_at_quantile(0.99)),
                max: ms(latency.max()),
            },
            send_lateness_max_ms: ms(sent
                .iter()
                .filter_map(|s| u64::try_from(s.sent_us - s.intended_us).ok())
                .max()
                .unwrap_or(0)),
            in_flight_at_end,
            unanswered,
            refused,
            aborts: after.counted(before, "fillstream_aborts_total"),
            transactions: after.phases(before),
            cpu: processes.iter().map(|(name, pid)| after.cpu(before, name, *pid)).collect(),
            others: after.others(before, &known),
            load_average_before,
            load_average_after: load_average(),
        })
    }

    fn processes(&self, world: &World) -> Vec<(String, u32)> {
        let own =
            [("stages", world.stages.id()), ("venue", world.venue.id()), ("bench and market feed", std::process::id())];
        let own = own.into_iter().map(|(name, pid)| (name.to_owned(), pid));
        let services =
            status(self.local).into_iter().filter_map(|s| Some((s.service.to_string(), u32::try_from(s.pid?).ok()?)));
        own.chain(services).collect()
    }
}

fn snapshot_at(instant_us: i64, url: &str) -> anyhow::Result<Snapshot> {
    let left = u64::try_from(instant_us.saturating_sub(now_us())).unwrap_or(0);
    std::thread::sleep(Duration::from_micros(left));
    let (code, text) = get(url)?;
    ensure!(code == 200, "{url}: {code}");
    Ok(Snapshot::take(&text))
}

impl Figures {
    fn text(&self) -> String {
        let mut out = String::new();
        let l = &self.latency_ms;
        let _ = writeln!(
            out,
            "{}/s: {} decisions, sent {:.1}/s, child orders {:.1}/s",
            self.rate, self.decisions, self.sent_per_s, self.answered_per_s
        );
        let _ = writeln!(
            out,
            "  decision to first child order, from the intended send time (load generator at most {:.1} ms late):",
            self.send_lateness_max_ms
        );
        let _ = writeln!(out, "    p50 {:.1} ms  p90 {:.1} ms  p99 {:.1} ms  max {:.1} ms", l.p50, l.p90, l.p99, l.max);
        let _ = writeln!(
            out,
            "  lag: {} in flight at the last send, {} unanswered after the drain; refused {:?}; aborts {}",
            self.in_flight_at_end, self.unanswered, self.refused, self.aborts
        );
        let _ = writeln!(
            out,
            "  {:<14} {:<10} {:>8} {:>9} {:>10} {:>10}",
            "transactions", "phase", "count", "mean ms", "p50 <= ms", "p99 <= ms"
        );
        let bound = |b: Option<f64>| b.map_or_else(|| "-".to_owned(), |b| format!("{b:.1}"));
        for p in &self.transactions {
            let _ = writeln!(
                out,
                "  {:<14} {:<10} {:>8} {:>9.2} {:>10} {:>10}",
                p.group,
                p.phase,
                p.count,
                p.mean_ms,
                bound(p.p50_at_most_ms),
                bound(p.p99_at_most_ms)
            );
        }
        for (title, all) in [("CPU", &self.cpu), ("others", &self.others)] {
            let list: Vec<String> =
                all.iter().map(|c| format!("{} {:.1} s ({:.2} cores)", c.name, c.seconds, c.cores)).collect();
            let _ = writeln!(out, "  {title}: {}", if list.is_empty() { "none".to_owned() } else { list.join(", ") });
        }
        let _ = writeln!(out, "  load average before {} after {}", self.load_average_before, self.load_average_after);
        out
    }
}
