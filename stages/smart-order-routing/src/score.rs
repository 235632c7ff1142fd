//! Score of the candidates: trading rule 33.

use fillstream_domain::{
    Bps, FixedDecimal, Money, NumberError, Price, Quantity, Ratio, Rounding, RoutingStrategy, TimestampMicros,
    mul_div_i128,
};

use crate::config::Config;
use crate::quality::Learned;

/// A (broker, venue) pair with the figures that are scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Broker.
    pub broker: String,
    /// Venue.
    pub venue: String,
    /// Session of the broker.
    pub session: String,
    /// Estimated cost: fee, commission and half spread.
    pub cost: Bps,
    /// Execution quality, 0 to 1.
    pub quality: Ratio,
    /// Size that can be taken; `None`: unknown and no clip assumed.
    pub available: Option<Quantity>,
    /// Bid at the venue; the middle in a dark pool.
    pub bid: Price,
    /// Ask at the venue; the middle in a dark pool.
    pub ask: Price,
    /// Score, filled in by [`rank`].
    pub score: Ratio,
    /// What the figures are made of.
    pub detail: Detail,
}

/// What the figures of a candidate are made of, and the venue's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detail {
    /// Whether it executes at the middle and shows nothing.
    pub is_dark: bool,
    /// Whether the quote is the venue's own.
    pub own_quote: bool,
    /// Market event time of the quote.
    pub quote_time: TimestampMicros,
    /// Fee of the venue.
    pub fee: Bps,
    /// Fee of the venue for liquidity provided.
    pub maker_fee: Bps,
    /// Commission of the broker, reporting currency.
    pub commission: Money,
    /// The same in basis points.
    pub commission_bps: Bps,
    /// Half the spread as it counts in cost.
    pub half_spread: Bps,
    /// Quality before anything was learned.
    pub prior_quality: Ratio,
    /// What was learned.
    pub learned: Learned,
    /// Time to the first report, microseconds.
    pub latency_us: i64,
    /// Size at the near touch, where a resting child queues.
    pub near_size: Option<Quantity>,
    /// The venue's own lot.
    pub lot: Option<Quantity>,
    /// Smallest price step.
    pub tick: Price,
    /// Smallest order taken.
    pub min_quantity: Quantity,
}

impl Default for Detail {
    fn default() -> Self {
        Self {
            is_dark: false,
            own_quote: false,
            quote_time: TimestampMicros::from_micros(0),
            fee: Bps::ZERO,
            maker_fee: Bps::ZERO,
            commission: Money::ZERO,
            commission_bps: Bps::ZERO,
            half_spread: Bps::ZERO,
            prior_quality: Ratio::ZERO,
            learned: Learned::default(),
            latency_us: 0,
            near_size: None,
            lot: None,
            tick: Price::ZERO,
            min_quantity: Quantity::ZERO,
        }
    }
}

/// Scores the candidates and sorts them as the strategy asks, best first; ties by score, then venue, then broker.
///
/// Each part of the score is scaled 0 to 1 over the candidates (1 for all where they are equal); an unknown size counts as
/// the smallest.
///
/// # Errors
/// Numbers out of range.
pub(crate) fn rank(
    mut candidates: Vec<Candidate>,
    strategy: RoutingStrategy,
    config: &Config,
) -> Result<Vec<Candidate>, NumberError> {
    let costs: Vec<i128> = candidates.iter().map(|c| c.cost.unscaled()).collect();
    let qualities: Vec<i128> = candidates.iter().map(|c| c.quality.unscaled()).collect();
    let sizes: Vec<i128> = candidates.iter().map(|c| c.available.map_or(0, FixedDecimal::unscaled)).collect();
    for c in &mut candidates {
        // A cost turned around, so that cheap is 1.
        let cost = Ratio::ONE.checked_sub(scaled(c.cost.unscaled(), &costs, Ratio::ZERO)?)?;
        let quality = scaled(c.quality.unscaled(), &qualities, Ratio::ONE)?;
        let size = scaled(c.available.map_or(0, FixedDecimal::unscaled), &sizes, Ratio::ONE)?;
        c.score = Ratio::sum([
            weighted(cost, config.cost_weight)?,
            weighted(quality, config.quality_weight)?,
            weighted(size, config.liquidity_weight)?,
        ])?;
    }
    candidates.sort_by(|a, b| {
        let by_score = b.score.cmp(&a.score).then_with(|| (&a.venue, &a.broker).cmp(&(&b.venue, &b.broker)));
        aim(strategy, a).cmp(&aim(strategy, b)).then(by_score)
    });
    Ok(candidates)
}

/// What a strategy wants least of.
fn aim(strategy: RoutingStrategy, c: &Candidate) -> i128 {
    match strategy {
        RoutingStrategy::Smart => 0,
        RoutingStrategy::LowestCost => c.cost.unscaled(),
        RoutingStrategy::FastestExecution => i128::from(c.detail.latency_us),
        RoutingStrategy::HighestFillProbability => -c.detail.learned.fill_rate.unscaled(),
        RoutingStrategy::MinimalMarketImpact => -c.available.map_or(0, FixedDecimal::unscaled),
    }
}

pub(crate) fn weighted(part: Ratio, weight: Ratio) -> Result<Ratio, NumberError> {
    mul_div_i128(part.unscaled(), weight.unscaled(), Ratio::ONE.unscaled(), Rounding::HalfEven)
        .and_then(Ratio::from_unscaled)
}

fn scaled(value: i128, all: &[i128], when_equal: Ratio) -> Result<Ratio, NumberError> {
    let (min, max) = (all.iter().min().copied().unwrap_or(0), all.iter().max().copied().unwrap_or(0));
    if min == max {
        return Ok(when_equal);
    }
    mul_div_i128(value - min, Ratio::ONE.unscaled(), max - min, Rounding::HalfEven).and_then(Ratio::from_unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(venue: &str, cost: i64, quality: &str, size: Option<i64>) -> Candidate {
        Candidate {
            broker: "b".into(),
            venue: venue.into(),
            cost: Bps::from_int(cost).unwrap(),
            quality: quality.parse().unwrap(),
            available: size.map(|s| Quantity::from_int(s).unwrap()),
            ..Candidate::default()
        }
    }

    fn three() -> Vec<Candidate> {
        let mut three = vec![
            candidate("C", 4, "0.9", Some(100)),
            candidate("B", 2, "0.8", Some(300)),
            candidate("A", 3, "0.85", Some(400)),
        ];
        for (c, (latency, rate)) in three.iter_mut().zip([(100, "0.7"), (300, "0.6"), (200, "0.9")]) {
            c.detail.latency_us = latency;
            c.detail.learned.fill_rate = rate.parse().unwrap();
        }
        three
    }

    fn venues(strategy: RoutingStrategy) -> Vec<String> {
        rank(three(), strategy, &Config::default()).unwrap().into_iter().map(|c| c.venue).collect()
    }

    /// Trading rule 33: 0.4 cost + 0.35 quality + 0.25 liquidity, each scaled over the candidates, ties by venue.
    #[test]
    fn rule_33_score() {
        let mut three = three();
        three[2].available = Some(Quantity::from_int(200).unwrap());
        let ranked = rank(three, RoutingStrategy::Smart, &Config::default()).unwrap();
        let got: Vec<_> = ranked.iter().map(|c| (c.venue.as_str(), c.score.to_string())).collect();
        assert_eq!(got, [("B", "0.65".into()), ("A", "0.5".into()), ("C", "0.35".to_string())]);
        let tied = vec![candidate("B", 1, "0.9", None), candidate("A", 1, "0.9", None)];
        let tied = rank(tied, RoutingStrategy::Smart, &Config::default()).unwrap();
        assert_eq!(tied.first().unwrap().venue, "A");
        assert_eq!(tied.first().unwrap().score, Ratio::ONE);
    }

    /// Each strategy puts what it aims at first; the score of rule 33 is reported unchanged beside it.
    #[test]
    fn rule_33_each_strategy_has_its_order() {
        assert_eq!(venues(RoutingStrategy::Smart), ["A", "B", "C"]);
        assert_eq!(venues(RoutingStrategy::LowestCost), ["B", "A", "C"]);
        assert_eq!(venues(RoutingStrategy::FastestExecution), ["C", "A", "B"]);
        assert_eq!(venues(RoutingStrategy::HighestFillProbability), ["A", "C", "B"]);
        assert_eq!(venues(RoutingStrategy::MinimalMarketImpact), ["A", "B", "C"]);
    }
}
