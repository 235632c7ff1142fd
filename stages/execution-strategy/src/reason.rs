//! Closed codes: why a slice is released, and why none is.

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Code in events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

codes! {
    /// Why a slice is released.
    Trigger {
        /// A slot of the schedule is due.
        Schedule = "SCHEDULE",
        /// A slot is due after others were missed.
        CatchUp = "CATCH_UP",
        /// The order is placed at its price, to rest there.
        Placed = "PLACED",
        /// The book has left the price: children are cancelled, to be placed anew.
        Reprice = "REPRICE",
        /// What was shown is gone: the next part is shown.
        Refresh = "REFRESH",
        /// Spread, size and price are what it waited for.
        Triggered = "TRIGGERED",
        /// Others have traded: its share follows.
        Participation = "PARTICIPATION",
        /// What children left over is released again.
        Completion = "COMPLETION",
        /// Waiting is over: children that rest are cancelled.
        Finish = "FINISH",
        /// The price is so good that everything is taken.
        WouldPrice = "WOULD_PRICE",
        /// The time is over.
        End = "END",
        /// The order is being cancelled.
        Stop = "STOP",
    }
}

codes! {
    /// Why nothing is released although something is due.
    Hold {
        /// There is no two-sided quote.
        NoQuote = "NO_QUOTE",
        /// The quote is too old.
        StaleQuote = "STALE_QUOTE",
        /// Bid and ask are equal.
        LockedBook = "LOCKED_BOOK",
        /// The bid is above the ask.
        CrossedBook = "CROSSED_BOOK",
        /// The venue has halted trading.
        Halted = "HALTED",
        /// The venue is closed.
        MarketClosed = "MARKET_CLOSED",
        /// The order limits its share of a volume that nobody knows.
        VolumeUnknown = "VOLUME_UNKNOWN",
    }
}

impl Hold {
    /// Whether it is told as a pause. A locked or crossed book passes in a moment: the next slice says when it was due.
    #[must_use]
    pub const fn is_told(self) -> bool {
        match self {
            Self::LockedBook | Self::CrossedBook => false,
            Self::NoQuote | Self::StaleQuote | Self::Halted | Self::MarketClosed | Self::VolumeUnknown => true,
        }
    }
}

codes! {
    /// Why a schedule is paused or ended before its time.
    Pause {
        /// Somebody has suspended the order, or its market is not in session.
        Suspended = "SUSPENDED",
        /// The market moves too much.
        Volatility = "VOLATILITY",
        /// The mid has moved against the order since its last slice.
        OwnImpact = "OWN_IMPACT",
        /// Fills have become too dear.
        Slippage = "SLIPPAGE",
    }
}

codes! {
    /// Why a strategy could not be chosen.
    Exclusion {
        /// It cannot run for this order.
        NotAvailable = "NOT_AVAILABLE",
        /// Volume or volatility is not known: the models give no figure.
        NotEstimated = "NOT_ESTIMATED",
        /// It would take more of the volume than the order allows.
        Participation = "PARTICIPATION_LIMIT",
        /// It does not end in the order's time.
        Horizon = "HORIZON",
    }
}

codes! {
    /// What changed a strategy while it works.
    Cause {
        /// A command replaced the order's terms.
        Replaced = "REPLACED",
        /// The order was resumed.
        Resumed = "RESUMED",
        /// The market is in another condition.
        Condition = "CONDITION",
        /// What paused it has passed.
        Passed = "PASSED",
        /// The market has printed at the stop or beyond it.
        StopPrint = "STOP_PRINT",
        /// Nothing is printed, and the touch has reached the stop.
        StopQuote = "STOP_QUOTE",
        /// The stop was set off for another account's part of the order: it is the order's.
        StopShared = "STOP_SHARED",
    }
}

codes! {
    /// Why a question for a strategy has no answer.
    NoAdvice {
        /// The market or the reference data have not been read.
        TablesUnavailable = "TABLES_UNAVAILABLE",
        /// There is no such instrument.
        UnknownInstrument = "UNKNOWN_INSTRUMENT",
        /// Inverse contracts are not traded.
        NotTraded = "INSTRUMENT_NOT_TRADED",
        /// The quantity is not above zero, no whole lots, or below the instrument's minimum.
        InvalidQuantity = "INVALID_QUANTITY",
        /// The limit is no price of the instrument.
        InvalidPrice = "INVALID_PRICE",
        /// The share of the volume is not above 0 and at most 1.
        InvalidParticipationRate = "INVALID_PARTICIPATION_RATE",
        /// The news score is not from 0 to 1.
        InvalidScore = "INVALID_SCORE",
        /// The time is not above zero.
        InvalidTime = "INVALID_TIME_LIMIT",
        /// The instrument is not in session, or has no calendar.
        MarketClosed = "MARKET_CLOSED",
        /// There is no usable two-sided quote.
        NoQuote = "NO_QUOTE",
        /// The quote is too old.
        StaleQuote = "STALE_QUOTE",
        /// There is no fresh rate to the reporting currency.
        NoFxRate = "NO_FX_RATE",
        /// A figure is out of range.
        OutOfRange = "FIGURE_OUT_OF_RANGE",
        /// The same key was used for another question.
        Conflict = "IDEMPOTENCY_CONFLICT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_different() {
        let mut codes: Vec<&str> = Trigger::ALL.iter().map(|t| t.as_str()).collect();
        codes.extend(Hold::ALL.iter().map(|h| h.as_str()));
        codes.extend(Pause::ALL.iter().map(|p| p.as_str()));
        codes.extend(Exclusion::ALL.iter().map(|e| e.as_str()));
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }
}
