//! Selection: a first-match list in the specification's order.

use fillstream_domain::{Algorithm, Bps, Money, NumberError, Quantity, Ratio, Rounding, Side, Urgency, mul_div_i128};
use fillstream_schemas::execution::Quote;

use crate::config::Config;

/// What the selection looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Value of the order, reporting currency.
    pub order_value: Money,
    /// Urgency; URGENT follows HIGH.
    pub urgency: Urgency,
    /// Whether the impact estimate is high, or could not be made.
    pub impact_is_high: bool,
    /// Time allowed, microseconds.
    pub horizon_us: i64,
    /// 0 to 1.
    pub liquidity_score: Ratio,
}

/// The rule that matched first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The decision named the algorithm.
    Explicit,
    /// Below the small order value.
    SmallOrder,
    /// High market impact.
    HighImpact,
    /// NORMAL (MEDIUM) urgency.
    ModerateUrgency,
    /// HIGH or URGENT.
    HighUrgency,
    /// Liquidity score below the threshold.
    Illiquid,
    /// Nothing else matched.
    Balanced,
    /// The best for the decision's objective, by the models.
    Objective,
}

impl Rule {
    /// Name in the event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explicit => "EXPLICIT",
            Self::SmallOrder => "SMALL_ORDER",
            Self::HighImpact => "HIGH_IMPACT",
            Self::ModerateUrgency => "MODERATE_URGENCY",
            Self::HighUrgency => "HIGH_URGENCY",
            Self::Illiquid => "ILLIQUID",
            Self::Balanced => "BALANCED",
            Self::Objective => "OBJECTIVE",
        }
    }
}

/// Selects the algorithm (workflow specification, section 3; trading rule 30).
#[must_use]
pub fn select(a: &Analysis, config: &Config) -> (Algorithm, Rule) {
    if a.order_value < config.small_order_value {
        let patient = a.urgency == Urgency::Low;
        return (if patient { Algorithm::Limit } else { Algorithm::Market }, Rule::SmallOrder);
    }
    if a.impact_is_high {
        let long = a.horizon_us > config.long_horizon_s.saturating_mul(1_000_000);
        return (if long { Algorithm::Twap } else { Algorithm::Vwap }, Rule::HighImpact);
    }
    match a.urgency {
        Urgency::Normal => return (Algorithm::ImplementationShortfall, Rule::ModerateUrgency),
        Urgency::High | Urgency::Urgent => {
            let large = a.order_value > config.arrival_price_value;
            return (if large { Algorithm::ArrivalPrice } else { Algorithm::Market }, Rule::HighUrgency);
        }
        Urgency::Low => {}
    }
    if a.liquidity_score < config.illiquid_below {
        let large = a.order_value > config.iceberg_value;
        return (if large { Algorithm::Iceberg } else { Algorithm::Sniper }, Rule::Illiquid);
    }
    (Algorithm::Twap, Rule::Balanced)
}

/// Liquidity score, 0 to 1: half from the spread (full at `full_score_spread_bps` and below, falling with its inverse),
/// half from the displayed size at the opposite touch against the order. An unknown size counts half of its half, because
/// unknown is not zero.
///
/// # Errors
/// A price that is not positive, or numbers out of range.
pub fn liquidity_score(quote: &Quote, side: Side, quantity: Quantity, config: &Config) -> Result<Ratio, NumberError> {
    let half = Ratio::from_unscaled(Ratio::ONE.unscaled() / 2)?;
    let spread = quote.ask.bps_from(quote.bid, Rounding::HalfEven)?;
    let full = Bps::from_int(config.full_score_spread_bps)?;
    let spread_part = if spread <= full {
        half
    } else {
        Ratio::from_unscaled(mul_div_i128(half.unscaled(), full.unscaled(), spread.unscaled(), Rounding::HalfEven)?)?
    };
    let touch = if side.is_buy() { quote.ask_size } else { quote.bid_size };
    let depth_part = match touch {
        None => Ratio::from_unscaled(half.unscaled() / 2)?,
        Some(size) if size >= quantity => half,
        Some(size) => {
            let share = size.ratio_of(quantity, Rounding::HalfEven)?;
            Ratio::from_unscaled(mul_div_i128(
                share.unscaled(),
                half.unscaled(),
                Ratio::ONE.unscaled(),
                Rounding::HalfEven,
            )?)?
        }
    };
    spread_part.checked_add(depth_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis(value: i64, urgency: Urgency) -> Analysis {
        Analysis {
            order_value: Money::from_int(value).unwrap(),
            urgency,
            impact_is_high: false,
            horizon_us: 3_600_000_000,
            liquidity_score: Ratio::ONE,
        }
    }

    /// Trading rule 30: a first-match list in the specification's order; URGENT follows HIGH.
    #[test]
    fn rule_30_first_match_in_the_specifications_order() {
        let config = Config::default();
        let high = |a: Analysis| Analysis { impact_is_high: true, ..a };
        let threshold = |a: Analysis| Analysis { liquidity_score: "0.3".parse().unwrap(), ..a };
        let illiquid = |a: Analysis| Analysis { liquidity_score: "0.29".parse().unwrap(), ..a };
        let four_hours = |a: Analysis| Analysis { horizon_us: 4 * 3_600_000_000, ..a };
        let long = |a: Analysis| Analysis { horizon_us: 4 * 3_600_000_000 + 1, ..a };
        let cases = [
            (high(analysis(9_999, Urgency::Low)), Algorithm::Limit, Rule::SmallOrder),
            (analysis(9_999, Urgency::Urgent), Algorithm::Market, Rule::SmallOrder),
            (high(analysis(10_000, Urgency::High)), Algorithm::Vwap, Rule::HighImpact),
            (four_hours(high(analysis(10_000, Urgency::High))), Algorithm::Vwap, Rule::HighImpact),
            (long(high(analysis(10_000, Urgency::High))), Algorithm::Twap, Rule::HighImpact),
            (illiquid(analysis(10_000, Urgency::Normal)), Algorithm::ImplementationShortfall, Rule::ModerateUrgency),
            (analysis(50_000, Urgency::High), Algorithm::Market, Rule::HighUrgency),
            (analysis(50_001, Urgency::High), Algorithm::ArrivalPrice, Rule::HighUrgency),
            (analysis(50_001, Urgency::Urgent), Algorithm::ArrivalPrice, Rule::HighUrgency),
            (illiquid(analysis(25_000, Urgency::Low)), Algorithm::Sniper, Rule::Illiquid),
            (illiquid(analysis(25_001, Urgency::Low)), Algorithm::Iceberg, Rule::Illiquid),
            (threshold(analysis(25_001, Urgency::Low)), Algorithm::Twap, Rule::Balanced),
            (analysis(25_001, Urgency::Low), Algorithm::Twap, Rule::Balanced),
        ];
        for (a, algorithm, rule) in cases {
            assert_eq!(select(&a, &config), (algorithm, rule), "{a:?}");
        }
    }

    /// What the event and the answer of the API say.
    #[test]
    fn every_rule_has_its_name() {
        let names = [
            (Rule::Explicit, "EXPLICIT"),
            (Rule::SmallOrder, "SMALL_ORDER"),
            (Rule::HighImpact, "HIGH_IMPACT"),
            (Rule::ModerateUrgency, "MODERATE_URGENCY"),
            (Rule::HighUrgency, "HIGH_URGENCY"),
            (Rule::Illiquid, "ILLIQUID"),
            (Rule::Balanced, "BALANCED"),
            (Rule::Objective, "OBJECTIVE"),
        ];
        for (rule, name) in names {
            assert_eq!(rule.as_str(), name);
        }
    }

    #[test]
    fn liquidity_falls_with_spread_and_grows_with_depth() {
        let config = Config::default();
        let quote = |ask: &str, size: Option<&str>| Quote {
            bid: "100".parse().unwrap(),
            ask: ask.parse().unwrap(),
            ask_size: size.map(|s| s.parse().unwrap()),
            ..Quote::default()
        };
        let q = Quantity::from_int(100).unwrap();
        let score = |quote| liquidity_score(&quote, Side::Buy, q, &config).unwrap();
        assert_eq!(score(quote("100.1", Some("100"))), Ratio::ONE);
        assert_eq!(score(quote("100.1", Some("101"))), Ratio::ONE);
        assert_eq!(score(quote("100.2", Some("100"))), "0.75".parse().unwrap());
        assert_eq!(score(quote("100.1", Some("50"))), "0.75".parse().unwrap());
        assert_eq!(score(quote("100.1", None)), "0.75".parse().unwrap());
        assert_eq!(score(quote("100.1", Some("0"))), "0.5".parse().unwrap());
    }
}
