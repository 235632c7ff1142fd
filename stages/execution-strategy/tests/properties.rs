//! Whatever the market, children and people do: no algorithm releases more than is left, or through its limit, or after its end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{Desk, ORDERS, PLANS, allocated, at, plan, px, qty, units, with_terms};
use fillstream_domain::{Algorithm, Price, Quantity, Urgency};
use fillstream_schemas::execution::{AccountFigures, ExecutionStrategySelected, OrderEvent, OrderEventType, Slice};
use proptest::prelude::*;

const QUANTITY: i64 = 600;
const HORIZON: i64 = 240;

#[derive(Clone, Copy, Debug)]
enum Act {
    Wait(i64),
    Quote(i64, i64),
    Print(i64),
    /// Routing places part of the oldest slice without a plan, in percent.
    Route(i64),
    /// The oldest child fills in part, or ends, in percent of what it holds.
    Fill(i64, bool),
    Suspend,
    Resume,
    Restart,
    Replace(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_i64..30).prop_map(Act::Wait),
        3 => (-60_i64..60, 0_i64..6).prop_map(|(move_by, spread)| Act::Quote(move_by, spread)),
        2 => (1_i64..500).prop_map(Act::Print),
        4 => (0_i64..=100).prop_map(Act::Route),
        4 => ((0_i64..=100), any::<bool>()).prop_map(|(part, ends)| Act::Fill(part, ends)),
        1 => Just(Act::Suspend),
        1 => Just(Act::Resume),
        1 => Just(Act::Restart),
        1 => (1_i64..900).prop_map(Act::Replace),
    ]
}

/// What the outside knows of the order.
#[derive(Default)]
struct Outside {
    waiting: Vec<Slice>,
    /// Open children and what they hold.
    children: BTreeMap<i32, i64>,
    cum: i64,
    ordered: i64,
    ended: bool,
    limit: Option<Price>,
}

impl Outside {
    fn held(&self) -> i64 {
        self.children.values().sum::<i64>() + self.waiting.iter().map(|s| units(s.quantity)).sum::<i64>()
    }

    fn take(&mut self, desk: &mut Desk) -> Result<(), TestCaseError> {
        for slice in desk.bench.take::<Slice>() {
            prop_assert!(slice.quantity.is_positive() || slice.is_last || !slice.cancel_cl_ord_ids.is_empty());
            prop_assert!(!self.ended || slice.quantity.is_zero(), "a slice after the last one");
            prop_assert!(slice.reason.is_some());
            if let Some(limit) = self.limit {
                prop_assert!(slice.limit_price.is_some_and(|price| price <= limit), "through the limit: {slice:?}");
            }
            if slice.quantity.is_positive() {
                prop_assert!(slice.quote.as_ref().is_some_and(|q| q.bid < q.ask), "on a locked or crossed book");
                let free = self.ordered - self.cum - self.held();
                prop_assert!(units(slice.quantity) <= free, "{} of {free}", slice.quantity);
            }
            self.ended |= slice.is_last;
            self.waiting.push(slice);
        }
        desk.bench.take::<ExecutionStrategySelected>();
        Ok(())
    }

    fn event(&self, desk: &mut Desk, event_type: OrderEventType, child: Option<(i32, i64)>) -> OrderEvent {
        let account = AccountFigures { account_id: "A1".into(), cum_qty: qty(self.cum), ..AccountFigures::default() };
        OrderEvent { account: Some(account), ord_qty: qty(self.ordered), ..desk.event(event_type, child) }
    }

    fn apply(&mut self, act: Act, desk: &mut Desk) {
        match act {
            Act::Wait(seconds) => {
                let now = desk.bench.now().micros() / 1_000_000 - at(0).micros() / 1_000_000;
                desk.to(now + seconds);
            }
            Act::Quote(by, spread) => {
                let text = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
                // Locked and crossed ones, too.
                let (bid, ask) = (text(10_000 + by), text(10_000 + by + spread - 1));
                desk.sized_quote((bid.as_str(), ask.as_str()), Some(10 + by.abs() * 5));
            }
            Act::Print(size) => {
                desk.print(size);
            }
            Act::Route(part) if !self.waiting.is_empty() => {
                let slice = self.waiting.remove(0);
                let routed = units(slice.quantity) * part / 100;
                if routed > 0 {
                    self.children.insert(slice.slice_no, routed);
                }
                desk.bench.record(PLANS, &plan(&slice, routed));
            }
            Act::Fill(part, ends) => {
                let Some((&n, &held)) = self.children.iter().next() else { return };
                let filled = held * part / 100;
                self.cum += filled;
                let leaves = if ends { 0 } else { held - filled };
                self.children.insert(n, leaves);
                self.children.retain(|_, left| *left > 0);
                let event = self.event(desk, OrderEventType::ChildUpdated, Some((n, leaves)));
                desk.bench.record(ORDERS, &event);
            }
            Act::Suspend | Act::Resume => {
                let suspends = matches!(act, Act::Suspend);
                let kind = if suspends { OrderEventType::Suspended } else { OrderEventType::Resumed };
                let event = self.event(desk, kind, None);
                desk.bench.record(ORDERS, &event);
            }
            Act::Replace(quantity) => {
                // Never below what is filled or held: order-management sees to that.
                self.ordered = quantity.max(self.cum + self.held());
                self.ended = false;
                let terms = Some(desk.order().terms);
                let event = OrderEvent { terms, ..self.event(desk, OrderEventType::Replaced, None) };
                desk.bench.record(ORDERS, &event);
            }
            Act::Restart => {
                desk.bench.restart();
            }
            Act::Route(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_algorithm_releases_more_than_is_left_or_through_its_limit_or_after_its_end(
        which in 0_usize..9,
        urgent: bool,
        limited: bool,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let algorithm = [
            Algorithm::Market, Algorithm::Limit, Algorithm::Twap, Algorithm::Vwap, Algorithm::ImplementationShortfall,
            Algorithm::ArrivalPrice, Algorithm::Iceberg, Algorithm::Sniper, Algorithm::Pov,
        ][which];
        let limit = limited.then(|| px("100.1"));
        let v = with_terms(allocated(algorithm, QUANTITY, HORIZON), |t| {
            t.limit_price = limit;
            t.urgency = if urgent { Urgency::High } else { Urgency::Low };
        });
        let mut desk = Desk::new();
        desk.print(5);
        desk.bench.at(at(1));
        let mut outside = Outside { ordered: QUANTITY, limit, ..Outside::default() };
        desk.begin(&v);
        outside.take(&mut desk)?;
        for act in acts {
            outside.apply(act, &mut desk);
            outside.take(&mut desk)?;
            let order = desk.order();
            prop_assert!(order.cum_qty == qty(outside.cum) && order.ord_qty == qty(outside.ordered));
            let held = Quantity::sum(order.children.iter().map(|c| c.leaves_qty)).unwrap();
            prop_assert_eq!(held, qty(outside.children.values().sum()));
        }
        // Once every child has ended and nobody interferes, the schedule comes to its end.
        outside.apply(Act::Resume, &mut desk);
        outside.take(&mut desk)?;
        for _ in 0..40 {
            while !outside.waiting.is_empty() {
                outside.apply(Act::Route(0), &mut desk);
                outside.take(&mut desk)?;
            }
            while !outside.children.is_empty() {
                outside.apply(Act::Fill(0, true), &mut desk);
                outside.take(&mut desk)?;
            }
            desk.quote("100", "100.02");
            outside.apply(Act::Wait(30), &mut desk);
            outside.take(&mut desk)?;
        }
        prop_assert!(outside.ended || outside.cum == outside.ordered, "it never ends: {:?}", desk.order());
    }
}
