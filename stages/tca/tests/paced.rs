//! In paced mode the rows do not depend on where batches are cut, what fails and how many workers there are.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use fillstream_core::StageHandle;
use fillstream_core::group::{Group, Path};
use fillstream_domain::{Algorithm, OrdStatus, TimestampMicros};
use fillstream_schemas::execution::{ExecutionQuality, OrderEvent, ParentStatus, QualityStage};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::Calendar;
use fillstream_tca::shortfall::components_add_up;
use fillstream_tca::{Config, Tca};
use fillstream_testkit::{Canonical, Cluster, Driver, FaultPlan, Setup};
use support::*;

const PARTITIONS: i32 = 3;
const PORTFOLIOS: u32 = 5;
const ORDERS_EACH: u32 = 3;

/// A market of five minutes, a quote and a print a second, and one quote after the close.
fn rows() -> Vec<NormalizedMarketData> {
    let mut rows = Vec::new();
    for second in (-10_i32..300).chain([310]) {
        let at = s(f64::from(second));
        let cents = i128::from((second * 7).rem_euclid(11));
        let px = |units: i128| fillstream_domain::Price::from_unscaled(4_000_000_000 + units * 1_000_000).ok();
        let (bid, ask) = (px(cents), px(cents + 2));
        let row = NormalizedMarketData {
            instrument_id: "ACME".into(),
            venue: "XA".into(),
            event_time: at,
            seq: i64::from(second) * 2 + 100,
            ..NormalizedMarketData::default()
        };
        rows.push(NormalizedMarketData { kind: MarketDataKind::Quote, bid, ask, ..row.clone() });
        let (price, size) = (px(cents + 1), Some(qty("500")));
        rows.push(NormalizedMarketData { kind: MarketDataKind::Trade, price, size, seq: row.seq + 1, ..row });
    }
    rows
}

/// The life of one order: filled in parts, busted, corrected after its end, or never filled.
fn life(order: &mut Order, n: u32, market: &Market) -> Vec<OrderEvent> {
    let t = |seconds: f64| s(f64::from(n * 20) + seconds);
    let mut events = vec![order.created(t(0.1)), order.released(t(0.3), &market.table), order.routed(1, t(0.5))];
    if n % 3 != 2 {
        events.push(order.fill_with_fee(1, "40.05", "300", Some(("1.25", "USD")), t(2.0)));
        events.push(order.routed(2, t(3.0)));
        events.push(order.fill(2, "40.06", "200", t(4.0)));
        events.push(order.bust(1, "40.05", "300", t(6.0)));
    }
    events.push(order.child_is(1, OrdStatus::Canceled, t(8.0)));
    events.push(order.ended(ParentStatus::Cancelled, t(9.0)));
    if n % 3 == 1 {
        events.push(order.correct(2, ("40.06", "200"), ("40.07", "250"), t(12.0)));
        events.push(order.amended(TimestampMicros::from_micros(t(12.0).micros() + 1)));
    }
    events
}

fn run(setup: impl FnOnce(Setup) -> Setup) -> (Canonical, Vec<ExecutionQuality>) {
    let config = Config { keep_after_final_ms: 30_000, final_retry_ms: 1_000, ..Config::default() };
    let path = Path::new("tca", vec![StageHandle::of(Tca::new(config).unwrap())]).unwrap();
    let mut driver: Driver =
        setup(Setup::new(vec![Group::fused(&path).unwrap()], Cluster::new(PARTITIONS))).start().unwrap();
    let early = s(-60.0);
    let hour = 3_600 * SECOND;
    let calendar = Calendar {
        calendar_id: "DAY".into(),
        opens_at_us: 8 * hour,
        closes_at_us: 10 * hour + 300 * SECOND,
        version: 1,
        ..Calendar::default()
    };
    driver.row("reference.calendars.v1", "DAY", &calendar, early);
    driver.row("reference.instruments.v1", "ACME", &instrument(), early);
    let mut market = Market::default();
    for row in rows() {
        driver.row("market.data.v1", "ACME", &row, row.event_time);
        market.table.take(&row).unwrap();
    }
    for portfolio in 0..PORTFOLIOS {
        for n in 0..ORDERS_EACH {
            let mut order = Order::buy();
            order.event.portfolio_id = format!("P{portfolio}");
            order.event.order_id = format!("P{portfolio}-{n}");
            let events = life(&mut order, n + portfolio, &market);
            let mut strategy = order.strategy(Algorithm::Twap);
            strategy.event_id = format!("s-{}", order.event.order_id);
            strategy.timestamp = events[1].timestamp;
            driver.produce(STRATEGIES, &strategy);
            for event in events {
                driver.produce(ORDERS, &event);
            }
        }
    }
    driver.run_paced(s(400.0)).unwrap();
    let rows = driver.outputs().records("execution.quality.v1").unwrap();
    (driver.outputs().canonical(), rows)
}

#[test]
fn whole_cut_and_broken_runs_are_equal() {
    let (whole, rows) = run(|setup| setup);
    let mut orders: BTreeMap<&str, Vec<&ExecutionQuality>> = BTreeMap::new();
    for row in &rows {
        assert!(components_add_up(&row.costs), "{row:?}");
        assert_eq!(row.algorithm, Algorithm::Twap);
        orders.entry(&row.order_id).or_default().push(row);
    }
    assert_eq!(u32::try_from(orders.len()).unwrap(), PORTFOLIOS * ORDERS_EACH);
    for rows in orders.values() {
        let stages: Vec<QualityStage> = rows.iter().map(|row| row.stage).collect();
        let preliminary = stages.iter().filter(|stage| **stage == QualityStage::Preliminary).count();
        assert!(preliminary == 1 || preliminary == 2, "{stages:?}");
        assert_eq!(stages.last(), Some(&QualityStage::Final));
        assert_eq!(stages.len(), preliminary + 1);
    }
    assert!(orders.values().any(|rows| rows.len() == 3), "a correction after the end makes one more row");
    for (what, other) in [
        ("one root a batch", run(|setup| setup.faults(FaultPlan::cut(1))).0),
        ("three workers", run(|setup| setup.workers(3)).0),
    ] {
        assert_eq!(whole.difference(&other), None, "{what}");
    }
    for seed in 1..=5 {
        let (broken, _) = run(|setup| setup.workers(2).faults(FaultPlan::seeded(seed)));
        assert_eq!(whole.difference(&broken), None, "seed {seed}");
    }
}
