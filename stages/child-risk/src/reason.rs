//! Why a child is refused.

use fillstream_domain::avro_enum;

avro_enum! {
    /// Closed reason codes of child risk.
    pub enum Reason {
        /// A table was never read.
        TableUnavailable = "TABLE_UNAVAILABLE",
        /// A kill covers the child.
        Killed = "KILLED",
        /// The parent order is unknown.
        UnknownParent = "UNKNOWN_PARENT",
        /// The parent order has ended, is being cancelled or is suspended.
        ParentNotOpen = "PARENT_NOT_OPEN",
        /// The plan's portfolio, instrument or side is not the parent's.
        ParentMismatch = "PARENT_MISMATCH",
        /// The slice was made from terms of the parent that were replaced since.
        StaleTerms = "STALE_TERMS",
        /// The ClOrdID was used before.
        DuplicateClOrdId = "DUPLICATE_CL_ORD_ID",
        /// The parent has had too many children.
        TooManyChildren = "TOO_MANY_CHILDREN",
        /// The instrument is unknown.
        UnknownInstrument = "UNKNOWN_INSTRUMENT",
        /// The account is unknown or belongs to another portfolio.
        UnknownAccount = "UNKNOWN_ACCOUNT",
        /// The account must not trade.
        AccountInactive = "ACCOUNT_INACTIVE",
        /// The venue is unknown.
        UnknownVenue = "UNKNOWN_VENUE",
        /// The venue takes no orders.
        VenueClosed = "VENUE_CLOSED",
        /// The venue does not trade the instrument.
        VenueNotForInstrument = "VENUE_NOT_FOR_INSTRUMENT",
        /// The broker is unknown.
        UnknownBroker = "UNKNOWN_BROKER",
        /// The broker does not reach the venue.
        BrokerNotAtVenue = "BROKER_NOT_AT_VENUE",
        /// The account is not held at the broker.
        BrokerNotForAccount = "BROKER_NOT_FOR_ACCOUNT",
        /// The session is not the broker's.
        SessionMismatch = "SESSION_MISMATCH",
        /// The portfolio has no limit record.
        NoLimit = "NO_LIMIT",
        /// The instrument is on the restricted list.
        RestrictedInstrument = "RESTRICTED_INSTRUMENT",
        /// The instrument has no calendar.
        NoCalendar = "NO_CALENDAR",
        /// The market is not in session.
        MarketClosed = "MARKET_CLOSED",
        /// Trading is halted or closed.
        Halted = "HALTED",
        /// There is no two-sided quote.
        NoQuote = "NO_QUOTE",
        /// The quote is older than allowed.
        StaleQuote = "STALE_QUOTE",
        /// The order type is not sent.
        OrdTypeUnsupported = "ORD_TYPE_UNSUPPORTED",
        /// A limit order without limit, or a market order with one.
        LimitPriceInvalid = "LIMIT_PRICE_INVALID",
        /// The price is not above zero.
        PriceNotPositive = "PRICE_NOT_POSITIVE",
        /// The price is too far through the opposite touch.
        PriceCollar = "PRICE_COLLAR",
        /// The quantity is not above zero.
        QuantityNotPositive = "QUANTITY_NOT_POSITIVE",
        /// The quantity is over the limit.
        MaxChildQuantity = "MAX_CHILD_QUANTITY",
        /// The value is over the limit.
        MaxChildValue = "MAX_CHILD_VALUE",
        /// No rate to the reporting currency.
        NoFxRate = "NO_FX_RATE",
        /// Open children and this one are more than the parent has left.
        ExceedsLeaves = "EXCEEDS_LEAVES",
        /// The child would have to be gone already.
        Expired = "EXPIRED",
        /// The venue is not among those where the portfolio's children may go.
        VenueNotPermitted = "VENUE_NOT_PERMITTED",
        /// A pause covers the child.
        Paused = "PAUSED",
        /// Limits, calendars and rates were not confirmed for the day.
        LimitsNotConfirmed = "LIMITS_NOT_CONFIRMED",
        /// The account was not reconciled for the day.
        NotReconciled = "NOT_RECONCILED",
        /// The market was not heard of lately.
        MarketNotFresh = "MARKET_NOT_FRESH",
        /// The strategy repeated itself too often and was not re-enabled since.
        StrategyDisabled = "STRATEGY_DISABLED",
        /// The child could trade with one of the portfolio's own.
        SelfCross = "SELF_CROSS",
        /// The account sends too many messages.
        AccountMessageRate = "ACCOUNT_MESSAGE_RATE",
        /// The session is sent too many messages.
        SessionMessageRate = "SESSION_MESSAGE_RATE",
        /// The portfolio sends too many children.
        OrderRate = "ORDER_RATE",
        /// The portfolio's children are worth too much over a short time.
        OrderRateValue = "ORDER_RATE_VALUE",
        /// The order is so large that two people must release it.
        HeldForRelease = "HELD_FOR_RELEASE",
        /// The strategy repeats itself too often.
        RepeatedExecution = "REPEATED_EXECUTION",
        /// The account's currency or portfolio is not that of its book.
        AccountChanged = "ACCOUNT_CHANGED",
        /// The account's position would become negative.
        ShortNotAllowed = "SHORT_NOT_ALLOWED",
        /// The account's worst-case position is over the limit.
        MaxAccountPosition = "MAX_ACCOUNT_POSITION",
        /// A short of the account cannot be valued.
        NoMarkPrice = "NO_MARK_PRICE",
        /// The account's cash does not cover the child.
        InsufficientBuyingPower = "INSUFFICIENT_BUYING_POWER",
        /// A figure is out of range.
        FigureOutOfRange = "FIGURE_OUT_OF_RANGE",
    }
}
