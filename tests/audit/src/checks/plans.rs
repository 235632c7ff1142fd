//! Slices, their routing plans, the children made of them, and the end of each schedule.

use std::collections::BTreeMap;

use fillstream_schemas::execution::{
    ChildAction, ChildOrder, OrderEventType, RiskAlertType, RouteLeg, RoutingPlan, Slice,
};

use crate::facts::Facts;
use crate::report::{Check, Exam};

/// (order, account, slice).
type SliceKey<'a> = (&'a str, &'a str, i32);

/// Every slice has exactly one plan, of its quantity; the plan's legs and what it could not route add up to it; no
/// ClOrdID stands in two legs; each leg goes to a pair that is eligible, never through the plan's limit.
pub(crate) fn slices_routed(facts: &Facts) -> Check {
    let mut exam = Exam::new("slices_routed");
    let mut plans: BTreeMap<SliceKey<'_>, Vec<&RoutingPlan>> = BTreeMap::new();
    for plan in facts.plans.iter().map(|rec| &rec.value) {
        plans.entry((&plan.order_id, &plan.account_id, plan.slice_no)).or_default().push(plan);
    }
    for slice in facts.slices.iter().map(|rec| &rec.value) {
        exam.saw();
        let found = plans.remove(&(slice.order_id.as_str(), slice.account_id.as_str(), slice.slice_no));
        let found = found.unwrap_or_default();
        let name = format!("slice {} of order {} for {}", slice.slice_no, slice.order_id, slice.account_id);
        let to_come = facts.under_way && found.is_empty();
        exam.require(found.len() == 1 || to_come, || format!("{name} has {} plans", found.len()));
        for plan in found {
            exam.require(plan.quantity == slice.quantity, || {
                format!("{name} is {}, its plan {}", slice.quantity, plan.quantity)
            });
            let legs: i128 = plan.venue_allocations.iter().map(|leg| leg.quantity.unscaled()).sum();
            exam.require(legs + plan.unrouted_qty.unscaled() == plan.quantity.unscaled(), || {
                format!("{name}: legs of {} and {} unrouted", crate::num::text(legs), plan.unrouted_qty)
            });
        }
    }
    for (order, account, slice) in plans.into_keys() {
        exam.fault(|| format!("a plan for slice {slice} of order {order} for {account}, which was never due"));
    }
    let mut legs: BTreeMap<&str, &str> = BTreeMap::new();
    for (plan, leg) in legs_of(facts) {
        exam.require(is_allowed(plan, leg), || {
            format!("{} goes where its plan excludes it, or through its limit", leg.cl_ord_id)
        });
        let other = legs.insert(&leg.cl_ord_id, &plan.order_id);
        exam.require(other.is_none(), || format!("{} is a leg of {} and of {other:?}", leg.cl_ord_id, plan.order_id));
    }
    exam.done()
}

// A leg goes to a pair that its plan calls eligible, at no worse price than the plan's.
fn is_allowed(plan: &RoutingPlan, leg: &RouteLeg) -> bool {
    let mut pairs = plan.candidates.iter().filter(|c| c.eligible).map(|c| (&c.broker, &c.venue));
    let through = leg
        .limit_price
        .zip(plan.limit_price)
        .is_some_and(|(price, limit)| if plan.side.is_buy() { price > limit } else { price < limit });
    pairs.any(|pair| pair == (&leg.broker, &leg.venue)) && !through
}

/// Slices of an account's part of an order count from 1 without gaps, and none with a quantity comes after the last one of its
/// terms: a replace begins a new schedule. An order that was cancelled or has expired had the plan of a last slice of the terms in
/// force for each account: that nothing was under way any more was known, not hoped for.
pub(crate) fn schedules_end(facts: &Facts) -> Check {
    let mut exam = Exam::new("schedules_end");
    let mut slices: BTreeMap<(&str, &str), Vec<&Slice>> = BTreeMap::new();
    for slice in facts.slices.iter().map(|rec| &rec.value) {
        slices.entry((&slice.order_id, &slice.account_id)).or_default().push(slice);
    }
    for ((order, account), mut slices) in slices {
        exam.saw();
        slices.sort_by_key(|slice| slice.slice_no);
        let (mut has_ended, mut terms) = (false, 0);
        for (slice_no, slice) in (1..).zip(slices) {
            exam.require(slice.terms_revision >= terms, || {
                format!("slice {} of order {order} for {account} goes back to former terms", slice.slice_no)
            });
            has_ended &= slice.terms_revision <= terms;
            terms = terms.max(slice.terms_revision);
            let name = format!("slice {} of order {order} for {account}", slice.slice_no);
            exam.require(slice.slice_no == slice_no, || format!("{name} stands at place {slice_no}"));
            let follows = slice.is_last && slice.quantity.is_zero();
            exam.require(!has_ended || follows, || format!("{name} comes after the last one"));
            let says = slice.quantity.is_positive() || !slice.cancel_cl_ord_ids.is_empty();
            exam.require(follows || says, || format!("{name} is empty, not the last, and cancels nothing"));
            has_ended |= slice.is_last;
        }
    }
    let mut last: BTreeMap<(&str, &str), i32> = BTreeMap::new();
    for plan in facts.plans.iter().map(|rec| &rec.value).filter(|plan| plan.is_last) {
        let of = last.entry((&plan.order_id, &plan.account_id)).or_insert(plan.terms_revision);
        *of = (*of).max(plan.terms_revision);
    }
    let mut ended: BTreeMap<&str, OrderEventType> = BTreeMap::new();
    let mut terms: BTreeMap<&str, i32> = BTreeMap::new();
    for event in facts.orders.iter().map(|rec| &rec.value).filter(|e| e.event_type == OrderEventType::Replaced) {
        let of = terms.entry(&event.order_id).or_default();
        *of = (*of).max(event.revision);
    }
    for event in facts.orders.iter().map(|rec| &rec.value) {
        if matches!(event.event_type, OrderEventType::Cancelled | OrderEventType::Expired) {
            ended.insert(&event.order_id, event.event_type);
        }
    }
    for allocation in facts.allocations.iter().map(|rec| &rec.value) {
        let (order, account) = (allocation.order_id.as_str(), allocation.account_id.as_deref());
        if let (Some(end), Some(account)) = (ended.get(order), account) {
            let in_force = terms.get(order).copied().unwrap_or_default();
            exam.require(last.get(&(order, account)).is_some_and(|of| *of >= in_force), || {
                format!("order {order} is {} without a last plan for {account}", end.as_str())
            });
        }
    }
    exam.done()
}

fn legs_of(facts: &Facts) -> impl Iterator<Item = (&RoutingPlan, &RouteLeg)> {
    facts.plans.iter().flat_map(|rec| rec.value.venue_allocations.iter().map(move |leg| (&rec.value, leg)))
}

/// Every leg becomes one child order with the leg's ClOrdID, quantity, venue and terms, or one refusal; every child order
/// is such a leg; every cancel is of a child order of the same order.
pub(crate) fn children_planned(facts: &Facts) -> Check {
    let mut exam = Exam::new("children_planned");
    let legs: BTreeMap<&str, (&RoutingPlan, &RouteLeg)> =
        legs_of(facts).map(|(plan, leg)| (leg.cl_ord_id.as_str(), (plan, leg))).collect();
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut news: BTreeMap<&str, &ChildOrder> = BTreeMap::new();
    for child in facts.children.iter().map(|rec| &rec.value).filter(|child| child.action == ChildAction::New) {
        exam.saw();
        *outcomes.entry(&child.cl_ord_id).or_default() += 1;
        news.insert(&child.cl_ord_id, child);
        let planned = legs.get(child.cl_ord_id.as_str()).is_some_and(|(plan, leg)| is_leg(child, plan, leg));
        exam.require(planned, || format!("child {} of order {} is no leg of a plan", child.cl_ord_id, child.order_id));
    }
    for alert in facts.alerts.iter().map(|rec| &rec.value) {
        if let (RiskAlertType::ChildRejected, Some(id)) = (alert.alert_type, &alert.cl_ord_id) {
            *outcomes.entry(id).or_default() += 1;
            exam.require(legs.contains_key(id.as_str()), || format!("{id} is refused, but is no leg of a plan"));
            let failed = alert.checks.iter().any(|check| !check.passed);
            exam.require(failed, || format!("{id} is refused without a failed check"));
        }
    }
    for (id, (plan, _)) in &legs {
        let count = outcomes.get(id).copied().unwrap_or_default();
        exam.require(count == 1 || facts.under_way && count == 0, || {
            format!("leg {id} of order {} has {count} outcomes", plan.order_id)
        });
    }
    for child in facts.children.iter().map(|rec| &rec.value).filter(|child| child.action != ChildAction::New) {
        exam.saw();
        let of = child.orig_cl_ord_id.as_deref().and_then(|id| news.get(id));
        exam.require(of.is_some_and(|of| of.order_id == child.order_id && of.session == child.session), || {
            format!("{} {} is of no child of order {}", child.action.as_str(), child.cl_ord_id, child.order_id)
        });
    }
    exam.done()
}

fn is_leg(child: &ChildOrder, plan: &RoutingPlan, leg: &RouteLeg) -> bool {
    child.order_id == plan.order_id
        && child.slice_no == plan.slice_no
        && child.leg == leg.leg
        && child.quantity == leg.quantity
        && (&child.broker, &child.venue, &child.session) == (&leg.broker, &leg.venue, &leg.session)
        && (&child.account_id, &child.instrument_id, child.side) == (&plan.account_id, &plan.instrument_id, plan.side)
        && child.ord_type == leg.ord_type.unwrap_or(plan.ord_type)
        && child.limit_price == leg.limit_price.or(plan.limit_price)
        && child.time_in_force == leg.time_in_force.unwrap_or(plan.time_in_force)
        && child.expire_at == leg.expire_at.unwrap_or(plan.expire_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;

    fn found(check: fn(&Facts) -> Check, change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        check(&facts).violations
    }

    #[test]
    fn slices_without_plan_and_plans_that_do_not_add_up_are_found() {
        assert_eq!(found(slices_routed, |f| f.plans.truncate(1)), 1);
        assert_eq!(found(slices_routed, |f| f.slices.truncate(1)), 1);
        assert_eq!(found(slices_routed, |f| f.slices[0].value.quantity = "99".parse().unwrap()), 1);
        assert_eq!(found(slices_routed, |f| f.plans[0].value.unrouted_qty = "1".parse().unwrap()), 1);
        let same = |f: &mut Facts| f.plans[0].value.venue_allocations[1].cl_ord_id = "C1".into();
        assert_eq!(found(slices_routed, same), 1);
        assert_eq!(found(slices_routed, |f| f.plans[0].value.venue_allocations[2].venue = "OTHER".into()), 1);
        assert_eq!(found(slices_routed, |f| f.plans[0].value.candidates[0].eligible = false), 3);
        let through = |f: &mut Facts| {
            f.plans[0].value.limit_price = "10".parse().ok();
            f.plans[0].value.venue_allocations[0].limit_price = "10.1".parse().ok();
            f.plans[0].value.venue_allocations[1].limit_price = "9.9".parse().ok();
        };
        assert_eq!(found(slices_routed, through), 1);
        assert_eq!(found(slices_routed, |f| f.plans.push(f.plans[0].clone())), 4, "two plans, three legs twice");
    }

    #[test]
    fn schedules_that_go_on_after_their_end_and_ends_without_a_last_plan_are_found() {
        let of = |change: fn(&mut Facts)| found(schedules_end, change);
        assert_eq!(of(|_| {}), 0);
        assert_eq!(of(|f| f.slices[0].value.is_last = true), 0, "stopped although its last slice was released");
        assert_eq!(of(|f| f.slices[1].value.quantity = "1".parse().unwrap()), 0);
        let after = |f: &mut Facts| {
            f.slices[0].value.is_last = true;
            f.slices[1].value.quantity = "1".parse().unwrap();
        };
        assert_eq!(of(after), 1);
        assert_eq!(of(|f| f.slices[1].value.slice_no = 3), 1, "a gap");
        assert_eq!(of(|f| f.slices[1].value.is_last = false), 1, "an empty slice that says nothing");
        let cancels = |f: &mut Facts| {
            f.slices[1].value.is_last = false;
            f.slices[1].value.cancel_cl_ord_ids.push("C1".into());
        };
        assert_eq!(of(cancels), 0, "an empty slice that cancels");
        assert_eq!(of(|f| f.plans[1].value.is_last = false), 1, "cancelled on a guess");
        // A replace begins a new schedule, whose end has to be proved by a plan of its own.
        let replaced = |f: &mut Facts| {
            f.slices[0].value.is_last = true;
            (f.slices[1].value.quantity, f.slices[1].value.terms_revision) = ("1".parse().unwrap(), 4);
        };
        assert_eq!(of(replaced), 0);
        assert_eq!(of(|f| f.slices[0].value.terms_revision = 4), 1, "back to former terms");
        let unproved = |f: &mut Facts| {
            let replaced = f.orders.iter_mut().find(|rec| rec.value.event_type == OrderEventType::Routed).unwrap();
            replaced.value.event_type = OrderEventType::Replaced;
        };
        assert_eq!(of(unproved), 1, "the last plan is of former terms");
    }

    #[test]
    fn children_that_differ_from_their_leg_and_legs_without_outcome_are_found() {
        let of = |change: fn(&mut Facts)| found(children_planned, change);
        assert_eq!(of(|_| {}), 0);
        assert_eq!(of(|f| f.children[0].value.quantity = "1".parse().unwrap()), 1);
        assert_eq!(of(|f| f.children[0].value.venue = "OTHER".into()), 1);
        assert_eq!(
            of(|f| f.children[0].value.cl_ord_id = "GHOST".into()),
            2,
            "a child without leg, a leg without child"
        );
        assert_eq!(of(|f| f.alerts.clear()), 1, "the refused leg");
        assert_eq!(of(|f| f.alerts[0].value.checks.clear()), 1);
        let cancel = |f: &mut Facts| {
            let cancel = f.children.iter_mut().find(|r| r.value.action == ChildAction::Cancel).unwrap();
            cancel.value.orig_cl_ord_id = Some("GHOST".into());
        };
        assert_eq!(of(cancel), 1);
    }
}
