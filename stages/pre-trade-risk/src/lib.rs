//! Parent risk: every new order against limits, positions and buying power, with all figures; exposure is held from the
//! approval until the order ends.
//!
//! State is keyed by portfolio, so two orders of one portfolio are decided one after the other and can never together
//! pass a limit. It is made of opening cash and positions (taken from the record of each of its accounts when it is
//! first seen, and from then on only moved by fills: a later version of the record changes flags, margin and brokers, not
//! what is booked), and one reservation an open order. Position limits are worst case both ways; buys and sells never
//! net; closing sells need no cash; proceeds of shorts are collateral, not cash. The accounts count together: which of
//! them an order goes to is decided after risk.
//!
//! A portfolio without a limit record must not trade. In a record, a rule whose field is null, empty, zero or false by
//! default is not in force; which fields these are stands in the contract. Rules never switch each other off: all run and
//! all report, the first that fails hides none.
//!
//! A replace (an order event REPLACE_REQUESTED with the new terms) passes the same rules and is held against the limits
//! with what it adds; what adds nothing passes. From its approval the larger of old and new is held, until REPLACED or a
//! refusal. After REPLACED the quantity held is what the order says is open, which falls as children give it up; a former
//! price that is higher is held until the order ends, because children may still have it.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod advice;
pub mod booking;
mod books;
pub mod checks;
mod compliance;
mod config;
mod entered;
pub mod exposure;
mod facts;
pub mod impact;
pub mod lease;
mod liquidity;
mod others;
mod portfolio;
mod reason;
mod replace;
mod sized;
mod standing;
pub mod value;
mod verdict;
mod wide;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::time::MICROS_PER_DAY;
use fillstream_domain::{NumberError, Price, Quantity, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData, WideLimits};
use fillstream_schemas::execution::{
    LimitGrant, LimitRequest, OrderEvent, OrderEventType, OrderTerms, ParentStatus, ValidatedOrder,
};
use fillstream_schemas::state::{
    RiskBook, RiskEntered, RiskLease, RiskPortfolio, RiskPurge, RiskRecent, RiskReservation, RiskWaiting,
};

use checks::Checks;
pub use config::Config;
pub use facts::World;
use facts::{Asked, Found};
pub use reason::{Note, Reason};
use standing::{DUPLICATES_KEPT_US, Standing, recent_key};
use verdict::{Case, Verdict};
use wide::{Need, Turn};

inputs! {
    /// What the stage reads.
    pub enum In {
        Order(OrderEvent) = "execution.orders.v1",
        Grant(LimitGrant) = "execution.limit-grants.v1",
    }
}

outputs! {
    /// What the stage writes.
    pub enum Out {
        Validated(ValidatedOrder) = "execution.validated-orders.v1",
        Request(LimitRequest) = "execution.limit-requests.v1",
    }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Cash and positions, by portfolio.
        portfolios: RiskPortfolio = "portfolios",
        /// Open orders, by portfolio and order.
        open: RiskReservation = "open",
        /// Orders that ended lately and may still be amended, by portfolio and order.
        closed: RiskReservation = "closed",
        /// What was entered lately where the limits count it, by portfolio.
        entered: RiskEntered = "entered",
        /// Last approval of each different order where the limits refuse duplicates, by portfolio and terms.
        recent: RiskRecent = "recent",
        /// Sums of the open orders, by portfolio and instrument.
        books: RiskBook = "books",
        /// Headroom leased of limits over several portfolios, by portfolio and limit.
        leases: RiskLease = "leases",
        /// What waits for such headroom, by portfolio.
        waiting: RiskWaiting = "waiting"
    }
}

/// The pre-trade-risk stage.
pub struct PreTradeRisk {
    config: Config,
}

type Fx<'a> = Effects<'a, PreTradeRisk>;

impl PreTradeRisk {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }

    fn created(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let key = order_key(event);
        if state.open.get(&key).is_some() || state.closed.get(&key).is_some() {
            return Ok(());
        }
        books::ensure(state, &event.portfolio_id)?;
        self.ask(event, state, fx)
    }

    // Answers what asks; what it lacks instead, if it may wait for it.
    fn decide_on(
        &self,
        event: &OrderEvent,
        turn: Turn,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<Option<Vec<Need>>, Poison> {
        let terms = event.terms.as_ref().ok_or_else(|| Poison::new("NO_TERMS", "an order without terms"))?;
        let (key, now) = (order_key(event), fx.now());
        let held = state.open.get(&key).cloned();
        let verdict = if event.event_type == OrderEventType::ReplaceRequested {
            let Some(asked) = replace::asked(event, terms, held.as_ref()) else { return Ok(None) };
            self.verdict(asked, turn, state, world(fx), now, |checks| replace::check(held.as_ref(), checks))
        } else {
            let asked = Asked { event, terms, quantity: event.ord_qty, is_replace: false, replaces: None };
            self.verdict(asked, turn, state, world(fx), now, |_| {})
        };
        if !verdict.lacking.is_empty() {
            return Ok(Some(verdict.lacking));
        }
        self.answer(&key, event, verdict, state, fx)?;
        Ok(None)
    }

    // Writes a verdict and remembers what it approves.
    fn answer(
        &self,
        key: &str,
        event: &OrderEvent,
        verdict: Verdict,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let Verdict { mut order, portfolio, reservation, entered, lacking: _ } = verdict;
        order.event_id = fx.next_id();
        if let Some(portfolio) = portfolio {
            state.portfolios.put(&event.portfolio_id, portfolio);
        }
        if let Some(reservation) = reservation {
            books::hold(state, key, Some(reservation))?;
        }
        if let Some(entered) = entered {
            state.entered.put(&event.portfolio_id, entered);
        }
        if order.is_approved && order.revision == 0 {
            self.remember(event, &order.terms, state, fx)?;
        }
        let status = if order.is_approved { "APPROVED" } else { "REJECTED" };
        let headers = vec![("status", status.to_owned()), ("priority", order.terms.priority.as_str().to_owned())];
        fx.emit_with(order, headers);
        Ok(())
    }

    // Keeps an approved order in mind where the limits refuse duplicates.
    fn remember(
        &self,
        event: &OrderEvent,
        terms: &OrderTerms,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let limit = fx.table::<ReferenceData>().and_then(|data| data.limit(&event.portfolio_id));
        if limit.is_none_or(|limit| limit.duplicate_window_ms <= 0) {
            return Ok(());
        }
        let (portfolio_id, order_id) = (event.portfolio_id.clone(), event.order_id.clone());
        let recent = RiskRecent { portfolio_id, order_id, entered_at: fx.now() };
        state.recent.put(&recent_key(event, terms), recent);
        schedule_purge(&event.portfolio_id, midnight_after(fx.now(), DUPLICATES_KEPT_US)?, fx);
        Ok(())
    }

    /// The verdict on a new order as of a moment, without its event id. Nothing is held by it.
    #[must_use]
    pub fn judge(&self, event: &OrderEvent, terms: &OrderTerms, state: &State, world: World<'_>) -> ValidatedOrder {
        let asked = Asked { event, terms, quantity: event.ord_qty, is_replace: false, replaces: None };
        self.verdict(asked, Turn::Last, state, Some(world), world.now, |_| {}).order
    }

    // `also` adds checks of its own before the others; `None`: a table was never read.
    fn verdict(
        &self,
        asked: Asked<'_>,
        turn: Turn,
        state: &State,
        world: Option<World<'_>>,
        now: TimestampMicros,
        also: impl FnOnce(&mut Checks),
    ) -> Verdict {
        let mut checks = Checks::new(format!("portfolio/{}", asked.event.portfolio_id));
        also(&mut checks);
        checks.that("tables", Reason::TableUnavailable.as_str(), world.is_some());
        let prefix = prefix(&asked.event.portfolio_id);
        let standing = Standing::of(&asked, &prefix, state);
        let Some(world) = world else { return self.unseen(asked, &standing, checks, now) };
        let found = world.look(&asked, &standing, self.config.require_adv, &mut checks);
        let kept = state.portfolios.get(&asked.event.portfolio_id);
        let opened = found.owned.as_ref().map(|owned| portfolio::opened(kept, owned, world.now));
        if let (Some(Ok(portfolio)), Some(owned)) = (&opened, &found.owned) {
            let same = portfolio::is_same(portfolio, owned);
            checks.that("account_booked", Reason::AccountChanged.as_str(), same);
        } else if let Some(Err(_)) = &opened {
            checks.that("account_booked", Reason::FigureOutOfRange.as_str(), false);
        }
        let case = Case { world, asked, config: &self.config, turn };
        case.decide(found, opened.and_then(Result::ok), &standing, checks)
    }

    // The verdict without tables.
    fn unseen(&self, asked: Asked<'_>, standing: &Standing<'_>, checks: Checks, now: TimestampMicros) -> Verdict {
        let (market, data, controls) = (MarketTable::default(), ReferenceData::default(), Controls::default());
        let wide = WideLimits::default();
        let world = World { market: &market, data: &data, controls: &controls, wide: &wide, now };
        Case { world, asked, config: &self.config, turn: Turn::Last }.decide(Found::default(), None, standing, checks)
    }

    /// Takes over what an event says of an approved order: fills, what is still open, its end.
    fn moved(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let key = order_key(event);
        books::ensure(state, &event.portfolio_id)?;
        let was_open = state.open.get(&key).cloned();
        let Some(mut order) = was_open.clone().or_else(|| state.closed.get(&key).cloned()) else {
            return unknown(event);
        };
        let portfolio = state.portfolios.get(&event.portfolio_id).cloned();
        let mut portfolio =
            portfolio.ok_or_else(|| Poison::new("NO_PORTFOLIO", "an approved order without portfolio"))?;
        let before = (portfolio.clone(), order.clone());
        let fee_rate = |currency: &str| fee_rate(fx, currency, &before.0);
        booking::book(&mut portfolio, &mut order, event, fee_rate).map_err(number)?;
        let ended = has_ended(event.status);
        order.open_qty = if ended { Quantity::ZERO } else { event.leaves_qty };
        replace::follow(&mut order, event, ended);
        if portfolio != before.0 {
            state.portfolios.put(&event.portfolio_id, portfolio);
        }
        match (ended, was_open.is_some()) {
            (true, true) => {
                books::hold(state, &key, None)?;
                // A rejected order never reached a broker: nothing can follow.
                if event.status != ParentStatus::Rejected {
                    order.closed_at = Some(fx.now());
                    schedule_purge(&event.portfolio_id, self.forgotten_at(fx.now())?, fx);
                    state.closed.put(&key, order);
                }
            }
            (false, true) => {
                if order != before.1 {
                    books::hold(state, &key, Some(order))?;
                }
            }
            // It ended once; it is only amended.
            (_, false) => {
                order.open_qty = Quantity::ZERO;
                if order != before.1 {
                    state.closed.put(&key, order);
                }
            }
        }
        Ok(())
    }

    // The first midnight UTC at or after the end of the time in which an ended order may be amended.
    fn forgotten_at(&self, closed_at: TimestampMicros) -> Result<TimestampMicros, Poison> {
        midnight_after(closed_at, i64::from(self.config.amendments_kept_hours) * (MICROS_PER_DAY / 24))
    }
}

impl Stage for PreTradeRisk {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = RiskPurge;

    const NAME: &'static str = "pre-trade-risk";
    const DOC: &'static str = "approves or rejects each order with every figure, and holds its exposure until it ends";

    fn tables() -> Vec<TableDecl> {
        vec![
            TableDecl::of::<MarketTable>(),
            TableDecl::of::<ReferenceData>(),
            TableDecl::of::<Controls>(),
            TableDecl::of::<WideLimits>(),
        ]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let event = match &record.value {
            In::Order(event) => event,
            In::Grant(grant) => return self.granted(grant, state, fx),
        };
        match event.event_type {
            OrderEventType::Created => self.created(event, state, fx),
            OrderEventType::Rejected
            | OrderEventType::Released
            | OrderEventType::Routed
            | OrderEventType::ChildUpdated
            | OrderEventType::CancelRequested
            | OrderEventType::Filled
            | OrderEventType::Cancelled
            | OrderEventType::Expired
            | OrderEventType::Amended
            | OrderEventType::Overfill
            | OrderEventType::Suspended
            | OrderEventType::Resumed
            | OrderEventType::Replaced
            // Whatever a newer writer means by it, its totals hold.
            | OrderEventType::Other => self.moved(event, state, fx),
            OrderEventType::ReplaceRequested => self.replace_requested(event, state, fx),
            OrderEventType::CommandRefused => replace::refused(event, state),
        }?;
        self.follow_headroom(event, state, fx)
    }

    fn on_timer(&self, timer: &Timer<RiskPurge>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let portfolio = timer.payload.portfolio_id.as_str();
        if let Some(order) = &timer.payload.waiting_order {
            return self.look((portfolio, order, timer.payload.revision), state, fx);
        }
        if timer.payload.lease_of.is_some() {
            return self.give_back(portfolio, false, state, fx);
        }
        forget_recent(portfolio, timer.due, state, fx)?;
        let mut gone = Vec::new();
        for (key, order) in state.closed.with_prefix(&prefix(portfolio)) {
            let closed_at = order.closed_at.unwrap_or(order.approved_at);
            if order.portfolio_id == portfolio && self.forgotten_at(closed_at)? <= timer.due {
                gone.push(key.to_owned());
            }
        }
        for key in gone {
            state.closed.remove(&key);
        }
        Ok(())
    }
}

// The tables, if each was read.
fn world<'a>(fx: &Fx<'a>) -> Option<World<'a>> {
    let (market, data) = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>())?;
    let (controls, wide) = fx.table::<Controls>().zip(fx.table::<WideLimits>())?;
    Some(World { market, data, controls, wide, now: fx.now() })
}

fn prefix(portfolio: &str) -> String {
    format!("{portfolio}/")
}

fn order_key(event: &OrderEvent) -> String {
    format!("{}{}", prefix(&event.portfolio_id), event.order_id)
}

fn has_ended(status: ParentStatus) -> bool {
    match status {
        ParentStatus::Filled | ParentStatus::Cancelled | ParentStatus::Rejected | ParentStatus::Expired => true,
        ParentStatus::PendingRisk
        | ParentStatus::Working
        | ParentStatus::PartiallyFilled
        | ParentStatus::CancelPending => false,
    }
}

// An order that was never approved has nothing to book; one that has fills was approved and forgotten too early.
fn unknown(event: &OrderEvent) -> Result<(), Poison> {
    if event.cum_qty.is_zero() && event.overfill_qty.is_zero() {
        return Ok(());
    }
    let text = format!("order {} has fills, but nothing is held for it: its position is not booked", event.order_id);
    Err(Poison::new("ORDER_FORGOTTEN", text))
}

// Takes out the approvals that no window reaches any more.
fn forget_recent(portfolio: &str, due: TimestampMicros, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
    let (mut gone, mut left) = (Vec::new(), None);
    for (key, recent) in state.recent.with_prefix(&prefix(portfolio)) {
        if recent.portfolio_id != portfolio {
            continue;
        }
        let forgotten_at = midnight_after(recent.entered_at, DUPLICATES_KEPT_US)?;
        if forgotten_at <= due { gone.push(key.to_owned()) } else { left = left.max(Some(forgotten_at)) }
    }
    for key in gone {
        state.recent.remove(&key);
    }
    if let Some(due) = left {
        schedule_purge(portfolio, due, fx);
    }
    Ok(())
}

// One timer a portfolio and day.
fn schedule_purge(portfolio: &str, due: TimestampMicros, fx: &mut Fx<'_>) {
    let payload = RiskPurge { portfolio_id: portfolio.to_owned(), ..RiskPurge::default() };
    fx.schedule_apart(format!("purge/{portfolio}/{}", due.micros()), due, &payload);
}

// The first midnight UTC at or after so much later.
fn midnight_after(at: TimestampMicros, later_us: i64) -> Result<TimestampMicros, Poison> {
    let until = at.micros().checked_add(later_us).and_then(|until| until.checked_add(MICROS_PER_DAY - 1));
    let until = until.ok_or_else(|| Poison::new("TIME", "time out of range"))?;
    Ok(TimestampMicros::from_micros(until.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY))
}

// The rate at which a fee in a third currency is booked; none fresh is none.
fn fee_rate(fx: &Fx<'_>, currency: &str, portfolio: &RiskPortfolio) -> Option<Price> {
    let (market, data) = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>())?;
    let age = facts::max_age(data.limit(&portfolio.portfolio_id)?);
    fillstream_reference::fx_rate(market, data, currency, &portfolio.currency, fx.now(), age).ok().map(|fx| fx.rate)
}

fn number(e: NumberError) -> Poison {
    Poison::new("NUMBER", e.to_string())
}
