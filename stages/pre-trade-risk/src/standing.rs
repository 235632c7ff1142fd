//! What a portfolio has open and entered already, as an order that asks finds it.

use fillstream_domain::{DurationMicros, NumberError, Price, Side, TimestampMicros};
use fillstream_schemas::execution::{OrderEvent, OrderTerms};
use fillstream_schemas::reference::RiskLimit;
use fillstream_schemas::state::{RiskEntered, RiskLease, RiskPortfolio, RiskReservation};

use crate::exposure::Exposure;
use crate::facts::Asked;
use crate::{State, books, order_key};

/// Longest time in which a duplicate is recognised.
pub(crate) const DUPLICATES_KEPT_US: i64 = fillstream_domain::time::MICROS_PER_DAY;

/// What there is beside an order.
pub(crate) struct Standing<'a> {
    state: &'a State,
    /// Of the keys of what the portfolio has open.
    prefix: &'a str,
    portfolio: &'a str,
    pub entered: Option<&'a RiskEntered>,
}

impl<'a> Standing<'a> {
    /// `prefix` is that of the keys of what the portfolio has open.
    pub(crate) fn of(asked: &Asked<'a>, prefix: &'a str, state: &'a State) -> Self {
        let portfolio = asked.event.portfolio_id.as_str();
        Self { state, prefix, portfolio, entered: state.entered.get(portfolio) }
    }

    // Other open orders of the portfolio.
    fn open(&self, asked: &Asked<'_>) -> impl Iterator<Item = &'a RiskReservation> {
        let (own, portfolio) = (order_key(asked.event), self.portfolio);
        // The prefix alone would take the orders of a portfolio `P/1` for those of `P`.
        let open = self.state.open.with_prefix(self.prefix);
        open.filter(move |(key, order)| *key != own && order.portfolio_id == portfolio).map(|(_, order)| order)
    }

    /// What the portfolio is leased of a limit.
    pub(crate) fn lease(&self, limit: &str) -> Option<&'a RiskLease> {
        self.state.leases.get(&format!("{}{limit}", self.prefix))
    }

    /// Positions with the other open orders.
    pub(crate) fn exposure<'b>(
        &self,
        asked: &Asked<'_>,
        portfolio: &'b RiskPortfolio,
    ) -> Result<Exposure<'b>, NumberError>
    where
        'a: 'b,
    {
        if asked.replaces.is_some() {
            // The books have the order that is to be replaced.
            return Exposure::of(portfolio, self.open(asked));
        }
        Ok(Exposure::summed(portfolio, books::of(self.state, self.prefix, self.portfolio)))
    }

    /// An open order of the other side that the order could trade with.
    pub(crate) fn crossed_by(&self, asked: &Asked<'_>) -> Option<&'a str> {
        let (side, limit) = (asked.event.side, asked.terms.limit_price);
        let book = books::of_instrument(self.state, self.portfolio, &asked.event.instrument_id)?;
        let other_side = if side.is_buy() { book.sell_qty } else { book.buy_qty };
        if other_side.is_zero() {
            // Most orders: nobody is looked for.
            return None;
        }
        let crosses = |order: &RiskReservation| {
            let replaced = order.replace.as_ref().map(|replace| replace.limit_price);
            let former = order.former_limit.map(Some);
            order.instrument_id == asked.event.instrument_id
                && order.side.is_buy() != side.is_buy()
                && [Some(order.limit_price), replaced, former]
                    .into_iter()
                    .flatten()
                    .any(|theirs| meet(side, limit, theirs))
        };
        self.open(asked).find(|order| crosses(order)).map(|order| order.order_id.as_str())
    }

    /// The same order, approved less than the window of the limits ago.
    pub(crate) fn repeated(&self, asked: &Asked<'_>, limit: &RiskLimit, now: TimestampMicros) -> Option<&'a str> {
        let window_us = limit.duplicate_window_ms.saturating_mul(1_000).min(DUPLICATES_KEPT_US);
        let recent = self.state.recent.get(&recent_key(asked.event, asked.terms))?;
        let age = now.since(recent.entered_at).map_or(0, DurationMicros::micros);
        (age < window_us).then_some(recent.order_id.as_str())
    }
}

/// Where the last approval of the same order is kept.
pub(crate) fn recent_key(event: &OrderEvent, terms: &OrderTerms) -> String {
    let limit = terms.limit_price.map_or_else(|| "any".to_owned(), |price| price.to_string());
    let stop = terms.stop_price.map_or_else(String::new, |price| format!("/{price}"));
    let OrderEvent { portfolio_id, instrument_id, side, ord_qty, .. } = event;
    format!("{portfolio_id}/{instrument_id}/{}/{ord_qty}/{limit}{stop}", side.as_str())
}

// Whether orders of two sides could trade with each other; an order without limit with every one.
fn meet(side: Side, limit: Option<Price>, other: Option<Price>) -> bool {
    match (limit, other) {
        (Some(mine), Some(theirs)) => {
            if side.is_buy() {
                mine >= theirs
            } else {
                theirs >= mine
            }
        }
        (None, _) | (_, None) => true,
    }
}
