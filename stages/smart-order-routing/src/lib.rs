//! Scores the (broker, venue) pairs an account can use and splits a slice into routed legs.
//!
//! The whole plan is an event: every candidate with its figures, the legs with their ClOrdIDs, what no venue could take
//! and why. What stays unrouted goes back to the schedule, which releases it again.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod candidates;
pub mod config;
pub mod score;
pub mod split;

use fillstream_core::error::Poison;
use fillstream_core::mutant;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs};
use fillstream_domain::{
    AccountId, ClOrdId, Money, NumberError, OrderId, Quantity, Ratio, Rounding, TimeInForce, Urgency,
};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::engine::NoTimer;
use fillstream_schemas::execution::{Quote, RouteLeg, RoutingPlan, Slice};

use candidates::{Found, find};
pub use config::Config;
use score::{Candidate, rank};
use split::{Split, split};

inputs! {
    /// What the stage reads.
    pub enum In { Slice(Slice) = "execution.slices.v1" }
}

outputs! {
    /// What the stage writes.
    pub enum Out { Plan(RoutingPlan) = "execution.routing-plans.v1" }
}

/// Why part of a slice, or a pair, was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteReason {
    /// No quote, or only a stale one.
    NoQuote,
    /// The account is not known.
    NoAccount,
    /// No broker of the account reaches an open venue that trades the instrument.
    NoVenue,
    /// The displayed size of all venues is used up.
    DepthExhausted,
    /// The venue is closed.
    VenueClosed,
    /// The order does not want the venue.
    VenueRestricted,
    /// A kill covers the venue or the broker.
    Killed,
}

impl RouteReason {
    /// Code in the event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoQuote => "NO_QUOTE",
            Self::NoAccount => "NO_ACCOUNT",
            Self::NoVenue => "NO_VENUE",
            Self::DepthExhausted => "DEPTH_EXHAUSTED",
            Self::VenueClosed => "VENUE_CLOSED",
            Self::VenueRestricted => "VENUE_RESTRICTED",
            Self::Killed => "KILLED",
        }
    }
}

/// The smart-order-routing stage.
pub struct SmartOrderRouting {
    config: Config,
}

type Fx<'a> = Effects<'a, SmartOrderRouting>;

impl SmartOrderRouting {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }

    fn route(&self, slice: &Slice, fx: &Fx<'_>) -> Result<Routed, NumberError> {
        let (market, reference, controls) =
            (fx.table::<MarketTable>(), fx.table::<ReferenceData>(), fx.table::<Controls>());
        let nothing = |code| Routed { unrouted: Some((slice.quantity, code)), ..Routed::default() };
        let (Some(market), Some(reference)) = (market, reference) else { return Ok(nothing(RouteReason::NoQuote)) };
        let Some(instrument) = reference.instrument(&slice.instrument_id) else {
            return Ok(nothing(RouteReason::NoVenue));
        };
        let oldest = fx.now().micros().saturating_sub(self.config.max_quote_age_ms.saturating_mul(1_000));
        let quote =
            market.quote_at(&slice.instrument_id, &instrument.reference_venue, fx.now()).ok().map(|q| q.evidence());
        let Some(quote) = quote.filter(|q| q.event_time.micros() >= oldest) else {
            return Ok(nothing(RouteReason::NoQuote));
        };
        let Found { eligible, excluded, reason } = find(slice, &quote, market, reference, controls, fx.now())?;
        let ranked = rank(eligible, &self.config)?;
        let price = if slice.side.is_buy() { quote.ask } else { quote.bid };
        let value = price.notional_rounded(slice.quantity, Rounding::HalfEven)?;
        let shape = Split {
            quantity: slice.quantity,
            lot: slice.lot_size,
            single: value < self.config.single_venue_below,
            marketable: matches!(slice.time_in_force, TimeInForce::Ioc | TimeInForce::Fok),
            is_final: slice.is_last || slice.urgency == Urgency::Urgent,
            all_or_none: slice.time_in_force == TimeInForce::Fok,
        };
        let (legs, left) = split(&ranked, &best_of_each_venue(&ranked), &shape, &self.config)?;
        let reason = if ranked.is_empty() { reason } else { RouteReason::DepthExhausted };
        let unrouted = left.is_positive().then_some((left, reason));
        Ok(Routed { ranked, excluded, legs, unrouted, quote: Some(quote) })
    }

    fn plan(event_id: String, slice: &Slice, routed: Routed, fx: &Fx<'_>) -> Result<RoutingPlan, Poison> {
        let legs = legs(slice, &routed)?;
        let used: Vec<&Candidate> = routed.legs.iter().filter_map(|(i, _)| routed.ranked.get(*i)).collect();
        let alternative = routed.ranked.iter().find(|c| !used.contains(c)).map(|c| format!("{}/{}", c.broker, c.venue));
        let (unrouted_qty, code) = routed.unrouted.map_or((Quantity::ZERO, None), |(q, code)| (q, Some(code)));
        let reasoning = match (routed.ranked.first(), legs.len()) {
            (None, 0) if slice.quantity.is_zero() && slice.is_last => "the schedule was stopped".to_owned(),
            (None, 0) if slice.quantity.is_zero() => "children are cancelled".to_owned(),
            (None, _) => format!("not routed: {}", code.map_or("", RouteReason::as_str)),
            (Some(best), n) => format!(
                "{n} of {} pairs, best {}/{} with score {}",
                routed.ranked.len(),
                best.broker,
                best.venue,
                best.score
            ),
        };
        let total_estimated_cost = estimated_cost(slice, &routed).map_err(number)?;
        let expected_fill_rate = fill_rate(slice, &routed).map_err(number)?;
        Ok(RoutingPlan {
            event_id,
            timestamp: fx.now(),
            order_id: slice.order_id.clone(),
            portfolio_id: slice.portfolio_id.clone(),
            account_id: slice.account_id.clone(),
            instrument_id: slice.instrument_id.clone(),
            side: slice.side,
            slice_no: slice.slice_no,
            is_last: slice.is_last,
            quantity: slice.quantity,
            ord_type: slice.ord_type,
            limit_price: slice.limit_price,
            time_in_force: slice.time_in_force,
            expire_at: slice.expire_at,
            strategy_id: slice.strategy_id.clone(),
            trader_id: slice.trader_id.clone(),
            candidates: candidates::as_events(&routed.ranked, routed.excluded),
            venue_allocations: legs,
            unrouted_qty,
            unrouted_code: code.map(|c| c.as_str().to_owned()),
            total_estimated_cost,
            expected_fill_rate,
            alternative,
            routing_reasoning: reasoning,
            quote: routed.quote,
            terms_revision: slice.terms_revision,
            cancel_cl_ord_ids: slice.cancel_cl_ord_ids.clone(),
        })
    }
}

// Two brokers reach the same book: its size is there once.
fn best_of_each_venue(ranked: &[Candidate]) -> Vec<usize> {
    let mut seen = std::collections::BTreeSet::new();
    ranked.iter().enumerate().filter(|(_, c)| seen.insert(c.venue.as_str())).map(|(i, _)| i).collect()
}

#[derive(Default)]
struct Routed {
    ranked: Vec<Candidate>,
    excluded: Vec<(Candidate, RouteReason)>,
    legs: Vec<(usize, Quantity)>,
    unrouted: Option<(Quantity, RouteReason)>,
    quote: Option<Quote>,
}

fn legs(slice: &Slice, routed: &Routed) -> Result<Vec<RouteLeg>, Poison> {
    let id = |e: fillstream_domain::IdError| Poison::new("ID", e.to_string());
    let order = OrderId::new(&slice.order_id).map_err(id)?;
    let account = AccountId::new(&slice.account_id).map_err(id)?;
    let slice_no = u32::try_from(slice.slice_no).unwrap_or_default();
    let mut out = Vec::with_capacity(routed.legs.len());
    for (n, (index, quantity)) in (1_u32..).zip(&routed.legs) {
        let Some(c) = routed.ranked.get(*index) else { continue };
        let attempt = if mutant::is("random ClOrdID") { mutant::random() % 1_000 } else { 0 };
        out.push(RouteLeg {
            leg: i32::try_from(n).unwrap_or(i32::MAX),
            cl_ord_id: ClOrdId::derive(&order, &account, slice_no, n, attempt, 0).map_err(id)?.to_string(),
            broker: c.broker.clone(),
            venue: c.venue.clone(),
            session: c.session.clone(),
            quantity: *quantity,
            percentage: quantity.ratio_of(slice.quantity, Rounding::HalfEven).map_err(number)?,
        });
    }
    Ok(out)
}

fn estimated_cost(slice: &Slice, routed: &Routed) -> Result<Money, NumberError> {
    let mut total = Money::ZERO;
    for (index, quantity) in &routed.legs {
        let Some(c) = routed.ranked.get(*index) else { continue };
        let price = if slice.side.is_buy() { c.ask } else { c.bid };
        let value = price.notional_rounded(*quantity, Rounding::HalfEven)?;
        total = total.checked_add(value.times_bps(c.cost, Rounding::HalfEven)?)?;
    }
    Ok(total)
}

// Share of the slice that is on display where it goes; unknown as soon as one leg's depth is.
fn fill_rate(slice: &Slice, routed: &Routed) -> Result<Option<Ratio>, NumberError> {
    if slice.quantity.is_zero() {
        return Ok(None);
    }
    let mut displayed = Quantity::ZERO;
    for (index, quantity) in &routed.legs {
        match routed.ranked.get(*index).and_then(|c| c.available) {
            Some(available) => displayed = displayed.checked_add(available.min(*quantity))?,
            None => return Ok(None),
        }
    }
    displayed.ratio_of(slice.quantity, Rounding::HalfEven).map(Some)
}

fn number(e: NumberError) -> Poison {
    Poison::new("NUMBER", e.to_string())
}

impl Stage for SmartOrderRouting {
    type In = In;
    type Out = Out;
    type Stores = ();
    type Timer = NoTimer;

    const NAME: &'static str = "smart-order-routing";
    const DOC: &'static str = "scores venues and splits a slice into routed legs";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>(), TableDecl::of::<Controls>()]
    }

    fn on_record(&self, record: &Record<In>, (): &mut (), fx: &mut Fx<'_>) -> Result<(), Poison> {
        let In::Slice(slice) = &record.value;
        // The last slice of a schedule that was stopped, or one that only cancels: there is nothing to route, but its plan is
        // waited for.
        let routed = if slice.quantity.is_zero() { Ok(Routed::default()) } else { self.route(slice, fx) };
        let routed = routed.map_err(number)?;
        let event_id = fx.next_id();
        let plan = Self::plan(event_id, slice, routed, fx)?;
        fx.emit(plan);
        Ok(())
    }

    fn on_timer(&self, _: &Timer<NoTimer>, (): &mut (), _: &mut Fx<'_>) -> Result<(), Poison> {
        Ok(())
    }
}
