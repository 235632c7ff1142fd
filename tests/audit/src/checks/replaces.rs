//! Replaces of parent orders: asked for, passed by risk, in force.

use std::collections::BTreeMap;

use fillstream_schemas::execution::{OrderEvent, OrderEventType, ValidatedOrder};

use crate::facts::Rec;
use crate::report::Exam;

/// What was asked for is what risk has judged is what is in force: each request has one answer of risk at most, about its
/// own quantity and terms; nothing is in force without an approval; what risk refused never is.
pub(crate) fn judged(events: &[&Rec<OrderEvent>], verdicts: &[&ValidatedOrder], exam: &mut Exam) {
    let mut asked: BTreeMap<i32, &OrderEvent> = BTreeMap::new();
    let mut last: Option<&OrderEvent> = None;
    for event in events.iter().map(|rec| &rec.value) {
        let what = || format!("order {} revision {}", event.order_id, event.revision);
        if event.event_type == OrderEventType::ReplaceRequested {
            asked.insert(event.revision, event);
            last = Some(event);
        }
        if event.event_type == OrderEventType::Replaced {
            let verdict = last.and_then(|asked| verdicts.iter().find(|verdict| verdict.revision == asked.revision));
            exam.require(verdict.is_some_and(|verdict| verdict.is_approved), || {
                format!("{} is in force without an approval", what())
            });
            let same = last.is_some_and(|asked| asked.command_id == event.command_id && asked.terms == event.terms);
            // What was filled meanwhile wins.
            let quantity = last.and_then(|asked| asked.new_ord_qty).map(|asked| asked.max(event.cum_qty));
            exam.require(same && quantity == event.new_ord_qty, || format!("{} is not what was asked for", what()));
        }
    }
    for verdict in verdicts {
        let request = asked.remove(&verdict.revision);
        let about = request.is_some_and(|request| {
            request.new_ord_qty == Some(verdict.quantity) && request.terms.as_ref() == Some(&verdict.terms)
        });
        exam.require(about, || {
            format!("a verdict on revision {} of order {} is about no request", verdict.revision, verdict.order_id)
        });
    }
}

/// Quantities ordered over the life of an order: only a replace changes them; from then on at least what it asked for, and
/// never more than the larger of that and what was ordered before.
pub(crate) fn quantities(events: &[&Rec<OrderEvent>], exam: &mut Exam) {
    let Some(first) = events.first() else { return };
    let (mut target, mut most) = (first.value.ord_qty, first.value.ord_qty);
    for event in events.iter().map(|rec| &rec.value) {
        if let (OrderEventType::Replaced, Some(asked)) = (event.event_type, event.new_ord_qty) {
            (target, most) = (asked, most.max(asked));
        }
        exam.require(target <= event.ord_qty && event.ord_qty <= most, || {
            format!("order {} revision {}: ordered {}, {target} are", event.order_id, event.revision, event.ord_qty)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_schemas::execution::OrderTerms;

    fn event(revision: i32, event_type: OrderEventType, ordered: &str, new: Option<&str>) -> Rec<OrderEvent> {
        let value = OrderEvent {
            order_id: "O1".into(),
            revision,
            event_type,
            ord_qty: ordered.parse().unwrap(),
            new_ord_qty: new.map(|new| new.parse().unwrap()),
            terms: new.map(|_| OrderTerms::default()),
            command_id: new.map(|_| "K1".into()),
            ..OrderEvent::default()
        };
        Rec { partition: 0, offset: i64::from(revision), trace: None, value }
    }

    fn life() -> Vec<Rec<OrderEvent>> {
        use OrderEventType::{ChildUpdated, Created, ReplaceRequested, Replaced};
        vec![
            event(1, Created, "100", None),
            event(2, ReplaceRequested, "100", Some("40")),
            // Children hold 60 of it still.
            event(3, Replaced, "60", Some("40")),
            event(4, ChildUpdated, "40", None),
        ]
    }

    fn verdict() -> ValidatedOrder {
        ValidatedOrder { revision: 2, is_approved: true, quantity: "40".parse().unwrap(), ..ValidatedOrder::default() }
    }

    fn found(life: &[Rec<OrderEvent>], verdicts: &[&ValidatedOrder]) -> u64 {
        let events: Vec<_> = life.iter().collect();
        let mut exam = Exam::new("replaces");
        judged(&events, verdicts, &mut exam);
        quantities(&events, &mut exam);
        exam.done().violations
    }

    #[test]
    fn a_replace_that_was_asked_for_and_passed_is_in_force() {
        assert_eq!(found(&life(), &[&verdict()]), 0);
        assert_eq!(found(&life(), &[]), 1, "nobody passed it");
        assert_eq!(found(&life(), &[&ValidatedOrder { is_approved: false, ..verdict() }]), 1, "it was refused");
        assert!(found(&life(), &[&ValidatedOrder { revision: 7, ..verdict() }]) > 0, "about nothing");
        assert_eq!(found(&life(), &[&ValidatedOrder { quantity: "50".parse().unwrap(), ..verdict() }]), 1);
        let mut other = life();
        other[2].value.command_id = Some("K2".into());
        assert_eq!(found(&other, &[&verdict()]), 1, "another command's");
    }

    #[test]
    fn a_quantity_that_nothing_changed_is_found() {
        for (at, ordered) in [(1, "90"), (2, "39"), (3, "101"), (3, "30")] {
            let mut life = life();
            life[at].value.ord_qty = ordered.parse().unwrap();
            assert_eq!(found(&life, &[&verdict()]), 1, "{at} {ordered}");
        }
    }
}
