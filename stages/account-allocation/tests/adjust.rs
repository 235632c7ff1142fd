//! Correlation and variance on the bench.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{NOON, ORDERS, World, allocations, approved, at, event, got, num, shares};
use fillstream_account_allocation::config::{CorrelationAction, Rule};
use fillstream_account_allocation::reason::{Adjustment, Unallocated};
use fillstream_domain::{Money, Quantity, Side, Urgency};
use fillstream_schemas::execution::{AccountAllocation, OrderEventType, ParentStatus, ValidatedOrder};
use fillstream_schemas::state::AllocationReturns;
use fillstream_testkit::StageBench;

const MINUTE: i64 = 60_000_000;

/// Three accounts, of which A1 and A2 move together and A3 against them, after so many minutes.
fn moved(world: &mut World, minutes: i64) -> StageBench {
    let mut bench = world.bench();
    let other = approved("other", Side::Buy, "1");
    for minute in 0..=minutes {
        let swing = if minute % 2 == 0 { 0 } else { 100 };
        for (account, equity) in world.accounts.iter_mut().zip([10_000 + swing, 20_000 + 2 * swing, 10_000 - swing]) {
            account.equity = Some(Money::from_int(equity).unwrap());
            account.version += 1;
        }
        world.load(&mut bench);
        let mut tick = event(&other, OrderEventType::Routed, ParentStatus::Working, "0", "0");
        tick.event_id = format!("tick {minute}");
        bench.at(at(NOON + minute * MINUTE)).record(ORDERS, &tick);
    }
    bench
}

fn share<'a>(rows: &'a [AccountAllocation], id: &str) -> &'a fillstream_schemas::execution::AllocationShare {
    rows[0].shares.iter().find(|share| share.account_id == id).unwrap()
}

#[test]
fn rule_28_the_later_of_two_accounts_that_go_together_starts_later() {
    let mut world = World::of(3);
    let mut bench = moved(&mut world, 30);
    assert_eq!(bench.restart().state::<AllocationReturns>("returns")["P1"].pairs.len(), 3);
    let now = NOON + 30 * MINUTE;
    let rows = allocations(&mut bench, &approved("O1", Side::Buy, "90"));
    assert_eq!(got(&rows), shares(&[("A1", "30"), ("A2", "30"), ("A3", "30")]));
    let due: Vec<i64> = rows.iter().map(|row| row.due_at.micros() - now).collect();
    assert_eq!(due, [0, 15_000_000, 0]);
    assert_eq!(share(&rows, "A2").adjustments, ["CORRELATION_DELAY:15000 ms, correlation with A1: 1 above 0.7"]);
    assert!(rows[0].rationale.contains("A2 adjusted: CORRELATION_DELAY"), "{}", rows[0].rationale);
    assert!(allocations(&mut bench, &approved("O2", Side::Sell, "9")).iter().all(|row| row.due_at == at(now)));
}

#[test]
fn rule_28_later_is_by_priority_and_a_second_one_waits_twice_as_long() {
    let mut world = World::of(3);
    world.config.policy.correlation.threshold = num("-1");
    world.config.policy.correlation.delay_ms = 1_000;
    (world.accounts[2].priority, world.accounts[1].priority) = (Some(1), Some(2));
    // -1 is not above -1: A3 goes against both others.
    let mut bench = moved(&mut world, 30);
    let rows = allocations(&mut bench, &approved("O1", Side::Buy, "90"));
    assert_eq!(["A1", "A2", "A3"].map(|id| share(&rows, id).delay_us), [1_000_000, 0, 0]);
    world.config.policy.correlation.threshold = num("0.7");
    world.config.policy.correlation.min_samples = 99;
    let mut world = World { accounts: world.accounts.clone(), ..world }.holding(&["1", "1", "1"]);
    let mut bench = moved(&mut world, 1);
    let mut v = approved("O1", Side::Buy, "90");
    let rows = allocations(&mut bench, &v);
    assert_eq!(["A1", "A2", "A3"].map(|id| share(&rows, id).delay_us), [2_000_000, 1_000_000, 0]);
    (v.order_id, v.event_id, v.terms.horizon_us) = ("O2".into(), "O2".into(), 15_000_000);
    let rows = allocations(&mut bench, &v);
    assert_eq!(share(&rows, "A1").delay_us, 1_500_000, "a tenth of the horizon");
}

#[test]
fn rule_28_a_reduced_share_goes_to_others_or_to_nobody() {
    let mut world = World::of(3);
    world.config.policy.correlation.action = CorrelationAction::Reduce;
    let mut bench = moved(&mut world, 30);
    let rows = allocations(&mut bench, &approved("O1", Side::Buy, "90"));
    assert_eq!(got(&rows), shares(&[("A1", "38"), ("A2", "15"), ("A3", "37")]));
    assert_eq!(share(&rows, "A2").adjustments, ["CORRELATION_REDUCED:30 to 15, correlation with A1: 1 above 0.7"]);
    assert_eq!(share(&rows, "A1").adjustments, ["REDISTRIBUTED:30 to 38"]);
    let mut world = World::of(2);
    world.config.policy.correlation.action = CorrelationAction::Reduce;
    world.accounts[0].available_margin = Some(num("1000"));
    let rows = allocations(&mut moved(&mut world, 30), &approved("O1", Side::Buy, "200"));
    assert_eq!(got(&rows), shares(&[("A1", "100"), ("A2", "50")]));
    assert_eq!(
        (rows[0].unallocated_qty, rows[0].unallocated_code.as_deref()),
        (num("50"), Some(Unallocated::Correlated.as_str()))
    );
}

#[test]
fn rule_28_unknown_is_above_the_threshold_if_they_share_half_their_positions() {
    let rows_with = |held: &[&str], equity: bool| {
        let mut world = World::of(2).holding(held);
        world.accounts[0].positions.insert("Y".into(), num("5"));
        world.accounts[1].positions.insert("Z".into(), num("5"));
        let mut bench = if equity { moved(&mut world, 29) } else { world.bench() };
        allocations(&mut bench, &approved("O1", Side::Buy, "90"))
    };
    let rows = rows_with(&["1", "2"], true);
    let text = "CORRELATION_DELAY:15000 ms, correlation with A1: unknown, 1 of 2 positions shared";
    assert_eq!(share(&rows, "A2").adjustments, [text]);
    assert!(share(&rows_with(&["1", "-2"], true), "A2").adjustments.is_empty(), "another direction");
    assert!(share(&rows_with(&["1"], true), "A2").adjustments.is_empty(), "nothing in common");
    assert!(share(&rows_with(&["1", "2"], false), "A2").adjustments.is_empty(), "they do not tell their equity");
}

#[test]
fn rule_28_no_action_where_the_policy_wants_none() {
    let mut world = World::of(3);
    world.config.policy.correlation.action = CorrelationAction::None;
    let rows = allocations(&mut moved(&mut world, 30), &approved("O1", Side::Buy, "90"));
    assert!(rows[0].shares.iter().all(|share| share.delay_us == 0 && share.adjustments.is_empty()));
}

/// So many accounts of one owner, all of which opted in.
fn owned(n: usize) -> World {
    let mut world = World::of(n);
    for account in &mut world.accounts {
        (account.beneficial_owner, account.variance_opt_in) = (Some("owner".into()), true);
    }
    world
}

fn calm(order: &str, quantity: &str) -> ValidatedOrder {
    let mut v = approved(order, Side::Buy, quantity);
    v.terms.urgency = Urgency::Normal;
    v
}

#[test]
fn rule_29_start_and_size_vary_with_the_sum_kept_and_the_seed_logged() {
    let mut starts = BTreeSet::new();
    for n in 0..20 {
        let v = calm(&format!("O{n}"), "400");
        let rows = allocations(&mut owned(4).bench(), &v);
        assert_eq!(rows, allocations(&mut owned(4).bench(), &v), "the order decides it");
        assert_eq!(Quantity::sum(rows.iter().map(|row| row.quantity)).unwrap(), num("400"));
        let delays: BTreeSet<i64> = rows[0].shares.iter().map(|share| share.delay_us).collect();
        assert_eq!(delays.len(), 4, "each starts at its own time");
        assert!(delays.iter().all(|delay| (1_000_000..=30_000_000).contains(delay)));
        for share in &rows[0].shares {
            let off = share.quantity.unscaled().abs_diff(share.rule_qty.unscaled());
            assert!((400_000_001..=1_500_000_000).contains(&off), "4.00000001 to 15 of 100: {off}");
            let [time, size] = share.adjustments.as_slice() else { panic!("{:?}", share.adjustments) };
            assert!(time.starts_with("TIME_VARIANCE:") && time.ends_with(&format!("seed O{n}/{}", share.account_id)));
            assert!(size.starts_with("SIZE_VARIANCE:") && size.contains(&format!("seed O{n}/")));
        }
        for row in &rows {
            let delay =
                rows[0].shares.iter().find(|s| Some(&s.account_id) == row.account_id.as_ref()).unwrap().delay_us;
            assert_eq!(row.due_at, at(NOON + delay));
        }
        starts.extend(delays);
    }
    assert!(starts.len() > 70, "orders differ");
}

#[test]
fn rule_29_who_does_not_vary() {
    let still = |world: &World, v: &ValidatedOrder| {
        let rows = allocations(&mut world.bench(), v);
        rows[0].shares.iter().all(|share| share.delay_us == 0 && share.adjustments.is_empty())
    };
    let v = calm("O1", "400");
    assert!(!still(&owned(4), &v));
    for urgency in [Urgency::High, Urgency::Urgent] {
        let mut urgent = v.clone();
        urgent.terms.urgency = urgency;
        assert!(still(&owned(4), &urgent));
    }
    let held = owned(4).holding(&["100"; 4]);
    assert!(still(&held, &ValidatedOrder { side: Side::Sell, ..v.clone() }), "it reduces");
    assert!(still(&owned(1), &v), "one account");
    let mut one = owned(4);
    one.accounts.iter_mut().skip(1).for_each(|account| account.variance_opt_in = false);
    assert!(still(&one, &v), "one opted in");
    let mut strangers = owned(4);
    for (n, account) in strangers.accounts.iter_mut().enumerate() {
        account.beneficial_owner = Some(format!("owner {n}"));
    }
    assert!(still(&strangers, &v), "of different owners");
    strangers.accounts.iter_mut().for_each(|account| account.beneficial_owner = None);
    assert!(still(&strangers, &v), "of unknown owners");
}

#[test]
fn rule_29_a_short_horizon_has_no_time_to_vary_and_minimum_and_caps_hold() {
    let mut v = calm("O1", "400");
    v.terms.horizon_us = 9_999_000;
    let rows = allocations(&mut owned(4).bench(), &v);
    assert!(rows[0].shares.iter().all(|share| share.delay_us == 0 && share.adjustments.len() == 1));
    let mut least = owned(4);
    least.instruments[0].min_quantity = num("100");
    let rows = allocations(&mut least.bench(), &v);
    assert!(rows.iter().all(|row| row.quantity == num("100")));
    let mut capped = owned(2);
    for account in &mut capped.accounts {
        account.available_margin = Some(num("2000"));
    }
    let rows = allocations(&mut capped.bench(), &v);
    assert_eq!(got(&rows), shares(&[("A1", "200"), ("A2", "200")]));
}

#[test]
fn every_adjustment_is_reached() {
    let mut seen = BTreeSet::new();
    let mut see = |rows: &[AccountAllocation]| {
        let codes = rows[0].shares.iter().flat_map(|share| &share.adjustments);
        seen.extend(codes.map(|text| text.split(':').next().unwrap().to_owned()));
    };
    see(&allocations(&mut World::of(2).holding(&["1", "2"]).bench(), &approved("O1", Side::Sell, "10")));
    let mut poor = World::of(2);
    poor.config.policy.rule = Rule::Equal;
    poor.accounts[0].available_margin = Some(num("1000"));
    see(&allocations(&mut poor.bench(), &approved("O1", Side::Buy, "400")));
    see(&allocations(&mut moved(&mut World::of(3), 30), &approved("O1", Side::Buy, "90")));
    let mut reduce = World::of(3);
    reduce.config.policy.correlation.action = CorrelationAction::Reduce;
    see(&allocations(&mut moved(&mut reduce, 30), &approved("O1", Side::Buy, "90")));
    see(&allocations(&mut owned(4).bench(), &calm("O1", "400")));
    assert_eq!(seen, Adjustment::SYMBOLS.iter().map(|code| (*code).to_owned()).collect());
}
