//! The formulas: published numbers, and what must hold for every order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use fillstream_domain::{AvgPrice, Bps, Money, Price, PriceQuantitySum, Quantity, Rounding, Side};
use fillstream_tca::shortfall::{Execution, components_add_up};
use proptest::prelude::*;

fn px(text: &str) -> AvgPrice {
    text.parse().unwrap()
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

fn bps(text: &str) -> Option<Bps> {
    Some(text.parse().unwrap())
}

fn sum(fills: &[(&str, &str)]) -> PriceQuantitySum {
    fills
        .iter()
        .fold(PriceQuantitySum::ZERO, |sum, (px, qty)| sum.add(px.parse().unwrap(), qty.parse().unwrap()).unwrap())
}

/// Ordered 1000, filled 700 at 40.05, decided at 40.00, arrived at 40.04, close 40.08, fees 17.
fn published() -> Execution {
    Execution {
        side: Side::Buy,
        ordered: Quantity::from_int(1_000).unwrap(),
        filled: sum(&[("40.05", "700")]),
        multiplier: Quantity::ONE,
        decision: px("40"),
        arrival: px("40.04"),
        benchmark: None,
        close: px("40.08"),
        fees: money("17"),
    }
}

#[test]
fn the_published_example_costs_76_or_19_basis_points_of_40_000() {
    let execution = published();
    let costs = execution.costs().unwrap();
    assert_eq!(costs.total_cost, money("76"));
    assert_eq!(execution.decided_value().unwrap(), money("40000"));
    assert_eq!(costs.total_cost.bps_of(money("40000"), Rounding::HalfEven).unwrap(), "19".parse().unwrap());
    let parts = [costs.delay_cost, costs.trading_cost, costs.opportunity_cost, costs.fees];
    assert_eq!(parts, [money("28"), money("7"), money("24"), money("17")]);
    assert_eq!((costs.timing_cost, costs.market_impact), (None, None));
}

#[test]
fn wagners_split_of_the_published_example_has_the_same_total() {
    // Delay on all ordered, opportunity from the arrival price.
    let e = published();
    let part = |from: AvgPrice, to: AvgPrice, qty: i64| {
        to.checked_sub(from).unwrap().notional_rounded(Quantity::from_int(qty).unwrap(), Rounding::HalfEven).unwrap()
    };
    let wagner =
        [part(e.decision, e.arrival, 1_000), part(e.arrival, px("40.05"), 700), part(e.arrival, e.close, 300), e.fees];
    assert_eq!(wagner, [money("40"), money("7"), money("12"), money("17")]);
    assert_eq!(Money::sum(wagner).unwrap(), e.costs().unwrap().total_cost);
}

#[test]
fn a_sale_of_mirrored_prices_costs_the_same() {
    let mirror = |at: AvgPrice| px("80").checked_sub(at).unwrap();
    let buy = Execution { benchmark: Some(px("40.03")), ..published() };
    for side in [Side::Sell, Side::SellShort] {
        let sale = Execution {
            side,
            filled: sum(&[("39.95", "700")]),
            decision: mirror(buy.decision),
            arrival: mirror(buy.arrival),
            benchmark: buy.benchmark.map(mirror),
            close: mirror(buy.close),
            ..buy
        };
        assert_eq!(sale.costs().unwrap(), buy.costs().unwrap());
    }
    assert_eq!(Execution { side: Side::BuyToCover, ..buy }.costs().unwrap(), buy.costs().unwrap());
}

#[test]
fn the_benchmark_parts_the_trading_cost_into_timing_and_impact() {
    let costs = Execution { benchmark: Some(px("40.03")), ..published() }.costs().unwrap();
    assert_eq!((costs.timing_cost, costs.market_impact), (Some(money("-7")), Some(money("14"))));
    assert_eq!((costs.trading_cost, costs.total_cost), (money("7"), money("76")));
}

/// Trading rule 39: q = 0: delay, timing, impact 0, differences null, shortfall = opportunity + fees.
#[test]
fn rule_39_nothing_filled() {
    for benchmark in [None, Some(px("40.03"))] {
        let none = Execution { filled: PriceQuantitySum::ZERO, fees: money("3"), benchmark, ..published() };
        let costs = none.costs().unwrap();
        assert_eq!(costs.delay_cost, Money::ZERO);
        assert_eq!((costs.timing_cost, costs.market_impact), (Some(Money::ZERO), Some(Money::ZERO)));
        assert_eq!(
            (costs.trading_cost, costs.opportunity_cost, costs.total_cost),
            (Money::ZERO, money("80"), money("83"))
        );
        assert_eq!(none.difference_bps(px("40")).unwrap(), None);
    }
}

/// Trading rule 40: benchmark difference = side (P̄ / bench - 1) x 10^4, positive is a cost.
#[test]
fn rule_40_benchmark_differences() {
    let buy = published();
    assert_eq!(buy.difference_bps(px("40.05")).unwrap(), bps("0"));
    assert_eq!(buy.difference_bps(px("40")).unwrap(), bps("12.5"));
    assert_eq!(Execution { side: Side::Sell, ..buy }.difference_bps(px("40")).unwrap(), bps("-12.5"));
    // From the exact average: two fills whose mean has no end.
    let thirds = Execution { filled: sum(&[("10", "1"), ("10.01", "2")]), ..buy };
    assert_eq!(thirds.difference_bps(px("10")).unwrap(), bps("6.666667"));
    assert_eq!(buy.difference_bps(AvgPrice::ZERO).unwrap(), None);
}

#[test]
fn an_overfill_is_bought_at_its_price_and_worth_the_close() {
    // 10 more than ordered at 40.05, worth 40.08: a gain of 0.30 against 1000 bought alike.
    let whole = Execution { filled: sum(&[("40.05", "1000")]), ..published() }.costs().unwrap();
    let over = Execution { filled: sum(&[("40.05", "1010")]), ..published() }.costs().unwrap();
    assert_eq!(whole.total_cost.checked_sub(over.total_cost).unwrap(), money("0.30"));
}

#[test]
fn a_multiplier_scales_amounts_and_no_basis_points() {
    let one = published();
    let ten = Execution { multiplier: Quantity::from_int(10).unwrap(), fees: money("170"), ..one };
    assert_eq!(ten.costs().unwrap().total_cost, money("760"));
    assert_eq!(ten.decided_value().unwrap(), money("400000"));
    assert_eq!(ten.difference_bps(one.arrival).unwrap(), one.difference_bps(one.arrival).unwrap());
}

#[test]
fn drift_and_start_cost_stand_beside() {
    let e = published();
    assert_eq!(e.post_trade_drift().unwrap(), money("21"));
    assert_eq!(e.start_cost(px("40.06")).unwrap(), money("14"));
}

/// Trading rule 39: the opportunity at the horizon's end, split for limits into limit_away and not_reached.
#[test]
fn rule_39_the_limit_splits_the_opportunity() {
    // decision, limit, horizon -> away, not reached; 300 left unfilled, all for a buy.
    let cases = [
        // The market ran through the limit: up to it the order could have been filled.
        ("40", "40.02", "40.10", "24", "6"),
        // It never left the limit behind.
        ("40", "40.20", "40.10", "0", "30"),
        // The limit was beyond reach from the start, and the market went on.
        ("40", "39.90", "40.10", "30", "0"),
        // It fell through a passive limit: what it fell before was beyond it.
        ("40", "39.90", "39.80", "-30", "-30"),
        ("40", "40.02", "40", "0", "0"),
    ];
    for (decision, limit, horizon, away, not_reached) in cases {
        let buy = Execution { decision: px(decision), ..published() };
        let expected = (money(away), money(not_reached));
        assert_eq!(buy.split_by_limit(px(limit), px(horizon)).unwrap(), expected, "{decision} {limit} {horizon}");
        let mirror = |at: &str| px("80").checked_sub(px(at)).unwrap();
        let sale = Execution { side: Side::Sell, decision: mirror(decision), ..buy };
        assert_eq!(sale.split_by_limit(mirror(limit), mirror(horizon)).unwrap(), expected);
    }
}

/// Prices of up to 12 digits, quantities of up to 8, multipliers as contracts have them.
fn arb_execution() -> impl Strategy<Value = Execution> {
    let px = || (1_i128..200_000_000_000_000).prop_map(|units| AvgPrice::from_unscaled(units).unwrap());
    let fill = (1_i128..20_000_000_000, 1_i128..50_000_000_000)
        .prop_map(|(px, qty)| (Price::from_unscaled(px).unwrap(), Quantity::from_unscaled(qty).unwrap()));
    (
        prop::sample::select(vec![Side::Buy, Side::Sell]),
        1_i128..200_000_000_000,
        prop::collection::vec(fill, 0..5),
        prop::sample::select(vec!["1", "10", "0.001", "0.33333333"]),
        (px(), px(), prop::option::of(px()), px()),
        -1_000_000_000_i128..1_000_000_000,
    )
        .prop_map(|(side, ordered, fills, multiplier, (decision, arrival, benchmark, close), fees)| Execution {
            side,
            ordered: Quantity::from_unscaled(ordered).unwrap(),
            filled: fills.into_iter().fold(PriceQuantitySum::ZERO, |sum, (px, qty)| sum.add(px, qty).unwrap()),
            multiplier: multiplier.parse().unwrap(),
            decision,
            arrival,
            benchmark,
            close,
            fees: Money::from_unscaled(fees).unwrap(),
        })
}

/// Units of 10^-20 of a money unit, the multiplier not applied.
struct Exact {
    total: i128,
    trading: i128,
    impact: Option<i128>,
}

/// The definitions, on plain integers.
fn exact(e: &Execution) -> Exact {
    let side = i128::from(e.side.sign());
    let (q, at) = (e.filled.quantity().unscaled(), e.filled.product_e16() * 10_000);
    let left = e.ordered.unscaled() - q;
    let against = |from: AvgPrice| side * (at - from.unscaled() * q);
    Exact {
        total: against(e.decision) + side * (e.close.unscaled() - e.decision.unscaled()) * left,
        trading: against(e.arrival),
        impact: e.benchmark.map(against),
    }
}

/// Units of 10^-8 by which `money` differs from `exact`, rounded up.
fn off(money: Money, exact: i128, multiplier: Quantity) -> i128 {
    // A multiplier of 8 digits: 28 digits in all, 20 below money's.
    let scale = 10_i128.pow(20);
    let wide = |a: i128, b: i128| fillstream_domain::mul_div_i128(a, b, scale, Rounding::Floor).unwrap();
    (money.unscaled() - wide(exact, multiplier.unscaled())).abs()
}

proptest! {
    #[test]
    fn the_components_always_add_up_to_perolds_total(e in arb_execution()) {
        let costs = e.costs().unwrap();
        prop_assert!(components_add_up(&costs), "{:?}", costs);
        let exact = exact(&e);
        let without_fees = costs.total_cost.checked_sub(e.fees).unwrap();
        // Floor and half-even differ by at most one.
        prop_assert!(off(without_fees, exact.total, e.multiplier) <= 1);
        prop_assert!(off(costs.trading_cost, exact.trading, e.multiplier) <= 3);
        match (costs.market_impact, exact.impact) {
            _ if e.filled.quantity().is_zero() => prop_assert_eq!(costs.market_impact, Some(Money::ZERO)),
            (Some(impact), Some(exact)) => prop_assert!(off(impact, exact, e.multiplier) <= 4),
            (impact, exact) => prop_assert_eq!(impact.is_some(), exact.is_some()),
        }
    }

    #[test]
    fn the_benchmark_never_changes_the_total(e in arb_execution(), units in 1_i128..200_000_000_000_000) {
        let other = Execution { benchmark: AvgPrice::from_unscaled(units).ok(), ..e };
        let (ours, theirs) = (e.costs().unwrap(), other.costs().unwrap());
        prop_assert_eq!((ours.total_cost, ours.trading_cost), (theirs.total_cost, theirs.trading_cost));
    }

    #[test]
    fn wagner_and_perold_agree(e in arb_execution()) {
        let side = i128::from(e.side.sign());
        let q = e.filled.quantity().unscaled();
        let step = |from: AvgPrice, to: AvgPrice, qty: i128| side * (to.unscaled() - from.unscaled()) * qty;
        let wagner = step(e.decision, e.arrival, e.ordered.unscaled())
            + exact(&e).trading
            + step(e.arrival, e.close, e.ordered.unscaled() - q);
        prop_assert_eq!(wagner, exact(&e).total);
        prop_assert!(off(e.costs().unwrap().total_cost.checked_sub(e.fees).unwrap(), wagner, e.multiplier) <= 1);
    }

    #[test]
    fn the_limit_split_adds_up_to_the_opportunity_at_the_horizon(e in arb_execution(), limit in 1_i128..200_000_000_000_000) {
        let limit = AvgPrice::from_unscaled(limit).unwrap();
        let (away, not_reached) = e.split_by_limit(limit, e.close).unwrap();
        let left = (e.ordered.unscaled() - e.filled.quantity().unscaled()).max(0);
        let whole = i128::from(e.side.sign()) * (e.close.unscaled() - e.decision.unscaled()) * left;
        prop_assert!(off(away.checked_add(not_reached).unwrap(), whole, e.multiplier) <= 1);
    }
}
