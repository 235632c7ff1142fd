//! Children of a block are held against all accounts of the portfolio together, for which they are executed (trading rule 26).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{ORDERS, PLANS, World, created, derived, fill_event, leg, num, order_of, plan, plan_of};
use fillstream_domain::{OrdStatus, Side};
use fillstream_schemas::execution::{ChildOrder, RiskAlert, RoutingPlan};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::RiskPortfolio;
use fillstream_testkit::StageBench;

/// A1 with 1,000 and A2 with 1,100 in cash, 5 ACME each; F executes for both and has nothing.
fn world() -> World {
    let mut world = World::default();
    world.limit().allow_short = false;
    let mut one = world.account().clone();
    one.cash = num("1000");
    one.positions.insert("ACME".to_owned(), num("5"));
    let two = Account { account_id: "A2".to_owned(), cash: num("1100"), ..one.clone() };
    let block =
        Account { account_id: "F".to_owned(), cash: num("0"), positions: [].into(), is_block: true, ..one.clone() };
    world.account = Some(one);
    world.others = vec![two, block];
    world
}

fn started(world: &World) -> StageBench {
    let mut bench = world.bench();
    bench.record(ORDERS, &created()).record(ORDERS, &order_of("O2", Side::Sell));
    bench
}

fn in_block(plan: RoutingPlan) -> RoutingPlan {
    RoutingPlan { account_id: "F".to_owned(), ..plan }
}

fn buy(n: i32) -> RoutingPlan {
    in_block(plan(n, vec![leg(n, 1, "XA", "10")]))
}

fn refused(bench: &mut StageBench) -> Vec<String> {
    let alert: RiskAlert = bench.take_one();
    alert.checks.into_iter().filter(|row| !row.passed).filter_map(|row| row.code).collect()
}

#[test]
fn rule_26_a_block_has_the_buying_power_of_all_its_accounts() {
    let mut bench = started(&world());
    // Each 1,013.03 with collar and fees, of 2,100.
    bench.record(PLANS, &buy(1)).record(PLANS, &buy(2));
    let children = bench.take::<ChildOrder>();
    assert_eq!((children.len(), children[0].account_id.as_str()), (2, "F"), "the true account goes on the wire");
    bench.record(PLANS, &buy(3));
    assert_eq!(refused(&mut bench), ["INSUFFICIENT_BUYING_POWER"]);
    // Filled at 90: what the block account has paid is theirs all the same, and 1,200 are left of them.
    for (n, filled, paid) in [(1, "10", "900"), (2, "20", "900")] {
        let id = derived(n, 1, 0, 0);
        let event = fill_event(&id, OrdStatus::Filled, ("0", "980"), (filled, paid));
        bench.record(ORDERS, &event);
    }
    let book = &bench.restart().state::<RiskPortfolio>("accounts")["F"];
    assert_eq!((book.cash, book.positions["ACME"].quantity), (num("-900"), num("20")));
    bench.record(PLANS, &buy(4)).record(PLANS, &buy(5));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
    assert_eq!(refused(&mut bench), ["INSUFFICIENT_BUYING_POWER"]);
}

#[test]
fn rule_26_a_block_sells_what_its_accounts_hold_and_no_more() {
    let mut bench = started(&world());
    bench.record(PLANS, &in_block(plan_of("O2", Side::Sell, 1, "10")));
    assert_eq!(bench.take::<ChildOrder>().len(), 1);
    bench.record(PLANS, &in_block(plan_of("O2", Side::Sell, 2, "1")));
    assert_eq!(refused(&mut bench), ["SHORT_NOT_ALLOWED"]);
}

#[test]
fn accounts_of_two_currencies_are_no_block() {
    let mut world = world();
    world.others[0].currency = "EUR".to_owned();
    let mut bench = started(&world);
    bench.record(PLANS, &buy(1));
    assert!(refused(&mut bench).contains(&"ACCOUNT_CHANGED".to_owned()));
}
