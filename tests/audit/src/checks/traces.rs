//! One trace from a decision to the analysis of its costs.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::facts::{Facts, Rec, TraceId};
use crate::report::{Check, Exam};

/// The trace of a record without a `traceparent`: named as its lineage, which is the hash of topic and natural id.
pub(crate) fn trace_of(topic: &str, natural_id: &str) -> TraceId {
    let mut hash = Sha256::new();
    for part in ["root", topic, natural_id] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

/// Traces of the records about an order, each with the topic of the first that names it.
type Seen = BTreeMap<Option<TraceId>, &'static str>;

fn note<'f, T>(
    by_order: &mut BTreeMap<&'f str, Seen>,
    topic: &'static str,
    records: &'f [Rec<T>],
    order: impl Fn(&'f T) -> Option<&'f str>,
) {
    for rec in records {
        if let Some(of) = order(&rec.value).and_then(|id| by_order.get_mut(id)) {
            of.entry(rec.trace).or_insert(topic);
        }
    }
}

/// Every record about an order is of one trace: the one that its decision's producer began, or that is named as the
/// decision. Orders that were created before records named their trace are left out.
pub(crate) fn one_trace_an_order(facts: &Facts) -> Check {
    let mut exam = Exam::new("one_trace_an_order");
    let mut decided: BTreeMap<&str, BTreeSet<TraceId>> = BTreeMap::new();
    for rec in &facts.decisions {
        let id = rec.value.content.event_id.as_str();
        decided.entry(id).or_default().insert(rec.trace.unwrap_or_else(|| trace_of(&rec.value.topic, id)));
    }
    let events = facts.events();
    let mut by_order: BTreeMap<&str, Seen> = BTreeMap::new();
    for (order, of) in &events {
        by_order.insert(order, of.iter().map(|rec| (rec.trace, "execution.orders.v1")).collect());
    }
    let all = &mut by_order;
    note(all, "execution.validated-orders.v1", &facts.verdicts, |v| Some(&v.order_id));
    note(all, "execution.limit-requests.v1", &facts.requests, |r| r.content.order_id.as_deref());
    note(all, "execution.limit-grants.v1", &facts.grants, |g| g.order_id.as_deref());
    note(all, "execution.allocations.v1", &facts.allocations, |v| Some(&v.order_id));
    note(all, "execution.strategies.v1", &facts.strategies, |v| Some(&v.order_id));
    note(all, "execution.slices.v1", &facts.slices, |v| Some(&v.order_id));
    note(all, "execution.routing-plans.v1", &facts.plans, |v| Some(&v.order_id));
    note(all, "execution.child-orders.v1", &facts.children, |v| Some(&v.order_id));
    note(all, "execution.risk-alerts.v1", &facts.alerts, |v| v.order_id.as_deref());
    note(all, "execution.intents.v1", &facts.intents, |v| Some(&v.child.order_id));
    note(all, "execution.reports.v1", &facts.reports, |v| Some(&v.order_id));
    note(all, "execution.quality.v1", &facts.quality, |v| Some(&v.order_id));
    for (order, seen) in by_order {
        let first = events.get(order).and_then(|of| of.first());
        if first.is_none_or(|rec| rec.trace.is_none()) {
            continue;
        }
        exam.saw();
        exam.require(seen.len() == 1, || format!("records about order {order} are of {} traces: {seen:?}", seen.len()));
        let decision = first.map(|rec| rec.value.decision_event_id.as_str()).and_then(|id| decided.get(id));
        let known = |trace: &Option<TraceId>| decision.is_none_or(|of| trace.is_some_and(|trace| of.contains(&trace)));
        exam.require(seen.keys().any(known), || {
            format!("order {order} is of another trace than its decision: {seen:?}")
        });
    }
    exam.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;

    #[test]
    fn the_trace_of_a_decision_is_the_published_hash() {
        // sha256 of "root", the topic and "1", each with its length before it, as `sha256sum` gives it.
        let hex: String = trace_of("coordination.decisions.v1", "1").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "08af09f279155aadf8d385f44b0b3b53");
    }

    #[test]
    fn a_record_of_another_trace_or_of_none_is_found() {
        for break_it in [
            |f: &mut Facts| f.quality[0].trace = Some([7; 16]),
            |f: &mut Facts| f.requests[0].trace = None,
            |f: &mut Facts| f.grants[0].trace = Some([7; 16]),
            |f: &mut Facts| f.reports[0].trace = None,
            |f: &mut Facts| f.intents[0].trace = Some([7; 16]),
            |f: &mut Facts| f.slices[0].trace = None,
            |f: &mut Facts| f.orders[1].trace = Some([7; 16]),
        ] {
            let mut facts = clean();
            break_it(&mut facts);
            assert_eq!(one_trace_an_order(&facts).violations, 1);
        }
    }

    #[test]
    fn an_order_follows_its_decision() {
        let mut facts = clean();
        // The producer began a trace, and nobody has followed it.
        facts
            .decisions
            .iter_mut()
            .filter(|rec| rec.value.content.event_id == "D3")
            .for_each(|rec| rec.trace = Some([7; 16]));
        assert_eq!(one_trace_an_order(&facts).violations, 1);
        // What was created before records named their trace is not judged.
        let mut facts = clean();
        let before = one_trace_an_order(&facts).examined;
        facts.orders.iter_mut().filter(|rec| rec.value.order_id == "O1").for_each(|rec| rec.trace = None);
        let check = one_trace_an_order(&facts);
        assert_eq!((check.violations, check.examined), (0, before - 1));
    }
}
