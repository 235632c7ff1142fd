//! A child order: what a counterparty says of it, FIX 4.4 Appendix D.
//!
//! The status is never stored. It is the highest of the facts known, in Appendix D's precedence: an order
//! that is cancelled, was partly filled and has a cancel pending *is* all of that, and reports the first:
//!
//! ```text
//! UNKNOWN (ours) > PENDING_CANCEL 12 > PENDING_REPLACE 11 > DONE_FOR_DAY 10 > CALCULATED 9 > FILLED 8
//!   > STOPPED 7 > SUSPENDED 6 > CANCELED, EXPIRED 5 > PARTIALLY_FILLED 4 > NEW, PENDING_NEW, REJECTED 2
//!
//!                 SendIntent            PendingNew, New                Trade            Trade
//! (risk passed) ------------> PENDING_NEW -----------> NEW ------------> PARTIALLY_FILLED -----> FILLED
//!                                  |                    |                       |                  |
//!                     Rejected     |                    |  Canceled, Expired    |                  | bust that
//!                  REJECTED <------+--------------------+-----------------------+                  | returns leaves
//!                                                       v                       v                  v
//!                                               CANCELED | EXPIRED  (late fill: cum up,      PARTIALLY_FILLED
//!                                                                    cancelled down)
//!
//! any working state --- CancelRequested ---> PENDING_CANCEL --- CancelRejected ---> what it was, with its fills
//! working, FILLED ------ ReplaceRequested --> PENDING_REPLACE -- Replaced, ReplaceRejected --> working | FILLED
//! any working state --- Stopped, Suspended, DoneForDay, Calculated ---> that; Restated brings a rested one back
//! any open state ------ Unknown ---> UNKNOWN --- any report of its state, UnknownResolved ---> what that says
//! ```
//!
//! Which event means something in which status is the table [`rule`]; what it does is [`transition`].

use super::event::{ChildEvent, IllegalCause, IllegalTransition, Resolution, Transition};
use super::rule::{ChildEventKind, Rule, rule};
use crate::{NumberError, OrdStatus, Price, PriceQuantitySum, Quantity};

/// How an order ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    Canceled,
    Expired,
    Rejected,
}

/// The terms that a replace asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    pub(super) qty: Quantity,
    pub(super) px: Option<Price>,
}

/// How far a new order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Progress {
    Approved,
    Sent,
    Accepted,
}

/// A child order. Leaves, closed quantity and status are derived from it and cannot disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChildState {
    pub(super) terms: Terms,
    pub(super) fills: PriceQuantitySum,
    /// Quantity busted whose leaves did not come back.
    pub(super) withdrawn: Quantity,
    pub(super) progress: Progress,
    pub(super) pending_cancels: u32,
    pub(super) pending_replace: Option<Terms>,
    pub(super) done_for_day: bool,
    pub(super) calculated: bool,
    pub(super) stopped: bool,
    pub(super) suspended: bool,
    pub(super) unknown: bool,
    pub(super) ended: Option<Ending>,
}

impl ChildState {
    /// A child order that risk has passed, not yet sent.
    ///
    /// # Errors
    /// The quantity is zero.
    pub const fn approved(qty: Quantity, px: Option<Price>) -> Result<Self, NumberError> {
        if qty.is_zero() {
            return Err(NumberError::NotPositive { name: "OrderQty" });
        }
        Ok(Self {
            terms: Terms { qty, px },
            fills: PriceQuantitySum::ZERO,
            withdrawn: Quantity::ZERO,
            progress: Progress::Approved,
            pending_cancels: 0,
            pending_replace: None,
            done_for_day: false,
            calculated: false,
            stopped: false,
            suspended: false,
            unknown: false,
            ended: None,
        })
    }

    /// OrdStatus: the fact of the highest precedence.
    #[must_use]
    pub fn status(&self) -> OrdStatus {
        let filled = self.fills.quantity();
        if self.unknown {
            OrdStatus::Unknown
        } else if self.pending_cancels > 0 {
            OrdStatus::PendingCancel
        } else if self.pending_replace.is_some() {
            OrdStatus::PendingReplace
        } else if self.done_for_day {
            OrdStatus::DoneForDay
        } else if self.calculated {
            OrdStatus::Calculated
        } else if filled >= self.terms.qty {
            OrdStatus::Filled
        } else if self.stopped && self.ending().is_none() {
            OrdStatus::Stopped
        } else if self.suspended && self.ending().is_none() {
            OrdStatus::Suspended
        } else {
            match self.ending() {
                Some(Ending::Canceled) => OrdStatus::Canceled,
                Some(Ending::Expired) => OrdStatus::Expired,
                Some(Ending::Rejected) => OrdStatus::Rejected,
                None if filled.is_positive() => OrdStatus::PartiallyFilled,
                None if self.progress == Progress::Accepted => OrdStatus::New,
                None => OrdStatus::PendingNew,
            }
        }
    }

    /// OrderQty: what is ordered now, after replaces.
    #[must_use]
    pub const fn ord_qty(&self) -> Quantity {
        self.terms.qty
    }

    /// The limit price now.
    #[must_use]
    pub const fn limit_px(&self) -> Option<Price> {
        self.terms.px
    }

    /// CumQty: what is filled of the quantity ordered. What is filled beyond is [`Self::overfill_qty`].
    #[must_use]
    pub fn cum_qty(&self) -> Quantity {
        self.fills.quantity().min(self.terms.qty)
    }

    /// What is filled beyond the quantity ordered.
    #[must_use]
    pub fn overfill_qty(&self) -> Quantity {
        self.fills.quantity().less_at_most(self.terms.qty)
    }

    /// All fills with their prices, an overfill included: the sum behind AvgPx.
    #[must_use]
    pub const fn fills(&self) -> PriceQuantitySum {
        self.fills
    }

    /// LeavesQty: what may still be filled.
    #[must_use]
    pub fn leaves_qty(&self) -> Quantity {
        if self.rests() { Quantity::ZERO } else { self.unfilled().less_at_most(self.withdrawn) }
    }

    /// What will not be filled any more: cancelled, expired, refused, done for the day, or busted for good.
    #[must_use]
    pub fn closed_qty(&self) -> Quantity {
        self.unfilled().less_at_most(self.leaves_qty())
    }

    /// The most this order can still add to the position: leaves, or those of a pending replace where
    /// they are larger (trading rule 16: a reservation is the larger of old and new).
    #[must_use]
    pub fn held_qty(&self) -> Quantity {
        let leaves = self.leaves_qty();
        match self.pending_replace {
            Some(asked) if !self.rests() => leaves.max(asked.qty.less_at_most(self.fills.quantity())),
            Some(_) | None => leaves,
        }
    }

    /// Whether an intent to send was committed.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.progress >= Progress::Sent
    }

    /// Whether a cancel is not yet decided.
    #[must_use]
    pub const fn is_cancel_pending(&self) -> bool {
        self.pending_cancels > 0
    }

    /// Whether a replace is not yet decided.
    #[must_use]
    pub const fn is_replace_pending(&self) -> bool {
        self.pending_replace.is_some()
    }

    /// Whether nothing is working at the counterparty, for this session at least.
    const fn rests(&self) -> bool {
        self.ended.is_some() || self.done_for_day || self.calculated
    }

    /// How the order ended, if it has: also when busts took away all that was left to work.
    fn ending(&self) -> Option<Ending> {
        let out = self.withdrawn.is_positive() && self.withdrawn == self.unfilled();
        self.ended.or(if out { Some(Ending::Canceled) } else { None })
    }

    /// For reports that contradict an end already known, which a later status may hide.
    fn not_ended_otherwise(&self, ending: Option<Ending>) -> Result<(), IllegalCause> {
        if self.ended.is_none() || self.ended == ending { Ok(()) } else { Err(IllegalCause::Status) }
    }

    fn unfilled(&self) -> Quantity {
        self.terms.qty.less_at_most(self.fills.quantity())
    }

    /// The counterparty has told where the order stands.
    fn heard_of(&mut self) {
        self.unknown = false;
        self.progress = Progress::Accepted;
    }

    fn end(&mut self, ending: Ending) {
        // A final end settles what was pending or only for the session.
        *self = Self {
            unknown: false,
            pending_cancels: 0,
            pending_replace: None,
            done_for_day: false,
            calculated: false,
            stopped: false,
            suspended: false,
            ended: Some(ending),
            ..*self
        };
    }

    fn book(&mut self, qty: Quantity, px: Price) -> Result<(), IllegalCause> {
        if qty.is_zero() {
            return Err(IllegalCause::ZeroQuantity);
        }
        self.fills = self.fills.add(px, qty)?;
        self.withdrawn = self.withdrawn.min(self.unfilled());
        // What was refused and is filled nevertheless was no refusal: the rest is cancelled.
        if self.ended == Some(Ending::Rejected) {
            self.ended = Some(Ending::Canceled);
        }
        Ok(())
    }

    fn unbook(&mut self, qty: Quantity, px: Price) -> Result<(), IllegalCause> {
        if qty.is_zero() {
            return Err(IllegalCause::ZeroQuantity);
        }
        if qty > self.fills.quantity() {
            return Err(IllegalCause::NoSuchFill);
        }
        self.fills = self.fills.remove(px, qty)?;
        if self.fills.quantity().is_zero() && !self.fills.product().is_zero() {
            return Err(IllegalCause::NoSuchFill);
        }
        Ok(())
    }

    /// After a bust: the quantity lost since `before` comes back to leaves only if the report says so.
    fn settle_bust(&mut self, before: &Self, leaves_return: bool) -> Result<(), IllegalCause> {
        if leaves_return {
            return Ok(());
        }
        let lost = self.unfilled().less_at_most(before.unfilled());
        self.withdrawn = self.withdrawn.checked_add(lost)?;
        Ok(())
    }

    /// New terms. A quantity below what is filled means: no more than that (Appendix D).
    fn amend(&mut self, qty: Quantity, px: Option<Price>) -> Result<(), IllegalCause> {
        if qty.is_zero() && self.fills.quantity().is_zero() {
            return Err(IllegalCause::ZeroQuantity);
        }
        // An overfill stays one: what was filled beyond the old quantity is not thereby ordered.
        self.terms = Terms { qty: qty.max(self.cum_qty()), px };
        self.withdrawn = Quantity::ZERO;
        Ok(())
    }
}

/// What an event makes of a child order.
///
/// # Errors
/// The event contradicts what is known; the order stays as it is, and somebody must look.
pub fn transition(before: &ChildState, event: &ChildEvent) -> Result<Transition, IllegalTransition> {
    let from = before.status();
    let illegal = |cause| IllegalTransition { from, event: event.kind(), cause };
    let state = match rule(from, event.kind()) {
        Rule::Apply => apply(before, event).map_err(illegal)?,
        Rule::Ignore => *before,
        Rule::Refuse => return Err(illegal(IllegalCause::Status)),
    };
    let amends =
        matches!(event.kind(), ChildEventKind::Trade | ChildEventKind::TradeCancel | ChildEventKind::TradeCorrect);
    Ok(Transition {
        state,
        from,
        to: state.status(),
        changed: state != *before,
        late: amends && from.is_terminal(),
        overfilled: state.overfill_qty().less_at_most(before.overfill_qty()),
    })
}

fn apply(before: &ChildState, event: &ChildEvent) -> Result<ChildState, IllegalCause> {
    let mut after = *before;
    match *event {
        ChildEvent::SendIntent => {
            if before.is_sent() {
                return Err(IllegalCause::SentBefore);
            }
            after.progress = Progress::Sent;
        }
        ChildEvent::PendingNew => {
            after.unknown = false;
            after.progress = before.progress.max(Progress::Sent);
        }
        ChildEvent::New => {
            after.heard_of();
            after.suspended = false;
        }
        ChildEvent::Trade { qty, px } => {
            after.heard_of();
            after.book(qty, px)?;
        }
        ChildEvent::Canceled => {
            before.not_ended_otherwise(Some(Ending::Canceled))?;
            after.end(Ending::Canceled);
        }
        ChildEvent::Expired => {
            before.not_ended_otherwise(Some(Ending::Expired))?;
            after.end(Ending::Expired);
        }
        ChildEvent::Rejected => {
            if before.fills.quantity().is_positive() {
                return Err(IllegalCause::HasFills);
            }
            after.end(Ending::Rejected);
        }
        ChildEvent::DoneForDay => {
            before.not_ended_otherwise(None)?;
            after.heard_of();
            after.done_for_day = true;
        }
        ChildEvent::Calculated => {
            after.heard_of();
            after.calculated = true;
        }
        ChildEvent::Stopped => {
            after.heard_of();
            after.stopped = true;
        }
        ChildEvent::Suspended => {
            after.heard_of();
            after.suspended = true;
        }
        ChildEvent::Restated { qty, px } => {
            before.not_ended_otherwise(None)?;
            after.heard_of();
            after.amend(qty, px)?;
            (after.done_for_day, after.calculated, after.suspended) = (false, false, false);
        }
        ChildEvent::CancelRequested => {
            after.pending_cancels = before.pending_cancels.checked_add(1).ok_or(NumberError::Overflow)?;
        }
        ChildEvent::PendingCancel => {
            after.unknown = false;
            after.pending_cancels = before.pending_cancels.max(1);
        }
        ChildEvent::CancelRejected => {
            // It says that a request failed, not where the order stands: an unknown order stays unknown.
            after.pending_cancels = before.pending_cancels.checked_sub(1).ok_or(IllegalCause::NoCancelPending)?;
        }
        ChildEvent::ReplaceRequested { qty, px } => {
            if qty.is_zero() {
                return Err(IllegalCause::ZeroQuantity);
            }
            if before.status() == OrdStatus::Filled && qty <= before.fills.quantity() {
                return Err(IllegalCause::Status);
            }
            after.pending_replace = Some(Terms { qty, px });
        }
        ChildEvent::PendingReplace => {
            before.pending_replace.ok_or(IllegalCause::NoReplacePending)?;
            after.unknown = false;
        }
        ChildEvent::Replaced { qty, px } => {
            before.pending_replace.ok_or(IllegalCause::NoReplacePending)?;
            after.heard_of();
            after.pending_replace = None;
            after.amend(qty, px)?;
        }
        ChildEvent::ReplaceRejected => {
            before.pending_replace.ok_or(IllegalCause::NoReplacePending)?;
            after.pending_replace = None;
        }
        ChildEvent::TradeCancel { qty, px, leaves_return } => {
            after.unbook(qty, px)?;
            after.settle_bust(before, leaves_return)?;
        }
        ChildEvent::TradeCorrect { old_qty, old_px, qty, px, leaves_return } => {
            after.unbook(old_qty, old_px)?;
            after.book(qty, px)?;
            after.settle_bust(before, leaves_return)?;
        }
        ChildEvent::Unknown => after.unknown = true,
        ChildEvent::UnknownResolved(resolution) => match resolution {
            Resolution::Working => after.heard_of(),
            Resolution::Canceled => after.end(Ending::Canceled),
            Resolution::Expired => after.end(Ending::Expired),
            Resolution::NeverArrived if before.fills.quantity().is_positive() => return Err(IllegalCause::HasFills),
            Resolution::NeverArrived => after.end(Ending::Rejected),
        },
    }
    Ok(after)
}

/// Invariant: ordered = cum + leaves + closed.
#[must_use]
pub fn child_quantities_balance(state: &ChildState) -> bool {
    Quantity::sum([state.cum_qty(), state.leaves_qty(), state.closed_qty()]) == Ok(state.ord_qty())
}
