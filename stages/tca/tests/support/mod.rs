//! An order's life as order-management tells it, and the tables it is analysed with.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_arithmetic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{
    Algorithm, AssetClass, ExecType, Money, OrdStatus, OrdType, Price, PriceQuantitySum, Priority, Quantity, Rounding,
    Side, TimestampMicros,
};
use fillstream_reference::{MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{
    ChildUpdate, ExecutionQuality, ExecutionStrategySelected, OrderEvent, OrderEventType, OrderTerms, ParentStatus,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Calendar, Instrument};
use fillstream_tca::{Config, Tca};
use fillstream_testkit::StageBench;

pub const ORDERS: &str = "execution.orders.v1";
pub const STRATEGIES: &str = "execution.strategies.v1";
pub const SECOND: i64 = 1_000_000;
/// 2025-06-20T10:00:00Z, a Friday.
pub const START: i64 = 1_750_413_600_000_000;

/// Seconds after the start.
pub fn s(seconds: f64) -> TimestampMicros {
    TimestampMicros::from_micros(START + format!("{:.0}", seconds * 1e6).parse::<i64>().unwrap())
}

pub fn px(text: &str) -> Price {
    text.parse().unwrap()
}

pub fn qty(text: &str) -> Quantity {
    text.parse().unwrap()
}

pub fn money(text: &str) -> Money {
    text.parse().unwrap()
}

/// ACME trades at XA from 08:00 to 16:00; quoted in USD.
pub fn instrument() -> Instrument {
    Instrument {
        instrument_id: "ACME".into(),
        asset_class: AssetClass::Equity,
        base_currency: "ACME".into(),
        quote_currency: "USD".into(),
        settlement_currency: "USD".into(),
        multiplier: Quantity::ONE,
        reference_venue: "XA".into(),
        calendar_id: "DAY".into(),
        version: 1,
        ..Instrument::default()
    }
}

pub fn apply<T: AvroRecord>(data: &mut ReferenceData, topic: &str, key: &str, value: &T) {
    let bytes = value.to_bytes();
    data.apply(&TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None }).unwrap();
}

pub fn data(instruments: &[Instrument]) -> ReferenceData {
    let mut data = ReferenceData::default();
    for one in instruments {
        apply(&mut data, "reference.instruments.v1", &one.instrument_id, one);
    }
    let hour = 3_600 * SECOND;
    let (calendar_id, opens_at_us, closes_at_us) = ("DAY".to_owned(), 8 * hour, 16 * hour);
    let day = Calendar { calendar_id, opens_at_us, closes_at_us, version: 1, ..Calendar::default() };
    apply(&mut data, "reference.calendars.v1", "DAY", &day);
    data
}

/// Rows of a market, numbered as they come.
#[derive(Default)]
pub struct Market {
    pub table: MarketTable,
    seqs: BTreeMap<String, i64>,
}

impl Market {
    /// A market of which little is held.
    pub fn small() -> Self {
        Self { table: MarketTable::with_capacity(256, 256), ..Self::default() }
    }

    fn row(&mut self, instrument: &str, at: TimestampMicros, row: NormalizedMarketData) -> &mut Self {
        let seq = self.seqs.entry(instrument.to_owned()).or_insert(0);
        *seq += 1;
        let (instrument_id, venue) = (instrument.to_owned(), "XA".to_owned());
        self.table.take(&NormalizedMarketData { instrument_id, venue, event_time: at, seq: *seq, ..row }).unwrap();
        self
    }

    pub fn quote_of(&mut self, instrument: &str, at: TimestampMicros, bid: &str, ask: &str) -> &mut Self {
        let (bid, ask) = (Some(px(bid)), Some(px(ask)));
        self.row(instrument, at, NormalizedMarketData { kind: MarketDataKind::Quote, bid, ask, ..Default::default() })
    }

    pub fn quote(&mut self, at: TimestampMicros, bid: &str, ask: &str) -> &mut Self {
        self.quote_of("ACME", at, bid, ask)
    }

    pub fn print(&mut self, at: TimestampMicros, price: &str, size: &str) -> &mut Self {
        let (price, size) = (Some(px(price)), Some(qty(size)));
        self.row("ACME", at, NormalizedMarketData { kind: MarketDataKind::Trade, price, size, ..Default::default() })
    }
}

/// A parent order with its rolling totals; each method is one event of order-management.
#[derive(Clone)]
pub struct Order {
    pub event: OrderEvent,
    pub terms: OrderTerms,
    fills: PriceQuantitySum,
    executions: i32,
}

impl Order {
    /// A buy of 1000 ACME decided at 40.00, without a limit, with a minute's horizon.
    pub fn buy() -> Self {
        let terms = OrderTerms {
            ord_type: OrdType::Market,
            algorithm: Algorithm::Auto,
            priority: Priority::Normal,
            horizon_us: 60 * SECOND,
            expire_at: s(3_600.0),
            decision_price: px("40"),
            decided_at: s(-1.0),
            strategy_id: Some("momentum".into()),
            quote_currency: "USD".into(),
            ..OrderTerms::default()
        };
        let event = OrderEvent {
            order_id: "o-1".into(),
            portfolio_id: "p-1".into(),
            account_id: Some("a-1".into()),
            instrument_id: "ACME".into(),
            side: Side::Buy,
            ord_qty: qty("1000"),
            leaves_qty: qty("1000"),
            ..OrderEvent::default()
        };
        Self { event, terms, fills: PriceQuantitySum::ZERO, executions: 0 }
    }

    fn next(&mut self, at: TimestampMicros, event_type: OrderEventType) -> OrderEvent {
        self.event.revision += 1;
        self.event.event_id = format!("{}-{}", self.event.order_id, self.event.revision);
        self.event.timestamp = at;
        self.event.event_type = event_type;
        self.event.filled_notional = self.fills.turnover(Rounding::HalfEven).unwrap();
        self.event.avg_px = self.fills.avg(Rounding::HalfEven).unwrap();
        self.event.cum_qty = self.fills.quantity().min(self.event.ord_qty);
        self.event.overfill_qty = self.fills.quantity().less_at_most(self.event.ord_qty);
        OrderEvent { terms: None, arrival: None, child: None, ..self.event.clone() }
    }

    pub fn created(&mut self, at: TimestampMicros) -> OrderEvent {
        let terms = Some(self.terms.clone());
        OrderEvent { terms, ..self.next(at, OrderEventType::Created) }
    }

    pub fn released(&mut self, at: TimestampMicros, market: &MarketTable) -> OrderEvent {
        self.event.status = ParentStatus::Working;
        let arrival = Some(market.pin_at(&self.event.instrument_id, "XA", at).unwrap());
        OrderEvent { arrival, ..self.next(at, OrderEventType::Released) }
    }

    fn child(n: u32, ord_status: OrdStatus) -> ChildUpdate {
        // Odd children go to VX by alpaca, even ones to VY by schwab.
        let (venue, broker) = if n % 2 == 1 { ("VX", "alpaca") } else { ("VY", "schwab") };
        let (venue, broker) = (venue.into(), broker.into());
        ChildUpdate { cl_ord_id: format!("c-{n}"), venue, broker, ord_status, ..ChildUpdate::default() }
    }

    pub fn routed(&mut self, n: u32, at: TimestampMicros) -> OrderEvent {
        let child = Some(Self::child(n, OrdStatus::PendingNew));
        OrderEvent { child, ..self.next(at, OrderEventType::Routed) }
    }

    /// A child without a fill: accepted, rejected, cancelled ...
    pub fn child_is(&mut self, n: u32, ord_status: OrdStatus, at: TimestampMicros) -> OrderEvent {
        let child = Some(Self::child(n, ord_status));
        OrderEvent { child, ..self.next(at, OrderEventType::ChildUpdated) }
    }

    fn execution(
        &mut self,
        n: u32,
        exec_type: ExecType,
        told: Option<(&str, &str)>,
        at: TimestampMicros,
    ) -> ChildUpdate {
        self.executions += 1;
        ChildUpdate {
            exec_type: Some(exec_type),
            exec_id: Some(format!("x-{}", self.executions)),
            last_px: told.map(|(price, _)| px(price)),
            last_qty: told.map(|(_, quantity)| qty(quantity)),
            transact_at: Some(at),
            ..Self::child(n, OrdStatus::PartiallyFilled)
        }
    }

    fn add_fee(&mut self, fee: Option<(&str, &str)>) {
        if let Some((amount, currency)) = fee
            && self.event.fee_currency.as_deref().is_none_or(|known| known == currency)
        {
            self.event.fees = self.event.fees.checked_add(money(amount)).unwrap();
            self.event.fee_currency = Some(currency.to_owned());
        }
    }

    /// A fill of child `n`, told 50 ms after the venue did it.
    pub fn fill(&mut self, n: u32, price: &str, quantity: &str, at: TimestampMicros) -> OrderEvent {
        self.fill_with_fee(n, price, quantity, None, at)
    }

    pub fn fill_with_fee(
        &mut self,
        n: u32,
        price: &str,
        quantity: &str,
        fee: Option<(&str, &str)>,
        at: TimestampMicros,
    ) -> OrderEvent {
        self.fills = self.fills.add(px(price), qty(quantity)).unwrap();
        self.add_fee(fee);
        let mut child = self.execution(n, ExecType::Trade, Some((price, quantity)), at);
        child.fee = fee.map(|(amount, _)| money(amount));
        child.fee_currency = fee.map(|(_, currency)| currency.to_owned());
        let told = TimestampMicros::from_micros(at.micros() + 50_000);
        OrderEvent { child: Some(child), ..self.next(told, OrderEventType::ChildUpdated) }
    }

    /// The bust of a fill.
    pub fn bust(&mut self, n: u32, price: &str, quantity: &str, at: TimestampMicros) -> OrderEvent {
        self.fills = self.fills.remove(px(price), qty(quantity)).unwrap();
        let child = Some(self.execution(n, ExecType::TradeCancel, Some((price, quantity)), at));
        OrderEvent { child, ..self.next(at, OrderEventType::ChildUpdated) }
    }

    /// The correction of a fill.
    pub fn correct(&mut self, n: u32, old: (&str, &str), new: (&str, &str), at: TimestampMicros) -> OrderEvent {
        self.fills = self.fills.remove(px(old.0), qty(old.1)).unwrap().add(px(new.0), qty(new.1)).unwrap();
        let child = Some(self.execution(n, ExecType::TradeCorrect, Some(new), at));
        OrderEvent { child, ..self.next(at, OrderEventType::ChildUpdated) }
    }

    /// What order-management adds after the end, when an execution changed the figures: the totals again.
    pub fn amended(&mut self, at: TimestampMicros) -> OrderEvent {
        self.next(at, OrderEventType::Amended)
    }

    pub fn ended(&mut self, status: ParentStatus, at: TimestampMicros) -> OrderEvent {
        self.event.status = status;
        self.event.leaves_qty = Quantity::ZERO;
        let event_type = match status {
            ParentStatus::Filled => OrderEventType::Filled,
            ParentStatus::Cancelled => OrderEventType::Cancelled,
            ParentStatus::Rejected => OrderEventType::Rejected,
            ParentStatus::Expired => OrderEventType::Expired,
            ParentStatus::PendingRisk
            | ParentStatus::Working
            | ParentStatus::PartiallyFilled
            | ParentStatus::CancelPending => panic!("{status} is no end"),
        };
        OrderEvent { is_terminal: true, ..self.next(at, event_type) }
    }

    pub fn strategy(&self, used: Algorithm) -> ExecutionStrategySelected {
        ExecutionStrategySelected {
            event_id: "s-1".into(),
            order_id: self.event.order_id.clone(),
            portfolio_id: self.event.portfolio_id.clone(),
            used,
            ..ExecutionStrategySelected::default()
        }
    }
}

/// A bench with the stage and both tables.
pub fn bench(config: Config, market: &Market, data: &ReferenceData) -> StageBench {
    let mut bench = StageBench::new(Tca::new(config).unwrap());
    bench.table(market.table.clone()).table(data.clone());
    bench
}

/// Gives events, each at its own time, timers due before it first.
pub fn tell(bench: &mut StageBench, events: impl IntoIterator<Item = OrderEvent>) {
    for event in events {
        bench.timer_to(event.timestamp);
        bench.record(ORDERS, &event);
    }
}

/// The one row written so far, at the times given.
pub fn row_by(bench: &mut StageBench, until: TimestampMicros) -> ExecutionQuality {
    bench.timer_to(until).take_one()
}
