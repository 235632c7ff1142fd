//! The quality score and the advice: stated functions of a row's figures.

use fillstream_domain::{Bps, Money, NumberError, Ratio, Rounding, mul_div_i128};
use fillstream_schemas::execution::EfficiencyMetrics;

use crate::config::Advice;
use crate::reason::Finding;
use crate::shortfall::Execution;

/// How well an order was executed, 0 to 1; `None` when nothing was filled: there is no execution to judge.
///
/// ```text
/// c     = mean of side (P̄ / p - 1) over p = arrival mid and, where there is one, the market benchmark
///         + fees / filled value                                   in basis points
/// score = min(1, q / Q) x (1 - min(max(c, 0), span) / span)
/// ```
///
/// So 1 is an order filled whole at no cost against both benchmarks after fees, 0 one that cost the whole span or more.
/// Better than the benchmarks is not better than 1: a lucky market is no merit.
///
/// # Errors
/// A figure out of range.
pub fn score(execution: &Execution, span: Bps) -> Result<Option<Ratio>, NumberError> {
    let filled = execution.filled_qty();
    if filled.is_zero() || execution.ordered.is_zero() {
        return Ok(None);
    }
    let mut sum = 0_i128;
    let mut count = 0_i128;
    for benchmark in [Some(execution.arrival), execution.benchmark].into_iter().flatten() {
        if let Some(difference) = execution.difference_bps(benchmark)? {
            sum += difference.unscaled();
            count += 1;
        }
    }
    let drift = if count == 0 { 0 } else { mul_div_i128(sum, 1, count, Rounding::HalfEven)? };
    let cost = drift + fees_bps(execution)?.map_or(0, Bps::unscaled);
    let left = span.unscaled() - cost.clamp(0, span.unscaled());
    let price = Ratio::from_unscaled(mul_div_i128(left, Ratio::ONE.unscaled(), span.unscaled(), Rounding::HalfEven)?)?;
    let rate = filled.min(execution.ordered);
    mul_div_i128(rate.unscaled(), price.unscaled(), execution.ordered.unscaled(), Rounding::HalfEven)
        .and_then(Ratio::from_unscaled)
        .map(Some)
}

/// Fees in basis points of the filled value; `None` without one.
fn fees_bps(execution: &Execution) -> Result<Option<Bps>, NumberError> {
    let value = execution.filled_value()?;
    Ok(execution.fees.bps_of(value, Rounding::HalfEven).ok())
}

/// What the advice looks at beside the execution itself.
pub(crate) struct Judged<'a> {
    pub(crate) execution: &'a Execution,
    pub(crate) delay: Money,
    pub(crate) impact: Option<Money>,
    pub(crate) limit_away: Option<Money>,
    pub(crate) efficiency: &'a EfficiencyMetrics,
}

/// What could have been done better, by the thresholds.
pub(crate) fn advise(judged: &Judged<'_>, advice: &Advice) -> Result<Vec<Finding>, NumberError> {
    let mut found = Vec::new();
    let decided = judged.execution.decided_value()?;
    let of_decided = |amount: Option<Money>, threshold: Bps| {
        // Beyond the range of basis points stands beyond every threshold, too, but cannot be told: BPS_UNDEFINED says so.
        let cost = amount.and_then(|amount| amount.bps_of(decided, Rounding::HalfEven).ok());
        cost.filter(|cost| *cost >= threshold)
    };
    if let Some(cost) = of_decided(Some(judged.delay), advice.delay) {
        found.push(Finding::ReduceDelay { cost, threshold: advice.delay });
    }
    if let Some(cost) = of_decided(judged.impact, advice.impact) {
        found.push(Finding::ExtendHorizon { cost, threshold: advice.impact });
    }
    if let Some(participation) = judged.efficiency.participation.filter(|p| *p >= advice.participation) {
        found.push(Finding::LowerParticipation { participation, threshold: advice.participation });
    }
    if let Some(cost) = of_decided(judged.limit_away, advice.limit_away) {
        found.push(Finding::ReviewLimit { cost, threshold: advice.limit_away });
    }
    let fill_rate = judged.efficiency.fill_rate;
    if fill_rate < advice.fill_rate {
        found.push(Finding::LowFillRate { fill_rate, threshold: advice.fill_rate });
    }
    if let Some(cost) = fees_bps(judged.execution)?.filter(|cost| *cost >= advice.fees) {
        found.push(Finding::ReviewFees { cost, threshold: advice.fees });
    }
    let (rejected, children) = (judged.efficiency.children_rejected, judged.efficiency.children);
    let share = Ratio::ONE.unscaled() * i128::from(rejected);
    if rejected > 0 && share >= advice.rejected.unscaled() * i128::from(children) {
        found.push(Finding::ReviewRejects { rejected, children });
    }
    Ok(found)
}
