//! What open children hold that their order does not allow any more: after a replace, and while it is suspended.

use fillstream_core::error::Poison;
use fillstream_domain::{Price, Quantity, Side};
use fillstream_schemas::execution::{OrderEvent, OrderEventType};
use fillstream_schemas::state::{ChildRiskChild, ChildRiskOrder};

use crate::children::{cancel, children};
use crate::{Fx, State};

/// The quantity in force since the last replace: order events may show more while children hold it.
pub(crate) fn target(before: &ChildRiskOrder, event: &OrderEvent) -> Option<Quantity> {
    let replaced = event.event_type == OrderEventType::Replaced;
    if replaced { event.new_ord_qty.or(Some(event.ord_qty)) } else { before.target_qty }
}

/// What is left for children: of the quantity in force, however much more they still hold.
pub(crate) fn leaves(target: Option<Quantity>, event: &OrderEvent) -> Quantity {
    target.map_or(event.leaves_qty, |target| event.leaves_qty.min(target.less_at_most(event.cum_qty)))
}

/// Cancels the children that break the limit now in force, then the youngest until the others fit into what is left.
/// Children whose cancel was written are counted as gone: each is cancelled once.
pub(crate) fn cancel_surplus(
    order: &ChildRiskOrder,
    event: &OrderEvent,
    suspends: bool,
    state: &mut State,
    fx: &mut Fx<'_>,
) -> Result<(), Poison> {
    let limit = event.terms.as_ref().filter(|_| event.event_type == OrderEventType::Replaced);
    let limit = limit.and_then(|terms| terms.limit_price);
    let open = children(state, &order.order_id).filter(|(_, child)| !child.held_qty.is_zero() && !child.cancel_sent);
    let mut open: Vec<(String, ChildRiskChild)> = open.map(|(key, child)| (key.to_owned(), child.clone())).collect();
    // The oldest first: what is cut off at the end is the youngest.
    open.sort_by_key(|(_, child)| (child.slice_no, child.leg));
    let room = if suspends { Quantity::ZERO } else { order.leaves_qty };
    let mut held = Quantity::ZERO;
    for (key, child) in open {
        let sum = held.checked_add(child.held_qty).unwrap_or(Quantity::MAX);
        let breaks = limit.is_some_and(|limit| is_beyond(child.side, child.limit_price, limit));
        if breaks || sum > room {
            cancel(&key, child, state, fx)?;
        } else {
            held = sum;
        }
    }
    Ok(())
}

/// Whether a child may trade at a price that the limit forbids.
fn is_beyond(side: Side, child: Option<Price>, limit: Price) -> bool {
    child.is_none_or(|price| if side.is_buy() { price > limit } else { price < limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_beyond_a_limit_that_it_may_trade_through() {
        let px = |text: &str| text.parse::<Price>().unwrap();
        for (side, child, beyond) in [
            (Side::Buy, Some("100"), false),
            (Side::Buy, Some("99"), false),
            (Side::Buy, Some("100.01"), true),
            (Side::BuyToCover, Some("101"), true),
            (Side::Sell, Some("99.99"), true),
            (Side::Sell, Some("100"), false),
            (Side::SellShort, Some("101"), false),
            (Side::Sell, None, true),
        ] {
            assert_eq!(is_beyond(side, child.map(px), px("100")), beyond, "{side} {child:?}");
        }
    }
}
