//! Blocks on the bench: one execution for all accounts together, shared out when it has ended (trading rule 26).
//!
//! Source of the golden cases: Interactive Brokers, "Allocation of Partial Fills" (knowledge base 2751).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ORDERS, World, account, allocations, approved, at, balanced, event, got, num, shares};
use fillstream_account_allocation::block::{Line, Statement, share_fills};
use fillstream_account_allocation::config::{Policy, Rule};
use fillstream_domain::{ControlScope, Currency, Money, PriceQuantitySum, Quantity, Side, SignedQuantity, Turnover};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, AllocationMode, OrderEvent, OrderEventType as E, ParentStatus as S,
    ValidatedOrder,
};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{AllocationAccount, AllocationOrder};
use fillstream_testkit::StageBench;
use proptest::prelude::*;

/// Accounts that share by their ratios, and F, in which they are executed.
fn world(ratios: &[(&str, &str)], remainder: Option<&str>) -> World {
    let mut world = World::of(0);
    let member = |(id, ratio): &(&str, &str)| Account { allocation_ratio: Some(num(ratio)), ..account(id) };
    world.accounts = ratios.iter().map(member).collect();
    world.accounts.push(Account { is_block: true, ..account("F") });
    let block_remainder_account = remainder.map(str::to_owned);
    world.config.policy = Policy { rule: Rule::Ratio, block_remainder_account, ..Policy::default() };
    world
}

fn ibkr() -> World {
    world(&[("A", "25"), ("B", "15"), ("C", "10")], None)
}

/// What each account is to get and got.
fn given(row: &AccountAllocation) -> String {
    let shares = row.block_shares.iter().map(|s| format!("{} {}/{}", s.account_id, s.filled_qty, s.quantity));
    shares.collect::<Vec<_>>().join(", ")
}

/// An event with totals, fees and all.
fn totals(v: &ValidatedOrder, kind: E, status: S, filled: &str, notional: &str, fees: &str) -> OrderEvent {
    let event = event(v, kind, status, filled, notional);
    let quantity: Quantity = num(filled);
    let sum = PriceQuantitySum::from_turnover(num(notional), quantity).unwrap();
    let avg_px = sum.avg(fillstream_domain::Rounding::HalfEven).unwrap();
    OrderEvent { fees: num(fees), fee_currency: Some("USD".into()), avg_px, ..event }
}

fn statements(bench: &mut StageBench, event: &OrderEvent) -> Vec<AccountAllocation> {
    bench.record(ORDERS, event);
    let rows = bench.take::<AccountAllocation>();
    assert!(bench.take_dead_letters().is_empty());
    balanced(&rows);
    rows
}

fn position(bench: &StageBench, account: &str) -> String {
    let booked = bench.state::<AllocationAccount>("accounts");
    let position = booked[&format!("P1/{account}")].positions.get("X");
    position.map_or("0".into(), |p| p.quantity.to_string())
}

#[test]
fn rule_26_one_record_releases_the_block_and_says_who_is_to_get_what() {
    let mut bench = ibkr().bench();
    let rows = allocations(&mut bench, &approved("O1", Side::Buy, "50"));
    assert_eq!(got(&rows), shares(&[("F", "50")]));
    let row = &rows[0];
    assert_eq!(
        (row.kind, row.mode, row.account_no, row.account_count),
        (AllocationKind::Primary, AllocationMode::Block, 1, 1)
    );
    assert_eq!((given(row).as_str(), row.statement_no, row.filled_qty), ("A 0/25, B 0/15, C 0/10", 0, None));
    assert_eq!((row.shares.len(), row.due_at), (3, at(common::NOON)), "F has no share of its own");
    assert!(row.rationale.ends_with("A 25, B 15, C 10; one block in F"), "{}", row.rationale);
}

#[test]
fn rule_26_ibkr_partial_fills_and_a_bust_makes_the_next_statement() {
    let mut bench = ibkr().bench();
    let v = approved("O1", Side::Buy, "50");
    allocations(&mut bench, &v);
    assert!(statements(&mut bench, &totals(&v, E::ChildUpdated, S::PartiallyFilled, "5", "500", "0.5")).is_empty());
    assert_eq!(["A", "B", "C"].map(|id| position(&bench, id)), ["2", "2", "1"].map(String::from));
    assert!(!bench.state::<AllocationAccount>("accounts").contains_key("P1/F"), "it holds nothing of its own");
    bench.restart();
    let end = totals(&v, E::Cancelled, S::Cancelled, "7", "700.7", "1.01");
    let rows = statements(&mut bench, &end);
    let row = &rows[0];
    assert_eq!((rows.len(), given(row).as_str()), (1, "A 3/25, B 2/15, C 2/10"));
    assert_eq!((row.kind, row.mode, row.statement_no), (AllocationKind::Statement, AllocationMode::Block, 1));
    assert_eq!((row.account_id.as_deref(), row.account_count, row.quantity), (None, 0, Quantity::ZERO));
    assert_eq!((row.filled_qty, row.unshared_qty), (Some(num("7")), Some(num("0"))));
    assert_eq!((row.avg_px, row.filled_notional), (Some(num("100.1")), Some(num("700.7"))));
    assert_eq!(Turnover::sum(row.block_shares.iter().map(|s| s.filled_notional)).unwrap(), num("700.7"));
    assert_eq!((row.fees, row.fee_currency.as_deref()), (Some(num("1.01")), Some("USD")));
    assert_eq!(Money::sum(row.block_shares.iter().map(|s| s.fees)).unwrap(), num("1.01"));
    assert!(row.rationale.starts_with("the block has ended: 7 filled at 100.1: A 3, B 2, C 2"), "{}", row.rationale);
    assert!(statements(&mut bench, &end).is_empty(), "said twice");
    // Of a late bust there are 5 again; the statement that was is replaced.
    let bust = totals(&v, E::Amended, S::Cancelled, "5", "500", "1.01");
    let rows = statements(bench.restart(), &bust);
    assert_eq!((given(&rows[0]).as_str(), rows[0].statement_no), ("A 2/25, B 2/15, C 1/10", 2));
    assert_eq!(["A", "B", "C"].map(|id| position(&bench, id)), ["2", "2", "1"].map(String::from));
    // All of it is busted: nobody has anything, the fees that stayed are somebody's.
    let rows = statements(&mut bench, &totals(&v, E::Amended, S::Cancelled, "0", "0", "1.01"));
    assert_eq!((given(&rows[0]).as_str(), rows[0].avg_px), ("A 0/25, B 0/15, C 0/10", None));
    assert_eq!(Money::sum(rows[0].block_shares.iter().map(|s| s.fees)).unwrap(), num("1.01"));
    // A late fill of a block that had ended without any is a first statement.
    let w = approved("O2", Side::Buy, "50");
    allocations(&mut bench, &w);
    assert!(statements(&mut bench, &totals(&w, E::Expired, S::Expired, "0", "0", "0")).is_empty());
    let rows = statements(&mut bench, &totals(&w, E::Amended, S::Expired, "7", "700", "0"));
    assert_eq!((given(&rows[0]).as_str(), rows[0].statement_no), ("A 3/25, B 2/15, C 2/10", 1));
}

#[test]
fn rule_26_a_named_account_takes_the_remainder_and_an_overfill_is_nobodys() {
    let mut bench = world(&[("A", "25"), ("B", "15"), ("C", "10")], Some("A")).bench();
    let v = approved("O1", Side::Buy, "50");
    allocations(&mut bench, &v);
    let rows = statements(&mut bench, &totals(&v, E::Cancelled, S::Cancelled, "7", "700", "0"));
    assert_eq!(given(&rows[0]), "A 4/25, B 2/15, C 1/10");
    // 50 ordered, 60 filled, at 100 each.
    let over = OrderEvent { overfill_qty: num("10"), ..totals(&v, E::Amended, S::Filled, "50", "6000", "0") };
    let rows = statements(&mut bench, &over);
    let row = &rows[0];
    assert_eq!((given(row).as_str(), row.unshared_qty), ("A 25/25, B 15/15, C 10/10", Some(num("10"))));
    assert_eq!((row.filled_qty, row.filled_notional), (Some(num("60")), Some(num("6000"))));
    assert_eq!(Turnover::sum(row.block_shares.iter().map(|s| s.filled_notional)).unwrap(), num("5000"));
    assert_eq!(position(&bench, "A"), "25");
}

#[test]
fn rule_24_a_block_that_reduces_goes_over_the_accounts_that_hold() {
    let mut world = ibkr();
    for (n, held) in [(0, "30"), (1, "10")] {
        world.accounts[n].positions.insert("X".into(), num(held));
    }
    let mut bench = world.bench();
    let v = approved("O1", Side::Sell, "50");
    let rows = allocations(&mut bench, &v);
    assert_eq!((got(&rows), given(&rows[0]).as_str()), (shares(&[("F", "40")]), "A 0/30, B 0/10"));
    assert_eq!(rows[0].unallocated_code.as_deref(), Some("INSUFFICIENT_HOLDINGS"));
    // What the block is to sell cannot be sold again.
    let again = allocations(&mut bench, &approved("O2", Side::Sell, "5"));
    assert_eq!((again[0].kind, again[0].mode), (AllocationKind::None, AllocationMode::Block));
    statements(&mut bench, &totals(&v, E::Cancelled, S::Cancelled, "20", "200", "0"));
    assert_eq!((position(&bench, "A").as_str(), position(&bench, "B").as_str()), ("15", "5"));
}

#[test]
fn rule_25_a_replaced_block_gives_more_and_takes_away_and_keeps_its_lines() {
    let mut bench = ibkr().bench();
    let v = approved("O1", Side::Buy, "50");
    allocations(&mut bench, &v);
    let more = ValidatedOrder { quantity: num("100"), ..v.clone() };
    let rows = statements(&mut bench, &totals(&more, E::Replaced, S::PartiallyFilled, "5", "500", "0"));
    assert_eq!((rows[0].kind, got(&rows), rows[0].revision), (AllocationKind::Primary, shares(&[("F", "50")]), 2));
    assert_eq!(given(&rows[0]), "A 2/50, B 2/30, C 1/20");
    let less = ValidatedOrder { quantity: num("40"), ..v.clone() };
    let rows = statements(bench.restart(), &totals(&less, E::Replaced, S::PartiallyFilled, "5", "500", "0"));
    assert_eq!((rows[0].kind, got(&rows), rows[0].revision), (AllocationKind::Reduction, shares(&[("F", "40")]), 3));
    let rows = statements(&mut bench, &totals(&less, E::Filled, S::Filled, "40", "4000", "0"));
    let lines = rows[0].block_shares.iter();
    assert!(lines.clone().all(|line| line.filled_qty == line.quantity), "{}", given(&rows[0]));
    assert_eq!(Quantity::sum(lines.map(|line| line.quantity)).unwrap(), num("40"));
}

#[test]
fn rule_19_controls_of_the_block_stop_all_of_it_and_those_of_a_member_leave_it_out() {
    let code = |change: fn(&mut World)| {
        let mut world = ibkr();
        change(&mut world);
        let rows = allocations(&mut world.bench(), &approved("O1", Side::Buy, "50"));
        (rows[0].unallocated_code.clone(), given(&rows[0]))
    };
    let none = |code: &str| (Some(code.to_owned()), String::new());
    assert_eq!(code(|w| w.kill(ControlScope::Account, "F")), none("KILLED"));
    assert_eq!(code(|w| w.pause(ControlScope::Account, "F")), none("PAUSED"));
    assert_eq!(code(|w| w.kill(ControlScope::Strategy, "S1")), none("KILLED"));
    assert_eq!(code(|w| w.accounts[3].is_active = false), none("NO_ELIGIBLE_ACCOUNT"));
    assert_eq!(code(|w| w.kill(ControlScope::Account, "A")), (None, "B 0/30, C 0/20".to_owned()));
    assert_eq!(code(|w| w.pause(ControlScope::Account, "B")), (None, "A 0/36, C 0/14".to_owned()));
}

/// What happens to the block: its totals after each step, in parts per thousand of the order, and the price.
fn steps() -> impl Strategy<Value = Vec<(i64, i64, i64)>> {
    prop::collection::vec((0_i64..=1_000, 1_i64..100_000, -500_i64..500), 1..8)
}

proptest! {
    /// However fills, busts and corrections come, before and after the end, and wherever it is restarted: the accounts hold what
    /// the last totals alone give, and the statements add up to them and count without a gap.
    #[test]
    fn rule_26_the_accounts_hold_what_the_last_totals_give(
        lines in prop::collection::vec(1_i64..60, 1..6), before in steps(), after in steps(), named in any::<bool>(),
        sells in any::<bool>(), restarts in any::<bool>(),
    ) {
        let ids: Vec<String> = (0..lines.len()).map(|n| format!("A{n}")).collect();
        let texts: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let ratios: Vec<(&str, &str)> = ids.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
        let mut world = world(&ratios, named.then_some("A0"));
        for (account, line) in world.accounts.iter_mut().zip(&lines) {
            account.positions.insert("X".into(), SignedQuantity::from(Quantity::from_int(*line).unwrap()));
        }
        let total: i64 = lines.iter().sum();
        let v = approved("O1", if sells { Side::Sell } else { Side::Buy }, &total.to_string());
        let mut bench = world.bench();
        let rows = allocations(&mut bench, &v);
        prop_assert_eq!(rows[0].quantity, Quantity::from_int(total).unwrap());
        let lot = |(id, line): (&String, &i64)| Line { account_id: id.clone(), quantity: Quantity::from_int(*line).unwrap() };
        let expected = ids.iter().zip(&lines).map(lot).collect();
        let expected = Statement::new(expected, Quantity::ONE, named.then(|| "A0".to_owned())).unwrap();
        let say = |(part, px, cents): (i64, i64, i64), kind, status| {
            let filled = total * part / 1_000;
            let notional = Turnover::from_unscaled(i128::from(filled * px) * 1_000_000_000_003).unwrap();
            let fees = Money::from_unscaled(i128::from(cents) * 1_000_000).unwrap();
            totals(&v, kind, status, &filled.to_string(), &notional.to_string(), &fees.to_string())
        };
        for step in &before {
            prop_assert!(statements(&mut bench, &say(*step, E::ChildUpdated, S::PartiallyFilled)).is_empty());
        }
        let mut said = 0;
        let mut last = say(before[before.len() - 1], E::Cancelled, S::Cancelled);
        let ends = std::iter::once(last.clone());
        for event in ends.chain(after.iter().map(|step| say(*step, E::Amended, S::Cancelled))) {
            if restarts {
                bench.restart();
            }
            for row in statements(&mut bench, &event) {
                said += 1;
                prop_assert_eq!(row.statement_no, said);
                let sum = PriceQuantitySum::from_turnover(event.filled_notional, event.cum_qty).unwrap();
                let given = share_fills(&expected, sum, event.fees, Currency::USD).unwrap();
                prop_assert_eq!(row.block_shares.len(), given.len());
                for (got, due) in row.block_shares.iter().zip(&given) {
                    prop_assert_eq!((got.filled_qty, got.filled_notional, got.fees), (due.quantity, due.notional, due.fees));
                }
                let quantities = Quantity::sum(row.block_shares.iter().map(|s| s.filled_qty)).unwrap();
                let amounts = Turnover::sum(row.block_shares.iter().map(|s| s.filled_notional)).unwrap();
                prop_assert_eq!((quantities, amounts), (event.cum_qty, event.filled_notional));
            }
            last = event;
        }
        let closed = bench.state::<AllocationOrder>("closed");
        let order = closed.values().next().unwrap();
        let held = Quantity::sum(order.parts.iter().map(|part| part.filled_qty)).unwrap();
        prop_assert_eq!(held, last.cum_qty);
        let booked = bench.state::<AllocationAccount>("accounts");
        for (part, line) in order.parts.iter().zip(&lines) {
            let moved = SignedQuantity::from(part.filled_qty);
            let start = SignedQuantity::from(Quantity::from_int(*line).unwrap());
            let now = start.checked_add(if sells { -moved } else { moved }).unwrap();
            let position = booked[&format!("P1/{}", part.account_id)].positions.get("X").map(|p| p.quantity);
            prop_assert_eq!(position.unwrap_or(SignedQuantity::ZERO), now);
        }
    }
}
