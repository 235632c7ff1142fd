//! The order path in one task, with everything around it: reference data, quotes, decisions, and a broker that lets orders
//! rest or fills them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fillstream_core::batch::Batch;
use fillstream_core::record::{Envelope, OutRecord, Payload};
use fillstream_core::table::{Table, TableRow, Tables};
use fillstream_core::task::{Task, TaskContext};
use fillstream_domain::{Bps, ExecType, LiquidityFlag, OrdStatus, Quantity, Rounding, SignedQuantity, TimestampMicros};
use fillstream_market::SyntheticConfig;
use fillstream_reference::{Controls, MarketTable, ReferenceData, WideLimits};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::codec::Event;
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision, ExecutionPreference, TradeDecision};
use fillstream_schemas::execution::{ChildAction, ChildOrder, ExecutionReport, OrderEvent};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_venue::EngineConfig;

use crate::config::Config;
use crate::demo::market::MarketChoice;
use crate::demo::reference::brokers;
use crate::live::SESSIONS;
use crate::live::reference::{Orderable, accounts, always_open, limits, orderables, portfolio};
use crate::registry::groups;

const PATH: &str = "order-path";
const DECISIONS: &str = "coordination.decisions.v1";
const CHILDREN: &str = "execution.child-orders.v1";
const ORDERS: &str = "execution.orders.v1";
const REPORTS: &str = "execution.reports.v1";
/// Time between two decisions.
const PACE_US: i64 = 1_000;
/// Quotes are renewed so often, long before they are too old.
const QUOTE_EVERY_US: i64 = 10_000_000;
/// Most units of a batch.
const MAX_UNITS: usize = 500;

/// What the broker does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broker {
    /// Accepts limit orders, which rest.
    Rests,
    /// Fills market orders.
    Fills,
}

/// What it took, in CPU time of this thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    /// Taking records in: each is decoded for its identity.
    pub decode: Duration,
    /// Batches: rules, encoding, journal.
    pub run: Duration,
    /// Headers of the records written.
    pub prepare: Duration,
    /// Keeping what a committed batch changed.
    pub keep: Duration,
    /// Records written.
    pub records: u64,
    /// Changelog entries.
    pub changes: u64,
    /// Batches.
    pub batches: u64,
    /// Allocations meanwhile, where they are counted.
    pub allocations: Option<u64>,
}

/// The order path and what is around it.
pub(super) struct Desk {
    task: Task,
    tables: Tables,
    market: MarketTable,
    orderables: Vec<Orderable>,
    quotes: BTreeMap<String, NormalizedMarketData>,
    quoted_at: i64,
    portfolios: usize,
    batch: u32,
    now: i64,
    decided: u32,
    offsets: BTreeMap<Arc<str>, i64>,
    open: BTreeSet<String>,
}

impl Desk {
    pub(super) fn new(config: &Config, portfolios: usize, batch: u32) -> anyhow::Result<Self> {
        let groups = groups(&config.stages, &BTreeMap::new())?;
        let group = groups.iter().find(|g| g.name() == PATH).context("no order path")?;
        let context = TaskContext {
            partitioner: Arc::new(|_, _| 0),
            config_hash: config.decision_hash(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            sampler: Default::default(),
        };
        let synthetic = SyntheticConfig::default();
        let now = synthetic.start.micros().saturating_add(60_000_000);
        let (mut tables, mut quotes) = (Tables::default(), BTreeMap::new());
        let orderables = orderables(&synthetic.instruments)?;
        for of in &synthetic.instruments {
            let quote = NormalizedMarketData {
                instrument_id: of.instrument_id.clone(),
                venue: of.venue.clone(),
                kind: MarketDataKind::Quote,
                bid: Some(of.open_price),
                ask: Some(of.open_price.checked_add(of.tick_size)?),
                bid_size: of.touch_size,
                ask_size: of.touch_size,
                ..NormalizedMarketData::default()
            };
            quotes.insert(of.instrument_id.clone(), quote);
        }
        tables.set(reference(MarketChoice::Synthetic(synthetic), portfolios)?);
        tables.set(Controls::default());
        tables.set(WideLimits::default());
        let mut desk = Self {
            task: Task::new(group, 0, context),
            tables,
            market: MarketTable::default(),
            orderables,
            quotes,
            quoted_at: i64::MIN,
            portfolios,
            batch,
            now,
            decided: 0,
            offsets: BTreeMap::new(),
            open: BTreeSet::new(),
        };
        desk.task.begin_segment();
        Ok(desk)
    }

    /// Orders that have not ended.
    pub(super) fn open_orders(&self) -> usize {
        self.open.len()
    }

    /// Gives so many decisions, and the path everything that follows from them.
    pub(super) fn decide(&mut self, count: u32, broker: Broker) -> anyhow::Result<Spent> {
        let mut spent = Spent::default();
        let (mut left, before) = (count, crate::allocations());
        while left > 0 {
            let batch = left.min(self.batch);
            left -= batch;
            self.requote()?;
            let mut waiting = Vec::new();
            for _ in 0..batch {
                waiting.push(self.decision(broker)?);
            }
            while !waiting.is_empty() {
                waiting = self.round(waiting, broker, &mut spent)?;
            }
        }
        spent.allocations = crate::allocations().zip(before).map(|(after, before)| after.saturating_sub(before));
        Ok(spent)
    }

    // Takes records in, runs batches until they are processed, and gives what comes back of it.
    fn round(&mut self, records: Vec<Envelope>, broker: Broker, spent: &mut Spent) -> anyhow::Result<Vec<Envelope>> {
        let start = cpu();
        for mut record in records {
            let next = self.offsets.entry(Arc::clone(&record.topic)).or_default();
            record.offset = Some(*next);
            *next += 1;
            self.task.offer(record);
        }
        spent.decode += cpu().saturating_sub(start);
        let mut back = Vec::new();
        while self.task.pending() > 0 {
            self.now += 1;
            let now = TimestampMicros::from_micros(self.now);
            let batch = Batch { now, instant: None, tables: &self.tables, max_units: MAX_UNITS };
            let start = cpu();
            let out = self.task.run(&batch)?;
            let ran = cpu();
            let headers: usize = out.outputs.iter().map(|record| record.wire_headers().len()).sum();
            std::hint::black_box(headers);
            let prepared = cpu();
            self.task.commit(&out);
            spent.keep += cpu().saturating_sub(prepared);
            spent.prepare += prepared.saturating_sub(ran);
            spent.run += ran.saturating_sub(start);
            spent.batches += 1;
            spent.records += u64::try_from(out.outputs.len())?;
            spent.changes += u64::try_from(out.changelog.len())?;
            if let Some(letter) = out.dead_letters.first() {
                bail!("a dead letter of {}", letter.stage);
            }
            for record in out.outputs {
                self.follow(record, broker, &mut back)?;
            }
        }
        Ok(back)
    }

    // What is done about a record that the path wrote: it is read back where the path reads it, the broker answers.
    fn follow(&mut self, record: OutRecord, broker: Broker, back: &mut Vec<Envelope>) -> anyhow::Result<()> {
        if record.topic == CHILDREN {
            let child = ChildOrder::decode(&record.payload)?;
            if child.action == ChildAction::New {
                back.push(foreign(REPORTS, &self.report(&child, broker)?));
            }
        } else if record.topic == ORDERS {
            let event = OrderEvent::decode(&record.payload)?;
            if event.is_terminal {
                self.open.remove(&event.order_id);
                if let Some(code) = event.reason_code {
                    bail!("order {} ended: {code} ({})", event.order_id, event.reason_text.unwrap_or_default());
                }
            } else {
                self.open.insert(event.order_id);
            }
        }
        // Handed on in memory within its batch, and read back, as through Kafka, by the stages before its writer.
        if self.task.group().subscriptions().iter().any(|s| s.input.topic == record.topic) {
            back.push(Envelope {
                lineage: Some(record.lineage),
                event_time: Some(record.event_time),
                order: Some(Arc::new(record.order)),
                trace: record.trace,
                ..Envelope::foreign(record.topic, 0, 0, &record.key, Payload::Avro(record.payload))
            });
        }
        Ok(())
    }

    fn decision(&mut self, broker: Broker) -> anyhow::Result<Envelope> {
        let n = usize::try_from(self.decided)?;
        self.decided += 1;
        self.now += PACE_US;
        let orderable = self.orderables.get(n / self.portfolios % self.orderables.len()).context("no instrument")?;
        let quote = self.quotes.get(&orderable.instrument_id).context("no quote")?;
        let is_buy = (n / self.portfolios + n).is_multiple_of(2);
        let touch = if is_buy { quote.bid } else { quote.ask }.context("no touch")?;
        // A percent away from the market: within the collar, and not marketable.
        let away = Bps::from_int(if is_buy { -100 } else { 100 })?;
        let limit = match broker {
            Broker::Rests => Some(touch.shifted_by(away, Rounding::HalfEven)?.round_down_to_tick(orderable.tick_size)?),
            Broker::Fills => None,
        };
        let kind = if limit.is_some() { "LIMIT" } else { "MARKET" };
        let decision = CoordinatedTradingDecision {
            event_id: format!("bench-{n}"),
            timestamp: TimestampMicros::from_micros(self.now),
            portfolio_id: portfolio(n % self.portfolios),
            decision: TradeDecision {
                instrument_id: orderable.instrument_id.clone(),
                action: if is_buy { Action::Buy } else { Action::Sell },
                share_quantity: Some(SignedQuantity::from(orderable.quantity)),
                priority: "NORMAL".to_owned(),
                ..TradeDecision::default()
            },
            execution_strategy: ExecutionPreference {
                order_type: kind.to_owned(),
                execution_algorithm: kind.to_owned(),
                limit_price: limit,
                urgency: "HIGH".to_owned(),
                time_in_force: "DAY".to_owned(),
                ..ExecutionPreference::default()
            },
            ..CoordinatedTradingDecision::default()
        };
        Ok(foreign(DECISIONS, &decision))
    }

    fn report(&self, child: &ChildOrder, broker: Broker) -> anyhow::Result<ExecutionReport> {
        let fills = broker == Broker::Fills;
        let price = child.quote.as_ref().map(|q| if child.side.is_buy() { q.ask } else { q.bid });
        Ok(ExecutionReport {
            event_id: format!("report-{}", child.cl_ord_id),
            timestamp: TimestampMicros::from_micros(self.now),
            session: child.session.clone(),
            in_seq: 1,
            broker: child.broker.clone(),
            venue: child.venue.clone(),
            exec_id: format!("x-{}", child.cl_ord_id),
            cl_ord_id: child.cl_ord_id.clone(),
            order_id: child.order_id.clone(),
            portfolio_id: child.portfolio_id.clone(),
            account_id: child.account_id.clone(),
            instrument_id: child.instrument_id.clone(),
            slice_no: child.slice_no,
            leg: child.leg,
            side: child.side,
            exec_type: if fills { ExecType::Trade } else { ExecType::New },
            ord_status: if fills { OrdStatus::Filled } else { OrdStatus::New },
            ord_qty: child.quantity,
            last_qty: fills.then_some(child.quantity),
            last_px: if fills { Some(price.context("a child without quote")?) } else { None },
            cum_qty: if fills { child.quantity } else { Quantity::ZERO },
            leaves_qty: if fills { Quantity::ZERO } else { child.quantity },
            liquidity: if fills { LiquidityFlag::Taker } else { LiquidityFlag::Unknown },
            transact_at: TimestampMicros::from_micros(self.now),
            ..ExecutionReport::default()
        })
    }

    fn requote(&mut self) -> anyhow::Result<()> {
        if self.now.saturating_sub(self.quoted_at) < QUOTE_EVERY_US {
            return Ok(());
        }
        self.quoted_at = self.now;
        for quote in self.quotes.values_mut() {
            (quote.event_time, quote.seq) = (TimestampMicros::from_micros(self.now), quote.seq + 1);
            put(&mut self.market, "market.data.v1", &quote.instrument_id, &*quote)?;
        }
        self.tables.set(self.market.clone());
        Ok(())
    }
}

fn foreign<R: Event>(topic: &str, value: &R) -> Envelope {
    Envelope::foreign(topic, 0, 0, value.key(), Payload::Avro(value.to_bytes().into()))
}

fn put<T: Table, R: AvroRecord>(table: &mut T, topic: &str, key: &str, value: &R) -> anyhow::Result<()> {
    let bytes = value.to_bytes();
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    Ok(Table::apply(table, &row)?)
}

fn reference(market: MarketChoice, portfolios: usize) -> anyhow::Result<ReferenceData> {
    let engine =
        EngineConfig { sessions: SESSIONS.iter().map(|s| (*s).to_owned()).collect(), ..EngineConfig::default() };
    let (mut data, market) = (ReferenceData::default(), market.open()?);
    for i in market.instruments() {
        put(&mut data, "reference.instruments.v1", &i.instrument_id, i)?;
    }
    for account in accounts(market.instruments(), portfolios)? {
        put(&mut data, "reference.accounts.v1", &account.account_id, &account)?;
    }
    for limit in limits(portfolios)? {
        put(&mut data, "reference.limits.v1", &limit.portfolio_id, &limit)?;
    }
    for venue in engine.venues.iter().map(|v| v.reference()) {
        put(&mut data, "reference.venues.v1", &venue.venue_id, &venue)?;
    }
    for broker in brokers(&engine)? {
        put(&mut data, "reference.brokers.v1", &broker.broker_id, &broker)?;
    }
    for calendar in always_open() {
        put(&mut data, "reference.calendars.v1", &calendar.calendar_id, &calendar)?;
    }
    Ok(data)
}

// CPU time of this thread: the machine may be busy with others.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_stays_open_and_costs_nothing_and_the_rest_is_filled() {
        let config = Config::load(&crate::config::Sources::default()).unwrap();
        let mut desk = Desk::new(&config, 3, 5).unwrap();
        desk.decide(20, Broker::Rests).unwrap();
        assert_eq!(desk.open_orders(), 20);
        let alone = desk.decide(10, Broker::Fills).unwrap();
        desk.decide(200, Broker::Rests).unwrap();
        let beside = desk.decide(10, Broker::Fills).unwrap();
        assert_eq!(desk.open_orders(), 220);
        assert!(alone.records >= 80, "{alone:?}");
        assert_eq!((alone.records, alone.batches), (beside.records, beside.batches));
    }
}
