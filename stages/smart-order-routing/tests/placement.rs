//! The convex split beside the rule's, and the bound on what is in the market at once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{ORDERS, SLICES, World, after, broker, legs, num, price, qty, quote, slice, venue, world};
use fillstream_domain::{ExecType, OrdStatus, OrdType, Quantity, TimeInForce};
use fillstream_schemas::execution::{
    ChildUpdate, OrderEvent, OrderEventType, RoutingMode, RoutingPlan, Slice, SplitMethod,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::Venue;
use fillstream_testkit::StageBench;
use proptest::prelude::*;

/// Three venues with quotes of their own: the deepest and best one is also the dearest.
fn three_books(quantity: i64, sizes: [i64; 3]) -> World {
    let mut w = world(quantity);
    w.brokers = vec![broker("b", "0.8")];
    w.venues =
        [("A", "1"), ("B", "0.8"), ("C", "0.8")].map(|(id, q)| Venue { quality: num(q), ..venue(id, "0") }).into();
    for ((id, ask), size) in [("A", "100.2"), ("B", "100.06"), ("C", "100.07")].into_iter().zip(sizes) {
        w.rows.push(quote("X", id, "99.9", ask, size));
    }
    w
}

/// Where every venue shows its book, the quantity goes to the cheapest expected cost, and the rule's plan stands beside it.
#[test]
fn rule_33_the_convex_split_stands_beside_the_rules_with_its_gain() {
    let w = three_books(1_000, [5_000, 1_000, 1_000]);
    let plan = w.plan();
    assert_eq!(
        (plan.split_method, legs(&plan)),
        (SplitMethod::Convex, vec![("B", "500".into()), ("C", "500".to_string())])
    );
    let rule: Vec<_> = plan.rule_allocations.iter().map(|s| (s.venue.as_str(), s.quantity)).collect();
    assert_eq!(rule, [("A", qty(500)), ("B", qty(500))]);
    // The cheapest costs 0.999500 basis points of the middle 100.05; 5 more is what leaving is feared to cost.
    assert_eq!(plan.underfill_cost, Some(num("5.9995")));
    assert_eq!((plan.split_cost, plan.rule_cost), (Some(num("24.0049965")), Some(num("80.50375176"))));
    assert_eq!(plan.expected_gain, Some(num("56.49875526")));
    let w = World { config: fillstream_smart_order_routing::Config { convex_split: false, ..w.config }, ..w };
    let plan = w.plan();
    assert_eq!((plan.split_method, legs(&plan)[0].0, plan.expected_gain), (SplitMethod::Rule, "A", None));
}

/// What is dearer than leaving it for later is left, with its code; of the last slice nothing is.
#[test]
fn what_is_not_worth_taking_now_is_left_for_the_schedule() {
    let mut w = three_books(1_000, [5_000, 300, 300]);
    let plan = w.plan();
    assert_eq!(legs(&plan), [("B", "300".to_string()), ("C", "300".into())]);
    assert_eq!((plan.unrouted_qty, plan.unrouted_code.as_deref()), (qty(400), Some("NOT_WORTH_TAKING")));
    w.slice.is_last = true;
    let plan = w.plan();
    assert_eq!((plan.split_method, plan.unrouted_qty), (SplitMethod::Convex, Quantity::ZERO));
    assert_eq!(legs(&plan), [("B", "300".to_string()), ("C", "300".into()), ("A", "400".into())]);
}

/// One venue is the rule's affair, and so is a split that is no dearer than the other.
#[test]
fn where_the_other_split_is_no_cheaper_the_rule_decides() {
    let mut one = three_books(1_000, [300, 1, 1]);
    one.venues.truncate(1);
    assert_eq!((one.plan().split_method, legs(&one.plan())), (SplitMethod::Rule, vec![("A", "1000".to_string())]));
    let mut equal = three_books(1_000, [1_000, 1_000, 1_000]);
    equal.venues.retain(|v| v.venue_id != "A");
    let plan = equal.plan();
    assert_eq!((plan.split_method, plan.expected_gain), (SplitMethod::Rule, None));
    assert_eq!(legs(&plan), [("B", "500".to_string()), ("C", "500".into())]);
}

#[test]
fn without_a_book_of_every_venue_the_rule_decides() {
    let mut w = three_books(1_000, [5_000, 1_000, 1_000]);
    w.rows.retain(|row| row.venue != "B");
    assert_eq!(w.plan().split_method, SplitMethod::Rule);
}

/// Cont and Kukanov: what rests where the queue is passed is cheaper than taking. A's outflow is half of 800 a minute, its
/// queue 200; nothing was printed at B, so there it is taken.
#[test]
fn part_of_a_slice_rests_where_the_outflow_passes_the_queue() {
    let mut w = world(600);
    w.brokers = vec![broker("b", "0.8")];
    w.venues = ["A", "B"].map(|id| Venue { quality: num("0.8"), ..venue(id, "0") }).into();
    for id in ["A", "B"] {
        let early = NormalizedMarketData { event_time: after(-31 * 60_000), ..quote("X", id, "100", "100.1", 200) };
        let late = NormalizedMarketData { seq: 1_000, ..quote("X", id, "100", "100.1", 200) };
        w.rows.push(early);
        for n in (1..=30).filter(|_| id == "A") {
            w.rows.push(NormalizedMarketData {
                kind: MarketDataKind::Trade,
                event_time: after(-n * 60_000 + 30_000),
                seq: 100 - n,
                price: Some(num("100")),
                size: Some(qty(800)),
                ..quote("X", id, "1", "1", 1)
            });
        }
        w.rows.push(late);
    }
    w.rows.sort_by_key(|row| row.event_time);
    w.slice.rest_until = Some(after(60_000));
    let plan = w.plan();
    assert_eq!((plan.mode, plan.split_method), (RoutingMode::Mixed, SplitMethod::Convex));
    // 200 pass the queue; at most half of the slice is A's.
    assert_eq!(legs(&plan), [("A", "200".to_string()), ("A", "100".into()), ("B", "200".into())]);
    let rests = &plan.venue_allocations[0];
    assert_eq!((rests.ord_type, rests.limit_price), (Some(OrdType::Limit), Some(price("100"))));
    assert_eq!((rests.time_in_force, rests.expire_at), (Some(TimeInForce::Gtd), Some(after(60_000))));
    assert_eq!(plan.venue_allocations[1].time_in_force, None);
    assert_eq!(plan.unrouted_qty, qty(100));
    w.slice.expire_at = after(30_000);
    assert_eq!(w.plan().venue_allocations[0].expire_at, Some(after(30_000)), "not longer than the slice");
    // Without leave to rest everything is taken.
    w.slice.rest_until = None;
    assert!(w.plan().venue_allocations.iter().all(|leg| leg.time_in_force.is_none()));
}

// --- Never more in the market than is open ---

#[derive(Clone, Debug)]
enum Step {
    Slice(i64, bool),
    /// Which open child, and how much of it: filled, or gone.
    Fill(usize, i64),
    End(usize, bool),
    /// How many of the waiting order events arrive.
    Arrive(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_i64..400, any::<bool>()).prop_map(|(q, dark)| Step::Slice(q, dark)),
        (0_usize..8, 1_i64..200).prop_map(|(n, q)| Step::Fill(n, q)),
        (0_usize..8, any::<bool>()).prop_map(|(n, rejected)| Step::End(n, rejected)),
        (0_usize..4).prop_map(Step::Arrive),
    ]
}

/// The outside: children as they really are, and the order events that tell of them, in order, later.
struct Outside {
    children: Vec<(String, i64, i64)>,
    waiting: std::collections::VecDeque<OrderEvent>,
    told: usize,
}

const ORDERED: i64 = 500;

impl Outside {
    fn filled(&self) -> i64 {
        self.children.iter().map(|c| c.2).sum()
    }

    fn open(&self) -> i64 {
        self.children.iter().map(|c| c.1).sum()
    }

    fn say(&mut self, child: Option<ChildUpdate>) {
        self.told += 1;
        let event_type = if child.is_some() { OrderEventType::ChildUpdated } else { OrderEventType::Released };
        self.waiting.push_back(OrderEvent {
            event_id: format!("e{}", self.told),
            timestamp: after(0),
            order_id: "o1".into(),
            portfolio_id: "P1".into(),
            instrument_id: "X".into(),
            event_type,
            leaves_qty: qty(ORDERED - self.filled()),
            child,
            ..OrderEvent::default()
        });
    }

    fn change(&mut self, n: usize, fill: i64, ends: Option<bool>) {
        let Some((id, open, cum)) = self.children.iter_mut().filter(|c| c.1 > 0).nth(n) else { return };
        let part = fill.min(*open);
        (*open, *cum) = (if ends.is_some() { 0 } else { *open - part }, *cum + part);
        let (status, said) = match (ends, *open) {
            (Some(true), _) => (OrdStatus::Rejected, ExecType::Rejected),
            (Some(false), _) => (OrdStatus::Canceled, ExecType::Canceled),
            (None, 0) => (OrdStatus::Filled, ExecType::Trade),
            (None, _) => (OrdStatus::PartiallyFilled, ExecType::Trade),
        };
        let update = ChildUpdate {
            cl_ord_id: id.clone(),
            ord_status: status,
            exec_type: Some(said),
            cum_qty: qty(*cum),
            leaves_qty: qty(*open),
            last_px: (part > 0).then(|| num("100.1")),
            ..ChildUpdate::default()
        };
        self.say(Some(update));
    }

    fn arrive(&mut self, bench: &mut StageBench, count: usize) {
        for _ in 0..count.min(self.waiting.len()) {
            bench.record(ORDERS, &self.waiting.pop_front().unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Trading rule 4: whatever slices ask for and however late order events come, open children and fills are never more than
    /// was ordered, and a plan always adds up.
    #[test]
    fn rule_4_never_more_in_the_market_than_the_order_has_open(steps in prop::collection::vec(step(), 1..40)) {
        let mut w = world(1);
        w.venues.push(Venue { kind: fillstream_schemas::reference::VenueKind::Dark, ..venue("D", "0") });
        w.config.single_venue_below = num("1000");
        let mut bench = w.bench();
        let mut outside = Outside { children: Vec::new(), waiting: Default::default(), told: 0 };
        outside.say(None);
        outside.arrive(&mut bench, 1);
        for (n, step) in (1_i32..).zip(steps) {
            match step {
                Step::Slice(quantity, dark) => {
                    let ratio = dark.then(|| num("0.5"));
                    let slice = Slice { event_id: format!("s{n}"), slice_no: n, dark_pool_ratio: ratio, ..slice(quantity) };
                    let plan: RoutingPlan = bench.record(SLICES, &slice).take_one();
                    let routed = Quantity::sum(plan.venue_allocations.iter().map(|l| l.quantity)).unwrap();
                    prop_assert_eq!(routed.checked_add(plan.unrouted_qty).unwrap(), plan.quantity);
                    let sent = plan.venue_allocations.iter().map(|l| {
                        (l.cl_ord_id.clone(), l.quantity.to_string().parse().unwrap(), 0)
                    });
                    outside.children.extend(sent);
                }
                Step::Fill(n, quantity) => outside.change(n, quantity, None),
                Step::End(n, rejected) => outside.change(n, 0, Some(rejected)),
                Step::Arrive(count) => outside.arrive(&mut bench, count),
            }
            prop_assert!(outside.open() + outside.filled() <= ORDERED, "{} open, {} filled", outside.open(), outside.filled());
        }
    }
}
