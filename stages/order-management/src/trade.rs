//! What an order executed, as TradeExecuted tells it.

use std::collections::BTreeMap;

use fillstream_domain::{AvgPrice, Currency, Money, NumberError, PriceQuantitySum, Quantity, Rounding, mul_div_i128};
use fillstream_schemas::execution::{ExecutionShare, TradeExecuted, TradeSummary, TradeTiming};
use fillstream_schemas::state::{OmsExecution, OmsOrder};

use crate::parent::fills;
use crate::{Fx, State};

/// Decimal digits of a price-quantity product, and of money.
const PRODUCT_DIGITS: u32 = 16;
const MONEY_DIGITS: u32 = 8;

/// The fees of an order and their currency: the quote currency if there are any in it, else the first by name. Fees in
/// other currencies stand in the children's events only; amounts of two currencies do not add up.
pub(crate) fn fees(order: &OmsOrder) -> (Option<String>, Money) {
    let quote = order.fees.get_key_value(&order.terms.quote_currency);
    match quote.or_else(|| order.fees.first_key_value()) {
        Some((currency, fees)) => (Some(currency.clone()), *fees),
        None => (None, Money::ZERO),
    }
}

/// The statement of a terminal order's fills; `None` where there never were any.
pub(crate) fn executed(order: &OmsOrder, state: &State, fx: &mut Fx<'_>) -> Result<Option<TradeExecuted>, NumberError> {
    let fills = fills(order);
    if fills.quantity().is_zero() && order.trade_revision == 0 {
        return Ok(None);
    }
    let (fee_currency, fees) = fees(order);
    let prefix = format!("{}/", order.order_id);
    let booked = state.executions.with_prefix(&prefix).map(|(_, e)| e).filter(|e| e.booked);
    let shares = shares(booked, fee_currency.as_deref())?;
    let largest = shares.first();
    let completion_time = order.terminal_at.unwrap_or(fx.now());
    let started = order.arrived_at.unwrap_or(order.created_at);
    Ok(Some(TradeExecuted {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        portfolio_id: order.portfolio_id.clone(),
        account_id: order.account_id.clone().unwrap_or_default(),
        revision: order.trade_revision.saturating_add(1),
        execution: TradeSummary {
            order_id: order.order_id.clone(),
            instrument_id: order.instrument_id.clone(),
            action: order.side,
            requested_quantity: order.ord_qty,
            executed_quantity: fills.quantity(),
            average_fill_price: fills.avg(Rounding::HalfEven)?.unwrap_or(AvgPrice::ZERO),
            total_amount: amount(fills, &order.terms.quote_currency)?,
            currency: order.terms.quote_currency.clone(),
            execution_venue: largest.map(|s| s.venue.clone()).unwrap_or_default(),
            broker: largest.map(|s| s.broker.clone()).unwrap_or_default(),
            shares,
        },
        execution_quality: None,
        timing: TradeTiming {
            decision_time: order.terms.decided_at,
            order_submission_time: order.first_ack_at,
            first_fill_time: order.first_fill_at,
            completion_time,
            total_execution_duration_us: completion_time.micros().saturating_sub(started.micros()),
        },
        fees,
        fee_currency,
    }))
}

/// The sum of the products, rounded once, half to even, to the currency's minor unit.
fn amount(fills: PriceQuantitySum, currency: &str) -> Result<Money, NumberError> {
    let digits = currency.parse::<Currency>().map_or(MONEY_DIGITS, |c| c.minor_digits());
    let power = |digits: u32| 10_i128.checked_pow(digits).ok_or(NumberError::Overflow);
    let unit = power(PRODUCT_DIGITS.saturating_sub(digits))?;
    let minor = mul_div_i128(fills.product_e16(), 1, unit, Rounding::HalfEven)?;
    minor
        .checked_mul(power(MONEY_DIGITS.saturating_sub(digits))?)
        .ok_or(NumberError::Overflow)
        .and_then(Money::from_unscaled)
}

/// Shares by venue and broker, largest first, equal ones by name.
fn shares<'a>(
    fills: impl Iterator<Item = &'a OmsExecution>,
    fee_currency: Option<&str>,
) -> Result<Vec<ExecutionShare>, NumberError> {
    let mut sums: BTreeMap<(&str, &str), (PriceQuantitySum, Money, i32)> = BTreeMap::new();
    for fill in fills {
        let (Some(qty), Some(px)) = (fill.last_qty, fill.last_px) else { continue };
        let (sum, fees, count) = sums.entry((&fill.venue, &fill.broker)).or_default();
        *sum = sum.add(px, qty)?;
        if fill.fee_currency.as_deref() == fee_currency {
            *fees = fees.checked_add(fill.fee.unwrap_or(Money::ZERO))?;
        }
        *count = count.saturating_add(1);
    }
    let mut shares = sums
        .into_iter()
        .map(|((venue, broker), (sum, fees, fills))| {
            let notional = sum.turnover(Rounding::HalfEven)?;
            let (venue, broker) = (venue.to_owned(), broker.to_owned());
            Ok(ExecutionShare { venue, broker, quantity: sum.quantity(), notional, fees, fills })
        })
        .collect::<Result<Vec<_>, NumberError>>()?;
    shares.sort_by_key(|share: &ExecutionShare| std::cmp::Reverse::<Quantity>(share.quantity));
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_22_an_amount_rounds_once_half_even_to_the_minor_unit() {
        let sum = |px: &str, qty: &str| PriceQuantitySum::ZERO.add(px.parse().unwrap(), qty.parse().unwrap()).unwrap();
        // 0.005 is a tie; rounding to 8 digits first would lift 0.00499999999 to it.
        for (px, qty, currency, expected) in [
            ("0.005", "1", "USD", "0"),
            ("0.015", "1", "USD", "0.02"),
            ("0.00500001", "0.99999", "USD", "0"),
            ("1.5", "1", "JPY", "2"),
            ("2.5", "1", "JPY", "2"),
            ("1.23456789", "0.1", "USDT", "0.12345679"),
            ("-1.006", "1", "USD", "-1.01"),
        ] {
            assert_eq!(amount(sum(px, qty), currency).unwrap().to_string(), expected, "{px} x {qty} {currency}");
        }
    }

    #[test]
    fn rule_11_the_largest_share_comes_first_and_ties_go_by_name() {
        let fill = |venue: &str, qty: &str| OmsExecution {
            venue: venue.into(),
            broker: "b".into(),
            last_qty: qty.parse().ok(),
            last_px: "2".parse().ok(),
            booked: true,
            ..OmsExecution::default()
        };
        let fills = [fill("Z", "1"), fill("C", "3"), fill("B", "3"), fill("Z", "1")];
        let shares = shares(fills.iter(), None).unwrap();
        let got: Vec<_> = shares.iter().map(|s| (s.venue.as_str(), s.quantity.to_string(), s.fills)).collect();
        assert_eq!(got, [("B", "3".into(), 1), ("C", "3".into(), 1), ("Z", "2".into(), 2)]);
    }

    #[test]
    fn a_share_adds_up_the_fees_of_one_currency() {
        let fill = |fee: &str, currency: &str| OmsExecution {
            last_qty: "1".parse().ok(),
            last_px: "2".parse().ok(),
            fee: fee.parse().ok(),
            fee_currency: Some(currency.into()),
            ..OmsExecution::default()
        };
        let fills = [fill("0.5", "USD"), fill("7", "EUR"), fill("-0.2", "USD")];
        assert_eq!(shares(fills.iter(), Some("USD")).unwrap()[0].fees.to_string(), "0.3");
    }
}
