//! A small world: one instrument at two venues, one broker, one portfolio with account and limits.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use fillstream_child_risk::{ChildRisk, Config};
use fillstream_core::TimestampMicros;
use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{AccountId, ClOrdId, ControlScope, OrdStatus, OrdType, OrderId, Quantity, Side, TimeInForce};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{
    ChildUpdate, Control, ControlPhase, ControlState, OrderEvent, OrderEventType, ParentStatus, RouteLeg, RoutingPlan,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Broker, Calendar, Instrument, RiskLimit, Venue};
use fillstream_testkit::StageBench;

pub const ORDERS: &str = "execution.orders.v1";
pub const PLANS: &str = "execution.routing-plans.v1";
/// Thursday 2026-11-19T12:00:00Z.
pub const NOON: i64 = 1_795_089_600_000_000;

pub fn at(micros: i64) -> TimestampMicros {
    TimestampMicros::from_micros(micros)
}

pub fn num<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

/// What the tables hold; a test changes it before it makes a bench.
#[derive(Clone)]
pub struct World {
    pub instrument: Option<Instrument>,
    /// Instruments whose quotes are rates.
    pub rates: Vec<Instrument>,
    pub account: Option<Account>,
    /// Further accounts of the portfolio.
    pub others: Vec<Account>,
    pub limit: Option<RiskLimit>,
    pub calendar: Option<Calendar>,
    pub venues: Vec<Venue>,
    pub broker: Option<Broker>,
    pub rows: Vec<NormalizedMarketData>,
    pub controls: Vec<(String, Control)>,
    pub config: Config,
    pub tables: bool,
}

pub fn quote(venue: &str, time: i64, bid: &str, ask: &str) -> NormalizedMarketData {
    NormalizedMarketData {
        instrument_id: "ACME".to_owned(),
        venue: venue.to_owned(),
        kind: MarketDataKind::Quote,
        event_time: at(time),
        seq: time,
        bid: Some(num(bid)),
        ask: Some(num(ask)),
        ..NormalizedMarketData::default()
    }
}

pub fn halt(venue: &str) -> NormalizedMarketData {
    let status = Some("HALTED".to_owned());
    NormalizedMarketData {
        kind: MarketDataKind::Status,
        bid: None,
        ask: None,
        trading_status: status,
        ..quote(venue, NOON - 500, "1", "1")
    }
}

fn venue(id: &str) -> Venue {
    Venue { venue_id: id.to_owned(), is_open: true, ..Venue::default() }
}

impl Default for World {
    fn default() -> Self {
        Self {
            instrument: Some(Instrument {
                instrument_id: "ACME".to_owned(),
                quote_currency: "USD".to_owned(),
                multiplier: Quantity::ONE,
                lot_size: Quantity::ONE,
                reference_venue: "XA".to_owned(),
                calendar_id: "DAY".to_owned(),
                ..Instrument::default()
            }),
            rates: Vec::new(),
            account: Some(Account {
                account_id: "A1".to_owned(),
                portfolio_id: "P1".to_owned(),
                currency: "USD".to_owned(),
                cash: num("200000"),
                initial_margin: num("1.5"),
                brokers: vec!["B1".to_owned()],
                is_active: true,
                version: 3,
                ..Account::default()
            }),
            others: Vec::new(),
            limit: Some(RiskLimit {
                portfolio_id: "P1".to_owned(),
                currency: "USD".to_owned(),
                max_child_quantity: num("500"),
                max_child_value: num("40000"),
                price_collar: num("100"),
                allow_short: true,
                max_quote_age_ms: 5_000,
                version: 7,
                ..RiskLimit::default()
            }),
            calendar: Some(Calendar {
                calendar_id: "DAY".to_owned(),
                opens_at_us: 8 * 3_600_000_000,
                closes_at_us: 16 * 3_600_000_000,
                ..Calendar::default()
            }),
            venues: vec![venue("XA"), venue("XB")],
            broker: Some(Broker {
                broker_id: "B1".to_owned(),
                session_id: "B1-1".to_owned(),
                venues: vec!["XA".to_owned(), "XB".to_owned()],
                ..Broker::default()
            }),
            rows: vec![quote("XA", NOON - 1_000_000, "99", "100")],
            controls: Vec::new(),
            config: Config::default(),
            tables: true,
        }
    }
}

fn put<R: AvroRecord>(data: &mut ReferenceData, topic: &str, key: &str, record: &R) {
    let bytes = record.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Table::apply(data, &row).unwrap();
}

impl World {
    pub fn limit(&mut self) -> &mut RiskLimit {
        self.limit.as_mut().unwrap()
    }

    pub fn data(&self) -> ReferenceData {
        let mut data = ReferenceData::default();
        self.instrument
            .iter()
            .chain(&self.rates)
            .for_each(|r| put(&mut data, "reference.instruments.v1", &r.instrument_id, r));
        self.account.iter().chain(&self.others).for_each(|r| put(&mut data, "reference.accounts.v1", &r.account_id, r));
        self.limit.iter().for_each(|r| put(&mut data, "reference.limits.v1", &r.portfolio_id, r));
        self.calendar.iter().for_each(|r| put(&mut data, "reference.calendars.v1", &r.calendar_id, r));
        self.venues.iter().for_each(|r| put(&mut data, "reference.venues.v1", &r.venue_id, r));
        self.broker.iter().for_each(|r| put(&mut data, "reference.brokers.v1", &r.broker_id, r));
        data
    }

    pub fn account(&mut self) -> &mut Account {
        self.account.as_mut().unwrap()
    }

    pub fn pause(&mut self, scope: ControlScope, id: &str) {
        self.kill(scope, id);
        self.controls.last_mut().unwrap().1.phase = ControlPhase::Paused;
    }

    pub fn kill(&mut self, scope: ControlScope, id: &str) {
        let control = Control {
            scope,
            scope_id: id.to_owned(),
            state: ControlState::Killed,
            version: 1,
            actor: "ada".to_owned(),
            reason: "drill".to_owned(),
            set_at: at(NOON),
            ..Control::default()
        };
        self.controls.push((format!("{}/{id}", scope.as_str()), control));
    }

    pub fn bench(&self) -> StageBench {
        let mut bench = StageBench::new(ChildRisk::new(self.config.clone()).unwrap());
        self.load(&mut bench);
        bench.at(at(NOON));
        bench
    }

    pub fn load(&self, bench: &mut StageBench) {
        if !self.tables {
            return;
        }
        let (mut controls, mut market) = (Controls::default(), MarketTable::default());
        for (key, control) in &self.controls {
            controls.take(key, control.clone()).unwrap();
        }
        self.rows.iter().for_each(|row| market.take(row).unwrap());
        bench.table(market).table(self.data()).table(controls);
    }
}

/// An order as order-management creates it: 1,000 to buy.
pub fn created() -> OrderEvent {
    let ord_qty = num("1000");
    OrderEvent {
        event_id: "O1-1".to_owned(),
        timestamp: at(NOON),
        order_id: "O1".to_owned(),
        portfolio_id: "P1".to_owned(),
        instrument_id: "ACME".to_owned(),
        revision: 1,
        event_type: OrderEventType::Created,
        status: ParentStatus::PendingRisk,
        side: Side::Buy,
        ord_qty,
        leaves_qty: ord_qty,
        ..OrderEvent::default()
    }
}

/// A later event with the order's leaves.
pub fn order(event_type: OrderEventType, status: ParentStatus, leaves: &str) -> OrderEvent {
    let event_id = format!("O1-{}-{leaves}", event_type.as_str());
    OrderEvent { event_id, event_type, status, leaves_qty: num(leaves), ..created() }
}

/// An event about a child.
pub fn child_event(cl_ord_id: &str, status: OrdStatus, child_leaves: &str, leaves: &str) -> OrderEvent {
    let child = ChildUpdate {
        cl_ord_id: cl_ord_id.to_owned(),
        ord_status: status,
        leaves_qty: num(child_leaves),
        ..ChildUpdate::default()
    };
    OrderEvent { child: Some(child), ..order(OrderEventType::ChildUpdated, ParentStatus::Working, leaves) }
}

/// An event about a child with the order's totals: filled, and what was paid for it.
pub fn fill_event(cl_ord_id: &str, status: OrdStatus, leaves: (&str, &str), filled: (&str, &str)) -> OrderEvent {
    let event = child_event(cl_ord_id, status, leaves.0, leaves.1);
    OrderEvent { cum_qty: num(filled.0), filled_notional: num(filled.1), ..event }
}

/// The same order for another order id and side.
pub fn order_of(order_id: &str, side: Side) -> OrderEvent {
    OrderEvent { event_id: format!("{order_id}-1"), order_id: order_id.to_owned(), side, ..created() }
}

/// A plan for another order, one leg, its ClOrdID of its own.
pub fn plan_of(order_id: &str, side: Side, slice: i32, quantity: &str) -> RoutingPlan {
    let mut leg = leg(slice, 1, "XA", quantity);
    leg.cl_ord_id = format!("{order_id}{slice}");
    RoutingPlan {
        order_id: order_id.to_owned(),
        side,
        event_id: format!("{order_id}-p{slice}"),
        ..plan(slice, vec![leg])
    }
}

pub fn derived(slice: i32, leg: i32, attempt: u32, amendment: u32) -> String {
    let (order, account) = (OrderId::new("O1").unwrap(), AccountId::new("A1").unwrap());
    let (slice, leg) = (u32::try_from(slice).unwrap(), u32::try_from(leg).unwrap());
    ClOrdId::derive(&order, &account, slice, leg, attempt, amendment).unwrap().to_string()
}

pub fn leg(slice: i32, leg: i32, venue: &str, quantity: &str) -> RouteLeg {
    RouteLeg {
        leg,
        cl_ord_id: derived(slice, leg, 0, 0),
        broker: "B1".to_owned(),
        venue: venue.to_owned(),
        session: "B1-1".to_owned(),
        quantity: num(quantity),
        ..RouteLeg::default()
    }
}

/// A plan of market orders.
pub fn plan(slice: i32, legs: Vec<RouteLeg>) -> RoutingPlan {
    RoutingPlan {
        event_id: format!("plan-{slice}"),
        timestamp: at(NOON),
        order_id: "O1".to_owned(),
        portfolio_id: "P1".to_owned(),
        account_id: "A1".to_owned(),
        instrument_id: "ACME".to_owned(),
        side: Side::Buy,
        slice_no: slice,
        ord_type: OrdType::Market,
        time_in_force: TimeInForce::Day,
        expire_at: at(NOON + 60_000_000),
        strategy_id: Some("S1".to_owned()),
        trader_id: Some("T1".to_owned()),
        venue_allocations: legs,
        ..RoutingPlan::default()
    }
}

/// The same with a limit.
pub fn limited(plan: RoutingPlan, side: Side, limit: &str) -> RoutingPlan {
    RoutingPlan { side, ord_type: OrdType::Limit, limit_price: Some(num(limit)), ..plan }
}
