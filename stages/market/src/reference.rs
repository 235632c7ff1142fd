//! What a symbol says about its instrument.

use fillstream_domain::AssetClass;

/// Calendar of crypto assets: every day, all day.
pub const CALENDAR_CRYPTO: &str = "CRYPTO";
/// Calendar of currency pairs: Sunday to Friday, days end at 17:00 in New York.
pub const CALENDAR_FX: &str = "FX";
/// Calendar of shares and funds: the New York session.
pub const CALENDAR_EQUITY: &str = "XNYS";

/// Microseconds of a whole day.
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// Microseconds of a New York session, 09:30 to 16:00.
pub(crate) const EQUITY_DAY_US: i64 = 23_400_000_000;

/// What is guessed from a symbol and its venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) asset_class: AssetClass,
    pub(crate) base: String,
    pub(crate) quote: String,
    pub(crate) settlement: String,
    /// Coin-margined: priced in the quote currency, held and settled in the coin.
    pub(crate) inverse: bool,
    /// Units of base (of quote, where inverse) a quantity of 1 stands for.
    pub(crate) multiplier: i64,
}

impl Guess {
    pub(crate) const fn calendar_id(&self) -> &'static str {
        calendar_id(self.asset_class)
    }

    /// Length of a trading day, microseconds.
    pub(crate) const fn day_us(&self) -> i64 {
        day_us(self.asset_class)
    }
}

/// The calendar of an asset class.
pub(crate) const fn calendar_id(asset_class: AssetClass) -> &'static str {
    match asset_class {
        AssetClass::Crypto => CALENDAR_CRYPTO,
        AssetClass::Fx => CALENDAR_FX,
        AssetClass::Equity | AssetClass::Etf | AssetClass::Future | AssetClass::Option | AssetClass::Bond => {
            CALENDAR_EQUITY
        }
    }
}

/// Length of a trading day of an asset class, microseconds.
pub(crate) const fn day_us(asset_class: AssetClass) -> i64 {
    match asset_class {
        AssetClass::Crypto | AssetClass::Fx => DAY_US,
        AssetClass::Equity | AssetClass::Etf | AssetClass::Future | AssetClass::Option | AssetClass::Bond => {
            EQUITY_DAY_US
        }
    }
}

const FIAT: [&str; 21] = [
    "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "SGD", "HKD", "CNH", "ZAR", "MXN",
    "TRY", "PLN", "CZK", "HUF", "ILS",
];
const STABLE: [&str; 6] = ["USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI"];
const COINS: [&str; 20] = [
    "BTC", "XBT", "ETH", "SOL", "XRP", "BNB", "ADA", "DOGE", "LTC", "BCH", "DOT", "LINK", "AVAX", "ETC", "XLM", "TRX",
    "UNI", "ATOM", "XMR", "ZEC",
];

/// Guesses an instrument from its symbol (`EURUSD`, `BTC-USD`, `ETHUSDT-PERP`, `ACME`) and its venue.
///
/// Two currencies make a currency pair; a coin, or a price in a stable coin, makes crypto (perpetual swaps included,
/// because they trade, settle and are margined like it); anything else is a share priced in US dollars.
pub(crate) fn guess(symbol: &str, venue: &str) -> Guess {
    let root = symbol.trim_end_matches("-PERP").trim_end_matches("_PERP").trim_end_matches(".P");
    let Some((base, quote)) = split_pair(root) else { return share(symbol) };
    let fiat = |code: &str| FIAT.contains(&code);
    let coin = |code: &str| COINS.contains(&code) || STABLE.contains(&code);
    let asset_class = if fiat(base) && fiat(quote) {
        AssetClass::Fx
    } else if coin(base) || coin(quote) {
        AssetClass::Crypto
    } else {
        return share(symbol);
    };
    let inverse = venue.ends_with("-COINM");
    // Coin-margined contracts stand for 100 USD of bitcoin or 10 USD of any other coin.
    let multiplier = match (inverse, base) {
        (false, _) => 1,
        (true, "BTC" | "XBT") => 100,
        (true, _) => 10,
    };
    let settlement = if inverse { base } else { quote };
    Guess {
        asset_class,
        base: base.to_owned(),
        quote: quote.to_owned(),
        settlement: settlement.to_owned(),
        inverse,
        multiplier,
    }
}

fn share(symbol: &str) -> Guess {
    Guess {
        asset_class: AssetClass::Equity,
        base: symbol.to_owned(),
        quote: "USD".to_owned(),
        settlement: "USD".to_owned(),
        inverse: false,
        multiplier: 1,
    }
}

/// Base and quote currency of a pair, written with or without a separator.
fn split_pair(root: &str) -> Option<(&str, &str)> {
    if let Some((base, quote)) = root.split_once(['-', '/', '_']) {
        return (!base.is_empty() && !quote.is_empty()).then_some((base, quote));
    }
    // The longest suffix wins: BTCFDUSD is priced in FDUSD, not in USD.
    let quotes = STABLE.iter().chain(&FIAT).chain(&COINS);
    let quote = quotes.filter(|quote| root.len() > quote.len() && root.ends_with(**quote)).max_by_key(|q| q.len())?;
    root.strip_suffix(quote).map(|base| (base, *quote))
}

#[cfg(test)]
mod tests {
    use super::guess;
    use fillstream_domain::AssetClass;

    #[test]
    fn symbols_are_guessed_with_their_currencies() {
        for (symbol, venue, class, base, quote, settlement) in [
            ("EURUSD", "FXCM", AssetClass::Fx, "EUR", "USD", "USD"),
            ("NZD/USD", "OANDA", AssetClass::Fx, "NZD", "USD", "USD"),
            ("BTCUSD", "COINBASE", AssetClass::Crypto, "BTC", "USD", "USD"),
            ("ETHUSDT", "BINANCE", AssetClass::Crypto, "ETH", "USDT", "USDT"),
            ("BTCFDUSD", "BINANCE", AssetClass::Crypto, "BTC", "FDUSD", "FDUSD"),
            ("BTCUSDT-PERP", "BINANCE-USDM", AssetClass::Crypto, "BTC", "USDT", "USDT"),
            ("ETHBTC", "BINANCE", AssetClass::Crypto, "ETH", "BTC", "BTC"),
            ("BTCUSD_PERP", "BINANCE-COINM", AssetClass::Crypto, "BTC", "USD", "BTC"),
            ("ACME", "XNYS", AssetClass::Equity, "ACME", "USD", "USD"),
            ("USD", "XNYS", AssetClass::Equity, "USD", "USD", "USD"),
        ] {
            let guess = guess(symbol, venue);
            assert_eq!(guess.asset_class, class, "{symbol}");
            assert_eq!(
                (guess.base.as_str(), guess.quote.as_str(), guess.settlement.as_str()),
                (base, quote, settlement),
                "{symbol}"
            );
        }
    }

    #[test]
    fn coin_margined_contracts_are_inverse_with_their_multiplier() {
        assert_eq!((guess("BTCUSD-PERP", "BINANCE-COINM").multiplier, guess("X", "Y").multiplier), (100, 1));
        assert!(guess("ETHUSD-PERP", "BINANCE-COINM").inverse);
        assert_eq!(guess("ETHUSD-PERP", "BINANCE-COINM").multiplier, 10);
        assert!(!guess("ETHUSDT-PERP", "BINANCE-USDM").inverse);
    }
}
