//! What follows from an event of an order that was allocated: another account takes over, a late fill takes from who took
//! over, a replace gives more or takes away.

use fillstream_domain::{NumberError, Quantity};
use fillstream_schemas::execution::{AccountAllocation, AccountFigures, AllocationKind, OrderEvent, OrderEventType};
use fillstream_schemas::state::AllocationOrder;

use crate::event::{Occasion, records, reductions};
use crate::fallback::{Cause, Cut, Ended, Takeover, fallback, late_fill, part};
use crate::reason::Unallocated;
use crate::shares::{Claim, pro_rata};
use crate::{AccountAllocator, Fx, State, decide};
use fillstream_reference::ReferenceData;

/// The code with which order-management says that an account's order ended by rejects.
pub const CHILDREN_REJECTED: &str = "CHILDREN_REJECTED";

impl AccountAllocator {
    /// Gives the records to be written; their event ids are left out.
    pub(crate) fn follow(
        &self,
        order: &mut AllocationOrder,
        event: &OrderEvent,
        state: &mut State,
        fx: &Fx<'_>,
    ) -> Result<Vec<AccountAllocation>, NumberError> {
        let mut written = Vec::new();
        if let Some(figures) = &event.account {
            written.extend(late(order, figures, fx)?);
        }
        if let Some(figures) = event.account.as_ref().filter(|_| event.event_type == OrderEventType::CancelRequested) {
            written.extend(give_up(order, figures, fx)?);
        }
        if event.is_terminal || order.is_stopped {
            return Ok(written);
        }
        if event.ord_qty != order.parent_qty {
            written.extend(self.resize(order, event.ord_qty, state, fx)?);
        }
        if let Some(figures) = &event.account {
            written.extend(self.take_over(order, figures, state, fx)?);
        }
        Ok(written)
    }

    fn take_over(
        &self,
        order: &mut AllocationOrder,
        figures: &AccountFigures,
        state: &mut State,
        fx: &Fx<'_>,
    ) -> Result<Vec<AccountAllocation>, NumberError> {
        if !is_current(order, figures) {
            return Ok(Vec::new());
        }
        let ended = Ended {
            account_id: &figures.account_id,
            filled_qty: figures.cum_qty,
            cause: Cause::Rejected,
            // The code stands in an event only when no child is.
            has_unknown: false,
        };
        let policy = self.config.policy_of(&order.portfolio_id);
        let asked = decide::asked(order, instrument(order, fx))?;
        let standings = decide::candidates(order, &asked, policy, state, fx)?;
        let Some(Takeover { order: after, outcome }) = fallback(order, &ended, &asked, standings, policy)? else {
            return Ok(Vec::new());
        };
        *order = after;
        let cause = format!("the children of {} were rejected, {} filled", figures.account_id, figures.cum_qty);
        let kept = Some((figures.account_id.as_str(), figures.cum_qty));
        records(&Occasion { order, kind: AllocationKind::Fallback, now: fx.now(), cause: &cause, kept }, &outcome)
    }

    // A replaced order. That of a single account is all its, and nothing is written about it.
    fn resize(
        &self,
        order: &mut AllocationOrder,
        ord_qty: Quantity,
        state: &mut State,
        fx: &Fx<'_>,
    ) -> Result<Vec<AccountAllocation>, NumberError> {
        let before = order.parent_qty;
        let more = ord_qty.less_at_most(before);
        if let [only] = order.parts.as_mut_slice()
            && order.unallocated_qty.is_zero()
            && order.block_account_id.is_none()
        {
            order.parent_qty = ord_qty;
            (only.quantity, only.leaves_qty) = (ord_qty, ord_qty.less_at_most(only.filled_qty));
            return Ok(Vec::new());
        }
        if more.is_zero() {
            let cuts = shrink(order, ord_qty)?;
            let cause = format!("the order was replaced from {before} to {ord_qty}");
            if order.parent_qty == before {
                return Ok(Vec::new());
            }
            let kind = AllocationKind::Reduction;
            return reductions(&Occasion { order, kind, now: fx.now(), cause: &cause, kept: None }, &cuts);
        }
        let asked = decide::asked(order, instrument(order, fx))?;
        let asked = crate::eligibility::Asked { quantity: more, ..asked };
        let policy = self.config.policy_of(&order.portfolio_id);
        let outcome = decide::outcome(order, &asked, policy, state, fx)?;
        order.parent_qty = ord_qty;
        order.revision = order.revision.saturating_add(1);
        order.unallocated_qty = order.unallocated_qty.checked_add(outcome.unallocated)?;
        if let Some(code) = outcome.code {
            order.unallocated_code = Some(code.as_str().to_owned());
        }
        for share in outcome.shares.iter().filter(|share| share.quantity.is_positive()) {
            let new = part(share);
            match order.parts.iter_mut().find(|part| part.account_id == new.account_id && !part.has_failed) {
                Some(part) => {
                    part.quantity = part.quantity.checked_add(new.quantity)?;
                    part.leaves_qty = part.leaves_qty.checked_add(new.quantity)?;
                }
                None => order.parts.push(new),
            }
        }
        let cause = format!("the order was replaced from {before} to {ord_qty}: {more} more");
        let kind = AllocationKind::Primary;
        records(&Occasion { order, kind, now: fx.now(), cause: &cause, kept: None }, &outcome)
    }
}

// Whether an account's order has ended by rejects, and as it is known here. Another quantity than here is that of before a
// record which is under way to order-management: it makes the account work again, or asks anew.
fn is_current(order: &AllocationOrder, figures: &AccountFigures) -> bool {
    let part = order.parts.iter().find(|part| part.account_id == figures.account_id);
    figures.ended_code.as_deref() == Some(CHILDREN_REJECTED)
        && part.is_some_and(|part| part.quantity == figures.ord_qty)
}

// An order that is being ended, whose end waits for an answer that was lost: nobody takes over any more.
fn give_up(
    order: &mut AllocationOrder,
    figures: &AccountFigures,
    fx: &Fx<'_>,
) -> Result<Vec<AccountAllocation>, NumberError> {
    let asked = figures.ended_code.as_deref() == Some(CHILDREN_REJECTED);
    let part = order.parts.iter_mut().find(|part| part.account_id == figures.account_id);
    let Some(part) = part.filter(|_| asked) else { return Ok(Vec::new()) };
    let left = part.quantity.less_at_most(figures.cum_qty);
    if !part.has_failed && left.is_positive() {
        order.unallocated_qty = order.unallocated_qty.checked_add(left)?;
        order.unallocated_code = Some(Unallocated::NoEligibleAccount.as_str().to_owned());
        part.quantity = part.quantity.checked_sub(left)?;
    }
    (part.leaves_qty, part.has_failed) = (Quantity::ZERO, true);
    let kept = part.quantity;
    order.revision = order.revision.saturating_add(1);
    let cause = format!("{} ended with {} filled, and the order is being ended", figures.account_id, figures.cum_qty);
    let kept = Some((figures.account_id.as_str(), kept));
    reductions(&Occasion { order, kind: AllocationKind::Reduction, now: fx.now(), cause: &cause, kept }, &[])
}

fn late(
    order: &mut AllocationOrder,
    figures: &AccountFigures,
    fx: &Fx<'_>,
) -> Result<Vec<AccountAllocation>, NumberError> {
    let Some((after, cuts)) = late_fill(order, &figures.account_id, figures.cum_qty)? else { return Ok(Vec::new()) };
    *order = after;
    let cause = format!("{} was filled late, {} in all", figures.account_id, figures.cum_qty);
    let part = order.parts.iter().find(|part| part.account_id == figures.account_id);
    let kept = part.map(|part| (figures.account_id.as_str(), part.quantity));
    reductions(&Occasion { order, kind: AllocationKind::Reduction, now: fx.now(), cause: &cause, kept }, &cuts)
}

// Takes what a smaller order has no room for: first from what nobody has, then pro rata to what is not filled.
fn shrink(order: &mut AllocationOrder, ord_qty: Quantity) -> Result<Vec<Cut>, NumberError> {
    let over = order.parent_qty.checked_sub(ord_qty)?;
    let free = over.min(order.unallocated_qty);
    order.unallocated_qty = order.unallocated_qty.checked_sub(free)?;
    if order.unallocated_qty.is_zero() {
        order.unallocated_code = None;
    }
    let lot = order.terms.lot_size;
    let lots = |quantity: Quantity| quantity.unscaled() / lot.unscaled().max(1);
    let claim = |leaves: Quantity| Claim { weight: leaves.unscaled(), cap: Some(lots(leaves)) };
    let claims: Vec<Claim> = order.parts.iter().map(|part| claim(part.leaves_qty)).collect();
    let mut cuts = Vec::new();
    let mut cut = free;
    for (part, lots) in order.parts.iter_mut().zip(pro_rata(lots(over.checked_sub(free)?), &claims)?) {
        let less = crate::rules::quantity(lots, lot)?;
        if less.is_positive() {
            part.quantity = part.quantity.checked_sub(less)?;
            part.leaves_qty = part.leaves_qty.checked_sub(less)?;
            cut = cut.checked_add(less)?;
            cuts.push(Cut { account_id: part.account_id.clone(), quantity: part.quantity });
        }
    }
    // What was filled stays: the order is as large as its accounts are.
    order.parent_qty = order.parent_qty.checked_sub(cut)?;
    order.revision = order.revision.saturating_add(i32::from(cut.is_positive()));
    Ok(cuts)
}

fn instrument<'a>(order: &AllocationOrder, fx: &Fx<'a>) -> Option<&'a fillstream_schemas::reference::Instrument> {
    fx.table::<ReferenceData>().and_then(|data| data.instrument(&order.instrument_id))
}
