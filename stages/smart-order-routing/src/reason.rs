//! Why part of a slice, a broker or a pair was not used.

/// The closed list of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteReason {
    /// No reference quote, or only a stale one.
    NoQuote,
    /// Bid above ask at the reference venue: such a quote triggers no trade.
    CrossedMarket,
    /// Bid equal to ask at the reference venue.
    LockedMarket,
    /// No rate from the quote currency to the reporting currency.
    NoFxRate,
    /// A figure is too large: of the slice, or of a venue's quote.
    FigureOutOfRange,
    /// The account is not known.
    NoAccount,
    /// No broker of the account reaches an open venue that trades the instrument.
    NoVenue,
    /// The displayed size of all venues is used up.
    DepthExhausted,
    /// What is left is no whole lot, or less than the minimum, at any venue.
    VenueLot,
    /// The price of every venue is beyond the limit.
    ThroughLimit,
    /// The price is further from the reference touch than the portfolio's collar.
    Collar,
    /// Taking more costs more than leaving it for later is feared to.
    NotWorthTaking,
    /// Children of the order hold the rest of what is open.
    ExceedsLeaves,
    /// The order was refused so often that it is not tried again.
    TooManyRejects,
    /// There is no record of the venue.
    VenueUnknown,
    /// The venue is closed.
    VenueClosed,
    /// The venue's session is over, or has not begun.
    VenueOutOfHours,
    /// The venue's calendar is unknown.
    VenueNoCalendar,
    /// The venue has halted the instrument.
    VenueHalted,
    /// The venue is of a kind that is not known here.
    VenueKind,
    /// The venue does not trade the asset class.
    VenueAssetClass,
    /// The venue does not take the order type.
    VenueOrderType,
    /// The slice is smaller than what the venue takes.
    BelowMinQuantity,
    /// The order does not want the venue.
    VenueRestricted,
    /// The portfolio's limits do not name the venue among those that its orders, or its children, may go to.
    VenueNotPermitted,
    /// The venue shows its book, and one side of it is empty.
    VenueNoQuote,
    /// The venue's own quote is too old.
    VenueStaleQuote,
    /// The venue's own quote is crossed.
    VenueCrossed,
    /// The venue's own quote is locked.
    VenueLocked,
    /// The pair has just refused the instrument.
    VenueRejected,
    /// Nothing of the slice is meant for dark pools.
    DarkNotWanted,
    /// A kill covers the venue or the broker.
    Killed,
    /// A pause covers the venue or the broker, or the whole slice: its account, portfolio, instrument, strategy or trader.
    Paused,
    /// There is no record of the broker.
    BrokerUnknown,
    /// The broker takes no orders.
    BrokerInactive,
    /// The broker does not trade the asset class.
    BrokerAssetClass,
    /// The broker does not take the order type.
    BrokerOrderType,
    /// The broker takes no parts of a share.
    BrokerFractional,
    /// A preferred broker can take the slice.
    BrokerNotPreferred,
    /// A small order, and a capable broker takes no commission of it.
    BrokerNotFree,
}

impl RouteReason {
    /// Every reason.
    pub const ALL: [Self; 40] = [
        Self::NoQuote,
        Self::CrossedMarket,
        Self::LockedMarket,
        Self::NoFxRate,
        Self::FigureOutOfRange,
        Self::NoAccount,
        Self::NoVenue,
        Self::DepthExhausted,
        Self::VenueLot,
        Self::ThroughLimit,
        Self::Collar,
        Self::NotWorthTaking,
        Self::ExceedsLeaves,
        Self::TooManyRejects,
        Self::VenueUnknown,
        Self::VenueClosed,
        Self::VenueOutOfHours,
        Self::VenueNoCalendar,
        Self::VenueHalted,
        Self::VenueKind,
        Self::VenueAssetClass,
        Self::VenueOrderType,
        Self::BelowMinQuantity,
        Self::VenueRestricted,
        Self::VenueNotPermitted,
        Self::VenueNoQuote,
        Self::VenueStaleQuote,
        Self::VenueCrossed,
        Self::VenueLocked,
        Self::VenueRejected,
        Self::DarkNotWanted,
        Self::Killed,
        Self::Paused,
        Self::BrokerUnknown,
        Self::BrokerInactive,
        Self::BrokerAssetClass,
        Self::BrokerOrderType,
        Self::BrokerFractional,
        Self::BrokerNotPreferred,
        Self::BrokerNotFree,
    ];

    /// Code in the event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoQuote => "NO_QUOTE",
            Self::CrossedMarket => "CROSSED_MARKET",
            Self::LockedMarket => "LOCKED_MARKET",
            Self::NoFxRate => "NO_FX_RATE",
            Self::FigureOutOfRange => "FIGURE_OUT_OF_RANGE",
            Self::NoAccount => "NO_ACCOUNT",
            Self::NoVenue => "NO_VENUE",
            Self::DepthExhausted => "DEPTH_EXHAUSTED",
            Self::VenueLot => "VENUE_LOT",
            Self::ThroughLimit => "THROUGH_LIMIT",
            Self::Collar => "COLLAR",
            Self::NotWorthTaking => "NOT_WORTH_TAKING",
            Self::ExceedsLeaves => "EXCEEDS_LEAVES",
            Self::TooManyRejects => "TOO_MANY_REJECTS",
            Self::VenueUnknown => "VENUE_UNKNOWN",
            Self::VenueClosed => "VENUE_CLOSED",
            Self::VenueOutOfHours => "VENUE_OUT_OF_HOURS",
            Self::VenueNoCalendar => "VENUE_NO_CALENDAR",
            Self::VenueHalted => "VENUE_HALTED",
            Self::VenueKind => "VENUE_KIND",
            Self::VenueAssetClass => "VENUE_ASSET_CLASS",
            Self::VenueOrderType => "VENUE_ORDER_TYPE",
            Self::BelowMinQuantity => "BELOW_MIN_QUANTITY",
            Self::VenueRestricted => "VENUE_RESTRICTED",
            Self::VenueNotPermitted => "VENUE_NOT_PERMITTED",
            Self::VenueNoQuote => "VENUE_NO_QUOTE",
            Self::VenueStaleQuote => "VENUE_STALE_QUOTE",
            Self::VenueCrossed => "VENUE_CROSSED",
            Self::VenueLocked => "VENUE_LOCKED",
            Self::VenueRejected => "VENUE_REJECTED",
            Self::DarkNotWanted => "DARK_NOT_WANTED",
            Self::Killed => "KILLED",
            Self::Paused => "PAUSED",
            Self::BrokerUnknown => "BROKER_UNKNOWN",
            Self::BrokerInactive => "BROKER_INACTIVE",
            Self::BrokerAssetClass => "BROKER_ASSET_CLASS",
            Self::BrokerOrderType => "BROKER_ORDER_TYPE",
            Self::BrokerFractional => "BROKER_FRACTIONAL",
            Self::BrokerNotPreferred => "BROKER_NOT_PREFERRED",
            Self::BrokerNotFree => "BROKER_NOT_FREE",
        }
    }
}
