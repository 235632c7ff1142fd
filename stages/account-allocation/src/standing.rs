//! The figures of the accounts of a portfolio at the moment of an order.

use std::collections::BTreeSet;

use fillstream_domain::{
    ControlScope, DurationMicros, Money, NumberError, Quantity, Ratio, Rounding, Side, SignedQuantity, TimestampMicros,
    mul_div_i128,
};
use fillstream_reference::{Controls, MarketTable, ReferenceData, fx_rate};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{AllocationAccount, AllocationOrder, AllocationPart};

use crate::config::Policy;
use crate::eligibility::{Asked, Standing, value};
use crate::reason::Unallocated;

/// The tables of a decision and its moment.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub market: &'a MarketTable,
    pub data: &'a ReferenceData,
    pub controls: &'a Controls,
    pub now: TimestampMicros,
}

impl<'a> World<'a> {
    /// Whether a control forbids the whole order.
    pub(crate) fn kills(&self, order: &AllocationOrder) -> bool {
        self.controls.killed(&scopes(order), self.now).is_some()
    }

    /// Whether a control has the whole order pause.
    pub(crate) fn pauses(&self, order: &AllocationOrder) -> bool {
        self.controls.paused(&scopes(order), self.now).is_some()
    }

    /// Why an order cannot be executed in its block account.
    pub(crate) fn stops_block(&self, order: &AllocationOrder, account_id: &str) -> Option<Unallocated> {
        let own = [(ControlScope::Account, account_id)];
        if self.controls.killed(&own, self.now).is_some() || self.kills(order) {
            return Some(Unallocated::Killed);
        }
        if self.controls.paused(&own, self.now).is_some() || self.pauses(order) {
            return Some(Unallocated::Paused);
        }
        let active = self.data.account(account_id).is_some_and(|account| account.is_active);
        (!active).then_some(Unallocated::NoEligibleAccount)
    }

    /// An account with its figures: its record, moved by its fills (`state`), less its open orders.
    pub(crate) fn standing(
        &self,
        account: &'a Account,
        state: &AllocationAccount,
        open: &[&AllocationOrder],
        asked: &Asked,
        order: &AllocationOrder,
        policy: &Policy,
    ) -> Result<Standing<'a>, NumberError> {
        let position = position(state, &order.instrument_id);
        let held = Open::of(account, state, open, order)?;
        let currency = &order.terms.quote_currency;
        let age = DurationMicros::from_micros(policy.max_rate_age_ms.saturating_mul(1_000)).unwrap_or_default();
        let rate = fx_rate(self.market, self.data, currency, &account.currency, self.now, age).ok();
        let used = state.margin_used.checked_add(held.margin)?.share(policy.margin_rate, Rounding::Ceiling)?;
        let own = [(ControlScope::Account, account.account_id.as_str())];
        let loss = if state.result.is_negative() { state.result } else { Money::ZERO };
        Ok(Standing {
            account,
            is_killed: self.controls.killed(&own, self.now).is_some() || self.kills(order),
            is_paused: self.controls.paused(&own, self.now).is_some() || self.pauses(order),
            position,
            available: available(position, asked.side).less_at_most(held.reducing),
            available_margin: account.available_margin.map(|margin| margin.checked_sub(used)).transpose()?,
            risk_budget: account.risk_budget_remaining.map(|budget| budget.checked_add(loss)).transpose()?,
            daily_drawdown: drawdown(account, loss)?,
            open_positions: account.open_positions.map(|n| n.saturating_add(state.opened).saturating_add(held.opening)),
            is_held: held.is_held || !position.is_zero(),
            rate: rate.map(|fx| fx.rate),
        })
    }
}

fn scopes(order: &AllocationOrder) -> Vec<(ControlScope, &str)> {
    let mut scopes = vec![
        (ControlScope::Portfolio, order.portfolio_id.as_str()),
        (ControlScope::Instrument, order.instrument_id.as_str()),
    ];
    scopes.extend(order.terms.strategy_id.as_deref().map(|id| (ControlScope::Strategy, id)));
    scopes.extend(order.terms.trader_id.as_deref().map(|id| (ControlScope::Trader, id)));
    scopes
}

/// What the open orders of an account hold.
struct Open {
    /// Open quantity that would reduce the same position.
    reducing: Quantity,
    /// Value of what would increase exposure, account currency.
    margin: Money,
    /// Positions that they will open.
    opening: i32,
    /// Whether one of them opens the position of the order in hand.
    is_held: bool,
}

impl Open {
    fn of(
        account: &Account,
        state: &AllocationAccount,
        open: &[&AllocationOrder],
        order: &AllocationOrder,
    ) -> Result<Self, NumberError> {
        let (mut reducing, mut margin, mut new) = (Quantity::ZERO, Money::ZERO, BTreeSet::new());
        for other in open {
            let Some(part) = part_of(other, &account.account_id).filter(|part| part.leaves_qty.is_positive()) else {
                continue;
            };
            match other.side {
                Side::Sell | Side::BuyToCover => {
                    if other.instrument_id == order.instrument_id && other.side == order.side {
                        reducing = reducing.checked_add(part.leaves_qty)?;
                    }
                }
                Side::Buy | Side::SellShort => {
                    if let Some(rate) = part.account_rate {
                        margin = margin.checked_add(value(part.leaves_qty, other.price, other.multiplier, rate)?)?;
                    }
                    if position(state, &other.instrument_id).is_zero() {
                        new.insert(other.instrument_id.as_str());
                    }
                }
            }
        }
        let is_held = new.contains(order.instrument_id.as_str());
        Ok(Self { reducing, margin, opening: i32::try_from(new.len()).unwrap_or(i32::MAX), is_held })
    }
}

fn part_of<'a>(order: &'a AllocationOrder, account: &str) -> Option<&'a AllocationPart> {
    order.parts.iter().find(|part| part.account_id == account)
}

fn position(state: &AllocationAccount, instrument: &str) -> SignedQuantity {
    state.positions.get(instrument).map_or(SignedQuantity::ZERO, |position| position.quantity)
}

fn available(position: SignedQuantity, side: Side) -> Quantity {
    let holds = match side {
        Side::Sell => position.is_positive(),
        Side::BuyToCover => position.is_negative(),
        Side::Buy | Side::SellShort => false,
    };
    if holds { position.magnitude() } else { Quantity::ZERO }
}

// The drawdown of the record and what was lost since, as a fraction of the record's equity.
fn drawdown(account: &Account, loss: Money) -> Result<Option<Ratio>, NumberError> {
    let Some(drawdown) = account.daily_drawdown else { return Ok(None) };
    let Some(equity) = account.equity.filter(|equity| equity.is_positive()) else { return Ok(Some(drawdown)) };
    let lost = mul_div_i128(loss.abs().unscaled(), Ratio::ONE.unscaled(), equity.unscaled(), Rounding::Ceiling)?;
    drawdown.checked_add(Ratio::from_unscaled(lost)?).map(Some)
}
