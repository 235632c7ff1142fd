//! What the models expect of each algorithm, and which is best for an objective.
//!
//! - What trades over time: expected cost and standard deviation of Almgren and Chriss for its trajectory; MARKET trades over
//!   `immediate_ms`.
//! - What rests (LIMIT, ICEBERG, SNIPER): half the spread, and the standard deviation of the mid's move over the whole time. Under a driftless
//!   mid, an order that is filled when the book comes to it and takes at the end otherwise saves nothing on average: what it earns when
//!   it is filled is what it loses when it is not (optional stopping). The deviation is an upper bound.
//! - Completion: where the price is limited, the probability that the mid does not go beyond it (resting: that it comes to it) by the
//!   reflection principle; where the share of volume is, what the average day's volume allows. An order that must complete does, unless
//!   limited.
//! - Score: expected cost + weight x standard deviation; MINIMIZE_COST has no weight, MINIMIZE_TIME compares the mean time to trade,
//!   MAXIMIZE_ALPHA_CAPTURE adds what that time costs.

use fillstream_domain::{
    Algorithm, Bps, ExecutionObjective, NumberError, Quantity, Ratio, Rounding, Urgency, mul_div_i128,
};
use fillstream_models::almgren_chriss::{Calibration, Model, move_risk, reach_probability};
use fillstream_schemas::execution::AlternativeStrategy;
use fillstream_schemas::state::StrategyOrder;

use crate::algorithms::{Drive, drive, has_slots};
use crate::config::{Config, Weights};
use crate::reason::Exclusion;
use crate::view::{View, stricter};

const ONE: i128 = Ratio::ONE.unscaled();
const HOUR_US: i64 = 3_600_000_000;

/// Algorithms that an objective chooses from, in the order in which ties are decided.
pub(crate) const CANDIDATES: [Algorithm; 9] = [
    Algorithm::ImplementationShortfall,
    Algorithm::Vwap,
    Algorithm::Twap,
    Algorithm::ArrivalPrice,
    Algorithm::Pov,
    Algorithm::Market,
    Algorithm::Iceberg,
    Algorithm::Sniper,
    Algorithm::Limit,
];

/// What is expected of a strategy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub cost: Option<Bps>,
    pub risk: Option<Bps>,
    pub impact: Option<Bps>,
    pub time_us: i64,
    /// Mean time until a unit is traded.
    pub mean_us: i64,
    pub completion: Option<Ratio>,
    pub score: Option<Bps>,
    pub excluded: Option<Exclusion>,
}

/// What an order's strategy is judged by.
pub(crate) struct Judge<'a> {
    pub view: &'a View<'a>,
    pub calibration: Option<Calibration>,
    pub config: &'a Config,
}

impl Judge<'_> {
    /// What is expected of an order that has the parameters of its algorithm.
    pub(crate) fn expect(&self, order: &StrategyOrder, wanted: Algorithm) -> Result<Expected, NumberError> {
        let horizon = order.ends_at.micros().saturating_sub(order.starts_at.micros()).max(1);
        if order.algorithm != wanted {
            let excluded = Some(Exclusion::NotAvailable);
            return Ok(Expected { time_us: horizon, mean_us: horizon, excluded, ..Expected::default() });
        }
        let (time_us, shares) = self.trajectory(order, horizon)?;
        let mean_us = mean_time(time_us, &shares)?;
        let mut e = Expected { time_us, mean_us, ..Expected::default() };
        let Some(calibration) = &self.calibration else {
            e.excluded = Some(Exclusion::NotEstimated);
            return Ok(e);
        };
        if drive(wanted) == Drive::Rest || wanted == Algorithm::Sniper {
            e.cost = Some(half_spread(calibration)?);
            e.risk = move_risk(calibration.daily_sigma, time_us, calibration.day_us).ok();
            e.impact = Some(Bps::ZERO);
        } else if let Ok(cost) = Model::new(calibration).and_then(|m| m.cost(order.ord_qty, time_us, &shares)) {
            (e.cost, e.risk, e.impact) = (Some(cost.expected), Some(cost.risk), Some(cost.impact));
        }
        e.completion = self.completion(order, calibration, time_us)?;
        e.score = self.score(order, &e, calibration)?;
        e.excluded = self.excluded(order, &e, horizon)?;
        Ok(e)
    }

    /// Time over which it trades, and the share traded after each interval of that.
    fn trajectory(&self, order: &StrategyOrder, horizon: i64) -> Result<(i64, Vec<Ratio>), NumberError> {
        if has_slots(order.algorithm) {
            let time = order.interval_us.saturating_mul(i64::from(order.slots));
            let even = (1..=order.slots).map(|k| share(i128::from(k), i128::from(order.slots)));
            let shares = if order.targets.is_empty() { even.collect::<Result<_, _>>()? } else { order.targets.clone() };
            return Ok((time, shares));
        }
        if order.algorithm == Algorithm::Market {
            return Ok((self.config.weights.immediate_ms.saturating_mul(1_000).min(horizon), vec![Ratio::ONE]));
        }
        let time = if order.algorithm == Algorithm::Pov { self.pov_time(order)?.unwrap_or(horizon) } else { horizon };
        let even: Result<_, _> = (1..=10).map(|k| share(k, 10)).collect();
        Ok((time.min(horizon), even?))
    }

    /// Time in which the average day's volume has enough for the order's share of it.
    fn pov_time(&self, order: &StrategyOrder) -> Result<Option<i64>, NumberError> {
        let Some(day) = self.view.expected_volume(self.view.day_us())? else { return Ok(None) };
        let asked = self.config.algorithms.pov_rate;
        let rate = order.terms.max_participation_rate.map_or(asked, |most| most.min(asked));
        let ours = day.share(rate, Rounding::Floor)?;
        if ours.is_zero() {
            return Ok(None);
        }
        let time =
            mul_div_i128(i128::from(self.view.day_us()), order.ord_qty.unscaled(), ours.unscaled(), Rounding::Ceiling)?;
        Ok(Some(i64::try_from(time).unwrap_or(i64::MAX)))
    }

    fn completion(
        &self,
        order: &StrategyOrder,
        calibration: &Calibration,
        time_us: i64,
    ) -> Result<Option<Ratio>, NumberError> {
        let limit = stricter(order.side, order.terms.limit_price, order.price_bound);
        let rests = drive(order.algorithm) == Drive::Rest && order.deadline_at.is_none();
        let (sigma, day_us) = (calibration.daily_sigma, calibration.day_us);
        let reach = |distance: Bps| reach_probability(distance, sigma, time_us, day_us).ok();
        let by_price = if rests {
            // The opposite touch has to come to the price: half a spread and the way from the mid.
            let at = order.terms.limit_price.unwrap_or(calibration.price);
            let away = calibration.price.bps_from(at, Rounding::HalfEven)?;
            let away = if order.side.is_buy() { away } else { -away };
            let away = away.checked_add(half_spread(calibration)?)?;
            if away.is_negative() { Some(Ratio::ONE) } else { reach(away) }
        } else if let Some(limit) = limit {
            let room = limit.bps_from(calibration.price, Rounding::HalfEven)?;
            let room = if order.side.is_buy() { room } else { -room };
            let gone = if room.is_negative() { Some(Ratio::ONE) } else { reach(room) };
            gone.map(|gone| Ratio::ONE.checked_sub(gone)).transpose()?
        } else {
            Some(Ratio::ONE)
        };
        let by_volume = match order.terms.max_participation_rate {
            Some(rate) => self.allowed(rate, time_us)?.map(|most| most.min(order.ord_qty)),
            None => Some(order.ord_qty),
        };
        let by_volume = by_volume.map(|most| most.ratio_of(order.ord_qty, Rounding::Floor)).transpose()?;
        Ok(by_price.zip(by_volume).map(|(price, volume)| price.min(volume)))
    }

    fn allowed(&self, rate: Ratio, time_us: i64) -> Result<Option<Quantity>, NumberError> {
        self.view.expected_volume(time_us)?.map(|volume| volume.share(rate, Rounding::Floor)).transpose()
    }

    fn score(
        &self,
        order: &StrategyOrder,
        e: &Expected,
        calibration: &Calibration,
    ) -> Result<Option<Bps>, NumberError> {
        let Some((cost, risk)) = e.cost.zip(e.risk) else { return Ok(None) };
        let weights = &self.config.weights;
        if order.terms.objective == Some(ExecutionObjective::MaximizeAlphaCapture) {
            let Ok(hour) = move_risk(calibration.daily_sigma, HOUR_US, calibration.day_us) else { return Ok(None) };
            let an_hour = weighed(hour, weights.alpha_decay)?;
            let waits =
                mul_div_i128(an_hour.unscaled(), i128::from(e.mean_us), i128::from(HOUR_US), Rounding::HalfEven)?;
            return cost.checked_add(Bps::from_unscaled(waits)?).map(Some);
        }
        cost.checked_add(weighed(risk, weight(weights, order.terms.objective, order.terms.urgency))?).map(Some)
    }

    fn excluded(&self, order: &StrategyOrder, e: &Expected, horizon: i64) -> Result<Option<Exclusion>, NumberError> {
        if e.score.is_none() {
            return Ok(Some(Exclusion::NotEstimated));
        }
        if order.algorithm == Algorithm::Pov && self.pov_time(order)?.is_some_and(|time| time > horizon) {
            return Ok(Some(Exclusion::Horizon));
        }
        let Some(rate) = order.terms.max_participation_rate else { return Ok(None) };
        let enough = self.allowed(rate, e.time_us)?.is_some_and(|most| most >= order.ord_qty);
        Ok((!enough).then_some(Exclusion::Participation))
    }
}

/// Weight of the standard deviation in the score.
fn weight(weights: &Weights, objective: Option<ExecutionObjective>, urgency: Urgency) -> Ratio {
    match (objective, urgency) {
        (Some(ExecutionObjective::MinimizeCost | ExecutionObjective::MinimizeTime), _) => Ratio::ZERO,
        (Some(ExecutionObjective::MinimizeRisk), _) => weights.minimize_risk,
        (Some(ExecutionObjective::MaximizeAlphaCapture | ExecutionObjective::BalancedExecution) | None, urgency) => {
            match urgency {
                Urgency::Low => weights.low,
                Urgency::Normal => weights.normal,
                Urgency::High => weights.high,
                Urgency::Urgent => weights.urgent,
            }
        }
    }
}

/// What decides between strategies: the least is best.
pub(crate) fn rank(e: &Expected, objective: Option<ExecutionObjective>) -> (bool, i128, i128) {
    let score = e.score.map_or(i128::MAX, Bps::unscaled);
    let time = i128::from(e.mean_us);
    match objective {
        Some(ExecutionObjective::MinimizeTime) => (e.excluded.is_some(), time, score),
        Some(
            ExecutionObjective::MinimizeCost
            | ExecutionObjective::MinimizeRisk
            | ExecutionObjective::MaximizeAlphaCapture
            | ExecutionObjective::BalancedExecution,
        )
        | None => (e.excluded.is_some(), score, time),
    }
}

/// A strategy as an alternative in the event.
pub(crate) fn alternative(algorithm: Algorithm, e: &Expected) -> AlternativeStrategy {
    AlternativeStrategy {
        algorithm,
        estimated_cost: e.cost,
        risk: e.risk,
        estimated_time_minutes: minutes(e.time_us),
        completion_probability: e.completion,
        score: e.score,
        excluded_code: e.excluded.map(|code| code.as_str().to_owned()),
    }
}

pub(crate) fn minutes(time_us: i64) -> i32 {
    i32::try_from(time_us / 60_000_000).unwrap_or(i32::MAX)
}

fn share(part: i128, whole: i128) -> Result<Ratio, NumberError> {
    mul_div_i128(ONE, part, whole.max(1), Rounding::Floor).and_then(Ratio::from_unscaled)
}

fn weighed(bps: Bps, weight: Ratio) -> Result<Bps, NumberError> {
    mul_div_i128(bps.unscaled(), weight.unscaled(), ONE, Rounding::HalfEven).and_then(Bps::from_unscaled)
}

fn half_spread(c: &Calibration) -> Result<Bps, NumberError> {
    mul_div_i128(c.spread.unscaled(), 5_000 * Bps::ONE.unscaled(), c.price.unscaled(), Rounding::HalfEven)
        .and_then(Bps::from_unscaled)
}

/// Mean time until a unit is traded: slot k trades its share when it begins.
fn mean_time(time_us: i64, shares: &[Ratio]) -> Result<i64, NumberError> {
    let count = i128::try_from(shares.len()).unwrap_or(i128::MAX).max(1);
    let mut left = 0_i128;
    for share in shares {
        left = left.saturating_add(ONE.saturating_sub(share.unscaled()));
    }
    let mean = mul_div_i128(i128::from(time_us), left, ONE.saturating_mul(count), Rounding::HalfEven)?;
    Ok(i64::try_from(mean).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_a_twap_waits_half_the_time_less_half_a_slot() {
        let shares: Vec<Ratio> = (1..=4).map(|k| share(k, 4).unwrap()).collect();
        assert_eq!(mean_time(400, &shares).unwrap(), 150);
        assert_eq!(mean_time(400, &[Ratio::ONE]).unwrap(), 0);
    }

    #[test]
    fn objectives_weigh_risk_differently() {
        let w = Weights::default();
        let of = |objective| weight(&w, objective, Urgency::Normal);
        assert_eq!(of(None), w.normal);
        assert_eq!(of(Some(ExecutionObjective::BalancedExecution)), w.normal);
        assert_eq!(of(Some(ExecutionObjective::MinimizeCost)), Ratio::ZERO);
        assert_eq!(of(Some(ExecutionObjective::MinimizeRisk)), w.minimize_risk);
        assert_eq!(weight(&w, None, Urgency::Urgent), w.urgent);
    }

    #[test]
    fn what_is_excluded_is_last_and_the_least_score_first() {
        let e = |score: i64, mean_us, excluded| Expected {
            score: Some(Bps::from_int(score).unwrap()),
            mean_us,
            excluded,
            ..Expected::default()
        };
        let (cheap, quick, out) = (e(1, 90, None), e(2, 10, None), e(0, 0, Some(Exclusion::Horizon)));
        assert!(rank(&cheap, None) < rank(&quick, None) && rank(&quick, None) < rank(&out, None));
        let time = Some(ExecutionObjective::MinimizeTime);
        assert!(rank(&quick, time) < rank(&cheap, time) && rank(&cheap, time) < rank(&out, time));
    }
}
