//! What the stage takes from the record that lets it begin, in one place.

use fillstream_domain::{Money, Quantity, Ratio, Side, TimestampMicros};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, AllocationMode, ImpactEstimate, OrderTerms, Quote,
};
use fillstream_schemas::state::StrategyOrder;

/// An account's part of an order, to be worked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Approved<'a> {
    pub order_id: &'a str,
    pub portfolio_id: &'a str,
    pub account_id: &'a str,
    pub instrument_id: &'a str,
    pub side: Side,
    pub quantity: Quantity,
    pub order_value: Money,
    pub impact: &'a ImpactEstimate,
    pub risk_score: Ratio,
    pub quote: Option<&'a Quote>,
    pub terms: &'a OrderTerms,
    /// Revision of the order event that put them in force; 0: the creation.
    pub terms_revision: i32,
    /// When its schedule starts.
    pub starts_at: TimestampMicros,
    /// Whether it is all of the order: then the order's quantity is its own.
    pub is_whole: bool,
}

impl<'a> Approved<'a> {
    /// The part that an allocation gives; `None`: there is nothing to work.
    pub(crate) fn of(v: &'a AccountAllocation, now: TimestampMicros) -> Option<Self> {
        let account_id = v.account_id.as_ref().filter(|_| v.quantity.is_positive())?;
        Some(Self {
            order_id: &v.order_id,
            portfolio_id: &v.portfolio_id,
            account_id,
            instrument_id: &v.instrument_id,
            side: v.side,
            quantity: v.quantity,
            order_value: v.order_value,
            impact: &v.market_impact_estimate,
            risk_score: v.risk_score,
            quote: v.quote.as_ref(),
            terms: &v.terms,
            terms_revision: v.terms_revision,
            starts_at: v.due_at.max(now),
            is_whole: v.quantity == v.parent_qty
                && v.kind != AllocationKind::Fallback
                && v.mode != AllocationMode::Block,
        })
    }

    /// The same under what is known of its order, whose terms may have been replaced since it was allocated.
    pub(crate) fn under(self, known: Option<&'a StrategyOrder>) -> Self {
        match known.filter(|known| known.terms_revision > self.terms_revision) {
            None => self,
            Some(known) => Self {
                terms: &known.terms,
                terms_revision: known.terms_revision,
                quantity: if self.is_whole { known.ord_qty } else { self.quantity },
                ..self
            },
        }
    }

    /// Key of its state.
    pub(crate) fn key(&self) -> String {
        state_key(self.order_id, self.account_id)
    }
}

/// Key of an account's part of an order, and of its timer; without an account, that of what is known of the order before
/// any part.
pub(crate) fn state_key(order_id: &str, account_id: &str) -> String {
    format!("{order_id}/{account_id}")
}
