//! The stage on the bench: orders over accounts, and what fills, ends and controls change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{
    NOON, ORDERS, VALIDATED, World, account, allocations, approved, at, event, filled, filled_in, got, num, shares,
};
use fillstream_account_allocation::config::{Policy, Rule};
use fillstream_account_allocation::reason::{Exclusion, Unallocated};
use fillstream_account_allocation::{AccountAllocator, Config};
use fillstream_domain::{ControlScope, Quantity, Side};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, AllocationMode, AllocationRule, OrderEventType, ParentStatus, ValidatedOrder,
};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{AllocationAccount, AllocationOrder};
use fillstream_testkit::StageBench;

#[test]
fn one_bare_account_gets_the_whole_order() {
    for side in [Side::Buy, Side::Sell, Side::SellShort, Side::BuyToCover] {
        let v = approved("O1", side, "400");
        let rows = allocations(&mut World::of(1).bench(), &v);
        assert_eq!(got(&rows), shares(&[("A1", "400")]), "{side:?}");
        let row = &rows[0];
        assert_eq!(
            (row.kind, row.mode, row.rule),
            (AllocationKind::Primary, AllocationMode::Separate, AllocationRule::SingleAccount)
        );
        assert_eq!((row.account_no, row.account_count, row.revision, row.due_at), (1, 1, 1, at(NOON)));
        assert_eq!((row.terms.clone(), row.quote.clone()), (v.terms, v.quote));
    }
}

#[test]
fn each_account_has_a_record_with_the_whole_table_and_the_reasons() {
    let mut world = World::of(6);
    world.accounts[4].is_active = false;
    world.accounts[5].available_margin = Some(num("900"));
    let rows = allocations(&mut world.bench(), &approved("O1", Side::Buy, "10"));
    assert_eq!(got(&rows), shares(&[("A1", "3"), ("A2", "3"), ("A3", "2"), ("A4", "2")]));
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.event_id.as_str()).collect();
    assert_eq!(ids.len(), 4);
    for (n, row) in (1..).zip(&rows) {
        assert_eq!((row.account_no, row.account_count, row.rule), (n, 4, AllocationRule::Equal));
        assert_eq!((row.shares.len(), &row.shares), (6, &rows[0].shares));
        let codes: Vec<_> = row.shares.iter().filter_map(|s| s.exclusion_code.as_deref()).collect();
        assert_eq!(codes, ["ACCOUNT_INACTIVE", "MARGIN_BELOW_MINIMUM"]);
        assert_eq!(row.shares[5].exclusion_text.as_deref(), Some("available margin 900 is below 1000"));
        for words in
            ["BUY 10 X by EQUAL over 4 of 6 accounts: A1 3, A2 3, A3 2, A4 2", "A6 left out: MARGIN_BELOW_MINIMUM"]
        {
            assert!(row.rationale.contains(words), "{}", row.rationale);
        }
    }
}

#[test]
fn a_portfolio_has_its_own_policy() {
    let mut world = World::of(2);
    world.accounts[0].equity = Some(num("30000"));
    world.accounts[1].equity = Some(num("10000"));
    world.config.portfolios.insert("P1".into(), Policy { rule: Rule::Equity, ..Policy::default() });
    let rows = allocations(&mut world.bench(), &approved("O1", Side::Buy, "8"));
    assert_eq!((got(&rows), rows[0].rule), (shares(&[("A1", "6"), ("A2", "2")]), AllocationRule::Equity));
    let other = ValidatedOrder { portfolio_id: "P2".into(), ..approved("O2", Side::Buy, "8") };
    world.accounts.iter_mut().for_each(|account| account.portfolio_id = "P2".into());
    let rows = allocations(&mut world.bench(), &other);
    assert_eq!((got(&rows), rows[0].rule), (shares(&[("A1", "4"), ("A2", "4")]), AllocationRule::Equal));
}

#[test]
fn an_order_is_allocated_once_and_a_rejected_one_never() {
    let mut bench = World::of(2).bench();
    let v = approved("O1", Side::Buy, "10");
    assert_eq!(allocations(&mut bench, &ValidatedOrder { is_approved: false, ..v.clone() }), []);
    assert_eq!(allocations(&mut bench, &v).len(), 2);
    let again = ValidatedOrder { event_id: "again".into(), ..v.clone() };
    assert_eq!(allocations(&mut bench, &again), []);
    bench.record(ORDERS, &event(&v, OrderEventType::Cancelled, ParentStatus::Cancelled, "0", "0"));
    assert_eq!(allocations(&mut bench, &ValidatedOrder { event_id: "late".into(), ..v }), []);
}

#[test]
fn rule_24_two_sales_together_never_sell_more_than_an_account_holds() {
    let mut bench = World::of(2).holding(&["30", "10"]).bench();
    let first = approved("O1", Side::Sell, "20");
    assert_eq!(got(&allocations(&mut bench, &first)), shares(&[("A1", "15"), ("A2", "5")]));
    let rows = allocations(&mut bench, &approved("O2", Side::Sell, "40"));
    assert_eq!(got(&rows), shares(&[("A1", "15"), ("A2", "5")]));
    assert_eq!(
        (rows[0].unallocated_qty, rows[0].unallocated_code.as_deref()),
        (num("20"), Some("INSUFFICIENT_HOLDINGS"))
    );
    // What the first one did not sell can be sold again.
    bench.record(ORDERS, &event(&first, OrderEventType::Cancelled, ParentStatus::Cancelled, "0", "0")).restart();
    assert_eq!(got(&allocations(&mut bench, &approved("O3", Side::Sell, "20"))), shares(&[("A1", "15"), ("A2", "5")]));
}

#[test]
fn fills_move_the_positions_that_the_next_sale_goes_by() {
    let mut world = World::of(1);
    let mut bench = world.bench();
    let buy = approved("O1", Side::Buy, "12");
    allocations(&mut bench, &buy);
    bench.record(ORDERS, &filled(&buy, "120"));
    let booked = bench.state::<AllocationAccount>("accounts");
    assert_eq!(booked["P1/A1"].positions["X"].quantity, num("12"));
    assert_eq!(bench.state::<AllocationOrder>("closed").len(), 1);
    world.accounts.push(account("A2"));
    world.load(&mut bench);
    assert_eq!(got(&allocations(&mut bench, &approved("O2", Side::Sell, "5"))), shares(&[("A1", "5")]));
    // A bust of half of it comes later.
    bench.record(ORDERS, &event(&buy, OrderEventType::Amended, ParentStatus::Filled, "6", "60")).restart();
    assert_eq!(got(&allocations(&mut bench, &approved("O3", Side::Sell, "5"))), shares(&[("A1", "1")]));
}

#[test]
fn each_accounts_fills_move_its_own_position_margin_and_result() {
    let mut bench = World::of(2).bench();
    let (buy, sell) = (approved("O1", Side::Buy, "20"), approved("O2", Side::Sell, "20"));
    allocations(&mut bench, &buy);
    bench.record(ORDERS, &filled_in(&buy, "A1", "10", "4", ("4", "40")));
    bench.record(ORDERS, &filled_in(&buy, "A2", "10", "10", ("14", "150"))).restart();
    let open = &bench.state::<AllocationOrder>("open")["P1/O1"];
    let leaves: Vec<String> = open.parts.iter().map(|part| part.leaves_qty.to_string()).collect();
    assert_eq!(leaves, ["6", "0"]);
    bench.record(ORDERS, &filled_in(&buy, "A1", "10", "10", ("20", "210")));
    bench.record(ORDERS, &filled(&buy, "210"));
    let rows = allocations(&mut bench, &sell);
    assert_eq!(got(&rows), shares(&[("A1", "10"), ("A2", "10")]));
    bench.record(ORDERS, &filled_in(&sell, "A2", "10", "10", ("10", "90")));
    bench.record(ORDERS, &filled_in(&sell, "A1", "10", "10", ("20", "200")));
    let booked = bench.state::<AllocationAccount>("accounts");
    // Each bought and sold 10: A1 for 40 + 60 and 110, A2 for 110 and 90.
    assert_eq!((booked["P1/A1"].result, booked["P1/A2"].result), (num("10"), num("-20")));
    assert!(booked.values().all(|account| account.positions.is_empty() && account.opened == 0));
}

#[test]
fn rule_24_open_orders_count_as_the_positions_that_they_will_open() {
    let mut world = World::of(2);
    world.accounts[0].open_positions = Some(2);
    let mut bench = world.bench();
    let first = approved("O1", Side::Buy, "10");
    assert_eq!(allocations(&mut bench, &first).len(), 2);
    let more = approved("O2", Side::Buy, "10");
    assert_eq!(allocations(&mut bench, &more).len(), 2, "the same position");
    let other = ValidatedOrder { instrument_id: "Y".into(), ..approved("O3", Side::Buy, "10") };
    let rows = allocations(&mut bench, &other);
    assert_eq!(
        (got(&rows), rows[0].shares[0].exclusion_code.as_deref()),
        (shares(&[("A2", "10")]), Some("TOO_MANY_POSITIONS"))
    );
    assert_eq!(rows[0].shares[0].open_positions, Some(3));
}

#[test]
fn rule_24_an_open_order_in_a_held_instrument_opens_nothing() {
    let mut world = World::of(1).holding(&["5"]);
    world.accounts[0].open_positions = Some(2);
    let mut bench = world.bench();
    allocations(&mut bench, &approved("O1", Side::Buy, "10"));
    let other = ValidatedOrder { instrument_id: "Y".into(), ..approved("O2", Side::Buy, "10") };
    assert_eq!(allocations(&mut bench, &other)[0].shares[0].open_positions, Some(2));
}

#[test]
fn rule_24_an_open_sale_of_another_instrument_holds_nothing_of_this_one() {
    let mut world = World::of(2).holding(&["10", "10"]);
    for account in &mut world.accounts {
        account.positions.insert("Y".into(), num("10"));
    }
    let mut bench = world.bench();
    allocations(&mut bench, &ValidatedOrder { instrument_id: "Y".into(), ..approved("O1", Side::Sell, "20") });
    assert_eq!(got(&allocations(&mut bench, &approved("O2", Side::Sell, "20"))), shares(&[("A1", "10"), ("A2", "10")]));
}

#[test]
fn gains_do_not_add_to_the_risk_budget() {
    let mut world = World::of(1);
    world.accounts[0].risk_budget_remaining = Some(num("100"));
    let mut bench = world.bench();
    let (buy, sell) = (approved("O1", Side::Buy, "10"), approved("O2", Side::Sell, "10"));
    for (v, notional) in [(&buy, "100"), (&sell, "150")] {
        allocations(&mut bench, v);
        bench.record(ORDERS, &filled(v, notional));
    }
    let rows = allocations(&mut bench, &approved("O3", Side::Buy, "1"));
    assert_eq!(rows[0].shares[0].risk_budget_remaining, Some(num("100")));
}

#[test]
fn open_orders_and_fills_use_margin_until_the_next_version_of_the_record() {
    let mut world = World::of(1);
    world.accounts[0].available_margin = Some(num("2100"));
    let mut bench = world.bench();
    let first = approved("O1", Side::Buy, "100");
    assert_eq!(got(&allocations(&mut bench, &first)), shares(&[("A1", "100")]));
    let second = approved("O2", Side::Buy, "200");
    let rows = allocations(&mut bench, &second);
    assert_eq!(got(&rows), shares(&[("A1", "110")]));
    assert_eq!(rows[0].unallocated_code.as_deref(), Some(Unallocated::InsufficientMargin.as_str()));
    assert_eq!(rows[0].shares[0].adjustments, ["MARGIN_CAP:200 to 110"]);
    bench.record(ORDERS, &filled(&first, "1000"));
    let none = allocations(&mut bench, &approved("O3", Side::Buy, "1"));
    assert_eq!(
        (none[0].kind, none[0].unallocated_code.as_deref()),
        (AllocationKind::None, Some("NO_ELIGIBLE_ACCOUNT"))
    );
    world.accounts[0].version = 2;
    world.load(&mut bench);
    // The new record knows the fill, but not what O2 still holds.
    assert_eq!(got(&allocations(&mut bench, &approved("O4", Side::Buy, "200"))), shares(&[("A1", "100")]));
}

#[test]
fn losses_of_fills_use_up_the_risk_budget_and_deepen_the_drawdown() {
    let mut world = World::of(1);
    let record = &mut world.accounts[0];
    (record.risk_budget_remaining, record.daily_drawdown, record.equity) =
        (Some(num("100")), Some(num("0.03")), Some(num("5000")));
    let mut bench = world.bench();
    let (buy, sell) = (approved("O1", Side::Buy, "10"), approved("O2", Side::Sell, "10"));
    allocations(&mut bench, &buy);
    bench.record(ORDERS, &filled(&buy, "100"));
    allocations(&mut bench, &sell);
    bench.record(ORDERS, &filled(&sell, "40"));
    let rows = allocations(&mut bench, &approved("O3", Side::Buy, "1"));
    let share = &rows[0].shares[0];
    assert_eq!((share.risk_budget_remaining, share.daily_drawdown), (Some(num("40")), Some(num("0.042"))));
    assert_eq!(share.exclusion_code.as_deref(), Some("DRAWDOWN_ABOVE_LIMIT"));
}

#[test]
fn a_kill_of_the_order_allocates_nothing_and_one_of_an_account_leaves_it_out() {
    for (scope, id) in [
        (ControlScope::Firm, "*"),
        (ControlScope::Portfolio, "P1"),
        (ControlScope::Strategy, "S1"),
        (ControlScope::Trader, "T1"),
        (ControlScope::Instrument, "X"),
    ] {
        let mut world = World::of(2);
        world.kill(scope, id);
        let rows = allocations(&mut world.bench(), &approved("O1", Side::Buy, "10"));
        assert_eq!(
            (rows.len(), rows[0].kind, rows[0].account_id.clone()),
            (1, AllocationKind::None, None),
            "{scope:?}"
        );
        assert_eq!((rows[0].unallocated_qty, rows[0].unallocated_code.as_deref()), (num("10"), Some("KILLED")));
    }
    let mut world = World::of(2);
    world.kill(ControlScope::Account, "A1");
    let rows = allocations(&mut world.bench(), &approved("O1", Side::Buy, "10"));
    assert_eq!((got(&rows), rows[0].shares[0].exclusion_code.as_deref()), (shares(&[("A2", "10")]), Some("KILLED")));
}

#[test]
fn an_account_that_pauses_takes_nothing_until_it_resumes() {
    let mut world = World::of(2).holding(&["9", "9"]);
    world.pause(ControlScope::Account, "A1");
    let mut bench = world.bench();
    for (n, side) in [Side::Buy, Side::Sell].into_iter().enumerate() {
        let rows = allocations(&mut bench, &approved(&format!("O{n}"), side, "5"));
        assert_eq!((got(&rows), rows[0].shares[0].exclusion_code.as_deref()), (shares(&[("A2", "5")]), Some("PAUSED")));
    }
    world.stopped.clear();
    world.load(&mut bench);
    assert_eq!(got(&allocations(&mut bench, &approved("O9", Side::Buy, "4"))), shares(&[("A1", "2"), ("A2", "2")]));
    world.pause(ControlScope::Portfolio, "P1");
    let rows = allocations(&mut world.bench(), &approved("O1", Side::Buy, "10"));
    assert_eq!((rows[0].kind, rows[0].unallocated_code.as_deref()), (AllocationKind::None, Some("PAUSED")));
}

#[test]
fn the_margin_of_an_account_in_another_currency_is_converted() {
    let mut world = World::of(1);
    world.accounts[0].currency = "EUR".into();
    world.accounts[0].available_margin = Some(num("1000"));
    let v = approved("O1", Side::Buy, "200");
    let none = allocations(&mut world.bench(), &v);
    assert_eq!(none[0].shares[0].exclusion_code.as_deref(), Some("NO_FX_RATE"));
    world.rate("EURUSD", "1.25", 60_000_000);
    assert_eq!(got(&allocations(&mut world.bench(), &v)), shares(&[("A1", "125")]));
    world.rates.clear();
    world.rate("EURUSD", "1.25", 60_000_001);
    assert_eq!(allocations(&mut world.bench(), &v)[0].kind, AllocationKind::None);
}

#[test]
fn the_least_notional_of_the_instrument_is_a_minimum_too() {
    let mut world = World::of(3);
    world.instruments[0].min_notional = num("35");
    let rows = allocations(&mut world.bench(), &approved("O1", Side::Buy, "9"));
    assert_eq!(got(&rows), shares(&[("A1", "5"), ("A2", "4")]));
    assert_eq!(rows[0].shares[2].exclusion_code.as_deref(), Some("BELOW_MINIMUM"));
}

#[test]
fn a_cancel_before_the_approval_is_remembered_until_the_end() {
    let mut bench = World::of(1).bench();
    let v = approved("O1", Side::Buy, "10");
    bench.record(ORDERS, &event(&v, OrderEventType::CancelRequested, ParentStatus::CancelPending, "0", "0"));
    assert_eq!(allocations(&mut bench, &v).len(), 1, "the schedule answers the cancel");
    assert!(bench.state::<AllocationOrder>("open")["P1/O1"].is_stopped);
    let gone = approved("O2", Side::Buy, "10");
    bench.record(ORDERS, &event(&gone, OrderEventType::CancelRequested, ParentStatus::CancelPending, "0", "0"));
    bench.record(ORDERS, &event(&gone, OrderEventType::Cancelled, ParentStatus::Cancelled, "0", "0"));
    assert_eq!(bench.state::<AllocationOrder>("open").len(), 1);
}

#[test]
fn ended_orders_are_forgotten_after_the_time_for_amendments() {
    let mut bench = World::of(1).bench();
    let v = approved("O1", Side::Buy, "10");
    allocations(&mut bench, &v);
    bench.record(ORDERS, &filled(&v, "100"));
    bench.timer_to(at(NOON + 59 * 3_600_000_000)).restart();
    assert_eq!(bench.state::<AllocationOrder>("closed").len(), 1);
    bench.timer_to(at(NOON + 60 * 3_600_000_000));
    assert_eq!(bench.state::<AllocationOrder>("closed").len(), 0);
}

type Setup = fn(&mut World) -> ValidatedOrder;

/// A world in which the first account is left out for each code.
const EXCLUSIONS: &[(Exclusion, Setup)] = &[
    (Exclusion::AccountInactive, |w| on(w, Side::Buy, |a| a.is_active = false)),
    (Exclusion::Killed, |w| {
        w.kill(ControlScope::Account, "A1");
        approved("O1", Side::Buy, "10")
    }),
    (Exclusion::Paused, |w| {
        w.pause(ControlScope::Account, "A1");
        approved("O1", Side::Buy, "10")
    }),
    (Exclusion::MarginBelowMinimum, |w| on(w, Side::Buy, |a| a.available_margin = Some(num("999")))),
    (Exclusion::RiskBudgetExhausted, |w| on(w, Side::Buy, |a| a.risk_budget_remaining = Some(num("0")))),
    (Exclusion::DrawdownAboveLimit, |w| on(w, Side::Buy, |a| a.daily_drawdown = Some(num("0.041")))),
    (Exclusion::TooManyPositions, |w| on(w, Side::Buy, |a| a.open_positions = Some(3))),
    (Exclusion::NothingAvailable, |w| on(w, Side::Sell, |_| ())),
    (Exclusion::LongPosition, |w| {
        on(w, Side::SellShort, |a| {
            a.positions.insert("X".into(), num("1"));
        })
    }),
    (Exclusion::NoBasis, |w| {
        w.config.policy.rule = Rule::Ratio;
        approved("O1", Side::Buy, "10")
    }),
    (Exclusion::NoFxRate, |w| {
        on(w, Side::Buy, |a| (a.currency, a.available_margin) = ("EUR".into(), Some(num("5000"))))
    }),
    (Exclusion::BelowMinimum, |w| {
        w.config.policy.rule = Rule::Ratio;
        w.instruments[0].min_quantity = num("3");
        w.accounts[1].allocation_ratio = Some(num("9"));
        on(w, Side::Buy, |a| a.allocation_ratio = Some(num("1")))
    }),
];

fn on(world: &mut World, side: Side, change: fn(&mut Account)) -> ValidatedOrder {
    change(&mut world.accounts[0]);
    approved("O1", side, "10")
}

#[test]
fn every_exclusion_is_reached_by_an_order() {
    let mut reached = BTreeSet::new();
    for (code, setup) in EXCLUSIONS {
        let mut world = World::of(2);
        let v = setup(&mut world);
        let rows = allocations(&mut world.bench(), &v);
        assert_eq!(rows[0].shares[0].exclusion_code.as_deref(), Some(code.as_str()));
        assert!(rows[0].shares[0].quantity.is_zero() && rows.iter().all(|row| row.account_id.as_deref() != Some("A1")));
        reached.insert(code.as_str());
    }
    // These need an account order that failed: the tests of the fallback.
    reached.extend([Exclusion::AlreadyUsed.as_str(), Exclusion::NotChosen.as_str()]);
    assert_eq!(reached, Exclusion::SYMBOLS.iter().copied().collect());
}

#[test]
fn every_code_of_the_unallocated_is_reached_by_an_order() {
    let mut reached = BTreeSet::new();
    let mut see = |bench: &mut StageBench, v: &ValidatedOrder| {
        let rows = allocations(bench, v);
        reached.insert(rows[0].unallocated_code.clone().unwrap());
    };
    let buy = approved("O1", Side::Buy, "10");
    see(StageBench::new(AccountAllocator::new(Config::default()).unwrap()).at(at(NOON)), &buy);
    see(&mut World::of(0).bench(), &buy);
    let mut killed = World::of(1);
    killed.kill(ControlScope::Firm, "*");
    see(&mut killed.bench(), &buy);
    let mut paused = World::of(1);
    paused.pause(ControlScope::Firm, "*");
    see(&mut paused.bench(), &buy);
    see(&mut World::of(2).bench(), &approved("O1", Side::Sell, "10"));
    see(&mut World::of(2).holding(&["1", "2"]).bench(), &approved("O1", Side::Sell, "10"));
    let mut poor = World::of(1);
    poor.accounts[0].available_margin = Some(num("1000"));
    see(&mut poor.bench(), &approved("O1", Side::Buy, "101"));
    let mut least = World::of(2).holding(&["2", "2"]);
    least.instruments[0].min_quantity = num("3");
    see(&mut least.bench(), &approved("O1", Side::Sell, "4"));
    // In the tests of correlation and fallback.
    reached.extend([Unallocated::Correlated, Unallocated::FallbackReduced].map(|code| code.as_str().to_owned()));
    assert_eq!(reached, Unallocated::SYMBOLS.iter().map(|code| (*code).to_owned()).collect());
}

#[test]
fn a_lot_of_zero_among_several_accounts_is_a_dead_letter() {
    let mut bench = World::of(2).bench();
    let mut v = approved("O1", Side::Buy, "10");
    v.terms.lot_size = Quantity::ZERO;
    bench.record(VALIDATED, &v);
    assert_eq!(bench.take_dead_letters()[0].reason_code, "NUMBER");
    assert_eq!(bench.take::<AccountAllocation>(), []);
}
