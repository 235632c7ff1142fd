//! A small world: one instrument, a portfolio with its accounts, a quote.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use fillstream_account_allocation::{AccountAllocator, Config};
use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{ControlScope, Price, Quantity, Side, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{
    AccountAllocation, AccountFigures, Control, ControlPhase, ControlState, OrderEvent, OrderEventType, OrderTerms,
    ParentStatus, Quote, ValidatedOrder,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Instrument};
use fillstream_testkit::StageBench;

pub const VALIDATED: &str = "execution.validated-orders.v1";
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
    pub accounts: Vec<Account>,
    pub instruments: Vec<Instrument>,
    pub rates: Vec<NormalizedMarketData>,
    pub stopped: Vec<(ControlScope, String, ControlPhase)>,
    pub config: Config,
}

pub fn account(id: &str) -> Account {
    Account {
        account_id: id.to_owned(),
        portfolio_id: "P1".to_owned(),
        currency: "USD".to_owned(),
        is_active: true,
        version: 1,
        ..Account::default()
    }
}

pub fn instrument(id: &str) -> Instrument {
    Instrument {
        instrument_id: id.to_owned(),
        quote_currency: "USD".to_owned(),
        multiplier: Quantity::ONE,
        lot_size: Quantity::ONE,
        min_quantity: Quantity::ONE,
        reference_venue: "XA".to_owned(),
        ..Instrument::default()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::of(3)
    }
}

impl World {
    /// `n` accounts that say nothing about themselves.
    pub fn of(n: usize) -> Self {
        Self {
            accounts: (1..=n).map(|n| account(&format!("A{n}"))).collect(),
            instruments: ["X", "Y", "Z", "W", "EURUSD"].map(instrument).into(),
            rates: Vec::new(),
            stopped: Vec::new(),
            config: Config::default(),
        }
    }

    pub fn holding(mut self, quantities: &[&str]) -> Self {
        for (account, quantity) in self.accounts.iter_mut().zip(quantities) {
            account.positions.insert("X".to_owned(), num(quantity));
        }
        self
    }

    pub fn kill(&mut self, scope: ControlScope, id: &str) {
        self.stopped.push((scope, id.to_owned(), ControlPhase::Killed));
    }

    pub fn pause(&mut self, scope: ControlScope, id: &str) {
        self.stopped.push((scope, id.to_owned(), ControlPhase::Paused));
    }

    pub fn rate(&mut self, id: &str, price: &str, age_us: i64) {
        self.rates.push(NormalizedMarketData {
            instrument_id: id.to_owned(),
            venue: "XA".to_owned(),
            kind: MarketDataKind::Quote,
            event_time: at(NOON - age_us),
            seq: 1,
            bid: Some(num(price)),
            ask: Some(num(price)),
            ..NormalizedMarketData::default()
        });
    }

    pub fn bench(&self) -> StageBench {
        let mut bench = StageBench::new(AccountAllocator::new(self.config.clone()).unwrap());
        self.load(&mut bench);
        bench.at(at(NOON));
        bench
    }

    pub fn load(&self, bench: &mut StageBench) {
        let mut data = ReferenceData::default();
        for row in &self.instruments {
            put(&mut data, "reference.instruments.v1", &row.instrument_id, row);
        }
        for row in &self.accounts {
            put(&mut data, "reference.accounts.v1", &row.account_id, row);
        }
        let mut controls = Controls::default();
        for (scope, id, phase) in &self.stopped {
            let control = Control {
                scope: *scope,
                scope_id: id.clone(),
                state: ControlState::Killed,
                version: 1,
                actor: "ada".to_owned(),
                reason: "drill".to_owned(),
                set_at: at(NOON),
                phase: *phase,
                ..Control::default()
            };
            controls.take(&format!("{}/{id}", scope.as_str()), control).unwrap();
        }
        let mut market = MarketTable::default();
        self.rates.iter().for_each(|row| market.take(row).unwrap());
        bench.table(market).table(data).table(controls);
    }
}

fn put<R: AvroRecord>(data: &mut ReferenceData, topic: &str, key: &str, record: &R) {
    let bytes = record.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Table::apply(data, &row).unwrap();
}

/// An approved market order at a quote of 10, 10.
pub fn approved(order: &str, side: Side, quantity: &str) -> ValidatedOrder {
    let quote = Quote { venue: "XA".into(), bid: num("10"), ask: num("10"), ..Quote::default() };
    ValidatedOrder {
        event_id: format!("{order}-v"),
        timestamp: at(NOON),
        order_id: order.to_owned(),
        portfolio_id: "P1".to_owned(),
        instrument_id: "X".to_owned(),
        side,
        quantity: num(quantity),
        is_approved: true,
        quote: Some(quote),
        terms: OrderTerms {
            horizon_us: 3_600_000_000,
            lot_size: Quantity::ONE,
            quote_currency: "USD".to_owned(),
            decision_price: Price::ONE,
            strategy_id: Some("S1".to_owned()),
            trader_id: Some("T1".to_owned()),
            ..OrderTerms::default()
        },
        ..ValidatedOrder::default()
    }
}

/// A later event of an order: its totals and state.
pub fn event(
    v: &ValidatedOrder,
    event_type: OrderEventType,
    status: ParentStatus,
    cum: &str,
    notional: &str,
) -> OrderEvent {
    let is_terminal = matches!(
        status,
        ParentStatus::Filled | ParentStatus::Cancelled | ParentStatus::Rejected | ParentStatus::Expired
    );
    let cum_qty: Quantity = num(cum);
    let rest = v.quantity.less_at_most(cum_qty);
    OrderEvent {
        event_id: format!("{}-{}-{cum}-{notional}", v.order_id, event_type.as_str()),
        timestamp: at(NOON),
        order_id: v.order_id.clone(),
        portfolio_id: v.portfolio_id.clone(),
        instrument_id: v.instrument_id.clone(),
        event_type,
        status,
        is_terminal,
        side: v.side,
        ord_qty: v.quantity,
        cum_qty,
        leaves_qty: if is_terminal { Quantity::ZERO } else { rest },
        cancelled_qty: if is_terminal { rest } else { Quantity::ZERO },
        filled_notional: num(notional),
        ..OrderEvent::default()
    }
}

/// An event about a child of one account: the order's totals, and the account's.
pub fn filled_in(
    v: &ValidatedOrder,
    account: &str,
    of: &str,
    cum: &str,
    (total, notional): (&str, &str),
) -> OrderEvent {
    let (ord_qty, cum_qty): (Quantity, Quantity) = (num(of), num(cum));
    let leaves_qty = ord_qty.less_at_most(cum_qty);
    OrderEvent {
        event_id: format!("{}-{account}-{cum}-{notional}", v.order_id),
        account: Some(AccountFigures {
            account_id: account.to_owned(),
            ord_qty,
            cum_qty,
            leaves_qty,
            ..AccountFigures::default()
        }),
        ..event(v, OrderEventType::ChildUpdated, ParentStatus::PartiallyFilled, total, notional)
    }
}

pub fn filled(v: &ValidatedOrder, notional: &str) -> OrderEvent {
    event(v, OrderEventType::Filled, ParentStatus::Filled, &v.quantity.to_string(), notional)
}

/// Gives an approved order to the stage and takes its allocations.
pub fn allocations(bench: &mut StageBench, v: &ValidatedOrder) -> Vec<AccountAllocation> {
    bench.record(VALIDATED, v);
    let rows = bench.take::<AccountAllocation>();
    bench.expect_no_more();
    balanced(&rows);
    let sum = Quantity::sum(rows.iter().map(|row| row.quantity)).unwrap();
    assert!(rows.first().is_none_or(|row| row.allocated_qty == sum), "the first revision holds everything allocated");
    rows
}

/// Trading rule 25, in every record.
pub fn balanced(rows: &[AccountAllocation]) {
    for row in rows {
        let total = row.allocated_qty.checked_add(row.unallocated_qty).unwrap();
        assert_eq!(total, row.parent_qty, "allocated + unallocated = parent");
        assert_eq!(row.unallocated_code.is_some(), row.unallocated_qty.is_positive());
    }
}

/// Account and quantity of each record.
pub fn got(rows: &[AccountAllocation]) -> Vec<(String, String)> {
    rows.iter().map(|row| (row.account_id.clone().unwrap_or_default(), row.quantity.to_string())).collect()
}

pub fn shares(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(account, quantity)| ((*account).to_owned(), (*quantity).to_owned())).collect()
}
