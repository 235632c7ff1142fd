//! Shares an approved order out over the accounts of its portfolio: one account order for each account that takes part.
//!
//! State is keyed by portfolio: what each account holds as its orders moved it, and what each open order has in each
//! account, so that two orders of one portfolio never together sell more than an account holds or open more positions
//! than it may. The decision's total is never changed; allocated + unallocated = parent in every event. Each event tells
//! which accounts took part, with which figures, why others did not, and what was adjusted.
//!
//! A portfolio with a block account has its orders executed there for all accounts together: one record releases the block
//! and says who is to get what; when it has ended, a statement says who got what (`statement`, `block`).
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod adjust;
pub mod block;
pub mod book;
pub mod config;
mod decide;
pub mod eligibility;
mod event;
pub mod fallback;
pub mod follow;
pub mod reason;
pub mod returns;
pub mod rules;
pub mod shares;
mod standing;
mod statement;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::time::MICROS_PER_DAY;
use fillstream_domain::{NumberError, Quantity, TimestampMicros};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::execution::{AccountAllocation, AllocationKind, OrderEvent, OrderEventType, ValidatedOrder};
use fillstream_schemas::reference::Instrument;
use fillstream_schemas::state::{AllocationAccount, AllocationOrder, AllocationPurge, AllocationReturns};

pub use config::Config;
use event::{Occasion, records};
use fallback::part;

inputs! {
    /// What the stage reads.
    pub enum In {
        Validated(ValidatedOrder) = "execution.validated-orders.v1",
        Order(OrderEvent) = "execution.orders.v1",
    }
}

outputs! {
    /// What the stage writes.
    pub enum Out { Allocation(AccountAllocation) = "execution.allocations.v1" }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Accounts as their orders moved them, by portfolio and account.
        accounts: AllocationAccount = "accounts",
        /// Open orders, by portfolio and order.
        open: AllocationOrder = "open",
        /// Orders that ended lately and may still be amended, by portfolio and order.
        closed: AllocationOrder = "closed",
        /// How the accounts' equities move together, by portfolio.
        returns: AllocationReturns = "returns"
    }
}

/// The account-allocation stage.
pub struct AccountAllocator {
    config: Config,
}

type Fx<'a> = Effects<'a, AccountAllocator>;

impl AccountAllocator {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }

    fn on_validated(&self, v: &ValidatedOrder, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let key = key_of(&v.portfolio_id, &v.order_id);
        let known = state.open.get(&key);
        if !v.is_approved || state.closed.get(&key).is_some() || known.is_some_and(|order| !is_unjudged(order)) {
            return Ok(());
        }
        let is_stopped = known.is_some_and(|order| order.is_stopped);
        let instrument = fx.table::<ReferenceData>().and_then(|data| data.instrument(&v.instrument_id));
        let block_account_id = block_account(&v.portfolio_id, fx);
        let mut order = AllocationOrder { is_stopped, block_account_id, ..self.order(v, instrument) };
        let asked = decide::asked(&order, instrument).map_err(number)?;
        let outcome = decide::outcome(&order, &asked, self.config.policy_of(&v.portfolio_id), state, fx);
        let outcome = outcome.map_err(number)?;
        order.unallocated_qty = outcome.unallocated;
        order.unallocated_code = outcome.code.map(|code| code.as_str().to_owned());
        order.parts = outcome.shares.iter().filter(|share| share.quantity.is_positive()).map(part).collect();
        let occasion = Occasion { order: &order, kind: AllocationKind::Primary, now: fx.now(), cause: "", kept: None };
        write(records(&occasion, &outcome).map_err(number)?, fx);
        state.open.put(&key, order);
        Ok(())
    }

    fn order(&self, v: &ValidatedOrder, instrument: Option<&Instrument>) -> AllocationOrder {
        let quote = v.quote.as_ref().unwrap_or(&v.terms.quote);
        let touch = if v.side.is_buy() { quote.ask } else { quote.bid };
        AllocationOrder {
            order_id: v.order_id.clone(),
            portfolio_id: v.portfolio_id.clone(),
            instrument_id: v.instrument_id.clone(),
            side: v.side,
            parent_qty: v.quantity,
            revision: 1,
            price: v.reserved_price.unwrap_or(touch),
            multiplier: instrument.map_or(Quantity::ONE, |instrument| instrument.multiplier),
            order_value: v.order_value,
            market_impact_estimate: v.market_impact_estimate.clone(),
            risk_score: v.risk_score,
            quote: v.quote.clone(),
            terms: v.terms.clone(),
            remainder_account_id: self.config.policy_of(&v.portfolio_id).block_remainder_account.clone(),
            ..AllocationOrder::default()
        }
    }

    /// Takes over what an event says of an order: fills, what is still open, its end.
    fn on_order(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let key = key_of(&event.portfolio_id, &event.order_id);
        let was_open = state.open.get(&key).cloned();
        if event.event_type == OrderEventType::CancelRequested && was_open.as_ref().is_none_or(is_unjudged) {
            // Nothing orders two topics: the cancel may have come before the approval.
            if state.closed.get(&key).is_none() {
                let portfolio_id = event.portfolio_id.clone();
                state.open.put(&key, AllocationOrder { portfolio_id, is_stopped: true, ..AllocationOrder::default() });
            }
            return Ok(());
        }
        let Some(mut order) = was_open.clone().or_else(|| state.closed.get(&key).cloned()) else { return Ok(()) };
        if is_unjudged(&order) {
            if event.is_terminal {
                state.open.remove(&key);
            }
            return Ok(());
        }
        let before = order.clone();
        book_event(&mut order, event, state, fx).map_err(number)?;
        take_terms(&mut order, event);
        let mut written = self.follow(&mut order, event, state, fx).map_err(number)?;
        written.extend(statement::after(&before, &mut order, event, fx.now()).map_err(number)?);
        write(written, fx);
        if event.event_type == OrderEventType::CancelRequested {
            order.is_stopped = true;
        }
        match (event.is_terminal, was_open.is_some()) {
            (true, true) => {
                order.parts.iter_mut().for_each(|part| part.leaves_qty = Quantity::ZERO);
                (order.is_stopped, order.closed_at) = (true, Some(fx.now()));
                state.open.remove(&key);
                state.closed.put(&key, order);
                self.schedule_purge(&event.portfolio_id, fx)?;
            }
            (false, true) if order != before => state.open.put(&key, order),
            (_, false) if order != before => state.closed.put(&key, order),
            (false, true) | (_, false) => {}
        }
        Ok(())
    }

    // One timer a portfolio and day.
    fn schedule_purge(&self, portfolio: &str, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let due = self.forgotten_at(fx.now())?;
        let payload = AllocationPurge { portfolio_id: portfolio.to_owned() };
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

impl Stage for AccountAllocator {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = AllocationPurge;

    const NAME: &'static str = "account-allocation";
    const DOC: &'static str = "shares an approved order out over the accounts of its portfolio";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>(), TableDecl::of::<Controls>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match &record.value {
            In::Validated(v) => {
                decide::observe(&self.config, &v.portfolio_id, state, fx).map_err(number)?;
                self.on_validated(v, state, fx)
            }
            In::Order(e) => {
                decide::observe(&self.config, &e.portfolio_id, state, fx).map_err(number)?;
                self.on_order(e, state, fx)
            }
        }
    }

    fn on_timer(&self, timer: &Timer<AllocationPurge>, state: &mut State, _: &mut Fx<'_>) -> Result<(), Poison> {
        let portfolio = timer.payload.portfolio_id.as_str();
        let mut gone = Vec::new();
        for (key, order) in state.closed.with_prefix(&prefix(portfolio)) {
            let forgotten_at = order.closed_at.map(|at| self.forgotten_at(at)).transpose()?;
            if order.portfolio_id == portfolio && forgotten_at.is_none_or(|at| at <= timer.due) {
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

fn key_of(portfolio: &str, id: &str) -> String {
    format!("{}{id}", prefix(portfolio))
}

// Whether only the request to cancel it is known of the order, not the approval.
fn is_unjudged(order: &AllocationOrder) -> bool {
    order.order_id.is_empty()
}

// The terms that a replace has put in force: what is allocated from now on has them.
fn take_terms(order: &mut AllocationOrder, event: &OrderEvent) {
    let terms = event.terms.as_ref().filter(|_| event.event_type == OrderEventType::Replaced);
    if let Some(terms) = terms.filter(|_| event.revision > order.terms_revision) {
        (order.terms, order.terms_revision) = (terms.clone(), event.revision);
    }
}

// The fills of an event, in the account that made them.
fn book_event(
    order: &mut AllocationOrder,
    event: &OrderEvent,
    state: &mut State,
    fx: &Fx<'_>,
) -> Result<(), NumberError> {
    if order.block_account_id.is_some() {
        return statement::book_block(order, event, state, fx);
    }
    let frame = order.clone();
    let of = event.account.as_ref().map(|figures| figures.account_id.as_str());
    let is_alone = order.parts.len() == 1;
    let part = order.parts.iter_mut().find(|part| is_alone || Some(part.account_id.as_str()) == of);
    if let Some(part) = part {
        let key = key_of(&event.portfolio_id, &part.account_id);
        let record = fx.table::<ReferenceData>().and_then(|data| data.account(&part.account_id));
        let currency = record.map_or("", |record| record.currency.as_str());
        let totals = book::totals(event, &frame, part, currency)?;
        if let (Some(totals), Some(before)) = (totals, state.accounts.get(&key).cloned()) {
            let mut account = before.clone();
            book::book(&mut account, &frame, part, &totals)?;
            if account != before {
                state.accounts.put(&key, account);
            }
        }
    }
    order.filled_notional = event.filled_notional;
    if let Some(currency) = &event.fee_currency {
        order.fees.insert(currency.clone(), event.fees);
    }
    Ok(())
}

/// The account in which the portfolio's orders are executed as blocks; of several the first by id.
fn block_account(portfolio: &str, fx: &Fx<'_>) -> Option<String> {
    let accounts = fx.table::<ReferenceData>()?.accounts_of(portfolio);
    accounts.into_iter().find(|account| account.is_block).map(|account| account.account_id.clone())
}

fn write(records: Vec<AccountAllocation>, fx: &mut Fx<'_>) {
    for mut record in records {
        record.event_id = fx.next_id();
        let headers = vec![("kind", record.kind.as_str().to_owned())];
        fx.emit_with(record, headers);
    }
}

fn number(e: NumberError) -> Poison {
    Poison::new("NUMBER", e.to_string())
}
