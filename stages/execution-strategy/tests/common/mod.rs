//! The stage on the bench, with a market.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{Algorithm, AssetClass, Money, Price, Quantity, Side, TimeInForce, TimestampMicros, Urgency};
use fillstream_execution_strategy::{Config, ExecutionStrategy};
use fillstream_reference::{MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{
    AccountAllocation, AccountFigures, ChildUpdate, ExecutionStrategySelected, OrderEvent, OrderEventType, OrderTerms,
    Quote, RouteLeg, RoutingPlan, Slice,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Calendar, Instrument};
use fillstream_schemas::state::StrategyOrder;
use fillstream_testkit::StageBench;

pub const ALLOCATED: &str = "execution.allocations.v1";
pub const ORDERS: &str = "execution.orders.v1";
pub const PLANS: &str = "execution.routing-plans.v1";
pub const SECOND: i64 = 1_000_000;
/// 2025-06-20, a Friday, 15:00 UTC.
const START: i64 = 1_750_431_600;

pub fn at(seconds: i64) -> TimestampMicros {
    TimestampMicros::from_micros((START + seconds) * SECOND)
}

pub fn qty(n: i64) -> Quantity {
    Quantity::from_int(n).unwrap()
}

pub fn px(text: &str) -> Price {
    text.parse().unwrap()
}

pub fn instrument(class: AssetClass) -> Instrument {
    Instrument {
        instrument_id: "X".into(),
        asset_class: class,
        tick_size: px("0.01"),
        lot_size: qty(1),
        min_quantity: qty(1),
        adv: Some(qty(1_000_000)),
        daily_sigma: Some("0.02".parse().unwrap()),
        reference_venue: "V".into(),
        calendar_id: "C".into(),
        ..Instrument::default()
    }
}

/// An order of 100 at 100.00 / 100.02.
pub fn allocated(algorithm: Algorithm, quantity: i64, horizon_s: i64) -> AccountAllocation {
    let quote = Quote { venue: "V".into(), bid: px("100"), ask: px("100.02"), ..Quote::default() };
    AccountAllocation {
        event_id: "v1".into(),
        timestamp: at(0),
        order_id: "o1".into(),
        portfolio_id: "P1".into(),
        account_id: Some("A1".into()),
        instrument_id: "X".into(),
        quantity: qty(quantity),
        parent_qty: qty(quantity),
        order_value: Money::from_int(30_000).unwrap(),
        quote: Some(quote.clone()),
        terms: OrderTerms {
            algorithm,
            urgency: Urgency::Low,
            horizon_us: horizon_s * SECOND,
            expire_at: at(15_000),
            lot_size: qty(1),
            time_in_force: TimeInForce::Day,
            quote,
            ..OrderTerms::default()
        },
        ..AccountAllocation::default()
    }
}

pub fn with_terms(mut v: AccountAllocation, change: impl FnOnce(&mut OrderTerms)) -> AccountAllocation {
    change(&mut v.terms);
    v
}

pub fn with_limit(v: AccountAllocation, limit: &str) -> AccountAllocation {
    with_terms(v, |t| t.limit_price = Some(px(limit)))
}

/// The stage, its market, and what became of its slices.
pub struct Desk {
    pub bench: StageBench,
    market: MarketTable,
    seq: i64,
    cum: i64,
    events: i64,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(Config::default(), Some(instrument(AssetClass::Equity)))
    }

    /// At 0 s with the quote 100.00 / 100.02.
    pub fn with(config: Config, instrument: Option<Instrument>) -> Self {
        let mut bench = StageBench::new(ExecutionStrategy::new(config).unwrap());
        bench.at(at(0));
        let mut data = ReferenceData::default();
        if let Some(instrument) = instrument {
            let calendar = Calendar {
                calendar_id: "C".into(),
                opens_at_us: 13 * 3_600 * SECOND + 1_800 * SECOND,
                closes_at_us: 20 * 3_600 * SECOND,
                ..Calendar::default()
            };
            set(&mut data, "reference.instruments.v1", "X", &instrument);
            set(&mut data, "reference.calendars.v1", "C", &calendar);
        }
        bench.table(data);
        let mut desk = Self { bench, market: MarketTable::default(), seq: 0, cum: 0, events: 0 };
        desk.quote("100", "100.02");
        desk
    }

    fn row(&mut self, kind: MarketDataKind, at: TimestampMicros) -> NormalizedMarketData {
        self.seq += 1;
        NormalizedMarketData {
            instrument_id: "X".into(),
            venue: "V".into(),
            kind,
            event_time: at,
            seq: self.seq,
            ..NormalizedMarketData::default()
        }
    }

    pub fn rows(&mut self, rows: Vec<NormalizedMarketData>) -> &mut Self {
        for row in rows {
            self.market.take(&row).unwrap();
        }
        self.bench.table(self.market.clone());
        self
    }

    pub fn quote(&mut self, bid: &str, ask: &str) -> &mut Self {
        self.sized_quote((bid, ask), None)
    }

    pub fn sized_quote(&mut self, (bid, ask): (&str, &str), size: Option<i64>) -> &mut Self {
        let row = self.row(MarketDataKind::Quote, self.bench.now());
        let (bid_size, ask_size) = (size.map(qty), size.map(qty));
        self.rows(vec![NormalizedMarketData { bid: Some(px(bid)), ask: Some(px(ask)), bid_size, ask_size, ..row }])
    }

    pub fn quote_at(&mut self, when: TimestampMicros, bid: &str, ask: &str) -> &mut Self {
        let row = self.row(MarketDataKind::Quote, when);
        self.rows(vec![NormalizedMarketData { bid: Some(px(bid)), ask: Some(px(ask)), ..row }])
    }

    /// The book has no ask any more.
    pub fn one_sided(&mut self) -> &mut Self {
        let row = self.row(MarketDataKind::Quote, self.bench.now());
        self.rows(vec![NormalizedMarketData { bid: Some(px("100")), ..row }])
    }

    pub fn print(&mut self, size: i64) -> &mut Self {
        self.print_at(self.bench.now(), size)
    }

    pub fn print_at(&mut self, when: TimestampMicros, size: i64) -> &mut Self {
        let row = self.row(MarketDataKind::Trade, when);
        self.rows(vec![NormalizedMarketData { price: Some(px("100")), size: Some(qty(size)), ..row }])
    }

    pub fn print_px(&mut self, price: &str) -> &mut Self {
        self.print_at_px(self.bench.now(), price)
    }

    pub fn print_at_px(&mut self, when: TimestampMicros, price: &str) -> &mut Self {
        let row = self.row(MarketDataKind::Trade, when);
        self.rows(vec![NormalizedMarketData { price: Some(px(price)), size: Some(qty(1)), ..row }])
    }

    pub fn status(&mut self, status: &str) -> &mut Self {
        let row = self.row(MarketDataKind::Status, self.bench.now());
        self.rows(vec![NormalizedMarketData { trading_status: Some(status.into()), ..row }])
    }

    pub fn begin(&mut self, v: &AccountAllocation) -> ExecutionStrategySelected {
        self.bench.record(ALLOCATED, v);
        self.bench.take_one()
    }

    pub fn slice(&mut self) -> Slice {
        self.bench.take_one()
    }

    pub fn nothing(&mut self) -> &mut Self {
        self.bench.expect_no_more();
        self
    }

    /// Nothing is released, whatever is told.
    pub fn quiet(&mut self) -> &mut Self {
        self.bench.take::<ExecutionStrategySelected>();
        self.nothing()
    }

    /// Runs the timers up to a second, with the last quote repeated every 30 s so that it stays fresh.
    pub fn to(&mut self, second: i64) -> &mut Self {
        self.bench.timer_to(at(second));
        self
    }

    /// Routing places so much of a slice, as child `c<slice>`.
    pub fn routed(&mut self, slice: &Slice, quantity: i64) -> &mut Self {
        let plan = plan(slice, quantity);
        self.bench.record(PLANS, &plan);
        self
    }

    /// Child `c<n>` fills so much more and then holds `leaves`.
    pub fn fill(&mut self, n: i32, quantity: i64, leaves: i64) -> &mut Self {
        self.cum += quantity;
        let event = self.event(OrderEventType::ChildUpdated, Some((n, leaves)));
        self.bench.record(ORDERS, &event);
        self
    }

    /// Routed whole and filled whole.
    pub fn done(&mut self, slice: &Slice) -> &mut Self {
        let quantity = units(slice.quantity);
        self.routed(slice, quantity).fill(slice.slice_no, quantity, 0)
    }

    pub fn event(&mut self, event_type: OrderEventType, child: Option<(i32, i64)>) -> OrderEvent {
        self.events += 1;
        OrderEvent {
            event_id: format!("e{}", self.events),
            order_id: "o1".into(),
            portfolio_id: "P1".into(),
            account_id: Some("A1".into()),
            revision: i32::try_from(self.events).unwrap() + 1,
            event_type,
            cum_qty: qty(self.cum),
            account: Some(AccountFigures {
                account_id: "A1".into(),
                cum_qty: qty(self.cum),
                ..AccountFigures::default()
            }),
            child: child.map(|(n, leaves)| ChildUpdate {
                cl_ord_id: format!("c{n}"),
                leaves_qty: qty(leaves),
                ..ChildUpdate::default()
            }),
            ..OrderEvent::default()
        }
    }

    pub fn order(&self) -> StrategyOrder {
        self.bench.state::<StrategyOrder>("orders").remove("o1/A1").unwrap()
    }
}

pub fn set<T: AvroRecord>(data: &mut ReferenceData, topic: &str, key: &str, value: &T) {
    let bytes = value.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    data.apply(&row).unwrap();
}

pub fn units(quantity: Quantity) -> i64 {
    quantity.to_string().parse().unwrap()
}

pub fn plan(slice: &Slice, routed: i64) -> RoutingPlan {
    let leg = RouteLeg { cl_ord_id: format!("c{}", slice.slice_no), quantity: qty(routed), ..RouteLeg::default() };
    RoutingPlan {
        event_id: format!("p{}", slice.slice_no),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        order_id: "o1".into(),
        slice_no: slice.slice_no,
        is_last: slice.is_last,
        time_in_force: slice.time_in_force,
        terms_revision: slice.terms_revision,
        quantity: slice.quantity,
        unrouted_qty: slice.quantity.less_at_most(qty(routed)),
        venue_allocations: if routed > 0 { vec![leg] } else { Vec::new() },
        ..RoutingPlan::default()
    }
}

pub fn selling(v: AccountAllocation) -> AccountAllocation {
    AccountAllocation { side: Side::Sell, ..v }
}
