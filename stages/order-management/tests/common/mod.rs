//! A small market, and the inputs of an order's life.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses its part")]

use std::fmt::Debug;
use std::str::FromStr;

use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{
    AssetClass, ControlScope, ExecType, LiquidityFlag, OrdStatus, OrdType, Side, TimeInForce, TimestampMicros,
};
use fillstream_order_management::{Config, Figures, OrderManagement, figures_balance, order_id, working_fits_leaves};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision, ExecutionPreference, TradeDecision};
use fillstream_schemas::execution::{
    AccountAllocation, AlertSeverity, Arrival, AuditEntry, Command, CommandAction, Control, ControlPhase, ControlState,
    ExecutionReport, OrderEvent, OrderEventType, ParentStatus, RiskAlert, RiskAlertType, RouteLeg, RoutingPlan,
    TradeExecuted, ValidatedOrder,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Calendar, Instrument};
use fillstream_testkit::StageBench;

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
/// 2026-11-18 12:00 UTC, a Wednesday.
pub const NOON: i64 = 1_795_003_200 * SECOND;
pub const DECISIONS: &str = "coordination.decisions.v1";
pub const COMMANDS: &str = "execution.commands.v1";
pub const VERDICTS: &str = "execution.validated-orders.v1";
pub const ALLOCATIONS: &str = "execution.allocations.v1";
pub const PLANS: &str = "execution.routing-plans.v1";
pub const ALERTS: &str = "execution.risk-alerts.v1";
pub const REPORTS: &str = "execution.reports.v1";

pub fn num<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn at(micros: i64) -> TimestampMicros {
    TimestampMicros::from_micros(micros)
}

pub fn instrument(id: &str) -> Instrument {
    Instrument {
        instrument_id: id.into(),
        asset_class: AssetClass::Equity,
        base_currency: id.into(),
        quote_currency: "USD".into(),
        settlement_currency: "USD".into(),
        multiplier: num("1"),
        tick_size: num("0.01"),
        lot_size: num("10"),
        min_quantity: num("20"),
        min_notional: num("500"),
        reference_venue: "XNYS".into(),
        calendar_id: "US".into(),
        version: 1,
        ..Instrument::default()
    }
}

pub fn calendar(id: &str, opens_h: i64, closes_h: i64) -> Calendar {
    Calendar {
        calendar_id: id.into(),
        opens_at_us: opens_h * HOUR,
        closes_at_us: closes_h * HOUR,
        open_weekends: false,
        holidays: Vec::new(),
        version: 1,
        ..Calendar::default()
    }
}

pub fn quote(instrument: &str, time: i64, seq: i64, bid: &str, ask: &str) -> NormalizedMarketData {
    NormalizedMarketData {
        instrument_id: instrument.into(),
        venue: "XNYS".into(),
        kind: MarketDataKind::Quote,
        event_time: at(time),
        seq,
        bid: Some(num(bid)),
        ask: Some(num(ask)),
        ..NormalizedMarketData::default()
    }
}

pub fn kill(scope: ControlScope, id: &str, set_at: i64) -> Control {
    Control {
        scope,
        scope_id: id.into(),
        state: ControlState::Killed,
        version: 1,
        actor: "ann".into(),
        second_actor: None,
        reason: "drill".into(),
        set_at: at(set_at),
        heartbeat: false,
        ..Control::default()
    }
}

pub fn pause(scope: ControlScope, id: &str, set_at: i64) -> Control {
    Control { phase: ControlPhase::Paused, ..kill(scope, id, set_at) }
}

/// The end of a pause.
pub fn resume(scope: ControlScope, id: &str, version: i64, set_at: i64) -> Control {
    let (state, phase) = (ControlState::Running, ControlPhase::Running);
    Control { state, phase, version, ..kill(scope, id, set_at) }
}

pub struct World {
    pub config: Config,
    pub reference: Option<ReferenceData>,
    pub market: Option<MarketTable>,
    pub controls: Option<Controls>,
}

impl Default for World {
    fn default() -> Self {
        let mut reference = ReferenceData::default();
        // Kill checks between records have a test of their own.
        let config = Config { kill_check_interval_ms: 0, ..Config::default() };
        put(&mut reference, "reference.calendars.v1", "US", &calendar("US", 9, 16));
        for id in ["ACME", "QUIET"] {
            put(&mut reference, "reference.instruments.v1", id, &instrument(id));
        }
        let lost = Instrument { calendar_id: "NONE".into(), ..instrument("LOST") };
        put(&mut reference, "reference.instruments.v1", "LOST", &lost);
        put(&mut reference, "reference.calendars.v1", "DAWN", &calendar("DAWN", 1, 2));
        let dawn = Instrument { calendar_id: "DAWN".into(), ..instrument("DAWN") };
        put(&mut reference, "reference.instruments.v1", "DAWN", &dawn);
        let account = Account { account_id: "A1".into(), portfolio_id: "P1".into(), ..Account::default() };
        put(&mut reference, "reference.accounts.v1", "A1", &account);
        let mut market = MarketTable::default();
        market.take(&quote("ACME", NOON - HOUR, 0, "90", "92")).unwrap();
        market.take(&quote("ACME", NOON - 10 * SECOND, 1, "98", "100")).unwrap();
        market.take(&quote("ACME", NOON - SECOND, 2, "99", "101")).unwrap();
        market.take(&quote("QUIET", NOON - HOUR, 1, "99", "101")).unwrap();
        Self { config, reference: Some(reference), market: Some(market), controls: Some(Controls::default()) }
    }
}

pub fn put<T: Table, R: AvroRecord>(table: &mut T, topic: &str, key: &str, value: &R) {
    let bytes = value.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    table.apply(&row).unwrap();
}

impl World {
    pub fn bench(self) -> StageBench {
        let mut bench = StageBench::new(OrderManagement::new(self.config).unwrap());
        if let Some(table) = self.reference {
            bench.table(table);
        }
        if let Some(table) = self.market {
            bench.table(table);
        }
        if let Some(table) = self.controls {
            bench.table(table);
        }
        bench.at(at(NOON));
        bench
    }
}

/// Buys 100 ACME at the market by TWAP over half an hour.
pub fn decision(event_id: &str) -> CoordinatedTradingDecision {
    CoordinatedTradingDecision {
        event_id: event_id.into(),
        timestamp: at(NOON - 2 * SECOND),
        portfolio_id: "P1".into(),
        decision: TradeDecision {
            instrument_id: "ACME".into(),
            action: Action::Buy,
            share_quantity: Some(num("100")),
            priority: "HIGH".into(),
            ..TradeDecision::default()
        },
        execution_strategy: ExecutionPreference {
            execution_algorithm: "TWAP".into(),
            time_horizon: Some("30_minutes".into()),
            ..ExecutionPreference::default()
        },
        ..CoordinatedTradingDecision::default()
    }
}

pub fn id() -> String {
    order_id("P1", "D1")
}

pub fn arrival() -> Arrival {
    Arrival { arrived_at: at(NOON), bid: num("99"), ask: num("101"), mid: num("100"), ..Arrival::default() }
}

pub fn approval() -> ValidatedOrder {
    ValidatedOrder {
        event_id: "V1".into(),
        timestamp: at(NOON),
        order_id: id(),
        portfolio_id: "P1".into(),
        account_id: Some("A1".into()),
        instrument_id: "ACME".into(),
        side: Side::Buy,
        quantity: num("100"),
        is_approved: true,
        arrival: Some(arrival()),
        ..ValidatedOrder::default()
    }
}

/// All of the order for account A1.
pub fn allocation() -> AccountAllocation {
    AccountAllocation {
        event_id: "A1".into(),
        timestamp: at(NOON),
        order_id: id(),
        portfolio_id: "P1".into(),
        account_id: Some("A1".into()),
        instrument_id: "ACME".into(),
        revision: 1,
        account_no: 1,
        account_count: 1,
        quantity: num("100"),
        parent_qty: num("100"),
        allocated_qty: num("100"),
        ..AccountAllocation::default()
    }
}

/// A plan of the order with legs (ClOrdID, quantity), alternately at venue X and Y.
pub fn plan(slice_no: i32, is_last: bool, legs: &[(&str, &str)]) -> RoutingPlan {
    let venue_allocations = legs
        .iter()
        .enumerate()
        .map(|(i, (cl_ord_id, quantity))| RouteLeg {
            leg: i32::try_from(i).unwrap() + 1,
            cl_ord_id: (*cl_ord_id).into(),
            broker: "b1".into(),
            venue: if i % 2 == 0 { "X".into() } else { "Y".into() },
            session: "s1".into(),
            quantity: num(quantity),
            percentage: num("1"),
            ..RouteLeg::default()
        })
        .collect();
    RoutingPlan {
        event_id: format!("plan-{slice_no}"),
        timestamp: at(NOON),
        order_id: id(),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        instrument_id: "ACME".into(),
        side: Side::Buy,
        slice_no,
        is_last,
        ord_type: OrdType::Market,
        time_in_force: TimeInForce::Day,
        venue_allocations,
        ..RoutingPlan::default()
    }
}

/// A report on a child of 40.
pub fn report(cl_ord_id: &str, exec_id: &str, exec_type: ExecType) -> ExecutionReport {
    ExecutionReport {
        event_id: format!("r-{exec_id}"),
        timestamp: at(NOON),
        session: "s1".into(),
        in_seq: 1,
        broker: "b1".into(),
        venue: "X".into(),
        exec_id: exec_id.into(),
        cl_ord_id: cl_ord_id.into(),
        order_id: id(),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        instrument_id: "ACME".into(),
        slice_no: 1,
        leg: 1,
        side: Side::Buy,
        exec_type,
        ord_status: OrdStatus::New,
        ord_qty: num("40"),
        liquidity: LiquidityFlag::Taker,
        transact_at: at(NOON + SECOND),
        ..ExecutionReport::default()
    }
}

pub fn fill(cl_ord_id: &str, exec_id: &str, qty: &str, px: &str) -> ExecutionReport {
    ExecutionReport {
        last_qty: Some(num(qty)),
        last_px: Some(num(px)),
        fee: Some(num("0.5")),
        fee_currency: Some("USD".into()),
        ..report(cl_ord_id, exec_id, ExecType::Trade)
    }
}

pub fn bust(cl_ord_id: &str, exec_id: &str, of: &str) -> ExecutionReport {
    ExecutionReport { ref_exec_id: Some(of.into()), ..report(cl_ord_id, exec_id, ExecType::TradeCancel) }
}

pub fn refused_child(cl_ord_id: &str) -> RiskAlert {
    RiskAlert {
        event_id: format!("alert-{cl_ord_id}"),
        timestamp: at(NOON),
        portfolio_id: "P1".into(),
        alert_type: RiskAlertType::ChildRejected,
        severity: AlertSeverity::Warning,
        order_id: Some(id()),
        cl_ord_id: Some(cl_ord_id.into()),
        code: "COLLAR".into(),
        text: "too far from the touch".into(),
        ..RiskAlert::default()
    }
}

pub fn cancel(command_id: &str) -> Command {
    Command {
        command_id: command_id.into(),
        timestamp: at(NOON),
        portfolio_id: "P1".into(),
        order_id: id(),
        decision_event_id: None,
        action: CommandAction::Cancel,
        actor: "bob".into(),
        reason: "changed my mind".into(),
        ..Command::default()
    }
}

pub fn command(command_id: &str, action: CommandAction) -> Command {
    Command { action, ..cancel(command_id) }
}

pub fn replace_qty(command_id: &str, quantity: &str) -> Command {
    Command { new_quantity: Some(num(quantity)), ..command(command_id, CommandAction::Replace) }
}

/// Risk's answer to the replace that was asked for with a revision.
pub fn answer(revision: i32, is_approved: bool) -> ValidatedOrder {
    let reason_codes = if is_approved { Vec::new() } else { vec!["MAX_ORDER_VALUE".into()] };
    ValidatedOrder { event_id: format!("V{revision}"), revision, is_approved, reason_codes, ..approval() }
}

/// Order D1, created and released, its events taken.
pub fn released() -> StageBench {
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench.take::<OrderEvent>();
    bench.take::<AuditEntry>();
    bench
}

/// Order D1 with children C1 of 40 and C2 of 60, the events taken.
pub fn routed(is_last: bool) -> StageBench {
    let mut bench = released();
    bench.record(PLANS, &plan(1, is_last, &[("C1", "40"), ("C2", "60")]));
    bench.take::<OrderEvent>();
    bench
}

/// What a bench wrote besides what was taken.
pub trait Nothing {
    /// Fails if there is anything but entries of the audit chain, which have a test of their own.
    fn nothing_more(&mut self) -> &mut Self;
}

impl Nothing for StageBench {
    #[track_caller]
    fn nothing_more(&mut self) -> &mut Self {
        self.take::<AuditEntry>();
        self.expect_no_more();
        self
    }
}

/// One event of each kind given, in this order; returns them.
#[track_caller]
pub fn expect(bench: &mut StageBench, types: &[OrderEventType]) -> Vec<OrderEvent> {
    let events = bench.take::<OrderEvent>();
    let got: Vec<_> = events.iter().map(|e| e.event_type).collect();
    assert_eq!(got, types, "{events:#?}");
    events
}

pub fn trades(bench: &mut StageBench) -> Vec<TradeExecuted> {
    bench.take()
}

pub fn code(event: &OrderEvent) -> &str {
    event.reason_code.as_deref().unwrap_or("")
}

/// ord, cum, leaves, cancelled, working, overfill.
pub fn totals(e: &OrderEvent) -> [String; 6] {
    [e.ord_qty, e.cum_qty, e.leaves_qty, e.cancelled_qty, e.working_qty, e.overfill_qty].map(|q| q.to_string())
}

/// What holds for every life of an order: gapless revisions, at most one terminal event, figures that balance at
/// every event.
pub fn check_life(events: &[OrderEvent]) {
    for (i, e) in events.iter().enumerate() {
        assert_eq!(usize::try_from(e.revision).unwrap(), i + 1, "gapless revisions: {e:?}");
        assert!(e.status != ParentStatus::Filled || e.leaves_qty.is_zero(), "{e:?}");
        let figures = Figures {
            status: e.status,
            ord_qty: e.ord_qty,
            cum_qty: e.cum_qty,
            leaves_qty: e.leaves_qty,
            cancelled_qty: e.cancelled_qty,
            working_qty: e.working_qty,
            overfill_qty: e.overfill_qty,
            avg_px: e.avg_px,
            filled_notional: e.filled_notional,
        };
        assert!(figures_balance(&figures) && working_fits_leaves(&figures), "{e:?}");
    }
    assert!(events.iter().filter(|e| e.is_terminal).count() <= 1, "at most one terminal event");
    let mut ids: Vec<_> = events.iter().map(|e| e.event_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "event ids are unique");
}
