//! Requests as they come in, and the refusals they can meet.

use crate::order::StatusView;
use fillstream_domain::{OrdType, Price, Quantity, Side, TimeInForce, TimestampMicros, avro_enum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

avro_enum! {
    /// Why a request was refused.
    pub enum RefusalCode {
        /// No JSON, a missing or unknown field, a bad number or id.
        Malformed = "MALFORMED",
        /// The quantity is not above zero.
        BadQuantity = "BAD_QUANTITY",
        /// LIMIT without a price.
        LimitPriceRequired = "LIMIT_PRICE_REQUIRED",
        /// MARKET with a price.
        LimitPriceNotAllowed = "LIMIT_PRICE_NOT_ALLOWED",
        /// GTD without an end.
        ExpireAtRequired = "EXPIRE_AT_REQUIRED",
        /// IOC or FOK with an end.
        ExpireAtNotAllowed = "EXPIRE_AT_NOT_ALLOWED",
        /// STOP and STOP_LIMIT.
        UnsupportedOrdType = "UNSUPPORTED_ORD_TYPE",
        /// No such session.
        UnknownSession = "UNKNOWN_SESSION",
        /// No such venue.
        UnknownVenue = "UNKNOWN_VENUE",
        /// No such instrument.
        UnknownInstrument = "UNKNOWN_INSTRUMENT",
        /// No such order or cancel request.
        UnknownOrder = "UNKNOWN_ORDER",
        /// The session used this client_order_id before.
        DuplicateClordid = "DUPLICATE_CLORDID",
        /// The client has seen reports that the venue does not know.
        SeqTooHigh = "SEQ_TOO_HIGH",
        /// A clock advance that contradicts an earlier one.
        ClockConflict = "CLOCK_CONFLICT",
        /// The venue follows the clock of the operating system.
        ClockIsLive = "CLOCK_IS_LIVE",
        /// The venue is stopping.
        ShuttingDown = "SHUTTING_DOWN",
        /// The journal could not be written; whether the request was taken is not known.
        JournalFailed = "JOURNAL_FAILED",
    }
}

impl RefusalCode {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Malformed
            | Self::BadQuantity
            | Self::LimitPriceRequired
            | Self::LimitPriceNotAllowed
            | Self::ExpireAtRequired
            | Self::ExpireAtNotAllowed
            | Self::UnsupportedOrdType => 400,
            Self::UnknownSession | Self::UnknownVenue | Self::UnknownInstrument | Self::UnknownOrder => 404,
            Self::DuplicateClordid | Self::SeqTooHigh | Self::ClockConflict | Self::ClockIsLive => 409,
            Self::ShuttingDown | Self::JournalFailed => 503,
        }
    }
}

/// The body of a refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What a client decides on.
    pub code: RefusalCode,
    /// The same in words.
    pub message: String,
    /// What was taken before under the client_order_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<Box<StatusView>>,
    /// Last report of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<u64>,
    /// The venue's clock, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instant: Option<i64>,
    /// The last advance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), existing: None, last_seq: None, instant: None, sequence: None }
    }

    pub(crate) fn unknown_session(session: &str) -> Self {
        Self::new(RefusalCode::UnknownSession, format!("there is no session {session:?}"))
    }
}

/// An order as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRequest {
    /// ClOrdID, unique in the session for ever.
    pub client_order_id: String,
    /// Account.
    pub account_id: String,
    /// Instrument.
    pub instrument_id: String,
    /// Venue.
    pub venue: String,
    /// Side.
    pub side: Side,
    /// MARKET or LIMIT.
    pub ord_type: OrdType,
    /// Quantity.
    pub quantity: Quantity,
    /// Limit price, with LIMIT.
    pub limit_price: Option<Price>,
    /// Time in force.
    pub time_in_force: TimeInForce,
    /// End of a GTD order; may end a DAY or GTC order.
    #[serde(with = "crate::micros::option")]
    pub expire_at: Option<TimestampMicros>,
    /// The client's time.
    #[serde(with = "crate::micros")]
    pub sent_at: TimestampMicros,
}

/// An order that the venue took in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedOrder {
    /// Broker session.
    pub session: String,
    /// What the client sent.
    #[serde(flatten)]
    pub request: OrderRequest,
    /// When it reaches the book.
    #[serde(with = "crate::micros")]
    pub arrives_at: TimestampMicros,
}

/// A cancel request as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// ClOrdID of the request itself.
    pub client_order_id: String,
    /// The client's time.
    #[serde(with = "crate::micros")]
    pub sent_at: TimestampMicros,
}

/// A cancel request that the venue took in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedCancel {
    /// Broker session.
    pub session: String,
    /// ClOrdID of the request itself.
    pub client_order_id: String,
    /// The order to cancel.
    pub orig_client_order_id: String,
    /// The client's time.
    #[serde(with = "crate::micros")]
    pub sent_at: TimestampMicros,
    /// When it reaches the book.
    #[serde(with = "crate::micros")]
    pub arrives_at: TimestampMicros,
}

/// The body of an order request; decimals are text, so that no float was ever between.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOrder {
    client_order_id: String,
    account_id: String,
    instrument_id: String,
    venue: String,
    side: Side,
    ord_type: OrdType,
    quantity: String,
    #[serde(default)]
    limit_price: Option<String>,
    time_in_force: TimeInForce,
    #[serde(default, with = "crate::micros::option")]
    expire_at: Option<TimestampMicros>,
    #[serde(with = "crate::micros")]
    sent_at: TimestampMicros,
}

/// Reads an order request; [`check_order`] follows.
pub(crate) fn parse_order(body: &[u8]) -> Result<OrderRequest, Refusal> {
    let raw: RawOrder = parse(body)?;
    let malformed = |field: &str, problem: String| Refusal::new(RefusalCode::Malformed, format!("{field}: {problem}"));
    let quantity = raw.quantity.parse().map_err(|error| malformed("quantity", format!("{error}")))?;
    let limit_price = raw.limit_price.map(|text| text.parse()).transpose();
    check_id(&raw.client_order_id)?;
    Ok(OrderRequest {
        client_order_id: raw.client_order_id,
        account_id: raw.account_id,
        instrument_id: raw.instrument_id,
        venue: raw.venue,
        side: raw.side,
        ord_type: raw.ord_type,
        quantity,
        limit_price: limit_price.map_err(|error| malformed("limit_price", format!("{error}")))?,
        time_in_force: raw.time_in_force,
        expire_at: raw.expire_at,
        sent_at: raw.sent_at,
    })
}

/// Reads a cancel request.
pub(crate) fn parse_cancel(body: &[u8]) -> Result<CancelRequest, Refusal> {
    let request: CancelRequest = parse(body)?;
    check_id(&request.client_order_id)?;
    Ok(request)
}

/// Reads a JSON body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if (1..=64).contains(&id.len()) && id.bytes().all(valid) {
        return Ok(());
    }
    Err(Refusal::new(RefusalCode::Malformed, "client_order_id is not 1 to 64 characters of A-Z a-z 0-9 - _ . :"))
}

/// Checks that the fields of an order go together.
pub(crate) fn check_order(order: &OrderRequest) -> Result<(), Refusal> {
    let refuse = |code, message: &str| Err(Refusal::new(code, message));
    if !order.quantity.is_positive() {
        return refuse(RefusalCode::BadQuantity, "quantity is not above zero");
    }
    match (order.ord_type, order.limit_price) {
        (OrdType::Stop | OrdType::StopLimit, _) => {
            return refuse(RefusalCode::UnsupportedOrdType, "only MARKET and LIMIT are supported");
        }
        (OrdType::Limit, None) => return refuse(RefusalCode::LimitPriceRequired, "LIMIT without limit_price"),
        (OrdType::Market, Some(_)) => return refuse(RefusalCode::LimitPriceNotAllowed, "MARKET with limit_price"),
        (OrdType::Limit, Some(_)) | (OrdType::Market, None) => {}
    }
    match (order.time_in_force, order.expire_at) {
        (TimeInForce::Gtd, None) => refuse(RefusalCode::ExpireAtRequired, "GTD without expire_at"),
        (TimeInForce::Ioc | TimeInForce::Fok, Some(_)) => {
            refuse(RefusalCode::ExpireAtNotAllowed, "IOC or FOK with expire_at")
        }
        (TimeInForce::Gtd, Some(_))
        | (TimeInForce::Day | TimeInForce::Gtc, _)
        | (TimeInForce::Ioc | TimeInForce::Fok, None) => Ok(()),
    }
}
