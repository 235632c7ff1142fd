//! Verdicts of parent risk.

use std::collections::BTreeMap;

use fillstream_schemas::execution::{OrderEvent, OrderEventType, ValidatedOrder};

use super::replaces;
use crate::facts::{Facts, Rec};
use crate::report::{Check, Exam};

/// Version of its portfolio's limits that a verdict was made under.
pub(crate) fn limit_version(verdict: &ValidatedOrder) -> i32 {
    let own = verdict.validation_results.iter().filter(|check| !check.scope.starts_with("limit/"));
    own.map(|check| check.version).max().unwrap_or_default()
}

/// Every order that was created has one verdict with its own quantity and side; an approval has the portfolio's
/// account if it has but one, limits, an arrival and no failed check; a refusal has a failed check, and its codes are those of the failed
/// ones; only approved orders are released, and none that was refused is.
pub(crate) fn risk_verdicts(facts: &Facts) -> Check {
    let mut exam = Exam::new("risk_verdicts");
    let mut verdicts: BTreeMap<&str, Vec<&Rec<ValidatedOrder>>> = BTreeMap::new();
    for rec in &facts.verdicts {
        verdicts.entry(&rec.value.order_id).or_default().push(rec);
    }
    for (order_id, events) in facts.events() {
        let Some(created) = events.iter().find(|rec| rec.value.event_type == OrderEventType::Created) else { continue };
        exam.saw();
        let found = verdicts.remove(order_id).unwrap_or_default();
        let (found, later): (Vec<_>, Vec<_>) = found.into_iter().partition(|rec| rec.value.revision == 0);
        replaces::judged(&events, &later.into_iter().map(|rec| &rec.value).collect::<Vec<_>>(), &mut exam);
        exam.require(found.len() <= 1, || format!("order {order_id} has {} verdicts", found.len()));
        match found.first() {
            Some(verdict) => {
                judged(facts, &verdict.value, &mut exam);
                followed(&verdict.value, &created.value, &events, &mut exam);
            }
            None => exam.require(facts.under_way, || format!("order {order_id} has no verdict")),
        }
    }
    for order_id in verdicts.into_keys() {
        exam.fault(|| format!("a verdict on order {order_id}, which was never created"));
    }
    exam.done()
}

fn judged(facts: &Facts, verdict: &ValidatedOrder, exam: &mut Exam) {
    let id = verdict.order_id.as_str();
    let failed: Vec<_> = verdict.validation_results.iter().filter(|check| !check.passed).collect();
    let mut codes: Vec<&str> = Vec::new();
    for code in failed.iter().filter_map(|check| check.code.as_deref()) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    exam.require(failed.iter().all(|check| check.code.is_some()) && codes == verdict.reason_codes, || {
        format!("verdict on {id}: codes {:?}, the failed checks say {codes:?}", verdict.reason_codes)
    });
    if !verdict.is_approved {
        return exam.require(!failed.is_empty(), || format!("order {id} is refused without a failed check"));
    }
    exam.require(failed.is_empty() && !verdict.validation_results.is_empty(), || {
        format!("order {id} is approved with {} of {} checks failed", failed.len(), verdict.validation_results.len())
    });
    exam.require(verdict.arrival.is_some(), || format!("order {id} is approved without arrival"));
    let accounts: Vec<_> = facts.accounts_of(&verdict.portfolio_id).iter().map(|a| a.account_id.as_str()).collect();
    let fits = match (accounts.as_slice(), verdict.account_id.as_deref()) {
        ([], _) => false,
        ([only], named) => named == Some(only),
        (_, named) => named.is_none(),
    };
    exam.require(fits, || {
        format!("order {id} is approved for {:?}, the portfolio's accounts are {accounts:?}", verdict.account_id)
    });
    let limit = facts.limit(&verdict.portfolio_id, limit_version(verdict));
    exam.require(limit.is_some(), || format!("order {id} of {} is approved without limits", verdict.portfolio_id));
    let restricted = limit.is_some_and(|limit| limit.restricted.contains(&verdict.instrument_id));
    exam.require(!restricted, || format!("order {id} is approved in {}, which is restricted", verdict.instrument_id));
}

fn followed(verdict: &ValidatedOrder, created: &OrderEvent, events: &[&Rec<OrderEvent>], exam: &mut Exam) {
    let id = created.order_id.as_str();
    let asks = (&created.portfolio_id, &created.instrument_id, created.side, created.ord_qty);
    exam.require((&verdict.portfolio_id, &verdict.instrument_id, verdict.side, verdict.quantity) == asks, || {
        format!("the verdict on order {id} is about another quantity, side, instrument or portfolio")
    });
    exam.require(Some(&verdict.terms) == created.terms.as_ref(), || {
        format!("the verdict on order {id} has other terms")
    });
    for event in events.iter().map(|rec| &rec.value) {
        match event.event_type {
            OrderEventType::Released => {
                exam.require(verdict.is_approved && event.arrival == verdict.arrival, || {
                    format!("order {id} is released against its verdict, or with another arrival")
                });
            }
            OrderEventType::Rejected => {
                exam.require(!verdict.is_approved, || format!("order {id} is rejected, but was approved"));
            }
            OrderEventType::Routed => {
                exam.require(verdict.is_approved, || format!("order {id} is routed, but was refused"));
            }
            OrderEventType::Created
            | OrderEventType::ChildUpdated
            | OrderEventType::CancelRequested
            | OrderEventType::CommandRefused
            | OrderEventType::Filled
            | OrderEventType::Cancelled
            | OrderEventType::Expired
            | OrderEventType::Amended
            | OrderEventType::Overfill
            | OrderEventType::Other
            | OrderEventType::Suspended
            | OrderEventType::Resumed
            | OrderEventType::Replaced
            | OrderEventType::ReplaceRequested => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;

    fn found(change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        risk_verdicts(&facts).violations
    }

    fn approved(facts: &mut Facts) -> &mut ValidatedOrder {
        facts.verdicts.iter_mut().map(|rec| &mut rec.value).find(|v| v.is_approved).unwrap()
    }

    fn refused(facts: &mut Facts) -> &mut ValidatedOrder {
        facts.verdicts.iter_mut().map(|rec| &mut rec.value).find(|v| !v.is_approved).unwrap()
    }

    #[test]
    fn verdicts_that_lack_something_or_are_not_followed_are_found() {
        assert_eq!(found(|_| {}), 0);
        assert_eq!(found(|f| f.verdicts.retain(|r| !r.value.is_approved)), 1);
        assert_eq!(found(|f| f.verdicts.push(f.verdicts[0].clone())), 1);
        assert_eq!(found(|f| f.accounts.clear()), 1);
        assert_eq!(found(|f| f.limits.clear()), 1);
        assert_eq!(found(|f| f.limits[0].value.restricted.push("ACME".into())), 1);
        assert!(found(|f| approved(f).validation_results[0].passed = false) >= 2);
        assert!(found(|f| approved(f).arrival = None) >= 2);
        assert!(found(|f| approved(f).quantity = "1".parse().unwrap()) == 1);
        assert!(found(|f| refused(f).validation_results.clear()) >= 2);
        assert!(found(|f| refused(f).reason_codes.clear()) == 1);
        assert!(found(|f| refused(f).is_approved = true) >= 3);
        assert!(found(|f| approved(f).is_approved = false) >= 2);
        let mut second = clean().accounts[0].clone();
        second.value.account_id = "A2".into();
        assert_eq!(found(|f| f.accounts.push(second)), 1, "two accounts of one portfolio");
        assert_eq!(
            found(|f| f.orders.retain(|r| r.value.event_type != OrderEventType::Created)),
            2,
            "verdicts on nothing"
        );
    }
}
