//! `fillstream bench recommend`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fillstream_deploy::{LocalConfig, down, reset, up};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use super::args::BenchRecommend;
use super::bed::services;
use super::text::milliseconds as ms;
use crate::config::Config;
use crate::live::usage::load_average;
use crate::live::{Orderable, World};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(10);
const URGENCIES: [&str; 4] = ["LOW", "NORMAL", "HIGH", "URGENT"];

pub(super) fn run(args: &BenchRecommend, config: &Config) -> anyhow::Result<bool> {
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
            json!({ "bench": "recommend", "warm_up_s": args.warm_up_s, "measure_s": args.measure_s, "runs": results })
        );
    }
    Ok(results.iter().all(|r| r.failed == 0))
}

/// What one rate gave.
#[derive(Debug, Serialize)]
struct Figures {
    rate: u32,
    requests: u32,
    /// Requests with another answer than a strategy.
    failed: u32,
    example_of_failed: Option<String>,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    load_average: String,
}

fn measure(args: &BenchRecommend, config: &Config, local: &LocalConfig) -> anyhow::Result<Vec<Figures>> {
    let endpoints = up(local, &|progress| eprintln!("{progress}"))?;
    let mut config = config.clone();
    // The process of the stages takes the address; nobody else is asked for one meanwhile.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    config.api.listen = address.to_string();
    let mut world = World::start(&config, &endpoints, &local.data.join("run"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut figures = Vec::new();
    for rate in &args.rates {
        eprintln!("{rate}/s for {} + {} s", args.warm_up_s, args.measure_s);
        let load = Load { rate: *rate, warm_up: args.warm_up_s * rate, count: args.measure_s * rate };
        figures.push(runtime.block_on(load.run(&format!("http://{address}"), &world.orderables))?);
        world.check()?;
        ensure!(!local.cancel.load(Ordering::Relaxed), "interrupted");
    }
    Ok(figures)
}

struct Load {
    rate: u32,
    warm_up: u32,
    count: u32,
}

impl Load {
    /// Open loop: each request goes out at its time, whatever became of those before, and latency counts from that time.
    async fn run(&self, base: &str, orderables: &[Orderable]) -> anyhow::Result<Figures> {
        let client = reqwest::Client::builder().timeout(ANSWER).build()?;
        let url = format!("{base}/api/v1/execution-strategy/recommend");
        let (start, gap) = (Instant::now(), Duration::from_secs(1) / self.rate);
        let mut tasks = Vec::new();
        for n in 0..self.warm_up.saturating_add(self.count) {
            let due = start + gap * n;
            tokio::time::sleep_until(due.into()).await;
            let request = client.post(&url).body(question(n, orderables)?);
            let task = tokio::spawn(async move {
                let answer = request.send().await?;
                let (status, text) = (answer.status(), answer.text().await?);
                Ok::<_, reqwest::Error>((status.as_u16(), text, due.elapsed()))
            });
            if n >= self.warm_up {
                tasks.push(task);
            }
        }
        let (mut failed, mut example) = (0_u32, None);
        let mut latency = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)?;
        for task in tasks {
            match task.await.context("a request")? {
                Ok((200, _, took)) => latency.saturating_record(u64::try_from(took.as_micros())?),
                Ok((status, text, _)) => {
                    failed += 1;
                    example.get_or_insert_with(|| format!("{status}: {text}"));
                }
                Err(e) => {
                    failed += 1;
                    example.get_or_insert_with(|| e.to_string());
                }
            }
        }
        let at = |quantile: f64| ms(latency.value_at_quantile(quantile));
        Ok(Figures {
            rate: self.rate,
            requests: self.count,
            failed,
            example_of_failed: example,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: ms(latency.max()),
            load_average: load_average(),
        })
    }
}

fn question(n: u32, orderables: &[Orderable]) -> anyhow::Result<String> {
    let n = usize::try_from(n)?;
    let of = orderables.get(n % orderables.len().max(1)).context("nothing can be ordered")?;
    let urgency = URGENCIES.get(n / orderables.len().max(1) % URGENCIES.len()).context("no urgency")?;
    let body = json!({ "order_id": format!("q{n}"), "instrument_id": of.instrument_id, "side": "BUY",
        "quantity": of.quantity, "urgency": urgency, "objective": "MINIMIZE_COST",
        "constraints": { "time_limit_minutes": 30 } });
    Ok(body.to_string())
}

impl Figures {
    fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{}/s: {} requests, {} without a strategy; load average {}",
            self.rate, self.requests, self.failed, self.load_average
        );
        let _ = writeln!(
            out,
            "  request to answer, from the intended send time: p50 {:.1} ms  p90 {:.1} ms  p99 {:.1} ms  max {:.1} ms",
            self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms
        );
        if let Some(example) = &self.example_of_failed {
            let _ = writeln!(out, "  without a strategy, for example: {example}");
        }
        out
    }
}
