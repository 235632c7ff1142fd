//! What the stage takes from the record that lets it begin, in one place.

use fillstream_domain::{Money, Quantity, Ratio, Side, TimestampMicros};
use fillstream_schemas::execution::{ImpactEstimate, OrderTerms, Quote, ValidatedOrder};

/// An order that may be worked.
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
    /// When its schedule starts.
    pub starts_at: TimestampMicros,
}

impl<'a> Approved<'a> {
    /// The order of a verdict; `None`: there is nothing to work.
    pub(crate) fn of(v: &'a ValidatedOrder, now: TimestampMicros) -> Option<Self> {
        let account_id = v.account_id.as_ref().filter(|_| v.is_approved)?;
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
            starts_at: now,
        })
    }

    /// Key of its state.
    pub(crate) fn key(&self) -> String {
        state_key(self.order_id, self.account_id)
    }
}

/// Key under which an order is remembered, and of its timer. One account works an order: the order says it all.
pub(crate) fn state_key(order_id: &str, _account_id: &str) -> String {
    order_id.to_owned()
}
