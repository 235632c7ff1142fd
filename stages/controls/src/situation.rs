//! A small world in which an order goes through: one instrument, one venue, one broker, one portfolio with its account.

use fillstream_core::stage::Stage;
use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{
    Bps, ControlScope, Money, NumberError, OrdType, Price, Quantity, Ratio, Side, SignedQuantity, TimeInForce,
    TimestampMicros,
};
use fillstream_reference::{
    ControlCommand, ControlRequest, Controls, MarketTable, ReferenceData, WideLimits, transition,
};
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, OrderTerms, ParentStatus, RouteLeg, RoutingPlan};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Broker, Calendar, Instrument, RiskLimit, Venue};
use fillstream_testkit::StageBench;

use crate::ControlsError;

/// Thursday 2026-11-19T12:00:00Z.
pub(crate) const NOON: i64 = 1_795_089_600_000_000;

/// Makes one thing wrong.
pub(crate) type Change = fn(&mut Situation) -> Result<(), NumberError>;

/// What the tables hold, and what is asked.
#[derive(Clone)]
pub(crate) struct Situation {
    pub instrument: Instrument,
    pub account: Account,
    pub limit: Option<RiskLimit>,
    pub calendar: Calendar,
    pub venue: Venue,
    pub broker: Broker,
    pub market: Vec<NormalizedMarketData>,
    /// A command on the firm's control.
    pub firm: Option<ControlCommand>,
    pub gate: bool,
    pub max_children: u32,
    /// Orders that the stage knows.
    pub orders: Vec<OrderEvent>,
    /// Plans that were routed before.
    pub before: Vec<RoutingPlan>,
    /// How long after, microseconds.
    pub later_us: i64,
    /// The plan that is asked about.
    pub plan: RoutingPlan,
}

/// A moment so many microseconds after noon.
pub(crate) fn at(after_noon_us: i64) -> TimestampMicros {
    TimestampMicros::from_micros(NOON + after_noon_us)
}

impl Situation {
    /// Nothing is wrong.
    pub(crate) fn new() -> Result<Self, NumberError> {
        let mut situation = Self {
            instrument: Instrument {
                instrument_id: "ACME".to_owned(),
                quote_currency: "USD".to_owned(),
                multiplier: Quantity::ONE,
                lot_size: Quantity::ONE,
                reference_venue: "XA".to_owned(),
                calendar_id: "DAY".to_owned(),
                ..Instrument::default()
            },
            account: Account {
                account_id: "A1".to_owned(),
                portfolio_id: "P1".to_owned(),
                currency: "USD".to_owned(),
                cash: Money::from_int(100_000)?,
                initial_margin: Ratio::ONE,
                brokers: vec!["B1".to_owned()],
                is_active: true,
                version: 1,
                reconciled_at: Some(at(-1)),
                ..Account::default()
            },
            limit: Some(limit()?),
            calendar: Calendar {
                calendar_id: "DAY".to_owned(),
                opens_at_us: 8 * 3_600_000_000,
                closes_at_us: 16 * 3_600_000_000,
                ..Calendar::default()
            },
            venue: Venue { venue_id: "XA".to_owned(), is_open: true, ..Venue::default() },
            broker: Broker {
                broker_id: "B1".to_owned(),
                session_id: "B1-1".to_owned(),
                venues: vec!["XA".to_owned()],
                ..Broker::default()
            },
            market: vec![quote()?],
            firm: None,
            gate: false,
            max_children: 100,
            orders: vec![order("O1", Side::Buy)?],
            before: Vec::new(),
            later_us: 0,
            plan: plan("O1", Side::Buy, 1)?,
        };
        situation.account.positions.insert("ACME".to_owned(), SignedQuantity::from_int(50)?);
        Ok(situation)
    }

    /// The limits, where there are any.
    pub(crate) fn limit(&mut self) -> &mut RiskLimit {
        self.limit.get_or_insert_default()
    }

    /// The stage in front of the tables.
    pub(crate) fn bench<S: Stage>(&self, stage: S) -> Result<StageBench, ControlsError> {
        let mut bench = StageBench::new(stage);
        let mut data = ReferenceData::default();
        put(&mut data, "reference.instruments.v1", "ACME", &self.instrument)?;
        put(&mut data, "reference.accounts.v1", "A1", &self.account)?;
        put(&mut data, "reference.calendars.v1", "DAY", &self.calendar)?;
        put(&mut data, "reference.venues.v1", "XA", &self.venue)?;
        put(&mut data, "reference.brokers.v1", "B1", &self.broker)?;
        if let Some(limit) = &self.limit {
            put(&mut data, "reference.limits.v1", "P1", limit)?;
        }
        let (mut market, mut controls) = (MarketTable::default(), Controls::default());
        for row in &self.market {
            market.take(row)?;
        }
        let request = |command| ControlRequest { command, actor: "probe", reason: "probe of the control", at: at(0) };
        let control = self.firm.and_then(|c| transition((ControlScope::Firm, "*"), None, &request(c)).ok());
        if let Some(control) = control {
            controls.take("FIRM/*", control)?;
        }
        bench.table(market).table(data).table(controls).table(WideLimits::default()).at(at(0));
        Ok(bench)
    }
}

fn put<R: AvroRecord>(data: &mut ReferenceData, topic: &str, key: &str, record: &R) -> Result<(), ControlsError> {
    let bytes = record.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Ok(Table::apply(data, &row)?)
}

fn limit() -> Result<RiskLimit, NumberError> {
    Ok(RiskLimit {
        portfolio_id: "P1".to_owned(),
        currency: "USD".to_owned(),
        max_order_quantity: Quantity::from_int(1_000)?,
        max_order_value: Money::from_int(50_000)?,
        max_position_value: Money::from_int(80_000)?,
        max_gross_value: Money::from_int(120_000)?,
        max_child_quantity: Quantity::from_int(500)?,
        max_child_value: Money::from_int(40_000)?,
        price_collar: Bps::from_int(100)?,
        max_quote_age_ms: 5_000,
        child_confirmed_at: Some(at(-1)),
        version: 1,
        ..RiskLimit::default()
    })
}

fn quote() -> Result<NormalizedMarketData, NumberError> {
    Ok(NormalizedMarketData {
        instrument_id: "ACME".to_owned(),
        venue: "XA".to_owned(),
        kind: MarketDataKind::Quote,
        event_time: at(-1_000_000),
        bid: Some(Price::from_int(99)?),
        ask: Some(Price::from_int(100)?),
        ..NormalizedMarketData::default()
    })
}

/// A halt at the venue.
pub(crate) fn halt() -> NormalizedMarketData {
    NormalizedMarketData {
        instrument_id: "ACME".to_owned(),
        venue: "XA".to_owned(),
        kind: MarketDataKind::Status,
        event_time: at(-500_000),
        seq: 1,
        trading_status: Some("HALTED".to_owned()),
        ..NormalizedMarketData::default()
    }
}

/// A market order of 10 as order-management creates it.
pub(crate) fn order(order_id: &str, side: Side) -> Result<OrderEvent, NumberError> {
    let quantity = Quantity::from_int(10)?;
    Ok(OrderEvent {
        event_id: format!("{order_id}-1"),
        timestamp: at(0),
        order_id: order_id.to_owned(),
        portfolio_id: "P1".to_owned(),
        instrument_id: "ACME".to_owned(),
        revision: 1,
        event_type: OrderEventType::Created,
        status: ParentStatus::PendingRisk,
        side,
        ord_qty: quantity,
        leaves_qty: quantity,
        terms: Some(OrderTerms {
            ord_type: OrdType::Market,
            strategy_id: Some("S1".to_owned()),
            quote_currency: "USD".to_owned(),
            ..OrderTerms::default()
        }),
        ..OrderEvent::default()
    })
}

/// A plan of one market child of 2.
pub(crate) fn plan(order_id: &str, side: Side, slice_no: i32) -> Result<RoutingPlan, NumberError> {
    let leg = RouteLeg {
        leg: 1,
        cl_ord_id: format!("{order_id}{slice_no}"),
        broker: "B1".to_owned(),
        venue: "XA".to_owned(),
        session: "B1-1".to_owned(),
        quantity: Quantity::from_int(2)?,
        ..RouteLeg::default()
    };
    Ok(RoutingPlan {
        event_id: format!("{order_id}-plan-{slice_no}"),
        timestamp: at(0),
        order_id: order_id.to_owned(),
        portfolio_id: "P1".to_owned(),
        account_id: "A1".to_owned(),
        instrument_id: "ACME".to_owned(),
        side,
        slice_no,
        ord_type: OrdType::Market,
        time_in_force: TimeInForce::Day,
        expire_at: at(60_000_000),
        strategy_id: Some("S1".to_owned()),
        venue_allocations: vec![leg],
        ..RoutingPlan::default()
    })
}
