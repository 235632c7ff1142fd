//! The plan as an event: every candidate and broker with its figures, the legs, what was not routed and why.

use fillstream_core::error::Poison;
use fillstream_core::mutant;
use fillstream_domain::{
    AccountId, ClOrdId, Money, NumberError, OrderId, Quantity, Ratio, Rounding, RoutingStrategy, TimestampMicros,
};
use fillstream_reference::Quote;
use fillstream_schemas::execution::{
    BrokerChoice, Reroute, RouteLeg, RouteShare, RoutingMode, RoutingPlan, Slice, SplitMethod,
};

use crate::candidates::as_events;
use crate::money::Valuation;
use crate::placement::Placement;
use crate::reason::RouteReason;
use crate::score::Candidate;
use crate::terms::Terms;

/// A leg before it is an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    /// Which of the ranked candidates.
    pub(crate) index: usize,
    pub(crate) quantity: Quantity,
    pub(crate) terms: Terms,
    /// Whether it rests.
    pub(crate) rests: bool,
}

/// What routing a slice came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routed {
    pub(crate) ranked: Vec<Candidate>,
    pub(crate) excluded: Vec<(Candidate, RouteReason)>,
    pub(crate) choices: Vec<BrokerChoice>,
    pub(crate) legs: Vec<Leg>,
    pub(crate) unrouted: Option<(Quantity, RouteReason)>,
    pub(crate) quote: Option<Quote>,
    pub(crate) valuation: Option<Valuation>,
    /// The convex split, where it was used.
    pub(crate) placement: Option<Placement>,
}

/// What stands in the plan besides what was routed.
pub(crate) struct Context {
    pub(crate) event_id: String,
    pub(crate) now: TimestampMicros,
    pub(crate) strategy: RoutingStrategy,
    pub(crate) reroutes: Vec<Reroute>,
    pub(crate) attempt: i32,
}

pub(crate) fn plan(slice: &Slice, routed: Routed, context: Context) -> Result<RoutingPlan, Poison> {
    let legs = legs(slice, &routed)?;
    let used: Vec<&Candidate> = routed.legs.iter().filter_map(|leg| routed.ranked.get(leg.index)).collect();
    let alternative = routed.ranked.iter().find(|c| !used.contains(c)).map(|c| format!("{}/{}", c.broker, c.venue));
    let (unrouted_qty, code) = routed.unrouted.map_or((Quantity::ZERO, None), |(q, code)| (q, Some(code)));
    let valuation = routed.valuation.as_ref();
    let placed = routed.placement.as_ref();
    Ok(RoutingPlan {
        event_id: context.event_id,
        timestamp: context.now,
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
        unrouted_qty,
        unrouted_code: code.map(|c| c.as_str().to_owned()),
        total_estimated_cost: estimated_cost(slice, &routed).map_err(number)?,
        expected_fill_rate: fill_rate(slice, &routed).map_err(number)?,
        alternative,
        routing_reasoning: reasoning(slice, &routed, &context.reroutes),
        mode: mode(&routed.legs),
        routing_strategy: context.strategy,
        reporting_currency: valuation.map(|v| v.currency.clone()),
        order_value: valuation.map(|v| v.value),
        fx_rate: valuation.map(|v| v.fx.rate),
        fx_instrument: valuation.and_then(|v| v.fx.instrument.clone()),
        fx_quote_time: valuation.and_then(|v| v.fx.quote.as_ref()).map(|q| q.event_time),
        usd_rate: valuation.and_then(|v| v.usd_rate),
        split_method: placed.map_or(SplitMethod::Rule, |_| SplitMethod::Convex),
        rule_allocations: placed.map_or_else(Vec::new, |p| rule(p, &routed.ranked)),
        rule_cost: placed.map(|p| p.rule_cost),
        split_cost: placed.map(|p| p.cost),
        expected_gain: placed.map(|p| p.rule_cost.checked_sub(p.cost)).transpose().map_err(number)?,
        underfill_cost: placed.map(|p| p.penalty),
        reroutes: context.reroutes,
        attempt: context.attempt,
        terms_revision: slice.terms_revision,
        cancel_cl_ord_ids: slice.cancel_cl_ord_ids.clone(),
        quote: routed.quote.as_ref().map(Quote::evidence),
        candidates: as_events(&routed.ranked, routed.excluded),
        venue_allocations: legs,
        broker_choices: routed.choices,
    })
}

fn rule(placement: &Placement, ranked: &[Candidate]) -> Vec<RouteShare> {
    let share = |(index, quantity): &(usize, Quantity)| {
        let c = ranked.get(*index)?;
        Some(RouteShare { broker: c.broker.clone(), venue: c.venue.clone(), quantity: *quantity })
    };
    placement.rule.iter().filter_map(share).collect()
}

fn mode(legs: &[Leg]) -> RoutingMode {
    let resting = legs.iter().filter(|leg| leg.rests).count();
    match (legs.len(), resting) {
        (0, _) => RoutingMode::None,
        (1, 0) => RoutingMode::SingleVenue,
        (_, 0) => RoutingMode::Sweep,
        (all, resting) if all == resting => RoutingMode::Rest,
        (_, _) => RoutingMode::Mixed,
    }
}

fn reasoning(slice: &Slice, routed: &Routed, reroutes: &[Reroute]) -> String {
    let words = match (routed.ranked.first(), routed.legs.len()) {
        (None, 0) if slice.quantity.is_zero() && slice.is_last => "the schedule was stopped".to_owned(),
        (None, 0) if slice.quantity.is_zero() => "children are cancelled".to_owned(),
        (None, _) => format!("not routed: {}", routed.unrouted.map_or("", |(_, code)| code.as_str())),
        (Some(best), n) => format!(
            "{n} of {} pairs, best {}/{} with score {}",
            routed.ranked.len(),
            best.broker,
            best.venue,
            best.score
        ),
    };
    let broker = routed.choices.first().filter(|c| c.eligible && !routed.legs.is_empty());
    let broker = broker.map(|c| format!("; broker {} with score {}, total cost {}", c.broker, c.score, c.total_cost));
    let again = reroutes.iter().map(|r| format!("{} of {}/{} ({})", r.quantity, r.broker, r.venue, r.code));
    let again: Vec<String> = again.collect();
    let again = if again.is_empty() { String::new() } else { format!("; came back: {}", again.join(", ")) };
    format!("{words}{}{again}", broker.unwrap_or_default())
}

fn legs(slice: &Slice, routed: &Routed) -> Result<Vec<RouteLeg>, Poison> {
    let id = |e: fillstream_domain::IdError| Poison::new("ID", e.to_string());
    let order = OrderId::new(&slice.order_id).map_err(id)?;
    let account = AccountId::new(&slice.account_id).map_err(id)?;
    let slice_no = u32::try_from(slice.slice_no).unwrap_or_default();
    let mut out = Vec::with_capacity(routed.legs.len());
    for (n, leg) in (1_u32..).zip(&routed.legs) {
        let Some(c) = routed.ranked.get(leg.index) else { continue };
        let attempt = if mutant::is("random ClOrdID") { mutant::random() % 1_000 } else { 0 };
        out.push(RouteLeg {
            leg: i32::try_from(n).unwrap_or(i32::MAX),
            cl_ord_id: ClOrdId::derive(&order, &account, slice_no, n, attempt, 0).map_err(id)?.to_string(),
            broker: c.broker.clone(),
            venue: c.venue.clone(),
            session: c.session.clone(),
            quantity: leg.quantity,
            percentage: leg.quantity.ratio_of(slice.quantity, Rounding::HalfEven).map_err(number)?,
            ord_type: leg.terms.ord_type,
            limit_price: leg.terms.limit_price,
            time_in_force: leg.terms.time_in_force,
            expire_at: leg.terms.expire_at,
        });
    }
    Ok(out)
}

fn estimated_cost(slice: &Slice, routed: &Routed) -> Result<Money, NumberError> {
    let mut total = Money::ZERO;
    for leg in &routed.legs {
        let Some(c) = routed.ranked.get(leg.index) else { continue };
        let price = if slice.side.is_buy() { c.ask } else { c.bid };
        let value = price.notional_rounded(leg.quantity, Rounding::HalfEven)?;
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
    for leg in &routed.legs {
        match routed.ranked.get(leg.index).and_then(|c| c.available) {
            Some(available) => displayed = displayed.checked_add(available.min(leg.quantity))?,
            None => return Ok(None),
        }
    }
    displayed.ratio_of(slice.quantity, Rounding::HalfEven).map(Some)
}

pub(crate) fn number(e: NumberError) -> Poison {
    Poison::new("NUMBER", e.to_string())
}
