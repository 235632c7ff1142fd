//! A small world to route in: one account, its brokers and venues, an instrument X quoted 100 / 100.1 at REF.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{AssetClass, ControlScope, Price, Quantity, Side, TimeInForce, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{Control, ControlPhase, ControlState, OrderEvent, RoutingPlan, Slice};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Broker, Calendar, Instrument, RiskLimit, Venue};
use fillstream_smart_order_routing::{Config, SmartOrderRouting};
use fillstream_testkit::StageBench;

pub const SLICES: &str = "execution.slices.v1";
pub const ORDERS: &str = "execution.orders.v1";

/// A Wednesday, 15:06:40 UTC.
pub const NOW_US: i64 = 1_700_060_800_000_000;

pub fn now() -> TimestampMicros {
    TimestampMicros::from_micros(NOW_US)
}

pub fn after(ms: i64) -> TimestampMicros {
    TimestampMicros::from_micros(NOW_US + ms * 1_000)
}

pub fn num<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn qty(n: i64) -> Quantity {
    Quantity::from_int(n).unwrap()
}

/// What a slice is routed in.
#[derive(Clone)]
pub struct World {
    pub config: Config,
    pub instrument: Instrument,
    pub account: Account,
    pub brokers: Vec<Broker>,
    pub venues: Vec<Venue>,
    pub limit: Option<RiskLimit>,
    pub calendars: Vec<Calendar>,
    pub rows: Vec<NormalizedMarketData>,
    pub kills: Vec<(ControlScope, &'static str)>,
    pub pauses: Vec<(ControlScope, &'static str)>,
    pub slice: Slice,
}

pub fn venue(id: &str, share: &str) -> Venue {
    Venue { venue_id: id.into(), size_share: num(share), is_open: true, ..Venue::default() }
}

pub fn broker(id: &str, quality: &str) -> Broker {
    Broker { broker_id: id.into(), session_id: format!("S-{id}"), quality: num(quality), ..Broker::default() }
}

/// A quote a second ago.
pub fn quote(instrument: &str, venue: &str, bid: &str, ask: &str, size: i64) -> NormalizedMarketData {
    NormalizedMarketData {
        instrument_id: instrument.into(),
        venue: venue.into(),
        kind: MarketDataKind::Quote,
        event_time: after(-1_000),
        seq: 1,
        bid: Some(num(bid)),
        ask: Some(num(ask)),
        bid_size: Some(qty(size)),
        ask_size: Some(qty(size)),
        ..NormalizedMarketData::default()
    }
}

pub fn slice(quantity: i64) -> Slice {
    Slice {
        event_id: "s1".into(),
        timestamp: now(),
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        instrument_id: "X".into(),
        side: Side::Buy,
        slice_no: 1,
        quantity: qty(quantity),
        lot_size: Quantity::ONE,
        time_in_force: TimeInForce::Ioc,
        expire_at: after(3_600_000),
        quote_currency: "USD".into(),
        ..Slice::default()
    }
}

/// Three venues with shares of the reference quote's 500, one broker without commission.
pub fn world(quantity: i64) -> World {
    World {
        config: Config::default(),
        instrument: Instrument {
            instrument_id: "X".into(),
            asset_class: AssetClass::Equity,
            reference_venue: "REF".into(),
            quote_currency: "USD".into(),
            multiplier: Quantity::ONE,
            lot_size: Quantity::ONE,
            tick_size: num("0.01"),
            ..Instrument::default()
        },
        account: Account {
            account_id: "A1".into(),
            portfolio_id: "P1".into(),
            brokers: vec!["b".into()],
            ..Account::default()
        },
        brokers: vec![broker("b", "0")],
        venues: vec![venue("A", "0.5"), venue("B", "0.3"), venue("C", "0.2")],
        limit: None,
        calendars: Vec::new(),
        rows: vec![quote("X", "REF", "100", "100.1", 500)],
        kills: Vec::new(),
        pauses: Vec::new(),
        slice: slice(quantity),
    }
}

/// Limits with a collar of so many basis points.
pub fn collar(bps: &str) -> RiskLimit {
    RiskLimit {
        portfolio_id: "P1".into(),
        currency: "USD".into(),
        price_collar: num(bps),
        max_quote_age_ms: 60_000,
        ..RiskLimit::default()
    }
}

/// A control as somebody left it.
pub fn control((scope, id): (ControlScope, &str), phase: ControlPhase, version: i64) -> Control {
    let runs = matches!(phase, ControlPhase::Running | ControlPhase::Released);
    Control {
        scope,
        scope_id: id.into(),
        state: if runs { ControlState::Running } else { ControlState::Killed },
        version,
        actor: "ann".into(),
        reason: "drill".into(),
        phase,
        ..Control::default()
    }
}

fn put<T: Table, R: AvroRecord>(table: &mut T, topic: &str, key: &str, value: &R) {
    let bytes = value.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Table::apply(table, &row).unwrap();
}

impl World {
    pub fn reference(&self) -> ReferenceData {
        let mut data = ReferenceData::default();
        put(&mut data, "reference.instruments.v1", &self.instrument.instrument_id, &self.instrument);
        put(&mut data, "reference.accounts.v1", &self.account.account_id, &self.account);
        let names: Vec<String> = self.venues.iter().map(|v| v.venue_id.clone()).collect();
        for b in &self.brokers {
            let venues = if b.venues.is_empty() { names.clone() } else { b.venues.clone() };
            put(&mut data, "reference.brokers.v1", &b.broker_id, &Broker { venues, ..b.clone() });
        }
        for v in &self.venues {
            put(&mut data, "reference.venues.v1", &v.venue_id, v);
        }
        for c in &self.calendars {
            put(&mut data, "reference.calendars.v1", &c.calendar_id, c);
        }
        if let Some(limit) = &self.limit {
            put(&mut data, "reference.limits.v1", &limit.portfolio_id, limit);
        }
        // What gives rates of exchange.
        let euro = Instrument { instrument_id: "EURUSD".into(), reference_venue: "FX".into(), ..Instrument::default() };
        put(&mut data, "reference.instruments.v1", "EURUSD", &euro);
        data
    }

    pub fn market(&self) -> MarketTable {
        let mut table = MarketTable::default();
        self.rows.iter().for_each(|row| table.take(row).unwrap());
        table
    }

    pub fn bench(&self) -> StageBench {
        let mut controls = Controls::default();
        let kills = self.kills.iter().map(|scope| control(*scope, ControlPhase::Killed, 1));
        for control in kills.chain(self.pauses.iter().map(|scope| control(*scope, ControlPhase::Paused, 1))) {
            controls.take("key", control).unwrap();
        }
        let mut bench = StageBench::new(SmartOrderRouting::new(self.config.clone()).unwrap());
        bench.at(now()).table(self.reference()).table(self.market()).table(controls);
        bench
    }

    pub fn plan(&self) -> RoutingPlan {
        self.bench().record(SLICES, &self.slice).take_one()
    }

    /// The plan after something was learned.
    pub fn plan_after(&self, events: &[OrderEvent]) -> RoutingPlan {
        let mut bench = self.bench();
        bench.record(SLICES, &self.slice).take_one::<RoutingPlan>();
        for event in events {
            bench.record(ORDERS, event);
        }
        let next = Slice { event_id: "s2".into(), slice_no: 2, ..self.slice.clone() };
        bench.restart().record(SLICES, &next).take_one()
    }
}

/// Venue and quantity of each leg.
pub fn legs(plan: &RoutingPlan) -> Vec<(&str, String)> {
    plan.venue_allocations.iter().map(|l| (l.venue.as_str(), l.quantity.to_string())).collect()
}

/// Broker and venue of each leg.
pub fn pairs(plan: &RoutingPlan) -> Vec<String> {
    plan.venue_allocations.iter().map(|l| format!("{}/{}", l.broker, l.venue)).collect()
}

/// Code of a pair in a plan.
pub fn code<'a>(plan: &'a RoutingPlan, venue: &str) -> Option<&'a str> {
    plan.candidates.iter().find(|c| c.venue == venue).unwrap().exclusion_code.as_deref()
}

pub fn price(text: &str) -> Price {
    num(text)
}
