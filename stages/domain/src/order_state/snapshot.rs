//! Orders as plain fields: what a store keeps and a restore reads back.

use super::child::{ChildState, Ending, Progress, Terms};
use super::parent::{ParentState, Winding};
use crate::{OrdStatus, ParentStatus, Price, PriceQuantitySum, Quantity};

/// Every fact of a [`ChildState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildSnapshot {
    /// OrderQty.
    pub ord_qty: Quantity,
    /// Limit price.
    pub limit_px: Option<Price>,
    /// All fills, an overfill included.
    pub fills: PriceQuantitySum,
    /// Quantity busted whose leaves did not come back.
    pub withdrawn: Quantity,
    /// Whether an intent to send was committed.
    pub sent: bool,
    /// Whether the counterparty has accepted the order.
    pub accepted: bool,
    /// Cancels not yet decided.
    pub pending_cancels: u32,
    /// OrderQty and limit price of a replace not yet decided.
    pub pending_replace: Option<(Quantity, Option<Price>)>,
    /// Done for this session.
    pub done_for_day: bool,
    /// Settlement figures worked out.
    pub calculated: bool,
    /// A trade is guaranteed.
    pub stopped: bool,
    /// Not eligible for trading for now.
    pub suspended: bool,
    /// Nobody can say what became of it.
    pub unknown: bool,
    /// How it ended for good: CANCELED, EXPIRED or REJECTED.
    pub ended: Option<OrdStatus>,
}

/// Every fact of a [`ParentState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentSnapshot {
    /// What is ordered.
    pub ord_qty: Quantity,
    /// All fills, an overfill included.
    pub fills: PriceQuantitySum,
    /// What open children hold.
    pub held: Quantity,
    /// Whether risk has passed it.
    pub released: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Quantity that a pending replace asks for.
    pub replacing: Option<Quantity>,
    /// What it ends as when its children have: CANCELLED or EXPIRED.
    pub winding: Option<ParentStatus>,
    /// What it ended as.
    pub terminal: Option<ParentStatus>,
}

/// Stored fields that no order ever had: the store is damaged or of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored order has an impossible {field}")]
pub struct ImpossibleSnapshot {
    /// The field.
    pub field: &'static str,
}

impl ChildState {
    /// The order as plain fields.
    #[must_use]
    pub fn snapshot(&self) -> ChildSnapshot {
        ChildSnapshot {
            ord_qty: self.terms.qty,
            limit_px: self.terms.px,
            fills: self.fills,
            withdrawn: self.withdrawn,
            sent: self.progress >= Progress::Sent,
            accepted: self.progress == Progress::Accepted,
            pending_cancels: self.pending_cancels,
            pending_replace: self.pending_replace.map(|asked| (asked.qty, asked.px)),
            done_for_day: self.done_for_day,
            calculated: self.calculated,
            stopped: self.stopped,
            suspended: self.suspended,
            unknown: self.unknown,
            ended: self.ended.map(|ending| match ending {
                Ending::Canceled => OrdStatus::Canceled,
                Ending::Expired => OrdStatus::Expired,
                Ending::Rejected => OrdStatus::Rejected,
            }),
        }
    }

    /// The order of plain fields.
    ///
    /// # Errors
    /// The fields contradict one another.
    pub fn from_snapshot(stored: &ChildSnapshot) -> Result<Self, ImpossibleSnapshot> {
        let ended = match stored.ended {
            None => None,
            Some(OrdStatus::Canceled) => Some(Ending::Canceled),
            Some(OrdStatus::Expired) => Some(Ending::Expired),
            Some(OrdStatus::Rejected) => Some(Ending::Rejected),
            Some(
                OrdStatus::PendingNew
                | OrdStatus::New
                | OrdStatus::PartiallyFilled
                | OrdStatus::Filled
                | OrdStatus::DoneForDay
                | OrdStatus::PendingCancel
                | OrdStatus::Stopped
                | OrdStatus::Suspended
                | OrdStatus::Calculated
                | OrdStatus::PendingReplace
                | OrdStatus::Unknown,
            ) => return Err(ImpossibleSnapshot { field: "ended" }),
        };
        let progress = match (stored.sent, stored.accepted) {
            (false, false) => Progress::Approved,
            (true, false) => Progress::Sent,
            (true, true) => Progress::Accepted,
            (false, true) => return Err(ImpossibleSnapshot { field: "accepted" }),
        };
        if stored.ord_qty.is_zero() {
            return Err(ImpossibleSnapshot { field: "ord_qty" });
        }
        if stored.withdrawn > stored.ord_qty.less_at_most(stored.fills.quantity()) {
            return Err(ImpossibleSnapshot { field: "withdrawn" });
        }
        Ok(Self {
            terms: Terms { qty: stored.ord_qty, px: stored.limit_px },
            fills: stored.fills,
            withdrawn: stored.withdrawn,
            progress,
            pending_cancels: stored.pending_cancels,
            pending_replace: stored.pending_replace.map(|(qty, px)| Terms { qty, px }),
            done_for_day: stored.done_for_day,
            calculated: stored.calculated,
            stopped: stored.stopped,
            suspended: stored.suspended,
            unknown: stored.unknown,
            ended,
        })
    }
}

impl ParentState {
    /// The order as plain fields.
    #[must_use]
    pub fn snapshot(&self) -> ParentSnapshot {
        ParentSnapshot {
            ord_qty: self.ord_qty,
            fills: self.fills,
            held: self.held,
            released: self.released,
            suspended: self.suspended,
            replacing: self.replacing,
            winding: self.winding.map(|winding| match winding {
                Winding::Cancel => ParentStatus::Cancelled,
                Winding::Expiry => ParentStatus::Expired,
            }),
            terminal: self.terminal,
        }
    }

    /// The order of plain fields.
    ///
    /// # Errors
    /// The fields contradict one another.
    pub fn from_snapshot(stored: &ParentSnapshot) -> Result<Self, ImpossibleSnapshot> {
        let winding = match stored.winding {
            None => None,
            Some(ParentStatus::Cancelled) => Some(Winding::Cancel),
            Some(ParentStatus::Expired) => Some(Winding::Expiry),
            Some(
                ParentStatus::PendingRisk
                | ParentStatus::Working
                | ParentStatus::PartiallyFilled
                | ParentStatus::Suspended
                | ParentStatus::ReplacePending
                | ParentStatus::CancelPending
                | ParentStatus::Filled
                | ParentStatus::Rejected,
            ) => return Err(ImpossibleSnapshot { field: "winding" }),
        };
        if stored.terminal.is_some_and(|status| !status.is_terminal()) {
            return Err(ImpossibleSnapshot { field: "terminal" });
        }
        if stored.ord_qty.is_zero() {
            return Err(ImpossibleSnapshot { field: "ord_qty" });
        }
        if stored.replacing.is_some_and(|qty| qty.is_zero() || stored.terminal.is_some() || winding.is_some()) {
            return Err(ImpossibleSnapshot { field: "replacing" });
        }
        let ParentSnapshot { ord_qty, fills, held, released, suspended, replacing, winding: _, terminal } = *stored;
        Ok(Self { ord_qty, fills, held, released, suspended, replacing, winding, terminal })
    }
}
