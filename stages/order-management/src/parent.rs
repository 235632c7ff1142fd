//! Figures and end of a parent order, derived from the facts kept of it.

use fillstream_domain::ParentStatus as Stand;
use fillstream_domain::order_state::{
    ParentEvent, ParentSnapshot, ParentState, parent_quantities_balance, parent_transition,
};
use fillstream_domain::{AvgPrice, ExactTurnover, NumberError, PriceQuantitySum, Quantity, Rounding, Turnover};
use fillstream_schemas::execution::ParentStatus;
use fillstream_schemas::state::{OmsEndingKind, OmsOrder};

use crate::accounts;

/// The totals of a parent order, as every event of it carries them. Quantities in units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// State.
    pub status: ParentStatus,
    /// Quantity ordered.
    pub ord_qty: Quantity,
    /// Filled, at most the quantity ordered.
    pub cum_qty: Quantity,
    /// Still open.
    pub leaves_qty: Quantity,
    /// Ended without a fill.
    pub cancelled_qty: Quantity,
    /// Part of the leaves that children hold.
    pub working_qty: Quantity,
    /// Filled beyond the quantity ordered.
    pub overfill_qty: Quantity,
    /// Average price of all fills, 12 digits half-even; `None` without fills.
    pub avg_px: Option<AvgPrice>,
    /// Sum of price x quantity of all fills, quote currency, 12 digits half-even.
    pub filled_notional: Turnover,
}

/// Invariant: ordered = cum + leaves + cancelled.
#[must_use]
pub fn figures_balance(figures: &Figures) -> bool {
    Quantity::sum([figures.cum_qty, figures.leaves_qty, figures.cancelled_qty]) == Ok(figures.ord_qty)
}

/// Invariant: what children hold of the order is never more than it has left.
#[must_use]
pub fn working_fits_leaves(figures: &Figures) -> bool {
    figures.working_qty <= figures.leaves_qty
}

/// All fills of an order.
pub(crate) fn fills(order: &OmsOrder) -> PriceQuantitySum {
    sum_of(&order.fill_product, order.fill_qty)
}

/// A sum of fills as it is stored: products need more digits than a decimal of a contract has.
pub(crate) fn sum_of(product: &[u8], quantity: Quantity) -> PriceQuantitySum {
    let units = <[u8; 16]>::try_from(product).map_or(0, i128::from_be_bytes);
    let product = ExactTurnover::from_unscaled(units).unwrap_or(ExactTurnover::ZERO);
    PriceQuantitySum::from_parts(product, quantity)
}

pub(crate) fn product_of(fills: PriceQuantitySum) -> Vec<u8> {
    fills.product_e16().to_be_bytes().to_vec()
}

pub(crate) fn set_fills(order: &mut OmsOrder, fills: PriceQuantitySum) {
    order.fill_product = product_of(fills);
    order.fill_qty = fills.quantity();
}

/// The order as its state table knows it, with `held` by its children.
fn state(order: &OmsOrder, held: Quantity) -> Result<ParentState, NumberError> {
    let snapshot = ParentSnapshot {
        ord_qty: order.ord_qty,
        fills: fills(order),
        held,
        released: order.released,
        suspended: order.is_suspended || order.is_closed,
        replacing: order.replace.as_ref().map(|asked| asked.new_ord_qty),
        winding: order.ending.as_ref().map(|ending| match ending.kind {
            OmsEndingKind::Cancel => Stand::Cancelled,
            OmsEndingKind::Expiry => Stand::Expired,
        }),
        terminal: order.terminal.map(stand_of),
    };
    // An order of nothing was never created.
    ParentState::from_snapshot(&snapshot).map_err(|_| NumberError::NotPositive { name: "OrderQty" })
}

const fn stand_of(status: ParentStatus) -> Stand {
    match status {
        ParentStatus::PendingRisk => Stand::PendingRisk,
        ParentStatus::Working => Stand::Working,
        ParentStatus::PartiallyFilled => Stand::PartiallyFilled,
        ParentStatus::CancelPending => Stand::CancelPending,
        ParentStatus::Filled => Stand::Filled,
        ParentStatus::Cancelled => Stand::Cancelled,
        ParentStatus::Rejected => Stand::Rejected,
        ParentStatus::Expired => Stand::Expired,
    }
}

/// Where the order stands, finer than its events say: what a command may do depends on it.
pub(crate) fn stand(order: &OmsOrder) -> Result<Stand, NumberError> {
    Ok(state(order, order.held_qty)?.status())
}

/// The status between events. An order that is filled but not yet ended shows what it was on its way; one that is suspended
/// or has a replace pending shows what it is beside that.
pub(crate) fn status(order: &OmsOrder) -> ParentStatus {
    match (order.terminal, &order.ending) {
        (Some(terminal), _) => terminal,
        (None, Some(_)) => ParentStatus::CancelPending,
        (None, None) if !order.released => ParentStatus::PendingRisk,
        (None, None) if order.fill_qty.is_positive() => ParentStatus::PartiallyFilled,
        (None, None) => ParentStatus::Working,
    }
}

/// The quantity ordered. After a replace it is what was asked for, or more while children hold, or have filled, more of the
/// quantity before it: what crosses a replace wins (trading rule 16: a decrease frees only what children have given up).
pub(crate) fn ordered(order: &OmsOrder) -> Result<Quantity, NumberError> {
    let (Some(target), Some(crossing), None) = (order.target_qty, order.crossing_qty, order.terminal) else {
        return Ok(order.ord_qty);
    };
    Ok(target.max(crossing.min(order.fill_qty.checked_add(order.held_qty)?)))
}

/// The totals now.
pub(crate) fn figures(order: &OmsOrder) -> Result<Figures, NumberError> {
    let fills = fills(order);
    let cum_qty = fills.quantity().min(order.ord_qty);
    let left = order.ord_qty.less_at_most(cum_qty);
    let (leaves_qty, cancelled_qty) =
        if order.terminal.is_some() { (Quantity::ZERO, left) } else { (left, Quantity::ZERO) };
    let figures = Figures {
        status: status(order),
        ord_qty: order.ord_qty,
        cum_qty,
        leaves_qty,
        cancelled_qty,
        working_qty: order.held_qty.min(leaves_qty),
        overfill_qty: fills.quantity().less_at_most(order.ord_qty),
        avg_px: fills.avg(Rounding::HalfEven)?,
        filled_notional: fills.turnover(Rounding::HalfEven)?,
    };
    debug_assert!(figures_balance(&figures), "ordered = cum + leaves + cancelled: {figures:?}");
    debug_assert!(working_fits_leaves(&figures), "working <= leaves: {figures:?}");
    Ok(figures)
}

/// How the order ends now, by the parent's state table; `None` while something keeps it open.
///
/// Until the last plan has come, all that an order that is being ended has left counts as held: children may be under
/// way whose plan is not here yet. An order of which an account has failed waits for them even when it is filled. Before its verdict it cannot end at all, but by a refusal.
pub(crate) fn ended(order: &OmsOrder) -> Result<Option<ParentStatus>, NumberError> {
    if order.terminal.is_some() || !order.released {
        return Ok(order.terminal);
    }
    let fills = fills(order);
    let in_flight = match &order.ending {
        Some(_) if !order.settled => order.ord_qty.less_at_most(fills.quantity()),
        Some(_) | None => Quantity::ZERO,
    };
    if accounts::needs_proof(order) {
        return Ok(None);
    }
    let held = order.held_qty.max(in_flight);
    let children = ParentEvent::Children { fills, held };
    let end = parent_transition(&state(order, held)?, &children).map(|t| t.state);
    let Ok(end) = end else { return Ok(None) };
    debug_assert!(parent_quantities_balance(&end));
    Ok(match end.status() {
        Stand::Filled => Some(ParentStatus::Filled),
        Stand::Cancelled => Some(ParentStatus::Cancelled),
        Stand::Expired => Some(ParentStatus::Expired),
        Stand::Rejected => Some(ParentStatus::Rejected),
        Stand::PendingRisk
        | Stand::Working
        | Stand::PartiallyFilled
        | Stand::Suspended
        | Stand::ReplacePending
        | Stand::CancelPending => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_schemas::state::{OmsEnding, OmsReplace};

    fn order(filled: &str, held: &str) -> OmsOrder {
        let mut order = OmsOrder {
            ord_qty: "100".parse().unwrap(),
            released: true,
            held_qty: held.parse().unwrap(),
            ..OmsOrder::default()
        };
        let qty: Quantity = filled.parse().unwrap();
        if qty.is_positive() {
            set_fills(&mut order, PriceQuantitySum::ZERO.add("10".parse().unwrap(), qty).unwrap());
        }
        order
    }

    fn ending(kind: OmsEndingKind) -> Option<OmsEnding> {
        Some(OmsEnding { kind, ..OmsEnding::default() })
    }

    #[test]
    fn an_order_ends_when_nothing_is_held_and_nothing_can_be_in_flight() {
        use OmsEndingKind::{Cancel, Expiry};
        // filled, held, ending, settled, expected
        let cases = [
            ("0", "0", None, false, None),
            ("40", "60", None, false, None),
            ("100", "0", None, false, Some(ParentStatus::Filled)),
            ("100", "5", None, false, None),
            ("120", "0", None, false, Some(ParentStatus::Filled)),
            ("0", "0", Some(Cancel), false, None),
            ("0", "0", Some(Cancel), true, Some(ParentStatus::Cancelled)),
            ("40", "10", Some(Cancel), true, None),
            ("40", "0", Some(Expiry), true, Some(ParentStatus::Expired)),
            ("100", "0", Some(Expiry), false, Some(ParentStatus::Filled)),
        ];
        for (filled, held, kind, settled, expected) in cases {
            let order = OmsOrder { ending: kind.and_then(ending), settled, ..order(filled, held) };
            assert_eq!(ended(&order), Ok(expected), "{filled} {held} {kind:?} {settled}");
        }
    }

    #[test]
    fn without_a_verdict_an_order_does_not_end() {
        let mut order = OmsOrder { released: false, ending: ending(OmsEndingKind::Cancel), ..order("0", "0") };
        order.settled = true;
        assert_eq!(ended(&order), Ok(None));
        order.released = true;
        assert_eq!(ended(&order), Ok(Some(ParentStatus::Cancelled)));
    }

    #[test]
    fn rule_16_a_decrease_frees_only_what_children_have_given_up() {
        let qty = |text: &str| text.parse::<Quantity>().unwrap();
        // filled, held, asked for, before it, ordered
        let cases = [
            ("0", "0", "40", "100", "40"),
            ("0", "100", "40", "100", "100"),
            ("30", "30", "40", "100", "60"),
            ("50", "0", "40", "100", "50"),
            // What is filled beyond the quantity before it is an overfill.
            ("120", "0", "40", "100", "100"),
            ("100", "0", "150", "100", "150"),
        ];
        for (filled, held, target, crossing, expected) in cases {
            let mut order = order(filled, held);
            (order.target_qty, order.crossing_qty) = (Some(qty(target)), Some(qty(crossing)));
            assert_eq!(ordered(&order), Ok(qty(expected)), "{filled} {held} {target} {crossing}");
            order.terminal = Some(ParentStatus::Cancelled);
            assert_eq!(ordered(&order), Ok(qty("100")), "what has ended stays as it ended");
        }
    }

    #[test]
    fn where_an_order_stands_is_finer_than_its_status() {
        let mut order = order("40", "60");
        assert_eq!((stand(&order), status(&order)), (Ok(Stand::PartiallyFilled), ParentStatus::PartiallyFilled));
        order.is_closed = true;
        assert_eq!((stand(&order), status(&order)), (Ok(Stand::Suspended), ParentStatus::PartiallyFilled));
        order.replace = Some(OmsReplace { new_ord_qty: "50".parse().unwrap(), ..OmsReplace::default() });
        assert_eq!((stand(&order), status(&order)), (Ok(Stand::ReplacePending), ParentStatus::PartiallyFilled));
    }

    #[test]
    fn fills_survive_their_storage() {
        let product = ExactTurnover::from_unscaled(-123_456_789_012_345_678_901_234).unwrap();
        let sum = PriceQuantitySum::from_parts(product, "7".parse().unwrap());
        let mut order = OmsOrder::default();
        assert_eq!(fills(&order), PriceQuantitySum::ZERO);
        set_fills(&mut order, sum);
        assert_eq!(fills(&order), sum);
    }
}
