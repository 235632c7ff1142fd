//! Contracts as JSON.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside test functions")]

mod common;

use common::everything;
use common::sample::{Defaults, Everything, Fill};
use fillstream_domain::{Price, Side};
use fillstream_schemas::AvroRecord;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn sample() -> Json {
    let mut json = Everything::default().to_json();
    json["fills"] = json!([{"exec_id": "a", "last_px": "1", "side": "BUY"}]);
    json
}

/// The error of the sample with one field changed.
fn error_with(change: impl Fn(&mut Json)) -> String {
    let mut json = sample();
    change(&mut json);
    Everything::from_json(&json).unwrap_err().to_string()
}

#[test]
fn a_record_reads_as_people_write() {
    let record = Everything {
        at: "2024-08-08T13:30:00.000001Z".parse().unwrap(),
        price: "-12.5".parse().unwrap(),
        raw: vec![0, 0xab],
        day: 19_943,
        fill: Fill { exec_id: "e\"1".to_owned(), last_px: "1".parse().unwrap(), side: Side::SellShort },
        maybe_last: None,
        ..Everything::default()
    };
    let json = record.to_json();
    assert_eq!(json["at"], json!("2024-08-08T13:30:00.000001Z"));
    assert_eq!(json["price"], json!("-12.50000000"));
    assert_eq!(json["raw"], json!("00ab"));
    assert_eq!(json["day"], json!("2024-08-08"));
    assert_eq!(json["fill"], json!({"exec_id": "e\"1", "last_px": "1.00000000", "side": "SELL_SHORT"}));
    assert_eq!(json["maybe_last"], Json::Null);
    // The fields come in the contract's order.
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).take(4).collect();
    assert_eq!(names, ["flag", "small", "large", "ratio"]);
}

#[test]
fn other_spellings_are_taken() {
    let price = |text: &str| Defaults::from_json_str(&format!("{{\"price\": {text}}}")).map(|record| record.price);
    let expected: Price = "1234567890.12345678".parse().unwrap();
    for text in ["\"1234567890.12345678\"", "1234567890.12345678", "1234567890.1234567800", "123456789012345678e-8"] {
        assert_eq!(price(text).unwrap(), expected, "{text}");
    }
    assert_eq!(price("1e-8").unwrap(), "0.00000001".parse().unwrap());
    assert!(price("0.123456789").unwrap_err().to_string().starts_with("price: more than 8 digits"));
    assert!(price("10000000000").unwrap_err().to_string().starts_with("price: "));
    let at = |json: Json| Defaults::from_json(&json!({"at": json})).unwrap().at.micros();
    assert_eq!(at(json!(1_723_123_800_000_001_i64)), 1_723_123_800_000_001);
    assert_eq!(at(json!("2024-08-08T15:30:00.000001+02:00")), 1_723_123_800_000_001);
}

#[test]
fn absent_fields_take_defaults_only_where_there_are() {
    assert_eq!(
        Defaults::from_json(&json!({"text": "x"})).unwrap(),
        Defaults { text: "x".to_owned(), ..Defaults::default() }
    );
    assert_eq!(Fill::from_json(&json!({})).unwrap_err().to_string(), "exec_id: missing");
}

#[test]
fn faults_name_the_field() {
    for (change, expected) in [
        (json!({"flags": true}), "flags: unknown field"),
        (json!({"flag": 1}), "flag: expected boolean, found 1"),
        (json!({"small": 2_147_483_648_i64}), "small: expected int, found 2147483648"),
        (json!({"small": 1.5}), "small: expected int, found 1.5"),
        (json!({"large": "1"}), "large: expected long, found \"1\""),
        (json!({"ratio": "NaN"}), "ratio: expected a finite number, found \"NaN\""),
        (json!({"ratio": "inf"}), "ratio: expected a finite number, found \"inf\""),
        (json!({"ratio": null}), "ratio: expected a finite number, found null"),
        (json!({"raw": "0"}), "raw: expected bytes as hex, found \"0\""),
        (json!({"raw": "zz"}), "raw: expected bytes as hex, found \"zz\""),
        (json!({"lineage": "00"}), "lineage: expected 16 bytes as hex, found \"00\""),
        (json!({"price": true}), "price: expected decimal(18, 8), found true"),
        (json!({"price": "abc"}), "price: `abc` is no decimal number"),
        (json!({"side": "buy"}), "side: `buy` is no symbol of test.types.Side"),
        (json!({"day": "2024-02-30"}), "day: expected a date as 2026-11-21, found \"2024-02-30\""),
        (json!({"fills": {}}), "fills: expected array, found {}"),
        (
            json!({"fills": [{"exec_id": "a", "last_px": "1", "side": 1}]}),
            "fills[0].side: expected enum test.types.Side, found 1",
        ),
        (json!({"prices": {"p": "x"}}), "prices[\"p\"]: `x` is no decimal number"),
        (json!({"maybe_fill": {"exec_id": "a"}}), "maybe_fill.last_px: missing"),
        (json!({"grid": [[1], ["x"]]}), "grid[1][0]: expected int, found \"x\""),
    ] {
        let error = error_with(|json| {
            for (key, value) in change.as_object().unwrap() {
                json[key] = value.clone();
            }
        });
        assert_eq!(error, expected);
    }
    assert!(error_with(|json| json["at"] = json!("yesterday")).starts_with("at: expected a time is written as"));
    // A long number is no string, although it travels as one.
    let error = Defaults::from_json_str("{\"text\": 1.00000000000000000001}").unwrap_err();
    assert_eq!(error.to_string(), "text: expected string, found 1.00000000000000000001");
    assert!(Everything::from_json(&json!([])).is_err());
    assert!(Everything::from_json_str("{\"flag\": NaN}").unwrap_err().to_string().contains("expected JSON"));
}

proptest! {
    #[test]
    fn a_record_comes_back(record in everything()) {
        prop_assert_eq!(Everything::from_json(&record.to_json()).unwrap(), record.clone());
        prop_assert_eq!(Everything::from_json_str(&record.to_json().to_string()).unwrap(), record);
    }
}
