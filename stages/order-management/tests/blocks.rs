//! A block through order-management, account-allocation and the strategy: one execution in account F for A1 and A2, shared out
//! when it has ended (trading rule 26).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_account_allocation::AccountAllocator;
use fillstream_core::StageHandle;
use fillstream_domain::{ControlScope, ExecType};
use fillstream_execution_strategy::ExecutionStrategy;
use fillstream_order_management::OrderManagement;
use fillstream_reference::{Controls, ReferenceData};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, AuditEntry, ExecutionReport, OrderEvent, OrderEventType as E, RoutingPlan,
    Slice, TradeExecuted, ValidatedOrder,
};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{OmsOrder, StrategyOrder};
use fillstream_testkit::StageBench;

fn reference() -> ReferenceData {
    let mut reference = World::default().reference.unwrap();
    for id in ["A1", "A2", "F"] {
        let account = Account {
            account_id: id.into(),
            portfolio_id: "P1".into(),
            currency: "USD".into(),
            is_block: id == "F",
            version: 1,
            ..Account::default()
        };
        put(&mut reference, "reference.accounts.v1", id, &account);
    }
    reference
}

struct Path {
    bench: StageBench,
    life: Vec<OrderEvent>,
    allocations: Vec<AccountAllocation>,
    slices: Vec<Slice>,
    trades: Vec<TradeExecuted>,
}

impl Path {
    /// Order D1: 100 at once or over half an hour, in F for A1 and A2.
    fn start(algorithm: &str) -> Self {
        let stages = vec![
            StageHandle::of(OrderManagement::new(World::default().config).unwrap()),
            StageHandle::of(AccountAllocator::new(Default::default()).unwrap()),
            StageHandle::of(ExecutionStrategy::new(Default::default()).unwrap()),
        ];
        let mut bench = StageBench::path(stages);
        bench.table(reference()).table(World::default().market.unwrap()).table(Controls::default());
        let mut decided = decision("D1");
        decided.execution_strategy.execution_algorithm = algorithm.into();
        if algorithm == "MARKET" {
            decided.execution_strategy.time_in_force = "IOC".into();
        }
        bench.at(at(NOON)).record(DECISIONS, &decided);
        let created = bench.take_one::<OrderEvent>();
        let terms = created.terms.clone().unwrap();
        bench.record(VERDICTS, &ValidatedOrder { quote: Some(terms.quote.clone()), terms, ..approval() });
        let mut path = Self { bench, life: vec![created], allocations: vec![], slices: vec![], trades: vec![] };
        path.look();
        path
    }

    fn look(&mut self) {
        let rows = self.bench.take::<AccountAllocation>();
        self.slices.extend(self.bench.take::<Slice>());
        self.life.extend(self.bench.take::<OrderEvent>());
        self.trades.extend(self.bench.take::<TradeExecuted>());
        self.bench.take::<AuditEntry>();
        assert!(self.bench.take_dead_letters().is_empty());
        if !rows.is_empty() {
            self.bench.records(ALLOCATIONS, &rows);
            self.allocations.extend(rows);
            self.look();
        }
    }

    /// Goes on to the first slice of a schedule.
    fn first_slice(&mut self) -> &mut Self {
        let mut market = World::default().market.unwrap();
        market.take(&quote("ACME", NOON + 179 * SECOND, 3, "99", "101")).unwrap();
        self.bench.table(market).timer_to(at(NOON + 180 * SECOND));
        self.look();
        self
    }

    fn report(&mut self, quantity: &str, report: ExecutionReport) -> &mut Self {
        let report = ExecutionReport { account_id: "F".into(), ord_qty: num(quantity), ..report };
        self.bench.record(REPORTS, &report);
        self.look();
        self
    }

    fn route(&mut self, legs: &[(&str, &str)]) -> &mut Self {
        let slice = self.slices.last().unwrap();
        let (account_id, terms_revision) = (slice.account_id.clone(), slice.terms_revision);
        let plan = RoutingPlan { account_id, terms_revision, ..plan(slice.slice_no, slice.is_last, legs) };
        self.bench.record(PLANS, &plan);
        self.look();
        self
    }

    fn last(&self) -> &OrderEvent {
        self.life.last().unwrap()
    }

    fn statements(&self) -> Vec<String> {
        let rows = self.allocations.iter().filter(|row| row.kind == AllocationKind::Statement);
        let shares = rows.map(|row| {
            let got = row.block_shares.iter().map(|s| format!("{} {}", s.account_id, s.filled_qty));
            format!("{}: {}", row.statement_no, got.collect::<Vec<_>>().join(", "))
        });
        shares.collect()
    }

    fn state(&self) -> OmsOrder {
        self.bench.state::<OmsOrder>("orders").remove(&id()).unwrap()
    }
}

#[test]
fn rule_26_a_block_is_one_order_and_its_statement_follows_late_busts() {
    let mut path = Path::start("MARKET");
    let slice = path.slices.last().unwrap();
    assert_eq!((path.slices.len(), slice.account_id.as_str(), slice.quantity), (1, "F", num("100")));
    assert_eq!(path.state().block_members, ["A1", "A2"]);
    path.route(&[("C1", "70"), ("C2", "30")]);
    path.report("70", fill("C1", "e1", "70", "100"));
    assert!(path.statements().is_empty(), "while it works nothing is final");
    path.report("30", report("C2", "e2", ExecType::Canceled));
    assert_eq!(path.last().event_type, E::Expired);
    // Lots of 10: the one that is left goes to A1, of equal fractions the first.
    assert_eq!(path.statements(), ["1: A1 40, A2 30"]);
    assert_eq!(path.trades.len(), 1);
    path.report("70", bust("C1", "b1", "e1"));
    assert_eq!(path.last().event_type, E::Amended);
    assert_eq!(path.statements(), ["1: A1 40, A2 30", "2: A1 0, A2 0"]);
    check_life(&path.life);
}

#[test]
fn rule_19_a_kill_of_a_member_ends_the_whole_block() {
    let mut path = Path::start("TWAP");
    path.first_slice().route(&[("C1", "10")]);
    let mut controls = Controls::default();
    controls.take("ACCOUNT/A2", kill(ControlScope::Account, "A2", NOON)).unwrap();
    path.bench.table(controls);
    path.report("10", fill("C1", "e1", "10", "100"));
    assert!(path.life.iter().any(|e| e.event_type == E::CancelRequested && code(e) == "KILLED"), "{:?}", path.last());
    path.route(&[]);
    assert_eq!((path.last().event_type, path.statements()), (E::Cancelled, vec!["1: A1 10, A2 0".to_owned()]));
}

#[test]
fn rule_27_a_block_is_not_taken_over_by_the_accounts_that_it_is_for() {
    let mut path = Path::start("MARKET");
    path.route(&[("C1", "100")]).report("100", report("C1", "x1", ExecType::Rejected));
    assert_eq!(path.last().event_type, E::Expired, "nobody is asked");
    assert!(!path.life.iter().any(|event| code(event) == "CHILDREN_REJECTED"));
    assert!(path.allocations.iter().all(|row| row.kind == AllocationKind::Primary) && path.statements().is_empty());
}

#[test]
fn rule_25_a_replaced_block_has_the_new_quantity_in_every_stage() {
    let mut path = Path::start("TWAP");
    path.first_slice();
    let first = path.slices.last().unwrap().quantity;
    path.bench.record(COMMANDS, &replace_qty("K1", "200"));
    path.look();
    let asked = path.last().revision;
    let terms = path.life[0].terms.clone().unwrap();
    let answered =
        ValidatedOrder { quote: Some(terms.quote.clone()), terms, quantity: num("200"), ..answer(asked, true) };
    path.bench.record(VERDICTS, &answered);
    path.look();
    let row = path.allocations.last().unwrap();
    assert_eq!((row.revision, row.quantity, row.account_id.as_deref()), (2, num("100"), Some("F")), "{row:?}");
    assert_eq!(path.state().accounts["F"].ord_qty, num("200"));
    let strategy = path.bench.state::<StrategyOrder>("execution-strategy/orders");
    let part = strategy.values().find(|order| order.account_id == "F").unwrap();
    assert_eq!((part.ord_qty, part.is_whole), (num("200"), false));
    assert!(first.is_positive());
}
