//! Where an order would go by liquidity alone: the share of each venue, told with the order's strategy.
//!
//! The part that may be offered to dark pools is spread evenly over those that can be reached, as they show nothing; the rest goes over
//! the lit venues in proportion to what is offered at each touch on the side that the order takes. It is what the books say
//! at that moment: routing decides anew for each slice, with fees, quality and latency beside.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_domain::{NumberError, Quantity, Ratio, Rounding, mul_div_i128};
use fillstream_reference::{ReferenceData, TradingStatus};
use fillstream_schemas::reference::{Venue, VenueKind};
use fillstream_schemas::state::StrategyOrder;

use crate::config::Config;
use crate::view::View;

/// Fractions of the order by venue; they add up to one. Empty where no lit venue that can be reached shows a size.
///
/// # Errors
/// A sum is out of range.
pub(crate) fn allocation(
    order: &StrategyOrder,
    view: &View<'_>,
    config: &Config,
) -> Result<BTreeMap<String, Ratio>, NumberError> {
    let Some(data) = view.data else { return Ok(BTreeMap::new()) };
    let (mut dark, mut lit) = (BTreeSet::new(), BTreeMap::new());
    for venue in reachable(order, data).filter(|venue| takes(order, venue, view, data)) {
        match venue.kind {
            VenueKind::Dark => {
                dark.insert(venue.venue_id.as_str());
            }
            VenueKind::Lit => {
                if let Some(size) = offered(order, &venue.venue_id, view, config) {
                    lit.insert(venue.venue_id.as_str(), size);
                }
            }
            VenueKind::Other => {}
        }
    }
    let total = Quantity::sum(lit.values().copied())?;
    let Some((deepest, _)) = lit.iter().max_by_key(|(_, size)| **size).filter(|_| total.is_positive()) else {
        return Ok(BTreeMap::new());
    };
    let to_dark = order.dark_pool_ratio.unwrap_or_default().min(Ratio::ONE).max(Ratio::ZERO);
    let pools = i128::try_from(dark.len()).unwrap_or(i128::MAX);
    let each = Ratio::from_unscaled(to_dark.unscaled().checked_div(pools).unwrap_or_default())?;
    let mut shares: BTreeMap<String, Ratio> =
        dark.iter().filter(|_| each.is_positive()).map(|venue| ((*venue).to_owned(), each)).collect();
    let rest = Ratio::ONE.checked_sub(Ratio::sum(shares.values().copied())?)?;
    for (venue, size) in lit.iter().filter(|(venue, _)| venue != &deepest) {
        let share = mul_div_i128(rest.unscaled(), size.unscaled(), total.unscaled(), Rounding::Floor)?;
        shares.insert((*venue).to_owned(), Ratio::from_unscaled(share)?);
    }
    // Of what rounding leaves, the deepest book has most.
    let given = Ratio::sum(shares.values().copied())?;
    shares.insert((*deepest).to_owned(), Ratio::ONE.checked_sub(given)?);
    shares.retain(|_, share| share.is_positive());
    Ok(shares)
}

// The venues of the brokers that hold the order's account; where it has none yet, those of the portfolio.
fn reachable<'a>(order: &StrategyOrder, data: &'a ReferenceData) -> impl Iterator<Item = &'a Venue> {
    let own = data.account(&order.account_id);
    let accounts = own.map_or_else(|| data.accounts_of(&order.portfolio_id), |own| vec![own]);
    let brokers = accounts.into_iter().flat_map(|account| &account.brokers).filter_map(|id| data.broker(id));
    let ids: BTreeSet<&String> = brokers.flat_map(|broker| &broker.venues).collect();
    ids.into_iter().filter_map(|id| data.venue(id))
}

// Whether it may take the order: what routing asks of every slice alike.
fn takes(order: &StrategyOrder, venue: &Venue, view: &View<'_>, data: &ReferenceData) -> bool {
    let id = &venue.venue_id;
    let named = |list: &[String], id: &str| list.is_empty() || list.iter().any(|named| named == id);
    let limit = data.limit(&order.portfolio_id);
    let is_permitted = limit.is_none_or(|l| named(&l.permitted_venues, id) && named(&l.child_permitted_venues, id));
    let class = view.instrument().map(|instrument| instrument.asset_class.as_str());
    let status = view.market.and_then(|market| market.status_at(view.instrument_id, id, view.now));
    venue.is_open
        && is_permitted
        && named(&venue.instruments, view.instrument_id)
        && class.is_some_and(|class| named(&venue.asset_classes, class))
        && !order.terms.venue_restrictions.contains(id)
        && !matches!(status, Some(TradingStatus::Halted | TradingStatus::Closed))
}

// What the order could take at a venue's touch.
fn offered(order: &StrategyOrder, venue: &str, view: &View<'_>, config: &Config) -> Option<Quantity> {
    let quote = view.market?.quote_at(view.instrument_id, venue, view.now).ok()?;
    let age = quote.age_at(view.now)?;
    let is_sound = !quote.is_crossed() && !quote.is_locked();
    let is_fresh = age.micros() <= config.max_quote_age_ms.saturating_mul(1_000);
    quote.opposite_size(order.side).filter(|size| is_sound && is_fresh && size.is_positive())
}
