//! Fills to the positions, margin and result of an account.

use fillstream_domain::{Money, NumberError, Quantity, Rounding, Side, SignedQuantity, Turnover, mul_div_i128};
use fillstream_schemas::execution::OrderEvent;
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{AllocationAccount, AllocationOrder, AllocationPart, AllocationPosition};

use crate::eligibility::value;

/// An account as it stands when its first order comes: what its record holds.
#[must_use]
pub fn open(account: &Account) -> AllocationAccount {
    let held = account.positions.iter().filter(|(_, quantity)| !quantity.is_zero());
    AllocationAccount {
        account_id: account.account_id.clone(),
        portfolio_id: account.portfolio_id.clone(),
        version: account.version,
        positions: held
            .map(|(id, quantity)| (id.clone(), AllocationPosition { quantity: *quantity, ..Default::default() }))
            .collect(),
        ..AllocationAccount::default()
    }
}

/// Lets the changes count from a new version of the record, whose figures hold them already. Positions are moved by
/// fills only, as in the risk checks.
pub fn rebase(state: &mut AllocationAccount, account: &Account) {
    if state.version != account.version {
        let positions = std::mem::take(&mut state.positions);
        *state = AllocationAccount { positions, ..open(account) };
    }
}

/// What an account's order has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Filled, overfills included.
    pub filled_qty: Quantity,
    /// Price x quantity of the fills, quote currency.
    pub filled_notional: Turnover,
    /// Fees, signed; `None` where they are in another currency than the account's.
    pub fees: Option<Money>,
    /// What may still be filled.
    pub leaves_qty: Quantity,
}

/// The totals of an account's part of an order after an event about the order; `None` where the event is not about it.
///
/// An event is about one child, so of one account: what it adds to the value and the fees of all fills is the account's.
///
/// # Errors
/// Out of range.
pub fn totals(
    event: &OrderEvent,
    order: &AllocationOrder,
    part: &AllocationPart,
    currency: &str,
) -> Result<Option<Totals>, NumberError> {
    let is_alone = order.parts.len() == 1;
    let figures = event.account.as_ref().filter(|figures| figures.account_id == part.account_id);
    let (filled_qty, leaves_qty) = match figures {
        Some(figures) => (figures.cum_qty, figures.leaves_qty),
        None if is_alone => (event.cum_qty.checked_add(event.overfill_qty)?, event.leaves_qty),
        None => return Ok(None),
    };
    let more = event.filled_notional.checked_sub(order.filled_notional)?;
    let fees = match event.fee_currency.as_deref() {
        Some(paid_in) if paid_in == currency => {
            let before = order.fees.get(paid_in).copied().unwrap_or_default();
            Some(part.fees.checked_add(event.fees.checked_sub(before)?)?)
        }
        Some(_) | None => None,
    };
    Ok(Some(Totals { filled_qty, filled_notional: part.filled_notional.checked_add(more)?, fees, leaves_qty }))
}

/// Books what `totals` say beyond what was booked of the part. Totals decide, so saying them twice changes nothing; a
/// bust lowers them and moves everything back.
///
/// # Errors
/// Out of range; nothing is changed then.
pub fn book(
    account: &mut AllocationAccount,
    order: &AllocationOrder,
    part: &mut AllocationPart,
    totals: &Totals,
) -> Result<(), NumberError> {
    let (mut a, mut p) = (account.clone(), part.clone());
    let moved = SignedQuantity::from(totals.filled_qty).checked_sub(p.filled_qty.into())?;
    let paid = totals.filled_notional.checked_sub(p.filled_notional)?;
    let buys = order.side.is_buy();
    let fill = Fill {
        change: if buys { moved } else { -moved },
        // What a bust gives back is taken from what was bought or sold short here.
        is_bust: moved.is_negative(),
        paid: if moved.is_negative() { -paid } else { paid },
    };
    let mut position = a.positions.remove(&order.instrument_id).unwrap_or_default();
    let before = position.quantity;
    let realised =
        if moved.is_zero() { corrected(paid, order.side, &mut position)? } else { fill.shift(&mut position)? };
    a.opened = a.opened.checked_add(opened(before, position.quantity)).ok_or(NumberError::Overflow)?;
    if !position.quantity.is_zero() {
        a.positions.insert(order.instrument_id.clone(), position);
    }
    if let Some(rate) = p.account_rate {
        let units = mul_div_i128(realised.unscaled(), order.multiplier.unscaled(), ONE, Rounding::HalfEven)?;
        let money = Turnover::from_unscaled(units)?.to_money(Rounding::HalfEven)?;
        a.result = a.result.checked_add(money.converted(rate, Rounding::HalfEven)?)?;
        if matches!(order.side, Side::Buy | Side::SellShort) {
            let more = value(moved.magnitude(), order.price, order.multiplier, rate)?;
            a.margin_used = a.margin_used.checked_add(if moved.is_negative() { -more } else { more })?;
        }
    }
    if let Some(fees) = totals.fees {
        a.result = a.result.checked_sub(fees.checked_sub(p.fees)?)?;
        p.fees = fees;
    }
    (p.filled_qty, p.filled_notional) = (totals.filled_qty, totals.filled_notional);
    // What was taken from it since may not be known there yet.
    p.leaves_qty = p.quantity.less_at_most(p.filled_qty).min(totals.leaves_qty);
    (*account, *part) = (a, p);
    Ok(())
}

const ONE: i128 = Quantity::ONE.unscaled();

struct Fill {
    /// Units that come in (above zero) or go out.
    change: SignedQuantity,
    is_bust: bool,
    /// What was paid for them: their number times the price.
    paid: Turnover,
}

impl Fill {
    // Moves the position and gives what that realised, quote currency. What an account held before its first order has
    // no known price: it goes first (first in, first out) and realises nothing.
    fn shift(&self, position: &mut AllocationPosition) -> Result<Turnover, NumberError> {
        let (before, size) = (position.quantity, self.change.magnitude());
        position.quantity = before.checked_add(self.change)?;
        let reduces = !before.is_zero() && before.is_negative() != self.change.is_negative();
        let closed = if reduces { size.min(before.magnitude()) } else { Quantity::ZERO };
        let unpriced = before.magnitude().less_at_most(position.costed_qty);
        let priced = if self.is_bust { closed.min(position.costed_qty) } else { closed.less_at_most(unpriced) };
        let proceeds = portion(self.paid, priced, size)?;
        let cost = portion(position.cost, priced, position.costed_qty)?;
        position.costed_qty = position.costed_qty.checked_sub(priced)?;
        position.cost = position.cost.checked_sub(cost)?;
        let added = size.checked_sub(closed)?;
        position.costed_qty = position.costed_qty.checked_add(added)?;
        position.cost = position.cost.checked_add(portion(self.paid, added, size)?)?;
        let gain = proceeds.checked_sub(cost)?;
        Ok(if before.is_negative() { -gain } else { gain })
    }
}

// A corrected price: it changes the cost of what a fill opened, and the result of what it closed.
fn corrected(paid: Turnover, side: Side, position: &mut AllocationPosition) -> Result<Turnover, NumberError> {
    match side {
        Side::Buy | Side::SellShort if position.costed_qty.is_positive() => {
            position.cost = position.cost.checked_add(paid)?;
            Ok(Turnover::ZERO)
        }
        Side::Sell | Side::SellShort => Ok(paid),
        Side::Buy | Side::BuyToCover => Ok(-paid),
    }
}

fn portion(amount: Turnover, part: Quantity, whole: Quantity) -> Result<Turnover, NumberError> {
    if part.is_zero() {
        return Ok(Turnover::ZERO);
    }
    mul_div_i128(amount.unscaled(), part.unscaled(), whole.unscaled(), Rounding::HalfEven)
        .and_then(Turnover::from_unscaled)
}

fn opened(before: SignedQuantity, after: SignedQuantity) -> i32 {
    i32::from(!after.is_zero()) - i32::from(!before.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::Price;

    fn num<T: std::str::FromStr>(text: &str) -> T
    where
        T::Err: std::fmt::Debug,
    {
        text.parse().unwrap()
    }

    fn order(side: Side) -> AllocationOrder {
        AllocationOrder {
            instrument_id: "X".into(),
            side,
            price: num("10"),
            multiplier: Quantity::ONE,
            ..AllocationOrder::default()
        }
    }

    fn part() -> AllocationPart {
        AllocationPart { account_id: "A".into(), account_rate: Some(Price::ONE), ..AllocationPart::default() }
    }

    fn said(filled: &str, notional: &str) -> Totals {
        Totals { filled_qty: num(filled), filled_notional: num(notional), fees: None, leaves_qty: Quantity::ZERO }
    }

    fn account(held: &str) -> AllocationAccount {
        let positions = [("X".to_owned(), num(held)), ("Y".to_owned(), SignedQuantity::ZERO)].into();
        open(&Account { account_id: "A".into(), positions, version: 4, ..Account::default() })
    }

    fn say(a: &mut AllocationAccount, side: Side, part: &mut AllocationPart, filled: &str, notional: &str) {
        book(a, &order(side), part, &said(filled, notional)).unwrap();
    }

    fn held(a: &AllocationAccount) -> String {
        a.positions.get("X").map_or_else(|| "none".into(), |p| p.quantity.to_string())
    }

    #[test]
    fn a_fill_said_twice_moves_once_and_a_bust_moves_everything_back() {
        let (mut a, mut p) = (account("0"), part());
        say(&mut a, Side::Buy, &mut p, "10", "100");
        say(&mut a, Side::Buy, &mut p, "10", "100");
        assert_eq!((held(&a).as_str(), a.opened, a.margin_used, a.result), ("10", 1, num("100"), Money::ZERO));
        say(&mut a, Side::Buy, &mut p, "0", "0");
        assert_eq!((held(&a).as_str(), a.opened, a.margin_used, a.result), ("none", 0, Money::ZERO, Money::ZERO));
    }

    #[test]
    fn a_sale_realises_against_the_average_cost() {
        let (mut a, mut buy, mut sell) = (account("0"), part(), part());
        say(&mut a, Side::Buy, &mut buy, "10", "100");
        say(&mut a, Side::Buy, &mut buy, "20", "220");
        say(&mut a, Side::Sell, &mut sell, "5", "50");
        // 5 at 10 that cost 11 each.
        assert_eq!((held(&a).as_str(), a.result), ("15", num("-5")));
        say(&mut a, Side::Sell, &mut sell, "20", "260");
        assert_eq!((held(&a).as_str(), a.result, a.opened), ("none", num("40"), 0));
    }

    #[test]
    fn what_was_held_before_has_no_price_and_goes_first() {
        let (mut a, mut buy, mut sell) = (account("10"), part(), part());
        say(&mut a, Side::Buy, &mut buy, "10", "100");
        say(&mut a, Side::Sell, &mut sell, "10", "50");
        assert_eq!((held(&a).as_str(), a.result), ("10", Money::ZERO));
        say(&mut a, Side::Sell, &mut sell, "20", "140");
        assert_eq!((held(&a).as_str(), a.result), ("none", num("-10")));
    }

    #[test]
    fn a_short_gains_when_it_is_covered_lower() {
        let (mut a, mut sell, mut cover) = (account("0"), part(), part());
        say(&mut a, Side::SellShort, &mut sell, "10", "100");
        say(&mut a, Side::BuyToCover, &mut cover, "10", "80");
        assert_eq!((held(&a).as_str(), a.result, a.margin_used), ("none", num("20"), num("100")));
    }

    #[test]
    fn a_corrected_price_moves_cost_or_result() {
        let (mut a, mut buy, mut sell) = (account("0"), part(), part());
        say(&mut a, Side::Buy, &mut buy, "10", "100");
        say(&mut a, Side::Buy, &mut buy, "10", "120");
        assert_eq!(a.result, Money::ZERO);
        say(&mut a, Side::Sell, &mut sell, "10", "100");
        assert_eq!(a.result, num("-20"));
        say(&mut a, Side::Sell, &mut sell, "10", "110");
        assert_eq!(a.result, num("-10"));
        say(&mut a, Side::Buy, &mut buy, "10", "115");
        assert_eq!(a.result, num("-5"), "what it bought is gone: the result moves");
    }

    #[test]
    fn a_bust_takes_back_what_was_bought_here_not_what_was_held_before() {
        let (mut a, mut p) = (account("10"), part());
        say(&mut a, Side::Buy, &mut p, "10", "100");
        say(&mut a, Side::Buy, &mut p, "0", "0");
        let position = a.positions.get("X").unwrap();
        assert_eq!((position.quantity, position.costed_qty, position.cost), (num("10"), num("0"), num("0")));
    }

    #[test]
    fn fees_are_losses_once_and_only_in_the_accounts_currency() {
        let (mut a, mut p) = (account("0"), part());
        let with = |fees| Totals { fees: Some(num(fees)), ..said("10", "100") };
        book(&mut a, &order(Side::Buy), &mut p, &with("2")).unwrap();
        book(&mut a, &order(Side::Buy), &mut p, &with("3")).unwrap();
        assert_eq!(a.result, num("-3"));
        let event = OrderEvent { fees: num("5"), fee_currency: Some("BNB".into()), ..OrderEvent::default() };
        let order =
            AllocationOrder { parts: vec![part()], fees: [("BNB".to_owned(), num("1"))].into(), ..order(Side::Buy) };
        let fees = |currency| totals(&event, &order, &part(), currency).unwrap().unwrap().fees;
        assert_eq!((fees("USD"), fees("BNB")), (None, Some(num("4"))));
    }

    #[test]
    fn a_new_version_takes_the_figures_and_keeps_the_positions() {
        let (mut a, mut p) = (account("0"), part());
        say(&mut a, Side::Buy, &mut p, "10", "100");
        let same = Account { account_id: "A".into(), version: 4, ..Account::default() };
        let before = a.clone();
        rebase(&mut a, &same);
        assert_eq!(a, before);
        rebase(&mut a, &Account { version: 5, ..same });
        assert_eq!((held(&a).as_str(), a.version, a.opened, a.margin_used), ("10", 5, 0, Money::ZERO));
    }
}
