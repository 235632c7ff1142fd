//! What was executed of a block, shared out over its accounts (trading rule 26).
//!
//! With each event of the order its fills so far are shared out anew, at the one average price, and booked to the accounts. When
//! the order has ended, a statement says who got what; a late fill, a bust or a correction after that makes the next statement,
//! which replaces the one before.

use fillstream_domain::{AvgPrice, TimestampMicros};
use fillstream_domain::{Currency, Money, NumberError, PriceQuantitySum, Quantity, Rounding, Turnover, mul_div_i128};
use fillstream_reference::ReferenceData;
use fillstream_schemas::execution::{AccountAllocation, AllocationKind, BlockShare, OrderEvent};
use fillstream_schemas::state::AllocationOrder;

use crate::block::{BlockError, Line, Statement, share_fills};
use crate::book::{self, Totals};
use crate::event::{self, Occasion};
use crate::{Fx, State, key_of};

/// The fills of a block, shared out.
pub(crate) struct Shared {
    /// What each account got; the parts and what is not shared add up to the block's figures.
    pub shares: Vec<BlockShare>,
    pub filled_qty: Quantity,
    /// Beyond what the accounts are to get: an overfill is nobody's, somebody must say whose it is.
    pub unshared_qty: Quantity,
    pub avg_px: Option<AvgPrice>,
    pub filled_notional: Turnover,
    pub fees: Money,
    pub fee_currency: Option<String>,
}

// The fills as an event states them.
fn share(order: &AllocationOrder, event: &OrderEvent) -> Result<Shared, NumberError> {
    let filled = event.cum_qty.checked_add(event.overfill_qty)?;
    let lines = order.parts.iter().filter(|part| part.quantity.is_positive());
    let lines: Vec<Line> =
        lines.map(|part| Line { account_id: part.account_id.clone(), quantity: part.quantity }).collect();
    let total = Quantity::sum(lines.iter().map(|line| line.quantity))?;
    let given_out = filled.min(total);
    // What is beyond the lines keeps its part of the amounts.
    let part = |amount: i128| match given_out == filled {
        true => Ok(amount),
        false => mul_div_i128(amount, given_out.unscaled(), filled.unscaled(), Rounding::HalfEven),
    };
    let notional = Turnover::from_unscaled(part(event.filled_notional.unscaled())?)?;
    let fees = Money::from_unscaled(part(event.fees.unscaled())?)?;
    let currency = event.fee_currency.as_deref().unwrap_or(&order.terms.quote_currency);
    // A currency that is none keeps its 8 digits, as one of crypto.
    let currency = currency.parse().or_else(|_| "BTC".parse::<Currency>()).map_err(|_| NumberError::Overflow)?;
    let sum = PriceQuantitySum::from_turnover(notional, given_out)?;
    let given =
        statement(order, lines).and_then(|statement| share_fills(&statement, sum, fees, currency)).map_err(number)?;
    let of = |id: &str| order.parts.iter().find(|part| part.account_id == id).map(|part| part.quantity);
    let share = |given: crate::block::Given| BlockShare {
        quantity: of(&given.account_id).unwrap_or_default(),
        account_id: given.account_id,
        filled_qty: given.quantity,
        filled_notional: given.notional,
        fees: given.fees,
    };
    let shares: Vec<BlockShare> = given.into_iter().map(share).collect();
    Ok(Shared {
        fees: Money::sum(shares.iter().map(|share| share.fees))?,
        shares,
        filled_qty: filled,
        unshared_qty: filled.checked_sub(given_out)?,
        avg_px: event.avg_px,
        filled_notional: event.filled_notional,
        fee_currency: event.fee_currency.clone(),
    })
}

// Lines that are no whole lots, as of an account that got an odd one, are shared out to the last unit.
fn statement(order: &AllocationOrder, lines: Vec<Line>) -> Result<Statement, BlockError> {
    let lot = order.terms.lot_size;
    let whole = lot.is_positive() && lines.iter().all(|line| line.quantity.is_whole_lots(lot));
    let lot = if whole { lot } else { Quantity::from_unscaled(1)? };
    let named = order.remainder_account_id.clone();
    let remainder = named.filter(|id| lines.iter().any(|line| line.account_id == *id));
    Statement::new(lines, lot, remainder)
}

fn number(e: BlockError) -> NumberError {
    match e {
        BlockError::Number(e) => e,
        BlockError::Twice | BlockError::NotLots | BlockError::NoRemainderAccount | BlockError::Overfilled => {
            NumberError::Overflow
        }
    }
}

/// Books what an event says of a block to its accounts.
pub(crate) fn book_block(
    order: &mut AllocationOrder,
    event: &OrderEvent,
    state: &mut State,
    fx: &Fx<'_>,
) -> Result<(), NumberError> {
    let frame = order.clone();
    let open = event.leaves_qty.is_positive();
    for share in share(order, event)?.shares {
        let Some(part) = order.parts.iter_mut().find(|part| part.account_id == share.account_id) else { continue };
        let key = key_of(&frame.portfolio_id, &share.account_id);
        let Some(mut account) = state.accounts.get(&key).cloned() else { continue };
        let record = fx.table::<ReferenceData>().and_then(|data| data.account(&share.account_id));
        let same = record.is_some_and(|record| event.fee_currency.as_deref() == Some(record.currency.as_str()));
        let leaves_qty = if open { part.quantity.less_at_most(share.filled_qty) } else { Quantity::ZERO };
        let totals = Totals {
            filled_qty: share.filled_qty,
            filled_notional: share.filled_notional,
            fees: same.then_some(share.fees),
            leaves_qty,
        };
        book::book(&mut account, &frame, part, &totals)?;
        if state.accounts.get(&key) != Some(&account) {
            state.accounts.put(&key, account);
        }
    }
    order.filled_notional = event.filled_notional;
    if let Some(currency) = &event.fee_currency {
        order.fees.insert(currency.clone(), event.fees);
    }
    Ok(())
}

/// The statement that an event of a block calls for: of the end with fills, or of what changed after it.
pub(crate) fn after(
    before: &AllocationOrder,
    order: &mut AllocationOrder,
    event: &OrderEvent,
    now: TimestampMicros,
) -> Result<Option<AccountAllocation>, NumberError> {
    let ended = event.is_terminal || order.closed_at.is_some();
    if order.block_account_id.is_none() || !ended || order.parts.is_empty() {
        return Ok(None);
    }
    let figures = |order: &AllocationOrder| (order.filled_notional, order.fees.clone(), filled(order));
    let first = order.statement_no == 0 && event.cum_qty.is_positive();
    let changed = order.statement_no > 0 && figures(before) != figures(order);
    if !first && !changed {
        return Ok(None);
    }
    order.statement_no = order.statement_no.saturating_add(1);
    let shared = share(order, event)?;
    let got: Vec<String> =
        shared.shares.iter().map(|share| format!("{} {}", share.account_id, share.filled_qty)).collect();
    let price = shared.avg_px.map_or_else(|| "nothing".to_owned(), |px| px.to_string());
    let why = if first { "the block has ended" } else { "an execution after the block's end changed its figures" };
    let cause = format!("{why}: {} filled at {price}: {}", shared.filled_qty, got.join(", "));
    let occasion = Occasion { order, kind: AllocationKind::Statement, now, cause: &cause, kept: None };
    event::statement(&occasion, shared).map(Some)
}

fn filled(order: &AllocationOrder) -> Vec<Quantity> {
    order.parts.iter().map(|part| part.filled_qty).collect()
}
