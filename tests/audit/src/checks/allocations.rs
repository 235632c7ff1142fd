//! How accounts share an order.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::execution::{AccountAllocation, AllocationKind, AllocationMode, OrderEvent, OrderEventType};
use fillstream_schemas::types::ExecType;

use crate::facts::{Facts, Rec};
use crate::num::text;
use crate::report::{Check, Exam};

/// Every approved order was allocated, and no other; at every prefix what is allocated and what is not are the order; each
/// account of a revision is there once, and none that was found ineligible has a share; slices are those of accounts with a
/// share, and no account fills more than its share unless an overfill was told, but by what children filled after their end. What was executed of a block is shared out
/// without a rest, none of it beyond an account's line.
pub(crate) fn allocations_add_up(facts: &Facts) -> Check {
    let mut exam = Exam::new("allocations_add_up");
    let mut allocations: BTreeMap<&str, Vec<&Rec<AccountAllocation>>> = BTreeMap::new();
    for rec in &facts.allocations {
        allocations.entry(&rec.value.order_id).or_default().push(rec);
    }
    let mut shares = BTreeMap::new();
    for verdict in
        facts.verdicts.iter().map(|rec| &rec.value).filter(|verdict| verdict.is_approved && verdict.revision == 0)
    {
        exam.saw();
        let id = verdict.order_id.as_str();
        let Some(mut found) = allocations.remove(id) else {
            exam.require(facts.under_way, || format!("approved order {id} was never allocated"));
            continue;
        };
        found.sort_by_key(|rec| (rec.partition, rec.offset));
        let (stated, found): (Vec<_>, Vec<_>) =
            found.into_iter().map(|rec| &rec.value).partition(|record| record.kind == AllocationKind::Statement);
        let is_block = found.iter().any(|record| record.mode == AllocationMode::Block);
        statements(id, is_block, &stated, facts, &mut exam);
        revisions(id, &found, &mut exam);
        for allocation in found {
            exam.require(allocation.revision > 1 || allocation.parent_qty == verdict.quantity, || {
                format!("order {id} of {} was allocated as {}", verdict.quantity, allocation.parent_qty)
            });
            // A reduction takes away from what is here already.
            if let Some(account) = allocation.account_id.as_ref().filter(|_| !reduces(allocation)) {
                *shares.entry((id, account.as_str())).or_insert(0) += allocation.quantity.unscaled();
            }
        }
    }
    for id in allocations.into_keys() {
        exam.fault(|| format!("an allocation of order {id}, which was never approved"));
    }
    for slice in facts.slices.iter().map(|rec| &rec.value) {
        exam.require(shares.contains_key(&(slice.order_id.as_str(), slice.account_id.as_str())), || {
            format!(
                "slice {} of order {} is for {}, which has no share",
                slice.slice_no, slice.order_id, slice.account_id
            )
        });
    }
    filled(facts, &shares, &mut exam);
    exam.done()
}

// Whether it says what is left of what the account had, not what it gets more.
fn reduces(allocation: &AccountAllocation) -> bool {
    allocation.kind == AllocationKind::Reduction
}

fn revisions(id: &str, found: &[&AccountAllocation], exam: &mut Exam) {
    let mut by_revision: BTreeMap<i32, Vec<&AccountAllocation>> = BTreeMap::new();
    for allocation in found {
        by_revision.entry(allocation.revision).or_default().push(allocation);
    }
    let mut held: BTreeMap<&str, i128> = BTreeMap::new();
    for (place, (revision, records)) in (1..).zip(by_revision) {
        exam.require(revision == place, || format!("revision {revision} of the allocation of {id} stands at {place}"));
        let accounts: BTreeSet<_> = records.iter().filter_map(|r| r.account_id.as_deref()).collect();
        let count = i32::try_from(accounts.len()).unwrap_or(i32::MAX);
        let mut numbers: Vec<i32> = records.iter().map(|r| r.account_no).collect();
        numbers.sort_unstable();
        let nobody = records.iter().all(|r| r.kind == AllocationKind::None && r.quantity.is_zero());
        let whole = numbers.iter().copied().eq(1..=count) && records.iter().all(|r| r.account_count == count);
        exam.require(whole || (nobody && count == 0 && records.len() == 1), || {
            format!("revision {revision} of the allocation of {id} has the accounts {accounts:?} as {numbers:?}")
        });
        for record in &records {
            if let (Some(account), Some(kept)) = (&record.ended_account_id, record.ended_account_qty) {
                held.insert(account, kept.unscaled());
            }
            let Some(account) = record.account_id.as_deref() else { continue };
            let share = held.entry(account).or_insert(0);
            *share = record.quantity.unscaled() + if reduces(record) { 0 } else { *share };
        }
        let allocated: i128 = held.values().sum();
        for record in records {
            let (stated, left) = (record.allocated_qty.unscaled(), record.unallocated_qty.unscaled());
            exam.require(stated == allocated && stated + left == record.parent_qty.unscaled(), || {
                let (stated, left) = (record.allocated_qty, record.unallocated_qty);
                format!(
                    "{id}: {stated} allocated (the shares are {}) and {left} not of {}",
                    text(allocated),
                    record.parent_qty
                )
            });
            exam.require(left == 0 || record.unallocated_code.is_some(), || format!("{id}: a rest without a reason"));
            let wrong = record.shares.iter().any(|s| !s.is_eligible && !s.quantity.is_zero());
            exam.require(!wrong, || format!("{id}: an account that is not eligible has a share"));
        }
    }
}

// Each statement of a block adds up; the last one is about what the order has filled in the end.
fn statements(id: &str, is_block: bool, stated: &[&AccountAllocation], facts: &Facts, exam: &mut Exam) {
    for (place, record) in (1..).zip(stated) {
        let no = record.statement_no;
        exam.require(no == place && is_block, || format!("statement {no} of {id} stands at {place}"));
        let filled = record.filled_qty.map_or(0, |quantity| quantity.unscaled());
        let unshared = record.unshared_qty.map_or(0, |quantity| quantity.unscaled());
        let shared: i128 = record.block_shares.iter().map(|share| share.filled_qty.unscaled()).sum();
        exam.require(shared + unshared == filled, || {
            format!("statement {no} of {id}: {} shared out, {} not, of {}", text(shared), text(unshared), text(filled))
        });
        let paid: i128 = record.block_shares.iter().map(|share| share.filled_notional.unscaled()).sum();
        let all = record.filled_notional.map_or(0, |notional| notional.unscaled());
        exam.require(unshared != 0 || paid == all, || format!("statement {no} of {id}: the amounts do not add up"));
        let beyond = record.block_shares.iter().any(|share| share.filled_qty > share.quantity);
        exam.require(!beyond, || format!("statement {no} of {id}: an account has more than its line"));
    }
    let events = facts.orders.iter().map(|rec| &rec.value).filter(|event| event.order_id == id);
    let Some(last) = events.max_by_key(|event| event.revision).filter(|_| is_block && !facts.under_way) else { return };
    let ended = facts.orders.iter().any(|rec| rec.value.order_id == id && rec.value.is_terminal);
    let filled = last.cum_qty.unscaled() + last.overfill_qty.unscaled();
    let said = stated.last().and_then(|record| record.filled_qty).map_or(0, |quantity| quantity.unscaled());
    exam.require(!ended || said == filled, || {
        format!("block {id} has filled {}, its last statement says {}", text(filled), text(said))
    });
}

// Fills of each account by the orders' own events; busts and corrections come with the totals.
fn filled(facts: &Facts, shares: &BTreeMap<(&str, &str), i128>, exam: &mut Exam) {
    // An overfill was told; what one account has of a replaced order grows with the order, without a record of its own.
    let more = |event: &OrderEvent| matches!(event.event_type, OrderEventType::Overfill | OrderEventType::Replaced);
    let orders = facts.orders.iter().map(|rec| &rec.value);
    let may_be_more: BTreeSet<&str> = orders.filter(|event| more(event)).map(|event| event.order_id.as_str()).collect();
    let late = late(facts);
    for event in facts.orders.iter().map(|rec| &rec.value) {
        let Some(account) = &event.account else { continue };
        let key = (event.order_id.as_str(), account.account_id.as_str());
        let share = shares.get(&key).copied().unwrap_or_default();
        let late = late.get(&key).copied().unwrap_or_default();
        let fits = account.cum_qty.unscaled() <= share + late || may_be_more.contains(event.order_id.as_str());
        exam.require(fits, || {
            format!("order {}: {} filled {} of {}", event.order_id, account.account_id, account.cum_qty, text(share))
        });
    }
}

/// What ends a child without a fill.
const ENDS: [ExecType; 4] = [ExecType::Canceled, ExecType::Expired, ExecType::Rejected, ExecType::DoneForDay];

// What was filled, by order and account, of children whose end had been told: it was released again meanwhile, so an account may
// come to more than its share by as much, without an overfill of the order.
fn late(facts: &Facts) -> BTreeMap<(&str, &str), i128> {
    let mut reports: Vec<_> = facts.reports.iter().collect();
    reports.sort_by_key(|rec| (rec.partition, rec.offset));
    let (mut ended, mut seen, mut late) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for report in reports.into_iter().map(|rec| &rec.value) {
        let child = (report.order_id.as_str(), report.cl_ord_id.as_str());
        if report.exec_type == ExecType::Trade {
            if ended.contains(&child) && seen.insert((child, report.exec_id.as_str())) {
                let sum = late.entry((report.order_id.as_str(), report.account_id.as_str())).or_insert(0_i128);
                *sum += report.last_qty.map_or(0, |quantity| quantity.unscaled());
            }
        } else if ENDS.contains(&report.exec_type) {
            ended.insert(child);
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{clean, num};
    use fillstream_schemas::execution::{AccountFigures, BlockShare};

    fn of(change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        allocations_add_up(&facts).violations
    }

    // Order O1 as a block for two accounts, with the statement of what it filled.
    fn block() -> Facts {
        let mut facts = clean();
        let last = facts.orders.iter().map(|rec| &rec.value).filter(|event| event.order_id == "O1");
        let last = last.max_by_key(|event| event.revision).unwrap().clone();
        let filled = last.cum_qty.checked_add(last.overfill_qty).unwrap();
        let mut stated = facts.allocations[0].clone();
        facts.allocations[0].value.mode = AllocationMode::Block;
        let share = BlockShare {
            account_id: "M1".into(),
            quantity: filled,
            filled_qty: filled,
            filled_notional: last.filled_notional,
            ..BlockShare::default()
        };
        let rest = BlockShare { account_id: "M2".into(), quantity: num("1"), ..BlockShare::default() };
        stated.offset += 1;
        stated.value = AccountAllocation {
            kind: AllocationKind::Statement,
            mode: AllocationMode::Block,
            account_id: None,
            statement_no: 1,
            filled_qty: Some(filled),
            filled_notional: Some(last.filled_notional),
            block_shares: vec![share, rest],
            ..stated.value
        };
        facts.allocations.push(stated);
        facts
    }

    #[test]
    fn a_block_is_shared_out_without_a_rest() {
        let of = |change: fn(&mut AccountAllocation)| {
            let mut facts = block();
            change(&mut facts.allocations.last_mut().unwrap().value);
            allocations_add_up(&facts).violations
        };
        assert_eq!(of(|_| ()), 0);
        assert_eq!(of(|s| s.statement_no = 2), 1, "the first is missing");
        assert_eq!(of(|s| s.block_shares[1].filled_qty = num("1")), 1, "more than was filled");
        assert_eq!(of(|s| s.block_shares[0].quantity = num("1")), 1, "beyond its line");
        assert_eq!(of(|s| s.filled_notional = Some(num("1"))), 1, "amounts");
        assert_eq!(of(|s| s.filled_qty = None), 2, "not what was filled");
        let mut facts = block();
        facts.allocations.pop();
        assert_eq!(allocations_add_up(&facts).violations, 1, "no statement");
    }

    #[test]
    fn each_break_is_found() {
        assert_eq!(of(|_| ()), 0);
        assert!(of(|f| f.allocations.clear()) > 0, "never allocated");
        assert_eq!(of(|f| f.allocations[0].value.unallocated_qty = num("1")), 2, "does not add up, and says no reason");
        assert_eq!(of(|f| f.allocations[0].value.account_no = 2), 1, "not the first");
        assert_eq!(of(|f| f.slices[0].value.account_id = "A9".into()), 1, "a slice for somebody else");
        assert_eq!(of(|f| f.allocations[0].value.shares[0].is_eligible = false), 1, "not eligible");
        assert_eq!(of(|f| f.allocations[0].value.order_id = "O3".into()), 4, "of an order that was refused");
    }

    #[test]
    fn an_account_may_come_to_more_than_its_share_by_what_was_filled_late() {
        let mut facts = clean();
        let allocation = facts.allocations[0].value.clone();
        let event = facts.orders.iter_mut().rev().find(|rec| rec.value.order_id == allocation.order_id).unwrap();
        event.value.account = Some(AccountFigures {
            account_id: allocation.account_id.clone().unwrap(),
            cum_qty: allocation.quantity.checked_add(num("1")).unwrap(),
            ..AccountFigures::default()
        });
        assert_eq!(allocations_add_up(&facts).violations, 1);
        let of = facts.reports.iter().find(|rec| rec.value.order_id == allocation.order_id).unwrap().clone();
        let mut report = |exec_type, exec_id: &str| {
            let mut rec = of.clone();
            rec.offset += 1_000 + i64::try_from(facts.reports.len()).unwrap();
            (rec.value.exec_type, rec.value.exec_id) = (exec_type, exec_id.to_owned());
            (rec.value.last_qty, rec.value.account_id) = (Some(num("1")), allocation.account_id.clone().unwrap());
            facts.reports.push(rec);
            allocations_add_up(&facts).violations
        };
        assert_eq!(report(ExecType::Trade, "before"), 1, "while it was open");
        assert_eq!(report(ExecType::Canceled, "end"), 1);
        assert_eq!(report(ExecType::Trade, "after"), 0);
    }

    #[test]
    fn a_late_fill_that_is_said_twice_counts_once() {
        let mut facts = clean();
        let of = facts.reports[0].clone();
        for exec_type in [ExecType::Canceled, ExecType::Trade, ExecType::Trade] {
            let mut rec = of.clone();
            rec.offset += 1_000 + i64::try_from(facts.reports.len()).unwrap();
            (rec.value.exec_type, rec.value.last_qty) = (exec_type, Some(num("1")));
            facts.reports.push(rec);
        }
        let one = facts.reports.last().unwrap().value.last_qty.unwrap().unscaled();
        assert_eq!(late(&facts).into_values().collect::<Vec<_>>(), [one]);
    }
}
