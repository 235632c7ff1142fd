//! Bytes are checked as they are decoded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use fillstream_schemas::execution::{ExecutionShare, OrderEvent, TradeExecuted, TradeSummary};
use fillstream_schemas::{AvroRecord, contract};

/// Every prefix and every byte replaced by some others: both ways agree about each.
fn agree<T: AvroRecord>(record: &T) {
    let (schema, bytes) = (contract(T::FULL_NAME).unwrap().parsed().unwrap(), record.to_bytes());
    let mut refused = 0;
    let mut compare = |bytes: &[u8]| {
        let decoded = schema.decode_value(bytes).map(drop).map_err(|e| e.to_string());
        let checked = schema.check(bytes).map_err(|e| e.to_string());
        assert_eq!(decoded, checked, "{bytes:?}");
        refused += usize::from(checked.is_err());
    };
    compare(&bytes);
    for n in 0..bytes.len() {
        compare(&bytes[..n]);
        for other in [0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0xc3, 0xff] {
            let mut damaged = bytes.clone();
            damaged[n] = other;
            compare(&damaged);
        }
    }
    assert!(refused > bytes.len(), "damage is seen");
}

#[test]
fn bytes_are_checked_as_they_are_decoded() {
    agree(&OrderEvent::default());
    let share = ExecutionShare { venue: "XNÅS".into(), fills: 3, ..ExecutionShare::default() };
    let execution = TradeSummary { shares: vec![share.clone(), share], ..TradeSummary::default() };
    agree(&TradeExecuted {
        event_id: "e".into(),
        execution,
        fee_currency: Some("USD".into()),
        ..TradeExecuted::default()
    });
}
