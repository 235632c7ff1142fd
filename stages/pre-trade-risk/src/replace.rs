//! Replaces of approved orders: from approval to confirmation the larger of old and new is held.

use fillstream_core::error::Poison;
use fillstream_schemas::execution::{OrderEvent, OrderEventType};
use fillstream_schemas::state::RiskReservation;

use crate::facts::Asked;
use crate::reason::Reason;
use crate::{Fx, PreTradeRisk, State, order_key};

/// Codes of order-management's refusals with which a replace ends begin with it.
const REFUSED: &str = "REPLACE_";

impl PreTradeRisk {
    pub(crate) fn replace_requested(
        &self,
        event: &OrderEvent,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let terms = event.terms.as_ref().ok_or_else(|| Poison::new("NO_TERMS", "REPLACE_REQUESTED without terms"))?;
        let key = order_key(event);
        let held = state.open.get(&key).cloned();
        let pending = held.as_ref().and_then(|held| held.replace.as_ref()).map(|replace| replace.revision);
        if pending == Some(event.revision) {
            return Ok(());
        }
        let asked = Asked { event, terms, is_replace: true, replaces: held.as_ref() };
        let verdict = self.verdict(asked, state, fx, |checks| {
            checks.that("order_open", Reason::OrderNotOpen.as_str(), held.is_some());
            checks.that("replace_pending", Reason::ReplacePending.as_str(), pending.is_none());
        });
        self.answer(&key, event, verdict, state, fx)
    }
}

/// Takes over what an event says of a replace: what is filled is open under neither terms; a confirmation leaves the new
/// terms alone.
pub(crate) fn follow(order: &mut RiskReservation, event: &OrderEvent, ended: bool) {
    let confirmed = event.event_type == OrderEventType::Replaced;
    if confirmed {
        order.ord_qty = event.ord_qty;
    }
    let Some(mut replace) = order.replace.take() else { return };
    if confirmed {
        order.reserved_price = replace.reserved_price;
        order.limit_price = replace.limit_price;
    } else if !ended {
        replace.open_qty = replace.ord_qty.less_at_most(event.cum_qty);
        order.replace = Some(replace);
    }
}

/// Takes a refusal over: one of a replace leaves the old terms alone.
pub(crate) fn refused(event: &OrderEvent, state: &mut State) {
    let of_replace = event.reason_code.as_deref().is_some_and(|code| code.starts_with(REFUSED));
    let key = order_key(event);
    let Some(order) = state.open.get(&key).filter(|order| of_replace && order.replace.is_some()) else { return };
    let order = RiskReservation { replace: None, ..order.clone() };
    state.open.put(&key, order);
}
