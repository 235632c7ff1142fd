//! Another account takes over what an account order left, and what happens when the first one is filled after all.
//!
//! What is needed to know that an account order has ended (from order-management, which alone books children): its
//! account, what was filled of it, what is left with no open child, why (the last children were rejected, or it was
//! cancelled, or its time was over), and whether a child of it is Unknown. [`Ended`] is that, in the words of this stage.

use fillstream_domain::{NumberError, Quantity, Rounding};
use fillstream_schemas::state::{AllocationOrder, AllocationPart};

use crate::config::{Policy, Rule};
use crate::eligibility::{Asked, Excluded, Standing};
use crate::reason::{Exclusion, Unallocated};
use crate::rules::{Measure, Outcome, Share, candidate};

/// Why an account order works no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its children were rejected.
    Rejected,
    /// It was cancelled, with its parent or by a command.
    Cancelled,
    /// Its time was over.
    Expired,
}

/// An account order that works no more.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Account.
    pub account_id: &'a str,
    /// Filled of it.
    pub filled_qty: Quantity,
    /// Why it ended.
    pub cause: Cause,
    /// Whether a child of it is Unknown: it may still be filled.
    pub has_unknown: bool,
}

/// What follows from the end of an account order.
#[derive(Clone, Debug)]
pub struct Takeover<'a> {
    /// The order from now on.
    pub order: AllocationOrder,
    /// Every account, the one that takes over with its quantity; nobody may.
    pub outcome: Outcome<'a>,
}

/// Lets another account take over: one that has had no share of the order and is eligible now, for 95 % (by the policy)
/// of what is left, at once. The rest is unallocated.
///
/// `None` where nothing changes: the account order is filled, failed before, or is none; it did not end by rejects; the
/// order is stopped; or a child is Unknown, which blocks it.
///
/// # Errors
/// A figure is out of range.
pub fn fallback<'a>(
    order: &AllocationOrder,
    ended: &Ended<'_>,
    asked: &Asked,
    standings: Vec<Standing<'a>>,
    policy: &Policy,
) -> Result<Option<Takeover<'a>>, NumberError> {
    let failed = order.parts.iter().find(|part| part.account_id == ended.account_id && !part.has_failed);
    let left = failed.map_or(Quantity::ZERO, |part| part.quantity.less_at_most(ended.filled_qty));
    if left.is_zero() || ended.has_unknown || ended.cause != Cause::Rejected || order.is_stopped {
        return Ok(None);
    }
    let wanted = left.share(policy.fallback_size, Rounding::Floor)?.floor_to_lot(asked.lot)?;
    let asked = Asked { quantity: wanted, ..*asked };
    let measure = if asked.is_reducing() { Measure::Holdings } else { Measure::Rule(Rule::Priority) };
    let mut standings = standings;
    standings.sort_by(|a, b| a.account.account_id.cmp(&b.account.account_id));
    let share = |standing: Standing<'a>| -> Result<Share<'a>, NumberError> {
        let is_used = order.parts.iter().any(|part| part.account_id == standing.account.account_id);
        let mut share = candidate(standing, &asked, policy, measure)?;
        if is_used {
            share.excluded = Some(Excluded::new(Exclusion::AlreadyUsed, "it has or had a share of this order"));
        }
        Ok(share)
    };
    let mut shares = standings.into_iter().map(share).collect::<Result<Vec<_>, _>>()?;
    let taken = choose(&asked, &mut shares);
    let mut after = order.clone();
    if let Some(part) = after.parts.iter_mut().find(|part| part.account_id == ended.account_id) {
        (part.quantity, part.leaves_qty, part.has_failed) = (ended.filled_qty, Quantity::ZERO, true);
    }
    after.parts.extend(shares.iter().filter(|share| share.quantity.is_positive()).map(part));
    after.revision = after.revision.saturating_add(1);
    after.unallocated_qty = after.unallocated_qty.checked_add(left.checked_sub(taken)?)?;
    let code = if taken.is_positive() { Unallocated::FallbackReduced } else { Unallocated::NoEligibleAccount };
    let code = after.unallocated_qty.is_positive().then_some(code);
    after.unallocated_code = code.map(|code| code.as_str().to_owned());
    let outcome = Outcome { measure, shares, unallocated: after.unallocated_qty, code };
    Ok(Some(Takeover { order: after, outcome }))
}

// The first account by priority and id that can take all of it, else the one that can take most. Gives what it takes.
fn choose(asked: &Asked, shares: &mut [Share<'_>]) -> Quantity {
    let most = |share: &Share<'_>| share.cap.map_or(asked.quantity, |cap| cap.min(asked.quantity));
    let least = asked.minimum.min(asked.quantity);
    let able = |share: &Share<'_>| share.excluded.is_none() && most(share).is_positive() && most(share) >= least;
    let place = |n: usize, share: &Share<'_>| {
        (std::cmp::Reverse(most(share)), share.standing.account.priority.unwrap_or(i32::MAX), n)
    };
    let best = shares.iter().enumerate().filter(|(_, s)| able(s)).min_by_key(|(n, s)| place(*n, s)).map(|(n, _)| n);
    let mut taken = Quantity::ZERO;
    for (n, share) in shares.iter_mut().enumerate() {
        if Some(n) == best {
            taken = most(share);
            (share.rule_qty, share.quantity) = (asked.quantity, taken);
        } else if share.excluded.is_none() {
            share.excluded = Some(if able(share) {
                Excluded::new(Exclusion::NotChosen, "another account takes over")
            } else {
                Excluded::new(Exclusion::BelowMinimum, format!("it can take {}", most(share)))
            });
        }
    }
    taken
}

/// What an account has of an order at the start.
pub(crate) fn part(share: &Share<'_>) -> AllocationPart {
    AllocationPart {
        account_id: share.standing.account.account_id.clone(),
        quantity: share.quantity,
        account_rate: share.standing.rate,
        leaves_qty: share.quantity,
        ..AllocationPart::default()
    }
}

/// A working account order that must be reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Account.
    pub account_id: String,
    /// What is left of its order.
    pub quantity: Quantity,
}

/// What follows from a fill of an account order that has failed before: nothing is allocated twice. The fill is taken
/// from what is unallocated, then from what the accounts that took over have not filled, the last one first. What even
/// they have filled is an overfill: it is booked where it is, and allocated to nobody.
///
/// `None` where nothing changes.
///
/// # Errors
/// Out of range.
pub fn late_fill(
    order: &AllocationOrder,
    account_id: &str,
    filled_qty: Quantity,
) -> Result<Option<(AllocationOrder, Vec<Cut>)>, NumberError> {
    let mut after = order.clone();
    let failed = after.parts.iter().position(|part| part.account_id == account_id && part.has_failed);
    let Some(n) = failed else { return Ok(None) };
    let before = after.parts.get(n).map_or(Quantity::ZERO, |part| part.quantity);
    let late = filled_qty.less_at_most(before);
    let free = late.min(after.unallocated_qty);
    after.unallocated_qty = after.unallocated_qty.checked_sub(free)?;
    if after.unallocated_qty.is_zero() {
        after.unallocated_code = None;
    }
    let (mut found, mut cuts) = (free, Vec::new());
    for part in after.parts.iter_mut().rev().filter(|part| !part.has_failed) {
        let cut = late.checked_sub(found)?.min(part.leaves_qty);
        if cut.is_positive() {
            part.quantity = part.quantity.checked_sub(cut)?;
            part.leaves_qty = part.leaves_qty.checked_sub(cut)?;
            found = found.checked_add(cut)?;
            cuts.push(Cut { account_id: part.account_id.clone(), quantity: part.quantity });
        }
    }
    if found.is_zero() {
        return Ok(None);
    }
    if let Some(part) = after.parts.get_mut(n) {
        part.quantity = part.quantity.checked_add(found)?;
    }
    after.revision = after.revision.saturating_add(1);
    Ok(Some((after, cuts)))
}
