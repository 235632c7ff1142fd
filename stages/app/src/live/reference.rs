//! Reference data of a live world: nothing in it refuses an ordinary order.

use std::collections::BTreeMap;

use fillstream_domain::{Bps, Money, NumberError, Price, Quantity, Rounding, SignedQuantity};
use fillstream_market::{CALENDAR_CRYPTO, CALENDAR_EQUITY, CALENDAR_FX, SyntheticInstrument};
use fillstream_schemas::reference::{Account, Calendar, Instrument, RiskLimit};

use super::SESSIONS;

const CURRENCY: &str = "USD";
/// Larger than everything a run can trade, in [`CURRENCY`].
const PLENTY: i64 = 1_000_000_000_000;
/// Value of a small order, in [`CURRENCY`].
const SMALL: i64 = 1_000;

/// An instrument with the quantity of a small order.
#[derive(Clone, Debug)]
pub struct Orderable {
    /// Instrument.
    pub instrument_id: String,
    /// Units worth about 1,000.
    pub quantity: Quantity,
    /// Step of its prices.
    pub tick_size: Price,
}

/// Name of the n-th portfolio, from 0.
#[must_use]
pub fn portfolio(n: usize) -> String {
    format!("P{:02}", n + 1)
}

/// The instruments with sizes: where orders fill.
///
/// # Errors
/// A price is out of range.
pub fn orderables(instruments: &[SyntheticInstrument]) -> Result<Vec<Orderable>, NumberError> {
    let sized = instruments.iter().filter(|i| i.touch_size.is_some());
    sized
        .map(|i| {
            let quantity = Money::from_int(SMALL)?.buys_at(i.open_price, Rounding::Floor)?.floor_to_lot(i.lot_size)?;
            Ok(Orderable {
                instrument_id: i.instrument_id.clone(),
                quantity: quantity.max(i.lot_size),
                tick_size: i.tick_size,
            })
        })
        .collect()
}

/// An account for each of the first `count` portfolios, with positions to sell from.
///
/// # Errors
/// None in practice: the figures are constants.
pub fn accounts(instruments: &[Instrument], count: usize) -> Result<Vec<Account>, NumberError> {
    let held = SignedQuantity::from(Quantity::from_int(1_000_000)?);
    let positions: BTreeMap<String, SignedQuantity> =
        instruments.iter().map(|i| (i.instrument_id.clone(), held)).collect();
    (0..count)
        .map(|n| {
            Ok(Account {
                account_id: format!("{}-A", portfolio(n)),
                portfolio_id: portfolio(n),
                currency: CURRENCY.to_owned(),
                cash: Money::from_int(PLENTY)?,
                positions: positions.clone(),
                initial_margin: "1.5".parse()?,
                brokers: SESSIONS.iter().map(|s| (*s).to_owned()).collect(),
                is_active: true,
                version: 1,
                ..Account::default()
            })
        })
        .collect()
}

/// A limit for each of the first `count` portfolios, which nothing reaches.
///
/// # Errors
/// None in practice: the figures are constants.
pub fn limits(count: usize) -> Result<Vec<RiskLimit>, NumberError> {
    limits_of(PLENTY, count)
}

/// A limit for each of the first `count` portfolios, whose orders may be worth this much in its currency.
///
/// # Errors
/// None in practice: the figures are constants.
pub fn limits_of(max_order_value: i64, count: usize) -> Result<Vec<RiskLimit>, NumberError> {
    (0..count)
        .map(|n| {
            Ok(RiskLimit {
                portfolio_id: portfolio(n),
                currency: CURRENCY.to_owned(),
                max_order_quantity: Quantity::from_int(PLENTY)?,
                max_order_value: Money::from_int(max_order_value)?,
                max_position_value: Money::from_int(PLENTY)?,
                max_gross_value: Money::from_int(PLENTY)?,
                max_child_quantity: Quantity::from_int(PLENTY)?,
                max_child_value: Money::from_int(PLENTY)?,
                price_collar: Bps::from_int(500)?,
                restricted: Vec::new(),
                allow_short: false,
                max_quote_age_ms: 120_000,
                version: 1,
                ..RiskLimit::default()
            })
        })
        .collect()
}

/// The calendars that the market sources name, open at every hour of every day.
#[must_use]
pub fn always_open() -> Vec<Calendar> {
    const DAY_US: i64 = 86_400_000_000;
    let calendar = |id: &str| Calendar {
        calendar_id: id.to_owned(),
        opens_at_us: 0,
        closes_at_us: DAY_US,
        open_weekends: true,
        holidays: Vec::new(),
        version: 1,
        ..Calendar::default()
    };
    [CALENDAR_EQUITY, CALENDAR_CRYPTO, CALENDAR_FX].map(calendar).to_vec()
}
