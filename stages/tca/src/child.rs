//! Fills of a child, from what the parent's totals say.
//!
//! The totals of the parent are the authority: every event carries them, and what they changed by since the last event
//! is what happened to the event's child, be it a fill, a bust or a correction. The execution named beside says at which
//! price exactly and when. So a repeated or a lost detail never makes the sums wrong, and a fill told twice counts once.

use std::collections::BTreeMap;

use fillstream_domain::{ExecType, Money, NumberError, PriceQuantitySum, Quantity, TimestampMicros, Turnover};
use fillstream_schemas::execution::ChildUpdate;
use fillstream_schemas::state::{TcaChild, TcaFill};

/// Units of a product (10^-16) in one unit of a turnover (10^-12).
const PRODUCT_PER_TURNOVER: i128 = 10_000;

/// What the totals of the parent changed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Filled quantity, units of 10^-8.
    pub(crate) qty: i128,
    /// Sum of price x quantity, units of 10^-16, known to 10^-12.
    pub(crate) product: i128,
}

impl Change {
    pub(crate) fn between(old: (Quantity, Turnover), new: (Quantity, Turnover)) -> Self {
        let product = (new.1.unscaled() - old.1.unscaled()) * PRODUCT_PER_TURNOVER;
        Self { qty: new.0.unscaled() - old.0.unscaled(), product }
    }

    pub(crate) fn is_none(self) -> bool {
        self.qty == 0 && self.product == 0
    }

    /// Whether an exact product is the same amount: totals are rounded to 12 digits, a difference of two by one more.
    fn agrees(self, product: i128) -> bool {
        (product - self.product).abs() <= PRODUCT_PER_TURNOVER
    }
}

/// A stored sum; empty is zero.
pub(crate) fn product(stored: &[u8]) -> i128 {
    <[u8; 16]>::try_from(stored).map_or(0, i128::from_be_bytes)
}

pub(crate) fn stored(product: i128) -> Vec<u8> {
    product.to_be_bytes().to_vec()
}

/// The fills of a child as an exact sum.
pub(crate) fn filled(child: &TcaChild) -> Result<PriceQuantitySum, NumberError> {
    let product = fillstream_domain::ExactTurnover::from_unscaled(product(&child.filled_product))?;
    Ok(PriceQuantitySum::from_parts(product, child.filled_qty))
}

/// Time of the last fill; `None` without one, or where it is not held.
pub(crate) fn last_fill_at(child: &TcaChild) -> Option<TimestampMicros> {
    child.fills.iter().map(|fill| fill.at).max()
}

/// Whether every fill of the child is held with its time.
pub(crate) fn all_held(child: &TcaChild) -> bool {
    Quantity::sum(child.fills.iter().map(|fill| fill.qty)) == Ok(child.filled_qty)
}

/// Adds `amount` of a currency.
pub(crate) fn add_fee(sums: &mut BTreeMap<String, Money>, currency: &str, amount: Money) -> Result<(), NumberError> {
    let sum = sums.entry(currency.to_owned()).or_default();
    *sum = sum.checked_add(amount)?;
    Ok(())
}

/// What an execution did: the fill it took away and the one it put in its place. Either may be missing.
struct Swap {
    gone: Option<TcaFill>,
    new: Option<TcaFill>,
}

/// Books what the parent's totals changed by on the child. Gives what became of its fees by currency.
///
/// # Errors
/// Out of range; the child would be filled below zero.
pub(crate) fn book(
    child: &mut TcaChild,
    update: Option<&ChildUpdate>,
    change: Change,
    at: TimestampMicros,
    keep: usize,
) -> Result<BTreeMap<String, Money>, NumberError> {
    let mut fees = BTreeMap::new();
    if change.is_none() {
        return Ok(fees);
    }
    let swap = swap(child, update, change, at)?;
    let placed = swap.gone.is_some() || swap.new.is_some();
    let amount = |fill: &Option<TcaFill>| fill.as_ref().map_or(0, |fill| product(&fill.product));
    let moved = if placed { amount(&swap.new) - amount(&swap.gone) } else { change.product };
    let sum = product(&child.filled_product).checked_add(moved).ok_or(NumberError::Overflow)?;
    child.filled_qty = Quantity::from_unscaled(child.filled_qty.unscaled() + change.qty)?;
    // Nothing filled is worth nothing, also where a price was only known to 12 digits.
    child.filled_product = if child.filled_qty.is_zero() { Vec::new() } else { stored(sum) };
    for (fill, sign) in [(&swap.gone, -1), (&swap.new, 1)] {
        if let Some(TcaFill { fee: Some(fee), fee_currency: Some(currency), .. }) = fill {
            add_fee(&mut fees, currency, if sign < 0 { -*fee } else { *fee })?;
        }
    }
    match (swap.gone.is_some(), swap.new.is_some()) {
        (false, true) => child.fill_count = child.fill_count.saturating_add(1),
        (true, false) => child.fill_count = child.fill_count.saturating_sub(1),
        (true, true) => {}
        // A bust of a fill that is no longer held one by one.
        (false, false) if change.qty < 0 => child.fill_count = child.fill_count.saturating_sub(1),
        (false, false) => {}
    }
    child.fills.extend(swap.new);
    child.fills.sort_by_key(|fill| fill.at);
    while child.fills.len() > keep {
        child.fills.remove(0);
    }
    for (currency, fee) in &fees {
        add_fee(&mut child.fees, currency, *fee)?;
    }
    Ok(fees)
}

/// What the event did to the child's fills: what it tells where that is what the totals changed by, otherwise what they
/// changed by.
fn swap(
    child: &mut TcaChild,
    update: Option<&ChildUpdate>,
    change: Change,
    at: TimestampMicros,
) -> Result<Swap, NumberError> {
    let corrects = update.is_some_and(|update| update.exec_type == Some(ExecType::TradeCorrect));
    Ok(match update.and_then(|update| told(update, at)) {
        Some(fill) if corrects => take_out(child, Some(fill), change),
        Some(fill) if fill.qty.unscaled() == change.qty && change.agrees(product(&fill.product)) => {
            Swap { gone: None, new: Some(fill) }
        }
        Some(_) | None if change.qty > 0 => {
            let fill = TcaFill {
                at: update.and_then(|update| update.transact_at).unwrap_or(at),
                qty: Quantity::from_unscaled(change.qty)?,
                product: stored(change.product),
                fee: update.and_then(|update| update.fee),
                fee_currency: update.and_then(|update| update.fee_currency.clone()),
            };
            Swap { gone: None, new: Some(fill) }
        }
        Some(_) | None => take_out(child, None, change),
    })
}

/// The fill that an execution tells of.
fn told(update: &ChildUpdate, at: TimestampMicros) -> Option<TcaFill> {
    let (qty, px) = update.last_qty.zip(update.last_px)?;
    let is_fill = matches!(update.exec_type, Some(ExecType::Trade | ExecType::TradeCorrect));
    // Beyond the range the totals say it.
    let product = px.unscaled().checked_mul(qty.unscaled())?;
    (is_fill && qty.is_positive()).then(|| TcaFill {
        at: update.transact_at.unwrap_or(at),
        qty,
        product: stored(product),
        fee: update.fee,
        fee_currency: update.fee_currency.clone(),
    })
}

/// Takes out the fill that a bust or correction is about: what `new` would have to replace to change the totals so. The
/// newest that fits; two that are equal are the same for every sum.
fn take_out(child: &mut TcaChild, new: Option<TcaFill>, change: Change) -> Swap {
    let (new_qty, new_product) = new.as_ref().map_or((0, 0), |fill| (fill.qty.unscaled(), product(&fill.product)));
    let gone = child.fills.iter().rposition(|fill| {
        let difference = new_product - product(&fill.product);
        fill.qty.unscaled() == new_qty - change.qty && change.agrees(difference)
    });
    match gone {
        Some(index) => {
            let gone = child.fills.remove(index);
            // A corrected fill happened when it happened, and keeps its fee unless told another.
            let new = new.map(|fill| {
                let told = fill.fee.is_some();
                let (fee, fee_currency) =
                    if told { (fill.fee, fill.fee_currency) } else { (gone.fee, gone.fee_currency.clone()) };
                TcaFill { at: gone.at, fee, fee_currency, ..fill }
            });
            Swap { gone: Some(gone), new }
        }
        None => Swap { gone: None, new: None },
    }
}
