//! The audit chain: nothing of it changed, left out or put in.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::execution::{AuditEntry, OrderEvent, OrderEventType};
use sha2::{Digest, Sha256};

use crate::facts::{Facts, Rec};
use crate::report::{Check, Exam};

const TOPIC: &str = "execution.audit.v1";

/// The hash of an entry, as its contract says.
pub(crate) fn hash_of(entry: &AuditEntry) -> Vec<u8> {
    let null_or = |text: &Option<String>| text.as_ref().map_or_else(String::new, |text| format!("={text}"));
    let mut parts: Vec<Vec<u8>> = vec![b"fillstream.audit.1".to_vec(), entry.prev_hash.clone()];
    let texts = [
        entry.event_id.clone(),
        entry.timestamp.micros().to_string(),
        entry.portfolio_id.clone(),
        entry.sequence.to_string(),
        entry.order_id.clone(),
        entry.revision.to_string(),
        entry.order_event_id.clone(),
        entry.action.clone(),
        entry.actor.clone(),
        null_or(&entry.command_id),
        null_or(&entry.reason_code),
        null_or(&entry.reason_text),
    ];
    parts.extend(texts.into_iter().map(String::into_bytes));
    let evidence = entry.evidence.iter().flat_map(|(name, value)| [name, value]);
    parts.extend(evidence.map(|text| text.clone().into_bytes()));
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

fn is_decision(event: &OrderEvent) -> bool {
    match event.event_type {
        OrderEventType::Routed | OrderEventType::ChildUpdated | OrderEventType::Other => false,
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
    }
}

/// Every portfolio's entries are one chain from its first, with the hashes that its contract says; each order event that
/// states a decision has exactly one entry, which says the same; every command is answered once.
pub(crate) fn audit_chain(facts: &Facts) -> Check {
    let mut exam = Exam::new("audit_chain");
    let mut chains: BTreeMap<&str, Vec<&Rec<AuditEntry>>> = BTreeMap::new();
    for rec in &facts.audit {
        chains.entry(&rec.value.portfolio_id).or_default().push(rec);
    }
    for (portfolio, mut entries) in chains {
        entries.sort_by_key(|rec| (rec.partition, rec.offset));
        chain(facts, portfolio, &entries, &mut exam);
    }
    entries_of_events(facts, &mut exam);
    commands_answered_once(facts, &mut exam);
    exam.done()
}

fn chain(facts: &Facts, portfolio: &str, entries: &[&Rec<AuditEntry>], exam: &mut Exam) {
    let what = |rec: &Rec<AuditEntry>| format!("entry {} of {portfolio:?} at {}", rec.value.sequence, rec.at());
    let mut before: Option<&AuditEntry> = None;
    for rec in entries {
        exam.saw();
        let entry = &rec.value;
        exam.require(entry.hash == hash_of(entry), || format!("{}: its hash is not that of its content", what(rec)));
        match before {
            Some(last) => {
                exam.require(entry.sequence == last.sequence + 1, || {
                    format!("{} follows number {}", what(rec), last.sequence)
                });
                exam.require(entry.prev_hash == last.hash, || format!("{} does not hang on the one before", what(rec)));
            }
            // What retention has taken away cannot be held against anything.
            None if is_cut(facts, rec.partition) => {}
            None => exam.require(entry.sequence == 1 && entry.prev_hash == [0; 32], || {
                format!("{} is the first of its chain", what(rec))
            }),
        }
        before = Some(entry);
    }
}

fn is_cut(facts: &Facts, partition: i32) -> bool {
    let extent = facts.topics.get(TOPIC).and_then(|topic| topic.partitions.get(&partition));
    extent.is_some_and(|extent| extent.low > 0)
}

fn entries_of_events(facts: &Facts, exam: &mut Exam) {
    let mut by_event: BTreeMap<&str, Vec<&AuditEntry>> = BTreeMap::new();
    for rec in &facts.audit {
        by_event.entry(&rec.value.order_event_id).or_default().push(&rec.value);
    }
    for event in facts.orders.iter().map(|rec| &rec.value).filter(|event| is_decision(event)) {
        let what = || format!("order {} revision {} ({})", event.order_id, event.revision, event.event_type.as_str());
        let entries = by_event.remove(event.event_id.as_str()).unwrap_or_default();
        exam.require(entries.len() == 1, || format!("{} has {} audit entries", what(), entries.len()));
        for entry in entries {
            let same = entry.action == event.event_type.as_str()
                && (&entry.order_id, entry.revision, entry.timestamp)
                    == (&event.order_id, event.revision, event.timestamp)
                && (&entry.reason_code, &entry.reason_text, &entry.command_id)
                    == (&event.reason_code, &event.reason_text, &event.command_id);
            exam.require(same && !entry.actor.is_empty(), || format!("{}: its audit entry says otherwise", what()));
        }
    }
}

// A command's request to replace is followed by its answer; a second one under its id is refused as what it is.
fn commands_answered_once(facts: &Facts, exam: &mut Exam) {
    let mut answered: BTreeSet<(&str, &str)> = BTreeSet::new();
    for event in facts.orders.iter().map(|rec| &rec.value) {
        let Some(command) = event.command_id.as_deref() else { continue };
        let asks = event.event_type == OrderEventType::ReplaceRequested;
        if !asks && event.reason_code.as_deref() != Some("DUPLICATE_CONFLICT") {
            let first = answered.insert((&event.portfolio_id, command));
            exam.require(first, || format!("command {command} is answered again by revision {}", event.revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;

    #[test]
    fn the_hash_is_what_the_contract_says() {
        let entry = AuditEntry {
            event_id: "e1/audit".into(),
            timestamp: fillstream_schemas::TimestampMicros::from_micros(1_700_000_000_000_000),
            portfolio_id: "P1".into(),
            sequence: 1,
            order_id: "O1".into(),
            revision: 1,
            order_event_id: "e1".into(),
            action: "CREATED".into(),
            actor: "ann".into(),
            reason_code: Some("HORIZON_CUT".into()),
            evidence: [("ord_qty", "100"), ("status", "PENDING_RISK")].map(|(n, v)| (n.into(), v.into())).into(),
            prev_hash: vec![0; 32],
            ..AuditEntry::default()
        };
        let hex: String = hash_of(&entry).iter().map(|byte| format!("{byte:02x}")).collect();
        // Python: hashlib.sha256 over struct.pack(">Q", len(part)) + part of each part.
        assert_eq!(hex, "6830b077a27f12992d26d50a52ead9fee82c2e15a61333d00f6c11232d042e4a");
    }

    #[test]
    fn what_was_changed_left_out_or_put_in_is_found() {
        let breaks: &[fn(&mut Facts)] = &[
            |f| f.audit[1].value.actor = "eve".into(),
            |f| f.audit[1].value.reason_text = Some("other words".into()),
            |f| drop(f.audit.remove(0)),
            |f| drop(f.audit.remove(1)),
            |f| drop(f.audit.pop()),
            |f| {
                let last = f.audit.last().unwrap().clone();
                f.audit.push(Rec { offset: last.offset + 1, ..last });
            },
            |f| {
                // One who knows how to hash still breaks the chain behind.
                let entry = &mut f.audit[1].value;
                entry.actor = "eve".into();
                entry.hash = hash_of(entry);
            },
            |f| f.orders[0].value.reason_code = Some("OTHER".into()),
        ];
        for (i, break_it) in breaks.iter().enumerate() {
            let mut facts = clean();
            break_it(&mut facts);
            assert!(audit_chain(&facts).violations > 0, "break {i}");
        }
    }

    #[test]
    fn a_command_is_answered_once() {
        let answered = |codes: [&str; 2]| {
            let mut facts = clean();
            for (rec, code) in facts.orders.iter_mut().zip(codes) {
                rec.value.event_type = OrderEventType::CommandRefused;
                (rec.value.command_id, rec.value.reason_code) = (Some("K1".into()), Some(code.into()));
            }
            let mut exam = Exam::new("commands");
            commands_answered_once(&facts, &mut exam);
            exam.done().violations
        };
        assert_eq!(answered(["ORDER_TERMINAL", "ORDER_TERMINAL"]), 1);
        assert_eq!(answered(["ORDER_TERMINAL", "DUPLICATE_CONFLICT"]), 0);
    }

    #[test]
    fn a_chain_whose_beginning_is_gone_by_retention_is_held_from_there_on() {
        let mut facts = clean();
        facts.audit.remove(0);
        facts.orders.remove(0);
        assert!(audit_chain(&facts).violations > 0);
        let extent = crate::facts::Extent { low: 1, ..crate::facts::Extent::default() };
        let topic = facts.topics.entry(TOPIC.to_owned()).or_default();
        topic.partitions.insert(0, extent);
        assert_eq!(audit_chain(&facts).violations, 0);
    }
}
