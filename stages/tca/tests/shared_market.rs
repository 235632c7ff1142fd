//! Against independently computed figures over public market data, where that data set stands beside the repository: an
//! order over a window of it has the window's VWAP and time-weighted mid.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use fillstream_domain::{Price, Quantity, TimestampMicros};
use fillstream_reference::MarketTable;
use fillstream_schemas::execution::{BenchmarkBasis, ExecutionQuality, ParentStatus};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Calendar, Instrument};
use fillstream_tca::Config;
use serde_json::Value;
use support::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/market")
}

fn table(file: &str) -> MarketTable {
    let mut table = MarketTable::default();
    let mut seqs: BTreeMap<(String, String), i64> = BTreeMap::new();
    let file = std::fs::File::open(folder().join(file)).unwrap();
    for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines().skip(1) {
        let line = line.unwrap();
        let cells: Vec<&str> = line.split(',').collect();
        let price = |i: usize| (!cells[i].is_empty()).then(|| plain(cells[i]).parse::<Price>().unwrap());
        let size = |i: usize| (!cells[i].is_empty()).then(|| plain(cells[i]).parse::<Quantity>().unwrap());
        let seq = seqs.entry((cells[1].to_owned(), cells[9].to_owned())).or_insert(0);
        *seq += 1;
        let row = NormalizedMarketData {
            instrument_id: cells[1].to_owned(),
            venue: cells[9].to_owned(),
            kind: if cells[2] == "quote" { MarketDataKind::Quote } else { MarketDataKind::Trade },
            event_time: TimestampMicros::from_micros(cells[0].parse().unwrap()),
            seq: *seq,
            bid: price(3),
            ask: price(4),
            bid_size: size(5),
            ask_size: size(6),
            price: price(7),
            size: size(8),
            trading_status: None,
        };
        table.take(&row).unwrap();
    }
    table
}

/// Plain notation of a cell that may be in exponent form.
fn plain(cell: &str) -> String {
    if cell.contains(['e', 'E']) { format!("{:.8}", cell.parse::<f64>().unwrap()) } else { cell.to_owned() }
}

fn close(name: &str, ours: impl ToString, theirs: f64) {
    let ours: f64 = ours.to_string().parse().unwrap();
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs(), "{name}: {ours} is not {theirs}");
}

/// The row of an order that is released at the window's start and last filled at its end.
fn row(table: &MarketTable, instrument: &str, venue: &str, window: &Value) -> ExecutionQuality {
    let at = |name: &str| TimestampMicros::from_micros(window[name].as_i64().unwrap());
    let reference = Instrument {
        instrument_id: instrument.to_owned(),
        reference_venue: venue.to_owned(),
        calendar_id: "ALWAYS".into(),
        ..support::instrument()
    };
    let mut data = data(&[reference]);
    let always = Calendar {
        calendar_id: "ALWAYS".into(),
        closes_at_us: 86_400 * SECOND,
        open_weekends: true,
        version: 1,
        ..Calendar::default()
    };
    apply(&mut data, "reference.calendars.v1", "ALWAYS", &always);
    let mut bench = bench(Config::default(), &Market::default(), &data);
    bench.table(table.clone());
    let mut order = Order::buy();
    order.event.instrument_id = instrument.to_owned();
    order.terms.expire_at = at("end_us");
    let (start, end) = (at("start_us"), at("end_us"));
    let arrival = Some(table.pin_at(instrument, venue, start).unwrap());
    let created = order.created(start);
    let released = fillstream_schemas::execution::OrderEvent {
        arrival,
        ..order.child_is(1, fillstream_domain::OrdStatus::New, start)
    };
    let mid = released.arrival.as_ref().unwrap().mid.to_price(fillstream_domain::Rounding::HalfEven).unwrap();
    let fill = order.fill(1, &mid.to_string(), "1000", end);
    let ended = order.ended(ParentStatus::Filled, TimestampMicros::from_micros(end.micros() + 100_000));
    tell(&mut bench, [created, released, fill, ended]);
    row_by(&mut bench, TimestampMicros::from_micros(end.micros() + 2 * SECOND))
}

#[test]
fn an_order_over_a_window_has_the_windows_figures() {
    let Ok(text) = std::fs::read_to_string(folder().join("reference.json")) else {
        eprintln!("SKIPPED: {} has no reference.json", folder().display());
        return;
    };
    let reference: Value = serde_json::from_str(&text).unwrap();
    let (mut windows, mut vwaps) = (0, 0);
    for (file, content) in reference["files"].as_object().unwrap() {
        let table = table(file);
        for (key, figures) in content["keys"].as_object().unwrap() {
            let (instrument, venue) = key.split_once('|').unwrap();
            for window in figures["windows"].as_array().unwrap() {
                let row = row(&table, instrument, venue, window);
                assert_eq!(row.interval_prints, window["n_trades"].as_i64().unwrap(), "{key} {window}");
                close("volume", row.interval_volume, window["volume"].as_f64().unwrap());
                close("twap", row.interval_twap_mid.unwrap(), window["twap_mid_window"].as_f64().unwrap());
                match (row.interval_vwap, window["vwap"].as_f64()) {
                    (Some(ours), Some(theirs)) => {
                        close("vwap", ours, theirs);
                        vwaps += 1;
                    }
                    (ours, theirs) => assert!(ours.is_none() && theirs.is_none(), "{key} {window}"),
                }
                let is_vwap = row.interval_prints >= 5;
                let basis = if is_vwap { BenchmarkBasis::IntervalVwap } else { BenchmarkBasis::IntervalTwapMid };
                assert_eq!(row.benchmark_basis, basis);
                windows += 1;
            }
        }
    }
    eprintln!("{windows} windows compared, {vwaps} with a VWAP");
    assert!(windows >= 30 && vwaps >= 15, "too few windows: {windows}, {vwaps} with a VWAP");
}
