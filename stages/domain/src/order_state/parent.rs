//! A parent order: a small table, derived from the figures of its children.
//!
//! ```text
//!                     Rejected
//! PENDING_RISK ------------------> REJECTED
//!      | Released                                all filled, nothing held, no replace pending
//!      v                  a fill                        +-------------> FILLED
//!   WORKING --------------------> PARTIALLY_FILLED -----+
//!      |                                 |
//!      | CancelRequested, Expired        |         nothing held       CANCELLED, or
//!      +---------------------------------+--> CANCEL_PENDING -------> EXPIRED, or FILLED
//!
//! any working state --- Suspended ---------> SUSPENDED ------- Resumed ------------------> what it was, with its fills
//! any working state --- ReplaceRequested --> REPLACE_PENDING - Replaced, ReplaceRefused --> what it was | FILLED
//! ```
//!
//! The status is the fact of the highest precedence: an end, then CANCEL_PENDING, REPLACE_PENDING, SUSPENDED. A cancel or
//! expiry answers a pending replace: it wins. While a replace is pending the order does not end as filled, for more may be
//! ordered; what crosses a replace wins over it (ordered = the larger of new and filled).
//!
//! A parent ends exactly once, and only when no child holds anything: an unknown child keeps it open.
//! What fills, busts or corrections say afterwards amends its figures; its status stays, and it never
//! ends a second time (trading rules 1 and 2).

use crate::{NumberError, ParentStatus, PriceQuantitySum, Quantity};

/// How a parent ends when its children have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Winding {
    Cancel,
    Expiry,
}

/// A parent order. Cum, leaves and cancelled are derived and cannot disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParentState {
    pub(super) ord_qty: Quantity,
    pub(super) fills: PriceQuantitySum,
    pub(super) held: Quantity,
    pub(super) released: bool,
    pub(super) suspended: bool,
    /// Quantity that a pending replace asks for.
    pub(super) replacing: Option<Quantity>,
    pub(super) winding: Option<Winding>,
    pub(super) terminal: Option<ParentStatus>,
}

/// What happens to a parent order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParentEvent {
    /// Risk has passed it.
    Released,
    /// Validation or risk has refused it.
    Rejected,
    /// Somebody wants it cancelled.
    CancelRequested,
    /// Its time is over.
    Expired,
    /// Somebody wants nothing more released.
    Suspended,
    /// Somebody wants it to go on.
    Resumed,
    /// Somebody wants other terms; risk is asked.
    ReplaceRequested {
        /// Quantity asked for.
        qty: Quantity,
    },
    /// Risk has passed the other terms: they are in force.
    Replaced,
    /// The other terms were refused: the old ones stay.
    ReplaceRefused,
    /// Its children's sums have changed.
    Children {
        /// All fills of all children, net of busts.
        fills: PriceQuantitySum,
        /// What open children hold, pending and unknown ones included.
        held: Quantity,
    },
}

/// What a transition did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParentChange {
    /// Nothing: said twice, or too late to matter.
    None,
    /// The order goes on with new figures.
    Progress,
    /// The order has ended: its one terminal event.
    Terminal,
    /// An order that had ended has new figures: revision n + 1.
    Amendment,
}

/// A parent order after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentTransition {
    /// The order after the event.
    pub state: ParentState,
    /// The status before.
    pub from: ParentStatus,
    /// The status after.
    pub to: ParentStatus,
    /// What the event did.
    pub change: ParentChange,
    /// How much more than ordered is filled than before: alarm, book, count apart.
    pub overfilled: Quantity,
}

/// An event that does not fit a parent order: nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event does not fit a parent order that is {from}")]
pub struct IllegalParentTransition {
    /// The status of the order.
    pub from: ParentStatus,
    /// The event.
    pub event: ParentEvent,
    /// What is wrong.
    #[source]
    pub cause: ParentCause,
}

/// What is wrong with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParentCause {
    /// The state does not allow it.
    #[error("the state does not allow it")]
    Status,
    /// Children of an order that was never released.
    #[error("the order was not released")]
    NotReleased,
    /// A replace by less than is filled, or by nothing.
    #[error("less is asked for than is filled")]
    BelowFilled,
}

impl ParentState {
    /// A validated order, waiting for risk.
    ///
    /// # Errors
    /// The quantity is zero.
    pub const fn new(ord_qty: Quantity) -> Result<Self, NumberError> {
        if ord_qty.is_zero() {
            return Err(NumberError::NotPositive { name: "OrderQty" });
        }
        Ok(Self {
            ord_qty,
            fills: PriceQuantitySum::ZERO,
            held: Quantity::ZERO,
            released: false,
            suspended: false,
            replacing: None,
            winding: None,
            terminal: None,
        })
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> ParentStatus {
        match (self.terminal, self.winding) {
            (Some(status), _) => status,
            (None, Some(_)) => ParentStatus::CancelPending,
            (None, None) if !self.released => ParentStatus::PendingRisk,
            (None, None) if self.replacing.is_some() => ParentStatus::ReplacePending,
            (None, None) if self.suspended => ParentStatus::Suspended,
            (None, None) if self.fills.quantity().is_positive() => ParentStatus::PartiallyFilled,
            (None, None) => ParentStatus::Working,
        }
    }

    /// What is ordered.
    #[must_use]
    pub const fn ord_qty(&self) -> Quantity {
        self.ord_qty
    }

    /// What is filled of the quantity ordered.
    #[must_use]
    pub fn cum_qty(&self) -> Quantity {
        self.fills.quantity().min(self.ord_qty)
    }

    /// What is filled beyond the quantity ordered.
    #[must_use]
    pub fn overfill_qty(&self) -> Quantity {
        self.fills.quantity().less_at_most(self.ord_qty)
    }

    /// What may still be filled.
    #[must_use]
    pub fn leaves_qty(&self) -> Quantity {
        if self.terminal.is_some() { Quantity::ZERO } else { self.ord_qty.less_at_most(self.fills.quantity()) }
    }

    /// What ended without a fill.
    #[must_use]
    pub fn cancelled_qty(&self) -> Quantity {
        if self.terminal.is_some() { self.ord_qty.less_at_most(self.fills.quantity()) } else { Quantity::ZERO }
    }

    /// What open children hold.
    #[must_use]
    pub const fn held_qty(&self) -> Quantity {
        self.held
    }

    /// All fills with their prices, an overfill included.
    #[must_use]
    pub const fn fills(&self) -> PriceQuantitySum {
        self.fills
    }

    /// Whether nothing more is to be released until it is resumed.
    #[must_use]
    pub const fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Starts to end the order. A pending replace is answered by it.
    fn wind(&mut self, winding: Winding) {
        (self.winding, self.replacing) = (Some(winding), None);
    }

    /// Puts the terms of the pending replace in force. What was filled while it was pending wins.
    fn replace(&mut self) {
        if let Some(qty) = self.replacing.take() {
            self.ord_qty = qty.max(self.cum_qty());
        }
    }

    /// Ends the order if nothing keeps it open.
    fn end_if_done(&mut self) {
        if self.terminal.is_some() || self.held.is_positive() || self.replacing.is_some() {
            return;
        }
        self.terminal = if self.fills.quantity() >= self.ord_qty {
            Some(ParentStatus::Filled)
        } else {
            self.winding.map(|winding| match winding {
                Winding::Cancel => ParentStatus::Cancelled,
                Winding::Expiry => ParentStatus::Expired,
            })
        };
    }
}

/// What an event makes of a parent order.
///
/// # Errors
/// The event does not fit; the order stays as it is.
pub fn parent_transition(
    before: &ParentState,
    event: &ParentEvent,
) -> Result<ParentTransition, IllegalParentTransition> {
    use ParentStatus::{CancelPending, Cancelled, Expired, Filled, PartiallyFilled};
    use ParentStatus::{PendingRisk, Rejected, ReplacePending, Suspended, Working};
    let from = before.status();
    let illegal = |cause| IllegalParentTransition { from, event: *event, cause };
    let refused = Err(illegal(ParentCause::Status));
    let mut state = *before;
    match *event {
        ParentEvent::Released => match from {
            PendingRisk => state.released = true,
            Working | PartiallyFilled | Suspended | ReplacePending | CancelPending => return refused,
            Filled | Cancelled | Rejected | Expired => return refused,
        },
        ParentEvent::Rejected => match from {
            PendingRisk => state.terminal = Some(Rejected),
            Working | PartiallyFilled | Suspended | ReplacePending | CancelPending => return refused,
            Filled | Cancelled | Rejected | Expired => return refused,
        },
        ParentEvent::CancelRequested => match from {
            PendingRisk | Working | PartiallyFilled | Suspended | ReplacePending => state.wind(Winding::Cancel),
            CancelPending | Filled | Cancelled | Rejected | Expired => {}
        },
        ParentEvent::Expired => match from {
            PendingRisk | Working | PartiallyFilled | Suspended | ReplacePending => state.wind(Winding::Expiry),
            CancelPending | Filled | Cancelled | Rejected | Expired => {}
        },
        ParentEvent::Suspended => match from {
            Working | PartiallyFilled | ReplacePending => state.suspended = true,
            Suspended => {}
            PendingRisk | CancelPending | Filled | Cancelled | Rejected | Expired => return refused,
        },
        ParentEvent::Resumed => match from {
            Suspended | ReplacePending => state.suspended = false,
            Working | PartiallyFilled => {}
            PendingRisk | CancelPending | Filled | Cancelled | Rejected | Expired => return refused,
        },
        ParentEvent::ReplaceRequested { qty } => match from {
            Working | PartiallyFilled | Suspended if qty.is_zero() || qty < before.cum_qty() => {
                return Err(illegal(ParentCause::BelowFilled));
            }
            Working | PartiallyFilled | Suspended => state.replacing = Some(qty),
            PendingRisk | ReplacePending | CancelPending | Filled | Cancelled | Rejected | Expired => return refused,
        },
        ParentEvent::Replaced => match from {
            ReplacePending => state.replace(),
            PendingRisk | Working | PartiallyFilled | Suspended => return refused,
            CancelPending | Filled | Cancelled | Rejected | Expired => return refused,
        },
        ParentEvent::ReplaceRefused => match from {
            ReplacePending => state.replacing = None,
            // Answered already, by the end that won over it.
            CancelPending | Filled | Cancelled | Expired => {}
            PendingRisk | Working | PartiallyFilled | Suspended | Rejected => return refused,
        },
        ParentEvent::Children { fills, held } => match from {
            PendingRisk | Rejected => return Err(illegal(ParentCause::NotReleased)),
            Working | PartiallyFilled | Suspended | ReplacePending => (state.fills, state.held) = (fills, held),
            CancelPending | Filled | Cancelled | Expired => (state.fills, state.held) = (fills, held),
        },
    }
    state.end_if_done();
    let change = match (before.terminal, state.terminal) {
        _ if state == *before => ParentChange::None,
        (None, None) => ParentChange::Progress,
        (None, Some(_)) => ParentChange::Terminal,
        // A child that works again after its parent's end is cancelled; it does not reopen the parent.
        (Some(_), _) if state.fills == before.fills => ParentChange::None,
        (Some(_), _) => ParentChange::Amendment,
    };
    let overfilled = state.overfill_qty().less_at_most(before.overfill_qty());
    Ok(ParentTransition { state, from, to: state.status(), change, overfilled })
}

/// Invariant: ordered = cum + leaves + cancelled.
#[must_use]
pub fn parent_quantities_balance(state: &ParentState) -> bool {
    Quantity::sum([state.cum_qty(), state.leaves_qty(), state.cancelled_qty()]) == Ok(state.ord_qty())
}
