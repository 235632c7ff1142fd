//! Published allocations, reproduced.
//!
//! Sources: Interactive Brokers, "Allocation Methods" of the Advisor Portal guide and "Financial Advisors" of the TWS API
//! (EqualQuantity, NetLiq, AvailableEquity, PctChange), "Allocation Profiles" of the TWS guide (Percentages, Financial
//! Ratios).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use fillstream_account_allocation::config::{Policy, Rule};
use fillstream_account_allocation::eligibility::{Asked, Standing};
use fillstream_account_allocation::reason::{Adjustment, Unallocated};
use fillstream_account_allocation::rules::{Outcome, Share, allocate};
use fillstream_domain::{Price, Quantity, Side, SignedQuantity};
use fillstream_schemas::reference::Account;

fn num<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn asked(side: Side, quantity: &str) -> Asked {
    Asked {
        side,
        quantity: num(quantity),
        lot: Quantity::ONE,
        minimum: Quantity::ONE,
        price: Price::ONE,
        multiplier: Quantity::ONE,
    }
}

fn accounts(n: usize) -> Vec<Account> {
    ["A", "B", "C", "D", "E", "F"]
        .iter()
        .take(n)
        .map(|id| Account { account_id: (*id).to_owned(), is_active: true, ..Account::default() })
        .collect()
}

fn standing<'a>(account: &'a Account, position: &str) -> Standing<'a> {
    let position: SignedQuantity = num(position);
    Standing {
        account,
        is_killed: false,
        is_paused: false,
        position,
        available: position.magnitude(),
        available_margin: account.available_margin,
        risk_budget: None,
        daily_drawdown: None,
        open_positions: None,
        is_held: false,
        rate: Some(Price::ONE),
    }
}

fn shares(outcome: &Outcome<'_>) -> Vec<String> {
    outcome.shares.iter().map(|share| share.quantity.to_string()).collect()
}

fn by(rule: Rule, asked: &Asked, accounts: &[Account], positions: &[&str]) -> Vec<String> {
    let standings = accounts.iter().zip(positions.iter().chain(std::iter::repeat(&"0")));
    let standings = standings.map(|(account, position)| standing(account, position)).collect();
    let outcome = allocate(asked, standings, &Policy { rule, ..Policy::default() }).unwrap();
    assert_eq!((outcome.unallocated, outcome.code), (Quantity::ZERO, None));
    shares(&outcome)
}

#[test]
fn ibkr_equal_quantity_400_over_4_and_over_6() {
    assert_eq!(by(Rule::Equal, &asked(Side::Buy, "400"), &accounts(4), &[]), ["100"; 4]);
    let six = by(Rule::Equal, &asked(Side::Buy, "400"), &accounts(6), &[]);
    assert_eq!(six, ["67", "67", "67", "67", "66", "66"]);
}

#[test]
fn ibkr_net_liquidation_700_over_25000_50000_100000() {
    let mut accounts = accounts(3);
    for (account, equity) in accounts.iter_mut().zip(["25000", "50000", "100000"]) {
        account.equity = Some(num(equity));
    }
    assert_eq!(by(Rule::Equity, &asked(Side::Buy, "700"), &accounts, &[]), ["100", "200", "400"]);
}

#[test]
fn ibkr_available_equity_700_over_25000_50000_100000() {
    let mut accounts = accounts(3);
    for (account, margin) in accounts.iter_mut().zip(["25000", "50000", "100000"]) {
        account.available_margin = Some(num(margin));
    }
    assert_eq!(by(Rule::AvailableMargin, &asked(Side::Buy, "700"), &accounts, &[]), ["100", "200", "400"]);
}

#[test]
fn ibkr_percent_change_50_up_and_100_down() {
    let held = ["100", "400", "200", "0", "0", "0"];
    // The order's size is given here: 50 % of what they hold.
    let up = by(Rule::PercentChange, &asked(Side::Buy, "350"), &accounts(6), &held);
    assert_eq!(up, ["50", "200", "100", "0", "0", "0"]);
    let down = by(Rule::PercentChange, &asked(Side::Sell, "700"), &accounts(6), &held);
    assert_eq!(down, ["100", "400", "200", "0", "0", "0"]);
}

#[test]
fn ibkr_percentages_and_ratios_of_a_profile() {
    assert_eq!(by(Rule::Ratio, &asked(Side::Buy, "1000"), &in_ratio(&["0.25"; 4]), &[]), ["250"; 4]);
    let ratios = by(Rule::Ratio, &asked(Side::Buy, "1000"), &in_ratio(&["4", "2", "1", "1"]), &[]);
    assert_eq!(ratios, ["500", "250", "125", "125"]);
    assert_eq!(by(Rule::Ratio, &asked(Side::Buy, "400"), &in_ratio(&["1", "2", "1"]), &[]), ["100", "200", "100"]);
}

#[test]
fn by_priority_each_takes_what_its_margin_pays_for() {
    let mut accounts = accounts(4);
    for (account, (priority, margin)) in
        accounts.iter_mut().zip([(Some(3), "5000"), (Some(1), "1500"), (None, "5000"), (Some(2), "1200")])
    {
        (account.priority, account.available_margin) = (priority, Some(num(margin)));
    }
    assert_eq!(by(Rule::Priority, &asked(Side::Buy, "3000"), &accounts, &[]), ["300", "1500", "0", "1200"]);
}

#[test]
fn rule_24_a_reducing_order_goes_pro_rata_to_what_is_available() {
    // 15 over 10 : 20 : 0 : 30.
    let sold = by(Rule::Equal, &asked(Side::Sell, "15"), &accounts(4), &["10", "20", "0", "30"]);
    assert_eq!(sold, ["3", "5", "0", "7"]);
}

#[test]
fn rule_25_what_nobody_can_take_is_unallocated_with_its_code() {
    let accounts = accounts(2);
    let sell = allocate(
        &asked(Side::Sell, "100"),
        vec![standing(&accounts[0], "30"), standing(&accounts[1], "20")],
        &Policy::default(),
    )
    .unwrap();
    assert_eq!((shares(&sell), sell.unallocated), (vec!["30".to_owned(), "20".to_owned()], num("50")));
    assert_eq!(sell.code, Some(Unallocated::InsufficientHoldings));
}

#[test]
fn rule_24_no_share_is_below_the_minimum_and_the_smallest_leaves_first() {
    let mut accounts = accounts(3);
    for (account, ratio) in accounts.iter_mut().zip(["1", "1", "8"]) {
        account.allocation_ratio = Some(num(ratio));
    }
    let ask = Asked { minimum: num("15"), ..asked(Side::Buy, "100") };
    // 10, 10, 80: B leaves, then A has 11 of 100 and leaves too.
    assert_eq!(by(Rule::Ratio, &ask, &accounts, &[]), ["0", "0", "100"]);
    let ask = Asked { minimum: num("11"), ..asked(Side::Buy, "100") };
    assert_eq!(by(Rule::Ratio, &ask, &accounts, &[]), ["11", "0", "89"]);
}

#[test]
fn one_account_gets_everything_as_it_is_even_an_odd_lot() {
    let accounts = accounts(1);
    let ask = Asked { lot: Quantity::ZERO, ..asked(Side::Sell, "0.5") };
    let outcome = allocate(&ask, vec![standing(&accounts[0], "0")], &Policy::default()).unwrap();
    assert_eq!((shares(&outcome), outcome.unallocated), (vec!["0.5".to_owned()], Quantity::ZERO));
}

#[test]
fn rule_24_an_order_that_one_account_takes_whole_is_not_too_small() {
    let mut accounts = accounts(2);
    accounts[1].allocation_ratio = Some(num("1"));
    let ask = Asked { minimum: num("15"), ..asked(Side::Buy, "10") };
    assert_eq!(by(Rule::Ratio, &ask, &accounts, &[]), ["0", "10"]);
}

/// By ratios of accounts, each with what changed it.
fn adjusted(ask: &Asked, accounts: &[Account]) -> Vec<(String, String, Vec<Adjustment>)> {
    let standings = accounts.iter().map(|account| standing(account, "0")).collect();
    let outcome = allocate(ask, standings, &Policy { rule: Rule::Ratio, ..Policy::default() }).unwrap();
    let of = |share: &Share<'_>| {
        let codes = share.adjustments.iter().map(|(code, _)| *code).collect();
        (share.rule_qty.to_string(), share.quantity.to_string(), codes)
    };
    outcome.shares.iter().map(of).collect()
}

fn in_ratio(ratios: &[&str]) -> Vec<Account> {
    let mut accounts = accounts(ratios.len());
    for (account, ratio) in accounts.iter_mut().zip(ratios) {
        account.allocation_ratio = Some(num(ratio));
    }
    accounts
}

#[test]
fn what_an_account_lost_by_leaving_is_an_exclusion_and_no_adjustment() {
    let ask = Asked { minimum: num("15"), ..asked(Side::Buy, "100") };
    let expected = [("10", "0", vec![]), ("90", "100", vec![Adjustment::Redistributed])];
    let expected = expected.map(|(rule, quantity, codes)| (rule.to_owned(), quantity.to_owned(), codes));
    assert_eq!(adjusted(&ask, &in_ratio(&["1", "9"])), expected);
}

/// 3 over 1 : 4 : 4 is 1, 1, 1. That B can pay for no more than its lot makes C's lost fraction the largest: A has no cap, and
/// yet less than by the rule.
#[test]
fn what_a_cap_of_another_takes_away_is_redistributed() {
    let mut accounts = in_ratio(&["1", "4", "4"]);
    accounts[1].available_margin = Some(num("1500"));
    let ask = Asked { price: num("1000"), ..asked(Side::Buy, "3") };
    let expected =
        [("1", "0", vec![Adjustment::Redistributed]), ("1", "1", vec![]), ("1", "2", vec![Adjustment::Redistributed])];
    let expected = expected.map(|(rule, quantity, codes)| (rule.to_owned(), quantity.to_owned(), codes));
    assert_eq!(adjusted(&ask, &accounts), expected);
}
