//! Replaces of approved orders: from approval to confirmation the larger of old and new is held.

use fillstream_core::error::Poison;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, OrderTerms};
use fillstream_schemas::state::RiskReservation;

use crate::checks::Checks;
use crate::facts::Asked;
use crate::reason::Reason;
use crate::{Fx, PreTradeRisk, State, books, order_key};

/// Codes with which order-management gives up a replace that was approved: the order ends first, or the answer came too
/// late. Its other refusals are of commands that were never asked here, another replace of the same order among them.
const GIVEN_UP: [&str; 2] = ["REPLACE_OVERTAKEN", "REPLACE_OVERDUE"];

impl PreTradeRisk {
    pub(crate) fn replace_requested(
        &self,
        event: &OrderEvent,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        books::ensure(state, &event.portfolio_id)?;
        self.ask(event, state, fx)
    }
}

/// What a replace asks for; `None`: it is approved already.
pub(crate) fn asked<'a>(
    event: &'a OrderEvent,
    terms: &'a OrderTerms,
    held: Option<&'a RiskReservation>,
) -> Option<Asked<'a>> {
    let quantity = event.new_ord_qty.unwrap_or(event.ord_qty);
    (pending(held) != Some(event.revision)).then_some(Asked {
        event,
        terms,
        quantity,
        is_replace: true,
        replaces: held,
    })
}

/// Checks that there is something to replace.
pub(crate) fn check(held: Option<&RiskReservation>, checks: &mut Checks) {
    checks.that("order_open", Reason::OrderNotOpen.as_str(), held.is_some());
    checks.that("replace_pending", Reason::ReplacePending.as_str(), pending(held).is_none());
}

fn pending(held: Option<&RiskReservation>) -> Option<i32> {
    held.and_then(|held| held.replace.as_ref()).map(|replace| replace.revision)
}

/// Whether order-management gives up a replace that it asked for.
pub(crate) fn is_given_up(event: &OrderEvent) -> bool {
    event.event_type == OrderEventType::CommandRefused
        && event.reason_code.as_deref().is_some_and(|code| GIVEN_UP.contains(&code))
}

/// Takes over what an event says of a replace: what is filled is open under neither terms; a confirmation puts the new ones
/// in force, beside what children of the former may still have.
pub(crate) fn follow(order: &mut RiskReservation, event: &OrderEvent, ended: bool) {
    let confirmed = event.event_type == OrderEventType::Replaced;
    if confirmed {
        order.ord_qty = event.ord_qty;
    }
    let Some(mut replace) = order.replace.take() else { return };
    if confirmed {
        order.former_price = order.former_price.max(Some(order.reserved_price));
        order.former_limit = match (order.former_limit, order.limit_price) {
            (Some(former), Some(limit)) if order.side.is_buy() => Some(former.max(limit)),
            (Some(former), Some(limit)) => Some(former.min(limit)),
            (former, limit) => former.or(limit),
        };
        order.reserved_price = replace.reserved_price;
        order.limit_price = replace.limit_price;
    } else if !ended {
        replace.open_qty = replace.ord_qty.less_at_most(event.cum_qty);
        order.replace = Some(replace);
    }
}

/// Takes a refusal over: one of a replace leaves the old terms alone.
pub(crate) fn refused(event: &OrderEvent, state: &mut State) -> Result<(), Poison> {
    books::ensure(state, &event.portfolio_id)?;
    let key = order_key(event);
    let Some(order) = state.open.get(&key).filter(|order| is_given_up(event) && order.replace.is_some()) else {
        return Ok(());
    };
    let order = RiskReservation { replace: None, ..order.clone() };
    books::hold(state, &key, Some(order))
}
