//! What FIX says about an order.

use crate::avro_enum;

avro_enum! {
    /// Which way an order goes (FIX 54).
    pub enum Side {
        /// Buys, opening or adding to a long position.
        Buy = "BUY",
        /// Sells what is held.
        Sell = "SELL",
        /// Sells what is not held.
        SellShort = "SELL_SHORT",
        /// Buys back a short position.
        BuyToCover = "BUY_TO_COVER",
    }
}

impl Side {
    /// Whether the order takes the asset in and gives money.
    #[must_use]
    pub const fn is_buy(self) -> bool {
        match self {
            Self::Buy | Self::BuyToCover => true,
            Self::Sell | Self::SellShort => false,
        }
    }

    /// +1 for buys, -1 for sells: the `side` of cost formulas.
    #[must_use]
    pub const fn sign(self) -> i8 {
        if self.is_buy() { 1 } else { -1 }
    }

    /// FIX 54. FIX has no code for a cover: it goes as a buy, with PositionEffect (77) = close.
    #[must_use]
    pub const fn fix_code(self) -> char {
        match self {
            Self::Buy | Self::BuyToCover => '1',
            Self::Sell => '2',
            Self::SellShort => '5',
        }
    }
}

avro_enum! {
    /// How an order is priced (FIX 40).
    pub enum OrdType {
        /// At the best price there is.
        Market = "MARKET",
        /// At the limit price or better.
        Limit = "LIMIT",
        /// Becomes a market order at the stop price.
        Stop = "STOP",
        /// Becomes a limit order at the stop price.
        StopLimit = "STOP_LIMIT",
    }
}

impl OrdType {
    /// Whether the order carries a limit price.
    #[must_use]
    pub const fn has_limit(self) -> bool {
        match self {
            Self::Limit | Self::StopLimit => true,
            Self::Market | Self::Stop => false,
        }
    }

    /// Whether the order carries a stop price.
    #[must_use]
    pub const fn has_stop(self) -> bool {
        match self {
            Self::Stop | Self::StopLimit => true,
            Self::Market | Self::Limit => false,
        }
    }

    /// FIX 40.
    #[must_use]
    pub const fn fix_code(self) -> char {
        match self {
            Self::Market => '1',
            Self::Limit => '2',
            Self::Stop => '3',
            Self::StopLimit => '4',
        }
    }
}

avro_enum! {
    /// How long an order stands (FIX 59).
    pub enum TimeInForce {
        /// Until the calendar's session end.
        Day = "DAY",
        /// Until cancelled.
        Gtc = "GTC",
        /// What can be filled at once; the rest is cancelled.
        Ioc = "IOC",
        /// All at once or nothing.
        Fok = "FOK",
        /// Until a stated time.
        Gtd = "GTD",
    }
}

impl TimeInForce {
    /// FIX 59.
    #[must_use]
    pub const fn fix_code(self) -> char {
        match self {
            Self::Day => '0',
            Self::Gtc => '1',
            Self::Ioc => '3',
            Self::Fok => '4',
            Self::Gtd => '6',
        }
    }
}

avro_enum! {
    /// What a counterparty says an order is now (FIX 39), and what we add: UNKNOWN.
    pub enum OrdStatus {
        /// Sent, not yet accepted.
        PendingNew = "PENDING_NEW",
        /// Accepted, nothing filled.
        New = "NEW",
        /// Filled in part, still working.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Filled whole.
        Filled = "FILLED",
        /// Not working any more this session; fills may still be amended.
        DoneForDay = "DONE_FOR_DAY",
        /// Ended by a cancel.
        Canceled = "CANCELED",
        /// A cancel was received and is not yet decided.
        PendingCancel = "PENDING_CANCEL",
        /// A trade is guaranteed, not yet made.
        Stopped = "STOPPED",
        /// Refused.
        Rejected = "REJECTED",
        /// Not eligible for trading for now.
        Suspended = "SUSPENDED",
        /// Ended for the day, settlement figures worked out.
        Calculated = "CALCULATED",
        /// Ended by its time in force.
        Expired = "EXPIRED",
        /// A replace was received and is not yet decided.
        PendingReplace = "PENDING_REPLACE",
        /// Sent, and nobody can say what became of it. Ours: never turned into a reject by a timer.
        Unknown = "UNKNOWN",
    }
}

impl OrdStatus {
    /// FIX 39; `None` for what FIX does not have.
    #[must_use]
    pub const fn fix_code(self) -> Option<char> {
        Some(match self {
            Self::New => '0',
            Self::PartiallyFilled => '1',
            Self::Filled => '2',
            Self::DoneForDay => '3',
            Self::Canceled => '4',
            Self::PendingCancel => '6',
            Self::Stopped => '7',
            Self::Rejected => '8',
            Self::Suspended => '9',
            Self::PendingNew => 'A',
            Self::Calculated => 'B',
            Self::Expired => 'C',
            Self::PendingReplace => 'E',
            Self::Unknown => return None,
        })
    }

    /// The status of a FIX 39 code. `5` (Replaced, FIX 4.2 only) and `D` (list bidding) are none of ours.
    #[must_use]
    pub fn from_fix_code(code: char) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.fix_code() == Some(code))
    }

    /// Whether nothing more will be filled unless the counterparty amends what it said.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Filled | Self::DoneForDay | Self::Canceled | Self::Rejected | Self::Calculated | Self::Expired => {
                true
            }
            Self::PendingNew
            | Self::New
            | Self::PartiallyFilled
            | Self::PendingCancel
            | Self::Stopped
            | Self::Suspended
            | Self::PendingReplace
            | Self::Unknown => false,
        }
    }
}

avro_enum! {
    /// Why an execution report was sent (FIX 150).
    pub enum ExecType {
        /// Accepted.
        New = "NEW",
        /// Done for this session.
        DoneForDay = "DONE_FOR_DAY",
        /// Cancelled.
        Canceled = "CANCELED",
        /// A replace took effect.
        Replaced = "REPLACED",
        /// A cancel was received.
        PendingCancel = "PENDING_CANCEL",
        /// A trade is guaranteed.
        Stopped = "STOPPED",
        /// Refused.
        Rejected = "REJECTED",
        /// Suspended.
        Suspended = "SUSPENDED",
        /// Received.
        PendingNew = "PENDING_NEW",
        /// Settlement figures worked out.
        Calculated = "CALCULATED",
        /// Expired.
        Expired = "EXPIRED",
        /// Changed by the counterparty without a request.
        Restated = "RESTATED",
        /// A replace was received.
        PendingReplace = "PENDING_REPLACE",
        /// A fill, of part or all.
        Trade = "TRADE",
        /// A fill was corrected.
        TradeCorrect = "TRADE_CORRECT",
        /// A fill was taken back (bust).
        TradeCancel = "TRADE_CANCEL",
        /// The answer to a status request.
        OrderStatus = "ORDER_STATUS",
    }
}

impl ExecType {
    /// FIX 150.
    #[must_use]
    pub const fn fix_code(self) -> char {
        match self {
            Self::New => '0',
            Self::DoneForDay => '3',
            Self::Canceled => '4',
            Self::Replaced => '5',
            Self::PendingCancel => '6',
            Self::Stopped => '7',
            Self::Rejected => '8',
            Self::Suspended => '9',
            Self::PendingNew => 'A',
            Self::Calculated => 'B',
            Self::Expired => 'C',
            Self::Restated => 'D',
            Self::PendingReplace => 'E',
            Self::Trade => 'F',
            Self::TradeCorrect => 'G',
            Self::TradeCancel => 'H',
            Self::OrderStatus => 'I',
        }
    }

    /// The type of a FIX 150 code.
    #[must_use]
    pub fn from_fix_code(code: char) -> Option<Self> {
        Self::ALL.iter().copied().find(|exec_type| exec_type.fix_code() == code)
    }
}

avro_enum! {
    /// What a parent order is now, derived from its children.
    pub enum ParentStatus {
        /// Validated, waiting for risk.
        PendingRisk = "PENDING_RISK",
        /// Released by risk; children may be sent; nothing filled.
        Working = "WORKING" | "RELEASED",
        /// Filled in part, still working.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Somebody has suspended it: children may work on, nothing new is released.
        Suspended = "SUSPENDED",
        /// Risk has a replace to decide on; what works under the old terms works on.
        ReplacePending = "REPLACE_PENDING",
        /// A cancel is under way; ends when no child is open.
        CancelPending = "CANCEL_PENDING",
        /// Filled whole.
        Filled = "FILLED",
        /// Ended by a cancel, with or without fills.
        Cancelled = "CANCELLED",
        /// Refused before release.
        Rejected = "REJECTED",
        /// Ended by its time, with or without fills.
        Expired = "EXPIRED",
    }
}

impl ParentStatus {
    /// Whether the order has had its one terminal event; later reports amend it by revision.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Filled | Self::Cancelled | Self::Rejected | Self::Expired => true,
            Self::PendingRisk
            | Self::Working
            | Self::PartiallyFilled
            | Self::Suspended
            | Self::ReplacePending
            | Self::CancelPending => false,
        }
    }
}
