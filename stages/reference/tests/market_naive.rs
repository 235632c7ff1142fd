//! The market table against a naive computation over all rows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use fillstream_domain::{AvgPrice, Price, Quantity, TimestampMicros};
use fillstream_reference::{MarketMiss, MarketTable, TradingStatus};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use proptest::prelude::*;

const I: &str = "ACME";
const V: &str = "XA";

fn at(micros: i64) -> TimestampMicros {
    TimestampMicros::from_micros(micros)
}

fn px(units: i64) -> Price {
    Price::from_unscaled(i128::from(units) * 1_000_000).unwrap()
}

fn qty(units: i64) -> Quantity {
    Quantity::from_int(units).unwrap()
}

fn row(kind: MarketDataKind, time: i64, seq: i64) -> NormalizedMarketData {
    NormalizedMarketData {
        instrument_id: I.to_owned(),
        venue: V.to_owned(),
        kind,
        event_time: at(time),
        seq,
        ..NormalizedMarketData::default()
    }
}

#[derive(Clone, Debug)]
enum Said {
    Quote(i64, i64),
    OneSided(i64),
    Print(i64, i64),
}

fn to_row(said: &Said, time: i64, seq: i64) -> NormalizedMarketData {
    match *said {
        Said::Quote(bid, ask) => {
            NormalizedMarketData { bid: Some(px(bid)), ask: Some(px(ask)), ..row(MarketDataKind::Quote, time, seq) }
        }
        Said::OneSided(bid) => NormalizedMarketData { bid: Some(px(bid)), ..row(MarketDataKind::Quote, time, seq) },
        Said::Print(price, size) => NormalizedMarketData {
            price: Some(px(price)),
            size: Some(qty(size)),
            ..row(MarketDataKind::Trade, time, seq)
        },
    }
}

fn table(rows: &[(i64, Said)]) -> MarketTable {
    capped(rows, 100_000)
}

fn capped(rows: &[(i64, Said)], capacity: usize) -> MarketTable {
    let mut table = MarketTable::with_capacity(capacity, capacity);
    for (seq, (time, said)) in (1..).zip(rows) {
        table.take(&to_row(said, *time, seq)).unwrap();
    }
    table
}

/// Rows by event time; of equal times the later row last.
fn in_order(rows: &[(i64, Said)]) -> Vec<(i64, Said)> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|(time, _)| *time);
    rows
}

/// Twice the mid that prevails in each microsecond of `[start, end)`, summed, and how many microseconds had one.
fn naive_mid(rows: &[(i64, Said)], start: i64, end: i64) -> (i128, i128) {
    let (mut sum, mut micros) = (0, 0);
    for t in start..end {
        let mut mid = rows.iter().filter(|(time, _)| *time <= t).filter_map(|(_, said)| match said {
            Said::Quote(bid, ask) => Some(px(*bid).unscaled() + px(*ask).unscaled()),
            Said::OneSided(_) | Said::Print(..) => None,
        });
        if let Some(twice) = mid.next_back() {
            sum += twice;
            micros += 1;
        }
    }
    (sum, micros)
}

/// `a / b` rounded half to even.
fn half_even(a: i128, b: i128) -> i128 {
    let (quotient, rest) = (a.div_euclid(b), a.rem_euclid(b));
    quotient + i128::from(2 * rest > b || (2 * rest == b && quotient % 2 == 1))
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (90_i64..110, -2_i64..5).prop_map(|(bid, spread)| Said::Quote(bid, bid + spread)),
        1 => (90_i64..110).prop_map(Said::OneSided),
        4 => (90_i64..110, 1_i64..50).prop_map(|(price, size)| Said::Print(price, size)),
    ]
}

fn rows(times: impl Strategy<Value = i64> + Clone) -> impl Strategy<Value = Vec<(i64, Said)>> {
    prop::collection::vec((times, said()), 0..60)
}

proptest! {
    #[test]
    fn every_answer_is_the_naive_one(rows in rows(0_i64..200), start in 0_i64..220, length in 0_i64..200) {
        // Rows come in any order of event time: late ones go to their place.
        let (table, rows, end) = (table(&rows), in_order(&rows), start + length);
        let before = |t: i64| rows.iter().filter(move |(time, _)| *time <= t);
        let quote = before(start).filter_map(|(time, said)| match said {
            Said::Quote(bid, ask) => Some((*time, Some((px(*bid), px(*ask))))),
            Said::OneSided(_) => Some((*time, None)),
            Said::Print(..) => None,
        }).next_back().and_then(|(time, sides)| sides.map(|sides| (at(time), sides)));
        let ours = table.quote_at(I, V, at(start));
        prop_assert_eq!(ours.as_ref().ok().map(|q| (q.event_time, (q.bid, q.ask))), quote);
        if let Ok(quote) = &ours {
            prop_assert_eq!((quote.is_crossed(), quote.is_locked()), (quote.bid > quote.ask, quote.bid == quote.ask));
        }
        if rows.is_empty() {
            prop_assert_eq!(table.between(I, V, at(start), at(end)), Err(MarketMiss::NoMarket));
            return Ok(());
        }
        let window = table.between(I, V, at(start), at(end)).unwrap();
        let prints: Vec<(i128, i128)> = rows.iter().filter(|(time, _)| (start..end).contains(time))
            .filter_map(|(_, said)| match said {
                Said::Print(price, size) => Some((px(*price).unscaled(), i128::from(*size))),
                Said::Quote(..) | Said::OneSided(_) => None,
            }).collect();
        let volume: i128 = prints.iter().map(|(_, size)| size).sum();
        prop_assert_eq!(window.prints, i64::try_from(prints.len()).unwrap());
        prop_assert_eq!(window.volume.unscaled(), volume * 100_000_000);
        let product: i128 = prints.iter().map(|(price, size)| price * size * 10_000).sum();
        prop_assert_eq!(window.vwap.map(AvgPrice::unscaled), (volume > 0).then(|| half_even(product, volume)));
        let (twice, micros) = naive_mid(&rows, start, end);
        prop_assert_eq!(window.twap_mid.map(AvgPrice::unscaled), (micros > 0).then(|| half_even(twice * 5_000, micros)));
        if ours.is_ok() {
            let pin = table.pin_at(I, V, at(start)).unwrap();
            prop_assert_eq!(table.interval(I, V, &pin, at(end)), Ok(window));
        }
    }

    #[test]
    fn the_first_print_through_a_stop_is_the_naive_one(
        rows in rows(0_i64..200), after in 0_i64..220, length in 0_i64..200, stop in 88_i64..112, rises in any::<bool>(),
    ) {
        let (table, until) = (table(&rows), after + length);
        let through = |price: i64| if rises { price >= stop } else { price <= stop };
        let naive = in_order(&rows).into_iter().find_map(|(time, said)| match said {
            Said::Print(price, _) if after < time && time <= until && through(price) => Some((at(time), px(price))),
            Said::Print(..) | Said::Quote(..) | Said::OneSided(_) => None,
        });
        let found = table.first_through(I, V, (at(after), at(until)), px(stop), rises);
        prop_assert_eq!(found.map(|print| (print.event_time, print.price)), naive);
        let printed = rows.iter().any(|(time, said)| matches!(said, Said::Print(..)) && *time <= after);
        prop_assert_eq!(table.has_prints(I, V, at(after)), printed);
    }

    #[test]
    fn repeated_rows_change_nothing(rows in rows(0_i64..200)) {
        let rows = in_order(&rows);
        let mut twice = table(&rows);
        for (seq, (time, said)) in (1..).zip(&rows) {
            twice.take(&to_row(said, *time, seq)).unwrap();
        }
        prop_assert_eq!(twice.repeated(), u64::try_from(rows.len()).unwrap());
        prop_assert_eq!(twice.between(I, V, at(0), at(300)), table(&rows).between(I, V, at(0), at(300)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_pin_outlives_the_rows_it_was_made_from(rows in prop::collection::vec(said(), 800..1_500), pinned in 10_usize..500) {
        let rows: Vec<(i64, Said)> = (0..).map(|n| n * 3).zip(rows).collect();
        let (start, end) = (rows[pinned].0, rows[rows.len() - 1].0 + 1);
        let (whole, early, short) = (table(&rows), table(&rows[..=pinned]), capped(&rows, 256));
        let Ok(pin) = early.pin_at(I, V, at(start)) else { return Ok(()) };
        let expected = whole.between(I, V, at(start), at(end)).unwrap();
        prop_assert_eq!(short.interval(I, V, &pin, at(end)), Ok(expected));
    }
}

fn many_quotes(n: i64) -> Vec<(i64, Said)> {
    (0..n).map(|i| (i * 10, Said::Quote(100 + i % 5, 101 + i % 5))).collect()
}

#[test]
fn a_time_before_what_is_held_is_refused_and_not_guessed() {
    let table = capped(&many_quotes(2_000), 512);
    assert_eq!(table.quote_at(I, V, at(10)), Err(MarketMiss::OutsideRing));
    assert_eq!(table.between(I, V, at(10), at(19_000)), Err(MarketMiss::OutsideRing));
    assert!(table.quote_at(I, V, at(19_990)).is_ok());
}

#[test]
fn sums_of_another_start_are_not_subtracted() {
    let rows = many_quotes(2_000);
    let pin = table(&rows[..=100]).pin_at(I, V, at(1_000)).unwrap();
    let restarted = capped(&rows[50..], 512);
    assert_eq!(restarted.interval(I, V, &pin, at(19_000)), Err(MarketMiss::OutsideRing));
}

#[test]
fn a_market_without_rows_or_quotes_is_named() {
    let table = table(&[(5, Said::Print(100, 1)), (9, Said::Quote(100, 101))]);
    assert_eq!(table.quote_at("OTHER", V, at(9)), Err(MarketMiss::NoMarket));
    assert_eq!(table.quote_at(I, "OTHER", at(9)), Err(MarketMiss::NoMarket));
    assert_eq!(table.quote_at(I, V, at(8)), Err(MarketMiss::NoQuote));
    assert_eq!(table.pin_at(I, V, at(8)), Err(MarketMiss::NoQuote));
    assert_eq!(table.watermark(I, V), Some(at(9)));
}

#[test]
fn a_source_that_starts_over_later_goes_on() {
    let mut table = table(&many_quotes(3));
    table.take(&to_row(&Said::Quote(50, 51), 1_000, 1)).unwrap();
    assert_eq!(table.quote_at(I, V, at(1_000)).unwrap().bid, px(50));
    assert_eq!(table.repeated(), 0);
}

#[test]
fn a_published_version_does_not_change() {
    let mut table = table(&many_quotes(300));
    let version = table.clone();
    table.take(&to_row(&Said::Quote(50, 51), 2_985, 1_000)).unwrap();
    table.take(&to_row(&Said::Quote(60, 61), 5_000, 1_001)).unwrap();
    assert_eq!(version.quote_at(I, V, at(9_999)).unwrap().seq, 300);
    assert_eq!(version.watermark(I, V), Some(at(2_990)));
    assert_eq!(table.quote_at(I, V, at(2_986)).unwrap().seq, 1_000);
}

#[test]
fn a_halt_holds_from_its_time_until_the_next_status() {
    let mut table = MarketTable::default();
    for (seq, time, status) in [(1, 10, "OPEN"), (2, 20, "HALTED"), (3, 30, "OPEN")] {
        let row =
            NormalizedMarketData { trading_status: Some(status.to_owned()), ..row(MarketDataKind::Status, time, seq) };
        table.take(&row).unwrap();
    }
    let status = |t| table.status_at(I, V, at(t));
    assert_eq!([status(9), status(19)], [None, Some(TradingStatus::Open)]);
    assert_eq!([status(20), status(29)], [Some(TradingStatus::Halted); 2]);
    assert_eq!(status(30), Some(TradingStatus::Open));
    assert_eq!(table.status_at("OTHER", V, at(30)), None);
}

#[test]
fn a_row_without_its_figures_is_refused() {
    let mut table = MarketTable::default();
    let no_price = NormalizedMarketData { size: Some(qty(1)), ..row(MarketDataKind::Trade, 1, 1) };
    assert_eq!(table.take(&no_price).unwrap_err().path(), "price");
    let status = NormalizedMarketData { trading_status: Some("LUNCH".to_owned()), ..row(MarketDataKind::Status, 1, 1) };
    assert_eq!(table.take(&status).unwrap_err().path(), "trading_status");
}

#[test]
fn a_stop_is_reached_at_its_price_and_by_what_is_held_only() {
    let prints =
        |prices: &[i64]| (1..).zip(prices).map(|(time, price)| (time, Said::Print(*price, 1))).collect::<Vec<_>>();
    let first = |table: &MarketTable, span: (i64, i64), stop, rises| {
        table.first_through(I, V, (at(span.0), at(span.1)), px(stop), rises).map(|print| print.event_time.micros())
    };
    let table = table(&prints(&[100, 101, 102, 101, 99]));
    assert_eq!(first(&table, (0, 9), 102, true), Some(3), "at the stop");
    assert_eq!(first(&table, (3, 9), 102, true), None, "what was printed at the start was seen before");
    assert_eq!(first(&table, (2, 3), 102, true), Some(3), "what is printed at the end is seen");
    assert_eq!(first(&table, (1, 9), 100, false), Some(5));
    assert_eq!(first(&table, (9, 3), 90, true), None, "no time");
    assert!(table.first_through(I, "nowhere", (at(0), at(9)), px(1), true).is_none());
    // Chunks of the oldest rows are gone.
    let many: Vec<(i64, Said)> =
        (0..1_000).map(|time| (time, Said::Print(if time == 5 { 200 } else { 100 }, 1))).collect();
    let capped = capped(&many, 300);
    assert_eq!(first(&capped, (0, 2_000), 150, true), None);
    assert!(capped.has_prints(I, V, at(999)) && capped.has_prints(I, V, at(767)), "that something was, is known");
    assert_eq!(first(&capped, (0, 2_000), 100, true), Some(768));
}
