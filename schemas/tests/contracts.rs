//! Every contract of the catalog.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside test functions")]

use apache_avro::Schema as Avro;
use fillstream_schemas::{AvroRecord, catalog, contract, execution::OrderEvent};
use proptest::prelude::*;

#[test]
fn every_schema_parses_and_is_found() {
    assert!(catalog().len() > 20);
    for entry in catalog() {
        let schema = entry.parsed().unwrap();
        assert_eq!(schema.name(), entry.full_name);
        assert_eq!(contract(entry.full_name).unwrap().schema, entry.schema);
        assert!(entry.full_name.starts_with(&format!("fillstream.{}.", entry.context)));
        assert!(!entry.schema.contains("\"rust\""), "{} shows our own properties", entry.full_name);
        assert!(entry.version >= 1);
        Avro::parse_str(entry.schema).unwrap();
    }
    assert!(catalog().is_sorted_by_key(|entry| entry.full_name));
    assert!(contract("fillstream.execution.Nothing").is_none());
}

#[test]
fn a_default_record_is_a_record_of_every_path() {
    let record = OrderEvent::default();
    let entry = contract(OrderEvent::FULL_NAME).unwrap();
    assert_eq!(entry.schema, OrderEvent::SCHEMA);
    let bytes = record.to_bytes();
    assert_eq!(entry.decode_to_value(&bytes).unwrap(), record.to_value());
    assert_eq!(entry.encode_json(&record.to_json()).unwrap(), bytes);
}

#[test]
fn the_released_versions_are_compatible() {
    let report = fillstream_schemas::compat::check("released".as_ref()).unwrap();
    let breaks: Vec<_> = report.breaks.iter().map(ToString::to_string).collect();
    assert!(breaks.is_empty(), "{breaks:#?}");
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for entry in catalog() {
            if let Ok(value) = entry.decode_to_value(&bytes) {
                let mut again = Vec::new();
                // What decodes also encodes, unless a decimal has more digits than the schema allows.
                if entry.parsed().unwrap().encode_value(&value, &mut again).is_ok() {
                    prop_assert_eq!(entry.decode_to_value(&again).unwrap(), value);
                }
            }
        }
    }
}
