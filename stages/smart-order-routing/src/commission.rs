//! What a broker takes of an order: its schedules as data.

use fillstream_domain::{AssetClass, Money, NumberError, Quantity, Rounding, mul_div_i128};
use fillstream_schemas::reference::{Broker, CommissionSchedule};

/// The commission of an order, in the reporting currency: units by their tiers and a share of the value, at least the
/// minimum and at most the maximum share, which wins where it is below the minimum (as Interactive Brokers has it).
///
/// # Errors
/// Out of range.
pub(crate) fn commission(
    broker: &Broker,
    asset_class: AssetClass,
    quantity: Quantity,
    value: Money,
) -> Result<Money, NumberError> {
    match broker.commissions.iter().find(|s| applies(&s.asset_classes, asset_class)) {
        Some(schedule) => scheduled(schedule, quantity, value),
        None => Ok(by_unit(broker.per_unit, quantity)?.max(broker.min_commission)),
    }
}

/// Whether a list of asset classes, empty for all of them, names one.
pub(crate) fn applies(classes: &[String], asset_class: AssetClass) -> bool {
    classes.is_empty() || classes.iter().any(|c| c == asset_class.as_str())
}

fn scheduled(schedule: &CommissionSchedule, quantity: Quantity, value: Money) -> Result<Money, NumberError> {
    let mut total = value.times_bps(schedule.rate, Rounding::HalfEven)?;
    let mut rate = schedule.per_unit;
    let mut from = Quantity::ZERO;
    for tier in &schedule.tiers {
        let upto = tier.above_qty.min(quantity);
        total = total.checked_add(by_unit(rate, upto.less_at_most(from))?)?;
        (rate, from) = (tier.per_unit, from.max(tier.above_qty));
    }
    total = total.checked_add(by_unit(rate, quantity.less_at_most(from))?)?.max(schedule.min_commission);
    match schedule.max_ratio {
        Some(ratio) => Ok(total.min(value.share(ratio, Rounding::HalfEven)?)),
        None => Ok(total),
    }
}

fn by_unit(rate: Money, quantity: Quantity) -> Result<Money, NumberError> {
    mul_div_i128(rate.unscaled(), quantity.unscaled(), Quantity::ONE.unscaled(), Rounding::HalfEven)
        .and_then(Money::from_unscaled)
}

#[cfg(test)]
mod tests {
    use fillstream_schemas::reference::CommissionTier;
    use proptest::prelude::*;

    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn qty(n: i64) -> Quantity {
        Quantity::from_int(n).unwrap()
    }

    fn fixed() -> Broker {
        let schedule = CommissionSchedule {
            per_unit: money("0.005"),
            min_commission: money("1"),
            max_ratio: Some("0.01".parse().unwrap()),
            ..CommissionSchedule::default()
        };
        Broker { commissions: vec![schedule], ..Broker::default() }
    }

    fn of(broker: &Broker, units: i64, value: &str) -> String {
        commission(broker, AssetClass::Equity, qty(units), money(value)).unwrap().to_string()
    }

    /// The published examples of Interactive Brokers' fixed prices for US shares: 100 at 25, 1,000 at 25, 1,000 at 0.25.
    #[test]
    fn rule_34_a_rate_a_unit_with_minimum_and_largest_share() {
        assert_eq!(of(&fixed(), 100, "2500"), "1");
        assert_eq!(of(&fixed(), 1_000, "25000"), "5");
        assert_eq!(of(&fixed(), 1_000, "250"), "2.5");
        // Less than the minimum is still at most 1 %.
        assert_eq!(of(&fixed(), 10, "2"), "0.02");
    }

    #[test]
    fn rule_34_tiers_are_marginal() {
        let mut broker = fixed();
        let tier = |above, per| CommissionTier { above_qty: qty(above), per_unit: money(per) };
        broker.commissions[0].tiers = vec![tier(1_000, "0.003"), tier(3_000, "0.001")];
        broker.commissions[0].max_ratio = None;
        assert_eq!(of(&broker, 1_000, "100000"), "5");
        assert_eq!(of(&broker, 2_000, "100000"), "8");
        assert_eq!(of(&broker, 5_000, "100000"), "13");
    }

    /// "zero_equities": nothing of shares, something of the rest; without schedules the plain figures count.
    #[test]
    fn rule_34_zero_for_some_asset_classes() {
        let free = CommissionSchedule { asset_classes: vec!["EQUITY".into()], ..CommissionSchedule::default() };
        let rest = CommissionSchedule { rate: "2".parse().unwrap(), ..CommissionSchedule::default() };
        let broker = Broker { commissions: vec![free, rest], ..Broker::default() };
        assert_eq!(of(&broker, 100, "10000"), "0");
        let option = commission(&broker, AssetClass::Option, qty(100), money("10000")).unwrap();
        assert_eq!(option, money("2"));
        let plain = Broker { min_commission: money("1"), per_unit: money("0.005"), ..Broker::default() };
        assert_eq!((of(&plain, 100, "1").as_str(), of(&plain, 1_000, "1").as_str()), ("1", "5"));
    }

    proptest! {
        /// A larger order never costs less.
        #[test]
        fn more_units_never_cost_less(a in 0_i64..100_000, b in 0_i64..100_000) {
            let mut broker = fixed();
            broker.commissions[0].tiers = vec![CommissionTier { above_qty: qty(300), per_unit: money("0.0035") }];
            let cost = |n: i64| commission(&broker, AssetClass::Equity, qty(n), Money::from_int(20 * n).unwrap()).unwrap();
            prop_assert!(a > b || cost(a) <= cost(b));
        }
    }
}
