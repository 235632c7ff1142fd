//! One row: the figures of an order put together.

use std::collections::BTreeMap;

use fillstream_domain::{
    AvgPrice, Bps, Money, NumberError, OrdStatus, PriceQuantitySum, Quantity, Ratio, Rounding, TimestampMicros,
};
use fillstream_schemas::execution::{
    Arrival, BenchmarkComparison, EfficiencyMetrics, ExecutionQuality, ExecutionShare, QualityStage,
};
use fillstream_schemas::state::{TcaChild, TcaInterval, TcaOrder, TcaReference};

use crate::benchmark::{Benchmark, choose};
use crate::config::Config;
use crate::evidence::{self, Reference, World};
use crate::reason::Finding;
use crate::score::{Judged, advise, score};
use crate::shortfall::Execution;
use crate::{child, fold};

/// What a row is made for.
#[derive(Clone, Copy)]
pub(crate) struct Occasion<'a> {
    pub(crate) world: World<'a>,
    pub(crate) config: &'a Config,
    pub(crate) stage: QualityStage,
    pub(crate) now: TimestampMicros,
}

/// What the market said, with what is to say about it.
struct Market {
    end: TimestampMicros,
    interval: TcaInterval,
    benchmark: Benchmark,
    close: AvgPrice,
    close_at: TimestampMicros,
    horizon: Option<AvgPrice>,
    first_child: Option<AvgPrice>,
    findings: Vec<Finding>,
}

/// As of when the close is asked for: the last moment of the session, before it is over the present.
pub(crate) fn close_asked_at(order: &TcaOrder, now: TimestampMicros) -> TimestampMicros {
    let last = order.closes_at.map(|close| TimestampMicros::from_micros(close.micros().saturating_sub(1)));
    last.map_or(now, |last| last.min(now))
}

fn look(
    order: &mut TcaOrder,
    children: &[TcaChild],
    pin: &Arrival,
    market: &Reference<'_>,
    occasion: &Occasion<'_>,
) -> Market {
    let end = fold::interval_end(order, children, pin.arrived_at);
    let mut findings = Vec::new();
    let seen = evidence::interval(market, &mut order.interval, pin, end);
    if seen.is_ok() {
        let needed = match occasion.stage {
            QualityStage::Preliminary => end,
            QualityStage::Final => order.closes_at.unwrap_or(end),
        };
        findings.extend(market.behind(needed).filter(|_| needed > pin.arrived_at));
    }
    let at_fills = || market.mid_at_fills(children);
    let mut benchmark = choose(seen.as_ref().map_err(|cause| *cause), occasion.config.min_prints, at_fills);
    if order.filled_qty.is_zero() && seen.is_ok() {
        // Nothing is measured against it: what it could not be made of is no news.
        benchmark.findings.clear();
    }
    findings.append(&mut benchmark.findings);
    let close_at = close_asked_at(order, occasion.now);
    let (close, missing) = evidence::close(market, &mut order.close, pin, close_at);
    findings.extend(missing);
    let horizon_end = fold::horizon_end(order, pin.arrived_at);
    let horizon = if horizon_end <= occasion.now {
        let found = evidence::mid(market, &mut order.horizon, horizon_end);
        let wanted = order.filled_qty < order.ord_qty;
        findings.extend(found.err().filter(|_| wanted).map(|cause| Finding::HorizonMissing { cause }));
        found.ok()
    } else {
        None
    };
    let first_child = order.first_child_at.and_then(|at| evidence::mid(market, &mut order.first_child, at).ok());
    Market {
        end,
        interval: seen.unwrap_or_default(),
        benchmark,
        close: close.mid,
        close_at: close.quote_at,
        horizon,
        first_child,
        findings,
    }
}

/// Shares by venue and broker, largest first; of equal ones by name.
fn shares(
    children: &[TcaChild],
    rates: &BTreeMap<String, fillstream_domain::Price>,
) -> Result<Vec<ExecutionShare>, NumberError> {
    let mut pairs: BTreeMap<(&str, &str), (PriceQuantitySum, Money, i32)> = BTreeMap::new();
    for one in children {
        let share = pairs.entry((&one.venue, &one.broker)).or_default();
        share.0 = share.0.merge(child::filled(one)?)?;
        share.1 = share.1.checked_add(evidence::converted(&one.fees, rates)?)?;
        share.2 = share.2.saturating_add(one.fill_count);
    }
    let mut shares = Vec::new();
    for ((venue, broker), (filled, fees, fills)) in pairs {
        if filled.quantity().is_positive() || !fees.is_zero() {
            shares.push(ExecutionShare {
                venue: venue.to_owned(),
                broker: broker.to_owned(),
                quantity: filled.quantity(),
                notional: filled.turnover(Rounding::HalfEven)?,
                fees,
                fills,
            });
        }
    }
    // Stable: the map gave the names in order.
    shares.sort_by_key(|share| std::cmp::Reverse(share.quantity));
    Ok(shares)
}

fn efficiency(order: &TcaOrder, children: &[TcaChild], volume: Quantity) -> Result<EfficiencyMetrics, NumberError> {
    let count = |wanted: &dyn Fn(&TcaChild) -> bool| {
        let named = children.iter().filter(|child| !child.cl_ord_id.is_empty() && wanted(child));
        i32::try_from(named.count()).unwrap_or(i32::MAX)
    };
    let of = |whole: Quantity| order.filled_qty.ratio_of(whole, Rounding::HalfEven);
    Ok(EfficiencyMetrics {
        fill_rate: if order.ord_qty.is_zero() { Ratio::ZERO } else { of(order.ord_qty)? },
        // Beyond the range of a ratio is a market without volume to speak of.
        participation: if volume.is_zero() { None } else { of(volume).ok() },
        children: count(&|_| true),
        children_rejected: count(&|child| child.ord_status == OrdStatus::Rejected),
        children_cancelled: count(&|child| matches!(child.ord_status, OrdStatus::Canceled | OrdStatus::Expired)),
        fills: children.iter().fold(0, |sum, child| sum.saturating_add(child.fill_count)),
    })
}

/// Differences to each benchmark; none when nothing was filled: trading rule 39.
fn comparisons(
    execution: &Execution,
    avg_px: Option<AvgPrice>,
    market: &Market,
) -> Result<Vec<BenchmarkComparison>, NumberError> {
    let Some(execution_price) = avg_px else { return Ok(Vec::new()) };
    let benchmarks = [
        ("arrival_price", Some(execution.arrival)),
        ("vwap", market.interval.vwap),
        ("twap", market.interval.twap_mid),
        ("close", Some(execution.close)),
        ("decision_price", Some(execution.decision)),
    ];
    let mut out = Vec::new();
    for (name, price) in benchmarks {
        let Some(benchmark_price) = price else { continue };
        if let Some(difference_bps) = execution.difference_bps(benchmark_price)? {
            out.push(BenchmarkComparison { name: name.to_owned(), benchmark_price, execution_price, difference_bps });
        }
    }
    Ok(out)
}

fn bps_of_decided(total: Money, decided: Money, findings: &mut Vec<Finding>) -> Bps {
    total.bps_of(decided, Rounding::HalfEven).unwrap_or_else(|_| {
        findings.push(Finding::BpsUndefined { decided_value: decided });
        Bps::ZERO
    })
}

fn about_arrival(pin: &Arrival) -> Option<Finding> {
    if pin.bid > pin.ask {
        Some(Finding::ArrivalCrossed { bid: pin.bid, ask: pin.ask })
    } else {
        (pin.bid == pin.ask).then_some(Finding::ArrivalLocked { price: pin.bid })
    }
}

/// The row of an order as it stands. Keeps in the order what the market said.
///
/// # Errors
/// A figure out of range.
pub(crate) fn row(
    order: &mut TcaOrder,
    children: &[TcaChild],
    pin: &Arrival,
    reference: &TcaReference,
    occasion: &Occasion<'_>,
    event_id: String,
) -> Result<ExecutionQuality, NumberError> {
    let instrument = order.instrument_id.clone();
    let reference_market = Reference::of(occasion.world, &instrument, reference);
    let mut market = look(order, children, pin, &reference_market, occasion);
    let rates = evidence::rates(&reference_market, order, market.end, occasion.config.max_rate_age_ms);
    let shares = shares(children, &rates)?;
    let mut filled = PriceQuantitySum::ZERO;
    for one in children {
        filled = filled.merge(child::filled(one)?)?;
    }
    let execution = Execution {
        side: order.side,
        ordered: order.ord_qty,
        filled,
        multiplier: reference.multiplier,
        decision: order.decision_price,
        arrival: pin.mid,
        benchmark: market.benchmark.price,
        close: market.close,
        fees: Money::sum(shares.iter().map(|share| share.fees))?,
    };
    let costs = execution.costs()?;
    let mut findings = std::mem::take(&mut market.findings);
    findings.extend(about_arrival(pin));
    findings.extend(evidence::fee_findings(order));
    if order.closes_at.is_none() {
        findings.push(Finding::NoSession);
    }
    if order.overfill_qty.is_positive() {
        findings.push(Finding::Overfilled { quantity: order.overfill_qty });
    }
    let bps = bps_of_decided(costs.total_cost, execution.decided_value()?, &mut findings);
    let limit = order.terms.limit_price.filter(|_| order.terms.ord_type.has_limit()).map(AvgPrice::from);
    let split = limit.zip(market.horizon).map(|(limit, horizon)| execution.split_by_limit(limit, horizon));
    let (limit_away, not_reached) = split.transpose()?.unzip();
    let efficiency_metrics = efficiency(order, children, market.interval.volume)?;
    let judged = Judged {
        execution: &execution,
        delay: costs.delay_cost,
        impact: costs.market_impact,
        limit_away,
        efficiency: &efficiency_metrics,
    };
    findings.extend(advise(&judged, &occasion.config.advice)?);
    let avg_px = filled.avg(Rounding::HalfEven)?;
    let has_fills = filled.quantity().is_positive();
    Ok(ExecutionQuality {
        event_id,
        timestamp: occasion.now,
        order_id: order.order_id.clone(),
        portfolio_id: order.portfolio_id.clone(),
        account_id: order.account_id.clone().unwrap_or_default(),
        instrument_id: instrument.clone(),
        strategy_id: order.terms.strategy_id.clone(),
        side: order.side,
        algorithm: order.algorithm,
        revision: order.quality_revision,
        stage: occasion.stage,
        currency: order.terms.quote_currency.clone(),
        ord_qty: order.ord_qty,
        filled_qty: order.filled_qty,
        decision_price: order.decision_price.to_price(Rounding::HalfEven)?,
        decision_price_source: order.terms.decision_price_source,
        decided_at: order.terms.decided_at,
        arrival_mid: pin.mid,
        arrived_at: pin.arrived_at,
        avg_px,
        interval_end: market.end,
        interval_vwap: market.interval.vwap,
        interval_volume: market.interval.volume,
        interval_prints: market.interval.prints,
        interval_twap_mid: market.interval.twap_mid,
        benchmark: market.benchmark.price,
        benchmark_basis: market.benchmark.basis,
        close_price: Some(market.close),
        close_at: Some(market.close_at),
        horizon_mid: market.horizon,
        first_child_mid: market.first_child,
        start_cost: market.first_child.map(|mid| execution.start_cost(mid)).transpose()?,
        implementation_shortfall_bps: bps,
        total_cost_bps: bps,
        limit_away,
        not_reached,
        post_trade_drift: if has_fills { Some(execution.post_trade_drift()?) } else { None },
        benchmark_comparisons: comparisons(&execution, avg_px, &market)?,
        efficiency_metrics,
        shares,
        overall_quality_score: score(&execution, occasion.config.score_span)?,
        asset_class: Some(reference.asset_class),
        withdrawn_qty: order.withdrawn_qty.is_positive().then_some(order.withdrawn_qty),
        recommendations: findings.iter().map(ToString::to_string).collect(),
        costs,
    })
}
