//! Whatever is planned, filled, rejected and cancelled in whatever order: approved open children fit the order's leaves.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{ORDERS, PLANS, World, child_event, created, leg, num, order, plan};
use fillstream_domain::OrdStatus;
use fillstream_schemas::execution::{ChildAction, ChildOrder, OrderEvent, OrderEventType, ParentStatus, RiskAlert};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Plan(Vec<i64>),
    Fill { child: usize, part: i64 },
    End { child: usize, status: OrdStatus },
    Cancel,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ended = prop_oneof![Just(OrdStatus::Rejected), Just(OrdStatus::Canceled), Just(OrdStatus::Expired)];
    let step = prop_oneof![
        4 => prop::collection::vec(1_i64..450, 1..4).prop_map(Step::Plan),
        3 => (any::<usize>(), 1_i64..10).prop_map(|(child, part)| Step::Fill { child, part }),
        2 => (any::<usize>(), ended).prop_map(|(child, status)| Step::End { child, status }),
        1 => Just(Step::Cancel),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn open_children_fit_the_leaves_and_none_is_refused_that_fits(steps in steps(), restart in 0_usize..40) {
        let mut bench = World::default().bench();
        bench.record(ORDERS, &created());
        let mut open: BTreeMap<String, i64> = BTreeMap::new();
        let (mut leaves, mut cancelling, mut cancelled) = (1_000_i64, false, BTreeSet::new());
        for (n, step) in steps.into_iter().enumerate() {
            if n == restart {
                bench.restart();
            }
            let slice = i32::try_from(n + 1).unwrap();
            match step {
                Step::Plan(quantities) => {
                    let legs = (1..).zip(&quantities).map(|(no, q)| leg(slice, no, "XA", &q.to_string())).collect();
                    let plan = plan(slice, legs);
                    bench.record(PLANS, &plan);
                    let approved: BTreeSet<String> = bench.take::<ChildOrder>().into_iter().map(|c| c.cl_ord_id).collect();
                    let refused = bench.take::<RiskAlert>().len();
                    prop_assert_eq!(approved.len() + refused, quantities.len());
                    for (leg, quantity) in plan.venue_allocations.iter().zip(quantities) {
                        let fits = open.values().sum::<i64>() + quantity <= leaves;
                        // The smallest limit of the world: 400 units at 100.
                        let expected = fits && !cancelling && quantity <= 400;
                        prop_assert_eq!(approved.contains(&leg.cl_ord_id), expected, "{:?}", leg);
                        if expected {
                            open.insert(leg.cl_ord_id.clone(), quantity);
                        }
                    }
                }
                Step::Fill { child, part } => {
                    let Some((id, held)) = pick(&open, child) else { continue };
                    let fill = (held * part / 10).max(1);
                    leaves -= fill;
                    let status = if fill == held { OrdStatus::Filled } else { OrdStatus::PartiallyFilled };
                    report(&mut bench, &mut open, &id, held - fill, status, leaves, cancelling);
                }
                Step::End { child, status } => {
                    let Some((id, _)) = pick(&open, child) else { continue };
                    report(&mut bench, &mut open, &id, 0, status, leaves, cancelling);
                }
                Step::Cancel => {
                    cancelling = true;
                    let event = order(OrderEventType::CancelRequested, ParentStatus::CancelPending, &leaves.to_string());
                    bench.record(ORDERS, &event);
                    let cancels = bench.take::<ChildOrder>();
                    prop_assert!(cancels.iter().all(|c| c.action == ChildAction::Cancel));
                    let ids: BTreeSet<String> = cancels.into_iter().filter_map(|c| c.orig_cl_ord_id).collect();
                    let expected: BTreeSet<String> =
                        open.keys().filter(|id| !cancelled.contains(*id)).cloned().collect();
                    prop_assert_eq!(&ids, &expected, "each open child once");
                    cancelled.extend(ids);
                }
            }
            prop_assert!(open.values().sum::<i64>() <= leaves);
            bench.expect_no_more();
        }
    }
}

fn pick(open: &BTreeMap<String, i64>, index: usize) -> Option<(String, i64)> {
    open.iter().nth(index.checked_rem(open.len())?).map(|(id, held)| (id.clone(), *held))
}

fn report(
    bench: &mut fillstream_testkit::StageBench,
    open: &mut BTreeMap<String, i64>,
    id: &str,
    held: i64,
    status: OrdStatus,
    leaves: i64,
    cancelling: bool,
) {
    let event = child_event(id, status, &held.to_string(), &leaves.to_string());
    let status = if cancelling { ParentStatus::CancelPending } else { ParentStatus::Working };
    bench.record(ORDERS, &OrderEvent { status, ord_qty: num("1000"), ..event });
    if held == 0 {
        open.remove(id)
    } else {
        open.insert(id.to_owned(), held)
    };
}
