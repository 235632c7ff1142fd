//! Block orders: one execution, shared out after the fills at one average price.
//!
//! The statement of who gets what is committed before the first child. Whatever was filled is then shared out pro rata to
//! it, each time anew from the totals: so fills may come in any order, and a bust gives the same as if the fill had never
//! been, as the next revision.
//!
//! **Rule of the rounding.** Each account gets its part of the fills rounded down to the lot. The lots that are left go to
//! the remainder account the statement names, up to what the statement gives it, then one each to the account with the
//! smallest filled fraction, ties by account id: the rule of Interactive Brokers ("Allocation of Partial Fills", knowledge
//! base 2751), but with ties by id where it draws lots.

use fillstream_domain::{
    AvgPrice, Currency, Money, NumberError, PriceQuantitySum, Quantity, Rounding, Turnover, mul_div_i128,
};

use crate::shares::{Claim, pro_rata};

/// What one account is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Account.
    pub account_id: String,
    /// Its part of the whole order.
    pub quantity: Quantity,
}

/// Who gets what of a block, written down before the first child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    lines: Vec<Line>,
    total: Quantity,
    lot: Quantity,
    remainder_account: Option<String>,
}

/// Why a statement is none, or fills do not fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// An account is named twice.
    #[error("an account is named twice")]
    Twice,
    /// A quantity is no whole number of lots above zero.
    #[error("a quantity is no whole number of lots above zero")]
    NotLots,
    /// The remainder account has no line.
    #[error("the remainder account has no line")]
    NoRemainderAccount,
    /// More was filled than the statement gives out.
    #[error("more was filled than the statement gives out")]
    Overfilled,
    /// A figure is out of range.
    #[error("block figure: {0}")]
    Number(#[from] NumberError),
}

impl Statement {
    /// A statement; its lines are put in the order of their account ids.
    ///
    /// # Errors
    /// See [`BlockError`].
    pub fn new(mut lines: Vec<Line>, lot: Quantity, remainder_account: Option<String>) -> Result<Self, BlockError> {
        lines.sort_by(|a, b| a.account_id.cmp(&b.account_id));
        if lines.windows(2).any(|pair| matches!(pair, [a, b] if a.account_id == b.account_id)) {
            return Err(BlockError::Twice);
        }
        if lines.iter().any(|line| !line.quantity.is_positive() || !line.quantity.is_whole_lots(lot)) {
            return Err(BlockError::NotLots);
        }
        if remainder_account.as_ref().is_some_and(|id| lines.iter().all(|line| line.account_id != *id)) {
            return Err(BlockError::NoRemainderAccount);
        }
        let total = Quantity::sum(lines.iter().map(|line| line.quantity))?;
        Ok(Self { lines, total, lot, remainder_account })
    }

    /// What the accounts are to get, by id.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// What one account got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Account.
    pub account_id: String,
    /// Quantity.
    pub quantity: Quantity,
    /// The one average price; `None` without quantity.
    pub avg_px: Option<AvgPrice>,
    /// Its part of what was paid, quote currency: the parts add up.
    pub notional: Turnover,
    /// Its part of the fees, in whole minor units: the parts add up.
    pub fees: Money,
}

/// Shares the fills out.
///
/// # Errors
/// More was filled than the statement gives out; a figure is out of range.
pub fn share_fills(
    statement: &Statement,
    fills: PriceQuantitySum,
    fees: Money,
    currency: Currency,
) -> Result<Vec<Given>, BlockError> {
    let quantities = quantities(statement, fills.quantity())?;
    let avg_px = fills.avg(Rounding::HalfEven)?;
    // A turnover has four digits less than the exact sum.
    let paid = mul_div_i128(fills.product_e16(), 1, 10_000, Rounding::HalfEven)?;
    let notionals = parts(paid, &quantities)?;
    let unit = 10_i128.pow(8 - currency.minor_digits().min(8));
    let whole = fees.to_minor_unit(currency)?.unscaled() / unit;
    // Fees of fills that were all busted go by the statement.
    let fee_parts = if fills.quantity().is_zero() {
        parts(whole, &statement.lines.iter().map(|line| line.quantity).collect::<Vec<_>>())?
    } else {
        parts(whole, &quantities)?
    };
    let one = |(((line, quantity), notional), fee): (((&Line, Quantity), i128), i128)| -> Result<Given, BlockError> {
        Ok(Given {
            account_id: line.account_id.clone(),
            quantity,
            avg_px: avg_px.filter(|_| quantity.is_positive()),
            notional: Turnover::from_unscaled(notional)?,
            fees: Money::from_unscaled(fee.checked_mul(unit).ok_or(NumberError::Overflow)?)?,
        })
    };
    statement.lines.iter().zip(quantities.iter().copied()).zip(notionals).zip(fee_parts).map(one).collect()
}

fn quantities(statement: &Statement, filled: Quantity) -> Result<Vec<Quantity>, BlockError> {
    if filled > statement.total {
        return Err(BlockError::Overfilled);
    }
    if filled.is_zero() {
        return Ok(vec![Quantity::ZERO; statement.lines.len()]);
    }
    let part = |line: &Line| -> Result<Quantity, NumberError> {
        let exact =
            mul_div_i128(line.quantity.unscaled(), filled.unscaled(), statement.total.unscaled(), Rounding::Floor)?;
        Quantity::from_unscaled(exact)?.floor_to_lot(statement.lot)
    };
    let mut got = statement.lines.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let mut left = filled.checked_sub(Quantity::sum(got.iter().copied())?)?;
    while left.is_positive() {
        let Some(n) = next(statement, &got) else { return Err(BlockError::Overfilled) };
        let (Some(line), Some(quantity)) = (statement.lines.get(n), got.get_mut(n)) else { break };
        // What is no whole lot stays in one piece.
        let more = statement.lot.min(left).min(line.quantity.checked_sub(*quantity)?);
        *quantity = quantity.checked_add(more)?;
        left = left.checked_sub(more)?;
    }
    Ok(got)
}

// Who gets the next lot.
fn next(statement: &Statement, got: &[Quantity]) -> Option<usize> {
    let open = || statement.lines.iter().zip(got).enumerate().filter(|(_, (line, got))| **got < line.quantity);
    let named = |line: &Line| statement.remainder_account.as_deref() == Some(line.account_id.as_str());
    if let Some((n, _)) = open().find(|(_, (line, _))| named(line)) {
        return Some(n);
    }
    // The fraction to 18 digits: two different ones of less than a thousand million lots differ there.
    let fraction = |line: &Line, got: Quantity| {
        mul_div_i128(got.unscaled(), 10_i128.pow(18), line.quantity.unscaled(), Rounding::Floor)
    };
    let ranked = open().filter_map(|(n, (line, got))| Some((fraction(line, *got).ok()?, n)));
    ranked.min().map(|(_, n)| n)
}

// An amount in proportion to quantities, to the last unit; below zero it is shared like above.
fn parts(amount: i128, quantities: &[Quantity]) -> Result<Vec<i128>, NumberError> {
    let claims: Vec<Claim> = quantities.iter().map(|q| Claim { weight: q.unscaled(), cap: None }).collect();
    let sign = if amount < 0 { -1 } else { 1 };
    Ok(pro_rata(amount * sign, &claims)?.into_iter().map(|part| part * sign).collect())
}
