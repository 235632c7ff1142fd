//! Why an order is refused.

use fillstream_domain::avro_enum;

avro_enum! {
    /// Closed reason codes of parent risk.
    pub enum Reason {
        /// A table was never read.
        TableUnavailable = "TABLE_UNAVAILABLE",
        /// A kill covers the order.
        Killed = "KILLED",
        /// The instrument is unknown.
        UnknownInstrument = "UNKNOWN_INSTRUMENT",
        /// The instrument is coin-margined, which is not valued yet.
        InstrumentUnsupported = "INSTRUMENT_UNSUPPORTED",
        /// The portfolio has no account.
        NoAccount = "NO_ACCOUNT",
        /// The portfolio has several accounts.
        SeveralAccounts = "SEVERAL_ACCOUNTS",
        /// The portfolio's account is not the one whose cash and positions are booked.
        AccountChanged = "ACCOUNT_CHANGED",
        /// The account must not trade.
        AccountInactive = "ACCOUNT_INACTIVE",
        /// The portfolio has no limit record.
        NoLimit = "NO_LIMIT",
        /// The instrument is on the restricted list.
        RestrictedInstrument = "RESTRICTED_INSTRUMENT",
        /// The instrument has no calendar or session.
        NoCalendar = "NO_CALENDAR",
        /// Trading is halted or closed at the reference venue.
        Halted = "HALTED",
        /// There is no two-sided quote at the reference venue.
        NoQuote = "NO_QUOTE",
        /// The quote is older than allowed.
        StaleQuote = "STALE_QUOTE",
        /// A price is not above zero.
        PriceNotPositive = "PRICE_NOT_POSITIVE",
        /// No rate between quote, account and reporting currency.
        NoFxRate = "NO_FX_RATE",
        /// Another position or open order of the portfolio cannot be valued.
        NoMarkPrice = "NO_MARK_PRICE",
        /// The average daily volume is unknown, where it is required.
        AdvMissing = "ADV_MISSING",
        /// The quantity is over the limit.
        MaxOrderQuantity = "MAX_ORDER_QUANTITY",
        /// The value is over the limit.
        MaxOrderValue = "MAX_ORDER_VALUE",
        /// The position would become negative.
        ShortNotAllowed = "SHORT_NOT_ALLOWED",
        /// The worst-case position is over the limit.
        MaxPositionValue = "MAX_POSITION_VALUE",
        /// The worst-case sum of positions is over the limit.
        MaxGrossValue = "MAX_GROSS_VALUE",
        /// The cash does not cover the order.
        InsufficientBuyingPower = "INSUFFICIENT_BUYING_POWER",
        /// A figure is out of range.
        FigureOutOfRange = "FIGURE_OUT_OF_RANGE",
    }
}
