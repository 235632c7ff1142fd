//! A full parent risk check against the goal of 20 us at the 99th percentile: 10,000 instruments, 1,000 portfolios with a
//! limit record in which every rule is in force, positions and open orders in each.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{Quantity, Side, TimestampMicros};
use fillstream_pre_trade_risk::{Config, PreTradeRisk, State, World};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{OrderEvent, OrderTerms};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Calendar, Instrument, RiskLimit, Venue};
use fillstream_schemas::state::{RiskBook, RiskPortfolio, RiskPosition, RiskReservation};

/// The one of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const INSTRUMENTS: usize = 10_000;
const PORTFOLIOS: usize = 1_000;
const NOW: i64 = 1_795_089_600_000_000;
const CHECKS: usize = 200_000;

fn num<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a number")
}

fn instrument_id(n: usize) -> String {
    format!("INST{:05}", n % INSTRUMENTS)
}

fn instrument(n: usize) -> Instrument {
    Instrument {
        instrument_id: instrument_id(n),
        quote_currency: "USD".to_owned(),
        multiplier: Quantity::ONE,
        tick_size: num("0.01"),
        lot_size: Quantity::ONE,
        min_quantity: Quantity::ONE,
        adv: Some(num("6561000")),
        daily_sigma: Some(num("0.0157")),
        shares_outstanding: Some(num("1728000000")),
        sector: Some(format!("SECTOR{}", n % 11)),
        reference_venue: "XA".to_owned(),
        calendar_id: "DAY".to_owned(),
        ..Instrument::default()
    }
}

fn limit(portfolio: &str) -> RiskLimit {
    let much = || Some(num("1000000000"));
    RiskLimit {
        portfolio_id: portfolio.to_owned(),
        currency: "USD".to_owned(),
        max_order_quantity: num("100000"),
        max_order_value: num("10000000"),
        max_position_value: num("100000000"),
        max_gross_value: num("1000000000"),
        price_collar: num("100"),
        restricted: (0..100).map(|n| format!("RESTRICTED{n}")).collect(),
        watch_list: (0..100).map(|n| format!("WATCHED{n}")).collect(),
        allow_short: true,
        max_quote_age_ms: 5_000,
        version: 7,
        max_position_quantity: (0..100).map(|n| (instrument_id(n * 7), num("1000000"))).collect(),
        max_net_value: much(),
        max_sector_value: (0..11).map(|n| (format!("SECTOR{n}"), num("1000000000"))).collect(),
        max_asset_class_value: [("EQUITY".to_owned(), num("1000000000"))].into(),
        permitted_asset_classes: vec!["EQUITY".to_owned()],
        permitted_venues: vec!["XA".to_owned()],
        require_locate: true,
        refuse_outside_session: true,
        authorised_traders: vec!["T1".to_owned(), "T2".to_owned()],
        max_price_deviation: Some(num("500")),
        refuse_self_cross: true,
        duplicate_window_ms: 1_000,
        max_orders_per_minute: Some(100_000),
        max_entered_value_per_minute: much(),
        max_entered_value_per_day: much(),
        max_spread: Some(num("500")),
        max_depth_multiple: Some(num("10")),
        max_adv_participation: Some(num("0.1")),
        ..RiskLimit::default()
    }
}

fn put<R: AvroRecord>(data: &mut ReferenceData, topic: &str, key: &str, record: &R) {
    let bytes = record.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Table::apply(data, &row).expect("a row");
}

fn tables() -> (MarketTable, ReferenceData, Controls) {
    let (mut market, mut data) = (MarketTable::with_capacity(16, 16), ReferenceData::default());
    for n in 0..INSTRUMENTS {
        let row = NormalizedMarketData {
            instrument_id: instrument_id(n),
            venue: "XA".to_owned(),
            kind: MarketDataKind::Quote,
            event_time: TimestampMicros::from_micros(NOW - 1_000_000),
            seq: 1,
            bid: Some(num("99.99")),
            ask: Some(num("100.01")),
            bid_size: Some(num("500")),
            ask_size: Some(num("500")),
            ..NormalizedMarketData::default()
        };
        market.take(&row).expect("a quote");
        put(&mut data, "reference.instruments.v1", &instrument_id(n), &instrument(n));
    }
    for n in 0..PORTFOLIOS {
        let portfolio = format!("P{n}");
        let account = Account {
            account_id: format!("A{n}"),
            portfolio_id: portfolio.clone(),
            currency: "USD".to_owned(),
            cash: num("100000000"),
            initial_margin: num("1.5"),
            is_active: true,
            version: 1,
            ..Account::default()
        };
        put(&mut data, "reference.accounts.v1", &account.account_id, &account);
        put(&mut data, "reference.limits.v1", &portfolio, &limit(&portfolio));
    }
    let calendar = Calendar {
        calendar_id: "DAY".to_owned(),
        closes_at_us: 86_400_000_000,
        open_weekends: true,
        ..Calendar::default()
    };
    put(&mut data, "reference.calendars.v1", "DAY", &calendar);
    put(
        &mut data,
        "reference.venues.v1",
        "XA",
        &Venue { venue_id: "XA".to_owned(), is_open: true, ..Venue::default() },
    );
    (market, data, Controls::default())
}

/// Every portfolio with so many positions and so many open buys.
fn state(positions: usize, open: usize) -> State {
    let mut state = State::default();
    for p in 0..PORTFOLIOS {
        let id = format!("P{p}");
        let held = RiskPosition { quantity: num("100"), ..RiskPosition::default() };
        let portfolio = RiskPortfolio {
            portfolio_id: id.clone(),
            account_id: format!("A{p}"),
            currency: "USD".to_owned(),
            cash: num("100000000"),
            positions: (0..positions).map(|n| (instrument_id(p * 7 + n), held.clone())).collect(),
            accounts: [(format!("A{p}"), 1)].into(),
            has_books: true,
            ..RiskPortfolio::default()
        };
        state.portfolios.put(&id, portfolio);
        for n in 0..open {
            let order = RiskReservation {
                order_id: format!("O{n}"),
                portfolio_id: id.clone(),
                instrument_id: instrument_id(p * 7 + n % positions.max(1)),
                open_qty: num("10"),
                ord_qty: num("10"),
                multiplier: Quantity::ONE,
                reserved_price: num("99"),
                account_rate: num("1"),
                limit_price: Some(num("99")),
                ..RiskReservation::default()
            };
            let key = format!("{id}/{}", order.instrument_id);
            let before = state.books.get(&key).cloned().unwrap_or_default();
            let book = RiskBook {
                portfolio_id: id.clone(),
                instrument_id: order.instrument_id.clone(),
                buy_qty: before.buy_qty.checked_add(order.open_qty).expect("in range"),
                buy_cost: before.buy_cost.checked_add(num("990")).expect("in range"),
                ..before
            };
            state.books.put(&key, book);
            state.open.put(&format!("{id}/O{n}"), order);
        }
    }
    state
}

fn order(n: usize) -> (OrderEvent, OrderTerms) {
    let terms = OrderTerms {
        limit_price: Some(num("100")),
        trader_id: Some("T1".to_owned()),
        strategy_id: Some("S1".to_owned()),
        horizon_us: 3_600_000_000,
        quote_currency: "USD".to_owned(),
        ..OrderTerms::default()
    };
    let event = OrderEvent {
        order_id: format!("N{n}"),
        portfolio_id: format!("P{}", n * 613 % PORTFOLIOS),
        instrument_id: instrument_id(n * 7_919),
        side: if n.is_multiple_of(2) { Side::Buy } else { Side::BuyToCover },
        ord_qty: Quantity::from_int(10 + i64::try_from(n % 90).expect("small")).expect("in range"),
        ..OrderEvent::default()
    };
    (event, terms)
}

fn percentile(sorted: &[Duration], per_mille: usize) -> Duration {
    sorted[(sorted.len() - 1) * per_mille / 1_000]
}

fn check(criterion: &mut Criterion) {
    let (market, data, controls) = tables();
    let wide = fillstream_reference::WideLimits::default();
    let world = World {
        market: &market,
        data: &data,
        controls: &controls,
        wide: &wide,
        now: TimestampMicros::from_micros(NOW),
    };
    let stage = PreTradeRisk::new(Config::default()).expect("a stage");
    let orders: Vec<_> = (0..1_009).map(order).collect();
    for (positions, open) in [(5, 5), (10, 10), (10, 100), (50, 100)] {
        let state = state(positions, open);
        let (event, terms) = &orders[0];
        let verdict = stage.judge(event, terms, &state, world);
        assert!(verdict.is_approved, "{verdict:?}");
        let mut taken: Vec<Duration> = Vec::with_capacity(CHECKS);
        for n in 0..CHECKS {
            let (event, terms) = &orders[n % orders.len()];
            let begun = Instant::now();
            black_box(stage.judge(black_box(event), terms, &state, world));
            taken.push(begun.elapsed());
        }
        taken.sort_unstable();
        println!(
            "full check, {INSTRUMENTS} instruments, {PORTFOLIOS} limits, {positions} positions and {open} open orders a \
             portfolio, {} checks reported: p50 {:?}, p99 {:?}, p99.9 {:?} of {CHECKS}",
            verdict.validation_results.len(),
            percentile(&taken, 500),
            percentile(&taken, 990),
            percentile(&taken, 999),
        );
        let mut group = criterion.benchmark_group("check");
        let mut n = 0;
        group.bench_function(format!("{positions} positions, {open} open"), |bencher| {
            bencher.iter(|| {
                n += 1;
                let (event, terms) = &orders[n % orders.len()];
                stage.judge(black_box(event), terms, &state, world)
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    targets = check
}
criterion_main!(benches);
