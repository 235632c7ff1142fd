//! How sure a recommendation is (trading rule 35): how often its algorithm was cheaper than each alternative in its cell, shrunk to the
//! prior, with its sample size.
//!
//! A cell is the size of the order, its urgency and the market's condition. `confidence.csv` holds what was measured on paired paths
//! (`fillstream bench strategy --confidence FILE` makes it), a line for each cell and algorithm: against the alternative that it beat
//! least often, so every other was beaten at least as often. Of n paths with w won and t alike, prior p and its weight k (as many
//! paths): confidence = (w + t / 2 + k p) / (n + k), the mean of a beta distribution. What was not measured has the prior, with
//! sample size 0.

use std::collections::BTreeMap;

use fillstream_domain::{Algorithm, MarketCondition, Money, NumberError, Ratio, Rounding, Urgency, mul_div_i128};

use fillstream_schemas::execution::ExecutionStrategySelected;

use crate::config::{Config, Prior};
use crate::plan::Choice;

/// First line of the file.
pub const HEADER: &str = "size,urgency,condition,algorithm,against,paths,won,alike";
/// What was measured.
const MEASURED: &str = include_str!("confidence.csv");

/// How large an order is, by the thresholds of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Below the small order value.
    Small,
    /// Up to the value from which HIGH orders use ARRIVAL_PRICE.
    Medium,
    /// Above it.
    Large,
    /// Of high market impact.
    HighImpact,
}

impl Size {
    /// The size of an order of this value, reporting currency.
    #[must_use]
    pub fn of(order_value: Money, impact_is_high: bool, config: &Config) -> Self {
        if order_value < config.small_order_value {
            Self::Small
        } else if impact_is_high {
            Self::HighImpact
        } else if order_value <= config.arrival_price_value {
            Self::Medium
        } else {
            Self::Large
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Small => "SMALL",
            Self::Medium => "MEDIUM",
            Self::Large => "LARGE",
            Self::HighImpact => "HIGH_IMPACT",
        }
    }
}

/// Name of a cell: the first three columns of the file.
#[must_use]
pub fn cell(size: Size, urgency: Urgency, condition: MarketCondition) -> String {
    [size.as_str(), urgency.as_str(), condition.as_str()].join(",")
}

/// Paths on which an algorithm met the alternative that it beat least often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    against: Option<String>,
    paths: i32,
    won: i32,
    alike: i32,
}

/// How sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sure {
    pub confidence: Ratio,
    pub samples: i32,
    pub against: Option<String>,
}

/// What was measured, by cell and algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    tallies: BTreeMap<String, Tally>,
}

impl Measured {
    /// What ships with the stage.
    ///
    /// # Errors
    /// Every faulty line.
    pub(crate) fn shipped() -> Result<Self, Vec<String>> {
        Self::parse(MEASURED)
    }

    fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(vec![format!("confidence.csv must begin with {HEADER}")]);
        }
        let (mut measured, mut faults) = (Self::default(), Vec::new());
        for (line, n) in lines.zip(2..) {
            let Some((key, tally)) = tally(line) else {
                faults.push(format!("confidence.csv line {n} is no comparison: {line}"));
                continue;
            };
            if measured.tallies.insert(key, tally).is_some() {
                faults.push(format!("confidence.csv line {n} stands twice: {line}"));
            }
        }
        if faults.is_empty() { Ok(measured) } else { Err(faults) }
    }

    /// The event with how sure its choice is.
    ///
    /// # Errors
    /// Out of range.
    pub(crate) fn tell(
        &self,
        selected: ExecutionStrategySelected,
        urgency: Urgency,
        choice: &Choice,
        config: &Config,
    ) -> Result<ExecutionStrategySelected, NumberError> {
        let size = Size::of(choice.analysis.order_value, choice.analysis.impact_is_high, config);
        let sure = self.of(&cell(size, urgency, choice.condition), choice.selected, &config.prior)?;
        Ok(ExecutionStrategySelected {
            confidence: Some(sure.confidence),
            confidence_samples: sure.samples,
            confidence_against: sure.against,
            ..selected
        })
    }

    /// How sure it is that an algorithm is the best in a cell.
    ///
    /// # Errors
    /// Out of range.
    pub(crate) fn of(&self, cell: &str, algorithm: Algorithm, prior: &Prior) -> Result<Sure, NumberError> {
        let Tally { against, paths, won, alike } =
            self.tallies.get(&format!("{cell},{}", algorithm.as_str())).cloned().unwrap_or_default();
        let (one, weight) = (Ratio::ONE.unscaled(), i128::from(prior.weight));
        let halves = i128::from(won).saturating_mul(2).saturating_add(i128::from(alike));
        let sum = halves.saturating_mul(one / 2).saturating_add(weight.saturating_mul(prior.share.unscaled()));
        let share = mul_div_i128(sum, 1, i128::from(paths).saturating_add(weight), Rounding::HalfEven)?;
        Ok(Sure { confidence: Ratio::from_unscaled(share)?, samples: paths, against })
    }
}

fn tally(line: &str) -> Option<(String, Tally)> {
    let columns: Vec<&str> = line.split(',').collect();
    let [size, urgency, condition, algorithm, against, counts @ ..] = columns.as_slice() else { return None };
    let counts: Vec<i32> = counts.iter().map(|n| n.parse().ok().filter(|n| *n >= 0)).collect::<Option<_>>()?;
    let [paths, won, alike] = counts.as_slice() else { return None };
    let tally = Tally { against: Some((*against).to_owned()), paths: *paths, won: *won, alike: *alike };
    let adds_up = won.checked_add(*alike).is_some_and(|n| n <= *paths) && algorithm != against;
    adds_up.then(|| ([*size, *urgency, *condition, *algorithm].join(","), tally))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "LARGE,NORMAL,TRENDING,TWAP,MARKET,180,140,20\n";

    fn measured(lines: &str) -> Result<Measured, Vec<String>> {
        Measured::parse(&format!("{HEADER}\n{lines}"))
    }

    fn trending(size: Size) -> String {
        cell(size, Urgency::Normal, MarketCondition::Trending)
    }

    #[test]
    fn rule_35_confidence_is_a_frequency_shrunk_to_the_prior() {
        let prior = Prior { share: "0.5".parse().unwrap(), weight: 20 };
        let sure = measured(LINE).unwrap().of(&trending(Size::Large), Algorithm::Twap, &prior).unwrap();
        // (140 + 20 / 2 + 20 x 0.5) / (180 + 20).
        assert_eq!((sure.confidence, sure.samples), ("0.8".parse().unwrap(), 180));
        assert_eq!(sure.against.as_deref(), Some("MARKET"));
    }

    #[test]
    fn rule_35_what_was_not_measured_has_the_prior_and_sample_size_0() {
        let prior = Prior { share: "0.4".parse().unwrap(), weight: 20 };
        let measured = measured(LINE).unwrap();
        let nothing = Sure { confidence: prior.share, samples: 0, against: None };
        assert_eq!(measured.of(&trending(Size::Large), Algorithm::Vwap, &prior).unwrap(), nothing);
        assert_eq!(measured.of(&trending(Size::Medium), Algorithm::Twap, &prior).unwrap(), nothing);
    }

    #[test]
    fn rule_35_every_faulty_line_is_named_and_what_ships_has_none() {
        let faults = measured(
            "A,B,C,D,E,10,11,0\nA,B,C,D,E,10,6,5\nA,B,C,D,10,1,0\nA,B,C,D,E,x,1,0\nA,B,C,D,E,-1,0,0\nA,B,C,D,D,2,1,0\n\
             A,B,C,D,E,2,1,0\nA,B,C,D,E,2,1,0\n",
        );
        assert_eq!(faults.unwrap_err().len(), 7);
        assert!(Measured::parse("size\n").is_err());
        assert!(Measured::shipped().is_ok());
    }

    #[test]
    fn sizes_are_those_of_the_selection() {
        let config = Config::default();
        let of = |value: i64, high| Size::of(Money::from_int(value).unwrap(), high, &config);
        assert_eq!([of(9_999, true), of(10_000, true)], [Size::Small, Size::HighImpact]);
        assert_eq!(
            [of(10_000, false), of(50_000, false), of(50_001, false)],
            [Size::Medium, Size::Medium, Size::Large]
        );
    }
}
