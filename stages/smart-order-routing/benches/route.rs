//! What routing one slice costs: the whole task, from the slice's bytes to the plan's, over 20 venues.
//!
//! The batch is rolled back each time, so that every round starts from the same state.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use fillstream_core::StageHandle;
use fillstream_core::batch::Batch;
use fillstream_core::group::{Group, Path};
use fillstream_core::record::{Envelope, Payload};
use fillstream_core::table::{Table, TableRow, Tables};
use fillstream_core::task::{Task, TaskContext};
use fillstream_core::trace::Sampler;
use fillstream_domain::{AssetClass, Quantity, Side, TimeInForce, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::Slice;
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Broker, Instrument, RiskLimit, Venue};
use fillstream_smart_order_routing::{Config, SmartOrderRouting};

const NOW: TimestampMicros = TimestampMicros::from_micros(1_700_060_800_000_000);
const VENUES: i64 = 20;

fn put<T: Table, R: AvroRecord>(table: &mut T, topic: &str, key: &str, value: &R) {
    let bytes = value.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Table::apply(table, &row).unwrap();
}

fn qty(n: i64) -> Quantity {
    Quantity::from_int(n).unwrap()
}

fn reference(brokers: &[&str]) -> ReferenceData {
    let mut data = ReferenceData::default();
    let instrument = Instrument {
        instrument_id: "X".into(),
        asset_class: AssetClass::Equity,
        reference_venue: "V0".into(),
        quote_currency: "USD".into(),
        multiplier: Quantity::ONE,
        lot_size: Quantity::ONE,
        tick_size: "0.01".parse().unwrap(),
        adv: Some(qty(1_000_000)),
        daily_sigma: Some("0.02".parse().unwrap()),
        ..Instrument::default()
    };
    put(&mut data, "reference.instruments.v1", "X", &instrument);
    let held = brokers.iter().map(|b| (*b).to_owned()).collect();
    let account = Account { account_id: "A1".into(), portfolio_id: "P1".into(), brokers: held, ..Account::default() };
    put(&mut data, "reference.accounts.v1", "A1", &account);
    let limit = RiskLimit {
        portfolio_id: "P1".into(),
        currency: "USD".into(),
        price_collar: "500".parse().unwrap(),
        ..RiskLimit::default()
    };
    put(&mut data, "reference.limits.v1", "P1", &limit);
    for broker in brokers {
        let broker = Broker {
            broker_id: (*broker).into(),
            session_id: format!("{broker}-1"),
            venues: (0..VENUES).map(|n| format!("V{n}")).collect(),
            per_unit: "0.005".parse().unwrap(),
            quality: "0.9".parse().unwrap(),
            ..Broker::default()
        };
        put(&mut data, "reference.brokers.v1", &broker.broker_id.clone(), &broker);
    }
    for n in 0..VENUES {
        let venue = Venue {
            venue_id: format!("V{n}"),
            is_open: true,
            taker_fee: fillstream_domain::Bps::from_int(n % 5).unwrap(),
            size_share: "0.05".parse().unwrap(),
            quality: "0.9".parse().unwrap(),
            ..Venue::default()
        };
        put(&mut data, "reference.venues.v1", &venue.venue_id.clone(), &venue);
    }
    data
}

fn market(own_books: bool) -> MarketTable {
    let mut table = MarketTable::default();
    for n in 0..if own_books { VENUES } else { 1 } {
        let row = NormalizedMarketData {
            instrument_id: "X".into(),
            venue: format!("V{n}"),
            kind: MarketDataKind::Quote,
            event_time: TimestampMicros::from_micros(NOW.micros() - 1_000_000),
            seq: 1,
            bid: "100".parse().ok(),
            ask: format!("100.{:02}", 1 + n % 7).parse().ok(),
            bid_size: Some(qty(400 + 10 * n)),
            ask_size: Some(qty(400 + 10 * n)),
            ..NormalizedMarketData::default()
        };
        table.take(&row).unwrap();
    }
    table
}

fn task() -> Task {
    let stage = StageHandle::of(SmartOrderRouting::new(Config::default()).unwrap());
    let group = Group::fused(&Path::new("bench", vec![stage]).unwrap()).unwrap();
    let context = TaskContext {
        partitioner: Arc::new(|_, _| 0),
        config_hash: "bench".into(),
        code_version: "bench".into(),
        sampler: Sampler::per_million(0),
    };
    let slice = Slice {
        event_id: "s1".into(),
        timestamp: NOW,
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        instrument_id: "X".into(),
        side: Side::Buy,
        slice_no: 1,
        quantity: qty(1_000),
        lot_size: Quantity::ONE,
        time_in_force: TimeInForce::Ioc,
        expire_at: TimestampMicros::from_micros(NOW.micros() + 3_600_000_000),
        ..Slice::default()
    };
    let mut task = Task::new(&group, 0, context);
    let payload = Payload::Avro(slice.to_bytes().into());
    task.offer(Envelope::foreign("execution.slices.v1", 0, 0, "P1", payload));
    task
}

fn route(c: &mut Criterion) {
    let cases: [(&str, bool, &[&str]); 3] = [
        ("20 venues, one reference quote", false, &["b1"]),
        ("20 venues, a book each", true, &["b1"]),
        ("20 venues, a book each, by two brokers", true, &["b1", "b2"]),
    ];
    for (name, own_books, brokers) in cases {
        let mut tables = Tables::default();
        tables.set(reference(brokers));
        tables.set(market(own_books));
        tables.set(Controls::default());
        let mut task = task();
        c.bench_function(name, |bench| {
            bench.iter(|| {
                let batch = Batch { now: NOW, instant: None, tables: &tables, max_units: usize::MAX };
                let out = black_box(task.run(&batch).unwrap());
                assert_eq!(out.outputs.len(), 1);
                task.rollback();
            });
        });
    }
}

criterion_group!(benches, route);
criterion_main!(benches);
