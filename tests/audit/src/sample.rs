//! A small clean run: one order worked and cancelled, one conflicting repeat, one invalid decision, one refused by risk.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::TimestampMicros;
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::engine::{DeadLetter, OutputRun};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationShare, Arrival, AuditEntry, ChildAction, ChildOrder, ChildUpdate, CostBreakdown,
    ExecutionQuality, ExecutionReport, ExecutionStrategySelected, Intent, LimitGrant, LimitRequest, OrderEvent,
    OrderEventType, OrderTerms, ParentStatus, QualityStage, RiskAlert, RiskAlertType, RiskCheck, RouteCandidate,
    RouteLeg, RoutingPlan, Slice, StrategyChange, StrategyChangeKind, ValidatedOrder,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Instrument, RiskLimit, WideLimit, WideScope};
use fillstream_schemas::types::{ExecType, OrdStatus, OrdType};
use sha2::{Digest, Sha256};

use crate::facts::{Asked, Batch, Decision, Extent, Facts, Landing, Letter, Rec, TopicExtent};
use crate::market::Market;
use crate::venue::{Dec, VenueCancel, VenueJournal, VenueOrder, VenueReport};

const ARRIVED: i64 = 10_000_000;
const SENT: i64 = 10_100_000;
const ENDED: i64 = 11_000_000;
const ANALYSED: i64 = 12_000_000;
const LAST: i64 = 20_000_000;

pub(crate) fn at(micros: i64) -> TimestampMicros {
    TimestampMicros::from_micros(micros)
}

pub(crate) fn num<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn recs<T>(values: impl IntoIterator<Item = T>) -> Vec<Rec<T>> {
    (0..).zip(values).map(|(offset, value)| Rec { partition: 0, offset, trace: None, value }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn quote(instrument: &str, time: i64, seq: i64, bid: &str, ask: &str) -> NormalizedMarketData {
    NormalizedMarketData {
        instrument_id: instrument.into(),
        venue: "XREF".into(),
        kind: MarketDataKind::Quote,
        event_time: at(time),
        seq,
        bid: Some(num(bid)),
        ask: Some(num(ask)),
        ..NormalizedMarketData::default()
    }
}

fn print(time: i64, seq: i64) -> NormalizedMarketData {
    let price = Some(num("100.5"));
    let row = quote("ACME", time, seq, "1", "1");
    NormalizedMarketData { kind: MarketDataKind::Trade, bid: None, ask: None, price, size: Some(num("20")), ..row }
}

pub(crate) fn letter(topic: &str, partition: i32, offset: i64) -> Rec<Letter> {
    let value = vec![1, 2, 3];
    let letter = DeadLetter {
        topic: topic.into(),
        partition,
        offset,
        stage: "order-management".into(),
        reason_code: "POISON".into(),
        sha256: hex(&Sha256::digest(&value)),
        value_size: 3,
        value,
        ..DeadLetter::default()
    };
    Rec { partition: 0, offset: 0, trace: None, value: Letter { topic: "order-management.dlq".into(), letter } }
}

fn market() -> Market {
    let mut market = Market::default();
    let rows = [
        quote("ACME", 1_000_000, 1, "99", "101"),
        quote("OTHER", 1_000_000, 1, "49", "51"),
        print(2_000_000, 2),
        print(3_000_000, 3),
        print(ARRIVED, 4),
        quote("ACME", 11_500_000, 5, "101", "103"),
    ];
    rows.iter().for_each(|row| market.take(row));
    market.settle();
    market
}

fn arrival() -> Arrival {
    Arrival {
        arrived_at: at(ARRIVED),
        bid: num("99"),
        ask: num("101"),
        mid: num("100"),
        cum_volume: num("40"),
        cum_notional: num("4020"),
        cum_prints: 2,
        quote_time: at(1_000_000),
        market_seq: 3,
        counted_from: Some(at(1_000_000)),
        ..Arrival::default()
    }
}

/// Waits for 100.5.
fn terms() -> OrderTerms {
    OrderTerms {
        ord_type: OrdType::Stop,
        stop_price: Some(num("100.5")),
        decision_price: num("99.5"),
        quote_currency: "USD".into(),
        ..OrderTerms::default()
    }
}

/// What sets the order off: a print at its arrival.
fn strategy() -> ExecutionStrategySelected {
    let change = StrategyChange {
        kind: StrategyChangeKind::Triggered,
        code: "STOP_PRINT".into(),
        trigger_price: Some(num("100.5")),
        trigger_time: Some(at(ARRIVED)),
        ..StrategyChange::default()
    };
    ExecutionStrategySelected {
        order_id: "O1".into(),
        account_id: Some("A1".into()),
        timestamp: at(ARRIVED),
        change: Some(change),
        ..ExecutionStrategySelected::default()
    }
}

fn decision(id: &str, quantity: &str) -> Decision {
    let mut content = CoordinatedTradingDecision {
        event_id: id.into(),
        portfolio_id: "P1".into(),
        ..CoordinatedTradingDecision::default()
    };
    content.decision.instrument_id = "ACME".into();
    content.decision.share_quantity = Some(num(quantity));
    Decision { topic: "coordination.decisions.v1".into(), lineage: None, content }
}

/// Events of one order, its figures carried along.
struct Life {
    now: OrderEvent,
    events: Vec<OrderEvent>,
}

impl Life {
    fn new(order: &str, decision: &str) -> Self {
        let now = OrderEvent {
            order_id: order.into(),
            portfolio_id: "P1".into(),
            instrument_id: "ACME".into(),
            decision_event_id: decision.into(),
            timestamp: at(ARRIVED),
            ord_qty: num("100"),
            leaves_qty: num("100"),
            status: ParentStatus::Working,
            ..OrderEvent::default()
        };
        Self { now, events: Vec::new() }
    }

    fn say(&mut self, event_type: OrderEventType, change: impl FnOnce(&mut OrderEvent)) {
        self.now.revision += 1;
        let mut event = OrderEvent {
            event_type,
            event_id: format!("{}/{}", self.now.order_id, self.now.revision),
            ..self.now.clone()
        };
        change(&mut event);
        self.now = OrderEvent { terms: None, arrival: None, child: None, reason_code: None, ..event.clone() };
        self.events.push(event);
    }

    fn end(&mut self, event_type: OrderEventType, status: ParentStatus, code: Option<&str>) {
        self.say(event_type, |e| {
            (e.is_terminal, e.status, e.reason_code) = (true, status, code.map(str::to_owned));
            (e.cancelled_qty, e.leaves_qty) = (e.leaves_qty, num("0"));
            e.working_qty = num("0");
        });
    }
}

fn rejected(order: &str, decision: &str, code: &str) -> Vec<OrderEvent> {
    let mut life = Life::new(order, decision);
    life.end(OrderEventType::Rejected, ParentStatus::Rejected, Some(code));
    life.events
}

fn child(id: &str, quantity: &str, status: OrdStatus) -> ChildUpdate {
    ChildUpdate {
        cl_ord_id: id.into(),
        broker: "B".into(),
        venue: "XA".into(),
        session: "S".into(),
        ord_status: status,
        ord_qty: num(quantity),
        leaves_qty: num(quantity),
        ..ChildUpdate::default()
    }
}

fn filled(id: &str, quantity: &str, exec_id: &str, fill: &str, fee: &str) -> ChildUpdate {
    ChildUpdate {
        exec_type: Some(ExecType::Trade),
        exec_id: Some(exec_id.into()),
        cum_qty: num(fill),
        last_qty: Some(num(fill)),
        last_px: Some(num("101")),
        fee: Some(num(fee)),
        fee_currency: Some("USD".into()),
        ..child(id, quantity, OrdStatus::PartiallyFilled)
    }
}

fn worked() -> Vec<OrderEvent> {
    use OrderEventType as T;
    let mut life = Life::new("O1", "D1");
    life.say(T::Created, |e| (e.terms, e.status) = (Some(terms()), ParentStatus::PendingRisk));
    life.say(T::Released, |e| (e.arrival, e.status) = (Some(arrival()), ParentStatus::Working));
    for (id, quantity, working) in [("C1", "60", "60"), ("C2", "30", "90"), ("C3", "10", "100")] {
        life.say(T::Routed, |e| {
            e.child = Some(child(id, quantity, OrdStatus::PendingNew));
            e.working_qty = num(working);
        });
    }
    life.say(T::ChildUpdated, |e| {
        (e.child, e.reason_code) = (Some(child("C3", "10", OrdStatus::Rejected)), Some("CHILD_TOO_LARGE".into()));
        e.working_qty = num("90");
    });
    for (update, cum, leaves, working, notional, fees) in [
        (filled("C1", "60", "E1", "60", "0.6"), "60", "40", "30", "6060", "0.6"),
        (filled("C2", "30", "E2", "10", "0.1"), "70", "30", "20", "7070", "0.7"),
    ] {
        life.say(T::ChildUpdated, |e| {
            (e.child, e.status) = (Some(update), ParentStatus::PartiallyFilled);
            (e.cum_qty, e.leaves_qty, e.working_qty) = (num(cum), num(leaves), num(working));
            (e.filled_notional, e.fees, e.fee_currency) = (num(notional), num(fees), Some("USD".into()));
        });
    }
    life.say(T::CancelRequested, |e| (e.status, e.reason_code) = (ParentStatus::CancelPending, Some("COMMAND".into())));
    life.say(T::ChildUpdated, |e| {
        let cancelled = ChildUpdate { cum_qty: num("10"), ..child("C2", "30", OrdStatus::Canceled) };
        e.child = Some(ChildUpdate { exec_type: Some(ExecType::Canceled), ..cancelled });
        e.working_qty = num("0");
        e.timestamp = at(ENDED);
    });
    life.end(T::Cancelled, ParentStatus::Cancelled, Some("COMMAND"));
    life.events
}

fn check(passed: bool) -> RiskCheck {
    let code = (!passed).then(|| "MAX_ORDER_VALUE".to_owned());
    RiskCheck { name: "order_value".into(), passed, code, version: 1, ..RiskCheck::default() }
}

/// All that O1 needs was leased to its portfolio.
fn headroom() -> RiskCheck {
    RiskCheck {
        name: "headroom".into(),
        passed: true,
        figure: Some(num("10201")),
        limit: Some(num("10201")),
        unit: "USD".into(),
        scope: "limit/FIRM-*".into(),
        version: 1,
        ..RiskCheck::default()
    }
}

fn wide_limit() -> WideLimit {
    WideLimit {
        limit_id: "FIRM-*".into(),
        scope: WideScope::Firm,
        scope_id: "*".into(),
        currency: "USD".into(),
        max_gross_value: num("20000"),
        version: 1,
    }
}

/// Two portfolios under one limit: what each says to its owner, and what that answers, if anything.
fn leases() -> (Vec<Asked>, Vec<LimitGrant>) {
    let (mut requests, mut grants) = (Vec::new(), Vec::new());
    // Portfolio, order, what it says to have returned and seen, what it wants; granted, returned and leased.
    for (n, (portfolio, order, said, answer)) in (0_u8..).zip([
        ("P1", Some("O1"), ["0", "0", "10201"], Some(["10201", "0", "10201"])),
        ("P2", None, ["0", "0", "9000"], Some(["9000", "0", "19201"])),
        // Too much; a return; and one that was overtaken.
        ("P2", None, ["0", "9000", "5000"], None),
        ("P2", None, ["4000", "9000", "0"], Some(["9000", "4000", "15201"])),
        ("P2", None, ["0", "0", "9000"], Some(["9000", "4000", "15201"])),
    ]) {
        let [returned, seen, wanted] = said.map(num);
        let (lineage, timestamp) = ([n; 16], at(9_000_000 + i64::from(n)));
        let (limit_id, portfolio_id, order_id) = ("FIRM-*".to_owned(), portfolio.to_owned(), order.map(str::to_owned));
        if let Some(answer) = answer {
            let [granted, returned, leased] = answer.map(num);
            grants.push(LimitGrant {
                event_id: crate::checks::answer_id(&lineage),
                timestamp,
                limit_id: limit_id.clone(),
                portfolio_id: portfolio_id.clone(),
                granted,
                returned,
                leased,
                max_gross_value: num("20000"),
                currency: "USD".into(),
                version: 1,
                order_id: order_id.clone(),
                ..LimitGrant::default()
            });
        }
        let content = LimitRequest {
            timestamp,
            limit_id,
            portfolio_id,
            returned,
            granted_seen: seen,
            wanted,
            order_id,
            ..LimitRequest::default()
        };
        requests.push(Asked { lineage: Some(lineage.to_vec()), content });
    }
    (requests, grants)
}

fn verdict(order: &str, approved: bool) -> ValidatedOrder {
    ValidatedOrder {
        order_id: order.into(),
        portfolio_id: "P1".into(),
        account_id: Some("A1".into()),
        instrument_id: "ACME".into(),
        timestamp: at(ARRIVED),
        quantity: num("100"),
        is_approved: approved,
        reason_codes: check(approved).code.into_iter().collect(),
        validation_results: std::iter::once(check(approved)).chain(approved.then(headroom)).collect(),
        reserved_price: approved.then(|| num("102.01")),
        terms: terms(),
        arrival: approved.then(arrival),
        ..ValidatedOrder::default()
    }
}

fn allocation() -> AccountAllocation {
    AccountAllocation {
        order_id: "O1".into(),
        portfolio_id: "P1".into(),
        account_id: Some("A1".into()),
        revision: 1,
        account_no: 1,
        account_count: 1,
        quantity: num("100"),
        parent_qty: num("100"),
        allocated_qty: num("100"),
        shares: vec![AllocationShare {
            account_id: "A1".into(),
            is_eligible: true,
            quantity: num("100"),
            ..AllocationShare::default()
        }],
        ..AccountAllocation::default()
    }
}

fn slice(slice_no: i32, quantity: &str) -> Slice {
    let quantity = num(quantity);
    Slice {
        order_id: "O1".into(),
        account_id: "A1".into(),
        slice_no,
        quantity,
        timestamp: at(ARRIVED),
        is_last: quantity.is_zero(),
        ..Slice::default()
    }
}

fn plan() -> RoutingPlan {
    let leg = |(number, id, quantity): (i32, &str, &str)| RouteLeg {
        leg: number,
        cl_ord_id: id.into(),
        broker: "B".into(),
        venue: "XA".into(),
        session: "S".into(),
        quantity: num(quantity),
        ..RouteLeg::default()
    };
    RoutingPlan {
        order_id: "O1".into(),
        account_id: "A1".into(),
        instrument_id: "ACME".into(),
        slice_no: 1,
        quantity: num("100"),
        candidates: vec![RouteCandidate {
            broker: "B".into(),
            venue: "XA".into(),
            eligible: true,
            ..RouteCandidate::default()
        }],
        venue_allocations: [(1, "C1", "60"), (2, "C2", "30"), (3, "C3", "10")].map(leg).into(),
        ..RoutingPlan::default()
    }
}

/// Of the slice that says that the schedule was stopped.
fn last_plan() -> RoutingPlan {
    RoutingPlan { slice_no: 2, is_last: true, quantity: num("0"), venue_allocations: Vec::new(), ..plan() }
}

fn instruction(action: ChildAction, id: &str, orig: Option<&str>, (leg, quantity): (i32, &str)) -> ChildOrder {
    let text = format!("{}|{id}|{}|A1|ACME|XA|BUY|MARKET|{quantity}||DAY", action.as_str(), orig.unwrap_or_default());
    ChildOrder {
        action,
        cl_ord_id: id.into(),
        orig_cl_ord_id: orig.map(str::to_owned),
        order_id: "O1".into(),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        instrument_id: "ACME".into(),
        slice_no: 1,
        leg,
        broker: "B".into(),
        venue: "XA".into(),
        session: "S".into(),
        quantity: num(quantity),
        timestamp: at(SENT),
        checks: if action == ChildAction::New { vec![check(true)] } else { Vec::new() },
        approval_hash: hex(&Sha256::digest(text)),
        ..ChildOrder::default()
    }
}

fn instructions() -> Vec<ChildOrder> {
    vec![
        instruction(ChildAction::New, "C1", None, (1, "60")),
        instruction(ChildAction::New, "C2", None, (2, "30")),
        instruction(ChildAction::Cancel, "C2X", Some("C2"), (2, "30")),
    ]
}

fn venue_order(id: &str, quantity: &str) -> VenueOrder {
    VenueOrder {
        session: "S".into(),
        client_order_id: id.into(),
        account_id: "A1".into(),
        instrument_id: "ACME".into(),
        venue: "XA".into(),
        side: "BUY".into(),
        ord_type: "MARKET".into(),
        quantity: Dec(crate::num::parse(quantity, 8).unwrap()),
        limit_price: None,
        time_in_force: "DAY".into(),
        sent_at: SENT,
    }
}

/// What the venue and the gateway say of the same executions.
fn told() -> (Vec<VenueReport>, Vec<ExecutionReport>) {
    let says = [
        ("C1", "E0", ExecType::New, None),
        ("C1", "E1", ExecType::Trade, Some(("60", "0.6"))),
        ("C2", "E2", ExecType::Trade, Some(("10", "0.1"))),
        ("C2X", "E3", ExecType::Canceled, None),
    ];
    let dec = |text: &str| Dec(crate::num::parse(text, 8).unwrap());
    let venue = (1..).zip(says).map(|(seq, (id, exec_id, exec_type, fill))| VenueReport {
        session: "S".into(),
        seq,
        emitted_at: SENT + seq * 100_000,
        exec_id: exec_id.into(),
        cl_ord_id: id.into(),
        instrument_id: "ACME".into(),
        venue: "XA".into(),
        side: "BUY".into(),
        exec_type: exec_type.as_str().into(),
        last_qty: fill.map(|(qty, _)| dec(qty)),
        last_px: fill.map(|_| dec("101")),
        fee: fill.map(|(_, fee)| dec(fee)),
        fee_currency: fill.map(|_| "USD".into()),
    });
    let ours = (1..).zip(says).map(|(in_seq, (id, exec_id, exec_type, fill))| ExecutionReport {
        session: "S".into(),
        in_seq,
        broker: "B".into(),
        venue: "XA".into(),
        exec_id: exec_id.into(),
        cl_ord_id: id.into(),
        order_id: "O1".into(),
        portfolio_id: "P1".into(),
        instrument_id: "ACME".into(),
        exec_type,
        last_qty: fill.map(|(qty, _)| num(qty)),
        last_px: fill.map(|_| num("101")),
        fee: fill.map(|(_, fee)| num(fee)),
        fee_currency: fill.map(|_| "USD".into()),
        ..ExecutionReport::default()
    });
    (venue.collect(), ours.collect())
}

fn quality() -> ExecutionQuality {
    ExecutionQuality {
        order_id: "O1".into(),
        portfolio_id: "P1".into(),
        instrument_id: "ACME".into(),
        timestamp: at(ANALYSED),
        revision: 1,
        stage: QualityStage::Preliminary,
        currency: "USD".into(),
        ord_qty: num("100"),
        filled_qty: num("70"),
        decision_price: num("99.5"),
        arrival_mid: num("100"),
        arrived_at: at(ARRIVED),
        close_price: Some(num("102")),
        close_at: Some(at(11_500_000)),
        costs: CostBreakdown {
            delay_cost: num("35"),
            timing_cost: Some(num("35")),
            market_impact: Some(num("35")),
            trading_cost: num("70"),
            opportunity_cost: num("75"),
            fees: num("0.7"),
            total_cost: num("180.7"),
        },
        implementation_shortfall_bps: num("181.60804"),
        total_cost_bps: num("181.60804"),
        ..ExecutionQuality::default()
    }
}

fn limit() -> RiskLimit {
    RiskLimit {
        portfolio_id: "P1".into(),
        currency: "USD".into(),
        max_order_quantity: num("1000"),
        max_order_value: num("1000000"),
        max_position_value: num("1000000"),
        max_gross_value: num("1000000"),
        price_collar: num("100"),
        version: 1,
        ..RiskLimit::default()
    }
}

fn instrument(id: &str) -> Instrument {
    Instrument {
        instrument_id: id.into(),
        quote_currency: "USD".into(),
        multiplier: num("1"),
        reference_venue: "XREF".into(),
        ..Instrument::default()
    }
}

fn extent(low: i64, end: i64, offsets: &[i64]) -> TopicExtent {
    let held = Extent { low, end, offsets: offsets.to_vec(), tombstones: BTreeSet::new() };
    TopicExtent { partitions: BTreeMap::from([(0, held)]), compacted: false }
}

fn orders() -> Vec<OrderEvent> {
    let mut orders = worked();
    orders.extend(rejected("O1X", "D1", "DUPLICATE_CONFLICT"));
    orders.extend(rejected("O2", "D2", "LOT_SIZE"));
    let mut refused = Life::new("O3", "D3");
    refused.say(OrderEventType::Created, |e| (e.terms, e.status) = (Some(terms()), ParentStatus::PendingRisk));
    refused.end(OrderEventType::Rejected, ParentStatus::Rejected, Some("MAX_ORDER_VALUE"));
    orders.extend(refused.events);
    orders
}

fn intents() -> Vec<Intent> {
    let intent =
        |(out_seq, child)| Intent { session: "S".into(), timestamp: at(SENT), out_seq, child, ..Intent::default() };
    (1..).zip(instructions()).map(intent).collect()
}

fn refused_leg() -> RiskAlert {
    RiskAlert {
        alert_type: RiskAlertType::ChildRejected,
        order_id: Some("O1".into()),
        cl_ord_id: Some("C3".into()),
        checks: vec![check(false)],
        ..RiskAlert::default()
    }
}

fn account() -> Account {
    Account {
        account_id: "A1".into(),
        portfolio_id: "P1".into(),
        currency: "USD".into(),
        cash: num("1000000"),
        initial_margin: num("1.5"),
        ..Account::default()
    }
}

fn venue(reports: Vec<VenueReport>) -> VenueJournal {
    let cancel = VenueCancel {
        session: "S".into(),
        client_order_id: "C2X".into(),
        orig_client_order_id: "C2".into(),
        sent_at: SENT,
    };
    VenueJournal {
        orders: vec![venue_order("C1", "60"), venue_order("C2", "30")],
        cancels: vec![cancel],
        reports,
        ..VenueJournal::default()
    }
}

/// The entry of each event that states a decision.
fn audit(orders: &[OrderEvent]) -> Vec<AuditEntry> {
    let decisions = orders.iter().filter(|event| {
        !matches!(event.event_type, OrderEventType::Routed | OrderEventType::ChildUpdated | OrderEventType::Other)
    });
    let mut prev_hash = vec![0; 32];
    let entries = (1..).zip(decisions).map(|(sequence, event)| {
        let mut entry = AuditEntry {
            event_id: format!("{}/audit", event.event_id),
            timestamp: event.timestamp,
            portfolio_id: event.portfolio_id.clone(),
            sequence,
            order_id: event.order_id.clone(),
            revision: event.revision,
            order_event_id: event.event_id.clone(),
            action: event.event_type.as_str().to_owned(),
            actor: "order-management".to_owned(),
            reason_code: event.reason_code.clone(),
            reason_text: event.reason_text.clone(),
            prev_hash: std::mem::take(&mut prev_hash),
            ..AuditEntry::default()
        };
        entry.hash = crate::checks::hash_of(&entry);
        prev_hash.clone_from(&entry.hash);
        entry
    });
    entries.collect()
}

/// The run; no check finds anything in it.
pub(crate) fn clean() -> Facts {
    let mut facts = untraced();
    let trace = |decision: &str| Some(crate::checks::trace_of("coordination.decisions.v1", decision));
    let of: BTreeMap<String, _> =
        facts.orders.iter().map(|r| (r.value.order_id.clone(), trace(&r.value.decision_event_id))).collect();
    let of = |order: &str| of.get(order).copied().flatten();
    facts.orders.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.verdicts.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.requests.iter_mut().for_each(|r| r.trace = r.value.content.order_id.as_deref().and_then(of));
    facts.grants.iter_mut().for_each(|r| r.trace = r.value.order_id.as_deref().and_then(of));
    facts.allocations.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.strategies.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.slices.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.plans.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.children.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.alerts.iter_mut().for_each(|r| r.trace = r.value.order_id.as_deref().and_then(of));
    facts.intents.iter_mut().for_each(|r| r.trace = of(&r.value.child.order_id));
    facts.reports.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts.quality.iter_mut().for_each(|r| r.trace = of(&r.value.order_id));
    facts
}

fn untraced() -> Facts {
    let (venue_reports, reports) = told();
    let (requests, grants) = leases();
    let journal = "fillstream.order-path.journal".to_owned();
    let trades = "execution.trades.v1".to_owned();
    let batch = |sequence| {
        let written = vec![OutputRun { topic: trades.clone(), partition: 0, count: 1 }];
        Batch { topic: journal.clone(), key: "0".into(), sequence, is_regroup: false, written }
    };
    let landing = Landing { topic: trades.clone(), table: "trades".into(), rows: BTreeMap::from([(0, vec![0, 1, 3])]) };
    Facts {
        decisions: recs([decision("D1", "100"), decision("D1", "200"), decision("D2", "100"), decision("D3", "100")]),
        orders: recs(orders()),
        verdicts: recs([verdict("O1", true), verdict("O3", false)]),
        allocations: recs([allocation()]),
        strategies: recs([strategy()]),
        slices: recs([slice(1, "100"), slice(2, "0")]),
        plans: recs([plan(), last_plan()]),
        children: recs(instructions()),
        alerts: recs([refused_leg()]),
        intents: recs(intents()),
        reports: recs(reports),
        quality: recs([quality()]),
        audit: recs(audit(&orders())),
        accounts: recs([account()]),
        limits: recs([limit()]),
        wide_limits: recs([wide_limit()]),
        requests: recs(requests),
        grants: recs(grants),
        instruments: recs([instrument("ACME"), instrument("OTHER")]),
        market: market(),
        letters: Vec::new(),
        letter_topics: BTreeSet::from(["order-management.dlq".to_owned()]),
        batches: recs([batch(1), batch(2), batch(3)]),
        unreadable: Vec::new(),
        topics: BTreeMap::from([
            ("coordination.decisions.v1".to_owned(), extent(0, 4, &[0, 1, 2, 3])),
            (journal.clone(), extent(0, 6, &[0, 2, 4])),
            (trades.clone(), extent(0, 5, &[0, 1, 3])),
        ]),
        last_tick: Some(LAST),
        lateness_us: None,
        outage_us: 0,
        under_way: false,
        venue: Some(venue(venue_reports)),
        landings: Some(vec![landing]),
    }
}
