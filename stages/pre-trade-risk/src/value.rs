//! What a quantity is worth, and its market impact.

use fillstream_domain::{Bps, Money, NumberError, Price, Quantity, Rounding, Side, mul_div_i128};
use fillstream_reference::Quote;
use fillstream_schemas::execution::{ImpactEstimate, ImpactTier};

/// `|price| x quantity x multiplier x rate`, each product rounded up to 8 digits: exposure is never understated.
///
/// # Errors
/// Out of range.
pub fn value(price: Price, quantity: Quantity, multiplier: Quantity, rate: Price) -> Result<Money, NumberError> {
    value_rounded(price, quantity, multiplier, rate, Rounding::AwayFromZero)
}

/// The same, each product rounded to 8 digits as asked.
///
/// # Errors
/// Out of range.
pub(crate) fn value_rounded(
    price: Price,
    quantity: Quantity,
    multiplier: Quantity,
    rate: Price,
    rounding: Rounding,
) -> Result<Money, NumberError> {
    if quantity.is_zero() {
        return Ok(Money::ZERO);
    }
    let notional = price.abs().notional_rounded(quantity, rounding)?;
    let units = mul_div_i128(notional.unscaled(), multiplier.unscaled(), Quantity::ONE.unscaled(), rounding)?;
    Money::from_unscaled(units)?.converted(rate, rounding)
}

/// The price at which an order's exposure is held: its limit, or the opposite touch plus the collar. A seller's limit
/// below the bid would understate what a fill at the bid is worth, so the higher of both counts.
///
/// # Errors
/// Out of range.
pub fn reserve_price(side: Side, limit: Option<Price>, quote: &Quote, collar: Bps) -> Result<Price, NumberError> {
    match (limit, side.is_buy()) {
        (Some(limit), true) => Ok(limit),
        (Some(limit), false) => Ok(limit.max(quote.bid)),
        (None, _) => quote.opposite_touch(side).shifted_by(collar, Rounding::Ceiling),
    }
}

/// The largest share of the average daily volume, as a fraction, of the tiers below HIGH, and the coefficient of each
/// tier (0.10 = 10 basis points for each per cent of volume). The estimate jumps between tiers; that is meant.
const LOW_BELOW: i128 = 10_000_000;
const MEDIUM_BELOW: i128 = 50_000_000;
const COEFFICIENTS: [(ImpactTier, i128); 3] =
    [(ImpactTier::Low, 100_000_000), (ImpactTier::Medium, 150_000_000), (ImpactTier::High, 250_000_000)];

/// The impact estimate of a quantity (strictly below 1 %, strictly below 5 %, else high).
#[must_use]
pub fn impact(quantity: Quantity, adv: Option<Quantity>) -> ImpactEstimate {
    estimate(quantity, adv).unwrap_or(ImpactEstimate {
        tier: ImpactTier::NotEstimated,
        participation: None,
        impact: None,
        is_high: true,
        adv,
        ..ImpactEstimate::default()
    })
}

fn estimate(quantity: Quantity, adv: Option<Quantity>) -> Option<ImpactEstimate> {
    let participation = quantity.ratio_of(adv?, Rounding::HalfEven).ok()?;
    let tier = match participation.unscaled() {
        share if share < LOW_BELOW => ImpactTier::Low,
        share if share < MEDIUM_BELOW => ImpactTier::Medium,
        _ => ImpactTier::High,
    };
    let coefficient = COEFFICIENTS.iter().find(|(of, _)| *of == tier).map(|(_, coefficient)| *coefficient)?;
    // Nine digits each make 10^-18; a unit of Bps is 10^-10.
    let bps = mul_div_i128(participation.unscaled(), coefficient, 100_000_000, Rounding::HalfEven).ok()?;
    let impact = Bps::from_unscaled(bps).ok()?;
    Some(ImpactEstimate {
        tier,
        participation: Some(participation),
        impact: Some(impact),
        is_high: tier == ImpactTier::High,
        adv,
        ..ImpactEstimate::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::TimestampMicros;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn value_is_rounded_up_at_every_step() {
        assert_eq!(
            value(price("0.00000001"), quantity("0.00000001"), Quantity::ONE, Price::ONE).unwrap().unscaled(),
            1
        );
        assert_eq!(value(price("2"), quantity("3"), quantity("100"), price("1.5")), "900".parse());
        assert_eq!(value(price("-2"), quantity("3"), Quantity::ONE, Price::ONE), "6".parse());
    }

    #[test]
    fn rule_15_exposure_is_held_at_the_worst_price() {
        let (bid, ask) = (price("99"), price("101"));
        let event_time = TimestampMicros::from_micros(0);
        let quote = Quote { venue: "XA".into(), event_time, seq: 1, bid, ask, bid_size: None, ask_size: None };
        let collar = "100".parse().unwrap();
        let held = |side, limit| reserve_price(side, limit, &quote, collar).unwrap();
        assert_eq!(held(Side::Buy, None), price("102.01"));
        assert_eq!(held(Side::Sell, None), price("99.99"));
        assert_eq!(held(Side::Buy, Some(price("90"))), price("90"));
        assert_eq!(held(Side::Sell, Some(price("90"))), price("99"));
        assert_eq!(held(Side::SellShort, Some(price("120"))), price("120"));
    }

    #[test]
    fn rule_17_impact_tiers_are_strict_and_a_missing_volume_is_high() {
        let of = |text: &str| impact(quantity(text), Some(quantity("10000")));
        let cases = [
            ("99.99", ImpactTier::Low, "9.999"),
            ("100", ImpactTier::Medium, "15"),
            ("499.9999", ImpactTier::Medium, "74.999985"),
            ("500", ImpactTier::High, "125"),
        ];
        for (text, tier, bps) in cases {
            let estimate = of(text);
            assert_eq!((estimate.tier, estimate.impact), (tier, Some(bps.parse().unwrap())), "{text}");
            assert_eq!(estimate.is_high, tier == ImpactTier::High, "{text}");
        }
        for adv in [None, Some(Quantity::ZERO)] {
            let estimate = impact(quantity("1"), adv);
            assert_eq!((estimate.tier, estimate.impact, estimate.is_high), (ImpactTier::NotEstimated, None, true));
        }
    }
}
