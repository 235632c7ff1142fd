//! The contracts under `tests/avro`, which have every type, and how to make any of their records.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    unused_qualifications,
    reason = "helpers of tests, of which each test crate uses a part; generated code"
)]

use std::collections::HashMap;
use std::fmt::Debug;

use apache_avro::Schema as Avro;
use apache_avro::types::Value as AvroValue;
use fillstream_domain::{AvroEnum, FixedDecimal, TimestampMicros};
use fillstream_schemas::{Finite, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

include!(concat!(env!("OUT_DIR"), "/testing.rs"));

use self::sample::{Child, Everything, Fill};

/// Any value of a decimal type, small ones as often as the ends of its range.
pub fn decimal<T: FixedDecimal>() -> impl Strategy<Value = T> {
    let limit = 10_i128.pow(T::PRECISION) - 1;
    let low = if T::SIGNED { -limit } else { 0 };
    prop_oneof![low.max(-300)..=300, low..=limit, Just(limit), Just(low)]
        .prop_map(|units| T::from_unscaled(units).unwrap())
}

pub fn symbol<T: AvroEnum + Debug>() -> impl Strategy<Value = T> {
    proptest::sample::select(T::ALL)
}

pub fn timestamp() -> impl Strategy<Value = TimestampMicros> {
    prop_oneof![Just(0), any::<i64>(), 1_700_000_000_000_000_i64..1_800_000_000_000_000]
        .prop_map(TimestampMicros::from_micros)
}

pub fn finite() -> impl Strategy<Value = Finite> {
    any::<f64>().prop_filter_map("finite", |number| Finite::new(number).ok())
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{0,12}", "[a-z]{60,200}"]
}

prop_compose! {
    pub fn fill()(exec_id in text(), last_px in decimal(), side in symbol()) -> Fill {
        Fill { exec_id, last_px, side }
    }
}

prop_compose! {
    fn scalars()(
        flag in any::<bool>(),
        small in any::<i32>(),
        large in any::<i64>(),
        ratio in finite(),
        text in text(),
        raw in vec(any::<u8>(), 0..20),
        day in any::<i32>(),
        at in timestamp(),
        price in decimal(),
        money in decimal(),
        side in symbol(),
        colour in symbol(),
    ) -> Everything {
        Everything { flag, small, large, ratio, text, raw, day, at, price, money, side, colour, ..Everything::default() }
    }
}

prop_compose! {
    pub fn everything()(
        base in scalars(),
        lineage in any::<[u8; 16]>(),
        fill_one in fill(),
        fills in vec(fill(), 0..4),
        prices in btree_map(text(), decimal(), 0..4),
        maybe_text in proptest::option::of(text()),
        maybe_fill in proptest::option::of(fill()),
        maybe_last in proptest::option::of(any::<i64>()),
        r#type in text(),
        grid in vec(vec(proptest::option::of(any::<i32>()), 0..3), 0..3),
    ) -> Everything {
        Everything {
            lineage, fill: fill_one, fills, prices, maybe_text, maybe_fill, maybe_last, r#type, grid, ..base
        }
    }
}

/// The shortest two's complement, found by trying every length.
pub fn shortest(unscaled: i128) -> Vec<u8> {
    let all = unscaled.to_be_bytes();
    for length in 1..=16 {
        let (dropped, kept) = all.split_at(16 - length);
        let sign = if kept[0] & 0x80 == 0 { 0 } else { 0xff };
        if dropped.iter().all(|byte| *byte == sign) {
            return kept.to_vec();
        }
    }
    unreachable!("16 bytes always do")
}

/// A value as `apache_avro` has it, along its schema.
pub fn avro_value(value: &Value, schema: &Avro) -> AvroValue {
    let mut names = HashMap::new();
    collect(schema, &mut names);
    convert(value, schema, &names)
}

fn collect<'s>(schema: &'s Avro, names: &mut HashMap<String, &'s Avro>) {
    if let (Some(name), false) = (schema.name(), matches!(schema, Avro::Ref { .. })) {
        names.insert(name.fullname(None), schema);
    }
    match schema {
        Avro::Record(record) => record.fields.iter().for_each(|field| collect(&field.schema, names)),
        Avro::Array(array) => collect(&array.items, names),
        Avro::Map(map) => collect(&map.types, names),
        Avro::Union(union) => union.variants().iter().for_each(|branch| collect(branch, names)),
        _ => {}
    }
}

fn convert(value: &Value, schema: &Avro, names: &HashMap<String, &Avro>) -> AvroValue {
    match (value, schema) {
        (value, Avro::Ref { name }) => convert(value, names[&name.fullname(None)], names),
        (value, Avro::Union(union)) => {
            let is_null = *value == Value::Null;
            let position = union.variants().iter().position(|branch| (*branch == Avro::Null) == is_null).unwrap();
            AvroValue::Union(position as u32, Box::new(convert(value, &union.variants()[position], names)))
        }
        (Value::Null, _) => AvroValue::Null,
        (Value::Boolean(value), _) => AvroValue::Boolean(*value),
        (Value::Int(value), _) => AvroValue::Int(*value),
        (Value::Date(value), _) => AvroValue::Date(*value),
        (Value::Long(value), _) => AvroValue::Long(*value),
        (Value::Timestamp(value), _) => AvroValue::TimestampMicros(*value),
        (Value::Double(value), _) => AvroValue::Double(*value),
        (Value::Decimal { unscaled, .. }, _) => AvroValue::Decimal(shortest(*unscaled).into()),
        (Value::Text(value), _) => AvroValue::String(value.clone()),
        (Value::Bytes(value), _) => AvroValue::Bytes(value.clone()),
        (Value::Fixed(value), _) => AvroValue::Fixed(value.len(), value.clone()),
        (Value::Symbol(value), Avro::Enum(of)) => {
            let index = of.symbols.iter().position(|symbol| symbol == value).unwrap();
            AvroValue::Enum(index as u32, value.to_string())
        }
        (Value::Array(items), Avro::Array(of)) => {
            AvroValue::Array(items.iter().map(|item| convert(item, &of.items, names)).collect())
        }
        (Value::Map(items), Avro::Map(of)) => {
            AvroValue::Map(items.iter().map(|(key, item)| (key.clone(), convert(item, &of.types, names))).collect())
        }
        (Value::Record(fields), Avro::Record(of)) => AvroValue::Record(
            fields
                .iter()
                .zip(&of.fields)
                .map(|((name, value), field)| (name.to_string(), convert(value, &field.schema, names)))
                .collect(),
        ),
        (value, schema) => panic!("{value:?} is not of {schema:?}"),
    }
}
