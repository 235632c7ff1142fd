//! Cash, positions and open orders of a portfolio, replayed from its order events.

use std::collections::BTreeMap;

use fillstream_schemas::execution::{OrderEvent, ParentStatus};
use fillstream_schemas::reference::Account;
use fillstream_schemas::types::Side;

use crate::num::{E4, ONE, Round, divide, mul_div};

/// An approved order as it is held. Quantities with 8 digits after the point, turnover with 12.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) instrument: String,
    pub(crate) side: Side,
    pub(crate) open: i128,
    /// Price at which it is held, 8 digits.
    pub(crate) price: i128,
    pub(crate) multiplier: i128,
    /// Account currency for one unit of quote currency, 8 digits.
    pub(crate) rate: i128,
    filled: i128,
    turnover: i128,
    fees: i128,
}

impl Held {
    pub(crate) fn new(instrument: &str, side: Side, open: i128, price: i128, (multiplier, rate): (i128, i128)) -> Self {
        let instrument = instrument.to_owned();
        Self { instrument, side, open, price, multiplier, rate, filled: 0, turnover: 0, fees: 0 }
    }
}

/// A position: units (8 digits), and what the short part was sold for (12 digits, account currency).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) quantity: i128,
    pub(crate) proceeds: i128,
}

/// A portfolio while its events are replayed.
#[derive(Clone, Debug)]
pub(crate) struct Portfolio {
    pub(crate) currency: String,
    /// 12 digits.
    pub(crate) cash: i128,
    /// Amounts booked so far: the pipeline rounds each to the currency's minor unit, the audit none.
    pub(crate) bookings: i128,
    pub(crate) positions: BTreeMap<String, Position>,
    pub(crate) held: BTreeMap<String, Held>,
}

impl Portfolio {
    /// A portfolio before its first order.
    pub(crate) fn open(account: &Account) -> Self {
        let position = |quantity: i128| Position { quantity, proceeds: 0 };
        Self {
            currency: account.currency.clone(),
            cash: account.cash.unscaled().saturating_mul(E4),
            bookings: 0,
            positions: account.positions.iter().map(|(id, qty)| (id.clone(), position(qty.unscaled()))).collect(),
            held: BTreeMap::new(),
        }
    }

    /// Books what an event says beyond what was booked of its order. `fee_rate` is account currency for one unit of the
    /// fee's currency; a fee without rate is not booked. `None`: a figure beyond 128 bits.
    pub(crate) fn take(&mut self, event: &OrderEvent, fee_rate: Option<i128>) -> Option<()> {
        let Some(held) = self.held.get_mut(&event.order_id) else { return Some(()) };
        let filled = event.cum_qty.unscaled().checked_add(event.overfill_qty.unscaled())?;
        let more = filled - held.filled;
        let turnover = event.filled_notional.unscaled() - held.turnover;
        let each = mul_div(held.multiplier, held.rate, ONE, Round::HalfEven)?;
        let paid = mul_div(turnover, each, ONE, Round::HalfEven)?;
        let fees = event.fees.unscaled() - held.fees;
        (held.filled, held.turnover, held.fees) = (filled, event.filled_notional.unscaled(), event.fees.unscaled());
        held.open = if has_ended(event.status) { 0 } else { event.leaves_qty.unscaled() };
        let (change, flow) = if held.side.is_buy() { (more, -paid) } else { (-more, paid) };
        if change != 0 || flow != 0 {
            let position = self.positions.entry(held.instrument.clone()).or_default();
            self.cash = self.cash.checked_add(position.shift(change, flow)?)?;
            self.bookings += 1;
        }
        if let Some(rate) = fee_rate.filter(|_| fees != 0) {
            self.cash = self.cash.checked_sub(mul_div(fees.checked_mul(E4)?, rate, ONE, Round::HalfEven)?)?;
            self.bookings += 1;
        }
        Some(())
    }
}

impl Position {
    /// Moves by `change` units against `flow` of money (in above zero); gives what that does to cash. What is sold short
    /// brings collateral, not cash; covering sets its share of the collateral free.
    fn shift(&mut self, change: i128, flow: i128) -> Option<i128> {
        let before = self.quantity;
        self.quantity = before.checked_add(change)?;
        if change < 0 && flow >= 0 {
            let out_of_held = before.max(0).min(-change);
            let cash = mul_div(flow, out_of_held, -change, Round::HalfEven)?;
            self.proceeds = self.proceeds.checked_add(flow - cash)?;
            return Some(cash);
        }
        let covered = if change > 0 { (-before).max(0).min(change) } else { 0 };
        let freed = if covered > 0 { mul_div(self.proceeds, covered, -before, Round::HalfEven)? } else { 0 };
        self.proceeds -= freed;
        freed.checked_add(flow)
    }
}

pub(crate) fn has_ended(status: ParentStatus) -> bool {
    match status {
        ParentStatus::Filled | ParentStatus::Cancelled | ParentStatus::Rejected | ParentStatus::Expired => true,
        ParentStatus::PendingRisk
        | ParentStatus::Working
        | ParentStatus::PartiallyFilled
        | ParentStatus::CancelPending => false,
    }
}

/// Half a minor unit of a currency, 12 digits: how far one rounded booking may be from an exact one.
pub(crate) fn half_minor_unit(currency: &str) -> i128 {
    const WITHOUT_MINOR: [&str; 9] = ["CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF"];
    let unit = ONE * E4;
    divide(unit, if WITHOUT_MINOR.contains(&currency) { 2 } else { 200 }, Round::Ceil).unwrap_or(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: i128 = ONE;
    const MONEY: i128 = ONE * E4;

    #[test]
    fn shorts_bring_collateral_and_covers_set_it_free() {
        let mut position = Position { quantity: 4 * UNIT, proceeds: 0 };
        // Ten sold for 100: four of them were held.
        assert_eq!(position.shift(-10 * UNIT, 100 * MONEY), Some(40 * MONEY));
        assert_eq!(position, Position { quantity: -6 * UNIT, proceeds: 60 * MONEY });
        // Three bought back for 33 free half of the collateral.
        assert_eq!(position.shift(3 * UNIT, -33 * MONEY), Some(-3 * MONEY));
        assert_eq!(position, Position { quantity: -3 * UNIT, proceeds: 30 * MONEY });
        // Five more turn it long.
        assert_eq!(position.shift(5 * UNIT, -50 * MONEY), Some(-20 * MONEY));
        assert_eq!(position, Position { quantity: 2 * UNIT, proceeds: 0 });
        assert_eq!(position.shift(-UNIT, -10 * MONEY), Some(-10 * MONEY), "sold at a price below zero");
    }
}
