//! Parent risk: every new order against limits, positions and buying power, with all figures; exposure is held from the
//! approval until the order ends.
//!
//! State is keyed by portfolio, so two orders of one portfolio are decided one after the other and can never together
//! pass a limit. It is made of opening cash and positions (taken from the account record when the portfolio first
//! trades, and from then on only moved by fills: a later version of the record changes flags, margin and brokers, not
//! what is booked), and one reservation an open order. Position limits are worst case both ways; buys and sells never
//! net; closing sells need no cash; proceeds of shorts are collateral, not cash.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod booking;
pub mod checks;
mod config;
pub mod exposure;
mod facts;
mod reason;
mod sized;
pub mod value;
mod verdict;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::time::MICROS_PER_DAY;
use fillstream_domain::{NumberError, Quantity, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::execution::{OrderEvent, OrderEventType, OrderTerms, ParentStatus, ValidatedOrder};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{RiskPortfolio, RiskPosition, RiskPurge, RiskReservation};

use checks::Checks;
pub use config::Config;
use exposure::Exposure;
use facts::{Asked, Found, World};
pub use reason::Reason;
use verdict::{Case, Verdict};

inputs! {
    /// What the stage reads.
    pub enum In { Order(OrderEvent) = "execution.orders.v1" }
}

outputs! {
    /// What the stage writes.
    pub enum Out { Validated(ValidatedOrder) = "execution.validated-orders.v1" }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Cash and positions, by portfolio.
        portfolios: RiskPortfolio = "portfolios",
        /// Open orders, by portfolio and order.
        open: RiskReservation = "open",
        /// Orders that ended lately and may still be amended, by portfolio and order.
        closed: RiskReservation = "closed"
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
        let terms = event.terms.as_ref().ok_or_else(|| Poison::new("NO_TERMS", "CREATED without terms"))?;
        let key = order_key(event);
        if state.open.get(&key).is_some() || state.closed.get(&key).is_some() {
            return Ok(());
        }
        let verdict = self.verdict(event, terms, state, fx);
        let Verdict { mut order, reservation } = verdict;
        order.event_id = fx.next_id();
        if let Some(reservation) = reservation {
            state.open.put(&key, reservation);
        }
        let status = if order.is_approved { "APPROVED" } else { "REJECTED" };
        let headers = vec![("status", status.to_owned()), ("priority", order.terms.priority.as_str().to_owned())];
        fx.emit_with(order, headers);
        Ok(())
    }

    fn verdict(&self, event: &OrderEvent, terms: &OrderTerms, state: &mut State, fx: &Fx<'_>) -> Verdict {
        let asked = Asked { event, terms };
        let mut checks = Checks::new(format!("portfolio/{}", event.portfolio_id));
        let tables = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>()).zip(fx.table::<Controls>());
        checks.that("tables", Reason::TableUnavailable.as_str(), tables.is_some());
        let Some(((market, data), controls)) = tables else { return unseen(asked, checks, fx.now()) };
        let world = World { market, data, controls, now: fx.now() };
        let found = world.look(&asked, self.config.require_adv, &mut checks);
        let portfolio = found.account.map(|account| open_portfolio(account, state, fx.now()));
        if let (Some(portfolio), Some(account)) = (&portfolio, found.account) {
            let same = portfolio.account_id == account.account_id && portfolio.currency == account.currency;
            checks.that("account_booked", Reason::AccountChanged.as_str(), same);
        }
        let exposure = portfolio.as_ref().map_or(Ok(Exposure::default()), |p| exposure_of(p, state));
        let case = Case { world, asked, fee_reserve: self.config.fee_reserve_bps };
        case.decide(found, portfolio.as_ref(), exposure, checks)
    }

    /// Takes over what an event says of an approved order: fills, what is still open, its end.
    fn moved(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let key = order_key(event);
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
        if portfolio != before.0 {
            state.portfolios.put(&event.portfolio_id, portfolio);
        }
        match (ended, was_open.is_some()) {
            (true, true) => {
                state.open.remove(&key);
                // A rejected order never reached a broker: nothing can follow.
                if event.status != ParentStatus::Rejected {
                    order.closed_at = Some(fx.now());
                    self.schedule_purge(&event.portfolio_id, fx)?;
                    state.closed.put(&key, order);
                }
            }
            (false, true) => {
                if order != before.1 {
                    state.open.put(&key, order);
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

    // One timer a portfolio and day.
    fn schedule_purge(&self, portfolio: &str, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let due = self.forgotten_at(fx.now())?;
        let payload = RiskPurge { portfolio_id: portfolio.to_owned() };
        fx.schedule_apart(format!("purge/{portfolio}/{}", due.micros()), due, &payload);
        Ok(())
    }

    // The first midnight UTC at or after the end of the time in which an ended order may be amended.
    fn forgotten_at(&self, closed_at: TimestampMicros) -> Result<TimestampMicros, Poison> {
        let kept = i64::from(self.config.amendments_kept_hours) * (MICROS_PER_DAY / 24);
        let until = closed_at.micros().checked_add(kept + MICROS_PER_DAY - 1);
        let until = until.ok_or_else(|| Poison::new("TIME", "time out of range"))?;
        Ok(TimestampMicros::from_micros(until.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY))
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
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>(), TableDecl::of::<Controls>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let In::Order(event) = &record.value;
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
            OrderEventType::CommandRefused | OrderEventType::ReplaceRequested => Ok(()),
        }
    }

    fn on_timer(&self, timer: &Timer<RiskPurge>, state: &mut State, _: &mut Fx<'_>) -> Result<(), Poison> {
        let portfolio = timer.payload.portfolio_id.as_str();
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

// The portfolio as booked; opening cash and positions are taken over once.
fn open_portfolio(account: &Account, state: &mut State, now: TimestampMicros) -> RiskPortfolio {
    if let Some(portfolio) = state.portfolios.get(&account.portfolio_id) {
        return portfolio.clone();
    }
    let held = account.positions.iter().filter(|(_, quantity)| !quantity.is_zero());
    let portfolio = RiskPortfolio {
        portfolio_id: account.portfolio_id.clone(),
        account_id: account.account_id.clone(),
        currency: account.currency.clone(),
        cash: account.cash,
        positions: held
            .map(|(id, quantity)| (id.clone(), RiskPosition { quantity: *quantity, ..RiskPosition::default() }))
            .collect(),
        opened_at: now,
        account_version: account.version,
        ..RiskPortfolio::default()
    };
    state.portfolios.put(&account.portfolio_id, portfolio.clone());
    portfolio
}

fn exposure_of(portfolio: &RiskPortfolio, state: &State) -> Result<Exposure, NumberError> {
    let id = portfolio.portfolio_id.as_str();
    let prefix = prefix(id);
    let open = state.open.with_prefix(&prefix).map(|(_, order)| order).filter(|order| order.portfolio_id == id);
    Exposure::of(portfolio, open)
}

// The rate at which a fee in a third currency is booked; none fresh is none.
fn fee_rate(fx: &Fx<'_>, currency: &str, portfolio: &RiskPortfolio) -> Option<fillstream_domain::Price> {
    let (market, data) = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>())?;
    let age = facts::max_age(data.limit(&portfolio.portfolio_id)?);
    fillstream_reference::fx_rate(market, data, currency, &portfolio.currency, fx.now(), age).ok().map(|fx| fx.rate)
}

// The verdict without tables.
fn unseen(asked: Asked<'_>, checks: Checks, now: TimestampMicros) -> Verdict {
    let (market, data, controls) = (MarketTable::default(), ReferenceData::default(), Controls::default());
    let world = World { market: &market, data: &data, controls: &controls, now };
    let case = Case { world, asked, fee_reserve: fillstream_domain::Bps::ZERO };
    let found = Found { instrument: None, account: None, quote: None, facts: None };
    case.decide(found, None, Ok(Exposure::default()), checks)
}

fn number(e: NumberError) -> Poison {
    Poison::new("NUMBER", e.to_string())
}
