//! What changes an order while its schedule runs: it is suspended and resumed, and its terms are replaced.
//!
//! A suspended order releases nothing and keeps its state; what its children fill meanwhile counts. Resumed, it goes on where it should
//! be by now, catch-up capped (trading rule 32); one that works over several sessions goes on in trading time (trading rule 23). Replaced terms
//! make the schedule anew for what is left. Each change is an event: from what, to what, and why.

use fillstream_domain::{Algorithm, NumberError, Ratio, TimeInForce, TimestampMicros};
use fillstream_schemas::execution::{OrderEvent, OrderTerms, StrategyChange, StrategyChangeKind};
use fillstream_schemas::state::StrategyOrder;

use crate::algorithms::{Drive, drive};
use crate::plan::{Choice, equip, revisit};
use crate::reason::{Cause, Pause};
use crate::release::Step;
use crate::schedule::{outstanding, slot_at};
use crate::view::View;
use crate::{ExecutionStrategy, Fx, State, event, is_suspended, put, release_step, stop};

impl ExecutionStrategy {
    pub(crate) fn suspend(&self, mut order: StrategyOrder, e: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) {
        if order.stopped || is_suspended(&order) {
            return put(order, state);
        }
        order.wake_at = None;
        fx.cancel(crate::input::state_key(&order.order_id, &order.account_id));
        self.rest_until_resumed(order, e.reason_text.clone().unwrap_or_default(), state, fx);
    }

    /// Lets an order rest until it is resumed.
    pub(crate) fn rest_until_resumed(&self, mut order: StrategyOrder, why: String, state: &mut State, fx: &mut Fx<'_>) {
        (order.paused_code, order.paused_at) = (Some(Pause::Suspended.as_str().to_owned()), Some(fx.now()));
        self.tell(
            &mut order,
            change(StrategyChangeKind::Paused, "RUNNING", "PAUSED", Pause::Suspended.as_str(), why),
            fx,
        );
        put(order, state);
    }

    pub(crate) fn resume(
        &self,
        mut order: StrategyOrder,
        e: &OrderEvent,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), NumberError> {
        if !is_suspended(&order) {
            put(order, state);
            return Ok(());
        }
        let (instrument_id, venue) = (order.instrument_id.clone(), order.terms.quote.venue.clone());
        stop::pass_over(&mut order, &View::new(&instrument_id, &venue, fx));
        if matches!(order.terms.time_in_force, TimeInForce::Gtc | TimeInForce::Gtd) {
            postpone(&mut order, fx.now());
        }
        (order.paused_code, order.paused_at, order.again_at) = (None, None, None);
        let why = e.reason_text.clone().unwrap_or_default();
        self.tell(
            &mut order,
            change(StrategyChangeKind::Resumed, "PAUSED", "RUNNING", Cause::Resumed.as_str(), why),
            fx,
        );
        self.advance(order, state, fx)
    }

    /// Makes the schedule anew with other terms, for what is left.
    pub(crate) fn replace(
        &self,
        mut order: StrategyOrder,
        e: &OrderEvent,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), NumberError> {
        // Those that came with more for the account are in force already.
        let Some(terms) = e.terms.as_ref().filter(|_| e.revision > order.terms_revision) else {
            return self.settle(order, false, state, fx);
        };
        let before = (order.terms.clone(), order.algorithm, order.ord_qty);
        if order.is_whole {
            order.ord_qty = e.new_ord_qty.unwrap_or(e.ord_qty);
        }
        order.terms_revision = e.revision;
        self.take_terms(&mut order, terms, fx)?;
        let resting = drive(before.1) == Drive::Rest;
        let moved = before.0.limit_price != order.terms.limit_price || before.1 != order.algorithm;
        let why = e.reason_text.clone().unwrap_or_default();
        for change in changes(&before, &order, &why) {
            self.tell(&mut order, change, fx);
        }
        if order.stopped {
            put(order, state);
            return Ok(());
        }
        if resting && moved {
            self.cancel_resting(&mut order, fx);
        }
        if is_suspended(&order) {
            put(order, state);
            return Ok(());
        }
        self.advance(order, state, fx)
    }

    pub(crate) fn take_terms(
        &self,
        order: &mut StrategyOrder,
        terms: &OrderTerms,
        fx: &Fx<'_>,
    ) -> Result<(), NumberError> {
        let same_time = terms.horizon_us == order.terms.horizon_us && terms.expire_at == order.terms.expire_at;
        // The time allowed counts from the arrival, or from when the stop was set off, whenever the terms were replaced.
        let arrived_at = order.pin.as_ref().map_or(order.starts_at, |pin| pin.arrived_at);
        let since = if stop::awaited(order).is_some() { fx.now() } else { arrived_at };
        if !same_time || since != arrived_at {
            order.ends_at = ends_after(since, terms);
        }
        if terms.stop_price != order.terms.stop_price {
            // Only what is printed from now on can set the new one off.
            order.watched_to = Some(order.starts_at.max(fx.now()));
        }
        order.terms = terms.clone();
        (order.peg_at, order.wake_at) = (None, None);
        let wanted = wanted(order);
        let (instrument_id, venue) = (order.instrument_id.clone(), order.terms.quote.venue.clone());
        let view = View::new(&instrument_id, &venue, fx);
        let mut choice = revisit(order, wanted, &view, &self.config)?;
        self.remake(order, &mut choice, &view)
    }

    /// Makes the schedule anew for what is left, from now to its end.
    pub(crate) fn remake(
        &self,
        order: &mut StrategyOrder,
        choice: &mut Choice,
        view: &View<'_>,
    ) -> Result<(), NumberError> {
        order.starts_at = order.starts_at.max(view.now);
        order.base_qty = Some(order.cum_qty.checked_add(outstanding(order)?)?);
        (order.slots_done, order.completions, order.is_done, order.again_at) = (0, 0, false, None);
        (order.price_bound, order.display_qty, order.deadline_at) = (None, None, None);
        order.targets.clear();
        order.condition = choice.condition;
        equip(order, choice, view, &self.config)
    }

    /// An adaptive order looks at the market with each slot. A trajectory whose market is in another condition is made anew: its
    /// risk aversion and volatility are others.
    pub(crate) fn reconsider(&self, order: &mut StrategyOrder, fx: &mut Fx<'_>) -> Result<(), NumberError> {
        let is_due =
            order.slots_done > 0 && order.slots_done < order.slots && slot_at(order, fx.now()) > order.slots_done;
        if !is_due || order.is_done || fx.now() >= order.ends_at {
            return Ok(());
        }
        let (instrument_id, venue) = (order.instrument_id.clone(), order.terms.quote.venue.clone());
        let view = View::new(&instrument_id, &venue, fx);
        let mut choice = revisit(order, order.algorithm, &view, &self.config)?;
        if choice.condition == order.condition {
            return Ok(());
        }
        let (from, to) = (order.condition, choice.condition);
        order.condition = to;
        if order.algorithm == Algorithm::ImplementationShortfall {
            self.remake(order, &mut choice, &view)?;
        }
        let why = "the market is in another condition".to_owned();
        let code = Cause::Condition.as_str();
        self.tell(order, change(StrategyChangeKind::Condition, from.as_str(), to.as_str(), code, why), fx);
        Ok(())
    }

    fn cancel_resting(&self, order: &mut StrategyOrder, fx: &mut Fx<'_>) {
        let open = order.children.iter().filter(|c| c.leaves_qty.is_positive());
        let cancels: Vec<String> =
            open.map(|c| c.cl_ord_id.clone()).filter(|id| !order.cancelling.contains(id)).collect();
        if !cancels.is_empty() {
            let step = Step::cancels(order, cancels, fx.now());
            release_step(order, step, fx);
        }
    }

    /// Tells of a change: the strategy's next revision.
    pub(crate) fn tell(&self, order: &mut StrategyOrder, change: StrategyChange, fx: &mut Fx<'_>) {
        order.revision = order.revision.saturating_add(1);
        let event_id = fx.next_id();
        fx.emit(event::changed(event_id, fx.now(), order, change, &self.config));
    }

    /// Pauses an order whose guard rail says so, or whose market cannot be traded on, or goes on with it; whichever is new is told.
    pub(crate) fn mark_pause(&self, order: &mut StrategyOrder, pause: Option<&'static str>, fx: &mut Fx<'_>) {
        let was = order.paused_code.clone();
        let Some(kind) = crate::guards::change_of(was.as_deref(), pause) else { return };
        order.paused_code = pause.map(str::to_owned);
        let (from, to) = if pause.is_some() { ("RUNNING", "PAUSED") } else { ("PAUSED", "RUNNING") };
        let code = pause.unwrap_or(Cause::Passed.as_str());
        let why = was.map_or_else(String::new, |was| format!("after {was}"));
        self.tell(order, change(kind, from, to, code, why), fx);
    }
}

pub(crate) fn change(kind: StrategyChangeKind, from: &str, to: &str, code: &str, why: String) -> StrategyChange {
    let (from, to, code) = (from.to_owned(), to.to_owned(), code.to_owned());
    StrategyChange { kind, from, to, code, why, ..StrategyChange::default() }
}

/// The algorithm that an order is to have: what its terms name, else the one that runs.
pub(crate) fn wanted(order: &StrategyOrder) -> Algorithm {
    if order.terms.algorithm == Algorithm::Auto { order.algorithm } else { order.terms.algorithm }
}

/// When the time is over that terms allow from a moment on.
pub(crate) fn ends_after(since: TimestampMicros, terms: &OrderTerms) -> TimestampMicros {
    TimestampMicros::from_micros(since.micros().saturating_add(terms.horizon_us)).min(terms.expire_at)
}

/// Moves what is left of a schedule by the time that it has stood still, within the order's end.
fn postpone(order: &mut StrategyOrder, now: TimestampMicros) {
    let Some(since) = order.paused_at else { return };
    let stood = now.micros().saturating_sub(since.micros()).max(0);
    let later = |at: TimestampMicros| TimestampMicros::from_micros(at.micros().saturating_add(stood));
    order.starts_at = later(order.starts_at);
    order.ends_at = later(order.ends_at).min(order.terms.expire_at);
    order.deadline_at = order.deadline_at.map(|at| later(at).min(order.ends_at));
}

/// What is different, one change each.
fn changes(
    (terms, algorithm, quantity): &(OrderTerms, Algorithm, fillstream_domain::Quantity),
    order: &StrategyOrder,
    why: &str,
) -> Vec<StrategyChange> {
    let new = &order.terms;
    let code = Cause::Replaced.as_str();
    let mut all = Vec::new();
    let mut differ = |kind, from: String, to: String| {
        if from != to {
            all.push(change(kind, &from, &to, code, why.to_owned()));
        }
    };
    let rate = |rate: Option<Ratio>| rate.map_or_else(|| "NONE".to_owned(), |rate| rate.to_string());
    differ(StrategyChangeKind::Algorithm, algorithm.to_string(), order.algorithm.to_string());
    differ(StrategyChangeKind::Urgency, terms.urgency.to_string(), new.urgency.to_string());
    let (from, to) = (rate(terms.max_participation_rate), rate(new.max_participation_rate));
    differ(StrategyChangeKind::Participation, from, to);
    let shown = |quantity: fillstream_domain::Quantity, terms: &OrderTerms| {
        let limit = terms.limit_price.map_or_else(|| "NONE".to_owned(), |limit| limit.to_string());
        let stop = terms.stop_price.map_or_else(String::new, |stop| format!(", stop {stop}"));
        format!("quantity {quantity}, limit {limit}, horizon {} s{stop}", terms.horizon_us / 1_000_000)
    };
    differ(StrategyChangeKind::Replaced, shown(*quantity, terms), shown(order.ord_qty, new));
    all
}
