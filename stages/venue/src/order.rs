//! An order inside the venue: what is true, and what has been reported.

use crate::request::{AcceptedCancel, AcceptedOrder};
use fillstream_domain::{
    AvgPrice, NumberError, OrdStatus, OrdType, Price, PriceQuantitySum, Quantity, Rounding, Side, TimeInForce,
    TimestampMicros,
};
use serde::Serialize;

/// Session and client_order_id.
pub(crate) type OrderKey = (String, String);

/// What is true of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// On its way.
    Pending,
    /// In the book.
    Working,
    /// Filled, cancelled, expired or rejected.
    Dead,
    /// Taken in, and never heard of again.
    Swallowed,
}

/// How a working order gets its fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Marketable ever since it arrived (or not known, while the quote is locked or crossed): takes at the touch as
    /// size comes back.
    Sweeping,
    /// Rests at its limit behind a queue of this size.
    Resting {
        /// Quantity that trades before it.
        ahead: Quantity,
    },
}

#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) accepted: AcceptedOrder,
    pub(crate) life: Life,
    pub(crate) style: Style,
    pub(crate) executed: Quantity,
    /// Reports made so far, from which ExecIDs are counted.
    pub(crate) reports: u32,
    pub(crate) reported: Reported,
}

/// What the reports up to now say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    status: OrdStatus,
    filled: PriceQuantitySum,
    pub(crate) last_seq: u64,
}

/// What a report changes in what is reported.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Accepted,
    Filled { px: Price, qty: Quantity },
    Ended(OrdStatus),
    Nothing,
}

impl Reported {
    const fn new() -> Self {
        Self { status: OrdStatus::PendingNew, filled: PriceQuantitySum::ZERO, last_seq: 0 }
    }

    pub(crate) fn apply(&mut self, change: Change, ord_qty: Quantity) -> Result<(), NumberError> {
        match change {
            Change::Accepted => self.status = OrdStatus::New,
            Change::Ended(status) => self.status = status,
            Change::Filled { px, qty } => {
                self.filled = self.filled.add(px, qty)?;
                // A late fill does not bring a dead order back.
                if !self.status.is_terminal() {
                    let whole = self.filled.quantity() == ord_qty;
                    self.status = if whole { OrdStatus::Filled } else { OrdStatus::PartiallyFilled };
                }
            }
            Change::Nothing => {}
        }
        Ok(())
    }

    pub(crate) const fn status(&self) -> OrdStatus {
        self.status
    }

    pub(crate) const fn cum_qty(&self) -> Quantity {
        self.filled.quantity()
    }

    pub(crate) fn leaves_qty(&self, ord_qty: Quantity) -> Quantity {
        if self.status.is_terminal() { Quantity::ZERO } else { ord_qty.less_at_most(self.cum_qty()) }
    }

    pub(crate) fn avg_px(&self) -> Result<Option<AvgPrice>, NumberError> {
        self.filled.avg(Rounding::HalfEven)
    }
}

impl Order {
    pub(crate) const fn new(accepted: AcceptedOrder) -> Self {
        Self {
            accepted,
            life: Life::Pending,
            style: Style::Sweeping,
            executed: Quantity::ZERO,
            reports: 0,
            reported: Reported::new(),
        }
    }

    pub(crate) fn leaves(&self) -> Quantity {
        self.accepted.request.quantity.less_at_most(self.executed)
    }

    /// Whether the limit allows a trade at a price; a market order allows any.
    pub(crate) fn accepts(&self, px: Price) -> bool {
        match self.accepted.request.limit_price {
            None => true,
            Some(limit) if self.accepted.request.side.is_buy() => px <= limit,
            Some(limit) => px >= limit,
        }
    }

    /// Place among the orders of one side of a book: the better price first, then the earlier.
    pub(crate) fn priority(&self) -> (Option<i128>, TimestampMicros, &str, &str) {
        let request = &self.accepted.request;
        // None, a market order, sorts first.
        let price = request.limit_price.map(|px| if request.side.is_buy() { -px.unscaled() } else { px.unscaled() });
        (price, self.accepted.arrives_at, &self.accepted.session, &request.client_order_id)
    }

    pub(crate) fn view(&self) -> Result<OrderView, NumberError> {
        let (request, reported) = (&self.accepted.request, &self.reported);
        let swallowed = self.life == Life::Swallowed;
        Ok(OrderView {
            client_order_id: request.client_order_id.clone(),
            account_id: request.account_id.clone(),
            instrument_id: request.instrument_id.clone(),
            venue: request.venue.clone(),
            side: request.side,
            ord_type: request.ord_type,
            quantity: request.quantity,
            limit_price: request.limit_price,
            time_in_force: request.time_in_force,
            expire_at: request.expire_at,
            sent_at: request.sent_at,
            arrives_at: self.accepted.arrives_at,
            ord_status: if swallowed { OrdStatus::Unknown } else { reported.status() },
            cum_qty: reported.cum_qty(),
            leaves_qty: reported.leaves_qty(request.quantity),
            avg_px: reported.avg_px()?,
            last_seq: reported.last_seq,
        })
    }
}

/// What the status query answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "UPPERCASE")]
pub enum StatusView {
    /// The id is an order's.
    Order(Box<OrderView>),
    /// The id is a cancel request's.
    Cancel(CancelView),
}

/// An order and its state as reported so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderView {
    /// ClOrdID.
    pub client_order_id: String,
    /// Account.
    pub account_id: String,
    /// Instrument.
    pub instrument_id: String,
    /// Venue.
    pub venue: String,
    /// Side.
    pub side: Side,
    /// Order type.
    pub ord_type: OrdType,
    /// Quantity.
    pub quantity: Quantity,
    /// Limit price.
    pub limit_price: Option<Price>,
    /// Time in force.
    pub time_in_force: TimeInForce,
    /// End.
    #[serde(with = "crate::micros::option")]
    pub expire_at: Option<TimestampMicros>,
    /// The client's time.
    #[serde(with = "crate::micros")]
    pub sent_at: TimestampMicros,
    /// When it reaches or reached the book.
    #[serde(with = "crate::micros")]
    pub arrives_at: TimestampMicros,
    /// State after the report `last_seq`.
    pub ord_status: OrdStatus,
    /// Filled after the report `last_seq`.
    pub cum_qty: Quantity,
    /// Open after the report `last_seq`.
    pub leaves_qty: Quantity,
    /// Average price after the report `last_seq`.
    pub avg_px: Option<AvgPrice>,
    /// Last report of the order; 0: none yet.
    pub last_seq: u64,
}

/// A cancel request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CancelView {
    /// ClOrdID of the request.
    pub client_order_id: String,
    /// The order.
    pub orig_client_order_id: String,
    /// The client's time.
    #[serde(with = "crate::micros")]
    pub sent_at: TimestampMicros,
    /// When it reaches or reached the book.
    #[serde(with = "crate::micros")]
    pub arrives_at: TimestampMicros,
}

impl From<&AcceptedCancel> for CancelView {
    fn from(cancel: &AcceptedCancel) -> Self {
        Self {
            client_order_id: cancel.client_order_id.clone(),
            orig_client_order_id: cancel.orig_client_order_id.clone(),
            sent_at: cancel.sent_at,
            arrives_at: cancel.arrives_at,
        }
    }
}
