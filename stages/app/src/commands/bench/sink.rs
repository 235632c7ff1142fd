//! `fillstream bench sink`: rows a second into ClickHouse, exactly once, by the sink that `fillstream run` runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fillstream_clickhouse_sink::{Sink as ClickHouseSink, SinkConfig, SinkCounts, TopicContract, table_name};
use fillstream_domain::TimestampMicros;
use fillstream_kafka::client::RdKafka;
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::execution::{ExecutionShare, TradeExecuted, TradeSummary, TradeTiming};
use serde::Serialize;

use super::args::Sink;
use super::bed::Bed;
use super::text::{compared, number};
use crate::bus::{Cluster, now_us};
use crate::commands::edges::sink_config;
use crate::commands::{apply_topics, register_schemas};
use crate::config::Config;
use crate::live::get;
use crate::live::usage::{Cpu, Snapshot, load_average};

const TOPIC: &str = "execution.trades.v1";
const STALLED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(25);

/// What one run gave.
#[derive(Debug, Serialize)]
struct Figures {
    rows: u64,
    columns: usize,
    bytes_per_row: f64,
    /// From the first inserted row to the last.
    rows_per_s: f64,
    /// From the start of the sink, its tables made and its group joined, to the last row.
    rows_per_s_whole: f64,
    inserts: u64,
    transactions: u64,
    repeated: u64,
    cpu: Vec<Cpu>,
    load_average_before: String,
    load_average_after: String,
}

pub(super) fn run(args: &Sink, config: &Config) -> anyhow::Result<bool> {
    let runs = Bed::with(config, (1, 1), |bed| {
        apply_topics(&bed.cluster, &bed.config)?;
        register_schemas(&bed.cluster)?;
        let bytes = fill(bed, args.rows)?;
        (0..args.rounds).map(|round| measure(bed, args.rows, bytes, round)).collect::<anyhow::Result<Vec<_>>>()
    })?;
    for figures in &runs {
        println!("{}", figures.text());
    }
    println!(
        "thousand rows a second, median (least-greatest): {}",
        compared(runs.iter(), |_| "sink", |r| r.rows_per_s / 1e3)
    );
    if args.json {
        println!("{}", serde_json::json!({ "bench": "sink", "topic": TOPIC, "runs": runs }));
    }
    Ok(true)
}

/// Writes the rows; gives bytes of a value.
fn fill(bed: &Bed, rows: u32) -> anyhow::Result<f64> {
    let mut connection = bed.cluster.kafka.config().clone();
    connection.producer.linger_ms = 20;
    connection.librdkafka.insert("batch.size".to_owned(), "900000".to_owned());
    let mut writer = Cluster { kafka: RdKafka::new(connection)?, ..bed.cluster.clone() }.writer()?;
    let (start, stamp) = (Instant::now(), now_us());
    let mut bytes = 0;
    for n in 0..rows {
        let trade = trade(n, stamp + i64::from(n))?;
        bytes += trade.to_bytes().len();
        writer.send(TOPIC, &trade)?;
        if n % 100_000 == 0 {
            bed.check()?;
        }
    }
    writer.flush()?;
    eprintln!("{rows} records are there after {:.1} s", start.elapsed().as_secs_f64());
    Ok(number(u64::try_from(bytes)?) / f64::from(rows))
}

fn trade(n: u32, at: i64) -> anyhow::Result<TradeExecuted> {
    let at = TimestampMicros::from_micros(at);
    let hundreds = n % 97 + 1;
    Ok(TradeExecuted {
        event_id: format!("{n:032x}"),
        timestamp: at,
        portfolio_id: format!("P{:03}", n % 200),
        account_id: format!("A{:04}", n % 1_000),
        revision: 1,
        execution: TradeSummary {
            order_id: format!("{:032x}", u64::from(n) << 8),
            instrument_id: format!("INSTR{:03}", n % 500),
            requested_quantity: format!("{hundreds}00").parse()?,
            executed_quantity: format!("{hundreds}00").parse()?,
            average_fill_price: format!("{}.{:04}", 20 + n % 300, n % 10_000).parse()?,
            total_amount: format!("{}.{:02}", u64::from(hundreds) * 2_000, n % 100).parse()?,
            currency: "USD".to_owned(),
            execution_venue: "XNAS".to_owned(),
            broker: "interactive_brokers".to_owned(),
            shares: vec![ExecutionShare {
                venue: "XNAS".to_owned(),
                broker: "interactive_brokers".to_owned(),
                quantity: format!("{hundreds}00").parse()?,
                fills: 3,
                ..ExecutionShare::default()
            }],
            ..TradeSummary::default()
        },
        timing: TradeTiming {
            decision_time: at,
            order_submission_time: Some(at),
            first_fill_time: Some(at),
            completion_time: at,
            total_execution_duration_us: 1_500,
        },
        fees: "1.25".parse()?,
        fee_currency: Some("USD".to_owned()),
        ..TradeExecuted::default()
    })
}

fn measure(bed: &Bed, rows: u32, bytes_per_row: f64, round: u32) -> anyhow::Result<Figures> {
    let database = format!("bench_{round}");
    let mut config = sink_config(&bed.config);
    config.clickhouse.database.clone_from(&database);
    let config = SinkConfig { group: format!("fillstream.bench-sink-{round}"), ..config };
    let contract = TopicContract { topic: TOPIC.to_owned(), contract: TradeExecuted::FULL_NAME.to_owned() };
    let registry = std::sync::Arc::clone(&bed.cluster.registry);
    let sink = ClickHouseSink::new(config, bed.fresh_client()?, registry, &[contract])?;
    let load_average_before = load_average();
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let (first, last) = std::thread::scope(|scope| {
        let running = scope.spawn(|| sink.migrate_and_run(&stop));
        let counted = await_rows(bed, &sink, rows, || running.is_finished());
        stop.store(true, Ordering::Relaxed);
        running.join().map_err(|_| anyhow::anyhow!("the sink panicked"))??;
        counted
    })?;
    let counts = last.counts;
    check(bed, &database, rows)?;
    let columns = columns(bed, &database)?;
    let processes =
        [("bench", Some(std::process::id())), ("kafka", bed.kafka_pid()), ("clickhouse", clickhouse_pid(bed))];
    let inserted = number(counts.rows.saturating_sub(first.counts.rows));
    Ok(Figures {
        rows: counts.rows,
        columns,
        bytes_per_row,
        rows_per_s: inserted / last.at.saturating_duration_since(first.at).as_secs_f64().max(1e-3),
        rows_per_s_whole: number(counts.rows) / last.at.saturating_duration_since(start).as_secs_f64().max(1e-3),
        inserts: counts.inserts,
        transactions: counts.transactions,
        repeated: counts.repeated,
        cpu: processes
            .iter()
            .filter_map(|(name, pid)| Some(last.snapshot.cpu(&first.snapshot, name, (*pid)?)))
            .collect(),
        load_average_before,
        load_average_after: load_average(),
    })
}

struct Sample {
    at: Instant,
    counts: SinkCounts,
    snapshot: Snapshot,
}

impl Sample {
    fn take(sink: &ClickHouseSink<RdKafka>) -> Self {
        Self { at: Instant::now(), counts: sink.status().counts(), snapshot: Snapshot::take("") }
    }
}

fn await_rows(
    bed: &Bed,
    sink: &ClickHouseSink<RdKafka>,
    rows: u32,
    has_ended: impl Fn() -> bool,
) -> anyhow::Result<(Sample, Sample)> {
    let (mut first, mut last, mut since) = (None, 0, Instant::now());
    loop {
        let now = sink.status().counts().rows;
        if now > 0 && first.is_none() {
            first = Some(Sample::take(sink));
        }
        if now >= u64::from(rows) {
            let last = Sample::take(sink);
            return Ok((first.context("nothing was inserted")?, last));
        }
        if now > last {
            (last, since) = (now, Instant::now());
        }
        ensure!(!has_ended(), "the sink ended");
        ensure!(since.elapsed() < STALLED, "the sink stands at {last} of {rows}: {:?}", sink.status().trouble());
        bed.check()?;
        std::thread::park_timeout(LOOK);
    }
}

/// Nothing is missing and nothing is there twice.
fn check(bed: &Bed, database: &str, rows: u32) -> anyhow::Result<()> {
    let table = format!("{database}.{}", table_name(TOPIC));
    let found = ask(bed, &format!("SELECT count(), uniqExact(_partition, _offset), uniqExact(event_id) FROM {table}"))?;
    let expected = format!("{rows}\t{rows}\t{rows}");
    ensure!(found.trim() == expected, "{table} has rows, places and events {found:?}, not {expected:?}");
    Ok(())
}

fn columns(bed: &Bed, database: &str) -> anyhow::Result<usize> {
    let table = table_name(TOPIC);
    let sql = format!("SELECT count() FROM system.columns WHERE database = '{database}' AND table = '{table}'");
    Ok(ask(bed, &sql)?.trim().parse()?)
}

fn ask(bed: &Bed, sql: &str) -> anyhow::Result<String> {
    let (code, text) = get(&format!("{}/?query={sql}", bed.config.clickhouse.url))?;
    ensure!(code == 200, "{sql}: {text}");
    Ok(text)
}

fn clickhouse_pid(bed: &Bed) -> Option<u32> {
    let all = fillstream_deploy::status(&bed.local);
    let found = all.into_iter().find(|s| s.service == fillstream_deploy::Service::ClickHouse);
    found.and_then(|s| u32::try_from(s.pid?).ok())
}

impl Figures {
    fn text(&self) -> String {
        let cpu: Vec<String> = self.cpu.iter().map(|c| format!("{} {:.2}", c.name, c.cores)).collect();
        format!(
            "{} rows of {} columns, {:.0} bytes each in Kafka: {:.0} rows/s ({:.0} with the start); {} inserts, {} transactions, {} repeated; cores: {}; load average {} then {}",
            self.rows,
            self.columns,
            self.bytes_per_row,
            self.rows_per_s,
            self.rows_per_s_whole,
            self.inserts,
            self.transactions,
            self.repeated,
            cpu.join(", "),
            self.load_average_before,
            self.load_average_after
        )
    }
}
