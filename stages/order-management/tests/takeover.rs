//! Another account takes over from one whose children were rejected (trading rules 25 and 27): through order-management,
//! account-allocation and the strategy, and what order-management does while it waits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::*;
use fillstream_account_allocation::AccountAllocator;
use fillstream_core::StageHandle;
use fillstream_domain::{ExecType, OrdStatus, Quantity};
use fillstream_execution_strategy::ExecutionStrategy;
use fillstream_order_management::OrderManagement;
use fillstream_reference::ReferenceData;
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, AuditEntry, Command, CommandAction, ExecutionReport, OrderEvent,
    OrderEventType as E, ParentStatus as S, RiskAlert, RoutingPlan, Slice, TradeExecuted, ValidatedOrder,
};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::OmsOrder;
use fillstream_testkit::StageBench;
use proptest::prelude::*;

/// Accounts A1 to A4; the last two have less margin than they need to take part at first.
fn reference(margin: &str, version: i32) -> ReferenceData {
    let mut reference = World::default().reference.unwrap();
    for n in 1..=4 {
        let account = Account {
            account_id: format!("A{n}"),
            portfolio_id: "P1".into(),
            currency: "USD".into(),
            is_active: true,
            available_margin: (n > 2).then(|| num(margin)),
            version,
            ..Account::default()
        };
        put(&mut reference, "reference.accounts.v1", &account.account_id, &account);
    }
    reference
}

fn at_once() -> CoordinatedTradingDecision {
    let mut decision = decision("D1");
    decision.execution_strategy.execution_algorithm = "MARKET".into();
    decision.execution_strategy.time_in_force = "IOC".into();
    decision
}

/// The three stages with order D1 over A1 and A2, 50 each, of which one slice each is released; then A3 and A4 may take over.
fn shared() -> Path {
    shared_by(&at_once())
}

fn shared_by(decision: &CoordinatedTradingDecision) -> Path {
    let strategy = fillstream_execution_strategy::Config { max_completions: 0, ..Default::default() };
    let stages = vec![
        StageHandle::of(OrderManagement::new(World::default().config).unwrap()),
        StageHandle::of(AccountAllocator::new(Default::default()).unwrap()),
        StageHandle::of(ExecutionStrategy::new(strategy).unwrap()),
    ];
    let mut bench = StageBench::path(stages);
    bench.table(reference("900", 1)).table(World::default().market.unwrap()).table(World::default().controls.unwrap());
    bench.at(at(NOON)).record(DECISIONS, decision);
    let created = bench.take_one::<OrderEvent>();
    let terms = created.terms.clone().unwrap();
    bench.record(VERDICTS, &ValidatedOrder { quote: Some(terms.quote.clone()), terms, ..approval() });
    let mut path =
        Path { bench, life: vec![created], held: BTreeMap::new(), allocations: vec![], slices: vec![], trades: 0 };
    path.look();
    path.bench.table(reference("50000", 2));
    path
}

struct Path {
    bench: StageBench,
    life: Vec<OrderEvent>,
    /// What each account has by the allocations.
    held: BTreeMap<String, Quantity>,
    allocations: Vec<AccountAllocation>,
    slices: Vec<Slice>,
    trades: usize,
}

impl Path {
    /// Takes what was written. Trading rule 25 holds in every record, and what the accounts have is what it says.
    fn look(&mut self) -> &mut Self {
        let rows = self.bench.take::<AccountAllocation>();
        for row in rows.iter().cloned() {
            if let (Some(id), Some(kept)) = (&row.ended_account_id, row.ended_account_qty) {
                self.held.insert(id.clone(), kept);
            }
            if let Some(id) = &row.account_id {
                let before = self.held.get(id).copied().unwrap_or_default();
                let more = if row.kind == AllocationKind::Reduction { Quantity::ZERO } else { before };
                self.held.insert(id.clone(), more.checked_add(row.quantity).unwrap());
            }
            assert_eq!(row.allocated_qty.checked_add(row.unallocated_qty).unwrap(), row.parent_qty, "rule 25");
            if row.account_no == row.account_count {
                assert_eq!(Quantity::sum(self.held.values().copied()).unwrap(), row.allocated_qty, "{row:?}");
            }
            self.allocations.push(row);
        }
        self.slices.extend(self.bench.take::<Slice>());
        self.life.extend(self.bench.take::<OrderEvent>());
        self.trades += self.bench.take::<TradeExecuted>().len();
        self.bench.take::<AuditEntry>();
        assert!(self.bench.take_dead_letters().is_empty());
        if rows.is_empty() {
            return self;
        }
        // What goes back to a stage before comes by its topic.
        self.bench.records(ALLOCATIONS, &rows);
        self.look()
    }

    fn report(&mut self, report: &ExecutionReport) -> &mut Self {
        self.bench.record(REPORTS, report);
        self.look()
    }

    /// Routes a slice of an account to children.
    fn route(&mut self, account: &str, legs: &[(&str, &str)]) -> &mut Self {
        let slice = self.slices.iter().rfind(|slice| slice.account_id == account).cloned().unwrap();
        self.route_slice(&slice, legs)
    }

    fn route_slice(&mut self, slice: &Slice, legs: &[(&str, &str)]) -> &mut Self {
        let plan = RoutingPlan {
            event_id: format!("{}-{}", slice.account_id, slice.slice_no),
            account_id: slice.account_id.clone(),
            terms_revision: slice.terms_revision,
            ..plan(slice.slice_no, slice.is_last, legs)
        };
        self.bench.record(PLANS, &plan);
        self.look()
    }

    fn last(&self) -> &OrderEvent {
        self.life.last().unwrap()
    }

    fn held(&self) -> Vec<(&str, String)> {
        self.held.iter().map(|(id, quantity)| (id.as_str(), quantity.to_string())).collect()
    }
}

fn of(account: &str, quantity: &str, report: ExecutionReport) -> ExecutionReport {
    ExecutionReport { account_id: account.into(), ord_qty: num(quantity), ..report }
}

fn rejected(account: &str, cl_ord_id: &str, quantity: &str) -> ExecutionReport {
    of(account, quantity, report(cl_ord_id, &format!("x-{cl_ord_id}"), ExecType::Rejected))
}

/// A1 has filled 20 of 50, the rest was rejected; A2 works.
fn failed() -> Path {
    let mut path = shared();
    path.route("A1", &[("C1", "20"), ("C2", "30")]).route("A2", &[("D1", "50")]);
    path.report(&of("A1", "20", fill("C1", "e1", "20", "100")));
    assert_eq!(path.allocations.len(), 2, "C2 works");
    path.report(&rejected("A1", "C2", "30"));
    path
}

#[test]
fn rule_27_rejected_children_let_another_account_take_over() {
    let mut path = failed();
    let told = path.last().clone();
    assert_eq!((told.event_type, code(&told), told.child.is_none()), (E::ChildUpdated, "CHILDREN_REJECTED", true));
    let account = told.account.unwrap();
    assert_eq!((account.account_id.as_str(), account.ended_code.as_deref()), ("A1", Some("CHILDREN_REJECTED")));
    // 95 % of 30, whole lots of 10.
    assert_eq!(path.held(), [("A1", "20".into()), ("A2", "50".into()), ("A3", "20".into())]);
    let row = path.allocations.last().unwrap();
    assert_eq!((row.kind, row.unallocated_qty), (AllocationKind::Fallback, num("10")));
    let slice = path.slices.last().unwrap();
    assert_eq!((slice.account_id.as_str(), slice.quantity), ("A3", num("20")));
    let orders = path.bench.restart().state::<OmsOrder>("orders");
    let order = &orders[&id()];
    assert_eq!((order.accounts["A1"].ord_qty, order.accounts["A1"].asked), (num("20"), false));
    path.route("A3", &[("F1", "20")]).report(&of("A3", "20", fill("F1", "e2", "20", "100")));
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100")));
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Expired, "100 90 0 10 0 0".into()));
    assert!(path.last().reason_text.as_ref().unwrap().contains("FALLBACK_REDUCED"));
    check_life(&path.life);
}

/// The same order, which may be replaced.
fn for_the_day() -> CoordinatedTradingDecision {
    let mut decision = at_once();
    decision.execution_strategy.time_in_force = "DAY".into();
    decision
}

#[test]
fn rule_27_who_takes_over_after_a_replace_has_the_replaced_terms_and_the_order_ends() {
    let mut path = shared_by(&for_the_day());
    let horizon = Command { new_horizon: Some("PT1H".into()), ..command("K1", CommandAction::Replace) };
    path.bench.record(COMMANDS, &horizon);
    path.look();
    let asked = path.last().revision;
    path.bench.record(VERDICTS, &common::answer(asked, true));
    path.look();
    // The slices of the former terms, and the last ones of those in force.
    for slice in path.slices.clone() {
        let legs: &[(&str, &str)] = match (slice.account_id.as_str(), slice.quantity.is_zero()) {
            (_, true) => &[],
            ("A1", false) => &[("C1", "50")],
            (_, false) => &[("D1", "50")],
        };
        path.route_slice(&slice, legs);
    }
    path.report(&rejected("A1", "C1", "50"));
    assert_eq!(path.held(), [("A1", "0".into()), ("A2", "50".into()), ("A3", "40".into())]);
    let slice = path.slices.last().cloned().unwrap();
    assert_eq!((slice.account_id.as_str(), slice.terms_revision), ("A3", asked + 1));
    assert_eq!(path.allocations.last().unwrap().terms_revision, asked + 1);
    path.report(&of("A2", "50", fill("D1", "e1", "50", "100")));
    path.route("A3", &[("F1", "40")]).report(&of("A3", "40", fill("F1", "e2", "40", "100")));
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Expired, "100 90 0 10 0 0".into()));
}

#[test]
fn rule_27_a_child_of_former_terms_is_no_reason_to_take_over() {
    let mut path = shared_by(&for_the_day());
    path.bench.record(COMMANDS, &Command { new_horizon: Some("PT1H".into()), ..command("K1", CommandAction::Replace) });
    path.look();
    let asked = path.last().revision;
    path.bench.record(VERDICTS, &common::answer(asked, true));
    path.look();
    let slices = path.slices.clone();
    let of = |account: &str, is_last_one: bool| {
        let mut of = slices.iter().filter(|slice| slice.account_id == account);
        if is_last_one { of.next_back() } else { of.next() }.unwrap()
    };
    path.route_slice(of("A1", false), &[("C1", "50")]).route_slice(of("A2", false), &[("D1", "50")]);
    path.bench.record(ALERTS, &RiskAlert { code: "STALE_TERMS".into(), ..refused_child("C1") });
    path.look();
    assert_eq!((code(path.last()), path.last().working_qty), ("STALE_TERMS", num("50")), "its quantity is given back");
    path.report(&of_a2_filled()).route_slice(of("A2", true), &[]).route_slice(of("A1", true), &[]);
    assert!(path.allocations.iter().all(|row| row.kind == AllocationKind::Primary));
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Expired, "100 50 0 50 0 0".into()));
}

fn of_a2_filled() -> ExecutionReport {
    of("A2", "50", fill("D1", "e1", "50", "100"))
}

#[test]
fn rule_27_unknown_blocks_a_takeover_until_it_is_resolved() {
    let mut path = shared();
    path.route("A1", &[("C1", "20"), ("C2", "30")]).route("A2", &[("D1", "50")]);
    path.report(&rejected("A1", "C1", "20"));
    let silent = of("A1", "30", report("C2", "u1", ExecType::OrderStatus));
    path.report(&ExecutionReport { ord_status: OrdStatus::Unknown, ..silent.clone() });
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100")));
    assert_eq!((path.allocations.len(), path.last().is_terminal), (2, false));
    let never = ExecutionReport { event_id: "r-u2".into(), ord_status: OrdStatus::Rejected, ..silent };
    path.report(&never);
    // 95 % of 50: 47.5.
    assert_eq!(path.held(), [("A1", "0".into()), ("A2", "50".into()), ("A3", "40".into())]);
}

#[test]
fn rule_27_a_late_fill_is_never_allocated_twice() {
    let mut path = failed();
    path.route("A3", &[("F1", "20")]);
    path.report(&of("A1", "30", fill("C2", "late-1", "10", "100")));
    assert_eq!(path.held(), [("A1", "30".into()), ("A2", "50".into()), ("A3", "20".into())], "it fits what nobody has");
    path.report(&of("A1", "30", fill("C2", "late-2", "20", "100")));
    assert_eq!(path.held(), [("A1", "50".into()), ("A2", "50".into()), ("A3", "0".into())]);
    // Filled by late fills while a child of A3 is open: the order asks for the end, and has it by proof.
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100")));
    assert_eq!((path.last().event_type, code(path.last())), (E::CancelRequested, "FILLED_CANCEL_REST"));
    path.route("A1", &[]).route("A2", &[]).route("A3", &[]);
    path.report(&of("A3", "20", report("F1", "e4", ExecType::Canceled)));
    assert_eq!((path.last().status, totals(path.last()).join(" ")), (S::Filled, "100 100 0 0 0 0".into()));
    check_life(&path.life);
}

#[test]
fn rule_27_an_order_filled_by_a_late_fill_waits_for_the_plan_of_who_took_over() {
    let mut path = failed();
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100")));
    // The slice of A3 is under way: no plan of it, no child.
    path.report(&of("A1", "30", fill("C2", "late", "30", "100")));
    assert!(!path.life.iter().any(|event| event.is_terminal), "a filled order with a slice under way");
    for account in ["A1", "A2", "A3"] {
        path.route(account, &[]);
    }
    assert_eq!(path.last().event_type, E::Filled);
}

#[test]
fn rule_27_other_ends_and_the_last_account_are_not_taken_over() {
    let mut path = shared();
    path.route("A1", &[("C1", "20"), ("C2", "30")]).route("A2", &[("D1", "50")]);
    path.report(&of("A1", "20", report("C1", "e1", ExecType::Expired))).report(&rejected("A1", "C2", "30"));
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100")));
    assert_eq!((path.allocations.len(), path.last().event_type), (2, E::Expired));
    // One after another fails, until nobody is left.
    let mut path = failed();
    path.report(&rejected("A2", "D1", "50"));
    path.route("A3", &[("F1", "20")]).route("A4", &[("G1", "40")]);
    path.report(&rejected("A3", "F1", "20")).report(&rejected("A4", "G1", "40"));
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Expired, "100 20 0 80 0 0".into()));
    // Nobody is left for what the last ones leave: it is with no account.
    assert_eq!(path.held(), [("A1", "20".into()), ("A2", "0".into()), ("A3", "0".into()), ("A4", "0".into())]);
    let row = path.allocations.last().unwrap();
    assert_eq!((row.unallocated_qty, row.unallocated_code.as_deref()), (num("80"), Some("NO_ELIGIBLE_ACCOUNT")));
    assert!(path.last().reason_text.as_ref().unwrap().contains("NO_ELIGIBLE_ACCOUNT"));
    check_life(&path.life);
}

/// An account of 50 whose first child left all of it, which was released again.
fn released_again(first: ExecType, second: ExecType) -> OrderEvent {
    let mut bench = World { reference: Some(reference("50000", 1)), ..World::default() }.bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval());
    bench.record(ALLOCATIONS, &part("A1", 1, (1, 1), "50")).record(PLANS, &plan(1, false, &[("C1", "50")]));
    bench.record(REPORTS, &of("A1", "50", report("C1", "e1", first)));
    bench.record(PLANS, &plan(2, true, &[("C2", "50")])).take::<OrderEvent>();
    bench.record(REPORTS, &of("A1", "50", report("C2", "e2", second))).take::<OrderEvent>().pop().unwrap()
}

#[test]
fn rule_27_what_the_last_children_left_decides_whether_an_account_was_rejected() {
    let told = released_again(ExecType::Canceled, ExecType::Rejected);
    assert_eq!(code(&told), "CHILDREN_REJECTED", "the rest of a child that took what was there went on");
    let told = released_again(ExecType::Rejected, ExecType::Expired);
    assert_eq!(code(&told), "SCHEDULE_COMPLETE", "what was rejected first had another chance");
}

/// A3 took over 20 and is cut to 10 by a late fill of A1; before order-management hears of it, its child is rejected.
fn crossed() -> Path {
    let mut path = failed();
    path.route("A3", &[("F1", "20")]);
    path.bench.record(REPORTS, &of("A1", "30", fill("C2", "late", "20", "100")));
    path.bench.record(REPORTS, &rejected("A3", "F1", "20"));
    path.life.extend(path.bench.take::<OrderEvent>());
    let told = path.last().account.clone().unwrap();
    assert_eq!((told.account_id.as_str(), told.ord_qty), ("A3", num("20")), "what it had before the cut");
    assert!(!path.last().is_terminal);
    path
}

#[test]
fn rule_27_what_was_said_of_another_quantity_is_said_anew() {
    let mut path = crossed();
    path.look();
    let told = path.life.iter().rfind(|event| code(event) == "CHILDREN_REJECTED").unwrap().account.clone().unwrap();
    assert_eq!((told.account_id.as_str(), told.ord_qty), ("A3", num("10")));
    // 95 % of 10 is no lot: nobody takes it.
    assert_eq!(path.held(), [("A1", "40".into()), ("A2", "50".into()), ("A3", "0".into())]);
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100")));
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Expired, "100 90 0 10 0 0".into()));
    check_life(&path.life);
}

#[test]
fn rule_27_an_order_that_is_being_ended_gives_up_what_nobody_has_answered() {
    let mut path = crossed();
    path.bench.record(COMMANDS, &cancel("K1")).timer_to(at(NOON + 31 * SECOND));
    path.look();
    let reminder = path.life.iter().rfind(|event| code(event) == "END_OVERDUE").unwrap();
    assert_eq!(reminder.account.as_ref().unwrap().account_id, "A3");
    let row = path.allocations.last().unwrap();
    assert_eq!((row.ended_account_id.as_deref(), row.ended_account_qty), (Some("A3"), Some(num("0"))));
    assert_eq!(path.held(), [("A1", "40".into()), ("A2", "50".into()), ("A3", "0".into())]);
    path.report(&of("A2", "50", report("D1", "e3", ExecType::Canceled)));
    for account in ["A1", "A2", "A3"] {
        path.route(account, &[]);
    }
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Cancelled, "100 40 0 60 0 0".into()));
    check_life(&path.life);
}

#[test]
fn rule_27_a_suspended_order_is_taken_over_when_it_goes_on() {
    let mut path = shared();
    path.route("A1", &[("C1", "20"), ("C2", "30")]).route("A2", &[("D1", "50")]);
    path.bench.record(COMMANDS, &command("K1", CommandAction::Suspend));
    path.report(&of("A1", "20", fill("C1", "e1", "20", "100"))).report(&rejected("A1", "C2", "30"));
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100")));
    assert_eq!((path.allocations.len(), path.slices.len()), (2, 2), "it rests");
    path.bench.restart().record(COMMANDS, &command("K2", CommandAction::Resume));
    path.look();
    assert_eq!(path.held(), [("A1", "20".into()), ("A2", "50".into()), ("A3", "20".into())]);
    path.route("A3", &[("F1", "20")]).report(&of("A3", "20", fill("F1", "e4", "20", "100")));
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Expired, "100 90 0 10 0 0".into()));
    check_life(&path.life);
}

/// A1 has filled 20 of 50 and failed, A3 has taken over 20; then the order is replaced. All its slices are routed.
fn replaced_after_a_takeover(quantity: &str) -> Path {
    let mut path = shared_by(&for_the_day());
    path.route("A1", &[("C1", "20"), ("C2", "30")]).route("A2", &[("D1", "50")]);
    path.report(&of("A1", "20", fill("C1", "e1", "20", "100"))).report(&rejected("A1", "C2", "30"));
    path.route("A3", &[("F1", "20")]);
    let before = path.slices.len();
    path.bench.record(COMMANDS, &replace_qty("K1", quantity));
    path.look();
    let asked = path.last().revision;
    path.bench.record(VERDICTS, &common::answer(asked, true));
    path.look();
    for slice in path.slices.split_off(before) {
        assert_eq!((slice.terms_revision, slice.is_last), (asked + 1, true), "{slice:?}");
        let (id, quantity) = (format!("R-{}", slice.account_id), slice.quantity.to_string());
        let leg = [(id.as_str(), quantity.as_str())];
        path.route_slice(&slice, if slice.quantity.is_zero() { &[] } else { &leg });
    }
    path
}

#[test]
fn rule_27_more_of_a_replaced_order_goes_to_accounts_that_have_not_failed() {
    let mut path = replaced_after_a_takeover("140");
    let held = path.held.clone();
    assert_eq!(held["A1"], num("20"), "it failed");
    let more: Vec<_> = held.iter().filter(|(id, _)| *id != "A1").map(|(_, quantity)| *quantity).collect();
    assert_eq!(Quantity::sum(more).unwrap(), num("110"), "50, 20 and the 40 more");
    path.report(&of("A2", "50", fill("D1", "e3", "50", "100"))).report(&of("A3", "20", fill("F1", "e4", "20", "100")));
    for (n, (account, had)) in [("A2", "50"), ("A3", "20"), ("A4", "0")].into_iter().enumerate() {
        let more = held.get(account).map_or(Quantity::ZERO, |all| all.less_at_most(num(had))).to_string();
        if more != "0" {
            path.report(&of(account, &more, fill(&format!("R-{account}"), &format!("m{n}"), &more, "100")));
        }
    }
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Expired, "140 130 0 10 0 0".into()));
    check_life(&path.life);
}

#[test]
fn rule_27_less_of_a_replaced_order_is_taken_from_what_nobody_has_first() {
    let mut path = replaced_after_a_takeover("70");
    // 90 are filled or held by children: the 10 that nobody has go at once, the others as children give them up.
    assert_eq!(path.allocations.last().unwrap().unallocated_qty, num("0"));
    assert_eq!(path.held(), [("A1", "20".into()), ("A2", "50".into()), ("A3", "20".into())]);
    for (account, child, had, filled) in [("A2", "D1", "50", "40"), ("A3", "F1", "20", "10")] {
        path.report(&of(account, had, fill(child, &format!("f-{child}"), filled, "100")));
        path.report(&of(account, had, report(child, &format!("c-{child}"), ExecType::Canceled)));
    }
    assert_eq!(path.held(), [("A1", "20".into()), ("A2", "40".into()), ("A3", "10".into())]);
    assert_eq!((path.last().event_type, totals(path.last()).join(" ")), (E::Filled, "70 70 0 0 0 0".into()));
    check_life(&path.life);
}

/// Order-management alone, with A1 rejected and A2 filled: it waits for the answer.
fn asking() -> StageBench {
    let mut bench = World { reference: Some(reference("50000", 1)), ..World::default() }.bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval());
    for (n, account) in [(1, "A1"), (2, "A2")] {
        bench.record(ALLOCATIONS, &part(account, 1, (n, 2), "50"));
        bench.record(PLANS, &RoutingPlan { account_id: account.into(), ..plan(1, true, &[(account, "50")]) });
    }
    bench.record(REPORTS, &of("A2", "50", fill("A2", "e1", "50", "100"))).record(REPORTS, &rejected("A1", "A1", "50"));
    let last = bench.take::<OrderEvent>().pop().unwrap();
    assert_eq!((code(&last), last.is_terminal), ("CHILDREN_REJECTED", false));
    bench.take::<AuditEntry>();
    bench
}

fn part(account: &str, revision: i32, (no, count): (i32, i32), quantity: &str) -> AccountAllocation {
    AccountAllocation {
        event_id: format!("{account}-{revision}"),
        account_id: Some(account.into()),
        kind: AllocationKind::Primary,
        revision,
        account_no: no,
        account_count: count,
        quantity: num(quantity),
        ..allocation()
    }
}

/// A3 takes over what A1 left, or nobody does.
fn answer(takes: bool) -> AccountAllocation {
    let kept = AccountAllocation {
        ended_account_id: Some("A1".into()),
        ended_account_qty: Some(num("0")),
        unallocated_code: Some("FALLBACK_REDUCED".into()),
        ..part("A3", 2, (1, 1), "40")
    };
    match takes {
        true => AccountAllocation { kind: AllocationKind::Fallback, ..kept },
        false => {
            AccountAllocation { account_id: None, kind: AllocationKind::None, account_no: 0, account_count: 0, ..kept }
        }
    }
}

#[test]
fn an_accounts_average_is_that_of_its_own_fills() {
    let mut path = shared();
    path.route("A1", &[("C1", "50")]).route("A2", &[("D1", "50")]);
    let average = |path: &Path| {
        let event = path.last();
        let account = event.account.as_ref().unwrap();
        (account.account_id.clone(), account.avg_px, event.avg_px)
    };
    path.report(&of("A1", "50", fill("C1", "e1", "10", "100")));
    assert_eq!(average(&path), ("A1".into(), "100".parse().ok(), "100".parse().ok()));
    path.report(&of("A2", "50", fill("D1", "e2", "30", "104")));
    assert_eq!(average(&path), ("A2".into(), "104".parse().ok(), "103".parse().ok()));
    path.report(&of("A1", "50", fill("C1", "e3", "30", "102")));
    assert_eq!(average(&path).1, "101.5".parse().ok());
    path.bench.restart();
    path.report(&of("A1", "50", bust("C1", "e4", "e1")));
    assert_eq!(average(&path).1, "102".parse().ok(), "a bust takes its price back");
}

#[test]
fn rule_27_an_order_does_not_end_before_the_answer() {
    let mut bench = asking();
    bench.record(ALLOCATIONS, &answer(false));
    let ended = expect(&mut bench, &[E::Expired]);
    assert_eq!(totals(&ended[0]).join(" "), "100 50 0 50 0 0");
    // A cancel or the end of its time does not end it either: who takes over may have a schedule already.
    let mut bench = asking();
    bench.record(COMMANDS, &cancel("K1")).timer_to(at(NOON + 31 * SECOND)).restart();
    let events = expect(&mut bench, &[E::CancelRequested, E::CancelRequested]);
    let asked = events[1].account.as_ref().unwrap();
    assert_eq!(
        (asked.account_id.as_str(), asked.ended_code.as_deref()),
        ("A1", Some("CHILDREN_REJECTED")),
        "asked again"
    );
    bench.record(ALLOCATIONS, &answer(true));
    expect(&mut bench, &[]);
    bench.record(PLANS, &RoutingPlan { account_id: "A3".into(), ..plan(1, true, &[]) });
    expect(&mut bench, &[E::Cancelled]);
}

#[test]
fn rule_27_a_late_fill_does_not_end_an_order_before_the_answer() {
    let mut bench = asking();
    bench.record(REPORTS, &of("A1", "50", fill("A1", "late", "50", "100")));
    expect(&mut bench, &[E::ChildUpdated, E::CancelRequested]);
    bench.record(ALLOCATIONS, &answer(true));
    expect(&mut bench, &[]);
    bench.record(PLANS, &RoutingPlan { account_id: "A3".into(), ..plan(1, true, &[]) });
    expect(&mut bench, &[E::Filled]);
}

#[test]
fn rule_27_a_suspended_order_asks_when_it_goes_on() {
    let mut bench = World { reference: Some(reference("50000", 1)), ..World::default() }.bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench.record(PLANS, &plan(1, true, &[("C1", "100")]));
    bench.record(COMMANDS, &command("K1", CommandAction::Suspend));
    bench.record(REPORTS, &rejected("A1", "C1", "100")).take::<OrderEvent>();
    bench.record(COMMANDS, &command("K2", CommandAction::Resume));
    let events = expect(&mut bench, &[E::Resumed, E::ChildUpdated]);
    assert_eq!(code(&events[1]), "CHILDREN_REJECTED");
}

#[derive(Clone, Debug)]
enum Fate {
    Filled,
    Rejected,
    Late(i64),
    Cancelled,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => Just(Fate::Filled),
        4 => Just(Fate::Rejected),
        3 => (1_i64..=2).prop_map(Fate::Late),
        1 => Just(Fate::Cancelled),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever becomes of the children of whichever account, in whatever order: nothing is allocated twice, and the order
    /// ends once.
    #[test]
    fn rule_25_allocated_and_unallocated_stay_the_parent_and_the_order_ends_once(
        fates in prop::collection::vec(fate(), 40),
        places in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let mut path = shared();
        let mut fates = fates.into_iter();
        let (mut routed, mut waiting) = (0, Vec::new());
        for (n, place) in places.into_iter().enumerate() {
            while let Some(slice) = path.slices.get(routed).cloned() {
                routed += 1;
                let id = format!("{}-{}", slice.account_id, slice.slice_no);
                let quantity = slice.quantity.to_string();
                let legs = [(id.as_str(), quantity.as_str())];
                let legs = if slice.quantity.is_zero() { &legs[..0] } else { &legs[..] };
                let plan = RoutingPlan {
                    event_id: format!("plan-{id}"),
                    account_id: slice.account_id.clone(),
                    terms_revision: slice.terms_revision,
                    ..plan(slice.slice_no, slice.is_last, legs)
                };
                path.bench.record(PLANS, &plan);
                path.look();
                if !slice.quantity.is_zero() {
                    waiting.push((slice.account_id, id, quantity, fates.next().unwrap_or(Fate::Rejected)));
                }
            }
            if waiting.is_empty() {
                break;
            }
            let (account, id, quantity, fate) = waiting.swap_remove(place.index(waiting.len()));
            match fate {
                Fate::Filled => path.report(&of(&account, &quantity, fill(&id, &format!("f{n}"), &quantity, "100"))),
                Fate::Rejected => path.report(&rejected(&account, &id, &quantity)),
                Fate::Cancelled => path.report(&of(&account, &quantity, report(&id, &format!("c{n}"), ExecType::Canceled))),
                Fate::Late(lots) => {
                    path.report(&rejected(&account, &id, &quantity));
                    let most: Quantity = num(&quantity);
                    let late = Quantity::from_int(lots * 10).unwrap().min(most).to_string();
                    path.report(&of(&account, &quantity, fill(&id, &format!("l{n}"), &late, "100")))
                }
            };
        }
        check_life(&path.life);
        prop_assert_eq!(path.life.iter().filter(|event| event.is_terminal).count(), 1, "{:#?}", path.life.last());
    }
}
