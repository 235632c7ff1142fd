//! The direct codec against `apache_avro` on a record of 15 fields, in one run: ratios hold better than times.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use apache_avro::Schema as Avro;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use common::avro_value;
use common::sample::Child;
use common::types::Colour;
use criterion::{Criterion, criterion_group, criterion_main};
use fillstream_domain::{FixedDecimal, Side, TimestampMicros};
use fillstream_schemas::{AvroRecord, Resolver};
use serde::{Deserialize, Serialize};

/// `apache_avro` takes an enum only as serde's unit variant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Side", rename_all = "SCREAMING_SNAKE_CASE")]
enum SerdeSide {
    Buy,
    Sell,
    SellShort,
    BuyToCover,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Colour", rename_all = "SCREAMING_SNAKE_CASE")]
enum SerdeColour {
    Red,
    DarkGreen,
    Blue,
}

/// The same record for the serde path, with decimals as bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Child")]
struct SerdeChild {
    order_id: String,
    cl_ord_id: String,
    exec_id: String,
    instrument_id: String,
    venue: Option<String>,
    side: SerdeSide,
    colour: SerdeColour,
    last_px: apache_avro::Decimal,
    last_qty: apache_avro::Decimal,
    cum_qty: apache_avro::Decimal,
    leaves_qty: apache_avro::Decimal,
    limit_px: Option<apache_avro::Decimal>,
    event_at: i64,
    sequence: i64,
    final_fill: bool,
}

fn child() -> Child {
    Child {
        order_id: "ord-7f3a9c2e51b04d68".to_owned(),
        cl_ord_id: "C7f3a9c2e51b04d68-1".to_owned(),
        exec_id: "XNAS-0000012345".to_owned(),
        instrument_id: "BTC-USDT".to_owned(),
        venue: Some("XNAS".to_owned()),
        side: Side::SellShort,
        colour: Colour::DarkGreen,
        last_px: "61234.56".parse().expect("a price"),
        last_qty: "0.25".parse().expect("a quantity"),
        cum_qty: "12.5".parse().expect("a quantity"),
        leaves_qty: "87.5".parse().expect("a quantity"),
        limit_px: Some("61200".parse().expect("a price")),
        event_at: TimestampMicros::from_micros(1_723_123_800_123_456),
        sequence: 12_345,
        final_fill: true,
    }
}

fn serde_child(record: &Child) -> SerdeChild {
    let bytes = |unscaled: i128| apache_avro::Decimal::from(common::shortest(unscaled));
    SerdeChild {
        order_id: record.order_id.clone(),
        cl_ord_id: record.cl_ord_id.clone(),
        exec_id: record.exec_id.clone(),
        instrument_id: record.instrument_id.clone(),
        venue: record.venue.clone(),
        side: SerdeSide::SellShort,
        colour: SerdeColour::DarkGreen,
        last_px: bytes(FixedDecimal::unscaled(record.last_px)),
        last_qty: bytes(FixedDecimal::unscaled(record.last_qty)),
        cum_qty: bytes(FixedDecimal::unscaled(record.cum_qty)),
        leaves_qty: bytes(FixedDecimal::unscaled(record.leaves_qty)),
        limit_px: record.limit_px.map(|px| bytes(FixedDecimal::unscaled(px))),
        event_at: record.event_at.micros(),
        sequence: record.sequence,
        final_fill: record.final_fill,
    }
}

fn codec(criterion: &mut Criterion) {
    let record = child();
    let bytes = record.to_bytes();
    let schema = Avro::parse_str(Child::SCHEMA).expect("a schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let value = avro_value(&record.to_value(), &schema);
    let twin = serde_child(&record);
    assert_eq!(writer.write_value_to_vec(value.clone()).expect("bytes"), bytes);
    assert_eq!(writer.write_ser_to_vec(&twin).expect("bytes"), bytes);
    let other = Resolver::<Child>::new(&Child::SCHEMA.replace("test.sample", "elsewhere")).expect("a plan");
    assert!(!other.is_direct());

    let mut encode = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(512);
    encode.bench_function("direct", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&record).encode(&mut out);
            black_box(out.as_slice());
        });
    });
    encode.bench_function("apache serde", |bencher| {
        bencher.iter(|| {
            out.clear();
            writer.write_ser(&mut out, black_box(&twin)).expect("bytes")
        });
    });
    encode.bench_function("apache value", |bencher| {
        bencher.iter(|| {
            out.clear();
            let value = avro_from(black_box(&twin));
            writer.write_value_ref(&mut out, &value).expect("bytes")
        });
    });
    encode.finish();

    let mut decode = criterion.benchmark_group("decode");
    decode.bench_function("direct", |bencher| bencher.iter(|| Child::decode(black_box(&bytes)).expect("a record")));
    decode.bench_function("resolver", |bencher| bencher.iter(|| other.decode(black_box(&bytes)).expect("a record")));
    decode.bench_function("apache serde", |bencher| {
        bencher.iter(|| reader.read_deser::<SerdeChild>(&mut black_box(bytes.as_slice())).expect("a record"));
    });
    decode.bench_function("apache value", |bencher| {
        bencher.iter(|| reader.read_value(&mut black_box(bytes.as_slice())).expect("a record"));
    });
    decode.finish();
}

/// What a user of the value path does a record: names, clones, then the writer.
fn avro_from(twin: &SerdeChild) -> apache_avro::types::Value {
    use apache_avro::types::Value;
    let field = |name: &str, value| (name.to_owned(), value);
    let optional = |value: Option<Value>| match value {
        Some(value) => Value::Union(1, Box::new(value)),
        None => Value::Union(0, Box::new(Value::Null)),
    };
    Value::Record(vec![
        field("order_id", Value::String(twin.order_id.clone())),
        field("cl_ord_id", Value::String(twin.cl_ord_id.clone())),
        field("exec_id", Value::String(twin.exec_id.clone())),
        field("instrument_id", Value::String(twin.instrument_id.clone())),
        field("venue", optional(twin.venue.clone().map(Value::String))),
        field("side", Value::Enum(2, "SELL_SHORT".to_owned())),
        field("colour", Value::Enum(1, "DARK_GREEN".to_owned())),
        field("last_px", Value::Decimal(twin.last_px.clone())),
        field("last_qty", Value::Decimal(twin.last_qty.clone())),
        field("cum_qty", Value::Decimal(twin.cum_qty.clone())),
        field("leaves_qty", Value::Decimal(twin.leaves_qty.clone())),
        field("limit_px", optional(twin.limit_px.clone().map(Value::Decimal))),
        field("event_at", Value::TimestampMicros(twin.event_at)),
        field("sequence", Value::Long(twin.sequence)),
        field("final_fill", Value::Boolean(twin.final_fill)),
    ])
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2)).warm_up_time(std::time::Duration::from_millis(500));
    targets = codec
}
criterion_main!(benches);
