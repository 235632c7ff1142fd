//! The model keeps what its documentation promises.

use super::{DEFAULT_START, SyntheticConfig, SyntheticMarket, default_instruments};
use crate::{Anchored, MarketError, MarketSource};
use fillstream_domain::{AssetClass, Price, TimestampMicros};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn short(seed: u64) -> SyntheticConfig {
    SyntheticConfig { seed, length_us: 600_000_000, ..SyntheticConfig::default() }
}

fn all(config: SyntheticConfig) -> Vec<NormalizedMarketData> {
    let mut market = SyntheticMarket::new(config).unwrap();
    market.advance_to(TimestampMicros::from_micros(i64::MAX)).unwrap()
}

#[test]
fn the_default_market_has_several_asset_classes_and_the_documented_rates() {
    let classes: BTreeSet<_> = default_instruments().iter().map(|i| i.asset_class).collect();
    assert!(default_instruments().len() >= 6);
    for class in [AssetClass::Equity, AssetClass::Etf, AssetClass::Crypto, AssetClass::Fx] {
        assert!(classes.contains(&class), "{class}");
    }
    let config = SyntheticConfig::default();
    let rows = all(config.clone());
    for spec in &config.instruments {
        let of = |kind| rows.iter().filter(|r| r.instrument_id == spec.instrument_id && r.kind == kind).count();
        let (quotes, trades) = (of(MarketDataKind::Quote), of(MarketDataKind::Trade));
        if spec.touch_size.is_some() {
            assert!((12_000..17_000).contains(&quotes), "{} {quotes}", spec.instrument_id);
            assert!((3_000..4_200).contains(&trades), "{} {trades}", spec.instrument_id);
        } else {
            assert!((9_000..13_000).contains(&quotes), "{} {quotes}", spec.instrument_id);
            assert_eq!(trades, 0);
        }
    }
}

#[test]
fn volume_is_u_shaped_and_the_spread_widens_with_volatility() {
    let config = SyntheticConfig::default();
    let rows = all(config.clone());
    let sixth = |row: &NormalizedMarketData| (row.event_time.micros() - config.start.micros()) / (config.length_us / 6);
    let volume = |part: i64| -> i128 {
        let trades = rows.iter().filter(|r| r.instrument_id == "ACME" && r.price.is_some() && sixth(r) == part);
        trades.map(|r| r.size.unwrap().unscaled()).sum()
    };
    assert!(volume(0) > 2 * volume(2), "{} {}", volume(0), volume(2));
    assert!(volume(5) > 2 * volume(3), "{} {}", volume(5), volume(3));

    // Minutes of BTCUSD by their absolute mid moves; the wild third has the wider spreads.
    let mut minutes: BTreeMap<i64, (i128, i128, i128, i128)> = BTreeMap::new();
    let mut last = None;
    for row in rows.iter().filter(|r| r.instrument_id == "BTCUSD" && r.price.is_none()) {
        let (bid, ask) = (row.bid.unwrap().unscaled(), row.ask.unwrap().unscaled());
        let minute = minutes.entry(row.event_time.micros() / 60_000_000).or_default();
        let step = last.map_or(0, |mid| bid + ask - mid);
        last = Some(bid + ask);
        *minute = (minute.0 + step * step, minute.1 + ask - bid, minute.2 + 1, 0);
    }
    let mut minutes: Vec<_> = minutes.into_values().map(|(square, spread, n, _)| (square, spread / n)).collect();
    minutes.sort_unstable();
    let third = minutes.len() / 3;
    let mean =
        |part: &[(i128, i128)]| part.iter().map(|m| m.1).sum::<i128>() * 100 / i128::try_from(part.len()).unwrap();
    let (calm, wild) = (mean(&minutes[..third]), mean(&minutes[minutes.len() - third..]));
    assert!(wild > calm * 5 / 4, "calm {calm}, wild {wild}");
}

#[test]
fn the_seed_decides_and_instruments_do_not_touch_each_other() {
    assert_eq!(all(short(3)), all(short(3)));
    assert_ne!(all(short(3)), all(short(4)));
    let mut fewer = short(3);
    fewer.instruments.retain(|i| i.instrument_id == "HOOLI");
    let hooli: Vec<_> = all(short(3)).into_iter().filter(|r| r.instrument_id == "HOOLI").collect();
    assert_eq!(all(fewer), hooli);
}

#[test]
fn the_rows_of_a_seed_never_change() {
    let rows = all(short(42));
    let acme: Vec<_> = rows.iter().filter(|r| r.instrument_id == "ACME").collect();
    let pinned = [acme[0], acme[1], acme[2], acme[acme.len() - 2], acme[acme.len() - 1]];
    let shown: Vec<_> = pinned
        .iter()
        .map(|r| {
            let show = |x: Option<String>| x.unwrap_or_default();
            format!(
                "{} {} {} {} {} {} {}",
                r.event_time.micros() - DEFAULT_START.micros(),
                show(r.bid.map(|p| p.to_string())),
                show(r.ask.map(|p| p.to_string())),
                show(r.bid_size.map(|p| p.to_string())),
                show(r.ask_size.map(|p| p.to_string())),
                show(r.price.map(|p| p.to_string())),
                show(r.size.map(|p| p.to_string())),
            )
        })
        .collect();
    assert_eq!(rows.len(), 11_351);
    assert_eq!(
        shown,
        [
            "0 101.24 101.25 5239 1854  ",
            "502275 101.23 101.24 1178 1036  ",
            "710350 101.23 101.24 519 909  ",
            "599497799 100.85 100.86 150 1343  ",
            "599696293 100.85 100.86 1402 1037  ",
        ]
    );
}

#[test]
fn an_anchored_market_is_the_same_market_at_another_time() {
    let start = TimestampMicros::from_micros(2_000_000_000_000_000);
    let mut moved = Anchored::new(SyntheticMarket::new(short(5)).unwrap(), start);
    assert_eq!(moved.session().start, start);
    assert_eq!(moved.session().end.micros() - start.micros(), 600_000_000);
    let rows = moved.advance_to(TimestampMicros::from_micros(i64::MAX)).unwrap();
    let shift = start.micros() - DEFAULT_START.micros();
    let back = |row: NormalizedMarketData| NormalizedMarketData {
        event_time: TimestampMicros::from_micros(row.event_time.micros() - shift),
        ..row
    };
    assert_eq!(rows.into_iter().map(back).collect::<Vec<_>>(), all(short(5)));
}

#[test]
fn every_fault_of_a_configuration_is_named() {
    let mut config = short(1);
    config.length_us = 0;
    config.instruments[0].tick_size = Price::ZERO;
    config.instruments[1].trade_size = None;
    config.instruments[2] = config.instruments[3].clone();
    let Err(MarketError::BadConfig(text)) = SyntheticMarket::new(config) else { panic!("accepted") };
    for part in ["length_us", "tick_size is not positive", "given together", "INITECH stands twice"] {
        assert!(text.contains(part), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_are_ordered_on_ticks_uncrossed_and_trades_agree_with_the_quotes(
        seed: u64,
        length_s in 1_i64..400,
        trade_interval_us in 50_000_i64..4_000_000,
    ) {
        let config = SyntheticConfig { seed, length_us: length_s * 1_000_000, trade_interval_us, ..SyntheticConfig::default() };
        let specs: BTreeMap<_, _> = config.instruments.iter().map(|i| (i.instrument_id.clone(), i.clone())).collect();
        let (start, end) = (config.start.micros(), config.start.micros() + config.length_us);
        let (mut time, mut seqs) = (i64::MIN, BTreeMap::<String, i64>::new());
        let mut quotes: BTreeMap<String, NormalizedMarketData> = BTreeMap::new();
        for row in all(config) {
            prop_assert!(row.event_time.micros() >= time && (start..end).contains(&row.event_time.micros()));
            time = row.event_time.micros();
            let seq = seqs.entry(row.instrument_id.clone()).or_default();
            *seq += 1;
            prop_assert_eq!(row.seq, *seq);
            let spec = &specs[&row.instrument_id];
            for price in [row.bid, row.ask, row.price].into_iter().flatten() {
                prop_assert!(price.is_positive() && price.unscaled() % spec.tick_size.unscaled() == 0);
            }
            for size in [row.bid_size, row.ask_size, row.size].into_iter().flatten() {
                prop_assert!(size.is_positive() && size.is_whole_lots(spec.lot_size));
            }
            match row.price {
                None => {
                    prop_assert!(row.bid < row.ask && row.bid.is_some());
                    prop_assert_eq!(row.bid_size.is_some(), spec.touch_size.is_some());
                    quotes.insert(row.instrument_id.clone(), row);
                }
                Some(price) => {
                    let quote = &quotes[&row.instrument_id];
                    let touch = if Some(price) == quote.ask { quote.ask_size } else { quote.bid_size };
                    prop_assert!(Some(price) == quote.ask || Some(price) == quote.bid);
                    prop_assert!(row.size <= touch);
                }
            }
        }
        prop_assert!(seqs.values().all(|n| *n > 0) && seqs.len() == specs.len());
    }
}
