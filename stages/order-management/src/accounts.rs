//! The accounts' parts of an order: what each was allocated and has filled, and whether its schedule has ended.
//!
//! Allocations, plans and reports come on topics of their own, in any order. An account is known from the first of them; the
//! order is settled when the allocations of all accounts are here, or the news that there are none, and the last plan of each.

use fillstream_core::error::Poison;
use fillstream_domain::order_state::ChildState;
use fillstream_domain::{NumberError, Quantity};
use fillstream_schemas::execution::{AccountAllocation, AccountFigures, AllocationKind};
use fillstream_schemas::state::{OmsAccount, OmsOrder};

use crate::lifecycle::{Work, out_of_range};
use crate::{Fx, OrderManagement, State};

impl OrderManagement {
    pub(crate) fn on_allocation(
        &self,
        allocation: &AccountAllocation,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let mut work = Work::of(&self.config, state, fx, ("allocation", &allocation.order_id))?;
        allocate(&mut work.order, allocation).map_err(out_of_range)?;
        work.conclude()
    }
}

fn allocate(order: &mut OmsOrder, allocation: &AccountAllocation) -> Result<(), NumberError> {
    // They come in order; one that is not later is a repeat.
    let place = (allocation.revision, allocation.account_no);
    if place <= (order.allocation_revision, order.allocation_no) {
        return Ok(());
    }
    (order.allocation_revision, order.allocation_no) = place;
    order.unallocated_code.clone_from(&allocation.unallocated_code);
    match allocation.account_id.as_ref().filter(|_| allocation.kind != AllocationKind::None) {
        // Nobody takes anything: what other accounts have stays as it is.
        None => order.allocated = true,
        // It says what is left of what the account had.
        Some(account_id) if allocation.kind == AllocationKind::Reduction => {
            order.accounts.entry(account_id.clone()).or_default().ord_qty = allocation.quantity;
        }
        Some(account_id) => {
            let is_new = order.accounts.get(account_id).is_none_or(|account| !account.allocated);
            let account = order.accounts.entry(account_id.clone()).or_default();
            account.allocated = true;
            account.ord_qty = account.ord_qty.checked_add(allocation.quantity)?;
            if !is_new {
                // More to work. Where the plan that ends it was quicker, a reminder asks for it again.
                (account.settled, account.schedule_done) = (false, false);
            }
            // Records of a revision come in order: the last one completes it.
            order.allocated = allocation.account_no >= allocation.account_count;
        }
    }
    note_schedules(order);
    Ok(())
}

/// Begins the schedules of a replaced order anew. A single account has all of it; what several have, allocations say.
pub(crate) fn replaced(order: &mut OmsOrder, ord_qty: Quantity) {
    let is_whole = order.accounts.len() == 1 && order.unallocated_code.is_none();
    for account in order.accounts.values_mut() {
        (account.settled, account.schedule_done) = (false, false);
        if is_whole {
            account.ord_qty = ord_qty;
        }
    }
    note_schedules(order);
}

/// Takes in that the last plan of an account's schedule is here, and whether it routed everything.
pub(crate) fn settle(order: &mut OmsOrder, account_id: &str, all_routed: bool) {
    let account = order.accounts.entry(account_id.to_owned()).or_default();
    account.settled = true;
    account.schedule_done |= all_routed;
    note_schedules(order);
}

// Of no account at all nothing is under way, and nothing follows.
fn note_schedules(order: &mut OmsOrder) {
    order.settled = order.allocated && order.accounts.values().all(|account| account.settled);
    order.schedule_done = order.allocated && order.accounts.values().all(|account| account.schedule_done);
}

/// The sum over an account's children after one went from `old` to `new`.
pub(crate) fn fill(
    order: &mut OmsOrder,
    account_id: &str,
    old: &ChildState,
    new: &ChildState,
) -> Result<(), NumberError> {
    let account = order.accounts.entry(account_id.to_owned()).or_default();
    account.fill_qty = account.fill_qty.checked_add(new.fills().quantity())?.checked_sub(old.fills().quantity())?;
    Ok(())
}

/// The account's totals as an event shows them.
pub(crate) fn figures(order: &OmsOrder, account_id: &str) -> Option<AccountFigures> {
    let OmsAccount { ord_qty, fill_qty, .. } = order.accounts.get(account_id)?;
    let open = order.terminal.is_none();
    let leaves_qty = if open { ord_qty.less_at_most(*fill_qty) } else { Quantity::ZERO };
    Some(AccountFigures {
        account_id: account_id.to_owned(),
        ord_qty: *ord_qty,
        cum_qty: *fill_qty,
        leaves_qty,
        ended_code: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(account: Option<&str>, no: i32, count: i32) -> AccountAllocation {
        AccountAllocation {
            account_id: account.map(str::to_owned),
            kind: if account.is_some() { AllocationKind::Primary } else { AllocationKind::None },
            revision: 1,
            account_no: no,
            account_count: count,
            quantity: Quantity::ONE,
            unallocated_code: account.is_none().then(|| "NO_ELIGIBLE_ACCOUNT".to_owned()),
            ..AccountAllocation::default()
        }
    }

    fn second(allocation: AccountAllocation) -> AccountAllocation {
        AccountAllocation { revision: 2, ..allocation }
    }

    #[test]
    fn an_order_is_settled_when_the_last_plan_of_every_account_is_here() {
        let mut order = OmsOrder::default();
        // The plan of B comes before any allocation.
        settle(&mut order, "B", true);
        assert!(!order.settled);
        allocate(&mut order, &share(Some("A"), 1, 2)).unwrap();
        allocate(&mut order, &share(Some("B"), 2, 2)).unwrap();
        assert_eq!((order.allocated, order.settled), (true, false));
        settle(&mut order, "A", false);
        assert_eq!((order.settled, order.schedule_done), (true, false));
    }

    #[test]
    fn an_order_that_nobody_takes_is_settled_at_once() {
        let mut order = OmsOrder::default();
        allocate(&mut order, &share(None, 0, 0)).unwrap();
        assert_eq!((order.settled, order.schedule_done), (true, true));
        assert_eq!(order.unallocated_code.as_deref(), Some("NO_ELIGIBLE_ACCOUNT"));
    }

    #[test]
    fn an_account_that_gets_more_is_no_further_account() {
        let mut order = OmsOrder::default();
        allocate(&mut order, &share(Some("A"), 1, 1)).unwrap();
        allocate(&mut order, &share(Some("A"), 1, 1)).unwrap();
        assert_eq!(figures(&order, "A").unwrap().ord_qty, Quantity::ONE, "a repeat");
        allocate(&mut order, &second(share(Some("A"), 1, 2))).unwrap();
        assert!(!order.allocated);
        allocate(&mut order, &second(share(Some("B"), 2, 2))).unwrap();
        assert!(order.allocated);
        assert_eq!(figures(&order, "A").unwrap().ord_qty, "2".parse().unwrap());
    }

    #[test]
    fn a_reduction_says_what_is_left_and_opens_nothing() {
        let mut order = OmsOrder::default();
        allocate(&mut order, &AccountAllocation { quantity: Quantity::MAX, ..share(Some("A"), 1, 1) }).unwrap();
        settle(&mut order, "A", true);
        let reduced = AccountAllocation { kind: AllocationKind::Reduction, ..second(share(Some("A"), 1, 1)) };
        allocate(&mut order, &reduced).unwrap();
        assert!(order.settled);
        assert_eq!(figures(&order, "A").unwrap().ord_qty, Quantity::ONE);
    }

    #[test]
    fn a_replaced_order_is_settled_by_its_new_schedule() {
        let mut order = OmsOrder::default();
        allocate(&mut order, &share(Some("A"), 1, 1)).unwrap();
        settle(&mut order, "A", true);
        replaced(&mut order, "7".parse().unwrap());
        assert_eq!((order.settled, order.schedule_done), (false, false));
        assert_eq!(figures(&order, "A").unwrap().ord_qty, "7".parse().unwrap());
    }

    #[test]
    fn a_later_allocation_opens_the_order_again() {
        let mut order = OmsOrder::default();
        allocate(&mut order, &share(Some("A"), 1, 1)).unwrap();
        settle(&mut order, "A", true);
        assert!(order.settled);
        allocate(&mut order, &second(share(Some("C"), 1, 1))).unwrap();
        assert_eq!((order.allocated, order.settled), (true, false));
        assert_eq!(figures(&order, "C").unwrap().leaves_qty, Quantity::ONE);
    }
}
