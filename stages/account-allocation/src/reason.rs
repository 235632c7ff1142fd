//! Why an account is left out, why a share was changed, and why quantity stays with no account.

use fillstream_domain::avro_enum;

avro_enum! {
    /// Why an account gets no share.
    pub enum Exclusion {
        /// It must not trade.
        AccountInactive = "ACCOUNT_INACTIVE",
        /// A control forbids it.
        Killed = "KILLED",
        /// A control has it pause.
        Paused = "PAUSED",
        /// Its available margin is below the minimum.
        MarginBelowMinimum = "MARGIN_BELOW_MINIMUM",
        /// It has no risk budget left.
        RiskBudgetExhausted = "RISK_BUDGET_EXHAUSTED",
        /// It lost more today than it may.
        DrawdownAboveLimit = "DRAWDOWN_ABOVE_LIMIT",
        /// It would have one open position too many.
        TooManyPositions = "TOO_MANY_POSITIONS",
        /// It holds nothing that it could sell or cover.
        NothingAvailable = "NOTHING_AVAILABLE",
        /// It is long: a short sale would sell what it holds.
        LongPosition = "LONG_POSITION",
        /// The figure that the rule measures by is unknown or not above zero.
        NoBasis = "NO_BASIS",
        /// Its margin has no rate to the reporting currency.
        NoFxRate = "NO_FX_RATE",
        /// Its share is below the instrument's minimum.
        BelowMinimum = "BELOW_MINIMUM",
        /// It has or had a share of this order already.
        AlreadyUsed = "ALREADY_USED",
        /// Another account takes over.
        NotChosen = "NOT_CHOSEN",
    }
}

avro_enum! {
    /// Why part of an order stays with no account.
    pub enum Unallocated {
        /// A table was never read.
        TableUnavailable = "TABLE_UNAVAILABLE",
        /// The portfolio has no account.
        NoAccount = "NO_ACCOUNT",
        /// A control forbids the whole order.
        Killed = "KILLED",
        /// A control has the whole order pause.
        Paused = "PAUSED",
        /// No account may take part.
        NoEligibleAccount = "NO_ELIGIBLE_ACCOUNT",
        /// The accounts hold less than is to be sold or covered.
        InsufficientHoldings = "INSUFFICIENT_HOLDINGS",
        /// The margin of the accounts does not pay for all of it.
        InsufficientMargin = "INSUFFICIENT_MARGIN",
        /// It is less than the instrument's minimum, or than a lot.
        BelowMinimum = "BELOW_MINIMUM",
        /// What an account gave up because its returns go with another's, and nobody else can take.
        Correlated = "CORRELATED",
        /// What a failed account order left beyond what another account takes over.
        FallbackReduced = "FALLBACK_REDUCED",
    }
}

avro_enum! {
    /// What changed the share of an account or its start.
    pub enum Adjustment {
        /// Capped at what it has available to sell or cover.
        HoldingsCap = "HOLDINGS_CAP",
        /// Capped at what its margin pays for.
        MarginCap = "MARGIN_CAP",
        /// It took what others could not.
        Redistributed = "REDISTRIBUTED",
        /// A warning: its returns go with an earlier account's; it starts later.
        CorrelationDelay = "CORRELATION_DELAY",
        /// A warning: its returns go with an earlier account's; its share was reduced.
        CorrelationReduced = "CORRELATION_REDUCED",
        /// Its start varies among the accounts of its owner.
        TimeVariance = "TIME_VARIANCE",
        /// Its size varies among the accounts of its owner.
        SizeVariance = "SIZE_VARIANCE",
    }
}
