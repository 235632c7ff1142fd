//! What the market, an instrument and a control are.

use crate::avro_enum;

avro_enum! {
    /// What kind of thing an instrument is.
    pub enum AssetClass {
        /// Shares.
        Equity = "EQUITY" | "EQUITIES" | "STOCK",
        /// Exchange traded funds.
        Etf = "ETF" | "ETFS",
        /// Currency pairs.
        Fx = "FX" | "FOREX",
        /// Crypto assets.
        Crypto = "CRYPTO" | "CRYPTOCURRENCY",
        /// Futures.
        Future = "FUTURE" | "FUTURES",
        /// Options.
        Option = "OPTION" | "OPTIONS",
        /// Bonds.
        Bond = "BOND" | "BONDS" | "FIXED_INCOME",
    }
}

avro_enum! {
    /// What the market is doing.
    pub enum MarketCondition {
        /// Nothing special.
        Normal = "NORMAL",
        /// Prices move more than usual.
        HighVolatility = "HIGH_VOLATILITY",
        /// Less volume or depth than usual.
        LowLiquidity = "LOW_LIQUIDITY",
        /// Prices go one way.
        Trending = "TRENDING",
        /// Prices come back.
        MeanReverting = "MEAN_REVERTING",
        /// News, or a jump that looks like news.
        NewsDriven = "NEWS_DRIVEN",
    }
}

avro_enum! {
    /// What a control (kill, pause, breaker) covers.
    pub enum ControlScope {
        /// Everything.
        Firm = "FIRM",
        /// A portfolio.
        Portfolio = "PORTFOLIO",
        /// An account.
        Account = "ACCOUNT",
        /// A strategy.
        Strategy = "STRATEGY",
        /// A trader.
        Trader = "TRADER",
        /// A broker.
        Broker = "BROKER",
        /// A venue.
        Venue = "VENUE",
        /// An instrument.
        Instrument = "INSTRUMENT",
    }
}

avro_enum! {
    /// Whether a fill gave or took liquidity (FIX 851).
    pub enum LiquidityFlag {
        /// Rested in the book.
        Maker = "MAKER",
        /// Took from the book.
        Taker = "TAKER",
        /// Not said.
        Unknown = "UNKNOWN",
    }
}
