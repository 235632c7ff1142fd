//! One order on one path, worked by the real stage.
//!
//! The desk gives the stage its allocation, its market and its time, fires its timers, routes each slice whole to one child, and lets the
//! book fill that. A child arrives [`LATENCY_US`] after its slice; its reports come at once. What rests has the displayed size of the touch
//! before it, is filled by prints as `print_fill` of the simulated venue says, or at its own price by a quote that comes to it.
//!
//! At the end of the order's time what is left is taken from the ladder at any price: **cost** is the implementation shortfall of
//! all of it against the mid at arrival, fees included. Without that an algorithm that does nothing would cost nothing. The
//! **shortfall** as TCA tells it, with the opportunity cost of what was left at the mid of that time, stands beside, and so does what
//! was **filled** before.

use std::sync::Arc;

use fillstream_core::StageHandle;
use fillstream_core::batch::Batch;
use fillstream_core::group::{Group, Path};
use fillstream_core::record::{Envelope, OutRecord, Payload};
use fillstream_core::table::{Table as _, TableRow, Tables};
use fillstream_core::task::{Task, TaskContext};
use fillstream_domain::{
    Algorithm, Bps, MarketCondition, MidPrice, Money, Price, PriceQuantitySum, Quantity, Ratio, Rounding, Side,
    TimeInForce, TimestampMicros, Urgency,
};
use fillstream_execution_strategy::{Config, ExecutionStrategy};
use fillstream_market::{CALENDAR_CRYPTO, CALENDAR_EQUITY, CALENDAR_FX};
use fillstream_pre_trade_risk::value::impact;
use fillstream_reference::{MarketTable, ReferenceData};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::codec::Event;
use fillstream_schemas::execution::{
    AccountAllocation, AccountFigures, ChildUpdate, ExecutionStrategySelected, OrderEvent, OrderEventType, OrderTerms,
    Quote, RouteLeg, RoutingPlan, Slice,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::Calendar;
use fillstream_tca::shortfall::Execution;
use fillstream_venue::EngineConfig;
use fillstream_venue::matching::{FeeTerms, print_fill};

use crate::book::{Book, Fill};
use crate::error::QualityError;
use crate::path::{MarketPath, Said, Tick, Top};

/// From a slice to the arrival of its child, microseconds: the simulated venue's.
pub const LATENCY_US: i64 = 100_000;
const ALLOCATED: &str = "execution.allocations.v1";
const ORDERS: &str = "execution.orders.v1";
const PLANS: &str = "execution.routing-plans.v1";
const ACCOUNT: &str = "A1";
const PORTFOLIO: &str = "P1";
const HOUR_US: i64 = 3_600_000_000;

/// An order to be worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderSpec {
    /// Value, quote currency.
    pub value: i64,
    /// Urgency.
    pub urgency: Urgency,
    /// Time allowed, seconds.
    pub horizon_s: i64,
}

/// What an order came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What the rules of the stage recommend.
    pub selected: Algorithm,
    /// What ran.
    pub used: Algorithm,
    /// The market's condition at arrival, as the stage tells it.
    pub condition: MarketCondition,
    /// Whether its market impact is high.
    pub impact_is_high: bool,
    /// Cost of all of it, basis points of its value at arrival; what was left is taken at the end.
    pub cost_bps: f64,
    /// Implementation shortfall as TCA tells it, basis points.
    pub shortfall_bps: f64,
    /// Share filled within the time, 0 to 1.
    pub filled: f64,
}

/// What all orders have in common: the stage and the fees.
pub struct Works {
    group: Arc<Group>,
    taker: Bps,
    maker: Bps,
    clip: Quantity,
}

impl Works {
    /// The stage with this configuration, and the fees of the simulated venue's first market.
    ///
    /// # Errors
    /// A faulty configuration.
    pub fn new(config: Config) -> Result<Self, QualityError> {
        let stage = ExecutionStrategy::new(config).map_err(|faults| QualityError::Config(faults.join("; ")))?;
        let group = Group::fused(&Path::new("quality", vec![StageHandle::of(stage)])?)?;
        let venue = EngineConfig::default().venues.into_iter().next();
        let fees = venue.map(|v| (v.taker_fee, v.maker_fee, v.assumed_clip.unwrap_or(Quantity::ONE)));
        let (taker, maker, clip) = fees.unwrap_or((Bps::ZERO, Bps::ZERO, Quantity::ONE));
        Ok(Self { group, taker, maker, clip })
    }

    /// A path as it stands when the order arrives; orders begin from copies of it.
    ///
    /// # Errors
    /// There is no quote at arrival, or a figure is out of range.
    pub fn prepare<'a>(&'a self, path: &'a MarketPath) -> Result<Prepared<'a>, QualityError> {
        let book = Book::new(path.instrument.tick_size, path.ladder(self.clip)?, path.moves);
        let mut prepared = Prepared {
            works: self,
            path,
            tables: Tables::default(),
            feed: Feed { book, market: MarketTable::default(), next: 0, seq: 0 },
        };
        prepared.tables.set(reference(path)?);
        while prepared.feed.peek(path).is_some_and(|tick| tick.at <= path.arrives_at) {
            prepared.feed.row(path)?;
        }
        Ok(prepared)
    }
}

fn reference(path: &MarketPath) -> Result<ReferenceData, QualityError> {
    let mut data = ReferenceData::default();
    let mut put = |topic: &str, key: &str, bytes: &[u8]| {
        data.apply(&TableRow { topic, partition: 0, offset: 0, key, value: Some(bytes), event_time: None })
    };
    put("reference.instruments.v1", &path.instrument.instrument_id, &path.instrument.to_bytes())?;
    let half = HOUR_US / 2;
    for (id, opens_at_us, closes_at_us) in [
        (CALENDAR_EQUITY, 14 * HOUR_US + half, 21 * HOUR_US),
        (CALENDAR_CRYPTO, 0, 24 * HOUR_US),
        (CALENDAR_FX, 0, 24 * HOUR_US),
    ] {
        let calendar =
            Calendar { calendar_id: id.to_owned(), opens_at_us, closes_at_us, version: 1, ..Calendar::default() };
        put("reference.calendars.v1", id, &calendar.to_bytes())?;
    }
    Ok(data)
}

/// The rows of a path, as far as they have come.
#[derive(Clone)]
struct Feed {
    book: Book,
    market: MarketTable,
    next: usize,
    seq: i64,
}

impl Feed {
    fn peek<'a>(&self, path: &'a MarketPath) -> Option<&'a Tick> {
        path.ticks.get(self.next)
    }

    /// Takes the next row in: as it is after the order's own impact.
    fn row(&mut self, path: &MarketPath) -> Result<Option<Tick>, QualityError> {
        let Some(tick) = self.peek(path).copied() else { return Ok(None) };
        self.next += 1;
        match tick.said {
            Said::Quote(top) => {
                self.book.update(top);
                self.tell(path, tick.at)?;
                Ok(Some(Tick { said: Said::Quote(self.book.top(tick.at)?), ..tick }))
            }
            Said::Print(px, size) => {
                let px = self.book.moved(px, tick.at)?;
                let row = NormalizedMarketData {
                    kind: MarketDataKind::Trade,
                    price: Some(px),
                    size: Some(size),
                    ..self.blank(path, tick.at)
                };
                self.market.take(&row)?;
                Ok(Some(Tick { said: Said::Print(px, size), ..tick }))
            }
        }
    }

    /// The stage's table gets the top of the book as it is now.
    fn tell(&mut self, path: &MarketPath, at: TimestampMicros) -> Result<(), QualityError> {
        let top = self.book.top(at)?;
        let row = NormalizedMarketData {
            kind: MarketDataKind::Quote,
            bid: top.map(|t| t.bid),
            ask: top.map(|t| t.ask),
            bid_size: top.and_then(|t| t.bid_size),
            ask_size: top.and_then(|t| t.ask_size),
            ..self.blank(path, at)
        };
        Ok(self.market.take(&row)?)
    }

    fn blank(&mut self, path: &MarketPath, event_time: TimestampMicros) -> NormalizedMarketData {
        self.seq += 1;
        NormalizedMarketData {
            instrument_id: path.instrument.instrument_id.clone(),
            venue: path.instrument.reference_venue.clone(),
            event_time,
            seq: self.seq,
            ..NormalizedMarketData::default()
        }
    }
}

/// A path at the arrival of its order.
pub struct Prepared<'a> {
    works: &'a Works,
    path: &'a MarketPath,
    tables: Tables,
    feed: Feed,
}

impl Prepared<'_> {
    /// Works an order by an algorithm.
    ///
    /// # Errors
    /// The path has no quote at arrival; what the stage, the book or TCA refuse.
    pub fn work(&self, spec: &OrderSpec, algorithm: Algorithm, adaptive: bool) -> Result<Outcome, QualityError> {
        let now = self.path.arrives_at;
        let missing = || QualityError::Path { path: self.path.name.clone(), what: "no quote at arrival" };
        let top = self.feed.book.top(now)?.ok_or_else(missing)?;
        let mid = MidPrice::of(top.bid, top.ask);
        let value = Money::from_int(spec.value)?;
        let lot = self.path.instrument.lot_size;
        let quantity = value.buys_at(mid.price(Rounding::HalfEven)?, Rounding::Floor)?.floor_to_lot(lot)?.max(lot);
        let context = TaskContext {
            partitioner: Arc::new(|_, _| 0),
            config_hash: String::new(),
            code_version: String::new(),
            sampler: Default::default(),
        };
        let mut run = Run {
            prepared: self,
            feed: self.feed.clone(),
            tables: self.tables.clone(),
            task: Task::new(&self.works.group, 0, context),
            now,
            offsets: [0; 3],
            events: 0,
            side: if self.path.is_buy { Side::Buy } else { Side::Sell },
            quantity,
            order_id: format!("{}/{}", self.path.name, spec.value),
            children: Vec::new(),
            sum: PriceQuantitySum::ZERO,
            fees: Money::ZERO,
            selected: None,
        };
        let allocated = run.allocation(spec, (algorithm, adaptive), top, value);
        run.go(allocated, TimestampMicros::from_micros(now.micros() + spec.horizon_s * 1_000_000))?;
        run.outcome(mid)
    }
}

/// A child on its way or in the book.
#[derive(Clone, Debug)]
struct Child {
    id: String,
    limit: Option<Price>,
    rests: bool,
    leaves: Quantity,
    ahead: Quantity,
    arrives_at: TimestampMicros,
    expire_at: TimestampMicros,
    works: bool,
}

struct Run<'a> {
    prepared: &'a Prepared<'a>,
    feed: Feed,
    tables: Tables,
    task: Task,
    now: TimestampMicros,
    offsets: [i64; 3],
    events: u64,
    side: Side,
    quantity: Quantity,
    order_id: String,
    children: Vec<Child>,
    sum: PriceQuantitySum,
    fees: Money,
    selected: Option<ExecutionStrategySelected>,
}

impl Run<'_> {
    fn allocation(
        &self,
        spec: &OrderSpec,
        (algorithm, adaptive): (Algorithm, bool),
        top: Top,
        value: Money,
    ) -> AccountAllocation {
        let instrument = &self.prepared.path.instrument;
        let quote = Quote {
            venue: instrument.reference_venue.clone(),
            event_time: self.now,
            bid: top.bid,
            ask: top.ask,
            bid_size: top.bid_size,
            ask_size: top.ask_size,
        };
        let horizon_us = spec.horizon_s * 1_000_000;
        AccountAllocation {
            event_id: format!("{}/allocated", self.order_id),
            timestamp: self.now,
            order_id: self.order_id.clone(),
            portfolio_id: PORTFOLIO.to_owned(),
            account_id: Some(ACCOUNT.to_owned()),
            instrument_id: instrument.instrument_id.clone(),
            side: self.side,
            quantity: self.quantity,
            parent_qty: self.quantity,
            order_value: value,
            market_impact_estimate: impact(self.quantity, instrument.adv),
            quote: Some(quote.clone()),
            terms: OrderTerms {
                algorithm,
                adaptive,
                urgency: spec.urgency,
                horizon_us,
                expire_at: TimestampMicros::from_micros(self.now.micros() + horizon_us + HOUR_US),
                lot_size: instrument.lot_size,
                time_in_force: TimeInForce::Day,
                quote_currency: instrument.quote_currency.clone(),
                news_impact_score: self.prepared.path.is_news.then_some(Ratio::ONE),
                quote,
                ..OrderTerms::default()
            },
            ..AccountAllocation::default()
        }
    }

    /// Runs to the end of the order's time.
    fn go(&mut self, allocated: AccountAllocation, end: TimestampMicros) -> Result<(), QualityError> {
        self.step(vec![envelope(ALLOCATED, &allocated)])?;
        loop {
            let row = self.feed.peek(self.prepared.path).map(|tick| tick.at);
            let child = self.children.iter().map(|c| if c.works { c.expire_at } else { c.arrives_at }).min();
            // A timer never fires at the time at which it was set.
            let after = TimestampMicros::from_micros(self.task.now().micros().saturating_add(1));
            let timer = self.task.next_due().map(|due| due.max(after));
            let Some(next) = [row, child, timer].into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if row == Some(next) {
                self.on_row()?;
            } else if child == Some(next) {
                self.on_child()?;
            } else {
                self.step(Vec::new())?;
            }
        }
        self.now = end;
        Ok(())
    }

    /// Gives the stage records, or only the time, and does what it says.
    fn step(&mut self, mut records: Vec<Envelope>) -> Result<(), QualityError> {
        loop {
            for mut record in records.drain(..) {
                let [allocated, orders, plans] = &mut self.offsets;
                let next = match &*record.topic {
                    ALLOCATED => allocated,
                    ORDERS => orders,
                    _ => plans,
                };
                record.offset = Some(*next);
                *next += 1;
                self.task.offer(record);
            }
            self.tables.set(self.feed.market.clone());
            let batch = Batch { now: self.now, instant: None, tables: &self.tables, max_units: usize::MAX };
            let out = self.task.run(&batch)?;
            self.task.commit(&out);
            if let Some(letter) = out.dead_letters.first() {
                let (stage, path) = (letter.stage.to_owned(), self.prepared.path.name.clone());
                return Err(QualityError::DeadLetter { stage, path });
            }
            for record in &out.outputs {
                records.extend(self.heed(record)?);
            }
            if records.is_empty() && self.task.pending() == 0 {
                return Ok(());
            }
        }
    }

    /// Does what a record of the stage says; the plan of its slice comes back.
    fn heed(&mut self, record: &OutRecord) -> Result<Vec<Envelope>, QualityError> {
        if record.schema == ExecutionStrategySelected::FULL_NAME {
            if self.selected.is_none() {
                self.selected = Some(ExecutionStrategySelected::decode(&record.payload)?);
            }
            return Ok(Vec::new());
        }
        let slice = Slice::decode(&record.payload)?;
        let mut back = Vec::new();
        for id in &slice.cancel_cl_ord_ids {
            if self.children.iter().any(|c| c.id == *id) {
                self.children.retain(|c| c.id != *id);
                back.push(self.report(id, Quantity::ZERO)?);
            }
        }
        if slice.quantity.is_positive() {
            let id = format!("c{}", slice.slice_no);
            self.children.push(Child {
                id: id.clone(),
                limit: slice.limit_price,
                rests: matches!(slice.time_in_force, TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd),
                leaves: slice.quantity,
                ahead: Quantity::ZERO,
                arrives_at: TimestampMicros::from_micros(self.now.micros() + LATENCY_US),
                expire_at: slice.expire_at,
                works: false,
            });
            let plan = RoutingPlan {
                event_id: format!("{}/p{}", self.order_id, slice.slice_no),
                portfolio_id: PORTFOLIO.to_owned(),
                account_id: ACCOUNT.to_owned(),
                order_id: self.order_id.clone(),
                slice_no: slice.slice_no,
                is_last: slice.is_last,
                quantity: slice.quantity,
                venue_allocations: vec![RouteLeg { cl_ord_id: id, quantity: slice.quantity, ..RouteLeg::default() }],
                ..RoutingPlan::default()
            };
            // Before what cancelled children report.
            back.insert(0, envelope(PLANS, &plan));
        }
        Ok(back)
    }

    /// A child arrives, or its time is over.
    fn on_child(&mut self) -> Result<(), QualityError> {
        let due = |c: &Child| if c.works { c.expire_at } else { c.arrives_at };
        let Some(at) = self.children.iter().position(|c| due(c) <= self.now) else { return Ok(()) };
        let mut child = self.children.swap_remove(at);
        if child.works {
            let report = self.report(&child.id, Quantity::ZERO)?;
            return self.step(vec![report]);
        }
        let is_buy = self.side.is_buy();
        let fills = self.feed.book.take(is_buy, child.leaves, child.limit, self.now)?;
        for fill in &fills {
            self.fill(*fill, false)?;
        }
        let got = Quantity::sum(fills.iter().map(|f| f.qty))?;
        if !fills.is_empty() && self.prepared.path.moves {
            self.feed.tell(self.prepared.path, self.now)?;
        }
        child.leaves = child.leaves.less_at_most(got);
        let leaves = if child.rests { child.leaves } else { Quantity::ZERO };
        let is_heard = got.is_positive() || leaves.is_zero();
        let id = child.id.clone();
        if leaves.is_positive() {
            let top = self.feed.book.top(self.now)?;
            let near = top.map(|t| if is_buy { t.bid } else { t.ask });
            let improves = near.zip(child.limit).is_some_and(|(n, l)| if is_buy { l > n } else { l < n });
            child.ahead = if improves { Quantity::ZERO } else { self.feed.book.displayed(is_buy) };
            child.works = true;
            self.children.push(child);
        }
        if is_heard {
            let report = self.report(&id, leaves)?;
            self.step(vec![report])?;
        }
        Ok(())
    }

    /// A row of the market, and what of it fills resting children.
    fn on_row(&mut self) -> Result<(), QualityError> {
        let Some(tick) = self.feed.row(self.prepared.path)? else { return Ok(()) };
        let (is_buy, mut fills) = (self.side.is_buy(), Vec::new());
        let mut volume = match tick.said {
            Said::Quote(Some(top)) if top.bid < top.ask => self.feed.book.displayed(!is_buy),
            Said::Quote(_) => return Ok(()),
            Said::Print(_, size) => size,
        };
        for child in self.children.iter_mut().filter(|c| c.works) {
            let Some(limit) = child.limit else { continue };
            let px = match tick.said {
                Said::Quote(top) => top.map(|t| if is_buy { t.ask } else { t.bid }),
                Said::Print(px, _) => Some(px),
            };
            let Some(px) = px.filter(|px| if is_buy { *px <= limit } else { *px >= limit }) else { continue };
            let got = match tick.said {
                Said::Quote(_) => volume.min(child.leaves),
                Said::Print(..) => {
                    let (got, ahead) = print_fill(volume, child.ahead, child.leaves, px != limit);
                    child.ahead = ahead;
                    got
                }
            };
            if got.is_positive() {
                volume = volume.less_at_most(got);
                child.leaves = child.leaves.less_at_most(got);
                fills.push((child.id.clone(), Fill { px: limit, qty: got }, child.leaves));
            }
        }
        self.children.retain(|c| c.leaves.is_positive());
        let mut reports = Vec::new();
        for (id, fill, leaves) in fills {
            self.fill(fill, true)?;
            reports.push(self.report(&id, leaves)?);
        }
        if reports.is_empty() { Ok(()) } else { self.step(reports) }
    }

    fn fill(&mut self, fill: Fill, maker: bool) -> Result<(), QualityError> {
        let (works, instrument) = (self.prepared.works, &self.prepared.path.instrument);
        let terms = FeeTerms {
            rate: if maker { works.maker } else { works.taker },
            multiplier: instrument.multiplier,
            inverse: instrument.inverse,
            currency: instrument.quote_currency.parse()?,
        };
        self.sum = self.sum.add(fill.px, fill.qty)?;
        self.fees = self.fees.checked_add(terms.fee(fill.px, fill.qty)?)?;
        Ok(())
    }

    fn report(&mut self, cl_ord_id: &str, leaves_qty: Quantity) -> Result<Envelope, QualityError> {
        self.events += 1;
        let cum_qty = self.sum.quantity();
        let event = OrderEvent {
            event_id: format!("{}/e{}", self.order_id, self.events),
            order_id: self.order_id.clone(),
            portfolio_id: PORTFOLIO.to_owned(),
            account_id: Some(ACCOUNT.to_owned()),
            event_type: OrderEventType::ChildUpdated,
            cum_qty,
            avg_px: self.sum.avg(Rounding::HalfEven)?,
            account: Some(AccountFigures { account_id: ACCOUNT.to_owned(), cum_qty, ..AccountFigures::default() }),
            child: Some(ChildUpdate { cl_ord_id: cl_ord_id.to_owned(), leaves_qty, ..ChildUpdate::default() }),
            ..OrderEvent::default()
        };
        Ok(envelope(ORDERS, &event))
    }

    /// The order's time is over: what it cost, then what is left is taken.
    fn outcome(mut self, arrival: MidPrice) -> Result<Outcome, QualityError> {
        let path = self.prepared.path;
        let missing = |what| QualityError::Path { path: path.name.clone(), what };
        let top = self.feed.book.top(self.now)?.ok_or_else(|| missing("no quote at its end"))?;
        let close = MidPrice::of(top.bid, top.ask);
        let filled = self.sum.quantity();
        let shortfall_bps = self.shortfall(arrival, close)?;
        let left = self.quantity.less_at_most(filled);
        if left.is_positive() {
            let fills = self.feed.book.take(self.side.is_buy(), left, None, self.now)?;
            for fill in fills {
                self.fill(fill, false)?;
            }
        }
        let selected = self.selected.take().ok_or_else(|| missing("no strategy was selected"))?;
        Ok(Outcome {
            selected: selected.selected,
            used: selected.used,
            condition: selected.market_condition,
            impact_is_high: impact(self.quantity, path.instrument.adv).is_high,
            cost_bps: self.shortfall(arrival, close)?,
            shortfall_bps,
            filled: filled.unscaled() as f64 / self.quantity.unscaled() as f64,
        })
    }

    fn shortfall(&self, arrival: MidPrice, close: MidPrice) -> Result<f64, QualityError> {
        let execution = Execution {
            side: self.side,
            ordered: self.quantity,
            filled: self.sum,
            multiplier: self.prepared.path.instrument.multiplier,
            decision: arrival.avg_price()?,
            arrival: arrival.avg_price()?,
            benchmark: None,
            close: close.avg_price()?,
            fees: self.fees,
        };
        let (total, value) = (execution.costs()?.total_cost, execution.decided_value()?);
        Ok(1e4 * total.unscaled() as f64 / value.unscaled() as f64)
    }
}

fn envelope<R: Event>(topic: &str, value: &R) -> Envelope {
    Envelope::foreign(topic, 0, 0, value.key(), Payload::Avro(value.to_bytes().into()))
}
