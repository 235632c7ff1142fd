//! One step of a schedule: what is released now, and when it is looked at again. Or the last one: nothing follows.
//!
//! All that a step knows is in the order's state and the tables, so a restart in the middle goes on where it was. Each order has one
//! timer.

use fillstream_domain::{
    Algorithm, NumberError, Price, Quantity, Rounding, TimeInForce, TimestampMicros, mul_div_i128,
};
use fillstream_reference::Quote;
use fillstream_schemas::state::StrategyOrder;

use crate::ExecutionStrategy;
use crate::algorithms::{Drive, drive, iceberg, pov, resting, sniper};
use crate::guards::{self, Verdict};
use crate::reason::{Hold, Trigger};
use crate::schedule::{outstanding, releasable, slot_at, slot_due, slot_quantity, target_at};
use crate::stop;
use crate::view::{View, participation_cap, stricter};

/// Longest that a fruitless try is waited for, as a power of two of the first wait.
const MAX_DOUBLINGS: i32 = 6;
/// How much longer than a passing fault of the quote its absence is waited for.
const LONG_HOLD: i64 = 10;

/// A slice that is to be released.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub quantity: Quantity,
    pub due_at: TimestampMicros,
    /// The schedule releases nothing after it.
    pub is_last: bool,
    pub reason: Trigger,
    /// Worst price of the children.
    pub price: Option<Price>,
    /// Whether the children rest in the book.
    pub rests: bool,
    /// When the children must be gone.
    pub expire_at: TimestampMicros,
    /// Children to cancel.
    pub cancels: Vec<String>,
    pub quote: Option<Quote>,
    pub target: Option<Quantity>,
    pub volume: Option<Quantity>,
}

impl Step {
    fn new(order: &StrategyOrder, quantity: Quantity, reason: Trigger, view: &View<'_>, quote: &Quote) -> Self {
        Self {
            quantity,
            due_at: view.now,
            is_last: false,
            reason,
            price: stricter(order.side, order.terms.limit_price, order.price_bound),
            rests: false,
            expire_at: order.ends_at,
            cancels: Vec::new(),
            quote: Some(quote.clone()),
            target: None,
            volume: None,
        }
    }

    /// An empty one that only cancels children.
    pub(crate) fn cancels(order: &StrategyOrder, cancels: Vec<String>, now: TimestampMicros) -> Self {
        Self { is_last: false, rests: true, cancels, ..Self::last(order, Trigger::Reprice, now) }
    }

    /// The last one, empty: it follows everything released before.
    pub(crate) fn last(order: &StrategyOrder, reason: Trigger, now: TimestampMicros) -> Self {
        Self {
            quantity: Quantity::ZERO,
            due_at: now,
            is_last: true,
            reason,
            price: order.terms.limit_price,
            rests: false,
            expire_at: order.ends_at,
            cancels: Vec::new(),
            quote: None,
            target: None,
            volume: None,
        }
    }
}

/// What is done now, and when the order is looked at again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub step: Option<Step>,
    pub next: Option<TimestampMicros>,
    /// Why nothing is done although something is due.
    pub hold: Option<Hold>,
    /// What the guard rails said, where they were asked.
    pub guard: Option<Verdict>,
}

impl Decision {
    pub(crate) fn wait(next: TimestampMicros) -> Self {
        Self { next: Some(next), ..Self::default() }
    }

    fn act(step: Step, next: TimestampMicros) -> Self {
        let next = Some(next).filter(|_| !step.is_last);
        Self { step: Some(step), next, ..Self::default() }
    }
}

/// What is left to release, and how it may be cut.
struct Left<'a> {
    view: &'a View<'a>,
    quote: &'a Quote,
    free: Quantity,
    held: Quantity,
}

impl ExecutionStrategy {
    /// Decides what an order does now. The order's own marks (slots passed, tries, prices) move with it.
    pub(crate) fn decide(&self, order: &mut StrategyOrder, view: &View<'_>) -> Result<Decision, NumberError> {
        let now = view.now;
        if now < order.starts_at {
            return Ok(Decision::wait(order.starts_at));
        }
        let (free, held) = (releasable(order)?, outstanding(order)?);
        if order.is_done || (free.is_zero() && held.is_zero()) {
            return Ok(Decision::default());
        }
        if now >= order.ends_at {
            return Ok(Decision::act(Step::last(order, Trigger::End, now), now));
        }
        let quote = match view.tradable(&self.config) {
            Ok(quote) => quote,
            Err(hold) => return Ok(self.hold(order, hold, now)),
        };
        let verdict = if is_once(order) { Verdict::Clear } else { guards::check(order, view, &quote, &self.config)? };
        let decision = match verdict {
            Verdict::Clear => self.go_on(order, &Left { view, quote: &quote, free, held })?,
            Verdict::Pause(_, until) => Decision::wait(until.min(order.ends_at)),
            Verdict::Stop => Decision::act(Step::last(order, Trigger::End, now), now),
        };
        Ok(Decision { guard: Some(verdict), ..decision })
    }

    fn go_on(&self, order: &mut StrategyOrder, left: &Left<'_>) -> Result<Decision, NumberError> {
        let now = left.view.now;
        if let Some((size, price)) = guards::bargain(order, left.quote, left.free)
            && let Ok(quantity) = self.fit(order, left, size, false)?
            && quantity.is_positive()
        {
            let mut step = Step::new(order, quantity, Trigger::WouldPrice, left.view, left.quote);
            step.price = stricter(order.side, step.price, Some(price));
            return Ok(Decision::act(step, after_ms(now, self.config.hold_recheck_ms).min(order.ends_at)));
        }
        if order.slots_done < order.slots && (is_once(order) || drive(order.algorithm) == Drive::Slots) {
            return self.slot(order, left);
        }
        if is_finishing(order, now) {
            return self.finish(order, left);
        }
        match order.algorithm {
            Algorithm::Limit | Algorithm::Iceberg => self.rest(order, left),
            Algorithm::Sniper => self.snipe(order, left),
            Algorithm::Pov => self.participate(order, left),
            Algorithm::Auto
            | Algorithm::Market
            | Algorithm::Twap
            | Algorithm::Vwap
            | Algorithm::ImplementationShortfall
            | Algorithm::ArrivalPrice => self.finish(order, left),
        }
    }

    /// A locked or crossed book passes soon; what has no quote, or does not trade, is looked at less often.
    fn hold(&self, order: &StrategyOrder, hold: Hold, now: TimestampMicros) -> Decision {
        let recheck = match hold {
            Hold::LockedBook | Hold::CrossedBook => self.config.hold_recheck_ms,
            Hold::NoQuote | Hold::StaleQuote | Hold::Halted | Hold::MarketClosed | Hold::VolumeUnknown => {
                self.config.hold_recheck_ms.saturating_mul(LONG_HOLD)
            }
        };
        let next = after_ms(now, recheck).min(order.ends_at);
        Decision { hold: Some(hold), ..Decision::wait(next) }
    }

    /// A slot of a schedule. What a pause has missed is caught up with slot by slot, never in a burst (trading rule 32).
    fn slot(&self, order: &mut StrategyOrder, left: &Left<'_>) -> Result<Decision, NumberError> {
        let (now, once) = (left.view.now, is_once(order));
        let following = order.slots_done.saturating_add(1);
        let slot = slot_at(order, now);
        if slot < following {
            return Ok(Decision::wait(slot_due(order, following)));
        }
        let is_final = slot >= order.slots;
        let wanted = if once {
            left.free
        } else {
            slot_quantity(order, slot, &self.config)?.max(self.least_share(order, left)?)
        };
        let quantity = match self.fit(order, left, wanted, is_final)? {
            Ok(quantity) => quantity,
            Err(hold) => return Ok(self.hold(order, hold, now)),
        };
        let missed = slot > following;
        order.slots_done = slot;
        let next = if is_final { order.ends_at } else { slot_due(order, slot.saturating_add(1)) };
        let is_last = is_final && (once || self.config.max_completions == 0);
        if quantity.is_zero() && !is_last {
            // What the volume does not allow yet is a completion later.
            let retry = TimestampMicros::from_micros(now.micros().saturating_add(order.interval_us));
            let next = if is_final && left.free.is_positive() { retry.min(order.ends_at) } else { next };
            return Ok(Decision::wait(next));
        }
        let reason = if missed { Trigger::CatchUp } else { Trigger::Schedule };
        let mut step = Step::new(order, quantity, reason, left.view, left.quote);
        (step.due_at, step.is_last) = (slot_due(order, slot), is_last);
        step.target = Some(target_at(order, slot)?);
        if drive(order.algorithm) == Drive::Rest {
            step.price = Some(self.resting_price(order, left)?);
        }
        Ok(Decision::act(step, next))
    }

    /// What is left is taken, a few times: at once, then after a wait that doubles (trading rule 27). Children that still
    /// rest are cancelled first.
    fn finish(&self, order: &mut StrategyOrder, left: &Left<'_>) -> Result<Decision, NumberError> {
        let now = left.view.now;
        if order.peg_at.take().is_some() {
            // The tries so far were those of another price.
            (order.completions, order.again_at) = (0, None);
        }
        if left.held.is_positive() || left.free.is_zero() {
            let cancels = if drive(order.algorithm) == Drive::Rest { to_cancel(order) } else { Vec::new() };
            if cancels.is_empty() {
                return Ok(Decision::wait(order.ends_at));
            }
            let mut step = Step::new(order, Quantity::ZERO, Trigger::Finish, left.view, left.quote);
            step.cancels = cancels;
            return Ok(Decision::act(step, order.ends_at));
        }
        if let Some(again) = order.again_at.filter(|again| now < *again) {
            return Ok(Decision::wait(again.min(order.ends_at)));
        }
        let quantity = match self.fit(order, left, left.free, true)? {
            Ok(quantity) => quantity,
            Err(hold) => return Ok(self.hold(order, hold, now)),
        };
        if quantity.is_zero() {
            let retry = after_ms(now, self.config.completion_timeout_ms);
            return Ok(Decision::wait(retry.min(order.ends_at)));
        }
        order.again_at = None;
        order.completions = order.completions.saturating_add(1);
        let spent = order.completions >= self.config.max_completions || self.backoff(order, now) >= order.ends_at;
        let mut step = Step::new(order, quantity, Trigger::Completion, left.view, left.quote);
        step.is_last = spent && quantity == left.free;
        step.expire_at = after_ms(now, self.config.completion_timeout_ms).min(order.ends_at);
        Ok(Decision::act(step, order.ends_at))
    }

    /// LIMIT and ICEBERG: children rest at their price, and follow the book.
    fn rest(&self, order: &mut StrategyOrder, left: &Left<'_>) -> Result<Decision, NumberError> {
        let now = left.view.now;
        let wanted = self.resting_price(order, left)?;
        let is_due = order.peg_at.is_none_or(|at| now >= self.reprice_at(at));
        let pegged = resting::is_pegged(order);
        if left.held.is_positive() {
            let behind = order.peg_price.is_some_and(|at| resting::is_left_behind(order.side, at, wanted));
            let may = order.cancels < guards::of(&self.config, order.terms.urgency).max_cancels;
            let cancels = if is_due && pegged && behind && may { to_cancel(order) } else { Vec::new() };
            if !cancels.is_empty() {
                order.peg_at = Some(now);
                let mut step = Step::new(order, Quantity::ZERO, Trigger::Reprice, left.view, left.quote);
                (step.cancels, step.price, step.rests) = (cancels, Some(wanted), true);
                return Ok(Decision::act(step, self.next_look(order, now)));
            }
            // What routing could not place beside what rests has its turn with the next look.
            if order.algorithm != Algorithm::Limit || !is_due || left.free < order.terms.lot_size {
                return Ok(Decision::wait(self.next_look(order, now)));
            }
        }
        if let Some(again) = order.again_at.filter(|again| now < *again) {
            return Ok(Decision::wait(again.min(self.next_look(order, now))));
        }
        order.again_at = None;
        let (size, reason) = match order.display_qty {
            Some(average) if order.algorithm == Algorithm::Iceberg => {
                let part = order.slices.saturating_add(1);
                let lot = order.terms.lot_size;
                let size = iceberg::shown(&order.order_id, part, average, lot, &self.config.algorithms)?;
                (size, if order.slices == 0 { Trigger::Placed } else { Trigger::Refresh })
            }
            Some(_) | None => (left.free, Trigger::Placed),
        };
        let quantity = match self.fit(order, left, size, size >= left.free)? {
            Ok(quantity) => quantity,
            Err(hold) => return Ok(self.hold(order, hold, now)),
        };
        (order.peg_price, order.peg_at) = (Some(wanted), Some(now));
        let next = self.next_look(order, now);
        if quantity.is_zero() {
            return Ok(Decision::wait(next));
        }
        let mut step = Step::new(order, quantity, reason, left.view, left.quote);
        (step.price, step.rests) = (Some(wanted), true);
        let lifetime = guards::of(&self.config, order.terms.urgency).child_lifetime_ms;
        step.expire_at = after_ms(now, lifetime).min(order.ends_at);
        Ok(Decision::act(step, next))
    }

    /// SNIPER: a look at the market.
    fn snipe(&self, order: &StrategyOrder, left: &Left<'_>) -> Result<Decision, NumberError> {
        let next = self.poll(order, left.view.now, self.config.algorithms.sniper_poll_ms);
        let limit = stricter(order.side, order.terms.limit_price, order.price_bound);
        let shot = sniper::shot(left.quote, order.side, left.free, limit, &self.config.algorithms)?;
        let Some((size, price)) = shot.filter(|_| left.free.is_positive()) else { return Ok(Decision::wait(next)) };
        match self.fit(order, left, size, size >= left.free)? {
            Err(hold) => Ok(self.hold(order, hold, left.view.now)),
            Ok(quantity) if quantity.is_zero() => Ok(Decision::wait(next)),
            Ok(quantity) => {
                let mut step = Step::new(order, quantity, Trigger::Triggered, left.view, left.quote);
                step.price = Some(price);
                Ok(Decision::act(step, next))
            }
        }
    }

    /// POV: a look at the volume. What a pause has missed is caught up with at the pace of the volume now.
    fn participate(&self, order: &StrategyOrder, left: &Left<'_>) -> Result<Decision, NumberError> {
        let (view, now) = (left.view, left.view.now);
        let interval_ms = self.config.algorithms.pov_interval_ms;
        let next = self.poll(order, now, interval_ms);
        let Some(volume) = view.volume_since(order.pin.as_ref()) else {
            return Ok(Decision { hold: Some(Hold::VolumeUnknown), ..Decision::wait(next) });
        };
        let asked = self.config.algorithms.pov_rate;
        let rate = order.terms.max_participation_rate.map_or(asked, |most| most.min(asked));
        let target = pov::target(volume, rate, order.ord_qty)?;
        let before = TimestampMicros::from_micros(now.micros().saturating_sub(interval_ms.saturating_mul(1_000)));
        let recent = view.market.and_then(|m| m.between(view.instrument_id, view.venue, before, now).ok());
        let pace = recent.map_or(Quantity::ZERO, |interval| interval.volume).share(rate, Rounding::Floor)?;
        let cap = mul_div_i128(pace.unscaled(), i128::from(self.config.catch_up_slices), 1, Rounding::Floor)
            .and_then(Quantity::from_unscaled)?;
        let wanted = target.less_at_most(order.cum_qty).less_at_most(left.held).min(cap).min(left.free);
        let quantity = self.sized(order, left, wanted, wanted >= left.free)?;
        if quantity.is_zero() {
            return Ok(Decision::wait(next));
        }
        let mut step = Step::new(order, quantity, Trigger::Participation, view, left.quote);
        (step.target, step.volume) = (Some(target), Some(volume));
        Ok(Decision::act(step, next))
    }

    /// Cuts a quantity to what the order's share of the volume allows, to lots and to what a child must have at least.
    fn fit(
        &self,
        order: &StrategyOrder,
        left: &Left<'_>,
        wanted: Quantity,
        is_final: bool,
    ) -> Result<Result<Quantity, Hold>, NumberError> {
        let mut wanted = wanted.min(left.free);
        let asked = order.terms.max_participation_rate;
        // The rail of the configuration gives way to an order that must complete, and where nobody knows a volume.
        let rail = guards::of(&self.config, order.terms.urgency).max_participation;
        let rail = rail.filter(|_| !(is_final && order.must_complete));
        if let Some(rate) = asked.or(rail) {
            match participation_cap(left.view, order, rate, order.interval_us)? {
                Some(cap) => wanted = wanted.min(cap.less_at_most(order.cum_qty).less_at_most(left.held)),
                None if asked.is_some() => return Ok(Err(Hold::VolumeUnknown)),
                None => {}
            }
        }
        self.sized(order, left, wanted, is_final).map(Ok)
    }

    /// What keeps an order at its least share of the volume.
    fn least_share(&self, order: &StrategyOrder, left: &Left<'_>) -> Result<Quantity, NumberError> {
        let rate = guards::of(&self.config, order.terms.urgency).min_participation;
        let Some((rate, volume)) = rate.zip(left.view.volume_since(order.pin.as_ref())) else {
            return Ok(Quantity::ZERO);
        };
        let share = volume.share(rate, Rounding::Floor)?;
        Ok(share.less_at_most(order.cum_qty).less_at_most(left.held).min(left.free))
    }

    fn sized(
        &self,
        order: &StrategyOrder,
        left: &Left<'_>,
        wanted: Quantity,
        is_final: bool,
    ) -> Result<Quantity, NumberError> {
        if wanted >= left.free {
            // The rest goes as it is, whatever its size.
            return Ok(left.free);
        }
        let quantity = wanted.floor_to_lot(order.terms.lot_size)?;
        let least = left.view.least(left.quote.opposite_touch(order.side), order.terms.lot_size)?;
        let rest = left.free.less_at_most(quantity);
        if quantity < least && !is_final {
            return Ok(Quantity::ZERO);
        }
        // Nothing may stay behind that is too small to be traded, unless the volume forbids it.
        let is_dust = rest.is_positive() && rest < least && order.terms.max_participation_rate.is_none();
        Ok(if is_dust { left.free } else { quantity })
    }

    fn resting_price(&self, order: &StrategyOrder, left: &Left<'_>) -> Result<Price, NumberError> {
        left.view.on_tick(resting::price(order, left.quote), order.side)
    }

    fn reprice_at(&self, peg_at: TimestampMicros) -> TimestampMicros {
        after_ms(peg_at, self.config.algorithms.reprice_after_ms)
    }

    /// When an order that rests is looked at again: one whose price is fixed, only at its end.
    fn next_look(&self, order: &StrategyOrder, now: TimestampMicros) -> TimestampMicros {
        let end = order.deadline_at.unwrap_or(order.ends_at).min(order.ends_at);
        if resting::is_pegged(order) { self.reprice_at(now).min(end) } else { end }
    }

    fn poll(&self, order: &StrategyOrder, now: TimestampMicros, every_ms: i64) -> TimestampMicros {
        after_ms(now, every_ms).min(order.deadline_at.unwrap_or(order.ends_at)).min(order.ends_at)
    }

    /// When the next try may come.
    fn backoff(&self, order: &StrategyOrder, now: TimestampMicros) -> TimestampMicros {
        let doublings = order.completions.saturating_sub(1).clamp(0, MAX_DOUBLINGS);
        after_ms(now, self.config.completion_backoff_ms.saturating_mul(1 << doublings))
    }

    /// Whether an order that something came back to goes on at once; otherwise when. `None`: its timer says when, or
    /// children still hold something.
    pub(crate) fn comes_back(
        &self,
        order: &mut StrategyOrder,
        was_cancelled: bool,
        now: TimestampMicros,
    ) -> Result<Option<TimestampMicros>, NumberError> {
        let waits = order.stopped || order.is_done || order.paused_code.is_some() || now < order.starts_at;
        let waits = waits || stop::awaited(order).is_some();
        if waits || order.again_at.is_some() || releasable(order)?.is_zero() {
            return Ok(None);
        }
        let in_slots = order.slots_done < order.slots && drive(order.algorithm) == Drive::Slots;
        let finishing = is_finishing(order, now);
        if in_slots || is_once(order) || (!finishing && drive(order.algorithm) == Drive::Watch) {
            return Ok(None);
        }
        if outstanding(order)?.is_positive() {
            // A part of a LIMIT order that found no venue, while the rest of it rests.
            return Ok((!finishing && order.algorithm == Algorithm::Limit).then(|| self.reprice_at(now)));
        }
        if finishing {
            let due = if order.completions == 0 { now } else { self.backoff(order, now) };
            order.again_at = Some(due).filter(|due| *due > now);
            return Ok(Some(due));
        }
        let has_filled = order.cum_at_release.is_none_or(|before| order.cum_qty > before);
        if has_filled || was_cancelled {
            order.completions = 0;
            return Ok(Some(now));
        }
        order.completions = order.completions.saturating_add(1);
        let due = self.backoff(order, now);
        order.again_at = Some(due);
        Ok(Some(due))
    }
}

/// Whether waiting is over: what is left is taken.
fn is_finishing(order: &StrategyOrder, now: TimestampMicros) -> bool {
    drive(order.algorithm) == Drive::Slots && order.slots_done >= order.slots
        || order.deadline_at.is_some_and(|deadline| now >= deadline)
}

/// Open children whose cancel was not asked for yet.
fn to_cancel(order: &StrategyOrder) -> Vec<String> {
    let open = order.children.iter().filter(|c| c.leaves_qty.is_positive());
    open.map(|c| c.cl_ord_id.clone()).filter(|id| !order.cancelling.contains(id)).collect()
}

/// Whether it is released once and what is left over expires.
pub(crate) fn is_once(order: &StrategyOrder) -> bool {
    matches!(order.terms.time_in_force, TimeInForce::Ioc | TimeInForce::Fok)
}

pub(crate) fn after_ms(at: TimestampMicros, ms: i64) -> TimestampMicros {
    TimestampMicros::from_micros(at.micros().saturating_add(ms.saturating_mul(1_000)))
}
