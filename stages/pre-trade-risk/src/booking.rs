//! Fills to position and cash.

use fillstream_domain::{
    Currency, Money, NumberError, Price, Quantity, Rounding, SignedQuantity, Turnover, mul_div_i128,
};
use fillstream_schemas::execution::OrderEvent;
use fillstream_schemas::state::{RiskPortfolio, RiskPosition, RiskReservation};

use crate::exposure::part;

/// Books what an order event says beyond what was booked of its order. The event's totals decide, so saying it twice
/// changes nothing. A bust lowers them and reverses position and cash; a corrected price moves cash only.
///
/// `fee_rate` gives the account currency for one unit of a currency; fees without a rate are kept apart, never dropped.
///
/// # Errors
/// Out of range; nothing is changed then.
pub fn book(
    portfolio: &mut RiskPortfolio,
    order: &mut RiskReservation,
    event: &OrderEvent,
    fee_rate: impl Fn(&str) -> Option<Price>,
) -> Result<(), NumberError> {
    let (mut p, mut o) = (portfolio.clone(), order.clone());
    let filled = event.cum_qty.checked_add(event.overfill_qty)?;
    let moved = SignedQuantity::from(filled).checked_sub(o.filled_qty.into())?;
    let paid = amount(event.filled_notional.checked_sub(o.filled_notional)?, &o, &p.currency)?;
    let change = if o.side.is_buy() { moved } else { -moved };
    let mut position = p.positions.remove(&o.instrument_id).unwrap_or_default();
    let flow = if o.side.is_buy() { -paid } else { paid };
    p.cash = p.cash.checked_add(shift(&mut position, change, flow)?)?;
    if !position.quantity.is_zero() {
        p.positions.insert(o.instrument_id.clone(), position);
    }
    book_fees(&mut p, &mut o, event, fee_rate)?;
    (o.filled_qty, o.filled_notional) = (filled, event.filled_notional);
    (*portfolio, *order) = (p, o);
    Ok(())
}

// Moves a position by `change` units with `flow` of money, in above zero; gives what that does to cash. What makes the
// position short brings collateral, not cash; what covers it sets its share of the collateral free. A bust of a buy gives
// units away and gets money: the same as a sale.
fn shift(position: &mut RiskPosition, change: SignedQuantity, flow: Money) -> Result<Money, NumberError> {
    let before = position.quantity;
    let size = change.magnitude();
    position.quantity = before.checked_add(change)?;
    if change.is_negative() && !flow.is_negative() {
        let held = if before.is_negative() { Quantity::ZERO } else { before.magnitude() };
        let sold = part(flow, size.min(held), size, Rounding::HalfEven)?;
        position.short_proceeds = position.short_proceeds.checked_add(flow.checked_sub(sold)?)?;
        return Ok(sold);
    }
    let covers = before.is_negative() && !change.is_negative();
    let short = if covers { before.magnitude() } else { Quantity::ZERO };
    let freed = part(position.short_proceeds, size.min(short), short, Rounding::HalfEven)?;
    position.short_proceeds = position.short_proceeds.checked_sub(freed)?;
    freed.checked_add(flow)
}

// A turnover in account currency, booked: rounded once, half to even, to the minor unit.
fn amount(turnover: Turnover, order: &RiskReservation, currency: &str) -> Result<Money, NumberError> {
    let units =
        mul_div_i128(turnover.unscaled(), order.multiplier.unscaled(), Quantity::ONE.unscaled(), Rounding::HalfEven)?;
    let units = mul_div_i128(units, order.account_rate.unscaled(), Price::ONE.unscaled(), Rounding::HalfEven)?;
    minor(Turnover::from_unscaled(units)?.to_money(Rounding::HalfEven)?, currency)
}

fn minor(money: Money, currency: &str) -> Result<Money, NumberError> {
    // A currency that is none keeps its 8 digits.
    currency.parse::<Currency>().map_or(Ok(money), |currency| money.to_minor_unit(currency))
}

fn book_fees(
    p: &mut RiskPortfolio,
    o: &mut RiskReservation,
    event: &OrderEvent,
    fee_rate: impl Fn(&str) -> Option<Price>,
) -> Result<(), NumberError> {
    // No currency, no fees yet. Where there are fees in several, an event states one of them: each has its own total.
    let Some(currency) = event.fee_currency.as_deref() else { return Ok(()) };
    let booked = o.fees.entry(currency.to_owned()).or_default();
    let more = event.fees.checked_sub(*booked)?;
    *booked = event.fees;
    if more.is_zero() {
        return Ok(());
    }
    let rate = if currency == p.currency { Some(Price::ONE) } else { fee_rate(currency) };
    match rate {
        Some(rate) => {
            let fee = minor(more.converted(rate, Rounding::HalfEven)?, &p.currency)?;
            p.cash = p.cash.checked_sub(fee)?;
        }
        None => {
            let kept = p.unconverted_fees.entry(currency.to_owned()).or_default();
            *kept = kept.checked_add(more)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::Side;
    use proptest::prelude::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn portfolio(position: &str) -> RiskPortfolio {
        let mut portfolio =
            RiskPortfolio { currency: "USD".to_owned(), cash: money("10000"), ..RiskPortfolio::default() };
        let quantity: SignedQuantity = position.parse().unwrap();
        if !quantity.is_zero() {
            let position = RiskPosition { quantity, ..RiskPosition::default() };
            portfolio.positions.insert("ACME".to_owned(), position);
        }
        portfolio
    }

    fn order(side: Side) -> RiskReservation {
        RiskReservation {
            instrument_id: "ACME".to_owned(),
            side,
            multiplier: Quantity::ONE,
            account_rate: Price::ONE,
            ..RiskReservation::default()
        }
    }

    fn total(cum: &str, notional: &str, fees: &str) -> OrderEvent {
        OrderEvent {
            cum_qty: cum.parse().unwrap(),
            filled_notional: notional.parse().unwrap(),
            fees: money(fees),
            fee_currency: Some("USD".to_owned()),
            ..OrderEvent::default()
        }
    }

    fn say(p: &mut RiskPortfolio, o: &mut RiskReservation, event: &OrderEvent) {
        book(p, o, event, |_| None).unwrap();
    }

    fn held(p: &RiskPortfolio) -> (String, String) {
        let position = p.positions.get("ACME").cloned().unwrap_or_default();
        (position.quantity.to_string(), position.short_proceeds.to_string())
    }

    #[test]
    fn fills_move_position_and_cash_once_and_a_bust_moves_them_back() {
        let (mut p, mut o) = (portfolio("0"), order(Side::Buy));
        say(&mut p, &mut o, &total("10", "1000", "1"));
        say(&mut p, &mut o, &total("10", "1000", "1"));
        assert_eq!((held(&p).0.as_str(), p.cash), ("10", money("8999")));
        say(&mut p, &mut o, &total("4", "400", "1"));
        assert_eq!((held(&p).0.as_str(), p.cash), ("4", money("9599")));
        say(&mut p, &mut o, &total("4", "440", "1"));
        assert_eq!((held(&p).0.as_str(), p.cash), ("4", money("9559")), "a corrected price moves cash only");
        say(&mut p, &mut o, &total("0", "0", "0"));
        assert_eq!((p.positions.len(), p.cash), (0, money("10000")));
    }

    #[test]
    fn short_proceeds_are_no_cash_until_the_short_is_covered() {
        let (mut p, mut sell, mut buy) = (portfolio("4"), order(Side::SellShort), order(Side::BuyToCover));
        say(&mut p, &mut sell, &total("10", "1000", "0"));
        assert_eq!(held(&p), ("-6".to_owned(), "600".to_owned()));
        assert_eq!(p.cash, money("10400"));
        say(&mut p, &mut buy, &total("3", "270", "0"));
        assert_eq!(held(&p), ("-3".to_owned(), "300".to_owned()));
        assert_eq!(p.cash, money("10430"));
        say(&mut p, &mut buy, &total("8", "720", "0"));
        assert_eq!(held(&p), ("2".to_owned(), "0".to_owned()));
        assert_eq!(p.cash, money("10280"));
    }

    #[test]
    fn an_overfill_is_booked_too() {
        let (mut p, mut o) = (portfolio("0"), order(Side::Buy));
        let event = OrderEvent { overfill_qty: "2".parse().unwrap(), ..total("10", "1200", "0") };
        say(&mut p, &mut o, &event);
        assert_eq!((held(&p).0.as_str(), p.cash), ("12", money("8800")));
    }

    #[test]
    fn rule_22_amounts_are_rounded_half_even_to_the_minor_unit_in_account_currency() {
        let (mut p, mut o) = (portfolio("0"), order(Side::Buy));
        o.account_rate = "0.5".parse().unwrap();
        o.multiplier = "10".parse().unwrap();
        say(&mut p, &mut o, &total("1", "0.025", "0"));
        // 0.025 x 10 x 0.5 = 0.125 is a tie: 0.12.
        assert_eq!(p.cash, money("9999.88"));
    }

    #[test]
    fn fees_in_two_currencies_have_totals_of_their_own() {
        let (mut p, mut o) = (portfolio("0"), order(Side::Buy));
        let bnb = |fees| OrderEvent { fee_currency: Some("BNB".to_owned()), ..total("0", "0", fees) };
        let rate = |_: &str| Some("600".parse().unwrap());
        book(&mut p, &mut o, &bnb("0.5"), rate).unwrap();
        book(&mut p, &mut o, &total("0", "0", "3"), rate).unwrap();
        book(&mut p, &mut o, &bnb("0.6"), rate).unwrap();
        assert_eq!(p.cash, money("9637"));
    }

    #[test]
    fn a_fee_without_a_rate_is_kept_and_never_dropped() {
        let (mut p, mut o) = (portfolio("0"), order(Side::Buy));
        let event = OrderEvent { fee_currency: Some("BNB".to_owned()), ..total("0", "0", "0.5") };
        say(&mut p, &mut o, &event);
        assert_eq!((p.cash, p.unconverted_fees.get("BNB")), (money("10000"), Some(&money("0.5"))));
        let more = OrderEvent { fees: money("0.7"), ..event };
        book(&mut p, &mut o, &more, |currency| (currency == "BNB").then(|| "600".parse().unwrap())).unwrap();
        assert_eq!((p.cash, p.unconverted_fees.get("BNB")), (money("9880"), Some(&money("0.5"))));
    }

    proptest! {
        // Cash + collateral + what was paid for the position is constant, whatever is filled and busted.
        #[test]
        fn nothing_is_lost(start in -20_i64..20, steps in prop::collection::vec((any::<bool>(), 0_i64..30, 1_i64..9), 1..30)) {
            let mut p = portfolio(&start.to_string());
            let (mut buy, mut sell) = (order(Side::Buy), order(Side::Sell));
            for (is_buy, cum, price) in steps {
                let o = if is_buy { &mut buy } else { &mut sell };
                say(&mut p, o, &total(&cum.to_string(), &(cum * price).to_string(), "0"));
            }
            let position = p.positions.get("ACME").cloned().unwrap_or_default();
            let of = |o: &RiskReservation| o.filled_notional.to_money(Rounding::HalfEven).unwrap().unscaled();
            let spent = of(&buy) - of(&sell);
            prop_assert_eq!(p.cash.unscaled() + position.short_proceeds.unscaled() + spent, money("10000").unscaled());
            let units = i128::from(start) * 100_000_000 + buy.filled_qty.unscaled() - sell.filled_qty.unscaled();
            prop_assert_eq!(position.quantity.unscaled(), units);
            prop_assert!(position.quantity.is_negative() || position.short_proceeds.is_zero());
        }
    }
}
