//! What happens to a child order, and what comes of it.

use super::child::ChildState;
use super::rule::ChildEventKind;
use crate::{NumberError, OrdStatus, Price, Quantity};

/// What happens to a child order. Quantities are those of the event, not sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildEvent {
    /// The gateway has committed the intent to send.
    SendIntent,
    /// Received by the counterparty.
    PendingNew,
    /// Accepted by the counterparty.
    New,
    /// A fill.
    Trade {
        /// LastQty.
        qty: Quantity,
        /// LastPx.
        px: Price,
    },
    /// Cancelled, asked for or not.
    Canceled,
    /// Refused.
    Rejected,
    /// Its time in force is over.
    Expired,
    /// Done for this session.
    DoneForDay,
    /// A trade is guaranteed.
    Stopped,
    /// Not eligible for trading for now.
    Suspended,
    /// Settlement figures worked out.
    Calculated,
    /// Changed by the counterparty without a request; brings a good-till-cancel order back after a session.
    Restated {
        /// OrderQty from now on.
        qty: Quantity,
        /// Limit price from now on.
        px: Option<Price>,
    },
    /// We ask to cancel.
    CancelRequested,
    /// The counterparty has a cancel to decide on.
    PendingCancel,
    /// A cancel was refused.
    CancelRejected,
    /// We ask to replace.
    ReplaceRequested {
        /// OrderQty asked for.
        qty: Quantity,
        /// Limit price asked for.
        px: Option<Price>,
    },
    /// The counterparty has our replace to decide on.
    PendingReplace,
    /// A replace took effect.
    Replaced {
        /// OrderQty from now on.
        qty: Quantity,
        /// Limit price from now on.
        px: Option<Price>,
    },
    /// A replace was refused.
    ReplaceRejected,
    /// A fill was taken back.
    TradeCancel {
        /// Quantity of the fill.
        qty: Quantity,
        /// Its price.
        px: Price,
        /// Whether the report gives the quantity back to leaves.
        leaves_return: bool,
    },
    /// A fill was corrected.
    TradeCorrect {
        /// Quantity of the fill as first reported.
        old_qty: Quantity,
        /// Its price as first reported.
        old_px: Price,
        /// The right quantity.
        qty: Quantity,
        /// The right price.
        px: Price,
        /// Whether the report gives a lost quantity back to leaves.
        leaves_return: bool,
    },
    /// Nobody can say what became of the order. Never followed by anything on a timer.
    Unknown,
    /// Reconciliation or a person has found out.
    UnknownResolved(Resolution),
}

/// What became of an order that was unknown. Fills found are `Trade` events before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// It never reached the counterparty.
    NeverArrived,
    /// It works.
    Working,
    /// It was cancelled.
    Canceled,
    /// It expired.
    Expired,
}

impl ChildEvent {
    /// Its kind: the row of the table.
    #[must_use]
    pub const fn kind(&self) -> ChildEventKind {
        match self {
            Self::SendIntent => ChildEventKind::SendIntent,
            Self::PendingNew => ChildEventKind::PendingNew,
            Self::New => ChildEventKind::New,
            Self::Trade { .. } => ChildEventKind::Trade,
            Self::Canceled => ChildEventKind::Canceled,
            Self::Rejected => ChildEventKind::Rejected,
            Self::Expired => ChildEventKind::Expired,
            Self::DoneForDay => ChildEventKind::DoneForDay,
            Self::Stopped => ChildEventKind::Stopped,
            Self::Suspended => ChildEventKind::Suspended,
            Self::Calculated => ChildEventKind::Calculated,
            Self::Restated { .. } => ChildEventKind::Restated,
            Self::CancelRequested => ChildEventKind::CancelRequested,
            Self::PendingCancel => ChildEventKind::PendingCancel,
            Self::CancelRejected => ChildEventKind::CancelRejected,
            Self::ReplaceRequested { .. } => ChildEventKind::ReplaceRequested,
            Self::PendingReplace => ChildEventKind::PendingReplace,
            Self::Replaced { .. } => ChildEventKind::Replaced,
            Self::ReplaceRejected => ChildEventKind::ReplaceRejected,
            Self::TradeCancel { .. } => ChildEventKind::TradeCancel,
            Self::TradeCorrect { .. } => ChildEventKind::TradeCorrect,
            Self::Unknown => ChildEventKind::Unknown,
            Self::UnknownResolved(_) => ChildEventKind::UnknownResolved,
        }
    }
}

/// What a transition did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The order after the event.
    pub state: ChildState,
    /// The status before.
    pub from: OrdStatus,
    /// The status after.
    pub to: OrdStatus,
    /// Whether the event changed anything; a late or repeated report does not.
    pub changed: bool,
    /// Whether a fill, bust or correction came after the order had ended.
    pub late: bool,
    /// How much more than ordered is filled than before: alarm, book, count apart.
    pub overfilled: Quantity,
}

impl Transition {
    /// Whether the order has ended with this event.
    #[must_use]
    pub const fn became_terminal(&self) -> bool {
        !self.from.is_terminal() && self.to.is_terminal()
    }

    /// Whether the order had ended and works again: a session later, or after a bust.
    #[must_use]
    pub const fn reopened(&self) -> bool {
        self.from.is_terminal() && !self.to.is_terminal()
    }
}

/// An event that contradicts what is known of the order: nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event} does not fit a child order that is {from}")]
pub struct IllegalTransition {
    /// The status of the order.
    pub from: OrdStatus,
    /// The event.
    pub event: ChildEventKind,
    /// What is wrong.
    #[source]
    pub cause: IllegalCause,
}

/// What is wrong with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IllegalCause {
    /// The table refuses it.
    #[error("the state does not allow it")]
    Status,
    /// A second intent.
    #[error("the order was sent before")]
    SentBefore,
    /// An answer to a cancel that nobody asked for.
    #[error("no cancel is pending")]
    NoCancelPending,
    /// An answer to a replace that nobody asked for.
    #[error("no replace is pending")]
    NoReplacePending,
    /// A reject of an order that has fills.
    #[error("the order has fills")]
    HasFills,
    /// A bust or correction of a fill that was never booked.
    #[error("no such fill was booked")]
    NoSuchFill,
    /// A quantity of zero.
    #[error("the quantity is zero")]
    ZeroQuantity,
    /// A figure out of range.
    #[error("a figure is out of range")]
    Number(#[from] NumberError),
}
