//! From a slice to its legs.

use std::collections::BTreeMap;

use fillstream_domain::{
    ControlScope, DurationMicros, NumberError, OrdType, Quantity, Ratio, Rounding, RoutingStrategy, TimeInForce,
    TimestampMicros, Urgency,
};
use fillstream_reference::{Controls, FxMiss, MarketTable, ReferenceData};
use fillstream_schemas::execution::Slice;

use crate::broker;
use crate::candidates::{Found, Job, find, is_fresh};
use crate::config::Config;
use crate::memory::{self, State};
use crate::money::{Rates, Valuation};
use crate::placement::{Rule, place};
use crate::plan::{Leg, Routed};
use crate::reason::RouteReason;
use crate::score::{Candidate, rank};
use crate::split::{Split, lot, split};
use crate::terms;

/// Tables, state and time that slices are routed from.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) market: Option<&'a MarketTable>,
    pub(crate) reference: Option<&'a ReferenceData>,
    pub(crate) controls: Option<&'a Controls>,
    pub(crate) state: &'a State,
    pub(crate) config: &'a Config,
    pub(crate) now: TimestampMicros,
}

/// Whether the children of a slice take what is there, not rest.
pub(crate) fn takes(slice: &Slice) -> bool {
    matches!(slice.time_in_force, TimeInForce::Ioc | TimeInForce::Fok) || slice.ord_type == OrdType::Market
}

/// What the choice aims at.
pub(crate) fn strategy(slice: &Slice, config: &Config) -> RoutingStrategy {
    slice.routing_strategy.unwrap_or(config.routing_strategy)
}

fn refused(quantity: Quantity, reason: RouteReason) -> Routed {
    Routed { unrouted: Some((quantity, reason)), ..Routed::default() }
}

impl World<'_> {
    /// Routes what the order has free of the slice; what children hold already is not sent twice.
    pub(crate) fn route(&self, slice: &Slice) -> Result<Routed, NumberError> {
        if self.pauses(slice) {
            return Ok(refused(slice.quantity, RouteReason::Paused));
        }
        let standing = memory::standing(self.state.orders.get(&slice.order_id), self.now, self.config)?;
        if standing.is_paused {
            return Ok(refused(slice.quantity, RouteReason::TooManyRejects));
        }
        let Some(free) = standing.free.filter(|free| *free < slice.quantity) else { return self.route_all(slice) };
        let free = free.floor_to_lot(slice.lot_size)?;
        let held = slice.quantity.less_at_most(free);
        if free.is_zero() {
            return Ok(refused(slice.quantity, RouteReason::ExceedsLeaves));
        }
        let routed = self.route_all(&Slice { quantity: free, ..slice.clone() })?;
        let (left, reason) = routed.unrouted.unwrap_or((Quantity::ZERO, RouteReason::ExceedsLeaves));
        Ok(Routed { unrouted: Some((left.checked_add(held)?, reason)), ..routed })
    }

    // Whether nothing of a slice may go anywhere for now. Its children would all be refused, and the order would look like one
    // that the venues reject; so the slice stays with its schedule, which tries again. What a kill covers is not routed
    // around either, but that ends the order: risk's refusals are its evidence.
    fn pauses(&self, slice: &Slice) -> bool {
        let mut scopes = vec![
            (ControlScope::Portfolio, slice.portfolio_id.as_str()),
            (ControlScope::Account, slice.account_id.as_str()),
            (ControlScope::Instrument, slice.instrument_id.as_str()),
        ];
        scopes.extend(slice.strategy_id.as_deref().map(|id| (ControlScope::Strategy, id)));
        scopes.extend(slice.trader_id.as_deref().map(|id| (ControlScope::Trader, id)));
        self.controls.is_some_and(|controls| controls.paused(&scopes, self.now).is_some())
    }

    fn route_all(&self, slice: &Slice) -> Result<Routed, NumberError> {
        let nothing = |reason| Ok(refused(slice.quantity, reason));
        let (Some(market), Some(reference)) = (self.market, self.reference) else {
            return nothing(RouteReason::NoQuote);
        };
        let Some(instrument) = reference.instrument(&slice.instrument_id) else { return nothing(RouteReason::NoVenue) };
        let quote = market.quote_at(&slice.instrument_id, &instrument.reference_venue, self.now).ok();
        let Some(quote) = quote.filter(|q| is_fresh(q, self.now, self.config.max_quote_age_ms)) else {
            return nothing(RouteReason::NoQuote);
        };
        let crossed = quote.is_crossed().then_some(RouteReason::CrossedMarket);
        if let Some(reason) = crossed.or(quote.is_locked().then_some(RouteReason::LockedMarket)) {
            return Ok(Routed { quote: Some(quote), ..refused(slice.quantity, reason) });
        }
        let limit = reference.limit(&slice.portfolio_id);
        let currency = limit.map_or(&instrument.quote_currency, |limit| &limit.currency);
        // As old as risk takes it, which asks for the same rate.
        let max_age = limit.map_or(self.config.max_quote_age_ms, |limit| limit.max_quote_age_ms).saturating_mul(1_000);
        let max_age = DurationMicros::from_micros(max_age).unwrap_or(DurationMicros::ZERO);
        let rates = Rates { market, data: reference, now: self.now, max_age };
        let valuation = match rates.value(instrument, quote.opposite_touch(slice.side), slice.quantity, currency) {
            Ok(valuation) => valuation,
            Err(miss) => {
                let reason = match miss {
                    FxMiss::NoRate => RouteReason::NoFxRate,
                    FxMiss::Number(_) => RouteReason::FigureOutOfRange,
                };
                return Ok(Routed { quote: Some(quote), ..refused(slice.quantity, reason) });
            }
        };
        let strategy = strategy(slice, self.config);
        let job = Job {
            slice,
            instrument,
            quote: &quote,
            valuation: &valuation,
            limit,
            collar: limit.map(|limit| limit.price_collar),
            takes: takes(slice),
            strategy,
            dark_ratio: self.dark_ratio(slice, strategy, &valuation),
            market,
            reference,
            controls: self.controls,
            state: self.state,
            config: self.config,
            now: self.now,
        };
        let routed = job.routed()?;
        Ok(Routed { quote: Some(quote), valuation: Some(valuation), ..routed })
    }

    // Nothing of a slice for a single venue, or of one that is all or none.
    fn dark_ratio(&self, slice: &Slice, strategy: RoutingStrategy, valuation: &Valuation) -> Ratio {
        let single = valuation.value < self.config.single_venue_below;
        if single || slice.time_in_force == TimeInForce::Fok {
            return Ratio::ZERO;
        }
        let configured = match strategy {
            RoutingStrategy::MinimalMarketImpact => {
                self.config.dark_pool_ratio.max(self.config.minimal_impact_dark_ratio)
            }
            RoutingStrategy::Smart
            | RoutingStrategy::LowestCost
            | RoutingStrategy::FastestExecution
            | RoutingStrategy::HighestFillProbability => self.config.dark_pool_ratio,
        };
        slice.dark_pool_ratio.unwrap_or(configured).min(Ratio::ONE)
    }
}

impl Job<'_> {
    fn routed(&self) -> Result<Routed, NumberError> {
        let mut found = find(self)?;
        let choices = broker::choose(&mut found, self)?;
        let Found { eligible, mut excluded, reason } = found;
        excluded.sort_by(|(a, _), (b, _)| (&a.venue, &a.broker).cmp(&(&b.venue, &b.broker)));
        let ranked = rank(eligible, self.strategy, self.config)?;
        let brokers: Vec<&str> = choices.iter().map(|c| c.broker.as_str()).collect();
        let (dark, lit): (Vec<usize>, Vec<usize>) = best_of_each_venue(&ranked, &brokers)
            .into_iter()
            .partition(|i| ranked.get(*i).is_some_and(|c| c.detail.is_dark));
        let (mut legs, rest) = self.dark_legs(&ranked, &dark)?;
        let shape = self.shape(rest);
        let (shares, left) = split(&ranked, &lit, &shape, self.config)?;
        let placement = place(self, &ranked, &lit, &shape, &Rule { shares: &shares, left })?;
        let left = match &placement {
            Some(placement) => {
                legs.extend(placement.legs.iter().cloned());
                placement.left
            }
            None => {
                for (index, quantity) in shares {
                    let Some(c) = ranked.get(index) else { continue };
                    legs.push(Leg { index, quantity, terms: terms::of(self, c)?, rests: !self.takes });
                }
                left
            }
        };
        let reason = match (lit.is_empty(), shape.is_final || shape.single || shape.all_or_none) {
            (true, _) => reason,
            (false, true) => RouteReason::VenueLot,
            (false, false) if placement.is_some() && shows_more(&ranked, &lit, &shape) => RouteReason::NotWorthTaking,
            (false, false) => RouteReason::DepthExhausted,
        };
        let unrouted = left.is_positive().then_some((left, reason));
        Ok(Routed { ranked, excluded, choices, legs, unrouted, placement, ..Routed::default() })
    }

    fn shape(&self, quantity: Quantity) -> Split {
        Split {
            quantity,
            lot: self.slice.lot_size,
            single: self.valuation.value < self.config.single_venue_below,
            marketable: self.takes,
            is_final: self.slice.is_last || self.slice.urgency == Urgency::Urgent,
            all_or_none: self.slice.time_in_force == TimeInForce::Fok,
        }
    }

    // What goes to dark pools, best first, each up to the size assumed there; and what is left for the others.
    fn dark_legs(&self, ranked: &[Candidate], dark: &[usize]) -> Result<(Vec<Leg>, Quantity), NumberError> {
        let (mut legs, mut rest) = (Vec::new(), self.slice.quantity);
        let mut target = self.slice.quantity.share(self.dark_ratio, Rounding::Floor)?;
        for index in dark.iter().copied() {
            let Some(c) = ranked.get(index) else { continue };
            let quantity = target.min(c.available.unwrap_or(target)).floor_to_lot(lot(c, self.slice.lot_size)?)?;
            if quantity.is_positive() && quantity >= c.detail.min_quantity {
                legs.push(Leg { index, quantity, terms: terms::of(self, c)?, rests: !self.takes });
                target = target.checked_sub(quantity)?;
                rest = rest.checked_sub(quantity)?;
            }
        }
        Ok((legs, rest))
    }
}

// Whether the venues show all that was asked for, so that what is left was left on purpose.
fn shows_more(ranked: &[Candidate], usable: &[usize], shape: &Split) -> bool {
    let shown = usable.iter().filter_map(|i| ranked.get(*i)).map(|c| c.available.unwrap_or(Quantity::ZERO));
    Quantity::sum(shown).is_ok_and(|shown| shown >= shape.quantity)
}

// Two brokers reach the same book, whose size is there once: the better broker gets what goes there. The venues stay in the
// order of their scores.
fn best_of_each_venue(ranked: &[Candidate], brokers: &[&str]) -> Vec<usize> {
    let mut best: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (index, c) in ranked.iter().enumerate() {
        let place = brokers.iter().position(|b| *b == c.broker).unwrap_or(usize::MAX);
        let held = best.entry(&c.venue).or_insert((place, index));
        *held = (*held).min((place, index));
    }
    let mut indices: Vec<usize> = best.into_values().map(|(_, index)| index).collect();
    indices.sort_unstable();
    indices
}
