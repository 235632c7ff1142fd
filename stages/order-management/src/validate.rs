//! Whether a decision becomes an order, and on which terms. Pure: everything it looks at is given.

use fillstream_domain::{
    Algorithm, AlgorithmRequest, AssetClass, ControlScope, DurationMicros, EventId, ExecutionObjective, InstrumentId,
    OrdType, PortfolioId, Price, Priority, Quantity, Ratio, Rounding, Side, TimeInForce, TimestampMicros, Urgency,
};
use fillstream_reference::{AccountMiss, Controls, MarketTable, Quote, ReferenceData};
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision};
use fillstream_schemas::execution::{OrderTerms, PriceSource};
use fillstream_schemas::reference::Instrument;

use crate::config::{Config, micros};
use crate::quantity::quantity;
use crate::reason::Reason;
use crate::span::{Span, Wish, span};
use crate::stop;

/// What a decision is judged by.
pub(crate) struct World<'a> {
    pub config: &'a Config,
    pub now: TimestampMicros,
    pub market: Option<&'a MarketTable>,
    pub reference: Option<&'a ReferenceData>,
    pub controls: Option<&'a Controls>,
}

/// One reason to refuse a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reason: Reason,
    /// In words, with figures.
    pub text: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    pub(crate) fn figure(error: impl std::fmt::Display) -> Self {
        Self::new(Reason::FigureOutOfRange, error.to_string())
    }
}

/// A decision that becomes an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub side: Side,
    pub quantity: Quantity,
    pub asset_class: AssetClass,
    pub terms: OrderTerms,
    /// What was changed about it.
    pub note: Option<Refusal>,
}

/// The words of a decision.
struct Words {
    urgency: Urgency,
    priority: Priority,
    ord_type: OrdType,
    time_in_force: TimeInForce,
    algorithm: Algorithm,
    adaptive: bool,
    objective: Option<ExecutionObjective>,
    horizon: Option<DurationMicros>,
}

/// Judges a decision of `portfolio`. Every fault that can be told is told, the weightiest first.
pub(crate) fn validate(
    world: &World<'_>,
    decision: &CoordinatedTradingDecision,
    portfolio: &str,
) -> Result<Accepted, Vec<Refusal>> {
    let mut faults = Vec::new();
    identity(decision, portfolio, &mut faults);
    stopped(world, decision, portfolio, &mut faults);
    let words = words(decision, &mut faults);
    timeliness(world, decision, words.as_ref().map_or(Urgency::Normal, |w| w.urgency), &mut faults);
    let side = side(decision, &mut faults);
    confidence(world, decision, &mut faults);
    let instrument = instrument(world, decision, &mut faults);
    let (Some(words), Some(side), Some(instrument)) = (words, side, instrument) else { return Err(faults) };
    prices(decision, &words, side, instrument, &mut faults);
    fill_or_kill(world, portfolio, &words, &mut faults);
    let wish = Wish {
        time_in_force: words.time_in_force,
        expire_at: decision.execution_strategy.expire_at,
        horizon: words.horizon,
        waits: words.ord_type.has_stop(),
    };
    let span = span(world, &decision.decision.instrument_id, wish);
    let span = span.and_then(|span| span.map_err(|fault| faults.push(fault)).ok());
    let Some(quote) = quote(world, instrument, &mut faults) else { return Err(faults) };
    let stop = decision.execution_strategy.stop_price.filter(|_| words.ord_type.has_stop());
    faults.extend(stop.and_then(|stop| stop::passed("stop_price", stop, side, &quote)));
    let pd = decision_price(world, decision, instrument, &mut faults);
    let quantity = quote
        .mid()
        .price(Rounding::HalfEven)
        .map_err(Refusal::figure)
        .and_then(|mid| quantity(world.config, &decision.decision, instrument, mid));
    let quantity = quantity.map_err(|fault| faults.push(fault)).ok();
    match (span, pd, quantity) {
        (Some(span), Some(pd), Some(quantity)) if faults.is_empty() => {
            let terms = terms(decision, &words, instrument, &span, pd, &quote);
            Ok(Accepted { side, quantity, asset_class: instrument.asset_class, terms, note: span.note })
        }
        _ => Err(faults),
    }
}

/// The side that a decision asks for, whether or not it is consistent.
pub(crate) fn side_asked(decision: &CoordinatedTradingDecision) -> Side {
    decision.decision.side.unwrap_or(match decision.decision.action {
        Action::Buy => Side::Buy,
        Action::Sell => Side::Sell,
    })
}

fn identity(decision: &CoordinatedTradingDecision, portfolio: &str, faults: &mut Vec<Refusal>) {
    if portfolio.is_empty() {
        let text = "the decision names no portfolio_id and there is no default portfolio";
        faults.push(Refusal::new(Reason::NoPortfolio, text));
    } else if let Err(e) = PortfolioId::new(portfolio) {
        faults.push(Refusal::new(Reason::InvalidId, format!("portfolio_id: {e}")));
    }
    if let Err(e) = EventId::new(&decision.event_id) {
        faults.push(Refusal::new(Reason::InvalidId, format!("event_id: {e}")));
    }
    if let Err(e) = InstrumentId::new(&decision.decision.instrument_id) {
        faults.push(Refusal::new(Reason::InvalidId, format!("instrument_id: {e}")));
    }
}

/// What a kill of a parent order may name.
pub(crate) fn scopes<'a>(
    portfolio: &'a str,
    account: Option<&'a str>,
    instrument: &'a str,
    (strategy, trader): (Option<&'a str>, Option<&'a str>),
) -> Vec<(ControlScope, &'a str)> {
    let mut scopes = vec![(ControlScope::Portfolio, portfolio), (ControlScope::Instrument, instrument)];
    scopes.extend(account.map(|id| (ControlScope::Account, id)));
    scopes.extend(strategy.map(|id| (ControlScope::Strategy, id)));
    scopes.extend(trader.map(|id| (ControlScope::Trader, id)));
    scopes
}

// What is killed or paused takes no decision in: one that waited for its release would be fired at another market than it was
// made for. Who still wants it decides again.
fn stopped(world: &World<'_>, decision: &CoordinatedTradingDecision, portfolio: &str, faults: &mut Vec<Refusal>) {
    let Some(controls) = world.controls else {
        return faults.push(Refusal::new(Reason::ControlsUnavailable, "the controls are not known"));
    };
    let account = world.reference.and_then(|r| r.account_of(portfolio).ok()).map(|a| a.account_id.as_str());
    let by = (decision.strategy_id.as_deref(), decision.trader_id.as_deref());
    let scopes = scopes(portfolio, account, &decision.decision.instrument_id, by);
    if let Some(control) = controls.killed(&scopes, world.now) {
        let text = format!("{} {} is killed by {}: {}", control.scope, control.scope_id, control.actor, control.reason);
        faults.push(Refusal::new(Reason::Killed, text));
    }
    if let Some(control) = controls.paused(&scopes, world.now) {
        let text = format!("{} {} is paused by {}: {}", control.scope, control.scope_id, control.actor, control.reason);
        faults.push(Refusal::new(Reason::Paused, text));
    }
}

fn words(decision: &CoordinatedTradingDecision, faults: &mut Vec<Refusal>) -> Option<Words> {
    fn word<T, E: std::fmt::Display>(read: Result<T, E>, reason: Reason, faults: &mut Vec<Refusal>) -> Option<T> {
        read.map_err(|e| faults.push(Refusal::new(reason, e.to_string()))).ok()
    }
    let asked = &decision.execution_strategy;
    let urgency = word(Urgency::parse_alias(&asked.urgency), Reason::UnknownUrgency, faults);
    let priority = word(Priority::parse_alias(&decision.decision.priority), Reason::UnknownPriority, faults);
    let ord_type = word(OrdType::parse_alias(&asked.order_type), Reason::UnknownOrderType, faults);
    let time_in_force = word(TimeInForce::parse_alias(&asked.time_in_force), Reason::UnknownTimeInForce, faults);
    let algorithm = word(AlgorithmRequest::parse(&asked.execution_algorithm), Reason::UnknownAlgorithm, faults);
    let objective = asked.objective.as_ref();
    let objective = objective.map(|text| word(ExecutionObjective::parse_alias(text), Reason::UnknownObjective, faults));
    let horizon = match &asked.time_horizon {
        None => Some(None),
        Some(text) => match text.parse::<DurationMicros>() {
            Ok(horizon) if horizon > DurationMicros::ZERO => Some(Some(horizon)),
            Ok(_) => word(Err("the time horizon is zero"), Reason::InvalidTimeHorizon, faults),
            Err(e) => word(Err(format!("time horizon {text:?}: {e}")), Reason::InvalidTimeHorizon, faults),
        },
    };
    if let Some(rate) = asked.max_participation_rate
        && !(rate.is_positive() && rate <= Ratio::ONE)
    {
        let text = format!("max_participation_rate {rate} is not above 0 and at most 1");
        faults.push(Refusal::new(Reason::InvalidParticipationRate, text));
    }
    Some(Words {
        urgency: urgency?,
        priority: priority?,
        ord_type: ord_type?,
        time_in_force: time_in_force?,
        algorithm: algorithm?.algorithm,
        adaptive: algorithm?.adaptive,
        objective: objective.flatten(),
        horizon: horizon?,
    })
}

fn timeliness(world: &World<'_>, decision: &CoordinatedTradingDecision, urgency: Urgency, faults: &mut Vec<Refusal>) {
    let age = world.now.micros().saturating_sub(decision.timestamp.micros());
    let oldest = world.config.max_decision_age_us(urgency);
    if age > oldest {
        let text = format!("the decision is {} ms old, {} ms allowed for {urgency}", age / 1_000, oldest / 1_000);
        faults.push(Refusal::new(Reason::StaleDecision, text));
    }
    let lead = micros(world.config.max_decision_lead_ms);
    let latest = decision.decided_at.map_or(decision.timestamp, |decided| decided.max(decision.timestamp));
    let ahead = latest.micros().saturating_sub(world.now.micros());
    if ahead > lead {
        let text = format!("the decision is {} ms ahead, {} ms allowed", ahead / 1_000, lead / 1_000);
        faults.push(Refusal::new(Reason::FutureDecision, text));
    }
}

fn side(decision: &CoordinatedTradingDecision, faults: &mut Vec<Refusal>) -> Option<Side> {
    let side = side_asked(decision);
    let agrees = match decision.decision.action {
        Action::Buy => side.is_buy(),
        Action::Sell => !side.is_buy(),
    };
    if !agrees {
        let text = format!("side {side} does not fit action {}", decision.decision.action);
        faults.push(Refusal::new(Reason::SideMismatch, text));
    }
    agrees.then_some(side)
}

fn confidence(world: &World<'_>, decision: &CoordinatedTradingDecision, faults: &mut Vec<Refusal>) {
    let Some(confidence) = decision.confidence.map(|c| c.get()) else { return };
    let least = world.config.min_confidence;
    if !(0.0..=1.0).contains(&confidence) {
        let text = format!("confidence {confidence} is not between 0 and 1");
        faults.push(Refusal::new(Reason::InvalidConfidence, text));
    } else if confidence < least {
        faults.push(Refusal::new(Reason::ConfidenceTooLow, format!("confidence {confidence} is under {least}")));
    }
}

fn instrument<'a>(
    world: &World<'a>,
    decision: &CoordinatedTradingDecision,
    faults: &mut Vec<Refusal>,
) -> Option<&'a Instrument> {
    let Some(reference) = world.reference else {
        faults.push(Refusal::new(Reason::ReferenceUnavailable, "reference data is not known"));
        return None;
    };
    let id = &decision.decision.instrument_id;
    let Some(instrument) = reference.instrument(id) else {
        faults.push(Refusal::new(Reason::UnknownInstrument, format!("no instrument {id:?}")));
        return None;
    };
    if let Some(asked) = &decision.instrument_type
        && AssetClass::parse_alias(asked).ok() != Some(instrument.asset_class)
    {
        let text = format!("instrument_type is {asked:?}, {id} is {}", instrument.asset_class);
        faults.push(Refusal::new(Reason::InstrumentTypeMismatch, text));
    }
    Some(instrument)
}

fn prices(
    decision: &CoordinatedTradingDecision,
    words: &Words,
    side: Side,
    instrument: &Instrument,
    faults: &mut Vec<Refusal>,
) {
    let asked = &decision.execution_strategy;
    let mut fault = |reason, text: String| faults.push(Refusal::new(reason, text));
    let ord_type = words.ord_type;
    let needs_limit = ord_type.has_limit() || words.algorithm == Algorithm::Limit;
    match asked.limit_price {
        None if needs_limit => {
            fault(Reason::MissingLimitPrice, format!("{ord_type} by {} without limit_price", words.algorithm));
        }
        Some(limit) if !needs_limit => {
            let say = if ord_type.has_stop() { OrdType::StopLimit } else { OrdType::Limit };
            fault(Reason::UnexpectedPrice, format!("{ord_type} with limit_price {limit}: say {say} or leave it out"));
        }
        Some(_) | None => {}
    }
    match asked.stop_price {
        None if ord_type.has_stop() => fault(Reason::MissingStopPrice, format!("{ord_type} without stop_price")),
        Some(stop) if !ord_type.has_stop() => {
            fault(Reason::UnexpectedPrice, format!("{ord_type} with stop_price {stop}"));
        }
        Some(stop) if ord_type.has_stop() => {
            faults.extend(stop::at_once(ord_type, words.time_in_force));
            faults.extend(asked.limit_price.and_then(|limit| stop::beyond_limit(side, stop, limit)));
        }
        Some(_) | None => {}
    }
    for (name, price) in [("limit_price", asked.limit_price), ("stop_price", asked.stop_price)] {
        faults.extend(price.and_then(|price| price_fault(name, price, instrument)));
    }
}

/// What is wrong with a price, if anything.
pub(crate) fn price_fault(name: &str, price: Price, instrument: &Instrument) -> Option<Refusal> {
    let text = if !usable(price, instrument) {
        format!("{name} {price} is not above zero")
    } else if price.round_to_tick(instrument.tick_size, Rounding::Floor) != Ok(price) {
        format!("{name} {price} is off the tick {}", instrument.tick_size)
    } else {
        return None;
    };
    Some(Refusal::new(Reason::InvalidPrice, text))
}

/// An order to be filled whole or not at all needs one account and one venue that take all of it (trading rule 23): a
/// schedule of slices cannot be that.
fn fill_or_kill(world: &World<'_>, portfolio: &str, words: &Words, faults: &mut Vec<Refusal>) {
    if words.time_in_force != TimeInForce::Fok {
        return;
    }
    if !matches!(words.algorithm, Algorithm::Auto | Algorithm::Market | Algorithm::Limit) {
        let text = format!("FOK is one child at one venue, {} makes several", words.algorithm);
        faults.push(Refusal::new(Reason::FokNotPossible, text));
    }
    if let Some(Err(e @ AccountMiss::Several { .. })) = world.reference.map(|r| r.account_of(portfolio)) {
        faults.push(Refusal::new(Reason::FokNotPossible, format!("FOK needs one account: {e}")));
    }
}

fn usable(price: Price, instrument: &Instrument) -> bool {
    price.is_positive() || instrument.negative_price_allowed
}

/// The quote that an order is judged by, not too old.
pub(crate) fn quote(world: &World<'_>, instrument: &Instrument, faults: &mut Vec<Refusal>) -> Option<Quote> {
    let quote = quote_at(world, instrument, world.now, faults)?;
    let age = world.now.micros().saturating_sub(quote.event_time.micros());
    let oldest = micros(world.config.max_quote_age_ms);
    if age > oldest {
        let text = format!(
            "the quote of {} at {} is {} ms old, {} ms allowed",
            instrument.instrument_id,
            instrument.reference_venue,
            age / 1_000,
            oldest / 1_000
        );
        faults.push(Refusal::new(Reason::StaleQuote, text));
        return None;
    }
    Some(quote)
}

fn quote_at(
    world: &World<'_>,
    instrument: &Instrument,
    at: TimestampMicros,
    faults: &mut Vec<Refusal>,
) -> Option<Quote> {
    let (id, venue) = (&instrument.instrument_id, &instrument.reference_venue);
    let found = match world.market {
        None => Err("market data is not known".to_owned()),
        Some(market) => match market.quote_at(id, venue, at) {
            Ok(quote) if usable(quote.bid, instrument) && usable(quote.ask, instrument) => Ok(quote),
            Ok(quote) => Err(format!("{} / {} is no usable quote", quote.bid, quote.ask)),
            Err(miss) => Err(format!("{id} at {venue}, {at}: {miss}")),
        },
    };
    found.map_err(|text| faults.push(Refusal::new(Reason::NoQuote, text))).ok()
}

// Trading rule 36: what upstream says, else the mid as of the decision.
fn decision_price(
    world: &World<'_>,
    decision: &CoordinatedTradingDecision,
    instrument: &Instrument,
    faults: &mut Vec<Refusal>,
) -> Option<(Price, PriceSource, TimestampMicros)> {
    let decided_at = decision.decided_at.unwrap_or(decision.timestamp);
    if let Some(price) = decision.decision_price {
        if !usable(price, instrument) {
            faults.push(Refusal::new(Reason::InvalidPrice, format!("decision_price {price} is not above zero")));
        }
        return Some((price, PriceSource::Upstream, decided_at));
    }
    let quote = quote_at(world, instrument, decided_at.min(world.now), faults)?;
    let mid = quote.mid().price(Rounding::HalfEven).map_err(|e| faults.push(Refusal::figure(e))).ok()?;
    Some((mid, PriceSource::MidAtDecision, decided_at))
}

fn terms(
    decision: &CoordinatedTradingDecision,
    words: &Words,
    instrument: &Instrument,
    span: &Span,
    (decision_price, decision_price_source, decided_at): (Price, PriceSource, TimestampMicros),
    quote: &Quote,
) -> OrderTerms {
    let asked = &decision.execution_strategy;
    OrderTerms {
        ord_type: words.ord_type,
        time_in_force: words.time_in_force,
        limit_price: asked.limit_price,
        urgency: words.urgency,
        priority: words.priority,
        algorithm: words.algorithm,
        horizon_us: span.horizon_us,
        expire_at: span.expire_at,
        target_amount: decision.decision.trade_amount,
        decision_price,
        decision_price_source,
        decided_at,
        strategy_id: decision.strategy_id.clone(),
        trader_id: decision.trader_id.clone(),
        max_participation_rate: asked.max_participation_rate,
        venue_restrictions: asked.venue_restrictions.clone(),
        preferred_brokers: decision.preferred_brokers.clone(),
        quote: quote.evidence(),
        lot_size: instrument.lot_size,
        quote_currency: instrument.quote_currency.clone(),
        objective: words.objective,
        dark_pool_preference: asked.dark_pool_preference,
        news_impact_score: asked.news_impact_score,
        adaptive: words.adaptive,
        stop_price: asked.stop_price,
    }
}
