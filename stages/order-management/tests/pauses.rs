//! Pauses (trading rule 19): through order-management, account-allocation, the strategy and routing, with a broker that fills
//! every child at once. What is paused gets nothing new, what is open stays, and everything goes on when it is resumed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::*;
use fillstream_account_allocation::AccountAllocator;
use fillstream_core::StageHandle;
use fillstream_domain::{ControlScope, Quantity};
use fillstream_execution_strategy::ExecutionStrategy;
use fillstream_order_management::OrderManagement;
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::{
    AccountAllocation, AuditEntry, ExecutionReport, OrderEvent, OrderEventType as E, RoutingPlan, TradeExecuted,
    ValidatedOrder,
};
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::{Account, Broker, Venue};
use fillstream_smart_order_routing::SmartOrderRouting;
use fillstream_testkit::StageBench;
use proptest::prelude::*;

/// What stops the order, each by itself.
const SCOPES: [(ControlScope, &str); 6] = [
    (ControlScope::Firm, "*"),
    (ControlScope::Portfolio, "P1"),
    (ControlScope::Account, "A1"),
    (ControlScope::Instrument, "ACME"),
    (ControlScope::Broker, "b1"),
    (ControlScope::Venue, "XNYS"),
];
/// Those of them that stop decisions too.
const OF_DECISIONS: usize = 4;

fn reference() -> ReferenceData {
    let mut reference = World::default().reference.unwrap();
    let account = Account {
        account_id: "A1".into(),
        portfolio_id: "P1".into(),
        currency: "USD".into(),
        brokers: vec!["b1".into()],
        version: 1,
        ..Account::default()
    };
    put(&mut reference, "reference.accounts.v1", "A1", &account);
    let broker =
        Broker { broker_id: "b1".into(), session_id: "s1".into(), venues: vec!["XNYS".into()], ..Broker::default() };
    put(&mut reference, "reference.brokers.v1", "b1", &broker);
    let venue = Venue { venue_id: "XNYS".into(), size_share: num("1"), is_open: true, ..Venue::default() };
    put(&mut reference, "reference.venues.v1", "XNYS", &venue);
    reference
}

/// The path with order D1: 100 by TWAP over half an hour.
struct Path {
    bench: StageBench,
    market: MarketTable,
    controls: Controls,
    paused: BTreeSet<usize>,
    now: i64,
    version: i64,
    life: Vec<OrderEvent>,
    refused: Vec<OrderEvent>,
    plans: Vec<RoutingPlan>,
    fills: usize,
}

impl Path {
    fn start() -> Self {
        let stages = vec![
            StageHandle::of(OrderManagement::new(World::default().config).unwrap()),
            StageHandle::of(AccountAllocator::new(Default::default()).unwrap()),
            StageHandle::of(ExecutionStrategy::new(Default::default()).unwrap()),
            StageHandle::of(SmartOrderRouting::new(Default::default()).unwrap()),
        ];
        let market = World::default().market.unwrap();
        let mut bench = StageBench::path(stages);
        bench.table(reference()).table(market.clone()).table(Controls::default()).at(at(NOON));
        bench.record(DECISIONS, &decision("D1"));
        let created = bench.take_one::<OrderEvent>();
        let terms = created.terms.clone().unwrap();
        bench.record(VERDICTS, &ValidatedOrder { quote: Some(terms.quote.clone()), terms, ..approval() });
        let mut path = Self {
            bench,
            market,
            controls: Controls::default(),
            paused: BTreeSet::new(),
            now: NOON,
            version: 1,
            life: vec![created],
            refused: Vec::new(),
            plans: Vec::new(),
            fills: 0,
        };
        path.look();
        path
    }

    /// Lets time pass, half a minute after the other, each with a fresh quote.
    fn pass(&mut self, half_minutes: i64) -> &mut Self {
        for _ in 0..half_minutes {
            self.now += 30 * SECOND;
            let seq = 10 + (self.now - NOON) / SECOND;
            let size = Some(num("10000"));
            let row = quote("ACME", self.now - SECOND, seq, "99", "101");
            self.market.take(&NormalizedMarketData { bid_size: size, ask_size: size, ..row }).unwrap();
            self.bench.table(self.market.clone()).timer_to(at(self.now));
            self.look();
        }
        self
    }

    /// Takes what was written, and brings it back to the stages before.
    fn look(&mut self) {
        assert!(self.bench.take_dead_letters().is_empty());
        let allocations = self.bench.take::<AccountAllocation>();
        let plans = self.bench.take::<RoutingPlan>();
        for event in self.bench.take::<OrderEvent>() {
            if event.order_id == id() { self.life.push(event) } else { self.refused.push(event) }
        }
        self.bench.take::<AuditEntry>();
        self.bench.take::<TradeExecuted>();
        if allocations.is_empty() && plans.is_empty() {
            return;
        }
        self.bench.records(ALLOCATIONS, &allocations).records(PLANS, &plans);
        for plan in plans {
            let stopped = !self.paused.is_empty();
            assert!(!stopped || plan.venue_allocations.is_empty(), "sent what is paused: {plan:?}");
            for leg in &plan.venue_allocations {
                self.fills += 1;
                let filled = fill(&leg.cl_ord_id, &format!("e{}", self.fills), &leg.quantity.to_string(), "101");
                let filled = ExecutionReport { ord_qty: leg.quantity, venue: leg.venue.clone(), ..filled };
                self.bench.record(REPORTS, &filled);
            }
            self.plans.push(plan);
        }
        self.look();
    }

    fn pause(&mut self, scope: usize) -> &mut Self {
        self.version += 1;
        let (kind, id) = SCOPES[scope];
        let control = pause(kind, id, self.now);
        self.controls.take("key", fillstream_schemas::execution::Control { version: self.version, ..control }).unwrap();
        self.paused.insert(scope);
        self.bench.table(self.controls.clone());
        self
    }

    fn resume(&mut self, scope: usize) -> &mut Self {
        self.version += 1;
        let (kind, id) = SCOPES[scope];
        self.controls.take("key", resume(kind, id, self.version, self.now)).unwrap();
        self.paused.remove(&scope);
        self.bench.table(self.controls.clone());
        self
    }

    /// Another decision of now; the order that it makes waits for risk for ever.
    fn decide(&mut self, event_id: &str) -> OrderEvent {
        let decided = CoordinatedTradingDecision { timestamp: at(self.now), ..decision(event_id) };
        self.bench.record(DECISIONS, &decided);
        self.look();
        self.refused.pop().unwrap()
    }

    fn cum(&self) -> Quantity {
        self.life.last().unwrap().cum_qty
    }

    fn ended(&self) -> Option<&OrderEvent> {
        self.life.iter().find(|event| event.is_terminal)
    }
}

#[test]
fn rule_19_what_is_paused_stands_still_and_goes_on_when_it_is_resumed() {
    for (n, scope) in SCOPES.iter().enumerate() {
        let mut path = Path::start();
        path.pass(10);
        let (before, plans) = (path.cum(), path.plans.len());
        assert!(before.is_positive() && path.ended().is_none());
        path.pause(n).pass(20);
        assert_eq!(path.cum(), before, "{scope:?}");
        let codes: BTreeSet<_> = path.plans[plans..].iter().filter_map(|plan| plan.unrouted_code.as_deref()).collect();
        let expected = if n < OF_DECISIONS { "PAUSED" } else { "NO_VENUE" };
        assert_eq!(
            codes.into_iter().collect::<Vec<_>>(),
            [expected],
            "{scope:?}: it asks and gets a plan with nothing"
        );
        assert!(!path.life.iter().any(|event| event.event_type == E::CancelRequested), "what is open stays");
        path.bench.restart();
        path.resume(n).pass(50);
        assert_eq!(path.ended().map(|end| end.event_type), Some(E::Filled), "{scope:?}: {:?}", path.life.last());
        check_life(&path.life);
    }
}

#[test]
fn rule_19_a_decision_in_a_paused_scope_is_refused_and_not_fired_later() {
    for (n, scope) in SCOPES.iter().enumerate().take(OF_DECISIONS) {
        let mut path = Path::start();
        let refused = path.pause(n).decide("D2");
        assert_eq!((refused.event_type, code(&refused)), (E::Rejected, "PAUSED"), "{scope:?}");
        assert!(refused.reason_text.unwrap().contains("is paused by ann: drill"));
        path.resume(n).pass(10);
        assert!(path.refused.is_empty(), "nothing comes of it");
        assert_eq!(path.decide("D3").event_type, E::Created);
    }
}

#[test]
fn rule_19_an_order_ends_while_it_is_paused() {
    let mut path = Path::start();
    path.pass(5).pause(1).bench.record(COMMANDS, &cancel("K1"));
    path.look();
    assert_eq!(path.ended().map(|end| end.event_type), Some(E::Cancelled), "its empty last slice has a plan");
    let mut path = Path::start();
    path.pass(5).pause(1).pass(80);
    let end = path.ended().unwrap();
    assert!(matches!(end.event_type, E::Expired | E::Cancelled) && end.cancelled_qty.is_positive(), "{end:?}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pause(usize),
    Resume(usize),
    Pass(i64),
    Decide,
    Cancel,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..SCOPES.len()).prop_map(Step::Pause),
        4 => (0..SCOPES.len()).prop_map(Step::Resume),
        8 => (1_i64..8).prop_map(Step::Pass),
        2 => Just(Step::Decide),
        1 => Just(Step::Cancel),
        2 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However pauses, resumes, cancels, restarts and time interleave: nothing is sent while it is paused, a decision becomes an
    /// order if and only if nothing pauses it, and the order ends once, whether or not the pauses do.
    #[test]
    fn rule_19_pauses_lose_nothing_and_fire_nothing_late(steps in prop::collection::vec(step(), 1..25)) {
        let mut path = Path::start();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Pause(scope) if !path.paused.contains(&scope) => drop(path.pause(scope)),
                Step::Resume(scope) if path.paused.contains(&scope) => drop(path.resume(scope)),
                Step::Pause(_) | Step::Resume(_) => {}
                Step::Pass(half_minutes) => drop(path.pass(half_minutes)),
                Step::Restart => drop(path.bench.restart()),
                Step::Cancel => {
                    path.bench.record(COMMANDS, &cancel(&format!("K{n}")));
                    path.look();
                    prop_assert!(path.ended().is_some(), "children are filled at once, the last plan comes at once");
                }
                Step::Decide => {
                    let stops = path.paused.iter().any(|scope| *scope < OF_DECISIONS);
                    let event = path.decide(&format!("D{}", n + 2));
                    prop_assert_eq!(event.event_type == E::Rejected, stops);
                    prop_assert_eq!(code(&event) == "PAUSED", stops);
                }
            }
        }
        path.pass(140);
        // A cancel of an order that is forgotten is refused, and is no part of its life.
        path.life.retain(|event| code(event) != "UNKNOWN_ORDER");
        prop_assert_eq!(path.life.iter().filter(|event| event.is_terminal).count(), 1);
        let legs = path.plans.iter().flat_map(|plan| &plan.venue_allocations).map(|leg| leg.quantity);
        prop_assert_eq!(Quantity::sum(legs).unwrap(), path.cum());
        check_life(&path.life);
    }
}
