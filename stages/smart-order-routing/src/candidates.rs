//! The (broker, venue) pairs an account can use for an instrument, with their figures.

use fillstream_domain::{Bps, ControlScope, Money, NumberError, Quantity, Ratio, Rounding, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::execution::{Quote, RouteCandidate, Slice};
use fillstream_schemas::reference::{Broker, Venue};

use crate::RouteReason;
use crate::score::Candidate;

pub(crate) struct Found {
    pub(crate) eligible: Vec<Candidate>,
    pub(crate) excluded: Vec<(Candidate, RouteReason)>,
    /// Why there is no eligible pair.
    pub(crate) reason: RouteReason,
}

/// Every pair among the brokers where the account is held; preferred brokers only, where one of them is eligible.
pub(crate) fn find(
    slice: &Slice,
    quote: &Quote,
    market: &MarketTable,
    reference: &ReferenceData,
    controls: Option<&Controls>,
    now: TimestampMicros,
) -> Result<Found, NumberError> {
    let mut found = Found { eligible: Vec::new(), excluded: Vec::new(), reason: RouteReason::NoVenue };
    let Some(account) = reference.account(&slice.account_id) else {
        return Ok(Found { reason: RouteReason::NoAccount, ..found });
    };
    for broker in account.brokers.iter().filter_map(|b| reference.broker(b)) {
        for venue in broker.venues.iter().filter_map(|v| reference.venue(v)) {
            if !venue.instruments.is_empty() && !venue.instruments.contains(&slice.instrument_id) {
                continue;
            }
            let at_venue = market.quote_at(&slice.instrument_id, &venue.venue_id, now).ok().map(|q| q.evidence());
            let candidate = candidate(slice, broker, venue, at_venue.as_ref().unwrap_or(quote), at_venue.is_some())?;
            match exclusion(slice, broker, venue, controls, now) {
                Some(reason) => found.excluded.push((candidate, reason)),
                None => found.eligible.push(candidate),
            }
        }
    }
    let preferred = |c: &Candidate| slice.preferred_brokers.contains(&c.broker);
    if found.eligible.iter().any(preferred) {
        found.eligible.retain(preferred);
    }
    Ok(found)
}

fn exclusion(
    slice: &Slice,
    broker: &Broker,
    venue: &Venue,
    controls: Option<&Controls>,
    now: TimestampMicros,
) -> Option<RouteReason> {
    if !venue.is_open {
        return Some(RouteReason::VenueClosed);
    }
    if slice.venue_restrictions.contains(&venue.venue_id) {
        return Some(RouteReason::VenueRestricted);
    }
    let scopes = [(ControlScope::Venue, venue.venue_id.as_str()), (ControlScope::Broker, broker.broker_id.as_str())];
    controls.and_then(|c| c.killed(&scopes, now)).map(|_| RouteReason::Killed)
}

fn candidate(
    slice: &Slice,
    broker: &Broker,
    venue: &Venue,
    quote: &Quote,
    own_quote: bool,
) -> Result<Candidate, NumberError> {
    let buy = slice.side.is_buy();
    let (price, touch) = if buy { (quote.ask, quote.ask_size) } else { (quote.bid, quote.bid_size) };
    // Without a quote of its own, a venue shows its share of the reference quote's size.
    let share = if own_quote { Ratio::ONE } else { venue.size_share };
    let displayed = touch
        .map(|size| size.share(share, Rounding::Floor).and_then(|q| q.floor_to_lot(slice.lot_size)))
        .transpose()?;
    Ok(Candidate {
        broker: broker.broker_id.clone(),
        venue: venue.venue_id.clone(),
        session: broker.session_id.clone(),
        cost: cost(slice, broker, venue, quote, price.notional_rounded(slice.quantity, Rounding::HalfEven)?)?,
        quality: mean(broker.quality, venue.quality)?,
        available: displayed.or(venue.assumed_clip),
        bid: quote.bid,
        ask: quote.ask,
        score: Ratio::ZERO,
    })
}

// Fee of the venue, commission of the broker on this slice, half the spread; all in basis points of the slice's value.
fn cost(slice: &Slice, broker: &Broker, venue: &Venue, quote: &Quote, value: Money) -> Result<Bps, NumberError> {
    let per_unit = broker.per_unit.unscaled();
    let by_unit = fillstream_domain::mul_div_i128(
        per_unit,
        slice.quantity.unscaled(),
        Quantity::ONE.unscaled(),
        Rounding::HalfEven,
    )
    .and_then(Money::from_unscaled)?;
    let commission = by_unit.max(broker.min_commission);
    let commission = if value.is_positive() { commission.bps_of(value, Rounding::HalfEven)? } else { Bps::ZERO };
    let spread = quote.ask.bps_from(quote.bid, Rounding::HalfEven)?;
    let half_spread = Bps::from_unscaled(spread.unscaled() / 2)?;
    venue.taker_fee.checked_add(commission)?.checked_add(half_spread)
}

fn mean(a: Ratio, b: Ratio) -> Result<Ratio, NumberError> {
    Ratio::from_unscaled(a.checked_add(b)?.unscaled() / 2)
}

pub(crate) fn as_events(ranked: &[Candidate], excluded: Vec<(Candidate, RouteReason)>) -> Vec<RouteCandidate> {
    let event = |c: &Candidate, reason: Option<RouteReason>| RouteCandidate {
        broker: c.broker.clone(),
        venue: c.venue.clone(),
        cost: c.cost,
        quality: c.quality,
        available_qty: c.available,
        score: c.score,
        eligible: reason.is_none(),
        exclusion_code: reason.map(|r| r.as_str().to_owned()),
        bid: Some(c.bid),
        ask: Some(c.ask),
    };
    let ranked = ranked.iter().map(|c| event(c, None));
    ranked.chain(excluded.iter().map(|(c, r)| event(c, Some(*r)))).collect()
}
