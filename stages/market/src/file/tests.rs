//! Small files with every quirk, and the reference numbers of the public data set where it is present.

use super::{FileSource, HEADER};
use crate::{MarketError, MarketSource};
use fillstream_domain::{AssetClass, MidPrice, PriceQuantitySum, Quantity, TimestampMicros};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use flate2::{Compression, write::GzEncoder};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

fn plain(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.csv");
    std::fs::write(&path, [&[HEADER], lines].concat().join("\n") + "\n").unwrap();
    (dir, path)
}

fn rows(path: &PathBuf) -> Vec<NormalizedMarketData> {
    let mut source = FileSource::open(path).unwrap();
    let mut rows = Vec::new();
    while let Some(time) = source.peek_time().unwrap() {
        let row = source.next_row().unwrap().unwrap();
        assert_eq!(row.event_time, time);
        rows.push(row);
    }
    assert!(source.next_row().unwrap().is_none());
    rows
}

const QUIRKS: [&str; 8] = [
    "1000000,EURUSD,quote,1.39293,1.39294,,,,,FXCM",
    "1000000,EURUSD,quote,1.3930,1.3929,,,,,FXCM", // crossed, in the same instant
    "1000000,EURUSD,quote,1.393,1.393,,,,,OANDA",  // locked
    "1000005,BTCUSDT,quote,61837.63,,3.78826,,,,BINANCE",
    "1000005,BTCUSDT,trade,,,,,61837.63,0.02,BINANCE",
    "1000006,BTCUSDT,trade,,,,,61837.6,,BINANCE",      // unknown size
    "191000006,EURUSD,quote,1.39293,1.39294,,,,,FXCM", // after a gap
    "191000006,EURUSD,quote,1.39293,1.39295,,,,,FXCM",
];

#[test]
fn quirks_are_kept_in_order_with_a_gapless_seq_per_instrument_and_venue() {
    let (_dir, path) = plain(&QUIRKS);
    let rows = rows(&path);
    let seen: Vec<_> = rows.iter().map(|r| (r.instrument_id.as_str(), r.venue.as_str(), r.seq)).collect();
    assert_eq!(
        seen,
        [
            ("EURUSD", "FXCM", 1),
            ("EURUSD", "FXCM", 2),
            ("EURUSD", "OANDA", 1),
            ("BTCUSDT", "BINANCE", 1),
            ("BTCUSDT", "BINANCE", 2),
            ("BTCUSDT", "BINANCE", 3),
            ("EURUSD", "FXCM", 3),
            ("EURUSD", "FXCM", 4),
        ]
    );
    assert!(rows[1].bid > rows[1].ask);
    assert_eq!(rows[2].bid, rows[2].ask);
    assert_eq!((rows[3].ask, rows[3].ask_size), (None, None));
    assert_eq!(rows[3].bid_size, Some("3.78826".parse().unwrap()));
    assert_eq!((rows[4].kind, rows[4].size), (MarketDataKind::Trade, Some("0.02".parse().unwrap())));
    assert_eq!((rows[5].price, rows[5].size), (Some("61837.6".parse().unwrap()), None));
}

#[test]
fn gzip_and_plain_give_the_same_rows() {
    let (dir, path) = plain(&QUIRKS);
    let zipped = dir.path().join("m.csv.gz");
    let mut encoder = GzEncoder::new(std::fs::File::create(&zipped).unwrap(), Compression::fast());
    encoder.write_all(&std::fs::read(&path).unwrap()).unwrap();
    encoder.finish().unwrap();
    assert_eq!(rows(&path), rows(&zipped));
}

#[test]
fn reference_data_comes_from_the_digits_the_quotes_and_the_volume() {
    let (_dir, path) = plain(&QUIRKS);
    let source = FileSource::open(&path).unwrap();
    let [btc, eur] = source.instruments() else { panic!("two instruments") };
    assert_eq!((btc.instrument_id.as_str(), btc.asset_class), ("BTCUSDT", AssetClass::Crypto));
    assert_eq!((btc.tick_size.to_string(), btc.lot_size.to_string()), ("0.01".into(), "0.00001".into()));
    // 0.02 in 190.000006 s of a day of 86400 s, rounded to a lot.
    assert_eq!(btc.adv, Some("9.09473".parse().unwrap()));
    assert!(btc.adv_source.as_ref().unwrap().contains("m.csv: 0.02 traded in 190 s"));
    assert_eq!((eur.asset_class, eur.adv, eur.adv_source.as_ref()), (AssetClass::Fx, None, None));
    assert_eq!((eur.tick_size.to_string(), eur.lot_size), ("0.00001".into(), Quantity::from_int(1000).unwrap()));
    assert_eq!(eur.reference_venue, "FXCM");
    assert_eq!(source.session().start, TimestampMicros::from_micros(1_000_000));
    assert_eq!(source.session().end, TimestampMicros::from_micros(191_000_007));
    let table = crate::reference_table(source.instruments());
    assert_eq!(table.lines().count(), 3);
    assert!(table.contains("no trades in the source"), "{table}");
}

#[test]
fn advance_takes_rows_up_to_and_with_the_instant() {
    let (_dir, path) = plain(&QUIRKS);
    let mut source = FileSource::open(&path).unwrap();
    assert_eq!(source.advance_to(TimestampMicros::from_micros(999_999)).unwrap().len(), 0);
    assert_eq!(source.advance_to(TimestampMicros::from_micros(1_000_005)).unwrap().len(), 5);
    assert_eq!(source.advance_to(TimestampMicros::from_micros(i64::MAX)).unwrap().len(), 3);
}

#[test]
fn a_bad_line_names_file_line_and_column() {
    for (line, column) in [
        ("x,EURUSD,quote,1,2,,,,,FXCM", "ts_us"),
        ("999,EURUSD,quote,1,2,,,,,FXCM", "ts_us"),
        ("1000000,,quote,1,2,,,,,FXCM", "symbol"),
        ("1000000,EURUSD,bar,1,2,,,,,FXCM", "kind"),
        ("1000000,EURUSD,quote,NaN,2,,,,,FXCM", "bid"),
        ("1000000,EURUSD,quote,,,,,,,FXCM", "bid"),
        ("1000000,EURUSD,quote,1,1.123456789,,,,,FXCM", "ask"),
        ("1000000,EURUSD,quote,1,2,-3,,,,FXCM", "bid_size"),
        ("1000000,EURUSD,quote,1,2,3,4,5,,FXCM", "price"),
        ("1000000,EURUSD,trade,1,,,,5,6,FXCM", "bid"),
        ("1000000,EURUSD,trade,,,,,,6,FXCM", "price"),
        ("1000000,EURUSD,trade,,,,,5,6,", "venue"),
        ("1000000,EURUSD,trade,,,,,5,6,FXCM,7", "venue"),
        ("1000000,EURUSD,trade,,,", "ask_size"),
        ("", "symbol"),
    ] {
        let (_dir, path) = plain(&["1000000,EURUSD,quote,1,2,,,,,FXCM", line]);
        match FileSource::open(&path) {
            Err(MarketError::BadLine { file, line: 3, column: found, .. }) => {
                assert_eq!((file, found), (path, column), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_missing_an_empty_and_a_foreign_file_are_errors_of_their_own() {
    let (dir, empty) = plain(&[]);
    assert!(matches!(FileSource::open(&empty), Err(MarketError::Empty { .. })));
    assert!(matches!(FileSource::open(dir.path().join("none")), Err(MarketError::Read { .. })));
    let foreign = dir.path().join("foreign.csv");
    std::fs::write(&foreign, "time,price\n1,2\n").unwrap();
    assert!(matches!(FileSource::open(&foreign), Err(MarketError::BadHeader { .. })));
}

/// One key of the published reference numbers, recomputed.
#[derive(Default)]
struct Recomputed {
    quotes: Vec<(i64, MidPrice, [String; 2])>,
    trades: Vec<(i64, PriceQuantitySum)>,
}

fn recompute(path: PathBuf) -> BTreeMap<String, Recomputed> {
    let mut keys: BTreeMap<String, Recomputed> = BTreeMap::new();
    let mut source = FileSource::open(path).unwrap();
    while let Some(row) = source.next_row().unwrap() {
        let key = keys.entry(format!("{}|{}", row.instrument_id, row.venue)).or_default();
        match row.price {
            None => {
                let (bid, ask) = (row.bid.unwrap(), row.ask.unwrap());
                key.quotes.push((row.event_time.micros(), MidPrice::of(bid, ask), [bid.to_string(), ask.to_string()]));
            }
            Some(price) => {
                let sum = PriceQuantitySum::ZERO.add(price, row.size.unwrap()).unwrap();
                key.trades.push((row.event_time.micros(), sum));
            }
        }
    }
    keys
}

fn close(found: f64, published: &serde_json::Value, what: &str) {
    let published = published.as_f64().unwrap();
    assert!((found - published).abs() <= published.abs() * 1e-12, "{what}: {found} is not {published}");
}

fn as_f64(units: i128, scale: i32) -> f64 {
    units.to_string().parse::<f64>().unwrap() / 10_f64.powi(scale)
}

#[test]
fn the_published_reference_numbers_are_met() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/market");
    let Ok(text) = std::fs::read_to_string(data.join("reference.json")) else {
        eprintln!("SKIPPED: the public data set is not beside the workspace ({})", data.display());
        return;
    };
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut checked = 0;
    for (file, published) in reference["files"].as_object().unwrap() {
        let keys = recompute(data.join(file));
        assert_eq!(keys.len(), published["keys"].as_object().unwrap().len());
        for (name, published) in published["keys"].as_object().unwrap() {
            check_key(name, &keys[name], published);
            checked += 1;
        }
    }
    assert_eq!(checked, 10);
}

fn check_key(name: &str, key: &Recomputed, published: &serde_json::Value) {
    assert_eq!(published["n_quotes"], key.quotes.len(), "{name}");
    assert_eq!(published["n_trades"], key.trades.len(), "{name}");
    let twice = |mid: &MidPrice| as_f64(mid.twice_unscaled(), 8);
    close(twice(&key.quotes[0].1) / 2.0, &published["first_mid"], name);
    close(twice(&key.quotes[key.quotes.len() - 1].1) / 2.0, &published["last_mid"], name);
    let spans = key.quotes.windows(2);
    let area: i128 = spans.map(|w| w[0].1.twice_unscaled() * i128::from(w[1].0 - w[0].0)).sum();
    let length = key.quotes[key.quotes.len() - 1].0 - key.quotes[0].0;
    close(as_f64(area, 8) / 2.0 / as_f64(length.into(), 0), &published["twap_mid"], name);

    let total = |from: i64, to: i64| {
        let inside = key.trades.iter().filter(|(time, _)| (from..to).contains(time));
        inside.fold(PriceQuantitySum::ZERO, |sum, (_, trade)| sum.merge(*trade).unwrap())
    };
    let vwap = |sum: PriceQuantitySum| as_f64(sum.product_e16(), 8) / as_f64(sum.quantity().unscaled(), 0);
    let all = total(i64::MIN, i64::MAX);
    close(as_f64(all.quantity().unscaled(), 8), &published["volume"], name);
    if !key.trades.is_empty() {
        close(vwap(all), &published["vwap"], name);
    }
    for window in published["windows"].as_array().unwrap() {
        let sum = total(window["start_us"].as_i64().unwrap(), window["end_us"].as_i64().unwrap());
        close(as_f64(sum.quantity().unscaled(), 8), &window["volume"], name);
        if sum.quantity().is_positive() {
            close(vwap(sum), &window["vwap"], name);
        }
    }
    for asof in published["asof"].as_array().unwrap() {
        let time = asof["t_us"].as_i64().unwrap();
        let index = key.quotes.partition_point(|(ts, ..)| *ts <= time);
        let (ts, _, prices) = &key.quotes[index - 1];
        assert_eq!(asof["quote_ts_us"], *ts, "{name}");
        for (price, side) in prices.iter().zip(["bid", "ask"]) {
            assert_eq!(price.parse::<f64>().unwrap(), asof[side].as_f64().unwrap(), "{name}");
        }
    }
}
