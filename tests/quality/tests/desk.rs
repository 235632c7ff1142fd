//! Orders on paths whose costs are known.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use fillstream_domain::{Algorithm, AssetClass, MarketCondition, Price, Quantity, TimestampMicros, Urgency};
use fillstream_execution_strategy::Config;
use fillstream_quality::desk::{OrderSpec, Outcome, Works};
use fillstream_quality::generator::{Liquidity, Scenario, path};
use fillstream_quality::measure::{ADAPTIVE, ALGORITHMS};
use fillstream_quality::path::{MarketPath, Said, Tick, Top};
use fillstream_quality::{Plan, measure, report};
use fillstream_schemas::reference::Instrument;

/// A Monday, 15:00 UTC.
const START: i64 = 1_772_463_600;
const WARM: i64 = 300;

fn at(second: i64) -> TimestampMicros {
    TimestampMicros::from_micros((START + second) * 1_000_000)
}

fn px(text: &str) -> Price {
    text.parse().unwrap()
}

fn qty(n: i64) -> Quantity {
    Quantity::from_int(n).unwrap()
}

fn quote(second: i64, bid: &str, ask: &str) -> Tick {
    sized(second, bid, ask, 100)
}

fn sized(second: i64, bid: &str, ask: &str, size: i64) -> Tick {
    let size = Some(qty(size));
    Tick { at: at(second), said: Said::Quote(Some(Top { bid: px(bid), ask: px(ask), bid_size: size, ask_size: size })) }
}

fn print(second: i64, price: &str, size: i64) -> Tick {
    Tick { at: at(second), said: Said::Print(px(price), qty(size)) }
}

/// A path with the quote 100.00 / 100.02 every second, and what is different.
fn flat(seconds: i64, also: impl Fn(i64) -> Option<Tick>) -> MarketPath {
    let ticks = (-WARM..=seconds).flat_map(|s| match also(s) {
        Some(tick) if matches!(tick.said, Said::Quote(_)) => vec![tick],
        Some(tick) => vec![quote(s, "100", "100.02"), tick],
        None => vec![quote(s, "100", "100.02")],
    });
    MarketPath {
        name: "flat".to_owned(),
        market: "flat".to_owned(),
        instrument: Instrument {
            instrument_id: "X".to_owned(),
            asset_class: AssetClass::Equity,
            quote_currency: "USD".to_owned(),
            multiplier: Quantity::ONE,
            tick_size: px("0.01"),
            lot_size: Quantity::ONE,
            min_quantity: Quantity::ONE,
            adv: Some(qty(1_000_000)),
            daily_sigma: Some("0.02".parse().unwrap()),
            reference_venue: "V".to_owned(),
            calendar_id: "XNYS".to_owned(),
            ..Instrument::default()
        },
        ticks: ticks.collect(),
        arrives_at: at(0),
        is_buy: true,
        moves: false,
        is_news: false,
    }
}

fn work(path: &MarketPath, value: i64, urgency: Urgency, algorithm: Algorithm) -> Outcome {
    let works = Works::new(Config::default()).unwrap();
    let order = OrderSpec { value, urgency, horizon_s: 300 };
    works.prepare(path).unwrap().work(&order, algorithm, false).unwrap()
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.005, "{found} is not {expected}");
}

#[test]
fn a_market_order_pays_half_the_spread_the_ladder_and_the_fee() {
    let path = flat(300, |_| None);
    // 50 at 100.02 against 100.01: 0.50, and 0.3 basis points of 5,001 in whole cents, 0.15; of 5,000.50.
    let small = work(&path, 5_001, Urgency::High, Algorithm::Market);
    near(small.cost_bps, 1.299_87);
    assert_eq!((small.filled, small.selected, small.condition), (1.0, Algorithm::Market, MarketCondition::Normal));
    // 100 at 100.02, 100 at 100.04, 50 at 100.06: 1 + 3 + 2.50, and 0.30 + 0.30 + 0.15; of 25,002.50.
    near(work(&path, 25_003, Urgency::High, Algorithm::Market).cost_bps, 2.899_71);
}

#[test]
fn a_twap_pays_the_touch_where_it_comes_back_and_no_ladder() {
    let path = flat(300, |s| (s % 2 == 0).then(|| sized(s, "100", "100.02", 101)));
    let outcome = work(&path, 25_003, Urgency::High, Algorithm::Twap);
    assert_eq!(outcome.filled, 1.0);
    // 250 at 100.02: 2.50; fees of slices of 16 or 17 in whole cents, 0.05 each, 15 of them.
    near(outcome.cost_bps, 1.299_87);
    // Where nothing changes, what was taken stays gone: the ladder is paid, as by one order.
    near(work(&flat(300, |_| None), 25_003, Urgency::High, Algorithm::Twap).cost_bps, 2.899_71);
}

#[test]
fn a_resting_order_earns_half_the_spread_after_its_queue() {
    // 100 stand before it; 50 of the 160 that are printed at its price are left for it.
    let path = flat(300, |s| (s == 60 || s == 70).then(|| print(s, "100", 80)));
    let outcome = work(&path, 5_001, Urgency::Low, Algorithm::Limit);
    assert_eq!(outcome.filled, 1.0);
    // 50 at 100.00 against 100.01, and 0.2 basis points back.
    near(outcome.cost_bps, -1.199_88);
    let queue = flat(300, |s| (s == 60).then(|| print(s, "100", 100)));
    assert_eq!(work(&queue, 5_001, Urgency::Low, Algorithm::Limit).filled, 0.0, "its turn has not come");
}

#[test]
fn what_is_left_is_taken_at_the_end_and_the_shortfall_is_told_beside() {
    // The price leaves at once, beyond what a LIMIT order follows.
    let path = flat(300, |s| (s > 0).then(|| quote(s, "101", "101.02")));
    let outcome = work(&path, 5_001, Urgency::Low, Algorithm::Limit);
    assert_eq!(outcome.filled, 0.0);
    near(outcome.shortfall_bps, 99.990_0);
    // 50 at 101.02 against 100.01: 50.50, and 0.15.
    near(outcome.cost_bps, 101.289_8);
    near(work(&path, 5_001, Urgency::High, Algorithm::Market).cost_bps, 1.299_87);
}

#[test]
fn what_the_rules_choose_by_themselves_costs_what_it_costs_by_name() {
    let works = Works::new(Config::default()).unwrap();
    for (scenario, urgency, value) in [
        (Scenario::Steady, Urgency::Normal, 30_000),
        (Scenario::Wide, Urgency::Low, 30_000),
        (Scenario::Wild, Urgency::High, 150_000),
    ] {
        let path = path(Liquidity::Thin, scenario, (1, 1), 300).unwrap();
        let prepared = works.prepare(&path).unwrap();
        let order = OrderSpec { value, urgency, horizon_s: 300 };
        let chosen = prepared.work(&order, Algorithm::Auto, false).unwrap();
        assert_eq!(prepared.work(&order, chosen.selected, false).unwrap(), chosen, "{scenario:?}");
    }
}

#[test]
fn samples_are_paired_and_a_run_repeats_itself_whatever_the_threads() {
    let plan = |threads| Plan { seed: 7, paths: 2, data: None, threads, config: Config::default() };
    let samples = measure(&plan(2)).unwrap();
    assert_eq!(samples, measure(&plan(1)).unwrap());
    assert_eq!(samples.len(), 6 * 2 * (8 + 4));
    for sample in &samples {
        let met = sample.outcomes.iter().chain(&sample.adaptive).flatten();
        assert!(
            met.clone().all(|o| (o.condition, o.selected) == (sample.condition, sample.selected)),
            "one path for all"
        );
        assert_eq!((sample.outcomes.len(), sample.adaptive.len()), (ALGORITHMS.len(), ADAPTIVE.len()));
        assert!(sample.of(Algorithm::Market).is_some_and(|o| o.filled == 1.0));
    }
    let text = report(&samples, &plan(1));
    assert!(text.contains("\"90 % optimal\": no cell has 200 paths") && text.contains("\"15 % better\""), "{text}");
}
