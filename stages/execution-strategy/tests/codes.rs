//! Every closed code is reached and stands in an event.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{ALLOCATED, Desk, ORDERS, allocated, at, instrument, qty, units, with_limit, with_terms};
use fillstream_domain::{Algorithm, AssetClass, Urgency};
use fillstream_execution_strategy::Config;
use fillstream_execution_strategy::reason::{Cause, Exclusion, Hold, Pause, Trigger};
use fillstream_schemas::execution::{AccountAllocation, ExecutionStrategySelected, OrderEvent, OrderEventType, Slice};

/// Codes that were told, and slices that wait for their plan.
#[derive(Default)]
struct Told {
    codes: BTreeSet<String>,
    slices: Vec<Slice>,
}

impl Told {
    fn listen(&mut self, desk: &mut Desk) {
        for event in desk.bench.take::<ExecutionStrategySelected>() {
            self.codes.extend(event.change.map(|change| change.code));
            self.codes.extend(event.alternatives.into_iter().filter_map(|a| a.excluded_code));
        }
        for slice in desk.bench.take::<Slice>() {
            self.codes.extend(slice.reason.clone());
            self.slices.push(slice);
        }
    }

    fn begin(&mut self, desk: &mut Desk, v: &AccountAllocation) {
        desk.bench.record(ALLOCATED, v);
        self.listen(desk);
    }

    /// The slices so far are routed and filled.
    fn fill(&mut self, desk: &mut Desk) {
        for slice in std::mem::take(&mut self.slices) {
            desk.done(&slice);
        }
        self.listen(desk);
    }

    /// The slices so far rest.
    fn rest(&mut self, desk: &mut Desk) {
        for slice in std::mem::take(&mut self.slices) {
            desk.routed(&slice, units(slice.quantity));
        }
        self.listen(desk);
    }

    fn to(&mut self, desk: &mut Desk, second: i64) {
        desk.to(second);
        self.listen(desk);
    }

    fn say(&mut self, desk: &mut Desk, event_type: OrderEventType) {
        let terms = Some(desk.order().terms);
        let event = OrderEvent { terms, ord_qty: qty(700), ..desk.event(event_type, None) };
        desk.bench.record(ORDERS, &event);
        self.listen(desk);
    }
}

fn twap(told: &mut Told) -> Desk {
    let mut desk = Desk::new();
    told.begin(&mut desk, &allocated(Algorithm::Twap, 300, 60));
    told.fill(&mut desk);
    told.to(&mut desk, 19);
    desk
}

fn schedules(told: &mut Told) {
    let mut desk = twap(told);
    desk.bench.at(at(45)).fire();
    told.listen(&mut desk);
    // Nobody takes the last slices.
    for slice in std::mem::take(&mut told.slices) {
        desk.routed(&slice, 0);
    }
    told.listen(&mut desk);
    told.to(&mut desk, 60);
    let mut desk = twap(told);
    for event in [OrderEventType::Suspended, OrderEventType::Resumed, OrderEventType::Replaced] {
        told.say(&mut desk, event);
    }
    told.say(&mut desk, OrderEventType::CancelRequested);
}

fn resting_and_watching(told: &mut Told) {
    let normal = |v| with_terms(v, |t| t.urgency = Urgency::Normal);
    let mut desk = Desk::new();
    told.begin(&mut desk, &normal(with_limit(allocated(Algorithm::Iceberg, 1_000, 60), "101")));
    told.fill(&mut desk);
    told.rest(&mut desk);
    desk.quote("100.1", "100.12");
    told.to(&mut desk, 12);
    // One that nothing is filled of.
    let mut desk = Desk::new();
    told.slices.clear();
    told.begin(&mut desk, &normal(with_limit(allocated(Algorithm::Iceberg, 1_000, 60), "101")));
    told.rest(&mut desk);
    told.to(&mut desk, 50);
    let mut desk = Desk::new();
    told.begin(&mut desk, &allocated(Algorithm::Sniper, 100, 60));
    let mut desk = Desk::new();
    desk.print(5).bench.at(at(1));
    told.begin(&mut desk, &allocated(Algorithm::Pov, 100, 600));
    desk.print(500);
    told.to(&mut desk, 21);
    told.slices.clear();
}

fn guard_rails(told: &mut Told) {
    let mut config = Config::default();
    config.guards.low.would_bps = Some("10".parse().unwrap());
    config.guards.low.max_slippage_bps = Some("20".parse().unwrap());
    config.guards.low.max_own_impact_bps = Some("5".parse().unwrap());
    let mut desk = Desk::with(config, Some(instrument(AssetClass::Equity)));
    told.begin(&mut desk, &allocated(Algorithm::Twap, 300, 120));
    told.fill(&mut desk);
    desk.quote("100.2", "100.22");
    told.to(&mut desk, 20);
    desk.quote("99.8", "99.82");
    told.to(&mut desk, 30);
    told.slices.clear();
    let mut dear = desk.event(OrderEventType::ChildUpdated, None);
    dear.account.as_mut().unwrap().avg_px = Some("101".parse().unwrap());
    desk.bench.record(ORDERS, &dear);
    told.to(&mut desk, 60);
    // An adaptive order in a market that becomes wild.
    let mut desk = Desk::new();
    told.begin(&mut desk, &with_terms(allocated(Algorithm::Twap, 300, 600), |t| t.adaptive = true));
    for n in 1..=30 {
        let (bid, ask) = if n % 2 == 0 { ("100", "100.02") } else { ("100.5", "100.52") };
        desk.quote(bid, ask);
        told.to(&mut desk, n * 5);
    }
    told.slices.clear();
}

fn holds(told: &mut Told) {
    let breaks: [fn(&mut Desk); 3] = [
        |desk| {
            desk.one_sided();
        },
        |desk| {
            desk.status("HALTED");
        },
        |desk| {
            desk.status("CLOSED");
        },
    ];
    for broken in breaks {
        let mut desk = twap(told);
        broken(&mut desk);
        told.to(&mut desk, 25);
    }
    let mut desk = Desk::new();
    told.begin(&mut desk, &allocated(Algorithm::Twap, 3_000, 200));
    told.to(&mut desk, 100);
    let mut desk = Desk::with(Config::default(), None);
    let limited =
        with_terms(allocated(Algorithm::Twap, 300, 60), |t| t.max_participation_rate = Some("0.1".parse().unwrap()));
    told.begin(&mut desk, &limited);
}

fn stops(told: &mut Told) {
    for has_prints in [true, false] {
        let mut desk = Desk::new();
        if has_prints {
            desk.print_px("100");
        }
        let stop = |t: &mut fillstream_schemas::execution::OrderTerms| {
            (t.ord_type, t.stop_price) = (fillstream_domain::OrdType::Stop, Some(common::px("101")));
        };
        told.begin(&mut desk, &with_terms(allocated(Algorithm::Market, 100, 60), stop));
        told.to(&mut desk, 1);
        desk.quote("101.1", "101.12");
        if has_prints {
            desk.print_px("101.1");
        }
        told.to(&mut desk, 5);
        // Another account takes over.
        let other = AccountAllocation { account_id: Some("A2".into()), ..allocated(Algorithm::Market, 100, 60) };
        told.begin(&mut desk, &with_terms(other, stop));
        told.slices.clear();
    }
}

fn exclusions(told: &mut Told) {
    let limited = |t: &mut fillstream_schemas::execution::OrderTerms| {
        (t.algorithm, t.max_participation_rate) = (Algorithm::Auto, Some("0.1".parse().unwrap()));
    };
    let v = with_terms(allocated(Algorithm::Auto, 20_000, 3_600), limited);
    told.begin(&mut Desk::new(), &v);
    let mut desk = Desk::new();
    desk.print(5).bench.at(at(1));
    told.begin(&mut desk, &v);
    told.begin(&mut Desk::with(Config::default(), None), &v);
}

#[test]
fn every_code_is_reached_and_told() {
    let mut told = Told::default();
    for scene in [schedules, resting_and_watching, guard_rails, holds, stops, exclusions] {
        told.slices.clear();
        scene(&mut told);
    }
    let mut wanted: Vec<&str> = Trigger::ALL.iter().map(|c| c.as_str()).collect();
    wanted.extend(Hold::ALL.iter().filter(|h| h.is_told()).map(|h| h.as_str()));
    wanted.extend(Pause::ALL.iter().map(|c| c.as_str()));
    wanted.extend(Exclusion::ALL.iter().map(|c| c.as_str()));
    wanted.extend(Cause::ALL.iter().map(|c| c.as_str()));
    let missing: Vec<&str> = wanted.into_iter().filter(|code| !told.codes.contains(*code)).collect();
    assert!(missing.is_empty(), "never told: {missing:?} of {:?}", told.codes);
}
