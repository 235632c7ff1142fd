//! Execution reports.

use fillstream_domain::{
    AvgPrice, ExecType, LiquidityFlag, Money, OrdStatus, Price, Quantity, Side, TimestampMicros, avro_enum,
};
use serde::{Deserialize, Serialize};

avro_enum! {
    /// Why an order was rejected, or cancelled unasked, or a cancel refused.
    pub enum RejectCode {
        /// Configured reject: the venue is busy.
        VenueBusy = "VENUE_BUSY",
        /// Configured reject: too many messages.
        Throttled = "THROTTLED",
        /// Configured reject: the venue's credit check.
        CreditLimit = "CREDIT_LIMIT",
        /// Configured reject: something broke.
        SystemError = "SYSTEM_ERROR",
        /// The venue does not trade the instrument.
        NotTradedHere = "NOT_TRADED_HERE",
        /// The limit price is no whole number of ticks.
        InvalidTick = "INVALID_TICK",
        /// The quantity is no whole number of lots, or below the smallest.
        InvalidLot = "INVALID_LOT",
        /// There has been no quote yet.
        NoMarket = "NO_MARKET",
        /// The session is over.
        MarketClosed = "MARKET_CLOSED",
        /// The order's own end had passed when it arrived.
        ExpiredOnArrival = "EXPIRED_ON_ARRIVAL",
        /// What an IOC order could not get at once.
        IocRemainder = "IOC_REMAINDER",
        /// A FOK order could not be filled whole.
        FokNotFillable = "FOK_NOT_FILLABLE",
        /// The order was dead when the cancel arrived.
        TooLateToCancel = "TOO_LATE_TO_CANCEL",
    }
}

/// An execution report, with the field names of FIX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Broker session.
    pub session: String,
    /// Number in the session, gapless from 1.
    pub seq: u64,
    /// When it was said.
    #[serde(with = "crate::micros")]
    pub emitted_at: TimestampMicros,
    /// ExecID, unique in the venue but for repeats.
    pub exec_id: String,
    /// ClOrdID: of the order, or of the cancel request that is answered.
    pub cl_ord_id: String,
    /// The order, where `cl_ord_id` is that of a cancel request.
    pub orig_cl_ord_id: Option<String>,
    /// Account.
    pub account_id: String,
    /// Instrument.
    pub instrument_id: String,
    /// Venue.
    pub venue: String,
    /// Side.
    pub side: Side,
    /// What happened.
    pub exec_type: ExecType,
    /// State of the order as reported up to here.
    pub ord_status: OrdStatus,
    /// Quantity of the order.
    pub ord_qty: Quantity,
    /// Quantity of this execution.
    pub last_qty: Option<Quantity>,
    /// Price of this execution.
    pub last_px: Option<Price>,
    /// Filled, as reported up to here.
    pub cum_qty: Quantity,
    /// Open, as reported up to here.
    pub leaves_qty: Quantity,
    /// Average price, as reported up to here.
    pub avg_px: Option<AvgPrice>,
    /// Fee of this execution; positive is a cost.
    pub fee: Option<Money>,
    /// Currency of the fee.
    pub fee_currency: Option<String>,
    /// Maker or taker.
    pub liquidity: LiquidityFlag,
    /// When it happened.
    #[serde(with = "crate::micros")]
    pub transact_at: TimestampMicros,
    /// Execution that a bust is about.
    pub ref_exec_id: Option<String>,
    /// Why.
    pub reject_code: Option<RejectCode>,
    /// The same in words.
    pub text: Option<String>,
    /// Whether this repeats an earlier report of the same ExecID.
    pub poss_dup: bool,
}

/// The words of a code.
pub(crate) const fn words(code: RejectCode) -> &'static str {
    match code {
        RejectCode::VenueBusy => "the venue is busy",
        RejectCode::Throttled => "too many messages",
        RejectCode::CreditLimit => "the venue's credit check failed",
        RejectCode::SystemError => "system error",
        RejectCode::NotTradedHere => "the instrument is not traded here",
        RejectCode::InvalidTick => "the limit price is no whole number of ticks",
        RejectCode::InvalidLot => "the quantity is no whole number of lots",
        RejectCode::NoMarket => "there has been no quote yet",
        RejectCode::MarketClosed => "the session is over",
        RejectCode::ExpiredOnArrival => "the order had expired when it arrived",
        RejectCode::IocRemainder => "the rest could not be filled at once",
        RejectCode::FokNotFillable => "the order could not be filled whole",
        RejectCode::TooLateToCancel => "the order was dead when the cancel arrived",
    }
}
