//! The hash that binds an instruction to the approval of risk.

use std::fmt::{Display, Write as _};

use fillstream_schemas::execution::ChildOrder;
use sha2::{Digest, Sha256};

/// Lower-case hex SHA-256 of the economic fields, as the contract `ChildOrder.approval_hash` says: recomputed here, so
/// that what goes on the wire is what was approved.
#[must_use]
pub fn approval_hash(child: &ChildOrder) -> String {
    let text = format!(
        "{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
        child.action.as_str(),
        child.cl_ord_id,
        or_empty(child.orig_cl_ord_id.as_ref()),
        child.account_id,
        child.instrument_id,
        child.venue,
        child.side.as_str(),
        child.ord_type.as_str(),
        child.quantity,
        or_empty(child.limit_price.as_ref()),
        child.time_in_force.as_str(),
    );
    sha256_hex(text.as_bytes())
}

/// Lower-case hex SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn or_empty<T: Display>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::{OrdType, Side, TimeInForce};
    use fillstream_schemas::execution::ChildAction;

    fn child() -> ChildOrder {
        ChildOrder {
            action: ChildAction::New,
            cl_ord_id: "C1".into(),
            account_id: "ACC".into(),
            instrument_id: "ACME".into(),
            venue: "XALP".into(),
            side: Side::SellShort,
            ord_type: OrdType::Limit,
            quantity: "300".parse().unwrap(),
            limit_price: Some("101.250".parse().unwrap()),
            time_in_force: TimeInForce::Day,
            ..ChildOrder::default()
        }
    }

    #[test]
    fn is_the_hash_of_the_text_in_the_contract() {
        let text = "NEW|C1||ACC|ACME|XALP|SELL_SHORT|LIMIT|300|101.25|DAY";
        assert_eq!(approval_hash(&child()), sha256_hex(text.as_bytes()));
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn every_field_on_the_wire_counts() {
        let changes: [fn(&mut ChildOrder); 11] = [
            |c| c.action = ChildAction::Cancel,
            |c| c.cl_ord_id = "C2".into(),
            |c| c.orig_cl_ord_id = Some("C0".into()),
            |c| c.account_id = "OTHER".into(),
            |c| c.instrument_id = "OTHER".into(),
            |c| c.venue = "OTHER".into(),
            |c| c.side = Side::Sell,
            |c| c.ord_type = OrdType::Market,
            |c| c.quantity = "300.00000001".parse().unwrap(),
            |c| c.limit_price = None,
            |c| c.time_in_force = TimeInForce::Ioc,
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = child();
            change(&mut changed);
            assert_ne!(approval_hash(&changed), approval_hash(&child()), "change {i}");
        }
    }
}
