//! Whatever order reports come in, however often: the same totals, and one end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_domain::{ExecType, OrdStatus};
use fillstream_schemas::execution::{
    AccountAllocation, Command, ExecutionReport, OrderEvent, RiskAlert, RoutingPlan, TradeExecuted, ValidatedOrder,
};
use fillstream_schemas::state::OmsOrder;
use fillstream_testkit::StageBench;
use proptest::prelude::*;

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "a test's inputs")]
enum Step {
    Verdict(ValidatedOrder),
    Allocation(AccountAllocation),
    Plan(RoutingPlan),
    Alert(RiskAlert),
    Report(ExecutionReport),
    Cancel(Command),
    Wait(i64),
}

/// Short: a failing case prints dozens of them.
impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Verdict(_) => write!(f, "verdict"),
            Self::Allocation(_) => write!(f, "allocation"),
            Self::Plan(plan) => write!(f, "plan {}", plan.slice_no),
            Self::Alert(alert) => write!(f, "refused {:?}", alert.cl_ord_id),
            Self::Report(r) => write!(f, "{} {} {:?}@{:?}", r.exec_id, r.exec_type, r.last_qty, r.last_px),
            Self::Cancel(_) => write!(f, "cancel"),
            Self::Wait(ms) => write!(f, "{ms} ms"),
        }
    }
}

impl Step {
    fn give(&self, bench: &mut StageBench) {
        match self {
            Self::Verdict(verdict) => bench.record(VERDICTS, verdict),
            Self::Allocation(allocation) => bench.record(ALLOCATIONS, allocation),
            Self::Plan(plan) => bench.record(PLANS, plan),
            Self::Alert(alert) => bench.record(ALERTS, alert),
            Self::Report(report) => bench.record(REPORTS, report),
            Self::Cancel(command) => bench.record(COMMANDS, command),
            Self::Wait(ms) => bench.timer_to(at(bench.now().micros() + ms * 1_000)),
        };
    }
}

/// What a broker may say of one child of 40, as a consistent story: an acknowledgement, fills, amendments of them, an
/// end.
fn story(child: usize) -> impl Strategy<Value = Vec<Step>> {
    let fills = prop::collection::vec((1_i64..25, 9_900_i64..10_100, prop::option::of(0_u8..2)), 0..4);
    (fills, any::<bool>(), 0_u8..3).prop_map(move |(fills, acknowledged, end)| {
        let cl_ord_id = format!("C{child}");
        let mut said = Vec::new();
        if acknowledged {
            said.push(report(&cl_ord_id, &format!("{child}-ack"), ExecType::New));
        }
        for (i, (qty, cents, amended)) in fills.into_iter().enumerate() {
            let (id, px) = (format!("{child}-f{i}"), format!("{}.{:02}", cents / 100, cents % 100));
            said.push(fill(&cl_ord_id, &id, &qty.to_string(), &px));
            match amended {
                Some(0) => said.push(bust(&cl_ord_id, &format!("{child}-b{i}"), &id)),
                Some(_) => said.push(ExecutionReport {
                    exec_type: ExecType::TradeCorrect,
                    ref_exec_id: Some(id),
                    ..fill(&cl_ord_id, &format!("{child}-c{i}"), "7", "101.37")
                }),
                None => {}
            }
        }
        match end {
            0 => said.push(report(&cl_ord_id, &format!("{child}-x"), ExecType::Canceled)),
            1 => said.push(report(&cl_ord_id, &format!("{child}-x"), ExecType::Expired)),
            _ => said.push(ExecutionReport {
                ord_status: OrdStatus::Canceled,
                ..report(&cl_ord_id, &format!("{child}-x"), ExecType::OrderStatus)
            }),
        }
        said.into_iter().map(Step::Report).collect()
    })
}

fn inputs() -> impl Strategy<Value = Vec<Step>> {
    let stories = (story(1), story(2), story(3));
    (stories, any::<bool>(), any::<bool>()).prop_map(|((a, b, c), refused, cancelled)| {
        let mut steps = vec![
            Step::Verdict(approval()),
            Step::Allocation(allocation()),
            Step::Plan(plan(1, false, &[("C1", "40"), ("C2", "40")])),
            Step::Plan(plan(2, true, &[("C3", "40"), ("C4", "10")])),
        ];
        steps.extend(a.into_iter().chain(b).chain(c));
        // The fourth child never leaves.
        steps.push(if refused {
            Step::Alert(refused_child("C4"))
        } else {
            Step::Report(ExecutionReport { ord_qty: num("10"), ..report("C4", "4-x", ExecType::Rejected) })
        });
        steps.extend(cancelled.then(|| Step::Cancel(cancel("K1"))));
        steps
    })
}

/// The totals that do not depend on the order of what was said: fills, their sum, fees.
fn outcome(bench: &StageBench) -> (String, Vec<u8>, String) {
    let orders = bench.state::<OmsOrder>("orders");
    let order = orders.values().next().unwrap();
    (order.fill_qty.to_string(), order.fill_product.clone(), format!("{:?}", order.fees))
}

struct Lived {
    bench: StageBench,
    life: Vec<OrderEvent>,
    trades: Vec<TradeExecuted>,
}

fn live(steps: &[Step]) -> Lived {
    let mut world = World::default();
    world.config.retire_after_ms = 7_200_000;
    let mut bench = world.bench();
    bench.record(DECISIONS, &decision("D1"));
    for step in steps {
        step.give(&mut bench);
    }
    // Past the order's own end and what is waited for after it, not past its retirement.
    let end = NOON + 31 * MINUTE;
    bench.timer_to(at(end.max(bench.now().micros())));
    assert!(bench.take_dead_letters().is_empty());
    let (life, trades) = (bench.take(), bench.take());
    Lived { bench, life, trades }
}

/// Plans are of one writer in one partition: they come in their order, whatever stands between them.
fn plans_in_order(mut steps: Vec<Step>) -> Vec<Step> {
    let is_plan = |step: &Step| matches!(step, Step::Plan(_));
    let slice_no = |step: &Step| if let Step::Plan(plan) = step { plan.slice_no } else { 0 };
    let mut plans: Vec<Step> = steps.iter().filter(|step| is_plan(step)).cloned().collect();
    plans.sort_by_key(slice_no);
    for (place, plan) in steps.iter_mut().filter(|step| is_plan(step)).zip(plans) {
        *place = plan;
    }
    steps
}

fn shuffled() -> impl Strategy<Value = (Vec<Step>, Vec<Step>)> {
    (inputs(), prop::collection::vec((any::<prop::sample::Index>(), 0_i64..400), 0..8)).prop_flat_map(
        |(steps, again)| {
            let mut noisy = steps.clone();
            for (index, wait_ms) in again {
                noisy.push(index.get(&steps).clone());
                noisy.push(Step::Wait(wait_ms));
            }
            (Just(steps), Just(noisy).prop_shuffle().prop_map(plans_in_order))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_repeat_gives_the_same_totals_and_one_end((steps, noisy) in shuffled()) {
        let (told, noisy) = (live(&steps), live(&noisy));
        prop_assert_eq!(outcome(&told.bench), outcome(&noisy.bench));
        for lived in [&told, &noisy] {
            check_life(&lived.life);
            prop_assert_eq!(lived.life.iter().filter(|e| e.is_terminal).count(), 1);
            let last = lived.life.last().unwrap();
            // The last statement of the trade is what was executed.
            let executed = lived.trades.last().map(|t| t.execution.executed_quantity).unwrap_or_default();
            prop_assert_eq!(executed, last.cum_qty.checked_add(last.overfill_qty).unwrap());
            for (i, trade) in lived.trades.iter().enumerate() {
                prop_assert_eq!(usize::try_from(trade.revision).unwrap(), i + 1);
                let shares = trade.execution.shares.iter().map(|s| s.quantity);
                prop_assert_eq!(fillstream_domain::Quantity::sum(shares).unwrap(), trade.execution.executed_quantity);
            }
        }
    }

    /// What the events tell of the children adds up to what they tell of the order.
    #[test]
    fn the_order_is_the_sum_of_its_children((_, noisy) in shuffled()) {
        let mut children = std::collections::BTreeMap::new();
        for event in live(&noisy).life {
            if let Some(child) = event.child.clone() {
                children.insert(child.cl_ord_id.clone(), child);
            }
            let filled = event.cum_qty.checked_add(event.overfill_qty).unwrap();
            let least = fillstream_domain::Quantity::sum(children.values().map(|c| c.cum_qty)).unwrap();
            // A child's own overfill stands beside its cum.
            prop_assert!(filled >= least, "{} < {}", filled, least);
            let held = fillstream_domain::Quantity::sum(children.values().map(|c| c.leaves_qty)).unwrap();
            prop_assert_eq!(event.working_qty, held.min(event.leaves_qty));
        }
    }
}
