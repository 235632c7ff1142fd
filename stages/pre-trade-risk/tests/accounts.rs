//! Portfolios with several accounts: their cash and positions count together.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOON, World, account, created, instrument, num, quote, verdict};
use fillstream_domain::{ControlScope, Side};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::RiskPortfolio;
use fillstream_testkit::StageBench;

fn two() -> World {
    let mut world = World::default();
    world.accounts[0].cash = num("600");
    world.accounts[0].positions.insert("ACME".to_owned(), num("7"));
    let mut second = Account { cash: num("500"), version: 9, ..account("A2", "P1") };
    second.positions.insert("ACME".to_owned(), num("-2"));
    second.positions.insert("BETA".to_owned(), num("4"));
    world.accounts.push(second);
    world
}

fn portfolio(bench: &StageBench) -> RiskPortfolio {
    bench.state::<RiskPortfolio>("portfolios").remove("P1").unwrap()
}

#[test]
fn cash_and_positions_are_those_of_all_accounts() {
    let mut bench = two().bench();
    // 10 at 101: more than either has.
    let approved = verdict(&mut bench, &created("O1", "ACME", Side::Buy, "10"));
    assert!(approved.is_approved, "{approved:?}");
    assert_eq!((approved.account_id, approved.account_ids), (None, vec!["A1".to_owned(), "A2".to_owned()]));
    let opened = portfolio(&bench);
    assert_eq!((opened.cash, opened.positions["ACME"].quantity), (num("1100"), num("5")));
    assert_eq!(opened.positions["BETA"].quantity, num("4"));
    assert_eq!(opened.accounts, [("A1".to_owned(), 3), ("A2".to_owned(), 9)].into());
    let refused = verdict(&mut bench, &created("O2", "ACME", Side::Buy, "1"));
    assert_eq!(refused.reason_codes, ["INSUFFICIENT_BUYING_POWER"]);
    let sold = verdict(&mut bench, &created("O3", "ACME", Side::Sell, "6"));
    assert_eq!(sold.reason_codes, ["SHORT_NOT_ALLOWED", "INSUFFICIENT_BUYING_POWER"]);
}

#[test]
fn one_account_is_named() {
    let approved = verdict(&mut World::default().bench(), &created("O1", "ACME", Side::Buy, "1"));
    assert_eq!((approved.account_id.as_deref(), approved.account_ids), (Some("A1"), vec!["A1".to_owned()]));
}

#[test]
fn an_account_that_joins_later_is_booked_once_and_one_that_leaves_is_noticed() {
    let mut world = two();
    let joined = world.accounts.pop().unwrap();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &created("O1", "ACME", Side::Buy, "1")).is_approved);
    assert_eq!(portfolio(&bench).cash, num("600"));
    world.accounts.push(joined);
    world.load(&mut bench);
    for order in ["O2", "O3"] {
        assert!(verdict(bench.restart(), &created(order, "ACME", Side::Buy, "1")).is_approved);
        assert_eq!((portfolio(&bench).cash, portfolio(&bench).positions["ACME"].quantity), (num("1100"), num("5")));
    }
    world.accounts.remove(0);
    world.load(&mut bench);
    let refused = verdict(&mut bench, &created("O4", "ACME", Side::Buy, "1"));
    assert_eq!(refused.reason_codes, ["ACCOUNT_CHANGED"]);
}

#[test]
fn an_account_of_another_currency_is_not_added_up() {
    let mut world = two();
    world.accounts[1].currency = "EUR".to_owned();
    let mut bench = world.bench();
    let refused = verdict(&mut bench, &created("O1", "ACME", Side::Buy, "1"));
    assert_eq!(refused.reason_codes, ["ACCOUNT_CURRENCIES"]);
    assert!(bench.state::<RiskPortfolio>("portfolios").is_empty());
}

#[test]
fn an_account_whose_currency_changes_is_noticed() {
    let mut world = World::default();
    world.instruments.push(instrument("EURUSD"));
    world.rows.push(quote("EURUSD", NOON - 1_000, "1.1", "1.3"));
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &created("O1", "ACME", Side::Buy, "1")).is_approved);
    world.accounts[0].currency = "EUR".to_owned();
    world.load(&mut bench);
    let refused = verdict(&mut bench, &created("O2", "ACME", Side::Buy, "1"));
    assert_eq!(refused.reason_codes, ["ACCOUNT_CHANGED"]);
}

#[test]
fn the_highest_margin_counts() {
    let mut world = two();
    world.limits[0].allow_short = true;
    world.accounts[1].initial_margin = num("2");
    // 5 are held; 10 more at 99.99 x 2 of 1,100.
    let refused = verdict(&mut world.bench(), &created("O1", "ACME", Side::SellShort, "15"));
    assert_eq!(refused.reason_codes, ["INSUFFICIENT_BUYING_POWER"]);
    let row = refused.validation_results.iter().find(|row| row.name == "buying_power").unwrap();
    assert_eq!(row.figure, Some(num("1999.8")));
}

#[test]
fn rule_19_a_kill_of_one_account_leaves_the_others_and_of_all_active_ones_none() {
    let mut world = two();
    world.kill(ControlScope::Account, "A1");
    assert!(verdict(&mut world.bench(), &created("O1", "ACME", Side::Buy, "1")).is_approved);
    world.accounts[1].is_active = false;
    assert_eq!(verdict(&mut world.bench(), &created("O1", "ACME", Side::Buy, "1")).reason_codes, ["KILLED"]);
    world.accounts[0].is_active = false;
    let refused = verdict(&mut world.bench(), &created("O1", "ACME", Side::Buy, "1"));
    assert_eq!(refused.reason_codes, ["ACCOUNT_INACTIVE"]);
}

#[test]
fn rule_19_a_pause_of_one_account_leaves_the_others_and_of_all_active_ones_none() {
    let order = created("O1", "ACME", Side::Buy, "1");
    let mut world = two();
    world.pause(ControlScope::Account, "A1");
    assert!(verdict(&mut world.bench(), &order).is_approved);
    // One paused, one killed: the order could go on when the pause ends.
    world.kill(ControlScope::Account, "A2");
    assert_eq!(verdict(&mut world.bench(), &order).reason_codes, ["PAUSED"]);
    world.accounts[0].is_active = false;
    assert_eq!(verdict(&mut world.bench(), &order).reason_codes, ["KILLED"]);
}
