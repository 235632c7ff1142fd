//! Why an order is refused.

use fillstream_domain::avro_enum;

avro_enum! {
    /// Closed reason codes of parent risk.
    pub enum Reason {
        /// A table was never read.
        TableUnavailable = "TABLE_UNAVAILABLE",
        /// A kill covers the order.
        Killed = "KILLED",
        /// A pause covers the order.
        Paused = "PAUSED",
        /// The instrument is unknown.
        UnknownInstrument = "UNKNOWN_INSTRUMENT",
        /// The instrument is coin-margined, which is not valued yet.
        InstrumentUnsupported = "INSTRUMENT_UNSUPPORTED",
        /// The portfolio has no account.
        NoAccount = "NO_ACCOUNT",
        /// The portfolio's accounts have cash in several currencies.
        AccountCurrencies = "ACCOUNT_CURRENCIES",
        /// An account whose cash and positions are booked left the portfolio, or changed its currency.
        AccountChanged = "ACCOUNT_CHANGED",
        /// No account of the portfolio may trade.
        AccountInactive = "ACCOUNT_INACTIVE",
        /// The portfolio has no limit record.
        NoLimit = "NO_LIMIT",
        /// The instrument is on the restricted list.
        RestrictedInstrument = "RESTRICTED_INSTRUMENT",
        /// The limits permit other instruments only.
        InstrumentNotPermitted = "INSTRUMENT_NOT_PERMITTED",
        /// The limits permit other asset classes only.
        AssetClassNotPermitted = "ASSET_CLASS_NOT_PERMITTED",
        /// No venue that the limits permit trades the instrument, or the order rules each of them out.
        NoPermittedVenue = "NO_PERMITTED_VENUE",
        /// The limits name the traders, and the order's is none of them.
        TraderNotAuthorised = "TRADER_NOT_AUTHORISED",
        /// The same order was approved a moment ago.
        DuplicateOrder = "DUPLICATE_ORDER",
        /// The order could trade with an open order of its own portfolio.
        SelfCross = "SELF_CROSS",
        /// The order to replace is not open.
        OrderNotOpen = "ORDER_NOT_OPEN",
        /// A replace of the order is approved and not confirmed yet.
        ReplacePending = "REPLACE_PENDING",
        /// The instrument has no calendar or session.
        NoCalendar = "NO_CALENDAR",
        /// The market is outside its trading hours.
        MarketClosed = "MARKET_CLOSED",
        /// Trading is halted or closed at the reference venue.
        Halted = "HALTED",
        /// There is no two-sided quote at the reference venue.
        NoQuote = "NO_QUOTE",
        /// The quote is older than allowed.
        StaleQuote = "STALE_QUOTE",
        /// A price is not above zero.
        PriceNotPositive = "PRICE_NOT_POSITIVE",
        /// The limit price is too far from the market.
        PriceDeviation = "PRICE_DEVIATION",
        /// The quote is crossed, where its spread is limited.
        QuoteCrossed = "QUOTE_CROSSED",
        /// The spread is over the limit.
        WideSpread = "WIDE_SPREAD",
        /// The size displayed is unknown, where it is limited, and its venue has no assumed one.
        DepthUnknown = "DEPTH_UNKNOWN",
        /// No rate between quote, account and reporting currency.
        NoFxRate = "NO_FX_RATE",
        /// Another position or open order of the portfolio cannot be valued.
        NoMarkPrice = "NO_MARK_PRICE",
        /// The average daily volume is unknown, where it is required.
        AdvMissing = "ADV_MISSING",
        /// The sector of an equity is unknown, where sectors are limited.
        SectorUnknown = "SECTOR_UNKNOWN",
        /// Too many orders within a minute.
        OrderRate = "ORDER_RATE",
        /// The quantity is over the limit.
        MaxOrderQuantity = "MAX_ORDER_QUANTITY",
        /// The value is over the limit.
        MaxOrderValue = "MAX_ORDER_VALUE",
        /// The position would become negative.
        ShortNotAllowed = "SHORT_NOT_ALLOWED",
        /// More would be short than is located.
        LocateMissing = "LOCATE_MISSING",
        /// The worst-case position is over the limit.
        MaxPositionValue = "MAX_POSITION_VALUE",
        /// The worst-case position in units is over the limit.
        MaxPositionQuantity = "MAX_POSITION_QUANTITY",
        /// The worst-case sum of positions is over the limit.
        MaxGrossValue = "MAX_GROSS_VALUE",
        /// The worst-case sum of signed positions is over the limit.
        MaxNetValue = "MAX_NET_VALUE",
        /// The worst-case sum of positions in the sector is over the limit.
        MaxSectorValue = "MAX_SECTOR_VALUE",
        /// The worst-case sum of positions in the asset class is over the limit.
        MaxAssetClassValue = "MAX_ASSET_CLASS_VALUE",
        /// The quantity is too large for the size displayed.
        DepthExceeded = "DEPTH_EXCEEDED",
        /// The quantity is too large a share of the average daily volume.
        AdvParticipation = "ADV_PARTICIPATION",
        /// The value of the orders of a minute is over the limit.
        EnteredValueMinute = "ENTERED_VALUE_MINUTE",
        /// The value of the orders of the day is over the limit.
        EnteredValueDay = "ENTERED_VALUE_DAY",
        /// The cash does not cover the order.
        InsufficientBuyingPower = "INSUFFICIENT_BUYING_POWER",
        /// A limit over several portfolios has too little headroom left, or did not answer in time.
        LimitHeadroomUnavailable = "LIMIT_HEADROOM_UNAVAILABLE",
        /// A figure is out of range.
        FigureOutOfRange = "FIGURE_OUT_OF_RANGE",
    }
}

avro_enum! {
    /// What passes and should be known.
    pub enum Note {
        /// The instrument is on the watch list.
        WatchList = "WATCH_LIST",
        /// The size displayed at the opposite touch is unknown, which is not zero.
        DepthUnknown = "DEPTH_UNKNOWN",
        /// The model of market impact lacks an input: the impact counts as high.
        ImpactNotEstimated = "IMPACT_NOT_ESTIMATED",
    }
}
