//! The registry client and the wire format against a real schema registry.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{registry_url, unique};
use fillstream_kafka::registry::{
    Frame, Framing, RegistryConfig, RegistryError, SchemaRegistry, framed, value_subject,
};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::InputRun;

fn registry() -> Arc<SchemaRegistry> {
    SchemaRegistry::new(&RegistryConfig::new(registry_url())).unwrap()
}

fn run() -> InputRun {
    InputRun { topic: "t".into(), first_offset: 1, last_offset: 3, count: 2 }
}

/// The contract as an older writer had it: without `count`'s documentation and with the fields in another order.
fn reordered() -> String {
    let mut schema: serde_json::Value = serde_json::from_str(InputRun::SCHEMA).unwrap();
    schema["fields"].as_array_mut().unwrap().reverse();
    schema.to_string()
}

#[test]
fn a_schema_keeps_its_id_and_an_unknown_id_is_told_from_silence() {
    let (registry, subject) = (registry(), value_subject(&unique("run")));
    let id = registry.register(&subject, InputRun::SCHEMA).unwrap();
    assert_eq!(registry.register(&subject, InputRun::SCHEMA), Ok(id));
    let fresh = self::registry();
    assert_eq!(fresh.register(&subject, InputRun::SCHEMA), Ok(id), "another client gets the same id");
    let schema = self::registry().by_id(id).unwrap();
    assert!(fillstream_schemas::same_schema::<InputRun>(&schema).unwrap());
    assert_eq!(registry.by_id(2_000_000_000), Err(RegistryError::UnknownId(2_000_000_000)));
    assert!(matches!(registry.register(&subject, "{\"type\":\"nonsense\"}"), Err(RegistryError::Refused { .. })));
}

#[test]
fn our_own_schema_is_taken_as_it_is_and_another_one_is_resolved() {
    let (registry, subject) = (registry(), value_subject(&unique("foreign")));
    let mut framing = Framing::new(Arc::clone(&registry));
    let ours = framing.id(&subject, InputRun::FULL_NAME).unwrap();
    let bytes = run().to_bytes();
    let value = framed(ours, &bytes);
    assert_eq!(framing.read(InputRun::FULL_NAME, &value), Ok(Frame::Ours(&bytes)));

    let theirs = registry.register(&value_subject(&unique("foreign")), &reordered()).unwrap();
    assert_ne!(theirs, ours);
    // count, last_offset, first_offset, topic
    let foreign = framed(theirs, &[4, 6, 2, 2, b't']);
    assert_eq!(framing.read(InputRun::FULL_NAME, &foreign), Ok(Frame::Resolved(bytes)));
    let Ok(Frame::Unreadable(u)) = framing.read(InputRun::FULL_NAME, &framed(theirs, &[4, 6])) else { panic!("read") };
    assert_eq!(u.code, "DECODE");
}

#[test]
fn what_can_never_be_read_says_why() {
    let registry = registry();
    let mut framing = Framing::new(Arc::clone(&registry));
    let code = |framing: &mut Framing, value: &[u8]| match framing.read(InputRun::FULL_NAME, value) {
        Ok(Frame::Unreadable(u)) => u.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&mut framing, b""), "BAD_FRAME");
    assert_eq!(code(&mut framing, b"{\"event_id\":1}"), "BAD_FRAME");
    assert_eq!(code(&mut framing, &framed(2_000_000_000, &[])), "UNKNOWN_SCHEMA_ID");
    let other = registry.register(&value_subject(&unique("other")), "{\"type\":\"string\"}").unwrap();
    assert_eq!(code(&mut framing, &framed(other, &[0])), "INCOMPATIBLE_SCHEMA");
}
