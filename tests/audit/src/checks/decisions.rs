//! Decisions become orders, each once.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::OrderEvent;

use crate::facts::{Facts, Rec};
use crate::report::{Check, Exam};

/// (portfolio, event id); the portfolio is empty where the decision names none and the configured default trades.
type Key<'a> = (&'a str, &'a str);
const CONFLICT: &str = "DUPLICATE_CONFLICT";

/// Distinct contents of each decision that was not dead-lettered. A forwarded one has the content of its original.
fn contents(facts: &Facts) -> BTreeMap<Key<'_>, BTreeSet<Vec<u8>>> {
    let mut contents: BTreeMap<Key<'_>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut dead = BTreeSet::new();
    for rec in &facts.decisions {
        let decision = &rec.value.content;
        let key = (decision.portfolio_id.as_str(), decision.event_id.as_str());
        if facts.is_dead(&rec.value.topic, rec.partition, rec.offset, rec.value.lineage.as_deref()) {
            dead.insert((key, decision.to_bytes()));
        } else {
            contents.entry(key).or_default().insert(decision.to_bytes());
        }
    }
    // Forwarded first and dead there: its original is accounted for, too.
    for (key, content) in dead {
        if let Some(known) = contents.get_mut(&key) {
            known.remove(&content);
        }
    }
    contents.retain(|_, known| !known.is_empty());
    contents
}

/// Terminal events by decision, under the portfolio and under none.
fn ends(facts: &Facts) -> BTreeMap<Key<'_>, Vec<&Rec<OrderEvent>>> {
    let mut ends: BTreeMap<Key<'_>, Vec<&Rec<OrderEvent>>> = BTreeMap::new();
    for rec in facts.orders.iter().filter(|rec| rec.value.is_terminal) {
        let (portfolio, decision) = (rec.value.portfolio_id.as_str(), rec.value.decision_event_id.as_str());
        ends.entry((portfolio, decision)).or_default().push(rec);
        if !portfolio.is_empty() {
            ends.entry(("", decision)).or_default().push(rec);
        }
    }
    ends
}

/// Every decision ends in exactly one terminal event. Identical repeats share one; another content under the same id has
/// one of its own, and all but one of these are DUPLICATE_CONFLICT. Dead-lettered decisions have none.
pub(crate) fn decisions_end_once(facts: &Facts) -> Check {
    let mut exam = Exam::new("decisions_end_once");
    let ends = ends(facts);
    for ((portfolio, id), contents) in contents(facts) {
        exam.saw();
        let found = ends.get(&(portfolio, id)).map(Vec::as_slice).unwrap_or_default();
        let to_come = facts.under_way && found.len() < contents.len();
        exam.require(found.len() == contents.len() || to_come, || {
            format!("decision {id} of {portfolio}: {} contents, {} terminal events", contents.len(), found.len())
        });
        let conflicts = found.iter().filter(|rec| rec.value.reason_code.as_deref() == Some(CONFLICT)).count();
        // A decision without id is its own content.
        let honoured = found.len().saturating_sub(conflicts);
        let none_yet = honoured == 0 && (facts.under_way || found.len() < contents.len());
        exam.require(id.is_empty() || honoured == 1 || none_yet, || {
            format!("decision {id} of {portfolio} was honoured {honoured} times")
        });
    }
    exam.done()
}

/// No order without a decision of its portfolio.
pub(crate) fn orders_have_decisions(facts: &Facts) -> Check {
    let mut exam = Exam::new("orders_have_decisions");
    let contents = contents(facts);
    for (order_id, events) in facts.events() {
        exam.saw();
        for event in events.iter().map(|rec| &rec.value) {
            let id = event.decision_event_id.as_str();
            let known = contents.contains_key(&(event.portfolio_id.as_str(), id)) || contents.contains_key(&("", id));
            exam.require(known, || format!("order {order_id} of {} has no decision {id}", event.portfolio_id));
            if !known {
                break;
            }
        }
    }
    exam.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{clean, letter};

    #[test]
    fn a_decision_without_end_with_two_or_honoured_twice_is_found() {
        let mut facts = clean();
        let end = facts.orders.iter().position(|rec| rec.value.is_terminal).unwrap();
        let event = facts.orders[end].clone();
        facts.orders[end].value.is_terminal = false;
        assert_eq!(decisions_end_once(&facts).violations, 1);
        let mut facts = clean();
        facts.orders.push(event);
        assert_eq!(decisions_end_once(&facts).violations, 2, "two ends, honoured twice");
        let mut facts = clean();
        for rec in &mut facts.orders {
            if rec.value.reason_code.as_deref() == Some(CONFLICT) {
                rec.value.reason_code = None;
            }
        }
        assert_eq!(decisions_end_once(&facts).violations, 1);
    }

    #[test]
    fn an_identical_repeat_shares_and_a_dead_letter_has_no_end() {
        let mut facts = clean();
        let mut again = facts.decisions[0].clone();
        again.offset = 99;
        facts.decisions.push(again.clone());
        assert_eq!(decisions_end_once(&facts).violations, 0);
        again.value.content.event_id = "DEAD".into();
        again.offset = 100;
        facts.decisions.push(again);
        assert_eq!(decisions_end_once(&facts).violations, 1);
        facts.letters.push(letter("coordination.decisions.v1", 0, 100));
        assert_eq!(decisions_end_once(&facts).violations, 0);
    }

    #[test]
    fn a_forwarded_decision_counts_once_and_may_be_dead_by_its_lineage() {
        let mut facts = clean();
        let mut forwarded = facts.decisions[0].clone();
        forwarded.value.topic = "coordination.decisions-forwarded.v1".into();
        forwarded.value.lineage = Some("aa".into());
        facts.decisions.push(forwarded.clone());
        assert_eq!(decisions_end_once(&facts).violations, 0);
        forwarded.value.content.event_id = "DEAD".into();
        forwarded.value.lineage = Some("bb".into());
        let mut original = forwarded.clone();
        original.value.topic = "coordination.decisions.v1".into();
        original.value.lineage = None;
        facts.decisions.extend([original, forwarded]);
        assert_eq!(decisions_end_once(&facts).violations, 1);
        let mut dead = letter("coordination.decisions-forwarded.v1", 0, -1);
        dead.value.letter.lineage = "bb".into();
        facts.letters.push(dead);
        assert_eq!(decisions_end_once(&facts).violations, 0);
    }

    #[test]
    fn an_order_out_of_nothing_is_found() {
        let mut facts = clean();
        facts.decisions.remove(0);
        let repeats = facts.decisions.iter().filter(|rec| rec.value.content.event_id == "D1").count();
        assert_eq!(repeats, 1, "the other content of D1 is left");
        facts.decisions.retain(|rec| rec.value.content.event_id != "D1");
        assert_eq!(orders_have_decisions(&facts).violations, 2);
        let mut facts = clean();
        facts.orders[0].value.portfolio_id = "ANOTHER".into();
        assert_eq!(orders_have_decisions(&facts).violations, 1);
    }
}
