//! What a row says beside its figures: closed codes with the figures they rest on.
//!
//! A finding is one text, `CODE key=value ...`. The first group says what a figure could not be made of, or was made of
//! instead; the second is advice, each piece against a threshold of the configuration.

use std::fmt;

use fillstream_domain::{Bps, Money, Price, Quantity, Ratio, TimestampMicros};

/// A finding of an analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no market benchmark: timing and impact stand as one trading cost.
    BenchmarkMissing {
        /// Why, a closed code.
        cause: &'static str,
    },
    /// Too few prints for a VWAP: the benchmark is another.
    FewPrints {
        /// Prints in the interval.
        prints: i64,
        /// Fewest that make a VWAP.
        minimum: i64,
    },
    /// The market table has not reached the end of what a figure is made of.
    MarketBehind {
        /// Latest row of the reference market; `None`: no row.
        watermark: Option<TimestampMicros>,
        /// What it should have passed.
        needed: TimestampMicros,
    },
    /// There is no mid where the close was asked for: an earlier one stands for it.
    CloseMissing {
        /// Why, a closed code.
        cause: &'static str,
    },
    /// There is no mid at the end of the horizon.
    HorizonMissing {
        /// Why, a closed code.
        cause: &'static str,
    },
    /// No session is known for the instrument: there will be no FINAL row.
    NoSession,
    /// The arrival quote was crossed.
    ArrivalCrossed {
        /// Bid.
        bid: Price,
        /// Ask.
        ask: Price,
    },
    /// The arrival quote was locked.
    ArrivalLocked {
        /// Bid and ask.
        price: Price,
    },
    /// Fees of another currency were converted.
    FeesConverted {
        /// Their currency.
        currency: String,
        /// Their sum.
        amount: Money,
        /// Quote currency a unit.
        rate: Price,
    },
    /// Fees of another currency are in no amount: there is no rate.
    FeesNotConverted {
        /// Their currency.
        currency: String,
        /// Their sum.
        amount: Money,
    },
    /// More was filled than ordered.
    Overfilled {
        /// How much more.
        quantity: Quantity,
    },
    /// Basis points of nothing, or beyond their range: they are given as 0.
    BpsUndefined {
        /// Pd x Q.
        decided_value: Money,
    },
    /// The decision reached the market late.
    ReduceDelay {
        /// Delay cost of Pd x Q.
        cost: Bps,
        /// From which on it is said.
        threshold: Bps,
    },
    /// The order moved the market: a longer horizon is cheaper.
    ExtendHorizon {
        /// Market impact of Pd x Q.
        cost: Bps,
        /// From which on it is said.
        threshold: Bps,
    },
    /// The order was much of the market's volume.
    LowerParticipation {
        /// Filled over the market's volume.
        participation: Ratio,
        /// From which on it is said.
        threshold: Ratio,
    },
    /// The limit kept the order from being filled while the market went away.
    ReviewLimit {
        /// limit_away of Pd x Q.
        cost: Bps,
        /// From which on it is said.
        threshold: Bps,
    },
    /// Little of the order was filled.
    LowFillRate {
        /// Filled over ordered.
        fill_rate: Ratio,
        /// Below which it is said.
        threshold: Ratio,
    },
    /// Fees are a large part of what was paid.
    ReviewFees {
        /// Fees of the filled value.
        cost: Bps,
        /// From which on it is said.
        threshold: Bps,
    },
    /// Many children were rejected.
    ReviewRejects {
        /// Rejected children.
        rejected: i32,
        /// All children.
        children: i32,
    },
}

impl Finding {
    /// Every code, in the order of the variants.
    pub const CODES: [&'static str; 19] = [
        "BENCHMARK_MISSING",
        "FEW_PRINTS",
        "MARKET_BEHIND",
        "CLOSE_MISSING",
        "HORIZON_MISSING",
        "NO_SESSION",
        "ARRIVAL_CROSSED",
        "ARRIVAL_LOCKED",
        "FEES_CONVERTED",
        "FEES_NOT_CONVERTED",
        "OVERFILLED",
        "BPS_UNDEFINED",
        "REDUCE_DELAY",
        "EXTEND_HORIZON",
        "LOWER_PARTICIPATION",
        "REVIEW_LIMIT",
        "LOW_FILL_RATE",
        "REVIEW_FEES",
        "REVIEW_REJECTS",
    ];

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BenchmarkMissing { .. } => "BENCHMARK_MISSING",
            Self::FewPrints { .. } => "FEW_PRINTS",
            Self::MarketBehind { .. } => "MARKET_BEHIND",
            Self::CloseMissing { .. } => "CLOSE_MISSING",
            Self::HorizonMissing { .. } => "HORIZON_MISSING",
            Self::NoSession => "NO_SESSION",
            Self::ArrivalCrossed { .. } => "ARRIVAL_CROSSED",
            Self::ArrivalLocked { .. } => "ARRIVAL_LOCKED",
            Self::FeesConverted { .. } => "FEES_CONVERTED",
            Self::FeesNotConverted { .. } => "FEES_NOT_CONVERTED",
            Self::Overfilled { .. } => "OVERFILLED",
            Self::BpsUndefined { .. } => "BPS_UNDEFINED",
            Self::ReduceDelay { .. } => "REDUCE_DELAY",
            Self::ExtendHorizon { .. } => "EXTEND_HORIZON",
            Self::LowerParticipation { .. } => "LOWER_PARTICIPATION",
            Self::ReviewLimit { .. } => "REVIEW_LIMIT",
            Self::LowFillRate { .. } => "LOW_FILL_RATE",
            Self::ReviewFees { .. } => "REVIEW_FEES",
            Self::ReviewRejects { .. } => "REVIEW_REJECTS",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        match self {
            Self::BenchmarkMissing { cause } | Self::CloseMissing { cause } | Self::HorizonMissing { cause } => {
                write!(f, " cause={cause}")
            }
            Self::FewPrints { prints, minimum } => write!(f, " prints={prints} minimum={minimum}"),
            Self::MarketBehind { watermark: Some(watermark), needed } => {
                write!(f, " watermark={watermark} needed={needed}")
            }
            Self::MarketBehind { watermark: None, needed } => write!(f, " watermark=none needed={needed}"),
            Self::NoSession => Ok(()),
            Self::ArrivalCrossed { bid, ask } => write!(f, " bid={bid} ask={ask}"),
            Self::ArrivalLocked { price } => write!(f, " price={price}"),
            Self::FeesConverted { currency, amount, rate } => {
                write!(f, " currency={currency} amount={amount} rate={rate}")
            }
            Self::FeesNotConverted { currency, amount } => write!(f, " currency={currency} amount={amount}"),
            Self::Overfilled { quantity } => write!(f, " quantity={quantity}"),
            Self::BpsUndefined { decided_value } => write!(f, " decided_value={decided_value}"),
            Self::ReduceDelay { cost, threshold }
            | Self::ExtendHorizon { cost, threshold }
            | Self::ReviewLimit { cost, threshold }
            | Self::ReviewFees { cost, threshold } => write!(f, " bps={cost} threshold={threshold}"),
            Self::LowerParticipation { participation, threshold } => {
                write!(f, " participation={participation} threshold={threshold}")
            }
            Self::LowFillRate { fill_rate, threshold } => write!(f, " fill_rate={fill_rate} threshold={threshold}"),
            Self::ReviewRejects { rejected, children } => write!(f, " rejected={rejected} children={children}"),
        }
    }
}

/// Cause: no version of the market table was ever published.
pub(crate) const NO_TABLE: &str = "NO_TABLE";
/// Cause: fills whose times are not held.
pub(crate) const FILL_TIMES: &str = "FILL_TIMES";
