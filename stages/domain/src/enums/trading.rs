//! What a decision asks for.

use crate::{Side, UnknownSymbol, avro_enum};

avro_enum! {
    /// What a decision wants done; a `side` beside it may say more exactly how.
    pub enum Action {
        /// Buy.
        Buy = "BUY",
        /// Sell.
        Sell = "SELL",
    }
}

impl Action {
    /// The side where the decision names none.
    #[must_use]
    pub const fn default_side(self) -> Side {
        match self {
            Self::Buy => Side::Buy,
            Self::Sell => Side::Sell,
        }
    }

    /// Whether a side says the same as the action.
    #[must_use]
    pub const fn agrees_with(self, side: Side) -> bool {
        match self {
            Self::Buy => side.is_buy(),
            Self::Sell => !side.is_buy(),
        }
    }
}

avro_enum! {
    /// How much a delay costs, in the eyes of who decided; from least to most.
    pub enum Urgency {
        /// Patient.
        Low = "LOW",
        /// As usual.
        Normal = "NORMAL" | "MEDIUM",
        /// Soon.
        High = "HIGH",
        /// Now.
        Urgent = "URGENT" | "CRITICAL",
    }
}

avro_enum! {
    /// What the choice of broker and venue aims at.
    pub enum RoutingStrategy {
        /// The composite of cost, quality and capability or liquidity.
        Smart = "SMART",
        /// Least total cost.
        LowestCost = "LOWEST_COST",
        /// Least time to the first report.
        FastestExecution = "FASTEST_EXECUTION",
        /// Largest share filled.
        HighestFillProbability = "HIGHEST_FILL_PROBABILITY",
        /// Dark pools first, then the deepest books.
        MinimalMarketImpact = "MINIMAL_MARKET_IMPACT",
    }
}

avro_enum! {
    /// What goes first where there is a choice; from least to most.
    pub enum Priority {
        /// Can wait.
        Low = "LOW",
        /// As usual.
        Normal = "NORMAL" | "MEDIUM",
        /// First.
        High = "HIGH" | "URGENT" | "CRITICAL",
    }
}

avro_enum! {
    /// How an order is worked. A strategy's name and its parameters are other things.
    pub enum Algorithm {
        /// The selection chooses.
        Auto = "AUTO",
        /// One order at the market.
        Market = "MARKET",
        /// One order at the limit.
        Limit = "LIMIT",
        /// Equal slices over time.
        Twap = "TWAP",
        /// Slices in proportion to expected volume.
        Vwap = "VWAP",
        /// Impact against risk, as Almgren and Chriss.
        ImplementationShortfall = "IMPLEMENTATION_SHORTFALL" | "IS",
        /// Front-loaded, close to the arrival price.
        ArrivalPrice = "ARRIVAL_PRICE",
        /// Shows only a part.
        Iceberg = "ICEBERG",
        /// Waits hidden and takes liquidity when it shows.
        Sniper = "SNIPER",
        /// A share of the volume that others trade.
        Pov = "POV",
    }
}

/// What an upstream algorithm name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlgorithmRequest {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Whether it adapts to the market while it works.
    pub adaptive: bool,
}

impl AlgorithmRequest {
    /// Reads an upstream name: a symbol, an alias, or `ADAPTIVE_TWAP` (TWAP with adaptation on).
    ///
    /// # Errors
    /// No such algorithm.
    pub fn parse(text: &str) -> Result<Self, UnknownSymbol> {
        if text == "ADAPTIVE_TWAP" {
            return Ok(Self { algorithm: Algorithm::Twap, adaptive: true });
        }
        Algorithm::parse_alias(text).map(|algorithm| Self { algorithm, adaptive: false })
    }
}

avro_enum! {
    /// What the execution is to be best at.
    pub enum ExecutionObjective {
        /// Least cost.
        MinimizeCost = "MINIMIZE_COST",
        /// Least variance of cost.
        MinimizeRisk = "MINIMIZE_RISK",
        /// Least time.
        MinimizeTime = "MINIMIZE_TIME",
        /// Most of the forecast move.
        MaximizeAlphaCapture = "MAXIMIZE_ALPHA_CAPTURE",
        /// A bit of each.
        BalancedExecution = "BALANCED_EXECUTION",
    }
}
