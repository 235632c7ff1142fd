//! The direct codec against `apache_avro`, and against hostile bytes.

mod common;

use common::sample::{Everything, Fill};
use fillstream_schemas::AvroRecord;

#[test]
fn smoke() {
    let e = Everything { fills: vec![Fill::default()], ..Everything::default() };
    assert_eq!(Everything::decode(&e.to_bytes()).unwrap(), e);
    println!("{}", e.to_json());
    assert_eq!(Everything::from_json(&e.to_json()).unwrap(), e);
}
