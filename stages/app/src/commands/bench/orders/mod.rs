//! `fillstream bench orders`: what a decision costs the order path itself, however many orders are open. No Kafka: the real
//! task in one thread, with the records that it would read back.

mod desk;

use std::time::Duration;

use anyhow::ensure;
use desk::{Broker, Desk, Spent};

use super::args::Orders;
use super::text::number;
use crate::config::Config;
use crate::live::usage::resident_bytes;

/// Decisions of the warm-up.
const WARM_UP: u32 = 2_000;

/// What a decision costs with so many open orders, from the decision to its filled order.
#[derive(serde::Serialize)]
struct Figures {
    open_orders: u32,
    decisions: u32,
    /// Thread CPU time, microseconds a decision.
    decode_us: f64,
    run_us: f64,
    prepare_us: f64,
    keep_us: f64,
    total_us: f64,
    records: f64,
    changes: f64,
    batches: f64,
    /// Resident memory of the process, bytes; and what came with each open order.
    resident_bytes: u64,
    bytes_an_open_order: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocations: Option<f64>,
}

pub(super) fn run(args: &Orders, config: &Config) -> anyhow::Result<bool> {
    let widest = args.open.iter().copied().max().unwrap_or(1_000);
    let portfolios = widest.div_ceil(args.per_portfolio).max(1);
    let mut desk = Desk::new(config, usize::try_from(portfolios)?, args.batch)?;
    desk.decide(WARM_UP, Broker::Fills)?;
    let mut rows: Vec<Figures> = Vec::new();
    let (empty, mut open) = (resident_bytes(), 0);
    for wanted in &args.open {
        ensure!(*wanted >= open, "--open must rise");
        desk.decide(wanted.saturating_sub(open), Broker::Rests)?;
        open = *wanted;
        let resident = resident_bytes();
        ensure!(desk.open_orders() >= usize::try_from(open)?, "{} of {open} orders are open", desk.open_orders());
        let spent = desk.decide(args.decisions, Broker::Fills)?;
        let grown = resident.saturating_sub(empty);
        rows.push(figures(open, args.decisions, &spent, (resident, grown)));
        if let Some(row) = rows.last().filter(|_| !args.json) {
            print(row, rows.len() == 1);
        }
    }
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "bench": "orders", "batch": args.batch, "portfolios": portfolios, "runs": rows })
        );
    }
    Ok(true)
}

fn figures(open_orders: u32, decisions: u32, spent: &Spent, (resident_bytes, grown): (u64, u64)) -> Figures {
    let each = |count: u64| number(count) / f64::from(decisions);
    let us = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(decisions);
    Figures {
        open_orders,
        decisions,
        decode_us: us(spent.decode),
        run_us: us(spent.run),
        prepare_us: us(spent.prepare),
        keep_us: us(spent.keep),
        total_us: us(spent.decode + spent.run + spent.prepare + spent.keep),
        records: each(spent.records),
        changes: each(spent.changes),
        batches: each(spent.batches),
        resident_bytes,
        bytes_an_open_order: grown / u64::from(open_orders.max(1)),
        allocations: spent.allocations.map(each),
    }
}

fn print(row: &Figures, is_first: bool) {
    if is_first {
        println!("CPU of one thread a decision, from the decision to its filled order, microseconds");
        println!(
            "{:>12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>11}",
            "open orders", "total", "decode", "rules", "headers", "keep", "records", "changes", "MB", "B an order"
        );
    }
    println!(
        "{:>12} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>9} {:>11}",
        row.open_orders,
        row.total_us,
        row.decode_us,
        row.run_us,
        row.prepare_us,
        row.keep_us,
        row.records,
        row.changes,
        row.resident_bytes / 1_000_000,
        row.bytes_an_open_order,
    );
    if let Some(allocations) = row.allocations {
        println!(
            "{:>12} allocations a decision, {:.1} a record",
            format!("{allocations:.0}"),
            allocations / row.records
        );
    }
}
