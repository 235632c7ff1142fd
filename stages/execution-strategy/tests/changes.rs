//! What changes an order while it runs: suspend, resume, replace, guard rails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Desk, ORDERS, allocated, at, instrument, px, qty, with_limit, with_terms};
use fillstream_domain::{Algorithm, AssetClass, Quantity, TimeInForce, Urgency};
use fillstream_execution_strategy::Config;
use fillstream_schemas::execution::{
    AccountAllocation, ExecutionStrategySelected, OrderEvent, OrderEventType, OrderTerms, RoutingPlan, Slice,
    StrategyChangeKind,
};

fn told(desk: &mut Desk) -> Vec<(i32, StrategyChangeKind, String, String, String)> {
    desk.bench
        .take::<ExecutionStrategySelected>()
        .into_iter()
        .map(|e| {
            let c = e.change.unwrap();
            (e.revision, c.kind, c.from, c.to, c.code)
        })
        .collect()
}

fn say(desk: &mut Desk, event_type: OrderEventType) {
    let event = OrderEvent { reason_text: Some("by ada".into()), ..desk.event(event_type, None) };
    desk.bench.record(ORDERS, &event);
}

fn replace(desk: &mut Desk, quantity: i64, change: impl FnOnce(&mut OrderTerms)) {
    let mut terms = desk.order().terms;
    change(&mut terms);
    let event = OrderEvent {
        revision: desk.order().terms_revision + 7,
        ord_qty: qty(quantity),
        new_ord_qty: Some(qty(quantity)),
        terms: Some(terms),
        ..desk.event(OrderEventType::Replaced, None)
    };
    desk.bench.record(ORDERS, &event);
}

#[test]
fn a_suspended_order_keeps_its_state_and_releases_nothing_until_it_is_resumed() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 1_000, 200));
    let first = desk.slice();
    desk.routed(&first, 100).to(10);
    say(&mut desk, OrderEventType::Suspended);
    let paused = ("RUNNING".to_owned(), "PAUSED".to_owned(), "SUSPENDED".to_owned());
    assert_eq!(told(&mut desk), [(2, StrategyChangeKind::Paused, paused.0, paused.1, paused.2)]);
    // What its children fill meanwhile counts.
    desk.fill(1, 100, 0).quote("100", "100.02").to(101).nothing();
    assert!(desk.bench.timers().is_empty());
    desk.bench.restart();
    desk.quote("100", "100.02");
    say(&mut desk, OrderEventType::Resumed);
    assert_eq!(told(&mut desk)[0].1, StrategyChangeKind::Resumed);
    // Trading rule 32: not a burst of five.
    let slice = desk.slice();
    assert_eq!((slice.quantity, slice.due_at), (qty(200), at(100)));
    // Again, it changes nothing.
    say(&mut desk, OrderEventType::Resumed);
    desk.nothing();
}

#[test]
fn an_order_over_several_sessions_goes_on_in_trading_time() {
    let mut desk = Desk::new();
    desk.begin(&with_terms(allocated(Algorithm::Twap, 100, 60), |t| t.time_in_force = TimeInForce::Gtc));
    let first = desk.slice();
    desk.done(&first).to(10);
    say(&mut desk, OrderEventType::Suspended);
    told(&mut desk);
    desk.to(1_010).quote("100", "100.02");
    say(&mut desk, OrderEventType::Resumed);
    told(&mut desk);
    desk.nothing().to(1_019).nothing().to(1_020);
    assert_eq!(desk.slice().quantity, qty(33));
    assert_eq!(desk.order().ends_at, at(1_060));
}

#[test]
fn replaced_terms_make_the_schedule_anew_for_what_is_left() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let first = desk.slice();
    desk.done(&first).to(10);
    replace(&mut desk, 400, |t| t.horizon_us = 73_000_000);
    let slice = desk.slice();
    // 300 are left: three slots of 100, from now on.
    assert_eq!((slice.quantity, slice.due_at, slice.terms_revision), (qty(100), at(10), 7));
    let changes = told(&mut desk);
    assert_eq!((changes.len(), changes[0].0, changes[0].1), (1, 2, StrategyChangeKind::Replaced));
    assert_eq!(changes[0].2, "quantity 300, limit NONE, horizon 60 s");
    desk.done(&slice).quote("100", "100.02").to(30).nothing().to(31);
    let second = desk.slice();
    desk.done(&second).to(52);
    let third = desk.slice();
    assert_eq!((second.quantity, third.quantity), (qty(100), qty(100)));
    desk.done(&third).to(200).nothing();
}

#[test]
fn a_replace_down_to_what_children_hold_releases_nothing() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let first = desk.slice();
    desk.routed(&first, 100).to(10);
    replace(&mut desk, 100, |_| {});
    told(&mut desk);
    desk.nothing();
    // The rest that its child leaves is still the order's.
    desk.fill(1, 60, 0).quote("100", "100.02").to(59);
    let rest: Vec<Slice> = desk.bench.take();
    assert_eq!(Quantity::sum(rest.iter().map(|s| s.quantity)).unwrap(), qty(40));
}

#[test]
fn the_algorithm_urgency_and_participation_change_in_flight_each_with_its_event() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 1_000, 200));
    let first = desk.slice();
    desk.done(&first).to(10);
    replace(&mut desk, 1_000, |t| {
        t.algorithm = Algorithm::ImplementationShortfall;
        t.urgency = Urgency::High;
        t.max_participation_rate = Some("0.5".parse().unwrap());
    });
    let changes = told(&mut desk);
    let kinds: Vec<_> = changes.iter().map(|c| (c.0, c.1, c.2.as_str(), c.3.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (2, StrategyChangeKind::Algorithm, "TWAP", "IMPLEMENTATION_SHORTFALL"),
            (3, StrategyChangeKind::Urgency, "LOW", "HIGH"),
            (4, StrategyChangeKind::Participation, "NONE", "0.5"),
        ]
    );
    let slice = desk.slice();
    assert_eq!(slice.algorithm, Algorithm::ImplementationShortfall);
    let order = desk.order();
    assert_eq!((order.slots, order.targets.len(), order.ends_at), (9, 9, at(200)));
}

#[test]
fn what_rests_at_the_former_terms_is_cancelled() {
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::Limit, 100, 600), "99.5"));
    let first = desk.slice();
    desk.routed(&first, 100).to(10);
    replace(&mut desk, 100, |t| t.limit_price = Some(px("99.8")));
    told(&mut desk);
    let cancel = desk.slice();
    assert_eq!(
        (cancel.quantity, cancel.is_last, cancel.cancel_cl_ord_ids.clone()),
        (Quantity::ZERO, false, vec!["c1".to_owned()])
    );
    desk.routed(&cancel, 0).fill(1, 30, 0);
    let second = desk.slice();
    assert_eq!((second.quantity, second.limit_price), (qty(70), Some(px("99.8"))));
    // A resting order becomes one that takes.
    desk.routed(&second, 70);
    replace(&mut desk, 100, |t| t.algorithm = Algorithm::Market);
    let cancel = desk.slice();
    assert_eq!(cancel.cancel_cl_ord_ids, ["c3"]);
    desk.routed(&cancel, 0).fill(3, 0, 0);
    let last = desk.slice();
    assert_eq!((last.quantity, last.time_in_force, last.algorithm), (qty(70), TimeInForce::Ioc, Algorithm::Market));
}

/// A slice that was under way while the terms were replaced: child risk refuses its children, or they are cancelled.
#[test]
fn what_was_under_way_by_former_terms_is_released_again_by_those_in_force() {
    let mut desk = Desk::new();
    desk.begin(&with_limit(allocated(Algorithm::Limit, 100, 600), "99.5"));
    let first = desk.slice();
    replace(&mut desk, 100, |t| t.limit_price = Some(px("99.8")));
    told(&mut desk);
    desk.nothing().routed(&first, 100);
    let cancel = desk.slice();
    assert_eq!((cancel.cancel_cl_ord_ids.as_slice(), cancel.terms_revision), (&["c1".to_owned()][..], 7));
    desk.routed(&cancel, 0).fill(1, 0, 0);
    let again = desk.slice();
    assert_eq!((again.quantity, again.limit_price, again.terms_revision), (qty(100), Some(px("99.8")), 7));
    // One that takes is gone by itself, and the rest of it belongs to the new schedule.
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Market, 100, 600));
    let first = desk.slice();
    replace(&mut desk, 100, |t| t.limit_price = Some(px("101")));
    told(&mut desk);
    desk.routed(&first, 100).nothing().fill(1, 0, 0);
    let again = desk.slice();
    assert_eq!((again.quantity, again.limit_price, again.terms_revision), (qty(100), Some(px("101")), 7));
}

/// A last slice of former terms that found no venue does not end the schedule of those in force.
#[test]
fn the_end_of_a_former_schedule_is_not_that_of_the_new_one() {
    let mut desk = guarded(|c| c.max_completions = 0);
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    for second in [20, 40] {
        let slice = desk.slice();
        desk.done(&slice).to(second);
    }
    let last = desk.slice();
    assert!(last.is_last);
    desk.quote("100", "100.02").to(41);
    replace(&mut desk, 300, |t| t.horizon_us = 101_000_000);
    told(&mut desk);
    desk.nothing().routed(&last, 0).nothing().to(61);
    let again = desk.slice();
    assert_eq!((again.quantity, again.is_last, again.terms_revision), (qty(66), false, 7));
}

#[test]
fn a_replace_of_a_suspended_order_waits_for_its_resume() {
    let mut desk = Desk::new();
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let first = desk.slice();
    desk.done(&first).to(10);
    say(&mut desk, OrderEventType::Suspended);
    replace(&mut desk, 200, |_| {});
    told(&mut desk);
    desk.nothing();
    say(&mut desk, OrderEventType::Resumed);
    // 100 are left over 50 s.
    assert_eq!((desk.slice().quantity, told(&mut desk).len()), (qty(50), 1));
}

fn guarded(change: impl FnOnce(&mut Config)) -> Desk {
    let mut config = Config::default();
    change(&mut config);
    Desk::with(config, Some(instrument(AssetClass::Equity)))
}

/// Trading rule 32: slippage stop.
#[test]
fn rule_32_fills_that_became_too_dear_stop_the_schedule() {
    let mut desk = guarded(|c| c.guards.low.max_slippage_bps = Some("20".parse().unwrap()));
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let first = desk.slice();
    desk.routed(&first, 100);
    // 100.01 at arrival; 100.22 is 21 bps more.
    let mut dear = OrderEvent { cum_qty: qty(100), ..desk.event(OrderEventType::ChildUpdated, Some((1, 0))) };
    dear.account.as_mut().unwrap().avg_px = Some("100.22".parse().unwrap());
    desk.bench.record(ORDERS, &dear);
    desk.to(20);
    assert_eq!(
        told(&mut desk),
        [(2, StrategyChangeKind::Stopped, "RUNNING".into(), "STOPPED".into(), "SLIPPAGE".into())]
    );
    let end = desk.slice();
    assert_eq!((end.quantity, end.is_last), (Quantity::ZERO, true));
    desk.to(100).nothing();
}

/// Each account is held against what its own fills cost, whatever the order as a whole has paid.
#[test]
fn rule_32_the_slippage_stop_is_that_of_the_account_which_has_paid() {
    let mut desk = guarded(|c| c.guards.low.max_slippage_bps = Some("20".parse().unwrap()));
    let share = |account: &str| AccountAllocation {
        event_id: account.into(),
        account_id: Some(account.into()),
        parent_qty: qty(600),
        account_no: if account == "A1" { 1 } else { 2 },
        account_count: 2,
        ..allocated(Algorithm::Twap, 300, 60)
    };
    desk.begin(&share("A1"));
    desk.begin(&share("A2"));
    let slices: Vec<Slice> = desk.bench.take();
    assert_eq!(slices.len(), 2);
    // A1 has paid 100.03, A2 100.37: together 100.2, which is within 20 bps of 100.01.
    for (account, paid, all, cum) in [("A1", "100.03", "100.03", 100), ("A2", "100.37", "100.2", 200)] {
        let mut event = desk.event(OrderEventType::ChildUpdated, None);
        (event.cum_qty, event.avg_px) = (qty(cum), Some(all.parse().unwrap()));
        let figures = event.account.as_mut().unwrap();
        figures.account_id = account.into();
        (figures.cum_qty, figures.avg_px) = (qty(100), Some(paid.parse().unwrap()));
        desk.bench.record(common::PLANS, &RoutingPlan { account_id: account.into(), ..common::plan(&slices[0], 0) });
        desk.bench.record(ORDERS, &event);
    }
    desk.to(20);
    let told: Vec<ExecutionStrategySelected> = desk.bench.take();
    let stopped: Vec<_> = told.iter().map(|e| (e.account_id.as_deref(), e.change.as_ref().unwrap().kind)).collect();
    assert_eq!(stopped, [(Some("A2"), StrategyChangeKind::Stopped)]);
    let slices: Vec<Slice> = desk.bench.take();
    let released: Vec<_> = slices.iter().map(|s| (s.account_id.as_str(), s.quantity, s.is_last)).collect();
    assert_eq!(released, [("A1", qty(100), false), ("A2", Quantity::ZERO, true)]);
}

/// Trading rule 32: own-impact stop.
#[test]
fn rule_32_a_book_that_the_order_has_moved_is_waited_for() {
    let mut desk = guarded(|c| c.guards.low.max_own_impact_bps = Some("5".parse().unwrap()));
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let first = desk.slice();
    desk.done(&first).to(19).quote("100.1", "100.12").to(20);
    assert_eq!(told(&mut desk)[0].4, "OWN_IMPACT");
    desk.to(24).nothing().quote("100.02", "100.04").to(25);
    let resumed = told(&mut desk);
    assert_eq!((resumed[0].1, resumed[0].4.as_str()), (StrategyChangeKind::Resumed, "PASSED"));
    assert_eq!(desk.slice().quantity, qty(100));
}

/// Trading rule 32: the price at which everything is taken.
#[test]
fn rule_32_a_price_that_is_good_enough_takes_everything() {
    let mut desk = guarded(|c| c.guards.low.would_bps = Some("10".parse().unwrap()));
    let selected = desk.begin(&allocated(Algorithm::Twap, 300, 60));
    // 100.01 less 10 bps, up to the tick of a buyer's better price.
    assert_eq!(selected.risk_controls.unwrap().would_price, Some(px("99.9")));
    let first = desk.slice();
    desk.done(&first).to(19).sized_quote(("99.87", "99.89"), Some(150)).to(20);
    let bargain = desk.slice();
    assert_eq!((bargain.quantity, bargain.limit_price), (qty(150), Some(px("99.9"))));
    assert_eq!(bargain.reason.as_deref(), Some("WOULD_PRICE"));
}

/// Trading rule 32: least and largest share of the volume.
#[test]
fn rule_32_participation_rails() {
    let mut desk = guarded(|c| c.guards.low.max_participation = Some("0.1".parse().unwrap()));
    desk.begin(&allocated(Algorithm::Twap, 3_000, 60));
    assert_eq!(desk.slice().quantity, qty(85), "a tenth of 854 expected in the slot");
    let mut desk = guarded(|c| c.guards.low.min_participation = Some("0.2".parse().unwrap()));
    desk.begin(&allocated(Algorithm::Twap, 300, 60));
    let first = desk.slice();
    desk.done(&first).to(10).print(1_400).to(20);
    assert_eq!(desk.slice().quantity, qty(180), "a fifth of 1,400, less 100");
}

/// Trading rule 32: child lifetime.
#[test]
fn rule_32_what_rests_lives_for_its_time() {
    let mut desk = guarded(|c| c.guards.low.child_lifetime_ms = 40_000);
    desk.begin(&with_limit(allocated(Algorithm::Limit, 100, 600), "99.5"));
    assert_eq!(desk.slice().expire_at, at(40));
}

/// An adaptive order pauses while the market is wild, and goes on when it has calmed down or the pause was long enough.
#[test]
fn an_adaptive_order_pauses_on_volatility() {
    let wild = |desk: &mut Desk, from: i64, to: i64| {
        for (n, second) in (from..to).step_by(5).enumerate() {
            let (bid, ask) = if n % 2 == 0 { ("100", "100.02") } else { ("100.5", "100.52") };
            desk.quote_at(at(second), bid, ask);
        }
    };
    let adaptive = with_terms(allocated(Algorithm::Twap, 300, 600), |t| t.adaptive = true);
    let mut desk = Desk::new();
    wild(&mut desk, 1, 300);
    desk.bench.at(at(300));
    desk.bench.record(common::ALLOCATED, &adaptive);
    let events: Vec<ExecutionStrategySelected> = desk.bench.take();
    assert_eq!(events[0].recommended_strategy.strategy_name, "ADAPTIVE_TWAP");
    assert_eq!(events[0].market_condition, fillstream_domain::MarketCondition::HighVolatility);
    let paused = events[1].change.clone().unwrap();
    assert_eq!((events.len(), paused.kind, paused.code.as_str()), (2, StrategyChangeKind::Paused, "VOLATILITY"));
    // Nothing calms down, but no pause is longer than its longest time.
    desk.nothing().to(350).quote("100", "100.02").to(400).quote("100", "100.02").to(419).nothing().to(420);
    assert_eq!(told(&mut desk)[0].1, StrategyChangeKind::Resumed);
    assert_eq!(desk.slice().reason.as_deref(), Some("CATCH_UP"));
    // One that does not adapt goes on.
    let mut desk = Desk::new();
    wild(&mut desk, 1, 300);
    desk.bench.at(at(300));
    desk.begin(&allocated(Algorithm::Twap, 300, 600));
    assert_eq!(desk.slice().quantity, qty(10));
}

/// An adaptive trajectory is made anew when the market is in another condition (trading rule 31), with its event.
#[test]
fn rule_31_an_adaptive_trajectory_follows_the_condition_of_the_market() {
    let cents = |c: i64| format!("{}.{:02}", c / 100, c % 100);
    let mut desk = Desk::new();
    let adaptive = |t: &mut OrderTerms| (t.adaptive, t.urgency) = (true, Urgency::Normal);
    desk.begin(&with_terms(allocated(Algorithm::ImplementationShortfall, 1_200, 600), adaptive));
    let first = desk.slice();
    let before = desk.order();
    desk.done(&first);
    let mut slices = Vec::new();
    let mut changes = Vec::new();
    for n in 1..=100 {
        // It runs away, a cent every 5 s.
        desk.quote_at(at(n * 5 - 1), &cents(10_000 + n), &cents(10_002 + n)).to(n * 5);
        for slice in desk.bench.take::<Slice>() {
            desk.done(&slice);
            slices.push(slice);
        }
        changes.extend(told(&mut desk));
    }
    assert_eq!(changes[0].1, StrategyChangeKind::Condition);
    assert_eq!((changes[0].2.as_str(), changes[0].3.as_str()), ("NORMAL", "TRENDING"));
    let after = desk.order();
    assert!(after.ends_at == before.ends_at && after.starts_at > before.starts_at && after.slots < before.slots);
    assert_eq!(changes.len(), 1, "it stays so: {changes:?}");
}

/// Trading rule 32: cancel budget.
#[test]
fn rule_32_children_are_priced_anew_within_a_budget() {
    let mut desk = guarded(|c| c.guards.low.max_cancels = 1);
    desk.begin(&allocated(Algorithm::Limit, 100, 600));
    let first = desk.slice();
    desk.routed(&first, 100).quote("100.1", "100.12").to(10);
    let reprice = desk.slice();
    assert_eq!(reprice.cancel_cl_ord_ids.len(), 1);
    desk.routed(&reprice, 0).fill(1, 0, 0);
    let second = desk.slice();
    desk.routed(&second, 100).quote("100.2", "100.22").to(50).nothing();
}
