//! The accounts' parts of an order: what each was allocated and has filled, and whether its schedule has ended.
//!
//! Allocations, plans and reports come on topics of their own, in any order. An account is known from the first of them; the
//! order is settled when the allocations of all accounts are here, or the news that there are none, and the last plan of each.
//!
//! An account's order whose children were rejected may be taken over by another account. That it has ended is said when its
//! schedule has come to its end and no child of it is open, an Unknown one included; from then on the order does not end
//! before account-allocation has answered. Allocation reads the same topic in order, so it has read the question before any
//! cancel, and answers it unless another record about the account is under way to here, which changes what was asked.

use fillstream_core::error::Poison;
use fillstream_domain::order_state::ChildState;
use fillstream_domain::{NumberError, OrdStatus, PriceQuantitySum, Quantity, Rounding};
use fillstream_reference::ReferenceData;
use fillstream_schemas::execution::{AccountAllocation, AccountFigures, AllocationKind, OrderEventType};
use fillstream_schemas::state::{OmsAccount, OmsOrder};

use crate::child;
use crate::lifecycle::{Saying, Work, is_suspended, out_of_range};
use crate::parent::{product_of, sum_of};
use crate::reason::Reason;
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
    if let (Some(account_id), Some(kept)) = (&allocation.ended_account_id, allocation.ended_account_qty) {
        let ended = order.accounts.entry(account_id.clone()).or_default();
        (ended.ord_qty, ended.asked) = (kept, false);
    }
    match allocation.account_id.as_ref().filter(|_| allocation.kind != AllocationKind::None) {
        // Nobody takes anything: what other accounts have stays as it is.
        None => order.allocated = true,
        // It says what is left of what the account had.
        Some(account_id) if allocation.kind == AllocationKind::Reduction => {
            let account = order.accounts.entry(account_id.clone()).or_default();
            account.ord_qty = allocation.quantity;
            work_again(account);
        }
        Some(account_id) => {
            let is_new = order.accounts.get(account_id).is_none_or(|account| !account.allocated);
            let replaced_qty = replaced_before(order, allocation);
            let account = order.accounts.entry(account_id.clone()).or_default();
            account.allocated = true;
            work_again(account);
            account.ord_qty = match replaced_qty {
                Some(all) => all,
                None => account.ord_qty.checked_add(allocation.quantity)?,
            };
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

// All that one account has, of an order that was replaced before its allocation came.
fn replaced_before(order: &OmsOrder, allocation: &AccountAllocation) -> Option<Quantity> {
    let is_all = allocation.kind == AllocationKind::Primary && allocation.quantity == allocation.parent_qty;
    order.target_qty.filter(|_| is_all && allocation.revision == 1 && allocation.terms_revision < order.terms_revision)
}

// What was asked about it was about another quantity.
fn work_again(account: &mut OmsAccount) {
    (account.ended_code, account.asked) = (None, false);
}

/// Begins the schedules of a replaced order anew. A single account has all of it; what several have, allocations say.
pub(crate) fn replaced(order: &mut OmsOrder, ord_qty: Quantity) {
    let is_whole = order.accounts.len() == 1 && order.unallocated_code.is_none();
    // The schedule of an account that has failed stays where it ended.
    for account in order.accounts.values_mut().filter(|account| account.ended_code.is_none()) {
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
    let is_known = order.allocated && !awaits(order);
    order.settled = is_known && order.accounts.values().all(|account| account.settled);
    order.schedule_done = is_known && order.accounts.values().all(|account| account.schedule_done);
}

/// Whether account-allocation has not said yet whether another account takes over.
pub(crate) fn awaits(order: &OmsOrder) -> bool {
    order.accounts.values().any(|account| account.asked)
}

/// The account that the answer is about.
pub(crate) fn asked(order: &OmsOrder) -> Option<String> {
    order.accounts.iter().find(|(_, account)| account.asked).map(|(id, _)| id.clone())
}

/// Whether not even an order that is filled ends yet: of one whose account has failed, a late fill of that account can fill it
/// while slices of another are under way.
pub(crate) fn needs_proof(order: &OmsOrder) -> bool {
    !order.settled && order.accounts.values().any(|account| account.ended_code.is_some())
}

impl Work<'_, '_, '_> {
    /// Says of which accounts the order has ended because their children were rejected, where the portfolio has several: another
    /// one may take over (trading rule 27).
    pub(crate) fn tell_failed(&mut self) -> Result<(), Poison> {
        let order = &self.order;
        if !order.released || !order.allocated || is_suspended(order) {
            return Ok(());
        }
        let ended = |account: &OmsAccount| {
            account.schedule_done && account.ended_code.is_none() && account.fill_qty < account.ord_qty
        };
        let ended: Vec<String> = order.accounts.iter().filter(|(_, a)| ended(a)).map(|(id, _)| id.clone()).collect();
        if ended.is_empty() || !self.is_of_several_accounts() {
            return Ok(());
        }
        for account_id in ended {
            if !self.left_by_rejects(&account_id) {
                continue;
            }
            let Some(account) = self.order.accounts.get_mut(&account_id) else { continue };
            account.ended_code = Some(Reason::ChildrenRejected.as_str().to_owned());
            account.asked = true;
            let text = format!("{account_id} has filled {} of {}", account.fill_qty, account.ord_qty);
            note_schedules(&mut self.order);
            let saying = Saying { account: Some(account_id), ..Saying::because(Reason::ChildrenRejected, text) };
            self.event(OrderEventType::ChildUpdated, saying)?;
        }
        Ok(())
    }

    // A portfolio of one account has nobody to ask. Of the last one of several, what it leaves is with no account from then on.
    fn is_of_several_accounts(&self) -> bool {
        let accounts = self.fx.table::<ReferenceData>().map(|data| data.accounts_of(&self.order.portfolio_id));
        let is_another = |id: &str| !self.order.accounts.contains_key(id);
        self.order.accounts.len() > 1 || accounts.into_iter().flatten().any(|account| is_another(&account.account_id))
    }

    // Whether no child of the account is open, and what is left of its order was left by rejects. What earlier children left was
    // released again, so it was the last ones that left it. A child of former terms was replaced, not rejected.
    fn left_by_rejects(&self, account_id: &str) -> bool {
        let prefix = format!("{}/", self.order.order_id);
        let children = self.state.children.with_prefix(&prefix).map(|(_, child)| child);
        let mut ended = Vec::new();
        for child in children.filter(|child| child.account_id == account_id) {
            let Ok(state) = child::state(child) else { return false };
            if !state.status().is_terminal() || !state.held_qty().is_zero() {
                return false;
            }
            let rest = state.ord_qty().less_at_most(state.cum_qty());
            if rest.is_positive() && !child.is_stale {
                ended.push((child.slice_no, state.status() == OrdStatus::Rejected, rest));
            }
        }
        ended.sort_unstable();
        let account = self.order.accounts.get(account_id);
        let left = account.map_or(Quantity::ZERO, |account| account.ord_qty.less_at_most(account.fill_qty));
        let mut found = Quantity::ZERO;
        for (_, is_rejected, rest) in ended.into_iter().rev() {
            if found >= left {
                break;
            }
            if !is_rejected {
                return false;
            }
            // More than any quantity is more than what is left.
            found = found.checked_add(rest).unwrap_or(Quantity::MAX);
        }
        found.is_positive()
    }
}

/// The sum over an account's children after one went from `old` to `new`.
pub(crate) fn fill(
    order: &mut OmsOrder,
    account_id: &str,
    old: &ChildState,
    new: &ChildState,
) -> Result<(), NumberError> {
    let account = order.accounts.entry(account_id.to_owned()).or_default();
    let (was, is, before) = (old.fills(), new.fills(), fills(account));
    account.fill_qty = account.fill_qty.checked_add(is.quantity())?.checked_sub(was.quantity())?;
    if let Some(before) = before {
        let product = before.product().checked_add(is.product())?.checked_sub(was.product())?;
        account.fill_product = Some(product_of(PriceQuantitySum::from_parts(product, account.fill_qty)));
    }
    Ok(())
}

// All fills of an account; `None`: its first ones came before their prices were kept by account.
fn fills(account: &OmsAccount) -> Option<PriceQuantitySum> {
    match &account.fill_product {
        Some(product) => Some(sum_of(product, account.fill_qty)),
        None => account.fill_qty.is_zero().then_some(PriceQuantitySum::ZERO),
    }
}

/// The account's totals as an event shows them.
pub(crate) fn figures(order: &OmsOrder, account_id: &str) -> Option<AccountFigures> {
    let account = order.accounts.get(account_id)?;
    let OmsAccount { ord_qty, fill_qty, ended_code, .. } = account;
    let open = order.terminal.is_none();
    let leaves_qty = if open { ord_qty.less_at_most(*fill_qty) } else { Quantity::ZERO };
    Some(AccountFigures {
        account_id: account_id.to_owned(),
        ord_qty: *ord_qty,
        cum_qty: *fill_qty,
        leaves_qty,
        ended_code: ended_code.clone(),
        avg_px: fills(account).and_then(|fills| fills.avg(Rounding::HalfEven).ok().flatten()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::order_state::ChildEvent;
    use fillstream_schemas::state::OmsChild;

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
    fn an_account_whose_prices_were_not_kept_from_its_first_fill_has_no_average() {
        let child = |fills: &str| {
            let child = OmsChild { ord_qty: Quantity::ONE, ..OmsChild::default() };
            let (_, state) = child::routed(child).unwrap();
            let trade = ChildEvent::Trade { qty: fills.parse().unwrap(), px: "7".parse().unwrap() };
            child::apply(&state, &trade).unwrap()
        };
        let new = child("0.5");
        let (_, old) = child::routed(OmsChild { ord_qty: Quantity::ONE, ..OmsChild::default() }).unwrap();
        let mut order = OmsOrder::default();
        fill(&mut order, "A", &old, &new.state).unwrap();
        assert_eq!(figures(&order, "A").unwrap().avg_px, "7".parse().ok());
        let kept = OmsAccount { fill_qty: Quantity::ONE, ..OmsAccount::default() };
        order.accounts.insert("B".into(), kept);
        fill(&mut order, "B", &old, &new.state).unwrap();
        let account = figures(&order, "B").unwrap();
        assert_eq!((account.cum_qty, account.avg_px), ("1.5".parse().unwrap(), None));
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
