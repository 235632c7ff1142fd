//! What the stage writes: strategies and slices.

use fillstream_domain::{NumberError, OrdType, Ratio, Rounding, TimeInForce, TimestampMicros, mul_div_i128};
use fillstream_schemas::execution::{
    ExecutionStrategySelected, ExpectedOutcomes, RecommendedStrategy, Slice, StrategyChange, StrategyParameters,
    TimeShare,
};
use fillstream_schemas::state::StrategyOrder;

use crate::algorithms::vwap::Curve;
use crate::config::Config;
use crate::expect::minutes;
use crate::guards;
use crate::input::Approved;
use crate::plan::{ALGORITHM_NOT_AVAILABLE, Choice};
use crate::release::Step;
use crate::schedule::slot_due;
use crate::stop;
use crate::venues;
use crate::view::View;

/// The first strategy of an order.
pub(crate) fn selected(
    event_id: String,
    view: &View<'_>,
    a: &Approved<'_>,
    choice: &Choice,
    order: &StrategyOrder,
    config: &Config,
) -> Result<ExecutionStrategySelected, NumberError> {
    let substituted = order.algorithm != choice.wanted;
    let e = &choice.expected;
    Ok(ExecutionStrategySelected {
        selected: choice.selected,
        substitution_code: substituted.then(|| ALGORITHM_NOT_AVAILABLE.to_owned()),
        rule: choice.rule.as_str().to_owned(),
        recommended_strategy: RecommendedStrategy {
            venue_allocation: venues::allocation(order, view, config)?,
            ..recommended(order, choice.risk_aversion, choice.curve.map(Curve::as_str))
        },
        strategy_rationale: rationale(choice, order),
        expected_outcomes: ExpectedOutcomes {
            estimated_cost: e.cost,
            estimated_time_minutes: minutes(
                order.ends_at.micros().saturating_sub(order.starts_at.micros()).min(e.time_us),
            ),
            market_impact: e.impact.or(a.impact.impact),
            completion_probability: e.completion,
            risk_score: Some(a.risk_score),
            risk: e.risk,
        },
        objective: order.terms.objective,
        market_condition: choice.condition,
        market_figures: Some(choice.figures.clone()),
        quote: Some(choice.quote.clone()),
        time_allocation: time_allocation(order)?,
        alternatives: choice.alternatives.clone(),
        ..common(event_id, view.now, order, config)
    })
}

/// A change of an order's strategy.
pub(crate) fn changed(
    event_id: String,
    now: TimestampMicros,
    order: &StrategyOrder,
    change: StrategyChange,
    config: &Config,
) -> ExecutionStrategySelected {
    ExecutionStrategySelected {
        selected: order.algorithm,
        rule: change.code.clone(),
        recommended_strategy: recommended(order, None, None),
        strategy_rationale: format!("{} from {} to {}: {}", change.kind.as_str(), change.from, change.to, change.why),
        time_allocation: time_allocation(order).unwrap_or_default(),
        market_condition: order.condition,
        objective: order.terms.objective,
        change: Some(change),
        ..common(event_id, now, order, config)
    }
}

fn common(event_id: String, now: TimestampMicros, order: &StrategyOrder, config: &Config) -> ExecutionStrategySelected {
    ExecutionStrategySelected {
        event_id,
        timestamp: now,
        order_id: order.order_id.clone(),
        portfolio_id: order.portfolio_id.clone(),
        instrument_id: order.instrument_id.clone(),
        requested: order.terms.algorithm,
        used: order.algorithm,
        order_value: order.order_value.unwrap_or_default(),
        starts_at: order.starts_at,
        ends_at: order.ends_at,
        account_id: Some(order.account_id.clone()),
        revision: order.revision,
        risk_controls: Some(guards::told(order, config)),
        ..ExecutionStrategySelected::default()
    }
}

fn recommended(order: &StrategyOrder, risk_aversion: Option<Ratio>, curve: Option<&str>) -> RecommendedStrategy {
    let adaptive = if order.terms.adaptive { "ADAPTIVE_" } else { "" };
    RecommendedStrategy {
        strategy_name: format!("{adaptive}{}", order.algorithm.as_str()),
        algorithm: order.algorithm,
        parameters: StrategyParameters {
            participation_rate: order.terms.max_participation_rate,
            dark_pool_ratio: order.dark_pool_ratio,
            volatility_adjustment: order.terms.adaptive,
            slice_count: order.slots,
            slice_interval_us: order.interval_us,
            risk_aversion,
            display_qty: order.display_qty,
            price_bound: order.price_bound,
            deadline_at: order.deadline_at,
            volume_curve: curve.map(str::to_owned),
        },
        ..RecommendedStrategy::default()
    }
}

fn rationale(choice: &Choice, order: &StrategyOrder) -> String {
    let a = &choice.analysis;
    let waits = stop::awaited(order).map_or_else(String::new, |stop| format!("; waits for its stop {stop}"));
    format!(
        "rule {}: market {}, value {}, urgency {}, impact high {}, horizon {} s, liquidity {}{waits}",
        choice.rule.as_str(),
        choice.condition.as_str(),
        a.order_value,
        a.urgency.as_str(),
        a.impact_is_high,
        a.horizon_us / 1_000_000,
        a.liquidity_score,
    )
}

/// When which share of the order is released; empty where the market decides that.
fn time_allocation(order: &StrategyOrder) -> Result<Vec<TimeShare>, NumberError> {
    if !crate::algorithms::has_slots(order.algorithm) {
        return Ok(Vec::new());
    }
    let even = |slot: i32| {
        let one = Ratio::ONE.unscaled();
        mul_div_i128(one, i128::from(slot), i128::from(order.slots.max(1)), Rounding::Floor)
            .and_then(Ratio::from_unscaled)
    };
    (1..=order.slots)
        .map(|slot| {
            let place = usize::try_from(slot.saturating_sub(1)).unwrap_or_default();
            let share = order.targets.get(place).copied().map_or_else(|| even(slot), Ok)?;
            Ok(TimeShare { due_at: slot_due(order, slot), share })
        })
        .collect()
}

/// A slice.
pub(crate) fn slice(event_id: String, now: TimestampMicros, order: &StrategyOrder, step: Step) -> Slice {
    let ord_type = if step.price.is_some() { OrdType::Limit } else { OrdType::Market };
    Slice {
        event_id,
        timestamp: now,
        order_id: order.order_id.clone(),
        portfolio_id: order.portfolio_id.clone(),
        account_id: order.account_id.clone(),
        instrument_id: order.instrument_id.clone(),
        side: order.side,
        slice_no: order.slices,
        is_last: step.is_last,
        quantity: step.quantity,
        due_at: step.due_at,
        algorithm: order.algorithm,
        ord_type,
        limit_price: step.price,
        time_in_force: time_in_force(order, step.rests),
        expire_at: step.expire_at,
        urgency: order.terms.urgency,
        quote_currency: order.terms.quote_currency.clone(),
        lot_size: order.terms.lot_size,
        venue_restrictions: order.terms.venue_restrictions.clone(),
        preferred_brokers: order.terms.preferred_brokers.clone(),
        strategy_id: order.terms.strategy_id.clone(),
        trader_id: order.terms.trader_id.clone(),
        reason: Some(step.reason.as_str().to_owned()),
        quote: step.quote.map(|q| q.evidence()),
        target_qty: step.target,
        market_volume: step.volume,
        cancel_cl_ord_ids: step.cancels,
        terms_revision: order.terms_revision,
        routing_strategy: None,
        dark_pool_ratio: order.dark_pool_ratio,
        rest_until: None,
    }
}

/// Time in force of the children: what rests does so for the order's time, everything else takes what is there.
fn time_in_force(order: &StrategyOrder, rests: bool) -> TimeInForce {
    match order.terms.time_in_force {
        TimeInForce::Fok => TimeInForce::Fok,
        TimeInForce::Ioc => TimeInForce::Ioc,
        TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd if rests => order.terms.time_in_force,
        TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd => TimeInForce::Ioc,
    }
}
