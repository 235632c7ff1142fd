//! How much: quantity and amount against each other, lots and minimums.

use fillstream_domain::{Money, NumberError, Price, Quantity, Rounding, mul_div_i128};
use fillstream_schemas::coordination::TradeDecision;
use fillstream_schemas::reference::Instrument;

use crate::config::Config;
use crate::reason::Reason;
use crate::validate::Refusal;

/// Units of 10^-8 in one.
const ONE: i128 = 100_000_000;

/// The quantity of a decision at the reference price (trading rule 7): a stated quantity is authoritative and the amount
/// is held against it; with only an amount it is what the amount buys, floored to the lot. A target weight
/// cannot be checked here: the portfolio's value is not known to this stage.
pub(crate) fn quantity(
    config: &Config,
    decision: &TradeDecision,
    instrument: &Instrument,
    price: Price,
) -> Result<Quantity, Refusal> {
    let quantity = match (decision.share_quantity, decision.trade_amount) {
        (_, Some(amount)) if !amount.is_positive() => {
            return Err(Refusal::new(Reason::InvalidQuantity, format!("trade_amount {amount} is not above zero")));
        }
        (Some(quantity), _) if !quantity.is_positive() => {
            return Err(Refusal::new(Reason::InvalidQuantity, format!("share_quantity {quantity} is not above zero")));
        }
        (Some(quantity), amount) => {
            let quantity = Quantity::try_from(quantity).map_err(Refusal::figure)?;
            if !quantity.is_whole_lots(instrument.lot_size) {
                let text = format!("share_quantity {quantity} is no multiple of the lot {}", instrument.lot_size);
                return Err(Refusal::new(Reason::LotSize, text));
            }
            if let Some(amount) = amount {
                same_amount(config, amount, value(instrument, quantity, price).map_err(Refusal::figure)?, price)?;
            }
            quantity
        }
        (None, Some(amount)) => bought(instrument, amount, price)
            .and_then(|bought| bought.floor_to_lot(instrument.lot_size))
            .map_err(Refusal::figure)?,
        (None, None) => {
            let text = "neither share_quantity nor trade_amount".to_owned();
            return Err(Refusal::new(Reason::InvalidQuantity, text));
        }
    };
    if quantity.is_zero() || quantity < instrument.min_quantity {
        let text = format!("quantity {quantity} is below the minimum {}", instrument.min_quantity);
        return Err(Refusal::new(Reason::QuantityBelowMinimum, text));
    }
    let value = value(instrument, quantity, price).map_err(Refusal::figure)?;
    if value < instrument.min_notional {
        let text = format!("value {value} at {price} is below the minimum {}", instrument.min_notional);
        return Err(Refusal::new(Reason::NotionalBelowMinimum, text));
    }
    Ok(quantity)
}

fn same_amount(config: &Config, amount: Money, value: Money, price: Price) -> Result<(), Refusal> {
    let difference = Money::from_unscaled((value.unscaled() - amount.unscaled()).abs()).map_err(Refusal::figure)?;
    let allowed = amount.times_bps(config.amount_tolerance_bps, Rounding::Floor).map_err(Refusal::figure)?;
    if difference <= allowed {
        return Ok(());
    }
    let text = format!(
        "the quantity is worth {value} at {price}, the amount is {amount}: {difference} apart, {allowed} allowed"
    );
    Err(Refusal::new(Reason::AmountMismatch, text))
}

/// The value of a quantity in quote currency, without its sign. An inverse contract is worth its multiplier.
fn value(instrument: &Instrument, quantity: Quantity, price: Price) -> Result<Money, NumberError> {
    let multiplier = instrument.multiplier.unscaled();
    let units = if instrument.inverse {
        mul_div_i128(quantity.unscaled(), multiplier, ONE, Rounding::HalfEven)?
    } else {
        let each = price.abs().unscaled().checked_mul(multiplier).ok_or(NumberError::Overflow)?;
        mul_div_i128(quantity.unscaled(), each, ONE * ONE, Rounding::HalfEven)?
    };
    Money::from_unscaled(units)
}

/// What an amount of quote currency buys.
fn bought(instrument: &Instrument, amount: Money, price: Price) -> Result<Quantity, NumberError> {
    let multiplier = instrument.multiplier.unscaled();
    let units = if instrument.inverse {
        mul_div_i128(amount.unscaled(), ONE, multiplier, Rounding::Floor)?
    } else {
        let each = price.abs().unscaled().checked_mul(multiplier).ok_or(NumberError::Overflow)?;
        mul_div_i128(amount.unscaled(), ONE * ONE, each, Rounding::Floor)?
    };
    Quantity::from_unscaled(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(multiplier: &str, inverse: bool) -> Instrument {
        Instrument {
            multiplier: multiplier.parse().unwrap(),
            inverse,
            lot_size: "0.01".parse().unwrap(),
            ..Instrument::default()
        }
    }

    fn decision(quantity: Option<&str>, amount: Option<&str>) -> TradeDecision {
        TradeDecision {
            share_quantity: quantity.map(|q| q.parse().unwrap()),
            trade_amount: amount.map(|a| a.parse().unwrap()),
            ..TradeDecision::default()
        }
    }

    #[test]
    fn rule_7_an_amount_buys_whole_lots() {
        let config = Config::default();
        let amount = decision(None, Some("1000"));
        for (multiplier, inverse, px, expected) in [
            ("1", false, "3", "333.33"),
            ("10", false, "3", "33.33"),
            ("10", true, "3", "100"),
            ("0.5", false, "3", "666.66"),
        ] {
            let got = quantity(&config, &amount, &instrument(multiplier, inverse), px.parse().unwrap()).unwrap();
            assert_eq!(got.to_string(), expected, "multiplier {multiplier}, inverse {inverse}");
        }
    }

    #[test]
    fn rule_7_the_tolerance_is_two_per_cent_of_the_amount() {
        let config = Config::default();
        for (amount, fits) in [("1000", true), ("980.4", true), ("980.3", false), ("1020.4", true), ("1020.5", false)] {
            let got =
                quantity(&config, &decision(Some("10"), Some(amount)), &instrument("1", false), "100".parse().unwrap());
            assert_eq!(got.is_ok(), fits, "{amount}: {got:?}");
        }
    }

    #[test]
    fn a_product_beyond_the_range_is_a_refusal() {
        let got = quantity(
            &Config::default(),
            &decision(Some("99999999999999999999"), None),
            &instrument("1", false),
            "9999999999".parse().unwrap(),
        );
        assert_eq!(got.unwrap_err().reason, Reason::FigureOutOfRange);
    }
}
