//! Against independently computed reference figures over public market data, where that data set stands beside the
//! repository.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use fillstream_domain::{Price, Quantity, TimestampMicros};
use fillstream_reference::MarketTable;
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/market")
}

fn rows(file: &str) -> impl Iterator<Item = NormalizedMarketData> {
    let file = std::fs::File::open(folder().join(file)).unwrap();
    let mut seqs: BTreeMap<(String, String), i64> = BTreeMap::new();
    BufReader::new(flate2::read::GzDecoder::new(file)).lines().skip(1).map(move |line| {
        let line = line.unwrap();
        let cells: Vec<&str> = line.split(',').collect();
        let price = |i: usize| (!cells[i].is_empty()).then(|| decimal(cells[i]).parse::<Price>().unwrap());
        let size = |i: usize| (!cells[i].is_empty()).then(|| decimal(cells[i]).parse::<Quantity>().unwrap());
        let seq = seqs.entry((cells[1].to_owned(), cells[9].to_owned())).or_insert(0);
        *seq += 1;
        NormalizedMarketData {
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
        }
    })
}

/// Plain notation of a cell that may be in exponent form.
fn decimal(cell: &str) -> String {
    if cell.contains(['e', 'E']) { format!("{:.8}", cell.parse::<f64>().unwrap()) } else { cell.to_owned() }
}

fn at(value: &Value) -> TimestampMicros {
    TimestampMicros::from_micros(value.as_i64().unwrap())
}

fn close(name: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs(), "{name}: {ours} is not {theirs}");
}

fn number(value: impl ToString) -> f64 {
    value.to_string().parse().unwrap()
}

fn check(table: &MarketTable, key: &str, figures: &Value) -> (usize, usize) {
    let (instrument, venue) = key.split_once('|').unwrap();
    let asof = figures["asof"].as_array().unwrap();
    for case in asof {
        let quote = table.quote_at(instrument, venue, at(&case["t_us"])).unwrap();
        assert_eq!(quote.event_time, at(&case["quote_ts_us"]), "{key} {case}");
        assert_eq!(quote.bid, case["bid"].to_string().parse().unwrap(), "{key} {case}");
        assert_eq!(quote.ask, case["ask"].to_string().parse().unwrap(), "{key} {case}");
    }
    let windows = figures["windows"].as_array().unwrap();
    for case in windows {
        let (start, end) = (at(&case["start_us"]), at(&case["end_us"]));
        let pin = table.pin_at(instrument, venue, start).unwrap();
        let window = table.interval(instrument, venue, &pin, end).unwrap();
        assert_eq!(window, table.between(instrument, venue, start, end).unwrap());
        assert_eq!(window.prints, case["n_trades"].as_i64().unwrap(), "{key} {case}");
        close("volume", number(window.volume), case["volume"].as_f64().unwrap());
        close("twap", number(window.twap_mid.unwrap()), case["twap_mid_window"].as_f64().unwrap());
        match (window.vwap, case["vwap"].as_f64()) {
            (Some(ours), Some(theirs)) => close("vwap", number(ours), theirs),
            (ours, theirs) => assert!(ours.is_none() && theirs.is_none(), "{key} {case}"),
        }
    }
    (asof.len(), windows.len())
}

#[test]
fn as_of_quotes_and_window_averages_equal_the_reference_figures() {
    let Ok(text) = std::fs::read_to_string(folder().join("reference.json")) else {
        eprintln!("SKIPPED: {} has no reference.json", folder().display());
        return;
    };
    let reference: Value = serde_json::from_str(&text).unwrap();
    let (mut asof, mut windows) = (0, 0);
    for (file, content) in reference["files"].as_object().unwrap() {
        let mut table = MarketTable::default();
        rows(file).for_each(|row| table.take(&row).unwrap());
        assert_eq!((table.repeated(), table.too_late()), (0, 0), "{file}");
        for (key, figures) in content["keys"].as_object().unwrap() {
            let (a, w) = check(&table, key, figures);
            (asof, windows) = (asof + a, windows + w);
        }
    }
    eprintln!("{asof} as-of quotes and {windows} windows compared");
    assert!(asof >= 50 && windows >= 30, "too few figures: {asof} quotes, {windows} windows");
}
