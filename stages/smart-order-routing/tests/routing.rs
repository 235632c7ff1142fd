//! The stage on the bench: pairs, split, exclusions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{ControlScope, Price, Quantity, Side, TimeInForce, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{Control, ControlState, RoutingPlan, Slice};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Broker, Instrument, Venue};
use fillstream_smart_order_routing::{Config, SmartOrderRouting};
use fillstream_testkit::StageBench;

const SLICES: &str = "execution.slices.v1";

fn now() -> TimestampMicros {
    TimestampMicros::from_micros(1_000_000_000)
}

fn put<T: Table, R: AvroRecord>(table: &mut T, topic: &str, key: &str, value: &R) {
    let bytes = value.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Table::apply(table, &row).unwrap();
}

fn venue(id: &str, share: &str) -> Venue {
    Venue { venue_id: id.into(), size_share: share.parse().unwrap(), is_open: true, ..Venue::default() }
}

fn reference(venues: &[Venue]) -> ReferenceData {
    let mut data = ReferenceData::default();
    let instrument = Instrument {
        instrument_id: "X".into(),
        reference_venue: "REF".into(),
        lot_size: Quantity::ONE,
        ..Instrument::default()
    };
    put(&mut data, "reference.instruments.v1", "X", &instrument);
    let account =
        Account { account_id: "A1".into(), portfolio_id: "P1".into(), brokers: vec!["b".into()], ..Account::default() };
    put(&mut data, "reference.accounts.v1", "A1", &account);
    let names = venues.iter().map(|v| v.venue_id.clone()).collect();
    let broker = Broker { broker_id: "b".into(), session_id: "S1".into(), venues: names, ..Broker::default() };
    put(&mut data, "reference.brokers.v1", "b", &broker);
    for v in venues {
        put(&mut data, "reference.venues.v1", &v.venue_id, v);
    }
    data
}

fn market(size: i64) -> MarketTable {
    let row = NormalizedMarketData {
        instrument_id: "X".into(),
        venue: "REF".into(),
        kind: MarketDataKind::Quote,
        event_time: TimestampMicros::from_micros(999_000_000),
        seq: 1,
        bid: Some(Price::from_int(100).unwrap()),
        ask: Some("100.1".parse().unwrap()),
        bid_size: Some(Quantity::from_int(size).unwrap()),
        ask_size: Some(Quantity::from_int(size).unwrap()),
        ..NormalizedMarketData::default()
    };
    let mut table = MarketTable::default();
    put(&mut table, "market.data.v1", "X", &row);
    table
}

fn slice(quantity: i64) -> Slice {
    Slice {
        event_id: "s1".into(),
        timestamp: now(),
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        instrument_id: "X".into(),
        side: Side::Buy,
        slice_no: 1,
        quantity: Quantity::from_int(quantity).unwrap(),
        lot_size: Quantity::ONE,
        time_in_force: TimeInForce::Ioc,
        ..Slice::default()
    }
}

fn bench(venues: &[Venue], size: i64) -> StageBench {
    let mut bench = StageBench::new(SmartOrderRouting::new(Config::default()).unwrap());
    bench.at(now()).table(reference(venues)).table(market(size));
    bench
}

fn legs(plan: &RoutingPlan) -> Vec<(&str, String)> {
    plan.venue_allocations.iter().map(|l| (l.venue.as_str(), l.quantity.to_string())).collect()
}

fn three() -> [Venue; 3] {
    [venue("A", "0.5"), venue("B", "0.3"), venue("C", "0.2")]
}

#[test]
fn a_large_slice_is_split_by_displayed_size_and_the_rest_waits() {
    let plan: RoutingPlan = bench(&three(), 500).record(SLICES, &slice(1_000)).take_one();
    assert_eq!(legs(&plan), [("A", "250".into()), ("B", "150".into()), ("C", "100".to_string())]);
    assert_eq!(
        (plan.unrouted_qty.to_string().as_str(), plan.unrouted_code.as_deref()),
        ("500", Some("DEPTH_EXHAUSTED"))
    );
    assert_eq!(plan.candidates.len(), 3);
    let ids: std::collections::BTreeSet<_> = plan.venue_allocations.iter().map(|l| &l.cl_ord_id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_small_slice_goes_to_the_best_venue() {
    let plan: RoutingPlan = bench(&three(), 500).record(SLICES, &slice(100)).take_one();
    assert_eq!(legs(&plan), [("A", "100".to_string())]);
    assert_eq!(plan.alternative.as_deref(), Some("b/B"));
}

#[test]
fn excluded_pairs_stand_in_the_plan_with_their_code() {
    let mut venues = three();
    venues[0].is_open = false;
    let mut controls = Controls::default();
    let kill = Control {
        scope: ControlScope::Venue,
        scope_id: "C".into(),
        state: ControlState::Killed,
        version: 1,
        ..Control::default()
    };
    put(&mut controls, "execution.controls.v1", "VENUE/C", &kill);
    let mut bench = bench(&venues, 500);
    let plan: RoutingPlan = bench.table(controls).record(SLICES, &slice(100)).take_one();
    assert_eq!(legs(&plan), [("B", "100".to_string())]);
    let codes: Vec<_> = plan.candidates.iter().filter_map(|c| c.exclusion_code.as_deref()).collect();
    assert_eq!(codes, ["VENUE_CLOSED", "KILLED"]);
}

#[test]
fn the_last_slice_of_a_stopped_schedule_gets_a_plan_without_legs_whatever_is_known() {
    let mut bench = StageBench::new(SmartOrderRouting::new(Config::default()).unwrap());
    bench.at(now()).record(SLICES, &Slice { is_last: true, ..slice(0) });
    let plan: RoutingPlan = bench.take_one();
    assert_eq!((plan.is_last, plan.unrouted_qty, plan.unrouted_code), (true, Quantity::ZERO, None));
    assert!(plan.venue_allocations.is_empty() && plan.candidates.is_empty());
    assert_eq!(plan.routing_reasoning, "the schedule was stopped");
}

#[test]
fn every_way_not_to_route_has_its_code() {
    let code = |plan: RoutingPlan| plan.unrouted_code.unwrap();
    let restricted = Slice { venue_restrictions: vec!["A".into(), "B".into(), "C".into()], ..slice(100) };
    assert_eq!(code(bench(&three(), 500).record(SLICES, &restricted).take_one()), "NO_VENUE");
    let stranger = Slice { account_id: "nobody".into(), ..slice(100) };
    assert_eq!(code(bench(&three(), 500).record(SLICES, &stranger).take_one()), "NO_ACCOUNT");
    let mut stale = bench(&three(), 500);
    stale.at(TimestampMicros::from_micros(999_000_000 + 60_000_001));
    assert_eq!(code(stale.record(SLICES, &slice(100)).take_one()), "NO_QUOTE");
}
