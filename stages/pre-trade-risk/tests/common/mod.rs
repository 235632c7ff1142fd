//! A small world: one instrument, one portfolio with its account and limits, a quote.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use fillstream_core::TimestampMicros;
use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{OrdType, Quantity, Side};
use fillstream_pre_trade_risk::{Config, PreTradeRisk};
use fillstream_reference::{Controls, MarketTable, ReferenceData, WideLimits};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{
    Control, ControlPhase, ControlState, OrderEvent, OrderEventType, OrderTerms, ParentStatus, ValidatedOrder,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Calendar, Instrument, RiskLimit, Venue, WideLimit};
use fillstream_testkit::StageBench;

pub const ORDERS: &str = "execution.orders.v1";
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
    pub instruments: Vec<Instrument>,
    pub accounts: Vec<Account>,
    pub limits: Vec<RiskLimit>,
    pub calendars: Vec<Calendar>,
    pub venues: Vec<Venue>,
    pub rows: Vec<NormalizedMarketData>,
    pub controls: Vec<(String, Control)>,
    pub wide: Vec<WideLimit>,
    pub config: Config,
    pub tables: bool,
}

pub fn instrument(id: &str) -> Instrument {
    Instrument {
        instrument_id: id.to_owned(),
        quote_currency: "USD".to_owned(),
        multiplier: Quantity::ONE,
        tick_size: num("0.01"),
        lot_size: Quantity::ONE,
        min_quantity: Quantity::ONE,
        adv: Some(num("100000")),
        reference_venue: "XA".to_owned(),
        calendar_id: "DAY".to_owned(),
        ..Instrument::default()
    }
}

pub fn account(id: &str, portfolio: &str) -> Account {
    Account {
        account_id: id.to_owned(),
        portfolio_id: portfolio.to_owned(),
        currency: "USD".to_owned(),
        cash: num("100000"),
        initial_margin: num("1.5"),
        is_active: true,
        version: 3,
        ..Account::default()
    }
}

pub fn limit(portfolio: &str) -> RiskLimit {
    RiskLimit {
        portfolio_id: portfolio.to_owned(),
        currency: "USD".to_owned(),
        max_order_quantity: num("1000"),
        max_order_value: num("50000"),
        max_position_value: num("80000"),
        max_gross_value: num("120000"),
        price_collar: num("100"),
        max_quote_age_ms: 5_000,
        version: 7,
        ..RiskLimit::default()
    }
}

pub fn quote(id: &str, time: i64, bid: &str, ask: &str) -> NormalizedMarketData {
    NormalizedMarketData {
        instrument_id: id.to_owned(),
        venue: "XA".to_owned(),
        kind: MarketDataKind::Quote,
        event_time: at(time),
        seq: time,
        bid: Some(num(bid)),
        ask: Some(num(ask)),
        ..NormalizedMarketData::default()
    }
}

impl Default for World {
    fn default() -> Self {
        let calendar = Calendar {
            calendar_id: "DAY".to_owned(),
            opens_at_us: 0,
            closes_at_us: 86_400_000_000,
            open_weekends: true,
            ..Calendar::default()
        };
        Self {
            instruments: vec![instrument("ACME"), instrument("BETA")],
            accounts: vec![account("A1", "P1")],
            limits: vec![limit("P1")],
            calendars: vec![calendar],
            venues: Vec::new(),
            rows: vec![quote("ACME", NOON - 1_000_000, "99", "100"), quote("BETA", NOON - 1_000_000, "49", "50")],
            controls: Vec::new(),
            wide: Vec::new(),
            config: Config { fee_reserve_bps: num("0"), ..Config::default() },
            tables: true,
        }
    }
}

fn put<T: Table, R: AvroRecord>(data: &mut T, topic: &str, key: &str, record: &R) {
    let bytes = record.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    data.apply(&row).unwrap();
}

impl World {
    pub fn data(&self) -> ReferenceData {
        let mut data = ReferenceData::default();
        for row in &self.instruments {
            put(&mut data, "reference.instruments.v1", &row.instrument_id, row);
        }
        for row in &self.accounts {
            put(&mut data, "reference.accounts.v1", &row.account_id, row);
        }
        for row in &self.limits {
            put(&mut data, "reference.limits.v1", &row.portfolio_id, row);
        }
        for row in &self.venues {
            put(&mut data, "reference.venues.v1", &row.venue_id, row);
        }
        for row in &self.calendars {
            put(&mut data, "reference.calendars.v1", &row.calendar_id, row);
        }
        data
    }

    pub fn market(&self) -> MarketTable {
        let mut market = MarketTable::default();
        self.rows.iter().for_each(|row| market.take(row).unwrap());
        market
    }

    pub fn kill(&mut self, scope: fillstream_domain::ControlScope, id: &str) {
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

    pub fn pause(&mut self, scope: fillstream_domain::ControlScope, id: &str) {
        self.kill(scope, id);
        self.controls.iter_mut().rev().take(1).for_each(|(_, control)| control.phase = ControlPhase::Paused);
    }

    pub fn bench(&self) -> StageBench {
        let mut bench = StageBench::new(PreTradeRisk::new(self.config.clone()).unwrap());
        self.load(&mut bench);
        bench.at(at(NOON));
        bench
    }

    pub fn load(&self, bench: &mut StageBench) {
        if !self.tables {
            return;
        }
        let mut controls = Controls::default();
        for (key, control) in &self.controls {
            controls.take(key, control.clone()).unwrap();
        }
        let mut wide = WideLimits::default();
        for row in &self.wide {
            put(&mut wide, "reference.wide-limits.v1", &row.limit_id, row);
        }
        bench.table(self.market()).table(self.data()).table(controls).table(wide);
    }
}

/// A market order as order-management creates it.
pub fn created(order: &str, instrument: &str, side: Side, quantity: &str) -> OrderEvent {
    let ord_qty = num(quantity);
    OrderEvent {
        event_id: format!("{order}-1"),
        timestamp: at(NOON),
        order_id: order.to_owned(),
        portfolio_id: "P1".to_owned(),
        instrument_id: instrument.to_owned(),
        revision: 1,
        event_type: OrderEventType::Created,
        status: ParentStatus::PendingRisk,
        side,
        ord_qty,
        leaves_qty: ord_qty,
        terms: Some(OrderTerms {
            ord_type: OrdType::Market,
            strategy_id: Some("S1".to_owned()),
            trader_id: Some("T1".to_owned()),
            quote_currency: "USD".to_owned(),
            ..OrderTerms::default()
        }),
        ..OrderEvent::default()
    }
}

/// The same with a limit.
pub fn limited(order: &str, side: Side, quantity: &str, limit: &str) -> OrderEvent {
    let mut event = created(order, "ACME", side, quantity);
    if let Some(terms) = &mut event.terms {
        terms.ord_type = OrdType::Limit;
        terms.limit_price = Some(num(limit));
    }
    event
}

/// The request to give an open order another quantity and limit.
pub fn replacing(created: &OrderEvent, revision: i32, quantity: &str, limit: Option<&str>) -> OrderEvent {
    let mut event = OrderEvent {
        event_id: format!("{}-{revision}", created.order_id),
        event_type: OrderEventType::ReplaceRequested,
        status: ParentStatus::Working,
        revision,
        new_ord_qty: Some(num(quantity)),
        ..created.clone()
    };
    if let (Some(terms), Some(limit)) = (&mut event.terms, limit) {
        terms.ord_type = OrdType::Limit;
        terms.limit_price = Some(num(limit));
    }
    event
}

/// A later event of an order: its totals and state.
pub fn event(
    created: &OrderEvent,
    event_type: OrderEventType,
    status: ParentStatus,
    cum: &str,
    notional: &str,
) -> OrderEvent {
    let ended = matches!(
        status,
        ParentStatus::Filled | ParentStatus::Cancelled | ParentStatus::Rejected | ParentStatus::Expired
    );
    let cum_qty: Quantity = num(cum);
    let rest = created.ord_qty.less_at_most(cum_qty);
    OrderEvent {
        event_id: format!("{}-{}-{cum}", created.order_id, event_type.as_str()),
        event_type,
        status,
        is_terminal: ended,
        cum_qty,
        leaves_qty: if ended { Quantity::ZERO } else { rest },
        cancelled_qty: if ended { rest } else { Quantity::ZERO },
        filled_notional: num(notional),
        terms: None,
        ..created.clone()
    }
}

/// Gives an order to the stage and takes its verdict.
pub fn verdict(bench: &mut StageBench, created: &OrderEvent) -> ValidatedOrder {
    bench.record(ORDERS, created);
    let verdict = bench.take_one();
    bench.expect_no_more();
    verdict
}
