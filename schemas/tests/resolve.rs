//! Records of other writers' schemas.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside test functions")]

mod common;

use std::collections::BTreeMap;

use apache_avro::Schema as Avro;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use common::everything;
use common::sample::{Defaults, Everything, Fill};
use common::types::Colour;
use fillstream_domain::{Price, Side, TimestampMicros};
use fillstream_schemas::{AvroRecord, Fault, Resolver, same_schema};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// The bytes of a record of a writer's schema.
fn written(schema: &Json, fields: Vec<(&str, AvroValue)>) -> (String, Vec<u8>) {
    let text = schema.to_string();
    let avro = Avro::parse_str(&text).unwrap();
    let record = AvroValue::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let bytes = GenericDatumWriter::builder(&avro).build().unwrap().write_value_to_vec(record).unwrap();
    (text, bytes)
}

fn record(name: &str, fields: Json) -> Json {
    json!({"type": "record", "name": name, "namespace": "test.sample", "fields": fields})
}

fn side() -> Json {
    json!({"type": "enum", "name": "Side", "namespace": "test.types", "symbols": ["BUY", "SELL", "SELL_SHORT", "BUY_TO_COVER"]})
}

fn decimal(precision: u32, scale: u32) -> Json {
    json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
}

fn text(text: &str) -> AvroValue {
    AvroValue::String(text.to_owned())
}

fn sell() -> AvroValue {
    AvroValue::Enum(1, "SELL".to_owned())
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

#[test]
fn its_own_schema_is_direct() {
    let resolver = Resolver::<Everything>::new(Everything::SCHEMA).unwrap();
    assert!(resolver.is_direct());
    let bytes = Everything::default().to_bytes();
    assert_eq!(resolver.decode(&bytes).unwrap(), Everything::default());
}

#[test]
fn another_order_extra_fields_and_aliases_elsewhere_are_resolved() {
    let schema = record(
        "Fill",
        json!([
            {"name": "extra", "type": {"type": "array", "items": {"type": "map", "values": ["null", "long", {"type": "record", "name": "Inner", "fields": [{"name": "d", "type": "double"}]}]}}},
            {"name": "side", "type": side()},
            {"name": "last_px", "type": decimal(18, 8)},
            {"name": "exec_id", "type": "string"},
            {"name": "more", "type": ["null", "Inner"]},
        ]),
    );
    let inner = AvroValue::Record(vec![("d".to_owned(), AvroValue::Double(1.5))]);
    let map = AvroValue::Map([("k".to_owned(), AvroValue::Union(2, Box::new(inner.clone())))].into());
    let (schema, bytes) = written(
        &schema,
        vec![
            ("extra", AvroValue::Array(vec![map])),
            ("side", sell()),
            ("last_px", AvroValue::Decimal(vec![100].into())),
            ("exec_id", text("e1")),
            ("more", AvroValue::Union(1, Box::new(inner))),
        ],
    );
    let resolver = Resolver::<Fill>::new(&schema).unwrap();
    assert!(!resolver.is_direct());
    let expected = Fill { exec_id: "e1".to_owned(), last_px: price("0.00000100"), side: Side::Sell };
    assert_eq!(resolver.decode(&bytes).unwrap(), expected);
    for length in 0..bytes.len() {
        assert!(resolver.decode(&bytes[..length]).is_err(), "cut to {length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(resolver.decode(&longer).unwrap_err().fault(), &Fault::Trailing(1));
}

#[test]
fn a_missing_field_takes_its_default() {
    let (schema, bytes) =
        written(&record("Defaults", json!([{"name": "small", "type": "int"}])), vec![("small", AvroValue::Int(9))]);
    let read = Resolver::<Defaults>::new(&schema).unwrap().decode(&bytes).unwrap();
    assert_eq!(read, Defaults { small: 9, ..Defaults::default() });
}

#[test]
fn an_alias_finds_the_writer_s_field() {
    let schema = record("Defaults", json!([{"name": "tiny", "type": "int"}]));
    let (schema, bytes) = written(&schema, vec![("tiny", AvroValue::Int(9))]);
    let read = Resolver::<Defaults>::new(&schema).unwrap().decode(&bytes).unwrap();
    assert_eq!(read, Defaults { small: 9, ..Defaults::default() });
}

#[test]
fn a_missing_field_without_default_is_named() {
    let schema = record("Fill", json!([{"name": "exec_id", "type": "string"}, {"name": "side", "type": side()}]));
    let error = Resolver::<Fill>::new(&schema.to_string()).unwrap_err();
    assert_eq!(error.at(), "last_px");
    assert!(error.reason().contains("no default"), "{error}");
}

#[test]
fn promotions() {
    let schema = record(
        "Everything",
        json!([
            {"name": "flag", "type": "boolean"}, {"name": "small", "type": "int"}, {"name": "large", "type": "int"},
            {"name": "ratio", "type": "long"}, {"name": "text", "type": "bytes"}, {"name": "raw", "type": "string"},
            {"name": "day", "type": "int"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "price", "type": decimal(10, 2)},
            {"name": "money", "type": {"type": "fixed", "name": "M", "size": 20, "logicalType": "decimal", "precision": 28, "scale": 8}},
            {"name": "side", "type": side()},
            {"name": "colour", "type": {"type": "enum", "name": "Colour", "namespace": "other", "symbols": ["MAUVE", "RED"]}},
            {"name": "lineage", "type": {"type": "fixed", "name": "Lineage", "size": 16}},
            {"name": "fill", "type": {"type": "record", "name": "Fill", "fields": [
                {"name": "side", "type": "test.types.Side"}, {"name": "exec_id", "type": ["null", "string"]}, {"name": "last_px", "type": decimal(20, 10)}]}},
            {"name": "fills", "type": {"type": "array", "items": "Fill"}},
            {"name": "prices", "type": {"type": "map", "values": decimal(18, 8)}},
            {"name": "maybe_text", "type": "string"},
            {"name": "maybe_last", "type": ["null", "int", "string"]},
            {"name": "type", "type": "string"},
            {"name": "grid", "type": {"type": "array", "items": {"type": "array", "items": "int"}}},
        ]),
    );
    let fill = || {
        AvroValue::Record(vec![
            ("side".to_owned(), sell()),
            ("exec_id".to_owned(), AvroValue::Union(1, Box::new(text("e")))),
            ("last_px".to_owned(), AvroValue::Decimal(vec![0x01, 0x90].into())), // 400 * 10^-10
        ])
    };
    let mut money = vec![0xff; 20];
    money[19] = 0xfe;
    let fields = |maybe_last: AvroValue| {
        vec![
            ("flag", AvroValue::Boolean(true)),
            ("small", AvroValue::Int(1)),
            ("large", AvroValue::Int(-7)),
            ("ratio", AvroValue::Long(3)),
            ("text", AvroValue::Bytes("é".into())),
            ("raw", text("é")),
            ("day", AvroValue::Int(8)),
            ("at", AvroValue::TimestampMillis(-2)),
            ("price", AvroValue::Decimal(vec![0x7f].into())),
            ("money", AvroValue::Decimal(money.clone().into())),
            ("side", sell()),
            ("colour", AvroValue::Enum(0, "MAUVE".to_owned())),
            ("lineage", AvroValue::Fixed(16, vec![7; 16])),
            ("fill", fill()),
            ("fills", AvroValue::Array(vec![fill()])),
            ("prices", AvroValue::Map([("p".to_owned(), AvroValue::Decimal(vec![1].into()))].into())),
            ("maybe_text", text("there")),
            ("maybe_last", maybe_last),
            ("type", text("t")),
            ("grid", AvroValue::Array(vec![AvroValue::Array(vec![AvroValue::Int(4)])])),
        ]
    };
    let (schema_text, bytes) = written(&schema, fields(AvroValue::Union(1, Box::new(AvroValue::Int(5)))));
    let resolver = Resolver::<Everything>::new(&schema_text).unwrap();
    let expected_fill = Fill { exec_id: "e".to_owned(), last_px: price("0.00000004"), side: Side::Sell };
    let expected = Everything {
        flag: true,
        small: 1,
        large: -7,
        ratio: 3.0.try_into().unwrap(),
        text: "é".to_owned(),
        raw: "é".into(),
        day: 8,
        at: TimestampMicros::from_micros(-2000),
        price: price("1.27"),
        money: "-0.00000002".parse().unwrap(),
        side: Side::Sell,
        colour: Colour::Blue,
        lineage: [7; 16],
        fill: expected_fill.clone(),
        fills: vec![expected_fill],
        prices: BTreeMap::from([("p".to_owned(), price("0.00000001"))]),
        maybe_text: Some("there".to_owned()),
        maybe_fill: None,
        maybe_last: Some(5),
        r#type: "t".to_owned(),
        grid: vec![vec![Some(4)]],
    };
    assert_eq!(resolver.decode(&bytes).unwrap(), expected);
    // The branch that has no counterpart is an error only when it is there.
    let (_, bytes) = written(&schema, fields(AvroValue::Union(2, Box::new(text("no number")))));
    let error = resolver.decode(&bytes).unwrap_err();
    assert_eq!(error.path(), "maybe_last");
    assert!(error.to_string().contains("string cannot be read as"), "{error}");
}

/// What a `Fill` of this writer's price type and bytes becomes.
fn fill_of(price_type: Json, price: AvroValue) -> Result<Price, String> {
    let schema = record(
        "Fill",
        json!([
        {"name": "exec_id", "type": "string"}, {"name": "last_px", "type": price_type}, {"name": "side", "type": side()}]),
    );
    let (schema, bytes) = written(&schema, vec![("exec_id", text("e")), ("last_px", price), ("side", sell())]);
    let resolver = Resolver::<Fill>::new(&schema).map_err(|error| error.to_string())?;
    resolver.decode(&bytes).map(|fill| fill.last_px).map_err(|error| error.to_string())
}

#[test]
fn decimals_of_another_scale_are_exact_or_refused() {
    let bytes = |bytes: &[u8]| AvroValue::Decimal(bytes.to_vec().into());
    assert_eq!(fill_of(decimal(18, 0), bytes(&[5])), Ok(price("5")));
    assert_eq!(fill_of(decimal(28, 12), bytes(&[0x27, 0x10])), Ok(price("0.00000001")));
    let inexact = fill_of(decimal(28, 12), bytes(&[0x27, 0x11])).unwrap_err();
    assert_eq!(inexact, "last_px: 10001 * 10^-12 is not exact at scale 8");
    assert!(fill_of(decimal(28, 12), bytes(&[0; 9])).is_ok());
    // 10^18 at scale 0 is beyond 18 digits at scale 8.
    assert!(
        fill_of(decimal(30, 0), bytes(&[0x0d, 0xe0, 0xb6, 0xb3, 0xa7, 0x64, 0, 0]))
            .unwrap_err()
            .starts_with("last_px: ")
    );
    // Far apart: no overflow on the way.
    assert!(fill_of(decimal(60, 50), bytes(&[1])).is_err());
}

#[test]
fn other_types_are_refused_when_planned() {
    for other in
        [json!("string"), json!("double"), json!("bytes"), json!("long"), json!({"type": "array", "items": "long"})]
    {
        let schema = record(
            "Fill",
            json!([
            {"name": "exec_id", "type": "string"}, {"name": "last_px", "type": other}, {"name": "side", "type": side()}]),
        );
        let error = Resolver::<Fill>::new(&schema.to_string()).unwrap_err();
        assert_eq!(error.at(), "last_px", "{error}");
    }
    let error = Resolver::<Fill>::new(&record("Order", json!([{"name": "exec_id", "type": "string"}])).to_string())
        .unwrap_err();
    assert!(error.to_string().contains("test.sample.Order"), "{error}");
    assert!(Resolver::<Fill>::new("{").is_err());
    assert!(Resolver::<Fill>::new("\"nothing\"").is_err());
}

#[test]
fn symbols_that_the_contract_lacks() {
    let symbols = json!({"type": "enum", "name": "Side", "namespace": "test.types", "symbols": ["CROSS", "BUY"]});
    let schema = record(
        "Fill",
        json!([
        {"name": "exec_id", "type": "string"}, {"name": "last_px", "type": decimal(18, 8)}, {"name": "side", "type": symbols}]),
    );
    let fields = |index: u32, symbol: &str| {
        vec![
            ("exec_id", text("e")),
            ("last_px", AvroValue::Decimal(vec![1].into())),
            ("side", AvroValue::Enum(index, symbol.to_owned())),
        ]
    };
    let (text, buy) = written(&schema, fields(1, "BUY"));
    let resolver = Resolver::<Fill>::new(&text).unwrap();
    assert_eq!(resolver.decode(&buy).unwrap().side, Side::Buy);
    let (_, cross) = written(&schema, fields(0, "CROSS"));
    let error = resolver.decode(&cross).unwrap_err();
    assert_eq!(error.to_string(), "side: `CROSS` is no symbol of test.types.Side");
}

#[test]
fn hostile_writers_schemas_end() {
    // Records without fields take no bytes: neither their count nor their nesting may cost.
    let mut doubling = json!({"type": "record", "name": "R0", "fields": []});
    for level in 1..40 {
        let inner = format!("R{}", level - 1);
        doubling = json!({"type": "record", "name": format!("R{level}"), "fields": [
            {"name": "a", "type": doubling}, {"name": "b", "type": inner}]});
    }
    let empties = json!({"type": "array", "items": "null"});
    let recursive = json!({"type": "record", "name": "List", "fields": [{"name": "next", "type": ["null", "List"]}]});
    for extra in [doubling, empties, recursive] {
        let schema = record("Defaults", json!([{"name": "extra", "type": extra}]));
        let resolver = Resolver::<Defaults>::new(&schema.to_string()).unwrap();
        // A long count of items, a long chain of second branches.
        for bytes in [vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0x0f, 0], vec![2; 10_000]] {
            assert!(resolver.decode(&bytes).is_err());
        }
    }
}

#[test]
fn the_same_schema_is_told_from_its_likes() {
    let schema: Json = serde_json::from_str(Fill::SCHEMA).unwrap();
    let same = |change: &dyn Fn(&mut Json)| {
        let mut changed = schema.clone();
        change(&mut changed);
        same_schema::<Fill>(&changed.to_string()).unwrap()
    };
    assert!(same(&|_| {}));
    assert!(same(&|schema| schema["doc"] = json!("other words")));
    assert!(same(&|schema| schema["fields"][0]["default"] = json!("x")));
    assert!(same(&|schema| schema["fields"][0]["aliases"] = json!(["y"])));
    assert!(same(&|schema| schema["fields"][0]["type"] = json!({"type": "string", "avro.java.string": "String"})));
    assert!(!same(&|schema| schema["fields"][1]["type"]["scale"] = json!(7)));
    assert!(!same(&|schema| schema["fields"][1]["type"]["precision"] = json!(17)));
    assert!(!same(&|schema| schema["fields"][1]["type"] = json!("bytes")));
    assert!(!same(&|schema| schema["fields"][0]["name"] = json!("id")));
    assert!(!same(&|schema| schema["namespace"] = json!("elsewhere")));
    assert!(!same(
        &|schema| schema["fields"][2]["type"]["symbols"] = json!(["SELL", "BUY", "SELL_SHORT", "BUY_TO_COVER"])
    ));
    assert!(!same(&|schema| schema["fields"].as_array_mut().unwrap().reverse()));
}

proptest! {
    /// The slow path reads what the fast path reads.
    #[test]
    fn resolution_is_decoding_where_nothing_differs(record in everything()) {
        // Another name for the namespace only: the fast path is off, nothing else changes.
        let schema = Everything::SCHEMA.replace("test.sample", "elsewhere");
        let resolver = Resolver::<Everything>::new(&schema).unwrap();
        prop_assert!(!resolver.is_direct());
        prop_assert_eq!(resolver.decode(&record.to_bytes()).unwrap(), record);
    }

    #[test]
    fn garbage_is_an_error_or_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let schema = Everything::SCHEMA.replace("test.sample", "elsewhere");
        let resolver = Resolver::<Everything>::new(&schema).unwrap();
        prop_assert_eq!(resolver.decode(&bytes).ok(), Everything::decode(&bytes).ok());
    }
}
