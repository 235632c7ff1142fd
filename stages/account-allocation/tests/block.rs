//! Block orders: fills shared out at one price.
//!
//! Source of the golden cases: Interactive Brokers, "Allocation of Partial Fills" (knowledge base 2751): 50 contracts for A,
//! B and C as 25, 15 and 10, of which 7 and 5 are filled.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use fillstream_account_allocation::block::{BlockError, Given, Line, Statement, share_fills};
use fillstream_domain::{Currency, Money, Price, PriceQuantitySum, Quantity, Turnover};
use proptest::prelude::*;

fn num<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn statement(lines: &[(&str, &str)], remainder: Option<&str>) -> Statement {
    let line = |(id, quantity): &(&str, &str)| Line { account_id: (*id).into(), quantity: num(quantity) };
    Statement::new(lines.iter().map(line).collect(), Quantity::ONE, remainder.map(str::to_owned)).unwrap()
}

fn ibkr() -> Statement {
    statement(&[("A", "25"), ("B", "15"), ("C", "10")], None)
}

fn fills(fills: &[(&str, &str)]) -> PriceQuantitySum {
    fills.iter().fold(PriceQuantitySum::ZERO, |sum, (px, qty)| sum.add(num(px), num(qty)).unwrap())
}

fn share(statement: &Statement, sum: PriceQuantitySum, fees: &str) -> Vec<Given> {
    share_fills(statement, sum, num(fees), Currency::USD).unwrap()
}

fn quantities(given: &[Given]) -> Vec<String> {
    given.iter().map(|given| given.quantity.to_string()).collect()
}

#[test]
fn ibkr_partial_fill_of_7_of_50() {
    // 3.5, 2.1, 1.4 are 3, 2, 1; the last one goes to C, which has the smallest fraction.
    assert_eq!(quantities(&share(&ibkr(), fills(&[("100", "7")]), "0")), ["3", "2", "2"]);
}

#[test]
fn ibkr_partial_fill_of_5_of_50() {
    // 2.5, 1.5, 1 are 2, 1, 1; the last one goes to B.
    assert_eq!(quantities(&share(&ibkr(), fills(&[("100", "5")]), "0")), ["2", "2", "1"]);
}

#[test]
fn of_equal_fractions_the_smaller_id_is_first() {
    // 5.5, 3.3, 2.2 are 5, 3, 2: a fifth each.
    assert_eq!(quantities(&share(&ibkr(), fills(&[("100", "11")]), "0")), ["6", "3", "2"]);
}

#[test]
fn rule_26_the_named_account_takes_the_remainder_up_to_its_line() {
    let named = statement(&[("A", "25"), ("B", "15"), ("C", "10")], Some("A"));
    assert_eq!(quantities(&share(&named, fills(&[("100", "7")]), "0")), ["4", "2", "1"]);
    let small = statement(&[("A", "1"), ("B", "50"), ("C", "50"), ("D", "50")], Some("A"));
    // 0.99, 49.67 each: A takes one of the three that are left.
    assert_eq!(quantities(&share(&small, fills(&[("100", "150")]), "0")), ["1", "50", "50", "49"]);
}

#[test]
fn rule_26_everybody_gets_the_one_average_price_and_the_sums_are_exact() {
    let given = share(&ibkr(), fills(&[("100", "20"), ("100.01", "13"), ("99.99", "17")]), "1.01");
    assert_eq!(quantities(&given), ["25", "15", "10"]);
    assert!(given.iter().all(|given| given.avg_px == Some(num("99.9992"))));
    assert_eq!(Turnover::sum(given.iter().map(|given| given.notional)).unwrap(), num("4999.96"));
    // 0.505, 0.303, 0.202: whole cents.
    let fees: Vec<String> = given.iter().map(|given| given.fees.to_string()).collect();
    assert_eq!(fees, ["0.51", "0.3", "0.2"]);
    let rebate = share(&ibkr(), fills(&[("100", "50")]), "-1.01");
    assert_eq!(Money::sum(rebate.iter().map(|given| given.fees)).unwrap(), num("-1.01"));
}

#[test]
fn rule_26_a_bust_gives_what_would_have_been_without_the_fill() {
    let before = fills(&[("100", "7")]);
    let busted = before.add(num("101"), num("5")).unwrap().remove(num("101"), num("5")).unwrap();
    assert_eq!(share(&ibkr(), busted, "2"), share(&ibkr(), before, "2"));
    let none = share(&ibkr(), PriceQuantitySum::ZERO, "2");
    assert!(none.iter().all(|given| given.quantity.is_zero() && given.avg_px.is_none()));
    assert_eq!(Money::sum(none.iter().map(|given| given.fees)).unwrap(), num("2"), "fees that stayed are somebody's");
}

#[test]
fn a_broken_statement_and_an_overfill_are_refused() {
    let line = |id: &str, quantity: &str| Line { account_id: id.into(), quantity: num(quantity) };
    let new = |lines, remainder: Option<&str>| Statement::new(lines, num("10"), remainder.map(str::to_owned)).err();
    assert_eq!(new(vec![line("A", "10"), line("A", "10")], None), Some(BlockError::Twice));
    assert_eq!(new(vec![line("A", "15")], None), Some(BlockError::NotLots));
    assert_eq!(new(vec![line("A", "0")], None), Some(BlockError::NotLots));
    assert_eq!(new(vec![line("A", "10")], Some("B")), Some(BlockError::NoRemainderAccount));
    let over = share_fills(&ibkr(), fills(&[("100", "51")]), Money::ZERO, Currency::USD);
    assert_eq!(over, Err(BlockError::Overfilled));
    let lines = Statement::new(vec![line("B", "10"), line("A", "20")], num("10"), None).unwrap();
    assert_eq!(lines.lines()[0].account_id, "A");
}

#[test]
fn a_fill_that_is_no_whole_lot_stays_in_one_piece() {
    let lots = vec![
        Line { account_id: "A".into(), quantity: num("20") },
        Line { account_id: "B".into(), quantity: num("20") },
    ];
    let statement = Statement::new(lots, num("10"), None).unwrap();
    assert_eq!(quantities(&share(&statement, fills(&[("1", "13")]), "0")), ["10", "3"]);
}

proptest! {
    #[test]
    fn rule_26_shares_are_fair_and_add_up(
        lines in prop::collection::vec(1_i64..200, 1..8), part in 0_i64..=1_000, px in 1_i64..100_000, fees in -500_i64..500,
        named in any::<bool>(), rotate in 0_usize..8,
    ) {
        let total: i64 = lines.iter().sum();
        let filled = total * part / 1_000;
        let mut given_lines: Vec<Line> = lines.iter().enumerate().map(|(n, quantity)| Line {
            account_id: format!("A{n}"), quantity: Quantity::from_int(*quantity).unwrap(),
        }).collect();
        let remainder = named.then(|| "A0".to_owned());
        let straight = Statement::new(given_lines.clone(), Quantity::ONE, remainder.clone()).unwrap();
        let turn = rotate % given_lines.len();
        given_lines.rotate_left(turn);
        let turned = Statement::new(given_lines, Quantity::ONE, remainder).unwrap();
        let px = Price::from_unscaled(i128::from(px) * 1_000_003).unwrap();
        let sum = PriceQuantitySum::ZERO.add(px, Quantity::from_int(filled).unwrap()).unwrap();
        let fees = Money::from_unscaled(i128::from(fees) * 1_000_000).unwrap();
        let given = share_fills(&straight, sum, fees, Currency::USD).unwrap();
        prop_assert_eq!(&given, &share_fills(&turned, sum, fees, Currency::USD).unwrap());
        prop_assert_eq!(Quantity::sum(given.iter().map(|g| g.quantity)).unwrap(), sum.quantity());
        prop_assert_eq!(Money::sum(given.iter().map(|g| g.fees)).unwrap(), fees);
        let notional = Turnover::sum(given.iter().map(|g| g.notional)).unwrap();
        prop_assert_eq!(notional.unscaled() * 10_000, sum.product_e16());
        for (g, quantity) in given.iter().zip(&lines) {
            prop_assert!(g.quantity <= Quantity::from_int(*quantity).unwrap());
            // Without a remainder account nobody is a whole lot below its part.
            let exact = i128::from(*quantity) * i128::from(filled) * 100_000_000 / i128::from(total);
            prop_assert!(g.quantity.unscaled() > exact - 100_000_000);
        }
        if filled == total {
            prop_assert!(given.iter().zip(&lines).all(|(g, q)| g.quantity == Quantity::from_int(*q).unwrap()));
        }
    }
}
