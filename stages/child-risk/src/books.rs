//! The accounts' books: opened from the account record, moved by fills, busts and corrections.
//!
//! An order event states the totals of its order, and each event changes one child. So the total of an account is the
//! order's less what is booked for its other accounts, and an event that is said twice changes nothing.

use fillstream_core::error::Poison;
use fillstream_domain::time::MICROS_PER_DAY;
use fillstream_domain::{AccountId, ClOrdId, Money, NumberError, OrderId, Price, Quantity, TimestampMicros, Turnover};
use fillstream_pre_trade_risk::booking;
use fillstream_reference::{MarketTable, ReferenceData, fx_rate};
use fillstream_schemas::execution::{ChildUpdate, OrderEvent};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{
    ChildRiskHold, ChildRiskTimer, ChildRiskTimerKind, RiskPortfolio, RiskPosition, RiskReservation,
};

use crate::children::{MAX_ATTEMPTS, child_key};
use crate::rules::max_age;
use crate::{ChildRisk, Fx, State, alerts};

/// Opens the book of an account, unless it is: opening cash and positions are taken over once.
pub(crate) fn open(account: &Account, state: &mut State, now: TimestampMicros) {
    if state.accounts.get(&account.account_id).is_some() {
        return;
    }
    let held = account.positions.iter().filter(|(_, quantity)| !quantity.is_zero());
    let booked = RiskPortfolio {
        portfolio_id: account.portfolio_id.clone(),
        account_id: account.account_id.clone(),
        currency: account.currency.clone(),
        cash: account.cash,
        positions: held
            .map(|(id, quantity)| (id.clone(), RiskPosition { quantity: *quantity, ..RiskPosition::default() }))
            .collect(),
        opened_at: now,
        account_version: account.version,
        ..RiskPortfolio::default()
    };
    state.accounts.put(&account.account_id, booked);
}

/// The book that a child of a block account is held against: that of all accounts of the portfolio together, for which it is
/// executed, the fills that are in the block account included. Each account's own part was held against its own figures when the
/// block was allocated.
pub(crate) fn pooled(
    block: &Account,
    accounts: &[&Account],
    state: &mut State,
    now: TimestampMicros,
) -> Result<RiskPortfolio, NumberError> {
    let mut sum = RiskPortfolio {
        portfolio_id: block.portfolio_id.clone(),
        account_id: block.account_id.clone(),
        currency: block.currency.clone(),
        account_version: block.version,
        opened_at: now,
        ..RiskPortfolio::default()
    };
    for account in accounts {
        open(account, state, now);
        let Some(book) = state.accounts.get(&account.account_id) else { continue };
        if book.currency != sum.currency || book.portfolio_id != sum.portfolio_id {
            // Amounts of two currencies do not add up: a book of none is refused.
            sum.currency.clear();
        }
        sum.cash = sum.cash.checked_add(book.cash)?;
        for (id, position) in &book.positions {
            let held = sum.positions.entry(id.clone()).or_default();
            held.quantity = held.quantity.checked_add(position.quantity)?;
            held.short_proceeds = held.short_proceeds.checked_add(position.short_proceeds)?;
        }
    }
    sum.positions.retain(|_, position| !position.quantity.is_zero());
    Ok(sum)
}

/// Begins to book an order for the account of its child that was just approved.
pub(crate) fn follow(hold: &ChildRiskHold, state: &mut State, now: TimestampMicros) {
    let key = format!("{}{}", order_prefix(&hold.portfolio_id, &hold.order_id), hold.account_id);
    if state.fills.get(&key).is_none() {
        let booked = RiskReservation {
            order_id: hold.order_id.clone(),
            portfolio_id: hold.portfolio_id.clone(),
            instrument_id: hold.instrument_id.clone(),
            side: hold.side,
            multiplier: hold.multiplier,
            account_rate: hold.account_rate,
            approved_at: now,
            ..RiskReservation::default()
        };
        state.fills.put(&key, booked);
    }
}

/// Books what an event about a child says beyond what is booked. What cannot be booked is an alert, never dropped.
pub(crate) fn take_fills(event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) {
    let Some(update) = &event.child else { return };
    let prefix = order_prefix(&event.portfolio_id, &event.order_id);
    let booked: Vec<(String, RiskReservation)> = state
        .fills
        .with_prefix(&prefix)
        .filter(|(_, booked)| booked.order_id == event.order_id)
        .map(|(key, booked)| (key.to_owned(), booked.clone()))
        .collect();
    if !moves(event, booked.iter().map(|(_, booked)| booked)) {
        return;
    }
    if let Err(text) = take(event, update, &prefix, &booked, state, fx) {
        let alert = alerts::not_booked(event, text, fx);
        alerts::emit(alert, fx);
    }
}

fn take(
    event: &OrderEvent,
    update: &ChildUpdate,
    prefix: &str,
    booked: &[(String, RiskReservation)],
    state: &mut State,
    fx: &Fx<'_>,
) -> Result<(), String> {
    let account = account_of(event, update, prefix, booked, state)
        .ok_or_else(|| format!("child {} is of no account that is known here", update.cl_ord_id))?;
    let key = format!("{prefix}{account}");
    let own = booked.iter().find(|(of, _)| *of == key).map(|(_, own)| own.clone());
    let book = state.accounts.get(&account).cloned();
    let (mut own, mut book) =
        own.zip(book).ok_or_else(|| format!("nothing is held for the order in account {account}"))?;
    let others = booked.iter().filter(|(of, _)| *of != key).map(|(_, other)| other);
    let number = |e: NumberError| e.to_string();
    let totals = own_totals(event, others).map_err(number)?;
    let (market, data) = (fx.table::<MarketTable>(), fx.table::<ReferenceData>());
    let rate = |currency: &str| -> Option<Price> {
        let (market, data) = market.zip(data)?;
        let age = max_age(data.limit(&event.portfolio_id)?);
        let to = state.accounts.get(&account)?.currency.as_str();
        fx_rate(market, data, currency, to, fx.now(), age).ok().map(|fx| fx.rate)
    };
    booking::book(&mut book, &mut own, &totals, rate).map_err(number)?;
    state.accounts.put(&account, book);
    state.fills.put(&key, own);
    Ok(())
}

// Whether the event's totals are others than those booked.
fn moves<'a>(event: &OrderEvent, booked: impl Iterator<Item = &'a RiskReservation>) -> bool {
    let (mut quantity, mut notional, mut fees) = (0_i128, 0_i128, 0_i128);
    for own in booked {
        quantity += own.filled_qty.unscaled();
        notional += own.filled_notional.unscaled();
        let currency = event.fee_currency.as_deref().unwrap_or_default();
        fees += own.fees.get(currency).map_or(0, |fees| fees.unscaled());
    }
    let filled = event.cum_qty.unscaled() + event.overfill_qty.unscaled();
    let same_fees = event.fee_currency.is_none() || fees == event.fees.unscaled();
    filled != quantity || event.filled_notional.unscaled() != notional || !same_fees
}

// The order's totals less those of its other accounts.
fn own_totals<'a>(
    event: &OrderEvent,
    others: impl Iterator<Item = &'a RiskReservation> + Clone,
) -> Result<OrderEvent, NumberError> {
    let filled = event.cum_qty.checked_add(event.overfill_qty)?;
    let quantity = Quantity::sum(others.clone().map(|other| other.filled_qty))?;
    let notional = Turnover::sum(others.clone().map(|other| other.filled_notional))?;
    let fees = event
        .fee_currency
        .as_deref()
        .map(|currency| Money::sum(others.map(|other| other.fees.get(currency).copied().unwrap_or(Money::ZERO))));
    Ok(OrderEvent {
        cum_qty: filled.checked_sub(quantity)?,
        filled_notional: event.filled_notional.checked_sub(notional)?,
        fees: event.fees.checked_sub(fees.transpose()?.unwrap_or(Money::ZERO))?,
        fee_currency: event.fee_currency.clone(),
        ..OrderEvent::default()
    })
}

// The account of a child: as approved; of a child that is forgotten, the order's one account or the one that its ClOrdID
// is made of.
fn account_of(
    event: &OrderEvent,
    update: &ChildUpdate,
    prefix: &str,
    booked: &[(String, RiskReservation)],
    state: &State,
) -> Option<String> {
    if let Some(child) = state.children.get(&child_key(&event.order_id, &update.cl_ord_id)) {
        return Some(child.account_id.clone());
    }
    let accounts: Vec<&str> = booked.iter().filter_map(|(key, _)| key.strip_prefix(prefix)).collect();
    match accounts.as_slice() {
        [one] => Some((*one).to_owned()),
        several => several.iter().find(|account| is_of(update, &event.order_id, account)).map(|id| (*id).to_owned()),
    }
}

fn is_of(update: &ChildUpdate, order_id: &str, account_id: &str) -> bool {
    let (Ok(order), Ok(account)) = (OrderId::new(order_id), AccountId::new(account_id)) else { return false };
    let number = |n: i32| u32::try_from(n).unwrap_or_default();
    let derive = |attempt| ClOrdId::derive(&order, &account, number(update.slice_no), number(update.leg), attempt, 0);
    (0..MAX_ATTEMPTS).any(|attempt| derive(attempt).is_ok_and(|id| id.as_str() == update.cl_ord_id))
}

fn order_prefix(portfolio: &str, order: &str) -> String {
    format!("{portfolio}/{order}/")
}

impl ChildRisk {
    /// Notes the end of an order: what is booked of it is kept for late fills, busts and corrections, then forgotten.
    pub(crate) fn close_books(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let prefix = order_prefix(&event.portfolio_id, &event.order_id);
        let of_order = state.fills.with_prefix(&prefix).filter(|(_, booked)| booked.order_id == event.order_id);
        let booked: Vec<(String, RiskReservation)> = of_order.map(|(key, b)| (key.to_owned(), b.clone())).collect();
        if booked.is_empty() {
            return Ok(());
        }
        for (key, booked) in booked {
            state.fills.put(&key, RiskReservation { closed_at: Some(fx.now()), ..booked });
        }
        let (portfolio, due) = (&event.portfolio_id, self.forgotten_at(fx.now())?);
        let payload = ChildRiskTimer { kind: ChildRiskTimerKind::Purge, subject: portfolio.clone(), probe: None };
        fx.schedule_apart(format!("purge/{portfolio}/{}", due.micros()), due, &payload);
        Ok(())
    }

    /// Forgets what is booked of orders that ended long enough ago.
    pub(crate) fn purge(&self, portfolio: &str, due: TimestampMicros, state: &mut State) -> Result<(), Poison> {
        let mut gone = Vec::new();
        for (key, booked) in state.fills.with_prefix(&format!("{portfolio}/")) {
            let Some(closed_at) = booked.closed_at else { continue };
            if booked.portfolio_id == portfolio && self.forgotten_at(closed_at)? <= due {
                gone.push(key.to_owned());
            }
        }
        for key in gone {
            state.fills.remove(&key);
        }
        Ok(())
    }

    // The first midnight UTC at or after the end of the time in which an ended order may be amended.
    fn forgotten_at(&self, closed_at: TimestampMicros) -> Result<TimestampMicros, Poison> {
        let kept = i64::from(self.config.amendments_kept_hours) * (MICROS_PER_DAY / 24);
        let until = closed_at.micros().checked_add(kept + MICROS_PER_DAY - 1);
        let until = until.ok_or_else(|| Poison::new("TIME", "time out of range"))?;
        Ok(TimestampMicros::from_micros(until.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY))
    }
}
