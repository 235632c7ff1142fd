//! The start of an order: which algorithm, and the state it begins with.

use fillstream_domain::{
    Algorithm, ExecutionObjective, MarketCondition, MidPrice, NumberError, Price, Ratio, Rounding, TimestampMicros,
    Urgency, mul_div_i128,
};
use fillstream_schemas::execution::{AlternativeStrategy, MarketFigures, Quote};
use fillstream_schemas::state::StrategyOrder;

use crate::algorithms::vwap::{Curve, Slots};
use crate::algorithms::{arrival_price, has_slots, iceberg, implementation_shortfall, vwap};
use crate::conditions;
use crate::config::Config;
use crate::expect::{self, Expected, Judge};
use crate::guards;
use crate::input::Approved;
use crate::release::{after_ms, is_once};
use crate::rules::{self, Analysis, Rule};
use crate::schedule;
use crate::view::View;

/// Code of a substitution by TWAP.
pub const ALGORITHM_NOT_AVAILABLE: &str = "ALGORITHM_NOT_AVAILABLE";

/// What was chosen and from what.
#[derive(Clone)]
pub(crate) struct Choice {
    pub analysis: Analysis,
    pub selected: Algorithm,
    pub wanted: Algorithm,
    pub rule: Rule,
    pub quote: Quote,
    pub figures: MarketFigures,
    pub condition: MarketCondition,
    pub curve: Option<Curve>,
    pub risk_aversion: Option<Ratio>,
    pub expected: Expected,
    pub alternatives: Vec<AlternativeStrategy>,
}

/// Chooses the algorithm of an order and makes its state.
pub(crate) fn begin(
    a: &Approved<'_>,
    view: &View<'_>,
    config: &Config,
) -> Result<(StrategyOrder, Choice), NumberError> {
    let mut order = blank(a, view, config)?;
    let quote = view.quote().map(|q| q.evidence());
    let quote = quote.or_else(|| a.quote.cloned()).unwrap_or_else(|| a.terms.quote.clone());
    let mut choice = look(&order, quote, a.impact.is_high, view, config)?;
    let (selected, rule) = rules::select(&choice.analysis, config);
    (choice.selected, choice.rule) = (selected, rule);
    let judged = judge(&order, &choice, view, config)?;
    let objective = a.terms.objective.filter(|o| *o != ExecutionObjective::BalancedExecution);
    let best = judged.first().filter(|(_, e)| e.excluded.is_none());
    if let (Some(_), Some((best, _)), true) = (objective, best, rule != Rule::SmallOrder) {
        (choice.selected, choice.rule) = (*best, Rule::Objective);
    }
    choice.wanted = choice.selected;
    if a.terms.algorithm != Algorithm::Auto {
        (choice.wanted, choice.rule) = (a.terms.algorithm, Rule::Explicit);
    }
    equip(&mut order, &mut choice, view, config)?;
    order.condition = choice.condition;
    let used = order.algorithm;
    choice.expected = judged.iter().find(|(algorithm, _)| *algorithm == used).map(|(_, e)| *e).unwrap_or_default();
    let others = judged.iter().filter(|(algorithm, _)| *algorithm != used);
    choice.alternatives = others.map(|(algorithm, e)| expect::alternative(*algorithm, e)).collect();
    Ok((order, choice))
}

/// The market as an order that runs sees it, with the algorithm that it is to have now.
pub(crate) fn revisit(
    order: &StrategyOrder,
    wanted: Algorithm,
    view: &View<'_>,
    config: &Config,
) -> Result<Choice, NumberError> {
    let quote = view.quote().map_or_else(|| order.terms.quote.clone(), |q| q.evidence());
    let choice = look(order, quote, false, view, config)?;
    Ok(Choice { selected: wanted, wanted, ..choice })
}

fn look(
    order: &StrategyOrder,
    quote: Quote,
    impact_is_high: bool,
    view: &View<'_>,
    config: &Config,
) -> Result<Choice, NumberError> {
    let analysis = Analysis {
        order_value: order.order_value.unwrap_or_default(),
        urgency: order.terms.urgency,
        impact_is_high,
        horizon_us: order.terms.horizon_us,
        liquidity_score: rules::liquidity_score(&quote, order.side, order.ord_qty, config)?,
    };
    let news = order.terms.news_impact_score;
    let figures = conditions::figures(view, analysis.liquidity_score, news, &config.conditions)?;
    let condition = conditions::classify(&figures, order.condition, &config.conditions);
    Ok(Choice {
        analysis,
        selected: Algorithm::Auto,
        wanted: Algorithm::Auto,
        rule: Rule::Explicit,
        quote,
        figures,
        condition,
        curve: None,
        risk_aversion: None,
        expected: Expected::default(),
        alternatives: Vec::new(),
    })
}

/// What is expected of each algorithm, best first.
fn judge(
    order: &StrategyOrder,
    choice: &Choice,
    view: &View<'_>,
    config: &Config,
) -> Result<Vec<(Algorithm, Expected)>, NumberError> {
    let calibration = match view.quote().filter(|q| !q.is_crossed()) {
        Some(quote) => implementation_shortfall::calibration(view, &quote, sigma(choice, view))?,
        None => None,
    };
    let judge = Judge { view, calibration, config };
    let mut judged = Vec::with_capacity(expect::CANDIDATES.len());
    for algorithm in expect::CANDIDATES {
        let (mut order, mut choice) = (order.clone(), Choice { wanted: algorithm, ..choice.clone() });
        equip(&mut order, &mut choice, view, config)?;
        judged.push((algorithm, judge.expect(&order, algorithm)?));
    }
    // Stable: of equal ones the first candidate stays first.
    judged.sort_by_key(|(_, e)| expect::rank(e, order.terms.objective));
    Ok(judged)
}

/// Volatility that the model works with: where the market is wilder than usual, what is measured.
fn sigma(choice: &Choice, view: &View<'_>) -> Option<Ratio> {
    let usual = view.instrument().and_then(|i| i.daily_sigma);
    match choice.condition {
        MarketCondition::HighVolatility | MarketCondition::NewsDriven => usual.max(choice.figures.realised_volatility),
        MarketCondition::Normal
        | MarketCondition::LowLiquidity
        | MarketCondition::Trending
        | MarketCondition::MeanReverting => usual,
    }
}

/// Urgency by which risk aversion goes: one step more while the market runs away, one less while it comes towards the order, comes
/// back by itself, or has little to take.
fn felt_urgency(order: &StrategyOrder, choice: &Choice) -> Urgency {
    let (more, less) = match order.terms.urgency {
        Urgency::Low => (Urgency::Normal, Urgency::Low),
        Urgency::Normal => (Urgency::High, Urgency::Low),
        Urgency::High => (Urgency::Urgent, Urgency::Normal),
        Urgency::Urgent => (Urgency::Urgent, Urgency::High),
    };
    let rises = choice.figures.net_move_bps.is_some_and(|bps| bps.is_positive());
    match choice.condition {
        MarketCondition::Trending if rises == order.side.is_buy() => more,
        MarketCondition::Trending | MarketCondition::MeanReverting | MarketCondition::LowLiquidity => less,
        MarketCondition::Normal | MarketCondition::HighVolatility | MarketCondition::NewsDriven => order.terms.urgency,
    }
}

/// Gives an order the parameters of the algorithm that is wanted, or of TWAP where that one cannot run (trading rule 8).
pub(crate) fn equip(
    order: &mut StrategyOrder,
    choice: &mut Choice,
    view: &View<'_>,
    config: &Config,
) -> Result<(), NumberError> {
    if !is_available(order, choice.wanted, view) {
        order.algorithm = Algorithm::Twap;
        return shape(order, config);
    }
    order.algorithm = choice.wanted;
    shape(order, config)?;
    let parameters = &config.algorithms;
    let mid = MidPrice::of(choice.quote.bid, choice.quote.ask).price(Rounding::HalfEven)?;
    let is_spread = order.slots > 1;
    match order.algorithm {
        Algorithm::Vwap if is_spread => {
            let slots = Slots { starts_at: order.starts_at, count: order.slots, interval_us: order.interval_us };
            let (targets, curve) = vwap::targets(view, &slots, parameters)?;
            (order.targets, choice.curve) = (targets, Some(curve));
        }
        Algorithm::ImplementationShortfall => {
            let lambda = parameters.risk_aversion(felt_urgency(order, choice));
            choice.risk_aversion = Some(lambda);
            let Some(targets) = trajectory(order, lambda, mid, sigma(choice, view), view)? else {
                order.algorithm = Algorithm::Twap;
                return Ok(());
            };
            order.targets = targets;
        }
        Algorithm::ArrivalPrice => {
            order.targets = arrival_price::targets(order.slots, parameters.arrival_front_load)?;
            order.price_bound = Some(bounded(order, mid, parameters.arrival_bound_bps, view)?);
        }
        Algorithm::Iceberg => {
            order.display_qty = Some(iceberg::display(order.ord_qty, order.terms.lot_size, parameters)?);
            order.deadline_at = finish_at(order, config);
        }
        Algorithm::Limit if order.terms.limit_price.is_none() => {
            let touch = touch(choice, order);
            order.price_bound = Some(bounded(order, touch, parameters.limit_chase_bps, view)?);
            order.deadline_at = finish_at(order, config);
        }
        Algorithm::Sniper => {
            order.price_bound = Some(bounded(order, mid, parameters.sniper_bound_bps, view)?);
            order.deadline_at = Some(share_of_time(order, parameters.sniper_deadline)?);
        }
        Algorithm::Pov => order.deadline_at = finish_at(order, config),
        Algorithm::Auto | Algorithm::Market | Algorithm::Limit | Algorithm::Twap | Algorithm::Vwap => {}
    }
    Ok(())
}

fn blank(a: &Approved<'_>, view: &View<'_>, config: &Config) -> Result<StrategyOrder, NumberError> {
    let starts_at = a.starts_at.max(view.now);
    let (guard, pin) = (guards::of(config, a.terms.urgency), view.pin());
    let ends = starts_at.micros().saturating_add(a.terms.horizon_us).min(a.terms.expire_at.micros());
    Ok(StrategyOrder {
        order_id: a.order_id.to_owned(),
        portfolio_id: a.portfolio_id.to_owned(),
        account_id: a.account_id.to_owned(),
        instrument_id: a.instrument_id.to_owned(),
        side: a.side,
        ord_qty: a.quantity,
        terms: a.terms.clone(),
        terms_revision: a.terms_revision,
        starts_at,
        ends_at: TimestampMicros::from_micros(ends),
        slots: 1,
        interval_us: ends.saturating_sub(starts_at.micros()).max(1),
        order_value: Some(a.order_value),
        must_complete: guard.must_complete,
        would_price: guards::would_price(pin.as_ref(), a.side, guard, view)?,
        pin,
        revision: 1,
        is_whole: a.is_whole,
        dark_pool_ratio: a.terms.dark_pool_preference.then_some(config.dark_pool_ratio),
        ..StrategyOrder::default()
    })
}

/// Slots over the time from the order's start to its end; one for what is not spread over time.
pub(crate) fn shape(order: &mut StrategyOrder, config: &Config) -> Result<(), NumberError> {
    let horizon = order.ends_at.micros().saturating_sub(order.starts_at.micros()).max(1);
    (order.slots, order.interval_us) = if has_slots(order.algorithm) && !is_once(order) {
        schedule::twap_shape(order.ord_qty, order.terms.lot_size, horizon, config)?
    } else {
        (1, horizon)
    };
    Ok(())
}

/// POV needs somebody who prints; what the others need is seen when they are made.
fn is_available(order: &StrategyOrder, wanted: Algorithm, view: &View<'_>) -> bool {
    match wanted {
        Algorithm::Pov => view.pin().is_some_and(|pin| pin.cum_prints > 0) && !is_once(order),
        Algorithm::Auto => false,
        Algorithm::Market
        | Algorithm::Limit
        | Algorithm::Twap
        | Algorithm::Vwap
        | Algorithm::ImplementationShortfall
        | Algorithm::ArrivalPrice
        | Algorithm::Iceberg
        | Algorithm::Sniper => true,
    }
}

/// `None`: the instrument's volume or volatility is not known, or the model refuses it.
fn trajectory(
    order: &StrategyOrder,
    lambda: Ratio,
    mid: Price,
    sigma: Option<Ratio>,
    view: &View<'_>,
) -> Result<Option<Vec<Ratio>>, NumberError> {
    let Some(quote) = view.quote().filter(|q| !q.is_crossed()) else { return Ok(None) };
    let Some(calibration) = implementation_shortfall::calibration(view, &quote, sigma)? else { return Ok(None) };
    let lambda = implementation_shortfall::in_quote_currency(lambda, rate(order, mid)?)?;
    let horizon = order.interval_us.saturating_mul(i64::from(order.slots));
    Ok(implementation_shortfall::targets(&calibration, horizon, order.slots, lambda).ok())
}

/// What a unit of the quote currency is worth in the reporting currency, by the order's own value.
fn rate(order: &StrategyOrder, mid: Price) -> Result<Ratio, NumberError> {
    let value = mid.notional_rounded(order.ord_qty, Rounding::HalfEven)?;
    match order.order_value {
        Some(reported) if value.is_positive() && reported.is_positive() => {
            mul_div_i128(reported.unscaled(), Ratio::ONE.unscaled(), value.unscaled(), Rounding::HalfEven)
                .and_then(Ratio::from_unscaled)
        }
        Some(_) | None => Ok(Ratio::ONE),
    }
}

fn bounded(
    order: &StrategyOrder,
    from: Price,
    distance: fillstream_domain::Bps,
    view: &View<'_>,
) -> Result<Price, NumberError> {
    view.on_tick(arrival_price::bound(from, order.side, distance)?, order.side)
}

fn touch(choice: &Choice, order: &StrategyOrder) -> Price {
    if order.side.is_buy() { choice.quote.bid } else { choice.quote.ask }
}

/// When an order that must complete takes what is left; `None`: it may leave it.
fn finish_at(order: &StrategyOrder, config: &Config) -> Option<TimestampMicros> {
    let at = after_ms(order.ends_at, -config.finish_before_end_ms).max(order.starts_at);
    order.must_complete.then_some(at)
}

fn share_of_time(order: &StrategyOrder, share: Ratio) -> Result<TimestampMicros, NumberError> {
    let time = i128::from(order.ends_at.micros().saturating_sub(order.starts_at.micros()).max(0));
    let part = mul_div_i128(time, share.unscaled(), Ratio::ONE.unscaled(), Rounding::Floor)?;
    let part = i64::try_from(part).unwrap_or(i64::MAX);
    Ok(TimestampMicros::from_micros(order.starts_at.micros().saturating_add(part)))
}
