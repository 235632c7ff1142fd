//! In paced mode nothing depends on where batches are cut, what fails and how many workers there are.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::*;
use fillstream_core::StageHandle;
use fillstream_core::group::{Group, Path};
use fillstream_domain::{ControlScope, ExecType};
use fillstream_order_management::{Config, OrderManagement, order_id};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::OrderEvent;
use fillstream_testkit::{Canonical, Cluster, Driver, FaultPlan, Setup};

const PARTITIONS: i32 = 3;
const PORTFOLIOS: i64 = 6;
const DECIDED: i64 = 4;

/// Everything about one order: the verdict, plan, refusal and reports of one instant come in no useful order.
fn order(driver: &mut Driver, portfolio: &str, n: i64) {
    let t = NOON + n * 20 * SECOND;
    let event_id = format!("{portfolio}-D{n}");
    let order_id = order_id(portfolio, &event_id);
    let name = |text: &str| format!("{event_id}-{text}");
    let mut decided = decision(&event_id);
    (decided.portfolio_id, decided.timestamp) = (portfolio.into(), at(t));
    // What is put off is put off by market time, not by where batches are cut.
    decided.decision.priority = if n % 2 == 0 { "LOW".into() } else { "HIGH".into() };
    driver.produce(DECISIONS, &decided);
    // Repeated later by a nervous producer.
    driver.produce_at(DECISIONS, &decided, at(t + 7 * SECOND));
    let mut verdict = approval();
    (verdict.order_id, verdict.portfolio_id) = (order_id.clone(), portfolio.into());
    (verdict.event_id, verdict.timestamp) = (name("V"), at(t + SECOND));
    verdict.arrival.as_mut().unwrap().arrived_at = at(t);
    driver.produce(VERDICTS, &verdict);
    let mut allocated = allocation();
    (allocated.order_id, allocated.portfolio_id) = (order_id.clone(), portfolio.into());
    (allocated.event_id, allocated.timestamp) = (name("S"), at(t + SECOND));
    driver.produce(ALLOCATIONS, &allocated);
    let (a, b) = (name("C1"), name("C2"));
    let mut routed = plan(1, n % 2 == 0, &[(&a, "40"), (&b, "60")]);
    (routed.order_id, routed.portfolio_id) = (order_id.clone(), portfolio.into());
    (routed.event_id, routed.timestamp) = (name("P"), at(t + SECOND));
    driver.produce(PLANS, &routed);
    let mut refused = refused_child(&b);
    (refused.order_id, refused.portfolio_id) = (Some(order_id.clone()), portfolio.into());
    (refused.event_id, refused.timestamp) = (name("A"), at(t + SECOND));
    driver.produce(ALERTS, &refused);
    let said = [
        (SECOND, report(&a, &name("e1"), ExecType::New)),
        (2 * SECOND, bust(&a, &name("e3"), &name("e2"))),
        (2 * SECOND, fill(&a, &name("e2"), "30", "100.5")),
        (3 * SECOND, fill(&a, &name("e4"), "40", "100.7")),
    ];
    for (after, mut report) in said {
        (report.order_id, report.portfolio_id) = (order_id.clone(), portfolio.into());
        (report.event_id, report.timestamp) = (format!("r-{}", report.exec_id), at(t + after));
        driver.produce(REPORTS, &report);
    }
    let mut command = cancel(&name("K"));
    (command.order_id, command.portfolio_id) = (order_id, portfolio.into());
    command.timestamp = at(t + 5 * SECOND);
    driver.produce(COMMANDS, &command);
    // What the strategy answers to that, or had to say about a kill.
    let mut last = plan(2, true, &[]);
    (last.order_id, last.portfolio_id) = (routed.order_id, routed.portfolio_id);
    (last.event_id, last.timestamp) = (name("L"), at(t + 6 * SECOND));
    driver.produce(PLANS, &last);
}

fn run(setup: impl FnOnce(Setup) -> Setup) -> (Canonical, BTreeMap<String, Vec<OrderEvent>>) {
    let config = Config { retire_after_ms: 30_000, ..Config::default() };
    let path = Path::new("order-path", vec![StageHandle::of(OrderManagement::new(config).unwrap())]).unwrap();
    let groups = vec![Group::fused(&path).unwrap()];
    let mut driver = setup(Setup::new(groups, Cluster::new(PARTITIONS))).start().unwrap();
    let early = at(NOON - MINUTE);
    driver.row("reference.calendars.v1", "US", &calendar("US", 9, 16), early);
    driver.row("reference.instruments.v1", "ACME", &instrument("ACME"), early);
    for second in (0..120).step_by(10) {
        let row = quote("ACME", NOON + second * SECOND - 1, second, "99", "101");
        driver.row("market.data.v1", "ACME", &row, row.event_time);
    }
    let killed = kill(ControlScope::Portfolio, "P3", NOON + 43 * SECOND);
    driver.row("execution.controls.v1", "PORTFOLIO/P3", &killed, killed.set_at);
    for portfolio in 0..PORTFOLIOS {
        for n in 0..DECIDED {
            order(&mut driver, &format!("P{portfolio}"), n);
        }
    }
    driver.run_paced(at(NOON + 5 * MINUTE)).unwrap();
    let outputs = driver.outputs().canonical();
    let mut lives: BTreeMap<String, Vec<OrderEvent>> = BTreeMap::new();
    for ((topic, _), rows) in &outputs.exact {
        if topic == "execution.orders.v1" {
            for row in rows {
                let event = OrderEvent::decode(&row.value).unwrap();
                // Revision 0: a cancel of a decision that was refused, no part of a life.
                if event.revision > 0 {
                    lives.entry(event.order_id.clone()).or_default().push(event);
                }
            }
        }
    }
    (outputs, lives)
}

#[test]
fn whole_cut_and_broken_runs_are_equal() {
    let (whole, lives) = run(|setup| setup);
    assert_eq!(i64::try_from(lives.len()).unwrap(), PORTFOLIOS * DECIDED);
    for life in lives.values() {
        check_life(life);
        assert_eq!(life.iter().filter(|e| e.is_terminal).count(), 1, "{life:#?}");
    }
    let ended = |code: &str| {
        lives.values().flatten().filter(|e| e.is_terminal && e.reason_code.as_deref() == Some(code)).count()
    };
    assert!(ended("SCHEDULE_COMPLETE") > 0 && ended("CANCEL_COMMAND") > 0 && ended("KILLED") > 0);
    for (what, other) in [
        ("one root a batch", run(|setup| setup.faults(FaultPlan::cut(1))).0),
        ("three workers", run(|setup| setup.workers(3)).0),
    ] {
        assert_eq!(whole.difference(&other), None, "{what}");
    }
    for seed in 1..=5 {
        let (broken, _) = run(|setup| setup.workers(2).faults(FaultPlan::seeded(seed)));
        assert_eq!(whole.difference(&broken), None, "seed {seed}");
    }
}
