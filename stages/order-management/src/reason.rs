//! Why an order was refused, ended or needs a look: closed codes.

use fillstream_domain::avro_enum;

avro_enum! {
    /// Reason codes that order-management writes. Codes of the risk stages stand in events as they gave them.
    pub enum Reason {
        /// The decision names no portfolio and there is no default one.
        NoPortfolio = "NO_PORTFOLIO",
        /// An id is empty, too long or has control characters.
        InvalidId = "INVALID_ID",
        /// The event_id was used before with other content.
        DuplicateConflict = "DUPLICATE_CONFLICT",
        /// A control forbids trading.
        Killed = "KILLED",
        /// A control pauses what the decision is about.
        Paused = "PAUSED",
        /// The controls are not known: nothing may trade.
        ControlsUnavailable = "CONTROLS_UNAVAILABLE",
        /// The decision is older than its urgency allows.
        StaleDecision = "STALE_DECISION",
        /// The decision comes from the future.
        FutureDecision = "FUTURE_DECISION",
        /// No such urgency.
        UnknownUrgency = "UNKNOWN_URGENCY",
        /// No such priority.
        UnknownPriority = "UNKNOWN_PRIORITY",
        /// No such order type.
        UnknownOrderType = "UNKNOWN_ORDER_TYPE",
        /// No such time in force.
        UnknownTimeInForce = "UNKNOWN_TIME_IN_FORCE",
        /// No such algorithm.
        UnknownAlgorithm = "UNKNOWN_ALGORITHM",
        /// No such objective.
        UnknownObjective = "UNKNOWN_OBJECTIVE",
        /// The time horizon cannot be read or is zero.
        InvalidTimeHorizon = "INVALID_TIME_HORIZON",
        /// The side contradicts the action.
        SideMismatch = "SIDE_MISMATCH",
        /// The confidence is not between 0 and 1.
        InvalidConfidence = "INVALID_CONFIDENCE",
        /// The confidence is under the configured minimum.
        ConfidenceTooLow = "CONFIDENCE_TOO_LOW",
        /// The participation rate is not above 0 and at most 1.
        InvalidParticipationRate = "INVALID_PARTICIPATION_RATE",
        /// LIMIT or STOP_LIMIT, or the LIMIT algorithm, without a limit price.
        MissingLimitPrice = "MISSING_LIMIT_PRICE",
        /// STOP or STOP_LIMIT without a stop price.
        MissingStopPrice = "MISSING_STOP_PRICE",
        /// A stop order that is to be done at once.
        StopNotSupported = "STOP_NOT_SUPPORTED",
        /// The market has passed the stop price already, or has set the order off.
        StopPassed = "STOP_PASSED",
        /// The limit lies on the near side of the stop: what is set off could not trade.
        StopBeyondLimit = "STOP_BEYOND_LIMIT",
        /// A price that the order type has no use for: what was meant would be a guess.
        UnexpectedPrice = "UNEXPECTED_PRICE",
        /// The time in force does not go with what is asked for.
        TimeInForceNotSupported = "TIME_IN_FORCE_NOT_SUPPORTED",
        /// FOK where more than one child would be made.
        FokNotPossible = "FOK_NOT_POSSIBLE",
        /// GTD without an end.
        MissingExpireAt = "MISSING_EXPIRE_AT",
        /// The end has passed.
        ExpiredOnArrival = "EXPIRED_ON_ARRIVAL",
        /// Reference data is not known.
        ReferenceUnavailable = "REFERENCE_UNAVAILABLE",
        /// No such instrument.
        UnknownInstrument = "UNKNOWN_INSTRUMENT",
        /// The instrument is of another class than the decision says.
        InstrumentTypeMismatch = "INSTRUMENT_TYPE_MISMATCH",
        /// A price is off the tick, or not above zero where it must be.
        InvalidPrice = "INVALID_PRICE",
        /// The instrument's sessions are not known.
        NoCalendar = "NO_CALENDAR",
        /// The market is not in session.
        MarketClosed = "MARKET_CLOSED",
        /// No usable quote at the reference venue.
        NoQuote = "NO_QUOTE",
        /// The quote is too old.
        StaleQuote = "STALE_QUOTE",
        /// Neither quantity nor amount, or one that is not above zero.
        InvalidQuantity = "INVALID_QUANTITY",
        /// The quantity is no whole number of lots.
        LotSize = "LOT_SIZE",
        /// The quantity is below the instrument's minimum.
        QuantityBelowMinimum = "QUANTITY_BELOW_MINIMUM",
        /// The value is below the instrument's minimum.
        NotionalBelowMinimum = "NOTIONAL_BELOW_MINIMUM",
        /// Quantity and amount contradict each other at the reference price.
        AmountMismatch = "AMOUNT_MISMATCH",
        /// A figure cannot be calculated.
        FigureOutOfRange = "FIGURE_OUT_OF_RANGE",
        /// Risk refused without a code of its own.
        RiskRejected = "RISK_REJECTED",

        /// Note at creation: the horizon was cut to the session.
        HorizonCut = "HORIZON_CUT",

        /// Somebody cancelled the order.
        CancelCommand = "CANCEL_COMMAND",
        /// Somebody suspended the order.
        SuspendCommand = "SUSPEND_COMMAND",
        /// Somebody resumed the order.
        ResumeCommand = "RESUME_COMMAND",
        /// Somebody replaced the terms of the order.
        ReplaceCommand = "REPLACE_COMMAND",
        /// The order rests: its market is not in session.
        SessionClosed = "SESSION_CLOSED",
        /// The order goes on: its market is in session.
        SessionOpened = "SESSION_OPENED",
        /// The order's time was over.
        Expired = "EXPIRED",
        /// The schedule ended with something left.
        ScheduleComplete = "SCHEDULE_COMPLETE",
        /// An account's order ended with something left of it, and all that its children left was rejected.
        ChildrenRejected = "CHILDREN_REJECTED",
        /// The order is filled while children still work: they are cancelled.
        FilledCancelRest = "FILLED_CANCEL_REST",
        /// The order is to end, but its verdict or the last plan of its schedule is overdue: it is asked for again.
        EndOverdue = "END_OVERDUE",

        /// Neither order_id nor decision_event_id.
        MissingOrderId = "MISSING_ORDER_ID",
        /// No such order is open or has ended lately.
        UnknownOrder = "UNKNOWN_ORDER",
        /// The order belongs to another portfolio.
        PortfolioMismatch = "PORTFOLIO_MISMATCH",
        /// order_id and decision_event_id name two orders.
        OrderMismatch = "ORDER_MISMATCH",
        /// The order has ended.
        OrderTerminal = "ORDER_TERMINAL",
        /// The order is being ended already.
        CancelAlreadyPending = "CANCEL_ALREADY_PENDING",
        /// Risk has not released the order yet.
        OrderNotReleased = "ORDER_NOT_RELEASED",
        /// The order is suspended already.
        AlreadySuspended = "ALREADY_SUSPENDED",
        /// The order is not suspended.
        NotSuspended = "NOT_SUSPENDED",
        /// Risk has not answered the last replace yet.
        ReplaceAlreadyPending = "REPLACE_ALREADY_PENDING",
        /// A cancel, kill or expiry came before risk's answer to the replace: it wins.
        ReplaceOvertaken = "REPLACE_OVERTAKEN",
        /// Risk has not answered the replace in time; an answer that still comes is ignored.
        ReplaceOverdue = "REPLACE_OVERDUE",
        /// Less is asked for than is filled.
        BelowFilled = "BELOW_FILLED",
        /// The order is as the replace asks for it.
        NothingToReplace = "NOTHING_TO_REPLACE",
        /// The command is not worked.
        CommandNotSupported = "COMMAND_NOT_SUPPORTED",

        /// A report contradicts what is known of the child; nothing was changed.
        IllegalReport = "ILLEGAL_REPORT",
        /// A fill without quantity or price; it cannot be booked until the broker says more.
        MalformedFill = "MALFORMED_FILL",
        /// An ExecID was used before with other figures.
        ExecIdConflict = "EXEC_ID_CONFLICT",
        /// A bust or correction came before its fill; it waits for it.
        AmendmentBeforeFill = "AMENDMENT_BEFORE_FILL",
        /// The broker refused a cancel.
        CancelRejected = "CANCEL_REJECTED",
        /// More was filled than ordered.
        Overfill = "OVERFILL",
        /// A fill, bust or correction came after the order's end.
        LateExecution = "LATE_EXECUTION",
    }
}

/// Codes of the dead letters that order-management makes.
pub mod poison {
    /// A verdict, plan, alert or report of an order that does not exist or was retired.
    pub const UNKNOWN_ORDER: &str = "UNKNOWN_ORDER";
    /// A command without portfolio, and no default one.
    pub const NO_PORTFOLIO: &str = "NO_PORTFOLIO";
    /// An approval without account or arrival.
    pub const INCOMPLETE_APPROVAL: &str = "INCOMPLETE_APPROVAL";
    /// A figure beyond its range.
    pub const FIGURE_OUT_OF_RANGE: &str = "FIGURE_OUT_OF_RANGE";
}
