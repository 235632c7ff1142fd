//! The audit chain: who decided what about an order, why, and from what.
//!
//! Each order event that states a decision has an entry; what merely tells of children has none. The entries of a portfolio
//! are a chain: each has the hash of the one before it in its own hash, and sequences count without gaps, so that none can be
//! changed, left out or put in unseen. A chain a portfolio, not a partition: a stage keeps state by key only, and a chain that
//! goes with its key is the same however many partitions there are.

use std::collections::BTreeMap;

use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::{AuditEntry, OrderEvent, OrderEventType};
use fillstream_schemas::state::OmsChain;
use sha2::{Digest, Sha256};

use crate::State;

/// Who decides where nobody else does.
const STAGE: &str = "order-management";
/// Who answers orders and replaces.
pub(crate) const RISK: &str = "pre-trade-risk";
/// Version of what is hashed.
const VERSION: &str = "fillstream.audit.1";

/// Who took a decision, as far as it says.
pub(crate) fn decided_by(decision: &CoordinatedTradingDecision) -> String {
    let who = decision.trader_id.as_ref().or(decision.strategy_id.as_ref()).or(decision.algo_id.as_ref());
    who.cloned().unwrap_or_else(|| "upstream".to_owned())
}

/// Whether an event states a decision.
const fn is_decision(event_type: OrderEventType) -> bool {
    match event_type {
        OrderEventType::Created
        | OrderEventType::Rejected
        | OrderEventType::Released
        | OrderEventType::CancelRequested
        | OrderEventType::CommandRefused
        | OrderEventType::Filled
        | OrderEventType::Cancelled
        | OrderEventType::Expired
        | OrderEventType::Amended
        | OrderEventType::Overfill
        | OrderEventType::Suspended
        | OrderEventType::Resumed
        | OrderEventType::Replaced
        | OrderEventType::ReplaceRequested => true,
        OrderEventType::Routed | OrderEventType::ChildUpdated | OrderEventType::Other => false,
    }
}

/// The next entry of the portfolio's chain, about this event; `None`: it states no decision.
pub(crate) fn entry(state: &mut State, event: &OrderEvent, actor: &str) -> Option<AuditEntry> {
    if !is_decision(event.event_type) {
        return None;
    }
    let last = state.chains.get(&event.portfolio_id);
    let (sequence, prev_hash) = last.map_or((0, vec![0; 32]), |last| (last.sequence, last.hash.clone()));
    let mut entry = AuditEntry {
        event_id: format!("{}/audit", event.event_id),
        timestamp: event.timestamp,
        portfolio_id: event.portfolio_id.clone(),
        sequence: sequence.saturating_add(1),
        order_id: event.order_id.clone(),
        revision: event.revision,
        order_event_id: event.event_id.clone(),
        action: event.event_type.as_str().to_owned(),
        actor: if actor.is_empty() { STAGE } else { actor }.to_owned(),
        command_id: event.command_id.clone(),
        reason_code: event.reason_code.clone(),
        reason_text: event.reason_text.clone(),
        evidence: evidence(event),
        prev_hash,
        hash: Vec::new(),
    };
    entry.hash = hash(&entry);
    state.chains.put(&event.portfolio_id, OmsChain { sequence: entry.sequence, hash: entry.hash.clone() });
    Some(entry)
}

fn evidence(event: &OrderEvent) -> BTreeMap<String, String> {
    let mut evidence = BTreeMap::new();
    let mut note = |name: &str, value: String| drop(evidence.insert(name.to_owned(), value));
    note("status", event.status.to_string());
    note("ord_qty", event.ord_qty.to_string());
    note("cum_qty", event.cum_qty.to_string());
    note("leaves_qty", event.leaves_qty.to_string());
    note("working_qty", event.working_qty.to_string());
    note("overfill_qty", event.overfill_qty.to_string());
    if let Some(price) = event.avg_px {
        note("avg_px", price.to_string());
    }
    if let Some(quantity) = event.new_ord_qty {
        note("new_ord_qty", quantity.to_string());
    }
    if let Some(arrival) = &event.arrival {
        note("arrival_mid", arrival.mid.to_string());
    }
    if let Some(terms) = &event.terms {
        note("expire_at", terms.expire_at.to_string());
        note("decision_price", terms.decision_price.to_string());
        note("quote", format!("{} / {} at {}", terms.quote.bid, terms.quote.ask, terms.quote.event_time));
        if let Some(limit) = terms.limit_price {
            note("limit_price", limit.to_string());
        }
    }
    evidence
}

fn hash(entry: &AuditEntry) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    let optional = |text: &Option<String>| text.as_ref().map_or_else(String::new, |text| format!("={text}"));
    part(VERSION.as_bytes());
    part(&entry.prev_hash);
    for text in [
        entry.event_id.clone(),
        entry.timestamp.micros().to_string(),
        entry.portfolio_id.clone(),
        entry.sequence.to_string(),
        entry.order_id.clone(),
        entry.revision.to_string(),
        entry.order_event_id.clone(),
        entry.action.clone(),
        entry.actor.clone(),
        optional(&entry.command_id),
        optional(&entry.reason_code),
        optional(&entry.reason_text),
    ] {
        part(text.as_bytes());
    }
    for (name, value) in &entry.evidence {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_id: &str) -> OrderEvent {
        OrderEvent {
            event_id: event_id.into(),
            portfolio_id: "P1".into(),
            order_id: "O1".into(),
            revision: 1,
            event_type: OrderEventType::Created,
            ..OrderEvent::default()
        }
    }

    #[test]
    fn each_entry_hangs_on_the_one_before() {
        let mut state = State::default();
        let first = entry(&mut state, &event("a"), "ann").unwrap();
        let other = entry(&mut state, &OrderEvent { portfolio_id: "P2".into(), ..event("b") }, "").unwrap();
        let second = entry(&mut state, &event("c"), "").unwrap();
        assert_eq!((first.sequence, first.prev_hash.as_slice(), first.actor.as_str()), (1, [0; 32].as_slice(), "ann"));
        assert_eq!((second.sequence, &second.prev_hash, second.actor.as_str()), (2, &first.hash, STAGE));
        assert_eq!((other.sequence, other.prev_hash), (1, vec![0; 32]));
        let told = OrderEvent { event_type: OrderEventType::ChildUpdated, ..event("d") };
        assert_eq!(entry(&mut state, &told, ""), None);
    }

    #[test]
    fn every_field_is_hashed() {
        let entry = entry(&mut State::default(), &event("a"), "ann").unwrap();
        type Change = fn(&mut AuditEntry);
        let changes: &[Change] = &[
            |e| e.event_id.push('x'),
            |e| e.timestamp = fillstream_domain::TimestampMicros::from_micros(1),
            |e| e.portfolio_id.push('x'),
            |e| e.sequence = 7,
            |e| e.order_id.push('x'),
            |e| e.revision = 7,
            |e| e.order_event_id.push('x'),
            |e| e.action.push('x'),
            |e| e.actor.push('x'),
            |e| e.command_id = Some(String::new()),
            |e| e.reason_code = Some(String::new()),
            |e| e.reason_text = Some(String::new()),
            |e| drop(e.evidence.insert("status".into(), "x".into())),
            |e| e.prev_hash = vec![1; 32],
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = entry.clone();
            change(&mut changed);
            assert_ne!(hash(&changed), entry.hash, "change {i}");
        }
        // A text does not run over into the next part.
        let moved = AuditEntry { action: "CREATE".into(), actor: "Dann".into(), ..entry.clone() };
        assert_ne!(hash(&moved), entry.hash);
    }
}
