//! What the open children of a parent still hold of it.

use super::child::ChildState;
use crate::{NumberError, OrdStatus, Quantity};

/// What the children of a parent hold of its leaves, by why it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commitments {
    /// Accepted and working.
    pub working: Quantity,
    /// Approved or sent, not yet accepted.
    pub pending_new: Quantity,
    /// A replace is pending: the larger of old and new.
    pub pending_replace_max: Quantity,
    /// A cancel is pending: still held until it is confirmed.
    pub pending_cancel: Quantity,
    /// Nobody knows: held until somebody does.
    pub unknown: Quantity,
}

impl Commitments {
    /// What these children hold.
    ///
    /// # Errors
    /// Out of range.
    pub fn of<'a, I: IntoIterator<Item = &'a ChildState>>(children: I) -> Result<Self, NumberError> {
        let mut sum = Self::default();
        for child in children {
            let slot = match child.status() {
                OrdStatus::PendingNew => &mut sum.pending_new,
                OrdStatus::New | OrdStatus::PartiallyFilled | OrdStatus::Stopped | OrdStatus::Suspended => {
                    &mut sum.working
                }
                OrdStatus::PendingReplace => &mut sum.pending_replace_max,
                OrdStatus::PendingCancel => &mut sum.pending_cancel,
                OrdStatus::Unknown => &mut sum.unknown,
                OrdStatus::Filled
                | OrdStatus::DoneForDay
                | OrdStatus::Calculated
                | OrdStatus::Canceled
                | OrdStatus::Expired
                | OrdStatus::Rejected => continue,
            };
            *slot = slot.checked_add(child.held_qty())?;
        }
        Ok(sum)
    }

    /// All that is held.
    ///
    /// # Errors
    /// Out of range.
    pub fn total(&self) -> Result<Quantity, NumberError> {
        Quantity::sum([self.working, self.pending_new, self.pending_replace_max, self.pending_cancel, self.unknown])
    }
}

/// What a reroute or a completion may use (trading rule 4): the parent's leaves less working, pending new,
/// pending replace (the larger), pending cancel and unknown.
///
/// # Errors
/// [`NumberError::Negative`] when the children hold more than the parent has left, which
/// [`children_fit_parent`] forbids except after an overfill: route nothing and look.
pub fn available_to_route(parent_leaves: Quantity, held: &Commitments) -> Result<Quantity, NumberError> {
    parent_leaves.checked_sub(held.total()?)
}

/// Invariant: what the children hold is never more than the parent has left.
#[must_use]
pub fn children_fit_parent(parent_leaves: Quantity, held: &Commitments) -> bool {
    available_to_route(parent_leaves, held).is_ok()
}
