//! The direct codec against `apache_avro`, and against hostile bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside test functions")]

mod common;

use apache_avro::Schema as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use common::sample::{Defaults, Everything, Fill};
use common::types::Colour;
use common::{avro_value, everything, fill, shortest};
use fillstream_domain::{AvroEnum, Money, Price, Side, TimestampMicros};
use fillstream_schemas::{AvroRecord, Fault, Finite};
use proptest::collection::vec;
use proptest::prelude::*;

fn avro_bytes<T: AvroRecord>(record: &T) -> Vec<u8> {
    let schema = Avro::parse_str(T::SCHEMA).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(avro_value(&record.to_value(), &schema)).unwrap()
}

/// A record without maps: the order of a map's entries is the writer's choice.
fn sorted(record: Everything) -> Everything {
    Everything { prices: record.prices.into_iter().take(1).collect(), ..record }
}

proptest! {
    #[test]
    fn the_bytes_are_those_of_apache_avro(record in everything().prop_map(sorted)) {
        prop_assert_eq!(record.to_bytes(), avro_bytes(&record));
    }

    #[test]
    fn a_record_comes_back(record in everything()) {
        let bytes = record.to_bytes();
        prop_assert!(bytes.len() >= Everything::MIN_LEN);
        prop_assert_eq!(Everything::decode(&bytes).unwrap(), record);
    }

    #[test]
    fn both_decoders_see_the_same(record in everything()) {
        let schema = Everything::schema().unwrap();
        let bytes = record.to_bytes();
        let value = schema.decode_value(&bytes).unwrap();
        prop_assert_eq!(&value, &record.to_value());
        prop_assert_eq!(Everything::from_value(&value).unwrap(), record);
    }

    #[test]
    fn every_truncation_is_an_error(record in everything()) {
        let bytes = record.to_bytes();
        let schema = Everything::schema().unwrap();
        for length in 0..bytes.len() {
            prop_assert!(Everything::decode(&bytes[..length]).is_err(), "cut to {}", length);
            prop_assert!(schema.decode_value(&bytes[..length]).is_err(), "cut to {}", length);
        }
    }

    #[test]
    fn bytes_after_the_record_are_an_error(record in fill(), tail in vec(any::<u8>(), 1..9)) {
        let mut bytes = record.to_bytes();
        bytes.extend_from_slice(&tail);
        let error = Fill::decode(&bytes).unwrap_err();
        prop_assert_eq!(error.fault(), &Fault::Trailing(tail.len()));
    }

    #[test]
    fn garbage_is_an_error_or_a_record(bytes in vec(any::<u8>(), 0..300)) {
        let direct = Everything::decode(&bytes);
        let generic = Everything::schema().unwrap().decode_value(&bytes);
        // The types of the fields refuse more than the schema does (a negative quantity, too many digits), never less.
        if let Ok(record) = direct {
            prop_assert_eq!(generic.unwrap(), record.to_value());
        }
    }

    #[test]
    fn damaged_records_are_errors_or_records(record in everything(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = record.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = Everything::decode(&bytes) {
            prop_assert_eq!(Everything::decode(&other.to_bytes()).unwrap(), other);
        }
    }

    #[test]
    fn decimals_of_any_length_are_read(price in common::decimal::<Price>(), padding in 0_usize..40) {
        let short = shortest(price.unscaled());
        let sign = if price.unscaled() < 0 { 0xff } else { 0 };
        let mut long = vec![sign; padding];
        long.extend_from_slice(&short);
        let mut bytes = vec![0, u8::try_from(long.len() * 2).unwrap()];
        bytes.extend_from_slice(&long);
        bytes.push(0);
        prop_assert_eq!(Fill::decode(&bytes).unwrap().last_px, price);
    }
}

/// Bytes of a `Fill` whose price has these bytes.
fn fill_with_price(price: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(price.len() * 2).unwrap()];
    bytes.extend_from_slice(price);
    bytes.push(0);
    bytes
}

#[test]
fn a_fault_names_its_field() {
    let mut record = Everything { fills: vec![Fill::default(); 3], ..Everything::default() };
    record.fills[2].exec_id = "x".to_owned();
    let mut bytes = record.to_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'x').unwrap();
    bytes[at] = 0xff;
    let error = Everything::decode(&bytes).unwrap_err();
    assert_eq!(error.path(), "fills[2].exec_id");
    assert_eq!(error.to_string(), "fills[2].exec_id: not UTF-8");
}

#[test]
fn decimals_beyond_their_type_are_refused() {
    // 10^18 has 19 digits.
    let beyond = fill_with_price(&shortest(10_i128.pow(18)));
    assert_eq!(Fill::decode(&beyond).unwrap_err().path(), "last_px");
    assert!(Fill::decode(&fill_with_price(&shortest(10_i128.pow(18) - 1))).is_ok());
    for bytes in
        [&[][..], &[1; 17], &[0x80; 17], &[0xff; 16][..0], &[0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        let error = Fill::decode(&fill_with_price(bytes)).unwrap_err();
        assert!(matches!(error.fault(), Fault::Decimal(_)), "{bytes:?}: {error}");
    }
}

#[test]
fn padding_does_not_turn_the_sign() {
    // 2^128 - 1 in 17 bytes: without its first byte it would be -1.
    let wide = [&[0][..], &[0xff; 16]].concat();
    let error = Fill::decode(&fill_with_price(&wide)).unwrap_err();
    assert_eq!(error.fault(), &Fault::Decimal("a decimal of more than 128 bits".to_owned()));
}

#[test]
fn doubles_are_numbers() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(Finite::new(number).is_err());
        let record = Everything { ratio: Finite::new(0.123_456_789).unwrap(), ..Everything::default() };
        let mut bytes = record.to_bytes();
        let at = bytes.windows(8).position(|window| window == 0.123_456_789_f64.to_le_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let error = Everything::decode(&bytes).unwrap_err();
        assert_eq!((error.path().as_str(), error.fault()), ("ratio", &Fault::NotFinite));
    }
}

#[test]
fn claimed_lengths_and_counts_cost_nothing() {
    let long = |value: i64| {
        let mut bytes = Vec::new();
        let mut number = ((value << 1) ^ (value >> 63)) as u64;
        while number >= 0x80 {
            bytes.push((number as u8 & 0x7f) | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let prefix = {
        // Everything up to `fills`, which is an empty array: its byte is followed by those of the rest.
        let bytes = Everything { r#type: "rest".to_owned(), ..Everything::default() }.to_bytes();
        let rest = [&[0, 0, 0, 0, 0, 14, 8][..], b"rest", &[0]].concat();
        assert!(bytes.ends_with(&rest), "the record has changed: {bytes:?}");
        bytes[..bytes.len() - rest.len()].to_vec()
    };
    for claim in [i64::MAX, i64::MIN, i64::MIN + 1, 1 << 40, -(1 << 40), 1_000_000] {
        // A string of that length, an array of that many items, in each way to say it.
        assert!(Fill::decode(&long(claim)).is_err());
        let mut bytes = prefix.clone();
        bytes.extend(long(claim));
        bytes.extend([2; 64]);
        let error = Everything::decode(&bytes).unwrap_err();
        assert!(error.path().starts_with("fills"), "{error}");
        assert!(Everything::schema().unwrap().decode_value(&bytes).is_err());
    }
}

#[test]
fn blocks_with_their_size_are_read() {
    // A writer may split an array into blocks, and give each block's size after a negated count.
    let record = Everything { grid: vec![vec![Some(1), None], vec![]], ..Everything::default() };
    let mut bytes = record.to_bytes();
    let plain = [4, 4, 2, 2, 0, 0, 0, 0];
    assert!(bytes.ends_with(&plain), "{bytes:?}");
    bytes.truncate(bytes.len() - plain.len());
    let blocks = [1, 14, 1, 4, 2, 2, 2, 0, 0, /* second block of the outer array */ 2, 0, 0];
    bytes.extend(blocks);
    assert_eq!(Everything::decode(&bytes).unwrap(), record);
    assert_eq!(Everything::schema().unwrap().decode_value(&bytes).unwrap(), record.to_value());
}

#[test]
fn integers_of_more_than_64_bits_are_refused() {
    let mut bytes = vec![0xff; 9];
    bytes.push(1);
    // i64::MIN as a length: read, and refused as a length.
    assert_eq!(Fill::decode(&bytes).unwrap_err().fault(), &Fault::Length(i64::MIN));
    *bytes.last_mut().unwrap() = 2;
    assert_eq!(Fill::decode(&bytes).unwrap_err().fault(), &Fault::IntegerTooLong);
    *bytes.last_mut().unwrap() = 0x81;
    assert_eq!(Fill::decode(&bytes).unwrap_err().fault(), &Fault::IntegerTooLong);
}

#[test]
fn defaults_are_the_contract_s() {
    let defaults = Defaults::default();
    assert_eq!(defaults, Defaults::from_json(&serde_json::json!({})).unwrap());
    assert_eq!(
        defaults,
        Defaults {
            flag: true,
            small: -3,
            large: 9_007_199_254_740_993,
            ratio: Finite::new(0.25).unwrap(),
            text: "a \"quoted\" text".to_owned(),
            raw: vec![1, 255],
            at: TimestampMicros::from_micros(5),
            price: Price::from_unscaled(100_000_000).unwrap(),
            side: Side::SellShort,
            colour: Colour::DarkGreen,
            items: vec![],
            by_key: [].into(),
            nothing: None,
            something: Some("here".to_owned()),
        }
    );
}

#[test]
fn generated_enums_have_their_symbols() {
    assert_eq!(Colour::SYMBOLS, ["RED", "DARK_GREEN", "BLUE"]);
    assert_eq!(Colour::DarkGreen.as_str(), "DARK_GREEN");
    assert_eq!("BLUE".parse::<Colour>().unwrap(), Colour::Blue);
    assert!("blue".parse::<Colour>().is_err());
    assert_eq!(<Colour as AvroEnum>::from_index(3), None);
}

#[test]
fn money_of_every_size_has_the_shortest_bytes() {
    for power in 0..28 {
        for unscaled in [10_i128.pow(power), -(10_i128.pow(power)), 10_i128.pow(power) - 1] {
            let record = Everything { money: Money::from_unscaled(unscaled).unwrap(), ..Everything::default() };
            assert_eq!(record.to_bytes(), avro_bytes(&record), "{unscaled}");
        }
    }
}
