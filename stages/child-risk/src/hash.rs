//! The hash that an approval carries and the gateway compares right before the wire.

use fillstream_domain::{Price, Quantity};
use fillstream_schemas::execution::ChildOrder;
use sha2::{Digest, Sha256};

/// The approval hash of a child order: lower-case hex SHA-256 of
/// `action|cl_ord_id|orig_cl_ord_id|account_id|instrument_id|venue|side|ord_type|quantity|limit_price|time_in_force`, in
/// UTF-8, symbols as in the contract, decimals in plain notation without trailing zeros, null as the empty string.
///
/// It covers what goes on the wire; a field changed after the approval changes the hash.
#[must_use]
pub fn approval_hash(child: &ChildOrder) -> String {
    let quantity = Quantity::to_string(&child.quantity);
    let limit_price = child.limit_price.as_ref().map(Price::to_string).unwrap_or_default();
    let fields = [
        child.action.as_str(),
        &child.cl_ord_id,
        child.orig_cl_ord_id.as_deref().unwrap_or_default(),
        &child.account_id,
        &child.instrument_id,
        &child.venue,
        child.side.as_str(),
        child.ord_type.as_str(),
        &quantity,
        &limit_price,
        child.time_in_force.as_str(),
    ];
    Sha256::digest(fields.join("|").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::{OrdType, Side, TimeInForce};
    use fillstream_schemas::execution::ChildAction;

    fn child() -> ChildOrder {
        ChildOrder {
            action: ChildAction::New,
            cl_ord_id: "0123456789ABCDEFGH00".to_owned(),
            account_id: "A1".to_owned(),
            instrument_id: "BTCUSDT".to_owned(),
            venue: "XA".to_owned(),
            side: Side::Buy,
            ord_type: OrdType::Limit,
            quantity: "1.50000000".parse().unwrap(),
            limit_price: Some("61830.01".parse().unwrap()),
            time_in_force: TimeInForce::Day,
            ..ChildOrder::default()
        }
    }

    // printf %s 'NEW|0123456789ABCDEFGH00||A1|BTCUSDT|XA|BUY|LIMIT|1.5|61830.01|DAY' | sha256sum
    #[test]
    fn the_hash_is_that_of_its_published_definition() {
        assert_eq!(approval_hash(&child()), "56058c40f40c14b4d228eac035b14a12a5ae8e932c9a9720249066734914ba2a");
        let market = ChildOrder {
            action: ChildAction::Cancel,
            orig_cl_ord_id: Some("X".to_owned()),
            ord_type: OrdType::Market,
            limit_price: None,
            quantity: "100".parse().unwrap(),
            ..child()
        };
        // 'CANCEL|0123456789ABCDEFGH00|X|A1|BTCUSDT|XA|BUY|MARKET|100||DAY'
        assert_eq!(approval_hash(&market), "5b726d496a6f7db9e7b913415fd5e29ac9d92a5286b5ec08c09c72258c45f6bf");
    }

    #[test]
    fn every_field_on_the_wire_changes_it_and_evidence_does_not() {
        let of = |change: fn(&mut ChildOrder)| {
            let mut changed = child();
            change(&mut changed);
            approval_hash(&changed)
        };
        let changes: [fn(&mut ChildOrder); 11] = [
            |c| c.action = ChildAction::Cancel,
            |c| c.cl_ord_id.push('1'),
            |c| c.orig_cl_ord_id = Some("X".to_owned()),
            |c| c.account_id.push('1'),
            |c| c.instrument_id.push('1'),
            |c| c.venue.push('1'),
            |c| c.side = Side::Sell,
            |c| c.ord_type = OrdType::Market,
            |c| c.quantity = Quantity::ONE,
            |c| c.limit_price = None,
            |c| c.time_in_force = TimeInForce::Ioc,
        ];
        let mut hashes: Vec<String> = changes.into_iter().map(of).collect();
        hashes.push(approval_hash(&child()));
        let distinct: std::collections::BTreeSet<&String> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
        assert_eq!(of(|c| c.slice_no = 9), approval_hash(&child()));
    }
}
