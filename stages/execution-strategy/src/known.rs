//! What accounts that are allocated later must know of their order: nothing orders two topics, and another account may take over
//! long after the order has begun.

use fillstream_schemas::execution::{OrderEvent, OrderEventType};
use fillstream_schemas::state::StrategyOrder;

use crate::State;
use crate::input::state_key;
use crate::reason::Pause;

/// What is known of an order.
pub(crate) fn of(order_id: &str, state: &State) -> Option<StrategyOrder> {
    state.orders.get(&state_key(order_id, "")).cloned()
}

/// Notes what an event says of the order, whichever accounts it has.
pub(crate) fn note(e: &OrderEvent, state: &mut State) {
    let before = of(&e.order_id, state);
    let mut known =
        before.clone().unwrap_or_else(|| StrategyOrder { order_id: e.order_id.clone(), ..StrategyOrder::default() });
    match e.event_type {
        OrderEventType::CancelRequested => known.stopped = true,
        OrderEventType::Suspended => {
            (known.paused_code, known.paused_at) = (Some(Pause::Suspended.as_str().to_owned()), Some(e.timestamp));
        }
        // Nothing is remembered of an order that nothing needs to be known of.
        OrderEventType::Resumed if before.is_none() => return,
        OrderEventType::Resumed => (known.paused_code, known.paused_at) = (None, None),
        OrderEventType::Replaced => {
            let Some(terms) = &e.terms else { return };
            (known.terms, known.terms_revision) = (terms.clone(), e.revision);
            known.ord_qty = e.new_ord_qty.unwrap_or(e.ord_qty);
        }
        OrderEventType::Created
        | OrderEventType::Rejected
        | OrderEventType::Released
        | OrderEventType::Routed
        | OrderEventType::ChildUpdated
        | OrderEventType::CommandRefused
        | OrderEventType::Filled
        | OrderEventType::Cancelled
        | OrderEventType::Expired
        | OrderEventType::Amended
        | OrderEventType::Overfill
        | OrderEventType::Other
        | OrderEventType::ReplaceRequested => return,
    }
    if before.as_ref() != Some(&known) {
        state.orders.put(&state_key(&e.order_id, ""), known);
    }
}
