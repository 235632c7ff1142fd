//! Books of accounts: what fills, busts and corrections do to them, and that no account is ever over its limits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{
    NOON, ORDERS, PLANS, World, at, created, derived, fill_event, leg, limited, num, order, order_of, plan, plan_of,
};
use fillstream_domain::{AccountId, ClOrdId, Money, OrdStatus, OrderId, Side, SignedQuantity};
use fillstream_schemas::execution::{
    ChildOrder, ChildUpdate, OrderEvent, OrderEventType, ParentStatus, RiskAlert, RiskAlertType, RoutingPlan,
};
use fillstream_schemas::state::{ChildRiskHold, RiskPortfolio, RiskReservation};
use fillstream_testkit::StageBench;
use proptest::prelude::*;

fn book(bench: &StageBench, account: &str) -> (Money, String) {
    let book = bench.state::<RiskPortfolio>("accounts").remove(account).unwrap();
    (book.cash, text(book.positions.get("ACME").map(|position| position.quantity)))
}

fn text(quantity: Option<SignedQuantity>) -> String {
    quantity.map_or_else(|| "0".to_owned(), |quantity| quantity.to_string())
}

fn started(world: &World) -> StageBench {
    let mut bench = world.bench();
    bench.record(ORDERS, &created());
    bench
}

fn code(bench: &mut StageBench) -> String {
    let alert: RiskAlert = bench.take_one();
    bench.expect_no_more();
    alert.code
}

/// Trading rule 12: each child is held against the buying power and the position of its own account, with the figures.
#[test]
fn rule_12_a_child_is_held_against_its_own_account() {
    let mut world = World::default();
    world.account().cash = num("50000");
    world.limit().account_max_position_value = Some(num("45000"));
    let mut poor = world.account().clone();
    (poor.account_id, poor.cash, poor.version) = ("A2".to_owned(), num("1000"), 9);
    world.others.push(poor);
    let mut bench = started(&world);
    let legs = vec![leg(1, 1, "XA", "10")];
    bench.record(PLANS, &RoutingPlan { account_id: "A2".to_owned(), ..plan(1, legs) });
    let alert: RiskAlert = bench.take_one();
    let failed: Vec<_> = alert.checks.iter().filter(|row| !row.passed).collect();
    let row = failed[0];
    assert_eq!(
        (failed.len(), row.name.as_str(), row.code.as_deref()),
        (1, "account_buying_power", Some("INSUFFICIENT_BUYING_POWER"))
    );
    // 10 at the ask of 100 and the collar of 1 %, and 30 basis points for fees.
    assert_eq!((row.figure, row.limit, row.unit.as_str()), (Some(num("1013.03")), Some(num("1000")), "USD"));
    assert_eq!((row.scope.as_str(), row.version), ("account/A2", 9));
    bench.record(PLANS, &plan(2, vec![leg(2, 1, "XA", "390")]));
    let child: ChildOrder = bench.take_one();
    let row = child.checks.iter().find(|row| row.name == "account_position_value").unwrap();
    assert_eq!((row.figure, row.limit, row.scope.as_str()), (Some(num("39390")), Some(num("45000")), "account/A1"));
    bench.record(PLANS, &plan(3, vec![leg(3, 1, "XA", "60")]));
    assert_eq!(code(&mut bench), "MAX_ACCOUNT_POSITION", "what is open counts");
}

/// Trading rule 15: buys and sells never net, and a sell of what is held needs no cash.
#[test]
fn rule_15_open_buys_do_not_make_room_for_sells() {
    let mut world = World::default();
    world.limit().allow_short = false;
    world.account().cash = num("1100");
    world.account().positions.insert("ACME".to_owned(), num("10"));
    let mut bench = started(&world);
    bench.record(ORDERS, &order_of("O2", Side::Sell));
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    bench.record(PLANS, &plan_of("O2", Side::Sell, 1, "10"));
    assert_eq!(bench.take::<ChildOrder>().len(), 2, "all cash is tied up, the sell needs none");
    bench.record(PLANS, &plan_of("O2", Side::Sell, 2, "1"));
    assert_eq!(code(&mut bench), "SHORT_NOT_ALLOWED");
}

/// Trading rule 16: a bust reverses position and cash; a correction moves what it changes; late ones are booked too.
#[test]
fn rule_16_fills_busts_and_corrections_move_the_book_even_late() {
    let world = World::default();
    let mut bench = started(&world);
    bench.record(PLANS, &limited(plan(1, vec![leg(1, 1, "XA", "10")]), Side::Buy, "100"));
    let id = derived(1, 1, 0, 0);
    let say = |bench: &mut StageBench, event: &OrderEvent| {
        bench.record(ORDERS, event).restart();
        bench.record(ORDERS, event);
    };
    say(&mut bench, &fill_event(&id, OrdStatus::PartiallyFilled, ("6", "996"), ("4", "400")));
    assert_eq!(book(&bench, "A1"), (num("199600"), "4".to_owned()));
    assert_eq!(bench.state::<ChildRiskHold>("holds").values().next().unwrap().open_qty, num("6"));
    let fee = OrderEvent {
        fees: num("2"),
        fee_currency: Some("USD".to_owned()),
        ..fill_event(&id, OrdStatus::Filled, ("0", "990"), ("10", "1000"))
    };
    say(&mut bench, &fee);
    assert_eq!(book(&bench, "A1"), (num("198998"), "10".to_owned()));
    assert!(bench.state::<ChildRiskHold>("holds").is_empty());
    // The last fill is busted: its leaves work again and are held again.
    let bust = fill_event(&id, OrdStatus::PartiallyFilled, ("6", "996"), ("4", "400"));
    say(&mut bench, &OrderEvent { fees: num("1"), fee_currency: Some("USD".to_owned()), ..bust.clone() });
    assert_eq!(book(&bench, "A1"), (num("199599"), "4".to_owned()));
    assert_eq!(bench.state::<ChildRiskHold>("holds").values().next().unwrap().open_qty, num("6"));
    bench.record(ORDERS, &fill_event(&id, OrdStatus::Canceled, ("0", "996"), ("4", "400")));
    bench.record(ORDERS, &order(OrderEventType::Cancelled, ParentStatus::Cancelled, "0"));
    // Ended and forgotten; the price of the fill is corrected.
    let late = fill_event(&id, OrdStatus::Canceled, ("0", "0"), ("4", "396"));
    let late = OrderEvent { event_type: OrderEventType::Amended, status: ParentStatus::Cancelled, ..late };
    say(&mut bench, &late);
    assert_eq!(book(&bench, "A1"), (num("199603"), "4".to_owned()));
    assert!(bench.take::<RiskAlert>().is_empty());
}

/// A late fill after the books of its order are closed for good is an alert, never dropped in silence.
#[test]
fn what_can_no_longer_be_booked_is_a_critical_alert() {
    let world = World::default();
    let mut bench = started(&world);
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    let id = derived(1, 1, 0, 0);
    bench.record(ORDERS, &fill_event(&id, OrdStatus::Canceled, ("0", "0"), ("0", "0")));
    bench.record(ORDERS, &order(OrderEventType::Cancelled, ParentStatus::Cancelled, "0"));
    assert_eq!(bench.state::<RiskReservation>("fills").len(), 1);
    // 48 hours and on to the next midnight.
    bench.timer_to(at(NOON + 60 * 3_600_000_000 - 1));
    assert_eq!(bench.state::<RiskReservation>("fills").len(), 1);
    bench.timer_to(at(NOON + 60 * 3_600_000_000));
    assert!(bench.state::<RiskReservation>("fills").is_empty());
    bench.take::<ChildOrder>();
    let late = fill_event(&id, OrdStatus::Canceled, ("0", "0"), ("4", "400"));
    bench.record(ORDERS, &OrderEvent { event_type: OrderEventType::Amended, ..late });
    let alert: RiskAlert = bench.take_one();
    assert_eq!((alert.alert_type, alert.code.as_str()), (RiskAlertType::FillNotBooked, "FILL_NOT_BOOKED"));
    assert!(alert.text.contains(&id), "{}", alert.text);
    assert_eq!(book(&bench, "A1").0, num("200000"));
}

/// Accounts of one order: each is moved by its own children, also when these are forgotten.
#[test]
fn the_fills_of_an_order_go_to_the_accounts_of_its_children() {
    let mut world = World::default();
    let mut second = world.account().clone();
    second.account_id = "A2".to_owned();
    world.others.push(second);
    let mut bench = started(&world);
    let (order_id, account) = (OrderId::new("O1").unwrap(), AccountId::new("A2").unwrap());
    let theirs = ClOrdId::derive(&order_id, &account, 2, 1, 0, 0).unwrap().to_string();
    let mut other = leg(2, 1, "XA", "10");
    other.cl_ord_id.clone_from(&theirs);
    bench.record(PLANS, &plan(1, vec![leg(1, 1, "XA", "10")]));
    bench.record(PLANS, &RoutingPlan { account_id: "A2".to_owned(), ..plan(2, vec![other]) });
    let ours = derived(1, 1, 0, 0);
    bench.record(ORDERS, &fill_event(&ours, OrdStatus::PartiallyFilled, ("7", "997"), ("3", "300")));
    bench.record(ORDERS, &fill_event(&theirs, OrdStatus::Filled, ("0", "987"), ("13", "1310")));
    assert_eq!(book(&bench, "A1"), (num("199700"), "3".to_owned()));
    assert_eq!(book(&bench, "A2"), (num("198990"), "10".to_owned()));
    bench.record(ORDERS, &fill_event(&ours, OrdStatus::Canceled, ("0", "987"), ("13", "1310")));
    bench.record(ORDERS, &order(OrderEventType::Cancelled, ParentStatus::Cancelled, "0"));
    let slice = |event: OrderEvent, slice_no| {
        let child = event.child.clone().map(|child| ChildUpdate { slice_no, leg: 1, ..child });
        OrderEvent { child, event_type: OrderEventType::Amended, status: ParentStatus::Cancelled, ..event }
    };
    bench.record(ORDERS, &slice(fill_event(&theirs, OrdStatus::Filled, ("0", "0"), ("8", "800")), 2));
    assert_eq!(book(&bench, "A2"), (num("199500"), "5".to_owned()));
    assert_eq!(book(&bench, "A1"), (num("199700"), "3".to_owned()));
    assert!(bench.take::<RiskAlert>().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Plan { account: usize, sells: bool, quantity: i64 },
    Fill { child: usize, part: i64 },
    Bust { child: usize },
    End { child: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..2, any::<bool>(), 1_i64..60)
            .prop_map(|(account, sells, quantity)| Step::Plan { account, sells, quantity }),
        4 => (any::<usize>(), 1_i64..=10).prop_map(|(child, part)| Step::Fill { child, part }),
        1 => any::<usize>().prop_map(|child| Step::Bust { child }),
        1 => any::<usize>().prop_map(|child| Step::End { child }),
    ];
    prop::collection::vec(step, 1..40)
}

struct Child {
    id: String,
    account: usize,
    sells: bool,
    open: i64,
    filled: i64,
}

/// Both accounts over a run: what they hold by the children alone.
#[derive(Default)]
struct Model {
    children: Vec<Child>,
    slice: i32,
}

const OPENING: i64 = 20;
const CASH: i64 = 8_000;

impl Model {
    fn sum(&self, account: usize, sells: bool, of: fn(&Child) -> i64) -> i64 {
        self.children.iter().filter(|c| c.account == account && c.sells == sells).map(of).sum()
    }

    fn totals(&self, sells: bool) -> i64 {
        self.children.iter().filter(|c| c.sells == sells).map(|c| c.filled).sum()
    }

    fn say(&self, bench: &mut StageBench, n: usize, status: OrdStatus) {
        let child = &self.children[n];
        let filled = self.totals(child.sells);
        let (qty, paid) = (filled.to_string(), (filled * 100).to_string());
        let event = fill_event(&child.id, status, (&child.open.to_string(), "100000"), (&qty, &paid));
        let (order_id, side) = side(child.sells);
        bench.record(ORDERS, &OrderEvent { order_id: order_id.to_owned(), side, ..event });
    }

    fn pick(&self, n: usize, wanted: fn(&Child) -> bool) -> Option<usize> {
        let found: Vec<usize> =
            self.children.iter().enumerate().filter(|(_, child)| wanted(child)).map(|(n, _)| n).collect();
        found.get(n.checked_rem(found.len())?).copied()
    }
}

fn side(sells: bool) -> (&'static str, Side) {
    if sells { ("OS", Side::Sell) } else { ("OB", Side::Buy) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is planned, filled, busted and ended for two accounts: books are the sum of the fills, no account could
    /// come to hold less than nothing or pay more than its cash, and nothing is refused that fits.
    #[test]
    fn rule_12_no_account_is_ever_over_its_limits(steps in steps(), restart in 0_usize..40) {
        let mut world = World::default();
        world.limit().allow_short = false;
        world.account().cash = num(&CASH.to_string());
        world.account().positions.insert("ACME".to_owned(), num(&OPENING.to_string()));
        world.config.fee_reserve_bps = num("0");
        let mut second = world.account().clone();
        second.account_id = "A2".to_owned();
        world.others.push(second);
        let mut bench = world.bench();
        for sells in [false, true] {
            let (order_id, side) = side(sells);
            bench.record(ORDERS, &OrderEvent { ord_qty: num("100000"), leaves_qty: num("100000"), ..order_of(order_id, side) });
        }
        let mut model = Model::default();
        for (n, step) in steps.into_iter().enumerate() {
            if n == restart {
                bench.restart();
            }
            match step {
                Step::Plan { account, sells, quantity } => {
                    model.slice += 1;
                    let (order_id, side) = side(sells);
                    let plan = limited(plan_of(order_id, side, model.slice, &quantity.to_string()), side, "100");
                    let id = plan.venue_allocations[0].cl_ord_id.clone();
                    let account_id = ["A1", "A2"][account].to_owned();
                    bench.record(PLANS, &RoutingPlan { account_id, ..plan });
                    let open = model.sum(account, sells, |c| c.open) + quantity;
                    let (bought, sold) =
                        (model.sum(account, false, |c| c.filled), model.sum(account, true, |c| c.filled));
                    // All trades are at 100. Cash that a buy ties up may be more than there is only if it was busted free.
                    let fits = if sells {
                        open <= OPENING + bought - sold
                    } else {
                        open * 100 <= CASH - 100 * (bought - sold)
                    };
                    prop_assert_eq!(bench.take::<ChildOrder>().len(), usize::from(fits));
                    prop_assert_eq!(bench.take::<RiskAlert>().len(), usize::from(!fits));
                    if fits {
                        model.children.push(Child { id, account, sells, open: quantity, filled: 0 });
                    }
                }
                Step::Fill { child, part } => {
                    let Some(n) = model.pick(child, |c| c.open > 0) else { continue };
                    let fill = (model.children[n].open * part / 10).max(1);
                    model.children[n].open -= fill;
                    model.children[n].filled += fill;
                    let done = model.children[n].open == 0;
                    model.say(&mut bench, n, if done { OrdStatus::Filled } else { OrdStatus::PartiallyFilled });
                }
                Step::Bust { child } => {
                    let Some(n) = model.pick(child, |c| c.filled > 0 && c.open > 0) else { continue };
                    model.children[n].filled -= 1;
                    model.say(&mut bench, n, OrdStatus::PartiallyFilled);
                }
                Step::End { child } => {
                    let Some(n) = model.pick(child, |c| c.open > 0) else { continue };
                    model.children[n].open = 0;
                    model.say(&mut bench, n, OrdStatus::Canceled);
                }
            }
            bench.expect_no_more();
            let books: BTreeMap<String, RiskPortfolio> = bench.state("accounts");
            for (account, id) in ["A1", "A2"].into_iter().enumerate() {
                let Some(book) = books.get(id) else { continue };
                let net = model.sum(account, false, |c| c.filled) - model.sum(account, true, |c| c.filled);
                prop_assert_eq!(book.cash, num::<Money>(&(CASH - 100 * net).to_string()));
                let position = text(book.positions.get("ACME").map(|p| p.quantity));
                prop_assert_eq!(position, (OPENING + net).to_string());
            }
        }
    }
}
