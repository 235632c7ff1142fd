//! Score of the candidates: trading rule 33.

use fillstream_domain::{Bps, FixedDecimal, NumberError, Price, Quantity, Ratio, Rounding, mul_div_i128};

use crate::config::Config;

/// A (broker, venue) pair with the figures that are scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
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
    /// Bid at the venue.
    pub bid: Price,
    /// Ask at the venue.
    pub ask: Price,
    /// Score, filled in by [`rank`].
    pub score: Ratio,
}

/// Scores the candidates and sorts them, best first; ties by venue, then broker.
///
/// Each part is scaled 0 to 1 over the candidates (1 for all where they are equal); an unknown size counts as the smallest.
///
/// # Errors
/// Numbers out of range.
pub fn rank(mut candidates: Vec<Candidate>, config: &Config) -> Result<Vec<Candidate>, NumberError> {
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
    candidates.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| (&a.venue, &a.broker).cmp(&(&b.venue, &b.broker))));
    Ok(candidates)
}

fn weighted(part: Ratio, weight: Ratio) -> Result<Ratio, NumberError> {
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
            session: "s".into(),
            cost: Bps::from_int(cost).unwrap(),
            quality: quality.parse().unwrap(),
            available: size.map(|s| Quantity::from_int(s).unwrap()),
            bid: Price::ONE,
            ask: Price::ONE,
            score: Ratio::ZERO,
        }
    }

    /// Trading rule 33: 0.4 cost + 0.35 quality + 0.25 liquidity, each scaled over the candidates, ties by venue.
    #[test]
    fn rule_33_score() {
        let ranked = rank(
            vec![
                candidate("C", 4, "0.9", Some(100)),
                candidate("B", 2, "0.8", Some(300)),
                candidate("A", 3, "0.85", Some(200)),
            ],
            &Config::default(),
        )
        .unwrap();
        let got: Vec<_> = ranked.iter().map(|c| (c.venue.as_str(), c.score.to_string())).collect();
        assert_eq!(got, [("B", "0.65".into()), ("A", "0.5".into()), ("C", "0.35".to_string())]);
        let tied =
            rank(vec![candidate("B", 1, "0.9", None), candidate("A", 1, "0.9", None)], &Config::default()).unwrap();
        assert_eq!(tied.first().unwrap().venue, "A");
        assert_eq!(tied.first().unwrap().score, Ratio::ONE);
    }
}
