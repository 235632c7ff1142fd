//! The life of each parent order.

use fillstream_schemas::execution::{AlertSeverity, OrderEvent, OrderEventType, ParentStatus, RiskAlertType};
use fillstream_schemas::types::ExecType;

use super::replaces;
use crate::facts::{Facts, Rec};
use crate::report::{Check, Exam};

fn is_end(event_type: OrderEventType) -> bool {
    match event_type {
        OrderEventType::Rejected | OrderEventType::Filled | OrderEventType::Cancelled | OrderEventType::Expired => true,
        OrderEventType::Created
        | OrderEventType::Released
        | OrderEventType::Routed
        | OrderEventType::ChildUpdated
        | OrderEventType::CancelRequested
        | OrderEventType::CommandRefused
        | OrderEventType::Amended
        | OrderEventType::Overfill
        | OrderEventType::Other
        | OrderEventType::Suspended
        | OrderEventType::Resumed
        | OrderEventType::Replaced
        | OrderEventType::ReplaceRequested => false,
    }
}

// What may follow the end: an amendment, and what the outside still says (a late report, a command).
fn may_follow_end(event_type: OrderEventType) -> bool {
    match event_type {
        OrderEventType::Amended
        | OrderEventType::Overfill
        | OrderEventType::ChildUpdated
        | OrderEventType::CommandRefused => true,
        OrderEventType::Created
        | OrderEventType::Rejected
        | OrderEventType::Released
        | OrderEventType::Routed
        | OrderEventType::CancelRequested
        | OrderEventType::Filled
        | OrderEventType::Cancelled
        | OrderEventType::Expired
        | OrderEventType::Other
        | OrderEventType::Suspended
        | OrderEventType::Resumed
        | OrderEventType::Replaced
        | OrderEventType::ReplaceRequested => false,
    }
}

fn status_at_end(event_type: OrderEventType) -> Option<ParentStatus> {
    match event_type {
        OrderEventType::Rejected => Some(ParentStatus::Rejected),
        OrderEventType::Filled => Some(ParentStatus::Filled),
        OrderEventType::Cancelled => Some(ParentStatus::Cancelled),
        OrderEventType::Expired => Some(ParentStatus::Expired),
        OrderEventType::Created
        | OrderEventType::Released
        | OrderEventType::Routed
        | OrderEventType::ChildUpdated
        | OrderEventType::CancelRequested
        | OrderEventType::CommandRefused
        | OrderEventType::Amended
        | OrderEventType::Overfill
        | OrderEventType::Other
        | OrderEventType::Suspended
        | OrderEventType::Resumed
        | OrderEventType::Replaced
        | OrderEventType::ReplaceRequested => None,
    }
}

fn what(event: &OrderEvent) -> String {
    format!("order {} revision {} ({})", event.order_id, event.revision, event.event_type.as_str())
}

/// Revisions from 1 without gaps, one creation, exactly one terminal event, behind it only amendments and answers to the
/// outside, figures changed after it restated by AMENDED; identity and partition never change.
pub(crate) fn order_lifecycles(facts: &Facts) -> Check {
    let mut exam = Exam::new("order_lifecycles");
    for (order_id, events) in facts.events() {
        exam.saw();
        let ended = lifecycle(&events, &mut exam);
        if !facts.under_way {
            exam.require(ended, || format!("order {order_id} has no terminal event"));
            restated(&events, &mut exam);
        }
    }
    exam.done()
}

// Whether the order has ended.
fn lifecycle(events: &[&Rec<OrderEvent>], exam: &mut Exam) -> bool {
    let Some(first) = events.first() else { return false };
    let mut end: Option<&OrderEvent> = None;
    for (revision, rec) in (1..).zip(events) {
        let event = &rec.value;
        exam.require(event.revision == revision, || format!("{} stands at place {revision}", what(event)));
        let starts = matches!(event.event_type, OrderEventType::Created)
            || (matches!(event.event_type, OrderEventType::Rejected) && revision == 1);
        exam.require((revision == 1) == starts, || format!("{} at place {revision}", what(event)));
        exam.require(event.is_terminal == is_end(event.event_type), || {
            format!("{}: is_terminal is wrong", what(event))
        });
        let same = rec.partition == first.partition
            && event.portfolio_id == first.value.portfolio_id
            && event.instrument_id == first.value.instrument_id
            && event.decision_event_id == first.value.decision_event_id
            && event.side == first.value.side;
        exam.require(same, || format!("{}: not the identity or partition of its first event", what(event)));
        if let Some(end) = end {
            exam.require(may_follow_end(event.event_type), || format!("{} after {}", what(event), what(end)));
            exam.require(event.status == end.status, || format!("{}: another status than its end's", what(event)));
        } else if let Some(status) = status_at_end(event.event_type) {
            exam.require(event.status == status, || format!("{}: status {}", what(event), event.status.as_str()));
            end = Some(event);
        }
    }
    end.is_some()
}

// Figures that changed after the end stand in an AMENDED event.
fn restated(events: &[&Rec<OrderEvent>], exam: &mut Exam) {
    let figures = |event: &OrderEvent| (event.cum_qty, event.overfill_qty, event.filled_notional, event.fees);
    let states =
        |event: &&&Rec<OrderEvent>| event.value.is_terminal || event.value.event_type == OrderEventType::Amended;
    let stated = events.iter().rev().find(states);
    if let (Some(stated), Some(last)) = (stated, events.last()) {
        exam.require(figures(&stated.value) == figures(&last.value), || {
            format!("{}: figures changed after the end and were not restated", what(&last.value))
        });
    }
}

/// At every event of every order: filled + open + cancelled = ordered, filled <= ordered, children hold no more than is
/// open; more than ordered is told by OVERFILL and counted apart; filled falls only by a bust or correction.
pub(crate) fn order_quantities(facts: &Facts) -> Check {
    let mut exam = Exam::new("order_quantities");
    for events in facts.events().into_values() {
        replaces::quantities(&events, &mut exam);
        let mut before: Option<&OrderEvent> = None;
        for (i, rec) in events.iter().enumerate() {
            exam.saw();
            let event = &rec.value;
            quantities(event, &mut exam);
            let was = before.map_or(0, |b| b.overfill_qty.unscaled());
            if event.overfill_qty.unscaled() > was {
                let next = events.get(i + 1).map(|rec| rec.value.event_type);
                let told = event.event_type == OrderEventType::Overfill || next == Some(OrderEventType::Overfill);
                exam.require(told, || format!("{}: overfilled without OVERFILL", what(event)));
            }
            let filled = |event: &OrderEvent| event.cum_qty.unscaled() + event.overfill_qty.unscaled();
            let busted = event.child.as_ref().and_then(|child| child.exec_type);
            let busted = matches!(busted, Some(ExecType::TradeCancel | ExecType::TradeCorrect));
            exam.require(busted || before.is_none_or(|b| filled(event) >= filled(b)), || {
                format!("{}: filled falls to {} without a bust", what(event), event.cum_qty)
            });
            before = Some(event);
        }
    }
    overfills(facts, &mut exam);
    exam.done()
}

/// Each overfill is a critical alert, and no other alert says so.
fn overfills(facts: &Facts, exam: &mut Exam) {
    let alerts = facts.alerts.iter().map(|rec| &rec.value).filter(|a| a.alert_type == RiskAlertType::Overfill);
    let alerts: Vec<_> = alerts.map(|a| (a.order_id.as_deref(), a.quantity, a.severity)).collect();
    let events = facts.orders.iter().map(|rec| &rec.value).filter(|e| e.event_type == OrderEventType::Overfill);
    let events: Vec<_> = events.collect();
    for event in &events {
        let told = (Some(event.order_id.as_str()), Some(event.overfill_qty), AlertSeverity::Critical);
        exam.require(facts.under_way || alerts.contains(&told), || format!("{}: no critical alert", what(event)));
    }
    exam.require(alerts.len() <= events.len(), || {
        format!("{} alerts of {} overfills: {alerts:?}", alerts.len(), events.len())
    });
}

fn quantities(event: &OrderEvent, exam: &mut Exam) {
    let [ordered, filled, open, cancelled, working, over] =
        [event.ord_qty, event.cum_qty, event.leaves_qty, event.cancelled_qty, event.working_qty, event.overfill_qty]
            .map(|quantity| quantity.unscaled());
    exam.require(filled + open + cancelled == ordered, || {
        let (o, f, l, c) = (event.ord_qty, event.cum_qty, event.leaves_qty, event.cancelled_qty);
        format!("{}: filled {f} + open {l} + cancelled {c} is not {o}", what(event))
    });
    exam.require(filled <= ordered, || format!("{}: filled {} of {}", what(event), event.cum_qty, event.ord_qty));
    exam.require(working <= open, || {
        format!("{}: children hold {} of {} open", what(event), event.working_qty, event.leaves_qty)
    });
    exam.require(over == 0 || filled == ordered, || format!("{}: overfilled before filled", what(event)));
    exam.require(!event.is_terminal || open == 0, || format!("{}: ended with {} open", what(event), event.leaves_qty));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;
    use fillstream_schemas::execution::RiskAlert;

    #[test]
    fn a_refused_command_on_an_order_of_nobody_is_no_part_of_a_life() {
        let mut facts = clean();
        let ended = facts.orders.iter().find(|rec| rec.value.order_id == "O2").unwrap().clone();
        let mut refused = Rec { offset: 900, ..ended };
        (refused.value.event_type, refused.value.revision) = (OrderEventType::CommandRefused, 0);
        (refused.value.is_terminal, refused.value.instrument_id) = (false, String::new());
        facts.orders.push(refused.clone());
        assert_eq!(order_lifecycles(&facts).violations, 0);
        refused.value.revision = 2;
        facts.orders.push(refused);
        assert!(order_lifecycles(&facts).violations > 0);
    }

    #[test]
    fn under_way_an_open_order_is_no_violation_but_a_second_end_is() {
        let mut facts = clean();
        let end = facts.orders.iter().position(|rec| rec.value.is_terminal && rec.value.order_id == "O1").unwrap();
        let last = facts.orders.remove(end);
        assert_eq!(order_lifecycles(&facts).violations, 1);
        facts.under_way = true;
        assert_eq!(order_lifecycles(&facts).violations, 0);
        facts.orders.push(last.clone());
        facts.orders.push(Rec { offset: last.offset + 1, ..last });
        assert!(order_lifecycles(&facts).violations > 0);
    }

    #[test]
    fn an_overfill_is_a_critical_alert_and_no_other_alert_says_so() {
        let mut facts = clean();
        let last = facts.orders.iter().rfind(|rec| rec.value.order_id == "O1").unwrap().clone();
        let mut over = Rec { offset: 901, ..last };
        over.value.cum_qty = over.value.ord_qty;
        (over.value.leaves_qty, over.value.cancelled_qty) = ("0".parse().unwrap(), "0".parse().unwrap());
        over.value.event_type = OrderEventType::Overfill;
        over.value.overfill_qty = "5".parse().unwrap();
        over.value.revision += 1;
        facts.orders.push(over.clone());
        let violations = |facts: &Facts| order_quantities(facts).violations;
        assert_eq!(violations(&facts), 1, "not told");
        let alert = RiskAlert {
            alert_type: RiskAlertType::Overfill,
            severity: AlertSeverity::Critical,
            order_id: Some(over.value.order_id.clone()),
            quantity: Some(over.value.overfill_qty),
            ..RiskAlert::default()
        };
        let told = Rec { value: alert, ..facts.alerts[0].clone() };
        facts.alerts.push(told.clone());
        assert_eq!(violations(&facts), 0);
        facts.alerts.push(told);
        assert_eq!(violations(&facts), 1, "told twice");
    }

    /// Facts with a change of the events of the worked order.
    fn tampered(change: impl FnOnce(&mut Vec<Rec<OrderEvent>>)) -> Facts {
        let mut facts = clean();
        change(&mut facts.orders);
        facts
    }

    fn position(orders: &[Rec<OrderEvent>], event_type: OrderEventType) -> usize {
        orders.iter().position(|rec| rec.value.event_type == event_type).unwrap()
    }

    fn found(change: impl FnOnce(&mut Vec<Rec<OrderEvent>>)) -> (u64, u64) {
        let facts = tampered(change);
        (order_lifecycles(&facts).violations, order_quantities(&facts).violations)
    }

    #[test]
    fn broken_lives_are_found() {
        assert_eq!(found(|_| {}), (0, 0));
        assert!(found(|o| drop(o.remove(1))).0 > 0, "a gap");
        assert!(found(|o| o.retain(|rec| !rec.value.is_terminal)).0 > 0, "no end");
        let again = |o: &mut Vec<Rec<OrderEvent>>| {
            let at = position(o, OrderEventType::Cancelled);
            let mut second = o[at].clone();
            second.value.revision += 1;
            second.offset += 1;
            o.insert(at + 1, second);
        };
        assert!(found(again).0 > 0, "two ends");
        assert!(found(|o| o[0].value.event_type = OrderEventType::Routed).0 > 0, "no creation");
        assert!(found(|o| o[1].partition += 1).0 > 0, "another partition");
    }

    #[test]
    fn a_late_fill_must_be_restated_and_then_it_is_fine() {
        let late = |event_type, revision| {
            move |o: &mut Vec<Rec<OrderEvent>>| {
                let at = position(o, OrderEventType::Cancelled);
                for (n, event_type) in (1..).zip([OrderEventType::ChildUpdated, event_type].into_iter().take(revision))
                {
                    let mut after = o[at].clone();
                    after.offset += n;
                    after.value.revision += i32::try_from(n).unwrap();
                    after.value.is_terminal = false;
                    after.value.event_type = event_type;
                    after.value.cum_qty = "80".parse().unwrap();
                    after.value.cancelled_qty = "20".parse().unwrap();
                    o.push(after);
                }
            }
        };
        assert_eq!(found(late(OrderEventType::Amended, 2)), (0, 0));
        assert_eq!(found(late(OrderEventType::Amended, 1)), (1, 0), "not restated");
        assert_eq!(found(late(OrderEventType::Released, 2)), (2, 0), "what may not follow, and so not restated");
    }

    #[test]
    fn quantities_that_do_not_add_up_are_found() {
        let at = |i: usize, change: fn(&mut OrderEvent)| found(move |o| change(&mut o[i].value)).1;
        assert_eq!(at(2, |e| e.leaves_qty = "99".parse().unwrap()), 1);
        assert_eq!(at(2, |e| e.working_qty = "101".parse().unwrap()), 1);
        assert!(at(2, |e| e.cum_qty = "101".parse().unwrap()) >= 2);
        assert!(at(2, |e| e.overfill_qty = "1".parse().unwrap()) >= 2, "neither told nor filled");
        let falls = |o: &mut Vec<Rec<OrderEvent>>| {
            let end = &mut o.iter_mut().find(|rec| rec.value.event_type == OrderEventType::Cancelled).unwrap().value;
            end.cum_qty = "60".parse().unwrap();
            end.cancelled_qty = "40".parse().unwrap();
        };
        assert_eq!(found(falls).1, 1);
        let stays_open = |o: &mut Vec<Rec<OrderEvent>>| {
            let end = &mut o.iter_mut().find(|rec| rec.value.event_type == OrderEventType::Cancelled).unwrap().value;
            std::mem::swap(&mut end.leaves_qty, &mut end.cancelled_qty);
        };
        assert_eq!(found(stays_open).1, 1);
    }
}
